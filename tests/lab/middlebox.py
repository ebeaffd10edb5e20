# SPDX-License-Identifier: MIT
"""The lab with a middlebox between client and converter (tests/lab/middlebox.c has its rules).

    client ---- box ---- converter ---- server

It is a plain wire but inside `with lab.box.rules("strip-tfo"):`, where box.did("strip-tfo") tells
what it has done to whom. A suite asks for this lab by L.main(setup, kind=middlebox.Lab).
"""
import contextlib
import re

import lab as L

LINE = re.compile(r"([a-z0-9-]+) \[?([0-9a-f.:]+?)\]?:(\d+) > \[?([0-9a-f.:]+?)\]?:(\d+)")


class Box(L.Process):
    """Started anew for other rules; what passes meanwhile is lost."""

    def __init__(self, ns, delay_ms):
        self.ns, self.delay_ms = ns, delay_ms
        self.begin()

    def begin(self, *rules, port=None):
        limits = ["--port", port] if port else []
        super().__init__(self.ns, [L.LAB_TOOLS / "middlebox", "--delay", self.delay_ms, *limits,
                                   "d1", "d2", *rules], name=self.ns)
        self.wait_for("ready", lambda: "ready" in self.text())

    @contextlib.contextmanager
    def rules(self, *rules, port=None):
        self.stop()
        self.begin(*rules, port=port)
        try:
            yield self
        finally:
            self.stop()
            self.begin()

    def did(self, rule):
        """[(source, port, destination, port)] of the segments that the rule was applied to."""
        found = [LINE.fullmatch(line) for line in self.text().splitlines()]
        return [(m[2], int(m[3]), m[4], int(m[5])) for m in found if m and m[1] == rule]


class Lab(L.Lab):
    relayed = ("c0",)

    def delay_line(self, dev, delay_ms):
        if dev not in self.relayed:
            return super().delay_line(dev, delay_ms)
        self.box = self.started(Box(f"relay-{dev}", delay_ms))

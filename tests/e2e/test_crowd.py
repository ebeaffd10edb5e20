#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""Many programs of one user, who share what is known, while much goes wrong: of 200 servers 40 are
mute and 20 refuse, and the first of two converters is killed and started again every few seconds.

FAULTS=all (make check-faults): fifty programs for half a minute, else a few for a moment.
"""
import collections
import datetime
import os
import re
import signal
import time

import crowds
import lab as L
import servers

EVERYTHING = os.environ.get("FAULTS") in ("all", "write")
PROGRAMS, SECONDS, EVERY = (50, 30, 5) if EVERYTHING else (16, 6, 3)

LIMIT = 2.0      # seconds, of `timeout`
PATIENCE = 3.0   # the programs' own: with `fallback = direct` a mute server is called on and on
SETTLED = 2.0    # a converter that has been well for so long is used
SLACK = 0.5      # what a busy machine adds to a wait

# (fallback, mptcp, connections of a program at the same time)
KINDS = [("direct", "auto", 1), ("direct", "off", 4), ("none", "off", 1), ("none", "auto", 4)]


def setup(lab):
    servers.nginx(lab)
    crowds.servers(lab)


class FiftyPrograms(L.TestCase):
    def shims(self, addresses):
        """One for each kind of program; all of them share one state file, and here a log."""
        state, self.log = str(self.lab.file("state")), self.lab.file("log")
        second = f"[converter second]\naddress = {addresses[1]}\nfast-open = no-cookie"
        for fallback, mptcp, _ in KINDS:
            yield self.lab.config(
                f"fast-open = no-cookie\n{second}", f"mptcp = {mptcp}\nfallback = {fallback}\n"
                f"timeout = {int(1000 * LIMIT)}ms", address=addresses[0], log=False) | {
                    "CONVERT_STATE": state, "CONVERT_LOG": str(self.log)}

    def kill_now_and_then(self, address, crowd):
        """Returns when that was, and how many requests they had had. Half of the time it is away."""
        kills, requests, start = [], 0, time.monotonic()
        converter = self.lab.converter("--mptcp", listen=[address])
        while True:
            time.sleep(max(0, start + EVERY / 2 - time.monotonic()))
            if crowd.process.process.poll() is not None:
                return kills, requests + len(converter.events("request"))
            kills.append(time.monotonic())
            converter.stop(signal.SIGKILL)
            requests += len(converter.events("request"))
            start += EVERY
            time.sleep(max(0, start - time.monotonic()))
            converter = self.lab.converter("--mptcp", listen=[address])

    ORDINARY = re.compile(": converted |: failed .*ECONNREFUSED")

    def log_before(self, moment):
        """What else went wrong before it, of the log of all: not who was refused."""
        moment += time.time() - time.monotonic()
        until = datetime.datetime.fromtimestamp(moment, datetime.timezone.utc).isoformat()
        lines = [line for line in self.log.read_text().splitlines()
                 if line[:23] <= until[:23] and not self.ORDINARY.search(line)]
        return "\n" + "\n".join(lines[-20:])

    def say(self, lines):
        for name in "good", "refused", "mute":
            some = [line for line in lines if line.name == name]
            waits = sorted(line.seconds for line in some)
            paths = dict(collections.Counter(line.path for line in some))
            self.note(f"{name}: {len(some)} connections, {paths}; half of them waited for less than "
                      f"{1000 * waits[len(waits) // 2]:.0f} ms, the longest for "
                      f"{1000 * waits[-1]:.0f}")

    def test_nobody_s_trouble_becomes_another_s(self):
        addresses = [self.lab.fresh_addresses()[0] for _ in range(2)]
        second = self.lab.converter("--mptcp", listen=addresses[1:])
        targets = crowds.good(140), crowds.refused(20), crowds.mute(40)
        began = time.monotonic()
        running = [crowds.Crowd(self.lab, shim, f"-n {(PROGRAMS + i) // len(KINDS)} -s {SECONDS} "
                                f"-r 10 -p 300 -w {int(1000 * PATIENCE)} -c {at_once}", *targets)
                   for i, ((_, _, at_once), shim) in enumerate(zip(KINDS, self.shims(addresses)))]
        kills, requests = self.kill_now_and_then(addresses[0], running[0])
        lines = {kind: crowd.lines() for kind, crowd in zip(KINDS, running)}
        every = sum(lines.values(), [])
        self.note(f"{PROGRAMS} programs, {len(kills)} times a converter was killed, {requests} and "
                  f"{len(second.events('request'))} requests")
        self.say(every)
        self.assertGreater(len(every), SECONDS * PROGRAMS / 2)
        self.assertGreater(min(requests, len(second.events("request"))), 0)
        for (fallback, mptcp, at_once), some in lines.items():
            with self.subTest(f"fallback = {fallback}, mptcp = {mptcp}, {at_once} at once"):
                self.judge(fallback, some, began, kills)

    def judge(self, fallback, lines, began, kills):
        """The second converter is well all the while."""
        def none(wrong):
            wrong = [line for line in lines if wrong(line)]
            if wrong:
                self.fail(f"{len(wrong)} of {len(lines)}\n" + "\n".join(map(str, wrong[:9])) +
                          self.log_before(wrong[0].ended))

        def torn(line):
            """Killed when it was connected: the server's end, for all that the program can tell."""
            return line.path in ("torn", "ECONNRESET") and any(
                line.began - 0.1 <= kill <= line.ended + PATIENCE for kill in kills)
        end = "patience" if fallback == "direct" else "ETIMEDOUT"
        expected = {"good": "converted", "refused": "ECONNREFUSED", "mute": end}
        none(lambda line: line.path != expected[line.name] and not torn(line) and
             line.began > began + SETTLED)
        none(lambda line: line.path != "patience" and line.seconds > LIMIT + SLACK)


if __name__ == "__main__":
    L.main(setup)

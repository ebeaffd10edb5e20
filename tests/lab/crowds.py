# SPDX-License-Identifier: MIT
"""Crowds of programs (crowd.c), and the servers that they call: good, refusing and mute ones."""
import dataclasses

import lab as L

# All addresses of these are the server's own; nginx listens on each of them.
GOOD, REFUSED, MUTE = "10.3.0", "10.3.1", "10.3.2"
NETWORK = "10.3.0.0/16"

good = f"good={GOOD}.1+{{}}:80".format
refused = f"refused={REFUSED}.1+{{}}:80".format
mute = f"mute={MUTE}.1+{{}}:80".format


def servers(lab):
    L.command(["ip", "-n", "server", "route", "add", "local", NETWORK, "dev", "lo"])
    L.command(["ip", "-n", "converter", "route", "add", NETWORK, "via", L.SERVER])
    for network, *target in ((MUTE, "DROP"), (REFUSED, "REJECT", "--reject-with", "tcp-reset")):
        L.command(L.inside("server", ["iptables", "-A", "INPUT", "-p", "tcp",
                                      "-d", f"{network}.0/24", "-j", *target]))


@dataclasses.dataclass
class Line:
    """One connection."""
    name: str      # of the target
    began: float   # seconds of time.monotonic()
    outcome: str
    seconds: float
    saw: str       # L.CLIENT, L.ROUTER or -

    @property
    def ended(self):
        return self.began + self.seconds

    @property
    def path(self):
        return {L.CLIENT: "direct", L.ROUTER: "converted"}.get(self.saw, self.outcome)


class Crowd:
    """options: of crowd. It runs from now on, under the shim."""

    def __init__(self, lab, shim, options, *targets):
        environment = [f"{k}={v}" for k, v in ({"LD_PRELOAD": L.SHIM} | shim).items()]
        self.process = lab.start("client", ["env", *environment, L.TOOLS / "crowd",
                                            *options.split(), *targets], name="crowd")

    def lines(self, timeout=60):
        """All connections, in the order in which they began."""
        code = self.process.process.wait(timeout)
        if code:
            raise AssertionError(f"crowd: {code}\n{self.process.text()}")
        return self.so_far()

    def so_far(self):
        found = []
        for line in self.process.text().splitlines():
            name, began, outcome, ms, saw = line.split()
            found.append(Line(name, int(began) / 1000, outcome, int(ms) / 1000, saw))
        return sorted(found, key=lambda line: line.began)

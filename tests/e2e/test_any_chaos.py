#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""test_faults.py's chaos under convert-run --any: converters that are killed, and supervisors. Nothing hangs over
its limit, and a supervisor that has made 10,000 connections more is as large as before (FAULTS=all, `make
check-faults`, else a few hundred).
"""
import contextlib
import os
import random
import signal
import sys
import time

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L
import test_faults
from test_any import RUN, STATIC, names_of_children, supervisor_of

FAULTS = STATIC / "faults"
# What a connection may come to with fallback = none; ECONNABORTED: nobody has asked it in time.
ERRORS = {"ECONNREFUSED", "ECONNRESET", "ECONNABORTED", "ETIMEDOUT", "EPIPE", "EPROTO", "EACCES", "ENOBUFS",
          "ENETUNREACH"}


class Held:
    """What a process has: descriptors, and memory that it may write to (kB, whether it has or not)."""

    def __init__(self, pid):
        self.descriptors = len(os.listdir(f"/proc/{pid}/fd"))
        status = dict(line.split(":", 1) for line in open(f"/proc/{pid}/status"))
        self.memory = int(status["VmData"].split()[0])


class Chaos(test_faults.Chaos):
    def start(self, shim, *words):
        return self.lab.start("client", [RUN, "-q", "--any", FAULTS, *words], env=shim)

    def many(self, n):
        return "many", n, 16, L.SERVER, 80, self.lab.sum

    def test_supervisor_gains_nothing(self):
        """... from N connections more, of all kinds, while converters are killed: once everything is over that
        a program may still ask about."""
        shim = self.environment("auto", "none")
        round_ = " ".join(map(str, (FAULTS, *self.many(self.N))))
        flags = [self.lab.file("flag") for _ in range(2)]
        turns = "; ".join(f"until [ -e {flag} ]; do sleep 0.05; done; {round_}; echo end" for flag in flags)
        process = self.lab.start("client", [RUN, "-q", "--any", "sh", "-c", f"{turns}; exec sleep 1000"], env=shim)
        supervisor = supervisor_of(process)
        held = []
        for i, flag in enumerate(flags, 1):
            flag.write_text("")

            def has_ended(seconds):
                time.sleep(seconds)
                return process.text().count("end\n") == i

            kills = self.kill_converters("auto", has_ended)
            # its own, and two for each place that connections wait at
            most = held[0].descriptors if held else 14
            with contextlib.suppress(TimeoutError):
                L.wait_for("its end", lambda: Held(supervisor).descriptors <= most, 60)
            self.assertLessEqual(Held(supervisor).descriptors, most, L.command(L.inside("client", ["ss", "-tanp"])))
            held.append(Held(supervisor))
            self.note(f"{i * self.N} connections, {kills} converters killed: the supervisor has "
                      f"{held[-1].descriptors} descriptors, {held[-1].memory} kB")
        for part in process.text().split("end\n")[:2]:
            totals = dict(line.split() for line in part.splitlines())
            self.check({name: int(n) for name, n in totals.items()}, ERRORS)
            self.assertEqual(totals["crashed"], "0")
        self.assertLess(held[1].memory - held[0].memory, 600)

    def test_supervisor_killed(self):
        """Each of some programs loses its supervisor in the midst of it: what was being made fails, or is direct,
        as are all that come later."""
        shim = self.environment("auto", "direct")
        kills = 10 if test_faults.EVERYTHING else 3
        sums = {}
        for i in range(kills):
            converter = self.lab.converter("--mptcp", "--fault", "random")
            process = self.start(shim, *self.many(self.N // kills))
            supervisor = supervisor_of(process)
            L.wait_for("the program", lambda: "faults" in names_of_children(supervisor))
            time.sleep(random.Random(i).uniform(0, self.N / 5000))
            os.kill(supervisor, signal.SIGKILL)
            process.process.wait(300)
            converter.stop()
            totals = dict(line.split() for line in process.text().splitlines())
            self.assertEqual((process.process.returncode, totals.get("crashed")), (0, "0"), process.text())
            # what waits hears of it by its next SYN, which on a busy machine is the fourth, after 15 s
            self.check({name: int(n) for name, n in totals.items()}, ERRORS, limit_ms=20000)
            for name, n in totals.items():
                sums[name] = max(sums.get(name, 0), int(n)) if name == "slowest" else sums.get(name, 0) + int(n)
        self.note(f"{self.N} connections, {kills} supervisors killed: {sums}")
        # what was going on at that moment, 16 at a time, and what a converter has torn (a hundredth, or less)
        self.assertGreaterEqual(sums["good"], self.N - kills * 16 - self.N // 20, sums)


if __name__ == "__main__":
    L.TEST_LIMIT = 1700
    L.main(test_faults.setup, kind=L.BoxedLab, delay_ms=(2, 1))

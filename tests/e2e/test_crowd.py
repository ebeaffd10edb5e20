#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""Many programs of one user, who share what is known, while much goes wrong: of 200 servers 40 are
mute and 20 refuse, and of two converters one is killed and started again every few seconds.

FAULTS=all (make check-faults): fifty programs for half a minute, else a few for a moment.
"""
import collections
import contextlib
import datetime
import math
import os
import re
import signal
import subprocess
import sys
import time

sys.path.insert(1, sys.path[0] + "/../lab")
import crowds
import lab as L
import servers

EVERYTHING = os.environ.get("FAULTS") in ("all", "write")
PROGRAMS, SECONDS, EVERY = (50, 30, 5) if EVERYTHING else (16, 5, 3)
AWAY = 1.0       # seconds until the one that was killed is started again

LIMIT = 2.0 if EVERYTHING else 1.0  # seconds, of `timeout`
PATIENCE = 1.5 * LIMIT  # the programs' own: with `fallback = direct` they would call on and on
SETTLED = 2.0    # a converter that has been well for so long is used
SLACK = 0.9 * LIMIT  # what a busy machine adds to a wait; who waits twice as long is found out

# (fallback, mptcp, connections of a program at the same time)
KINDS = [("direct", "auto", 1), ("direct", "off", 4), ("none", "off", 1), ("none", "auto", 4)]


def setup(lab):
    servers.nginx(lab)
    crowds.servers(lab)


class FiftyPrograms(L.TestCase):
    def shims(self):
        """One for each kind of program; all of them share one state file, and here a log."""
        state, self.log = str(self.lab.file("state")), self.lab.file("log")
        second = f"[converter second]\naddress = {self.addresses[1]}\nfast-open = no-cookie"
        for fallback, mptcp, _ in KINDS:
            yield self.lab.config(
                f"fast-open = no-cookie\n{second}", f"mptcp = {mptcp}\nfallback = {fallback}\n"
                f"timeout = {int(1000 * LIMIT)}ms", address=self.addresses[0], log=False) | {
                    "CONVERT_STATE": state, "CONVERT_LOG": str(self.log)}

    def start_converter(self, number):
        converter = self.lab.converter("--mptcp", listen=[self.addresses[number]])
        self.converters[number] = converter
        self.lives[number].append([time.monotonic(), math.inf])

    def count_requests(self, number):
        self.requests[number] += len(self.converters[number].events("request"))

    def kill_in_turn(self, victims, crowd):
        """One every EVERY seconds, which is away for AWAY of them; until the crowd has gone."""
        killed, start = 0, time.monotonic()
        while True:
            start += EVERY
            with contextlib.suppress(subprocess.TimeoutExpired):
                crowd.process.process.wait(max(0, start - AWAY - time.monotonic()))
                return
            number = victims[killed % len(victims)]
            self.lives[number][-1][1] = time.monotonic()
            self.converters[number].stop(signal.SIGKILL)
            self.kills.append((self.lives[number][-1][1], time.monotonic()))
            self.count_requests(number)
            killed += 1
            time.sleep(max(0, start - time.monotonic()))
            self.start_converter(number)

    ORDINARY = re.compile(": converted |: failed .*ECONNREFUSED|: given up ")

    def log_before(self, moment):
        """What else went wrong before it, of the log of all: not who was refused."""
        moment += time.time() - time.monotonic()
        until = datetime.datetime.fromtimestamp(moment, datetime.timezone.utc).isoformat()
        lines = [line for line in self.log.read_text().splitlines()
                 if line[:23] <= until[:23] and not self.ORDINARY.search(line)]
        return "\n" + "\n".join(lines[-20:])

    def say(self, lines):
        self.note(f"{PROGRAMS} programs, {len(self.kills)} times a converter was killed; they had "
                  f"{' and '.join(map(str, self.requests))} requests")
        for name in "good", "refused", "mute":
            some = [line for line in lines if line.name == name]
            waits = sorted(line.seconds for line in some)
            paths = dict(collections.Counter(line.path for line in some))
            self.note(f"{name}: {len(some)} connections, {paths}; half of them waited for less than "
                      f"{1000 * waits[len(waits) // 2]:.0f} ms, the longest for "
                      f"{1000 * waits[-1]:.0f}")

    def check(self, *victims):
        self.addresses = [self.lab.fresh_addresses()[0] for _ in range(2)]
        self.converters, self.requests = [None, None], [0, 0]
        self.lives = [[], []]  # of each converter: when it was started, when it was killed
        self.kills = []  # when one was killed, and was dead, which on a busy machine takes a while
        for number in range(2):
            self.start_converter(number)
        targets = crowds.good(140), crowds.refused(20), crowds.mute(40)
        running = [crowds.Crowd(self.lab, shim, f"-n {(PROGRAMS + i) // len(KINDS)} -t {1000 * SECONDS} "
                                f"-r 10 -p 300 -w {int(1000 * PATIENCE)} -c {at_once}", *targets)
                   for i, ((_, _, at_once), shim) in enumerate(zip(KINDS, self.shims()))]
        self.kill_in_turn(victims, running[0])
        lines = {kind: crowd.lines() for kind, crowd in zip(KINDS, running)}
        for number in range(2):
            self.count_requests(number)
        self.say(sum(lines.values(), []))
        self.assertGreater(min(self.requests), 0)
        for (fallback, mptcp, at_once), some in lines.items():
            with self.subTest(f"fallback = {fallback}, mptcp = {mptcp}, {at_once} at once"):
                self.judge(fallback, some)

    def test_the_first_of_two_converters_is_killed_again_and_again(self):
        self.check(0)

    if EVERYTHING:
        def test_now_the_one_and_now_the_other_is_killed(self):
            self.check(0, 1)

    def is_well(self, line):
        """Is there a converter that had been well for a while, and was so until the end of it?"""
        return any(begin + SETTLED <= line.began and line.ended < end
                   for life in self.lives for begin, end in life)

    def was_away(self, line):
        """Was a converter not there for a while of it?"""
        return any(killed[1] <= line.ended + 0.1 and line.began - 0.1 <= back[0]
                   for life in self.lives for killed, back in zip(life, life[1:] + [[math.inf]]))

    def is_torn(self, line):
        """Connected, and then its converter was killed, which to the program is the server's end. Or
        the one had waited for a mute server in vain, and the other was killed at it, or was not there."""
        if (line.name, line.path) == ("mute", "ECONNREFUSED") and self.was_away(line):
            return True
        torn = {"mute": ("ECONNRESET", "ECONNREFUSED")}.get(line.name, ("torn", "ECONNRESET"))
        until = line.ended + (PATIENCE if line.path == "torn" else 0.1)
        return line.path in torn and any(kill <= until and line.began - 0.1 <= death
                                         for kill, death in self.kills)

    def judge(self, fallback, lines):
        end = "patience" if fallback == "direct" else "ETIMEDOUT"
        expected = {"good": "converted", "refused": "ECONNREFUSED", "mute": end}
        self.none(lines, lambda line: line.path != expected[line.name] and
                  not self.is_torn(line) and self.is_well(line))
        self.none(lines, lambda line: line.path != "patience" and line.seconds > LIMIT + SLACK)

    def none(self, lines, is_wrong):
        wrong = [line for line in lines if is_wrong(line)]
        if wrong:
            self.fail(f"{len(wrong)} of {len(lines)}\n" + "\n".join(map(str, wrong[:9])) +
                      self.log_before(wrong[0].ended))


if __name__ == "__main__":
    L.main(setup)

# SPDX-License-Identifier: MIT
"""Programs that take turns, and what can be said of that.

A side is a program that does one thing as often as it is told and answers what that cost it: wall
clock, and its own processor time. The sides of a group take turns, in another order each round, so that
whatever else this machine does meets all of them. A figure is the lower quartile of the rounds: what
disturbs can only make it longer. Its spread is how far the upper quartile is above it.

A group has a deadline, and as many rounds as there is time for; that they agree ends them no sooner,
which would choose the moment.
"""
import os
import random
import statistics
import subprocess
import time

import lab as L

STEADY = 0.05  # as much may the two halves of the rounds disagree
LEAST = 4      # rounds, however late it is
FEW = 5        # to begin with
MOST = int(os.environ.get("ROUNDS", 200))

CORES = sorted(os.sched_getaffinity(0))
OTHERS = CORES[1:] or CORES  # where all runs but the client, which is there:
ALONE = ["taskset", "-c", str(CORES[0])] if OTHERS != CORES else []


def lower_quartile(values):
    return statistics.quantiles(values, n=4, method="inclusive")[0] if len(values) > 1 else values[0]


def disagreement(values):
    """Of the first half of the rounds and the second."""
    middle = len(values) // 2
    if not middle:
        return 0.0
    first, second = lower_quartile(values[:middle]), lower_quartile(values[middle:])
    return abs(first - second) / min(first, second)


def figure(values):
    low = lower_quartile(values)
    high = -lower_quartile([-v for v in values])
    return {"figure": low, "spread": (high - low) / low, "halves": disagreement(values)}


class Side:
    """name; argv and env of its program; base: the side that it is like, whose figures its are divided by;
    converted: how many of its connections the converter must see (all, first, none); helper: whose
    processor time counts as well, the first process's (itself) or its child's (child)."""

    def __init__(self, lab, name, argv, env=None, base=None, converted="none", mptcp=None, helper=None):
        self.name, self.base, self.converted, self.mptcp = name, base, converted, mptcp
        self.wall, self.cpu, self.memory, self.count = [], [], [], 0
        self.err = lab.file("side.err")
        self.helper = helper
        words = ALONE + ["env", "-i"] + [f"{k}={v}" for k, v in (L.ENVIRONMENT | (env or {})).items()]
        with open(self.err, "wb") as err:
            self.process = subprocess.Popen(
                L.inside("client", words + [str(a) for a in argv]), stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=err, text=True, bufsize=1, cwd=L.TMP,
                start_new_session=True)

    def helper_ns(self):
        pid = self.process.pid
        if self.helper == "child":
            pid = (open(f"/proc/{pid}/task/{pid}/children").read().split() or [None])[0]
        return int(open(f"/proc/{pid}/schedstat").read().split()[0]) if self.helper and pid else 0

    def turn(self, n):
        """n times; what it answers."""
        before = self.helper_ns()
        try:
            self.process.stdin.write(f"{n}\n")
            wall, cpu, subflows, memory = self.process.stdout.readline().split()
        except (ValueError, OSError) as e:
            self.process.wait(5)
            raise RuntimeError(f"{self.name}: {self.err.read_text()}") from e
        self.count += n
        if self.mptcp is not None and self.mptcp != (int(subflows) >= 0):
            raise RuntimeError(f"{self.name}: {subflows} subflows")
        return int(wall) / n, (int(cpu) + self.helper_ns() - before) / n, int(memory)

    def measure(self, n):
        wall, cpu, memory = self.turn(n)
        self.wall.append(wall / 1e3)
        self.cpu.append(cpu / 1e3)
        self.memory.append(memory)

    def end(self):
        self.process.stdin.close()
        self.process.wait(10)


def accepted(converter):
    return converter.log.read_text(errors="replace").count(" ev=accept ")


def wait_for_accepted(converter, wanted):
    """A client that does not wait for the reply ends before the converter has written that it has come."""
    end = time.monotonic() + 1
    while (found := accepted(converter)) < wanted and time.monotonic() < end:
        time.sleep(0.01)
    return found


def warm(sides, converter, n):
    """Each of them once, alone, and whether the converter sees what it must."""
    for side in sides:
        before = accepted(converter) if converter else 0
        side.turn(n)
        expected = {"all": n, "first": min(n, 1), "none": 0}[side.converted]
        if converter:
            seen = wait_for_accepted(converter, before + expected) - before
            if seen != expected:
                raise RuntimeError(f"{side.name}: {seen} connections by the converter, not {expected}\n"
                                   f"{side.err.read_text()}")


def shares(until, weights, clock=time.monotonic):
    """Deadlines, one after the other: each its part of the time that is left then, so that what one
    leaves over, or takes too much of, is divided among those behind it."""
    for i, weight in enumerate(weights):
        now = clock()
        yield now + max(until - now, 0) * weight / sum(weights[i:])


def rounds(until, most, clock=time.monotonic):
    """0, 1, ... for as long as another one like the longest yet is over by then."""
    longest, began = 0, clock()
    for i in range(most):
        if i >= LEAST and began + longest > until:
            return
        yield i
        now = clock()
        longest, began = max(longest, now - began), now


def rows(group, sides, what, **more):
    """What is to be shown of each side. what: which of the two figures counts."""
    by_name = {side.name: side for side in sides}
    found = []
    for side in sides:
        row = {"group": group, "name": side.name, "of": what, "rounds": len(side.cpu),
               "cpu": figure(side.cpu), "wall": figure(side.wall), "base": side.base} | more
        row["steady"] = row[what]["halves"] <= STEADY
        if side.base:
            base = by_name[side.base]
            low = lower_quartile(getattr(base, what))
            row["ratio"], row["more"] = row[what]["figure"] / low, row[what]["figure"] - low
            row["halves of ratio"] = disagreement([a / b for a, b in zip(getattr(side, what),
                                                                        getattr(base, what))])
            row["steady"] &= row["halves of ratio"] <= STEADY
        found.append(row)
    return found


def fit(n, seconds, left):
    """How many at a time, so that there is time for the least rounds: one of n takes so many seconds."""
    return min(n, max(1, int(n * left / (LEAST * seconds))))


def run(group, sides, until, n, converter=None, most=MOST, what="cpu", **more):
    """A group of rows."""
    began = time.monotonic()
    try:
        few = min(n, FEW)
        warm(sides, converter, few)
        warmed = time.monotonic()
        for side in sides:
            side.turn(few)
        now = time.monotonic()
        n = fit(n, (now - warmed) * n / few, until - now)
        for i in rounds(until, most):
            for side in random.Random(i).sample(sides, len(sides)):
                side.measure(n)
        return rows(group, sides, what, each=n, seconds=time.monotonic() - began, **more)
    finally:
        for side in sides:
            side.end()

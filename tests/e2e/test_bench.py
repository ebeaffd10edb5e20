#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""The measuring tool of `make bench`: its arithmetic, and one row of few rounds."""
import itertools
import sys
import time

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L

sys.path.insert(0, str(L.ROOT / "tests/bench"))
import measure as M  # noqa: E402
import report  # noqa: E402

ECHO = 7000


def setup(lab):
    lab.start("server", [L.TOOLS / "echo-server", ECHO]).wait_for_listeners(ECHO)


class Arithmetic(L.TestCase):
    def test_lower_quartile_and_spread(self):
        found = M.figure([10, 14, 12, 90, 11, 16, 13, 15, 10])
        self.assertEqual(found["figure"], 11)
        self.assertAlmostEqual(found["spread"], 4 / 11)  # to 15, whatever the longest is
        self.assertEqual(M.figure([7])["figure"], 7)

    def test_halves(self):
        self.assertEqual(M.disagreement([10, 11, 12, 12, 11, 10]), 0)
        self.assertAlmostEqual(M.disagreement([10] * 5 + [11] * 5), 0.1)
        self.assertEqual(M.disagreement([10]), 0)


class Budget(L.TestCase):
    """By a clock that goes on only when it is told to."""

    def setUp(self):
        super().setUp()
        self.now = 0

    def rounds(self, until, each, most=1000):
        """How many there are, of so many seconds each."""
        count = 0
        for count, seconds in zip(M.rounds(until, most, lambda: self.now), itertools.cycle(each)):
            self.now += seconds
        return count + 1

    def test_rounds(self):
        self.assertEqual(self.rounds(100, [2]), 50)
        self.assertEqual(self.now, 100)
        self.assertEqual(self.rounds(200, [1], most=30), 30)
        self.assertEqual(self.rounds(0, [1]), M.LEAST)  # however late
        # not one that may end too late
        self.now = 0
        self.rounds(98, [1, 9])
        self.assertEqual(self.now, 90)

    def test_shares(self):
        shares = M.shares(100, [1, 1, 2], lambda: self.now)
        self.assertEqual(next(shares), 25)
        self.now = 10
        self.assertEqual(next(shares), 40)  # a third of what is left
        self.now = 70
        self.assertEqual(next(shares), 100)
        self.now = 120
        self.assertEqual(list(M.shares(100, [1, 1], lambda: self.now)), [120, 120])

    def test_fit(self):
        self.assertEqual(M.fit(25, 1, 100), 25)
        self.assertEqual(M.fit(25, 10, 20), 12)  # 4 rounds of 10 s are too many
        self.assertEqual(M.fit(25, 10, -1), 1)

    def test_whole(self):
        """Measurements that set something up and then make rounds end in time, or as soon as the
        least that there is to do is done."""
        def run(seconds, setting_up, each):
            self.now = 0
            counts = []
            for end in M.shares(seconds, [3, 1, 2], lambda: self.now):
                self.now += setting_up
                counts.append(self.rounds(end, [each]))
            return counts

        counts = run(220, 5, 0.5)
        self.assertTrue(219 < self.now <= 220, self.now)
        self.assertEqual(sorted(counts), [counts[1], counts[2], counts[0]])
        self.assertEqual(run(10, 5, 1), [M.LEAST] * 3)


class Sides(L.TestCase):
    def side(self, name, *options, **more):
        return M.Side(self.lab, name, [L.LAB_TOOLS / "bare-client", *options, "turns", L.SERVER, ECHO,
                                       "epoll"], **more)

    def test_row(self):
        converter = self.lab.converter("--mptcp")
        shim = {"LD_PRELOAD": str(L.SHIM)} | self.lab.config("fast-open = no-cookie", "mptcp = off",
                                                             log=False)
        sides = [self.side("direct", mptcp=False),
                 self.side("shim", env=shim, base="direct", converted="all", mptcp=False)]
        direct, ours = M.run("epoll", sides, time.monotonic() + 600, 5, converter, most=3,
                             unit="µs")
        self.assertEqual(len(converter.events("accept")), 25)  # 5 by themselves, 5 by the clock, and 3 rounds
        self.assertGreater(direct["cpu"]["figure"], 0)
        self.assertGreaterEqual(ours["wall"]["figure"], ours["cpu"]["figure"] / 2)
        self.assertAlmostEqual(ours["ratio"], ours["cpu"]["figure"] / direct["cpu"]["figure"])
        ours["steady"] = False
        self.assertRegex(report.table([direct, ours]),
                         r"(?s)epoll \(3 rounds of 5, [\d.]+ s;.*\ndirect .*\nshim .* of direct, .*not steady\n")

    def test_side_that_is_not_what_it_says(self):
        converter = self.lab.converter()
        with self.assertRaisesRegex(RuntimeError, "0 connections by the converter, not 2"):
            M.run("", [self.side("direct", converted="all")], 0, 2, converter)
        with self.assertRaisesRegex(RuntimeError, "-1 subflows"):
            M.run("", [self.side("direct", mptcp=True)], 0, 2)


if __name__ == "__main__":
    L.main(setup)

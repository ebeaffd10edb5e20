#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""Programs that connect to themselves: accept() returns what it would without the shim, and the
client is connected by then, as it is without."""
import re
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L

ECHO = 7000
WHOLE, LATE = (), ("--fault", "delay=400,split=1,gap=2")
VERY_LATE = ("--fault", "delay=2000")  # for what is over long before


def setup(lab):
    lab.start("server", [L.TOOLS / "echo-server", ECHO]).wait_for_listeners(ECHO)


class BothEnds(L.TestCase):
    def run_case(self, case, shim=None):
        return self.lab.run([L.TOOLS / "both-ends", case, L.CLIENT, L.SERVER, ECHO], shim=shim)

    def through(self, case, *options, settings="fast-open = no-cookie", converted=1):
        """The converted run; options are the converter's."""
        address = self.lab.fresh_addresses()[0]
        converter = self.lab.converter(*options, listen=[address])
        shim = self.run_case(case, self.lab.config(settings, address=address))
        self.assertEqual(len(converter.events("request", converted)), converted, shim)
        self.assertEqual(shim.code, 0, shim)
        return shim

    def waited(self, result):
        return [int(ms) for ms in re.findall(r"(\d+) ms", result.err)]

    def same(self, case, *options, **more):
        direct, shim = self.run_case(case), self.through(case, *options, **more)
        self.assertEqual(direct.code, 0, direct)
        self.assertEqual(direct.out.decode(), shim.out.decode(), shim)

    def test_client_is_connected(self):
        for options in WHOLE, LATE, ("--hold",):
            with self.subTest(options):
                self.same("one", *options)

    def test_connect_message_is_owed(self):
        """accept() is the only call in which it can be sent."""
        for settings in "fast-open = cookie", "":
            with self.subTest(settings):
                self.same("one", "--fastopen", "cookie", settings=settings)
        L.sysctl("client", net__ipv4__tcp_fastopen=0)
        self.addCleanup(L.sysctl, "client", net__ipv4__tcp_fastopen=1)
        self.same("one", *LATE)

    def test_several(self):
        for options in WHOLE, LATE:
            with self.subTest(options):
                self.same("several", *options, converted=5)

    def test_more_than_the_queue_holds(self):
        for options in WHOLE, LATE:
            with self.subTest(options):
                self.same("crowded", *options, converted=2)

    def test_signals(self):
        """They find accept() waiting."""
        shim = self.through("EINTR", *VERY_LATE)
        self.assertEqual(shim.out, b"connect: EINPROGRESS\nsignal\naccept: EINTR\nwritable: 0\n")
        shim = self.through("SA_RESTART", *VERY_LATE)
        self.assertEqual(shim.out, b"connect: EINPROGRESS\nsignal\naccept: 0\nwritable: 1\n")

    def test_time_limit(self):
        shim = self.through("limited", *VERY_LATE)
        self.assertEqual(shim.out, b"connect: EINPROGRESS\naccept: EAGAIN\n")
        self.assertIn(self.waited(shim)[0], range(200, 1500))

    def test_never_waits_where_it_need_not(self):
        for case in "nonblocking", "elsewhere", "thread":
            with self.subTest(case):
                shim = self.through(case, *VERY_LATE)
                self.assertLess(max(self.waited(shim)), 1500, shim)

    def test_system_calls(self):
        """For 20 accept() while a conversion to somewhere else is pending: one."""
        self.need("strace")
        self.lab.converter(*LATE)
        trace = self.lab.file("strace")
        environment = {"LD_PRELOAD": L.SHIM} | self.lab.config("fast-open = no-cookie", log=False)
        r = self.lab.run(["strace", "-o", trace] + [f"-E{k}={v}" for k, v in environment.items()] +
                         [L.TOOLS / "both-ends", "elsewhere", L.CLIENT, L.SERVER, ECHO])
        self.assertEqual(r.code, 0, r)
        lines = trace.read_text().splitlines()
        taken = [i for i, line in enumerate(lines) if line.startswith("accept4(")]
        self.assertEqual(len(taken), 20)
        first = max(i for i, line in enumerate(lines[:taken[0]]) if line.startswith("connect("))
        between = [line.split("(")[0] for line in lines[first + 1:taken[-1]]]
        self.assertEqual(between.count("getsockname"), 1, lines[first:taken[-1]])
        self.assertEqual(set(between), {"getsockname", "accept4", "write"})


if __name__ == "__main__":
    L.main(setup)

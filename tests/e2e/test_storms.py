#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What is rare, thousands of times: signal handlers, cancelled threads, vfork, fork and raw closes
in the midst of connecting; 5,000 connections at once; 64 threads that do all of it at random. Every
byte is accounted for.

STORM_SECONDS (default 10) is for the 64 threads, in two of the storms together. With a minute or more each storm
also runs without the shim, as a test of the test.
"""
import os
import re
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L

ECHO, SILENT, CLOSED = 7000, 7005, 7009
# What a shim and storms that were built with a sanitizer need to know; see check-storms-address.
SANITIZERS = {name: value for name, value in os.environ.items() if name.endswith("SAN_OPTIONS")}
SECONDS = int(os.environ.get("STORM_SECONDS", "10"))


def setup(lab):
    for ns in ("client", "converter"):  # tens of thousands of connections: ports must come back
        L.sysctl(ns, net__ipv4__tcp_max_tw_buckets=500,
                 net__ipv4__ip_local_port_range="10000 65000")
    server = lab.start("server", [L.TOOLS / "echo-server", ECHO])
    server.wait_for_listeners(ECHO, SILENT)


class Base(L.TestCase):
    """Subclasses say how the converter replies, and where the Connect TLV goes."""
    FAULT = ""
    CONFIG = "fast-open = no-cookie"
    FAST_OPEN = 1
    TIMEOUT = "30s"
    PROGRAMS = L.TOOLS

    def setUp(self):
        self.lab.converter("--max-pending", 20000, "--max-connections", 20000,
                           *(["--fault", self.FAULT] if self.FAULT else []))
        L.sysctl("client", net__ipv4__tcp_fastopen=self.FAST_OPEN)

    def tearDown(self):
        L.sysctl("client", net__ipv4__tcp_fastopen=1)

    def shim(self):
        return self.lab.config(self.CONFIG, f"timeout = {self.TIMEOUT}")

    def storm(self, program, case, enough=(), limit=40, env=None, converted=20):
        limit *= 3 if SANITIZERS else 1
        argv = [self.PROGRAMS / program, "-l", limit, case, L.SERVER, ECHO, L.SERVER, CLOSED]
        shim = self.shim()
        result = self.lab.run(argv, shim=shim, timeout=limit + 10, env=SANITIZERS | (env or {}))
        text = result.out.decode(errors="replace")
        reports = sorted(set(re.findall(r"SUMMARY: \w+Sanitizer.*", text)))
        self.assertEqual(result.code, 0, "\n".join([str(result)] + reports))
        for line in enough:
            self.assertIn(line, text, str(result))
        self.note(text.splitlines()[-1])
        if shim:
            self.assertGreaterEqual(result.log.count("converted"), converted, "converted too little")


class Storms:
    """The tests of each of the classes below."""

    def test_handler(self):
        self.storm("t_storm", "handler", ["handler: enough"])

    def test_handler_restart(self):
        self.storm("t_storm", "handler-restart", ["handler: enough"])

    def test_handler_sets(self):
        self.storm("t_storm", "sets", ["handler: enough"])

    def test_cancel(self):
        if "address" in L.BUILD.name:
            self.skipTest("AddressSanitizer takes a cancelled thread's stack for one in use")
        enough = ["descriptors: as before", "cancelled: enough"]
        if not SANITIZERS:  # which map memory of their own for each thread
            enough.append("mappings: as before")
        self.storm("t_storm", "cancel", enough)

    def test_cancel_first(self):
        if "address" in L.BUILD.name:
            self.skipTest("AddressSanitizer takes a cancelled thread's stack for one in use")
        self.storm("t_storm", "cancel-first")

    def test_cancel_by_number(self):
        if "address" in L.BUILD.name:
            self.skipTest("AddressSanitizer takes a cancelled thread's stack for one in use")
        self.storm("t_storm", "cancel-number")

    def test_vfork(self):
        self.storm("t_storm", "vfork")

    def test_fork(self):
        self.storm("t_storm", "fork")

    def test_fork_set(self):
        self.storm("t_storm", "fork-set")

    def test_fork_closing(self):
        self.storm("t_storm", "fork-closing")

    def test_rawclose(self):
        self.storm("t_storm", "rawclose")


class AtOnce(Storms, Base):
    pass


class Split(Storms, Base):
    FAULT = "split=1,gap=1"


class Owed(Storms, Base):
    FAULT = "split=3,gap=1"
    CONFIG = ""
    FAST_OPEN = 0


class Random(Base):
    FAULT = "split=4,gap=1"

    def check(self, seconds):
        self.storm("t_random", "random", ["descriptors: as before", "memory: as before"],
                   limit=seconds + 30, env={"SECONDS": str(seconds)})

    def test_random(self):
        self.check(SECONDS * 6 // 10)


class RandomOwed(Random):
    CONFIG = ""
    FAST_OPEN = 0

    def test_random(self):
        self.check(SECONDS * 4 // 10)


class Musl(Storms, Random):
    """The programs of another libc, whose threads have small stacks."""
    PROGRAMS = L.BUILD / "musl/clients/e2e/plain"

    def setUp(self):
        if SANITIZERS:
            self.skipTest("a sanitizer's library needs glibc")
        super().setUp()

    def test_random(self):
        self.check(2)

    if SECONDS < 60:  # make check-storms
        test_handler = test_handler_restart = test_handler_sets = test_fork_set = test_rawclose = None


class Many(Base):
    FAULT = "delay=1500"

    def test_many(self):
        self.storm("t_storm", "many")


class Silent(Base):
    FAULT = "silence"
    TIMEOUT = "300ms"

    def test_closed(self):
        self.storm("t_storm", "closed", converted=0)


if SECONDS >= 60:  # make check-storms
    class Direct(Storms, Random, Many, Silent):
        """Without the shim: what is asserted holds for the kernel's own connections."""

        def shim(self):
            return None

        def test_random(self):
            self.check(2)

        def test_closed(self):
            if "thread" in L.BUILD.name:
                self.skipTest("the program closes what its other thread is connecting, as it is meant to: "
                              "ThreadSanitizer takes that for a race of the program's")
            super().test_closed()


if __name__ == "__main__":
    L.main(setup)

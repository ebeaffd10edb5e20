#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What is rare, thousands of times: signal handlers, cancelled threads, vfork, fork and raw closes
in the midst of connecting; 5,000 connections at once; 64 threads that do all of it at random. Every
byte is accounted for. Each storm also runs without the shim, as a test of the test.

STORM_SECONDS (default 10) is for the 64 threads.
"""
import os

import lab as L
import servers

ECHO, SILENT, CLOSED = 7000, 7005, 7009
SECONDS = int(os.environ.get("STORM_SECONDS", "10"))


def setup(lab):
    servers.nowhere(lab)
    server = lab.start("server", [L.TOOLS / "echo-server", ECHO])
    server.wait_for_listeners(ECHO, SILENT)


class Storms:
    """The tests of each class below, which say how the converter replies and where the Connect TLV
    goes."""
    FAULT = ""
    CONFIG = "fast-open = no-cookie"
    FAST_OPEN = 1
    LIMIT = 40

    def setUp(self):
        self.lab.converter("--max-pending", 20000, "--max-connections", 20000,
                           *(["--fault", self.FAULT] if self.FAULT else []))
        L.sysctl("client", net__ipv4__tcp_fastopen=self.FAST_OPEN)

    def tearDown(self):
        L.sysctl("client", net__ipv4__tcp_fastopen=1)

    def storm(self, program, case, enough=(), converted=20):
        argv = [L.TOOLS / program, "-l", self.LIMIT, case, L.SERVER, ECHO, L.SERVER, CLOSED]
        result = self.lab.run(argv, shim=self.lab.config(self.CONFIG), timeout=self.LIMIT + 10)
        text = result.out.decode()
        self.assertEqual(result.code, 0, result)
        for line in enough:
            self.assertIn(line, text)
        self.note(text.splitlines()[-1])
        self.assertGreaterEqual(result.log.count("converted"), converted, "converted too little")

    def test_handler(self):
        self.storm("t_storm", "handler", ["handler: enough"])

    def test_handler_restart(self):
        self.storm("t_storm", "handler-restart", ["handler: enough"])

    def test_cancel(self):
        self.storm("t_storm", "cancel", ["descriptors: as before", "cancelled: enough"])

    def test_vfork(self):
        self.storm("t_storm", "vfork")

    def test_fork(self):
        self.storm("t_storm", "fork")

    def test_rawclose(self):
        self.storm("t_storm", "rawclose")


class AtOnce(Storms, L.TestCase):
    pass


class Split(Storms, L.TestCase):
    FAULT = "split=1,gap=1"


class Owed(Storms, L.TestCase):
    FAULT = "split=3,gap=1"
    CONFIG = ""
    FAST_OPEN = 0


class Direct(Storms, L.TestCase):
    """Without the shim: what is asserted holds for the kernel's own connections."""

    def storm(self, program, case, enough=(), converted=0):
        argv = [L.TOOLS / program, "-l", self.LIMIT, case, L.SERVER, ECHO, L.SERVER, CLOSED]
        result = self.lab.run(argv, timeout=self.LIMIT + 10)
        self.assertEqual(result.code, 0, result)
        for line in enough:
            self.assertIn(line, result.out.decode())


if __name__ == "__main__":
    L.main(setup)

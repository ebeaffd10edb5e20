#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""Case 2.9. A number that is taken away while its connect() is being made, by another thread or a signal handler;
and a handler that never comes back to it. With Multipath TCP, as then another socket takes its place."""
import lab as L

ECHO = 7000
CLOSED = 7001
ROUNDS = 300


def setup(lab):
    lab.start("server", [L.TOOLS / "echo-server", ECHO]).wait_for_listeners(ECHO)


class Opening(L.TestCase):
    def check(self, case, *failing, converter=()):
        self.lab.converter("--mptcp", *converter, listen=["0.0.0.0"])
        shim = self.lab.config("fast-open = no-cookie", "mptcp = on\nbypass = never", log=False)
        r = self.lab.run([L.TOOLS / "opening", case, ROUNDS, L.SERVER, ECHO, *failing], shim=shim, timeout=60)
        self.assertEqual(r.code, 0, r)
        lines = r.out.decode().splitlines()
        self.assertEqual(lines[-2:], ["works", "works"], r)
        return lines[:-2]

    def test_jump(self):
        """Where it has left us in the middle of something it takes a second to believe that."""
        self.assertEqual(self.check("jump"), [])


for each in "close", "close_range", "closefrom", "dup2", "dup3", "handler":
    setattr(Opening, "test_" + each,
            lambda self, case=each: self.assertEqual(self.check(case), ["wrong: 0"]))
    # while the program's own kind of socket comes back, to show a refusal or to be connected directly
    setattr(Opening, f"test_{each}_refused",
            lambda self, case=each: self.assertEqual(self.check(case, CLOSED), ["wrong: 0"]))

if __name__ == "__main__":
    L.main(setup)

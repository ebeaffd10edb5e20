#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""What is done on the program's own socket before it has its connection leaves nothing there: the port that it was
bound to, its queue of errors and time stamps, as without the library."""
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L

ECHO = 7000


def setup(lab):
    server = lab.start("server", [L.TOOLS / "echo-server", ECHO])
    server.wait_for_listeners(ECHO, ECHO + 5)


class Traces(L.TestCase):
    def say(self, program, *argv, shim=None):
        r = self.lab.run(["/usr/bin/python3", "-c", program, *argv], shim=shim)
        self.assertEqual((r.code, r.err), (0, ""), r)
        return r.out.decode()


# SO_DONTROUTE before connect(): 1, or set and taken back
LINK = """
import errno, socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, int((sys.argv + [0])[4]))
for value in sys.argv[3].split():
    s.setsockopt(socket.SOL_SOCKET, socket.SO_DONTROUTE, int(value))
print(errno.errorcode.get(s.connect_ex((sys.argv[1], int(sys.argv[2]))), 0))
"""


class Link(Traces):
    """SO_DONTROUTE: nothing beyond the host's own links, whatever a converter could do."""

    def check(self, values, wanted, converted):
        for mptcp in "off", "on":
            for fallback in "none", "direct":
                with self.subTest(f"mptcp = {mptcp}, fallback = {fallback}"):
                    converter = self.lab.converter("--mptcp")
                    shim = self.lab.config(policy=f"mptcp = {mptcp}\nfallback = {fallback}")
                    self.assertEqual(self.say(LINK, L.SERVER, ECHO, values), wanted)
                    self.assertEqual(self.say(LINK, L.SERVER, ECHO, values, shim=shim), wanted)
                    self.assertEqual(len(converter.events("accept")), converted)
                    converter.stop()

    def test_set(self):
        self.check("1", "ENETUNREACH\n", 0)

    def test_of_mptcp(self):
        """LINUX-FACTS 4.18."""
        L.sysctl("client", net__mptcp__enabled=1)
        self.addCleanup(L.sysctl, "client", net__mptcp__enabled=int(L.MPTCP in ("auto", "on")))
        self.assertEqual(self.say(LINK, L.SERVER, ECHO, "1", 262), "0\n")

    def test_taken_back(self):
        self.check("1 0", "0\n", 1)


if __name__ == "__main__":
    L.main(setup)

#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""No round trip is added: packets on the client's link between its SYN and the server's first byte.

Two measures, both from captures on the client's interface, over links with real delays:
- flights: runs of packets in one direction; an acknowledgement that carries nothing ends no run;
- the time from the SYN to the server's first byte, in round trips between client and server.
The second one also shows what the first cannot: somebody who waits for a bare acknowledgement.
"""
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import captures
import lab as L
import servers

DELAY = (20, 10)  # ms one way: client's link, server's link
RTT = 2 * sum(DELAY) / 1000
CLIENT_RTT = 2 * DELAY[0] / 1000

GET = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, int(sys.argv[1]))
s.connect(("10.2.0.2", 80))
s.sendall(b"GET /small HTTP/1.0\\r\\n\\r\\n")
while s.recv(4096):
    pass
"""
BLOCKING = ["/usr/bin/python3", "-c", GET, 6]
MPTCP = ["/usr/bin/python3", "-c", GET, 262]
POLL = ["curl", "-sS", f"http://{L.SERVER}/small"]


def setup(lab):
    servers.nginx(lab)


def steady(look):
    """The shortest of three or more, until another one was nearly as short: others on this machine can only make
    it longer, and on a busy one they make three of three."""
    seen = []
    while len(seen) < 3 or seen[1][-1] - seen[0][-1] > 0.1 * CLIENT_RTT and len(seen) < 12:
        seen = sorted([*seen, look()], key=lambda one: one[-1])
    return seen[0]


class Flights(L.TestCase):
    def seen(self, argv, shim=None, warm=True):
        """Of the last of two connections: the first one brings the cookie."""
        converted = shim is not None
        if warm:
            self.run_it(argv, shim)
        capture = captures.Capture(self.lab)
        self.run_it(argv, shim)
        (connection,) = captures.connections(capture.packets())
        return connection, *captures.flights(connection, converted)

    def run_it(self, argv, shim):
        r = self.lab.run(argv, shim=shim)
        self.assertEqual(r.code, 0, r)
        if shim is not None:
            self.assertIn(": connected", r.log, r)

    def best(self, *args, **more):
        return steady(lambda: self.seen(*args, **more))

    def report(self, what, flights, seconds):
        self.note(f"{what}: {flights} flights, first byte of the server after "
                  f"{seconds * 1000:.1f} ms = {seconds / RTT:.2f} round trips")

    def check(self, argv, *options, settings=""):
        _, flights, seconds = self.best(argv)
        self.report("direct", flights, seconds)
        self.assertEqual(flights, 4)  # SYN; SYN+ACK; request; answer
        self.lab.converter(*options)
        shim = self.lab.config(settings)
        connection, c_flights, c_seconds = self.best(argv, shim)
        self.report("converted", c_flights, c_seconds)
        self.assertEqual(c_flights, flights, "\n".join(map(str, connection)))
        self.assertLess(abs(c_seconds - seconds), 0.5 * CLIENT_RTT)
        self.assertEqual(len(connection[0].data), 28)  # with the MPTCP option

    def test_cookie_blocking(self):
        self.check(BLOCKING, "--fastopen", "cookie")

    def test_cookie_poll(self):
        self.check(POLL, "--fastopen", "cookie")

    def test_no_cookie_blocking(self):
        self.check(BLOCKING, settings="fast-open = no-cookie")

    def test_no_cookie_poll(self):
        self.check(POLL, settings="fast-open = no-cookie")

    def test_hold_cookie(self):
        self.check(POLL, "--hold", "--fastopen", "cookie")

    def test_hold_no_cookie(self):
        self.check(BLOCKING, "--hold", settings="fast-open = no-cookie")

    def test_what_the_first_connection_costs(self):
        """Its SYN asks for the cookie: one round trip to the converter more, once."""
        _, _, seconds = self.best(POLL)

        def one():
            v4, _ = self.lab.fresh_addresses()
            converter = self.lab.converter("--fastopen", "cookie", listen=[v4])
            self.lab.run(["curl", "-s", f"http://{v4}:1/"])  # so that its link address is known
            seen = self.seen(POLL, self.lab.config(address=v4), warm=False)
            converter.stop()
            return seen
        _, flights, first = steady(one)
        self.report("cookie unknown", flights, first)
        self.assertLess(abs(first - seconds - CLIENT_RTT), 0.5 * CLIENT_RTT)

    def test_what_switched_off_fast_open_costs(self):
        L.sysctl("client", net__ipv4__tcp_fastopen=0)
        self.addCleanup(L.sysctl, "client", net__ipv4__tcp_fastopen=1)
        self.lab.converter()
        _, _, seconds = self.best(POLL)
        _, flights, off = self.best(POLL, self.lab.config())
        self.report("tcp_fastopen = 0", flights, off)
        self.assertLess(abs(off - seconds - CLIENT_RTT), 0.5 * CLIENT_RTT)

    def test_one_path_pays_nothing_for_mptcp(self):
        """By mptcp = auto, which is as off there; a second path is worth what on costs (2b.3)."""
        self.addCleanup(self.lab.endpoint, *self.lab.endpoints)
        self.lab.endpoint(f"{L.CLIENT} dev c0 subflow", f"{L.CLIENT6} dev c0 subflow")
        self.lab.converter("--mptcp", "--fastopen", "cookie")
        seen = {}
        for mptcp in "off", "auto", "on":
            connection, *seen[mptcp] = self.best(POLL, self.lab.config(policy=f"mptcp = {mptcp}"))
            self.report(f"mptcp = {mptcp}", *seen[mptcp])
            self.assertEqual(connection[0].option(captures.MPTCP) is not None, mptcp == "on")
        self.assertEqual(seen["auto"][0], seen["off"][0])
        self.assertLess(abs(seen["auto"][1] - seen["off"][1]), 0.9 * CLIENT_RTT)

    def test_what_linux_adds_for_mptcp(self):
        """A program that opens Multipath TCP itself. Linux sends nothing on an accepted MPTCP
        socket before the third packet of its handshake has come (LINUX-FACTS 2b.3)."""
        with open("/proc/sys/net/mptcp/enabled") as f:
            if f.read().strip() != "1":
                self.skipTest("net.mptcp.enabled is not 1")
        _, flights, seconds = self.best(MPTCP)
        self.report("direct, MPTCP asked for", flights, seconds)
        for options, mptcp in ((["--mptcp"], True), ([], False)):
            converter = self.lab.converter(*options)
            connection, flights, more = self.best(MPTCP,
                                                  self.lab.config("fast-open = no-cookie"))
            self.assertIsNotNone(connection[0].option(captures.MPTCP), connection[0])
            self.assertEqual(connection[1].option(captures.MPTCP) is not None, mptcp)
            self.report(f"converted, converter {'with' if mptcp else 'without'} MPTCP", flights,
                        more)
            self.assertLess(more - seconds, (1.5 if mptcp else 0.5) * CLIENT_RTT)
            converter.stop()


if __name__ == "__main__":
    L.main(setup, delay_ms=DELAY)

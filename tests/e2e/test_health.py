#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""What is learned of converters, by one process for the next: failures, dialect, options, cookies."""
import json
import sys
import time

sys.path.insert(1, sys.path[0] + "/../lab")
import captures
import lab as L
import servers


def setup(lab):
    servers.nginx(lab)


class Health(L.TestCase):
    def shim(self, address, converter="", policy="", state=None):
        return self.lab.config(converter, policy + "\nfallback = direct\nmptcp = off",
                               address=address) | {"CONVERT_STATE": str(state or self.state)}

    def setUp(self):
        self.state = self.lab.file("state")
        self.v4, _ = self.lab.fresh_addresses()

    def who(self, shim):
        """(whom the server saw, the client's connections, how long it took)"""
        capture = captures.Capture(self.lab)
        r = self.lab.run(["curl", "-sS", f"http://{L.SERVER}/who"], shim=shim)
        self.assertEqual(r.code, 0, r)
        return (r.out.decode().strip(), captures.connections(capture.packets()), r.seconds)

    def converted(self, shim):
        seen, connections, _ = self.who(shim)
        self.assertEqual(seen, L.ROUTER)
        return connections

    def direct(self, shim):
        seen, connections, _ = self.who(shim)
        self.assertEqual(seen, L.CLIENT)
        return connections


class Failures(Health):
    def one_by_one(self, shim, n):
        """(whom the server saw, the client's connections, how long each took) of so many processes, with nothing
        between them: a failure is remembered for a second at first."""
        capture = captures.Capture(self.lab)
        curl = f"curl -sS -w ' %{{time_total}}\n' http://{L.SERVER}/who;"
        r = self.lab.run(["sh", "-c", n * curl], shim=shim)
        self.assertEqual(r.code, 0, r)
        words = r.out.decode().split()
        return words[::2], captures.connections(capture.packets()), [float(word) for word in words[1::2]]

    def test_left_alone_and_found_again(self):
        """One connection finds the converter dead, the next send it nothing; the time it is left
        alone grows to `retry`; one probe finds it alive."""
        shim = self.shim(self.v4, policy="retry = 2s\ntimeout = 500ms")
        alone, looks = [], []
        for _ in range(4):
            while True:  # by one process at a time, which is what asks
                first = time.monotonic()
                looks.append(first)
                seen, connections, _ = self.one_by_one(shim, 2)
                self.assertEqual(seen, 2 * [L.CLIENT])
                to = [c[0].dst for c in connections]
                if self.v4 in to:
                    break
                self.assertEqual(to, 2 * [L.SERVER])
            ended = time.monotonic()
            self.assertEqual(sorted(to), sorted([self.v4, L.SERVER, L.SERVER]))
            alone.append(first)
        gaps = [b - a for a, b in zip(alone, alone[1:])]
        self.note(f"a dead converter was tried again after {', '.join(f'{g:.2f}' for g in gaps)} s")
        longest = max(b - a for a, b in zip(looks, looks[1:]))
        for gap, patience in zip(gaps, (1, 2, 2)):  # known after one look, over before the next, or at its end
            self.assertTrue(patience - longest - 0.1 < gap < patience + 2 * longest + 0.1, (gaps, longest))
        self.lab.converter("--fastopen", "cookie", listen=[self.v4])
        L.wait_for("a probe", lambda: self.who(shim)[0] == L.ROUTER, 4)
        for _ in range(3):
            self.assertEqual(len(self.converted(shim)), 1)
        self.assertLess(time.monotonic() - ended, 2 + 6 * longest)

    def test_silence_costs_one_time_limit(self):
        self.lab.converter("--fault", "silence", listen=[self.v4])
        shim = self.shim(self.v4, policy="timeout = 2s")
        _, connections, seconds = self.one_by_one(shim, 2)
        # the second asks whether it is there, as it may be the server that is silent
        self.assertEqual([c[0].dst for c in connections], [self.v4, self.v4, L.SERVER, L.SERVER])
        self.assertTrue(2 <= seconds[0] < 4, seconds)
        self.assertLess(seconds[1], 2)

    def test_the_next_converter(self):
        """The connection that finds the first dead goes on by the second, the next ones begin there;
        so they do with fallback = none."""
        other, _ = self.lab.fresh_addresses()
        self.lab.converter("--fastopen", "cookie", listen=[other])
        for more in "", "\nfallback = none":
            with self.subTest(more):
                self.state = self.lab.file("state")
                shim = self.lab.config("", "mptcp = off" + (more or "\nfallback = direct"),
                                       address=[self.v4, other]) | {
                                           "CONVERT_STATE": str(self.state)}
                seen, connections, _ = self.one_by_one(shim, 3)
                self.assertEqual(seen, 3 * [L.ROUTER])
                self.assertEqual([c[0].dst for c in connections], [self.v4, other, other, other])

    def test_no_converter_is_left(self):
        """Each is asked once, and then the server."""
        others = [self.lab.fresh_addresses()[0] for _ in range(5)]
        self.lab.converter("--fault", "close", "--fastopen", "cookie", listen=others[:1])
        shim = self.shim(others)
        self.assertEqual([c[0].dst for c in self.direct(shim)], others[:4] + [L.SERVER])

    def test_the_next_converter_after_a_silent_one(self):
        """The silent one has its part of `timeout` and no more; after that it is left alone."""
        other, _ = self.lab.fresh_addresses()
        self.lab.converter("--fault", "silence", listen=[self.v4])
        self.lab.converter("--fastopen", "cookie", listen=[other])
        for fallback in "direct", "none":
            with self.subTest(fallback):
                self.state = self.lab.file("state")
                shim = self.lab.config("", f"mptcp = off\ntimeout = 4s\nfallback = {fallback}",
                                       address=[self.v4, other]) | {
                                           "CONVERT_STATE": str(self.state)}
                seen, connections, seconds = self.one_by_one(shim, 2)
                self.assertEqual(seen, 2 * [L.ROUTER])
                self.assertEqual([c[0].dst for c in connections], [self.v4, other, other])
                self.assertTrue(1.9 <= seconds[0] < 4, seconds)

    def test_patience_that_is_asked_for(self):
        self.lab.converter("--fault", "error=64:02", listen=[self.v4])
        shim = self.shim(self.v4)
        before = time.monotonic()
        self.assertEqual(len(self.direct(shim)), 2)
        begun = told = time.monotonic()
        while len(self.direct(shim)) == 1:
            self.assertLess(begun - told, 2)
            begun = time.monotonic()
        self.assertGreater(time.monotonic() - before, 1.9)

    def test_patience_without_a_number(self):
        """Error 65 says 0; what an unknown one of the same class says nobody knows (PROTOCOL 2)."""
        for error in "65:00", "70", "70:01", "95:0001":
            with self.subTest(error):
                self.setUp()
                converter = self.lab.converter("--fault", f"error={error}", listen=[self.v4])
                shim = self.shim(self.v4)
                self.assertEqual(len(self.direct(shim)), 2)
                r = self.lab.run([L.BUILD / "convert-bootstrap", "status", "-j"], env=shim)
                (known,) = L.validated("status", r.out)["converters"]
                self.assertEqual(known["failures"], 1, known)
                self.assertIn(known["left_alone_s"], range(20, 31), known)
                converter.stop()

    def test_fallback_none_asks_all_the_same(self):
        shim = self.shim(self.v4)
        self.direct(shim)
        none = self.lab.config(policy="fallback = none", address=self.v4) | {
            "CONVERT_STATE": str(self.state)}
        r = self.lab.run(["curl", "-sS", f"http://{L.SERVER}/who"], shim=none)
        self.assertEqual(r.code, 7, r)

    def test_without_a_state_file_every_process_learns_by_itself(self):
        shim = self.shim(self.v4, state="none")
        for _ in range(2):
            self.assertEqual(len(self.direct(shim)), 2)
        capture = captures.Capture(self.lab)
        r = self.lab.run(["/usr/bin/python3", "-c", "import socket\nfor _ in range(3):\n"
                          f"    socket.create_connection(({L.SERVER!r}, 80))"], shim=shim)
        self.assertEqual(r.code, 0, r)
        self.assertEqual([c[0].dst for c in captures.connections(capture.packets())],
                         [self.v4, L.SERVER, L.SERVER, L.SERVER])


class Learned(Health):
    def words(self, connection):
        """The header words of the Convert messages that went out."""
        start = connection[0].seq + 1
        return [p.data[2:4].hex() for p in connection
                if p.src == L.CLIENT and p.data[:1] == b"\1" and
                (p.seq + p.is_syn() - start) % 2**32 == 0]

    def test_dialect(self):
        """A converter of the draft that does not answer another dialect: found by the second
        connection, known to the third."""
        for dialect in "draft-02", "hybrid":
            with self.subTest(dialect):
                self.setUp()
                converter = self.lab.converter("--dialect", dialect, "--fastopen", "cookie",
                                               listen=[self.v4])
                shim = self.shim(self.v4)
                first = self.direct(shim)
                self.assertEqual(self.words(first[0]), ["2263"])
                L.wait_for("the next try", lambda: self.who(shim)[0] == L.ROUTER, 4)
                self.assertEqual(self.words(self.converted(shim)[0]), ["0000"])
                converter.stop()

    def test_convert_cookie(self):
        self.lab.converter("--cookie-required", "--fastopen", "cookie", listen=[self.v4])
        shim = self.shim(self.v4)
        self.assertEqual(len(self.converted(shim)), 2)  # Missing Cookie, then with it
        (connection,) = self.converted(shim)
        self.assertEqual(connection[0].data[24], 22)  # a Cookie TLV in the SYN

    def test_convert_cookie_that_is_refused(self):
        """Its key has changed since: dropped, asked for a new one, and that is kept."""
        cookie = ["--cookie-required", "--fastopen", "cookie"]
        converter = self.lab.converter(*cookie, listen=[self.v4])
        shim = self.shim(self.v4)
        self.assertEqual([len(self.converted(shim)) for _ in range(2)], [2, 1])
        converter.stop()
        converter = self.lab.converter(*cookie, listen=[self.v4])
        self.assertEqual(len(self.converted(shim)), 3)
        self.assertEqual([e["code"] for e in converter.events("error")], ["32", "3"])
        self.assertEqual(len(self.converted(shim)), 1)

    def test_unknown_error_to_a_cookie(self):
        """It may be the cookie, if it is about the client: as Not Authorized (PROTOCOL 2)."""
        converter = self.lab.converter("--cookie-required", "--fastopen", "cookie", listen=[self.v4])
        shim = self.shim(self.v4)
        self.assertEqual([len(self.converted(shim)) for _ in range(2)], [2, 1])
        converter.stop()
        self.lab.converter("--fault", "error=40", "--fastopen", "cookie", listen=[self.v4])
        connections = self.direct(shim)
        self.assertEqual([(c[0].dst, len(c[0].data)) for c in connections],
                         [(self.v4, 36), (self.v4, 24), (L.SERVER, 0)])

    def test_configured_cookie_that_is_refused(self):
        """It is nobody's to drop."""
        converter = self.lab.converter("--cookie-required", "--cookie", "right", "--fastopen",
                                       "cookie", listen=[self.v4])
        self.assertEqual(len(self.direct(self.shim(self.v4, "cookie = wrong"))), 2)
        self.assertEqual([e["code"] for e in converter.events("error")], ["32"])

    def test_cookie_that_is_not_understood(self):
        """Unsupported Message: once more without, and no more than once."""
        self.lab.converter("--fault", "error=2:00", "--fastopen", "no-cookie", listen=[self.v4])
        connections = self.direct(self.shim(self.v4, "cookie = text\nfast-open = no-cookie"))
        self.assertEqual([(c[0].dst, len(c[0].data)) for c in connections],
                         [(self.v4, 32), (self.v4, 24), (L.SERVER, 0)])

    def test_refused_option(self):
        self.lab.converter("--mptcp", "--kinds", "none", "--fastopen", "cookie", listen=[self.v4])
        shim = self.lab.config("", "fallback = direct", address=self.v4) | {
            "CONVERT_STATE": str(self.state)}
        L.sysctl("client", net__mptcp__enabled=1)
        self.assertEqual(len(self.converted(shim)), 2)
        (connection,) = self.converted(shim)
        self.assertEqual(len(connection[0].data), 24, connection[0])

    def test_syn_data_that_is_lost(self):
        """A converter that has lost its Fast Open: after the third time no data is sent in a SYN."""
        self.lab.converter("--fastopen", "cookie", listen=[self.v4])
        shim = self.shim(self.v4)
        for expected in 0, 24:
            (connection,) = self.converted(shim)
            self.assertEqual(len(connection[0].data), expected)
        L.sysctl("converter", net__ipv4__tcp_fastopen=1)
        try:
            state = self.lab.file("state")
            for expected in 24, 24, 24, 0, 0:
                (connection,) = self.converted(self.shim(self.v4, state=state))
                self.assertEqual(len(connection[0].data), expected)
        finally:
            L.sysctl("converter", net__ipv4__tcp_fastopen=3)

    def test_strict(self):
        """The first time that the SYN+ACK leaves the data out is the last (P-30)."""
        self.lab.converter("--fastopen", "cookie", listen=[self.v4])
        shim = self.shim(self.v4, policy="strict = yes")
        for expected in 0, 24, 24:
            (connection,) = self.converted(shim)
            self.assertEqual(len(connection[0].data), expected)
        L.sysctl("converter", net__ipv4__tcp_fastopen=1)
        try:
            (connection,) = self.converted(shim)
            self.assertEqual(len(connection[0].data), 24)
            for _ in range(2):
                self.assertEqual([c[0].dst for c in self.direct(shim)], [L.SERVER])
            none = self.lab.config(policy="strict = yes\nfallback = none\nmptcp = off",
                                   address=self.v4) | {"CONVERT_STATE": str(self.state)}
            r = self.lab.run(["curl", "-sS", f"http://{L.SERVER}/who"], shim=none)
            self.assertEqual(r.code, 7, r)
            self.assertRegex(r.log, "failed .*strict")
            # another configuration that is not strict has no quarrel with it
            (connection,) = self.converted(self.shim(self.v4))
            self.assertEqual(len(connection[0].data), 24)
        finally:
            L.sysctl("converter", net__ipv4__tcp_fastopen=3)


# One connection, and then three whenever the next of these files is there, which is then taken away.
IN_STEPS = """
import os, socket, sys, time
for step in sys.argv[2:]:
    while not os.path.exists(step):
        time.sleep(0.01)
    for _ in range(3 if step != sys.argv[2] else 1):
        socket.create_connection((sys.argv[1], 80)).close()
    os.unlink(step)
time.sleep(20)
"""


class Networks(Health):
    """A handover: the process takes the network for the same for ten seconds. What is seen in the next one is not
    written down of this one, where it would hold for a day."""

    def setUp(self):
        super().setUp()
        self.other = "10.1.0.9"

    def known(self, shim):
        """{whether it is from the network where we are: what is known of MPTCP there}"""
        r = self.lab.run([L.BUILD / "convert-bootstrap", "status", "-j"], shim=shim)
        return {bool(c["interface"]): c["mptcp"] for c in json.loads(r.out)["converters"]}

    def test_mptcp_that_the_next_one_takes_out(self):
        L.sysctl("client", net__mptcp__enabled=1)
        converter = self.lab.converter("--mptcp", listen=[self.v4])
        shim = self.lab.config("fast-open = no-cookie", "mptcp = on", address=self.v4) | {
            "CONVERT_STATE": str(self.state)}
        steps = [self.lab.file("step") for _ in range(3)]
        program = self.lab.start("client", ["env", f"LD_PRELOAD={L.SHIM}", *(f"{k}={v}" for k, v in shim.items()),
                                            "/usr/bin/python3", "-BES", "-c", IN_STEPS, L.SERVER, *steps])

        def go(step):
            step.touch()
            program.wait_for("its connections", lambda: not step.exists())
        go(steps[0])
        self.assertEqual(self.known(shim), {True: "works"})
        converter.stop()
        self.lab.converter(listen=[self.v4])
        L.command(["ip", "-n", "client", "addr", "add", self.other + "/32", "dev", "c0"])
        try:
            L.command(["ip", "-n", "client", "route", "add", self.v4, "dev", "c0", "src", self.other])
            go(steps[1])
            self.assertEqual(self.known(shim)[False], "works")
            go(steps[2])
            self.assertEqual(self.known(shim), {False: "works", True: "lost on the path"})
        finally:
            L.command(["ip", "-n", "client", "addr", "del", self.other + "/32", "dev", "c0"])


class Weights(Health):
    def test_shares(self):
        """By server, and those of a converter that is dead go to the other."""
        others = [self.lab.fresh_addresses()[0] for _ in range(2)]
        self.lab.converter("--fastopen", "no-cookie", listen=others)
        for i in range(16):
            L.command(["ip", "-n", "server", "addr", "add", f"10.2.0.{100 + i}/24", "dev", "s0"])
        program = ("import socket\nfor i in range(16):\n"
                   "    socket.create_connection((f'10.2.0.{100 + i}', 80)).close()")

        def run(addresses):
            file = self.lab.file("convert.conf", "".join(
                f"[converter {name}]\naddress = {address}\nweight = 1\nfast-open = no-cookie\n"
                for name, address in zip("ab", addresses)) + "[policy]\nmptcp = off\n")
            capture = captures.Capture(self.lab)
            r = self.lab.run(["/usr/bin/python3", "-c", program],
                             shim={"CONVERT_CONF": str(file), "CONVERT_STATE": str(self.state)})
            self.assertEqual(r.code, 0, r)
            return [c[0].dst for c in captures.connections(capture.packets())]
        both = run(others)
        self.assertEqual(len(both), 16)
        self.assertGreaterEqual(min(both.count(a) for a in others), 3, both)
        self.assertEqual(run(others), both)
        dead = run([self.v4, others[1]])
        self.assertEqual(dead.count(self.v4), 1)
        self.assertEqual(dead.count(others[1]), 16)


if __name__ == "__main__":
    L.main(setup)

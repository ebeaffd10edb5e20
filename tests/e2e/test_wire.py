#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""What goes over the client's link, against bytes written by hand from the two texts."""
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import captures
import lab as L
import servers

# PROTOCOL: header (version 1, length in words, header word), Connect TLV (type 10, 5 words, port
# 80, address as IPv6)
HEADER_WORD = {"rfc8803": "2263", "draft-02": "0000", "hybrid": "0000"}
V4_SERVER = "0a050050 00000000 00000000 0000ffff 0a020002"  # 10.2.0.2 port 80
V6_SERVER = "0a050050 fd020000 00000000 00000000 00000002"  # fd02::2 port 80

GET = """
import socket, sys
family, address, port = sys.argv[1:4]
s = socket.socket(getattr(socket, family))
try:
    s.connect((address, int(port)))
except OSError as e:
    sys.exit("connect: " + str(e.errno))
s.sendall(b"GET /small HTTP/1.0\\r\\n\\r\\n")
data = b""
while (piece := s.recv(4096)):
    data += piece
print(data.split(b"\\r\\n\\r\\n", 1)[1].decode(), end="")
"""


def message(word, *tlvs):
    body = bytes.fromhex("".join(tlvs))
    return bytes([1, 1 + len(body) // 4]) + bytes.fromhex(word) + body


def setup(lab):
    servers.nginx(lab)
    # the addresses of PROTOCOL's examples
    for address, route in (("192.0.2.1/32", ["via", L.SERVER]), ("2001:db8::1/128",
                                                                 ["via", L.SERVER6])):
        L.command(["ip", "-n", "server", "addr", "add", address, "dev", "s0"] +
                  ["nodad"] * (":" in address))
        L.command(["ip", "-n", "converter", "route", "add", address] + route)


class Wire(L.TestCase):
    def get(self, shim, family="AF_INET", address=L.SERVER, port=80, want=0):
        r = self.lab.run(["/usr/bin/python3", "-c", GET, family, address, port], shim=shim)
        self.assertEqual(r.code, want, r)
        if not want:
            self.assertEqual(r.out, b"hello from nginx\n", r)
        return r

    def curl(self, shim, url=f"http://{L.SERVER}/small"):
        r = self.lab.run(["curl", "-sSk", url], shim=shim)
        self.assertEqual((r.code, r.out), (0, b"hello from nginx\n"), r)

    def seen(self, capture, n):
        """n connections of the client."""
        found = captures.connections(capture.packets())
        self.assertEqual(len(found), n, "\n".join(str(p) for c in found for p in c))
        return found

    def check_cookie_request(self, connection, cookie_reply=True):
        syn, syn_ack = connection[:2]
        self.assertTrue(syn.is_syn() and syn_ack.is_syn_ack(), connection)
        self.assertEqual(syn.option(captures.FAST_OPEN), b"", syn)
        self.assertEqual(syn.data, b"", syn)
        if cookie_reply:
            self.assertIn(len(syn_ack.option(captures.FAST_OPEN)), range(4, 17), syn_ack)
        return syn_ack.option(captures.FAST_OPEN)

    def check_first_data(self, connection, expected):
        """The client's first bytes: the message, alone in its segment, right after the SYN."""
        syn = connection[0]
        first = next(p for p in connection if p.data and p.src == syn.src)
        self.assertEqual(first.data.hex(), expected.hex(), first)
        self.assertEqual(first.seq, (syn.seq + 1) % 2**32, first)
        return first

    def check_syn_data(self, connection, expected, cookie):
        syn, syn_ack = connection[:2]
        self.assertTrue(syn.is_syn(), syn)
        self.assertEqual(syn.data.hex(), expected.hex(), syn)
        self.assertEqual(syn.option(captures.FAST_OPEN), cookie, syn)
        self.assertTrue(syn_ack.is_syn_ack(), syn_ack)
        self.assertEqual(syn_ack.ack, (syn.seq + 1 + len(expected)) % 2**32, syn_ack)


class Cookies(Wire):
    """Fast Open: a cookie is asked for, then used."""

    def check(self, dialect, get):
        v4, v6 = self.lab.fresh_addresses()
        self.lab.converter("--fastopen", "cookie", "--dialect", dialect, listen=[v4, f"[{v6}]"])
        for address, family, server, tlv in ((v4, "AF_INET", L.SERVER, V4_SERVER),
                                             (v6, "AF_INET6", L.SERVER6, V6_SERVER)):
            with self.subTest(family):
                capture = captures.Capture(self.lab)
                shim = self.lab.config(f"dialect = {dialect}", address=address)
                get(shim, family, server)
                get(shim, family, server)
                first, second = self.seen(capture, 2)
                expected = message(HEADER_WORD[dialect], tlv)
                self.assertEqual(len(expected), 24)
                cookie = self.check_cookie_request(first)
                self.check_first_data(first, expected)
                self.check_syn_data(second, expected, cookie)

    def test_rfc8803_blocking(self):
        self.check("rfc8803", self.get)

    def test_draft02_blocking(self):
        self.check("draft-02", self.get)

    def test_hybrid_blocking(self):
        self.check("hybrid", self.get)

    def test_rfc8803_poll(self):
        self.check("rfc8803", self.curl_to)

    def test_draft02_poll(self):
        self.check("draft-02", self.curl_to)

    def curl_to(self, shim, _family, server):
        self.curl(shim, f"http://[{server}]/small" if ":" in server else f"http://{server}/small")

    def test_examples_of_the_texts(self):
        """PROTOCOL 1.5: D4 and R3, byte for byte, to their server 192.0.2.1 port 443."""
        for dialect, expected in (
                ("draft-02", "01060000 0a0501bb 00000000 00000000 0000ffff c0000201"),
                ("rfc8803", "01062263 0a0501bb 00000000 00000000 0000ffff c0000201")):
            with self.subTest(dialect):
                v4, _ = self.lab.fresh_addresses()
                self.lab.converter("--fastopen", "cookie", "--dialect", dialect, listen=[v4])
                capture = captures.Capture(self.lab)
                for _ in range(2):
                    self.curl(self.lab.config(f"dialect = {dialect}", address=v4),
                              "https://192.0.2.1/small")
                first, second = self.seen(capture, 2)
                cookie = self.check_cookie_request(first)
                self.check_first_data(first, bytes.fromhex(expected))
                self.check_syn_data(second, bytes.fromhex(expected), cookie)


class NoCookie(Wire):
    def test_first_syn_carries_the_message(self):
        for dialect in HEADER_WORD:
            with self.subTest(dialect):
                v4, _ = self.lab.fresh_addresses()
                self.lab.converter("--fastopen", "no-cookie", "--dialect", dialect, listen=[v4])
                capture = captures.Capture(self.lab)
                shim = self.lab.config(f"dialect = {dialect}\nfast-open = no-cookie", address=v4)
                self.get(shim)
                self.curl(shim)
                for connection in self.seen(capture, 2):
                    self.check_syn_data(connection, message(HEADER_WORD[dialect], V4_SERVER), None)

    def test_ipv6(self):
        _, v6 = self.lab.fresh_addresses()
        self.lab.converter("--fastopen", "no-cookie", listen=[f"[{v6}]"])
        capture = captures.Capture(self.lab)
        shim = self.lab.config("fast-open = no-cookie", address=v6)
        self.get(shim, "AF_INET6", L.SERVER6)
        self.curl(shim, f"http://[{L.SERVER6}]/small")
        for connection in self.seen(capture, 2):
            self.check_syn_data(connection, message("2263", V6_SERVER), None)

    def test_converter_that_takes_no_syn_data(self):
        """The kernel sends the message again, behind the handshake; nothing is lost or doubled."""
        v4, _ = self.lab.fresh_addresses()
        self.lab.converter("--fastopen", "off", listen=[v4])
        capture = captures.Capture(self.lab)
        shim = self.lab.config("fast-open = no-cookie", address=v4)
        self.get(shim)
        self.curl(shim)
        for connection in self.seen(capture, 2):
            syn, syn_ack = connection[:2]
            self.assertEqual(syn.data, message("2263", V4_SERVER), syn)
            self.assertEqual(syn_ack.ack, (syn.seq + 1) % 2**32, syn_ack)
            again = [p for p in connection[2:] if p.data and p.src == syn.src]
            self.assertEqual(again[0].data, message("2263", V4_SERVER), again[0])


class SwitchedOff(Wire):
    """net.ipv4.tcp_fastopen = 0 in the client: a plain SYN, the message right behind it."""

    def test_plain_syn_then_message(self):
        self.lab.converter()
        L.sysctl("client", net__ipv4__tcp_fastopen=0)
        self.addCleanup(L.sysctl, "client", net__ipv4__tcp_fastopen=1)
        for dialect_line in ("", "fast-open = no-cookie"):
            capture = captures.Capture(self.lab)
            shim = self.lab.config(dialect_line)
            self.get(shim)
            self.curl(shim)
            for connection in self.seen(capture, 2):
                syn = connection[0]
                self.assertEqual((syn.data, syn.option(captures.FAST_OPEN)), (b"", None), syn)
                self.check_first_data(connection, message("2263", V4_SERVER))


class Families(Wire):
    """Programs of either family, servers of either, converters of either."""

    def check(self, family, server, converter, tlv):
        self.lab.converter()
        capture = captures.Capture(self.lab)
        self.get(self.lab.config("fast-open = no-cookie", address=converter), family, server)
        (connection,) = self.seen(capture, 1)
        self.check_syn_data(connection, message("2263", tlv), None)
        self.assertEqual((connection[0].dst, connection[0].dport), (converter, L.PORT))

    def test_mapped_program_v4_converter(self):
        self.check("AF_INET6", "::ffff:" + L.SERVER, L.CONVERTER, V4_SERVER)

    def test_mapped_program_v6_converter(self):
        self.check("AF_INET6", "::ffff:" + L.SERVER, L.CONVERTER6, V4_SERVER)

    def test_v6_program_v4_converter(self):
        self.check("AF_INET6", L.SERVER6, L.CONVERTER, V6_SERVER)

    def test_v4_program_v4_converter(self):
        self.check("AF_INET", L.SERVER, L.CONVERTER, V4_SERVER)

    def test_v6_program_v6_converter(self):
        self.check("AF_INET6", L.SERVER6, L.CONVERTER6, V6_SERVER)

    def test_the_converter_of_the_programs_family_is_taken(self):
        self.lab.converter()
        for family, server, converter in (("AF_INET", L.SERVER, L.CONVERTER),
                                          ("AF_INET6", L.SERVER6, L.CONVERTER6)):
            capture = captures.Capture(self.lab)
            self.get(self.lab.config(address=[L.CONVERTER6, L.CONVERTER]), family, server)
            self.get(self.lab.config(address=[L.CONVERTER, L.CONVERTER6]), family, server)
            if family == "AF_INET":
                for connection in self.seen(capture, 2):
                    self.assertEqual(connection[0].dst, converter)


class CookieTLV(Wire):
    """RFC 8803's Cookie TLV; the one retry after Missing Cookie (P-27)."""

    COOKIE = "16030000 7365637265743132"  # "secret12"
    PADDED = "16030000 7365637265000000"  # "secre"

    def test_configured(self):
        self.lab.converter("--cookie-required", "--cookie", "secret12")
        capture = captures.Capture(self.lab)
        self.get(self.lab.config("cookie = secret12\nfast-open = no-cookie"))
        (connection,) = self.seen(capture, 1)
        self.check_syn_data(connection, message("2263", V4_SERVER, self.COOKIE), None)

    def test_configured_in_a_file_and_padded(self):
        self.lab.converter()
        file = self.lab.file("cookie", "secre")
        capture = captures.Capture(self.lab)
        self.get(self.lab.config(f"cookie = @{file}\nfast-open = no-cookie"))
        (connection,) = self.seen(capture, 1)
        self.check_syn_data(connection, message("2263", V4_SERVER, self.PADDED), None)

    def test_draft02_has_none(self):
        self.lab.converter("--dialect", "draft-02")
        capture = captures.Capture(self.lab)
        self.get(self.lab.config("cookie = secret12\nfast-open = no-cookie\ndialect = draft-02"))
        (connection,) = self.seen(capture, 1)
        self.check_syn_data(connection, message("0000", V4_SERVER), None)

    def check_retry(self, get):
        converter = self.lab.converter("--cookie-required")
        capture = captures.Capture(self.lab)
        get(self.lab.config("fast-open = no-cookie"))
        first, second = self.seen(capture, 2)
        self.check_syn_data(first, message("2263", V4_SERVER), None)
        self.assertIn("R", "".join(p.flags for p in first if p.src == L.CLIENT), "P-25: reset")
        # Error 3: version, length, magic; type 30, length, code 3, 0; then the cookie
        reply = next(p.data for p in first if p.data and p.src == L.CONVERTER)
        self.assertEqual(reply[2:5] + reply[6:8], bytes.fromhex("22631e0300"), reply.hex())
        cookie = reply[8:4 * reply[1]]
        tlv = bytes([22, 1 + len(cookie) // 4, 0, 0]) + cookie
        self.check_syn_data(second, message("2263", V4_SERVER, tlv.hex()), None)
        self.assertEqual(converter.events("error")[0]["code"], "3", converter.events())
        self.assertEqual(len(converter.events("reply")), 1, converter.events())

    def test_missing_cookie_blocking(self):
        self.check_retry(self.get)

    def test_missing_cookie_poll(self):
        self.check_retry(self.curl)

    def test_missing_cookie_twice(self):
        """Once is enough: EACCES."""
        self.lab.converter("--fault", "error=3:00deadbeef01020304")
        capture = captures.Capture(self.lab)
        r = self.get(self.lab.config("fast-open = no-cookie"), want=1)
        self.assertIn("connect: 13", r.err, r)
        first, second = self.seen(capture, 2)
        self.check_syn_data(first, message("2263", V4_SERVER), None)
        self.check_syn_data(second, message("2263", V4_SERVER, "16030000 deadbeef 01020304"), None)

    def test_learnt_cookie_is_used_again_by_the_process(self):
        self.lab.converter("--cookie-required")
        capture = captures.Capture(self.lab)
        r = self.lab.run(["curl", "-sS", "-H", "Connection: close", f"http://{L.SERVER}/small",
                          f"http://{L.SERVER}/small"],
                         shim=self.lab.config("fast-open = no-cookie"))
        self.assertEqual(r.out, b"hello from nginx\n" * 2, r)
        first, second, third = self.seen(capture, 3)
        self.assertEqual(len(first[0].data), 24)
        self.assertEqual(second[0].data, third[0].data)
        self.assertGreater(len(third[0].data), 24)


class Dialects(Wire):
    def test_auto_starts_with_rfc8803(self):
        self.lab.converter("--lenient")
        capture = captures.Capture(self.lab)
        self.get(self.lab.config("fast-open = no-cookie"))
        (connection,) = self.seen(capture, 1)
        self.check_syn_data(connection, message("2263", V4_SERVER), None)

    def test_auto_takes_a_draft_answer(self):
        """A converter that ignores the word and answers with zero (PROTOCOL 6)."""
        self.lab.converter("--lenient", "--dialect", "draft-02")
        self.get(self.lab.config("fast-open = no-cookie"))

    def test_pinned_dialect_refuses_the_other(self):
        for mine, theirs in (("rfc8803", "draft-02"), ("draft-02", "rfc8803"),
                             ("hybrid", "rfc8803")):
            with self.subTest(f"{mine} to {theirs}"):
                converter = self.lab.converter("--lenient", "--dialect", theirs)
                r = self.get(self.lab.config(f"dialect = {mine}"), want=1)
                self.assertIn("connect: 71", r.err, r)  # EPROTO
                converter.stop()


if __name__ == "__main__":
    L.MPTCP = "off"  # test_mptcp.py has the rest
    L.main(setup)

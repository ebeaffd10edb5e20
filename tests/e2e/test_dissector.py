#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""packaging/wireshark/convert.lua: what tshark says of captures of the lab's, and of packets made by hand
from the two texts. No mark of a malformed packet on anything, and no error of the script's.
DISSECTOR=FILES: captures of other suites (LAB_CAPTURE) instead."""
import hashlib
import html
import os
import random
import re
import socket
import struct
import subprocess
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import captures
import lab as L
import paths
import servers
from test_failures import BROKEN, ERRORS, PROBE
from test_wire import GET

SCRIPT = L.ROOT / "packaging/wireshark/convert.lua"
REQUEST = b"GET /small HTTP/1.0\r\n\r\n"
ANSWER = b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello"

PORTS = range(50010, 54300)
OTHER_PORTS = ["convert.ports:5124,6000-6300"]
# tshark reads a file once or twice; the first of two times without any field, or with all of them
PASSES = [], ["-2"], ["-2", "-Y", "frame"]

BAD = ["_ws.malformed", "_ws.lua.error", "_ws.short"]
NAMES = BAD + """_ws.expert.message _ws.col.Info frame.number tcp.stream tcp.srcport tcp.dstport tcp.len tcp.flags
    convert.version convert.length convert.magic convert.tlv.type convert.tlv.length convert.tlv.value
    convert.connect.port convert.connect.address convert.supported convert.cookie convert.cookie.present
    convert.option convert.option.mss convert.option.window_scale convert.option.timestamp
    convert.option.timestamp_echo convert.option.mptcp.subtype convert.option.mptcp.version
    convert.option.mptcp.key convert.option.mptcp.key.present convert.error.code convert.error.version
    convert.error.option convert.error.delay convert.error.icmp_code convert.error.value convert.server
    convert.server6 convert.server_port convert.to convert.dialect convert.error convert.in_syn
    convert.request_in convert.reply_in convert.time convert.wrong
    http.request.uri http.response.code data.data tls.handshake.type tls.record.content_type""".split()


def x(*words):
    return bytes.fromhex("".join(words))


CONNECT = x("01062263 0a050050 00000000 00000000 0000ffff 0a020002")  # 10.2.0.2 port 80
SUCCESS = x("01012263")


def tshark(path, *options, preferences=()):
    """What it prints. What the user of this machine has configured is not read."""
    argv = ["tshark", "-n", "-X", f"lua_script:{SCRIPT}", "-r", path, *options]
    argv += [word for p in preferences for word in ("-o", p)]
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=100,
                          env=L.ENVIRONMENT | {"XDG_CONFIG_HOME": "/nonexistent"})
    if done.returncode or "Lua" in done.stderr:
        raise RuntimeError(f"{argv}: {done.stderr}")
    return done.stdout


class Seen(dict):
    """One packet: a text for each field that is there, several values of one joined by |."""

    def __missing__(self, _):
        return ""


def packets(path, *options, preferences=()):
    names = [word for name in NAMES for word in ("-e", name)]
    lines = tshark(path, *options, "-T", "fields", "-E", "aggregator=|", *names, preferences=preferences)
    return [Seen((name, value) for name, value in zip(NAMES, line.split("\t"), strict=True) if value)
            for line in lines.splitlines()]


class Case(L.TestCase):
    def each_pass(self, path, preferences=()):
        for options in PASSES:
            found = packets(path, *options, preferences=preferences)
            self.assertEqual([p for p in found for name in BAD if p[name]], [], options)
            yield found


# -------------------------------------------------------------------- packets made by hand

class Conversation:
    """The packets of one TCP connection."""

    FLAGS = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16}

    def __init__(self, port=40000, to=5124, client=L.CLIENT, converter=L.CONVERTER):
        self.ends = (client, port), (converter, to)
        self.seq = [1000, 5000]
        self.packets = []

    def send(self, side, flags="PA", data=b"", back=0, options=b""):
        """back: so many bytes of data were sent before."""
        (src, sport), (dst, dport) = self.ends[side], self.ends[1 - side]
        options += bytes(-len(options) % 4)
        tcp = struct.pack("!HHIIBBHHH", sport, dport, self.seq[side] - back,
                          self.seq[1 - side] if "A" in flags else 0, (20 + len(options)) << 2,
                          sum(self.FLAGS[f] for f in flags), 60000, 0, 0) + options + data
        ip = struct.pack("!BBHIBBH4s4s", 0x45, 0, 20 + len(tcp), 0, 64, 6, 0, socket.inet_aton(src),
                         socket.inet_aton(dst))
        self.packets.append(bytes(12) + b"\x08\0" + ip + tcp)
        self.seq[side] += len(data) - back + ("S" in flags) + ("F" in flags)
        return self

    def open(self, message=b""):
        return self.send(0, "S", message).send(1, "SA").send(0, "A")

    def both(self, request, reply):
        return self.open(request).send(1, data=reply).send(0, "A")

    def http(self):
        return self.send(0, data=REQUEST).send(1, data=ANSWER)

    def in_pieces(self, side, data, size):
        for at in range(0, len(data), size):
            self.send(side, data=data[at:at + size])
        return self


def write(path, frames, snap=1 << 18):
    with open(path, "wb") as pcap:
        pcap.write(struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, snap, 1))
        for n, raw in enumerate(frames):
            pcap.write(struct.pack("=IIII", 1700000000, 1000 * n, min(len(raw), snap), len(raw)) +
                       raw[:snap])
    return path


# PROTOCOL 1.5: what the client says, what the converter says, and what the reply's packet then shows
TEXTS = [
    ("D1, D2", "01020000 01010000", "01030000 15020000 1e220000",
     {"convert.tlv.type": "21", "convert.supported": "30|34", "convert.dialect": "draft-02 or hybrid"}),
    ("D3", "01020000 01010000", "01030000 16020000 1e220000",
     {"convert.tlv.type": "22", "convert.supported": "30|34", "convert.dialect": "draft-02"}),
    ("D4, D6", "01060000 0a0501bb 00000000 00000000 0000ffff c0000201",
     "01070000 14060000 020405b4 0402080a 00000001 00000002 01030307",
     {"convert.tlv.type": "20", "convert.option": "2|4|8|1|3", "convert.option.mss": "1460",
      "convert.option.timestamp": "1", "convert.option.timestamp_echo": "2",
      "convert.option.window_scale": "7", "convert.server": "192.0.2.1", "convert.server_port": "443",
      "convert.error": "", "convert.to": "192.0.2.1:443", "convert.request_in": "1",
      "convert.reply_in": "4", "convert.in_syn": "1", "convert.time": "0.003000000"}),
    ("D5, D7", "01090000 0a080050 20010db8 00000000 00000000 00000001 220aa1a2 a3a4a5a6 a7a80000",
     "01020000 1e016000",
     {"convert.server6": "2001:db8::1", "convert.server": "", "convert.to": "[2001:db8::1]:80",
      "convert.error": "96", "convert.tlv.type": "30", "convert.error.code": "96",
      "convert.dialect": "draft-02 or hybrid"}),
    ("D8", "01020000 01010000", "01040000 1e030101 02000001 01000000",
     {"convert.error": "1", "convert.dialect": "draft-02", "convert.tlv.type": "30|1"}),
    ("the same in hybrid", "01020000 01010000", "01040000 1e030100 01020000 01010000",
     {"convert.error": "1", "convert.dialect": "hybrid", "convert.tlv.type": "30|1"}),
    ("R1, R2", "01022263 01010000", "01042263 15030000 04081c1e 22000000",
     {"convert.supported": "4|8|28|30|34", "convert.dialect": "rfc8803", "convert.server": ""}),
    ("R3, R6", "01062263 0a0501bb 00000000 00000000 0000ffff c0000201", "01012263",
     {"convert.tlv.type": "", "convert.server": "192.0.2.1", "convert.dialect": "rfc8803"}),
    ("R4, R7", "01072263 0a060050 20010db8 00000000 00000000 00000001 1e020000",
     "010a2263 14090000 020405b4 0402080a 00000001 00000002 01030307 1e0c0101 11223344 55667788",
     {"convert.option": "2|4|8|1|3|30", "convert.option.mptcp.subtype": "0",
      "convert.option.mptcp.version": "1", "convert.option.mptcp.key": "",
      "convert.option.mptcp.key.present": "1", "convert.server6": "2001:db8::1"}),
    ("R5, R8", "01092263 0a0501bb 00000000 00000000 0000ffff c0000201 16030000 deadbeef 01020304",
     "01022263 1e010001", {"convert.error": "0", "convert.error.version": "1"}),
    ("R9", "01022263 01010000", "01032263 1e020001 02000000",
     {"convert.error": "0", "convert.error.version": "1|2"}),
    ("R10", "01062263 0a0501bb 00000000 00000000 0000ffff c0000201",
     "01082263 1e070100 01062263 0a0501bb 00000000 00000000 0000ffff c0000201",
     {"convert.error": "1", "convert.tlv.type": "30|10", "convert.connect.port": "443",
      "convert.connect.address": "::ffff:192.0.2.1"}),
    ("R11", "01022263 01010000", "01042263 1e030300 deadbeef 01020304",
     {"convert.error": "3", "convert.cookie": "", "convert.cookie.present": "1"}),
    ("in hybrid", "01020000 01010000", "01040000 1e030300 deadbeef 01020304",
     {"convert.error": "3", "convert.dialect": "hybrid"}),
    ("R12", "01022263 01010000", "01022263 1e012000", {"convert.error": "32"}),
    ("R13", "01022263 01010000", "01032263 1e02211e 22000000",
     {"convert.error": "33", "convert.error.option": "30|34"}),
    ("in hybrid", "01020000 01010000", "01030000 1e02211e 22000000",
     {"convert.error": "33", "convert.dialect": "hybrid"}),
    ("in either", "01020000 01010000", "01020000 1e01211e",
     {"convert.error.option": "30", "convert.dialect": "draft-02 or hybrid"}),
    ("R14", "01022263 01010000", "01022263 1e01403c",
     {"convert.error": "64", "convert.error.delay": "60"}),
    ("a wide delay", "01022263 01010000", "01032263 1e024000 0000012c",
     {"convert.error": "64", "convert.error.delay": "300"}),
    ("one with a zero behind it", "01022263 01010000", "01032263 1e024100 00012c00",
     {"convert.error": "65", "convert.error.delay": "76800"}),
    ("one byte, and zeros", "01022263 01010000", "01032263 1e02403c 00000000",
     {"convert.error": "64", "convert.error.delay": "257698037760"}),
    ("nine bytes", "01022263 01010000", "01042263 1e034000 00000000 0000003c",
     {"convert.error": "64", "convert.error.delay": "60"}),
    ("nine bytes that no number has", "01022263 01010000", "01042263 1e034001 00000000 0000003c",
     {"convert.error": "64", "convert.error.delay": "", "convert.error.value": "01000000000000003c"}),
    ("R15", "01022263 01010000", "01022263 1e014100",
     {"convert.error": "65", "convert.error.delay": "0"}),
    ("R16", "01062263 0a0501bb 00000000 00000000 0000ffff c0000201", "01022263 1e016103",
     {"convert.error": "97", "convert.error.icmp_code": "3",
      "_ws.col.Info": "Error 97 Destination Unreachable: port"}),
    ("of the other family", "01062263 0a0501bb 20010db8 00000000 00000000 00000001", "01022263 1e016103",
     {"convert.error": "97", "_ws.col.Info": "Error 97 Destination Unreachable: address"}),
    ("an error without a name", "01022263 01010000", "01022263 1e01c801",
     {"convert.error": "200", "convert.error.value": "01"}),
    ("the client knows a cookie, so hybrid",
     "01080000 0a0501bb 00000000 00000000 0000ffff c0000201 16020000 deadbeef", "01010000",
     {"convert.dialect": "hybrid"}),
    ("a warning of the draft's", "01060000 0a0501bb 00000000 00000000 0000ffff c0000201",
     "01050000 14030000 020405b4 01030307 1e01211e",
     {"convert.error": "", "convert.error.code": "33", "convert.error.option": "30", "_ws.expert.message": "",
      "convert.dialect": "draft-02 or hybrid",
      "_ws.col.Info": "connected, with a warning, Error 33 Unsupported TCP Option"}),
    ("the same in hybrid", "01080000 0a0501bb 00000000 00000000 0000ffff c0000201 16020000 deadbeef",
     "01050000 14030000 020405b4 01030307 1e01211e",
     {"convert.error": "33", "_ws.expert.message": "Error 33 Unsupported TCP Option"}),
    ("and in the RFC", "01062263 0a0501bb 00000000 00000000 0000ffff c0000201",
     "01052263 14030000 020405b4 01030307 1e01211e",
     {"convert.error": "33", "_ws.expert.message": "Error 33 Unsupported TCP Option"}),
    ("an unknown TLV", "01022263 01010000", "01032263 c8020102 03040506",
     {"convert.tlv.type": "200", "convert.tlv.value": "010203040506", "convert.wrong": ""}),
]

ERROR_NAMES = {0: "Unsupported Version", 1: "Malformed Message", 2: "Unsupported Message",
         3: "Missing Cookie", 32: "Not Authorized", 33: "Unsupported TCP Option",
         64: "Resource Exceeded", 65: "Network Failure", 96: "Connection Reset",
         97: "Destination Unreachable", 5: "unknown (5)", 200: "unknown (200)"}

# replies that are none, and what is complained of
WRONG = [
    ("02012263", "of version 2"), ("00012263", "of version 0"), ("01002263", "Total Length 0"),
    ("01011234", "not a Convert message"), ("ffeeddccbbaa", "not a Convert message"),
    ("01022263 14000000", "a TLV of length 0"),
    ("01022263 14020000", "a TLV that crosses the end of the message"),
    ("01022263 00010000", "a TLV of type 0"),
    ("01032263 14010000 14010000", "a second TLV of this type"),
    ("01030000 15010000 16010000", "a second TLV of this type"),
    ("01022263 0a010050", "a TLV of the other direction's|a TLV too short for its type"),
    ("01022263 16010000", "a TLV of the other direction's"),
    ("01032263 14020000 02000000", "a TCP option that does not fit"),
    ("01032263 14020000 02ff0000", "a TCP option that does not fit"),
]


class ByHand(Case):
    def file(self, *conversations, **more):
        return write(self.lab.file("hand.pcap"), [p for c in conversations for p in c.packets], **more)

    def replies(self, found):
        return [p for p in found if p["tcp.srcport"] == "5124" and p["tcp.len"] != "0"]

    def check_http(self, found, count=1):
        """As if there were no converter; and the server's address is on it."""
        for name, value in (("http.request.uri", "/small"), ("data.data", b"hello".hex())):
            got = [p[name] for p in found if p["convert.server"] == L.SERVER and p[name]]
            self.assertEqual(got, [value] * count)

    def test_examples_of_the_texts(self):
        path = self.file(*(Conversation(port=40000 + n).both(x(request), x(reply))
                           for n, (_, request, reply, _) in enumerate(TEXTS)))
        for found in self.each_pass(path):
            self.assertEqual([p["convert.wrong"] for p in found if p["convert.wrong"]], [])
            for n, (p, (name, _, _, wanted)) in enumerate(zip(self.replies(found), TEXTS, strict=True)):
                for key, value in wanted.items():
                    if key.endswith("_in"):
                        value = str(int(value) + 5 * n)
                    self.assertEqual(p[key], value, f"{name}: {key}")

    def test_requests(self):
        """Every TLV of a client's with its fields; and its message in words."""
        cases = (
            ("01022263 01010000", "1", "2", "0x2263", "1", "1", "", "", "", "Info"),
            ("01092263 0a0501bb 00000000 00000000 0000ffff c0000201 16030000 deadbeef 01020304",
             "1", "9", "0x2263", "10|22", "5|3", "443", "::ffff:192.0.2.1", "", "Connect 192.0.2.1:443"),
            ("01080000 01010000 0a060050 20010db8 00000000 00000000 00000001 22020000",
             "1", "8", "0x0000", "1|10", "1|6", "80", "2001:db8::1", "34",
             "Info, Connect [2001:db8::1]:80"))
        names = ("convert.version", "convert.length", "convert.magic", "convert.tlv.type",
                 "convert.tlv.length", "convert.connect.port", "convert.connect.address", "convert.option",
                 "_ws.col.Info")
        path = self.file(*(Conversation(port=40000 + n).open(x(c[0])) for n, c in enumerate(cases)))
        for found in self.each_pass(path):
            got = [tuple(p[name] for name in names) for p in found if p["convert.length"]]
            self.assertEqual(got, [c[1:] for c in cases])

    def test_errors_by_name(self):
        path = self.file(*(Conversation(port=40000 + code).both(CONNECT, x(f"01022263 1e01{code:02x}00"))
                           .send(0, "RA") for code in ERROR_NAMES))
        for found in self.each_pass(path):
            got = [(p["convert.error"], p["_ws.col.Info"].split(":")[0]) for p in self.replies(found)]
            self.assertEqual(got, [(str(code), f"Error {code} {name}") for code, name in ERROR_NAMES.items()])
            # and on what comes after it
            self.assertEqual([p["convert.error"] for p in found if p["tcp.flags"] == "0x0014"],
                             [str(code) for code in ERROR_NAMES])

    def test_wrong_ones_are_named(self):
        path = self.file(*(Conversation(port=40000 + n).both(CONNECT, x(reply))
                           for n, (reply, _) in enumerate(WRONG)))
        for found in self.each_pass(path):
            self.assertEqual([p["_ws.expert.message"] for p in self.replies(found)], [text for _, text in WRONG])

    def test_byte_by_byte(self):
        """Both messages, with what comes behind them in the last segment, or alone."""
        talks = []
        for behind in (0, 1, 7):
            talk = Conversation(port=40000 + behind).open()
            for side, message, rest in ((0, CONNECT, REQUEST), (1, x("01022263 15010000"), ANSWER)):
                talk.in_pieces(side, message[:-1], 1).send(side, data=message[-1:] + rest[:behind])
                talk.in_pieces(side, rest[behind:], 4)
            talks.append(talk.send(0, "FA").send(1, "FA"))
        for found in self.each_pass(self.file(*talks)):
            self.check_http(found, len(talks))
            self.assertEqual([p["convert.length"] for p in found if p["convert.length"]],
                             ["6", "2"] * len(talks))
            self.assertEqual([p for p in found if p["convert.wrong"]], [])

    def test_message_and_request_in_one_segment(self):
        talks = (Conversation(port=1).open(CONNECT + REQUEST).send(1, data=SUCCESS + ANSWER),
                 Conversation(port=2).open().send(0, data=CONNECT + REQUEST[:9]).send(1, data=SUCCESS)
                 .send(0, data=REQUEST[9:]).send(1, data=ANSWER[:9]).send(1, data=ANSWER[9:]))
        for found in self.each_pass(self.file(*talks)):
            self.check_http(found, 2)

    def test_once_more(self):
        """The SYN's data behind the handshake again; a message twice; a keepalive; the same ports."""
        talk = Conversation().open(CONNECT).send(0, data=CONNECT, back=24)
        talk.send(1, data=SUCCESS).send(1, data=SUCCESS, back=4).http()
        talk.send(0, "A", b"\0", back=1).send(1, "A").send(0, "FA").send(1, "FA").send(0, "A")
        talk.seq = [900000, 800000]
        talk.both(x("01062263 0a050051 00000000 00000000 0000ffff 0a020003"), SUCCESS).http()
        for found in self.each_pass(self.file(talk)):
            self.assertEqual([(p["tcp.stream"], p["convert.server"]) for p in found if p["http.request.uri"]],
                             [("0", "10.2.0.2"), ("1", "10.2.0.3")])
            self.assertEqual([p["convert.server"] for p in found if p["http.response.code"]],
                             ["10.2.0.2", "10.2.0.3"])
            self.assertEqual([p for p in found if p["convert.wrong"]], [])

    def test_preferences_of_tcp(self):
        talk = Conversation().open(CONNECT[:9]).send(0, data=CONNECT[9:]).send(1, data=SUCCESS).http()
        whole = Conversation(port=40001).both(CONNECT, SUCCESS).http()
        path = self.file(talk, whole)
        for preference in ("relative_sequence_numbers:FALSE", "analyze_sequence_numbers:FALSE",
                           "summary_in_tree:FALSE", "try_heuristic_first:TRUE",
                           "reassemble_out_of_order:TRUE", "desegment_tcp_streams:FALSE"):
            with self.subTest(preference):
                found = packets(path, "-2", preferences=[f"tcp.{preference}"])
                self.assertEqual([p for p in found for name in BAD if p[name]], [])
                self.check_http(found, 1 if "desegment" in preference else 2)

    def test_a_capture_that_is_not_whole(self):
        """Every number of packets left out at its beginning, and of bytes of each kept."""
        frames = []
        for first in range(1, 9):
            talk = Conversation(port=40000 + first).both(CONNECT, SUCCESS).http().send(0, "FA").send(1, "FA")
            frames += talk.packets[first:]
        for _ in self.each_pass(write(self.lab.file("late.pcap"), frames)):
            pass
        for snap in (55, 57, 58, 60, 77):
            found = packets(self.file(talk, snap=snap))
            self.assertEqual([p for p in found if p["_ws.lua.error"] or p["_ws.malformed"]], [])

    def test_other_ports(self):
        """A web server on the converter's; a converter elsewhere, known by its looks, or because a
        preference says so."""
        path = self.file(Conversation(port=1).open().http(),
                         Conversation(port=2, to=1234).both(CONNECT, SUCCESS).http(),
                         Conversation(port=3, to=1234).both(x("01022263 01010000"), x("01022263 15010000")))
        for preferences, known in ((), ["1"]), (["convert.ports:5124,1200-1300"], ["1", "2"]):
            for found in self.each_pass(path, preferences=preferences):
                self.assertEqual([p["tcp.stream"] for p in found if p["convert.length"]],
                                 [n for n in known for _ in range(2)])
                self.assertEqual([(p["tcp.stream"], p["convert.server"]) for p in found if p["http.response.code"]],
                                 [("0", ""), ("1", L.SERVER)])

    def test_secrets(self):
        """Nowhere in what it says itself, echoes included; with the preference they are there."""
        secret, key, tfo, cut = "deadbeef01020304", "1122334455667788", "a1a2a3a4a5a6a7a8", "c0ffee0099887766"
        request = f"010c2263 0a080050 20010db8 00000000 00000000 00000001 220a{tfo}0000 16030000 {secret}"
        path = self.file(Conversation(port=1).both(x(request), x(f"01042263 1e030300 {secret}")),
                         Conversation(port=2).both(x(request), x(f"010e2263 1e0d0100 {request}")),
                         Conversation(port=3).both(x(request), x(f"01052263 14040000 1e0c0101 {key}")),
                         Conversation(port=4).both(x(f"01042263 16040000 {cut}"), x("01022263 1e010000")),
                         Conversation(port=5).both(x(request), x(f"01062263 1e050100 01ff2263 16040000 {cut}")),
                         # less than a message, and the end of one once more
                         Conversation(port=6).both(x(f"010a2263 16040000 {cut}"), b""),
                         Conversation(port=7).both(x(request), x("01012263")).send(0, "A", x(f"16030000 {secret}"), 12))

        def own(*preferences):
            """What the dissector says: PDML has an item's text, and its bytes beside it."""
            pdml = html.unescape(tshark(path, "-T", "pdml", preferences=preferences))
            return "\n".join(re.findall(r'<proto name="convert.*?</proto>', pdml, re.S)).replace(":", "")
        hidden, shown = own(), own("convert.secrets:TRUE")
        self.assertIn("convert.cookie.present", hidden)
        hidden += own("tcp.desegment_tcp_streams:FALSE")
        for word in (secret, key, tfo, cut):
            self.assertNotIn(word, hidden)
            self.assertIn(word, shown)

    def test_ends(self):
        """draft-02's fatal Error in a reset; an end before the message was whole is said where it is."""
        path = self.file(Conversation(port=1).send(0, "S", x("01060000") + CONNECT[4:])
                         .send(1, "RA", x("01020000 1e016000")),
                         Conversation(port=2).both(CONNECT, x("01ff2263 1401")).send(1, "FA"),
                         Conversation(port=3).both(CONNECT, x("01ff2263 1401")).send(1, "RA"))
        for found in self.each_pass(path):
            (reset,) = [p for p in found if p["convert.error.code"]]
            self.assertEqual((reset["convert.error"], reset["convert.server"], reset["_ws.col.Info"]),
                             ("96", L.SERVER, "Error 96 Connection Reset"))
            cut = [p for p in found if "ends before there was a whole message" in p["_ws.expert.message"]]
            self.assertEqual([(p["tcp.stream"], p["tcp.flags"]) for p in cut],
                             [("1", "0x0011"), ("2", "0x0014")])

    def test_subflows(self):
        """RFC 8684: the converter's reply comes on the second subflow, as when the first has lost it;
        what that one carries belongs to the same server."""
        keys = bytes(range(8)), bytes(range(8, 16))
        digests = [hashlib.sha256(key).digest() for key in keys]

        def option(text):
            return bytes([30, 2 + len(x(text))]) + x(text)

        def mapped(side, stream_at, flow_at, size):
            data = (int.from_bytes(digests[side][-8:], "big") + 1 + stream_at) % 2**32
            return option(f"2004{data:08x}{flow_at:08x}{size:04x}")
        first, second = Conversation(), Conversation(40001, client=paths.CLIENT2, converter=paths.CONVERTER2)
        first.send(0, "S", options=option("0101")).send(1, "SA", options=option("0101" + keys[1].hex()))
        first.send(0, "A", options=option("0101" + keys[0].hex() + keys[1].hex()))
        first.send(0, data=CONNECT, options=mapped(0, 0, 1, 24))
        second.send(0, "S", options=option(f"1000{digests[1][:4].hex()}01020304"))
        second.send(1, "SA", options=option("1000" + "00" * 8 + "05060708"))
        second.send(0, "A", options=option("1000" + "00" * 20))
        reply = x("01022263 15010000")
        second.send(1, data=reply, options=mapped(1, 0, 1, len(reply)))
        second.send(0, data=REQUEST, options=mapped(0, 24, 1, len(REQUEST)))
        second.send(1, data=ANSWER, options=mapped(1, 8, 9, len(ANSWER)))
        for found in self.each_pass(self.file(first, second)):
            self.check_http(found)
            self.assertEqual([(p["tcp.stream"], p["convert.length"]) for p in found if p["convert.length"]],
                             [("0", "6"), ("1", "2")])

    def test_anything(self):
        """Messages changed at random, in any pieces: no error of the script's."""
        chance = random.Random(8803)
        talks = []
        for n in range(120):
            pair = []
            for text in TEXTS[n % len(TEXTS)][1:3]:
                message = bytearray(x(text))
                for _ in range(chance.randrange(4)):
                    byte = chance.choice((0, 1, 2, 3, 5, 255, chance.randrange(256)))
                    message[chance.randrange(len(message))] = byte
                pair.append(bytes(message) + REQUEST[:chance.randrange(len(REQUEST))])
            talk = Conversation(port=10000 + n).open(pair[0] if n % 2 else b"")
            for side in (0, 1):
                if side or not n % 2:
                    talk.in_pieces(side, pair[side], chance.choice((1, 2, 5, 100)))
            talks.append(talk.send(1, chance.choice(("FA", "RA"))))
        path = self.file(*talks)
        for options in PASSES:  # what is no Convert message may look as one of another protocol's, and be none
            for p in packets(path, *options):
                self.assertEqual([p["_ws.lua.error"], p["_ws.short"]], ["", ""], p)
                self.assertNotIn("convert", p["_ws.malformed"].lower(), p)


# ---------------------------------------------------------------------- captures of the lab's

class OfTheLab(Case):
    def test_ports_of_the_lab(self):
        """Which its programs are given are nobody's."""
        lines = [line.split("\t") for line in L.command(["tshark", "-G", "decodes"]).splitlines()]
        taken = {int(line[1]) for line in lines if line[0] in ("tcp.port", "udp.port")}
        self.assertGreater(len(taken), 100)
        self.assertEqual(taken & set(PORTS), set())

    def captured(self, *options, run, converter="fast-open = no-cookie", policy="mptcp = off", **more):
        process = self.lab.converter(*options, **more)
        capture = captures.Capture(self.lab)
        try:
            run(self.lab.config(converter, policy))
        finally:
            self.assertTrue(capture.packets())
            process.stop()
        return capture.path

    def get(self, server=L.SERVER, family="AF_INET", times=1):
        def run(shim):
            for _ in range(times):
                r = self.lab.run(["/usr/bin/python3", "-c", GET, family, server, "80"], shim=shim)
                self.assertEqual((r.code, r.out), (0, b"hello from nginx\n"), r)
        return run

    def curl(self, url, body):
        def run(shim):
            r = self.lab.run(["curl", "-sSk", url], shim=shim)
            self.assertEqual((r.code, r.out == body), (0, True), r)
        return run

    def check_http(self, path, server="convert.server", address=L.SERVER, count=1):
        for found in self.each_pass(path):
            for name in ("http.request.uri", "http.response.code"):
                self.assertEqual(len([p for p in found if p[name] and p[server] == address]), count, name)
            self.assertEqual([p for p in found if p["convert.wrong"]], [])
        return found

    def test_dialects(self):
        kinds = [(dialect, fast_open) for dialect in ("rfc8803", "draft-02", "hybrid")
                 for fast_open in ("no-cookie", "cookie", "off")]

        def run(_):
            for n, (dialect, fast_open) in enumerate(kinds):
                mode = "cookie" if fast_open == "cookie" else "no-cookie"
                shim = self.lab.config(f"dialect = {dialect}\nfast-open = {mode}", "mptcp = off", port=6000 + n)
                converter = self.lab.converter("--dialect", dialect, "--fastopen", fast_open, port=6000 + n)
                self.get(times=2)(shim)
                converter.stop()
        path = self.captured(run=run)
        for found in self.each_pass(path, preferences=OTHER_PORTS):
            for n, (dialect, _) in enumerate(kinds):
                here = [p for p in found if str(6000 + n) in (p["tcp.srcport"], p["tcp.dstport"])]
                for name in ("http.request.uri", "http.response.code"):
                    self.assertEqual([p["convert.server"] for p in here if p[name]], [L.SERVER] * 2, kinds[n])
                self.assertEqual({p["convert.dialect"] for p in here} - {""},
                                 {"rfc8803" if dialect == "rfc8803" else "draft-02 or hybrid"})

    def test_ipv6(self):
        found = self.check_http(self.captured(run=self.get(L.SERVER6, "AF_INET6")), "convert.server6", L.SERVER6)
        self.assertIn("[fd02::2]:80", [p["convert.to"] for p in found])

    def test_the_filter(self):
        """As the README has it."""
        path = self.captured(run=self.get())
        lines = tshark(path, "-Y", "convert.server == 10.2.0.2 and http.request").splitlines()
        self.assertEqual([line.split("HTTP", 1)[1].split()[1:3] for line in lines], [["GET", "/small"]])

    def test_reply_byte_by_byte(self):
        self.check_http(self.captured("--ext-header", "always", "--fault", "split=1,gap=1", run=self.get()))

    def test_tls(self):
        path = self.captured(run=self.curl(f"https://{L.SERVER}/small", b"hello from nginx\n"))
        for found in self.each_pass(path):
            here = [p for p in found if p["convert.server"] == L.SERVER and p["convert.server_port"] == "443"]
            self.assertEqual(len([p for p in here if "1" in p["tls.handshake.type"].split("|")]), 1)
            self.assertTrue([p for p in here if p["tcp.srcport"] == "5124" and p["tls.record.content_type"]])

    def each_fault(self, faults):
        """One capture of connections to as many converters; returns its packets by number of fault."""
        shims = [self.lab.config("fast-open = no-cookie", "mptcp = off\ntimeout = 500ms", port=6000 + n)
                 for n in range(len(faults))]

        def run(_):
            for n, (fault, shim) in enumerate(zip(faults, shims)):
                converter = self.lab.converter("--ext-header", "always", "--fault", fault, port=6000 + n)
                self.lab.run(["/usr/bin/python3", "-c", PROBE, "blocking", L.SERVER, "80"], shim=shim)
                converter.stop()
        path = self.captured(run=run)
        for found in self.each_pass(path, preferences=OTHER_PORTS):
            yield [[p for p in found if p["tcp.srcport"] == str(6000 + n)] for n in range(len(faults))]

    def test_every_error(self):
        for found in self.each_fault([f"error={code}:{value}" for code, value, *_ in ERRORS]):
            for (code, *_), replies in zip(ERRORS, found):
                self.assertIn(str(code), [p["convert.error.code"] for p in replies])

    def test_replies_that_are_none(self):
        for found in self.each_fault([fault for _, fault, _ in BROKEN]):
            for (name, *_), replies in zip(BROKEN, found):
                # silence is nothing that a packet of the converter's could say, but for the end of a connection
                # that was without a reply until the client ended it
                wrong = [p for p in replies if p["convert.wrong"] and
                         (name != "silence" or not int(p["tcp.flags"], 16) & 0x05)]
                self.assertEqual(bool(wrong), name != "silence", name)

    def test_error_in_the_drafts_reset(self):
        def run(shim):
            self.lab.run(["curl", "-sS", "--max-time", "5", f"http://{L.SERVER}:81/"], shim=shim)
        path = self.captured("--hold", "--dialect", "draft-02", run=run,
                             converter="dialect = draft-02\nfast-open = no-cookie")
        for found in self.each_pass(path):
            self.assertEqual([(p["convert.server_port"], p["tcp.flags"]) for p in found
                              if p["convert.error.code"] == "96"], [("81", "0x0014")])

    def test_cookie(self):
        found = self.check_http(self.captured("--cookie-required", run=self.get()))
        self.assertEqual(len([p for p in found if p["convert.cookie.present"]]), 2)

    def test_what_it_carries_is_whole(self):
        """The object that Wireshark would save is the file, over TCP and over Multipath TCP."""
        self.lab.second_network(False)
        self.addCleanup(self.lab.second_network, True)
        for mptcp in ("off", "on"):
            with self.subTest(mptcp):
                path = self.captured(*["--mptcp"] * (mptcp == "on"), policy=f"mptcp = {mptcp}",
                                     run=self.curl(f"http://{L.SERVER}/page", PAGE))
                for options in PASSES[:2]:
                    folder = self.lab.file("objects")
                    tshark(path, "-q", *options, "--export-objects", f"http,{folder}")
                    self.assertEqual((folder / "page").read_bytes(), PAGE)

    def test_two_paths(self):
        """Each packet of either subflow knows the server; the message is in one of them alone."""
        both = self.lab.file("both.pcap")
        other = captures.Capture(self.lab, dev="c1", marker_to=paths.CONVERTER2)
        (self.lab.nginx.base / "www/more").write_bytes(5 * PAGE)
        first = self.captured("--mptcp", run=self.curl(f"http://{L.SERVER}/more", 5 * PAGE), policy="mptcp = on",
                              listen=["0.0.0.0"])
        other.packets()
        L.command(["mergecap", "-w", both, first, other.path])
        for found in self.each_pass(both):
            replies = [p for p in found if p["tcp.srcport"] == "5124" and p["tcp.len"] != "0"]
            self.assertEqual(len({p["tcp.stream"] for p in replies}), 2)
            self.assertEqual(len([p for p in replies if p["convert.length"]]), 1)
            self.assertEqual([p for p in replies if p["convert.server"] != L.SERVER], [])


class OfOthers(Case):
    def test_no_mark(self):
        for path in FILES:
            with self.subTest(path):
                for found in self.each_pass(path):
                    self.assertTrue([p for p in found if p["http.request.uri"] and p["convert.server"] == L.SERVER])


FILES = [str(L.ROOT / name) for name in os.environ.get("DISSECTOR", "").split()]
if FILES:
    del ByHand, OfTheLab
else:
    del OfOthers
PAGE = servers.random_bytes(300000)


def setup(lab):
    lab.nginx = servers.nginx(lab)
    for name in "client", "converter", "server":  # ports that tshark takes for no protocol's (41170 is Manolito's)
        L.sysctl(name, net__ipv4__ip_local_port_range=f"{PORTS[0]} {PORTS[-1]}")


if __name__ == "__main__":
    L.MPTCP = "on"
    L.main(setup, kind=paths.TwoPaths, delay_ms=(1, 1, 0), rate=100)

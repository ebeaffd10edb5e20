#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""The lab's middlebox: it does what its rules say, to the right packets, and leaves them whole."""
import logging
import socket
import struct
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import captures
import lab as L
import servers

logging.getLogger("scapy").setLevel(logging.ERROR)
from scapy.layers.inet import IP, TCP  # noqa: E402
from scapy.layers.inet6 import IPv6  # noqa: E402
from scapy.layers.l2 import Ether  # noqa: E402
from scapy.utils import RawPcapReader, checksum  # noqa: E402

TFO, MPTCP, MSS = (34, b"\x11\x22\x33\x44\x55\x66\x77\x88"), (30, b"\x01\x01"), ("MSS", 1460)
EXPERIMENT, OTHER_EXPERIMENT = (254, b"\xf9\x89\1\2\3\4"), (254, b"\xf9\x88\1\2")
NOPS = {254: [("NOP", None)] * 8, 34: [("NOP", None)] * 10, 30: [("NOP", None)] * 4}
DATA = b"twenty-four bytes of it."
SIZE = 20_000_000

# What goes in, the rule, and what comes out: (flags, options, data), None for nothing.
SYN, SYN_ACK, OTHER = "S", "SA", "PA"
CASES = [
    ("strip-tfo", (SYN, [MSS, TFO, MPTCP], DATA), (SYN, [MSS, *NOPS[34], MPTCP], DATA)),
    ("strip-tfo", (SYN_ACK, [MSS, TFO], b""), (SYN_ACK, [MSS, *NOPS[34]], b"")),
    ("strip-tfo", (OTHER, [TFO], b"x"), (OTHER, [TFO], b"x")),
    ("strip-tfo", (SYN, [MSS, MPTCP], b"odd"), (SYN, [MSS, MPTCP], b"odd")),
    ("strip-tfo", (SYN, [MSS, EXPERIMENT], b""), (SYN, [MSS, *NOPS[254]], b"")),
    ("strip-tfo", (SYN_ACK, [EXPERIMENT, TFO], b""), (SYN_ACK, [*NOPS[254], *NOPS[34]], b"")),
    ("strip-tfo", (SYN, [OTHER_EXPERIMENT], b""), (SYN, [OTHER_EXPERIMENT], b"")),
    ("strip-tfo-34", (SYN, [TFO, EXPERIMENT], DATA), (SYN, [*NOPS[34], EXPERIMENT], DATA)),
    ("strip-mptcp", (SYN, [MSS, MPTCP, TFO], DATA), (SYN, [MSS, *NOPS[30], TFO], DATA)),
    ("strip-mptcp", (OTHER, [MPTCP], b"odd"), (OTHER, NOPS[30], b"odd")),
    ("strip-syn-data", (SYN, [MSS, TFO], DATA), (SYN, [MSS, TFO], b"")),
    ("strip-syn-data", (SYN, [MSS], b"odd"), (SYN, [MSS], b"")),
    ("strip-syn-data", (SYN_ACK, [MSS], DATA), (SYN_ACK, [MSS], DATA)),
    ("strip-syn-data", (OTHER, [], DATA), (OTHER, [], DATA)),
    ("drop-mptcp", (SYN, [MSS, MPTCP], b""), None),
    ("drop-mptcp", (SYN, [MSS, TFO], DATA), (SYN, [MSS, TFO], DATA)),
    ("drop-syn-data", (SYN, [MSS, TFO], DATA), None),
    ("drop-syn-data", (SYN, [MSS, TFO], b""), (SYN, [MSS, TFO], b"")),
    ("drop-syn-data", (OTHER, [], DATA), (OTHER, [], DATA)),
    ("drop-syn-ack-data", (SYN_ACK, [MSS], DATA), None),
    ("drop-syn-ack-data", (SYN_ACK, [MSS], b""), (SYN_ACK, [MSS], b"")),
    ("drop-syn-ack-data", (SYN, [MSS], DATA), (SYN, [MSS], DATA)),
]

# Frames from standard input, in hexadecimal, each with its virtio header; PACKET_VNET_HDR is 15.
SEND = """
import socket, sys
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
link.setsockopt(263, 15, 1)
link.bind(("c0", 0))
for line in sys.stdin:
    link.send(bytes.fromhex(line))
"""


def setup(lab):
    nginx = servers.nginx(lab)
    (nginx.base / "www/large").write_bytes(servers.random_bytes(SIZE))
    lab.converter("--mptcp", "--fastopen", "cookie", listen=["0.0.0.0", "[::]"])


def frame(v6, port, flags, options, data, partial):
    """An Ethernet frame with right lengths and checksums; partial: with the sum of the pseudo header
    for a checksum, as the kernel leaves it to an interface."""
    ip = IPv6(src=L.CLIENT6, dst=L.CONVERTER6) if v6 else IP(src=L.CLIENT, dst=L.CONVERTER, id=7)
    tcp = TCP(sport=port, dport=9, flags=flags, seq=1000, options=options)
    whole = bytes(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / ip / tcp / data)
    if not partial:
        return whole
    at = 14 + (40 if v6 else 20)
    length = struct.pack("!I", len(whole) - at)
    addresses = whole[at - 32:at] if v6 else whole[at - 8:at]
    pseudo = addresses + length + struct.pack("!I", socket.IPPROTO_TCP)
    return whole[:at + 16] + struct.pack("!H", ~checksum(pseudo) & 0xffff) + whole[at + 18:]


def virtio(v6, partial):
    """flags, gso_type, hdr_len, gso_size, csum_start, csum_offset"""
    return struct.pack("=BBHHHH", 1, 0, 0, 0, 14 + (40 if v6 else 20), 16) if partial else bytes(10)


class Frames(L.TestCase):
    def pass_on(self, frames):
        """What the converter's interface gets of them, {port: frame}."""
        capture = captures.Capture(self.lab, "converter", "k0", marker_to=L.CLIENT)
        r = self.lab.run(["/usr/bin/python3", "-BES", "-c", SEND],
                         stdin="\n".join(f.hex() for f in frames).encode())
        self.assertEqual((r.code, r.err), (0, ""), r)
        capture.packets()
        found = {}
        for raw, _ in RawPcapReader(str(capture.path)):
            packet = Ether(raw)
            if packet.src == "02:00:00:00:00:01" and TCP in packet:
                self.assertNotIn(packet[TCP].sport, found)
                found[packet[TCP].sport] = raw
        return found

    def test_every_rule(self):
        """All cases through each rule's box at once; what is not meant passes unchanged."""
        for rule in dict.fromkeys(case[0] for case in CASES):
            sent, expected, done = [], {}, []
            for _, before, after in [case for case in CASES if case[0] == rule]:
                for v6 in False, True:
                    for partial in False, True:
                        port = 1000 + len(sent)
                        sent.append(virtio(v6, partial) + frame(v6, port, *before, partial))
                        if after:
                            expected[port] = frame(v6, port, *after, partial)
                        if after != before:
                            done.append((L.CLIENT6, port, L.CONVERTER6, 9) if v6 else
                                        (L.CLIENT, port, L.CONVERTER, 9))
            with self.subTest(rule), self.lab.box.rules(rule) as box:
                got = self.pass_on(sent)
                self.assertEqual(sorted(got), sorted(expected))
                for port in got:
                    self.assertEqual(got[port].hex(), expected[port].hex(), port)
                self.assertEqual(box.did(rule), done)
                self.assertGreaterEqual(len(done), 4)

    def test_another_port(self):
        sent = [virtio(False, False) + frame(False, 1000, SYN, [MSS, TFO], DATA, False)]
        with self.lab.box.rules("strip-tfo", "drop-syn-data", port=10):
            self.assertEqual([f.hex() for f in self.pass_on(sent).values()], [sent[0][10:].hex()])
        with self.lab.box.rules("strip-tfo", "drop-syn-data", port=9) as box:
            self.assertEqual(self.pass_on(sent), {})
            self.assertEqual(len(box.did("strip-tfo")), 1)

    def test_what_is_no_tcp_segment(self):
        """Cut short, with lengths that lie, as a fragment: passed on as it is, not read."""
        sent = []
        for v6 in False, True:
            whole = frame(v6, 1000, SYN, [MSS, TFO, MPTCP], DATA, False)
            sent += [whole[:n] for n in range(15, len(whole))]
            sent += [whole[:at] + b"\xff" + whole[at + 1:]
                     for at in range(14, len(whole) - len(DATA))]
        with self.lab.box.rules("strip-tfo", "strip-mptcp", "drop-mptcp") as box:
            self.pass_on_anything([bytes(10) + f for f in sent])
            self.assertIsNone(box.process.poll())

    def pass_on_anything(self, frames):
        r = self.lab.run(["/usr/bin/python3", "-BES", "-c", SEND],
                         stdin="\n".join(f.hex() for f in frames).encode())
        self.assertEqual((r.code, r.err), (0, ""), r)


class Connections(L.TestCase):
    """The kernel's own, through the shim."""

    def curl(self, address, file="small", again=False, **policy):
        """(result, client's packets, converter's packets) of the one connection; again: the library
        may have made a second one."""
        shim = self.lab.config(address=address, **policy)
        ends = [captures.Capture(self.lab),
                captures.Capture(self.lab, "converter", "k0", marker_to=L.CLIENT)]
        r = self.lab.run(["curl", "-sSo", "/dev/null", "-w", "%{size_download}",
                          f"http://{L.SERVER}/{file}"], shim=shim)
        self.assertEqual(r.code, 0, r)
        found = [captures.connections(end.packets()) for end in ends]
        if not again:
            self.assertEqual([len(f) for f in found], [1, 1])
        return (r, *(sum(connections, []) for connections in found))

    def addresses(self):
        for address in self.lab.fresh_addresses():
            with self.subTest(address):
                self.curl(address)  # the kernel has its cookie now
                yield address

    def test_a_plain_wire(self):
        for address in self.addresses():
            _, sent, got = self.curl(address)
            self.assertEqual((sent[0].options, sent[0].data), (got[0].options, got[0].data))
            self.assertEqual(len(got[0].data), 28)

    def test_fast_open_stripped(self):
        for address in self.addresses():
            with self.lab.box.rules("strip-tfo"):
                _, sent, got = self.curl(address)
            self.assertEqual(len(sent[0].option(captures.FAST_OPEN)), 8)
            self.assertIsNone(got[0].option(captures.FAST_OPEN))
            self.assertEqual(len(got[0].data), 28)
            self.assertEqual(sent[1].ack, sent[0].seq + 1)  # the data was not taken

    def test_data_stripped(self):
        for address in self.addresses():
            with self.lab.box.rules("strip-syn-data"):
                _, sent, got = self.curl(address)
            self.assertEqual((len(sent[0].data), len(got[0].data)), (28, 0))
            self.assertEqual(sent[0].options, got[0].options)
            self.assertEqual(sent[1].ack, sent[0].seq + 1)

    def test_data_dropped(self):
        for address in self.addresses():
            with self.lab.box.rules("drop-syn-data"):
                _, sent, got = self.curl(address, again=True)
            lengths = [len(p.data) for p in sent if p.is_syn()]
            self.assertEqual((lengths[0], lengths[-1], set(lengths)), (28, 0, {28, 0}))
            self.assertEqual([len(p.data) for p in got if p.is_syn()], [0])

    def test_mptcp_stripped_and_a_large_file(self):
        """Unsegmented frames in the other direction pass whole."""
        for address in self.addresses():
            with self.lab.box.rules("strip-mptcp"):
                r, sent, got = self.curl(address, "large")
            self.assertEqual(r.out.decode(), str(SIZE))
            self.assertIsNotNone(sent[0].option(captures.MPTCP))
            self.assertIsNone(got[0].option(captures.MPTCP))
            self.assertIn(": connected, TCP", r.log)
            self.assertGreater(max(len(p.data) for p in sent), 1500)


if __name__ == "__main__":
    L.main(setup, kind=L.BoxedLab)

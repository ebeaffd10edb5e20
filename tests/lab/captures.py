# SPDX-License-Identifier: MIT
"""Packets of an interface, decoded by scapy. Nothing here is shared with the code under test:
what a Convert message should look like is written by hand in the tests."""
import dataclasses
import logging
import pathlib
import time

import lab as L

logging.getLogger("scapy").setLevel(logging.ERROR)
from scapy.layers.inet import IP, TCP  # noqa: E402
from scapy.layers.inet6 import IPv6  # noqa: E402
from scapy.layers.l2 import Ether  # noqa: E402
from scapy.utils import RawPcapReader  # noqa: E402

MARKER_PORT = 9

NOP, MSS, WSCALE, SACK_OK, TIMESTAMPS, MPTCP, FAST_OPEN = 1, 2, 3, 4, 8, 30, 34
EXPERIMENT = 254


@dataclasses.dataclass
class Packet:
    t: float           # seconds
    src: str
    sport: int
    dst: str
    dport: int
    flags: str         # as scapy has them: S, SA, A, PA, FA, RA ...
    seq: int
    ack: int
    options: list      # [(kind, value bytes)]
    data: bytes
    hops: int = 0      # TTL or hop limit
    tos: int = 0       # or traffic class

    def option(self, kind):
        """Its value; None if it is not there."""
        return next((value for k, value in self.options if k == kind), None)

    def is_syn(self):
        return self.flags in ("S", "SEC")

    def is_syn_ack(self):
        return self.flags.startswith("SA")

    def __str__(self):
        kinds = " ".join(f"{k}:{v.hex()}" for k, v in self.options if k != NOP)
        return (f"{self.t:.6f} {self.src}.{self.sport} > {self.dst}.{self.dport} {self.flags} "
                f"seq {self.seq} ack {self.ack} [{kinds}] {len(self.data)} bytes "
                f"{self.data[:60].hex()}")


def walk_options(raw):
    found, at = [], 0
    while at < len(raw) and raw[at] != 0:
        if raw[at] == NOP:
            found.append((NOP, b""))
            at += 1
            continue
        length = raw[at + 1]
        found.append((raw[at], raw[at + 2:at + length]))
        at += length
    return found


def decode(path):
    packets = []
    for raw, meta in RawPcapReader(str(path)):  # usec is in nanoseconds in such a file
        frame = Ether(raw)
        ip = frame.getlayer(IP) or frame.getlayer(IPv6)
        if ip is None or TCP not in ip:
            continue
        tcp = ip[TCP]
        total = ip.len - 4 * ip.ihl if ip.version == 4 else ip.plen
        header = bytes(ip.payload)[:total]
        packets.append(Packet(meta.sec + meta.usec / 1e9, ip.src, tcp.sport, ip.dst, tcp.dport,
                              str(tcp.flags), tcp.seq, tcp.ack,
                              walk_options(header[20:4 * tcp.dataofs]), header[4 * tcp.dataofs:],
                              *((ip.ttl, ip.tos) if ip.version == 4 else (ip.hlim, ip.tc))))
    return packets


class Capture:
    """One interface, from now on; packets() ends it."""

    def __init__(self, lab, ns="client", dev="c0", marker_to=L.CONVERTER):
        self.lab, self.ns, self.marker_to = lab, ns, marker_to
        self.path = lab.file(f"{dev}.pcap")
        self.process = lab.start(ns, ["/usr/bin/python3", "-BES", L.__file__,
                                      dev, self.path])
        self.process.wait_for("capture", lambda: "recording" in self.process.text())

    def packets(self):
        """Everything that passed before this call: it sends a datagram and waits for it."""
        marker = f"marker {time.monotonic_ns()}".encode()
        send = ["bash", "-c",
                f"echo -n {marker.decode()!r} > /dev/udp/{self.marker_to}/{MARKER_PORT}"]
        for last in [False] * 9 + [True]:
            L.command(L.inside(self.ns, send))
            try:
                L.wait_for("the marker in the capture", lambda: marker in self.path.read_bytes(),
                           timeout=1)
                break
            except TimeoutError:  # behind a download a full buffer may have lost it
                if last:
                    raise
        self.process.stop()
        return decode(self.path)


def connections(packets):
    """The packets of each TCP connection, in the order of their first SYNs; the client's side
    is the one that sent the SYN."""
    found = {}
    for p in packets:
        ends = ((p.src, p.sport), (p.dst, p.dport))
        key = tuple(sorted(ends))
        if p.is_syn() and p.seq not in [q.seq for q in found.get(key, [])[:1]]:
            found[key + (p.seq,)] = found[key] = [p]
        elif key in found:
            found[key].append(p)
    return [v for k, v in found.items() if len(k) == 3]


def first_byte(connection, converted):
    """The packet with the first byte of the server's own stream. A converter's reply comes
    before it; its second byte says how many words it has."""
    syn = connection[0]
    start = None  # where the server's stream begins in that of the other side
    for p in connection:
        if p.src == syn.src:
            continue
        if p.is_syn_ack():
            origin = p.seq + 1
        offset = (p.seq + p.is_syn_ack() - origin) % 2**32
        if p.data and start is None:
            start = 4 * p.data[1] if converted else 0
        if p.data and offset + len(p.data) > start:
            return p
    raise AssertionError("no data from the server:\n" + "\n".join(map(str, connection)))


def flights(connection, converted):
    """(flights up to the server's first byte and with it, seconds until then). A flight is a run
    of packets in one direction; an acknowledgement that carries nothing ends none."""
    syn, last = connection[0], first_byte(connection, converted)
    count, side = 0, None
    for p in connection:
        if (p.data or "S" in p.flags) and p.src != side:
            count, side = count + 1, p.src
        if p is last:
            return count, last.t - syn.t

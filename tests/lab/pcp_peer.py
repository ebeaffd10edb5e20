#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""usage: pcp_peer.py ADDRESS PORT forgets|hostile|storm [OTHER-ADDRESS]

A PCP server (RFC 6887) that behaves as none should, for test_map.py. It prints a line for each request: its
internal port.

forgets: each internal port has another lifetime, and when one is asked for a second time the epoch begins anew.
hostile: HOSTILE says what the first request for a port gets, from FIRST_PORT on; the second gets an answer.
storm: an answer to each, and announcements that it has forgotten, by multicast and to the client alone, as
many as can be sent; a line says that it was STORM times."""
import random
import socket
import sys
import threading
import time

FIRST_PORT = 9000
FORGETS = {8080: 8, 8443: 3600}
STORM = 5000
START = time.time() - 1000


def answer(q, *, lifetime=None, epoch=None, port=None, opcode=1, version=2, result=0, nonce=None, protocol=None,
           internal=None):
    """figures 3 and 10"""
    epoch = int(time.time() - START) if epoch is None else epoch
    lifetime = int.from_bytes(q[4:8], "big") if lifetime is None else lifetime
    port = q[40:42] if port is None else port.to_bytes(2, "big")
    return (bytes([version, 0x80 | opcode, 0, result]) + lifetime.to_bytes(4, "big") + epoch.to_bytes(4, "big") +
            bytes(12) + (nonce or q[24:36]) + (protocol or q[36:37]) + bytes(3) + (internal or q[40:42]) + port +
            bytes(10) + b"\xff\xff" + socket.inet_aton("203.0.113.1"))


GARBAGE = random.Random(6887).randbytes(9000)  # the same each time: some would be an answer, of another version

# Each: what is sent for the first request, and whether it is taken for an answer.
HOSTILE = {
    "nothing": (lambda q: [], False),
    "no bytes": (lambda q: [b""], False),
    "garbage": (lambda q: [GARBAGE[:n] for n in (1, 3, 60, 1100, 1101, 9000)], False),
    "the request": (lambda q: [q], False),
    "cut short": (lambda q: [answer(q)[:n] for n in range(60)], False),
    "not in words": (lambda q: [answer(q) + b"\0"], False),
    "too long": (lambda q: [answer(q) + bytes(1044)], False),
    "another's nonce": (lambda q: [answer(q, nonce=bytes(12)), answer(q, nonce=q[25:37])], False),
    "UDP": (lambda q: [answer(q, protocol=b"\x11")], False),
    "another port": (lambda q: [answer(q, internal=b"\0\1")], False),
    "PEER": (lambda q: [answer(q, opcode=2)], False),
    "ANNOUNCE": (lambda q: [answer(q, opcode=0)[:24]], False),
    "no opcode": (lambda q: [answer(q, opcode=127)], False),
    "version 1": (lambda q: [answer(q, version=1), answer(q, version=0), answer(q, version=255)], False),
    "lifetime 0": (lambda q: [answer(q, lifetime=0)], False),
    "external port 0": (lambda q: [answer(q, port=0)], False),
    "an error without a map": (lambda q: [answer(q, result=3)[:24]], False),
    "twice": (lambda q: [answer(q)] * 2, True),
    "an option that nobody knows": (lambda q: [answer(q) + b"\xee\0\0\1\0\0\0\0"], True),
}


def open_socket(address, port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((address, port))
    return s


def forgets(s):
    seen, start = set(), START
    while True:
        q, peer = s.recvfrom(2000)
        port = int.from_bytes(q[40:42], "big")
        if port in seen:
            seen, start = set(), time.time()
        seen.add(port)
        print(port, flush=True)
        s.sendto(answer(q, lifetime=FORGETS[port], epoch=int(time.time() - start)), peer)


def hostile(s, other):
    elsewhere = [open_socket(other, s.getsockname()[1]), open_socket(s.getsockname()[0], 0)]
    rows, seen = list(HOSTILE.values()), set()
    while True:
        q, peer = s.recvfrom(2000)
        port = int.from_bytes(q[40:42], "big")
        print(port, flush=True)
        if port in seen:
            s.sendto(answer(q), peer)
        elif port - FIRST_PORT < len(rows):
            for packet in rows[port - FIRST_PORT][0](q):
                s.sendto(packet, peer)
        else:  # from another address, and from another port
            elsewhere[port - FIRST_PORT - len(rows)].sendto(answer(q), peer)
        seen.add(port)


def storm(s):
    q, peer = s.recvfrom(2000)

    def blow():
        announcement, n = answer(q, opcode=0, lifetime=0, epoch=0)[:24], 0
        while True:
            s.sendto(announcement, ("224.0.0.1", 5350))
            s.sendto(announcement, (peer[0], 5350))
            n += 1
            if n == STORM:
                print("storm", flush=True)

    s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(s.getsockname()[0]))
    print(int.from_bytes(q[40:42], "big"), flush=True)
    s.sendto(answer(q), peer)
    threading.Thread(target=blow, daemon=True).start()
    while True:
        q, peer = s.recvfrom(2000)
        print(int.from_bytes(q[40:42], "big"), flush=True)
        s.sendto(answer(q), peer)


if __name__ == "__main__":
    at = open_socket(sys.argv[1], int(sys.argv[2]))
    print("ready", flush=True)
    {"forgets": forgets, "hostile": hostile, "storm": storm}[sys.argv[3]](at, *sys.argv[4:])

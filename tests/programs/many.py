# SPDX-License-Identifier: MIT
"""A client that prepares each of its sockets in another way before it connects: options, a bound
port, duplicates, epoll registrations of every kind; and says what it then sees. Arguments: the
server's address, its port, a refused port, how many."""
import os
import random
import select
import socket
import struct
import sys

SETS = [(1, 9, 1), (6, 1, 1), (6, 4, 61), (6, 5, 7), (6, 6, 5), (1, 7, 40000), (1, 8, 50000),
        (0, 1, 0x10), (1, 2, 1), (6, 12, 0), (6, 12, 1), (6, 16, 1), (1, 10, 1), (1, 18, 1),
        (6, 13, b"reno"), (1, 13, struct.pack("ii", 0, 3)), (1, 20, struct.pack("qq", 3, 0)),
        (1, 21, struct.pack("qq", 4, 0)), (6, 25, 1000), (0, 2, 40), (6, 18, 7000), (1, 12, 3)]
KEEP = [(level, name, 16) for level, name, _ in SETS if (level, name) != (6, 12)]

# by the kernel as it likes, until the program says how much
TUNED = ((1, 7), (1, 8))


def one(number, address, good, bad):
    r = random.Random(number)
    refused = r.random() < 0.25
    blocking = r.random() < 0.3
    said = [number]
    s = socket.socket()
    s.setblocking(blocking)
    chosen = r.sample(SETS, r.choice((0, 3, 20)))
    for level, name, value in chosen:
        s.setsockopt(level, name, value)
    keep = [o for o in KEEP if o[:2] not in TUNED or o[:2] in [c[:2] for c in chosen]]
    bound = r.random() < 0.2
    if bound:
        s.setsockopt(1, 2, 1)
        s.bind(("", r.choice((0, 20000 + number % 10000))))
        port = s.getsockname()[1]
    twin = os.dup(s.fileno()) if r.random() < 0.1 else None
    sets = [select.epoll() for _ in range(r.choice((0, 1, 1, 2)))]
    modes = [r.choice((0, select.EPOLLET, select.EPOLLONESHOT)) for _ in sets]
    early = r.random() < 0.7
    for e, mode in zip(sets, modes):
        if early:
            e.register(s, select.EPOLLIN | select.EPOLLOUT | mode)
            said.append([events for _, events in e.poll(0)])
            if mode:  # it has fired, or its edge is gone
                e.modify(s, select.EPOLLIN | select.EPOLLOUT | mode)
                e.poll(0)
                if mode == select.EPOLLONESHOT:
                    e.modify(s, select.EPOLLIN | select.EPOLLOUT | mode)
    said.append(s.connect_ex((address, bad if refused else good)))
    for e, mode in zip(sets, modes):
        if not early:
            e.register(s, select.EPOLLIN | select.EPOLLOUT | mode)
    if not (blocking and refused):
        for e, mode in zip(sets, modes):
            if mode != select.EPOLLONESHOT or not early:
                said.append([events for _, events in e.poll(5)])
        p = select.poll()
        p.register(s, select.POLLOUT)
        said.append([events for _, events in p.poll(5000)])
    said.append(s.getsockopt(1, 4))
    said += [s.getsockopt(1, name) for name in (38, 39)]
    try:
        said += [*s.getpeername()]
    except OSError as e:
        said.append(e.errno)
    said.append([s.getsockopt(*option).hex() for option in keep])
    said += [os.get_blocking(s.fileno()), os.get_inheritable(s.fileno())]
    if bound:
        said.append(s.getsockname()[1] == port)
    if not refused:
        s.setblocking(True)
        s.sendall(b"GET /small HTTP/1.0\r\n\r\n")
        answer = b""
        while (piece := s.recv(4096)):
            answer += piece
        said.append(answer.rpartition(b"\r\n\r\n")[2])
    if twin is not None:
        os.close(twin)
    print(*said, flush=False)
    return s.getsockopt(6, 43)


def main(address, good, bad, many):
    mptcp = sum(one(n, address, int(good), int(bad)) for n in range(int(many)))
    print(mptcp, file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])

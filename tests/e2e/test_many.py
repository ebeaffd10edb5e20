#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""Cases 1.5 and 1.6. What a process has had a great many of, and has no more: it is converted as ever, and as large
as ever.
MANY=all (make check-storms): 100,000 connections and 200,000 registrations, else fewer."""
import os
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L
import servers

ALL = os.environ.get("MANY") == "all"

CLIENT = """
import errno, select, socket, struct, sys

def pages():
    return int(open("/proc/self/statm").read().split()[1])

def who():
    "By a connection that is waited for with epoll."
    s, e = socket.socket(), select.epoll()
    s.setblocking(False)
    e.register(s, select.EPOLLOUT | select.EPOLLIN | select.EPOLLET)
    err = s.connect_ex(("10.2.0.2", 80))
    if err != errno.EINPROGRESS:
        return errno.errorcode.get(err)
    while not any(event & select.EPOLLOUT and not event & select.EPOLLHUP for _, event in e.poll(5)):
        pass
    s.setblocking(True)
    s.sendall(b"GET /who HTTP/1.0\\r\\n\\r\\n")
    answer = b""
    while piece := s.recv(4096):
        answer += piece
    e.close()
    s.close()
    return answer.split(b"\\r\\n\\r\\n")[1].decode().strip()

def at_once(n_sets, n_sockets):
    sockets = [socket.socket() for _ in range(n_sockets)]
    sets = [select.epoll() for _ in range(n_sets)]
    for e in sets:
        for s in sockets:
            e.register(s, select.EPOLLIN)
    print("with", n_sets * n_sockets, "registrations:", who())
    return sets, sockets

def one_after_the_other(n):
    s, e = socket.socket(), select.epoll()
    for _ in range(n):
        e.register(s, select.EPOLLIN)
        e.unregister(s)

def connections(n):
    for _ in range(n):
        t = socket.create_connection(("10.2.0.2", 80))
        t.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        t.close()

what, n = sys.argv[1], int(sys.argv[2])
print(who())
if what == "at_once":
    at_once(n, 700)
    print("without:", who())
elif what == "one_by_one":
    one_after_the_other(1000)
    before = pages()
    one_after_the_other(n)
    print("pages:", pages() - before)
else:
    connections(500)
    before = pages()
    connections(n)
    print("pages:", pages() - before)
print(who())
"""

CHANGES = 200
PORT = 5126  # of the converter that asks

# Wants a cookie of so many bytes, which nobody can know, and another one for the next connection. At each
# address it is another converter.
ASKING = """
import os, socket, sys, threading
wanted = {}

def tlvs(message):
    at = 4
    while at < len(message):
        yield message[at], message[at + 4:at + 4 * message[at + 1]]
        at += 4 * message[at + 1]

def whole(s, n):
    got = b""
    while len(got) < n:
        piece = s.recv(n - len(got))
        if not piece:
            raise EOFError
        got += piece
    return got

def serve(s):
    me = s.getsockname()[0]
    with s:
        head = whole(s, 4)
        found = dict(tlvs(head + whole(s, 4 * head[1] - 4)))
        if me in wanted and found.get(0x16) == wanted.get(me):
            del wanted[me]
            s.sendall(bytes.fromhex("01012263") + b"converted")
            return
        value = wanted.setdefault(me, os.urandom(int(sys.argv[2])))
        words = 1 + len(value) // 4
        s.sendall(bytes([1, 1 + words, 0x22, 0x63, 0x1e, words, 3, 0]) + value)

listeners = []
for address in sys.argv[3:]:
    listener = socket.create_server((address, int(sys.argv[1])), backlog=100)
    threading.Thread(target=lambda l=listener: [threading.Thread(
        target=serve, args=(l.accept()[0],), daemon=True).start() for _ in iter(int, 1)]).start()
"""

CHANGING = """
import socket, sys
def pages():
    return int(open("/proc/self/statm").read().split()[1])
before, right = 0, 0
for n in range(int(sys.argv[2])):
    with socket.socket() as s:
        s.connect((sys.argv[1], 80))
        right += s.recv(100) == b"converted"
    if n == 20:
        before = pages()
print(right, pages() - before)
"""


def setup(lab):
    servers.nowhere(lab)
    servers.nginx(lab)
    lab.converter()


class Many(L.TestCase):
    def client(self, what, n):
        shim = self.lab.config("fast-open = no-cookie", log=False)
        r = self.lab.run(["/usr/bin/python3", "-c", CLIENT, what, n], shim=shim,
                         timeout=900 if ALL else 60)
        self.assertEqual(r.code, 0, r)
        return r.out.decode().splitlines()

    def flat(self, what, n):
        lines = self.client(what, n)
        self.note(f"{n} {what}: {lines[1]} more")
        self.assertEqual((lines[0], lines[2]), (L.ROUTER, L.ROUTER))
        self.assertLess(int(lines[1].split()[1]), 200)

    def test_registrations_at_once(self):
        """More than 65,536, and then none."""
        lines = self.client("at_once", 100)
        self.assertEqual(lines, [L.ROUTER, f"with 70000 registrations: {L.ROUTER}",
                                 f"without: {L.ROUTER}", L.ROUTER])

    def test_registrations(self):
        self.flat("one_by_one", 200000)

    def test_connections(self):
        self.flat("connections", 100000 if ALL else 3000)


class Cookies(L.TestCase):
    """Case 1.5. A converter that changes its Convert cookie all the time: it is asked for as often as need be."""

    def check(self, length):
        address = self.lab.fresh_addresses()[0]
        converter = self.lab.start("converter", ["/usr/bin/python3", "-c", ASKING, PORT, length,
                                                 address])
        converter.wait_for_listeners(PORT)
        shim = self.lab.config("fast-open = no-cookie", address=address, port=PORT, log=False)
        r = self.lab.run(["/usr/bin/python3", "-c", CHANGING, servers.MUTE, CHANGES], shim=shim, timeout=60)
        self.assertEqual(r.code, 0, r)
        right, pages = r.out.decode().split()
        self.note(f"{CHANGES} cookies: {right} converted, {pages} pages more")
        self.assertEqual(int(right), CHANGES, r)
        self.assertLess(int(pages), 40, r)
        converter.stop()

    def test_short(self):
        self.check(16)

    def test_as_long_as_can_be(self):
        """Then there is no room for an option."""
        self.check(992)


if __name__ == "__main__":
    if ALL:
        L.TEST_LIMIT = 1000
    L.main(setup)

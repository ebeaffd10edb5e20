#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""Case 1.5. A converter that changes its Convert cookie all the time: it is asked for as often as need be, and the
process stays as it is."""
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L
import servers

CHANGES = 200
PORT = 5126

# Wants a cookie of so many bytes, which nobody can know, and another one for the next connection. At each
# address it is another converter.
CONVERTER = """
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

CLIENT = """
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


class Cookies(L.TestCase):
    def check(self, length):
        address = self.lab.fresh_addresses()[0]
        converter = self.lab.start("converter", ["/usr/bin/python3", "-c", CONVERTER, PORT, length,
                                                 address])
        converter.wait_for_listeners(PORT)
        shim = self.lab.config("fast-open = no-cookie", address=address, port=PORT, log=False)
        r = self.lab.run(["/usr/bin/python3", "-c", CLIENT, servers.MUTE, CHANGES], shim=shim, timeout=60)
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
    L.main(setup)

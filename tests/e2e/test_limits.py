#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""What the library cannot see (README, "What it does not do"): static programs, system calls by the
program's own instructions, io_uring, stdio. None of them gets or sends a wrong byte, but for the one case that is named there;
and in that one the server still gets none."""
import os
import struct
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L

ECHO = 7000
AMOUNT = 200000
SENT = b"".join(struct.pack("=I", i) for i in range(AMOUNT // 4))
ALL_RIGHT = f"{AMOUNT} bytes came back, {AMOUNT} of them right\nat last: 0\n"

# An echo server that keeps what it got, and from whom: FILE.N for the Nth connection.
RECORDER = """
import socket, sys, threading
def serve(s, who, path):
    with s, open(path, "wb", 0) as file:
        file.write(who.encode() + b" ")
        try:
            while data := s.recv(65536):
                file.write(data)
                s.sendall(data)
        except OSError:
            pass
listener = socket.create_server(("", int(sys.argv[1])))
n = 0
while True:
    s, who = listener.accept()
    threading.Thread(target=serve, args=(s, who[0], f"{sys.argv[2]}.{n}"), daemon=True).start()
    n += 1
"""


def setup(lab):
    global recorded
    recorded = lab.file("recorded")
    lab.start("server", ["/usr/bin/python3", "-c", RECORDER, ECHO, recorded]).wait_for_listeners(ECHO)


class Limits(L.TestCase):
    CONVERTER = ()
    SETTINGS = "fast-open = no-cookie"
    number = 0  # of connections that the server has seen

    def setUp(self):
        super().setUp()
        address = self.lab.fresh_addresses()[0]
        self.converter = self.lab.converter(*self.CONVERTER, listen=[address])
        self.shim = self.lab.config(self.SETTINGS, address=address)

    def run_case(self, case, program="limits"):
        return self.lab.run([L.TOOLS / program, case, L.SERVER, ECHO], shim=self.shim)

    def server_got(self):
        """From whom, and what: by the next connection that has not been looked at. There is one, if not its file yet."""
        path = recorded.with_name(f"{recorded.name}.{Limits.number}")
        L.wait_for("the server's record", lambda: path.exists() and b" " in path.read_bytes())
        Limits.number += 1
        who, _, data = path.read_bytes().partition(b" ")
        return who.decode(), data

    def exact(self, case, converted=True, program="limits"):
        r = self.run_case(case, program)
        if r.out.startswith(b"io_uring_setup"):
            plain = self.lab.run([L.TOOLS / program, case, L.SERVER, ECHO])
            self.assertEqual(plain.out, r.out, "without the shim there is one")
            self.skipTest(f"the kernel refuses: {r.out.decode().strip()}")
        self.assertEqual(r.out.decode(), ALL_RIGHT, r)
        who, data = self.server_got()
        self.assertEqual(data, SENT)
        self.assertEqual(who, L.ROUTER if converted else L.CLIENT)
        self.assertEqual(len(self.converter.events("request")), int(converted), r)
        return r

    def test_static(self):
        L.command(["gcc", "-static", "-o", L.TMP / "static", L.ROOT / "tests/programs/limits.c"])
        for case in "blocking-libc", "polled-libc", "pending-libc":
            with self.subTest(case):
                r = self.exact(case, converted=False, program=L.TMP / "static")
                self.assertEqual(r.log, "")

    def test_connects_unseen(self):
        for calls in "raw", "code", "ring":
            with self.subTest(calls):
                r = self.exact(f"own-{calls}", converted=False)
                self.assertEqual(r.log, "")

    def test_stdio_pending(self):
        self.exact("pending-stdio")

    def test_dprintf_pending(self):
        self.exact("pending-dprintf")

    def test_stdio_before_connect(self):
        self.exact("early-stdio", converted=False)

    def test_ring_pending(self):
        """connect() does not return before the exchange is over."""
        self.exact("pending-ring")

    def test_ring_of_liburing(self):
        """Which is not seen made: the loader knows the library, and /proc/thread-self/maps the ring."""
        L.command(["gcc", "-rdynamic", "-DAS_LIBURING", "-o", L.TMP / "as-liburing",
                   L.ROOT / "tests/programs/limits.c"])
        self.exact("pending-ring", program=L.TMP / "as-liburing")

    def test_raw_pending(self):
        self.exact("pending-raw")

    def test_code_pending(self):
        """The one case: the program reads the reply. It is a Convert message and not more than
        that, and the server gets the program's bytes in their order, or none of them."""
        r = self.run_case("pending-code")
        self.assertRegex(r.out.decode(), "^[0-9]+ bytes came back, 0 of them right\n", r)
        L.wait_for("the end", lambda: self.converter.events("close"))
        made = len(self.converter.events("reply"))
        # nobody could say whether the server has seen one that was begun and not made
        self.assertEqual(len(self.converter.events("down")), made)
        if made:
            who, data = self.server_got()
            self.assertEqual(who, L.ROUTER)
            self.assertEqual(data, SENT[:len(data)])


PLUGIN = """
#include <arpa/inet.h>
int plugin(const char *host, int port)
{
	struct sockaddr_in server = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	inet_pton(AF_INET, host, &server.sin_addr);
	return connect(fd, (struct sockaddr *)&server, sizeof(server));
}
"""
LOADS = """
import ctypes, os, sys
print(ctypes.CDLL(sys.argv[1], mode=os.RTLD_NOW | int(sys.argv[2])).plugin(sys.argv[3].encode(), int(sys.argv[4])))
"""


class Plugins(L.TestCase):
    def test_deep_binding(self):
        """Its connect() is libc's own, whatever is loaded before that."""
        source, plugin = self.lab.file("plugin.c", PLUGIN), self.lab.file("plugin.so")
        L.command(["gcc", "-shared", "-fPIC", "-o", plugin, source])
        converter = self.lab.converter()
        shim = self.lab.config() | {"CONVERT_STRICT": "1"}
        for mode, converted in (os.RTLD_DEEPBIND, 0), (0, 1):
            r = self.lab.run(["/usr/bin/python3", "-c", LOADS, plugin, mode, L.SERVER, ECHO], shim=shim)
            Limits.number += 1
            self.assertEqual((r.out, r.err), (b"0\n", ""), r)
            self.assertEqual((len(converter.events("request")), "converted" in r.log), (converted, bool(converted)), r)
            self.assertTrue(converted or r.log == "", r)


# Once the program may believe that it is connected, everything is the kernel's alone; where a ring may be the first to
# write nothing is put off.
for case in [f"{when}-{calls}" for when in ("blocking", "polled")
             for calls in ("libc", "raw", "code", "ring", "stdio")] + ["deferred-libc", "deferred-raw", "deferred-ring"]:
    setattr(Limits, "test_" + case.replace("-", "_"), lambda self, case=case: self.exact(case))


class ReplyLate(Limits):
    CONVERTER = ("--fault", "delay=300,split=1,gap=2")


class MessageOwed(Limits):
    CONVERTER = ("--fastopen", "cookie")
    SETTINGS = "fast-open = cookie"


class SynHeld(Limits):
    CONVERTER = ("--hold",)


if __name__ == "__main__":
    L.main(setup)

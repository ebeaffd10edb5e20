#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""busybox, built from Debian's source with musl: its wget, nc and shell say the same converted as direct,
through the library of glibc's compiler and through one of musl's. `make check-reach` builds and runs it."""
import hashlib
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L
import servers
import test_musl as M
import test_transparency as T

BUSYBOX = L.BUILD / "musl/busybox"
TLS = 4433
BODY = servers.random_bytes(3 << 20, 7)


def setup(lab):
    M.setup(lab)
    Busybox.converter = lab.converter("--mptcp")
    base = L.TMP / "nginx-server"
    # what it sends says nothing of SHA-256, and SHA-1 is below the usual level
    tls = lab.start("server", ["env", "-C", base / "www", "openssl", "s_server", "-accept", TLS, "-WWW", "-quiet",
                               "-cipher", "DEFAULT:@SECLEVEL=0", "-cert", base / "cert.pem",
                               "-key", base / "key.pem"])
    tls.wait_for_listeners(TLS)


class Busybox(L.TestCase):
    LIBRARY = L.SHIM

    def same(self, *words, stdin=b"", connections=1):
        """The result of the converted run."""
        before = len(self.converter.events("request"))
        conf = self.lab.config("fast-open = no-cookie", address=[L.CONVERTER, L.CONVERTER6])
        direct, converted = (self.lab.run([BUSYBOX, *words], shim=shim, stdin=stdin)
                             for shim in (None, conf | {"LD_PRELOAD": str(self.LIBRARY)}))
        self.assertEqual((direct.code, direct.err), (converted.code, converted.err), f"{direct}\n{converted}")
        self.assertTrue(direct.out == converted.out, f"{direct}\n{converted}")
        requests = self.converter.events("request", before + connections)
        self.assertEqual(len(requests) - before, connections, converted)
        return converted

    def wget(self, url, *options, code=0, **more):
        r = self.same("wget", "-qO-", *options, url, **more)
        self.assertEqual(r.code, code, r)
        return r

    def test_wget(self):
        for host in L.SERVER, f"[{L.SERVER6}]":
            r = self.wget(f"http://{host}/page")
            self.assertEqual(len(r.out), 300000)

    def test_wget_with_a_time_limit(self):
        self.wget(f"http://{L.SERVER}/page", "-T", "5")
        r = self.wget(f"http://{servers.MUTE}/page", "-T", "1", code=1)
        self.assertIn("timed out", r.err)

    def test_wget_posts(self):
        self.wget(f"http://{L.SERVER}/who-not", "--post-data", "x" * 5000, code=1)

    def test_wget_over_tls(self):
        """Which a child does, over a connection of its parent's."""
        r = self.wget(f"https://{L.SERVER}:{TLS}/page")
        self.assertEqual(len(r.out), 300000)

    def test_wget_refused(self):
        r = self.wget(f"http://{L.SERVER}:{T.CLOSED}/", code=1)
        self.assertIn("Connection refused", r.err)

    def test_nc(self):
        """Both ways at once, and the end of each."""
        r = self.same("nc", L.SERVER, T.ECHO, stdin=BODY)
        self.assertEqual(hashlib.sha1(r.out).digest(), hashlib.sha1(BODY).digest())

    def test_nc_that_waits(self):
        r = self.same("nc", "-w", "5", L.SERVER, T.GREET)
        self.assertEqual(r.code, 0, r)

    def test_nc_refused(self):
        r = self.same("nc", "-vv", L.SERVER, T.CLOSED)
        self.assertIn("Connection refused", r.err)

    def test_nc_starts_a_program(self):
        """Which finds the connection as its standard input and output."""
        script = 'echo one; read a; echo "two $a"; read b; echo "$a, $b" >&2'
        r = self.same("nc", L.SERVER, T.ECHO, "-e", BUSYBOX, "sh", "-c", script)
        self.assertEqual((r.code, r.err), (0, "one, two one\n"), r)

    def test_shell(self):
        get = f"{BUSYBOX} wget -qO- http://{L.SERVER}"
        r = self.same("sh", "-c", f"{get}/page | {BUSYBOX} cat & {get}/small > /dev/null; wait; exit 7",
                      connections=2)
        self.assertEqual((r.code, len(r.out)), (7, 300000))

    def test_converted(self):
        """The server sees the converter."""
        r = self.lab.run([BUSYBOX, "wget", "-qO-", f"http://{L.SERVER}/who"],
                         shim=self.lab.config() | {"LD_PRELOAD": str(self.LIBRARY)})
        self.assertEqual(r.out.decode(), L.ROUTER + "\n", r)


class BusyboxOfMusl(Busybox):
    LIBRARY = M.NATIVE


if __name__ == "__main__":
    L.MPTCP = "on"
    L.main(setup, delay_ms=(30, 20))

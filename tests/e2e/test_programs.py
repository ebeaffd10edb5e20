#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""Unmodified programs through a converter, against real servers: the same bytes, the same exit
status, the same messages as without the shim; and the server sees the converter."""
import hashlib
import re
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L
import servers

BIG = 200 << 20
WHO = {L.SERVER: L.ROUTER, L.SERVER6: L.ROUTER6}  # whom that server sees behind a converter


def setup(lab):
    global nginx, sshd, head, big_sum
    nginx = servers.nginx(lab)
    servers.redis(lab)
    head = servers.git_repository(nginx.base / "www")
    servers.git_http(lab, nginx.base / "www")
    sshd = servers.sshd(lab) if L.owns_several_users() else None
    big = servers.random_bytes(BIG)
    (nginx.base / "www/big").write_bytes(big)
    big_sum = hashlib.sha256(big).hexdigest()


def bracketed(server):
    return f"[{server}]" if ":" in server else server


class Programs:
    """The programs; the subclasses below say through what kind of converter."""

    CONVERTER = ()
    SETTINGS = ""

    def setUp(self):
        super().setUp()
        v4, v6 = self.lab.fresh_addresses()  # so that the first SYN asks for a cookie
        self.converter = self.lab.converter(*self.CONVERTER, listen=[v4, f"[{v6}]"])
        self.addresses = [v4, v6]

    def shim(self):
        return self.lab.config(self.SETTINGS, address=self.addresses)

    def same(self, argv_for, stdin=b"", strip=None, timeout=30):
        """argv_for(server) for both families, without and with the shim. strip: what to compare
        of the output."""
        for server in WHO:
            with self.subTest(server):
                argv = argv_for(server)
                direct = self.lab.run(argv, stdin=stdin, timeout=timeout)
                before = len(nginx.lines_so_far())
                shim = self.lab.run(argv, stdin=stdin, shim=self.shim(), timeout=timeout)
                what = strip or (lambda out: out)
                self.assertEqual(direct.code, 0, direct)
                self.assertEqual(shim.code, 0, shim)
                self.assertTrue(direct.out and what(direct.out), direct)
                self.assertEqual(what(direct.out), what(shim.out), shim)
                self.assertEqual(direct.err, shim.err, shim)
                self.check_log(shim)
                # if it was nginx: whom did it see?
                for line in nginx.lines_so_far()[before:]:
                    self.assertEqual(line.split()[0], WHO[server], line)

    def check_log(self, result):
        lines = result.log.splitlines()
        self.assertTrue(lines, result)
        for line in lines:
            self.assertRegex(line, r": converted .* via .*: connected, "
                             r"(MPTCP|TCP(: [a-z, ]* has no MPTCP( for this process)?)?)$", result)

    # ------------------------------------------------------------------ http

    def test_curl(self):
        self.same(lambda s: ["curl", "-sS", f"http://{bracketed(s)}/page"])

    def test_curl_https(self):
        self.same(lambda s: ["curl", "-sS", "--cacert", nginx.base / "cert.pem",
                             f"https://{bracketed(s)}/page"])

    def test_curl_believes_in_its_peer(self):
        """remote_ip is getpeername()."""
        self.same(lambda s: ["curl", "-sS", "-o", "/dev/null", "-w",
                             "%{remote_ip} %{remote_port} %{local_ip} %{http_code} %{num_connects}",
                             f"http://{bracketed(s)}/page"])

    def test_curl_who(self):
        for server, who in WHO.items():
            r = self.lab.run(["curl", "-sS", f"http://{bracketed(server)}/who"], shim=self.shim())
            self.assertEqual(r.out.decode(), who + "\n", r)

    def test_curl_parallel(self):
        self.same(lambda s: ["curl", "--no-progress-meter", "-Z", "--parallel-immediate",
                             "--parallel-max", "20", "-H", "Connection: close",
                             f"http://{bracketed(s)}/small?[1-40]"])

    def test_wget(self):
        self.same(lambda s: ["wget", "--no-config", "-qO-", f"http://{bracketed(s)}/page"])

    def test_wget_https(self):
        self.same(lambda s: ["wget", "--no-config", "-qO-", "--ca-certificate",
                             nginx.base / "cert.pem", f"https://{bracketed(s)}/page"])

    def test_python_urllib(self):
        program = ("import sys, urllib.request as u;"
                   "sys.stdout.buffer.write(u.urlopen(sys.argv[1], timeout={}).read())")
        for timeout in ("None", "10"):  # blocking, and poll-driven
            self.same(lambda s: ["/usr/bin/python3", "-c", program.format(timeout),
                                 f"http://{bracketed(s)}/page"])

    def test_bash(self):
        """The descriptor is inherited by head and cat, which know nothing of the connection."""
        program = ("exec 3<>/dev/tcp/$0/80; printf 'GET /page HTTP/1.0\\r\\n\\r\\n' >&3;"
                   "head -c 15 <&3; echo; cat <&3")
        self.same(lambda s: ["bash", "-c", program, s],
                  strip=lambda out: re.sub(rb"(?m)^Date: .*$", b"", out))

    def test_openssl(self):
        self.same(lambda s: ["openssl", "s_client", "-quiet", "-verify_return_error", "-CAfile",
                             nginx.base / "cert.pem", "-connect", f"{bracketed(s)}:443"],
                  stdin=b"GET /page HTTP/1.0\r\n\r\n",
                  strip=lambda out: out.partition(b"\r\n\r\n")[2])

    # ------------------------------------------------------------------- git

    def git(self, port):
        program = ('rm -rf "$1" && git clone -q "$0" "$1" && cd "$1" && git rev-parse HEAD && '
                   'git fsck --strict 2>&1 | grep -v "^notice" ; git ls-remote "$0" && '
                   'sha256sum file*')
        copy = self.lab.file("clone")
        self.same(lambda s: ["sh", "-c", program, f"http://{bracketed(s)}:{port}/repo.git", copy])
        self.assertEqual(L.command(["git", "-C", copy, "rev-parse", "HEAD"]).strip(), head)

    def test_git_smart(self):
        self.git(servers.GIT)

    def test_git_dumb(self):
        self.git(servers.HTTP)

    # ------------------------------------------------------------- ssh, redis

    def need_sshd(self):
        if not sshd:
            self.skipTest("sshd needs more than one user in the namespace")

    def test_ssh(self):
        self.need_sshd()
        data = servers.random_bytes(1 << 20, seed=7)
        for options in ([], ["-o", "ConnectTimeout=10"]):  # blocking, and poll-driven
            self.same(lambda s: sshd.client + options + [f"root@{s}", "cat; echo end"],
                      stdin=data)

    def test_ssh_who(self):
        self.need_sshd()
        for server, who in WHO.items():
            r = self.lab.run(sshd.client + [f"root@{server}", "echo $SSH_CONNECTION"],
                             shim=self.shim())
            self.assertEqual(r.out.decode().split()[0:1], [who], r)

    def test_redis_cli(self):
        data = servers.random_bytes(300000, seed=5)
        self.same(lambda s: ["redis-cli", "-h", s, "-x", "SET", "key"], stdin=data)
        self.same(lambda s: ["redis-cli", "-h", s, "--no-raw", "GETRANGE", "key", "0", "5000"])
        self.same(lambda s: ["redis-cli", "-h", s, "STRLEN", "key"])

    def test_redis_who(self):
        for server, who in WHO.items():
            r = self.lab.run(["redis-cli", "-h", server, "CLIENT", "LIST"], shim=self.shim())
            self.assertRegex(r.out.decode(), re.escape(f" addr={bracketed(who)}:"), r)

    # ------------------------------------------------------------ 200 megabytes

    def test_download(self):
        r = self.lab.run(["sh", "-c", f"curl -sS http://{L.SERVER}/big | sha256sum"],
                         shim=self.shim(), timeout=60)
        self.assertEqual(r.out.decode().split()[:1], [big_sum], r)
        self.check_log(r)

    def test_upload(self):
        r = self.lab.run(["curl", "-sS", "-T", nginx.base / "www/big",
                          f"http://{L.SERVER}/put/big"], shim=self.shim(), timeout=60)
        self.assertEqual(r.code, 0, r)
        self.check_log(r)
        copy = nginx.base / "www/put/big"
        with open(copy, "rb") as f:
            self.assertEqual(hashlib.file_digest(f, "sha256").hexdigest(), big_sum)
        copy.unlink()


class CookieAsked(Programs, L.TestCase):
    """The converter wants a Fast Open cookie: the message is owed at first, then in the SYN."""
    CONVERTER = ("--fastopen", "cookie")


class NoCookie(Programs, L.TestCase):
    SETTINGS = "fast-open = no-cookie"


class SplitReply(Programs, L.TestCase):
    """Every byte of the reply on its own, 2 ms apart; a long reply."""
    CONVERTER = ("--fault", "split=1,gap=2", "--ext-header", "always")
    SETTINGS = "fast-open = no-cookie"


class Hold(Programs, L.TestCase):
    """The converter holds the SYN until the server has answered."""
    CONVERTER = ("--hold", "--fastopen", "cookie")


class Draft02(Programs, L.TestCase):
    CONVERTER = ("--dialect", "draft-02")
    SETTINGS = "dialect = draft-02"


if __name__ == "__main__":
    L.main(setup)

#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""convert-bootstrap status, flush, forget, pin: what people see of what programs have learned."""
import fcntl
import os
import struct
import sys
import threading

sys.path.insert(1, sys.path[0] + "/../lab")
import captures
import lab as L
import servers

SECRET = "SECRETcookie"


def setup(lab):
    servers.nginx(lab)


class Known(L.TestCase):
    def setUp(self):
        self.state = str(self.lab.file("state"))
        self.v4, _ = self.lab.fresh_addresses()

    def helper(self, *words, code=0, shim=None):
        r = self.lab.run([L.BUILD / "convert-bootstrap", *words],
                         env=(shim or {}) | {"CONVERT_STATE": self.state})
        self.assertEqual(r.code, code, r)
        if not {"-j", "--json"} & set(words):
            self.assertTrue(all(len(line) <= 80 for line in r.out.decode().splitlines()), r)
        return r

    def status(self):
        return L.validated("status", self.helper("status", "--json").out)

    def curl(self, **more):
        shim = self.lab.config(address=self.v4, **more) | {"CONVERT_STATE": self.state}
        r = self.lab.run(["curl", "-sS", f"http://{L.SERVER}/who"], shim=shim)
        self.assertEqual(r.code, 0, r)
        return r.out.decode().strip()

    def test_nothing_is_known(self):
        nothing = {"state": self.state, "converters": [], "servers": [], "mappings": [],
                   "counts": {"since_s": None, "converted": 0, "bypassed": 0, "direct": 0,
                              "failed": 0}}
        self.assertEqual(self.status(), nothing)
        self.helper("flush")
        self.assertEqual(self.status(), nothing)

    def test_what_programs_have_learned(self):
        self.lab.converter("--mptcp", "--fastopen", "cookie", "--cookie-required",
                           listen=["0.0.0.0"])
        for _ in range(2):
            self.assertEqual(self.curl(), L.ROUTER)
        status = self.status()
        (converter,) = status["converters"]
        self.assertEqual(converter["address"], f"{self.v4}:{L.PORT}")
        self.assertEqual(converter["dialect"], "rfc8803")
        self.assertEqual(converter["failures"], 0)
        self.assertIs(converter["convert_cookie"], True)
        self.assertEqual(status["counts"]["converted"], 2)
        (server,) = status["servers"]
        self.assertEqual((server["address"], server["verdict"]), (f"{L.SERVER}:80", "tcp"))
        text = self.helper("status").out.decode()
        for words in (f"converter {self.v4}:{L.PORT}", "rfc8803", f"server {L.SERVER}:80", "tcp",
                      "2 converted"):
            self.assertIn(words, text)
        self.helper("forget", f"{L.SERVER}:80")
        self.assertEqual(self.status()["servers"], [])
        self.helper("flush")
        self.assertEqual(self.status()["converters"], [])

    def test_a_failing_converter(self):
        self.assertEqual(self.curl(policy="fallback = direct"), L.CLIENT)
        status = self.status()
        (converter,) = status["converters"]
        self.assertEqual((converter["failures"], converter["left_alone_s"]), (1, 1))
        self.assertEqual(status["counts"]["failed"], 1)

    def test_cookies_are_never_shown(self):
        self.lab.converter("--cookie", SECRET, "--cookie-required", "--fastopen", "cookie",
                           listen=[self.v4])
        shim = self.lab.config(f"cookie = {SECRET}", address=self.v4)
        r = self.lab.run(["curl", "-sS", f"http://{L.SERVER}/who"],
                         shim=shim | {"CONVERT_STATE": self.state})
        self.assertEqual(r.out.decode().strip(), L.ROUTER, r)
        # and one that was learned
        self.v4, _ = self.lab.fresh_addresses()
        self.lab.converter("--cookie-required", "--fastopen", "cookie", listen=[self.v4])
        capture = captures.Capture(self.lab)
        self.assertEqual(self.curl(), L.ROUTER)
        refused, connection = captures.connections(capture.packets())
        sent = connection[0].data or next(p.data for p in connection
                                          if p.data and p.src == L.CLIENT)
        learned = sent[sent.index(b"\x16", 24) + 4:]
        self.assertGreaterEqual(len(learned), 4)
        self.assertIn(True, [c["convert_cookie"] for c in self.status()["converters"]])
        for out in (self.helper("status"), self.helper("status", "-j"),
                    self.helper("check", "--config", "-c", shim["CONVERT_CONF"])):
            for written in (out.out, out.err.encode(), r.err.encode(), r.log.encode()):
                self.assertNotIn(SECRET.encode(), written)
                self.assertNotIn(SECRET.encode().hex().encode(), written)
                self.assertNotIn(learned, written)
                self.assertNotIn(learned.hex().encode(), written.lower())

    def test_a_pinned_server(self):
        """Nothing that is learned changes it: this one is taken for one with MPTCP."""
        self.lab.converter("--mptcp", "--fastopen", "cookie", listen=["0.0.0.0"])
        self.helper("pin", f"{L.SERVER}:80", "mptcp")
        for _ in range(2):
            self.assertEqual(self.curl(), L.CLIENT)
        (server,) = self.status()["servers"]
        self.assertEqual((server["verdict"], server["pinned"]), ("mptcp", True))
        self.helper("pin", f"{L.SERVER}:80", "tcp")
        self.assertEqual(self.curl(), L.ROUTER)

    def test_direct_is_counted(self):
        self.lab.converter("--mptcp", "--fastopen", "cookie", listen=["0.0.0.0"])
        for n, policy in enumerate(("rule = direct to 10.0.0.0/8", "rule = direct port 80"), 1):
            self.assertEqual(self.curl(policy=policy), L.CLIENT)
            self.assertEqual(self.status()["counts"] | {"since_s": 0},
                             {"since_s": 0, "converted": 0, "bypassed": 0, "direct": n, "failed": 0})
        self.assertIn(" 2 direct,", self.helper("status").out.decode())

    def test_a_filter_that_is_none(self):
        """... also of a program that only asks whether it might set one (EFAULT)."""
        shim = self.lab.config(address=self.v4, policy="rule = direct to 10.0.0.0/8") | {"CONVERT_STATE": str(self.state)}
        r = self.lab.run(["/usr/bin/python3", "-c", f"""if True:
            import ctypes, socket
            libc = ctypes.CDLL(None, use_errno=True)
            assert libc.prctl(22, 2, None) == -1 and ctypes.get_errno() == 14
            assert libc.syscall(317, 1, 0, None) == -1 and ctypes.get_errno() == 14
            socket.create_connection(("{L.SERVER}", 80))"""], shim=shim)
        self.assertEqual(r.code, 0, r)
        self.assertEqual(self.status()["counts"]["direct"], 1)

    def test_by_name(self):
        """A person knows converters and networks by the names in the file and of the interface."""
        self.lab.converter("--mptcp", "--fastopen", "cookie", listen=["0.0.0.0"])
        self.assertEqual(self.curl(), L.ROUTER)
        shim = self.lab.config(address=self.v4)
        out = self.helper("status", "-j", shim=shim).out
        (converter,) = L.validated("status", out)["converters"]
        self.assertEqual((converter["name"], converter["interface"]), ("lab", "c0"))
        text = self.helper("status", shim=shim).out.decode()
        self.assertIn(f"converter lab, {self.v4}:{L.PORT}\n", text)
        self.assertIn("    network    this one, by c0\n", text)
        # a configuration that has it no more, from where nothing tells where it was
        self.v4, _ = self.lab.fresh_addresses()
        out = self.helper("status", "-j", shim=self.lab.config(address=self.v4)).out
        (converter,) = L.validated("status", out)["converters"]
        self.assertEqual((converter["name"], converter["interface"]), (None, "c0"))

    def lock(self):
        """As a program does that is just writing; until it is closed."""
        file = open(self.state, "r+b")
        self.addCleanup(file.close)
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0) + bytes(4))
        return file

    def test_a_lock_of_a_moment(self):
        """It is waited for, and is no full disk."""
        server = "10.0.0.1:80"
        self.helper("pin", server, "tcp")
        for words in ["pin", server, "mptcp"], ["forget", server], ["pin", "10.0.0.2:80", "tcp"]:
            timer = threading.Timer(0.2, self.lock().close)
            timer.start()
            self.helper(*words)
            timer.join()
        self.assertEqual([s["address"] for s in self.status()["servers"]], ["10.0.0.2:80"])
        file = self.lock()
        for words in ["pin", server, "mptcp"], ["forget", "10.0.0.2:80"]:
            self.assertEqual(self.helper(*words, code=1).err,
                             f"{self.state}: cannot be written: another process has it locked\n")
        file.close()
        self.assertEqual([s["address"] for s in self.status()["servers"]], ["10.0.0.2:80"])

    def test_switched_off(self):
        r = self.helper("status", shim={"CONVERT_DISABLE": "1"}, code=1)
        self.assertIn("CONVERT_DISABLE is set", r.err)
        self.assertNotIn("no state file", r.err)

    def test_usage(self):
        for words in (["status", "x"], ["forget"], ["forget", "10.0.0.1"], ["forget", "::1:80"],
                      ["pin", "10.0.0.1:80"], ["pin", "10.0.0.1:80", "maybe"], ["flush", "-j"],
                      ["pin", "10.0.0.1:0", "tcp"], ["pin", "10.0.0.1:65536", "tcp"]):
            self.assertTrue(self.helper(*words, code=2).err, words)
        self.state = "none"
        self.assertIn("no state file", self.helper("status", code=1).err)
        other = self.lab.file("other", "not a state file\n")
        self.state = str(other)
        self.helper("pin", "10.0.0.1:80", "tcp", code=1)
        self.helper("flush", code=1)
        self.assertEqual(other.read_text(), "not a state file\n")


if __name__ == "__main__":
    L.main(setup)

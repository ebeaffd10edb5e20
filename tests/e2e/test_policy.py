#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""Which connections are converted, as the server sees it and the log says it; and which may be direct at all."""
import errno
import os
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L
import servers

# One connection each way that there is; prints who the server has seen, or the errno.
CLIENT = """
import errno, select, socket, sys
address, port = sys.argv[1], int(sys.argv[2])
REQUEST = b"GET /who HTTP/1.0\\r\\n\\r\\n"

def blocking(s):
    s.connect((address, port))
    s.sendall(REQUEST)

def nonblocking(s):
    s.setblocking(False)
    err = s.connect_ex((address, port))
    if err == errno.EINPROGRESS:
        select.select([], [s], [])
        err = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if err:
        raise OSError(err, "")
    s.setblocking(True)
    s.sendall(REQUEST)

def by_flag(s):
    s.sendto(REQUEST, socket.MSG_FASTOPEN, (address, port))

def deferred(s):
    s.setsockopt(socket.IPPROTO_TCP, 30, 1)
    s.connect((address, port))
    s.sendall(REQUEST)

def again(s):
    try:
        s.connect((address, port))
    except OSError:
        s.connect((address, port))
    s.sendall(REQUEST)

def copied(s):
    t = s.dup()
    blocking(t)
    t.close()

said = set()
for way in blocking, nonblocking, by_flag, deferred, again, copied:
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    s.settimeout(10)
    s.setblocking(True)
    try:
        way(s)
        said.add(s.makefile("rb").read().split(b"\\r\\n\\r\\n", 1)[1].decode().strip())
    except OSError as e:
        said.add(e.errno)
    s.close()
print(*said)
"""

OTHERS = """
import socket
a, b = socket.socket(type=socket.SOCK_DGRAM), socket.socket(type=socket.SOCK_DGRAM)
a.bind(("10.1.0.1", 0))
b.connect(a.getsockname())
b.send(b"x")
a.recv(9)
listener = socket.socket(socket.AF_UNIX)
listener.bind("\\0strict")
listener.listen()
socket.socket(socket.AF_UNIX).connect("\\0strict")
s = socket.socket()
s.bind(("127.0.0.1", 0))
s.listen()
try:
    s.connect(("10.2.0.2", 80))
except OSError as e:
    assert e.errno == 106, e
print("fine")
"""


# A program that says what it does, where ps(1) sees it
RENAMED = """
import ctypes, sys, urllib.request
name = ctypes.c_void_p.in_dll(ctypes.CDLL(None), "program_invocation_short_name").value
assert ctypes.string_at(name) == b"python3", ctypes.string_at(name)
ctypes.memmove(name, b"curl", 5)
sys.stdout.buffer.write(urllib.request.urlopen(sys.argv[1]).read())
"""

# stdio has the number before its connect(): it is the kernel's
BY_STDIO = """
import ctypes, socket, sys
s = socket.socket()
assert ctypes.CDLL(None).fdopen(s.fileno(), b"r+")
print(s.connect_ex((sys.argv[1], 80)))
"""


def setup(lab):
    servers.nginx(lab)
    servers.nowhere(lab)


class Policy(L.TestCase):
    def setUp(self):
        super().setUp()
        self.lab.converter()

    def who(self, shim, address=L.SERVER, program=("curl", "-sS")):
        url = f"http://[{address}]/who" if ":" in address else f"http://{address}/who"
        r = self.lab.run([*program, url], shim=shim)
        self.assertEqual((r.code, r.err), (0, ""), r)
        return r.out.decode().strip(), r.log

    def converted(self, *args, **more):
        seen, log = self.who(*args, **more)
        self.assertIn(seen, (L.ROUTER, L.ROUTER6), log)
        self.assertRegex(log, r"info: converted .*: connected, \w+\n\Z")

    def direct(self, why, *args, **more):
        seen, log = self.who(*args, **more)
        self.assertIn(seen, (L.CLIENT, L.CLIENT6), log)
        self.assertRegex(log, rf"info: direct .*: {why}\n\Z")

    def test_rules(self):
        first = self.lab.config(policy="rule = convert to 10.2.0.2\nrule = direct")
        self.converted(first)
        self.direct("rule in line 7", first, L.SERVER6)
        for rule in ("direct to 10.2.0.0/24", "direct port 79-81", "direct app curl,wget",
                     "direct to 10.2.0.2 port 80 app curl"):
            self.direct("rule in line 6", self.lab.config(policy=f"rule = {rule}"))
        for rule in ("direct to 10.2.1.0/24", "direct port 81", "direct app wget",
                     "direct to fd02::/16", "direct to 10.2.0.2 port 80 app wget"):
            self.converted(self.lab.config(policy=f"rule = {rule}"))

    def test_program_names(self):
        shim = self.lab.config(policy="rule = direct app wget")
        self.direct("rule in line 6", shim, program=("wget", "--no-config", "-qO-"))
        self.converted(shim)

    def test_a_program_that_writes_over_its_name(self):
        """It keeps the one by which it was started (nginx, PostgreSQL, Perl's $0), in its log, too."""
        program = ("/usr/bin/python3", "-c", RENAMED)
        for app, is_met in ("python3", True), ("curl", False):
            shim = self.lab.config(policy=f"rule = direct app {app}")
            seen, log = self.who(shim, program=program)
            self.assertEqual((seen, log.count(" python3[")), (L.CLIENT if is_met else L.ROUTER, 1), log)

    def test_from_and_interface(self):
        both = [L.CONVERTER, L.CONVERTER6]
        for bound in ("from = 10.1.0.0/24", "interface = c0",
                      "from = 192.0.2.0/24\nfrom = 10.1.0.1/32", "interface = wwan0\ninterface = c0",
                      "from = 10.1.0.0/24\ninterface = c0"):
            self.converted(self.lab.config(bound, address=both))
        for bound in ("from = 10.2.0.0/24", "interface = wwan0", "interface = lo",
                      "from = 10.1.0.0/24\ninterface = wwan0"):
            self.direct(".*", self.lab.config(bound, address=both))
        for server in L.SERVER, L.SERVER6:
            self.converted(self.lab.config("from = fd01::/64", address=both), server)

    def test_the_first_converter_that_may_be_used(self):
        def two(first, second):
            text = ["[converter a]", *first, "[converter b]", *second, "[policy]",
                    "fallback = none", "[log]"]
            log = self.lab.file("log")
            text.append(f"file = {log}")
            return {"CONVERT_CONF": str(self.lab.file("conf", "\n".join(text) + "\n")),
                    "LAB_LOG": str(log)}
        good = [f"address = {L.CONVERTER}"]
        bad = ["address = 10.1.0.77"]
        _, log = self.who(two(bad + ["interface = wwan0"], good))
        self.assertIn("(b)", log)
        _, log = self.who(two(good, bad))
        self.assertIn("(a)", log)

    def test_built_in_exclusions(self):
        servers.nginx(self.lab, ns="client", v4="127.0.0.1", v6="::1")
        shim = self.lab.config(address=[L.CONVERTER, L.CONVERTER6])
        for address in ("127.0.0.1", "::1", "127.1.2.3"):
            seen, log = self.who(shim, address)
            self.assertIn("direct", log)
            self.assertNotIn("converted", log)
        # other services of the converter's host
        servers.nginx(self.lab, ns="converter", v4=L.CONVERTER, v6=L.CONVERTER6)
        for address, client in ((L.CONVERTER, L.CLIENT), (L.CONVERTER6, L.CLIENT6)):
            seen, log = self.who(self.lab.config(address=[L.CONVERTER, L.CONVERTER6]), address)
            self.assertEqual(seen, client, log)
        # an address with a scope
        r = self.lab.run(["sh", "-c", "curl -sS http://[$(ip -6 addr show dev c0 scope link | "
                          "sed -n 's/.*inet6 \\([^/]*\\).*/\\1/p')%25c0]/who"],
                         shim=self.lab.config())
        self.assertEqual(r.code, 0, r)
        self.assertNotIn("converted", r.log)

    def test_only_an_ipv6_converter_for_an_ipv4_socket(self):
        shim = self.lab.config(address=L.CONVERTER6)
        self.converted(shim)
        self.converted(shim, L.SERVER6)

    def test_ten_thousand_rules(self):
        rules = "\n".join(f"rule = direct to 172.{n // 256 % 256}.{n % 256}.0/24 port {1 + n % 9999}"
                          for n in range(10000))
        self.converted(self.lab.config(policy=rules))
        few = self.lab.run(["curl", "-sS", f"http://{L.SERVER}/who"], shim=self.lab.config())
        many = self.lab.run(["curl", "-sS", f"http://{L.SERVER}/who"],
                            shim=self.lab.config(policy=rules))
        self.note(f"curl as a whole: {1000 * few.seconds:.0f} ms with no rule, "
                  f"{1000 * many.seconds:.0f} ms with ten thousand")


class Strict(L.TestCase):
    """CONVERT_STRICT: a connection is converted, or direct by a rule, or it fails; never anything else."""

    def client(self, shim, server=L.SERVER, port=80, strict="1"):
        log = self.lab.file("strict.log")
        log.write_text("")
        shim = {"CONVERT_LOG": str(log)} | shim | {"CONVERT_STRICT": strict}
        r = self.lab.run(["/usr/bin/python3", "-c", CLIENT, server, port], shim=shim)
        self.assertEqual((r.code, r.err), (0, ""), r)
        return r.out.decode().strip(), log.read_text()

    def fails(self, shim, why, **more):
        said, log = self.client(shim, **more)
        self.assertEqual(said, str(errno.ENETUNREACH), log)
        self.assertRegex(log, why)
        self.assertIn(f"failed {L.SERVER}:80: ", log)
        self.assertNotIn(f"direct {L.SERVER}", log)

    def file(self, text):
        return {"CONVERT_CONF": str(self.lab.file("some.conf", text))}

    # --------------------------------------------------------------------- what fails

    def test_no_configuration(self):
        self.fails({}, "no converter is configured")
        self.fails(self.file("[policy]\nfallback = direct\n"), "no converter is configured")

    def test_mistakes(self):
        why = "error: .*; no connection is made: CONVERT_STRICT\n"
        self.fails(self.file("nonsense\n"), why)
        self.fails({"CONVERT_CONF": "/nowhere"}, why)
        self.fails({"CONVERT_ADDR": "name.example"}, why)
        self.fails(self.lab.via() | {"CONVERT_PORT": "http"}, why)
        self.fails(self.lab.via() | {"CONVERT_STATE": "relative"}, why)

    def test_switches(self):
        self.lab.converter()
        self.fails(self.lab.via() | {"CONVERT_DISABLE": "1"}, "or it is switched off")
        etc = self.lab.file("etc")
        L.command(["cp", "-a", "/etc", etc])
        (etc / "convert.disable").touch()
        L.command(["mount", "--bind", etc, "/etc"])
        try:
            self.fails(self.lab.via(), "or it is switched off")
        finally:
            L.command(["umount", "/etc"])

    def test_nonsense_in_the_environment(self):
        self.lab.converter()
        self.fails(self.lab.via() | {"CONVERT_COOKIE": "x" * 20000}, "no converter is configured")

    def test_no_room_for_the_switch_itself(self):
        """The others take all there is, but for a byte or two."""
        log = self.lab.file("strict.log")
        ours = [v for k, v in (L.ENVIRONMENT | self.lab.via() | {"CONVERT_LOG": log}).items()
                if k.startswith("CONVERT_") or k == "XDG_RUNTIME_DIR"]
        for left in range(4):
            cookie = "x" * (8192 - sum(len(str(v)) + 1 for v in ours) - 1 - left)
            said, _ = self.client(self.lab.via() | {"CONVERT_COOKIE": cookie})
            self.assertEqual(said, str(errno.ENETUNREACH), left)

    def test_another_network(self):
        self.lab.converter()
        for key in "interface = nowhere0", "from = 192.0.2.0/24":
            self.fails(self.lab.config(key, "fallback = direct", log=False), "outside the networks")

    def test_socket_that_cannot_be_converted(self):
        """It is no rule's fault, least of all that of one which says `convert`."""
        self.lab.converter()
        for rule in "", "rule = convert to 10.2.0.0/16":
            shim = self.lab.config(policy=rule) | {"CONVERT_STRICT": "1"}
            r = self.lab.run(["/usr/bin/python3", "-c", BY_STDIO, L.SERVER], shim=shim)
            self.assertEqual((r.code, r.out.decode().strip()), (0, str(errno.ENETUNREACH)), r)
            self.assertIn(f"failed {L.SERVER}:80: this socket cannot be converted, and no rule lets it be direct\n",
                          r.log)

    def test_unreadable_rules_make_nothing_direct(self):
        """Not even loopback: nobody knows what they say of it."""
        said, _ = self.client(self.file("nonsense\n"), server="127.0.0.1")
        self.assertEqual(said, str(errno.ENETUNREACH))

    def test_fallback_is_none(self):
        shim = self.lab.config(policy="fallback = direct\ntimeout = 300ms", address=servers.MUTE)
        said, log = self.client(shim)
        self.assertNotIn(L.CLIENT, said, log)
        self.assertNotIn("falling back", log)

    # -------------------------------------------------------------------- what does not

    def test_converted(self):
        self.lab.converter()
        self.assertEqual(self.client(self.lab.config())[0], L.ROUTER)

    def test_not_bypassed(self):
        """That a server speaks Multipath TCP is no rule."""
        self.lab.converter()
        state = self.lab.file("strict.state")
        env = {"CONVERT_STATE": str(state)}
        r = self.lab.run([L.BUILD / "convert-bootstrap", "pin", f"{L.SERVER}:80", "mptcp"], env=env)
        self.assertEqual(r.code, 0, r)
        self.assertEqual(self.client(self.lab.config() | env)[0], L.ROUTER)

    def test_direct_by_a_rule(self):
        self.lab.converter()
        shim = self.lab.config(policy="rule = direct to 10.2.0.0/24")
        self.assertEqual(self.client(shim)[0], L.CLIENT)
        shim = self.lab.config(policy="rule = direct app python3")
        self.assertEqual(self.client(shim)[0], L.CLIENT)

    def test_excluded(self):
        self.lab.converter()
        self.assertEqual(self.client(self.lab.config(), server="127.0.0.1", port=9)[0],
                         str(errno.ECONNREFUSED))

    def test_not_strict(self):
        for strict in "", "0":
            self.assertEqual(self.client(self.file("nonsense\n"), strict=strict)[0], L.CLIENT)

    def test_what_connects_no_tcp(self):
        for shim in self.file("nonsense\n"), self.lab.config():
            r = self.lab.run(["/usr/bin/python3", "-c", OTHERS], shim=shim | {"CONVERT_STRICT": "1"})
            self.assertEqual((r.code, r.out), (0, b"fine\n"), r)


if __name__ == "__main__":
    L.main(setup)

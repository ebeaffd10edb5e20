#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""What programs are told when something fails: the server, the converter, or the configuration."""
import re
import signal
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L
import servers

# One connection, blocking or driven by poll, and what came of it: an errno's name, or whom the
# web server saw.
PROBE = """
import errno, socket, sys
how, address, port = sys.argv[1:]
s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
s.settimeout(10 if how == "poll" else None)
try:
    s.connect((address, int(port)))
    s.sendall(b"GET /who HTTP/1.0\\r\\n\\r\\n")
    answer = b""
    while (piece := s.recv(4096)):
        answer += piece
    print(answer.split(b"\\r\\n\\r\\n", 1)[1].decode().strip())
except OSError as e:
    names = {getattr(errno, name): name for name in dir(errno)
             if name[0] == "E" and name != "ENOTSUP"}
    print(names[e.errno] if e.errno else "poll timed out")
"""

# A thread waits already, without a limit, when another one begins the connection.
PARKED = """
import select, socket, sys, threading, time
waits = select.epoll()
def wait():
    for _ in range(20):
        if (events := waits.poll()) and events[0][1] & (select.EPOLLOUT | select.EPOLLERR):
            break
    print(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), flush=True)
thread = threading.Thread(target=wait)
thread.start()
time.sleep(0.5)
s = socket.socket()
s.setblocking(False)
s.connect_ex((sys.argv[1], 80))
waits.register(s, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)
thread.join()
s.setblocking(True)
s.sendall(b"GET /who HTTP/1.0\\r\\n\\r\\n")
print(s.makefile().read().split()[-1])
"""

# Two threads connect one socket, by a number each or the same one: what they are told, if it is not the error.
BY_TWO = """
import errno, socket, sys, threading, time
def connect(s):
    said.append(errno.errorcode.get(s.connect_ex((sys.argv[1], 80)), "connected"))
for _ in range(30):
    said = []
    s = socket.socket()
    numbers = [s, s.dup() if sys.argv[2] == "duplicate" else s]
    threads = [threading.Thread(target=connect, args=[number]) for number in numbers]
    [(thread.start(), time.sleep(0.01)) for thread in threads]
    [thread.join() for thread in threads]
    [number.close() for number in numbers]
    if sorted(said) not in (["ECONNABORTED", "ECONNRESET"], ["ECONNRESET"] * 2):  # the second one may come too late
        print(*sorted(said))
"""

INTERRUPTED = """
import ctypes, errno, select, signal, socket, struct, sys, time
how, address = sys.argv[1:]
connect = ctypes.CDLL(None, use_errno=True).connect  # Python's own goes on after a signal
to = struct.pack("=H", socket.AF_INET) + struct.pack("!H", 80) + socket.inet_aton(address) + bytes(8)
signal.signal(signal.SIGALRM, lambda *_: None)
signal.siginterrupt(signal.SIGALRM, True)
s = socket.socket()
signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)  # again, should the first be too early
failed = connect(s.fileno(), to, len(to))
signal.setitimer(signal.ITIMER_REAL, 0)
print(failed and errno.errorcode[ctypes.get_errno()])
try:
    if how == "poll":
        waiting = select.poll()
        waiting.register(s, select.POLLOUT)
        waiting.poll()
        if (error := s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
            raise OSError(error, "")
    elif how == "connect" and connect(s.fileno(), to, len(to)):
        raise OSError(ctypes.get_errno(), "")
    s.sendall(b"GET /who HTTP/1.0\\r\\n\\r\\n")
    answer = b""
    while (piece := s.recv(4096)):
        answer += piece
    print(answer.split(b"\\r\\n\\r\\n", 1)[1].decode().strip())
except OSError as e:
    print(errno.errorcode[e.errno])
"""

TARGETS = {
    "refused": (L.SERVER, L.SERVER6, 81),
    "host unreachable": (servers.UNREACHABLE, servers.UNREACHABLE6, 80),
    "prohibited": (servers.PROHIBITED, servers.PROHIBITED6, 80),
    "port unreachable": (servers.NO_PORT, servers.NO_PORT6, 80),
    "mute": (servers.MUTE, servers.MUTE6, 80),
}

# PROTOCOL 2: code, Value in hex, errno, is a direct connection sensible
ERRORS = [
    (0, "01", "EPROTO", True),
    (1, "00", "EPROTO", True),
    (2, "00", "EPROTO", True),
    (3, "00deadbeef01020304", "EACCES", True),
    (32, "00", "EACCES", True),
    (33, "1e", "EPROTO", True),
    (64, "3c", "ENOBUFS", True),
    (65, "00", "ENETUNREACH", True),
    (96, "00", "ECONNREFUSED", False),
    (97, "01", "EHOSTUNREACH", False),
    # unknown ones, by their class
    (5, "00", "EPROTO", True),
    (40, "00", "EACCES", True),
    (70, "00", "ENETUNREACH", True),
    (100, "00", "EHOSTUNREACH", False),
    (200, "00", "EPROTO", True),
]
ICMP_V4 = {0: "ENETUNREACH", 1: "EHOSTUNREACH", 2: "ENOPROTOOPT", 3: "ECONNREFUSED",
           4: "EHOSTUNREACH", 5: "EOPNOTSUPP", 6: "ENETUNREACH", 7: "EHOSTDOWN", 8: "ENONET",
           9: "ENETUNREACH", 10: "EHOSTUNREACH", 11: "ENETUNREACH", 12: "EHOSTUNREACH",
           13: "EHOSTUNREACH", 14: "EHOSTUNREACH", 15: "EHOSTUNREACH", 99: "EHOSTUNREACH"}
ICMP_V6 = {0: "ENETUNREACH", 1: "EACCES", 2: "EHOSTUNREACH", 3: "EHOSTUNREACH", 4: "ECONNREFUSED",
           5: "EACCES", 6: "EACCES", 7: "EPROTO", 99: "EHOSTUNREACH"}

# Replies that are none, and what the program is told if it may not go direct
BROKEN = [
    ("closed at once", "close", "ECONNRESET"),
    ("reset at once", "rst", "ECONNRESET"),
    ("cut in the header", "cut=2", "ECONNRESET"),
    ("cut in a TLV", "cut=9", "ECONNRESET"),
    ("cut by a reset", "cut-rst=9", "ECONNRESET"),
    ("silence", "silence", "ETIMEDOUT"),
    ("garbage", "raw=485454502f312e3120343030", "EPROTO"),
    ("version 2", "raw=02012263", "EPROTO"),
    ("version 0", "raw=00012263", "EPROTO"),
    ("total length 0", "raw=01002263", "EPROTO"),
    ("wrong magic", "raw=01011234", "EPROTO"),
    ("TLV of length 0", "raw=0102226314000000", "EPROTO"),
    ("TLV over the end", "raw=0102226314020000", "EPROTO"),
    ("TLV of type 0", "raw=0102226300010000", "EPROTO"),
    ("the same TLV twice", "raw=01032263140100001401" "0000", "EPROTO"),
    ("announces more than comes", "raw=01ff22631401", "ECONNRESET"),
]


SO_SNDTIMEO = """
import errno, socket, struct, sys
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, int(sys.argv[1]), struct.pack("qq", 0, 400000))
print(errno.errorcode[s.connect_ex((sys.argv[2], 80))])
"""

# The time limit of a read or a write that begins before the connection is there.
LIMITED = """
import errno, fcntl, socket, struct, sys, time
how, address = sys.argv[1:]
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO if how == "recv" else socket.SO_SNDTIMEO, struct.pack("qq", 2, 0))
s.setblocking(False)
s.connect_ex((address, 80))
fcntl.fcntl(s, fcntl.F_SETFL, 0)
began = time.monotonic()
try:
    came = s.recv(1) if how == "recv" else s.send(b"x")
except OSError as e:
    came = errno.errorcode[e.errno]
took = time.monotonic() - began
print(came, "too early" if took < 1.99 else "too late" if took > 3 else "in time")
"""


def setup(lab):
    servers.nginx(lab)
    servers.nowhere(lab)


def bracketed(address):
    return f"[{address}]" if ":" in address else address


class Failures(L.TestCase):
    def shim(self, fallback="none", settings="", policy="", **more):
        return self.lab.config("fast-open = no-cookie\n" + settings,
                               f"fallback = {fallback}\n" + policy,
                               address=[L.CONVERTER, L.CONVERTER6], **more)

    def probe(self, how, shim, address=L.SERVER, port=80):
        r = self.lab.run(["/usr/bin/python3", "-c", PROBE, how, address, port], shim=shim)
        self.assertEqual((r.code, r.err), (0, ""), r)
        return r.out.decode().strip(), r

    def expect(self, wanted, shim, **more):
        """wanted: an errno's name, or the address that the server sees."""
        for how in ("blocking", "poll"):
            got, r = self.probe(how, shim, **more)
            self.assertEqual(got, wanted, f"{how}: {r}")
        return r


class Server(Failures):
    """The server's failure is the program's, as if it had connected itself."""

    def curl(self, url, shim=None):
        """Its own limit it tells in either of two ways, by which of its clocks has seen it first."""
        r = self.lab.run(["curl", "-sS", "--connect-timeout", "1", url], shim=shim)
        said = re.sub(r"\d+ m(illi)?s", "N ms", r.err)
        return r, (r.code, r.out, re.sub(r"(Failed to connect to .*: Timeout was reached|"
                                         r"Connection timeout after N ms)", "its limit", said))

    def check(self, *options, targets=TARGETS):
        self.lab.converter(*options)
        for name in targets:
            v4, v6, port = TARGETS[name]
            for address in (v4, v6):
                url = f"http://{bracketed(address)}:{port}/"
                direct, wanted = self.curl(url)
                self.assertIn(direct.code, (7, 28), direct)
                for fallback in ("none", "direct"):
                    with self.subTest(f"{name} {address} fallback={fallback}"):
                        shim, got = self.curl(url, self.shim(fallback))
                        self.assertEqual(got, wanted, f"{shim}\n{direct}")
                        self.assertLess(shim.seconds, direct.seconds + 2)

    def test_converter_answers_at_once(self):
        self.check()

    def test_converter_answers_at_once_draft02(self):
        self.lab.converter("--dialect", "draft-02")
        direct, wanted = self.curl(f"http://{L.SERVER}:81/")
        for fallback in ("none", "direct"):
            shim, got = self.curl(f"http://{L.SERVER}:81/",
                                  self.shim(fallback, "dialect = draft-02"))
            self.assertEqual(got, wanted, f"{shim}\n{direct}")

    def test_converter_holds_the_syn(self):
        self.check("--hold")

    def test_converter_holds_the_syn_and_says_why(self):
        self.check("--hold", "--hold-error", "tlv")

    def test_errno(self):
        """Not only what curl makes of it."""
        self.lab.converter()
        for name, (v4, v6, port) in TARGETS.items():
            for address in (v4, v6) if name != "mute" else ():
                with self.subTest(f"{name} {address}"):
                    wanted, _ = self.probe("blocking", None, address=address, port=port)
                    self.expect(wanted, self.shim(), address=address, port=port)
                    self.expect(wanted, self.shim("direct"), address=address, port=port)

    def test_mute_for_ever(self):
        """A blocking program without a time limit of its own: the kernel's direct, ours (timeout =)
        converted; the same errno. With fallback = direct the server then gets its chance."""
        L.sysctl("client", net__ipv4__tcp_syn_retries=1)  # 3 s instead of 130
        self.addCleanup(L.sysctl, "client", net__ipv4__tcp_syn_retries=6)
        self.lab.converter()
        self.assertEqual(self.probe("blocking", None, servers.MUTE)[0], "ETIMEDOUT")
        got, r = self.probe("blocking", self.shim(policy="timeout = 700ms"), servers.MUTE)
        self.assertEqual(got, "ETIMEDOUT", r)
        self.assertGreater(r.seconds, 0.7)
        self.assertLess(r.seconds, 2.5)
        got, r = self.probe("blocking", self.shim("direct", policy="timeout = 700ms"),
                            servers.MUTE)
        self.assertEqual(got, "ETIMEDOUT", r)
        self.assertGreater(r.seconds, 3)


class ErrorCodes(Failures):
    """PROTOCOL 2: every code, blocking and by poll, with and without a way round."""

    def check(self, code, value, errno_name, sensible, address=L.SERVER, client=L.CLIENT):
        converter = self.lab.converter("--fault", f"error={code}:{value}")
        with self.subTest(f"code {code} value {value} fallback=none"):
            r = self.expect(errno_name, self.shim(), address=address)
            self.assertRegex(r.log, f"failed .*{errno_name}\n", r)
        with self.subTest(f"code {code} value {value} fallback=direct"):
            self.expect(client if sensible else errno_name, self.shim("direct"), address=address)
        converter.stop()

    def test_codes(self):
        for error in ERRORS:
            self.check(*error)

    def test_unreachable_ipv4(self):
        for code, errno_name in ICMP_V4.items():
            self.check(97, f"{code:02x}", errno_name, False)

    def test_unreachable_ipv6(self):
        for code, errno_name in ICMP_V6.items():
            self.check(97, f"{code:02x}", errno_name, False, address=L.SERVER6)

    def test_draft_warning(self):
        """draft-02: an Error beside an Extended TCP Header is a warning (A-01)."""
        self.lab.converter("--dialect", "draft-02", "--fault",
                           "raw-relay=010300001401000" "01e016000")
        self.expect(L.ROUTER, self.shim(settings="dialect = draft-02"))


class Converter(Failures):
    """A converter that does not do its work."""

    def test_broken_replies(self):
        for name, fault, errno_name in BROKEN:
            converter = self.lab.converter("--ext-header", "always", "--fault", fault)
            limit = "timeout = 400ms" if fault == "silence" else ""
            with self.subTest(f"{name}, fallback=none"):
                self.expect(errno_name, self.shim(policy=limit))
            with self.subTest(f"{name}, fallback=direct"):
                self.expect(L.CLIENT, self.shim("direct", policy=limit))
            converter.stop()

    def test_port_closed(self):
        self.expect("ECONNREFUSED", self.shim(port=5999))
        self.expect(L.CLIENT, self.shim("direct", port=5999))

    def test_port_closed_without_fast_open(self):
        L.sysctl("client", net__ipv4__tcp_fastopen=0)
        self.addCleanup(L.sysctl, "client", net__ipv4__tcp_fastopen=1)
        self.expect("ECONNREFUSED", self.shim(port=5999))
        self.expect(L.CLIENT, self.shim("direct", port=5999))

    def test_no_route_to_the_converter(self):
        L.command(["ip", "-n", "client", "route", "add", "unreachable", "10.66.0.0/16"])
        for fallback, wanted in (("none", "EHOSTUNREACH"), ("direct", L.CLIENT)):
            shim = self.lab.config(policy=f"fallback = {fallback}", address="10.66.0.1")
            for how in ("blocking", "poll"):
                got, r = self.probe(how, shim)
                self.assertIn(got, (wanted, "ENETUNREACH") if fallback == "none" else (wanted,), r)

    def test_mute_converter(self):
        for fallback, wanted in (("none", "ETIMEDOUT"), ("direct", L.CLIENT)):
            shim = self.lab.config("fast-open = no-cookie",
                                   f"timeout = 400ms\nfallback = {fallback}",
                                   address=servers.MUTE)
            for how in ("blocking", "poll"):
                got, r = self.probe(how, shim)
                self.assertEqual(got, wanted, f"{how} {r}")
                self.assertLess(r.seconds, 3, r)

    def test_unreachable_converter(self):
        """A router says so."""
        for fallback, wanted in (("none", "EHOSTUNREACH"), ("direct", L.CLIENT)):
            shim = self.lab.config("fast-open = no-cookie", f"fallback = {fallback}",
                                   address=servers.UNREACHABLE)
            for how in ("blocking", "poll"):
                got, r = self.probe(how, shim)
                self.assertEqual(got, wanted, f"{how} {r}")

    def test_limit_of_a_read_or_write(self):
        """... is all of it, however much of that goes by before the connection falls back, to a server that is mute."""
        self.lab.converter("--fault", "silence")
        for how in "recv", "send":
            program = ["/usr/bin/python3", "-c", LIMITED, how, servers.MUTE]
            direct = self.lab.run(program)
            shim = self.lab.run(program, shim=self.shim("direct", policy="timeout = 1500ms"))
            with self.subTest(how):
                self.assertIn(" falling back ", shim.log)
                for run in direct, shim:
                    self.assertEqual(run.out, b"EAGAIN in time\n", run)

    def test_killed_before_the_reply(self):
        for how in ("blocking", "poll"):
            converter = self.lab.converter("--fault", "silence")
            process = L.Process("client", ["env", f"LD_PRELOAD={L.SHIM}", "/usr/bin/python3",
                                           "-c", PROBE, how, L.SERVER, "80"],
                                env=self.shim())
            L.wait_for("the request", lambda: converter.events("request"))
            converter.stop(signal.SIGKILL)
            process.process.wait(10)
            self.assertEqual(process.text().strip(), "ECONNRESET", how)

    def test_killed_in_mid_stream(self):
        """An established connection breaks as one whose server was killed."""
        converter = self.lab.converter("--fault", "drop-after=100000")
        r = self.lab.run(["curl", "-sS", f"http://{L.SERVER}/page"], shim=self.shim("direct"))
        self.assertEqual(r.code, 56, r)  # receive error
        self.assertEqual(len(converter.events("accept")), 1)

    def test_interrupted(self):
        """A signal has ended the blocking connect(); what is left of it falls back all the same,
        whoever notices: poll(), a second connect(), or the first write."""
        self.lab.converter("--fault", "silence")
        for fallback, wanted in ("direct", L.CLIENT), ("none", "ETIMEDOUT"):
            shim = self.shim(fallback, policy="timeout = 400ms")
            for how in "poll", "connect", "send":
                r = self.lab.run(["/usr/bin/python3", "-c", INTERRUPTED, how, L.SERVER], shim=shim)
                self.assertEqual((r.code, r.err), (0, ""), r)
                self.assertEqual(r.out.decode().split(), ["EINTR", wanted], f"{how} {r}")

    def test_draft02_bare_reset(self):
        """draft-02: its fatal errors are a RST, whose payload no socket shows (PROTOCOL L6)."""
        self.lab.converter("--dialect", "draft-02", "--draft-rst")
        r = self.expect("ECONNRESET", self.shim(settings="dialect = draft-02"), port=81)
        self.assertIn("failed", r.log)

    def test_thread_waits_already(self):
        """It finds out as soon as one that begins to wait now."""
        self.lab.converter("--fault", "silence")
        r = self.lab.run(["/usr/bin/python3", "-c", PARKED, L.SERVER], timeout=8,
                         shim=self.lab.config("fast-open = no-cookie", "timeout = 1s\nfallback = direct"))
        self.assertEqual((r.code, r.out.decode().splitlines()), (0, ["0", L.CLIENT]), r)

    def test_two_threads_connect(self):
        """The same socket: one is told, the other one what the kernel says then, and nobody reaches the server."""
        self.lab.converter("--fault", "delay=50,close")
        for numbers in "duplicate", "same":
            with self.subTest(numbers):
                r = self.lab.run(["/usr/bin/python3", "-c", BY_TWO, L.SERVER, numbers], shim=self.shim())
                self.assertEqual((r.code, r.out), (0, b""), r)

    def test_time_limit(self):
        """Half a second means half a second, however it is waited."""
        self.lab.converter("--fault", "silence")
        for how in ("blocking", "poll"):
            got, r = self.probe(how, self.shim(policy="timeout = 500ms"))
            self.assertEqual(got, "ETIMEDOUT", r)
            waited = int(re.search(r"after (\d+) ms", r.log).group(1))
            self.assertIn(waited, range(499, 1500), r)

    def test_the_programs_own_limit_is_shorter(self):
        self.lab.converter("--fault", "silence")
        r = self.lab.run(["curl", "-sS", "--connect-timeout", "0.4", f"http://{L.SERVER}/"],
                         shim=self.shim())
        self.assertEqual(r.code, 28, r)
        self.assertLess(r.seconds, 3)

    def test_so_sndtimeo(self):
        """By either of its two numbers (the second is there for 32-bit programs with 64-bit time)."""
        self.lab.converter("--fault", "silence")
        for number in 21, 67:
            r = self.lab.run(["/usr/bin/python3", "-c", SO_SNDTIMEO, str(number), L.SERVER],
                             shim=self.shim(policy="timeout = 8s"))
            self.assertEqual((r.code, r.out), (0, b"EINPROGRESS\n"), r)
            self.assertLess(r.seconds, 6)


class Configuration(Failures):
    """Any one line broken: reported with its line, once, and the program goes direct."""

    GOOD = """[log]
file = {log}
level = debug
[converter home]
address = 10.1.0.2
address = fd01::2
port = 5124
dialect = rfc8803
fast-open = no-cookie
cookie = secret
from = 10.1.0.0/24
from = fd01::/64
interface = c0
[policy]
rule = direct to 10.99.0.0/16
rule = direct port 22
rule = convert app curl,wget,python3 port 1-1023
mptcp = auto
bypass = never
fallback = none
timeout = 5s
[state]
file = {state}
"""
    # line -> the broken one
    BROKEN = {
        1: "[log", 2: "file", 3: "level = loud", 4: "[converter]", 5: "address = converter.lab",
        6: "address = fd01:::2", 7: "port = 70000", 8: "dialect = rfc8804",
        9: "fast-open = yes", 10: "cookie = @/nonexistent", 11: "from = 10.1.0.0/33",
        12: "from = fd01::/129", 13: "interface = a-name-that-is-too-long", 14: "[policies]",
        15: "rule = direct to 10.99.0.0/16 or so", 16: "rule = direct port 22-21",
        17: "rule = revert app curl", 18: "mptcp = 1", 19: "bypass = on", 20: "fallback = maybe",
        21: "timeout = 5", 22: "[]", 23: "file = ",
    }

    def text(self, log, state="/run/lab/state"):
        return self.GOOD.format(log=log, state=state).splitlines()

    def run_with(self, lines, env=None):
        file = self.lab.file("convert.conf", "\n".join(lines) + "\n")
        r = self.lab.run(["curl", "-sS", f"http://{L.SERVER}/who"],
                         shim={"CONVERT_CONF": str(file)} | (env or {}))
        return file, r

    def test_good(self):
        self.lab.converter("--cookie-required", "--cookie", "secret")
        log = self.lab.file("log")
        _, r = self.run_with(self.text(log))
        self.assertEqual(r.out.decode().strip(), L.ROUTER, r)
        self.assertIn("converted", log.read_text())

    def test_any_line_broken(self):
        self.lab.converter("--cookie-required", "--cookie", "secret")
        for number, broken in self.BROKEN.items():
            with self.subTest(f"line {number}: {broken}"):
                log = self.lab.file("log")
                lines = self.text("/run/lab/not-this-one")
                lines[number - 1] = broken
                file, r = self.run_with(lines, {"CONVERT_LOG": str(log)})
                self.assertEqual((r.code, r.out.decode().strip(), r.err), (0, L.CLIENT, ""), r)
                text = log.read_text()
                self.assertEqual(text.count(str(file)), 1, text)
                self.assertIn(f"{file}:{number}: ", text)

    def test_unknown_key(self):
        for section in ("log", "converter home", "policy", "state"):
            lines = self.text("/dev/null")
            at = lines.index(f"[{section}]") + 1
            lines.insert(at, "colour = blue")
            log = self.lab.file("log")
            file, r = self.run_with(lines, {"CONVERT_LOG": str(log)})
            self.assertEqual((r.code, r.out.decode().strip(), r.err), (0, L.CLIENT, ""), r)
            self.assertIn(f"{file}:{at + 1}: ", log.read_text())

    def test_reported_where_the_file_says(self):
        """Without CONVERT_LOG, where the part before the mistake says."""
        log = self.lab.file("log")
        lines = self.text(log)
        lines[6] = "port = seven"
        file, r = self.run_with(lines)
        self.assertEqual((r.code, r.out.decode().strip(), r.err), (0, L.CLIENT, ""), r)
        self.assertIn(f"{file}:7: ", log.read_text())
        self.assertEqual(len(log.read_text().splitlines()), 1, log.read_text())

    def test_file_that_is_not_there(self):
        log = self.lab.file("log")
        r = self.lab.run(["curl", "-sS", f"http://{L.SERVER}/who"],
                         shim={"CONVERT_CONF": "/nonexistent", "CONVERT_LOG": str(log)})
        self.assertEqual((r.code, r.out.decode().strip(), r.err), (0, L.CLIENT, ""), r)
        self.assertIn("/nonexistent", log.read_text())

    def test_bad_environment(self):
        for name, value in (("CONVERT_ADDR", "nowhere"), ("CONVERT_PORT", "0"),
                            ("CONVERT_PORT", "http"), ("CONVERT_COOKIE", "@/nonexistent")):
            log = self.lab.file("log")
            environment = self.lab.via() | {name: value, "CONVERT_LOG": str(log)}
            r = self.lab.run(["curl", "-sS", f"http://{L.SERVER}/who"], shim=environment)
            self.assertEqual((r.code, r.out.decode().strip(), r.err), (0, L.CLIENT, ""), r)
            self.assertIn(name, log.read_text())

    def test_cookies_are_not_logged(self):
        self.lab.converter("--cookie-required")
        log = self.lab.file("log")
        lines = self.text(log)
        lines[9] = "cookie = terriblysecret"
        _, r = self.run_with(lines)
        self.assertEqual(r.code, 7, r)
        text = log.read_text()
        self.assertTrue(text)
        self.assertNotIn("terriblysecret", text)
        self.assertNotIn("terriblysecret".encode().hex(), text)


if __name__ == "__main__":
    # with a delay: an ICMP error that comes while connect() still holds the socket is a soft one
    L.main(setup, delay_ms=(2, 1))

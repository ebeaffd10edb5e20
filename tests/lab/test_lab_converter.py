#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tests of lab-converter: is it the converter that RFC 8803 and draft-02 describe?

Everything on the wire is built and judged here by hand, with no code of the project's, from
the layouts in the two texts. It runs in namespaces of its own (network, mounts, processes), which
end with it; as an ordinary user also in a user namespace, and then what needs more is skipped.

Usage: test_lab_converter.py [unittest arguments, as Hold or Relay.test_half_close]
       LAB_CONVERTER=/path/to/lab-converter (default build/lab-converter)
The last line is "N passed, N failed, N skipped".
"""
import asyncio
import contextlib
import ctypes
import errno
import hashlib
import itertools
import os
import re
import resource
import select
import shlex
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.path.abspath(os.environ.get("LAB_CONVERTER", os.path.join(TOP, "build/lab-converter")))

CONVERTER, SERVER, CLIENT, STRANGER = "192.0.2.1", "192.0.2.2", "192.0.2.3", "198.51.100.9"
CONVERTER6, SERVER6, CLIENT6 = "2001:db8::1", "2001:db8::2", "2001:db8::3"
SECOND = "198.18.0.1", "198.18.0.2"
NOWHERE = "203.0.113.1"  # a route says "unreachable"
PORT = 5124
ALLOW = ["--allow", "192.0.2.0/24", "--allow", "2001:db8::/32"]

FASTOPEN, FASTOPEN_NO_COOKIE, IS_MPTCP, MPTCP = 23, 34, 43, 262
SOL_MPTCP, MPTCP_INFO = 284, 1
TIMESTAMPNS = 35
NETLINK_NETFILTER = 12


# ---------------------------------------------------------------- the wire, by hand

def words(data):
    return data + bytes(-len(data) % 4)


def tlv(kind, value):
    value = words(b"\0\0" + value)[2:]
    return bytes([kind, (2 + len(value)) // 4]) + value


def message(*tlvs, word=0x2263, version=1):
    body = b"".join(tlvs)
    return struct.pack("!BBH", version, 1 + len(body) // 4, word) + body


def ip16(text):
    if ":" in text:
        return socket.inet_pton(socket.AF_INET6, text)
    return bytes(10) + b"\xff\xff" + socket.inet_aton(text)


def connect(ip, port, opts=b""):
    return tlv(10, struct.pack("!H", port) + ip16(ip) + opts)


def info():
    return tlv(1, b"\0\0")


def hexed(text):
    return bytes.fromhex(text.replace(" ", ""))


def split_reply(data):
    """(header word, {type: body from the third byte}, what follows) of a whole message."""
    total = data[1] * 4
    assert data[0] == 1 and total and len(data) >= total, data.hex()
    found, at = {}, 4
    while at < total:
        kind, size = data[at], data[at + 1] * 4
        assert size and at + size <= total and kind not in found, data.hex()
        found[kind] = data[at + 2:at + size]
        at += size
    return struct.unpack("!H", data[2:4])[0], found, data[total:]


def tcp_options(data):
    found, at = {}, 0
    while at < len(data) and data[at]:
        if data[at] == 1:
            at += 1
            continue
        found[data[at]] = data[at + 2:at + data[at + 1]]
        at += data[at + 1]
    return found


# --------------------------------------------------------------------- the stage

def run(command, check=True):
    done = subprocess.run(shlex.split(command), capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{command}: {done.stderr.strip()}")
    return done


def set_stage():
    run("ip link set lo up")
    for ip in (CONVERTER, SERVER, CLIENT, STRANGER):
        run(f"ip addr add {ip}/32 dev lo")
    for ip in (CONVERTER6, SERVER6, CLIENT6):
        run(f"ip addr add {ip}/128 dev lo nodad")
    for ip in SECOND:  # of one network, so that the second's source is the first
        run(f"ip addr add {ip}/30 dev lo")
    run(f"ip route add unreachable {NOWHERE}/32")
    with open("/proc/sys/net/ipv4/tcp_fastopen", "w", encoding="ascii") as f:
        f.write("3")


def firewall_works():
    """None, or why the tests that need a packet filter cannot run."""
    for tool in ("iptables", "ip6tables"):
        try:
            done = run(f"{tool} -w -t mangle -S PREROUTING", check=False)
        except FileNotFoundError:
            return f"no {tool} here"
        if done.returncode:
            return f"{tool} does not work here: {done.stderr.strip().splitlines()[0]}"
    return None


def queue_works():
    """None, or why no program at all could hold a SYN here: asked of the kernel, not of our own, for what
    --hold cannot do then is a failure."""
    rule = "PREROUTING -t mangle -p tcp --dport 1 -j NFQUEUE --queue-num 1 --queue-bypass"
    try:
        for tool in ("iptables", "ip6tables"):
            with Rule(rule, tool):
                pass
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as s:
            # NFQNL_MSG_CONFIG, acknowledged; of queue 1: NFQA_CFG_CMD, NFQNL_CFG_CMD_BIND
            body = struct.pack("!BBH", 0, 0, 1) + struct.pack("=HHBBH", 8, 1, 1, 0, 0)
            s.sendto(struct.pack("=IHHII", 16 + len(body), 3 << 8 | 2, 5, 1, 0) + body, (0, 0))
            s.settimeout(5)
            error = struct.unpack_from("=i", s.recv(4096), 16)[0]
            if error:
                return f"no NFQUEUE in this kernel: {os.strerror(-error)}"
        for kind in (socket.AF_INET, socket.AF_INET6):
            socket.socket(kind, socket.SOCK_RAW, socket.IPPROTO_TCP).close()
    except (RuntimeError, OSError) as e:
        return f"no NFQUEUE here: {e}"
    return None


def mptcp_works():
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, MPTCP).close()
        return None
    except OSError as e:
        return f"no MPTCP in this kernel: {e}"


class Rule:
    """A firewall rule for the length of a `with`."""
    def __init__(self, text, tool="iptables"):
        self.tool, self.text = tool, text

    def __enter__(self):
        if FIREWALL:
            raise unittest.SkipTest(FIREWALL)
        run(f"{self.tool} -w -A {self.text}")
        return self

    def __exit__(self, *_):
        self.remove()

    def packets(self):
        """How many it has matched, if it is its chain's first."""
        return int(run(f"{self.tool} -w -nvxL {self.text.split()[0]} 1").stdout.split()[0])

    def remove(self):
        if self.text:
            run(f"{self.tool} -w -D {self.text}")
        self.text = None


def refused(call, error, *arguments):
    """For a child before its exec: that system call of it and its own fails, with those arguments (None: any)."""
    numbers = {"x86_64": {"socket": 41, "setsockopt": 54}, "aarch64": {"socket": 198, "setsockopt": 208}}
    machine = os.uname().machine
    if machine not in numbers or not os.path.exists("/proc/sys/kernel/seccomp/actions_avail"):
        raise unittest.SkipTest(f"no seccomp filter for {machine} here")
    checks = [(0, numbers[machine][call])]  # offsets in struct seccomp_data
    checks += [(16 + 8 * n, value) for n, value in enumerate(arguments) if value is not None]
    code = b""
    for n, (offset, value) in enumerate(checks, 1):  # BPF_LD, BPF_JEQ (else to the last one), BPF_RET
        code += struct.pack("HBBIHBBI", 0x20, 0, 0, offset, 0x15, 0, 2 * (len(checks) - n) + 1, value)
    code += struct.pack("HBBIHBBI", 0x06, 0, 0, 0x50000 | error, 0x06, 0, 0, 0x7fff0000)

    def install():
        room = ctypes.create_string_buffer(code)
        program = ctypes.create_string_buffer(struct.pack("HP", len(code) // 8, ctypes.addressof(room)))
        libc, zero = ctypes.CDLL(None, use_errno=True), ctypes.c_ulong(0)
        if libc.prctl(38, ctypes.c_ulong(1), zero, zero, zero) or \
                libc.prctl(22, ctypes.c_ulong(2), program, zero, zero):
            raise OSError(ctypes.get_errno(), "seccomp")
    return install


class Converter:
    def __init__(self, *args, listen=None, allow=None, nofile=None, prepare=None):
        self.dir = tempfile.TemporaryDirectory()
        self.logfile = os.path.join(self.dir.name, "log")
        listen = listen or [CONVERTER, f"[{CONVERTER6}]"]
        argv = [BINARY, "-v", "--log", self.logfile]
        for a in listen:
            argv += ["--listen", a]
        argv += ALLOW if allow is None else allow
        ready, tell = os.pipe()
        argv += ["--ready-fd", str(tell)] + list(args)
        if nofile:
            def prepare():
                resource.setrlimit(resource.RLIMIT_NOFILE, (nofile, nofile))
        self.process = subprocess.Popen(argv, pass_fds=[tell], stderr=subprocess.PIPE,
                                        preexec_fn=prepare)
        os.close(tell)
        if os.read(ready, 16) != b"ready\n":
            raise RuntimeError(f"{argv}: {self.process.communicate()[1].decode()}")
        os.close(ready)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop(quiet=exc[0] is not None)

    def stop(self, quiet=False):
        if not self.process:
            return
        self.process.terminate()
        _, err = self.process.communicate(timeout=20)
        code, self.process = self.process.returncode, None
        last = self.events()[-1] if self.events() else {}
        self.dir.cleanup()
        if not quiet and (code or err or last.get("ev") != "stop"):
            raise AssertionError(f"exit {code}, last event {last}: {err.decode()[-3000:]}")

    def events(self, name=None, **want):
        found = []
        with open(self.logfile, encoding="ascii") as f:
            for line in f:
                e = dict(item.split("=", 1) for item in shlex.split(line))
                if (name is None or e["ev"] == name) and want.items() <= e.items():
                    found.append(e)
        return found

    def wait_event(self, name, seconds=5, count=1, **want):
        end = time.monotonic() + seconds
        while True:
            found = self.events(name, **want)
            if len(found) >= count:
                return found[-1]
            if time.monotonic() > end:
                raise AssertionError(f"no {name} {want} in {self.events()}")
            time.sleep(0.01)

    def sockets(self):
        path = f"/proc/{self.process.pid}/fd"
        links = []
        for fd in os.listdir(path):
            try:
                links.append(os.readlink(f"{path}/{fd}"))
            except FileNotFoundError:
                pass
        return sum(link.startswith("socket:") for link in links)

    def sockets_left(self, most):
        """The same, as soon as there are not more than that: what is told of is closed a little later."""
        end = time.monotonic() + 5
        while self.sockets() > most and time.monotonic() < end:
            time.sleep(0.01)
        return self.sockets()


@contextlib.contextmanager
def hangup(action):
    """What a SIGHUP does to whom this process starts meanwhile, however it was started itself."""
    before = signal.signal(signal.SIGHUP, action)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def family(ip):
    return socket.AF_INET6 if ":" in ip else socket.AF_INET


def convert(data, to=CONVERTER, source=None, syn=True, proto=0, port=PORT, no_cookie=True):
    """A blocking socket to the converter, `data` in its SYN (or after the handshake)."""
    s = socket.socket(family(to), socket.SOCK_STREAM, proto)
    if source:
        s.bind((source, 0))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 5, 0))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 5, 0))
    try:
        if syn:
            s.setsockopt(socket.IPPROTO_TCP, FASTOPEN_NO_COOKIE, int(no_cookie))
            n = s.sendto(data, socket.MSG_FASTOPEN, (to, port))
            if n < len(data):
                s.sendall(data[n:])
        else:
            s.connect((to, port))
            s.sendall(data)
    except OSError:
        s.close()
        raise
    return s


def read_all(s, limit=1 << 24):
    data = b""
    while len(data) < limit:
        piece = s.recv(min(65536, limit - len(data)))
        if not piece:
            break
        data += piece
    return data


def read_exactly(s, n):
    data = read_all(s, n)
    if len(data) < n:
        raise AssertionError(f"{len(data)} of {n} bytes: {data[:64].hex()}")
    return data


def read_reply(s):
    head = read_exactly(s, 4)
    return head + read_exactly(s, head[1] * 4 - 4)


def ask(data, **how):
    """The whole answer to a request, which must end with FIN."""
    with convert(data, **how) as s:
        return read_all(s)


class Listener:
    """A server; `handle` runs in a thread per connection. Without it: accept() by hand."""
    def __init__(self, handle=None, ip=SERVER, proto=0, fastopen=False, port=0):
        self.socket = socket.socket(family(ip), socket.SOCK_STREAM, proto)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((ip, port))
        if fastopen:
            self.socket.setsockopt(socket.IPPROTO_TCP, FASTOPEN, 100)
        self.socket.listen(512)
        self.ip, self.port = ip, self.socket.getsockname()[1]
        self.peers = []
        self.handle = handle
        if handle:
            threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                s, peer = self.socket.accept()
            except OSError:
                return
            self.peers.append(peer)
            threading.Thread(target=self.one, args=[s], daemon=True).start()

    def one(self, s):
        try:
            with s:
                self.handle(s)
        except OSError:
            pass

    def wait_for_peers(self):
        """How many connections serve() has taken, as soon as there is one."""
        end = time.monotonic() + 5
        while not self.peers and time.monotonic() < end:
            time.sleep(0.01)
        return len(self.peers)

    def accept(self):
        self.socket.settimeout(5)
        s, _ = self.socket.accept()
        s.settimeout(5)
        return s

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)  # wakes serve()
        except OSError:
            pass
        self.socket.close()


def echo(s):
    while True:
        data = s.recv(65536)
        if not data:
            return
        s.sendall(data)


def fill(s):
    """Sends until nobody on the way takes more."""
    s.setblocking(False)
    idle = 0
    while idle < 10:
        try:
            s.send(b"q" * 65536)
            idle = 0
        except BlockingIOError:
            idle += 1
            time.sleep(0.02)


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


ports = itertools.count(20000)


def free_port(ip=SERVER):
    """Below those that the kernel chooses: no connection gets it by chance, and none twice."""
    while True:
        with socket.socket(family(ip)) as s, contextlib.suppress(OSError):
            s.bind((ip, next(ports)))
            return s.getsockname()[1]


class Case(unittest.TestCase):
    def assertBytes(self, got, want):
        want = hexed(want) if isinstance(want, str) else want
        self.assertEqual(got.hex(" ", 4), want.hex(" ", 4))

    def assertReset(self, s):
        with self.assertRaises(ConnectionResetError):
            read_all(s)


# ------------------------------------------------------------------ the protocol

class Dialects(Case):
    """S-01, S-06, S-09, S-20; PROTOCOL 1.5 has the letters in the comments."""

    def test_rfc_info(self):
        with Converter("--kinds", "4,8,28,30,34") as c:
            self.assertBytes(ask_and_close(message(info())),  # R1, R2
                             "01042263 15030000 04081c1e 22000000")
            c.wait_event("close", outcome="info")

    def test_rfc_base_connect(self):
        with Converter() as c, Listener(echo) as l:
            with convert(message(connect(SERVER, l.port))) as s:
                self.assertBytes(read_reply(s), "01012263")  # R6
                s.sendall(b"x" * 1000)
                self.assertEqual(read_exactly(s, 1000), b"x" * 1000)
            c.wait_event("close", outcome="ok", c2s="1000", s2c="1000")
            self.assertEqual(c.events("accept")[0]["syn_data"], "yes")
            self.assertEqual(c.events("reply")[0]["header"], "none")

    def test_rfc_extended_connect(self):
        with Converter(), Listener(echo) as l:
            with convert(message(connect(SERVER, l.port, b"\x1e\x02"))) as s:  # R4
                word, found, _ = split_reply(read_reply(s))
                self.assertEqual(word, 0x2263)
                self.assertEqual(set(found), {20})
                self.assertEqual(found[20][:2], b"\0\0")
                self.assertEqual(set(tcp_options(found[20][2:])), {2, 3, 4, 8})

    def test_rfc_info_and_connect(self):
        with Converter(), Listener(echo) as l:
            with convert(message(info(), connect(SERVER, l.port)) + b"data") as s:
                self.assertBytes(read_reply(s), "01032263 15020000 1e220000")
                self.assertEqual(read_exactly(s, 4), b"data")

    def test_ext_header_when(self):
        with Listener(echo) as l:
            for when, base, extended in (("always", {20}, {20}), ("never", set(), set()),
                                         ("required", set(), {20})):
                with self.subTest(when), Converter("--ext-header", when):
                    for opts, want in ((b"", base), (b"\x1e\x02", extended)):
                        with convert(message(connect(SERVER, l.port, opts))) as s:
                            self.assertEqual(set(split_reply(read_reply(s))[1]), want)

    def test_draft(self):
        with Converter("--dialect", "draft-02"), Listener(echo) as l:
            self.assertBytes(ask_and_close(message(info(), word=0)),  # D1, D2
                             "01030000 15020000 1e220000")
            with convert(message(connect(SERVER, l.port), word=0) + b"abc") as s:
                word, found, _ = split_reply(read_reply(s))
                self.assertEqual((word, set(found)), (0, {20}))
                self.assertEqual(read_exactly(s, 3), b"abc")

    def test_draft_supported_as_22(self):
        with Converter("--dialect", "draft-02", "--supported-type", "22"):
            self.assertBytes(ask_and_close(message(info(), word=0)),  # D3
                             "01030000 16020000 1e220000")

    def test_hybrid(self):
        with Converter("--dialect", "hybrid", "--cookie-required"):
            self.assertBytes(ask(message(connect("224.0.0.1", 1), tlv(22, b"\0\0"), word=0))[:4],
                             "01020000")  # Error 32: it knows cookies
        with Converter("--dialect", "hybrid"), Listener(echo) as l:
            with convert(message(connect(SERVER, l.port), word=0)) as s:
                self.assertBytes(read_reply(s), "01010000")
            m = message(connect("224.0.0.1", 1), word=0)
            self.assertBytes(ask(m), b"\x01\x08\0\0\x1e\x07\x01\0" + m)

    def test_no_kinds(self):
        with Converter("--kinds", "none"):
            self.assertBytes(ask_and_close(message(info())), "01022263 15010000")

    def test_lenient(self):
        with Listener(echo) as l:
            for dialect, own, foreign in (("draft-02", 0, 0x2263), ("rfc8803", 0x2263, 0)):
                with self.subTest(dialect), Converter("--dialect", dialect, "--lenient"):
                    with convert(message(connect(SERVER, l.port), word=foreign)) as s:
                        self.assertEqual(split_reply(read_reply(s))[0], own)

    def test_wrong_word(self):
        """No text says what a strict one does (A-08)."""
        asked = message(info(), word=0)
        with Converter("--wrong-word", "error"):
            self.assertBytes(ask(asked), hexed("01032263 1e020100") + asked[:4])
        with Converter("--wrong-word", "reset") as c:
            try:
                self.assertReset(convert(asked))
            except ConnectionResetError:
                pass  # before sendto() returned
            c.wait_event("close", outcome="no-request")
        with Converter("--wrong-word", "silence"), convert(asked) as s:
            self.assertFalse(select.select([s], [], [], 0.3)[0])

    def test_tlv_order_does_not_matter(self):
        with Converter("--cookie", "text"), Listener(echo) as l:
            cookie = tlv(22, b"\0\0text")
            for order in ((connect(SERVER, l.port), cookie, info()),
                          (info(), cookie, connect(SERVER, l.port))):
                with convert(message(*order)) as s:
                    self.assertEqual(set(split_reply(read_reply(s))[1]), {21})


def ask_and_close(data, **how):
    """For Info alone, after whose answer the client closes (A-10)."""
    with convert(data, **how) as s:
        s.shutdown(socket.SHUT_WR)
        return read_all(s)


class Foreign(Case):
    """Converters that do not serve everything: what is left out, and that the rest still works."""
    EXTENDED = b"\x1e\x02"

    def silent(self, data):
        """No answer, and the connection stays open."""
        with convert(data) as s:
            self.assertFalse(select.select([s], [], [], 0.3)[0])

    def served(self, data, opts=()):
        with convert(data) as s:
            self.assertEqual(set(split_reply(read_reply(s))[1]), set(opts))

    def test_no_info_error(self):
        with Converter("--no-info", "error") as c, Listener(echo) as l:
            for m in (message(info()), message(connect(SERVER, l.port), info())):
                self.assertBytes(ask(m), message(tlv(30, b"\x02\0" + m)))  # the echo, aligned
            self.served(message(connect(SERVER, l.port)))
            self.served(message(connect(SERVER, l.port, self.EXTENDED)), [20])
            self.assertEqual(len(c.events("error", code="2", why="Info is not served")), 2)

    def test_no_info_error_dialects(self):
        for dialect, pad in (("draft-02", b""), ("hybrid", b"\0")):
            with self.subTest(dialect), Converter("--dialect", dialect, "--no-info", "error"):
                m = message(info(), word=0)
                self.assertBytes(ask(m), message(tlv(30, b"\x02" + pad + m), word=0))

    def test_no_info_silent(self):
        with Converter("--no-info", "silent") as c, Listener(echo) as l:
            self.silent(message(info()))
            self.silent(message(info(), connect(SERVER, l.port)))
            self.served(message(connect(SERVER, l.port)))
            self.assertEqual(len(c.events("ignored", why="Info is not served")), 2)

    def test_base_only(self):
        for answer in ("error1", "error2", "close", "silent"):
            with self.subTest(answer), Converter("--base-only", answer) as c, \
                    Listener(echo) as l:
                m = message(connect(SERVER, l.port, self.EXTENDED))
                if answer == "silent":
                    self.silent(m)
                elif answer == "close":
                    self.assertBytes(ask(m + b"user data"), b"")
                    c.wait_event("close", outcome="not-served")
                else:
                    self.assertBytes(ask(m), message(tlv(30, bytes([int(answer[-1]), 0]) + m)))
                self.served(message(connect(SERVER, l.port), info()), [21])
                self.assertEqual(len(c.events("down")), 1)

    def test_cookie_at(self):
        cookie = tlv(22, b"\0\0text")
        with Converter("--cookie", "text", "--cookie-required", "--cookie-at", "24") as c, \
                Listener(echo) as l:
            self.served(message(connect(SERVER, l.port), cookie))
            self.served(message(connect(SERVER, l.port), cookie, info()), [21])
            for m in (message(connect(SERVER, l.port, self.EXTENDED), cookie),
                      message(connect(SERVER, l.port), info(), cookie),
                      message(cookie, info()), message(connect(SERVER, l.port))):
                self.assertBytes(ask(m), message(tlv(30, b"\x03\0text")))
            self.assertEqual(len(c.events("error", code="3")), 4)
        with Converter("--cookie", "text", "--cookie-at", "24"):  # not handed out
            self.assertBytes(ask(message(info(), cookie)), message(tlv(30, b"\x20\0")))

    def test_together(self):
        with Converter("--no-info", "silent", "--base-only", "close", "--cookie-required",
                       "--cookie-at", "24") as c, Listener(echo) as l:
            self.silent(message(info()))
            self.assertBytes(ask(message(connect(SERVER, l.port, self.EXTENDED))), b"")
            given = split_reply(ask(message(connect(SERVER, l.port))))[1][30]
            self.served(message(connect(SERVER, l.port), tlv(22, b"\0\0" + given[2:])))
            self.assertEqual(len(c.events("ignored")), 2)


class Stream(Case):
    """S-20: the message in any pieces, user data behind it, every family."""

    def test_byte_by_byte(self):
        with Converter(), Listener(echo) as l:
            m = message(info(), connect(SERVER, l.port)) + b"user data"
            with socket.create_connection((CONVERTER, PORT), timeout=5) as s:
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for i in range(len(m)):
                    s.sendall(m[i:i + 1])
                    time.sleep(0.001)
                self.assertBytes(read_reply(s), "01032263 15020000 1e220000")
                self.assertEqual(read_exactly(s, 9), b"user data")

    def test_every_cut(self):
        with Converter(), Listener(echo) as l:
            m = message(connect(SERVER, l.port)) + b"user data"
            for cut in range(1, len(m)):
                with self.subTest(cut=cut), convert(m[:cut]) as s:
                    time.sleep(0.001)
                    s.sendall(m[cut:])
                    self.assertBytes(read_reply(s), "01012263")
                    self.assertEqual(read_exactly(s, 9), b"user data")

    def test_reply_only_after_the_server_accepted(self):  # S-09
        port = free_port()
        with Converter(), Rule(f"INPUT -p tcp -d {SERVER} --dport {port} -j DROP") as rule:
            with convert(message(connect(SERVER, port))) as s, Listener(echo, port=port):
                self.assertFalse(select.select([s], [], [], 0.3)[0])
                rule.remove()
                self.assertBytes(read_reply(s), "01012263")  # with the second SYN, at 1 s

    def test_families(self):
        with Converter("--max-pending", "8") as c:
            for ip, to in ((SERVER, CONVERTER6), (SERVER6, CONVERTER), (SERVER6, CONVERTER6)):
                with self.subTest(ip=ip, to=to), Listener(echo, ip=ip) as l:
                    with convert(message(connect(ip, l.port)) + b"hello", to=to) as s:
                        self.assertBytes(read_reply(s), "01012263")
                        self.assertEqual(read_exactly(s, 5), b"hello")
                    self.assertEqual(len(l.peers[0]), 4 if ":" in ip else 2)
            self.assertEqual(len(c.events("accept", syn_data="yes")), 3)

    def test_largest_message(self):
        with Converter("--cookie", "c" * 992), Listener(echo) as l:
            m = message(connect(SERVER, l.port), tlv(22, b"\0\0" + b"c" * 992))
            self.assertEqual(len(m), 1020)
            with convert(m + b"tail") as s:
                self.assertBytes(read_reply(s), "01012263")
                self.assertEqual(read_exactly(s, 4), b"tail")

    def test_fast_open_modes(self):
        for mode, want in (("no-cookie", ["yes", "yes"]), ("cookie", ["no", "yes"]),
                           ("off", ["no", "no"])):
            with self.subTest(mode), Converter("--fastopen", mode) as c, Listener(echo) as l:
                run("ip tcp_metrics flush", check=False)
                for _ in range(2):
                    with convert(message(connect(SERVER, l.port)) + b"x",
                                 no_cookie=mode == "no-cookie") as s:
                        read_exactly(s, 5)
                self.assertEqual([e["syn_data"] for e in c.events("accept")], want)


class Errors(Case):
    """S-10 .. S-13: every code from its true cause, its value as PROTOCOL section 2 has it."""

    def fails(self, data, want, event=None, **how):
        self.assertBytes(ask(data, **how), want)

    def echoes(self, data, code, sent=None):
        """RFC layout: zero at byte 3 of the TLV, the message from byte 4 on."""
        sent = data if sent is None else sent
        body = words(bytes([code, 0]) + sent + b"")
        size = 4 + len(words(sent))
        self.assertBytes(ask(data),
                         struct.pack("!BBHBBBB", 1, 1 + size // 4, 0x2263, 30, size // 4, code, 0)
                         + words(sent))
        return body

    def test_0_version(self):
        with Converter() as c:
            self.fails(message(info(), version=2), "01022263 1e010001")  # R8
            self.fails(message(info(), version=0), "01022263 1e010001")
            self.fails(b"GET / HTTP/1.1\r\n\r\n", "01022263 1e010001")
            self.assertEqual(len(c.events("error", code="0")), 3)

    def test_1_malformed_framing(self):
        good = connect(SERVER, 80)
        with Converter():
            for name, m in {
                    "duplicate": message(info(), info()),
                    "length 0": message(b"\x01\0\0\0"),
                    "overrun": message(b"\x0a\x06" + good[2:]),
                    "short connect": message(b"\x0a\x04" + good[2:16]),
                    "long info": message(b"\x01\x02" + bytes(6)),
                    "nothing asked": message(),
                    "bad option": message(connect(SERVER, 80, b"\x1e\x01\0\0")),
                    "option overrun": message(connect(SERVER, 80, b"\x1e\x09\0\0"))}.items():
                with self.subTest(name):
                    self.echoes(m, 1)

    def test_1_malformed_targets(self):
        with Converter():
            for ip in ("224.0.0.5", "239.1.2.3", "255.255.255.255", "127.0.0.1", "127.9.9.9",
                       "0.0.0.0", "ff02::1", "::1", "::"):
                with self.subTest(ip):
                    self.echoes(message(connect(ip, 443)), 1)
            with self.subTest("port 0"):
                self.echoes(message(connect(SERVER, 0)), 1)

    def test_1_truncated(self):
        with Converter(), convert(message(connect(SERVER, 80))[:17]) as s:
            s.shutdown(socket.SHUT_WR)
            m = message(connect(SERVER, 80))[:17]
            self.assertBytes(read_all(s), hexed("01072263 1e060100") + words(m))

    def test_1_wrong_dialect(self):
        with Converter():
            self.echoes(message(info(), word=0), 1, sent=hexed("01020000"))

    def test_1_draft_echo_is_unaligned(self):
        with Converter("--dialect", "draft-02"):
            self.assertBytes(ask(message(info(), info(), word=0)),
                             "01050000 1e040101 03000001 01000001 01000000")

    def test_1_echo_is_truncated(self):
        m = message(connect("224.0.0.1", 1), tlv(22, bytes(994)))
        self.assertEqual(len(m), 1020)
        with Converter():
            self.assertBytes(ask(m), hexed("01ff2263 1efe0100") + m[:1012])

    def test_2_unsupported(self):
        with Converter():
            for kind in (0, 200, 20, 21, 255):
                with self.subTest(kind):
                    self.echoes(message(tlv(kind, bytes(6))), 2)
        with Converter("--dialect", "draft-02"):  # no Cookie TLV there
            m = message(tlv(22, bytes(6)), word=0)
            self.assertBytes(ask(m), hexed("01050000 1e0402") + m + b"\0")

    def test_total_length_0_is_reset(self):
        with Converter() as c:
            try:
                self.assertReset(convert(hexed("01002263")))
            except (ConnectionRefusedError, ConnectionResetError):
                pass  # the RST was there before sendto() returned: reset all the same
            c.wait_event("close", outcome="no-request")

    def test_3_missing_cookie(self):
        with Converter("--cookie-required") as c, Listener(echo) as l:
            first = ask(message(connect(SERVER, l.port)))
            self.assertBytes(first[:8], "01042263 1e030300")  # R11
            cookie = first[8:]
            self.assertEqual(len(cookie), 8)
            with convert(message(connect(SERVER, l.port), tlv(22, b"\0\0" + cookie))) as s:
                self.assertBytes(read_reply(s), "01012263")
            other = ask(message(info()), source=CLIENT)[8:]
            self.assertNotEqual(other, cookie)  # it belongs to the address
            self.fails(message(info(), tlv(22, b"\0\0" + cookie)), "01022263 1e012000",
                       source=CLIENT)
            self.assertEqual(len(c.events("error", code="3")), 2)
            self.assertNotIn(cookie.hex(), open(c.logfile, encoding="ascii").read())

    def test_3_static_cookie(self):
        with Converter("--cookie-required", "--cookie", "secret") as c, Listener(echo) as l:
            self.assertBytes(ask(message(info())), hexed("01042263 1e030300") + b"secret\0\0")
            with convert(message(connect(SERVER, l.port), tlv(22, b"\0\0secret"))) as s:
                self.assertBytes(read_reply(s), "01012263")
            self.assertNotIn("secret", open(c.logfile, encoding="ascii").read())

    def test_32_cookie(self):
        with Converter("--cookie", "secret"):
            for cookie in (b"", b"secreT", b"secret\0\0\0\0\0"):
                with self.subTest(cookie):
                    self.fails(message(info(), tlv(22, b"\0\0" + cookie)), "01022263 1e012000")
            self.fails(message(info()), "01022263 1e012000")  # not handed out

    def test_32_stranger(self):
        with Converter() as c:
            self.fails(message(connect(SERVER, 80)), "01022263 1e012000", source=STRANGER)  # R12
            self.assertIn("--allow", c.wait_event("error", code="32")["why"])

    def test_32_denied_target(self):
        with Converter("--deny-to", "192.0.2.2/32"), Listener(echo, ip=CLIENT) as l:
            self.fails(message(connect(SERVER, l.port)), "01022263 1e012000")
            with convert(message(connect(CLIENT, l.port))) as s:
                self.assertBytes(read_reply(s), "01012263")

    def test_32_converter_itself(self):
        with Converter("--allow-loopback", listen=["0.0.0.0", "[::]"]):
            for ip in (CONVERTER, "127.0.0.1"):
                self.fails(message(connect(ip, PORT)), "01022263 1e012000")

    def test_32_converter_itself_by_another_address(self):
        """A wildcard is all of this host's, of one family."""
        with Converter(listen=["0.0.0.0", "[::]"]) as c:
            for ip, to in ((SERVER, CONVERTER), (CONVERTER6, CONVERTER), (SERVER6, CONVERTER6),
                           (CONVERTER, CONVERTER6), (SECOND[1], CONVERTER)):
                with self.subTest(ip=ip, to=to):
                    self.fails(message(connect(ip, PORT)), "01022263 1e012000", to=to)
            self.assertEqual(len(c.events("accept")), 5)  # no connection to itself
        with Converter(listen=["0.0.0.0"]), Listener(echo, ip=SERVER6, port=PORT), \
                convert(message(connect(SERVER6, PORT))) as s:
            self.assertBytes(read_reply(s), "01012263")

    def test_33_options(self):
        with Converter("--kinds", "30,29") as c:
            self.fails(message(connect(SERVER, 80, b"\x22\x02")), "01022263 1e012122")
            self.fails(message(connect(SERVER, 80, b"\xfd\x04ab\x22\x02\xfd\x02")),
                       "01032263 1e0221fd 22000000")  # R13: a list
            self.fails(message(connect(SERVER, 80, b"\x1d\x04ab")), "01022263 1e01211d")  # TCP-AO
            self.assertEqual(len(c.events("error", code="33")), 3)
        with Converter("--dialect", "draft-02", "--kinds", "30"):
            self.fails(message(connect(SERVER, 80, b"\xfd\x02\x22\x02"), word=0),
                       "01020000 1e0121fd")  # only one

    def test_33_not_for_the_ignored_ones(self):  # S-03
        with Converter("--kinds", "30") as c, Listener(echo) as l:
            opts = b"\x01\x02\x04\x05\xb4\x03\x03\x07\x05\x02"
            with convert(message(connect(SERVER, l.port, opts))) as s:
                self.assertEqual(set(split_reply(read_reply(s))[1]), {20})
            self.assertEqual(c.events("request")[0]["opts"], "1,2,3,5")

    def test_64_limit(self):
        with Converter("--max-connections", "1", "--retry-after", "60") as c, \
                Listener(echo) as l:
            with convert(message(connect(SERVER, l.port))) as s:
                self.assertBytes(read_reply(s), "01012263")
                self.fails(message(connect(SERVER, l.port)), "01022263 1e01403c")  # R14
            c.wait_event("close", outcome="ok")
            with convert(message(connect(SERVER, l.port))) as s:
                self.assertBytes(read_reply(s), "01012263")

    def test_64_pending_of_one_client(self):  # S-15
        port = free_port()
        with Converter("--max-pending", "2"), \
                Rule(f"INPUT -p tcp -d {SERVER} --dport {port} -j DROP"):
            held = [convert(message(connect(SERVER, port))) for _ in range(2)]
            self.fails(message(connect(SERVER, port)), "01022263 1e014000")
            self.fails(message(connect(NOWHERE, port)), "01022263 1e014100", source=CLIENT)
            for s in held:
                s.close()

    def test_errors_per_second(self):  # S-15
        with Converter("--max-errors", "3"):
            m, started = message(connect(SERVER, free_port())), time.monotonic()
            told = 0
            for _ in range(30):
                try:
                    with convert(m) as s:
                        told += read_all(s).hex() == "010222631e016000"
                except (ConnectionResetError, ConnectionRefusedError):
                    pass  # refused: before sendto() returned
            periods = 1 + int(time.monotonic() - started)
            self.assertGreaterEqual(told, 3)
            self.assertLessEqual(told, 3 * periods)
            self.fails(m, "01022263 1e016000", source=CLIENT)  # another one's are its own

    def test_64_no_descriptors(self):
        with Converter(nofile=90) as c, Listener(echo) as l:
            # 32 spare pipes take 64 of them; then accept and socket() fail in turn
            wanted, answers, open_ones = {"01012263", "010222631e014000"}, set(), []
            for _ in range(12):
                open_ones.append(convert(message(connect(SERVER, l.port))))
                select.select(open_ones[-1:], [], [], 0.2)
            unread, end = list(open_ones), time.monotonic() + 5
            while not wanted <= answers and time.monotonic() < end:
                for s in select.select(unread, [], [], 0.1)[0]:
                    unread.remove(s)
                    answers.add(read_reply(s).hex())
            self.assertEqual(answers, wanted)
            for s in open_ones:
                s.close()
            end = time.monotonic() + 5
            while c.sockets() > 5 and time.monotonic() < end:
                time.sleep(0.02)
            with convert(message(connect(SERVER, l.port))) as s:  # it goes on
                self.assertBytes(read_reply(s), "01012263")

    def test_no_descriptors_for_incoming(self):
        """It does not spin, and takes the connection when there are some again."""
        port = free_port(CONVERTER)
        with Listener(ip=CLIENT) as l, contextlib.ExitStack() as others, \
                Converter("--incoming", f"{port}={CLIENT}:{l.port}", nofile=90) as c:
            fds, end = f"/proc/{c.process.pid}/fd", time.monotonic() + 5
            while len(os.listdir(fds)) < 90 and time.monotonic() < end:
                others.enter_context(socket.create_connection((CONVERTER, PORT), timeout=5))
                time.sleep(0.01)
            self.assertEqual(len(os.listdir(fds)), 90)
            with socket.create_connection((CONVERTER, port), timeout=5):
                before = cpu_of(c.process.pid)
                time.sleep(0.5)
                self.assertLess(cpu_of(c.process.pid) - before, 0.2)
                self.assertEqual(c.events("incoming"), [])
                others.close()
                c.wait_event("incoming", client=f"{CLIENT}:{l.port}")

    def test_65_network_failure(self):
        with Converter("--retry-after", "7"):
            self.fails(message(connect(NOWHERE, 80)), "01022263 1e014107")
        with Converter():
            self.fails(message(connect("2001:db8:ffff::1", 80)), "01022263 1e014100")  # R15

    def test_96_refused(self):
        with Converter() as c:
            self.fails(message(connect(SERVER, free_port())), "01022263 1e016000")
            self.fails(message(connect(SERVER6, free_port(SERVER6))), "01022263 1e016000")
            self.assertEqual(len(c.events("error", code="96")), 2)

    def test_97_icmp(self):
        cases = [("iptables", SERVER, kind, code) for kind, code in (
            ("net-unreachable", 0), ("host-unreachable", 1), ("proto-unreachable", 2),
            ("port-unreachable", 3), ("net-prohibited", 9), ("host-prohibited", 10),
            ("admin-prohibited", 13))]
        cases += [("ip6tables", SERVER6, kind, code) for kind, code in (
            ("no-route", 0), ("adm-prohibited", 1), ("addr-unreachable", 3),
            ("port-unreachable", 4))]
        with Converter() as c:
            for tool, ip, kind, code in cases:
                name = f"icmp{'6' if tool == 'ip6tables' else ''}-{kind}"
                with self.subTest(name), \
                        Rule(f"INPUT -p tcp -d {ip} --dport 81 -j REJECT --reject-with {name}",
                             tool) as rule:
                    self.fails(message(connect(ip, 81)), f"01022263 1e0161{code:02x}")  # R16
                    self.assertEqual(rule.packets(), 1)  # no second SYN, after 1 s
            self.assertEqual({e["icmp"] for e in c.events("error")}, {"3", "1"})

    def test_97_mute_server(self):
        with Rule(f"INPUT -p tcp -d {SERVER} --dport 81 -j DROP"), \
                Rule(f"INPUT -p tcp -d {SERVER6} --dport 81 -j DROP", "ip6tables"):
            with Converter("--connect-timeout", "200"):
                for ip, code in (SERVER, 1), (SERVER6, 3):  # host, address unreachable
                    start = time.monotonic()
                    self.fails(message(connect(ip, 81)), f"01022263 1e0161{code:02x}")
                    self.assertGreater(time.monotonic() - start, 0.19)
            with Converter(), convert(message(connect(SERVER, 81))) as s:  # by default: mute too
                self.assertFalse(select.select([s], [], [], 0.5)[0])

    def test_draft_rst(self):  # S-10
        with Converter("--dialect", "draft-02"):
            self.fails(message(connect(SERVER, free_port()), word=0), "01020000 1e016000")
        with Converter("--dialect", "draft-02", "--draft-rst"), \
                self.assertRaises((ConnectionResetError, ConnectionRefusedError)), \
                convert(message(connect(SERVER, free_port()), word=0)) as s:  # refused: as in test_unread
            read_all(s)

    def test_error_then_no_reset(self):  # S-10
        """User data that nobody reads must not turn the end into a RST."""
        with Converter():
            m = message(connect(SERVER, free_port()))
            with convert(m + b"z" * 1000) as s:
                s.sendall(b"z" * 100000)
                time.sleep(0.1)
                self.assertBytes(read_all(s), "01022263 1e016000")
                self.assertEqual(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), 0)

    def test_nothing_asked_in_time(self):
        with Converter("--request-timeout", "100") as c:
            self.assertReset(convert(message(info())[:3]))
            self.assertReset(socket.create_connection((CONVERTER, PORT), timeout=5))
            self.assertEqual(len(c.events("close", outcome="request-timeout")), 2)


def pcp(opcode, lifetime, client, body=b"", version=2):
    return struct.pack("!BBHI", version, opcode, 0, lifetime) + ip16(client) + body


def pcp_map(port, external=0, lifetime=3600, client=CLIENT, nonce=b"n" * 12, protocol=6, more=b"", suggested=None):
    suggested = suggested or ("::" if ":" in client else "0.0.0.0")
    return pcp(1, lifetime, client, nonce + bytes([protocol, 0, 0, 0]) + struct.pack("!HH", port, external) +
               ip16(suggested) + more)


class Pcp(Case):
    """RFC 6887, by its figures."""
    on = ["--pcp", "--pcp-quiet", "--pcp-external", SERVER, "--pcp-external", SERVER6]

    def ask(self, data, source=CLIENT, to=CONVERTER, seconds=5):
        with socket.socket(family(source), socket.SOCK_DGRAM) as s:
            s.settimeout(seconds)
            s.bind((source, 0))
            s.connect((to, 5351))
            s.send(data)
            got = s.recv(2000)
        self.assertEqual(len(got) % 4, 0)
        self.assertEqual((got[0], got[1], got[2], got[12:24]), (2, data[1] | 0x80, 0, bytes(12)))
        return got

    def refused(self, code, data, **how):
        got = self.ask(data, **how)
        self.assertEqual(got[3], code)
        self.assertIn(int.from_bytes(got[4:8], "big"), (30, 1800))
        self.assertBytes(got[24:], (data + bytes(-len(data) % 4))[24:1100])

    def granted(self, data, lifetime=3600, **how):
        got = self.ask(data, **how)
        self.assertEqual((got[3], int.from_bytes(got[4:8], "big")), (0, lifetime))
        self.assertBytes(got[24:42], data[24:42])
        return struct.unpack("!H", got[42:44])[0], got[44:60]

    def refuses(self, port, ip=SERVER):
        with socket.socket(family(ip)) as s:
            return s.connect_ex((ip, port)) == errno.ECONNREFUSED

    def test_made_and_ended(self):
        with Converter(*self.on) as c:
            port = free_port()
            self.assertTrue(self.refuses(port))
            self.assertEqual(self.granted(pcp_map(8080, port)), (port, ip16(SERVER)))
            self.assertFalse(self.refuses(port))
            c.wait_event("incoming", client=f"{CLIENT}:8080")
            self.assertEqual(self.granted(pcp_map(8080)), (port, ip16(SERVER)))  # whatever is suggested
            self.granted(pcp_map(8080, lifetime=0), lifetime=0)
            self.assertTrue(self.refuses(port))
            self.granted(pcp_map(8080, lifetime=0), lifetime=0)  # 15.1: none is no error
            c.wait_event("unmap", why="deleted")

    def test_ipv6(self):
        with Converter(*self.on):
            data = pcp_map(8080, free_port(SERVER6), client=CLIENT6)
            port, external = self.granted(data, source=CLIENT6, to=CONVERTER6)
            self.assertEqual(external, ip16(SERVER6))
            self.assertFalse(self.refuses(port, SERVER6))

    def test_lifetimes(self):
        with Converter(*self.on, "--pcp-least", "1", "--pcp-most", "2") as c:
            self.granted(pcp_map(1, lifetime=0xffffffff), lifetime=2)
            port, _ = self.granted(pcp_map(8080, lifetime=1), lifetime=1)
            c.wait_event("unmap", client=f"{CLIENT}:8080", why="expired")
            self.assertTrue(self.refuses(port))

    def test_epoch(self):
        with Converter(*self.on, "--pcp-epoch", "1000"):
            got = self.ask(pcp(0, 0, CLIENT))
            self.assertEqual((len(got), got[3]), (24, 0))
            self.assertIn(int.from_bytes(got[8:12], "big"), range(1000, 1005))

    def test_announced(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(5)
            s.bind(("", 5350))
            with Converter("--pcp", "--pcp-external", SERVER):
                for _ in range(3):
                    data, peer = s.recvfrom(2000)
                    self.assertEqual(peer, (CONVERTER, 5351))
                    self.assertBytes(data[:8] + data[12:], "02800000 00000000 00000000 00000000 00000000")
                    self.assertIn(int.from_bytes(data[8:12], "big"), range(3))

    def test_each_result_for_its_reason(self):
        with Converter(*self.on, "--pcp-quota", "1") as c:
            self.refused(3, pcp(1, 9, CLIENT, bytes(32)))
            self.refused(3, pcp_map(8080) + b"x")
            self.refused(3, pcp_map(8080, protocol=0))
            self.refused(4, pcp(2, 9, CLIENT))
            self.refused(5, pcp_map(8080, more=bytes([1, 0, 0, 16]) + ip16(CLIENT)))
            self.refused(6, pcp_map(8080, more=bytes([1, 0, 0, 16])))
            self.refused(9, pcp_map(8080, protocol=17))
            self.refused(9, pcp_map(0))
            self.refused(12, pcp_map(8080, client=SERVER))
            self.refused(2, pcp_map(8080, client=STRANGER), source=STRANGER)
            self.refused(2, pcp(0, 0, STRANGER), source=STRANGER)
            self.granted(pcp_map(8080))
            self.refused(10, pcp_map(8081))
            self.refused(2, pcp_map(8080, nonce=b"o" * 12))
            self.refused(2, pcp_map(8080, nonce=b"o" * 12, lifetime=0))
            self.granted(pcp_map(8080, client=SERVER), source=SERVER)  # another's quota
            self.assertEqual(c.events("unmap"), [])

    def test_version(self):
        with Converter(*self.on):
            got = self.ask(pcp(1, 9, CLIENT, bytes(36), version=1))
            self.assertEqual(got[3], 1)
            self.ask(b"\3\1")
        with Converter(*self.on, "--pcp-version", "2", "--pcp-drop", "1"):
            with self.assertRaises(TimeoutError):
                self.ask(pcp_map(8080), seconds=0.3)
            self.granted(pcp_map(8080))

    def test_no_answer(self):
        with Converter(*self.on):
            for data in b"", b"\2", b"\2\x81" + pcp_map(8080)[2:]:
                with self.assertRaises(TimeoutError):
                    self.ask(data, seconds=0.3)

    def test_prefer_failure(self):
        prefer = bytes([2, 0, 0, 0])
        with Listener() as taken, Converter(*self.on):
            self.refused(11, pcp_map(8080, taken.port, more=prefer))
            self.refused(11, pcp_map(8080, 0, suggested=CLIENT, more=prefer))
            port, _ = self.granted(pcp_map(8080, taken.port))
            self.assertNotEqual(port, taken.port)
            got = self.ask(pcp_map(8080, port, suggested=SERVER, more=prefer))
            self.assertEqual((got[3], got[60:]), (0, prefer))
            self.refused(11, pcp_map(8080, free_port(), suggested=SERVER, more=prefer))

    def test_no_external_address(self):
        with Converter("--pcp", "--pcp-external", SERVER6):
            self.refused(7, pcp_map(8080))

    def test_no_resources(self):
        with Converter(*self.on, "--pcp-quota", "64"):
            for port in range(1, 65):
                self.granted(pcp_map(port))
            self.refused(8, pcp_map(65, client=SERVER), source=SERVER)

    def test_by_option(self):
        for code in range(1, 14):
            with Converter(*self.on, "--pcp-result", str(code)):
                self.refused(code, pcp_map(8080))


class ServerOptions(Case):
    """S-09: the Extended TCP Header TLV is the server's SYN+ACK."""

    def options_of(self, ip, port, opts=b"\x1e\x02", **how):
        with convert(message(connect(ip, port, opts)), **how) as s:
            return tcp_options(split_reply(read_reply(s))[1][20][2:])

    def test_captured(self):
        with Converter() as c:
            for ip in (SERVER, SERVER6):
                with self.subTest(ip), Listener(echo, ip=ip) as l:
                    l.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1111)
                    found = self.options_of(ip, l.port)
                    self.assertEqual(found[2], struct.pack("!H", 1111))
                    self.assertEqual(len(found[8]), 8)
                    self.assertNotEqual(found[8], bytes(8))  # real timestamps
            self.assertEqual([e["header"] for e in c.events("reply")], ["captured"] * 2)

    def test_rebuilt(self):
        with Converter("--no-capture") as c, Listener(echo) as l:
            l.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1111)
            found = self.options_of(SERVER, l.port)
            self.assertEqual(set(found), {2, 3, 4, 8})
            self.assertEqual(found[2], struct.pack("!H", 1111))
            self.assertEqual(c.events("reply")[0]["header"], "rebuilt")

    def test_mp_capable(self):
        if mptcp_works():
            self.skipTest(mptcp_works())
        for mode in ([], ["--no-capture"]):
            with self.subTest(mode), Converter(*mode) as c:
                with Listener(echo, proto=MPTCP) as l:
                    found = self.options_of(SERVER, l.port)
                    self.assertEqual((len(found[30]), found[30][:2]), (10, b"\x01\x01"))
                with Listener(echo) as l:
                    self.assertNotIn(30, self.options_of(SERVER, l.port))
                self.assertEqual([e["mp_capable"] for e in c.events("reply")], ["yes", "no"])
                self.assertEqual([e["down_mptcp"] for e in c.events("reply")], ["yes", "no"])

    def test_many_at_once(self):
        with Converter() as c, Listener(echo) as l:
            sockets = [convert(message(connect(SERVER, l.port, b"\x1e\x02"))) for _ in range(50)]
            for s in sockets:
                read_reply(s)
                s.close()
            self.assertEqual(len(c.events("reply", header="captured")), 50)


class FastOpenDownstream(Case):
    """S-07: option kind 34 in the Connect."""

    def test_ask_then_data(self):
        run("ip tcp_metrics flush", check=False)
        with Converter() as c, Listener(echo, fastopen=True) as l:
            with convert(message(connect(SERVER, l.port, b"\x22\x02")) + b"one") as s:
                found = tcp_options(split_reply(read_reply(s))[1][20][2:])
                self.assertIn(len(found[34]), (8, 16))  # the server's cookie
                self.assertEqual(read_exactly(s, 3), b"one")
            m = message(connect(SERVER, l.port, b"\x22\x0a" + found[34][:8]))
            with convert(m + b"two") as s:
                read_reply(s)
                s.sendall(b"three")
                self.assertEqual(read_exactly(s, 8), b"twothree")
            ways = [(e["fastopen"], e["early"]) for e in c.events("down")]
            self.assertEqual(ways, [("ask", "0"), ("data", "3")])
            c.wait_event("close", count=2, outcome="ok")
            # the first may be closed last
            self.assertEqual(sorted(e["c2s"] for e in c.events("close")), ["3", "8"])

    def test_with_mptcp(self):
        """Both options at once, to a server that has both."""
        if mptcp_works():
            self.skipTest(mptcp_works())
        run("ip tcp_metrics flush", check=False)
        with Converter() as c, Listener(echo, fastopen=True, proto=MPTCP) as l:
            with convert(message(connect(SERVER, l.port, b"\x22\x02\x1e\x02"))) as s:
                found = tcp_options(split_reply(read_reply(s))[1][20][2:])
            self.assertEqual((len(found[30]), found[30][:2]), (10, b"\x01\x01"))
            self.assertIn(len(found[34]), (4, 8))  # Linux leaves the timestamps out for it
            down = c.events("down")[0]
            self.assertEqual((down["mptcp"], down["fastopen"]), ("yes", "ask"))

    def test_server_without(self):
        with Converter(), Listener(echo) as l:
            for opts in (b"\x22\x02", b"\x22\x0a12345678"):
                with convert(message(connect(SERVER, l.port, opts)) + b"data") as s:
                    read_reply(s)
                    self.assertEqual(read_exactly(s, 4), b"data")


class Relay(Case):
    """S-17, S-20, S-21."""

    def test_half_close(self):
        def handle(s):
            got = read_all(s)  # until the client's FIN
            s.sendall(hashlib.md5(got).digest())
        with Converter(), Listener(handle) as l:
            with convert(message(connect(SERVER, l.port)) + b"a" * 100) as s:
                read_reply(s)
                s.sendall(b"b" * 100000)
                s.shutdown(socket.SHUT_WR)
                self.assertEqual(read_all(s), hashlib.md5(b"a" * 100 + b"b" * 100000).digest())

    def test_server_closes_first(self):
        with Converter() as c, Listener() as l:
            with convert(message(connect(SERVER, l.port))) as s, l.accept() as server:
                read_reply(s)
                server.sendall(b"bye")
                server.shutdown(socket.SHUT_WR)
                self.assertEqual(read_all(s), b"bye")
                s.sendall(b"still here")
                s.shutdown(socket.SHUT_WR)
                self.assertEqual(read_all(server), b"still here")
            c.wait_event("close", outcome="ok", c2s="10", s2c="3")

    def test_server_resets(self):
        with Converter() as c, Listener() as l:
            with convert(message(connect(SERVER, l.port))) as s:
                server = l.accept()
                read_reply(s)
                server.sendall(b"last words")
                time.sleep(0.05)
                reset(server)
                self.assertEqual(read_exactly(s, 10), b"last words")
                self.assertReset(s)
            c.wait_event("close", outcome="server-reset", s2c="10")

    def test_client_resets(self):
        with Converter() as c, Listener() as l:
            s = convert(message(connect(SERVER, l.port)))
            with l.accept() as server:
                read_reply(s)
                reset(s)
                self.assertReset(server)
            c.wait_event("close", outcome="client-reset")

    def test_client_resets_while_connecting(self):
        port = free_port()
        with Converter() as c, Rule(f"INPUT -p tcp -d {SERVER} --dport {port} -j DROP"):
            s = convert(message(connect(SERVER, port)))
            c.wait_event("down")
            reset(s)
            c.wait_event("close", outcome="client-reset")
            self.assertLessEqual(c.sockets_left(4), 4)

    @contextlib.contextmanager
    def stalled(self):
        """A client that reads nothing, and its server's end; every buffer between them is full."""
        with Listener() as l, socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.settimeout(5)
            s.connect((CONVERTER, PORT))
            s.sendall(message(connect(SERVER, l.port)))
            read_reply(s)
            server = l.accept()
            fill(server)
            yield s, server

    def test_reset_against_a_stalled_side(self):
        """The server's RST arrives while the client reads nothing, and perhaps still sends: what
        the converter had goes to the client, then RST; meanwhile it does not spin."""
        for last in b"", b"x":
            with self.subTest(last), Converter() as c:
                with self.stalled() as (s, server):
                    reset(server)
                    time.sleep(0.05)
                    s.sendall(last)
                    before = cpu_of(c.process.pid)
                    time.sleep(0.15)  # of the second that it has
                    self.assertLess(cpu_of(c.process.pid) - before, 0.05)
                    got = 0
                    with self.assertRaises(ConnectionResetError):
                        while data := s.recv(65536):
                            got += len(data)
                self.assertEqual(c.wait_event("close", outcome="server-reset")["s2c"], str(got))
                self.assertGreater(got, 100000)

    def test_reset_against_a_side_that_stays_stalled(self):
        """It is reset all the same, whether it sends or not."""
        for last in b"", b"x":
            with self.subTest(last), Converter() as c, self.stalled() as (s, server):
                reset(server)
                time.sleep(0.05)
                s.sendall(last)
                c.wait_event("close", outcome="server-reset")
                self.assertReset(s)

    def test_client_resets_with_every_buffer_full(self):
        """In either direction."""
        with Converter() as c, self.stalled() as (s, server):
            fill(s)
            reset(s)
            c.wait_event("close", outcome="client-reset")
            server.settimeout(5)
            self.assertReset(server)
            server.close()

    def test_back_pressure(self):
        with Converter() as c, Listener() as l:
            with convert(message(connect(SERVER, l.port))) as s, l.accept() as server:
                read_reply(s)
                s.setblocking(False)
                block, sent, idle = os.urandom(1 << 16), 0, 0
                digest = hashlib.md5()
                while idle < 10:  # the server reads nothing
                    try:
                        n = s.send(block)
                        digest.update(block[:n])
                        sent, idle = sent + n, 0
                    except BlockingIOError:
                        idle += 1
                        time.sleep(0.02)
                self.assertLess(sent, 64 << 20)
                memory = int(re.search(r"VmRSS:\s+(\d+)", open(
                    f"/proc/{c.process.pid}/status", encoding="ascii").read())[1])
                before = cpu_of(c.process.pid)
                time.sleep(0.3)
                self.assertLess(cpu_of(c.process.pid) - before, 0.1)  # and it does not spin
                s.shutdown(socket.SHUT_WR)
                got = read_all(server, 1 << 30)
                self.assertEqual((len(got), hashlib.md5(got).hexdigest()),
                                 (sent, digest.hexdigest()))
                self.assertLess(memory, 400 << 10)
            c.wait_event("close", outcome="ok", c2s=str(sent))

    def test_bulk_both_ways(self):
        data = os.urandom(1 << 20) * 16
        def handle(s):
            t = threading.Thread(target=s.sendall, args=[data[::-1]])
            t.start()
            got = hashlib.md5(read_all(s, len(data)))
            t.join()
            s.sendall(got.digest())
        with Converter(), Listener(handle) as l:
            with convert(message(connect(SERVER, l.port))) as s:
                read_reply(s)
                t = threading.Thread(target=s.sendall, args=[data])
                t.start()
                self.assertTrue(read_exactly(s, len(data)) == data[::-1])
                t.join()
                self.assertEqual(read_exactly(s, 16), hashlib.md5(data).digest())

    def test_300_at_once(self):
        async def one(i, port, hurdle):
            data = hashlib.sha256(b"%d" % i).digest() * (100 + i)
            reader, writer = await asyncio.open_connection(CONVERTER, PORT)
            writer.write(message(connect(SERVER, port)))
            assert await reader.readexactly(4) == hexed("01012263")
            await hurdle(i)
            writer.write(data)
            got = await reader.readexactly(len(data))
            writer.write_eof()
            rest = await reader.read()
            writer.close()
            return got == data and not rest

        async def server(reader, writer):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            writer.close()

        async def everything(n):
            arrived, gate = set(), asyncio.Event()

            async def hurdle(i):  # all stand before anybody goes on
                arrived.add(i)
                if len(arrived) == n:
                    gate.set()
                await gate.wait()
            s = await asyncio.start_server(server, SERVER, 0, backlog=1024)
            port = s.sockets[0].getsockname()[1]
            good = await asyncio.gather(*(one(i, port, hurdle) for i in range(n)))
            s.close()
            return good

        with Converter() as c:
            before = c.sockets()
            for _ in range(2):
                good = asyncio.run(asyncio.wait_for(everything(300), 30))
                self.assertEqual(good, [True] * 300)
            c.wait_event("close", count=600, outcome="ok")
            self.assertEqual(c.sockets_left(before), before)

    def test_idle(self):
        with Converter("--idle-timeout", "4") as c, Listener() as l:
            with convert(message(connect(SERVER, l.port))) as s, l.accept() as server:
                read_reply(s)
                time.sleep(2.2)
                again = time.monotonic()
                s.sendall(b"x")  # starts it anew
                time.sleep(2.2)
                self.assertFalse(c.events("close"))
                self.assertReset(s)
                self.assertGreater(time.monotonic() - again, 3.9)
                server.recv(1)
                self.assertReset(server)
            c.wait_event("close", outcome="idle")


def cpu_of(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Mptcp(Case):
    """LINUX-FACTS 2b, 5.4."""

    @classmethod
    def setUpClass(cls):
        if mptcp_works():
            raise unittest.SkipTest(mptcp_works())

    def test_upstream(self):
        with Converter("--mptcp", listen=["0.0.0.0", "[::]"]) as c, Listener(echo) as l:
            for syn in (True, False):
                for to in (CONVERTER, CONVERTER6):
                    with self.subTest(syn=syn, to=to), \
                            convert(message(connect(SERVER, l.port)) + b"x" * 100, to=to,
                                    proto=MPTCP, syn=syn) as s:
                        self.assertBytes(read_reply(s), "01012263")
                        self.assertEqual(read_exactly(s, 100), b"x" * 100)
                        self.assertEqual(s.getsockopt(socket.IPPROTO_TCP, IS_MPTCP), 1)
            self.assertEqual(len(c.events("accept", mptcp="yes")), 4)
            with convert(message(connect(SERVER, l.port))) as s:  # plain TCP is served too
                self.assertBytes(read_reply(s), "01012263")

    def test_kernel_without_fast_open(self):
        """Linux before 6.2: it says so, and serves those whose message comes later."""
        for error in errno.ENOPROTOOPT, errno.EOPNOTSUPP:
            no = refused("setsockopt", error, None, socket.IPPROTO_TCP, FASTOPEN)
            with self.subTest(error), Listener(echo) as l, \
                    Converter("--mptcp", listen=[CONVERTER], prepare=no) as c:
                self.assertIn("no Fast Open over MPTCP in this kernel: no SYN data is taken",
                              [e["what"] for e in c.events("note")])
                with convert(message(connect(SERVER, l.port)), proto=MPTCP, syn=False) as s:
                    self.assertBytes(read_reply(s), "01012263")
                    self.assertEqual(s.getsockopt(socket.IPPROTO_TCP, IS_MPTCP), 1)

    def test_half_close_and_errors(self):
        def handle(s):
            s.sendall(b"%d" % len(read_all(s)))
        with Converter("--mptcp"), Listener(handle) as l:
            with convert(message(connect(SERVER, l.port)), proto=MPTCP) as s:
                read_reply(s)
                s.sendall(b"y" * 500000)
                s.shutdown(socket.SHUT_WR)
                self.assertEqual(read_all(s), b"500000")
            self.assertBytes(ask(message(connect(SERVER, free_port())), proto=MPTCP),
                             "01022263 1e016000")

    def test_failure_is_fastclose(self):
        with Converter("--mptcp"), Listener() as l:
            with convert(message(connect(SERVER, l.port)), proto=MPTCP) as s:
                server = l.accept()
                read_reply(s)
                reset(server)
                self.assertReset(s)

    def test_reply_waits_for_the_third_ack(self):
        """The kernel keeps what is sent before it, so a reply at once would never come."""
        third_ack = f"INPUT -p tcp -d {CONVERTER} --dport {PORT} --tcp-flags SYN,ACK,PSH ACK -j DROP"
        with Converter("--mptcp") as c, Listener(echo) as l, Rule(third_ack) as rule:
            with convert(message(connect(SERVER, l.port)), proto=MPTCP) as s:
                c.wait_event("reply")
                self.assertFalse(select.select([s], [], [], 0.1)[0])
                rule.remove()
                self.assertBytes(read_reply(s), "01012263")  # after the second SYN+ACK, at 1 s
                self.assertEqual(s.getsockopt(socket.IPPROTO_TCP, IS_MPTCP), 1)

    def two_subflows(self):
        """The client's kernel joins from a second address, until the test ends."""
        run("ip mptcp limits set subflows 2 add_addr_accepted 2")
        run(f"ip mptcp endpoint add {CLIENT} subflow")
        self.addCleanup(run, "ip mptcp endpoint flush")

    def wait_for_subflow(self, s):
        """Of an echo server's client."""
        end = time.monotonic() + 3
        while not s.getsockopt(SOL_MPTCP, MPTCP_INFO, 8)[0] and time.monotonic() < end:
            s.sendall(b"x")
            read_exactly(s, 1)
            time.sleep(0.01)
        self.assertEqual(s.getsockopt(SOL_MPTCP, MPTCP_INFO, 8)[0], 1)

    def test_subflows_join(self):
        self.two_subflows()
        for hold in ([], ["--hold"]):
            with self.subTest(hold):
                if hold and HOLD:
                    self.skipTest(HOLD)
                with Listener(echo) as l, Converter("--mptcp", *hold, listen=["0.0.0.0"]), \
                        convert(message(connect(SERVER, l.port)), proto=MPTCP) as s:
                    read_reply(s)
                    self.wait_for_subflow(s)

    def test_client_that_reads_late(self):
        """Little more is sent than its window has room for. The kernel by itself would, after SYN
        data, up to the SYN's window times its scale; the client's drops and counts that, some
        thousand packets here, and the transfer takes minutes."""
        def past_the_window():
            with open("/proc/net/netstat", encoding="ascii") as f:
                names, values = [line.split() for line in f if line.startswith("MPTcpExt:")]
            return int(values[names.index("NoDSSInWindow")])

        def handle(s):
            while (data := s.recv(1)) == b"x":
                s.sendall(data)
            s.sendall(bytes(size))
        size, before = 8 << 20, past_the_window()
        self.two_subflows()
        with Converter("--mptcp", listen=["0.0.0.0"]) as c, Listener(handle) as l, \
                convert(message(connect(SERVER, l.port)), proto=MPTCP) as s:
            self.assertEqual(c.wait_event("accept")["syn_data"], "yes")
            read_reply(s)
            self.wait_for_subflow(s)
            s.sendall(b".")
            time.sleep(0.3)
            self.assertEqual(len(read_exactly(s, size)), size)
        self.assertLess(past_the_window() - before, 100)

    def test_client_without_mptcp_after_all(self):
        """Its SYN had it, and data; the answer did not say so to it. The send buffer is not kept small for TCP's window,
        which is right."""
        strip = (f"PREROUTING -t mangle -p tcp -s {CONVERTER} --sport {PORT} --tcp-flags SYN,ACK SYN,ACK "
                 "-j TCPOPTSTRIP --strip-options 30")
        size = 8 << 20
        try:
            with Rule(strip):
                pass
        except RuntimeError as e:
            self.skipTest(f"no TCPOPTSTRIP here: {e}")
        with Converter("--mptcp") as c, Listener(lambda s: s.sendall(bytes(size))) as l, Rule(strip), \
                convert(message(connect(SERVER, l.port)), proto=MPTCP) as s:
            self.assertEqual(c.wait_event("accept", mptcp="yes")["syn_data"], "yes")
            read_reply(s)
            self.assertEqual(s.getsockopt(socket.IPPROTO_TCP, IS_MPTCP), 0)
            self.assertEqual(len(read_exactly(s, size // 2)), size // 2)
            shown = run(f"ss -tmnH src {CONVERTER}:{PORT} dst {CONVERTER}").stdout
            self.assertGreaterEqual(int(re.search(r",tb(\d+)", shown)[1]), 1 << 20, shown)
            self.assertEqual(len(read_exactly(s, size // 2)), size // 2)

    def test_downstream_always(self):
        with Converter("--mptcp-down") as c, Listener(echo, proto=MPTCP) as l:
            with convert(message(connect(SERVER, l.port)) + b"x") as s:
                read_reply(s)
                read_exactly(s, 1)
            self.assertEqual(c.events("reply")[0]["down_mptcp"], "yes")
            self.assertBytes(ask(message(connect(SERVER, free_port()))), "01022263 1e016000")
            with Rule(f"INPUT -p tcp -d {SERVER} --dport 81 -j REJECT "
                      "--reject-with icmp-host-prohibited"):
                # MPTCP sockets hide the ICMP message: the code is what errno leads back to
                self.assertBytes(ask(message(connect(SERVER, 81))), "01022263 1e016101")


class Faults(Case):
    def connected(self, spec, syn=True, **how):
        listener = Listener(echo)
        self.addCleanup(listener.__exit__)
        converter = Converter("--fault", spec, **how)
        self.addCleanup(converter.stop)
        self.converter = converter
        s = convert(message(info(), connect(SERVER, listener.port)) + b"data", syn=syn)
        self.addCleanup(s.close)
        return s

    REPLY = hexed("01032263 15020000 1e220000")

    def test_split_and_gap(self):
        """As it is on the wire, whenever this process comes to read it."""
        with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3)) as sniffer:
            sniffer.setsockopt(socket.SOL_SOCKET, TIMESTAMPNS, 1)
            s = self.connected("split=5,gap=30")
            self.assertEqual(read_exactly(s, 12), self.REPLY)
            self.assertEqual(read_exactly(s, 4), b"data")
            found = {}
            while select.select([sniffer], [], [], 0.1)[0]:
                p, told, _, _ = sniffer.recvmsg(2000, 100)
                data = p[20 + (p[32] >> 4) * 4:] if p[0] == 0x45 and p[9] == 6 else b""
                if data and p[20:22] == struct.pack("!H", PORT):
                    seconds, nanoseconds = struct.unpack("ll", told[0][2])
                    found.setdefault(p[24:28], (data, seconds + nanoseconds / 1e9))
        got, times = zip(*list(found.values())[:3])
        self.assertEqual([len(g) for g in got], [5, 5, 2])
        self.assertGreater(times[2] - times[0], 0.055)
        self.assertEqual(b"".join(got), self.REPLY)

    def test_late(self):
        """The server is not asked before that, and then the reply comes at once."""
        s = self.connected("late=150")
        self.assertBytes(read_reply(s), self.REPLY)
        self.assertEqual(read_exactly(s, 4), b"data")
        accepted, asked = (float(self.converter.wait_event(name)["t"])
                           for name in ("accept", "request"))
        self.assertGreater(asked - accepted, 0.145)

    def test_delay(self):
        start = time.monotonic()
        s = self.connected("delay=150")
        self.assertBytes(read_reply(s), self.REPLY)
        self.assertGreater(time.monotonic() - start, 0.145)
        self.assertEqual(read_exactly(s, 4), b"data")

    def test_error(self):
        self.assertBytes(read_all(self.connected("error=64:3c")), "01022263 1e01403c")

    def test_error_unassigned(self):
        self.assertBytes(read_all(self.connected("error=200")), "01022263 1e01c800")

    def test_raw(self):
        self.assertBytes(read_all(self.connected("raw=00112233445566")), "00112233445566")

    def test_raw_relay(self):
        self.assertBytes(read_exactly(self.connected("raw-relay=01022263c8010000"), 12),
                         hexed("01022263 c8010000") + b"data")

    def test_silence(self):
        s = self.connected("silence")
        self.assertFalse(select.select([s], [], [], 0.3)[0])
        s.close()
        self.converter.wait_event("reply")

    def test_close(self):
        self.assertEqual(read_all(self.connected("close")), b"")

    def test_rst(self):
        with self.assertRaises((ConnectionResetError, ConnectionRefusedError)):  # as in test_unread
            read_all(self.connected("rst"))

    def test_unread(self):
        with Converter("--fault", "unread") as c, socket.create_connection(
                (CONVERTER, PORT), timeout=5) as s:
            self.assertEqual(s.recv(1), b"")
            with self.assertRaises((ConnectionResetError, ConnectionRefusedError)), \
                    convert(message(info())) as other:  # refused: before sendto() returned
                read_all(other)
            c.wait_event("close", count=2, outcome="fault")
            self.assertEqual(c.events("request"), [])

    def test_cut(self):
        self.assertBytes(read_all(self.connected("cut=7")), self.REPLY[:7])

    def test_cut_rst(self):
        s = self.connected("cut-rst=7", syn=False)  # a RST before sendto() returns takes the 7 along
        self.assertBytes(read_exactly(s, 7), self.REPLY[:7])
        self.assertReset(s)

    def test_cut_in_pieces(self):
        self.assertBytes(read_all(self.connected("cut=7,split=1,gap=1")), self.REPLY[:7])

    def test_drop_after(self):
        s = self.connected("drop-after=3")
        self.assertBytes(read_exactly(s, 15), self.REPLY + b"dat")
        self.assertReset(s)
        self.converter.wait_event("close", outcome="fault")


class Hold(Case):
    """LINUX-FACTS 7.4: the client's connect() ends when the server has answered."""

    @classmethod
    def setUpClass(cls):
        if HOLD:
            raise unittest.SkipTest(HOLD)

    def test_accepted(self):
        with Converter("--hold") as c, Listener(echo) as l:
            for to in (CONVERTER, CONVERTER6):
                with self.subTest(to), \
                        convert(message(connect(SERVER, l.port)) + b"data", to=to) as s:
                    self.assertBytes(read_reply(s), "01012263")
                    self.assertEqual(read_exactly(s, 4), b"data")
            self.assertEqual(len(c.events("held")), 2)
            self.assertEqual(len(c.events("accept", held="yes", syn_data="yes")), 2)
            c.wait_event("close", count=2, outcome="ok", c2s="4", s2c="4")

    def test_waits_for_the_server(self):
        """The SYN waits for a second; the client's own second SYN changes nothing."""
        for proto in (0, MPTCP):
            with self.subTest(proto=proto):
                if proto and mptcp_works():
                    self.skipTest(mptcp_works())
                self.wait_for_the_server(proto)

    def wait_for_the_server(self, proto):
        port = free_port()
        with Converter("--hold", *(["--mptcp"] if proto else [])) as c, \
                Rule(f"INPUT -p tcp -d {SERVER} --dport {port} -j DROP") as rule, \
                Listener(echo, port=port):
            start = time.monotonic()
            threading.Thread(target=lambda: c.wait_event("down") and rule.remove()).start()  # told of after the SYN
            with convert(message(connect(SERVER, port)) + b"data", proto=proto) as s:
                self.assertGreater(time.monotonic() - start, 0.9)
                self.assertBytes(read_reply(s), "01012263")
                self.assertEqual(read_exactly(s, 4), b"data")
            c.wait_event("close", outcome="ok", c2s="4")
            self.assertEqual(len(c.events("held")), 1)
            self.assertEqual(len(c.events("accept")), 1)

    def test_refused(self):
        with Converter("--hold") as c:
            for ip, to in ((SERVER, CONVERTER), (SERVER6, CONVERTER6)):
                with self.subTest(to), self.assertRaises(ConnectionRefusedError):
                    convert(message(connect(ip, free_port(ip))), to=to)
            with self.assertRaises(ConnectionRefusedError):
                convert(message(connect(NOWHERE, 80)))
            c.wait_event("close", count=3, outcome="hold-refused")
            self.assertEqual(c.events("accept"), [])

    def test_refused_mptcp(self):
        if mptcp_works():
            self.skipTest(mptcp_works())
        with Converter("--hold", "--mptcp"), self.assertRaises(ConnectionRefusedError):
            convert(message(connect(SERVER, free_port())), proto=MPTCP)

    def test_refused_by_tlv(self):
        with Converter("--hold", "--hold-error", "tlv"):
            self.assertBytes(ask(message(connect(SERVER, free_port())) + b"data"),
                             "01022263 1e016000")

    def test_draft_error_rides_in_the_rst(self):  # S-10
        with Converter("--hold", "--dialect", "draft-02"), \
                socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3)) as sniffer:
            with self.assertRaises(ConnectionRefusedError):
                convert(message(connect(SERVER, free_port()), word=0))
            found = set()
            while select.select([sniffer], [], [], 0.1)[0]:
                p = sniffer.recv(2000)
                if p[0] == 0x45 and p[9] == 6 and p[20:22] == struct.pack("!H", PORT) \
                        and p[33] & 4:
                    found.add(p[20 + (p[32] >> 4) * 4:])
            self.assertEqual(found, {hexed("01020000 1e016000")})

    def test_what_is_not_held(self):
        with Converter("--hold") as c, Listener(echo) as l:
            with convert(message(connect(SERVER, l.port)) + b"data", syn=False) as s:
                self.assertEqual(read_exactly(s, 8), hexed("01012263") + b"data")
            self.assertBytes(ask_and_close(message(info())), "01032263 15020000 1e220000")
            self.assertBytes(ask(message(info(), version=9)), "01022263 1e010001")
            self.assertBytes(ask(message(connect(SERVER, 80)), source=STRANGER),
                             "01022263 1e012000")
            m = message(connect(SERVER, l.port))
            with convert(m[:10]) as s:
                s.sendall(m[10:])
                self.assertBytes(read_reply(s), "01012263")
            self.assertEqual(c.events("held"), [])

    def test_mute_server(self):
        with Converter("--hold") as c, Rule(f"INPUT -p tcp -d {SERVER} --dport 81 -j DROP"):
            s = socket.socket()
            s.setblocking(False)
            s.setsockopt(socket.IPPROTO_TCP, FASTOPEN_NO_COOKIE, 1)
            s.sendto(message(connect(SERVER, 81)), socket.MSG_FASTOPEN, (CONVERTER, PORT))
            c.wait_event("held")
            self.assertFalse(select.select([], [s], [], 1.2)[1])
            self.assertEqual(c.events("accept"), [])
            s.close()
        with Converter("--hold", "--connect-timeout", "100"), \
                Rule(f"INPUT -p tcp -d {SERVER} --dport 81 -j DROP"), \
                self.assertRaises(ConnectionRefusedError):
            convert(message(connect(SERVER, 81)))

    def test_new_attempt_from_the_same_port(self):
        with Converter("--hold") as c, Rule(f"INPUT -p tcp -d {SERVER} --dport 81 -j DROP"):
            port = free_port(CLIENT)
            for _ in range(2):
                with socket.socket() as s:
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    s.bind((CLIENT, port))
                    s.setblocking(False)
                    s.setsockopt(socket.IPPROTO_TCP, FASTOPEN_NO_COOKIE, 1)
                    s.sendto(message(connect(SERVER, 81)), socket.MSG_FASTOPEN, (CONVERTER, PORT))
                    c.wait_event("held")
            c.wait_event("held", count=2)
            c.wait_event("close", outcome="hold-gone")

    def test_early_data_downstream(self):
        run("ip tcp_metrics flush", check=False)
        with Converter("--hold") as c, Listener(echo, fastopen=True) as l:
            for opts, text in ((b"\x22\x02", b"one"), (b"\x22\x0a12345678", b"two")):
                with convert(message(connect(SERVER, l.port, opts)) + text) as s:
                    read_reply(s)
                    s.sendall(b"more")
                    self.assertEqual(read_exactly(s, 7), text + b"more")
            self.assertEqual([e["early"] for e in c.events("down")], ["0", "3"])

    def test_many(self):
        with Converter("--hold") as c, Listener(echo) as l:
            before, sockets, data = c.sockets(), [], {}
            for i in range(200):
                s = socket.socket()
                s.setblocking(False)
                s.setsockopt(socket.IPPROTO_TCP, FASTOPEN_NO_COOKIE, 1)
                data[s] = b"%05d" % i * 10
                s.sendto(message(connect(SERVER, l.port)) + data[s], socket.MSG_FASTOPEN,
                         (CONVERTER, PORT))
                sockets.append(s)
            for s in sockets:
                s.settimeout(5)
                self.assertEqual(read_exactly(s, 54), hexed("01012263") + data[s])
                s.close()
            c.wait_event("close", count=200, outcome="ok")
            self.assertEqual(c.sockets_left(before), before)

    def test_rules_are_taken_away(self):
        def rules():
            return [line for tool in ("iptables", "ip6tables")
                    for line in run(f"{tool} -w -t mangle -S PREROUTING").stdout.splitlines()
                    if "NFQUEUE" in line]
        for sig in signal.SIGTERM, signal.SIGHUP:
            with self.subTest(sig), hangup(signal.SIG_DFL), Converter("--hold") as c:
                self.assertEqual(len(rules()), 2)
                c.process.send_signal(sig)
                c.process.wait(5)
            self.assertEqual(rules(), [])


class Process(Case):
    def usage(self, *args):
        done = subprocess.run([BINARY, *args], capture_output=True, text=True, timeout=10,
                              check=False)
        return done.returncode, done.stdout, done.stderr

    def test_bad_usage(self):
        listen, allow = ["--listen", "192.0.2.1"], ["--allow", "192.0.2.0/24"]
        for args, word in (
                ([], "--listen"), (listen, "open proxy"), (allow, "--listen"),
                (listen + allow + ["--dialect", "rfc"], "draft-02"),
                (listen + allow + ["--fault", "splitt=3"], "--fault splitt=3"),
                (listen + allow + ["--fault", "split=0"], "--fault"),
                (listen + allow + ["--fault", "raw=0"], "--fault"),
                (listen + allow + ["--kinds", "30,300"], "--kinds"),
                (listen + allow + ["--max-connections", "0"], "--max-connections"),
                (listen + allow + ["--max-connections", "12x"], "--max-connections"),
                (listen + allow + ["--supported-type", "22"], "draft-02"),
                (listen + allow + ["--dialect", "draft-02", "--cookie", "x"], "Cookie"),
                (listen + allow + ["--no-info", "close"], "--no-info close"),
                (listen + allow + ["--base-only", "error"], "--base-only error"),
                (listen + allow + ["--cookie-at", "24"], "--cookie-required"),
                (listen + allow + ["--cookie", "x", "--cookie-at", "0"], "--cookie-at 0"),
                (listen + allow + ["--nonsense"], "nonsense"),
                (listen + allow + ["word"], "'word'"),
                (["--listen", "192.0.2.1:99999"] + allow, "192.0.2.1:99999"),
                (["--listen", "[2001:db8::1"] + allow, "[2001:db8::1"),
                (["--listen", ""] + allow, "--listen"),
                (listen + ["--allow", "192.0.2.1/24"], "192.0.2.1/24"),
                (listen + allow + ["--log", "/nonexistent/x"], "/nonexistent/x")):
            with self.subTest(args):
                code, out, err = self.usage(*args)
                self.assertEqual((code, out), (2, ""), err)
                self.assertIn(word, err)

    def test_help(self):
        code, out, err = self.usage("--help")
        self.assertEqual((code, err), (0, ""))
        for word in ("--listen", "--hold", "drop-after", "outcome"):
            self.assertIn(word, out)

    def test_says_when_fast_open_is_off(self):
        path = "/proc/sys/net/ipv4/tcp_fastopen"
        try:
            for value, want in (("1", 1), ("3", 0)):
                with open(path, "w", encoding="ascii") as f:
                    f.write(value)
                with Converter() as c:
                    notes = [e for e in c.events("note") if "tcp_fastopen" in e["what"]]
                    self.assertEqual(len(notes), want)
        finally:
            with open(path, "w", encoding="ascii") as f:
                f.write("3")

    def test_incoming_without_ipv6(self):
        """All addresses are those of IPv4 then."""
        port, no = free_port(CONVERTER), refused("socket", errno.EAFNOSUPPORT, socket.AF_INET6)
        with Listener(ip=CLIENT) as l, \
                Converter("--incoming", f"{port}={CLIENT}:{l.port}", listen=[CONVERTER], prepare=no) as c, \
                socket.create_connection((CONVERTER, port), timeout=5):
            c.wait_event("incoming", external=f"0.0.0.0:{port}")

    def test_address_in_use(self):
        """Whoever has it is not disturbed."""
        with tempfile.TemporaryDirectory() as d:
            files = [os.path.join(d, name) for name in ("pid", "ready")]
            options = ["--pid-file", files[0], "--ready-file", files[1]]
            with Converter(*options) as c:
                code, _, err = self.usage("--listen", CONVERTER, *ALLOW, *options)
                self.assertEqual(code, 1)
                self.assertIn(f"{CONVERTER}:{PORT}", err)
                self.assertEqual([open(f, encoding="ascii").read() for f in files],
                                 [f"{c.process.pid}\n", "ready\n"])

    def test_files_and_signals(self):
        with tempfile.TemporaryDirectory() as d:
            for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                pid, ready = os.path.join(d, "pid"), os.path.join(d, "ready")
                with hangup(signal.SIG_DFL), Listener(echo) as l:
                    c = Converter("--pid-file", pid, "--ready-file", ready)
                    with open(ready, encoding="ascii") as f:
                        self.assertEqual(f.read(), "ready\n")
                    with open(pid, encoding="ascii") as f:
                        self.assertEqual(int(f.read()), c.process.pid)
                    with convert(message(connect(SERVER, l.port))) as s:
                        read_reply(s)
                        c.process.send_signal(sig)
                        self.assertEqual(c.process.wait(5), 0)
                        self.assertReset(s)
                stop = c.events("stop")[0]
                self.assertEqual((stop["connections"], stop["replies"], stop["open"]),
                                 ("1", "1", "1"))
                c.process.stderr.close()
                self.assertFalse(os.path.exists(pid))
                os.unlink(ready)

    def test_nohup(self):
        with hangup(signal.SIG_IGN), Converter() as c, Listener(echo) as l:
            c.process.send_signal(signal.SIGHUP)
            with convert(message(connect(SERVER, l.port))) as s:
                self.assertBytes(read_reply(s), "01012263")

    def test_noise(self):
        """Whatever comes, it answers or ends the connection, and lives."""
        seed = int.from_bytes(os.urandom(4), "big")
        import random
        rng = random.Random(seed)
        with Converter("--request-timeout", "300") as c, self.subTest(seed=seed):
            for _ in range(300):
                m = bytearray(message(connect(SERVER, 1, rng.randbytes(rng.randrange(12))),
                                      info(), tlv(rng.randrange(256), rng.randbytes(6))))
                for _ in range(rng.randrange(4)):
                    m[rng.randrange(len(m))] = rng.randrange(256)
                with convert(bytes(m[:rng.randrange(1, len(m) + 1)])) as s:
                    try:
                        s.shutdown(socket.SHUT_WR)
                        data = read_all(s)
                    except OSError as e:
                        # ENOTCONN: the RST was faster than this process
                        self.assertIn(e.errno, (errno.ECONNRESET, errno.ENOTCONN))
                        continue
                    if data:
                        split_reply(data)
            end = time.monotonic() + 3  # the last one is closed when it comes to it
            while c.sockets() > 4 and time.monotonic() < end:
                time.sleep(0.01)
            self.assertLessEqual(c.sockets(), 4)


# ----------------------------------------------------------------------- the run

class Result(unittest.TextTestResult):
    passed = 0

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1


def main():
    started = time.monotonic()
    set_stage()
    runner = unittest.TextTestRunner(verbosity=2, resultclass=Result, stream=sys.stdout)
    program = unittest.main(testRunner=runner, exit=False)
    r = program.result
    failed = len(r.failures) + len(r.errors) + len(r.unexpectedSuccesses)
    print(f"{time.monotonic() - started:.1f} s")
    print(f"{r.passed} passed, {failed} failed, {len(r.skipped)} skipped")
    return 1 if failed else 0


INSIDE = "LAB_CONVERTER_TEST_INSIDE"


def enter_namespaces():
    if not os.access(BINARY, os.X_OK):
        sys.exit(f"{BINARY}: no such program; build it or set LAB_CONVERTER")
    as_user = ["--user", "--map-root-user"] if os.geteuid() else []
    os.environ[INSIDE] = "1"
    argv = ["unshare", *as_user, "--net", "--mount", "--pid", "--fork", "--kill-child",
            "--mount-proc", sys.executable, os.path.abspath(__file__), *sys.argv[1:]]
    os.execvp(argv[0], argv)


if __name__ == "__main__":
    if INSIDE not in os.environ:
        enter_namespaces()
    FIREWALL = firewall_works()
    HOLD = FIREWALL or queue_works()
    sys.exit(main())

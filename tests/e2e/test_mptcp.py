#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""Multipath TCP: the twin, what is learned of servers, the bypass."""
import concurrent.futures
import errno
import itertools
import re
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import captures
import lab as L
import options
import servers
import test_costs
from test_wire import HEADER_WORD, V4_SERVER, V6_SERVER, message

MPTCP_HTTP = 8080  # a web server that speaks MPTCP

SERVER = """
import http.server, socket, sys
class Server(http.server.ThreadingHTTPServer):
    def __init__(self, address, handler):
        super().__init__(address, handler, bind_and_activate=False)
        self.socket.close()
        protocol = 262 if open("/proc/sys/net/mptcp/enabled").read() == "1\\n" else 0
        self.socket = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, protocol)
        self.server_bind()
        self.server_activate()
Server.address_family = socket.AF_INET6
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello from MPTCP\\n")
Server(("::", int(sys.argv[1])), Handler).serve_forever()
"""

# connects as it is told and says what the socket then is
ASK = """
import os, socket, sys
family, address, port, kind = getattr(socket, sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
s = socket.socket(family)
{before}
if kind == "nonblocking":
    import select
    s.setblocking(False)
    s.connect_ex((address, port))
    select.select([], [s], [])
    assert s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
else:
    s.connect((address, port))
print(s.getsockopt(6, 43), s.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL),
      s.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN), *s.getpeername()[:2])
print(s.getsockname()[0])
{after}
"""

# two programs that send their request in the SYN
REST = """
s.settimeout(5)
data = b""
while (piece := s.recv(4096)):
    data += piece
print(data.decode(), end="")
"""
BEGIN = """
import select, socket, sys
host, port = sys.argv[1].split("/")[2].split(":")
s = socket.socket()
s.setblocking(False)
"""
BY_FLAG = BEGIN + """
s.sendto(b"GET / HTTP/1.0\\r\\n\\r\\n", 0x20000000, (host, int(port)))
""" + REST
DEFERRED = BEGIN + """
s.setsockopt(socket.IPPROTO_TCP, 30, 1)
assert s.connect_ex((host, int(port))) == 0
s.send(b"GET / HTTP/1.0\\r\\n\\r\\n")
""" + REST


# The kernel copies what struct sock_fprog points to; a note of it would point into memory that is
# something else by then.
FILTER = """
import ctypes, struct
accept = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0xffff))
s.setsockopt(1, 26, struct.pack("HxxxxxxP", 1, ctypes.addressof(accept)))
"""

# Every capability: what setuid() does, and the log is written all the same.
DROP = """
import ctypes, struct
assert ctypes.CDLL(None).capset(struct.pack("Ii", 0x20080522, 0), bytes(24)) == 0
"""


# "return 65535", loaded by bpf(BPF_PROG_LOAD), and its number given to something else.
BPF = """
import ctypes, struct
code = ctypes.create_string_buffer(struct.pack("BBhiBBhi", 0xb7, 0, 0, 65535, 0x95, 0, 0, 0))
license = ctypes.create_string_buffer(b"GPL")
attr = ctypes.create_string_buffer(struct.pack("IIQQ", 1, 2, ctypes.addressof(code),
                                               ctypes.addressof(license)), 128)
program = ctypes.CDLL(None).syscall(321, 5, attr, 128)
assert program >= 0
s.setsockopt(1, 50, program)
os.close(program)
"""


# connects to a server that refuses, or that it then leaves, and with the same socket to another one
AGAIN = """
import ctypes, errno, select, socket, sys
how, address, first, then = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
s = socket.socket()
sets = [select.epoll(), select.epoll()]
sets[0].register(s, select.EPOLLOUT | select.EPOLLET)

def connect(port):
    print(errno.errorcode.get(s.connect_ex((address, port))))

def wait():
    select.select([], [s], [], 5)
    sets[0].poll(0)

s.setblocking(how in ("blocking", "left"))
connect(first)
wait()
if how == "asked":
    print(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
if how in ("nonblocking", "asked", "flag"):
    connect(then)  # tells of the first
if how == "left":
    print(ctypes.CDLL(None).connect(s.fileno(), bytes(16), 16))
s.setblocking(False)
sets[0].poll(0)
sets[1].register(s, select.EPOLLOUT)
sent = 0
if how == "flag":
    try:
        sent = s.sendto(b"GET / HTTP/1.0\\r\\n\\r\\n", 0x20000000, (address, then))
    except BlockingIOError:
        pass
else:
    connect(then)
print(len(sets[0].poll(5)))
print(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), s.getpeername())
if not sent:
    s.send(b"GET / HTTP/1.0\\r\\n\\r\\n")
print(len(sets[1].poll(0)), len(select.select([s], [], [], 5)[0]), s.recv(8))
"""


# waits for a byte that never comes, and says what has ended it
WAIT = """
import errno, select, time
print("waits", flush=True)
began = time.monotonic()
{how}
try:
    print(len(s.recv(1)))
except OSError as e:
    print(errno.errorcode[e.errno])
print(time.monotonic() - began)
"""


def setup(lab):
    servers.nginx(lab)
    start_server(lab, MPTCP_HTTP)


def start_server(lab, port):
    server = lab.start("server", ["/usr/bin/python3", "-c", SERVER, port])
    server.wait_for_listeners(port)
    return server


class Mptcp(L.TestCase):
    def ask(self, shim, server=L.SERVER, port=80, kind="blocking", before="", after="",
            family="AF_INET", code=0):
        r = self.lab.run(["/usr/bin/python3", "-c", ASK.format(before=before, after=after), family,
                          server, port, kind], shim=shim)
        self.assertEqual(r.code, code, r)
        return r.out.decode().split("\n"), r

    def mptcp_converter(self, *options):
        """Its addresses for IPv4 and IPv6 are fresh: no Fast Open cookie is known for them."""
        v4, v6 = self.lab.fresh_addresses()
        converter = self.lab.converter("--mptcp", "--fastopen", "cookie", *options,
                                       listen=["0.0.0.0", "[::]"])
        return converter, v4, v6

    def shim(self, address, policy="", state=None, **more):
        env = self.lab.config("", policy, address=address, **more)
        return env | {"CONVERT_STATE": str(state or self.lab.file("state"))}


class Twin(Mptcp):
    def test_is_mptcp_and_looks_like_tcp(self):
        _, v4, v6 = self.mptcp_converter()
        for kind in "blocking", "nonblocking":
            for family, address, server, domain in (("AF_INET", v4, L.SERVER, 2),
                                                    ("AF_INET6", v6, L.SERVER6, 10)):
                with self.subTest(kind=kind, family=family):
                    out, r = self.ask(self.shim(address), server, kind=kind, family=family)
                    self.assertEqual(out[0], f"1 6 {domain} {server} 80", r)

    def test_off(self):
        converter, v4, _ = self.mptcp_converter()
        out, r = self.ask(self.shim(v4, "mptcp = off"))
        self.assertEqual(out[0], f"0 6 2 {L.SERVER} 80", r)
        self.assertEqual(converter.events("accept")[0]["mptcp"], "no")

    def test_kernel_without(self):
        _, v4, _ = self.mptcp_converter()
        L.sysctl("client", net__mptcp__enabled=0)
        try:
            out, r = self.ask(self.shim(v4))
        finally:
            L.sysctl("client", net__mptcp__enabled=1)
        self.assertEqual(out[0], f"0 6 2 {L.SERVER} 80", r)
        self.assertIn("the kernel has no MPTCP", r.log)

    def test_what_cannot_be_carried_over_keeps_tcp(self):
        _, v4, _ = self.mptcp_converter()
        for before, obstacle in (("s.setsockopt(0, 2, 33)", "IP_TTL"),
                                 ("s.setsockopt(6, 18, 5000)", "TCP_USER_TIMEOUT"),
                                 ("d = os.dup(s.fileno())", "it may have other numbers"),
                                 ("if os.fork() == 0: os._exit(0)", "made before a fork"),
                                 ("a, b = socket.socketpair(); socket.send_fds(a, [b'f'], [s.fileno()])",
                                  "given to another process"),
                                 (FILTER, "a packet filter"),
                                 ("import fcntl; fcntl.fcntl(s, fcntl.F_SETOWN, os.getpid())",
                                  "its owner for signals")):
            with self.subTest(before):
                out, r = self.ask(self.shim(v4), before=before)
                self.assertEqual(out[0], f"0 6 2 {L.SERVER} 80", r)
                self.assertIn(obstacle, r.log)

    def test_a_privilege_that_was_dropped(self):
        """What the program has set before it cannot be set on a twin (case 2.7)."""
        _, v4, _ = self.mptcp_converter()
        mark = "s.setsockopt(socket.SOL_SOCKET, 36, 5)"
        for drop, is_mptcp in ("", 1), (DROP, 0):
            with self.subTest(is_mptcp=is_mptcp):
                out, r = self.ask(self.shim(v4, "mptcp = on"), before=mark + drop,
                                  after="print(s.getsockopt(socket.SOL_SOCKET, 36))")
                self.assertEqual((out[0], out[2]), (f"{is_mptcp} 6 2 {L.SERVER} 80", "5"), r)
                self.assertEqual("an option that takes a privilege" in r.log, not is_mptcp, r)

    def test_a_bound_socket_that_stays(self):
        """What was done to it for the twin is undone."""
        _, v4, _ = self.mptcp_converter()
        before = """
import select
s.bind(("", 0))
e = select.epoll()
e.register(s, select.EPOLLOUT | select.EPOLLONESHOT)
e.poll(0)
"""
        out, r = self.ask(self.shim(v4), before=before,
                          after="print(s.getsockopt(1, socket.SO_REUSEADDR))")
        self.assertEqual((out[0], out[2]), (f"0 6 2 {L.SERVER} 80", "0"), r)
        self.assertIn("an epoll registration", r.log)

    def test_a_second_attempt_where_no_syn_went_out(self):
        """Nothing has happened to the socket: it is what it was."""
        _, v4, _ = self.mptcp_converter()
        route = ["ip", "-n", "client", "route"]
        L.command(route + ["add", "unreachable", f"{v4}/32"])
        tried = self.lab.file("tried")
        tried.touch(0o666)

        def give_way():
            try:
                L.wait_for("the first attempt", lambda: tried.read_text())
            finally:
                L.command(route + ["del", "unreachable", f"{v4}/32"])
                tried.unlink()

        with concurrent.futures.ThreadPoolExecutor(1) as other:
            done = other.submit(give_way)
            out, r = self.ask(self.shim(v4, "mptcp = on\nfallback = none"), before=f"""
import time
print(s.connect_ex((address, port)))
open("{tried}", "w").write("once")
while os.path.exists("{tried}"):
    time.sleep(0.01)
""")
            done.result()
        self.assertEqual(out[:2], [str(errno.EHOSTUNREACH), f"1 6 2 {L.SERVER} 80"], r)

    def test_a_number_used_again(self):
        """What is known of an IPv6 socket says nothing of the IPv4 one that has its number now."""
        _, v4, _ = self.mptcp_converter()
        before = """
six = socket.socket(socket.AF_INET6)
number = six.fileno()
six.close()
os.dup2(s.fileno(), number)
s.detach()
s = socket.socket(fileno=number)
"""
        out, r = self.ask(self.shim(v4), before=before)
        self.assertEqual(out[0], f"0 6 2 {L.SERVER} 80", r)
        self.assertIn("converted", r.log)

    def test_options_flags_and_bound_address_are_carried_over(self):
        _, v4, _ = self.mptcp_converter()
        before = """
s.setsockopt(1, socket.SO_KEEPALIVE, 1)
s.setsockopt(6, socket.TCP_KEEPIDLE, 77)
s.setsockopt(6, socket.TCP_NODELAY, 1)
s.setsockopt(1, socket.SO_RCVBUF, 50000)
s.setsockopt(0, socket.IP_TOS, 0x20)
s.setsockopt(6, socket.TCP_QUICKACK, 0)
s.setsockopt(6, socket.TCP_CONGESTION, b"reno")
import struct
s.setsockopt(1, socket.SO_LINGER, struct.pack("ii", 1, 7))
s.settimeout(5)
os.set_inheritable(s.fileno(), True)
s.bind(("10.1.0.1", 4567))
"""
        after = """
print(s.getsockopt(1, socket.SO_KEEPALIVE), s.getsockopt(6, socket.TCP_KEEPIDLE),
      s.getsockopt(6, socket.TCP_NODELAY), s.getsockopt(1, socket.SO_RCVBUF),
      s.getsockopt(0, socket.IP_TOS), s.getsockopt(6, socket.TCP_QUICKACK),
      struct.unpack("ii", s.getsockopt(1, socket.SO_LINGER, 8)),
      s.getsockopt(6, socket.TCP_CONGESTION, 16).strip(bytes(1)).decode(),
      s.getsockopt(1, socket.SO_REUSEADDR), os.get_inheritable(s.fileno()),
      os.get_blocking(s.fileno()), s.getsockname()[1], s.getsockopt(6, 31, 16))
"""
        out, r = self.ask(self.shim(v4, "mptcp = on"), before=before, after=after)
        self.assertEqual(out[0], f"1 6 2 {L.SERVER} 80", r)
        self.assertEqual(out[2], "1 77 1 100000 32 0 (1, 7) reno 0 True False 4567 b''", r)

    def test_the_last_of_several_values_counts(self):
        """However long each of them was."""
        _, v4, _ = self.mptcp_converter()
        before = """
for name in b"reno", b"bbr", b"reno": s.setsockopt(6, socket.TCP_CONGESTION, name)
for name in b"c0", b"lo" + bytes(3), b"c0", bytes(1), b"c0": s.setsockopt(1, 25, name)
for value in b"\x20", bytes([0x40, 0, 0, 0]), b"\x20": s.setsockopt(0, socket.IP_TOS, value)
for i in range(60): s.setsockopt(6, socket.TCP_CONGESTION, [b"bbr", b"cubic", b"reno"][i % 3])
"""
        after = """
print(s.getsockopt(6, socket.TCP_CONGESTION, 16).strip(bytes(1)),
      s.getsockopt(1, 25, 16).strip(bytes(1)), s.getsockopt(0, socket.IP_TOS))
"""
        out, r = self.ask(self.shim(v4, "mptcp = on"), before=before, after=after)
        self.assertEqual(out[0], f"1 6 2 {L.SERVER} 80", r)
        self.assertEqual(out[2], "b'reno' b'c0' 32", r)

    def test_a_program_of_the_kernel(self):
        """SO_ATTACH_BPF has the number of a descriptor, which is something else by then."""
        _, v4, _ = self.mptcp_converter()
        out, r = self.ask(self.shim(v4), before=BPF)
        self.assertEqual(out[0], f"0 6 2 {L.SERVER} 80", r)
        self.assertIn("a packet filter", r.log)

    def test_other_family(self):
        """An IPv4 program with a converter that has only IPv6, and the other way round."""
        _, v4, v6 = self.mptcp_converter()
        for mptcp in "auto", "off":
            with self.subTest(mptcp):
                is_mptcp = int(mptcp == "auto")
                out, r = self.ask(self.shim(v6, f"mptcp = {mptcp}"))
                self.assertEqual(out[:2], [f"{is_mptcp} 6 2 {L.SERVER} 80", "0.0.0.0"], r)
                out, r = self.ask(self.shim(v4, f"mptcp = {mptcp}"), L.SERVER6, family="AF_INET6",
                                  before="s.setsockopt(41, 26, 1)")
                self.assertEqual(out[0], f"{is_mptcp} 6 10 {L.SERVER6} 80", r)

    def test_programs(self):
        _, v4, _ = self.mptcp_converter()
        for argv in (["curl", "-sS", f"http://{L.SERVER}/page"],
                     ["wget", "-qO-", f"http://{L.SERVER}/page"]):
            r = self.lab.run(argv, shim=self.shim(v4))
            self.assertEqual((r.code, r.out), (0, servers.random_bytes(300000)), r)
            self.assertIn("connected, MPTCP", r.log)


class Wire(Mptcp):
    def test_one_syn(self):
        """MP_CAPABLE, the Fast Open cookie and the whole Convert message in one SYN."""
        _, v4, v6 = self.mptcp_converter()
        for family, address, server, tlv, known in (
                ("AF_INET", v4, L.SERVER, V4_SERVER, False),
                ("AF_INET6", v6, L.SERVER6, V6_SERVER, False),
                ("AF_INET", v4, L.SERVER, V4_SERVER, True)):
            with self.subTest(family=family, known=known):
                shim = self.shim(address)
                self.ask(shim, server, family=family)  # gets the cookie, learns of the server
                if not known:
                    shim = self.shim(address)
                capture = captures.Capture(self.lab)
                self.ask(shim, server, family=family)
                syn = captures.connections(capture.packets())[0][0]
                self.assertEqual(len(syn.option(captures.FAST_OPEN)), 8, syn)
                self.assertEqual(syn.option(captures.MPTCP)[0] >> 4, 0, syn)  # MP_CAPABLE
                if not known:  # with the empty MPTCP option
                    tlv = "0a06" + tlv[4:] + "1e020000"
                self.assertEqual(syn.data.hex(), message(HEADER_WORD["rfc8803"], tlv).hex(), syn)
                self.assertEqual(len(syn.data), 24 if known else 28)

    def test_option_is_refused(self):
        """Error 33: learned by the process, and asked once more without, on the same socket."""
        converter, v4, _ = self.mptcp_converter("--kinds", "none")
        out, r = self.ask(self.shim(v4), after=f"""
t = socket.create_connection(("{L.SERVER}", 80))
print(t.getsockopt(6, 43))
""")
        self.assertEqual(out[0], f"1 6 2 {L.SERVER} 80", r)
        self.assertEqual(out[2], "1", r)
        self.assertEqual([e["code"] for e in converter.events("error")], ["33"])


CLOSED = """
import socket, sys, time
for protocol in 0, 262:
    listener = socket.create_server(("127.0.0.1", 0))
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
    s.connect(listener.getsockname())
    peer, _ = listener.accept()
    s.close()
    try:
        for _ in range(100):
            peer.send(b"x")
            time.sleep(0.001)
        print("goes on")
    except BrokenPipeError:
        print("is told")
"""


class Options(Mptcp):
    """LINUX-FACTS 4.2, row by row: this kernel's TCP, its MPTCP, and a connection of ours."""

    def table(self, shim, protocol, address, port=MPTCP_HTTP):
        r = self.lab.run(["/usr/bin/python3", "-B", L.ROOT / "tests/lab/options.py", protocol,
                          address, port], shim=shim)
        self.assertEqual(r.code, 0, r)
        return dict(line.split(" ", 1) for line in r.out.decode().splitlines())

    def check(self, server, converter):
        tcp, mptcp = self.table(None, 0, server), self.table(None, 262, server)
        ours = self.table(self.shim(converter, "bypass = never"), 0, server)
        for name, (_, _, _, kind) in options.OPTIONS.items():
            if name not in tcp:
                continue
            (no, *by_tcp), (yes, *by_mptcp), (is_mptcp, *said) = (
                table[name].split() for table in (tcp, mptcp, ours))
            self.assertEqual((no, yes, is_mptcp), ("0", "1", "1"))
            with self.subTest(name, TCP=by_tcp, MPTCP=by_mptcp):
                if kind == options.HINT:
                    self.assertEqual(said, by_tcp)
                    continue
                before, result, after = said
                self.assertIn(before, (by_tcp[0], by_mptcp[0]))
                self.assertEqual(result, by_mptcp[1])
                self.assertIn(after, (by_tcp[0], by_mptcp[2]))

    def test_ipv4(self):
        self.check(L.SERVER, self.mptcp_converter()[1])

    def test_sizes(self):
        """Hints, set with values and sizes that few use, and asked for with rooms that few have."""
        for address, converter in zip((L.SERVER, L.SERVER6), self.mptcp_converter()[1:]):
            said = [self.lab.run(["/usr/bin/python3", "-B", L.ROOT / "tests/lab/options.py",
                                  "sizes", address, 80], shim=shim)
                    for shim in (None, self.shim(converter))]
            direct, ours = (r.out.decode().splitlines() for r in said)
            self.assertEqual([r.code for r in said], [0, 0], said[1])
            self.assertGreater(said[1].log.count("connected, MPTCP"), 50, said[1])
            self.assertEqual([pair for pair in zip(direct, ours) if pair[0] != pair[1]], [])

    def test_ipv6(self):
        self.check(L.SERVER6, self.mptcp_converter()[2])


class Many(Mptcp):
    """Thousands of sockets, no two prepared alike: the same transcript as direct."""

    MANY = 4000

    def run_them(self, shim, address):
        return self.lab.run(["/usr/bin/python3", "-B", L.ROOT / "tests/programs/many.py", address, 80, 1,
                             self.MANY], shim=shim, timeout=100)

    def test_transcript(self):
        _, v4, _ = self.mptcp_converter()
        missed = self.lab.tokens_missed()
        direct = self.run_them(None, L.SERVER)
        converted = self.run_them(self.shim(v4), L.SERVER)
        self.assertEqual((direct.code, converted.code), (0, 0), converted)
        self.assertEqual(direct.err, "0\n")
        differ = [(a, b) for a, b in zip(direct.out.split(b"\n"), converted.out.split(b"\n"))
                  if a != b]
        # without a token it is TCP, and docs/mptcp.md has the row
        fell_back = [pair for pair in differ if pair[1].replace(b"'ffffffff'", b"'00000000'") == pair[0]]
        differ = [pair for pair in differ if pair not in fell_back]
        self.note(f"{converted.err.strip()} of {self.MANY} connections were MPTCP, {len(fell_back)} have fallen back, "
                  f"{len(differ)} transcripts differ")
        self.assertLessEqual(len(fell_back), self.lab.tokens_missed() - missed)
        self.assertEqual(differ[:3], [])
        self.assertGreater(int(converted.err), self.MANY // 4)


# every way to set what a twin has to have too, and who else may do it
FLAGS = """
import ctypes, fcntl, os, socket, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
address, port = sys.argv[1], int(sys.argv[2])
ways = {
    "none": lambda s: None,
    "FIONBIO": lambda s: s.setblocking(False),
    "FIONBIO off": lambda s: (s.setblocking(False), s.setblocking(True)),
    "F_SETFL": lambda s: fcntl.fcntl(s, fcntl.F_SETFL, os.O_NONBLOCK),
    "F_SETFL off": lambda s: (s.setblocking(False), fcntl.fcntl(s, fcntl.F_SETFL, 0)),
    "syscall()": lambda s: libc.syscall(72, s.fileno(), fcntl.F_SETFL, os.O_NONBLOCK),
    "by a duplicate": lambda s: os.set_blocking(os.dup(s.fileno()), False),
    "by a child": lambda s: os.waitpid(os.fork() or (os.set_blocking(s.fileno(), False), os._exit(0)), 0),
    "by a program": lambda s: subprocess.run(
        ["/usr/bin/python3", "-c", f"import os; os.set_blocking({s.fileno()}, False)"],
        pass_fds=[s.fileno()], check=True),
    "FIONCLEX": lambda s: os.set_inheritable(s.fileno(), True),
    "FIONCLEX off": lambda s: (os.set_inheritable(s.fileno(), True), os.set_inheritable(s.fileno(), False)),
    "F_SETFD": lambda s: fcntl.fcntl(s, fcntl.F_SETFD, 0),
    "by a child of vfork": lambda s: subprocess.run(["/bin/true"], pass_fds=[s.fileno()], check=True),
    "close_range": lambda s: (os.set_inheritable(s.fileno(), True),
                              libc.close_range(s.fileno(), s.fileno(), 4)),
    "after close_range": lambda s: fcntl.fcntl(s, fcntl.F_SETFD, 0),
}
for kind in 0, socket.SOCK_NONBLOCK:
    for name, set_it in ways.items():
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
            if kind:
                s.setblocking(False)
            set_it(s)
            r = s.connect_ex((address, port))
            print(name, r, os.get_blocking(s.fileno()), os.get_inheritable(s.fileno()))
            print(name, s.getsockopt(6, 43), file=sys.stderr)
"""


class Flags(Mptcp):
    """The library does not ask for flags that it has seen set; what it cannot have seen, it asks for."""

    def test_as_direct(self):
        shim = self.shim(self.mptcp_converter()[1], "mptcp = on")
        argv = ["/usr/bin/python3", "-c", FLAGS, L.SERVER, 80]
        direct, converted = (self.lab.run(argv, shim=how) for how in (None, shim))
        self.assertEqual((direct.code, converted.code), (0, 0), converted)
        self.assertEqual(direct.out.decode().split("\n"), converted.out.decode().split("\n"))
        self.assertEqual(converted.err.count(" 1\n"), 22, converted)  # MPTCP: not where it is shared


class Costs(test_costs.Counted):
    """What Multipath TCP and the way past the converter cost beyond a direct connection over TCP."""

    CONVERTED = {"blocking": 8, "poll": 9, "select": 9, "epoll": 11}  # one less with a cookie
    BYPASS = 6

    def compare(self, how, shim, most, port=80):
        direct, _, _ = self.per_item(how, port=port)
        calls, _, lines = self.per_item(how, shim, port)
        more, added = self.difference(direct, calls)
        self.note(f"{how}: {more:+} system calls {added}")
        self.assertIn("socket", added, lines[-30:])
        self.assertLessEqual(more, most, "\n".join(lines[-30:]))

    def test_what_the_papers_say(self):
        twin = self.CONVERTED["blocking"] - 1 - test_costs.LIMITS["blocking"]
        self.assertEqual(self.figures("README.md", r"the MPTCP socket costs (\d+) more and one for each option that the "
                                                   r"program had set; a bypass (\d+);"), [twin, self.BYPASS])
        self.assertEqual(self.figures("docs/design.md", r"the twin costs (\d+) more \((\d+), (\d+), (\d+)\) and one per "
                                                        r"option that was set, a bypass (\d+);"),
                         [twin, *(self.CONVERTED[how] - 1 for how in ("blocking", "poll", "epoll")), self.BYPASS])

    def test_converted(self):
        self.lab.converter("--mptcp", listen=["0.0.0.0"])
        for how, most in self.CONVERTED.items():
            self.compare(how, self.lab.config("fast-open = no-cookie", "mptcp = on", log=False), most)

    def test_cookie_known(self):
        v4, _ = self.lab.fresh_addresses()
        self.lab.converter("--mptcp", "--fastopen", "cookie", listen=["0.0.0.0"])
        shim = self.lab.config(policy="mptcp = on", address=v4, log=False)
        self.lab.run([L.TOOLS / "costs", "blocking", 3, L.SERVER, 80], shim=shim)
        for how, most in self.CONVERTED.items():
            self.compare(how, shim, most - 1)

    def test_bypass(self):
        self.lab.converter("--mptcp", listen=["0.0.0.0"])
        state = {"CONVERT_STATE": str(self.lab.file("state"))}
        shim = self.lab.config("fast-open = no-cookie", "mptcp = on", log=False) | state
        self.lab.run([L.TOOLS / "costs", "blocking", 1, L.SERVER, MPTCP_HTTP], shim=shim)
        for how in self.CONVERTED:
            self.compare(how, shim, self.BYPASS, MPTCP_HTTP)


class First(test_costs.Counted):
    """All calls of a process that makes one connection, from its socket() to its end, the program's own
    and reading the configuration, the route and the state among them."""

    def count(self, how, shim, port, mappings):
        _, lines = self.strace([L.TOOLS / "costs", how, 1, L.SERVER, port, mappings], shim)
        begun = [n for n, line in enumerate(lines) if "getppid(" in line][0]
        return [line for line in lines[begun:] if not re.search(r"getppid|exit", line)]

    def check(self, policy, most, port=80):
        state = {"CONVERT_STATE": str(self.lab.file("state"))}
        shim = self.lab.config("fast-open = no-cookie", policy, log=False) | state
        self.lab.run([L.TOOLS / "costs", "blocking", 2, L.SERVER, port], shim=shim)
        for how, limit in most.items():
            with self.subTest(how, policy=policy, port=port):
                calls = self.count(how, shim, port, 0)
                self.note(f"{how}, {policy}, port {port}: {len(calls)} calls")
                self.assertLessEqual(len(calls), limit, "\n".join(calls))
                self.assertEqual(len(self.count(how, shim, port, 5000)), len(calls))

    OFF, ON, AUTO = ({"blocking": n, "poll": n + 4, "epoll": n + 8} for n in (35, 43, 51))

    def test_what_the_papers_say(self):
        said = self.figures("README.md", r"The first blocking connection of a process takes (\d+) in all, from `socket\(\)` to "
                                         r"the process' end, (\d+) over MPTCP, and (\d+) where `mptcp = auto`")
        self.assertEqual(said, [most["blocking"] for most in (self.OFF, self.ON, self.AUTO)])

    def test_calls(self):
        self.lab.converter("--mptcp", listen=["0.0.0.0"])
        self.check("mptcp = off", self.OFF)
        self.check("mptcp = on", self.ON)
        self.check("mptcp = on", {"blocking": 30, "poll": 32, "epoll": 34}, MPTCP_HTTP)

    def test_with_endpoints(self):
        """The path manager is asked too: which, and for which path."""
        self.lab.converter("--mptcp", listen=["0.0.0.0"])
        self.check("mptcp = auto", self.AUTO)
        self.check("mptcp = auto", {"blocking": 43, "poll": 45, "epoll": 47}, MPTCP_HTTP)


class DeadPath(Mptcp):
    """An MPTCP socket that has lost every subflow waits for another one as long as
    net.mptcp.close_timeout says, a minute, and shows nothing meanwhile (LINUX-FACTS 4.10). A program
    that has asked the kernel to watch the path, before connect(), is not to wait for that."""

    KEEPALIVE = "s.setsockopt(1, 9, {}); s.setsockopt(6, 4, {}); s.setsockopt(6, 5, {}); s.setsockopt(6, 6, {})"
    WATCHED = KEEPALIVE.format(1, 1, 1, 2)

    def setUp(self):
        self.convert, self.v4, _ = self.mptcp_converter()

    def cut(self):
        """The client's packets and the answers to them are lost, and nobody is told."""
        route = ["ip", "-n", "converter", "route", "add", "blackhole", L.CLIENT + "/32"]
        L.command(route)
        self.addCleanup(L.command, [w.replace("add", "del") for w in route])

    def reset(self):
        """By the converter's host, as when it has been started anew."""
        L.command(L.inside("converter", ["ss", "-K", "-t", "state", "established", "sport", "=",
                                         L.PORT]))

    def ended(self, then, how=""):
        """(what recv() says, after how long) while then() happens to the path."""
        env = self.shim(self.v4)
        words = [f"{k}={v}" for k, v in (L.ENVIRONMENT | {"LD_PRELOAD": L.SHIM} | env).items()]
        program = ASK.format(before=self.WATCHED, after=WAIT.format(how=how))
        process = self.lab.start("client", ["env", "-i", *words, "/usr/bin/python3", "-c", program,
                                            "AF_INET", L.SERVER, "80", "blocking"], name="waits")
        process.wait_for("the wait", lambda: "waits" in process.text())
        then()
        L.wait_for("the end", lambda: process.process.poll() is not None, 30)
        what, seconds = process.text().split()[-2:]
        return what, float(seconds)

    def test_what_keepalive_finds(self):
        """Within two probes, however the program waits; MPTCP: a minute later."""
        what, seconds = self.ended(self.cut)
        self.assertEqual(what, "ETIMEDOUT")
        self.assertLess(seconds, 30)

    def test_what_a_reset_ends(self):
        for how in ("", "p = select.poll(); p.register(s, select.POLLIN); assert p.poll()",
                    "e = select.epoll(); e.register(s, select.EPOLLIN); assert e.poll()"):
            with self.subTest(how):
                what, seconds = self.ended(self.reset, how)
                self.assertEqual(what, "ECONNRESET")
                self.assertLess(seconds, 30)

    def test_who_has_asked(self):
        """Whom TCP would tell within a minute, and nobody else; never against the configuration."""
        for values, policy, is_mptcp in (((1, 1, 1, 2), "", 0), ((1, 30, 10, 3), "", 0),
                                         ((1, 30, 10, 4), "", 1), ((1, 60, 60, 9), "", 1),
                                         ((0, 1, 1, 2), "", 1), ((1, 1, 1, 2), "mptcp = on", 1)):
            with self.subTest(values, policy=policy):
                out, r = self.ask(self.shim(self.v4, policy), before=self.KEEPALIVE.format(*values))
                self.assertEqual(out[0], f"{is_mptcp} 6 2 {L.SERVER} 80", r)
                self.assertEqual("keepalive" in r.log, not is_mptcp, r)

    def test_by_the_kernels_settings(self):
        for seconds, is_mptcp in (7200, 1), (10, 0):
            L.sysctl("client", net__ipv4__tcp_keepalive_time=seconds,
                     net__ipv4__tcp_keepalive_intvl=5)
            out, r = self.ask(self.shim(self.v4), before="s.setsockopt(1, 9, 1)")
            self.assertEqual(out[0], f"{is_mptcp} 6 2 {L.SERVER} 80", r)
        L.sysctl("client", net__ipv4__tcp_keepalive_time=7200, net__ipv4__tcp_keepalive_intvl=75)

    def test_a_server_with_mptcp(self):
        state = self.lab.file("state")
        for before, is_mptcp in ("", 1), ("", 1), (self.WATCHED, 0):
            out, r = self.ask(self.shim(self.v4, state=state), port=MPTCP_HTTP, before=before)
            self.assertEqual(out[0], f"{is_mptcp} 6 2 {L.SERVER} {MPTCP_HTTP}", r)


class Kernel(L.TestCase):
    def test_close(self):
        """Why two of CPython's tests differ: without any shim, what comes after close() is answered
        with a reset by TCP, and by MPTCP taken."""
        r = self.lab.run(["/usr/bin/python3", "-c", CLOSED])
        self.assertEqual(r.out, b"is told\ngoes on\n", r)


class Bypass(Mptcp):
    def curl(self, state, v4, policy="", port=MPTCP_HTTP):
        capture = captures.Capture(self.lab)
        r = self.lab.run(["curl", "-sS", f"http://{L.SERVER}:{port}/"],
                         shim=self.shim(v4, policy, state=state))
        self.assertEqual((r.code, r.out), (0, b"hello from MPTCP\n"), r)
        found = captures.connections(capture.packets())
        self.assertEqual(len(found), 1, found)
        return found[0][0], r

    def test_servers_with_mptcp_are_reached_directly(self):
        """First by the converter, then to the server itself; when it has lost MPTCP the third
        notices, and the fourth is converted again."""
        port = MPTCP_HTTP + 1
        server = start_server(self.lab, port)
        state = self.lab.file("state")
        _, v4, _ = self.mptcp_converter()

        def curl(policy=""):
            return self.curl(state, v4, policy, port)
        syn, _ = curl()
        self.assertEqual(syn.dst, v4)
        syn, r = curl()
        self.assertEqual(syn.dst, L.SERVER, r)
        self.assertEqual(syn.option(captures.MPTCP)[0] >> 4, 0, syn)
        for policy in "bypass = never", "mptcp = off":
            syn, r = curl(policy)
            self.assertEqual(syn.dst, v4, r)
        server.stop()
        L.sysctl("server", net__mptcp__enabled=0)
        try:
            start_server(self.lab, port)
            syn, r = curl()
            self.assertEqual(syn.dst, L.SERVER, r)
            syn, r = curl()
            self.assertEqual(syn.dst, v4, r)
        finally:
            L.sysctl("server", net__mptcp__enabled=1)

    def test_blocking(self):
        state = self.lab.file("state")
        _, v4, _ = self.mptcp_converter()
        for to in v4, L.SERVER:
            capture = captures.Capture(self.lab)
            out, r = self.ask(self.shim(v4, state=state), port=MPTCP_HTTP)
            self.assertEqual(out[0], f"1 6 2 {L.SERVER} {MPTCP_HTTP}", r)
            self.assertEqual(captures.connections(capture.packets())[0][0].dst, to, r)

    def test_another_server_with_the_same_socket(self):
        """To which no rule leads directly. What is told of the first one is as without us."""
        state, closed = self.lab.file("state"), 8081
        self.lab.converter("--mptcp", "--fault", "delay=300", listen=["0.0.0.0"])
        for port in closed, MPTCP_HTTP:
            r = self.lab.run([L.BUILD / "convert-bootstrap", "pin", f"{L.SERVER}:{port}", "mptcp"],
                             env={"CONVERT_STATE": str(state)})
            self.assertEqual(r.code, 0, r)
        for how in "blocking", "nonblocking", "asked", "flag", "left":
            with self.subTest(how):
                argv = ["/usr/bin/python3", "-c", AGAIN, how, L.SERVER, MPTCP_HTTP if how == "left" else closed, 80]
                direct = self.lab.run(argv)
                r = self.lab.run(argv, shim=self.shim(L.CONVERTER, "mptcp = on", state=state))
                self.assertEqual((r.code, r.out.decode()), (0, direct.out.decode()), r)
                self.assertEqual(len(re.findall("the server speaks MPTCP|converted .*: connected", r.log)), 2, r)

    def test_another_server_after_a_refusal(self):
        """The same socket once more, of which the kernel has made the first attempt, after a fallback or by a rule:
        it tells that one's errno first, once."""
        closed = 8081
        self.lab.converter("--mptcp", listen=["0.0.0.0"])
        rule = ["INPUT", "-p", "tcp", "!", "-s", L.CLIENT, "--dport", closed, "-j", "DROP"]
        L.command(L.inside("server", ["iptables", "-A", *rule]))
        self.addCleanup(L.command, L.inside("server", ["iptables", "-D", *rule]))
        hows, policies = ("blocking", "nonblocking", "asked", "flag"), ("mptcp = off", "mptcp = on")
        for how, policy, first in itertools.product(hows, policies, ("falling back", "direct")):
            with self.subTest(how, policy=policy, first=first):
                if first == "direct":
                    policy += f"\nrule = direct port {closed}"
                argv = ["/usr/bin/python3", "-c", AGAIN, how, L.SERVER, closed, 80]
                direct = self.lab.run(argv)
                shim = self.shim(L.CONVERTER, policy + "\nfallback = direct\ntimeout = 500ms")
                r = self.lab.run(argv, shim=shim)
                self.assertEqual((r.code, r.out.decode()), (0, direct.out.decode()), r)
                self.assertEqual(re.findall(f"info: {first}|converted .*: connected", r.log)[0],
                                 f"info: {first}", r)
                self.assertNotIn("connected directly", r.log)  # to the other server, which says nothing of the first

    def test_fast_open(self):
        """A program that uses it itself does so with the server, too."""
        L.sysctl("client", net__ipv4__tcp_fastopen=5)
        self.addCleanup(L.sysctl, "client", net__ipv4__tcp_fastopen=1)
        _, v4, _ = self.mptcp_converter("--fastopen", "no-cookie")
        for use in (["curl", "-sS", "--tcp-fastopen"], ["/usr/bin/python3", "-c", BY_FLAG],
                    ["/usr/bin/python3", "-c", DEFERRED]):
            state = self.lab.file("state")
            for to in v4, L.SERVER:
                capture = captures.Capture(self.lab)
                r = self.lab.run(use + [f"http://{L.SERVER}:{MPTCP_HTTP}/"],
                                 shim=self.shim(v4, state=state))
                self.assertEqual((r.code, r.out[-17:]), (0, b"hello from MPTCP\n"), r)
                (connection,) = captures.connections(capture.packets())
                syn = connection[0]
                self.assertEqual(syn.dst, to, r)
                self.assertIsNotNone(syn.option(captures.MPTCP), syn)
                self.assertIn(b"GET / HTTP", syn.data, syn)


if __name__ == "__main__":
    L.MPTCP = "auto"
    L.main(setup)

#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Incoming connections: a converter takes a remote host's, and makes one to an unmodified server here."""
import collections
import concurrent.futures
import contextlib
import ctypes
import errno
import os
import pathlib
import re
import select
import socket
import struct
import sys
import time

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L

# of a library that was built with one
SANITIZER = [f"{name}={value}" for name, value in os.environ.items() if name.endswith("SAN_OPTIONS")]
EXTERNAL, LISTENS = 8080, 8000


def setup(lab):
    L.sysctl("client", net__ipv4__tcp_fastopen=3)


def rules(*more):
    return "\n".join(["[incoming]", "rule = accept port 8000-8099", *more])


class Incoming(L.TestCase):
    def serve(self, argv, port=LISTENS, converter="fast-open = no-cookie", policy="", incoming=rules(), ns="client"):
        """An unmodified server under the library. Its log is in .shim."""
        env = self.lab.config(converter=converter + "\n" + incoming, policy=policy,
                              address=(L.CONVERTER, L.CONVERTER6))
        log = env["LAB_LOG"]
        process = self.lab.start(ns, ["env", *SANITIZER, f"LD_PRELOAD={L.SHIM}", f"CONVERT_CONF={env['CONVERT_CONF']}",
                                      *map(str, argv)])
        process.shim = log
        process.wait_for_listeners(port)
        return process

    def http(self, **more):
        folder = self.lab.file("www")
        folder.mkdir()
        (folder / "page").write_bytes(b"a page\n")
        return self.serve(["/usr/bin/python3", "-u", "-m", "http.server", "-b", "::", "-d", folder, LISTENS],
                          **more)

    def curl(self, *argv, address=L.ROUTER, port=EXTERNAL, code=0):
        r = self.lab.run(["curl", "-sS", "-m", "15", *argv, f"http://{address}:{port}/page"], ns="server")
        self.assertEqual(r.code, code, r)
        return r.out

    def managed(self, port, n, *program):
        """A Python program that has inherited n listeners, and the library only after that."""
        env = self.lab.config(converter="fast-open = no-cookie\n" + rules(), address=(L.CONVERTER, L.CONVERTER6))
        server = self.lab.start("client", ["/usr/bin/python3", "-c", MANAGER, port, n, "env", *SANITIZER,
                                           f"LD_PRELOAD={L.SHIM}", f"CONVERT_CONF={env['CONVERT_CONF']}",
                                           "/usr/bin/python3", "-c", *map(str, program)])
        server.wait_for_listeners(*range(port, port + n))
        return server

    def shim_says(self, server, text, timeout=10):
        L.wait_for(text, lambda: text in open(server.shim).read(), timeout)
        return open(server.shim).read()


class Programs(Incoming):
    def test_http_server(self):
        """Its log says the remote host's address, over IPv4 and IPv6, and the client's leg is MPTCP."""
        self.need("curl")
        server = self.http()
        self.lab.converter("--mptcp", "--incoming", f"{EXTERNAL}={L.CLIENT}:{LISTENS}",
                                       "--incoming", f"{EXTERNAL + 1}=[{L.CLIENT6}]:{LISTENS}")
        for _ in range(3):
            self.assertEqual(self.curl(), b"a page\n", server.text())
        self.assertEqual(self.curl(address=f"[{L.ROUTER6}]", port=EXTERNAL + 1), b"a page\n")
        self.assertEqual(self.curl(address=L.ROUTER, port=EXTERNAL + 1), b"a page\n")
        said = [line.split()[0] for line in server.text().splitlines() if '"GET' in line]
        self.assertEqual(said, [f"::ffff:{L.SERVER}"] * 3 + [L.SERVER6, f"::ffff:{L.SERVER}"])
        log = open(server.shim).read()
        self.assertEqual(log.count("message in the SYN, "), 5, log)
        self.assertEqual(log.count("connected, MPTCP"), 5, log)


class Others(Incoming):
    """Each asked by a remote host over plain TCP; what it believes of its peer."""

    def behind(self, port):
        """Over IPv4, and with a port that is ten higher over IPv6."""
        return self.lab.converter("--mptcp", "--incoming", f"{port}={L.CLIENT}:{port}",
                                  "--incoming", f"{port + 10}=[{L.CLIENT6}]:{port}")

    def accepted(self, server, *n):
        """How many over IPv4 and IPv6."""
        L.wait_for("the log", lambda: open(server.shim).read().count("accepted ") >= sum(n))
        log = open(server.shim).read()
        self.assertEqual((log.count(f"accepted {L.SERVER}:"), log.count(f"accepted [{L.SERVER6}]:")), n, log)
        self.assertEqual(log.count("connected, MPTCP"), sum(n), log)

    def test_nginx(self):
        self.need("nginx", "curl")
        base = self.lab.file("nginx")
        base.mkdir()
        big = os.urandom(1 << 20) * 8
        (base / "page").write_bytes(big)
        os.chmod(base, 0o755)
        conf = self.lab.file("nginx.conf", f"""
            {"user root;" * (os.geteuid() == 0)} daemon off; worker_processes 2; pid {base}/pid; error_log stderr;
            events {{ worker_connections 64; }}
            http {{ access_log {base}/access; root {base};
                    server {{ listen 8001 reuseport; listen [::]:8001; }} }}""")
        server = self.serve(["nginx", "-c", conf, "-e", "stderr"], 8001)
        self.behind(8001)
        for _ in range(3):
            self.assertEqual(self.curl(port=8001), big, server.text())
        self.assertEqual(self.curl(port=8011, address=f"[{L.ROUTER6}]"), big)
        log = base / "access"  # written after the answer
        said = server.wait_for("its log", lambda: len(lines := log.read_text().splitlines()) >= 4 and lines)
        self.assertEqual([line.split()[0] for line in said], [L.SERVER] * 3 + [L.SERVER6])
        self.accepted(server, 3, 1)

    def test_redis(self):
        self.need("redis-server", "redis-cli")
        server = self.serve(["redis-server", "--port", 8002, "--bind", "0.0.0.0", "::", "--save", "", "--protected-mode",
                             "no", "--dir", self.lab.file("x").parent], 8002)
        self.behind(8002)
        for address, port, peer in ((L.ROUTER, 8002, L.SERVER), (L.ROUTER6, 8012, f"[{L.SERVER6}]")):
            r = self.lab.run(["redis-cli", "-h", address, "-p", port, "client", "list"], ns="server")
            self.assertIn(f"addr={peer}:".encode(), r.out, (r, server.text()))
        self.accepted(server, 1, 1)

    def test_node(self):
        self.need("node", "curl")
        server = self.serve(["node", "-e", """require("http").createServer((q, r) =>
            r.end(q.socket.remoteAddress)).listen(8003)"""], 8003)
        self.behind(8003)
        self.assertEqual(self.curl(port=8003), f"::ffff:{L.SERVER}".encode())
        self.assertEqual(self.curl(port=8013, address=f"[{L.ROUTER6}]"), L.SERVER6.encode())
        self.accepted(server, 1, 1)

    def test_sshd(self):
        """It starts itself anew for each connection: the name goes along."""
        self.need("sshd", "ssh", "ssh-keygen")
        if not L.owns_several_users():
            self.skipTest("sshd needs more than one user in the namespace")
        base = self.lab.file("sshd")
        base.mkdir()
        for name in "host", "user":
            L.command(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", base / name])
        config = self.lab.file("sshd_config", f"""
            Port 8004\nHostKey {base}/host\nPidFile none\nAuthorizedKeysFile {base}/user.pub\nStrictModes no
            UsePAM no\nPermitRootLogin yes\nPrintMotd no\nPrintLastLog no\nSetEnv SHLVL=2""")
        server = self.serve(["/usr/sbin/sshd", "-D", "-e", "-f", config], 8004)
        self.behind(8004)
        data = os.urandom(1 << 20)
        for port, address, peer in ((8004, L.ROUTER, L.SERVER), (8014, L.ROUTER6, L.SERVER6)):
            r = self.lab.run(["ssh", "-F", "none", "-i", base / "user", "-p", port, "-o", "BatchMode=yes", "-o",
                              "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", f"root@{address}",
                              "echo $SSH_CLIENT; echo $CONVERT_PEERS; cat"], ns="server", stdin=data)
            client, peers, echoed = r.out.split(b"\n", 2)
            self.assertEqual(client.split()[0].decode(), peer, (r, server.text()))
            self.assertEqual(peers, b"")
            self.assertEqual(echoed, data)
            self.assertIn(f"Accepted publickey for root from {peer} port {client.split()[1].decode()} ", server.text())
        self.accepted(server, 1, 1)

    def test_started_with_it(self):
        """Whichever way a program is started with a connection, and by that one another: the name is there, under a
        duplicate's number too."""
        server = self.serve(["/usr/bin/python3", "-c", STARTS], 8006)
        self.behind(8006)
        for how in "execv", "execve", "execvpe", "fexecve", "execveat", "syscall", "spawn", "vfork", "twice":
            with self.subTest(how):
                r = self.lab.run(["/usr/bin/python3", "-c", ASKS, L.ROUTER, 8006, how], ns="server")
                self.assertEqual(r.out, b"right\n", (r, server.text()))


# Starts a program with each connection as its descriptor 0, which says there what its peer is.
STARTS = r"""
import ctypes, os, signal, socket, subprocess, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
says = '''
import socket
s = socket.socket(fileno=0)
name = s.getpeername()
if s.dup().getpeername() == name:
    s.sendall(repr(name[:2]).encode())
'''
again = 'import os, sys; os.execv(sys.executable, [sys.executable, "-c", sys.argv[1]])'
def argv(code, *more):
    return [sys.executable, "-c", code, *more]
def start(how, c):
    if how == "spawn":
        os.posix_spawn(sys.executable, argv(says), os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, c.fileno(), 0)])
        return
    if how == "vfork":
        subprocess.run(argv(says), stdin=c)
        return
    if os.fork():
        return
    os.dup2(c.fileno(), 0)
    c.close()
    if how == "execv":
        os.execv(sys.executable, argv(says))
    if how == "execve":
        os.execve(sys.executable, argv(says), os.environ)
    if how == "execvpe":
        os.execvpe("python3", argv(says), os.environ)
    if how == "fexecve":
        os.execve(os.open(sys.executable, os.O_RDONLY), argv(says), os.environ)
    libc = ctypes.CDLL(None)
    words = (ctypes.c_char_p * 4)(*map(str.encode, argv(says)))
    environ = ctypes.c_void_p.in_dll(libc, "environ")
    if how == "syscall":
        number = {"x86_64": 322, "aarch64": 281}[os.uname().machine]
        libc.syscall(number, os.open(sys.executable, os.O_RDONLY), b"", words, environ, 0x1000)
    if how == "execveat":
        libc.execveat(os.open(sys.executable, os.O_RDONLY), b"", words, environ, 0x1000)
    os.execv(sys.executable, argv(again, says))
s = socket.create_server(("0.0.0.0", 8006))
while True:
    c, name = s.accept()
    start(c.recv(100).decode(), c)
    c.close()
"""
ASKS = r"""
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 10)
s.sendall(sys.argv[3].encode())
got = b""
while more := s.recv(100):
    got += more
print("right" if got == repr(s.getsockname()).encode() else got)
"""


# A server for each way to wait, which says of each step what it has seen, to the file FOLDER/WAY; on the ports
# from PORT on.
SERVER = r"""
import ctypes, os, select, socket, sys
folder, port, ways = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
names = {select.POLLIN: "IN", select.POLLOUT: "OUT", select.POLLERR: "ERR", select.POLLHUP: "HUP",
         select.POLLRDHUP: "RDHUP"}
more = {"level": 0, "edge": select.EPOLLET, "oneshot": select.EPOLLONESHOT, "exclusive": select.EPOLLEXCLUSIVE}
libc = ctypes.CDLL(None, use_errno=True)
def said(events):
    return "+".join(n for bit, n in names.items() if events & bit)
class Waiter:
    def __init__(self, sock, write=False):
        self.sock, self.write = sock, write
        self.mask = select.EPOLLIN | (select.EPOLLOUT if write else 0)
        if how in more:
            self.set = select.epoll()
            self.set.register(sock, self.mask | more[how])
    def wait(self):
        if how == "block":
            return
        if how == "select":
            r, w, x = select.select([self.sock], [self.sock] if self.write else [], [self.sock], 60)
            print("select", bool(r), bool(w), bool(x))
        elif how in ("poll", "nameless"):
            p = select.poll()
            p.register(self.sock, self.mask)
            print("poll", [said(e) for _, e in p.poll(60000)])
        else:
            print("epoll", [said(e) for _, e in self.set.poll(60)])
    def again(self):
        if how in ("edge", "oneshot"):
            print("again", [said(e) for _, e in self.set.poll(0)])
        if how == "oneshot":
            self.set.modify(self.sock, self.mask | select.EPOLLONESHOT)
def step(what, *a):
    try:
        r = what(*a)
    except OSError as err:
        r = err.__class__.__name__
    print(what.__name__, r)
def accept():
    if how == "nameless":
        fd = libc.accept4(s.fileno(), None, None, 0)
        if fd < 0:
            raise OSError(ctypes.get_errno(), "accept4")
        print("accept")
        return socket.socket(fileno=fd)
    c, name = s.accept()
    print("accept", name[0], name[1] > 0)
    return c
def serve(c):
    c.setblocking(how == "block")
    w = Waiter(c)
    w.wait()
    step(c.recv, 100)
    try:
        print("peer", c.getpeername()[0])
    except OSError as err:
        print("peer", err.__class__.__name__)
    both = Waiter(c, True)
    both.wait()
    both.again()
    step(c.send, b"answer\n")
    w = Waiter(c)
    w.wait()
    step(c.recv, 100)
    step(c.recv, 100)
    c.close()
    print("end")
def run():
    listening = Waiter(s)
    while True:
        listening.wait()
        try:
            while True:
                serve(accept())
                if how != "edge":
                    break
        except OSError as err:
            print("accept", err.__class__.__name__)
        if how == "oneshot":
            listening.again()
        print("--", flush=True)
if "MANY" in os.environ:
    while os.open("/dev/null", os.O_RDONLY) < 253:
        pass
for n, how in enumerate(ways):
    if len(ways) > 1 and os.fork():
        continue
    if "LISTENERS" in os.environ:  # made before, and these are their numbers
        s = socket.socket(fileno=int(os.environ["LISTENERS"]) + n)
    else:
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("0.0.0.0", port + n))
        s.listen(200)
    s.setblocking(how == "block")
    sys.stdout = open(folder + "/" + how, "w", buffering=1)
    run()
os.wait()
"""
# As a service manager does it: PORT, N of them, and the program with its arguments.
MANAGER = r"""
import os, socket, sys
first, all = 100, [socket.socket() for _ in range(int(sys.argv[2]))]
for n, s in enumerate(all):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("0.0.0.0", int(sys.argv[1]) + n))
    s.listen(200)
    os.dup2(s.fileno(), first + n)
os.environ["LISTENERS"] = str(first)
os.execvp(sys.argv[3], sys.argv[3:])
"""
WAYS = "block", "select", "poll", "level", "edge", "oneshot", "exclusive", "nameless"

REMOTE = "198.51.100.7"
HEADER = "\x01\x01\x22\x63"
HELLO = b"hello".hex()


def message(address=REMOTE, port=4711, words=6, word="2263", tlv="0a05"):
    ip = socket.inet_pton(socket.AF_INET, address).hex()
    return f"01{words:02x}{word}{tlv}{port:04x}" + "00" * 10 + "ffff" + ip


def bytewise(text):
    return [w for i in range(0, len(text), 2) for w in (text[i:i + 2], ".")]


class Caller:
    """A remote host, or the converter itself. words: perhaps "mptcp", perhaps "syn" and what is in it; then bytes
    in hexadecimal, "." a short pause and "..." a long one, "readN", "fin", "rst"."""

    def __init__(self, to, words):
        words = list(words)
        mptcp = words[:1] == ["mptcp"] and bool(words.pop(0))
        self.got = b""
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262 if mptcp else 0)
        with self.socket:
            self.socket.settimeout(15)
            if words[:1] == ["syn"]:
                self.socket.setsockopt(socket.IPPROTO_TCP, 34, 1)  # TCP_FASTOPEN_NO_COOKIE
                self.socket.sendto(bytes.fromhex(words[1]), socket.MSG_FASTOPEN, to)
                del words[:2]
            else:
                self.socket.connect(to)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for word in words:
                self.say(word)
                if word == "rst":
                    return
            self.read(1000)

    def say(self, word):
        if word in (".", "..."):
            time.sleep(0.005 if word == "." else 0.3)
        elif word.startswith("read"):
            self.read(int(word[4:]))
        elif word == "fin":
            try:
                self.socket.shutdown(socket.SHUT_WR)
            except OSError as e:  # the server has ended it already, with what was sent unread
                if e.errno != errno.ENOTCONN:
                    raise
        elif word == "rst":
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            self.socket.sendall(bytes.fromhex(word))

    def read(self, n):
        while n > 0:
            try:
                more = self.socket.recv(n)
            except ConnectionResetError:
                self.got += b"RESET"
                return
            except TimeoutError:
                self.got += b"TIMEOUT"
                return
            if not more:
                self.got += b"END"
                return
            self.got += more
            n -= len(more)


def inside(ns, what, *a):
    """In a thread of its own, as a thread can be in another network namespace."""
    def run():
        with open(f"/run/netns/{ns}") as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), 0x40000000):
                raise OSError(ctypes.get_errno(), "setns")
        return what(*a)
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        return thread.submit(run).result()


def call(port, *words, ns="converter", address=L.CLIENT):
    return inside(ns, Caller, (address, port), words).got.decode("latin1")


# Whatever a program that asks for the name sees of one that has none yet, and one that never gets one:
AWAITED = """a listener that does not wait is readable when a connection is there whose message is not, and
accept() then has none; a program has to expect that (accept(2), TCP's own when a client has gone)."""
NEVER_MADE = """a connection that ends before it has a name was never accepted: of one that was reset meanwhile
accept() says ECONNABORTED, a listener that does not wait never shows it again."""
WAIT = {"select": ["select True False False"], "poll": ["poll ['IN']"], "nameless": ["poll ['IN']"]}
AGAIN = {"oneshot": ["again []"]}  # not before it is armed anew
# one more round of the server's, because of AWAITED
ROUND = {way: [] if way in ("block", "nameless") else
         [*WAIT.get(way, ["epoll ['IN']"]), "accept BlockingIOError", *AGAIN.get(way, []), "--"] for way in WAYS}

ASKED = ["read4", ".", HELLO, "read7", "fin"]
ARRIVALS = {  # how the message comes: what is sent, what is read
    "whole": (["syn", message(), *ASKED], HEADER + "answer\nEND"),
    "whole, MPTCP": (["mptcp", "syn", message(), *ASKED], HEADER + "answer\nEND"),
    "behind": ([message(), *ASKED], HEADER + "answer\nEND"),
    "behind, MPTCP": (["mptcp", message(), *ASKED], HEADER + "answer\nEND"),
    "split": ([*bytewise(message()), *ASKED], HEADER + "answer\nEND"),
    "late": (["...", message()[:18], "...", message()[18:], *ASKED], HEADER + "answer\nEND"),
    "late, MPTCP": (["mptcp", "...", message()[:18], "...", message()[18:], *ASKED], HEADER + "answer\nEND"),
    "with data": ([message() + HELLO, "read11", "fin"], HEADER + "answer\nEND"),
}
FAULTS = {  # a row each of faults.md: what is sent, and why the log says it is refused
    "says nothing": ([], "no message in time"),
    "says one byte": (["01"], "no message in time"),
    "says half of a message": ([message()[:20]], "no message in time"),
    "closes in the middle of the message": ([message()[:30], "fin"], "closed before the message was whole"),
    "resets in the middle of the message": ([message()[:30], "...", "rst"], "reset before the message was whole"),
    "a TLV of length 0": ([message(tlv="0a00")], "TLV of length 0"),
    "Total Length 0": ([message(words=0)], "total length 0"),
    "a TLV beyond the end": ([message(tlv="0a09")], "TLV crosses the end of the message"),
    "a Connect TLV that is too short": (["01022263" + "0a01" + "0050"], "TLV with an impossible length"),
    "a reply, and no Connect TLV": (["01022263" + "01010000"], "TLV in the wrong direction"),
    "port 0": ([message(port=0)], "no Connect TLV with a remote host"),
    "a loopback address": ([message("127.0.0.1")], "no Connect TLV with a remote host"),
    "a multicast address": ([message("224.0.0.1")], "no Connect TLV with a remote host"),
    "the broadcast address": ([message("255.255.255.255")], "no Connect TLV with a remote host"),
    "no address": ([message("0.0.0.0")], "no Connect TLV with a remote host"),
}
TABLE = pathlib.Path(__file__).with_name("faults.md")


def lines_of(server, way):
    return (server.folder / way).read_text().split("\n")[:-1]


class Steps(Incoming):
    def servers(self, port, *ways, **more):
        folder = self.lab.file("ways")
        folder.mkdir()
        server = self.serve(["/usr/bin/python3", "-c", SERVER, folder, port, *ways], port, **more)
        server.wait_for_listeners(*range(port, port + len(ways)))
        server.folder = folder
        return server

    def lines(self, server, way, after=0, rounds=1):
        """What that one has said since its first `after` lines, and has been through `rounds` of it."""
        def now():
            lines = lines_of(server, way)[after:]
            return lines if lines.count("--") >= rounds and lines[-1] == "--" else None
        return server.wait_for("its lines", now, 60)

    def each(self, ways, check):
        with concurrent.futures.ThreadPoolExecutor(len(ways)) as pool:
            for done in [pool.submit(check, n, way) for n, way in enumerate(ways)]:
                done.result()

    def direct(self, server, way, port):
        self.assertEqual(call(port, ".", HELLO, "read7", "fin", ns="server"), "answer\nEND")
        return self.lines(server, way)

    def test_transcripts(self):
        """Line by line as if the remote host had connected directly, whichever way a server waits, and however the
        message comes."""
        self.transcripts(self.servers(8010, *WAYS), 8010)

    def test_transcripts_of_inherited_listeners(self):
        """Made before the program was there: where it has registered them is known as soon as it matters."""
        folder = self.lab.file("ways")
        folder.mkdir()
        server = self.managed(8010, len(WAYS), SERVER, folder, 8010, *WAYS)
        server.folder = folder
        self.transcripts(server, 8010)

    def transcripts(self, server, port):
        def check(n, way):
            direct = self.direct(server, way, port + n)
            expected = [line.replace(L.SERVER, REMOTE) for line in direct]
            before = len(direct)
            for how, (words, answer) in ARRIVALS.items():
                what = f"{way}, {how}"
                self.assertEqual(call(port + n, *words), answer, (what, *lines_of(server, way)[-20:]))
                said = server.wait_for("its end", lambda: "end" in (
                    lines := self.lines(server, way, before)) and lines, 60)
                before += len(said)
                if ROUND[way] and said[:len(ROUND[way])] == ROUND[way] and "whole" not in how:  # AWAITED
                    said = said[len(ROUND[way]):]
                self.assertEqual(said, expected, what)
        self.each(WAYS, check)
        self.assertNotIn(L.CONVERTER, "".join(f.read_text() for f in server.folder.iterdir()))

    def test_faults(self):
        """Who says nothing, or not all of it, is reset when the time is over, and who says something else at once: to
        the program as if the remote host had done it before it was accepted, or (nameless) after that. The
        log has one line for each."""
        server = self.servers(8030, *WAYS, policy="timeout = 1500ms")
        table = TABLE.read_text().partition("# What becomes of a connection from outside")[2]
        self.assertEqual(re.findall("^\\| ([^|]*) \\|", table, re.M)[2:], list(FAULTS))

        def check(n, way):
            direct = self.direct(server, way, 8030 + n)
            before = len(direct)
            for what, (words, _) in FAULTS.items():
                self.assertEqual(call(8030 + n, *words), "" if "rst" in words else "RESET", (way, what))
            self.assertEqual(call(8030 + n, ".", HELLO, "read7", "fin", ns="server"), "answer\nEND")
            said = server.wait_for("its end", lambda: direct == (
                lines := self.lines(server, way, before))[-len(direct):] and lines[:-len(direct)], 60)
            if way == "block":  # NEVER_MADE
                self.assertEqual(said, ["accept ConnectionAbortedError", "--"] * len(FAULTS))
            elif way == "nameless":
                self.assertEqual(said.count("recv ConnectionResetError"), len(FAULTS), said)
                self.assertFalse([line for line in said if line.startswith("recv b'") and line != "recv b''"])
            else:  # AWAITED, or NEVER_MADE
                said = [line.replace("ConnectionAborted", "BlockingIO") for line in said]
                self.assertEqual(said, ROUND[way] * (len(said) // len(ROUND[way])), way)
        self.each(WAYS, check)
        log = self.shim_says(server, "refused ")
        self.assertEqual(log.count("refused "), len(FAULTS) * len(WAYS), log)
        whys = collections.Counter(why for _, why in FAULTS.values())
        self.assertEqual({why: log.count(why) for why in whys}, {why: n * len(WAYS) for why, n in whys.items()}, log)

    def test_flood(self):
        """Half messages: of 64 nobody sees anything, and others are served meanwhile; of one more the server gets
        the connection, without a name; all are reset when their time is over."""
        ways = {"level": 64, "poll": 65}
        server = self.servers(8050, *ways, policy="timeout = 4s")
        children = open(f"/proc/{server.pid}/task/{server.pid}/children").read().split()

        def half(port, n):
            sockets = [socket.create_connection((L.CLIENT, port), 15) for _ in range(n)]
            for s in sockets:
                s.sendall(bytes.fromhex(message()[:30]))
            return sockets

        def check(n, way):
            def numbers():
                return len(os.listdir(f"/proc/{children[n]}/fd"))
            self.direct(server, way, 8050 + n)
            before = numbers()
            flood = inside("converter", half, 8050 + n, ways[way])
            L.wait_for("all to be taken", lambda: numbers() == before + ways[way])
            if way == "level":
                self.direct(server, way, 8050)
                self.assertFalse(select.select(flood, [], [], 0)[0], "and none of them is over")
            for s in flood:
                with s:
                    self.assertRaises(ConnectionResetError, s.recv, 1)
            self.direct(server, way, 8050 + n)
            L.wait_for("all to be closed", lambda: numbers() == before)
            said = lines_of(server, way)
            self.assertEqual(said.count(f"accept {L.SERVER} True"), 3 if way == "level" else 2)
            self.assertEqual(said.count("accept 0.0.0.0 False"), ways[way] - 64)
        self.each(ways, check)
        log = self.shim_says(server, "refused ")
        self.assertEqual(log.count("no message in time"), sum(ways.values()), log[-1000:])

    def test_held(self):
        """What is held is no number of the program's, which starts others meanwhile and closes what it does not
        know."""
        server = self.serve(["/usr/bin/python3", "-c", UNKNOWING], 8055)
        half = inside("converter", socket.create_connection, (L.CLIENT, 8055), 15)
        with half:
            half.sendall(bytes.fromhex(message()[:30]))
            server.wait_for("files", lambda: "files" in server.text())
            with inside("server", socket.create_connection, (L.CLIENT, 8055), 15):
                server.wait_for("direct", lambda: "direct" in server.text())
            call(8055, message()[:18], "...", message()[18:])
            server.process.wait(10)
            with contextlib.suppress(ConnectionResetError):  # closed, with or without bytes that were not read
                self.assertEqual(half.recv(1), b"")
        said = dict(line.split(" ", 1) for line in server.text().splitlines())
        self.assertEqual(said["vfork"], said["before"])
        self.assertEqual(said["fork"], said["before"])
        del said["vfork"], said["fork"], said["before"]
        self.assertEqual(said, {"awaited": "None", "forked": "0", "gone": "None", "files": "True", "direct": f"{L.SERVER} True",
                                "late": f"{REMOTE} True"})

    def half(self, port):
        """A connection of the converter's whose message is not whole, and the rest of it."""
        s = inside("converter", socket.create_connection, (L.CLIENT, port), 15)
        s.sendall(bytes.fromhex(message()[:30]))
        return s, bytes.fromhex(message()[30:])

    def test_listener_gone(self):
        """What was held for a listener ends with it, however it is closed, and is nobody's who has its number next."""
        for n, how in enumerate(("dup2", "close_range", "unseen")):
            with self.subTest(how):
                port = 8064 + n
                server = self.serve(["/usr/bin/python3", "-c", GONE, port, how], port)
                s, rest = self.half(port)
                with s:
                    server.wait_for("another listener", lambda: "there" in server.text())
                    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                        s.sendall(rest)
                        self.assertEqual(s.recv(1), b"")
                self.assertEqual(server.process.wait(15), 0, server.text())
                self.assertEqual(server.text().splitlines(), ["there", "None", "0"])

    def test_a_child_closes_it(self):
        """One by vfork, that is, in its parent's memory: there the connection is held as before."""
        server = self.serve(["/usr/bin/python3", "-c", GONE, 8069, "vfork"], 8069)
        s, rest = self.half(8069)
        with s:
            server.wait_for("the child's end", lambda: "there" in server.text())
            s.sendall(rest)
            server.process.wait(15)
        said = server.text().splitlines()
        self.assertEqual((len(said), said[2:]), (3, ["1"]), said)
        self.assertRegex(said[1], "^[0-9]+$")

    def test_a_child_closes_it_before(self):
        """... also where no connection of the program's own is ever converted."""
        for n, policy in enumerate(("", "rule = direct")):
            with self.subTest(policy):
                server = self.serve(["/usr/bin/python3", "-c", BEFORE, 8072 + n], 8072 + n, policy=policy)
                server.wait_for("the child's end", lambda: "there" in server.text())
                s, rest = self.half(8072 + n)
                with s:
                    server.wait_for("the first look", lambda: "EAGAIN" in server.text())
                    s.sendall(rest)
                    server.process.wait(20)
                said = server.text().split()
                self.assertEqual((said[0], said[-1], set(said[1:-1])), ("there", REMOTE, {"EAGAIN"}), said)

    def test_interrupted(self):
        """A blocking accept() that waits for a name, and a signal, or SO_RCVTIMEO: as if nobody had connected yet."""
        for n, (how, err) in enumerate((("signal", "EINTR"), ("limit", "EAGAIN"))):
            with self.subTest(how):
                port = 8067 + n
                server = self.serve(["/usr/bin/python3", "-c", INTERRUPTED, port, how], port)
                s, rest = self.half(port)
                with s:
                    server.wait_for("the first", lambda: "\n" in server.text())
                    s.sendall(rest)
                    self.assertEqual(server.process.wait(15), 0, server.text())
                said = server.text().splitlines()
                self.assertEqual(said[0], err)
                self.assertEqual(said[-1], f"{REMOTE} {REMOTE}")
                self.assertEqual(set(said[1:-1]) - {"EAGAIN"}, set(), said)

    def test_closed_by_another(self):
        """The listener's number, which ends no accept(), whoever has it next: what has been taken comes of it."""
        for n, what in enumerate(("nothing", "socket", "pipe")):
            with self.subTest(what):
                port = 8096 + n
                server = self.serve(["/usr/bin/python3", "-c", CLOSED, port, what], port)
                s, rest = self.half(port)
                with s:
                    server.wait_for("the close", lambda: "closed" in server.text())
                    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                        s.sendall(rest)
                    server.wait_for("the end of accept()", lambda: server.text().count("\n") == 2)
                self.assertEqual(server.text(), f"closed\n{REMOTE}\n")

    def test_waits_elsewhere(self):
        """Whoever waits for the listener, in whatever set, is woken for what another thread's accept() has held."""
        for n, how in enumerate(("edge", "oneshot", "registered", "nested")):
            with self.subTest(how):
                port = 8080 + n
                server = self.serve(["/usr/bin/python3", "-c", ELSEWHERE, port, how], port)
                s, rest = self.half(port)
                with s:
                    server.wait_for("the first", lambda: "none" in server.text())
                    time.sleep(0.3)
                    s.sendall(rest)
                    self.assertEqual(server.process.wait(15), 0, server.text())
                self.assertEqual(server.text().splitlines()[-1], REMOTE)

    def test_shared_set(self):
        """A forked process that waits in the same set sees its own descriptors there, and no others."""
        for n, how in enumerate(("before", "meanwhile", "before")):
            with self.subTest(how, inherited=n == 2):
                port = 8085 + n
                if n == 2:
                    server = self.managed(port, 1, SHARED, port, how)
                else:
                    server = self.serve(["/usr/bin/python3", "-c", SHARED, port, how], port)
                time.sleep(0.3)
                s, rest = self.half(port)
                with s:
                    server.wait_for("the first", lambda: "none" in server.text())
                    time.sleep(0.3)
                    s.sendall(rest)
                    server.process.wait(15)
                self.assertEqual(server.text().splitlines(), ["none", REMOTE])

    def test_number_of_something_else_before(self):
        """The listener comes from elsewhere, and has the number of what the program has closed."""
        self.lab.converter("--mptcp", listen=["0.0.0.0"])
        self.lab.start("server", [L.TOOLS / "echo-server", 7000]).wait_for_listeners(7000)
        server = self.managed(8024, 1, REPLACED, L.SERVER)
        s, rest = self.half(8024)
        with s:
            server.wait_for("the first", lambda: "None" in server.text())
            s.sendall(rest)
            server.process.wait(15)
        self.assertEqual(server.text().splitlines(), ["True", "None", REMOTE])

    def test_few_numbers_at_first(self):
        """Where there is no room to look for its epoll sets a connection has no name; the next one has."""
        server = self.managed(8025, 1, FEW)
        for said in "0.0.0.0", "None":
            s, rest = self.half(8025)
            with s:
                server.wait_for("it", lambda said=said: said in server.text())
                s.sendall(rest)
                if said == "None":
                    server.process.wait(15)
        self.assertEqual(server.text().splitlines(), ["0.0.0.0", "None", REMOTE])

    def test_nameless_after_it(self):
        """What one accept() has held comes of another one that does not ask for the name, too."""
        server = self.serve(["/usr/bin/python3", "-c", NAMELESS, 8084], 8084)
        s, rest = self.half(8084)
        with s:
            server.wait_for("the first", lambda: "-1" in server.text())
            s.sendall(rest)
            server.process.wait(15)
        self.assertEqual(server.text().splitlines(), ["-1", REMOTE])

    def test_flags(self):
        """What is held has the flags of the accept4() that returns it, whichever one has held it; wrong ones are
        EINVAL meanwhile, as ever."""
        server = self.serve(["/usr/bin/python3", "-c", FLAGS, 8088], 8088)
        for n in range(5):
            s, rest = self.half(8088)
            with s:
                server.wait_for("it to be held", lambda: server.text().count("held") == n + 1)
                s.sendall(rest)
                server.wait_for("its end", lambda: server.text().count("\n") == 3 * (n + 1))
        said = server.text().splitlines()
        self.assertEqual(said[0::3], ["held EAGAIN"] * 5)
        self.assertEqual(said[1::3], ["EINVAL EINVAL EINVAL"] * 5)
        self.assertEqual(said[2::3], ["accept 0 0", "accept4 0 0", f"accept4 {os.O_NONBLOCK} 0", "accept4 0 1",
                                      f"accept4 {os.O_NONBLOCK} 1"])

    def test_whose(self):
        """Only a converter's message is one: from everybody else its bytes are data. So are a converter's
        own that begin otherwise, and all of them where no rule speaks of the listener."""
        forged = [message(), ".", "read7", "fin"]
        data = repr(bytes.fromhex(message()))
        server = self.servers(8060, "poll")
        self.assertEqual(call(8060, *forged, ns="server"), "answer\nEND")
        said = self.lines(server, "poll")
        self.assertIn(f"accept {L.SERVER} True", said)
        self.assertIn(f"recv {data}", said)
        for n, first in enumerate(("GET / HTTP/1.0", "\x01", "\x01\x06\x22")):
            words = [first.encode().hex(), "fin"] if n else [first.encode().hex(), "read7", "fin"]
            before = len(said)
            call(8060, *words)
            said += self.lines(server, "poll", before)
            self.assertIn(f"recv {first.encode()!r}", said[before:])
        for port, more in ((8061, {"incoming": rules().replace("port", "app other port")}),
                           (8100, {}), (8062, {"converter": "interface = elsewhere"}),
                           (8063, {"converter": "from = 10.9.0.0/16"})):
            with self.subTest(port):
                server = self.servers(port, "poll", **more)
                self.assertEqual(call(port, *forged), "answer\nEND")
                said = self.lines(server, "poll")
                self.assertIn(f"accept {L.CONVERTER} True", said)
                self.assertIn(f"recv {data}", said)


# While a connection is held, starts programs that say what they have inherited, then closes all that it does not know,
# and has other files there when the message is whole.
UNKNOWING = r"""
import ctypes, os, select, socket, subprocess
s = socket.create_server(("0.0.0.0", 8055))
s.setblocking(False)
libc = ctypes.CDLL(None)
def accept():
    select.select([s], [], [], 30)
    fd = libc.accept(s.fileno(), ctypes.create_string_buffer(128), ctypes.byref(ctypes.c_int(128)))
    return None if fd < 0 else (socket.socket(fileno=fd), os.get_inheritable(fd))
def run(**how):
    shown = subprocess.run(["ls", "/proc/self/fd"], capture_output=True, text=True, close_fds=False, **how).stdout
    return shown.split()[:-1]
print("before", run(), flush=True)
print("awaited", accept(), flush=True)
print("vfork", run(), flush=True)
print("fork", run(preexec_fn=lambda: None), flush=True)
if os.fork() == 0:
    os._exit(os.path.exists(f"/proc/self/fd/{s.fileno() + 1}"))
print("forked", os.wait()[1], flush=True)
os.closerange(s.fileno() + 1, 100)
files = [os.open("/dev/null", os.O_RDONLY) for _ in range(8)]
print("gone", accept(), flush=True)
print("files", [os.read(f, 1) for f in files] == [b""] * 8, flush=True)
c, inheritable = accept() or accept()
print("direct", c.getpeername()[0], inheritable, flush=True)
while not (found := accept()):
    pass
print("late", found[0].getpeername()[0], found[1], flush=True)
"""


# While a connection is held, closes its listener (unseen: by an instruction of its own), and has another one there;
# or has a child that does (vfork).
GONE = r"""
import ctypes, mmap, os, select, socket, subprocess, sys, time
port, how = int(sys.argv[1]), sys.argv[2]
libc = ctypes.CDLL(None)
def listen(port):
    s = socket.create_server(("0.0.0.0", port))
    s.setblocking(False)
    return s
def accept(fd):
    got = libc.accept(fd, ctypes.create_string_buffer(128), ctypes.byref(ctypes.c_int(128)))
    return None if got < 0 else got
before = len(os.listdir("/proc/self/fd"))
s = listen(port)
select.select([s], [], [], 30)
accept(s.fileno())
fd = s.fileno()
if how == "vfork":
    subprocess.run(["true"], close_fds=True)
elif how == "dup2":
    with listen(port + 20) as other:
        os.dup2(other.fileno(), fd)
else:
    if how == "close_range":
        libc.close_range(fd, fd, 0)
    else:
        code = mmap.mmap(-1, 4096, prot=7)
        code.write(b"\xb8\x03\x00\x00\x00\x0f\x05\xc3")  # mov eax, SYS_close; syscall; ret
        ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))(fd)
    s.detach()
    s = listen(port + 20)
    assert s.fileno() == fd
print("there", flush=True)
found, end = None, time.monotonic() + (10 if how == "vfork" else 1)  # that one is to find something
while found is None and time.monotonic() < end:
    select.select([fd], [], [], 0.1)
    found = accept(fd)
print(found, flush=True)
s.close()
print(len(os.listdir("/proc/self/fd")) - before, flush=True)
"""

# A child by vfork closes a listener that is registered, before anybody calls.
BEFORE = r"""
import select, socket, subprocess, sys
s = socket.create_server(("0.0.0.0", int(sys.argv[1])))
s.setblocking(False)
e = select.epoll()
e.register(s, select.EPOLLIN)
subprocess.run(["true"], close_fds=True)
print("there", flush=True)
while True:
    e.poll(15)
    try:
        c, peer = s.accept()
        print(peer[0], flush=True)
        break
    except BlockingIOError:
        print("EAGAIN", flush=True)
"""

# Waits in one place, and accepts in another, which finds nobody there yet: one thread is in epoll_wait() as the other
# accepts, or the set is one of another set's.
ELSEWHERE = r"""
import queue, select, socket, sys, threading, time
how = sys.argv[2]
s = socket.create_server(("0.0.0.0", int(sys.argv[1])))
s.setblocking(False)
e, woken = select.epoll(), queue.Queue()
once = select.EPOLLIN | select.EPOLLONESHOT
def wait():
    while True:
        e.poll()
        woken.put(None)
def next():
    if how == "nested":
        outer = select.epoll()
        outer.register(e, select.EPOLLIN)
        while not (outer.poll() and e.poll(0)):
            pass
    else:
        woken.get()
        time.sleep(0.2)
if how != "registered":
    e.register(s, {"edge": select.EPOLLIN | select.EPOLLET, "oneshot": once, "nested": select.EPOLLIN}[how])
if how != "nested":
    threading.Thread(target=wait, daemon=True).start()
if how == "registered":
    select.select([s], [], [])
    time.sleep(0.2)
else:
    next()
while True:
    try:
        c, name = s.accept()
        break
    except BlockingIOError:
        print("none", flush=True)
    if how == "oneshot":
        e.modify(s, once)
    elif how == "registered":
        e.register(s, once)
        how = "oneshot"
    next()
e.register(c, select.EPOLLIN)
print(name[0], flush=True)
"""

# Of a program whose listener s does not wait: whom it has accepted; None: nobody who has a name.
ACCEPT = r"""
def accept():
    select.select([s], [], [])
    try:
        return s.accept()[1][0]
    except BlockingIOError:
        return None
"""

# Holds a connection; a forked process, which knows nothing of that, waits in the same set.
SHARED = ACCEPT + r"""
import os, select, signal, socket, sys, time
if "LISTENERS" in os.environ:
    s = socket.socket(fileno=int(os.environ["LISTENERS"]))
else:
    s = socket.create_server(("0.0.0.0", int(sys.argv[1])))
s.setblocking(False)
e = select.epoll()
e.register(s, select.EPOLLIN)
def child():
    pid = os.fork()
    while not pid:
        for fd, _ in e.poll():
            if fd != s.fileno():
                print("strange", flush=True)
        time.sleep(0.01)
    time.sleep(0.2)
    return pid
if sys.argv[2] == "before":
    pid = child()
while accept():
    pass
print("none", flush=True)
if sys.argv[2] == "meanwhile":
    pid = child()
while not (name := accept()):
    pass
time.sleep(0.2)
os.kill(pid, signal.SIGKILL)
print(name, flush=True)
"""

# Accepts by a call that asks for the name, and then by one that does not.
NAMELESS = r"""
import ctypes, select, socket, sys
libc = ctypes.CDLL(None)
s = socket.create_server(("0.0.0.0", int(sys.argv[1])))
s.setblocking(False)
fd = -1
while fd < 0:
    select.select([s], [], [])
    fd = libc.accept(s.fileno(), ctypes.create_string_buffer(128), ctypes.byref(ctypes.c_int(128)))
    print(fd, flush=True)
    select.select([s], [], [])
    fd = libc.accept(s.fileno(), None, None)
    print(socket.socket(fileno=fd).getpeername()[0], flush=True)
"""

# Has one accept4() hold a connection, and another one, whose flags are the opposite, return it.
FLAGS = r"""
import ctypes, errno, fcntl, os, select, socket, sys, time
libc = ctypes.CDLL(None, use_errno=True)
s = socket.create_server(("0.0.0.0", int(sys.argv[1])))
s.setblocking(False)
both = socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
def accept(call, *flags):
    fd = call(s.fileno(), ctypes.create_string_buffer(128), ctypes.byref(ctypes.c_int(128)), *flags)
    return fd if fd >= 0 else errno.errorcode[ctypes.get_errno()]
for flags in None, 0, socket.SOCK_NONBLOCK, socket.SOCK_CLOEXEC, both:
    call, own = (libc.accept, ()) if flags is None else (libc.accept4, (flags,))
    select.select([s], [], [])
    print("held", accept(libc.accept4, both & ~(flags or 0)), flush=True)
    select.select([s], [], [])
    print(*(accept(libc.accept4, wrong) for wrong in (77, -1, -1 << 31)), flush=True)
    fd = accept(call, *own)
    print(call.__name__, fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK, fcntl.fcntl(fd, fcntl.F_GETFD), flush=True)
    os.close(fd)
time.sleep(60)
"""

# A thread waits in accept() for a name, another one closes the listener. The number is then nobody's, or has hung up.
CLOSED = r"""
import os, socket, sys, threading, time
s = socket.create_server(("0.0.0.0", int(sys.argv[1])))
def accept():
    try:
        print(s.accept()[1][0], flush=True)
    except OSError as e:
        print(e, flush=True)
before = len(os.listdir("/proc/self/fd"))
threading.Thread(target=accept).start()
while len(os.listdir("/proc/self/fd")) == before:
    pass
number = s.fileno()
os.close(number)
if sys.argv[2] == "socket":
    other = socket.socket()
    assert other.fileno() == number
elif sys.argv[2] == "pipe":
    reads, writes = os.pipe()
    assert reads == number
    os.close(writes)
time.sleep(0.3)
print("closed", flush=True)
time.sleep(60)
"""

# Of what its connections send it wants time stamps: what is in the queue of errors before the program has sent anything,
# and after it.
STAMPS = r"""
import socket, sys, time
s = socket.create_server(("0.0.0.0", int(sys.argv[1])))
s.setsockopt(socket.SOL_SOCKET, 37, 1 << 4 | 1 << 1 | 1 << 9)
def queue(c):
    time.sleep(0.2)
    found = 0
    while True:
        try:
            c.recvmsg(2000, 1000, socket.MSG_ERRQUEUE)
            found += 1
        except BlockingIOError:
            return found
while True:
    c, address = s.accept()
    before = queue(c)
    c.send(b"hello")
    print(address[0], before, queue(c), hex(c.getsockopt(socket.SOL_SOCKET, 37)), flush=True)
    c.close()
"""

# Its connections hold back what is less than a segment.
CORKED = r"""
import socket, sys
s = socket.create_server(("0.0.0.0", int(sys.argv[1])))
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
while True:
    c, address = s.accept()
    print(c.getsockopt(socket.IPPROTO_TCP, socket.TCP_CORK), flush=True)
    c.recv(1)
    c.close()
"""

# What connections inherit hides less than so many bytes.
LOWAT = r"""
import socket, sys
s = socket.create_server(("0.0.0.0", int(sys.argv[1])))
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 100)
while True:
    c, address = s.accept()
    print(address[0], c.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT), flush=True)
    c.close()
"""

# What it can tell its connections by, whoever has made them: the protocol, the options that it has set on the
# listener, how much there is to read.
ALIKE = r"""
import array, fcntl, select, socket, struct, sys, termios
s = socket.create_server(("0.0.0.0", int(sys.argv[1])))
limits = {socket.SO_RCVTIMEO: struct.pack("ll", 5, 0), socket.SO_SNDTIMEO: struct.pack("ll", 7, 0)}
for name, value in limits.items():
    s.setsockopt(socket.SOL_SOCKET, name, value)
numbers = (socket.SOL_SOCKET, socket.SO_RCVLOWAT, 5), (socket.IPPROTO_TCP, 25, 5000), (socket.IPPROTO_TCP, 36, 1)
for option in numbers:
    s.setsockopt(*option)
while True:
    c, address = s.accept()
    select.select([c], [], [])
    unread = array.array("i", [0])
    fcntl.ioctl(c, termios.FIONREAD, unread)
    print(address[0], c.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL), unread[0],
          *(struct.unpack("ll", c.getsockopt(socket.SOL_SOCKET, name, 16))[0] for name in limits),
          *(c.getsockopt(level, name) for level, name, _ in numbers), flush=True)
    c.close()
"""

# A listener that comes by SCM_RIGHTS has the number of a connection that was converted.
REPLACED = ACCEPT + r"""
import os, select, socket, sys
here, there = socket.socketpair()
socket.send_fds(here, [b"x"], [int(os.environ["LISTENERS"])])
c = socket.create_connection((sys.argv[1], 7000))
number = c.fileno()
c.close()
s = socket.socket(fileno=socket.recv_fds(there, 1, 1)[1][0])
print(s.fileno() == number, flush=True)
s.setblocking(False)
print(accept(), flush=True)
while not (name := accept()):
    pass
print(name, flush=True)
"""

# The first connection is accepted when there are hardly any numbers left.
FEW = r"""
import os, resource, select, socket
s = socket.socket(fileno=int(os.environ["LISTENERS"]))
s.setblocking(False)
e = select.epoll()
e.register(s, select.EPOLLIN)
def accept():
    e.poll()
    try:
        return s.accept()[0:2]
    except BlockingIOError:
        return None
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
fill = [os.open("/dev/null", os.O_RDONLY) for _ in range(s.fileno())]
resource.setrlimit(resource.RLIMIT_NOFILE, (max(fill) + 2, hard))
first = accept()
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
print(first and first[1][0], flush=True)
second = accept()
print(second and second[1][0], flush=True)
while not second:
    second = accept()
print(second[1][0], flush=True)
"""

# Its own listener, which has a limit, is replaced by one from another process under the same number.
HANDED = r"""
import os, socket, struct, sys
s = socket.create_server(("0.0.0.0", int(sys.argv[1])))
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 5, 0))
here, there = socket.socketpair()
if not os.fork():
    other = socket.create_server(("0.0.0.0", 8100))
    socket.send_fds(here, [b"x"], [other.fileno()])
    os._exit(0)
os.wait()
number = s.fileno()
s.close()
s = socket.socket(fileno=socket.recv_fds(there, 1, 1)[1][0])
print(s.fileno() == number, flush=True)
c, _ = s.accept()
print(struct.unpack("ll", c.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16))[0], flush=True)
"""

# What it can tell them by that the kernel does not keep: what was set and forgotten, what was shut down, by a duplicate;
# and what a child by vfork does to the number changes nothing here.
KEPT = r"""
import os, socket, subprocess, sys
s = socket.create_server(("0.0.0.0", int(sys.argv[1])))
def info(c):
    return c.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
os.close(0)
while True:
    c, address = s.accept()
    assert c.fileno() == 0
    subprocess.run(["true"], stdin=subprocess.DEVNULL, env={"PATH": "/usr/bin"})
    for option in socket.SO_BROADCAST, 40:
        c.setsockopt(socket.SOL_SOCKET, option, 1)
    c.shutdown(socket.SHUT_RD)
    d = c.dup()
    print(address[0], *(each.getsockopt(socket.SOL_SOCKET, option) for each in (c, d)
                        for option in (socket.SO_BROADCAST, 40, socket.SO_PROTOCOL)), info(c), info(d), flush=True)
    d.close()
    c.close()
"""

# Accepts twice by libc's own function, which is interrupted, or has a limit.
INTERRUPTED = r"""
import ctypes, errno, select, signal, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
signal.signal(signal.SIGALRM, lambda *_: None)
signal.siginterrupt(signal.SIGALRM, True)
s = socket.create_server(("0.0.0.0", int(sys.argv[1])))
name = ctypes.create_string_buffer(28)
def accept():
    fd = libc.accept(s.fileno(), name, ctypes.byref(ctypes.c_int(28)))
    if fd < 0:
        return errno.errorcode[ctypes.get_errno()]
    return socket.inet_ntoa(name.raw[4:8]) + " " + socket.socket(fileno=fd).getpeername()[0]
select.select([s], [], [])
if sys.argv[2] == "limit":
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 300000))
else:
    signal.setitimer(signal.ITIMER_REAL, 0.3)
said = "E"
while said[0] == "E":
    said = accept()
    print(said, flush=True)
"""


# Says to each connection what accept() and getpeername() have said: argv[1] processes of argv[2] threads.
# With a third argument the listener is descriptor 3, made by somebody else.
CROWD = r"""
import os, socket, sys, threading
processes, threads = int(sys.argv[1]), int(sys.argv[2])
if len(sys.argv) > 3:
    s = socket.socket(fileno=3)
else:
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("0.0.0.0", 8090))
    s.listen(50)
def serve():
    while True:
        c, name = s.accept()
        line = c.recv(100)
        c.sendall(("%s:%d %s:%d " % (*name, *c.getpeername())).encode() + line)
        c.close()
for _ in range(processes - 1):
    if os.fork() == 0:
        break
for _ in range(threads - 1):
    threading.Thread(target=serve, daemon=True).start()
serve()
"""

# Many connections at once: how many were told their own name, twice, and got their own line back.
MANY = r"""
import socket, sys, threading
right = []
def one(n):
    s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 10)
    name = "%s:%d" % s.getsockname()
    s.sendall(b"line %d" % n)
    got = b""
    while more := s.recv(100):
        got += more
    right.append(got == ("%s %s line %d" % (name, name, n)).encode() or print(name, got))
threads = [threading.Thread(target=one, args=(n,)) for n in range(40)]
for t in threads: t.start()
for t in threads: t.join()
print(sum(map(bool, right)))
"""

# A thread waits in accept(), for the name of a connection that it has; or accept() does not wait, and the connection is
# held. The listener is shut down, perhaps by a forked process. Then what the call has said.
SHUT = r"""
import errno, os, socket, sys, threading, time
s = socket.create_server(("0.0.0.0", int(sys.argv[1])))
def accept():
    try:
        print("accepted", s.accept()[1], flush=True)
    except OSError as e:
        print(errno.errorcode[e.errno], flush=True)
before = len(os.listdir("/proc/self/fd"))
if sys.argv[2] == "held":
    s.setblocking(False)
    while len(os.listdir("/proc/self/fd")) == before:
        try:
            s.accept()
        except BlockingIOError:
            pass
else:
    thread = threading.Thread(target=accept)
    thread.start()
    while len(os.listdir("/proc/self/fd")) == before:
        pass
if sys.argv[2] == "forked" and (pid := os.fork()):
    os.waitpid(pid, 0)
else:
    s.shutdown(socket.SHUT_RDWR)
    if sys.argv[2] == "forked":
        os._exit(0)
if sys.argv[2] == "held":
    accept()
time.sleep(60)
"""

# As many descriptors as have notes without more memory; then there is none.
NO_MEMORY = r"""
import os, resource, socket, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (400, 400))
socket.socket(socket.AF_INET).close()  # the configuration is read by now
while os.dup(0) < 300:
    pass
resource.setrlimit(resource.RLIMIT_AS, (1 << 20, resource.RLIM_INFINITY))
s = socket.socket(socket.AF_INET)
s.bind(("0.0.0.0", int(sys.argv[1])))
s.listen(5)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(s.accept()[1][0], flush=True)
time.sleep(60)
"""

# Calls what waits for a connection's name and is no cancellation point, in a thread that is cancelled already. Nothing but
# that runs meanwhile, Python's own locks neither.
CANCELLED = r"""
import ctypes, socket, sys
libc = ctypes.PyDLL(None)
libc.pthread_self.restype = libc.fdopen.restype = ctypes.c_void_p
s = socket.create_server(("0.0.0.0", int(sys.argv[1])))
fd = libc.accept4(s.fileno(), None, None, 0)
name = ctypes.create_string_buffer(128)
a = {"getpeername": (fd, name, ctypes.byref(ctypes.c_int(128))), "shutdown": (fd, 0), "fdopen": (fd, b"r")}[sys.argv[2]]
call = getattr(libc, sys.argv[2])
me = ctypes.c_void_p(libc.pthread_self())
libc.pthread_setcancelstate(1, None)
libc.pthread_cancel(me)
libc.pthread_setcancelstate(0, None)
r = call(*a)
libc.pthread_setcancelstate(1, None)
print(bool(r), socket.socket(fileno=fd).getpeername()[0], flush=True)
"""

# Stops listening and begins again, as haproxy does with a front end that is paused.
PAUSED = r"""
import select, socket, sys
s = socket.create_server(("0.0.0.0", int(sys.argv[1])))
s.setblocking(False)
s.shutdown(socket.SHUT_WR)
s.listen()
s.shutdown(socket.SHUT_RD)
s.listen()
while True:
    select.select([s], [], [])
    try:
        c, name = s.accept()
    except BlockingIOError:
        continue
    c.setblocking(True)
    print(name[0], c.recv(100), flush=True)
    c.close()
"""

# A thread with a table of its own listens with another socket than this one has under that number: it has its port.
BESIDE = r"""
import ctypes, os, socket, sys, threading
alone, made = threading.Event(), threading.Event()

def other():
    ctypes.CDLL(None).close_range(1000, 1000, 2)
    alone.set()
    made.wait()
    mine = socket.socket()
    mine.bind(("0.0.0.0", int(sys.argv[1])))
    os.dup2(mine.fileno(), number)
    listener = socket.socket(fileno=number)
    listener.listen()
    print(listener.getsockname()[1], flush=True)
    print(listener.accept()[1][0], flush=True)

socket.socket().close()  # the configuration is read by now
thread = threading.Thread(target=other)
thread.start()
alone.wait()
s = socket.socket()
number = s.fileno()
made.set()
thread.join()
"""


class Listener(Incoming):
    def test_paused(self):
        for port, mptcp in (8048, "off"), (8049, "auto"):
            with self.subTest(mptcp=mptcp):
                server = self.serve(["/usr/bin/python3", "-c", PAUSED, port], port, policy=f"mptcp = {mptcp}")
                how = ["mptcp"] * (mptcp == "auto")
                self.assertEqual(call(port, *how, "...", message(), "read4", "fin"), HEADER + "END")
                server.wait_for("it", lambda: server.text())
                self.assertEqual(server.text(), f"{REMOTE} b''\n")

    def test_shut_down(self):
        """It wakes who waits in accept(), as without the library, and not when the time is over; what has been taken for
        it is reset."""
        self.lab.converter()
        for n, how in enumerate(("itself", "forked", "held")):
            with self.subTest(how), concurrent.futures.ThreadPoolExecutor(1) as thread:
                server = self.serve(["/usr/bin/python3", "-c", SHUT, 8092 + n, how], 8092 + n, policy="timeout = 60s")
                said = thread.submit(call, 8092 + n)
                server.wait_for("the end of accept()", lambda: server.text())
                self.assertEqual(server.text(), "EINVAL\n")
                self.assertIn(said.result(), ("END", "RESET"))

    def test_not_cancelled(self):
        """By what is no cancellation point without us."""
        for port, (how, said) in enumerate((("getpeername", False), ("shutdown", False), ("fdopen", True)), 8056):
            with self.subTest(how):
                server = self.serve(["/usr/bin/python3", "-c", CANCELLED, port, how], port)
                call(port, "...", message(), "read4", "fin")
                server.process.wait(15)
                self.assertEqual(server.text(), f"{said} {REMOTE}\n")

    def test_time_stamps(self):
        """None is of our header."""
        server = self.serve(["/usr/bin/python3", "-c", STAMPS, 8098], 8098)
        for words, ns in ((), "server"), (("syn", message(), "read4"), "converter"), ((message(), "read4"), "converter"):
            call(8098, *words, "read5", ns=ns)
        server.wait_for("all", lambda: server.text().count("\n") == 3)
        self.assertEqual(server.text(), "".join(f"{who} 0 2 0x212\n" for who in (L.SERVER, REMOTE, REMOTE)))

    def test_corked(self):
        """TCP_CORK holds our header back no longer than it takes to say so: else it would be 200 ms."""
        for port, mptcp in (8020, "off"), (8021, "auto"):
            server = self.serve(["/usr/bin/python3", "-c", CORKED, port], port, policy=f"mptcp = {mptcp}")
            for how in [[]] if mptcp == "off" else [[], ["mptcp"]]:
                with self.subTest(how, mptcp=mptcp):
                    took, before = [], len(server.text().split())
                    call(port, *how, HELLO, "fin", ns="server")
                    for _ in range(5):
                        begun = time.monotonic()
                        self.assertEqual(call(port, *how, message(), "read4", "fin"), HEADER + "END")
                        took.append(time.monotonic() - begun)
                    self.assertLess(min(took), 0.1)
                    said = server.text().split()[before:]
                    self.assertEqual(said, said[:1] * 6)

    def test_receive_low_water_mark(self):
        """Of a message that comes behind the handshake, whole or not, is told before it has as many bytes as the
        program waits for."""
        for port, mptcp in (8086, "off"), (8087, "auto"):
            server = self.serve(["/usr/bin/python3", "-c", LOWAT, port], port, policy=f"mptcp = {mptcp}\ntimeout = 60s")
            how = ["mptcp"] * (mptcp == "auto")
            for words in ([message()], ["01", "...", message()[2:]], [message()[:18], "...", message()[18:]]):
                with self.subTest(words, mptcp=mptcp):
                    self.assertEqual(call(port, *how, "...", *words, "read4", "fin"), HEADER + "END")
            call(port, *how, "...", HELLO, "fin")  # no message, and less than that
            call(port, *how, HELLO, "fin", ns="server")
            server.wait_for("all", lambda: server.text().count("\n") == 5)
            self.assertEqual(server.text(), "".join(f"{who} 100\n" for who in [REMOTE] * 3 + [L.CONVERTER, L.SERVER]))

    def test_alike(self):
        """Who comes by MPTCP, and who by TCP to a listener that is MPTCP's by now, with a message, without one, and no
        converter at all: as to the program's own listener."""
        for port, mptcp in (8022, "off"), (8023, "auto"):
            server = self.serve(["/usr/bin/python3", "-c", ALIKE, port], port, policy=f"mptcp = {mptcp}")
            for how in [[]] if mptcp == "off" else [[], ["mptcp"]]:
                with self.subTest(how, mptcp=mptcp):
                    before = server.text().count("\n")
                    call(port, *how, message(), "read4", HELLO, "fin")
                    call(port, *how, HELLO, "fin")
                    call(port, *how, HELLO, "fin", ns="server")
                    server.wait_for("all", lambda: server.text().count("\n") == before + 3)
                    self.assertEqual(server.text().splitlines()[before:],
                                     [f"{who} 6 5 5 7 5 5000 1" for who in (REMOTE, L.CONVERTER, L.SERVER)])

    def test_kept(self):
        for port, mptcp in (8027, "off"), (8028, "auto"):
            server = self.serve(["/usr/bin/python3", "-c", KEPT, port], port, policy=f"mptcp = {mptcp}")
            for how in [[]] if mptcp == "off" else [[], ["mptcp"]]:
                with self.subTest(how, mptcp=mptcp):
                    before = server.text().count("\n")
                    call(port, *how, ns="server")
                    server.wait_for("it", lambda: server.text().count("\n") == before + 1)
                    self.assertEqual(server.text().splitlines()[before:], [f"{L.SERVER} 1 1 6 1 1 6 1 1"])

    def test_handed_over(self):
        """What was set on the listener that had the number before is nobody's."""
        server = self.serve(["/usr/bin/python3", "-c", HANDED, 8026], 8100)
        call(8100, "fin", ns="server")
        server.process.wait(10)
        self.assertEqual(server.text(), "True\n0\n")

    def test_beside_another_table(self):
        """A thread's listener is its own, whatever the others have under that number."""
        server = self.serve(["/usr/bin/python3", "-c", BESIDE, 8029], 8029)
        call(8029, "fin", ns="server")
        server.process.wait(10)
        self.assertEqual(server.text(), f"8029\n{L.SERVER}\n")

    def test_no_memory(self):
        server = self.serve(["/usr/bin/python3", "-u", "-c", NO_MEMORY, 8095], 8095)
        call(8095, "syn", message(), "read4", "fin")
        server.wait_for("a connection", lambda: server.text())
        self.assertEqual(server.text(), REMOTE + "\n")


class Crowd(Incoming):
    def many(self, *options, port=8090):
        self.lab.converter("--incoming", f"{port}={L.CLIENT}:{port}", *options)
        r = self.lab.run(["/usr/bin/python3", "-c", MANY, L.ROUTER, port], ns="server", timeout=60)
        self.assertEqual(r.out, b"40\n", r)

    def test_threads_and_processes(self):
        """Whoever of them accepts it, a connection is its own remote host's, with the message in the SYN or
        behind the handshake."""
        self.serve(["/usr/bin/python3", "-c", CROWD, 3, 3], 8090)
        self.many("--mptcp")
        self.lab.running.pop().stop()
        self.many("--fastopen", "off")

    def test_inherited_listener(self):
        """Made before the library was there, as a service manager makes it."""
        listener = """import os, socket, sys
s = socket.socket()
s.bind(("0.0.0.0", 8091))
s.listen(50)
os.dup2(s.fileno(), 3)
os.set_inheritable(3, True)
os.execvp(sys.argv[1], sys.argv[1:])"""
        env = self.lab.config(converter=rules(), address=(L.CONVERTER, L.CONVERTER6))
        server = self.lab.start("client", ["/usr/bin/python3", "-c", listener, "env", f"LD_PRELOAD={L.SHIM}",
                                           f"CONVERT_CONF={env['CONVERT_CONF']}", "/usr/bin/python3", "-c", CROWD,
                                           2, 2, "inherited"])
        server.wait_for_listeners(8091)
        self.many("--fastopen", "off", port=8091)


class Costs(Incoming):
    def calls(self, how, port, **more):
        """The system calls of a server from the accept that succeeds to the close of what it has accepted; and all."""
        trace, folder = self.lab.file("strace"), self.lab.file("ways")
        folder.mkdir()
        server = self.lab.start("client", ["strace", "-f", "-qq", "-o", trace, *(f"-E{k}={v}" for k, v in more.items()),
                                           "/usr/bin/python3", "-c", SERVER, folder, port, how])
        server.wait_for_listeners(port)
        call(port, ".", HELLO, "read7", "fin", ns="server")
        server.wait_for("its end", lambda: "--" in (folder / how).read_text())
        server.stop()
        lines = re.findall(r"^\d+ +(\w+)\(", trace.read_text(), re.M)
        end = len(lines) - lines[::-1].index("write")  # what it said; whether it waits again by now is chance
        lines = lines[lines.index("listen") - 2:end]
        return lines, lines[lines.index("accept4"):]

    def shim(self, incoming):
        env = self.lab.config(converter="fast-open = no-cookie\n" + incoming)
        return {"LD_PRELOAD": L.SHIM, "CONVERT_STATE": "none", "CONVERT_CONF": env["CONVERT_CONF"]}

    def test_direct(self):
        """A direct connection to a listener of a rule costs no system call more, and without a rule a listener
        costs none either."""
        self.need("strace")
        for n, (how, many) in enumerate((("block", {}), ("level", {}), ("block", {"MANY": "1"}))):
            with self.subTest(how, **many):
                all_plain, plain = self.calls(how, 8070 + n, **many)
                _, ruled = self.calls(how, 8070 + n, **self.shim(rules()), **many)
                self.assertEqual(ruled, plain)
                off, without = self.calls(how, 8070 + n, **self.shim(""))
                self.assertEqual(without, plain)
                self.assertEqual(off, all_plain)


if __name__ == "__main__":
    L.main(setup)

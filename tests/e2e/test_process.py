#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""The shim inside other people's processes: harmless, silent, tidy; and the wrapper."""
import errno
import os
import shlex
import re
import select
import shutil
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L
import servers

WHO = f"http://{L.SERVER}/who"

# N connections one after the other; descriptors, mappings and resident pages before and after.
MANY = """
import os, socket, sys
address, port, n, wanted = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]

def state():
    maps = len(open("/proc/self/maps").readlines())
    return sorted(os.listdir("/proc/self/fd")), maps, int(open("/proc/self/statm").read().split()[1])

def one(timeout):
    s = socket.socket()
    s.settimeout(timeout)
    try:
        s.connect((address, port))
        s.sendall(b"GET /who HTTP/1.0\\r\\n\\r\\n")
        answer = b""
        while (piece := s.recv(4096)):
            answer += piece
        got = answer.split(b"\\r\\n\\r\\n", 1)[1].decode().strip()
    except OSError as e:
        got = str(e.errno)
    s.close()
    if got != wanted:
        sys.exit(f"got {got}")

for i in range(20):
    one(i % 2 * 10 or None)
before = state()
for i in range(n):
    one(i % 2 * 10 or None)
after = state()
print(before[0] == after[0], after[1] - before[1], after[2] - before[2])
"""

THREADS = """
import socket, sys, threading
bad = []

def work(number):
    for i in range(40):
        s = socket.socket()
        s.settimeout((None, 10)[(number + i) % 2])
        try:
            s.connect(("10.2.0.2", 80))
            s.sendall(b"GET /who HTTP/1.0\\r\\n\\r\\n")
            answer = b""
            while (piece := s.recv(4096)):
                answer += piece
            if answer.split(b"\\r\\n\\r\\n", 1)[1] != b"10.2.0.1\\n":
                bad.append(answer)
        except OSError as e:
            bad.append(e)
        s.close()

threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
[t.start() for t in threads]
[t.join() for t in threads]
print(len(bad), bad[:3])
"""

FORKS = """
import os, socket, sys

def get():
    s = socket.create_connection(("10.2.0.2", 80))
    s.sendall(b"GET /who HTTP/1.0\\r\\n\\r\\n")
    answer = b""
    while (piece := s.recv(4096)):
        answer += piece
    return answer.split(b"\\r\\n\\r\\n", 1)[1]

assert get() == b"10.2.0.1\\n"
open_before = socket.create_connection(("10.2.0.2", 80))
children = []
for n in range(8):
    pid = os.fork()
    if pid == 0:
        ok = all(get() == b"10.2.0.1\\n" for _ in range(20))
        ok = ok and open_before.getpeername()[:2] == ("10.2.0.2", 80)
        os._exit(0 if ok else 1)
    children.append(pid)
assert all(get() == b"10.2.0.1\\n" for _ in range(20))
print([os.waitpid(pid, 0)[1] for pid in children])
"""

# A child of which no handler of fork()'s knows, of a process that has had a TCP socket: numbers that it uses again are what
# it has made last, and a child by vfork of its own takes nothing from it: not the error that nobody has read yet. Its parent
# waits for it (argv[2]), or has ended before.
CLONED = """
import ctypes, os, select, signal, socket, subprocess, sys, time
libc, parent = ctypes.CDLL(None), os.getpid()
pending = socket.socket(type=socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
pending.connect_ex(("10.2.0.2", 80))
child = libc._Fork() if sys.argv[1] == "_Fork" else libc.syscall(int(sys.argv[1]), signal.SIGCHLD, 0, 0, 0, 0)
if child:
    if sys.argv[2] == "waits":
        print(os.waitpid(child, 0)[1], flush=True)
    os._exit(0)
while sys.argv[2] == "ends" and os.getppid() == parent:
    time.sleep(0.01)

subprocess.run(["/bin/true"])  # by vfork; whose parent has done nothing yet

def wait(s):
    poll = select.poll()
    poll.register(s, select.POLLOUT)
    return poll.poll(5000)[0][1]

def ask(s):
    s.sendall(b"GET /who HTTP/1.0\\r\\n\\r\\n")
    s.setblocking(True)
    return s.makefile("rb").read()[:15]

for before, then in ((socket.SOCK_NONBLOCK, 0), (0, socket.SOCK_NONBLOCK)) * 2:
    a = socket.socket(type=socket.SOCK_STREAM | before)
    number = a.fileno()
    a.close()
    with socket.socket(type=socket.SOCK_STREAM | then) as b:
        print(b.fileno() == number, b.connect_ex(("10.2.0.2", 80)), wait(b), ask(b))
print(wait(pending), ask(pending))
refused = socket.socket(type=socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
refused.connect_ex(("10.2.0.2", 81))
wait(refused)
subprocess.run(["/bin/true"])
print(refused.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), flush=True)
os._exit(0)
"""

INHERITED = """
import os, socket, sys
if len(sys.argv) == 1:  # without the shim: make the socket, then become a program with it
    s = socket.socket()
    os.dup2(s.fileno(), 9)
    os.execve("/usr/bin/python3", ["python3", "-c", os.environ["PROGRAM"], "9"],
              dict(os.environ, LD_PRELOAD=os.environ["SHIM"]))
s = socket.socket(fileno=int(sys.argv[1]))
s.connect(("10.2.0.2", 80))
s.sendall(b"GET /who HTTP/1.0\\r\\n\\r\\n")
print(s.recv(4096).split(b"\\r\\n\\r\\n", 1)[1].decode(), end="")
"""

# The number of a pending connection, above a limit that has been lowered since.
BEYOND = """
import errno, os, resource, select, socket
s = socket.socket()
s.setblocking(False)
s.connect_ex(("10.2.0.2", 80))
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (s.fileno(), most))
for call in os.dup2, lambda fd, fd2: os.dup2(fd, fd2, inheritable=False):
    try:
        print(call(0, s.fileno()))
    except OSError as e:
        print(errno.errorcode[e.errno])
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
select.select([], [s], [])
s.setblocking(True)
s.sendall(b"GET /who HTTP/1.0\\r\\n\\r\\n")
print(s.recv(4096).split(b"\\r\\n\\r\\n", 1)[1].decode(), end="")
"""

# A connection that a child has inherited while it was being made, and that it looks at when the
# record of it has long been used for others: left alone by all, or completed by the parent.
FORGOTTEN = """
import os, socket, struct, sys, time

def attempt(call):
    try:
        return call()
    except OSError as e:
        return os.strerror(e.errno)

s = socket.socket()
s.setblocking(False)
s.connect_ex(("10.2.0.2", 80))
come, go = os.pipe()
child = os.fork()
if child == 0:
    os.read(come, 1)
    s.settimeout(5)
    print(attempt(lambda: s.getpeername()[0]))
    print(attempt(lambda: s.sendall(b"GET /who HTTP/1.0\\r\\n\\r\\n")))
    print(attempt(lambda: s.recv(4096).split(b"\\r\\n\\r\\n")))
    print(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), attempt(lambda: s.recv(10)))
    s.settimeout(5)
    again = [attempt(lambda: s.connect(("10.2.0.2", 80))) for _ in range(2)]
    print(again, attempt(lambda: s.sendall(b"GET /who HTTP/1.0\\r\\n\\r\\n")),
          attempt(lambda: s.recv(4096).split(b"\\r\\n\\r\\n")[1:]), flush=True)
    os._exit(0)
if sys.argv[1] == "complete":
    s.settimeout(5)
    s.getpeername() if attempt(lambda: s.connect(("10.2.0.2", 80))) is None else None
else:
    s.close()
    time.sleep(2.2)  # its time, and a second
relatives = []
for _ in range(3):
    relatives.append(os.fork())
    if relatives[-1] == 0:
        made = 0
        while made < 1400:
            try:
                t = socket.create_connection(("10.2.0.2", 80))
            except TimeoutError:  # `timeout` is short for so many
                continue
            t.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            t.close()
            made += 1
        os._exit(0)
print([os.waitpid(relative, 0)[1] for relative in relatives], flush=True)
os.write(go, b"x")
os.waitpid(child, 0)
"""

# Refused connections that the program looks at late: nothing is owed to whoever waits by then, and the records of them are
# used for others. The last one has two numbers, one of which is told.
UNTOLD = """
import os, select, socket, time

def attempt(call):
    try:
        return call()
    except OSError as e:
        return e.errno

def shown(s):
    poll = select.poll()
    poll.register(s, select.POLLIN | select.POLLOUT)
    return poll.poll(0)[0][1]

def error(s):
    return s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

ways = error, lambda s: s.recv(10), lambda s: s.send(b"x"), lambda s: s.connect(("10.2.0.2", 81)), error
tried = [socket.socket(type=socket.SOCK_STREAM | socket.SOCK_NONBLOCK) for _ in ways]
for s in tried:
    s.connect_ex(("10.2.0.2", 81))
other = tried[-1].dup()
names = [s.getsockname() for s in tried]
time.sleep(1.2)
socket.create_connection(("10.2.0.2", 80)).close()
time.sleep(1.2)
for _ in range(70):
    socket.create_connection(("10.2.0.2", 80)).close()
print([s.getsockname() == name for s, name in zip(tried, names)], [shown(s) for s in tried])
print([attempt(lambda: way(s)) for way, s in zip(ways, tried)], error(other), error(tried[0]))
"""

OTHER_SOCKETS = """
import os, socket
a, b = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket(socket.AF_INET,
                                                                      socket.SOCK_DGRAM)
a.bind(("10.1.0.1", 0))
b.connect(a.getsockname())
b.send(b"datagram")
print(a.recv(100), b.getpeername()[0])
path = "/run/lab/unix-%d" % os.getpid()
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen()
c = socket.socket(socket.AF_UNIX)
c.connect(path)
d, _ = listener.accept()
c.send(b"unix")
print(d.recv(100), c.getpeername() == path)
listener = socket.create_server(("127.0.0.1", 0))
c = socket.create_connection(listener.getsockname())
d, _ = listener.accept()
c.send(b"loopback")
print(d.recv(100), c.getpeername() == listener.getsockname())
n = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
n.connect((0, 0))
print(n.getpeername())
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.setblocking(False)
print(u.connect_ex(("10.2.0.2", 53)), u.getpeername())
"""


def setup(lab):
    servers.nginx(lab)
    servers.nowhere(lab)


class Quiet(L.TestCase):
    """No word on standard error, whatever happens, unless it was asked for."""

    def curl(self, shim, wanted):
        r = self.lab.run(["curl", "-s", WHO], shim=shim)
        self.assertEqual((r.code, r.out.decode().strip(), r.err), (0, wanted, ""), r)

    def quiet(self, **more):
        shim = self.lab.config(policy="fallback = direct\ntimeout = 200ms", log=False, **more)
        self.curl(shim, L.CLIENT)

    def test_no_converter(self):
        self.quiet()

    def test_mute_converter(self):
        self.quiet(address=servers.MUTE)

    def test_garbage(self):
        self.lab.converter("--fault", "raw=ffffffffff")
        self.quiet()

    def test_bad_configuration(self):
        self.curl({"CONVERT_CONF": str(self.lab.file("bad", "nonsense\n")), "CONVERT_LOG": ""},
                  L.CLIENT)

    def test_converted(self):
        self.lab.converter()
        self.curl(self.lab.config(log=False), L.ROUTER)

    def test_disabled(self):
        self.lab.converter()
        log = self.lab.file("log")
        self.curl(self.lab.via() | {"CONVERT_DISABLE": "1", "CONVERT_LOG": str(log)}, L.CLIENT)
        self.assertFalse(log.exists() and log.read_text())
        self.curl(self.lab.via() | {"CONVERT_DISABLE": "0"}, L.ROUTER)

    def test_log_to_stderr_is_one_line(self):
        self.lab.converter()
        r = self.lab.run(["curl", "-s", WHO], shim=self.lab.via() | {"CONVERT_LOG": "stderr"})
        self.assertEqual(r.out.decode().strip(), L.ROUTER)
        self.assertRegex(r.err, r"\A\S+Z curl\[\d+\] info: converted 10\.2\.0\.2:80 via "
                         r"10\.1\.0\.2:5124 .*: connected, \w+\n\Z")

    def test_log_never_goes_into_a_connection(self):
        """Standard error is closed, so the socket gets its number."""
        self.lab.converter()
        program = ("import os, socket; os.close(2); s = socket.socket(); assert s.fileno() == 2;"
                   "s.connect(('10.2.0.2', 80)); s.sendall(b'GET /small HTTP/1.0\\r\\n\\r\\n');"
                   "print(s.makefile('rb').read().split(b'\\r\\n\\r\\n', 1)[1])")
        r = self.lab.run(["/usr/bin/python3", "-c", program],
                         shim=self.lab.via() | {"CONVERT_LOG": "stderr"})
        self.assertEqual((r.code, r.out), (0, b"b'hello from nginx\\n'\n"), r)

    def test_log_that_cannot_be_written(self):
        self.lab.converter()
        for log in ("/nonexistent/log", "/dev/full", "/"):
            self.curl(self.lab.via() | {"CONVERT_LOG": log}, L.ROUTER)


class Tidy(L.TestCase):
    """Nothing is left behind."""

    def many(self, wanted, port=80, settings="fast-open = no-cookie", policy="", n=1000):
        r = self.lab.run(["/usr/bin/python3", "-c", MANY, L.SERVER, port, n, wanted],
                         shim=self.lab.config(settings, policy, log=False), timeout=60)
        self.assertEqual(r.code, 0, r)
        descriptors, maps, pages = r.out.decode().split()
        self.note(f"{n} connections: {maps} mappings, {pages} pages more")
        self.assertEqual(descriptors, "True", r)
        self.assertLessEqual(int(maps), 1, r)
        self.assertLess(int(pages), 400, r)

    def test_converted(self):
        self.lab.converter()
        self.many(L.ROUTER)

    def test_refused(self):
        self.lab.converter()
        self.many("111", port=81)

    def test_fallback(self):
        self.lab.converter("--fault", "error=64:01")
        self.many(L.CLIENT, policy="fallback = direct")

    def test_missing_cookie(self):
        self.lab.converter("--cookie-required")
        self.many(L.ROUTER)

    def test_more_at_once_than_there_is_room_for(self):
        """5000 pending ones: what does not fit fails or goes direct, and nothing breaks."""
        self.lab.converter("--fault", "silence", "--max-connections", "10000",
                           "--max-pending", "10000")
        program = ("import resource, socket;"
                   "resource.setrlimit(resource.RLIMIT_NOFILE, (6000, 6000));"
                   "s = [socket.socket(type=socket.SOCK_STREAM|socket.SOCK_NONBLOCK)"
                   " for _ in range(5000)];"
                   "r = [x.connect_ex(('10.2.0.2', 80)) for x in s];"
                   "print({e: r.count(e) for e in set(r)}); [x.close() for x in s];"
                   "t = socket.socket(); t.settimeout(1); print(t.connect_ex(('10.2.0.2', 80)))")
        r = self.lab.run(["/usr/bin/python3", "-c", program],
                         shim=self.lab.config("fast-open = no-cookie", log=False), timeout=60)
        self.assertEqual(r.code, 0, r)
        self.note(f"connect() of 5000 at once: {r.out.decode().split(chr(10))[0]}")
        self.assertIn("115", r.out.decode(), r)

# A thread looks at a pending number (argv[1]: by what), and its first getsockopt(), which says whose it is, takes a second.
# Meanwhile that number becomes another connection's: what it has of the stream, or of its events, in the end.
TAKEN = """
import os, select, socket, sys, threading, time
listener = socket.create_server(("127.0.0.1", 0))
s = socket.socket()
s.setblocking(False)
s.connect_ex(("10.2.0.2", 80))
waiting, mine = select.epoll(), select.epoll()

def look():
    try:
        if sys.argv[1] == "epoll_wait":
            waiting.poll(2)
        else:
            s.getpeername()
    except OSError:
        pass

if sys.argv[1] == "epoll_wait":
    waiting.register(s, select.EPOLLOUT)
thread = threading.Thread(target=look)
thread.start()
time.sleep(0.8)
number = s.fileno()
os.close(number)
t = socket.socket()
assert t.fileno() == number
t.connect(listener.getsockname())
mine.register(t, select.EPOLLIN)
peer, _ = listener.accept()
if sys.argv[2] == "data":
    peer.send(b"all of it")
thread.join()
peer.send(b"!")
peer.close()
said = b""
while mine.poll(2) and (piece := t.recv(100)):
    said += piece
print(said.decode(), flush=True)
os._exit(0)  # without s.close()
"""


class Processes(L.TestCase):
    def setUp(self):
        super().setUp()
        self.lab.converter()
        self.shim = self.lab.config("fast-open = no-cookie")

    def python(self, program, **more):
        return self.lab.run(["/usr/bin/python3", "-c", program], timeout=60, **more)

    def test_threads(self):
        r = self.python(THREADS, shim=self.shim)
        self.assertEqual((r.code, r.out), (0, b"0 []\n"), r)

    def test_forks(self):
        r = self.python(FORKS, shim=self.shim)
        self.assertEqual((r.code, r.out.decode().strip()), (0, str([0] * 8)), r)

    def test_child_without_handlers(self):
        """A copy of our memory is the child's own; a child by vfork is in ours."""
        names = L.command(["gcc", "-E", "-dM", "-include", "sys/syscall.h", "-x", "c", "/dev/null"])
        clone = re.search(r"^#define __NR_clone (\d+)$", names, re.M)[1]
        got = f"{select.POLLOUT} {b'HTTP/1.1 200 OK'}"
        wanted = [f"True {err} {got}" for err in (0, errno.EINPROGRESS) * 2] + [got, "111"]
        for how in clone, "_Fork":
            for parent, its in ("waits", ["0"]), ("ends", []):
                for shim in None, self.shim:
                    with self.subTest(how, parent=parent, shim=bool(shim)):
                        r = self.lab.run(["/usr/bin/python3", "-c", CLONED, how, parent], shim=shim)
                        self.assertEqual(r.out.decode().splitlines(), wanted + its, r)

    # case 2.1: its exchange's place has been used for another one
    def forgotten(self, how):
        r = self.lab.run(["/usr/bin/python3", "-c", FORGOTTEN, how], timeout=60,
                         shim=self.lab.config("fast-open = no-cookie", "timeout = 1s", log=False))
        self.assertEqual(r.code, 0, r)
        return r.out.decode().splitlines()

    def check_forgotten(self):
        """Nothing goes to the converter, nothing of it comes to the program: it is told once, and after
        the one error more that Linux has a new connection can be made."""
        self.assertEqual(self.forgotten("abandon"), [
            "[0, 0, 0]", "Transport endpoint is not connected", "Connection timed out", "[b'']",
            "0 b''", f"['Software caused connection abort', None] None [b'{L.ROUTER}\\n']"])

    def test_forgotten_with_a_reply(self):
        self.check_forgotten()

    def test_forgotten_with_the_message_owed(self):
        L.sysctl("client", net__ipv4__tcp_fastopen=0)
        try:
            self.check_forgotten()
        finally:
            L.sysctl("client", net__ipv4__tcp_fastopen=1)

    def test_forgotten_but_connected(self):
        lines = self.forgotten("complete")
        self.assertEqual(lines[:3], ["[0, 0, 0]", L.SERVER, "None"])
        self.assertTrue(lines[3].startswith("[b'HTTP/1.1 200 OK"), lines)
        self.assertTrue(lines[3].endswith(f"b'{L.ROUTER}\\n']"), lines)

    # case 2.10
    def test_refused_and_looked_at_late(self):
        """What the kernel says of such sockets, however many connections have been made since."""
        for shim in (None, self.lab.config("fast-open = no-cookie", "timeout = 1s")):
            with self.subTest(shim=bool(shim)):
                r = self.python(UNTOLD, shim=shim)
                self.assertEqual(r.out.decode().splitlines(), [f"{[True] * 5} {[0x1d] * 5}", f"{[111] * 5} 0 0"], r)

    def test_number_is_taken(self):
        """While another thread looks at it (TRAPS 2.25)."""
        self.need("strace")
        for how, delay in ("getpeername", 5000), ("epoll_wait", 300):
            for data, wanted in ("data", "all of it!"), ("none", "!"):
                with self.subTest(f"{how} {data}"):
                    v4, _ = self.lab.fresh_addresses()
                    self.lab.converter("--fault", f"delay={delay}", listen=[v4])
                    shim = self.lab.config("fast-open = no-cookie", "timeout = 20s", address=v4)
                    r = self.lab.run(["strace", "-f", "-qq", "-o", self.lab.file("strace"), "-e", "trace=getsockopt",
                                      "-e", "inject=getsockopt:delay_exit=1500000:when=1", f"-ELD_PRELOAD={L.SHIM}",
                                      *(f"-E{k}={v}" for k, v in shim.items()),
                                      "/usr/bin/python3", "-c", TAKEN, how, data])
                    self.assertEqual((r.code, r.out.decode(), r.err), (0, wanted + "\n", ""), r)

    def test_number_that_cannot_be_taken(self):
        """dup2() and dup3() leave it as it is, and say so."""
        r = self.python(BEYOND, shim=self.shim)
        self.assertEqual(r.out.decode().split(), ["EBADF", "EBADF", L.ROUTER], r)

    def test_inherited_socket(self):
        """A socket that another program has made: the kernel is asked."""
        r = self.python(INHERITED, env=self.shim | {"PROGRAM": INHERITED, "SHIM": str(L.SHIM)})
        self.assertEqual((r.code, r.out.decode().strip()), (0, L.ROUTER), r)

    def test_other_sockets(self):
        """UDP, Unix, netlink and loopback sockets work as ever."""
        direct = self.python(OTHER_SOCKETS)
        shim = self.python(OTHER_SOCKETS, shim=self.shim)
        self.assertEqual((direct.code, shim.code), (0, 0), f"{direct}\n{shim}")
        self.assertEqual(direct.out, shim.out)

    def test_valgrind(self):
        self.need("valgrind")
        for settings in ("fast-open = no-cookie", ""):
            r = self.lab.run(["valgrind", "-q", "--vgdb=no", "--error-exitcode=99", "--leak-check=full",
                              "--errors-for-leak-kinds=definite,possible", "--track-fds=no",
                              "curl", "-sS", WHO, f"http://{L.SERVER}:81/", WHO],
                             shim=self.lab.config(settings), timeout=110)
            self.assertEqual(r.out.decode().split(), [L.ROUTER] * 2, r)
            self.assertEqual(r.code, 0, r)  # the last transfer's, or 99
            self.assertNotIn("==", r.err, r)

    def test_valgrind_with_a_bad_converter(self):
        self.need("valgrind")
        self.lab.converter("--fault", "error=64:01", port=5125)
        shim = self.lab.config(policy="fallback = direct", port=5125)
        r = self.lab.run(["valgrind", "-q", "--vgdb=no", "--error-exitcode=99", "--leak-check=full",
                          "curl", "-sS", WHO], shim=shim, timeout=110)
        self.assertEqual((r.code, r.out.decode().strip()), (0, L.CLIENT), r)
        self.assertNotIn("==", r.err, r)

    def test_long_environment(self):
        """Nonsense in our variables is not followed, and harms nobody."""
        for name in ("CONVERT_ADDR", "CONVERT_CONF", "CONVERT_LOG", "CONVERT_COOKIE"):
            r = self.lab.run(["curl", "-sS", WHO],
                             shim=self.lab.via() | {"CONVERT_LOG": "/dev/null",
                                                    name: "x" * 20000})
            self.assertEqual((r.code, r.err), (0, ""), r)
            self.assertIn(r.out.decode().strip(), (L.CLIENT, L.ROUTER))


# A program gets a connection that is pending as its standard input, in the way that argv[1] says.
GIVEN = """
import ctypes, os, socket, subprocess, sys
s = socket.socket()
s.setblocking(False)
s.connect_ex(("10.2.0.2", 80))
argv = [sys.executable, "-c", '''
import socket
s = socket.socket(fileno=0)
s.setblocking(True)
s.sendall(b"GET /who HTTP/1.0\\\\r\\\\n\\\\r\\\\n")
said = s.makefile("rb").read()
print(said[:12].decode(), said.split(b"\\\\r\\\\n\\\\r\\\\n")[1:], flush=True)
''']
if sys.argv[1] == "vfork":
    subprocess.run(argv, stdin=s)
elif sys.argv[1] == "execveat":
    os.dup2(s.fileno(), 0)
    libc = ctypes.CDLL(None)
    environ = ctypes.c_void_p.in_dll(libc, "environ")
    libc.execveat(os.open(argv[0], os.O_RDONLY), b"", (ctypes.c_char_p * 4)(*map(str.encode, argv)), environ, 0x1000)
else:
    os.waitpid(os.posix_spawn(argv[0], argv, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, s.fileno(), 0)]), 0)
"""

# A vfork child passes a pending connection on, when it has closed its epoll set ("epoll", argv[2]) or by another number
# ("poll"); what the program then sees of it, by such a wait and by itself.
KEPT = """
import os, select, socket, subprocess, sys, time
s = socket.socket()
s.setblocking(False)
waiting = getattr(select, sys.argv[2])()
waiting.register(s, select.EPOLLOUT)
s.connect_ex(("10.2.0.2", int(sys.argv[1])))
subprocess.run(["/bin/true"], **({"pass_fds": [s.fileno()]} if sys.argv[2] == "epoll" else {"stdin": s}))
begun = time.process_time()
events = waiting.poll(2 if sys.argv[2] == "epoll" else 2000)
print([select.EPOLLOUT & event for _, event in events], time.process_time() - begun < 0.5)
print(os.strerror(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)))
try:
    s.setblocking(True)
    s.sendall(b"GET /who HTTP/1.0\\r\\n\\r\\n")
    print(s.makefile("rb").read().split(b"\\r\\n\\r\\n")[1:])
except OSError as e:
    print(e.strerror)
"""


class Given(L.TestCase):
    """Pending connections that other programs get."""

    def setUp(self):
        super().setUp()
        self.lab.converter("--fault", "delay=500")
        self.shim = self.lab.config("fast-open = no-cookie", "timeout = 5s")

    def kept(self, said, port=80, converter=L.PORT):
        for mptcp, how in ("on", "epoll"), ("off", "epoll"), ("on", "poll"):
            with self.subTest(how, mptcp=mptcp):
                shim = self.lab.config("fast-open = no-cookie", f"timeout = 5s\nmptcp = {mptcp}\nfallback = direct",
                                       port=converter)
                r = self.lab.run(["/usr/bin/python3", "-c", KEPT, port, how], shim=shim)
                self.assertEqual((r.code, r.out.decode().splitlines()), (0, ["[4] True", *said]), r)

    def given(self, how):
        r = self.lab.run(["/usr/bin/python3", "-c", GIVEN, how], shim=self.shim)
        self.assertEqual((r.code, r.out.decode()), (0, f"HTTP/1.1 200 [b'{L.ROUTER}\\n']\n"), r)

    def test_as_standard_input_by_vfork(self):
        self.given("vfork")

    def test_as_standard_input_by_spawn(self):
        self.given("spawn")

    def test_as_standard_input_by_execveat(self):
        self.given("execveat")

    def test_of_no_concern(self):
        """A connection that stays at home is not waited for."""
        self.lab.converter("--fault", "silence", port=5125)
        program = ("import socket, subprocess, time; s = socket.socket(); s.setblocking(False);"
                   "s.connect_ex(('10.2.0.2', 80)); begun = time.monotonic();"
                   "subprocess.run(['/bin/true'], close_fds=False, cwd='/');"
                   "print(time.monotonic() - begun < 4)")
        r = self.lab.run(["/usr/bin/python3", "-c", program],
                         shim=self.lab.config("fast-open = no-cookie", "timeout = 8s", port=5125))
        self.assertEqual((r.code, r.out), (0, b"True\n"), r)

    def test_kept_by_the_other_threads(self):
        """Of one that has closed its own numbers alone, or none."""
        self.lab.converter("--fault", "delay=700", port=5125)
        answer = b"HTTP/1.1 200 OK"
        for flags, said in (64, [-1]), (2, [0, True, answer]):
            for shim, at_least in (None, 0), (self.lab.config("fast-open = no-cookie", "timeout = 5s", port=5125), 0.5):
                with self.subTest(flags=flags, shim=bool(shim)):
                    r = self.lab.run(["/usr/bin/python3", "-c", APART, flags, at_least], shim=shim)
                    self.assertEqual(r.out.decode().splitlines(),
                                     [f"4 True {answer}", f"{said} {(L.SERVER, 80)} {answer}"], r)

    def test_beside_another_table(self):
        """What a thread with a table of its own does to its numbers is said of nobody else's."""
        self.lab.converter("--mptcp", port=5125)
        for what in "nothing", "F_SETFL", "setsockopt", "bind", "shutdown", "connect", "dup", "fdopen", "epoll":
            with self.subTest(what):
                shim = self.lab.config("fast-open = no-cookie", port=5125)
                r = self.lab.run(["/usr/bin/python3", "-c", BESIDE, what], shim=shim)
                self.assertEqual(r.out.decode().split(), ["0", "True", "0", "0", L.ROUTER], r)
                self.assertIn(": connected, MPTCP", r.log)

    def test_sets_beside_another_table(self):
        self.lab.converter("--fault", "delay=700", port=5125)
        shim = self.lab.config("fast-open = no-cookie", port=5125)
        r = self.lab.run(["/usr/bin/python3", "-c", SETS_BESIDE], shim=shim)
        self.assertEqual((r.out.decode(), r.err), (f"True {L.SERVER}\n", ""), r)
        self.assertIn(": connected", r.log)

    def test_told_by_a_child(self):
        """That its table is its own says nothing of its parent's."""
        root = self.lab.file("root")
        root.mkdir()
        r = self.lab.run(["/usr/bin/python3", "-c", NO_PROC, root], shim=self.shim)
        self.assertEqual(r.out.decode().split(), ["0", L.ROUTER], r)

    def test_kept_beside_it(self):
        self.kept(["Success", f"[b'{L.ROUTER}\\n']"])

    def test_kept_and_refused(self):
        self.kept(["Connection refused", "Broken pipe"], port=81)

    def test_kept_and_direct(self):
        self.lab.converter("--fault", "error=64:01,delay=500", port=5125)
        self.kept(["Success", f"[b'{L.CLIENT}\\n']"], converter=5125)


# While a connection is pending another thread calls close_range(FLAGS), argv[1]: with a table of its own (2) it closes nothing
# of this one's, nor with flags that there are none of. It goes on with the same number. argv[2]: how long the first waits.
APART = """
import ctypes, select, socket, sys, threading, time
flags, at_least = int(sys.argv[1]), float(sys.argv[2])
begun, said = threading.Event(), []

def ask(s):
    s.settimeout(5)
    s.sendall(b"GET /who HTTP/1.0\\r\\n\\r\\n")
    return s.makefile("rb").read()[:15]

def other():
    begun.wait()
    said.append(ctypes.CDLL(None).close_range(3, ctypes.c_uint(-1), flags))
    if flags == 2:
        with socket.socket() as first, socket.socket() as t:
            said.append((first.fileno(), t.fileno()) == (up.fileno(), s.fileno()))
            t.connect(("10.2.0.2", 80))
            said.append(ask(t))

thread = threading.Thread(target=other)
thread.start()
up = socket.create_connection(("10.2.0.2", 80))
s = socket.socket()
s.setblocking(False)
s.connect_ex(("10.2.0.2", 80))
since = time.monotonic()
waiting = select.poll()
waiting.register(s, select.POLLOUT)
begun.set()
while not said:
    time.sleep(0.01)
print(waiting.poll(5000)[0][1], time.monotonic() - since >= at_least, ask(s))
thread.join()
print(said, up.getpeername(), ask(up))
"""

# Another thread, with a table of its own, has something else under the number of this one's new socket, and does with it
# what would be noted of a socket (argv[1]). What this one's connection is then: who answers, its flags and options.
BESIDE = """
import ctypes, fcntl, os, select, socket, sys, threading
libc, alone, made, done = ctypes.CDLL(None), threading.Event(), threading.Event(), threading.Event()

def other():
    libc.close_range(1000, 1000, 2)
    alone.set()
    made.wait()
    os.pipe()
    os.dup2(socket.socket(type=socket.SOCK_DGRAM).detach(), number)
    mine = socket.socket(fileno=number)
    if sys.argv[1] == "F_SETFL":
        fcntl.fcntl(number, fcntl.F_SETFL, os.O_NONBLOCK)
    elif sys.argv[1] == "setsockopt":
        mine.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    elif sys.argv[1] == "bind":
        mine.bind(("10.1.0.1", 0))
    elif sys.argv[1] == "shutdown":
        libc.shutdown(number, socket.SHUT_RDWR)
    elif sys.argv[1] == "connect":
        mine.connect(("10.2.0.2", 81))
    elif sys.argv[1] == "dup":
        mine.dup()
    elif sys.argv[1] == "fdopen":
        libc.fdopen.restype = ctypes.c_void_p
        libc.fdopen(number, b"w")
    elif sys.argv[1] == "epoll":
        e = select.epoll()
        e.register(number, select.EPOLLIN)
    mine.detach()
    done.set()

socket.socket().close()  # the configuration is read by now
thread = threading.Thread(target=other)
thread.start()
alone.wait()
s = socket.socket()
number = s.fileno()
made.set()
done.wait()
print(s.connect_ex(("10.2.0.2", 80)), s.getblocking(), fcntl.fcntl(s, fcntl.F_GETFL) & os.O_NONBLOCK,
      s.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST))
s.sendall(b"GET /who HTTP/1.0\\r\\n\\r\\n")
print(s.makefile("rb").read().split(b"\\r\\n\\r\\n")[1].decode())
thread.join()
"""

# Another thread, with a table of its own, registers what it has under the number of this one's pending connection in the set
# that it has under the number of this one's, and takes it out. What this one's says then.
SETS_BESIDE = """
import ctypes, os, select, socket, threading
alone, made, done = threading.Event(), threading.Event(), threading.Event()

def other():
    ctypes.CDLL(None).close_range(1000, 1000, 2)
    alone.set()
    made.wait()
    first, mine = select.epoll(), socket.socket(type=socket.SOCK_DGRAM)
    os.dup2(first.fileno(), 500)
    os.dup2(mine.fileno(), number)
    its = select.epoll.fromfd(500)
    its.register(number, select.EPOLLIN)
    its.unregister(number)
    done.set()

socket.socket().close()  # the configuration is read by now
thread = threading.Thread(target=other, daemon=True)
thread.start()
alone.wait()
epoll = select.epoll()
os.dup2(epoll.fileno(), 500)
epoll = select.epoll.fromfd(500)
s = socket.socket()
number = s.fileno()
s.setblocking(False)
s.connect_ex(("10.2.0.2", 80))
epoll.register(s, select.EPOLLOUT)
made.set()
done.wait()
print(epoll.poll(5) == [(number, select.EPOLLOUT)], s.getpeername()[0])
thread.join()
"""

# A child in this thread's memory, as by vfork, has a table of its own and says so where there is no /proc: who answers then.
NO_PROC = """
import ctypes, os, socket, sys, threading
libc = ctypes.CDLL(None)
socket.socket().close()
threading.Thread(target=threading.Event().wait, daemon=True).start()
stack = ctypes.create_string_buffer(1 << 20)
say = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(lambda _: libc.close_range(1000, 1000, 2))
os.chroot(sys.argv[1])
child = libc.clone(say, ctypes.c_void_p(ctypes.addressof(stack) + (1 << 20) - 64 & ~63), 0x4111, None)
print(os.waitpid(child, 0)[1])
with socket.socket() as s:
    s.connect(("10.2.0.2", 80))
    s.sendall(b"GET /who HTTP/1.0\\r\\n\\r\\n")
    print(s.makefile("rb").read().split(b"\\r\\n\\r\\n")[1].decode(), flush=True)
"""

# A protocol that is to be put upon a connection: kernel TLS, and names that there are none of; of no connection, and of one
# that is being made.
UPON = """
import errno, socket, sys
s = socket.socket()
s.setblocking(False)
for state in "fresh", "pending":
    for name in b"tls", b"none such", b"":
        try:
            s.setsockopt(socket.IPPROTO_TCP, 31, name)  # TCP_ULP
            print(state, name, "taken")
        except OSError as e:
            print(state, name, errno.errorcode[e.errno])
    s.connect_ex((sys.argv[1], 80))
"""


class Upon(L.TestCase):
    """What the kernel says while it connects, and not what the converter's connection could have. Without CONFIG_TLS that is
    ENOENT of TCP in any case; a twin says otherwise. With it is only tried in so far as every option is taken."""

    def setUp(self):
        super().setUp()
        self.lab.converter("--fault", "silence")
        self.direct = self.lab.run(["/usr/bin/python3", "-c", UPON, servers.MUTE])
        self.assertEqual((self.direct.code, self.direct.err), (0, ""), self.direct)

    def upon(self, mptcp, strace=()):
        shim = self.lab.config("fast-open = cookie", f"timeout = 20s\nmptcp = {mptcp}")
        argv = [f"-ELD_PRELOAD={L.SHIM}", *(f"-E{k}={v}" for k, v in shim.items())] if strace else []
        r = self.lab.run([*strace, *argv, "/usr/bin/python3", "-c", UPON, L.SERVER], shim=None if strace else shim)
        self.assertEqual((r.code, r.err), (0, ""), r)
        return r.out.decode()

    def test_as_the_kernel_says(self):
        for mptcp in "off", "on":
            with self.subTest(mptcp=mptcp):
                self.assertEqual(self.upon(mptcp), self.direct.out.decode())

    def test_where_all_is_taken(self):
        self.need("strace")
        lines = self.upon("off", ["strace", "-f", "-qq", "-o", self.lab.file("strace"), "-e", "trace=setsockopt",
                                  "-e", "inject=setsockopt:retval=0"]).splitlines()
        self.assertEqual([line.split()[-1] for line in lines], ["taken"] * 3 + ["ENOTCONN"] * 3)


EARLY = """
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

__attribute__((constructor)) static void early(void)
{
	if (close(socket(AF_INET, SOCK_STREAM, 0)) < 0)
		abort();
}
"""


class SetUserId(L.TestCase):
    """In a set-user-ID process the environment counts for nothing, the administrator's file does."""

    def setUp(self):
        super().setUp()
        if not L.owns_several_users():
            self.skipTest("needs more than one user in the namespace")
        self.need("setpriv")
        self.lab.converter()
        self.dir = self.lab.file("setuid")
        self.dir.mkdir(mode=0o755)
        shutil.copy(L.SHIM, self.dir / "shim.so")
        for name, of, mode in (("curl", "curl", 0o755), ("curl-setuid", "curl", 0o4755),
                               ("setpriv-setuid", "setpriv", 0o4755)):
            shutil.copy(shutil.which(of), self.dir / name)
            os.chmod(self.dir / name, mode)

    def curl(self, name, environment, convert_conf=None, also=""):
        return self.run_as_nobody([self.dir / name, "-sS", WHO], environment, convert_conf, also)

    def through_root(self, argv, environment):
        """Started by nobody's set-user-ID program."""
        become = [self.dir / "setpriv-setuid", "--reuid=0", "--regid=0", "--clear-groups", "--"]
        return self.run_as_nobody(become + argv, environment)

    def run_as_nobody(self, argv, environment, convert_conf=None, also=""):
        """Where /etc/ld.so.preload names the shim: on a copy of /etc."""
        etc = self.lab.file("etc")
        script = f"""
            set -e
            cp -a /etc {etc}
            mount --bind {etc} /etc
            rm -f /etc/ld.so.preload /etc/convert.conf
            [ -z "$TEXT" ] || printf '%s' "$TEXT" > /etc/convert.conf
            unset TEXT
            echo {self.dir}/shim.so {also} > /etc/ld.so.preload
            exec setpriv --reuid 65534 --regid 65534 --clear-groups {shlex.join(map(str, argv))}
        """
        r = self.lab.run(["unshare", "--mount", "sh", "-c", script],
                         env=environment | {"TEXT": convert_conf or ""})
        self.assertEqual((r.code, r.err), (0, ""), r)
        return r.out.decode().strip()

    def test_environment(self):
        environment = self.lab.via() | {"CONVERT_LOG": str(self.lab.file("log"))}
        log = environment["CONVERT_LOG"]
        self.assertEqual(self.curl("curl-setuid", environment), L.CLIENT)
        self.assertFalse(os.path.exists(log), "it must not write where the user says")
        os.chmod(L.TMP, 0o777)
        self.addCleanup(os.chmod, L.TMP, 0o755)
        self.assertEqual(self.curl("curl", environment), L.ROUTER)
        self.assertTrue(os.path.exists(log))

    def test_what_it_starts(self):
        """Once it has become root, whole, what it starts is no set-user-ID program any more."""
        log = self.lab.file("log")
        who = self.through_root([self.dir / "curl", "-sS", WHO], self.lab.via() | {"CONVERT_LOG": str(log)})
        self.assertFalse(os.path.exists(log), "root must not write where a user says")
        self.assertEqual(who, L.CLIENT)

    def test_which_variables_it_hands_on(self):
        ours = [f"CONVERT_{name}" for name in (
            "CONF", "ADDR", "PORT", "COOKIE", "DISABLE", "STATE", "LOG", "LOG_LEVEL",
            "LOG_FORMAT", "RECEIPT", "PEERS", "PRELOAD")]
        others = ["CONVERT_STRICT", "CONVERT", "CONVERT_LO", "CONVERT_LOGS", "CONVERTER_LOG", "XDG_RUNTIME_DIR", "ZZ"]
        theirs = self.through_root(["env"], dict.fromkeys(ours + others, "/x")).splitlines()
        self.assertCountEqual([line[:-3] for line in theirs if line.endswith("=/x")], others)
        self.assertIn("HOME=" + L.ENVIRONMENT["HOME"], theirs)

    def test_file_named_by_the_user(self):
        conf = self.lab.config()
        self.assertEqual(self.curl("curl-setuid", conf), L.CLIENT)
        self.assertEqual(self.curl("curl", conf), L.ROUTER)

    def test_file_of_the_administrator(self):
        text = f"[converter lab]\naddress = {L.CONVERTER}\n"
        self.assertEqual(self.curl("curl-setuid", {"CONVERT_DISABLE": "1"}, text), L.ROUTER)
        self.assertEqual(self.curl("curl", {"CONVERT_DISABLE": "1"}, text), L.CLIENT)
        self.assertEqual(self.curl("curl", {}, text), L.ROUTER)

    def test_constructor_before_ours(self):
        """It opens a socket: what the environment says, or must not say, holds for it as for all others."""
        early = self.dir / "early.so"
        L.command(["gcc", "-shared", "-fPIC", "-o", early, self.lab.file("early.c", EARLY)])
        text = f"[converter lab]\naddress = {L.CONVERTER}\n"
        via, off = self.lab.via() | {"CONVERT_STRICT": "1"}, {"CONVERT_DISABLE": "1"}
        for name, environment, conf, who in (
                ("curl", via, None, L.ROUTER), ("curl-setuid", via, None, L.CLIENT),
                ("curl", off, text, L.CLIENT), ("curl-setuid", off, text, L.ROUTER)):
            with self.subTest(f"{name} {environment}"):
                self.assertEqual(self.curl(name, environment, conf, also=early), who)

    def test_state(self):
        """What root's processes have learned is not where a user says."""
        text = f"[converter lab]\naddress = {L.CONVERTER}\n"
        there = self.lab.file("state-of-users")
        there.mkdir()
        os.chmod(there, 0o777)
        state, run = there / "state", there / "run"
        environment = {"CONVERT_STATE": str(state), "XDG_RUNTIME_DIR": str(run)}
        self.assertEqual(self.curl("curl-setuid", environment, text), L.ROUTER)
        self.assertEqual(os.listdir(there), [])
        self.assertEqual(os.stat("/run/convert/state").st_uid, 0)
        self.assertEqual(self.curl("curl", environment, text), L.ROUTER)
        self.assertEqual(os.stat(state).st_uid, 65534)


class Wrapper(L.TestCase):
    """convert-run."""

    RUN = L.BUILD / "convert-run"

    def setUp(self):
        super().setUp()
        self.lab.converter()

    def wrap(self, *argv, env=None, cwd=None):
        return self.lab.run([self.RUN, *argv], env=env, cwd=cwd)

    def test_address(self):
        r = self.wrap("-a", L.CONVERTER, "-p", L.PORT, "curl", "-sS", WHO)
        self.assertEqual((r.code, r.out.decode().strip(), r.err), (0, L.ROUTER, ""), r)

    def test_file(self):
        conf = self.lab.config()["CONVERT_CONF"]
        for argv in (["-c", conf], ["-c", os.path.basename(conf), "--"]):
            r = self.wrap(*argv, "curl", "-sS", WHO, cwd=L.TMP)
            self.assertEqual((r.code, r.out.decode().strip(), r.err), (0, L.ROUTER, ""), r)

    def test_verbose(self):
        r = self.wrap("-v", "-a", L.CONVERTER, "curl", "-sS", WHO)
        self.assertEqual((r.code, r.out.decode().strip()), (0, L.ROUTER), r)
        self.assertRegex(r.err, r"info: converted .*: connected, \w+\n\Z")

    def test_exit_status(self):
        self.assertEqual(self.wrap("-a", L.CONVERTER, "sh", "-c", "exit 42").code, 42)
        self.assertEqual(self.wrap("-a", L.CONVERTER, "/nonexistent").code, 127)
        plain = self.lab.file("not-executable", "")
        self.assertEqual(self.wrap("-a", L.CONVERTER, plain).code, 126)
        for argv in ([], ["-x", "true"], ["-c"], ["-a"]):
            r = self.wrap(*argv)
            self.assertEqual((r.code, r.out), (2, b""), r)
            self.assertIn("convert-run", r.err)

    def test_arguments_are_the_programs(self):
        r = self.wrap("-a", L.CONVERTER, "printf", "%s|", "-v", "a b", "", "*")
        self.assertEqual(r.out, b"-v|a b||*|", r)

    def test_keeps_other_preloads(self):
        r = self.wrap("-a", L.CONVERTER, self.RUN, "sh", "-c", "echo $LD_PRELOAD",
                      env={"LD_PRELOAD": "libc.so.6"})
        self.assertEqual(r.out.decode().strip(), f"libc.so.6:{L.BUILT_SHIM}", r)

    def test_help_and_version(self):
        for option in ("-h", "--help", "-V", "--version"):
            r = self.wrap(option)
            self.assertEqual((r.code, r.err), (0, ""), r)
            self.assertIn(b"convert-run", r.out)


if __name__ == "__main__":
    L.main(setup)

#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""convert-run --any: programs that LD_PRELOAD does not reach, and all that they start.

test_any_transcript.py has what a program sees of its connections.
"""
import json
import os
import pathlib
import re
import resource
import signal
import socket
import statistics
import sys
import time

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L
import servers

RUN = L.BUILD / "convert-run"
STATIC = L.TOOLS / "static"
WHO = f"http://{L.SERVER}/who"
CURL = f"curl -sS --max-time 8 {WHO}"
IP_LOCAL_PORT_RANGE = 51  # Linux 6.3
SO_COOKIE = 57
PIDFD_OPEN = 434  # on every machine
GREETING = 2525  # a server that speaks first

GREETER = f"""
import socket
s = socket.create_server(("{L.SERVER}", {GREETING}))
while True:
    c, _ = s.accept()
    try:
        c.sendall(b"hello")
        c.recv(1)
    except OSError:
        pass  # a reset is an end as well
    c.close()
"""

# An epoll set whose entries say what they were made with, not a number.
EPOLL = f"""
import ctypes, fcntl, os, platform, select, socket, time
class Event(ctypes.Structure):
    _pack_ = 1 if platform.machine() == "x86_64" else 8
    _fields_ = [("events", ctypes.c_uint32), ("data", ctypes.c_uint64)]
libc = ctypes.CDLL(None, use_errno=True)
epfd = libc.epoll_create1(0)
def add(fd, data):
    assert libc.epoll_ctl(epfd, 1, fd, ctypes.byref(Event(select.EPOLLIN, data))) == 0
def connect(s):
    s.setblocking(False)
    assert s.connect_ex(("{L.SERVER}", {GREETING})) == 115
    assert select.select([], [s], [], 8)[1]
    assert not (err := s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)), err
    assert select.select([s], [], [], 8)[0]
def readable(s):
    n = libc.epoll_wait(epfd, found := (Event * 9)(), 9, 0)
    assert s.recv(9) == b"hello"
    return [e.data for e in found[:n] if e.events & select.EPOLLIN]
"""


def setup(lab):
    servers.nginx(lab)
    servers.nowhere(lab)
    lab.start("server", ["python3", "-c", GREETER], name="greeter").wait_for_listeners(GREETING)


def children_of(pid):
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in children.read_text().split()] if children.exists() else []


def supervisor_of(process):
    """... of a process that has become convert-run."""
    return L.wait_for("the supervisor", lambda: children_of(process.pid))[0]


def names_of_children(pid, but=None):
    return [pathlib.Path(f"/proc/{child}/comm").read_text().strip() for child in children_of(pid) if child != but]


def is_in_call(pid, number):
    """proc_pid_syscall(5)"""
    try:
        return pathlib.Path(f"/proc/{pid}/syscall").read_text().split()[0] == str(number)
    except OSError:  # it has ended
        return False


def sockets_of(pid):
    """How many of its descriptors are sockets; one may be closed meanwhile."""
    def is_socket(fd):
        try:
            return os.readlink(fd).startswith("socket:")
        except OSError:
            return False
    return sum(map(is_socket, pathlib.Path(f"/proc/{pid}/fd").iterdir()))


class Any(L.TestCase):
    def setUp(self):
        self.conf = self.environment()

    def environment(self, settings="", policy="", address=(L.CONVERTER, L.CONVERTER6), **more):
        return self.lab.config(settings, policy, address=list(address), **more)

    def any(self, *words, options=(), **more):
        return self.lab.run([RUN, "--any", *options, *words], env=self.conf, **more)

    def log(self):
        path = pathlib.Path(self.conf["LAB_LOG"])
        return path.read_text() if path.exists() else ""

    def start(self, *words, options=(), **more):
        return self.lab.started(L.Process("client", [RUN, "--any", *options, *words],
                                          env=self.conf | more))

    def check_all_sleep(self, process):
        both = process.pid, supervisor_of(process)
        states = [L.state_of(pid) for _ in range(40) for pid in (both, time.sleep(0.01))[0]]
        self.assertGreater(states.count("S"), 70, states)

    def python(self, code, **more):
        return self.any("/usr/bin/python3", "-c", code, **more)

    def traced(self, inject, code):
        """Run by a supervisor whose system calls are disturbed."""
        flag = self.lab.file("flag")
        process = self.start("/usr/bin/python3", "-c", f"""if True:
            import ctypes, errno, os, select, signal, socket, struct, threading, time
            libc = ctypes.CDLL(None, use_errno=True)
            to = struct.pack("!HH4s8x", socket.htons(2), {GREETING}, socket.inet_aton("{L.SERVER}"))
            def state(s):
                return s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
            while not os.path.exists("{flag}"):
                time.sleep(0.02)
            {code}""")
        strace = self.lab.start("client", ["strace", "-e", f"inject={inject}", "-e", f"trace={inject.split(':')[0]}",
                                           "-p", supervisor_of(process)])
        strace.wait_for("it", lambda: "attached" in strace.text())
        flag.write_text("")
        self.assertEqual(process.process.wait(60), 0, process.text())
        return process.text()

    def is_converted(self, r):
        self.assertEqual((r.code, r.out.decode().strip(), r.err), (0, L.ROUTER, ""), r)


class Connections(Any):
    def test_connected(self):
        """Each way to wait, each family."""
        self.lab.converter()
        for server in L.SERVER, L.SERVER6:
            for case in "blocking_exchange", "poll_exchange":
                with self.subTest(server=server, case=case):
                    r = self.any(STATIC / "transcript", case, server, 80)
                    self.assertIn(f"{server} port 80", r.out.decode(), r)
                    self.assertIn("200 OK, ends hello from nginx", r.out.decode(), r)
        self.assertEqual(self.log().count(": connected"), 4, self.log())
        for how in "blocking", "poll", "select", "epoll":
            r = self.any(STATIC / "one", how, L.SERVER, 80, "/small")
            self.assertEqual(r.code, 0, r)
        self.assertEqual(self.log().count(": connected"), 8, self.log())

    def test_multipath(self):
        converter = self.lab.converter("--mptcp")
        self.conf = self.environment(policy="mptcp = on")
        self.is_converted(self.any("curl", "-sS", WHO))
        self.assertEqual([e["mptcp"] for e in converter.events("accept", 1)], ["yes"])

    def test_refused(self):
        self.lab.converter()
        r = self.any(STATIC / "transcript", "blocking", L.SERVER, 81)
        self.assertEqual(r.out.split(b"\n")[0], b"connect: ECONNREFUSED", r)
        self.assertIn("failed", self.log())

    def test_no_converter(self):
        """fallback = none: the program is told; direct: it is connected."""
        r = self.any("curl", "-sS", WHO)
        self.assertEqual(r.code, 7, r)
        self.conf = self.environment(policy="fallback = direct")
        r = self.any("curl", "-sS", WHO)
        self.assertEqual((r.code, r.out.decode().strip()), (0, L.CLIENT), r)

    def test_rules(self):
        self.lab.converter()
        self.conf = self.environment(policy=f"rule = direct to {L.SERVER}")
        r = self.any("curl", "-sS", WHO)
        self.assertEqual((r.code, r.out.decode().strip()), (0, L.CLIENT), r)

    def test_not_configured(self):
        self.conf = {"CONVERT_CONF": "/dev/null"}
        r = self.any("curl", "-sS", WHO, options=["-q"])
        self.assertEqual((r.code, r.out.decode().strip(), r.err), (0, L.CLIENT, ""), r)

    def test_error_in_little_room(self):
        """As much of it is written as there is room for, and that is what is told; then it is taken. Not if the room is none."""
        self.lab.converter()
        for host, rooms in (servers.MUTE, [8, 4, 3, 2, 1, 0, -1]), (servers.UNREACHABLE, [8, 2, -1]):
            code = f"""if True:
                import ctypes, errno, select, socket
                libc = ctypes.CDLL(None, use_errno=True)
                def error(room):
                    value, length = (ctypes.c_ubyte * 8)(*[0xee] * 8), ctypes.c_int(room)
                    r = libc.getsockopt(s.fileno(), socket.SOL_SOCKET, socket.SO_ERROR, value, ctypes.byref(length))
                    return r, errno.errorcode.get(r and ctypes.get_errno()), bytes(value).hex(), length.value
                for room in {rooms}:
                    s = socket.socket()
                    s.setblocking(False)
                    assert s.connect_ex(("{host}", 80)) == 115
                    assert "{host}" == "{servers.MUTE}" or select.select([], [s], [], 8)[1]
                    print(room, *error(room), *error(4))"""
            plain = self.lab.run(["/usr/bin/python3", "-c", code])
            self.assertEqual((plain.code, plain.out.count(b"\n")), (0, len(rooms)), plain)
            with self.subTest(host):
                r = self.python(code)
                self.assertEqual(r.out.decode(), plain.out.decode(), r)

    def test_loop(self):
        """One thread, 100 connections at once, none of which it waits for."""
        self.lab.converter()
        started = time.monotonic()
        r = self.any(STATIC / "loop", L.SERVER, 80, "/small", 100)
        self.assertEqual(r.code, 0, r)
        self.note(f"{r.out.decode().strip()}; {time.monotonic() - started:.2f} s")
        self.assertEqual(self.log().count(": connected"), 100)

    def test_library_in_ourselves(self):
        """... as in a shell that convert-run has started: what the supervisor connects to nowhere it leaves alone."""
        self.lab.converter()
        self.conf = self.environment() | {"LD_PRELOAD": str(L.SHIM)}
        for how in "blocking", "poll", "select", "epoll":
            r = self.any(STATIC / "one", how, L.SERVER, 80, "/small")
            self.assertEqual(r.code, 0, r)
        self.assertEqual(self.log().count(": connected"), 4, self.log())
        self.assertEqual(self.log().count("\n"), 4, self.log())

    def speaks_first(self):
        r = self.python(f"""if True:
            import select, socket
            s = socket.socket()
            s.setblocking(False)
            try:
                s.connect(("{L.SERVER}", {GREETING}))
            except BlockingIOError:
                pass
            p = select.poll()
            p.register(s, select.POLLIN)
            assert p.poll(8000)
            print(s.recv(9), s.getpeername())
            s.sendall(b"x")
            p.poll(8000)
            print(s.recv(9))""")
        self.assertEqual(r.out.decode(), f"b'hello' ('{L.SERVER}', {GREETING})\nb''\n", r)

    def test_server_speaks_first(self):
        """... to a program that has never asked whether it is connected: the supervisor relays."""
        self.lab.converter()
        self.speaks_first()
        self.assertIn(": connected", self.log())

    def test_server_speaks_first_directly(self):
        """... as the converter has failed."""
        self.conf = self.environment(policy="fallback = direct")
        self.speaks_first()
        self.assertIn("falling back", self.log())

    def test_another_family(self):
        """A program of IPv4, a converter of IPv6: the names are IPv4's."""
        self.lab.converter()
        self.conf = self.environment(address=[L.CONVERTER6])
        r = self.python(f"""if True:
            import socket
            s = socket.create_connection(("{L.SERVER}", 80))
            print(s.getpeername(), s.getsockname()[0])""")
        self.assertEqual(r.out.decode(), f"('{L.SERVER}', 80) 0.0.0.0\n", r)
        self.assertIn(": connected", self.log())

    def test_bound(self):
        """The program's address and port, and what it has set."""
        self.lab.converter()
        r = self.python(f"""if True:
            import socket
            s = socket.socket()
            s.bind(("{L.CLIENT}", 4567))
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            s.settimeout(8)
            s.connect(("{L.SERVER}", 80))
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 77)
            print(s.getsockname(), s.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY),
                  s.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), s.getblocking(),
                  s.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE), s.get_inheritable())""")
        self.assertEqual(r.out.decode(), f"('{L.CLIENT}', 4567) 1 1 True 77 False\n", r)
        self.assertIn(": connected", self.log())

    def test_signals_its_owner(self):
        """Who hears of what comes by a signal, and by which; options that say another value once it is connected."""
        self.lab.converter()
        for blocking in True, False:
            r = self.python(f"""if True:
                import fcntl, os, select, signal, socket
                number = signal.SIGRTMIN + 3
                signal.pthread_sigmask(signal.SIG_BLOCK, [number])
                s = socket.socket()
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 700)
                s.setsockopt(socket.SOL_SOCKET, 37, 16)  # SO_TIMESTAMPING: of the software
                fcntl.fcntl(s, fcntl.F_SETOWN, os.getpid())
                fcntl.fcntl(s, 10, number)  # F_SETSIG
                s.setblocking({blocking})
                fcntl.fcntl(s, fcntl.F_SETFL, fcntl.fcntl(s, fcntl.F_GETFL) | os.O_ASYNC)
                s.connect_ex(("{L.SERVER}", 80))
                assert select.select([], [s], [], 8)[1]
                assert not s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                while signal.sigtimedwait([number], 0.1):
                    pass
                s.sendall(b"GET /who HTTP/1.0\\r\\n\\r\\n")
                print(bool(signal.sigtimedwait([number], 8)), fcntl.fcntl(s, fcntl.F_GETOWN) == os.getpid(),
                      fcntl.fcntl(s, 11) == number, s.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) <= 700,
                      s.getsockopt(socket.SOL_SOCKET, 37))""")
            self.assertEqual(r.out, b"True True True True 16\n", r)
        self.assertEqual(self.log().count(": connected"), 2, self.log())

    def test_signals_nobody_else(self):
        """Whoever has given up his rights has no signal sent to those who have not, with or without us."""
        if not L.owns_several_users():
            self.skipTest("needs more than one user in the namespace")
        self.lab.converter()
        r = self.python(f"""if True:
            import fcntl, os, select, signal, socket
            number, other, uid = signal.SIGRTMIN + 3, os.getpid(), {L.nobody_else()}
            signal.pthread_sigmask(signal.SIG_BLOCK, [number])
            if os.fork() == 0:
                os.setresuid(uid, uid, uid)
                s = socket.socket()
                fcntl.fcntl(s, fcntl.F_SETOWN, other)
                fcntl.fcntl(s, 10, number)  # F_SETSIG
                s.setblocking(False)
                fcntl.fcntl(s, fcntl.F_SETFL, fcntl.fcntl(s, fcntl.F_GETFL) | os.O_ASYNC)
                s.connect_ex(("{L.SERVER}", 80))
                assert select.select([], [s], [], 8)[1]
                assert not s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                s.sendall(b"GET /who HTTP/1.0\\r\\n\\r\\n")
                select.select([s], [], [], 8)
                print(len(s.recv(1000)) > 20, flush=True)
                os._exit(0)
            os.wait()
            print(signal.sigtimedwait([number], 0.5))""")
        self.assertEqual(r.out, b"True\nNone\n", r)
        self.assertIn(": connected", self.log())

    def test_last_number(self):
        """The program's socket has the last number that there may be."""
        self.lab.converter()
        code = EPOLL + """if True:
            low = socket.socket()
            s = socket.socket(fileno=fcntl.fcntl(low.fileno(), fcntl.F_DUPFD, 255))
            low.close()
            add(s.fileno(), 7)
            connect(s)
            print(readable(s))"""
        r = self.lab.run(["sh", "-c", 'ulimit -n 256; exec "$@"', "sh", RUN, "--any", "/usr/bin/python3", "-c", code],
                         env=self.conf)
        self.assertEqual(r.out.decode(), "[7]\n", r)
        self.assertIn(": connected", self.log())

    def test_number_above_the_limit(self):
        """The program has a number that the supervisor may not have, as its limit has been raised."""
        self.lab.converter()
        flag = self.lab.file("flag")
        process = self.start("/usr/bin/python3", "-c", EPOLL + f"""if True:
            low = socket.socket()
            s = socket.socket(fileno=fcntl.fcntl(low.fileno(), fcntl.F_DUPFD, 300))
            low.close()
            add(s.fileno(), 7)
            while not os.path.exists("{flag}"):
                time.sleep(0.02)
            connect(s)
            print(readable(s), s.getpeername()[0])""")
        supervisor = supervisor_of(process)
        L.wait_for("the program", lambda: "python3" in names_of_children(supervisor))
        resource.prlimit(supervisor, resource.RLIMIT_NOFILE, (256, 256))
        flag.write_text("")
        self.assertEqual(process.process.wait(20), 0, process.text())
        self.assertEqual(process.text(), f"[7] {L.SERVER}\n")
        self.assertIn(": connected", self.log())

    def test_number_given_away(self):
        """... by another thread, while the supervisor, here a slow one, is about to put the connection in place:
        what has it then stays there."""
        self.lab.converter()
        flag = self.lab.file("flag")
        process = self.start("/usr/bin/python3", "-c", EPOLL + f"""if True:
            import threading
            def ask():
                libc.getsockopt(number, 1, 4, ctypes.byref(ctypes.c_int()), ctypes.byref(ctypes.c_uint(4)))
            while not os.path.exists("{flag}"):
                time.sleep(0.02)
            null = os.open("/dev/null", os.O_RDWR)
            for i in range(2):
                s = socket.socket()
                s.setblocking(False)
                s.connect_ex(("{L.SERVER}", 80))
                assert select.select([], [s], [], 8)[1]
                number = s.fileno()
                thread = threading.Thread(target=ask)
                thread.start()
                time.sleep(0.15)
                os.dup2(null, number)
                thread.join()
                print(os.path.samestat(os.fstat(number), os.fstat(null)))
                os.close(s.detach())""")
        strace = self.lab.start("client", ["strace", "-e", "inject=fcntl:delay_enter=200000", "-e", "trace=fcntl",
                                           "-p", supervisor_of(process)])
        strace.wait_for("it", lambda: "attached" in strace.text())
        flag.write_text("")
        self.assertEqual(process.process.wait(60), 0, process.text())
        self.assertEqual(process.text(), "True\n" * 2)
        self.assertEqual(self.log().count(": connected"), 2, self.log())

    def test_forked_meanwhile(self):
        """A child has the socket before it is connected. Both, or the one that asks, have the connection."""
        self.lab.converter()
        for parent, child, is_read in ("pass", "pass", True), ("ask()", "ask()", True), ("ask()", "pass", False):
            r = self.python(f"""if True:
                import os, select, socket, time
                def ask():
                    assert select.select([], [s], [], 8)[1]
                    assert not s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                s = socket.socket()
                s.setblocking(False)
                s.connect_ex(("{L.SERVER}", {GREETING}))
                if os.fork():
                    {parent}
                    s.close()
                    raise SystemExit(os.waitstatus_to_exitcode(os.wait()[1]))
                time.sleep(0.3)
                {child}
                print(bool(select.select([s], [], [], {8 if is_read else 1})[0]) and s.recv(9))""")
            self.assertEqual(r.out.decode(), "b'hello'\n" if is_read else "False\n", r)
        self.assertEqual(self.log().count(": connected"), 3, self.log())

    def test_refused_elsewhere(self):
        """The socket has left the number that it was begun under: who has it is told at once, too."""
        self.lab.converter("--fault", "error=96,delay=1000")
        for nonblocking, leaves in (True, "os.fork() and leave()"), (True, "again()"), (False, "again()"):
            r = self.python(f"""if True:
                import errno, os, select, socket, threading, time
                def begun():
                    return s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == 2  # SYN_SENT
                def leave():
                    s.close()
                    raise SystemExit(os.waitstatus_to_exitcode(os.wait()[1]))
                def again():
                    global s
                    s, number = s.dup(), s.detach()
                    os.close(number)
                s = socket.socket()
                s.setblocking(not {nonblocking})
                connect = threading.Thread(target=s.connect_ex, args=[("{L.SERVER}", 80)])
                connect.start()
                {nonblocking} and connect.join()
                while connect.is_alive() and not begun():
                    time.sleep(0.01)
                {leaves}
                print(bool(select.select([], [s], [], 8)[1]))
                print(errno.errorcode.get(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)))""")
            self.assertEqual(r.out, b"True\nECONNRESET\n", r)
            self.assertLess(r.seconds, 6)

    def test_name_again(self):
        """A socket has the name of one that was closed while it was connecting: it gets its own connection or error."""
        try:
            with socket.socket() as s:
                s.getsockopt(socket.IPPROTO_IP, IP_LOCAL_PORT_RANGE)
        except OSError:
            self.skipTest("no IP_LOCAL_PORT_RANGE in this kernel")
        for fault, told in ("delay=500", "0 b'hello'"), ("error=65,delay=500", "101 b''"):
            converter = self.lab.converter("--fault", fault)
            self.conf = self.environment()
            r = self.python(f"""if True:
                import select, socket, struct, time
                def begin(port):
                    s = socket.socket()
                    s.setblocking(False)
                    s.setsockopt(socket.IPPROTO_IP, {IP_LOCAL_PORT_RANGE}, struct.pack("2H", 43210, 43210))
                    assert s.connect_ex(("{L.SERVER}", port)) == 115
                    assert s.getsockname()[1] == 43210
                    return s
                begin(80).close()
                time.sleep(0.3)
                s = begin({GREETING})
                assert select.select([], [s], [], 8)[1]
                err = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                s.settimeout(8)
                print(err, b"" if err else s.recv(9))""")
            self.assertEqual(r.out.decode(), told + "\n", r)
            converter.stop()

    def test_taken_back(self):
        """... and connected anew, which a rule has directly: the peer is the new one."""
        self.lab.converter()
        self.conf = self.environment(policy=f"rule = direct to {L.SERVER} port {GREETING}")
        for blocking in True, False:
            r = self.python(f"""if True:
                import ctypes, socket
                s = socket.socket()
                s.settimeout(None if {blocking} else 8)
                s.connect(("{L.SERVER}", 80))
                print(s.getpeername())
                assert ctypes.CDLL(None).connect(s.fileno(), bytes(16), 16) == 0
                s.connect(("{L.SERVER}", {GREETING}))
                print(s.getpeername())""")
            self.assertEqual(r.out.decode(), f"('{L.SERVER}', 80)\n('{L.SERVER}', {GREETING})\n", r)
        self.assertEqual(self.log().count(": connected"), 2, self.log())

    def test_taken_back_meanwhile(self):
        """... by another thread, or by a child, while one waits in connect(): that one is told what it is directly."""
        self.lab.converter()
        for how, told in (("take_back()", "EPIPE"), ("shut(); again()", "ECONNRESET"),
                          ("os.fork() == 0 and (take_back(), os._exit(0))", "EPIPE")):
            code = f"""if True:
                import ctypes, errno, os, socket, threading, time
                def take_back():
                    ctypes.CDLL(None).connect(s.fileno(), bytes(16), 16)
                def shut():
                    s.shutdown(socket.SHUT_RDWR)
                def again():
                    s.setblocking(False)
                    s.connect_ex(to)
                to, s, told = ("{servers.MUTE}", 80), socket.socket(), []
                thread = threading.Thread(target=lambda: told.append(s.connect_ex(to)), daemon=True)
                thread.start()
                while s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != 2:  # SYN_SENT
                    time.sleep(0.01)
                {how}
                thread.join(4)
                print([errno.errorcode.get(err) for err in told], flush=True)
                os._exit(0)"""
            with self.subTest(how):
                self.assertEqual(self.python(code).out.decode(), f"['{told}']\n")
                # directly another connect() at once may be what the first one goes on to wait for
                natively = self.lab.run(["/usr/bin/python3", "-c", code.replace("; again()", "")])
                self.assertEqual(natively.out.decode(), f"['{told}']\n")

    def test_peer_of_an_old_one(self):
        """A connection is older than another whose cookie has the same place in the supervisor's table."""
        self.lab.converter()
        cpu = min(os.sched_getaffinity(0))  # each has cookies of its own, one by one
        r = self.lab.run(["taskset", "-c", cpu, RUN, "--any", "/usr/bin/python3", "-c", f"""if True:
            import socket, struct
            def distance(s):
                return (first - struct.unpack("Q", s.getsockopt(socket.SOL_SOCKET, {SO_COOKIE}, 8))[0]) % 65536
            def is_next():
                with socket.socket() as s:
                    return distance(s) == 2  # the next one is the program's socket, and then comes the connection
            first, kept = 0, socket.create_connection(("{L.SERVER}", {GREETING}), 8)
            first = -distance(kept) % 65536
            for _ in range(50):
                while not is_next():
                    pass
                s = socket.create_connection(("{L.SERVER}", {GREETING}), 8)
                if distance(s) == 0:
                    break
            print(distance(s), kept.getpeername(), s.getpeername())"""], env=self.conf, timeout=60)
        self.assertEqual(r.out.decode(), f"0 ('{L.SERVER}', {GREETING}) ('{L.SERVER}', {GREETING})\n", r)

    def test_time_limit(self):
        """SO_SNDTIMEO holds for a socket of Multipath TCP, too; not where it has to wait and should not."""
        self.lab.converter("--fault", "delay=2000")
        r = self.python(f"""if True:
            import ctypes, errno, socket, struct
            libc = ctypes.CDLL(None, use_errno=True)
            to = struct.pack("!HH4s8x", socket.htons(2), {GREETING}, socket.inet_aton("{L.SERVER}"))
            def connect(limit):
                s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 0, limit))
                return errno.errorcode[ctypes.get_errno()] if libc.connect(s.fileno(), to, 16) else "connected"
            for blocking in True, False:
                s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
                s.setblocking(blocking)
                print(*map(connect, (300000, 300000, 0)))
                s.settimeout(8)
                print(s.recv(9))""")
        self.assertEqual(r.out.decode(), "EINPROGRESS EALREADY connected\nb'hello'\n"
                         "connected EISCONN EISCONN\nb'hello'\n", r)
        self.assertEqual(self.log().count(": connected"), 2, self.log())

    def test_refused_without_first_thread(self):
        """The program's first thread has ended; who goes on learns why it failed."""
        self.lab.converter("--fault", "error=65")
        r = self.python(f"""if True:
            import ctypes, errno, os, select, socket, threading, time
            def run():
                while ") Z" not in open("/proc/self/stat").read():
                    time.sleep(0.02)
                s = socket.socket()
                s.setblocking(False)
                s.connect_ex(("{L.SERVER}", 80))
                assert select.select([], [s], [], 8)[1]
                print(errno.errorcode.get(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)), flush=True)
                os._exit(0)
            threading.Thread(target=run).start()
            ctypes.CDLL(None).pthread_exit(None)""")
        self.assertEqual(r.out, b"ENETUNREACH\n", r)

    def test_many_sets(self):
        """More epoll sets than anybody has, of which the last ones hold the socket."""
        self.lab.converter()
        r = self.python(EPOLL + """if True:
            sets = []
            for i in range(100):
                s = socket.socket() if not i else s
                epfd = libc.epoll_create1(0)
                add(s.fileno(), i)
                sets.append(epfd)
            connect(s)
            found = []
            for epfd in sets:
                n = libc.epoll_wait(epfd, event := (Event * 9)(), 9, 0)
                found += [e.data for e in event[:n]]
            print(found == list(range(100)), len(found))""")
        self.assertEqual(r.out.decode(), "True 100\n", r)

    def test_number_again(self):
        """An epoll set still has another socket, which had the program's number before."""
        self.lab.converter()
        r = self.python(EPOLL + """if True:
            for which in 0, 1, 0, 1:  # the kernel sorts them by their addresses
                made = [socket.socket() for i in range(2)]
                first, s = made[which], made[1 - which]
                number = fcntl.fcntl(first.fileno(), fcntl.F_DUPFD, 200)
                add(number, 3)
                os.dup2(s.fileno(), number)
                s.close()
                s = socket.socket(fileno=number)
                add(number, 7)
                connect(s)
                print(readable(s))
                s.close()
                first.close()""")
        self.assertEqual(r.out.decode(), "[7]\n" * 4, r)
        self.assertEqual(self.log().count(": connected"), 4, self.log())

    def test_number_not_registered(self):
        """... and the program's own is not in the set."""
        self.lab.converter()
        r = self.python(EPOLL + """if True:
            first = socket.socket()
            number = fcntl.fcntl(first.fileno(), fcntl.F_DUPFD, 200)
            add(number, 3)
            with socket.socket() as s:
                os.dup2(s.fileno(), number)
            s = socket.socket(fileno=number)
            connect(s)
            print(readable(s))""")
        self.assertEqual(r.out.decode(), "[]\n", r)
        self.assertIn(": connected", self.log())

    def test_abis(self):
        self.lab.converter()
        ways = ["x86-64", "i386", "socketcall"]
        # a kernel without i386's calls ends who makes one, here as there
        natively = self.lab.run([STATIC / "abis", "i386", L.SERVER, 80])
        if natively.code == -signal.SIGSEGV:
            self.note("this kernel has no calls of i386")
            self.assertEqual([self.any(STATIC / "abis", ways.pop(), L.SERVER, 80).code for _ in ways[1:]],
                             [natively.code] * 2)
        for how in ways:
            r = self.any(STATIC / "abis", how, L.SERVER, 80)
            self.assertEqual(r.out.decode(), f"connect: 0, peer: {L.SERVER}:80\n", r)
        self.assertEqual(self.log().count(": connected"), len(ways), self.log())
        r = self.any(STATIC / "abis", "x32", L.SERVER, 80)
        self.assertEqual(r.out.decode(), "connect: ENOSYS, peer: ENOSYS:0\n", r)


def closed(which, *words):
    """The command line that runs words without some of its standard descriptors."""
    return ["sh", "-c", f'exec "$@" {" ".join(f"{fd}>&-" for fd in which)}', "sh", *words]


class Closed(Any):
    """Standard descriptors that whoever has started us has closed: none of ours is taken for one of them."""

    def program(self, out, flag="/"):
        return "/usr/bin/python3", "-c", f"""if True:
            import os, socket, time
            def is_open(fd):
                try:
                    return bool(os.fstat(fd))
                except OSError:
                    return False
            there = [fd for fd in range(3) if is_open(fd)]
            s = socket.create_connection(("{L.SERVER}", {GREETING}), 8)
            text = f"{{there}} {{s.recv(9)}}"
            with open("{out}", "w") as out:
                out.write(text)
            while not os.path.exists("{flag}"):
                time.sleep(0.02)
            raise SystemExit(7)"""

    def test_converted(self):
        self.lab.converter()
        for options in ["--any"], ["--any", "-vv"], ["--any", "--receipt"], [], ["--receipt"]:
            for which in [0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2]:
                with self.subTest(options=options, closed=which):
                    self.check(options, which)

    def check(self, options, which):
        self.conf = self.environment()
        out, receipt = self.lab.file("out"), self.lab.file("receipt.json")
        options = [f"--receipt={receipt}" if option == "--receipt" else option for option in options]
        r = self.lab.run(closed(which, RUN, *options, *self.program(out)), env=self.conf, timeout=10)
        self.assertEqual(r.code, 7, r)
        self.assertEqual(out.read_text(), f"{[fd for fd in range(3) if fd not in which]} b'hello'", r)
        if "-vv" not in options:
            self.assertIn(": connected", self.log())
        if receipt.exists():
            self.assertEqual(json.loads(receipt.read_text())["sum"]["converted"], 1)

    def test_nobody_spins(self):
        """... while nothing happens: of those that look, nobody is ever at work."""
        self.lab.converter()
        for which in [0], [0, 1], [0, 1, 2]:
            with self.subTest(closed=which):
                out, flag = self.lab.file("out"), self.lab.file("flag")
                process = self.lab.started(L.Process("client", closed(which, RUN, "--any", *self.program(out, flag)),
                                                     env=self.conf))
                L.wait_for("the connection", lambda: out.exists() and out.read_text())  # noqa: B023
                self.check_all_sleep(process)
                flag.write_text("")
                self.assertEqual(process.process.wait(10), 7)


# What a program and its server may do to a connection, each by its port: what they have heard goes to a file.
RELAYED = 2600
RELAY_SERVER = """
import fcntl, os, socket, struct, sys, termios, threading, time
def hear(s):
    n = 0
    try:
        while (piece := s.recv(1 << 16)):
            n += len(piece)
        return f"{n} end"
    except OSError as e:
        return f"{n} {os.strerror(e.errno)}"
def reset(s):
    while struct.unpack("i", fcntl.ioctl(s, termios.TIOCOUTQ, bytes(4)))[0]:
        time.sleep(0.01)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
def answer(s):
    s.sendall(hear(s).encode())
def speak(s):
    s.sendall(b"x" * 100000)
    s.shutdown(socket.SHUT_WR)
    tell(s)
def tell(s):
    time.sleep(1)
    with open(sys.argv[1], "a") as out:
        out.write(hear(s) + "\\n")
def cut(s):
    time.sleep(0.3)  # who asks has asked
    s.sendall(b"x" * 100000)
    reset(s)
def handle(what, s):
    with s:
        what(s)
def serve(i, what):
    listener = socket.create_server(("", %d + i))
    while True:
        threading.Thread(target=handle, args=[what, listener.accept()[0]]).start()
for i, what in enumerate([answer, speak, tell, cut]):
    threading.Thread(target=serve, args=[i, what]).start()
""" % RELAYED
ANSWER, SPEAK, TELL, CUT = range(RELAYED, RELAYED + 4)


class Relays(Any):
    """A program that asks whether it is connected, and one that never does, so that its bytes go by the supervisor:
    the same."""

    def setUp(self):
        super().setUp()
        self.lab.converter()
        self.heard = self.lab.file("heard", "")
        self.lab.start("server", ["/usr/bin/python3", "-c", RELAY_SERVER.replace("sys.argv[1]", repr(str(self.heard)))],
                       name="relayed").wait_for_listeners(*range(RELAYED, RELAYED + 4))

    def both(self, code, out, heard=""):
        for asks in "assert not s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)", "pass":
            with self.subTest(asks):
                self.heard.write_text("")
                r = self.python(f"""if True:
                    import errno, os, select, socket, struct, sys, time
                    def connect(port):
                        s = socket.socket()
                        s.setblocking(False)
                        s.connect_ex(("{L.SERVER}", port))
                        assert select.select([], [s], [], 8)[1]
                        {asks}
                        s.settimeout(8)
                        return s
                    def hear(s):
                        n = 0
                        try:
                            while (piece := s.recv(1 << 16)):
                                n += len(piece) if n or len(piece) > 99 else 0
                            return n or "end"
                        except OSError as e:
                            return f"{{n}} {{os.strerror(e.errno)}}"
                    {code}""")
                self.assertEqual(r.out.decode(), out, r)
                L.wait_for("the server", lambda: self.heard.read_text() == heard or not heard)
        self.assertEqual(self.log().count(": connected"), 2, self.log())

    def test_program_ends_first(self):
        for said in 0, 3000000:
            self.conf = self.environment()
            self.both(f"""s = connect({ANSWER})
                    s.sendall(b"x" * {said})
                    s.shutdown(socket.SHUT_WR)
                    print(s.recv(99))
                    print(s.recv(99))""", f"b'{said} end'\nb''\n")

    def test_server_ends_first(self):
        self.both(f"""s = connect({SPEAK})
                    print(hear(s))
                    s.sendall(b"x" * 3000000)
                    s.close()""", "100000\n", "3000000 end\n")

    def test_server_resets(self):
        self.both(f"""s = connect({CUT})
                    time.sleep(0.5)
                    print(hear(s))""", "100000 Connection reset by peer\n")

    def test_program_resets(self):
        for pause in 0, 1.5:  # before what goes by there is looked at, and behind that
            self.conf = self.environment()
            self.both(f"""s = connect({TELL})
                    time.sleep({pause})
                    s.sendall(b"x" * 3000)
                    time.sleep(0.5)
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    s.close()
                    time.sleep(0.5)""", "", "3000 Connection reset by peer\n")

    def test_program_resets_without_a_word(self):
        self.both(f"""s = connect({TELL})
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    s.close()
                    time.sleep(0.5)""", "", "0 Connection reset by peer\n")

    def test_program_is_gone(self):
        """... before all that it has written has left."""
        self.both(f"""s = connect({TELL})
                    s.sendall(b"x" * 16000000)
                    os._exit(0)""", "", "16000000 end\n")

    def test_one_of_two_is_gone(self):
        """A child has the socket from before it was connected; it writes, and ends."""
        r = self.python(f"""if True:
            import os, select, socket
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(("{L.SERVER}", {ANSWER}))
            asked, has_asked = os.pipe()
            if os.fork() == 0:
                os.read(asked, 1)
                s.send(b"x" * 1000)
                os._exit(0)
            assert select.select([], [s], [], 8)[1]
            assert not s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            s.settimeout(8)
            os.write(has_asked, b"x")
            os.wait()
            select.select([], [], [], 0.5)
            s.sendall(b"x" * 1000)
            s.shutdown(socket.SHUT_WR)
            print(s.recv(99))""")
        self.assertEqual(r.out.decode(), "b'2000 end'\n", r)

    def test_nobody_spins(self):
        """... while nothing goes by."""
        flag, out = self.lab.file("flag"), self.lab.file("out")
        process = self.start("/usr/bin/python3", "-c", f"""if True:
            import os, select, socket, time
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(("{L.SERVER}", {GREETING}))
            assert select.select([s], [], [], 8)[0]
            open("{out}", "wb").write(s.recv(9))
            while not os.path.exists("{flag}"):
                time.sleep(0.02)""")
        L.wait_for("the connection", lambda: out.exists() and out.read_text())
        self.check_all_sleep(process)
        flag.write_text("")
        self.assertEqual(process.process.wait(10), 0)


MANY = f"""
import os, select, socket, sys, threading
how, processes, n = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
def begin(i):
    if how == "blocking":
        sockets[i].connect(("{L.SERVER}", 80))
        return
    sockets[i].setblocking(False)
    err = sockets[i].connect_ex(("{L.SERVER}", 80))
    assert err in (0, 115), os.strerror(err)
def answer(s):
    if how != "blocking":
        p = select.poll()
        p.register(s, select.POLLOUT)
        assert p.poll(60000)
        assert how == "unasked" or not s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        s.setblocking(True)
    s.sendall(b"GET /who HTTP/1.0\\r\\n\\r\\n")
def hear(s):
    text = b""
    while (piece := s.recv(4096)):
        text += piece
    return text.split()[-1].decode()
any(os.fork() == 0 for _ in range(processes - 1))
sockets = [socket.socket() for _ in range(n)]
if how == "blocking":
    threads = [threading.Thread(target=begin, args=[i]) for i in range(n)]
    [t.start() for t in threads]
    [t.join() for t in threads]
else:
    [begin(i) for i in range(n)]
[answer(s) for s in sockets]
os.write(1, "".join(hear(s) + "\\n" for s in sockets).encode())
"""


class Crowds(Any):
    """Connections that have to wait for others are converted like them."""

    def setUp(self):
        super().setUp()
        self.lab.converter()

    def test_few_descriptors(self):
        """... of the supervisor, which may have no more than one of many programs."""
        self.conf = self.environment("", log=False)
        for how in "blocking", "asked", "unasked":
            for processes, n in (1, 50), (6, 50):
                with self.subTest(how=how, processes=processes):
                    r = self.lab.run(["sh", "-c", 'ulimit -n 64; exec "$@"', "sh", RUN, "-q", "--any",
                                      "/usr/bin/python3", "-c", MANY, how, processes, n],
                                     env=self.conf, user="nobody", timeout=60)
                    answers = r.out.decode().split()
                    self.assertEqual({a: answers.count(a) for a in answers}, {L.ROUTER: processes * n}, r)

    def test_thousands_of_calls(self):
        """... while one waits: the kernel counts them, and so do we."""
        for options in [], ["--strict"]:
            self.conf = self.environment()
            r = self.any("/usr/bin/python3", "-c", f"""if True:
                import ctypes, os, socket, threading, time
                def wait():
                    socket.socket().connect(("{servers.MUTE}", 80))
                threading.Thread(target=wait, daemon=True).start()
                time.sleep(0.5)
                libc, s = ctypes.CDLL(None), socket.socket()
                for i in range(4090):
                    libc.getpeername(s.fileno(), bytes(16), ctypes.byref(ctypes.c_uint(16)))
                for i in range(12):
                    s = socket.socket()
                    s.connect(("{L.SERVER}", {GREETING}))
                    print(s.recv(9), flush=True)
                os._exit(0)""", options=options)
            self.assertEqual(r.out.decode(), "b'hello'\n" * 12, r)
            self.assertEqual(self.log().count(": connected"), 12, self.log())


# Becomes a program for which the kernel has no pidfd_getfd(), as many containers have it, or as before Linux 5.6.
SHUT_IN = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
old = sys.argv.pop(1) == "old"
lines = [(0x20, 0, 0, 0), (0x15, 0, 1, 438), (0x06, 0, 0, 0x50026 if old else 0x50001)]
if old:  # getsockopt(SO_NETNS_COOKIE)
    lines += [(0x15, 0, 3, 55), (0x20, 0, 0, 32), (0x15, 0, 1, 71), (0x06, 0, 0, 0x5005c)]
lines.append((0x06, 0, 0, 0x7fff0000))
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
prog = ctypes.create_string_buffer(struct.pack("HP", len(lines), ctypes.addressof(code)))
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, prog) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""


class Looking(Any):
    """What the supervisor sees of a program is that program's, or it says so."""

    def setUp(self):
        super().setUp()
        self.lab.converter()

    def cannot(self, why, *before, user=None):
        self.conf = self.environment(log=False)
        curl = "curl", "-sS", "--max-time", "8", WHO
        for options, code, out, said in ([], 0, L.CLIENT, ""), (["--strict"], 3, "", "not started: "):
            r = self.lab.run([*before, RUN, *options, "--any", *curl], env=self.conf, user=user)
            self.assertEqual((r.code, r.out.decode().strip()), (code, out), r)
            self.assertRegex(r.err, f"\\Aconvert-run: {said}--any: .*{why}.*\n\\Z", r)

    def test_may_not_look(self):
        self.cannot("look into the program", "/usr/bin/python3", "-c", SHUT_IN, "new")

    def test_another_proc(self):
        """/proc of the PID namespace outside, where its numbers are others', and none at all: epoll sets and
        close-on-exec are seen there alone."""
        if L.USER:
            self.skipTest("needs root")
        self.cannot("/proc", "unshare", "--pid", "--fork")
        self.cannot("/proc", "unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh")
        r = self.lab.run(["unshare", "--pid", "--fork", "--mount-proc", RUN, "--any", "curl", "-sS", WHO], env=self.conf)
        self.is_converted(r)

    def test_old_kernel(self):
        self.cannot("older than Linux 5.14", "/usr/bin/python3", "-c", SHUT_IN, "old")

    def test_hardly_any_descriptors(self):
        limited = "sh", "-c", 'ulimit -n $0; exec "$@"'
        self.cannot("too few descriptors", *limited, 20, user="nobody")
        r = self.lab.run([*limited, 24, RUN, "--any", "curl", "-sS", WHO], env=self.conf, user="nobody")
        self.is_converted(r)

    def test_no_processes(self):
        """Not one more, or one and not the other: the program needs none, and is started as it would be."""
        for n in 1, 2:
            self.cannot("Resource temporarily unavailable", "prlimit", f"--nproc={n}", user=L.nobody_else())

    def test_another_network(self):
        """... that the program has entered: direct there, and with --strict only where a rule says so."""
        if L.USER:
            self.skipTest("needs root")
        curl = L.inside("server", ["curl", "-sS", "--max-time", "8", WHO])
        for options, policy, code, out in (([], "", 0, L.SERVER), (["--strict"], "", 7, ""),
                                           (["--strict"], f"rule = direct to {L.SERVER}", 0, L.SERVER)):
            self.conf = self.environment(policy=policy)
            r = self.any(*curl, options=options)
            self.assertEqual((r.code, r.out.decode().strip()), (code, out), r)

    def test_number_of_a_process_again(self):
        """Who has called is gone, and another process has its number, and another socket under the same number."""
        if L.USER:
            self.skipTest("needs root")
        text = self.traced("pidfd_open:delay_enter=2000000", """other = socket.socket()
            caller = os.fork()
            if caller == 0:
                s = socket.socket()
                os.dup2(s.fileno(), other.fileno())
                libc.connect(other.fileno(), to, 16)
                os._exit(0)
            time.sleep(0.5)
            os.kill(caller, signal.SIGKILL)
            os.waitpid(caller, 0)
            for i in range(50):
                open("/proc/sys/kernel/ns_last_pid", "w").write(str(caller - 1))
                pid = os.fork()
                if pid == caller or os.getpid() == caller:
                    break
                if pid == 0:
                    os._exit(0)
                os.waitpid(pid, 0)
            if pid == 0:
                time.sleep(4)
                print("state", state(other), other.getsockname()[1], flush=True)
                os._exit(0)
            os.waitpid(pid, 0)
            print(pid == caller, flush=True)""")
        self.assertEqual(text, "state 7 0\nTrue\n")

    def test_numbers_of_a_thread(self):
        """... that has descriptors of its own, on a kernel that opens processes alone (before Linux 6.9)."""
        text = self.traced("pidfd_open:error=EINVAL:when=1+2", """first = socket.socket()
            def run():
                assert libc.unshare(0x400) == 0
                own = socket.socket()
                os.dup2(own.fileno(), first.fileno())
                print(libc.connect(first.fileno(), to, 16), state(own), flush=True)
            thread = threading.Thread(target=run)
            thread.start()
            thread.join()
            print(state(first), flush=True)""")
        self.assertEqual(text, "0 1\n7\n")


# A signal comes in a call, from after that many seconds on; by_alarm() returns what the call and errno are then.
BY_ALARM = """def by_alarm(seconds, call, *args, restarts=True):
                signal.signal(signal.SIGALRM, lambda *_: None)
                signal.siginterrupt(signal.SIGALRM, not restarts)
                signal.setitimer(signal.ITIMER_REAL, seconds)
                r = call(*args)
                signal.setitimer(signal.ITIMER_REAL, 0)  # Python's end does not handle it any more
                return r, errno.errorcode.get(ctypes.get_errno()) if r else None
            def error_of(s):
                value, size = ctypes.c_int(), ctypes.c_uint(4)
                call = by_alarm(0.2, libc.getsockopt, s.fileno(), 1, 4, ctypes.byref(value), ctypes.byref(size))
                return *call, errno.errorcode.get(value.value)
            """


class Signals(Any):
    """... that come in the midst of a call which does not wait, and of which the supervisor's part takes long here."""

    def test_failure_is_told(self):
        """What SO_ERROR has lost by a signal it says when it is begun again, and once."""
        for error, name in (65, "ENETUNREACH"), (96, "ECONNREFUSED"):
            converter = self.lab.converter("--fault", f"error={error}")
            text = self.traced("process_vm_writev:delay_enter=500000", BY_ALARM + """s = socket.socket()
            s.setblocking(False)
            s.connect_ex(("%s", 80))
            assert select.select([], [s], [], 8)[1]
            for _ in range(2):
                print(*error_of(s))""" % L.SERVER)
            self.assertEqual(text, f"0 None {name}\n0 None None\n")
            converter.stop()

    def test_begun(self):
        """A connect() that is begun again is the first one: EINPROGRESS, and EALREADY only then."""
        self.lab.converter("--fault", "delay=1000")
        text = self.traced("connect:delay_enter=200000", BY_ALARM + """def stop():
                if os.fork() == 0:
                    time.sleep(0.1)
                    os.kill(os.getppid(), signal.SIGSTOP)
                    time.sleep(0.1)
                    os.kill(os.getppid(), signal.SIGCONT)
                    os._exit(0)
            for seconds in 0, 0.1:
                s = socket.socket()
                s.setblocking(False)
                seconds or stop()
                print(*by_alarm(seconds, libc.connect, s.fileno(), to, 16),
                      *by_alarm(0, libc.connect, s.fileno(), to, 16))
                assert select.select([s], [], [], 8)[0]
                print(s.recv(9), s.getpeername()[0])""")
        self.assertEqual(text, f"-1 EINPROGRESS -1 EALREADY\nb'hello' {L.SERVER}\n" * 2)
        self.assertEqual(self.log().count(": connected"), 2, self.log())

    def test_waits_again(self):
        """One that waits though it does not block (a socket of Multipath TCP) goes on to do so."""
        self.lab.converter("--fault", "delay=500")
        r = self.python("import ctypes, errno, signal, socket, struct\n"
                        "libc = ctypes.CDLL(None, use_errno=True)\nif True:\n            " + BY_ALARM + f"""
            s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
            s.setblocking(False)
            to = struct.pack("!HH4s8x", socket.htons(2), {GREETING}, socket.inet_aton("{L.SERVER}"))
            print(by_alarm(0.2, libc.connect, s.fileno(), to, 16))
            s.settimeout(8)
            print(s.recv(9))""")
        self.assertEqual(r.out, b"(0, None)\nb'hello'\n", r)
        self.assertEqual(self.log().count(": connected"), 1, self.log())


class Answers(Any):
    """What a program stands still for: the supervisor's calls between its own and the answer, counted, as strace
    sees them. The wall clock is in `make bench`."""

    def calls(self, *words):
        """[(what was called, what the supervisor has called until its answer, or until it waits)], of a program's
        run."""
        self.lab.converter()
        flag, log = self.lab.file("flag"), self.lab.file("strace")
        process = self.start("sh", "-c", f"until [ -e {flag} ]; do sleep 0.02; done; exec " + " ".join(map(str, words)))
        strace = self.lab.start("client", ["strace", "-f", "-o", log, "-p", supervisor_of(process)])
        strace.wait_for("it", lambda: "attached" in strace.text())
        flag.write_text("")
        self.assertEqual(process.process.wait(60), 0, process.text())
        strace.stop()
        found, since = [], None
        for line in log.read_text(errors="replace").splitlines():
            if "NOTIF_RECV" in line:
                called, since = re.search(r"nr=(\w+)", line)[1].removeprefix("__NR_"), []
            elif since is not None and ("NOTIF_SEND" in line or "epoll_wait(" in line):
                found.append((called, since))
                since = None
            elif since is not None:
                since.append(line.split(None, 1)[1])
        return process, found

    def check(self, found, called, most):
        """In each but the first few, by which the supervisor learns what the kernel can do."""
        counts = [len(calls) for what, calls in found if what == called]
        self.note(f"{len(counts)} {called}: {statistics.median(counts):.0f} calls until the answer, "
                  f"{max(counts)} at most")
        self.assertLessEqual(max(counts), 400, counts)
        # within a fifth of a second after a set was made the program's descriptors are looked through for sets
        # each time (SOON_NS), and what else goes on meanwhile is between two calls as well, which are matters of
        # the machine's pace
        counts = [sum(not call.startswith("readlinkat(") for call in calls) for what, calls in found if what == called]
        self.assertLessEqual(statistics.median(counts), most, counts)

    def test_loop(self):
        """Slow as the supervisor is then, what it has put in place is gone when the program closes it: no event
        of a number that is not there any more."""
        process, found = self.calls(STATIC / "loop", L.SERVER, 80, "/small", 100)
        self.assertIn("100 answers", process.text())
        self.check(found, "connect", 75)
        self.check(found, "getsockopt", 78)
        self.check(found, "getpeername", 10)

    def test_blocking(self):
        """A connect() that waits is no reason for others to wait: not in the supervisor."""
        process, found = self.calls(STATIC / "faults", "same", 30, L.SERVER, 80, 0)
        self.assertIn("wrong 30", process.text())  # that is not the sum of its bytes
        self.check(found, "connect", 80)
        self.assertNotRegex(str(found), r"setsockopt\(\d+, SOL_SOCKET, SO_SNDTIMEO")  # which is a tick at least


def is_blocked(pid, number):
    """proc_pid_status(5)"""
    mask = re.search(r"SigBlk:\s*(\w+)", open(f"/proc/{pid}/status").read())[1]
    return int(mask, 16) & 1 << (number - 1)


# Has a child whose parent is gone end, and says whether anybody has waited for it.
ORPHAN = """
import os, time
def orphan():
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        if os.fork() == 0:
            os.write(write, str(os.getpid()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    pid = os.read(read, 99).decode()
    for _ in range(400):
        if not os.path.exists(f"/proc/{pid}"):
            return "gone"
        time.sleep(0.02)
    return "a zombie"
"""


class Processes(Any):
    def setUp(self):
        super().setUp()
        self.converter = self.lab.converter()

    def test_status(self):
        self.assertEqual(self.any("sh", "-c", "exit 7").code, 7)
        self.assertEqual(self.any("sh", "-c", "kill -TERM $$").code, -signal.SIGTERM)
        self.assertEqual(self.any("/nowhere/program").code, 127)

    def test_children(self):
        r = self.any("sh", "-c", f"{CURL}; ({CURL}) | cat; exec {CURL}")
        self.assertEqual(r.out.decode().split(), [L.ROUTER] * 3, r)

    def test_daemon(self):
        """It goes on being converted; nobody waits for it."""
        out = self.lab.file("daemon")
        r = self.any("sh", "-c", f"(sleep 4; {CURL} > {out}) > /dev/null 2>&1 &")
        self.assertEqual(r.code, 0, r)
        self.assertLess(r.seconds, 3.5, r)
        L.wait_for("the daemon", lambda: out.exists() and out.read_text().strip() == L.ROUTER)

    def test_pipe(self):
        """Whoever waits for the end of what the program writes does not wait for the supervisor."""
        r = self.any("sh", "-c", "exec 3>&1 >/dev/null 2>&1; sleep 4 >&- 2>&- 3>&- & echo said >&3")
        self.assertEqual(r.out, b"said\n", r)
        self.assertLess(r.seconds, 3.5, r)

    def without_supervisor(self, *options, **more):
        flag = self.lab.file("flag")
        process = self.start("sh", "-c", f"{CURL}; while [ ! -e {flag} ]; do sleep 0.02; done; "
                             f"{CURL} 2>&1; exit 5", options=options, **more)
        process.wait_for("the first", lambda: L.ROUTER in process.text())
        os.kill(supervisor_of(process), signal.SIGKILL)
        flag.write_text("")
        self.assertEqual(process.process.wait(15), 5, process.text())
        return process.text().replace(L.ROUTER, "", 1).strip()

    def test_supervisor_killed(self):
        """From then on connections are direct."""
        self.assertEqual(self.without_supervisor(), L.CLIENT)

    def test_supervisor_killed_strict(self):
        self.assertIn("curl: (7)", self.without_supervisor("--strict"))

    def test_supervisor_killed_before_the_program(self):
        """... has become one: what is to be that hears of it, and ends."""
        process = self.lab.started(L.Process("client", [
            "strace", "-f", "-qq", "-o", self.lab.file("strace"), "-e", "trace=pidfd_open", "-e",
            "inject=pidfd_open:delay_enter=2000000", RUN, "--any", "echo", "started"], env=self.conf))
        supervisor = L.wait_for("the supervisor to look", lambda: next(
            (pid for run in children_of(process.pid) for pid in children_of(run) if is_in_call(pid, PIDFD_OPEN)), None))
        waiting, = children_of(supervisor)
        os.kill(supervisor, signal.SIGKILL)
        self.assertEqual(process.process.wait(10), 1, process.text())
        self.assertTrue(L.has_ended(waiting))
        self.assertNotIn("started", process.text())

    def test_supervisor_killed_no_process_left(self):
        """... and there may be none more: who stands for the program answers by himself."""
        if L.USER or not L.owns_several_users():
            self.skipTest("needs two users")
        flag = self.lab.file("flag")
        process = self.lab.started(L.Process("client", [
            "setpriv", f"--reuid={L.nobody_else()}", "--clear-groups", "--bounding-set=-all", "bash", "-c",
            'ulimit -u 3 && exec "$@"', "sh", RUN, "-q", "--any", "/usr/bin/python3", "-c", f"""if True:
                import os, socket, time
                while not os.path.exists("{flag}"):
                    time.sleep(0.02)
                s = socket.create_connection(("{L.SERVER}", 80), 10)
                print(s.getsockname()[0])
                raise SystemExit(5)"""], env=self.conf))
        supervisor = supervisor_of(process)
        L.wait_for("the program", lambda: "python3" in names_of_children(supervisor))
        os.kill(supervisor, signal.SIGKILL)
        L.wait_for("its end", lambda: L.has_ended(supervisor))
        flag.write_text("")
        self.assertEqual(process.process.wait(20), 5, process.text())
        self.assertEqual(process.text().strip(), L.CLIENT)

    def asking(self):
        """A program that connects at once and when there is its flag, and what it says of that."""
        out, flag = self.lab.file("asking"), self.lab.file("flag")
        return out, flag, self.lab.file("asking.py", f"""
import errno, os, socket, sys, time
sys.stdout = open("{out}", "w")
def connect():
    with socket.socket() as s:
        s.settimeout(8)
        print(errno.errorcode.get(s.connect_ex(("{L.SERVER}", 80)), "connected"), flush=True)
connect()
while not os.path.exists("{flag}"):
    time.sleep(0.02)
connect()
""")

    def test_both_killed(self):
        """Nobody answers any more what a daemon asks: neither has had the time to see to it."""
        for first in 0, 1:
            with self.subTest(first=first):
                out, flag, asking = self.asking()
                process = self.start("sh", "-c", f"setsid /usr/bin/python3 {asking} & exec sleep 60")
                both = process.pid, supervisor_of(process)
                process.wait_for("the first", lambda out=out: out.exists() and out.read_text())
                if first == 1:  # it would begin to answer by another process
                    os.kill(process.pid, signal.SIGSTOP)
                os.kill(both[first], signal.SIGKILL)
                os.kill(both[1 - first], signal.SIGKILL)
                process.process.wait(10)
                L.wait_for("the supervisor's end", lambda both=both: L.has_ended(both[1]))
                flag.write_text("")
                L.wait_for("the second", lambda out=out: out.read_text().count("\n") == 2)
                self.assertEqual(out.read_text().split(), ["connected", "ENOSYS"])

    def test_one_killed_after_the_other(self):
        """... and then convert-run: who has begun to answer goes on, and so does the program, for itself."""
        out, flag, asking = self.asking()
        process = self.start("/usr/bin/python3", asking)
        supervisor = supervisor_of(process)
        process.wait_for("the first", lambda: out.exists() and out.read_text())
        os.kill(supervisor, signal.SIGKILL)
        L.wait_for("who answers", lambda: "convert-run" in names_of_children(process.pid, but=supervisor))
        os.kill(process.pid, signal.SIGKILL)
        process.process.wait(10)
        flag.write_text("")
        L.wait_for("the second", lambda: out.read_text().count("\n") == 2)
        self.assertEqual(out.read_text().split(), ["connected", "connected"])

    def test_supervisor_killed_meanwhile(self):
        """Who waits in connect() is let go."""
        process = self.start(STATIC / "transcript", "blocking", servers.MUTE, 80)
        self.converter.events("request", 1)
        os.kill(supervisor_of(process), signal.SIGKILL)
        process.wait_for("its answer", lambda: process.text().startswith("connect: E"), 15)

    def test_killed(self):
        """convert-run stands for the program: the program dies with it."""
        out = self.lab.file("pid")
        process = self.start("sh", "-c", f"echo $$ > {out}; exec sleep 60")
        pid = int(L.wait_for("its number", lambda: out.exists() and out.read_text()))
        os.kill(process.pid, signal.SIGKILL)
        L.wait_for("its end", lambda: not os.path.exists(f"/proc/{pid}"))

    def test_signals(self):
        process = self.start("sh", "-c", "trap 'echo usr1; exit 3' USR1; echo ready; "
                             "while :; do sleep 0.05; done")
        process.wait_for("ready", lambda: "ready" in process.text())
        os.kill(process.pid, signal.SIGUSR1)
        self.assertEqual(process.process.wait(10), 3)
        self.assertIn("usr1", process.text())

    def test_signals_at_once(self):
        """The program is sent what comes before it is there."""
        for _ in range(20):
            process = self.start("sleep", "60")
            L.wait_for("signals to be blocked", lambda: is_blocked(process.pid, signal.SIGTERM))  # noqa: B023
            os.kill(process.pid, signal.SIGTERM)
            self.assertEqual(process.process.wait(10), -signal.SIGTERM)

    def test_nested(self):
        """The outer one has it all already."""
        r = self.any(RUN, "--any", "curl", "-sS", WHO)
        self.assertEqual((r.code, r.out.decode().strip()), (0, L.ROUTER), r)
        self.assertRegex(r.err, "^convert-run: --any: a supervisor is there already\n$")

    def test_nested_strict(self):
        """... if it is another's, it lets through what it likes."""
        r = self.any(RUN, "--strict", "--any", "curl", "-sS", WHO)
        self.assertEqual((r.code, r.out), (3, b""), r)
        self.assertRegex(r.err, "^convert-run: not started: --any: a supervisor is there already\n$")

    def test_threads(self):
        r = self.python(f"""if True:
            import threading, urllib.request
            def ask(n):
                for _ in range(2):
                    answers[n] += urllib.request.urlopen("{WHO}", timeout=60).read().decode().strip()
            answers = [""] * 300
            threads = [threading.Thread(target=ask, args=[n]) for n in range(300)]
            [t.start() for t in threads]
            [t.join() for t in threads]
            print(set(answers))""", timeout=100)
        self.assertEqual(r.out.decode(), f"{{'{L.ROUTER * 2}'}}\n", r)

    def test_orphans(self):
        """... are waited for: by the supervisor, by one that has nothing to supervise, and if it was killed."""
        self.assertEqual(self.python(f"{ORPHAN}print(orphan())").out, b"gone\n")
        r = self.any(RUN, "-q", "--any", "/usr/bin/python3", "-c", f"{ORPHAN}print(orphan())")
        self.assertEqual(r.out, b"gone\n", r)
        flag = self.lab.file("flag")
        process = self.start("/usr/bin/python3", "-c", f"""{ORPHAN}
print("ready", flush=True)
while not os.path.exists("{flag}"):
    time.sleep(0.02)
print(orphan())""")
        process.wait_for("ready", lambda: "ready" in process.text())
        os.kill(supervisor_of(process), signal.SIGKILL)
        flag.write_text("")
        self.assertEqual(process.process.wait(20), 0)
        self.assertEqual(process.text(), "ready\ngone\n")

    def test_killed_in_connect(self):
        """Threads and processes that are killed while they wait leave nothing behind."""
        process = self.start("sh", "-c", "for i in 1 2 3 4 5 6 7 8; do timeout -s KILL 0.3 "
                             f"{STATIC}/transcript blocking {servers.MUTE} 80 & done; wait; {CURL}; "
                             "echo; read -r x < /dev/zero")
        process.wait_for("the answer", lambda: L.ROUTER in process.text())
        supervisor = supervisor_of(process)
        # what remains: the way to who stands for the program, and where sockets connect to nowhere
        L.wait_for("its end", lambda: sockets_of(supervisor) < 6, 15)

    def test_nothing_is_left(self):
        """... of connections that are over, in the supervisor."""
        loop = f"{STATIC}/loop {L.SERVER} 80 /small"
        process = self.start("sh", "-c", f"for i in 1 2 3; do {loop} 100; done; echo many; exec sleep 60")
        held = f"/proc/{supervisor_of(process)}/fd"
        process.wait_for("many", lambda: "many" in process.text(), 60)
        L.wait_for("its end", lambda: len(os.listdir(held)) < 16)

    def test_no_new_privileges(self):
        """Root needs not give it up."""
        r = self.any("grep", "NoNewPrivs", "/proc/self/status")
        self.assertEqual(r.out.decode().split()[1], "1" if L.USER else "0", r)
        r = self.any("sh", "-c", f"grep NoNewPrivs /proc/self/status; {CURL}", user="nobody")
        self.assertEqual(r.out.decode().split()[1:], ["1", L.ROUTER], r)


if __name__ == "__main__":
    L.main(setup)

# SPDX-License-Identifier: MIT
"""Ends of a connection, and what can be asked of it on the way: the server that makes them and the client
that says what it sees, a line each.
usage: ends.py serve|http PORT, ends.py ask|paths ADDRESS PORT"""
import array
import ctypes
import errno
import fcntl
import http.server
import io
import os
import select
import socket
import struct
import sys
import termios
import threading
import time

SIOCOUTQ, SIOCATMARK, SIOCOUTQNSD = 0x5411, 0x8905, 0x894B
SYS_IOCTL = {"x86_64": 16}.get(os.uname().machine, 29)
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() resets
STATES = dict(enumerate("- ESTABLISHED SYN_SENT SYN_RECV FIN_WAIT1 FIN_WAIT2 TIME_WAIT CLOSE "
                        "CLOSE_WAIT LAST_ACK".split()))
EVENTS = {1: "IN", 2: "PRI", 4: "OUT", 8: "ERR", 16: "HUP", 0x2000: "RDHUP"}
DATA = 5000

libc = ctypes.CDLL(None, use_errno=True)


# -------------------------------------------------------------------------- server

def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    s.close()


def end(s):
    """As the first byte says; what comes next is done when the client says so."""
    how = s.recv(1) if select.select([s], [], [], 1)[0] else b"D"
    if how in b"dD":
        s.sendall(b"x" * DATA)
    if how in b"DE":  # the server's side ends, with data and without
        s.shutdown(socket.SHUT_WR)
    if how in b"U":  # unread data: close() resets
        s.recv(1, socket.MSG_PEEK)
        return s.close()
    if how in b"E":
        s.recv(1)
    if how in b"CW":
        return s.close()
    if how in b"dDW":
        s.recv(1)
    if how in b"rdE":
        return reset(s)
    while how == b"e" and (data := s.recv(1 << 16)):
        s.sendall(data)
    if how in b"o":
        time.sleep(3)
    while s.recv(1):
        pass
    s.close()


def serve(port):
    listener = socket.create_server(("::", int(port)), family=socket.AF_INET6,
                                    dualstack_ipv6=True, backlog=200)
    while True:
        threading.Thread(target=end, args=(listener.accept()[0],), daemon=True).start()


class Http(http.server.BaseHTTPRequestHandler):
    """Answers as if the connection would stay, and then does what the path says."""
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")
        if self.path == "/keep":
            return
        self.close_connection = True
        if self.path == "/reset":
            time.sleep(0.1)  # or the answer is lost, too
            reset(self.connection)
            self.wfile = self.rfile = io.BytesIO()

    def log_message(self, *_):
        pass


# -------------------------------------------------------------------------- client

def number(s, request):
    room = array.array("i", [-1])
    try:
        fcntl.ioctl(s, request, room)
    except OSError as e:
        return errno.errorcode[e.errno]
    return room[0]


def number_past_libc(s, request):
    room = ctypes.c_int(-1)
    r = libc.syscall(SYS_IOCTL, s.fileno(), ctypes.c_long(request), ctypes.byref(room))
    return room.value if r == 0 else errno.errorcode[ctypes.get_errno()]


def named(mask):
    return "|".join(name for bit, name in EVENTS.items() if mask & bit) or "-"


def events(s):
    poll, epoll = select.poll(), select.epoll()
    for each in poll, epoll:
        each.register(s, 1 | 4 | 0x2000)
    by_poll, by_epoll = ([mask for _, mask in each.poll(0)] for each in (poll, epoll))
    epoll.close()
    r, w, x = select.select([s], [s], [s], 0)
    return f"poll {named(sum(by_poll))} epoll {named(sum(by_epoll))} " \
           f"select {'r' * len(r)}{'w' * len(w)}{'x' * len(x)}"


def tried(call, *arguments):
    try:
        r = call(*arguments)
    except OSError as e:
        return errno.errorcode[e.errno]
    return len(r) if isinstance(r, bytes) else r


def receive(s):
    return tried(s.recv, 1 << 16)


def send(s):
    return tried(s.send, b"x")


def error(s):
    return errno.errorcode.get(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), 0)


def state(s):
    info = s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    return STATES[info[0]]


def lengths(s):
    """What is answered of TCP_INFO to one who asks for so much."""
    return [len(s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, room))
            for room in (1, 2, 7, 104, 192, 232, 1000)]


def peer(s):
    return tried(lambda: s.getpeername()[1])


def asked(s):
    return f"{events(s)} FIONREAD {number(s, termios.FIONREAD)} " \
           f"{number_past_libc(s, termios.FIONREAD)} ATMARK {number(s, SIOCATMARK)} " \
           f"TCP_INFO {state(s)} peer {peer(s)}"


def wait(s, mask):
    """For any of these events."""
    poll = select.poll()
    poll.register(s, mask)
    end = time.monotonic() + 5
    while not any(got & mask for _, got in poll.poll(20)):
        if time.monotonic() > end:
            return print("  nothing happened")
        time.sleep(0.005)
    return None


def settle(s, what, then):
    end = time.monotonic() + 2
    while what(s) != then and time.monotonic() < end:
        time.sleep(0.005)


class Client:
    def __init__(self, address, port):
        self.to = address, int(port)

    def connect(self, how):
        s = socket.create_connection(self.to)
        s.send(how)
        s.setblocking(False)
        return s

    def say(self, *words):
        print(self.name, *words)

    def drain(self, s, before=0):
        """A byte at a time, while FIONREAD says that there are more."""
        for rounds in range(2 * DATA):
            if not number(s, termios.FIONREAD):
                break
            tried(s.recv, 1)
        self.say("rounds", rounds)

    def ended(self):
        """The server's side, with data; then ours."""
        s = self.connect(b"D")
        wait(s, 0x2000)
        self.say(asked(s))
        s.recv(DATA - 1)
        self.say("one left:", asked(s))
        s.recv(1)
        self.say("none left:", asked(s))
        self.say("received", receive(s), asked(s), lengths(s))
        s.shutdown(socket.SHUT_WR)
        wait(s, 16)
        settle(s, state, "CLOSE")
        settle(s, peer, "ENOTCONN")  # which MPTCP leaves to a worker
        self.say("our side:", asked(s), lengths(s))

    def loop(self):
        s = self.connect(b"D")
        wait(s, 0x2000)
        self.drain(s)

    def unseen(self):
        """The first look at a connection that nobody has waited for."""
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex(self.to)
        time.sleep(1.2)
        self.say(number(s, termios.FIONREAD) in (0, DATA))

    def reset_loop(self):
        s = self.connect(b"d")
        settle(s, lambda s: number(s, termios.FIONREAD), DATA)
        s.send(b"x")
        wait(s, 8)
        self.drain(s)
        self.say("then", receive(s), receive(s))

    def open(self):
        """Both sides are; then ours is not."""
        s = self.connect(b"o")
        settle(s, lambda s: number(s, SIOCOUTQ), 0)
        self.say(asked(s), "queued", number(s, SIOCOUTQ), number(s, SIOCOUTQNSD))
        s.shutdown(socket.SHUT_RD)
        self.say("SHUT_RD:", asked(s))

    def full(self):
        """A server that does not read: what waits here."""
        s = self.connect(b"o")
        while isinstance(tried(s.send, bytes(1 << 20)), int):
            pass
        notsent, = struct.unpack_from("I", s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 280), 144)
        self.say(f"tcpi_notsent_bytes {notsent > 0}, SIOCOUTQNSD {number(s, SIOCOUTQNSD) > 0}")

    def ours(self):
        s = self.connect(b"W")
        wait(s, 0x2000)
        self.say(asked(s))
        s = self.connect(b"o")
        s.shutdown(socket.SHUT_WR)
        settle(s, state, "FIN_WAIT2")
        self.say("first:", asked(s))

    def resets(self):
        for how, name in (b"r", "reset"), (b"d", "data, reset"), (b"U", "unread"), \
                         (b"E", "end, reset"):
            for first in receive, send, error:
                s = self.connect(how)
                if how == b"d":
                    settle(s, lambda s: number(s, termios.FIONREAD), DATA)
                elif how == b"E":
                    wait(s, 0x2000)
                if how != b"r":
                    s.send(b"xy")
                wait(s, 8 | 16)
                self.say(name, asked(s))
                for step in first, receive, receive, send, error, receive:
                    self.say(f"{name}, {first.__name__} first: {step.__name__} {step(s)}",
                             events(s), "FIONREAD", number(s, termios.FIONREAD))

    def again(self):
        """After a reset that SO_ERROR has told."""
        s = self.connect(b"r")
        wait(s, 8 | 16)
        self.say(error(s), "connect", tried(s.connect, self.to), "AF_UNSPEC",
                 libc.connect(s.fileno(), bytes(16), 16))
        s.setblocking(True)
        s.connect(self.to)
        s.send(b"D")
        self.say(s.recv(DATA, socket.MSG_WAITALL) == b"x" * DATA, send(s), receive(s), state(s))

    def run(self):
        for name in "ended", "loop", "unseen", "reset_loop", "open", "full", "ours", "resets", "again":
            self.name = name
            getattr(self, name)()


INFO = 280  # bytes of each subflow


def subflows(s):
    """What MPTCP_TCPINFO says of the state of each."""
    room = ctypes.create_string_buffer(struct.pack("4I", 16, 0, 0, INFO), 16 + 4 * INFO)
    size = ctypes.c_uint(len(room))
    if libc.getsockopt(s.fileno(), 284, 2, room, ctypes.byref(size)):
        return []
    n, = struct.unpack_from("I", room, 4)
    return [STATES[room.raw[16 + i * INFO]] for i in range(n)]


def echoed(s, n):
    threading.Thread(target=s.sendall, args=(bytes(n),)).start()
    while n > 0:
        n -= len(s.recv(n))


def paths(address, port):
    """A connection whose first path goes: whoever started us sees to that."""
    s = Client(address, port).connect(b"e")
    s.setblocking(True)
    settle(s, subflows, ["ESTABLISHED"] * 2)
    echoed(s, DATA)
    print("two paths:", *subflows(s), "TCP_INFO", state(s), flush=True)
    while subflows(s)[0] == "ESTABLISHED":
        echoed(s, 1)
        time.sleep(0.01)
    echoed(s, 10 * DATA)
    print("one path:", *subflows(s), "TCP_INFO", state(s), lengths(s))
    info = s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, INFO)
    acked, received = struct.unpack_from("2Q", info, 120)
    sent, = struct.unpack_from("Q", info, 200)
    rtt, = struct.unpack_from("I", info, 68)
    print("bytes:", *(n > 11 * DATA for n in (acked, received, sent)), "round trip:", rtt > 0)
    s.shutdown(socket.SHUT_WR)
    wait(s, 16)
    settle(s, state, "CLOSE")
    print("over: TCP_INFO", state(s))


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    if what == "serve":
        serve(*arguments)
    elif what == "http":
        http.server.ThreadingHTTPServer.address_family = socket.AF_INET6
        http.server.ThreadingHTTPServer(("::", int(arguments[0])), Http).serve_forever()
    elif what == "paths":
        paths(*arguments)
    else:
        Client(*arguments).run()

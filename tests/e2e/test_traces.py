#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""What is done on the program's own socket before it has its connection leaves nothing there: the port that it was
bound to, its queue of errors and time stamps, as without the library."""
import itertools
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import captures
import lab as L

ECHO, CLOSED, NOWHERE = 7000, 7009, "10.98.0.1"

# own address, server, port: what bind() has chosen is what getsockname() shows afterwards
BOUND = """
import errno, socket, sys
s = socket.socket()
s.bind((sys.argv[1], 0))
port = s.getsockname()[1]
print(errno.errorcode.get(s.connect_ex((sys.argv[2], int(sys.argv[3]))), 0),
      "the same" if s.getsockname()[1] == port else "another")
"""

# how it waits for its connection, of which it wants time stamps
WAITS = """
import select, socket, sys
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, 37, 1 << 4 | 1 << 1 | 1 << 9)
how, server = sys.argv[3], (sys.argv[1], int(sys.argv[2]))
s.setblocking(how == "connect")
assert (s.connect_ex(server) == 0) == (how == "connect")
if how == "poll":
    p = select.poll()
    p.register(s, select.POLLOUT)
    assert p.poll() == [(s.fileno(), select.POLLOUT)]
elif how == "select":
    assert select.select([], [s], []) == ([], [s], [])
elif how == "epoll":
    p = select.epoll()
    p.register(s, select.EPOLLOUT)
    assert p.poll() == [(s.fileno(), select.EPOLLOUT)]
elif how == "recv":
    s.setblocking(True)
    s.send(b"hello")
    assert s.recv(5) == b"hello"
"""

# when how...: what the queue of errors has before the first data, and after it
QUEUE = """
import errno, select, socket, struct, sys, time
SOFTWARE, OPT_ID, TX_SOFTWARE, TX_ACK, OPT_TSONLY, OPT_ID_TCP = 1 << 4, 1 << 7, 1 << 1, 1 << 9, 1 << 11, 1 << 16
server, port, when = sys.argv[1], int(sys.argv[2]), sys.argv[3]
flags = SOFTWARE | TX_SOFTWARE | TX_ACK | OPT_TSONLY
if "id" in sys.argv:
    flags |= OPT_ID
if "tcp" in sys.argv:
    flags |= OPT_ID_TCP

def ask():
    if "errors" in sys.argv:
        s.setsockopt(socket.IPPROTO_IP, 11, 1)  # IP_RECVERR
    else:
        s.setsockopt(socket.SOL_SOCKET, 37, flags)  # SO_TIMESTAMPING

def queue():
    found = []
    while True:
        try:
            control = s.recvmsg(2000, 1000, socket.MSG_ERRQUEUE)[1]
        except BlockingIOError:
            return sorted(found)
        for level, kind, value in control:
            if (level, kind) == (0, 11):
                err, origin, _, _, _, info, data = struct.unpack("IBBBBII", value[:16])
                found.append((errno.errorcode[err], origin, info, data))

s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262 if "mptcp" in sys.argv else 0)
s.setblocking(False)
if when == "before":
    ask()
s.connect_ex((server, port))
if when == "pending":
    ask()
pending = queue()
select.select([], [s], [])
err = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
if when == "after":
    ask()
time.sleep(0.1)
print(err and errno.errorcode[err], pending, queue())
if not err:
    s.send(b"hello")
    select.select([s], [], [])
    time.sleep(0.1)
    print(queue())
    s.send(b"again")
    time.sleep(0.1)
    print(queue())
"""


def setup(lab):
    server = lab.start("server", [L.TOOLS / "echo-server", ECHO])
    server.wait_for_listeners(ECHO, ECHO + 5)
    # so that the way there ends with a message of the router's
    L.command(["ip", "-n", "converter", "route", "add", "unreachable", "10.98.0.0/16"])


class Traces(L.TestCase):
    def say(self, program, *argv, shim=None):
        r = self.lab.run(["/usr/bin/python3", "-c", program, *argv], shim=shim)
        self.assertEqual((r.code, r.err), (0, ""), r)
        return r.out.decode()


class Port(Traces):
    def check(self, shim, attempts, port=ECHO):
        for own in L.CLIENT, "0.0.0.0":
            with self.subTest(own):
                plain = self.say(BOUND, own, L.SERVER, port)
                self.assertEqual(plain.split(" ", 1)[1], "the same\n")
                capture = captures.Capture(self.lab)
                self.assertEqual(self.say(BOUND, own, L.SERVER, port, shim=shim), plain)
                found = captures.connections(capture.packets())
                self.assertEqual([len(found), len({c[0].sport for c in found})], [attempts, 1], found)

    def each(self, attempts, *options, to=1, port=ECHO, more="fallback = none"):
        """to: addresses, of which the last one is a converter's; 0: of which none is."""
        for mptcp in "off", "on":
            with self.subTest(mptcp):
                addresses = [self.lab.fresh_addresses()[0] for _ in range(to or 1)]
                if to:
                    converter = self.lab.converter("--mptcp", *options, listen=addresses[-1:])
                shim = self.lab.config(policy=f"mptcp = {mptcp}\n{more}", address=addresses)
                self.check(shim, attempts, port)
                if to:
                    converter.stop()

    def test_once(self):
        self.each(1)

    def test_another_attempt(self):
        """A cookie is asked for, and sent with the next message."""
        self.each(2, "--cookie-required")

    def test_another_converter(self):
        self.each(2, to=2)

    def test_fallback(self):
        self.each(2, to=0, more="fallback = direct")

    def test_refused(self):
        self.each(1, port=CLOSED)


# what a disconnect makes the kernel forget (LINUX-FACTS 3.8), set before connect() or while it connects
OPTIONS = """
import select, socket, sys
level, name, value = map(int, sys.argv[4:])
s = socket.socket()
s.setblocking(False)
if sys.argv[3] == "before":
    s.setsockopt(level, name, value)
s.connect_ex((sys.argv[1], int(sys.argv[2])))
if sys.argv[3] == "pending":
    s.setsockopt(level, name, value)
select.select([], [s], [], 5)
print(s.getsockopt(level, name) if (level, name) != (6, 2) else "")  # TCP_MAXSEG, as the path has it
print(s.getsockopt(1, 4), s.send(b"hello"))
s.setblocking(True)
print(s.recv(2, socket.MSG_PEEK), s.recv(5, socket.MSG_PEEK | socket.MSG_DONTWAIT) if value != 3 else "", s.recv(9))
"""
PEEK_OFF, MAXSEG, WINDOW_CLAMP, RTO_MIN_US, DELACK_MAX_US = (1, 42), (6, 2), (6, 10), (6, 45), (6, 46)


class Options(Traces):
    CASES = [(*PEEK_OFF, 0), (*PEEK_OFF, 3), (*MAXSEG, 1000), (*WINDOW_CLAMP, 9999), (*RTO_MIN_US, 100000),
             (*DELACK_MAX_US, 20000)]

    def each(self, *options, more="fallback = none", to=1):
        for when, case in itertools.product(("before", "pending"), self.CASES):
            with self.subTest(when, option=case):
                addresses = [self.lab.fresh_addresses()[0] for _ in range(to)]
                converter = self.lab.converter(*options, listen=addresses[-1:])
                shim = self.lab.config(policy=f"mptcp = off\n{more}", address=addresses)
                shim["CONVERT_STATE"] = str(self.lab.file("state"))
                plain = self.say(OPTIONS, L.SERVER, ECHO, when, *map(str, case))
                self.assertEqual(self.say(OPTIONS, L.SERVER, ECHO, when, *map(str, case), shim=shim), plain)
                self.assertGreater(len(converter.events("accept")), 0)
                converter.stop()

    def test_once(self):
        self.each("--fault", "delay=100")

    def test_another_attempt(self):
        self.each("--cookie-required", "--fault", "delay=100")

    def test_another_converter(self):
        self.each("--fault", "delay=100", to=2)

    def test_fallback(self):
        self.each("--fault", "silence", more="fallback = direct\ntimeout = 200ms")


# SO_DONTROUTE before connect(): 1, or set and taken back
LINK = """
import errno, socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, int((sys.argv + [0])[4]))
for value in sys.argv[3].split():
    s.setsockopt(socket.SOL_SOCKET, socket.SO_DONTROUTE, int(value))
print(errno.errorcode.get(s.connect_ex((sys.argv[1], int(sys.argv[2]))), 0))
"""

# ... of another number of the socket, which it has got before or after that, or by a program that was started with it
LINK_ELSEWHERE = """
import errno, os, socket, sys
s = socket.socket()
t = s.dup() if sys.argv[3] == "behind" else None
s.setsockopt(socket.SOL_SOCKET, socket.SO_DONTROUTE, 1)
if sys.argv[3] == "started":
    os.set_inheritable(s.fileno(), True)
    os.execv(sys.executable, [sys.executable, "-c", "import errno, socket, sys\\nt = socket.socket(fileno="
             f"{s.fileno()})\\nprint(errno.errorcode.get(t.connect_ex((sys.argv[1], int(sys.argv[2]))), 0))", *sys.argv[1:]])
t = t or s.dup()
print(errno.errorcode.get(t.connect_ex((sys.argv[1], int(sys.argv[2]))), 0))
"""


class Link(Traces):
    """SO_DONTROUTE: nothing beyond the host's own links, whatever a converter could do."""

    def check(self, values, wanted, converted):
        for mptcp in "off", "on":
            for fallback in "none", "direct":
                with self.subTest(f"mptcp = {mptcp}, fallback = {fallback}"):
                    converter = self.lab.converter("--mptcp")
                    shim = self.lab.config(policy=f"mptcp = {mptcp}\nfallback = {fallback}")
                    self.assertEqual(self.say(LINK, L.SERVER, ECHO, values), wanted)
                    self.assertEqual(self.say(LINK, L.SERVER, ECHO, values, shim=shim), wanted)
                    self.assertEqual(len(converter.events("accept")), converted)
                    converter.stop()

    def test_set(self):
        self.check("1", "ENETUNREACH\n", 0)

    def test_elsewhere(self):
        converter = self.lab.converter()
        for how in "before", "behind", "started":
            with self.subTest(how):
                self.assertEqual(self.say(LINK_ELSEWHERE, L.SERVER, ECHO, how), "ENETUNREACH\n")
                self.assertEqual(self.say(LINK_ELSEWHERE, L.SERVER, ECHO, how, shim=self.lab.config()), "ENETUNREACH\n")
        self.assertEqual(converter.events("accept"), [])

    def test_of_mptcp(self):
        """LINUX-FACTS 4.18."""
        L.sysctl("client", net__mptcp__enabled=1)
        self.addCleanup(L.sysctl, "client", net__mptcp__enabled=int(L.MPTCP in ("auto", "on")))
        self.assertEqual(self.say(LINK, L.SERVER, ECHO, "1", 262), "0\n")

    def test_taken_back(self):
        self.check("1 0", "0\n", 1)


# The first connect() is over before the connection is; what the next ones say.
IN_TWO = """
import ctypes, errno, socket, struct, sys, time
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 0, 100000))
libc = ctypes.CDLL(None, use_errno=True)
name = struct.pack("=H2s4s8x", socket.AF_INET, int(sys.argv[2]).to_bytes(2, "big"), socket.inet_aton(sys.argv[1]))
for _ in range(3):
    print(errno.errorcode[ctypes.get_errno()] if libc.connect(s.fileno(), name, 16) else 0)
    time.sleep(1)
"""


class InTwo(Traces):
    def test(self):
        """The SYN alone, by connect() of a blocking socket, whose 0 is not the program's."""
        self.lab.converter("--mptcp", "--fault", "delay=500")
        L.sysctl("client", net__ipv4__tcp_fastopen=0)
        self.addCleanup(L.sysctl, "client", net__ipv4__tcp_fastopen=1)
        for mptcp in "off", "on":
            with self.subTest(mptcp=mptcp):
                shim = self.lab.config("fast-open = no-cookie", f"mptcp = {mptcp}\nbypass = never")
                r = self.lab.run(["/usr/bin/python3", "-c", IN_TWO, L.SERVER, ECHO], shim=shim)
                self.assertEqual(r.out.split(), [b"EINPROGRESS", b"0", b"EISCONN"], r)
                self.assertIn(": connected", r.log, r)


# a server and a client that sign their segments for each other, or that have a policy of IPsec's of their own
KEYS = """
import errno, socket, struct, sys
side, how, peer, port = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
s = socket.socket(socket.AF_INET6 if ":" in peer else socket.AF_INET)

def key(prefix):
    address = (struct.pack("=HHI16s", 10, 0, 0, socket.inet_pton(socket.AF_INET6, peer)) if ":" in peer else
               struct.pack("=HH4s", 2, 0, socket.inet_aton(peer)))
    return address.ljust(128, b"\\0") + struct.pack("=BBHI", bool(prefix), prefix, 3, 0) + b"key".ljust(80, b"\\0")

def policy():
    limits, out, allow = struct.pack("=QQQQ", *[2 ** 64 - 1] * 4) + bytes(32), 1, 0
    selector = bytes(40) + struct.pack("=HBBBxxxiI", s.family, 0, 0, 6, 0, 0)
    return selector + limits + bytes(32) + struct.pack("=IIBBBBxxxx", 0, 0, out, allow, 0, 0)

if how == "policy" and side == "client":
    s.setsockopt(41 if ":" in peer else 0, 35 if ":" in peer else 17, policy())
elif how == "md5" or side == "server":
    s.setsockopt(6, 14, key(0))
else:
    s.setsockopt(6, 32, key(128 if ":" in peer else 32))
if side == "client":
    s.settimeout(5)
    print(errno.errorcode.get(s.connect_ex((peer, port)), 0), s.send(b"hello"), s.recv(5))
else:
    s.setsockopt(1, socket.SO_REUSEADDR, 1)
    s.bind(("", port))
    s.listen()
    while True:
        c, _ = s.accept()
        c.send(c.recv(5))
        c.close()
"""


class Keys(Traces):
    """What signs or encrypts the segments to the server names that, and not a converter."""

    def test(self):
        converter = self.lab.converter("--mptcp")
        for port, (peer, client) in enumerate(((L.SERVER, L.CLIENT), (L.SERVER6, L.CLIENT6)), 7100):
            server = self.lab.start("server", ["/usr/bin/python3", "-c", KEYS, "server", "md5", client, str(port)])
            server.wait_for_listeners(port)
            for how, mptcp in itertools.product(("md5", "md5 of a prefix", "policy"), ("off", "on")):
                with self.subTest(how, peer=peer, mptcp=mptcp):
                    to = (peer, ECHO if how == "policy" else port)
                    shim = self.lab.config(policy=f"mptcp = {mptcp}\nbypass = never")
                    r = self.lab.run(["/usr/bin/python3", "-c", KEYS, "client", how, *map(str, to)], shim=shim)
                    self.assertEqual(r.out, b"0 5 b'hello'\n", r)
                    self.assertNotIn("converted", r.log, r)
        self.assertEqual(converter.events("accept"), [])


# connects without a packet, as what has been saved is put up again; the sequence number is as it was set
REPAIRED = """
import errno, socket, sys
s = socket.socket()
s.setsockopt(6, 19, 1)  # TCP_REPAIR
s.setsockopt(6, 20, 2)  # TCP_REPAIR_QUEUE: what is sent
s.setsockopt(6, 21, 4242)  # TCP_QUEUE_SEQ
print(errno.errorcode.get(s.connect_ex((sys.argv[1], 7)), 0), s.getsockopt(6, 21))
"""


class Repaired(Traces):
    def test(self):
        converter = self.lab.converter("--mptcp")
        for mptcp in "off", "on":
            with self.subTest(mptcp=mptcp):
                shim = self.lab.config(policy=f"mptcp = {mptcp}\nbypass = never\nfallback = none")
                r = self.lab.run(["/usr/bin/python3", "-c", REPAIRED, L.SERVER], shim=shim)
                self.assertEqual(r.out.split(), [b"0", b"4242"], r)
        self.assertEqual(converter.events("request"), [])


class Queue(Traces):
    SYNS = {"data": ([], "fast-open = no-cookie"), "owed": (["--fastopen", "off"], "fast-open = cookie")}

    def check(self, *how):
        for mptcp in "off", "on":
            for name, (options, setting) in self.SYNS.items():
                with self.subTest(f"{how} {name} mptcp = {mptcp}"):
                    v4, _ = self.lab.fresh_addresses()
                    converter = self.lab.converter("--mptcp", *options, listen=[v4])
                    shim = self.lab.config(setting, f"mptcp = {mptcp}", address=v4)
                    plain = self.say(QUEUE, L.SERVER, ECHO, *how)
                    said = self.say(QUEUE, L.SERVER, ECHO, *how, shim=shim)
                    self.note(f"{how} {name} {mptcp}: {plain!r} {said!r}")
                    if mptcp == "off" or "before" in how: # ... on MPTCP nothing is ever in there (LINUX-FACTS 4.19)
                        self.assertEqual(said, plain)
                    converter.stop()

    def test_of_mptcp(self):
        """LINUX-FACTS 4.19."""
        L.sysctl("client", net__mptcp__enabled=1)
        self.addCleanup(L.sysctl, "client", net__mptcp__enabled=int(L.MPTCP in ("auto", "on")))
        for when in "before", "after":
            self.assertEqual(self.say(QUEUE, L.SERVER, ECHO, when, "mptcp"), "0 [] []\n[]\n[]\n")

    def test_before(self):
        self.check("before")

    def test_pending(self):
        self.check("pending")

    def test_numbered_pending(self):
        self.check("pending", "id")

    def test_numbered_pending_from_here(self):
        self.check("pending", "id", "tcp")

    def test_numbered_after(self):
        self.check("after", "id")
        self.check("after", "id", "tcp")

    def test_errors(self):
        """The converter cannot be reached, which a router says."""
        for when in "before", "pending":
            for fallback, wanted in ("direct", None), ("none", "EHOSTUNREACH [] []\n"):
                with self.subTest(f"{when} {fallback}"):
                    shim = self.lab.config(policy=f"mptcp = off\nfallback = {fallback}\ntimeout = 5s", address=NOWHERE)
                    wanted = wanted or self.say(QUEUE, L.SERVER, ECHO, when, "errors")
                    self.assertEqual(self.say(QUEUE, L.SERVER, ECHO, when, "errors", shim=shim), wanted)

    def test_waits(self):
        """What is in the queue, of the message, ends no wait for the reply."""
        self.need("strace")
        v4, _ = self.lab.fresh_addresses()
        self.lab.converter("--fastopen", "off", "--fault", "delay=500", listen=[v4])
        shim = self.lab.config("fast-open = cookie", "mptcp = off", address=v4)
        for how in "connect", "poll", "select", "epoll", "recv":
            with self.subTest(how):
                trace = self.lab.file("strace")
                r = self.lab.run(["strace", "-f", "-qq", "-o", trace, "-e", "trace=/poll|select|epoll_p?wait",
                                  *(f"-E{k}={v}" for k, v in shim.items()), f"-ELD_PRELOAD={L.SHIM}",
                                  "/usr/bin/python3", "-c", WAITS, L.SERVER, ECHO, how])
                self.assertEqual((r.code, r.err), (0, ""), r)
                waits = trace.read_text().splitlines()
                self.note(f"{how}: {len(waits)} waits")
                self.assertLess(len(waits), 50, waits[-5:])


# What is beside the stream, asked for in vain, of a pending connection that does not wait, or whose connect() did not
# any longer; then when the reply must be there.
BESIDE = """
import ctypes, errno, select, socket, struct, sys, time
libc, room = ctypes.CDLL(None, use_errno=True), ctypes.create_string_buffer(10)

def recv(n, flags):
    r = libc.recv(s.fileno(), room, n, flags)
    return f"{n}: {errno.errorcode[ctypes.get_errno()] if r < 0 else room.raw[:r]}"

s = socket.socket()
if sys.argv[3] == "blocking":
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 0, 1000))
else:
    s.setblocking(False)
s.connect_ex((sys.argv[1], int(sys.argv[2])))
for flags in socket.MSG_OOB, socket.MSG_ERRQUEUE:
    print(*(recv(n, flags) for n in (0, 1)))
time.sleep(1)
print(recv(1, socket.MSG_OOB | socket.MSG_DONTWAIT) in ("1: EINVAL", "1: EAGAIN"))  # as test_differences.py has it
select.select([], [s], [])
s.send(b"hello")
s.setblocking(True)
print(s.recv(5))
"""


class Beside(Traces):
    def test(self):
        """Urgent data and the queue of errors: nobody waits for them, and no byte of the reply is any."""
        for mptcp in "off", "on":
            for how in "blocking", "nonblocking":
                with self.subTest(f"{how}, mptcp = {mptcp}"):
                    v4, _ = self.lab.fresh_addresses()
                    converter = self.lab.converter("--mptcp", "--fault", "delay=600", listen=[v4])
                    shim = self.lab.config("fast-open = no-cookie", f"mptcp = {mptcp}", address=v4)
                    plain = self.say(BESIDE, L.SERVER, ECHO, how)
                    self.assertEqual(self.say(BESIDE, L.SERVER, ECHO, how, shim=shim), plain)
                    converter.stop()


# Of five connections that hold back what is less than a segment: how long connect() took at least, and what is then
# said of the option.
CORKED = """
import select, socket, sys, time
def one():
    s = socket.socket()
    s.setblocking(sys.argv[3] == "before")
    if sys.argv[3] == "before":
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    begun = time.monotonic()
    s.connect_ex((sys.argv[1], int(sys.argv[2])))
    if sys.argv[3] == "meanwhile":
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        select.select([], [s], [])
    took = time.monotonic() - begun
    s.setblocking(True)
    s.send(b"hello")
    corked = s.getsockopt(socket.IPPROTO_TCP, socket.TCP_CORK)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
    assert s.recv(5) == b"hello"
    return took, corked
found = [one() for _ in range(5)]
print(int(1000 * min(took for took, _ in found)), {corked for _, corked in found})
"""


class Corked(Traces):
    def test(self):
        """TCP_CORK holds the message back no longer than it takes to say so: else it would be 200 ms."""
        for mptcp in "off", "on":
            v4, _ = self.lab.fresh_addresses()
            self.lab.converter("--fastopen", "off", "--mptcp", listen=[v4])
            for when in "before", "meanwhile":
                with self.subTest(f"{when}, mptcp = {mptcp}"):
                    shim = self.lab.config("fast-open = cookie", f"mptcp = {mptcp}", address=v4)
                    ms, value = self.say(CORKED, L.SERVER, ECHO, when, shim=shim).split()
                    self.assertEqual(value, "{1}")
                    self.assertLess(int(ms), 100)
                    with open(shim["LAB_LOG"]) as log:
                        self.assertEqual(log.read().count(f"connected, {'TCP' if mptcp == 'off' else 'MPTCP'}"), 5)


if __name__ == "__main__":
    L.main(setup)

#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""The fault matrix: everything that can be wrong with a converter or the way to it, and what becomes
of a program's connection, however it waits.

(each fault) x (blocking, poll, epoll, asyncio) x (IPv4, IPv6) x (fallback direct, none) x (TCP, MPTCP):
the outcome, its time and the bytes. FAULTS=all runs every cell, else each fault is run with half of
them. The matrix is tests/e2e/faults.md; FAULTS=write writes it.
"""
import contextlib
import dataclasses
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import zlib

sys.path.insert(1, sys.path[0] + "/../lab")
import captures
import lab as L
import servers

EVERYTHING = os.environ.get("FAULTS") in ("all", "write")
TABLE = pathlib.Path(__file__).with_name("faults.md")

WAYS = ["blocking", "poll", "epoll", "asyncio"]
FALLBACKS = ["direct", "none"]
PERIOD = 1000  # ms, of `timeout`
PORTS = range(6000, 6000 + len(WAYS) * len(FALLBACKS))  # one for each client of a family
SECOND = 100  # so far away is the port of a client's second converter

ASYNCIO = """
import asyncio, errno, sys, time, zlib
async def beside(address, port, mute, ms):
    call = asyncio.create_task(asyncio.open_connection(mute, port))
    end = time.monotonic() + int(ms) / 1000
    while time.monotonic() < end:
        reader, writer = await asyncio.open_connection(address, port)
        writer.write(b"GET /who HTTP/1.0\\r\\n\\r\\n")
        await reader.read(-1)
        writer.close()
        await asyncio.sleep(0.05)
    await fetch(address, port)
    call.cancel()
    await asyncio.wait([call])
async def fetch(address, port):
    start = time.monotonic()
    ms = lambda: int((time.monotonic() - start) * 1000)
    try:
        reader, writer = await asyncio.open_connection(address, port)
    except OSError as e:
        return print(errno.errorcode[e.errno], ms(), "-", 0)
    connected = ms()
    writer.write(b"GET /who HTTP/1.1\\r\\nHost: lab\\r\\n\\r\\nGET /page HTTP/1.0\\r\\n\\r\\n")
    answer = await reader.read(-1)
    who = answer.split(b"\\r\\n\\r\\n")[1].split()[0].decode()
    print("connected", connected, who, zlib.adler32(answer.split(b"\\r\\n\\r\\n")[2]))
asyncio.run({"fetch": fetch, "beside": beside}[sys.argv[1]](*sys.argv[2:]))
"""

# ------------------------------------------------------------------------- the faults


def netfilter(text, text6=None):
    """Rules for iptables-restore in the converter's namespace, {port} being one client's."""
    def apply(_):
        @contextlib.contextmanager
        def rules():
            for command, body in ("iptables", text), ("ip6tables", text6 or text):
                lines = "\n".join(body.format(port=port) for port in PORTS)
                restore(command, f"*filter\n{lines}\nCOMMIT\n")
            try:
                yield
            finally:
                for command in "iptables", "ip6tables":
                    restore(command, "*filter\n-F INPUT\n-F OUTPUT\nCOMMIT\n")
        return rules()
    return apply


def restore(command, text):
    subprocess.run(L.inside("converter", [f"{command}-restore", "--noflush"]), input=text,
                   text=True, check=True, env=L.ENVIRONMENT, timeout=20)


def box(rule):
    return lambda test: test.lab.box.rules(rule)


ONCE = "-m statistic --mode nth --every 1000000 --packet 0 -j DROP"
SYN = "-A INPUT -p tcp --syn --dport {port} "
BARE, BARE6 = (SYN + f"-m length --length 0:{n} -j DROP" for n in (76, 96))  # no data in it

# 255 words of which we know none
LONG = "01ff2263" + "c0fe0000" + "00000000" * 253
BIG_COOKIE = "01ff2263" + "1efe0300" + "11223344" * 253

# When the program knows: at once; after half of `timeout` at most, which is when we try once more
# without knowing the round trip; or when `timeout` is over.
AT_ONCE, HALF, ONE = "at once", "half of `timeout`", "`timeout`"
AT_MOST_HALF = "at most half of `timeout`"  # the kernel's race decides
PART = "the first one's part of `timeout`"
LOOKS = "as soon as it looks"  # that is when we let it
BOUNDS = {AT_ONCE: (0, 1), HALF: (0.5, 1), AT_MOST_HALF: (0, 1), PART: (0.25, 1), ONE: (1, 2),
          LOOKS: (0, 100)}


def kill(test, converter, processes):
    test.wait_for_requests(converter, processes)
    converter.stop(signal.SIGKILL)


def stop_for_long(test, converter, processes):
    test.wait_for_requests(converter, processes)
    for process in processes:
        process.process.send_signal(signal.SIGSTOP)
    time.sleep(4 * PERIOD / 1000)
    for process in processes:
        process.process.send_signal(signal.SIGCONT)


@dataclasses.dataclass
class Fault:
    name: str
    none: str            # with fallback = none: an errno, or converted
    direct: str          # with fallback = direct: direct, or converted
    when: str            # AT_ONCE, HALF or ONE
    log: str             # what the line in the log says (a regular expression)
    options: tuple = ()  # of the converter; None: there is none
    around: object = None
    when_mptcp: str = None
    mptcp: bool = True   # an MPTCP socket's connection ends up as MPTCP
    meanwhile: object = None  # is called when the programs have been started
    limit: int = PERIOD
    second: bool = False      # there is another converter, which is well
    mute: bool = False        # the program calls a mute server, too


def reply(name, fault, errno, log, when=AT_ONCE, **more):
    """The converter says something else than it should."""
    return Fault(name, errno, "direct", when, log, ("--ext-header", "always", "--fault", fault),
                 **more)


def once(name, rules, rules6=None, log="retrying .*no answer to the SYN"):
    return Fault(name, "converted", "converted", HALF, log, around=netfilter(rules, rules6))


FAULTS = [
    Fault("no converter: the port is closed", "ECONNREFUSED", "direct", AT_ONCE, "ECONNREFUSED|no "
          "connection to the converter", None),
    Fault("no converter: silence", "ETIMEDOUT", "direct", ONE, "no reply in time", None,
          netfilter(SYN + "-j DROP")),
    once("a SYN is lost", SYN + ONCE),
    once("a SYN is lost, and SYNs without data are ignored", SYN + ONCE + "\n" + BARE,
         SYN + ONCE + "\n" + BARE6),
    once("a SYN+ACK is lost",
         "-A OUTPUT -p tcp --tcp-flags SYN,ACK SYN,ACK --sport {port} " + ONCE),
    Fault("SYNs with data are lost", "ETIMEDOUT", "direct", ONE, "no reply in time",
          around=box("drop-syn-data")),
    Fault("the data is taken out of SYNs", "converted", "converted", AT_ONCE, "converted",
          around=box("strip-syn-data"), mptcp=False),
    Fault("MPTCP's options are taken out", "converted", "converted", AT_ONCE, "converted",
          around=box("strip-mptcp"), mptcp=False),
    Fault("the SYN is held for ever", "ETIMEDOUT", "direct", ONE, "no reply in time",
          ("--hold", "--fault", "keep-syn")),
    reply("accepts, and says nothing", "silence", "ETIMEDOUT", "no reply in time", ONE),
    Fault("its kernel keeps the reply back (MPTCP)", "converted", "converted", AT_ONCE,
          "converted", ("--fault", "eager"), when_mptcp=AT_MOST_HALF),
    reply("a byte at a time, too slowly", "split=1,gap=100", "ETIMEDOUT", "no reply in time", ONE),
    # whoever has to be seen by another process before it is killed gets more time
    Fault("killed while it is connecting", "ECONNRESET", "direct", AT_ONCE,
          "ECONNRESET|closed before the reply was whole|no reply",
          ("--fault", "silence"), meanwhile=kill, limit=8 * PERIOD),
    Fault("the first of two says nothing", "converted", "converted", PART, "next converter after",
          ("--fault", "silence"), second=True, limit=2 * PERIOD),
    Fault("the first of two does not answer a SYN", "converted", "converted", PART,
          "next converter after", None, netfilter(SYN + "-j DROP"), second=True, limit=2 * PERIOD),
    Fault("nothing: the program looks late, as it was stopped for longer than `timeout`",
          "converted", "converted", LOOKS, "converted", ("--fault", "delay=800"),
          meanwhile=stop_for_long, limit=3 * PERIOD),
    Fault("nothing: the program has called a mute server, too", "converted", "converted", AT_ONCE,
          "converted", mute=True),
    reply("closes at once", "close", "ECONNRESET", "closed before the reply was whole"),
    reply("closes before it has read", "unread", "ECONNRESET",
          "ECONNRESET|no reply"),
    reply("closes in the middle of the reply", "cut=9", "ECONNRESET",
          "closed before the reply was whole"),
    reply("resets in the middle of the reply", "cut-rst=9", "ECONNRESET",
          "ECONNRESET|no reply"),  # that is when nothing was read before
    reply("noise", "raw=485454502f312e3120343030", "EPROTO", "EPROTO"),
    reply("another version", "raw=02012263", "EPROTO", "EPROTO"),
    reply("another magic number", "raw=01011234", "EPROTO", "EPROTO"),
    reply("Total Length 0", "raw=01002263", "EPROTO", "EPROTO"),
    reply("a TLV of length 0", "raw=0102226314000000", "EPROTO", "EPROTO"),
    reply("a TLV beyond the end", "raw=0102226314020000", "EPROTO", "EPROTO"),
    reply("announces more than it sends", "raw=01ff22631401", "ECONNRESET",
          "closed before the reply was whole"),
    Fault("255 words that nobody knows", "converted", "converted", AT_ONCE, "converted",
          ("--fault", f"raw-relay={LONG}")),
    reply("error 0, Unsupported Version", "error=0:02", "EPROTO", "Unsupported Version"),
    reply("error 1, Malformed Message", "error=1:00", "EPROTO", "Malformed Message"),
    reply("error 2, Unsupported Message", "error=2:00", "EPROTO", "Unsupported Message"),
    reply("error 3, Missing Cookie, twice", "error=3:00deadbeef01020304", "EACCES",
          "Missing Cookie"),
    reply("error 3 with a cookie of 1012 bytes", f"raw={BIG_COOKIE}", "EACCES", "Missing Cookie"),
    reply("error 32, Not Authorized", "error=32:00", "EACCES", "Not Authorized"),
    reply("error 33, Unsupported TCP Option", "error=33:1e", "EPROTO", "Unsupported TCP Option"),
    reply("error 64, Resource Exceeded", "error=64:3c", "ENOBUFS", "Resource Exceeded"),
    reply("error 64 for 2^32 seconds", "error=64:ffffffffff", "ENOBUFS", "Resource Exceeded"),
    reply("error 65, Network Failure", "error=65:00", "ENETUNREACH", "Network Failure"),
]


# ------------------------------------------------------------------------- the matrix

@dataclasses.dataclass
class Cell:
    fault: Fault
    way: str
    v6: bool
    fallback: str
    mptcp: bool

    def __str__(self):
        return (f"{self.fault.name}, {self.way}, {'IPv6' if self.v6 else 'IPv4'}, fallback = "
                f"{self.fallback}, {'MPTCP' if self.mptcp else 'TCP'}")

    def port(self):
        return PORTS[WAYS.index(self.way) * len(FALLBACKS) + FALLBACKS.index(self.fallback)]

    def outcome(self):
        return getattr(self.fault, self.fallback)

    def when(self):
        return self.mptcp and self.fault.when_mptcp or self.fault.when

    def log(self):
        return self.fault.log


def batches(fault):
    """Lists of cells that run at the same time, each family's by ports of their own. Of the short form
    half of all, TCP's and MPTCP's together: any two settings of different kinds meet."""
    every = [Cell(fault, way, v6, fallback, mptcp) for way in WAYS for v6 in (False, True)
             for fallback in FALLBACKS for mptcp in (False, True)]
    if EVERYTHING:
        return [[c for c in every if c.mptcp == mptcp] for mptcp in (False, True)]
    return [[c for c in every if (WAYS.index(c.way) + c.v6 + FALLBACKS.index(c.fallback) + c.mptcp +
                                  FAULTS.index(fault)) % 2]]


def table():
    rows = ["| what is wrong | `fallback = direct` | `fallback = none` | the program knows after |",
            "| --- | --- | --- | --- |"]
    for f in FAULTS:
        when = f.when + (f"; over MPTCP {f.when_mptcp}" if f.when_mptcp else "")
        rows.append(f"| {f.name} | {f.direct} | {f.none} | {when} |")
    n = len(FAULTS) * len(WAYS) * len(FALLBACKS) * 4
    return (f"""# What becomes of a connection

Made by `FAULTS=write tests/e2e/test_faults.py`; `make check-faults` runs all {n} cells: each row by a
blocking `connect()`, `poll`, `epoll` and asyncio, over IPv4 and IPv6, TCP and MPTCP, without a state
file. *converted* and *direct* are connections over which every byte came; `timeout` is what the
configuration says, 5 s if it says nothing.

""" + "\n".join(rows) + """

"Half of `timeout`" is for a program that knows nothing of the converter yet, and 900 ms at most. With
a state file a lost SYN costs three round trips to the converter, at least 250 ms.
""")


def setup(lab):
    lab.nginx = servers.nginx(lab)
    servers.nowhere(lab)
    lab.sum = zlib.adler32((lab.nginx.base / "www/page").read_bytes())


class Matrix(L.TestCase):
    def start(self, cell):
        fault = cell.fault
        address, converter = (L.SERVER6, L.CONVERTER6) if cell.v6 else (L.SERVER, L.CONVERTER)
        sections = "fast-open = no-cookie"
        if fault.second:
            sections += (f"\n[converter second]\naddress = {converter}\n"
                         f"port = {cell.port() + SECOND}\nfast-open = no-cookie")
        shim = self.lab.config(sections, f"mptcp = {'auto' if cell.mptcp else 'off'}\n"
                               f"timeout = {fault.limit}ms\nfallback = {cell.fallback}",
                               address=converter, port=cell.port())
        program = (["/usr/bin/python3", "-c", ASYNCIO] if cell.way == "asyncio" else
                   [L.TOOLS / "faults"])
        words = ["beside" if fault.mute else "fetch"] + [cell.way] * (cell.way != "asyncio")
        more = [servers.MUTE6 if cell.v6 else servers.MUTE, 3 * fault.limit // 2] * fault.mute
        environment = [f"{k}={v}" for k, v in ({"LD_PRELOAD": L.SHIM} | shim).items()]
        process = L.Process("client", ["env", *environment, *program, *words, address, "80", *more])
        process.shim_log = pathlib.Path(shim["LAB_LOG"])
        return process

    def converter(self, options, mptcp, ports):
        listen = [f"{a}:{p}" for p in ports for a in (L.CONVERTER, f"[{L.CONVERTER6}]")]
        more = [f"--listen={a}" for a in listen[2:]]
        return self.lab.converter(*more, *options, *(["--mptcp"] if mptcp else []),
                                  listen=[L.CONVERTER, f"[{L.CONVERTER6}]"], port=ports[0])

    def converters(self, fault, mptcp):
        """The one with the fault first, if there is one."""
        if fault.options is not None:
            yield self.converter(fault.options, mptcp, PORTS)
        if fault.second:
            yield self.converter((), mptcp, [port + SECOND for port in PORTS])

    def wait_for_requests(self, converter, processes):
        L.wait_for("the requests", lambda: len(converter.events("request")) >= len(processes))

    def judge(self, cell, process):
        process.process.wait(20)
        text, log = process.text(), process.shim_log.read_text()
        context = f"{cell}:\n{text}\n{log}"
        self.assertRegex(text, r"^\w+ \d+ \S+ \d+\n$", context)
        outcome, ms, saw, total = text.split()
        if outcome == "connected":
            outcome = {L.CLIENT: "direct", L.CLIENT6: "direct", L.ROUTER: "converted",
                       L.ROUTER6: "converted"}[saw]
            self.assertEqual(int(total), self.lab.sum, context)
        self.assertEqual(outcome, cell.outcome(), context)
        least, most = (bound * cell.fault.limit for bound in BOUNDS[cell.when()])
        self.assertTrue(least <= int(ms) < most, context)
        self.assertRegex(log, cell.log(), context)
        if outcome == "converted":
            over = "MPTCP" if cell.mptcp and cell.fault.mptcp else "TCP"
            self.assertIn(f"connected, {over}", log, context)

    def run_batch(self, fault, chosen):
        with fault.around(self) if fault.around else contextlib.nullcontext():
            converters = list(self.converters(fault, any(cell.mptcp for cell in chosen)))
            processes = [self.start(cell) for cell in chosen]
            if fault.meanwhile:
                fault.meanwhile(self, converters[0], processes)
            for cell, process in zip(chosen, processes):
                with self.subTest(str(cell)):
                    self.judge(cell, process)
            for converter in converters:
                converter.stop()
        return len(chosen)

    def test_every_fault(self):
        if not EVERYTHING:
            self.note("FAULTS=all runs the other half, too")
        ran = sum(self.run_batch(f, batch) for f in FAULTS for batch in batches(f))
        self.note(f"{ran} cells, {len(FAULTS)} faults")
        if EVERYTHING:
            print(table())


WAITING = """
import select, socket, sys, time
how, address = sys.argv[1:]
s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
s.setblocking(how == "blocking")
s.connect_ex((address, 80))
if how == "select":
    select.select([], [s], [])
elif how == "another":  # somebody else's descriptor, again and again
    for _ in range(10):
        select.select([], [], [], 0.05)
        select.select([sys.stdin], [], [], 0)
elif how != "blocking":  # nobody waits; the next call finds it
    time.sleep(0.4)
    s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    time.sleep(0.1)
s.setblocking(True)
print(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
s.sendall(b"GET /who HTTP/1.0\\r\\n\\r\\n")
answer = b""
while (piece := s.recv(4096)):
    answer += piece
print(answer.split(b"\\r\\n\\r\\n", 1)[1].decode().strip())
"""


class LostSyn(L.TestCase):
    """What is sent, and when it is noticed, with what is known of the converter."""

    def syns(self, how, shim):
        """[bytes in each SYN to the converter]"""
        capture = captures.Capture(self.lab)
        r = self.lab.run(["/usr/bin/python3", "-c", WAITING, how, L.SERVER], shim=shim)
        self.assertEqual(r.out.decode().split(), ["0", L.ROUTER], f"{how} {r}")
        return [len(p.data) for p in capture.packets() if p.is_syn() and p.dst == L.CONVERTER], r

    def check(self, mptcp, length):
        shim = self.lab.config("fast-open = no-cookie", f"mptcp = {mptcp}\ntimeout = 5s",
                               port=PORTS[0]) | {"CONVERT_STATE": str(self.lab.file("state"))}
        self.lab.converter(*(["--mptcp"] if mptcp == "auto" else []), port=PORTS[0])
        for _ in range(2):  # learns the round trip
            self.assertEqual(self.syns("blocking", shim)[0], [length or 28])
            length = length or 24  # known to have no MPTCP by now
        for how in "blocking", "select", "alone", "another":
            with self.subTest(f"mptcp = {mptcp}, {how}"), netfilter(SYN + ONCE)(self):
                sent, r = self.syns(how, shim)
                self.assertEqual(sent, [24, 24], r)
                again = int(re.findall(r"retrying .* after (\d+) ms: no answer", r.log)[-1])
                # 250 ms, not 900 and not the kernel's second
                self.assertTrue(250 <= again < 900, r)

    def test_tcp(self):
        self.check("off", 24)

    def test_mptcp(self):
        self.check("auto", None)


class Stripped(L.TestCase):
    """A network that takes the data out of SYNs: learned, and not held against MPTCP."""

    def test_is_learned(self):
        self.lab.converter("--mptcp", "--fastopen", "cookie")
        state = self.lab.file("state")
        self.lab.run([L.TOOLS / "faults", "fetch", "poll", L.SERVER, "80"], shim=self.lab.config())
        with self.lab.box.rules("strip-syn-data") as box:  # the kernel has a cookie by now
            for data, over in [(True, "TCP")] * 3 + [(False, "MPTCP")] * 2:
                shim = self.lab.config("fast-open = auto") | {"CONVERT_STATE": str(state)}
                before = len(box.did("strip-syn-data"))
                r = self.lab.run([L.TOOLS / "faults", "fetch", "poll", L.SERVER, "80"], shim=shim)
                self.assertRegex(r.out.decode(), f"connected [0-9]+ {L.ROUTER} {self.lab.sum}", r)
                self.assertIn(f"connected, {over}", r.log)
                self.assertEqual(len(box.did("strip-syn-data")) - before, data, r)
        self.assertNotIn("data in the SYN is lost", r.log)


KEPT = """
import select, socket, sys
address, port = sys.argv[1:]
s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
           (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 7), (socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1),
           (socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1000), (socket.SOL_SOCKET, socket.SO_PRIORITY, 3)]
for option in options:
    s.setsockopt(*option)
s.bind(("", int(port)))
s.setblocking(False)
edge, level = select.epoll(), select.epoll()
edge.register(s, select.EPOLLOUT | select.EPOLLIN | select.EPOLLET)
s.connect_ex((address, 80))
level.register(s, select.EPOLLOUT)
print([events for _, events in level.poll(5)], [events for _, events in edge.poll(5)], edge.poll(0))
print(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), s.getsockname()[1], s.getpeername()[:2])
print([s.getsockopt(level, name) for level, name, _ in options], s.getblocking())
s.sendall(b"GET /who HTTP/1.0\\r\\n\\r\\n")
print([events for _, events in edge.poll(5)][0] & select.EPOLLIN)
s.setblocking(True)
answer = b""
while (piece := s.recv(4096)):
    answer += piece
print(answer.split(b"\\r\\n\\r\\n", 1)[1].decode().strip())
"""


class Kept(L.TestCase):
    """A connection that fell back is the one that the program has made: its options, bound port,
    registrations."""

    def test_like_a_direct_one(self):
        port = 7000
        for server, client, by in ((L.SERVER, L.CLIENT, L.CONVERTER), (L.SERVER6, L.CLIENT6, L.CONVERTER6),
                                   (L.SERVER6, L.CLIENT6, L.CONVERTER)):
            for mptcp in "off", "auto":
                for fault in "close", "silence", "error=64:3c":
                    port += 2
                    direct = self.lab.run(["/usr/bin/python3", "-c", KEPT, server, port])
                    self.assertEqual((direct.code, direct.err), (0, ""), direct)
                    converter = self.lab.converter("--fault", fault,
                                                   *(["--mptcp"] if mptcp == "auto" else []))
                    shim = self.lab.config(
                        "fast-open = no-cookie", f"mptcp = {mptcp}\nfallback = direct\n"
                        "timeout = 300ms", address=by)
                    r = self.lab.run(["/usr/bin/python3", "-c", KEPT, server, port + 1], shim=shim)
                    self.assertEqual((r.code, r.err), (0, ""), r)
                    self.assertIn("falling back", r.log)
                    self.assertEqual(r.out.decode().replace(str(port + 1), str(port)),
                                     direct.out.decode(), f"{fault} mptcp = {mptcp} {r}")
                    self.assertIn(client, r.out.decode())
                    converter.stop()


    def test_from_where_a_direct_one_comes(self):
        """The program has bound a port alone, and this host has another address for the way to the converter."""
        self.lab.converter("--mptcp", "--fault", "silence")
        port = 7100
        for server, by, other in ((L.SERVER, L.CONVERTER, "10.1.0.9/32"), (L.SERVER, L.CONVERTER6, "fd01::9/128"),
                                  (L.SERVER6, L.CONVERTER6, "fd01::9/128"), (L.SERVER6, L.CONVERTER, "10.1.0.9/32")):
            address, port, v6 = other.split("/")[0], port + 2, ["nodad", "preferred_lft", "0"] * (":" in other)
            route = [by, "dev", "c0", "src", address, "metric", "1"]
            L.command(["ip", "-n", "client", "addr", "add", other, "dev", "c0", *v6])
            L.command(["ip", "-n", "client", "route", "add", *route])
            try:
                with self.subTest(server=server, by=by):
                    shim = self.lab.config("fast-open = no-cookie", "mptcp = on\nfallback = direct\ntimeout = 300ms",
                                           address=by)
                    direct = self.lab.run(["/usr/bin/python3", "-c", KEPT, server, port])
                    self.assertEqual((direct.code, direct.err), (0, ""), direct)
                    self.assertNotIn(address, direct.out.decode())
                    r = self.lab.run(["/usr/bin/python3", "-c", KEPT, server, port + 1], shim=shim)
                    self.assertEqual((r.code, r.err), (0, ""), r)
                    self.assertRegex(r.log, f"falling back.*from \\[?{address}\\]?:")
                    self.assertEqual(r.out.decode().replace(str(port + 1), str(port)), direct.out.decode(), r)
            finally:
                L.command(["ip", "-n", "client", "route", "del", *route])
                L.command(["ip", "-n", "client", "addr", "del", other, "dev", "c0"])


class Hostile(L.TestCase):
    def test_reset_at_every_byte_of_the_reply(self):
        for n in range(0, 28):
            converter = self.lab.converter("--ext-header", "always", "--fault", f"cut-rst={n}")
            shim = self.lab.config("fast-open = no-cookie", "mptcp = off\nfallback = direct")
            r = self.lab.run([L.TOOLS / "faults", "fetch", WAYS[n % 3], L.SERVER, "80"], shim=shim)
            outcome, _, saw, total = r.out.decode().split()
            size = len(converter.events("accept")) and int(converter.events("reply")[-1]["bytes"])
            if n < size:
                self.assertEqual((outcome, saw, int(total)), ("connected", L.CLIENT, self.lab.sum),
                                 f"{n} of {size} {r}")
            else:  # the whole reply: from there on it is the server's connection that breaks
                self.assertIn(outcome, ("ECONNRESET", "EPIPE"), f"{n} of {size} {r}")
                self.assertIn("converted", r.log)
            converter.stop()


class Held(L.TestCase):
    """A converter whose kernel keeps its reply to SYN data back (LINUX-FACTS 2b.3)."""

    def connection(self, state, mptcp="auto"):
        shim = self.lab.config("fast-open = no-cookie", f"mptcp = {mptcp}\ntimeout = 1s") | {
            "CONVERT_STATE": str(state)}
        r = self.lab.run([L.TOOLS / "faults", "fetch", "blocking", L.SERVER, "80"], shim=shim)
        self.assertRegex(r.out.decode(), f"connected [0-9]+ {L.ROUTER} {self.lab.sum}", r)
        return int(r.out.split()[1]), r

    def test_is_found_out(self):
        converter = self.lab.converter("--mptcp", "--fault", "eager")
        for _ in range(10):  # until the reply was there before the third ACK
            state = self.lab.file("state")
            _, r = self.connection(state)
            if "no reply to the data in the SYN" in r.log:
                break
        self.assertIn("no reply to the data in the SYN", r.log)
        self.assertIn("connected, MPTCP", r.log)
        # known to all programs, and a connection over TCP does not change that
        for mptcp, data in ("auto", "no"), ("off", "yes"), ("auto", "no"):
            ms, r = self.connection(state, mptcp)
            self.assertLess(ms, 500)
            self.assertEqual(converter.events("accept")[-1]["syn_data"], data, r)

    def test_own_data_waits(self):
        """A program's own Fast Open, once that is known: its data is not lost with what is kept back."""
        self.lab.converter("--mptcp", "--fault", "eager")
        for _ in range(10):
            state = self.lab.file("state")
            _, r = self.connection(state)
            if "no reply to the data in the SYN" in r.log:
                break
        shim = self.lab.config("fast-open = no-cookie", "timeout = 1s") | {"CONVERT_STATE": str(state)}
        for how in "flag", "connect":
            with self.subTest(how):
                r = self.lab.run(["/usr/bin/python3", "-c", OWN_FAST_OPEN, L.SERVER, 80, how], shim=shim)
                self.assertEqual(r.out, b"EINPROGRESS b'HTTP/1.1'\n", r)


OWN_FAST_OPEN = r"""
import errno, select, socket, sys
s = socket.socket()
s.setblocking(False)
to, data = (sys.argv[1], int(sys.argv[2])), b"GET / HTTP/1.0\r\n\r\n"
if sys.argv[3] == "connect":
    s.setsockopt(socket.IPPROTO_TCP, 30, 1)  # TCP_FASTOPEN_CONNECT
try:
    said = s.connect(to) if sys.argv[3] == "connect" else s.sendto(data, 0x20000000, to)
except BlockingIOError as e:
    said = errno.errorcode[e.errno]
select.select([], [s], [])
if said in (None, "EINPROGRESS"):
    s.send(data)
s.settimeout(5)
print(said, s.recv(8))
"""


class Chaos(L.TestCase):
    """Random faults at random points, and a converter that is killed and started again all the
    while: everything arrives, or ends as a direct connection could have."""

    N = int(os.environ.get("CHAOS", 10000 if EVERYTHING else 400))
    LIMIT = 300  # ms, of `timeout`

    def start(self, shim, *words):
        environment = [f"{k}={v}" for k, v in ({"LD_PRELOAD": L.SHIM} | shim).items()]
        return self.lab.start("client", ["env", *environment, L.TOOLS / "faults", *words])

    def environment(self, mptcp, fallback):
        return self.lab.config("fast-open = no-cookie", f"mptcp = {mptcp}\nfallback = {fallback}\n"
                               f"timeout = {self.LIMIT}ms\nretry = 1s")

    def kill_converters(self, mptcp, has_ended):
        """Until then; returns how many it were."""
        options = ["--fault", "random"] + (["--mptcp"] if mptcp == "auto" else [])
        converter, kills = self.lab.converter(*options), 0
        while not has_ended(0.7):
            converter.stop(signal.SIGKILL)
            kills += 1
            converter = self.lab.converter(*options)
        converter.stop()
        return kills

    def run_with(self, mptcp, fallback, *words):
        shim = self.environment(mptcp, fallback)
        process = self.start(shim, *words)

        def has_ended(seconds):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.process.wait(seconds)
            return process.process.poll() is not None

        kills = self.kill_converters(mptcp, has_ended)
        totals = dict(line.split() for line in process.text().splitlines())
        self.note(f"{' '.join(map(str, words[:2]))}, mptcp = {mptcp}, fallback = {fallback}, "
                  f"{kills} converters killed: {totals}")
        return ({name: int(n) for name, n in totals.items()},
                pathlib.Path(shim["LAB_LOG"]).read_text())

    def check(self, totals, allowed, limit_ms=10000):
        rest = {name for name in totals if name.startswith("E")} - allowed
        self.assertFalse(rest, totals)
        self.assertEqual(totals["wrong"], 0)
        self.assertGreater(totals["good"], 0)
        # its own limit, and then what is left of a busy machine
        self.assertLess(totals["slowest"], limit_ms)

    def test_every_connection_by_a_process_of_its_own(self):
        """With fallback = direct no conversion fails, whatever the converter does: the server lives.
        What breaks later breaks as it would with the server's death; so it may have broken between
        poll() and SO_ERROR."""
        for mptcp in "off", "auto":
            totals, log = self.run_with(mptcp, "direct", "many", self.N // 2, 16, L.SERVER, 80,
                                        self.lab.sum)
            self.check(totals, {"ECONNRESET"})
            self.assertNotRegex(log, "(info|error): failed ")
            self.assertEqual(totals["crashed"], 0)
            torn = totals["torn"] + totals.get("ECONNRESET", 0)
            self.assertEqual(totals["good"] + torn, self.N // 2)
            self.assertLess(torn, self.N // 6)

    def test_all_by_one_process(self):
        """Which gains no descriptor and no memory; with fallback = none every connection is tried."""
        for mptcp in "off", "auto":
            totals, _ = self.run_with(mptcp, "none", "same", self.N // 8, L.SERVER, 80, self.lab.sum)
            self.check(totals, {"ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "EPIPE", "EPROTO",
                                "EACCES", "ENOBUFS", "ENETUNREACH"})
            self.assertEqual(totals["descriptors"], 0)
            # its table of exchanges is as long as it needs, and learned cookies are 64 pages
            self.assertLess(totals["kilobytes"], 600)


class Table(L.TestCase):
    def test_is_up_to_date(self):
        # behind it stands that of test_incoming.py
        outside = "\n# What becomes of a connection from outside\n"
        ours, _, theirs = TABLE.read_text().partition(outside)
        if os.environ.get("FAULTS") == "write":
            TABLE.write_text(table() + outside + theirs)
            ours = table()
        self.assertEqual(ours, table(), "FAULTS=write writes it anew")


if __name__ == "__main__":
    L.TEST_LIMIT = 600
    L.main(setup, kind=L.BoxedLab, delay_ms=(2, 1))

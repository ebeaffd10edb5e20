#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""Whose fault was it? What a converter is blamed for, by one program and so for all of a user's,
and what it is not: a server that says nothing, a program that looks late."""
import collections
import contextlib
import errno
import itertools
import json
import pathlib
import signal
import sys
import time

sys.path.insert(1, sys.path[0] + "/../lab")
import crowds
import lab as L
import servers

# what two programs need of a machine that does other things, too
LIMIT = 1.0  # seconds, of `timeout`


def setup(lab):
    servers.nginx(lab)
    crowds.servers(lab)


queues = itertools.count(6000)  # each converter that holds SYNs has its own


def under(shim):
    environment = {"LD_PRELOAD": L.SHIM} | shim if shim else {}
    return ["env"] + [f"{k}={v}" for k, v in environment.items()]


class Blame(L.TestCase):
    def converter(self, *options, mptcp=False, listen=None):
        if "--hold" in options:
            options += ("--hold-queue", next(queues))
        if mptcp:
            options += ("--mptcp",)
        return self.lab.converter("--max-pending", 4096, *options, listen=listen)

    def shim(self, address, fallback="direct", mptcp=False, fast_open="no-cookie"):
        return self.lab.config(
            f"fast-open = {fast_open}", f"mptcp = {'auto' if mptcp else 'off'}\n"
            f"fallback = {fallback}\ntimeout = {int(1000 * LIMIT)}ms", address=address) | {
                "CONVERT_STATE": str(self.lab.file("state"))}

    def crowd(self, shim, options, *targets):
        return crowds.Crowd(self.lab, shim, options, *targets)

    def well_before(self, shims):
        """Each converter has shown that it is well."""
        for crowd in [self.crowd(shim, "-t 400 -p 100", crowds.good(5)) for shim in shims]:
            lines = crowd.lines()
            self.assertEqual({line.path for line in lines}, {"converted"}, lines)

    @contextlib.contextmanager
    def dropped(self, address, ns="converter", *which):
        rule = ["INPUT", "-p", "tcp", "-d", address, *which, "-j", "DROP"]
        L.command(L.inside(ns, ["iptables", "-A", *rule]))
        try:
            yield
        finally:
            L.command(L.inside(ns, ["iptables", "-D", *rule]))

    def failures(self, shim):
        r = self.lab.run([L.BUILD / "convert-bootstrap", "status", "-j"], shim=shim)
        return [c["failures"] for c in json.loads(r.out)["converters"]]

    def tally(self, lines):
        return dict(collections.Counter((line.name, line.path) for line in lines))


def over(mptcp):
    return "MPTCP" if mptcp else "TCP"


class MuteServer(Blame):
    """Case 1.1: the converter is there and has the message; it is the server that says nothing."""

    CASES = list(itertools.product(("", "--hold"), (False, True), ("direct", "none")))

    def begin(self, case):
        hold, mptcp, fallback = case
        address, _ = self.lab.fresh_addresses()
        self.converter(*hold.split(), mptcp=mptcp, listen=[address])
        return self.shim(address, fallback, mptcp)

    def judge(self, good, trouble, outcome):
        text = f"{self.tally(good)} {self.tally(trouble)}"
        self.assertGreater(len(good), 10, text)
        self.assertEqual({line.path for line in good}, {"converted"}, text)
        self.assertGreater(len(trouble), 4, text)
        self.assertEqual({line.path for line in trouble}, {outcome}, text)
        for line in trouble:
            self.assertGreaterEqual(line.seconds, LIMIT, line)
            if line.path != "patience":
                self.assertLess(line.seconds, 2 * LIMIT, line)

    def beside(self, options, target):
        """Good servers are reached all the while, each time by another program."""
        shims = [self.begin(case) for case in self.CASES]
        self.well_before(shims)
        running = [(self.crowd(shim, "-t 4000 -p 150", crowds.good(20)),
                    self.crowd(shim, f"-t 4000 -w 1400 {options}", target)) for shim in shims]
        for (hold, mptcp, fallback), (good, trouble) in zip(self.CASES, running):
            with self.subTest(f"{hold or 'at once'}, {over(mptcp)}, fallback = {fallback}"):
                self.judge(good.lines(), trouble.lines(),
                           "patience" if fallback == "direct" else "ETIMEDOUT")

    def test_1_1_a_mute_server_beside_a_good_one(self):
        """Every 0.3 s a program that calls a mute one."""
        self.beside("-n 5 -p 200", crowds.mute(20))

    def test_1_1_a_port_scanner(self):
        """200 connections of one program at the same time, and again."""
        self.beside("-c 200 -r 9 -p 100", f"mute={crowds.MUTE}.1:1000+200")

    def known(self, shim):
        r = self.lab.run([L.BUILD / "convert-bootstrap", "status", "--json"], env=shim)
        return [(c["dialect"], c["failures"]) for c in json.loads(r.out)["converters"]]

    def test_1_1_a_converter_that_was_taken_for_a_hybrid(self):
        """Of draft-02 a Connect that succeeds shows a zero word alone, and Info's answer, by which a
        converter is told from its servers, a list in type 22 (PROTOCOL 6)."""
        address, _ = self.lab.fresh_addresses()
        self.converter("--dialect", "draft-02", "--lenient", "--supported-type", 22,
                       listen=[address])
        shim = self.shim(address, "none")
        self.well_before([shim])
        self.assertEqual(self.known(shim), [("hybrid", 0)])
        lines = self.crowd(shim, "-t 0", crowds.mute(1)).lines()
        self.assertEqual({line.path for line in lines}, {"ETIMEDOUT"}, lines)
        self.assertEqual(self.known(shim), [("draft-02", 0)])


class DeadConverter(Blame):
    """The other side of case 1.1: who is really dead is left alone after one limit, by all."""

    def judge(self, lines):
        """The one that finds it out has waited for the limit; those that began in the second after
        that did not wait at all."""
        first = lines[0]
        text = "\n".join(map(str, lines))
        self.assertEqual({line.path for line in lines}, {"direct"}, text)
        self.assertTrue(LIMIT <= first.seconds < 2 * LIMIT, text)
        behind = [line for line in lines if first.ended <= line.began < first.ended + 0.8]
        self.assertGreater(len(behind), 2, text)
        self.assertEqual([line for line in behind if line.seconds > LIMIT / 2], [], text)

    KINDS = ("no host", "silence", "--hold silence", "no host, now", "stopped, now")

    def test_left_alone_after_one_limit(self):
        cases = list(itertools.product(self.KINDS, (False, True)))
        began = [self.begin(*case) for case in cases]
        self.well_before([shim for (what, _), (shim, *_) in zip(cases, began) if "now" in what])
        with contextlib.ExitStack() as stack:
            for (what, _), (_, address, converter) in zip(cases, began):
                if "no host" in what:
                    stack.enter_context(self.dropped(address))
                if "stopped" in what:
                    converter.process.send_signal(signal.SIGSTOP)
                    stack.callback(converter.process.send_signal, signal.SIGCONT)
            running = [self.crowd(shim, "-t 3000 -p 60", crowds.good(5)) for shim, *_ in began]
            for (what, mptcp), crowd in zip(cases, running):
                with self.subTest(f"{what}, {over(mptcp)}"):
                    self.judge(crowd.lines())

    def begin(self, what, mptcp):
        address, _ = self.lab.fresh_addresses()
        faults = ["--fault", "silence"] * ("silence" in what)
        if "hold" in what:
            faults = ["--hold", "--fault", "keep-syn"]
        return (self.shim(address, mptcp=mptcp), address,
                self.converter(*faults, mptcp=mptcp, listen=[address]))


# Calls `well` again and again, and once `deaf`; who it was to each. One process, as what it has seen counts.
BESIDE = """
import socket, sys, threading, time
well, deaf = sys.argv[1:]
def call(name, address):
    with socket.create_connection((address, 80), 10) as s:
        s.sendall(b"GET /who HTTP/1.0\\r\\n\\r\\n")
        answer = b""
        while piece := s.recv(4096):
            answer += piece
    print(name, answer.rpartition(b"\\r\\n\\r\\n")[2].decode().strip(), flush=True)
over = threading.Event()
def others():
    while not over.wait(0.1):
        call("well", well)
thread = threading.Thread(target=others)
thread.start()
time.sleep(0.3)
call("deaf", deaf)
time.sleep(0.6)
over.set()
thread.join()
"""


class Deaf(Blame):
    """Servers that answer this host and not the converter, which answers Info."""

    def deaf(self, address):
        return self.dropped(address, "server", "-s", L.ROUTER)

    def begin(self):
        address, _ = self.lab.fresh_addresses()
        self.converter(listen=[address])
        return self.shim(address)

    def test_all_of_them(self):
        """The converter's own way is cut: it is left alone for longer each time, whatever it says to Info, to
        programs or to the helper."""
        shim = self.begin()
        with self.deaf(f"{crowds.GOOD}.0/24"):
            lines = self.crowd(shim, "-n 3 -t 5000 -p 100", crowds.good(5)).lines()
            self.assertEqual({line.path for line in lines}, {"direct"}, self.tally(lines))
            failures = self.failures(shim)
            self.assertGreaterEqual(failures[0], 2, self.tally(lines))
            self.lab.run([L.BUILD / "convert-bootstrap", "run"], shim=shim)
            self.assertEqual(self.failures(shim), failures)

    def test_one_of_them(self):
        """Others' Connects are answered meanwhile: it is not the converter that has failed."""
        shim = self.begin()
        with self.deaf(f"{crowds.GOOD}.9"):
            r = self.lab.run(["/usr/bin/python3", "-BESs", "-c", BESIDE, f"{crowds.GOOD}.1",
                              f"{crowds.GOOD}.9"], shim=shim)
        self.assertIn(f"deaf {L.CLIENT}", r.out.decode(), r)
        self.assertIn(f"well {L.ROUTER}", r.out.decode(), r)
        self.assertNotIn(f"well {L.CLIENT}", r.out.decode(), r)
        self.assertEqual(self.failures(shim), [0], r)


class Impatient(Blame):
    """A program whose own limit is shorter than `timeout` teaches, too, what it has found out until then."""

    def shim(self, address, *others, fast_open="no-cookie", mptcp=False, timeout=5):
        more = "".join(f"\n[converter {n}]\naddress = {other}\nfast-open = {fast_open}"
                       for n, other in enumerate(others))
        return self.lab.config(f"fast-open = {fast_open}{more}",
                               f"mptcp = {'on' if mptcp else 'off'}\nfallback = direct\n"
                               f"timeout = {timeout}s", address=address) | {
                                   "CONVERT_STATE": str(self.lab.file("state"))}

    def curls(self, shim, seconds, n, then=""):
        """What so many, one after the other, have seen; "" is nothing in that time."""
        curl = f"curl -sS --connect-timeout {seconds} http://{L.SERVER}/who || echo; {then}"
        return self.lab.start("client", [*under(shim), "sh", "-c", n * curl], name="curls")

    def seen(self, curls):
        curls.process.wait(30)
        return [line if line[:1].isdigit() else "" for line in curls.text().splitlines()
                if not line.startswith("curl:")]

    def both(self, running, expected, *curls):
        """As expected of each, all at the same time."""
        started = [(what, self.curls(shim, what[-1], *curls)) for what, shim in running.items()]
        for what, process in started:
            with self.subTest(what):
                self.assertEqual(self.seen(process), expected, process.text())

    def test_no_host(self):
        """The first one waits for nothing, the next ones not at all. One tries again, and then it is left alone
        for longer."""
        running = {}
        with contextlib.ExitStack() as stack:
            for what in ("no-cookie", False, 2), ("cookie", False, 3), ("no-cookie", True, 2):
                address, _ = self.lab.fresh_addresses()
                stack.enter_context(self.dropped(address))
                running[what] = self.shim(address, fast_open=what[0], mptcp=what[1])
            self.both(running, ["", L.CLIENT, L.CLIENT], 3)
            time.sleep(1.2)
            self.both(running, ["", L.CLIENT], 2, "sleep 1.2; ")

    def test_no_host_of_two(self):
        """The second one's time begins when most of the program's is over: after some they are left alone."""
        addresses = [self.lab.fresh_addresses()[0] for _ in range(2)]
        with self.dropped(addresses[0]), self.dropped(addresses[1]):
            seen = self.seen(self.curls(self.shim(*addresses, timeout=2), 1.4, 7))
        self.assertIn(L.CLIENT, seen)

    def test_closed_at_once(self):
        """Happy Eyeballs' losers: nothing has come for 300 ms from one that answers within a few."""
        address, _ = self.lab.fresh_addresses()
        converter = self.converter(listen=[address])
        shim = self.shim(address)
        self.well_before([shim])
        with self.dropped(address):
            loser = ("import socket, time\n"
                     "for way in 0, 1, 2, 3:\n"
                     "    s = socket.socket()\n"
                     "    s.settimeout(0.3)\n"
                     f"    print(s.connect_ex(('{L.SERVER}', 80)))\n"
                     "    s.close()\n")
            r = self.lab.run(["/usr/bin/python3", "-BES", "-c", loser], shim=shim)
        self.assertEqual(len(r.out.split()), 4, r)
        self.assertEqual(self.failures(shim), [0])
        self.assertEqual(self.seen(self.curls(shim, 3, 1)), [L.ROUTER], converter.text())

    def test_a_mute_server(self):
        """It is not the converter's fault, if that holds its SYN+ACK, either: there it costs the one second that
        it takes to ask, however often."""
        running = []
        for hold in "", "--hold":
            address, _ = self.lab.fresh_addresses()
            self.converter(*hold.split(), listen=[address])
            running.append((hold, self.shim(address)))
        self.well_before([shim for _, shim in running])
        crowds_of = [self.crowd(shim, "-n 6 -t 9000 -p 1200 -w 1000", crowds.mute(20))
                     for _, shim in running]
        for (hold, shim), crowd in zip(running, crowds_of):
            with self.subTest(hold or "at once"):
                text = self.tally(crowd.lines())
                self.assertLessEqual(max(self.failures(shim)), 1 if hold else 0, text)
        time.sleep(1.1)
        self.well_before([shim for _, shim in running])


# Says what it sees of a connection that it has not looked at for a while, and whom the server saw.
LATE = """
import errno, select, socket, sys, time
how, address, pause = sys.argv[1], sys.argv[2], float(sys.argv[3])
request = b"GET /who HTTP/1.0\\r\\n\\r\\n"
def call(function, *arguments):
    try:
        return function(*arguments)
    except OSError as e:
        return errno.errorcode[e.errno]
def by_epoll():
    return [events for _, events in e.poll(5)]
def by_poll():
    p = select.poll()
    p.register(s, select.POLLOUT)
    return [events for _, events in p.poll(5000)]
s, e = socket.socket(), select.epoll()
s.setblocking(False)
if how == "epoll":
    e.register(s, select.EPOLLOUT)
print(errno.errorcode[s.connect_ex((address, 80))])
if how == "epoll after":
    e.register(s, select.EPOLLOUT)
port = s.getsockname()[1]
sent = 0
time.sleep(pause)
looked = time.monotonic()
if how == "poll":
    print(by_poll())
elif how == "select":
    print([len(ready) for ready in select.select([], [s], [], 5)])
elif how.startswith("epoll"):
    print(by_epoll())
elif how == "connect":
    print(call(s.connect, (address, 80)))
elif how == "send":
    sent = call(s.send, request)
    print(sent)
elif how == "recv":
    print(call(s.recv, 1))
elif how == "getpeername":
    print(call(s.getpeername))
elif how == "another":  # a call that has nothing to do with it
    other = socket.socket()
    other.setblocking(False)
    print(errno.errorcode[other.connect_ex((address, 80))], select.select([], [], [], 0.05))
elif how == "wait":  # for the end, whatever it is
    by_poll()
    print("%.3f" % (time.monotonic() - looked))
print(how == "recv" and by_poll(), s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
s.setblocking(True)
if sent != len(request) and call(s.send, request) != len(request):
    sys.exit("not connected")
print(s.getsockname()[1] == port)
answer = b""
while (piece := call(s.recv, 4096)) and type(piece) is bytes:
    answer += piece
print(answer.rpartition(b"\\r\\n\\r\\n")[2].decode().strip() or piece)
"""


class Late(Blame):
    """Case 1.2: what has arrived counts, however late the program looks."""

    HOW = ("poll", "select", "epoll", "epoll after", "connect", "SO_ERROR", "send", "recv",
           "getpeername", "another")
    WAITS = ("poll", "select", "epoll", "epoll after")
    TROUBLE = "falling back|next converter|retrying|no reply|left alone"
    PAUSE = LIMIT + 0.6

    def start(self, how, address, shim=None, pause=PAUSE):
        return self.lab.start("client", [*under(shim), "/usr/bin/python3", "-BES", "-c", LATE, how,
                                         address, pause], name="late")

    def ends(self, process):
        process.process.wait(20)
        return process.text()

    def like_direct(self, shims, owed=False):
        """shims: {name: shim}. All ways by each of them, as they look without. A call that does not
        wait, and finds a message that is owed, cannot know yet: of those the end alone."""
        ways = [(how, f"{network}.1") for network in (crowds.GOOD, crowds.REFUSED)
                for how in self.HOW if not owed or how in self.WAITS or network == crowds.GOOD]
        direct = [self.start(*way) for way in ways]
        late = {name: [self.start(*way, shim) for way in ways] for name, shim in shims.items()}
        direct = [self.ends(process) for process in direct]
        for name, shim in shims.items():
            log = pathlib.Path(shim["LAB_LOG"])
            for way, expected, process in zip(ways, direct, late[name]):
                expected = expected.replace(L.CLIENT, L.ROUTER).splitlines()
                first = -2 if owed and way[0] not in self.WAITS else 0
                with self.subTest(f"{name}, {' '.join(way)}"):
                    self.assertEqual(self.ends(process).splitlines()[first:], expected[first:])
            with self.subTest(f"{name}, log"):
                self.assertNotRegex(log.read_text(), self.TROUBLE)
                self.assertIn("converted", log.read_text())
        self.well_before(shims.values())

    def test_1_2_looked_at_late(self):
        shims = {}
        for mptcp, fallback in itertools.product((False, True), ("direct", "none")):
            address, _ = self.lab.fresh_addresses()
            self.converter(mptcp=mptcp, listen=[address])
            shims[f"{over(mptcp)}, fallback = {fallback}"] = self.shim(address, fallback, mptcp)
        self.like_direct(shims)

    def owed_shims(self, fast_open):
        """Without a TFO cookie and without SYN data the message follows the handshake."""
        shims = {}
        for mptcp, fallback in ((False, "direct"), (True, "none")):
            address, _ = self.lab.fresh_addresses()
            self.converter("--fastopen", "off", mptcp=mptcp, listen=[address])
            shims[f"owed, {over(mptcp)}, fallback = {fallback}"] = self.shim(
                address, fallback, mptcp, fast_open=fast_open)
        return shims

    def test_1_2_a_message_that_nobody_pushed(self):
        """It gets its time from the moment at which it goes out."""
        self.like_direct(self.owed_shims("cookie"), owed=True)

    def test_1_2_a_message_that_nobody_pushed_without_fast_open(self):
        L.sysctl("client", net__ipv4__tcp_fastopen=0)
        try:
            self.like_direct(self.owed_shims("auto"), owed=True)
        finally:
            L.sysctl("client", net__ipv4__tcp_fastopen=1)

    def test_1_2_a_message_that_nobody_pushed_and_nobody_reads(self):
        """The converter has closed since: a reset answers what then goes out, and behind its FIN that is
        EPIPE to the kernel (LINUX-FACTS 2.5). It is the one of any converter that closes at once."""
        direct = {how: self.start(how, f"{crowds.REFUSED}.1", pause=0.5) for how in self.WAITS}
        late = []
        for converter, mptcp in (False, False), (False, True), (True, True):
            address, _ = self.lab.fresh_addresses()
            self.converter("--fastopen", "off", "--fault", "unread", mptcp=converter,
                           listen=[address])
            for how in self.WAITS:
                shim = self.shim(address, "none", mptcp, fast_open="cookie")
                late.append((f"{over(mptcp)} to {over(converter)}, {how}", how, shim,
                             self.start(how, f"{crowds.GOOD}.1", shim, pause=0.5)))
        expected = {how: self.ends(process).replace(f" {errno.ECONNREFUSED}", f" {errno.ECONNRESET}")
                    for how, process in direct.items()}
        for what, how, shim, process in late:
            with self.subTest(what):
                self.assertEqual(self.ends(process), expected[how])
                log = pathlib.Path(shim["LAB_LOG"]).read_text()
                self.assertRegex(log, "failed .*: (closed before the reply was whole|no reply), ECONNRESET")
                # where there were options in the Connect TLV
                self.assertEqual("retrying" in log, what.startswith("MPTCP") and
                                 L.MPTCP != "kernel-off", log)

    def test_1_2_a_message_that_nobody_pushed_and_silence(self):
        """All of its time, and not more."""
        running = {}
        for mptcp in False, True:
            address, _ = self.lab.fresh_addresses()
            self.converter("--fastopen", "off", "--fault", "silence", mptcp=mptcp, listen=[address])
            running[over(mptcp)] = self.start("wait", f"{crowds.GOOD}.1",
                                              self.shim(address, mptcp=mptcp, fast_open="cookie"))
        for name, process in running.items():
            with self.subTest(name):
                text = self.ends(process)
                self.assertIn(L.CLIENT, text)
                self.assertTrue(LIMIT - 0.05 <= float(text.split()[1]) < 2 * LIMIT, text)

    def test_1_2_stopped_and_continued(self):
        """Ctrl-Z, a debugger, a suspended laptop: the reply came meanwhile."""
        stopped = []
        for mptcp in False, True:
            address, _ = self.lab.fresh_addresses()
            converter = self.converter("--fault", "delay=700", mptcp=mptcp, listen=[address])
            for fallback in "direct", "none":
                shim = self.shim(address, fallback, mptcp)
                for program in (["curl", "-sS", f"http://{L.SERVER}/who"],
                                *([L.TOOLS / "faults", "fetch", way, L.SERVER, 80]
                                  for way in ("blocking", "poll", "epoll"))):
                    before = len(converter.events("request"))
                    process = self.lab.start("client", [*under(shim), *program])
                    process.wait_for("its request",
                                     lambda: len(converter.events("request")) > before)
                    process.process.send_signal(signal.SIGSTOP)
                    stopped.append((f"{over(mptcp)}, fallback = {fallback}, {program}", process,
                                    shim))
        time.sleep(LIMIT + 0.5)
        for _, process, _ in stopped:
            process.process.send_signal(signal.SIGCONT)
        for what, process, shim in stopped:
            with self.subTest(what):
                self.assertEqual(process.process.wait(10), 0)
                log = pathlib.Path(shim["LAB_LOG"]).read_text()
                self.assertIn(L.ROUTER, process.text(), log)
                self.assertNotRegex(log, self.TROUBLE)


class NextConverter(Blame):
    """Case 1.3: `timeout` is for the whole conversion, so a silent converter gets its part of it and
    the others theirs. Without a state file, so that every connection finds it out."""

    TIMEOUT = 3
    SILENT = {"accepts, and says nothing": ("--fault", "silence"),
              "holds the SYN": ("--hold", "--fault", "keep-syn"),
              "no host": None}

    def silent(self, what, mptcp):
        options = self.SILENT[what]
        if options is None:
            address = f"10.1.0.{next(self.nobody)}"
            L.command(L.inside("converter", ["iptables", "-A", "INPUT", "-d", address,
                                             "-j", "DROP"]))
            L.command(["ip", "-n", "converter", "addr", "add", f"{address}/24", "dev", "k0"])
            return address
        address, _ = self.lab.fresh_addresses()
        self.converter(*options, mptcp=mptcp, listen=[address])
        return address

    nobody = itertools.count(20)

    def several(self, addresses, mptcp, fallback):
        """Each in a section of its own."""
        more = "".join(f"[converter {n}]\naddress = {address}\nfast-open = no-cookie\n"
                       for n, address in enumerate(addresses[1:]))
        return self.lab.config(
            f"fast-open = no-cookie\n{more}", f"mptcp = {'auto' if mptcp else 'off'}\n"
            f"fallback = {fallback}\ntimeout = {int(1000 * self.TIMEOUT)}ms",
            address=addresses[0]) | {"CONVERT_STATE": "none"}

    def each(self, silent, well, judge):
        """judge(fallback, lines) of so many silent ones, of each kind, and then so many that are
        well."""
        running = {}
        for what, mptcp, fallback in itertools.product(self.SILENT, (False, True),
                                                       ("direct", "none")):
            addresses = [self.silent(what, mptcp) for _ in range(silent)]
            for _ in range(well):
                addresses += self.lab.fresh_addresses()[:1]
                self.converter(mptcp=mptcp, listen=addresses[-1:])
            # a blocking one, one that polls, and one with epoll
            running[what, mptcp, fallback] = self.crowd(
                self.several(addresses, mptcp, fallback), "-n 3 -t 500 -p 50", crowds.good(1))
        for (what, mptcp, fallback), crowd in running.items():
            lines = crowd.lines()
            with self.subTest(f"{what}, {over(mptcp)}, fallback = {fallback}"):
                self.assertGreaterEqual(len(lines), 3)
                judge(fallback, lines)

    def judge_reached(self, _, lines):
        self.assertEqual({line.path for line in lines}, {"converted"}, lines)
        self.assertLess(max(line.seconds for line in lines), self.TIMEOUT)

    def judge_given_up(self, fallback, lines):
        """They have got no more time than one alone."""
        self.assertEqual({line.path for line in lines},
                         {"direct" if fallback == "direct" else "ETIMEDOUT"}, lines)
        for line in lines:
            self.assertTrue(self.TIMEOUT <= line.seconds < 2 * self.TIMEOUT, line)

    def test_1_3_the_first_of_two_is_silent(self):
        self.each(1, 1, self.judge_reached)

    def test_1_3_two_of_three_are_silent(self):
        self.each(2, 1, self.judge_reached)

    def test_1_3_all_of_three_are_silent(self):
        self.each(3, 0, self.judge_given_up)


# a program whose packets go their own way, or not far enough, and that waits for no more than its `timeout`
APART = """
import select, socket, sys
address, seconds = sys.argv[1], float(sys.argv[2])
s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
for option in sys.argv[3:]:
    level, name, value = option.split()
    s.setsockopt(int(level), int(name), value.encode() if level == "1" and name == "25" else int(value))
s.setblocking(False)
print(s.connect_ex((address, 80)), select.select([], [s], [], seconds), s.getsockopt(1, 4))
"""


class Apart(Blame):
    """Case 1's kind: what one program sets on its own sockets."""

    WAYS = {"hops": "0 2 1", "hops of an answer": "0 21 255", "IPv6 hops": "41 16 1",
            "IPv6 hops of an answer": "41 73 255", "a device": "1 25 elsewhere", "a mark": "1 36 77"}

    @contextlib.contextmanager
    def ways(self):
        """A device with nobody behind it, a router where packets with one hop end, a table for the mark."""
        L.command(["ip", "-n", "client", "link", "add", "elsewhere", "type", "veth", "peer", "name", "nobody"])
        L.command(["ip", "-n", "client", "link", "set", "nobody", "up"])
        L.command(["ip", "-n", "client", "link", "set", "elsewhere", "arp", "off", "up"])
        L.command(["ip", "-n", "client", "route", "add", "default", "dev", "elsewhere", "table", "77"])
        L.command(["ip", "-n", "client", "rule", "add", "fwmark", "77", "table", "77", "priority", "7"])
        rule = ["PREROUTING", "-t", "mangle", "-i", "k0", "-p", "tcp", "-j", "DROP", "-m"]
        rules = ("iptables", *rule, "ttl", "--ttl-lt", "2"), ("ip6tables", *rule, "hl", "--hl-lt", "2")
        for tables, *rule in rules:
            L.command(L.inside("converter", [tables, "-A", *rule]))
        try:
            yield
        finally:
            for tables, *rule in rules:
                L.command(L.inside("converter", [tables, "-D", *rule]))
            L.command(["ip", "-n", "client", "rule", "del", "priority", "7"])
            L.command(["ip", "-n", "client", "link", "del", "elsewhere"])

    def failures(self, shim):
        """Those that all programs of the user know of, in the network where they are."""
        r = self.lab.run([L.BUILD / "convert-bootstrap", "status", "-j"], env=shim)
        self.assertEqual(r.code, 0, r)
        return sum(c["failures"] for c in json.loads(r.out)["converters"] if c["interface"])

    def try_it(self, shim, *options, server=L.SERVER):
        argv = ["/usr/bin/python3", "-c", APART, server, str(LIMIT + 0.1), *options]
        r = self.lab.run(argv, shim=shim)
        self.assertIn("no reply in time", r.log, r)

    def test_others_are_converted(self):
        with self.ways():
            for (way, option), fallback in itertools.product(self.WAYS.items(), ("direct", "none")):
                with self.subTest(way, fallback=fallback):
                    v6 = "IPv6" in way
                    address, server = self.lab.fresh_addresses()[v6], L.SERVER6 if v6 else L.SERVER
                    self.converter(listen=[f"[{address}]" if v6 else address])
                    shim = self.shim(address, fallback)
                    self.try_it(shim, option, server=server)
                    self.assertEqual(self.failures(shim), 0)
                    r = self.lab.run(["curl", "-sS", f"http://{f'[{server}]' if v6 else server}/who"], shim=shim)
                    self.assertIn(": connected", r.log, r)

    def test_what_others_would_see_counts(self):
        """More hops than any path has; the device by which the converter is reached anyway; no option."""
        for options in ["0 2 64"], ["0 2 1", "0 2 -1"], ["1 25 c0"], []:
            with self.subTest(options):
                address, _ = self.lab.fresh_addresses()
                shim = self.shim(address)
                rule = ["INPUT", "-p", "tcp", "-d", address, "-j", "DROP"]
                L.command(L.inside("converter", ["iptables", "-A", *rule]))
                self.addCleanup(L.command, L.inside("converter", ["iptables", "-D", *rule]))
                self.try_it(shim, *options)
                self.assertEqual(self.failures(shim), 1)


# Calls connect() on a descriptor that is no TCP socket about to connect, and says what came of it.
NOT_OURS = """
import ctypes, errno, os, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
how, address = sys.argv[1:3]
v4 = struct.pack("=H2s4s8x", socket.AF_INET, b"\\0\\x50", socket.inet_aton(address))
mapped = (struct.pack("=H2s4x", socket.AF_INET6, b"\\0\\x50") +
          socket.inet_pton(socket.AF_INET6, "::ffff:" + address) + bytes(4))
def said(r):
    return errno.errorcode[ctypes.get_errno()] if r < 0 else r
def connect(fd, name=v4):
    return said(libc.connect(fd, name, len(name)))
def again(name, s):  # executed anew, with a descriptor of which nothing is known
    fd = s if type(s) is int else s.detach()
    os.set_inheritable(fd, True)
    os.execv(sys.executable, [sys.executable, "-ES", "-c", program, name, address, str(fd)])
def pair():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    client = socket.create_connection(listener.getsockname())
    return listener, client, listener.accept()[0]
program = open("/proc/self/cmdline").read().split("\\0")[3]
fd = int(sys.argv[3]) if len(sys.argv) > 3 else -1
datagram = lambda family=socket.AF_INET: socket.socket(family, socket.SOCK_DGRAM)
if how == "descriptor":
    print(connect(fd), connect(fd))
elif how == "UDP":
    s = datagram()
    print(connect(s.fileno()), connect(s.fileno()))
elif how == "UDP, duplicated":
    s = datagram()
    print(connect(os.dup(s.fileno())))
elif how == "UDP, inherited":
    again("descriptor", datagram())
elif how == "UDP over IPv6":
    print(connect(datagram(socket.AF_INET6).fileno(), mapped))
elif how == "UDP, MSG_FASTOPEN":
    s = datagram()
    print(said(libc.sendto(s.fileno(), b"x", 1, 0x20000000, v4, len(v4))))
elif how == "raw":
    print(connect(socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).fileno()))
elif how == "AF_UNIX":
    print(connect(socket.socket(socket.AF_UNIX).fileno()))
elif how == "AF_UNIX, inherited":
    again("descriptor", socket.socket(socket.AF_UNIX))
elif how == "AF_NETLINK":
    print(connect(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).fileno()))
elif how == "a pair":
    print(connect(socket.socketpair()[0].fileno()))
elif how == "a file":
    print(connect(os.open("/dev/null", os.O_RDWR)), connect(999))
elif how == "connected":
    listener, client, accepted = pair()
    print(connect(client.fileno()), connect(accepted.fileno()))
elif how == "connected, inherited":
    kept = pair()
    again("descriptor", os.dup(kept[1].fileno()))
elif how == "listening":
    print(connect(pair()[0].fileno()))
"""


class NotOurs(Blame):
    """Case 1.4: connect() on anything else than a TCP socket that is about to connect runs no policy:
    it reads neither configuration nor state, and does not spend a failed converter's probe."""

    WITHOUT_TCP = ("UDP", "UDP, duplicated", "UDP, inherited", "UDP over IPv6", "UDP, MSG_FASTOPEN",
                   "raw", "AF_UNIX", "AF_UNIX, inherited", "AF_NETLINK", "a pair", "a file")
    HOW = WITHOUT_TCP + ("connected", "connected, inherited", "listening")

    def start(self, how, shim=None):
        trace = self.lab.file("strace")
        environment = {"LD_PRELOAD": L.SHIM} | shim if shim else {}
        process = self.lab.start("client", [
            "strace", "-f", "-qq", "-o", trace, "-e", "trace=%file"]
            + [f"-E{k}={v}" for k, v in environment.items()] +
            ["/usr/bin/python3", "-ES", "-c", NOT_OURS, how, f"{crowds.GOOD}.1"], name="not-ours")
        return process, trace

    def shim(self, address):
        """Who tries a converter that has failed has the whole of `timeout` to report."""
        return self.lab.config("", "mptcp = off\nfallback = direct\ntimeout = 30s",
                               address=address, log=False) | {
                                   "CONVERT_STATE": str(self.lab.file("state"))}

    def test_1_4_no_policy_for_what_is_not_a_tcp_socket_about_to_connect(self):
        addresses = [self.lab.fresh_addresses()[0] for _ in self.HOW]
        shims = [self.shim(address) for address in addresses]
        for shim in shims:  # there is no converter: it fails
            r = self.lab.run([L.TOOLS / "faults", "fetch", "poll", L.SERVER, 80], shim=shim)
            self.assertIn(L.CLIENT, r.out.decode(), r)
        time.sleep(1.1)  # as long as it is left alone
        direct = [self.start(how) for how in self.HOW]
        ours = [self.start(how, shim) for how, shim in zip(self.HOW, shims)]
        for process, _ in direct + ours:
            self.assertEqual(process.process.wait(20), 0, process.text())
        self.lab.converter(listen=addresses)
        for how, shim, (native, _), (process, trace) in zip(self.HOW, shims, direct, ours):
            with self.subTest(how):
                self.assertEqual(process.text(), native.text())
                self.assertNotIn(shim["CONVERT_STATE"], trace.read_text())
                if how in self.WITHOUT_TCP:
                    self.assertNotIn(f'"{shim["CONVERT_CONF"]}"', trace.read_text())
                r = self.lab.run([L.TOOLS / "faults", "fetch", "poll", L.SERVER, 80], shim=shim)
                self.assertIn(L.ROUTER, r.out.decode(), "the probe was spent")


if __name__ == "__main__":
    L.main(setup)

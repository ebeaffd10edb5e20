#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""Case 2.6. A program whose clock is faked (libfaketime) gives up a silent converter when that is due by the
real one; and limits so long that nanoseconds overflow are no limits."""
import concurrent.futures
import datetime
import itertools
import pathlib
import re
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L

LIMIT = 1.5  # what `timeout` says
MOST = 3.3   # a clock of a fifth makes five seconds of one, from the first look on
FAKETIME = next(iter(sorted(pathlib.Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)
CLOCKS = {"true": "+0", "3 days ago": "-3d", "x5": "+0 x5", "x0.2": "+0 x0.2",
          "frozen": "2020-01-01 00:00:00"}

ASYNCIO = """
import asyncio, sys
try:
    asyncio.run(asyncio.open_connection("%s", int(sys.argv[1])))
except OSError as error:
    sys.exit(f"{error.errno}")
"""
NODE = """
require("net").connect(+process.argv[1], "%s").on("error", e => { console.error(e.code); process.exit(1) })
"""
LONG = """
import socket, struct, sys
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(sys.argv[1]), 0))
s.connect(("%s", 7000))
print("up")
""" % L.SERVER
# waits while a connection is being made, by the program's own clock
OWN_LIMITS = """
import select, socket, sys, time
def poll(s):
    p = select.poll()
    p.register(s, select.POLLOUT)
    return p.poll(300)
def epoll(s):
    e = select.epoll()
    e.register(s, select.EPOLLOUT)
    return e.poll(0.3)
for wait in poll, lambda s: select.select([], [s], [], 0.3)[1], epoll:
    s = socket.socket()
    s.setblocking(False)
    s.connect_ex(("%s", 79))
    begun = time.monotonic(), time.time()
    ready = wait(s)
    print(len(ready), time.monotonic() - begun[0])
""" % L.SERVER
# an epoll_wait() that has begun when another thread begins a conversion, whose reply comes in pieces
EARLY = """
import select, socket, sys, threading, time
first = socket.socket() # so that the configuration is read
epoll, begins = select.epoll(), threading.Semaphore(0)
def connect():
    for i in range(%d):
        begins.acquire()
        time.sleep(0.004 + i / 7000)
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex(("%s", 7000))
        epoll.register(s, select.EPOLLOUT)
        kept.append(s)
kept, early, waited = [], [], 0
threading.Thread(target=connect, daemon=True).start()
for i in range(%d):
    begins.release()
    begun = time.monotonic()
    ready = epoll.poll(0.04)
    took = time.monotonic() - begun
    waited += not ready
    if not ready and took < 0.04:
        early.append(took)
    time.sleep(0.01)
    for s in kept:
        epoll.unregister(s)
        s.close()
    kept.clear()
print(waited, early)
"""
ROUNDS = 25
PROGRAMS = {
    "curl": lambda port: ["curl", "-sS", f"http://{L.SERVER}:{port}/"],
    "wget": lambda port: ["wget", "-q", "-t1", "-O-", f"http://{L.SERVER}:{port}/"],
    "asyncio": lambda port: ["/usr/bin/python3", "-c", ASYNCIO % L.SERVER, port],
    "node": lambda port: ["node", "-e", NODE % L.SERVER, port],
}


class FakedClocks(L.TestCase):
    def one(self, port, program, clock, order):
        libraries = [FAKETIME, L.SHIM] if order == "first" else [L.SHIM, FAKETIME]
        shim = self.lab.config("fast-open = no-cookie", f"timeout = {LIMIT * 1000:.0f}ms")
        shim |= {"LD_PRELOAD": ":".join(map(str, libraries)), "FAKETIME": CLOCKS[clock]}
        return self.lab.run(PROGRAMS[program](port), shim=shim, timeout=20)

    def waited(self, converter, port, r):
        """From the first request, which the converter has written down, to the line in the shim's log: the
        seconds, however long the program took to start. Both clocks have to be the true one."""
        asked = [float(e["t"]) for e in converter.events("request")
                 if e["target"] == f"{L.SERVER}:{port}"]
        given_up = re.findall(r"^(\S+)Z .*no reply in time", r.log, re.M)
        if not asked or len(given_up) != 1 or r.code <= 0:
            return None
        then = datetime.datetime.fromisoformat(given_up[0] + "+00:00")
        return then.timestamp() - asked[0]

    def test_silent_converter(self):
        if not FAKETIME:
            self.skipTest("faketime is not installed")
        converter = self.lab.converter("--fault", "silence")
        each = list(itertools.product(PROGRAMS, CLOCKS, ("first", "last")))
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            results = list(pool.map(self.one, range(1000, 1000 + len(each)), *zip(*each)))
        bad, longest = [], {}
        for port, (how, r) in enumerate(zip(each, results), 1000):
            waited = self.waited(converter, port, r)
            longest[how[1:]] = max(longest.get(how[1:], 0), waited or 0)
            # a converter's own look at its clock comes a moment later than the program's
            if waited is None or not LIMIT - 0.3 < waited < MOST:
                bad.append(f"{', libfaketime '.join((', '.join(how[:2]), how[2]))}: {waited}\n{r}")
        self.note(f"given up after {LIMIT} s: " + ", ".join(
            f"{clock} {order} {seconds:.2f}" for (clock, order), seconds in longest.items()))
        self.assertFalse(bad, f"{len(bad)} of {len(each)}\n" + "\n".join(bad))


    def test_own_limits(self):
        """A program's own limit is as long as its clock says, while its connection is pending too."""
        if not FAKETIME:
            self.skipTest("faketime is not installed")
        self.lab.converter("--fault", "silence")

        def one(clock, order):
            libraries = [FAKETIME, L.SHIM] if order == "first" else [L.SHIM, FAKETIME]
            shim = self.lab.config("fast-open = no-cookie", "timeout = 30s")
            shim |= {"LD_PRELOAD": ":".join(map(str, libraries)), "FAKETIME": CLOCKS[clock]}
            return self.lab.run(["/usr/bin/python3", "-c", OWN_LIMITS], shim=shim)

        each = list(itertools.product([c for c in CLOCKS if c != "frozen"], ("first", "last")))
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            results = list(pool.map(one, *zip(*each)))
        for how, r in zip(each, results):
            lines = [line.split() for line in r.out.decode().splitlines()]
            self.assertEqual([line[0] for line in lines], ["0"] * 3, (how, r))
            self.assertEqual(r.log.count("no reply"), 0, r)
            took = [float(line[1]) for line in lines]
            self.note(f"{how}: {took}")
            # wrong by a factor of five is what is looked for
            self.assertTrue(all(0.2 < t < 1.2 for t in took), (how, r))


class Limits(L.TestCase):
    def test_never_early(self):
        """epoll_wait() that another thread's conversion has woken up waits for the rest of its time."""
        self.lab.start("server", [L.TOOLS / "echo-server", 7000]).wait_for_listeners(7000)
        converter = self.lab.converter("--fault", "split=1,gap=20")
        r = self.lab.run(["/usr/bin/python3", "-c", EARLY % (ROUNDS, L.SERVER, ROUNDS)],
                         shim=self.lab.config("fast-open = no-cookie", "mptcp = off"))
        waited, _, early = r.out.decode().partition(" ")
        self.assertEqual((r.code, early), (0, "[]\n"), r)
        # nearly all have begun while it waited, and none was ready before its time was over
        asked = len(converter.events("reply"))
        self.note(f"{waited} of {ROUNDS} waits were over with a conversion under way, {asked} replies had begun")
        self.assertGreater(int(waited), ROUNDS // 2, r)
        self.assertGreater(asked, ROUNDS // 2, r)

    def test_longer_than_nanoseconds_can_count(self):
        """SO_SNDTIMEO of 317 years and more is no limit to a blocking connect()."""
        self.lab.start("server", [L.TOOLS / "echo-server", 7000]).wait_for_listeners(7000)
        self.lab.converter()
        for seconds in (10 ** 10, 2 ** 63 - 1, 3 * 10 ** 10):
            r = self.lab.run(["/usr/bin/python3", "-c", LONG, seconds],
                             shim=self.lab.config("fast-open = no-cookie"))
            self.assertEqual((r.code, r.out), (0, b"up\n"), r)
            self.assertIn(": connected", r.log)


if __name__ == "__main__":
    L.main()

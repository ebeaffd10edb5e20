#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""Case 2.9. A number that is taken away while its connect() is being made, by another thread or a signal handler;
and a handler that never comes back to it. With Multipath TCP, as then another socket takes its place.

And programs that connect to themselves: accept() returns what it would without the shim, and the client is connected
by then, as it is without."""
import concurrent.futures
import re
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L
import servers

ECHO = 7000
CLOSED = 7009  # echo-server has the five behind ECHO
ROUNDS = 300
WHOLE, LATE = (), ("--fault", "delay=400,split=1,gap=2")
VERY_LATE = ("--fault", "delay=2000")  # for what is over long before


def setup(lab):
    servers.nowhere(lab)
    lab.start("server", [L.TOOLS / "echo-server", ECHO]).wait_for_listeners(ECHO)


class Opening(L.TestCase):
    def check(self, case, *failing, converter=()):
        self.lab.converter("--mptcp", *converter, listen=["0.0.0.0"])
        shim = self.lab.config("fast-open = no-cookie", "mptcp = on\nbypass = never", log=False)
        r = self.lab.run([L.TOOLS / "opening", case, ROUNDS, L.SERVER, ECHO, *failing], shim=shim, timeout=60)
        self.assertEqual(r.code, 0, r)
        lines = r.out.decode().splitlines()
        self.assertEqual(lines[-2:], ["works", "works"], r)
        return lines[:-2]

    def test_jump(self):
        """Where it has left us in the middle of something it takes a second to believe that."""
        self.assertEqual(self.check("jump"), [])


for each in "close", "close_range", "closefrom", "dup", "dup2", "dup3", "handler":
    setattr(Opening, "test_" + each,
            lambda self, case=each: self.assertEqual(self.check(case), ["wrong: 0"]))
    # while the program's own kind of socket comes back, to show a refusal or to be connected directly
    setattr(Opening, f"test_{each}_refused",
            lambda self, case=each: self.assertEqual(self.check(case, CLOSED), ["wrong: 0"]))


class First(L.TestCase):
    """The first socket() of a program reads the configuration, and here a handler never comes back to it: the
    next ones are converted, by the same thread after a second, by another one after two."""

    def check(self, case, *lines):
        self.lab.converter("--mptcp", listen=["0.0.0.0"])
        rules = "\n".join(f"rule = direct to 172.{n // 256 % 256}.{n % 256}.0/24 port {1 + n % 9999}"
                          for n in range(80000))  # which take a tenth of a second, or more
        shim = self.lab.config("fast-open = no-cookie", rules)
        r = self.lab.run([L.TOOLS / "opening", case, 3, L.SERVER, ECHO], shim=shim, timeout=40)
        self.assertEqual((r.code, r.out.decode().splitlines()), (0, list(lines)), r)
        self.assertEqual(r.log.count(": connected"), 2 * len(lines), r)

    def test_same_thread(self):
        self.check("first", "works", "works")

    def test_another_thread(self):
        self.check("first-thread", "works")


class Held(L.TestCase):
    """Who has looked at the number before connect() began takes it away when connect() has looked at it, too; or has
    another number for the socket when the twin is being made. The moments are made longer."""

    def check(self, case, *delays):
        self.lab.converter("--mptcp", listen=["0.0.0.0"])
        shim = self.lab.config("fast-open = no-cookie", "mptcp = on\nbypass = never", log=False)
        r = self.lab.run(["strace", "-f", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=socket,dup2,dup3",
                          *(f"--inject={delay}" for delay in delays), "-E", f"LD_PRELOAD={L.SHIM}",
                          L.TOOLS / "opening", case, ROUNDS, L.SERVER, ECHO], env=shim, timeout=60)
        self.assertEqual((r.code, r.out.decode().splitlines()), (0, ["wrong: 0", "works", "works"]), r)

    def test_dup2(self):
        self.check("dup2", "dup2:delay_enter=3000", "dup3:delay_enter=6000")

    def test_dup(self):
        self.check("dup", "socket:delay_enter=1000")


# A converter that says after a second that the server cannot be reached.
SLOW = """
import socket, threading, time
listener = socket.create_server(("0.0.0.0", 6000))
def answer(s):
    s.recv(1000)
    time.sleep(1)
    s.sendall(bytes.fromhex("010222631e012000"))
    time.sleep(5)
while True:
    threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()
"""


# One thread waits in connect(), which the other one takes back; the first one closes the number at once.
TAKEN_BACK = """
import os, socket, sys, threading, time
s = socket.socket()
fd = s.fileno()
def connects():
    try:
        s.connect((sys.argv[1], 80))
    except OSError:
        os.close(s.detach())
        assert os.open("/dev/null", os.O_RDONLY) == fd
waits = threading.Thread(target=connects)
waits.start()
time.sleep(0.5)
s.shutdown(socket.SHUT_RDWR)
waits.join()
print(os.readlink(f"/proc/self/fd/{fd}"))
"""


# A child is forked when the twin has two numbers. Which of the sockets does it have?
FORKED = """
import os, socket, sys, threading, time
s = socket.socket()
link = f"/proc/self/fd/{s.fileno()}"
own = os.readlink(link)
connects = threading.Thread(target=s.connect, args=((sys.argv[1], 7000),))
connects.start()
while os.readlink(link) == own:
    time.sleep(0.001)
def count():
    n = 0
    for fd in range(3, 100):
        try:
            n += os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")
        except OSError:
            pass
    return n
if os.fork() == 0:
    os.write(1, b"child: %d\\n" % count())
    os._exit(0)
os.wait()
connects.join()
s.sendall(b"x")
os.write(1, b"parent: %d, %s\\n" % (count(), s.recv(1)))
"""


class Forked(L.TestCase):
    def test_while_a_twin_is_placed(self):
        """The child has no number of the twin's that nobody would ever close there."""
        self.lab.converter("--mptcp", listen=["0.0.0.0"])
        shim = self.lab.config("fast-open = no-cookie", "mptcp = on\nbypass = never", log=False)
        r = self.lab.run(["strace", "-f", "-o", "/dev/null", "-e", "trace=dup3",
                          "-e", "inject=dup3:delay_exit=600000:when=1", "-E", f"LD_PRELOAD={L.SHIM}",
                          "/usr/bin/python3", "-c", FORKED, L.SERVER], env=shim, timeout=30)
        self.assertEqual((r.code, r.out), (0, b"child: 1\nparent: 1, x\n"), r)


class Ending(L.TestCase):
    """A number that is closed in the moment in which another thread ends its connection, and is somebody
    else's then. The moment is made longer: who closes is held where he has not closed yet, who ends it at
    what he does to the number."""

    CASES = [("late-close", "direct", "on", "getpid:delay_enter", "dup3:delay_exit"),
             ("late-dup2", "direct", "on", "dup2:delay_enter", "dup3:delay_exit"),
             ("late-pair", "none", "off", "getpid:delay_enter", "shutdown:delay_enter"),
             ("late-pair", "direct", "off", "getpid:delay_enter", "connect:delay_enter")]

    def end(self, case, fallback, mptcp, closer, ender):
        shim = self.lab.config(policy=f"fallback = {fallback}\nmptcp = {mptcp}", log=False, port=6000)
        delays = ["-e", f"inject={closer}=600000", "-e", f"inject={ender}=1000000"]
        return self.lab.run(["strace", "-f", "-o", "/dev/null", "-e", "trace=getpid,dup3,dup2,shutdown,connect",
                             *delays, "-E", f"LD_PRELOAD={L.SHIM}", L.TOOLS / "opening", case, 700, L.SERVER, ECHO],
                            env=shim, timeout=40)

    def test_what_has_the_number_then(self):
        self.lab.start("converter", ["/usr/bin/python3", "-c", SLOW]).wait_for_listeners(6000)
        with concurrent.futures.ThreadPoolExecutor(len(self.CASES)) as pool:
            for case, r in zip(self.CASES, list(pool.map(lambda case: self.end(*case), self.CASES))):
                with self.subTest(case):
                    self.assertEqual((r.code, r.out), (0, b"still there\n"), r)

    def test_what_a_handler_has_put_there(self):
        """While another socket was being put under the number, at the beginning of a connection and at the end."""
        self.lab.converter("--mptcp", listen=["0.0.0.0"])
        for port, nth in (ECHO, 1), (CLOSED, 2):
            shim = self.lab.config("fast-open = no-cookie", "mptcp = on\nbypass = never", log=False)
            r = self.lab.run(["strace", "-f", "-o", "/dev/null", "-e", "trace=dup3",
                              "-e", f"inject=dup3:delay_exit=600000:when={nth}", "-E", f"LD_PRELOAD={L.SHIM}",
                              L.TOOLS / "opening", "late-handler", 300, L.SERVER, port], env=shim, timeout=40)
            self.assertEqual((r.code, r.out), (0, b"still there\n"), (port, r))

    def test_what_a_handler_has_put_there_on_the_way_back(self):
        """From an IPv4 converter that has failed: another connection, which stays what it is."""
        self.lab.converter("--mptcp", "--fault", "close", listen=["0.0.0.0"])
        shim = self.lab.config("fast-open = no-cookie", "fallback = direct", log=False)
        r = self.lab.run(["strace", "-f", "-o", "/dev/null", "-e", "trace=dup3", "-e",
                          "inject=dup3:delay_exit=600000:when=2", "-E", f"LD_PRELOAD={L.SHIM}",
                          L.TOOLS / "opening", "late-handler", 300, L.SERVER6, ECHO], env=shim, timeout=40)
        self.assertEqual((r.code, r.out), (0, b"still there\n"), r)

    def test_what_closes_when_it_is_taken_back(self):
        """The program's own socket is to have the number again, and is held just before that."""
        shim = self.lab.config(policy="mptcp = on\ntimeout = 20s", address=servers.MUTE, log=False)
        r = self.lab.run(["strace", "-f", "-o", "/dev/null", "-e", "trace=dup3", "-e",
                          "inject=dup3:delay_enter=600000:when=2", "-E", f"LD_PRELOAD={L.SHIM}",
                          "/usr/bin/python3", "-c", TAKEN_BACK, L.SERVER], env=shim, timeout=30)
        self.assertEqual((r.code, r.out), (0, b"/dev/null\n"), r)

    def test_what_connects_by_the_number_then(self):
        """While a connect() still waits that has lost it: what has become of the next one is not told to that one, nor
        undone by it."""
        self.lab.converter()
        for port, outcome in (ECHO, "connected"), (CLOSED, "ECONNREFUSED"):
            r = self.lab.run([L.TOOLS / "opening", "late-connect", 700, servers.MUTE, port, L.SERVER], timeout=40,
                             shim=self.lab.config("fast-open = no-cookie", "mptcp = off", log=False))
            self.assertEqual((r.code, r.out.decode().splitlines()),
                             (0, ["the same number: EBADF", f"the next one: {outcome}"]), r)


class BothEnds(L.TestCase):
    def run_case(self, case, shim=None):
        return self.lab.run([L.TOOLS / "both-ends", case, L.CLIENT, L.SERVER, ECHO], shim=shim)

    def through(self, case, *options, settings="fast-open = no-cookie", converted=1):
        """The converted run; options are the converter's."""
        address = self.lab.fresh_addresses()[0]
        converter = self.lab.converter(*options, listen=[address])
        shim = self.run_case(case, self.lab.config(settings, address=address))
        self.assertEqual(len(converter.events("request", converted)), converted, shim)
        self.assertEqual(shim.code, 0, shim)
        return shim

    def waited(self, result):
        return [int(ms) for ms in re.findall(r"(\d+) ms", result.err)]

    def same(self, case, *options, **more):
        direct, shim = self.run_case(case), self.through(case, *options, **more)
        self.assertEqual(direct.code, 0, direct)
        self.assertEqual(direct.out.decode(), shim.out.decode(), shim)

    def test_client_is_connected(self):
        for options in WHOLE, LATE, ("--hold",):
            with self.subTest(options):
                self.same("one", *options)

    def test_listens_everywhere(self):
        for options in WHOLE, LATE:
            with self.subTest(options):
                self.same("wildcard", *options)

    def test_listens_everywhere_and_may_not_ask(self):
        """Whose its addresses are."""
        for refused in "socket", "bind":
            with self.subTest(refused):
                self.same("wildcard-" + refused, *LATE)

    def test_connect_message_is_owed(self):
        """accept() is the only call in which it can be sent."""
        for settings in "fast-open = cookie", "":
            with self.subTest(settings):
                self.same("one", "--fastopen", "cookie", settings=settings)
        L.sysctl("client", net__ipv4__tcp_fastopen=0)
        self.addCleanup(L.sysctl, "client", net__ipv4__tcp_fastopen=1)
        self.same("one", *LATE)

    def test_several(self):
        for options in WHOLE, LATE:
            with self.subTest(options):
                self.same("several", *options, converted=5)

    def test_more_than_the_queue_holds(self):
        for options in WHOLE, LATE:
            with self.subTest(options):
                self.same("crowded", *options, converted=2)

    def test_signals(self):
        """They find accept() waiting."""
        shim = self.through("EINTR", *VERY_LATE)
        self.assertEqual(shim.out, b"connect: EINPROGRESS\nsignal\naccept: EINTR\nwritable: 0\n")
        shim = self.through("SA_RESTART", *VERY_LATE)
        self.assertEqual(shim.out, b"connect: EINPROGRESS\nsignal\naccept: 0\nwritable: 1\n")

    def test_time_limit(self):
        shim = self.through("limited", *VERY_LATE)
        self.assertEqual(shim.out, b"connect: EINPROGRESS\naccept: EAGAIN\n")
        self.assertIn(self.waited(shim)[0], range(200, 1500))

    def test_never_waits_where_it_need_not(self):
        for case in "nonblocking", "elsewhere", "wildcard-elsewhere", "thread":
            with self.subTest(case):
                shim = self.through(case, *VERY_LATE)
                self.assertLess(max(self.waited(shim)), 1500, shim)

    def before_accept(self, case, accepted):
        """The system calls from the last connect(), or from the first of those whose SYN is no connect(), to the last accept()."""
        self.need("strace")
        self.lab.converter(*LATE)
        trace = self.lab.file("strace")
        environment = {"LD_PRELOAD": L.SHIM} | self.lab.config("fast-open = no-cookie", log=False)
        r = self.lab.run(["strace", "-o", trace] + [f"-E{k}={v}" for k, v in environment.items()] +
                         [L.TOOLS / "both-ends", case, L.CLIENT, L.SERVER, ECHO])
        self.assertEqual(r.code, 0, r)
        lines = trace.read_text().splitlines()
        taken = [i for i, line in enumerate(lines) if line.startswith("accept4(")]
        self.assertEqual(len(taken), accepted)
        first = max(i for i, line in enumerate(lines[:taken[0]]) if line.startswith("connect("))
        return [line.split("(")[0] for line in lines[first + 1:taken[-1]]]

    def test_system_calls(self):
        """For 20 accept() while a conversion to somewhere else is pending: one."""
        between = self.before_accept("elsewhere", 20)
        self.assertEqual(between.count("getsockname"), 1, between)
        self.assertEqual(set(between), {"getsockname", "accept4", "write"})

    def test_system_calls_of_many(self):
        """While 20 to somewhere else are, to the port that it listens at: it is asked once whether that is here."""
        between = self.before_accept("wildcard-many", 1)
        self.assertEqual(between.count("bind"), 1, between)


if __name__ == "__main__":
    L.main(setup)

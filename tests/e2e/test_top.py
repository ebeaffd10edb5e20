#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""convert-bootstrap top: who is connected to what, and how; on terminals of several sizes, and with
many connections."""
import os
import pathlib
import pty
import re
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L
import paths

# what a program has open until it is stopped: COUNT connections to each ADDRESS:PORT
HOLD = """
import socket, sys, time
held = []
for where in sys.argv[2:]:
    host, port = where.rsplit(":", 1)
    for _ in range(int(sys.argv[1])):
        held.append(socket.create_connection((host, int(port))))
        held[-1].sendall(b"x")
        while not held[-1].recv(5000, socket.MSG_WAITALL):
            pass
print("up", flush=True)
time.sleep(1000)
"""
# ... that says what it does, where ps(1) sees it
RENAMED = """
import ctypes
name = ctypes.c_void_p.in_dll(ctypes.CDLL(None), "program_invocation_short_name").value
ctypes.memmove(name, b"curl", 5)
""" + HOLD
# each connection gets 5000 bytes; PORT[m]: m for Multipath TCP
SERVE = """
import select, socket, sys
listeners, held, poll = {}, {}, select.epoll()
for port in sys.argv[1:]:
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262 if "m" in port else 0)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("0.0.0.0", int(port.strip("m"))))
    s.listen(4000)
    listeners[s.fileno()] = s
    poll.register(s, select.EPOLLIN)
print("ready", flush=True)
while True:
    for fd, _ in poll.poll():
        if fd in listeners:
            s = listeners[fd].accept()[0]
            held[s.fileno()] = s
            s.sendall(b"y" * 5000)
            poll.register(s, select.EPOLLIN)
        else:
            try:
                is_over = not held[fd].recv(10)
            except ConnectionError:
                is_over = True
            if is_over:
                held.pop(fd).close()
"""
# ... by a thread that is left alone
HEADLESS = """
import ctypes, os, socket, sys, threading, time
def connect():
    while open(f"/proc/{os.getpid()}/stat").read().rsplit(")", 1)[1].split()[0] != "Z":
        time.sleep(0.01)
    s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
    s.recv(5000, socket.MSG_WAITALL)
    print("up", flush=True)
    time.sleep(1000)
threading.Thread(target=connect).start()
ctypes.CDLL(None).syscall(60, 0)  # exit(2): of this thread alone
"""
# a program whose terminal gets what it writes in pieces
PIECES = """
import os, pty, sys, time
def read(fd):
    time.sleep(0.005)
    return os.read(fd, 50)
sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:], read)))
"""
PYTHON = ["prlimit", "--nofile=20000", "/usr/bin/python3", "-c"]
TCP, MPTCP, RULE, MUTE = (f"{L.SERVER}:{port}" for port in (7000, 7001, 7002, 7003))
TOP = [L.BUILD / "convert-bootstrap", "top"]
MANY = 3000 if os.environ.get("MANY") == "all" else 300


def setup(lab):
    server = lab.start("server", PYTHON + [SERVE, "7000", "7001m", "7002"])
    server.wait_for("ready", lambda: "ready" in server.text())
    L.command(L.inside("server", ["iptables", "-A", "INPUT", "-p", "tcp", "--dport", "7003",
                                  "-j", "DROP"]))
    lab.wide_converter("--mptcp", "--fastopen", "cookie", "--ext-header", "always")


class Case(L.TestCase):
    def hold(self, count, *where, shim=None, user="", up=True, script=HOLD):
        """A program with connections; returns its process."""
        env = {"LD_PRELOAD": str(L.SHIM)} | shim if shim is not None else {}
        words = ["env", *(f"{k}={v}" for k, v in env.items()), *PYTHON, script, str(count), *where]
        program = self.lab.start("client", L.as_user(user, words), name="hold")
        if up:
            program.wait_for("connections", lambda: "up" in program.text(), 100)
        return program

    def shim(self, policy="", **more):
        return self.lab.config(policy=f"mptcp = on\nrule = direct port 7002\n{policy}", **more)

    def top(self, *words, user="", **more):
        r = self.lab.run([*TOP, *words], user=user, env={"CONVERT_STATE": "none"}, **more)
        self.assertEqual((r.code, r.err), (0, ""), r)
        return r.out.decode()

    def json(self, **more):
        return L.validated("top", self.top("-j", **more))

    def of(self, program, top):
        """Its connections."""
        return [c for c in top["connections"] if c["pid"] == program.pid]

    def waiting(self, program):
        """Until it has a connection that is pending."""
        L.wait_for("its connection", lambda: self.of(program, self.json()))


class Ways(Case):
    def test_nothing(self):
        top = self.json()
        self.assertEqual((top["connections"], top["limits"]), ([], None))
        self.assertEqual(self.top("--once"), "0 converted, 0 direct\n")

    def test_ways(self):
        """The program's own library knows them."""
        state = {"CONVERT_STATE": str(self.lab.file("state"))}
        plain = self.hold(1, TCP)
        one = self.hold(1, TCP, RULE, shim=self.shim())
        self.hold(1, MPTCP, shim=self.shim() | state)
        bypass = self.hold(1, MPTCP, shim=self.shim() | state)
        fell = self.hold(1, TCP, shim=self.shim("fallback = direct\ntimeout = 300ms",
                                                address="10.1.0.77"))
        off = self.hold(1, TCP, shim=self.shim() | {"CONVERT_DISABLE": "1"})
        mute = self.hold(1, MUTE, shim=self.shim("timeout = 60s"), up=False)
        self.waiting(mute)
        top = self.json()
        converted, rule = self.of(one, top)
        self.assertEqual({k: converted[k] for k in ("server", "way", "converter", "converter_name",
                                                    "why", "mptcp", "program", "uid")},
                         {"server": TCP, "way": "converted", "converter": f"{L.CONVERTER}:{L.PORT}",
                          "converter_name": "lab", "why": None, "mptcp": True, "uid": 0,
                          "program": "python3"})
        self.assertEqual((rule["server"], rule["way"], rule["why"]), (RULE, "direct", "a rule"))
        config = self.shim()["CONVERT_CONF"]
        lines = open(config).read().splitlines()
        self.assertEqual(lines[rule["rule_line"] - 1], "rule = direct port 7002")
        for program, server, way, why in (
                (plain, TCP, "direct", "no library loaded"),
                (bypass, MPTCP, "bypassed", "speaks MPTCP"),
                (fell, TCP, "direct", "fell back, see its log"),
                (off, TCP, "direct", "no converter is configured, or it is switched off"),
                (mute, MUTE, "pending", None)):
            (c,) = self.of(program, top)
            self.assertEqual((c["server"], c["way"], c["why"]), (server, way, why), c)
        self.assertEqual((top["limits"], top["counts"]["unknown"]), (None, 0))
        # people's lines say the same
        text = self.top("--once")
        self.assertTrue(text.startswith("2 converted, 1 pending, 1 bypassed, 4 direct\n"), text)
        for words in (rf"python3/{one.pid} +{TCP} +converted MPTCP +lab {L.CONVERTER}:{L.PORT} ",
                      rf"python3/{one.pid} +{RULE} +direct +TCP +a rule, line \d+ ",
                      r"  path c0 10\.1\.0\.1:\d+, ", r"  path c1 10\.3\.0\.1:\d+, "):
            self.assertRegex(text, words)

    def test_a_program_that_writes_over_its_name(self):
        """For rules the library goes by the one of its start, and says it."""
        shim = self.shim("rule = direct app python3")
        (c,) = self.of(self.hold(1, TCP, shim=shim, script=RENAMED), self.json())
        lines = open(shim["CONVERT_CONF"]).read().splitlines()
        self.assertEqual((c["server"], c["way"], c["why"]), (TCP, "direct", "a rule"))
        self.assertEqual(lines[c["rule_line"] - 1], "rule = direct app python3")

    def test_supervised(self):
        """What the supervisor has made for a program is in nobody's memory."""
        words = [L.BUILD / "convert-run", "--any", *PYTHON, HOLD, "1", TCP, RULE]
        run = self.lab.start("client", ["env", *(f"{k}={v}" for k, v in self.shim().items()), *words], name="any")
        run.wait_for("connections", lambda: "up" in run.text(), 100)
        top = self.json()
        found = [(c["program"], c["server"], c["way"], c["converter"], c["why"]) for c in top["connections"] if c["program"] != "convert-run"]
        self.assertEqual(found, [("python3", None, "converted", f"{L.CONVERTER}:{L.PORT}", "made by another program"),
                                 ("python3", RULE, "direct", None, "no library loaded")])

    def test_paths(self):
        """Subflows by interface, with their bytes, as ss has them."""
        program = self.hold(1, TCP, shim=self.shim())

        def both():
            (c,) = self.of(program, self.json())
            return c if len(c["paths"]) == 2 else None
        c = L.wait_for("the second subflow", both)
        self.assertEqual([p["interface"] for p in c["paths"]], ["c0", "c1"])
        ss = self.lab.run(["ss", "-Htin", "dst", L.CONVERTER]).out.decode()
        for p in c["paths"]:
            line = ss[ss.index(p["local"].rpartition(":")[2] + " "):].splitlines()[1]
            self.assertEqual(p["received"], int((re.findall(r"bytes_received:(\d+)", line) or [0])[0]))
        self.assertGreaterEqual(sum(p["received"] for p in c["paths"]), c["received"])
        self.assertGreaterEqual(c["received"], 5000)

    def test_turned_into_tcp(self):
        """An MPTCP socket whose converter has none: the kernel shows another cookie of it."""
        self.lab.converter("--fastopen", "cookie", port=5125, listen=[L.CONVERTER])
        (c,) = self.of(self.hold(1, TCP, shim=self.shim(port=5125)), self.json())
        self.assertEqual((c["server"], c["way"], c["mptcp"]), (TCP, "converted", False))

    def test_what_comes_in_is_left_out(self):
        """The converter's host has the same connections, and its own to the server."""
        self.hold(1, TCP, shim=self.shim())
        seen = {(c["server"], c["program"]) for c in self.json(ns="converter")["connections"]}
        self.assertEqual(seen - {(MUTE, "lab-converter")}, {(TCP, "lab-converter")})
        self.assertEqual(self.json(ns="server")["connections"], [])

    def opened(self, fifo):
        """A writer that says when somebody has opened the other end."""
        fifo.unlink()
        os.mkfifo(fifo)
        writer = subprocess.Popen(["sh", "-c", 'exec 3> "$1" && echo', "sh", fifo], stdout=subprocess.PIPE)
        self.addCleanup(writer.communicate)
        self.addCleanup(writer.kill)
        return writer

    def test_what_a_program_names(self):
        """Root looks, and the program is anybody's: what it calls its configuration, or a cookie's file, may be a
        device that does something when it is opened."""
        cookie = self.lab.file("cookie", "12345678")
        config = self.lab.config(f"cookie = @{cookie}", policy="mptcp = on")
        program = self.hold(1, TCP, shim=config)
        for fifo, name in (cookie, "lab"), (L.pathlib.Path(config["CONVERT_CONF"]), None):
            writer = self.opened(fifo)
            (c,) = self.of(program, self.json())
            time.sleep(0.3)
            self.assertIsNone(writer.poll(), fifo)
            self.assertEqual((c["server"], c["way"], c["converter_name"]), (TCP, "converted", name), c)

    def test_a_program_of_many_libraries(self):
        """That have nothing in them but the name: each is a megabyte to be read, and there may be 65,530."""
        fake = self.lab.file("fake")
        fake.mkdir()
        (fake / L.SHIM.name).write_bytes(b"x" * (1 << 20))
        program = self.lab.start("client", [*PYTHON, f"""if True:
            import mmap
            with open("{fake / L.SHIM.name}", "rb") as f:
                maps = [mmap.mmap(f.fileno(), 1 << 20, prot=mmap.PROT_READ) for _ in range(1000)]
            exec({HOLD!r})""", "1", TCP])
        program.wait_for("its connection", lambda: "up" in program.text())
        trace = self.lab.file("trace")
        r = self.lab.run(["strace", "-f", "-e", "trace=process_vm_readv", "-o", trace, *TOP, "-j"], user="",
                         env={"CONVERT_STATE": "none"})
        (c,) = self.of(program, L.validated("top", r.out))
        self.assertEqual(c["server"], TCP)
        self.assertLess(trace.read_text().count("process_vm_readv"), 50)

    def test_a_program_without_its_first_thread(self):
        """/proc/PID has no descriptors then, nor memory."""
        program = self.lab.start("client", ["env", *(f"{k}={v}" for k, v in ({"LD_PRELOAD": L.SHIM} | self.shim()).items()),
                                            "/usr/bin/python3", "-c", HEADLESS, *TCP.split(":")], name="headless")
        program.wait_for("connection", lambda: "up" in program.text())
        found, = self.of(program, self.json())
        self.assertEqual((found["server"], found["way"], found["converter"]),
                         (TCP, "converted", f"{L.CONVERTER}:{L.PORT}"))

    def test_without_privilege(self):
        """Another user sees who goes to a converter, and is told what he does not see."""
        if not L.owns_several_users():
            self.skipTest("one user")
        mine = self.hold(1, TCP, shim=self.shim(), user="nobody")
        self.hold(1, TCP, RULE, shim=self.shim())
        config = self.shim()["CONVERT_CONF"]
        top = L.validated("top", self.top("-j", "-c", config, user="nobody"))
        others = [c for c in top["connections"] if c["pid"] != mine.pid]
        self.assertEqual({(c["server"], c["way"], c["program"], c["why"]) for c in others},
                         {(None, "converted", None, "another user's program"),
                          (RULE, "unknown", None, "another user's program")})
        self.assertRegex(top["limits"], r"^\d+ of programs that may not be looked into, "
                         r"\d+ servers not known: root sees more$")
        (own,) = self.of(mine, top)
        self.assertEqual((own["way"], own["converter"]), ("converted", f"{L.CONVERTER}:{L.PORT}"))
        # kernel.yama.ptrace_scope may keep us from asking our own programs
        self.assertIn((own["server"], own["why"]),
                      ((TCP, None), (None, "server not to be had from its memory")))
        self.assertRegex(self.top("--once", "-c", config, user="nobody"),
                         r"\A.*\n\d+ of programs that may not be looked into, .*\nPROGRAM ")

    def test_root_without_ptrace(self):
        """As in many containers: it may list the descriptors of other users, and not read what they are."""
        if not L.owns_several_users():
            self.skipTest("one user")
        self.hold(1, TCP, RULE, shim=self.shim(), user="nobody")
        words = ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace", *TOP, "-j"]
        r = self.lab.run([*words, "-c", self.shim()["CONVERT_CONF"]], user="", env={"CONVERT_STATE": "none"})
        top = L.validated("top", r.out)
        self.assertEqual({(c["server"], c["way"], c["program"], c["why"]) for c in top["connections"]},
                         {(None, "converted", None, "another user's program"),
                          (RULE, "unknown", None, "another user's program")})
        self.assertRegex(top["limits"], "^2 of programs that may not be looked into, ")

    def test_a_program_without_a_name(self):
        program = self.lab.start("client", [*PYTHON, f"""if True:
            import ctypes
            ctypes.CDLL(None).prctl(15, b"")  # PR_SET_NAME
            exec({HOLD!r})""", "1", TCP])
        program.wait_for("its connection", lambda: "up" in program.text())
        (c,) = self.of(program, self.json())
        self.assertEqual(c["program"], "?")

    def test_what_a_set_user_id_program_was_told(self):
        """By who started it: the library does not believe that, so what is said of it does not come from there."""
        if not L.owns_several_users():
            self.skipTest("one user")
        python = self.lab.file("python")
        if os.statvfs(python.parent).f_flag & os.ST_NOSUID:
            self.skipTest("mounted nosuid")
        shutil.copy(os.path.realpath("/usr/bin/python3"), python)
        host, port = TCP.split(":")
        for mode, way in (0o755, "converted"), (0o4755, "direct"):
            python.chmod(mode)
            words = ["env", f"CONVERT_ADDR={host}", f"CONVERT_PORT={port}", python, "-c", HOLD, "1", TCP]
            program = self.lab.start("client", L.as_user("nobody", words), name="hold")
            program.wait_for("its connection", lambda: "up" in program.text())
            (c,) = self.of(program, self.json())
            self.assertEqual(c["way"], way, c)

    def test_words(self):
        for words in (["-x"], ["more"], ["-d", "0"], ["-d", "x"], ["-c", ""]):
            r = self.lab.run([*TOP, *words])
            self.assertEqual((r.code, r.out), (2, b""), r)
            self.assertIn("Usage: convert-bootstrap top ", r.err)
        r = self.lab.run([*TOP, "--once", "-c", self.lab.file("conf", "[mistake\n")])
        self.assertEqual(r.code, 1, r)


class Gone(Case):
    """A terminal that goes away. Nobody sends a SIGHUP: it is not top's controlling one."""

    def start(self, in_fd, out_fd):
        errors = self.lab.file("errors")
        with open(errors, "wb") as err:
            top = subprocess.Popen(L.inside("client", TOP), stdin=in_fd, stdout=out_fd, stderr=err,
                                   env=L.ENVIRONMENT | {"TERM": "vt100", "CONVERT_STATE": "none"},
                                   start_new_session=True)
        self.addCleanup(top.wait)
        self.addCleanup(top.kill)
        return top, errors

    def is_over(self, top, errors):
        self.assertEqual(L.wait_for("its end", lambda: None if top.poll() is None else [top.returncode]), [1])
        self.assertEqual(errors.read_text(), "the terminal is gone: expected one that stays, or --once\n")

    def shown(self, master):
        """Until it waits for a key."""
        seen = b""
        while b"elsewhere" not in seen:
            seen += os.read(master, 4096)

    def test_all_of_it(self):
        master, slave = pty.openpty()
        top, errors = self.start(slave, slave)
        os.close(slave)
        self.shown(master)
        os.close(master)
        self.is_over(top, errors)

    def test_one_of_two(self):
        """Its keys come from one, and the screen is another."""
        for gone in 0, 1:
            pairs = [pty.openpty(), pty.openpty()]
            top, errors = self.start(pairs[0][1], pairs[1][1])
            for _, slave in pairs:
                os.close(slave)
            self.shown(pairs[1][0])
            os.close(pairs[gone][0])
            self.is_over(top, errors)
            os.close(pairs[1 - gone][0])

    def test_keys_and_sizes(self):
        """What is no end: a key, one of several bytes, an escape alone, another size."""
        master, slave = pty.openpty()
        top, errors = self.start(slave, slave)
        os.close(slave)
        self.shown(master)
        for what in b" ", b"\x1b[B", b"\x1b", b"x" * 100:
            os.write(master, what)
        os.kill(top.pid, signal.SIGWINCH)
        os.write(master, b"q")
        while True:  # what it writes until it ends
            try:
                os.read(master, 4096)
            except OSError:
                break
        os.close(master)
        self.assertEqual((top.wait(), errors.read_text()), (0, ""))


class Terminal(Case):
    """By tmux, as people have it."""

    def setUp(self):
        self.need("tmux")
        self.socket = self.lab.file("tmux")
        self.settings = self.lab.file("tmux.conf", "set -g remain-on-exit on\n")

    def tmux(self, *words):
        r = self.lab.run(["tmux", "-S", self.socket, "-f", self.settings, *words])
        self.assertEqual((r.code, r.err), (0, ""), r)
        return r.out.decode()

    def screen(self, width, height):
        """Its lines, when there is a whole one: when it is drawn the cursor goes home, and not before."""
        cursor, *lines = self.tmux("display", "-p", "#{cursor_x},#{cursor_y}", ";", "capture-pane", "-p").splitlines()
        self.assertLessEqual(max(map(len, lines), default=0), width)
        self.assertLessEqual(len(lines), height)
        return lines if cursor == "0,0" and len(lines) > 2 and "WAY" in lines[2] else None

    def wait_screen(self, what, condition, width=80, height=24):
        """Until a whole one is as it should be."""
        return L.wait_for(what, lambda: (lines := self.screen(width, height)) and condition(lines) and lines)

    def show(self, width, height, *words, through=()):
        """By a shell that writes down its end: tmux itself may miss a pane's status for good."""
        self.end = self.lab.file("end", "")
        script = f'"$@"; echo $? >{self.end}'
        self.tmux("new-session", "-d", "-x", str(width), "-y", str(height), "sh", "-c", script, "sh", "env",
                  "CONVERT_STATE=none", *through, *map(str, TOP), *words)
        self.addCleanup(self.lab.run, ["tmux", "-S", self.socket, "kill-server"])
        screen = self.wait_screen("the screen", len, width, height)
        shell = self.tmux("display", "-p", "#{pane_pid}").strip()
        self.pid = int(self.lab.run(["pgrep", "-P", shell]).out)
        return screen

    def quit(self):
        self.tmux("send-keys", "q")
        self.assertEqual(L.wait_for("its end", self.end.read_text), "0\n")

    def test_in_pieces(self):
        """A screen is looked at when all of it is there, as the other tests believe."""
        self.hold(20, TCP)
        lines = self.show(80, 24, through=["/usr/bin/python3", "-c", PIECES])
        self.assertEqual(len([line for line in lines if "no library" in line]), 20, lines)
        self.quit()

    def test_an_empty_one(self):
        lines = self.show(200, 60)
        self.assertRegex(lines[0], r"^0 converted, 0 direct +\d\d:\d\d:\d\d$")
        self.assertRegex(lines[2], "^PROGRAM +SERVER +WAY +PROTO +BY, WHY +RECV +SENT")
        self.assertEqual(lines[3], "no program has a TCP connection to elsewhere")
        self.quit()

    def test_five(self):
        one = self.hold(3, TCP, shim=self.shim())
        self.hold(2, TCP)
        lines = self.show(80, 24, "-d", "0.3")
        self.assertRegex(lines[0], r"^3 converted, 2 direct ")
        rows = [line for line in lines if f"python3/{one.pid} " in line]
        self.assertEqual(len(rows), 3, lines)
        for row in rows:
            self.assertRegex(row, rf"{TCP} +converted MPTCP +lab {L.CONVERTER}:{L.PORT} +50\d\d ")
        self.assertEqual(len([line for line in lines if "no library" in line]), 2, lines)
        # a bigger window, and a smaller one
        for width, height in (200, 60), (60, 9), (20, 2), (80, 24):
            self.tmux("resize-window", "-x", str(width), "-y", str(height))
            if height > 3:
                self.wait_screen("the other size", lambda lines: len(lines[0]) > width - 3,  # noqa: B023
                                 width, height)
        # a new one is seen, and one that ends
        self.hold(1, TCP).stop()
        more = self.hold(1, TCP)
        self.wait_screen("the third", lambda lines: f"python3/{more.pid} " in str(lines))
        more.stop()
        self.wait_screen("its end", lambda lines: f"python3/{more.pid} " not in str(lines))
        self.quit()

    def test_many(self):
        """Scrolled to the end and back; and a hundredth of a processor is enough for it."""
        self.hold(MANY, TCP, shim=self.shim())
        last = self.hold(1, RULE, shim=self.shim())
        lines = self.show(80, 24)
        self.assertRegex(lines[0], rf"^{MANY} converted, 1 direct ")
        self.assertEqual(len(lines), 24)
        time.sleep(1)
        used, began = self.processor(), time.monotonic()
        self.assertGreater(used, 0)
        time.sleep(max(7, MANY // 100))
        share = (self.processor() - used) / (time.monotonic() - began)
        self.note(f"{MANY} connections on two paths: {100 * share:.2f} % of a processor")
        self.assertLess(share, 0.01)
        self.tmux("send-keys", "End")
        self.wait_screen("the last line", lambda lines: f"python3/{last.pid} " in lines[-1])
        self.tmux("send-keys", "Home")
        self.wait_screen("the first line", lambda lines: " converted MPTCP" in lines[3])
        self.quit()

    def processor(self):
        """Seconds that it has used, to the nanosecond: proc_pid_stat(5) counts in hundredths."""
        return sum(int(file.read_text().split()[0]) for file in
                   pathlib.Path(f"/proc/{self.pid}/task").glob("*/schedstat")) / 1e9


if __name__ == "__main__":
    L.main(setup, paths.TwoPaths, delay_ms=(0, 0), rate=None)

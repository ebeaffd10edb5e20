#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""convert-run --receipt: what it says of a program's connections is what a capture of them shows."""
import collections
import ipaddress
import re
import signal
import struct
import sys
import time

sys.path.insert(1, sys.path[0] + "/../lab")
import captures
import lab as L

RUN = L.BUILD / "convert-run"
PLAIN, MPTCP_PORT, RULED, CLOSED, DENIED = 7001, 7002, 7003, 7004, 7005
SILENT = "10.2.0.99"  # nobody has it
DENIED_HOST = "10.2.0.3"
DELAY = 5  # ms one way, on the client's link
RTT = 2 * DELAY / 1000

SERVER = """
import selectors, socket, sys
s = selectors.DefaultSelector()
for port, protocol in (%d, 0), (%d, 262), (%d, 0), (%d, 0):
    l = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
    l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    l.bind(("0.0.0.0", port))
    l.listen(100)
    s.register(l, selectors.EVENT_READ)
while True:
    for key, _ in s.select():
        key.fileobj.accept()[0].close()
""" % (PLAIN, MPTCP_PORT, RULED, DENIED)

# 50 connections, of this process and of two that it starts
CLIENT = f"""
import errno, os, socket, subprocess, sys, time
def connect(port, n=1, host="{L.SERVER}", wait=True):
    for _ in range(n):
        with socket.socket() as s:
            s.setblocking(wait)
            err = s.connect_ex((host, port))
            if wait and not err:
                s.recv(1)
if len(sys.argv) > 1:
    connect({PLAIN}, 5)
    sys.exit()
connect({PLAIN}, 8)
connect({MPTCP_PORT}, 9)
connect({RULED}, 7)
connect({CLOSED}, 6)
connect({PLAIN}, 4, "{SILENT}", wait=False)
if os.fork() == 0:
    connect({PLAIN}, 5)
    os._exit(0)
os.wait()
subprocess.run([sys.executable, __file__, "again"], check=True)
connect({DENIED}, 6, "{DENIED_HOST}")
"""


def setup(lab):
    L.command(["ip", "-n", "server", "addr", "add", DENIED_HOST + "/24", "dev", "s0"])
    server = lab.start("server", ["/usr/bin/python3", lab.file("server.py", SERVER)])
    server.wait_for_listeners(PLAIN, MPTCP_PORT, RULED, DENIED)
    lab.converter("--mptcp", "--mptcp-down", "--deny-to", DENIED_HOST + "/32", "--listen", "0.0.0.0:5125")


def seen(packets):
    """{(server, outcome, in the SYN, MPTCP): connections}, and of the answered ones the seconds that the
    SYN+ACK and the reply took."""
    found, times = collections.Counter(), []
    for connection in captures.connections(packets):
        syn = connection[0]
        theirs = [p for p in connection if p.src == syn.dst]
        mptcp = bool(theirs) and theirs[0].option(captures.MPTCP) is not None
        if syn.dst != L.CONVERTER:
            asks = syn.option(captures.MPTCP) is not None
            found[f"{syn.dst}:{syn.dport}", "bypassed" if asks else "direct", None, None] += 1
            continue
        request = next(p.data for p in connection if p.src == syn.src and p.data)
        closed = next((p.t for p in connection if p.src == syn.src and set(p.flags) & set("FR")), syn.t + 60)
        reply = next((p for p in theirs if p.data and p.t < closed), None)
        version, _, magic, kind, _, port, address = struct.unpack("!BBHBBH16s", request[:24])
        assert (version, magic, kind) == (1, 0x2263, 10), request
        server = f"{ipaddress.IPv6Address(address).ipv4_mapped}:{port}"
        if reply is None:
            outcome = "given_up"
        elif 30 in types(reply.data):
            outcome = "error"
        else:
            outcome = "converted"
            times.append((theirs[0].t - syn.t, reply.t - syn.t))
        found[server, outcome, bool(syn.data), mptcp] += 1
    return found, times


def types(message):
    """Of the TLVs of a reply."""
    at, found = 4, []
    while at < 4 * message[1]:
        found.append(message[at])
        at += 4 * message[at + 1]
    return found


class Receipt(L.TestCase):
    def config(self, policy=""):
        return self.lab.config("fast-open = no-cookie",
                               f"rule = direct port {RULED}\nfallback = direct\n{policy}", port=5125, log=False)

    def run_it(self, *words, conf=None, code=0, **more):
        conf = conf or self.config()
        r = self.lab.run([RUN, "-q", "-c", conf["CONVERT_CONF"], *words], **more)
        self.assertEqual(r.code, code, r)
        return r

    def receipt(self, *words, **more):
        path = self.lab.file("receipt.json")
        r = self.run_it(f"--receipt={path}", *words, **more)
        self.assertEqual(r.err, "", r)
        return L.validated("receipt", path.read_text())

    def test_agrees_with_a_capture(self):
        client = self.lab.file("client.py", CLIENT)
        capture = captures.Capture(self.lab)
        began = time.monotonic()
        r = self.receipt("/usr/bin/python3", client)
        took = time.monotonic() - began
        packets, times = seen(capture.packets())
        by_server = collections.defaultdict(collections.Counter)
        for (server, outcome, in_syn, mptcp), n in packets.items():
            counts = by_server[server]
            counts[outcome] += n
            if outcome == "converted":
                counts["in_syn" if in_syn else "behind_syn"] += n
                counts["mptcp" if mptcp else "tcp"] += n
        # an error of the server's is a failure; of the converter's the connection is direct, and seen twice
        for server, counts in by_server.items():
            errors = counts.pop("error", 0)
            if not server.startswith(DENIED_HOST):
                counts["failed"] += errors
        said = {s["server"]: +collections.Counter({k: s[k] for k in (
            "converted", "bypassed", "direct", "failed", "given_up", "in_syn", "behind_syn", "mptcp",
            "tcp")}) for s in r["servers"]}
        self.assertEqual(said, {s: +c for s, c in by_server.items()})
        total = r["sum"]
        self.assertEqual(total["connections"], 50)
        self.assertEqual((r["processes"], r["not_counted"], r["status"]), (3, 0, 0))
        for key in "converted", "bypassed", "direct", "failed", "given_up", "in_syn", "mptcp":
            self.assertGreater(total[key], 0, r)
            self.assertEqual(total[key], sum(s[key] for s in r["servers"]))
        # each is there a moment after its reply has come, and the first measurement of a round trip is its SYN's
        connect, rtt = total["connect_us"], total["rtt_us"]
        self.assertEqual(len(times), total["converted"])
        replies = [t[1] * 1e6 for t in times]
        for name, shown in ("least", min(replies)), ("mean", sum(replies) / len(replies)), ("most", max(replies)):
            self.assertGreaterEqual(connect[name] + 1000, shown, r)
        self.assertLess(connect["most"], took * 1e6, r)
        self.assertGreaterEqual(rtt["least"], RTT * 1e6 - 1000, r)
        self.assertTrue(rtt["least"] <= rtt["mean"] <= connect["mean"] <= connect["most"], r)
        why = {(w["outcome"], w["why"]): w["connections"] for w in total["why"]}
        self.assertEqual(why["direct", "rule in line 6"], 7, why)
        self.assertEqual(why["direct", "Not Authorized, EACCES"], 1, why)
        self.assertEqual(why["failed", "Connection Reset, ECONNREFUSED"], 6, why)

    def test_for_people(self):
        program = ["/usr/bin/python3", "-c", f"""
import socket
for port in {PLAIN}, {PLAIN}, {RULED}:
    with socket.create_connection(("{L.SERVER}", port)) as s:
        s.recv(1)
"""]
        r = self.run_it("--receipt", *program)
        times = r"connected in ([0-9.]+) ms, round trip to the converter ([0-9.]+) ms"
        self.assertRegex(r.err, rf"""\Aconvert-run: {L.SERVER}:{PLAIN}: 2 connections: 2 converted \(2 in the SYN; 2 MPTCP; {times}\)
convert-run: {L.SERVER}:{RULED}: 1 connection: 1 direct \(1: rule in line 6\)
convert-run: sum: 3 connections: 2 converted \(2 in the SYN; 2 MPTCP; {times}\), 1 direct \(1: rule in line 6\)
\Z""")
        for connect, rtt in re.findall(times, r.err):
            self.assertTrue(1000 * RTT - 1 <= float(rtt) <= float(connect), r.err)
        self.assertEqual(self.run_it("--receipt", "true").err, "convert-run: no connection was seen\n")

    def test_one_that_is_asked_for_again_and_again(self):
        """connect() until it says that it is connected is one connection; what follows a failure is another."""
        r = self.receipt("/usr/bin/python3", "-c", f"""
import ctypes, errno, select, socket
s = socket.socket()
s.setblocking(False)
while (err := s.connect_ex(("{L.SERVER}", {RULED}))) != errno.EISCONN:
    select.select([], [s], [], 5)
s.setblocking(True)
s.recv(1)
assert ctypes.CDLL(None).connect(s.fileno(), bytes(16), 16) == 0 # AF_UNSPEC
s.connect(("{L.SERVER}", {RULED}))
s = socket.socket()
for _ in range(2):
    assert s.connect_ex(("{L.SERVER}", {CLOSED})) == errno.ECONNREFUSED
s.connect(("{L.SERVER}", {RULED}))
""", conf=self.config(f"rule = direct port {CLOSED}"))
        self.assertEqual({s["server"]: (s["connections"], s["direct"]) for s in r["servers"]},
                         {f"{L.SERVER}:{RULED}": (3, 3), f"{L.SERVER}:{CLOSED}": (2, 2)}, r)

    def test_by_the_configuration(self):
        conf = self.config()
        with open(conf["CONVERT_CONF"], "a") as file:
            file.write("[log]\nreceipt = yes\n")
        self.assertEqual(self.run_it("true", conf=conf).err, "convert-run: no connection was seen\n")
        # whoever has not asked for one gets his program without
        r = self.run_it("echo", "done", conf=conf, env={"TMPDIR": "/nowhere"})
        self.assertEqual((r.out, r.err), (b"done\n", "convert-run: no receipt: no file for it in TMPDIR: No such file or "
                                          "directory\n"))
        r = self.lab.run(["prlimit", "--nproc=1", RUN, "-c", conf["CONVERT_CONF"], "echo", "done"], user="nobody")
        self.assertEqual((r.code, r.out, r.err),
                         (0, b"done\n", "convert-run: no receipt: Resource temporarily unavailable\n"))

    def test_nothing_is_left_behind(self):
        folder = self.lab.file("tmp")
        folder.mkdir()
        self.run_it("--receipt", "ls", folder, env={"TMPDIR": str(folder)})
        self.assertEqual(list(folder.iterdir()), [])

    def test_a_program_that_is_killed(self):
        """What was told is there; the connection that is being made is not."""
        r = self.receipt("/usr/bin/python3", "-c", f"""
import os, signal, socket
for _ in range(20):
    with socket.create_connection(("{L.SERVER}", {PLAIN})) as s:
        s.recv(1)
s = socket.socket()
s.setblocking(False)
s.connect_ex(("{SILENT}", {PLAIN}))
os.kill(os.getpid(), signal.SIGKILL)
""", code=-signal.SIGKILL)
        self.assertEqual((r["status"], r["signal"]), (None, signal.SIGKILL))
        self.assertEqual((r["sum"]["connections"], r["sum"]["converted"]), (20, 20))

    def test_what_has_outlived_the_program(self):
        """It is counted as far as it had got, and makes no file anew."""
        folder, flags, out = self.lab.file("tmp"), [self.lab.file("flag") for _ in range(2)], self.lab.file("out")
        folder.mkdir()
        daemon = self.lab.file("daemon.py", f"""
import os, socket, time
def connect(n):
    for _ in range(n):
        with socket.create_connection(("{L.SERVER}", {PLAIN})) as s:
            s.recv(1)
connect(3)
open("{flags[0]}", "w").close()
while not os.path.exists("{flags[1]}"):
    time.sleep(0.02)
connect(2)
print("done", flush=True)
""")
        r = self.receipt("sh", "-c", f"""setsid /usr/bin/python3 {daemon} > {out} 2>&1 &
            while [ ! -e {flags[0]} ]; do sleep 0.02; done; exit 4""", code=4, env={"TMPDIR": str(folder)})
        self.assertEqual((r["sum"]["connections"], r["sum"]["converted"], r["not_counted"]), (3, 3, 0), r)
        flags[1].write_text("")
        L.wait_for("its end", lambda: out.read_text() == "done\n")
        self.assertEqual(list(folder.iterdir()), [])

    def test_how_the_program_ends(self):
        """As without a receipt: the status, the signal; what is sent to us it gets."""
        self.assertEqual(self.receipt("sh", "-c", "exit 7", code=7)["status"], 7)
        self.receipt("sh", "-c", "kill -SEGV $$", code=-signal.SIGSEGV)
        self.run_it("--receipt", "/nowhere", code=127)
        # whoever has started the tests may ignore them, and so would the shell
        for name in signal.SIGINT, signal.SIGHUP:
            self.addCleanup(signal.signal, name, signal.signal(name, signal.SIG_DFL))
        for name in "TERM", "INT", "HUP", "USR1":
            r = self.run_it("--receipt", "sh", "-c",
                            f"trap 'exit 9' {name}; kill -{name} $PPID; while :; do sleep 0.01; done", code=9)
            self.assertIn("no connection", r.err)
        r = self.run_it("--receipt", "sh", "-c", "kill -TERM $PPID; sleep 9", code=-signal.SIGTERM)
        self.assertIn("no connection", r.err)

    def test_a_full_disk(self):
        """The program notices nothing. Of lines that are lost as a whole nobody knows; one is cut, and counted as
        that."""
        small = self.lab.file("small")
        small.mkdir()
        L.command(["mount", "-t", "tmpfs", "-o", "size=8k,mode=1777", "small", small])
        try:
            path = self.lab.file("receipt.json")
            self.run_it(f"--receipt={path}", "/usr/bin/python3", "-c", f"""
import socket
for _ in range(60):
    with socket.create_connection(("{L.SERVER}", {PLAIN})) as s:
        s.recv(1)
""", env={"TMPDIR": str(small)})
        finally:
            L.command(["umount", small])
        r = L.validated("receipt", path.read_text())
        self.assertIn(r["sum"]["converted"], range(8, 60))
        self.assertEqual((r["not_counted"], r["whole"]), (1, True))
        r = self.run_it("--receipt=/dev/full", "true")
        self.assertIn("the receipt is not whole: No space left on device\n", r.err)

    def test_room_comes_back(self):
        """What is lost in the middle is lost, whatever could be written behind it."""
        conf, path = self.config(), self.lab.file("receipt.json")
        r = self.lab.run(["strace", "-o", self.lab.file("trace"), "-e", "inject=write:error=ENOSPC:when=1", RUN, "-q", "-c",
                          conf["CONVERT_CONF"], f"--receipt={path}", "/usr/bin/python3", "-c", """
import socket
for port in range(1, 40):
    with socket.socket() as s:
        s.connect_ex(("127.0.0.1", port))
"""])
        self.assertEqual(r.code, 0, r)
        self.assertGreater(path.stat().st_size, 1000)  # the rest of it
        self.assertIn("the receipt is not whole: ", r.err)

    def test_the_receipt_of_before(self):
        """Stays until there is another one: for a mistake on the command line, and what is not started."""
        path, other = self.lab.file("receipt.json"), self.lab.file("other.json")
        old = "x" * 10000
        path.write_text(old)
        self.run_it(f"--receipt={path}", "--no-such-option", "true", code=2)
        self.run_it(f"--receipt={path}", code=2)
        self.run_it(f"--receipt={path}", "enable", "web", code=2)
        self.run_it(f"--receipt={path}", "true", code=1, env={"TMPDIR": "/nowhere"})
        for program, code in ("/nowhere", 127), (path, 126):  # not found; not executable
            for options in [], ["--any"], ["-c", self.lab.file("none.conf", "")]:  # without a converter
                self.run_it(f"--receipt={path}", *options, program, code=code)
                self.assertEqual(path.read_text(), old)
        r = self.lab.run([RUN, "-c", "/nowhere", f"--receipt={path}", "--strict", "true"])
        self.assertEqual((r.code, path.read_text()), (3, old), r)
        self.run_it(f"--receipt={other}", f"--receipt={path}", "sh", "-c", f"test $(wc -c < {path}) = 10000")
        self.assertEqual(L.validated("receipt", path.read_text())["status"], 0)
        self.assertFalse(other.exists())

    def test_into_the_file_of_what_the_program_writes(self):
        """By whatever name: that stays, and the receipt stands behind it."""
        conf, path = self.config()["CONVERT_CONF"], self.lab.file("out")
        for name, fd, redirection in (("/dev/stdout", 1, ">"), (path, 1, ">"), (path, 1, ">>"), ("/dev/stderr", 2, "2>"),
                                      ("/dev/stderr", 2, "2>>"), (path, 2, "2>>")):
            with self.subTest(name=str(name), redirection=redirection):
                path.write_text("before\n")
                r = self.lab.run(["sh", "-c", f"{RUN} -q -c {conf} --receipt={name} sh -c 'echo mine >&{fd}' "
                                              f"{redirection} {path}"])
                self.assertEqual((r.code, r.out, r.err), (0, b"", ""), r)
                expected = ("before\n" if ">>" in redirection else "") + "mine\n"
                text = path.read_text()
                self.assertEqual(text[:len(expected)], expected)
                self.assertEqual(L.validated("receipt", text[len(expected):])["status"], 0)

    def test_its_file_is_taken_away(self):
        """As by who tidies up TMPDIR: what was told is there, and that it is not all."""
        folder = self.lab.file("tmp")
        folder.mkdir()
        curl = f"curl -so /dev/null http://{L.SERVER}:{PLAIN}/"
        for more, left in ("", []), ("for f in $there; do echo mine > $f; done", ["mine\n"]):
            script = f"{curl}; there=$(echo {folder}/*); rm -rf {folder}/*; {curl}; {more or ':'}"
            path = self.lab.file("receipt.json")
            r = self.run_it(f"--receipt={path}", "sh", "-c", script, env={"TMPDIR": str(folder)})
            said = L.validated("receipt", path.read_text())
            self.assertEqual((said["sum"]["converted"], said["not_counted"], said["whole"]), (1, 0, False), r)
            self.assertEqual([f.read_text() for f in folder.iterdir()], left)
            for f in folder.iterdir():
                f.unlink()
            r = self.run_it("--receipt", "sh", "-c", script, env={"TMPDIR": str(folder)})
            self.assertRegex(r.err, r"\Aconvert-run: .*: 1 connection: 1 converted .*\n.*\nconvert-run: the file in which they "
                                    r"are collected was taken away: what came then is not counted\n\Z")
            for f in folder.iterdir():
                f.unlink()

    def test_what_cannot_be_made(self):
        r = self.run_it("--receipt=/nowhere/receipt", "true", code=2)
        self.assertIn("--receipt=/nowhere/receipt: No such file or directory", r.err)
        r = self.run_it("--receipt", "true", env={"TMPDIR": "/nowhere"}, code=1)
        self.assertRegex(r.err, "^convert-run: no receipt: no file for it in TMPDIR: No such file")
        r = self.lab.run(["prlimit", "--nproc=1", RUN, "--receipt", "true"], env=self.config(), user="nobody")
        self.assertEqual((r.code, r.err), (1, "convert-run: no receipt: Resource temporarily unavailable\n"))

    def test_another_user_of_the_file(self):
        """Neither a link in its place nor one that is gone is followed, or made."""
        folder = self.lab.file("tmp")
        folder.mkdir()
        victim = self.lab.file("victim", "x")
        r = self.run_it("--receipt", "sh", "-c", f"""
for f in {folder}/*; do rm $f; ln -s {victim} $f; done
curl -so /dev/null http://{L.SERVER}:{PLAIN}/; rm {folder}/*
curl -so /dev/null http://{L.SERVER}:{PLAIN}/; :""", env={"TMPDIR": str(folder)})
        self.assertEqual((r.err, victim.read_text()), ("convert-run: no connection was seen\nconvert-run: the file in which "
                                                       "they are collected was taken away: what came then is not counted\n",
                                                       "x"))
        self.assertEqual(list(folder.iterdir()), [])


if __name__ == "__main__":
    L.main(setup, delay_ms=(DELAY, 0))

#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""The log: the lines for programs and their schema, what must not be in one, and that no target of it
costs the program anything."""
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import time

sys.path.insert(1, sys.path[0] + "/../lab")
import captures
import lab as L
import servers

RUN = L.BUILD / "convert-run"
WHO = f"http://{L.SERVER}/who"
SECRET = "S3cretC00kieS3cret"
COOKIE_PORT, DENYING_PORT, MPTCP_PORT = 5125, 5126, 5127


def setup(lab):
    servers.nginx(lab)
    lab.converter()
    lab.converter("--cookie", SECRET, port=COOKIE_PORT)
    lab.converter("--deny-to", L.SERVER + "/32", port=DENYING_PORT)
    lab.converter("--mptcp", "--mptcp-down", listen=["0.0.0.0"], port=MPTCP_PORT)


class Log(L.TestCase):
    def config(self, log, converter="fast-open = no-cookie", policy="fallback = direct", **more):
        """Its log's lines are JSON."""
        conf = self.lab.config(converter, policy, log=False, **more)
        with open(conf["CONVERT_CONF"], "a") as file:
            file.write("[log]\nformat = json\n" + log)
        return conf

    def lines(self, text):
        return [L.validated("log", line) for line in text.splitlines()]

    def logged(self, *words, level="info", conf=None, code=0, **more):
        path = self.lab.file("log")
        conf = conf or self.config(f"target = {path}\nlevel = {level}\n", **more)
        r = self.lab.run([*words], shim=conf | {"LAB_LOG": str(path)})
        self.assertEqual((r.code, r.err), (code, ""), r)
        return self.lines(r.log)


class Json(Log):
    def test_each_way(self):
        def one(event, *words, **more):
            (line,) = self.logged(*words, **more)
            self.assertEqual((line["event"], line["program"]), (event, words[0]), line)
            return line
        curl = ["curl", "-sS", "-o", "/dev/null", WHO]
        line = one("converted", *curl)
        self.assertEqual((line["server"], line["converter"], line["name"], line["dialect"]),
                         (f"{L.SERVER}:80", f"{L.CONVERTER}:{L.PORT}", "lab", "rfc8803"))
        line = one("direct", *curl, policy="rule = direct")
        self.assertEqual((line["why"], line["line"]), ("rule", 6))
        line = one("fallback", *curl, port=DENYING_PORT)
        self.assertEqual((line["why"], line["error"]), ("Not Authorized", "EACCES"))
        line = one("failed", "curl", "-s", f"http://{L.SERVER}:81/", code=7)
        self.assertEqual((line["why"], line["error"]), ("Connection Reset", "ECONNREFUSED"))
        line = one("direct", *curl, address="192.0.2.1", converter="interface = lo")
        self.assertNotIn("line", line)

    def test_nothing_is_configured(self):
        curl = ["curl", "-sS", "-o", "/dev/null", WHO]
        why = "no converter is configured, or it is switched off"
        # for the log that is not worth a line of each connection
        self.assertEqual(self.lab.run(curl, shim={"CONVERT_LOG_LEVEL": "debug"}).log, "")
        for off in {}, {"CONVERT_DISABLE": "1"} | self.lab.via():
            r = self.lab.run([RUN, "-qv", "--receipt", *curl], env=off)
            self.assertIn(f"convert-run: sum: 1 connection: 1 direct (1: {why})\n", r.err)
            self.assertNotIn("Z curl", r.err)

    def test_a_mistake_is_a_note(self):
        path = self.lab.file("log")
        conf = self.config(f"target = {path}\n", 'weight = "\\x')
        r = self.lab.run(["curl", "-sS", "-o", "/dev/null", WHO], shim=conf | {"LAB_LOG": str(path)})
        (note,) = self.lines(r.log)  # the target stands behind the mistake
        self.assertIn('weight = "\\x: expected', note["text"])
        self.assertEqual(note["event"], "note")

    def test_is_found_in_a_capture(self):
        """CASES 3.9: by the local port; what it says of the SYN, the way and the bytes is true."""
        for port, protocol in (L.PORT, "TCP"), (MPTCP_PORT, "MPTCP"):
            for fast_open, message in ("no-cookie", "in the SYN"), ("cookie", "behind the SYN"):
                with self.subTest(protocol=protocol, message=message):
                    capture = captures.Capture(self.lab)
                    v4, _ = self.lab.fresh_addresses()
                    if port == L.PORT:
                        self.lab.converter(listen=[v4])
                    lines = self.logged("curl", "-sS", "-o", "/dev/null", WHO, level="debug",
                                        converter=f"fast-open = {fast_open}", address=v4, port=port)
                    packets = capture.packets()
                    self.one_connection(lines, packets, v4, port, protocol, message)

    def one_connection(self, lines, packets, address, port, protocol, message):
        sent, received, converted, closed = lines
        self.assertEqual([line["event"] for line in lines], ["sent", "received", "converted", "closed"])
        (connection,) = [c for c in captures.connections(packets)
                         if f"{c[0].src}:{c[0].sport}" == converted["local"]]
        syn = connection[0]
        self.assertEqual({line["local"] for line in lines}, {converted["local"]})
        self.assertEqual({line["converter"] for line in lines}, {f"{address}:{port}"})
        self.assertEqual((syn.dst, syn.dport), (address, port))
        self.assertEqual((converted["message"], converted["protocol"]), (message, protocol), lines)
        self.assertEqual(bool(syn.data), message == "in the SYN")
        self.assertEqual(sent["message"], message)
        self.assertIn("Connect", sent["tlvs"])
        if protocol == "MPTCP":
            self.assertIn("Extended TCP Header", received["tlvs"])
        theirs = [p for p in connection if p.src != syn.src]
        # of the path's round trip, as the kernel took it
        self.assertLess(abs(converted["rtt_us"] - 1e6 * (theirs[0].t - syn.t)), 50000)
        self.assertGreater(1000 + converted["after_us"],
                           1e6 * (next(p for p in theirs if p.data).t - syn.t))
        self.assertEqual(closed["how"], "by the program")
        for key, packets in ("sent", [p for p in connection if p.src == syn.src]), ("received", theirs):
            # the kernel does not count what MPTCP has in its SYN
            bytes_of = {(p.seq, p.data) for p in packets
                        if p.data and not (protocol == "MPTCP" and p.is_syn())}
            self.assertEqual(closed[key], sum(len(data) for _, data in bytes_of), lines)

    def test_a_list_with_a_zero_in_it(self):
        """That is padding, wherever it stands (PROTOCOL 1.4)."""
        v4, _ = self.lab.fresh_addresses()
        self.lab.converter("--fault", "raw-relay=01032263150200001e002200", listen=[v4])
        lines = self.logged("curl", "-sS", "-o", "/dev/null", WHO, level="debug", address=v4)
        (received,) = [line for line in lines if line["event"] == "received"]
        self.assertEqual(received["tlvs"], "Supported TCP Extensions (MPTCP, Fast Open)")

    def test_how_it_ends(self):
        program = self.lab.file("program.py", f"""
import socket, sys, time
def connect(path=b"/who", keep=b"keep-alive"):
    s = socket.create_connection(("{L.SERVER}", 80))
    s.sendall(b"GET " + path + b" HTTP/1.1\\r\\nHost: x\\r\\nConnection: " + keep + b"\\r\\n\\r\\n")
    s.recv(10000)
    return s
s = connect()
time.sleep(0.2)
s.close()
s = connect(keep=b"close")
while s.recv(10000):
    pass
s.close()
s = connect()
s.shutdown(socket.SHUT_WR)
s.close()
s = connect()
t = s.dup()
s.close()
t.close()  # nobody has counted
""")
        lines = self.logged("/usr/bin/python3", program, level="debug", port=L.PORT)
        closed = [line for line in lines if line["event"] == "closed"]
        self.assertEqual([line["how"] for line in closed][:2], ["by the program", "after the server"])
        self.assertEqual(len(closed), 3, closed)
        self.assertGreaterEqual(closed[0]["lived_ms"], 200)
        self.assertEqual(len([line for line in lines if line["event"] == "converted"]), 4)

    def test_a_child_ends_nothing_of_its_parents(self):
        program = self.lab.file("program.py", f"""
import os, socket
s = socket.create_connection(("{L.SERVER}", 80))
if os.fork() == 0:
    s.close()
    os._exit(0)
os.wait()
s.close()
""")
        lines = self.logged("/usr/bin/python3", program, level="debug")
        (closed,) = [line for line in lines if line["event"] == "closed"]
        self.assertEqual(closed["pid"], lines[0]["pid"])

    def test_no_secret(self):
        """Convert cookies, configured and learned; at every level and in every format."""
        for level in "info", "debug":
            for fmt in "text", "json":
                for cookie in f"cookie = {SECRET}", "cookie = wrong" + SECRET[::-1], "":
                    log = self.lab.file("log")
                    conf = self.lab.config(f"fast-open = no-cookie\n{cookie}", "fallback = direct",
                                           port=COOKIE_PORT, log=False)
                    with open(conf["CONVERT_CONF"], "a") as file:
                        file.write(f"[log]\nlevel = {level}\nformat = {fmt}\ntarget = {log}\n")
                    r = self.lab.run([RUN, "--receipt", "curl", "-sS", "-o", "/dev/null", WHO],
                                     env={"CONVERT_CONF": conf["CONVERT_CONF"]})
                    self.assertEqual(r.code, 0, r)
                    text = log.read_text() + r.err
                    if level == "debug" and cookie:
                        self.assertRegex(text, r"Cookie \(\d+ bytes\)")
                    for secret in SECRET, SECRET[::-1]:
                        for form in (secret, secret.encode().hex(), secret.encode().hex(" ", 1),
                                     secret.encode().hex(":", 1), secret[:8], secret[-8:],
                                     secret.encode().hex()[:16]):
                            self.assertNotIn(form.lower(), text.lower())

    def test_the_converter_cannot_be_reached(self):
        (line,) = self.logged("curl", "-sS", "-o", "/dev/null", WHO, address="127.0.0.9",
                              converter="fast-open = no-cookie", port=1)
        self.assertIn(line["event"], ("direct", "fallback"))


class Levels(Log):
    def log_of(self, conf, *options):
        return self.lab.run([RUN, *options, "curl", "-sS", "-o", "/dev/null", WHO],
                            env={"CONVERT_CONF": conf["CONVERT_CONF"]}).err

    def test_v_wins_over_the_file(self):
        """CASES 3.7"""
        conf = self.config("level = error\n")
        self.assertEqual(self.log_of(conf), "")
        self.assertRegex(self.log_of(conf, "-v"), r"\A\S+Z curl\[\d+\] info: converted .*\n\Z")
        self.assertRegex(self.log_of(conf, "-vv"),
                         r"debug: sent .*\n.* debug: received .*\n.* info: converted .*\n.* debug: closed")

    def test_debug_is_more_than_info(self):
        """CASES 3.7"""
        events = [line["event"] for line in self.logged("curl", "-sS", "-o", "/dev/null", WHO, level="debug")]
        self.assertEqual(events, ["sent", "received", "converted", "closed"])

    def test_error_is_what_a_converter_fails_at(self):
        """CASES 3.7"""
        curl = ["curl", "-sS", "-o", "/dev/null", WHO]
        (line,) = self.logged(*curl, level="error", port=DENYING_PORT)
        self.assertEqual((line["level"], line["event"]), ("error", "fallback"))
        lines = self.logged(*curl, level="error", address=["127.0.0.9", L.CONVERTER])
        self.assertEqual([(line["level"], line["event"]) for line in lines], [("error", "next-converter")])
        self.assertEqual(self.logged(*curl, level="error"), [])
        self.assertEqual(self.logged("curl", "-s", f"http://{L.SERVER}:81/", level="error", code=7), [])

    def test_fast_open_that_is_switched_off(self):
        """CASES 3.7: the kernel refuses the program's own MSG_FASTOPEN; that is no converter's failure."""
        program = self.lab.file("program.py", f"""
import socket
s = socket.socket()
try:
    s.sendto(b"GET / HTTP/1.0\\r\\n\\r\\n", socket.MSG_FASTOPEN, ("{L.SERVER}", 80))
except OSError as e:
    print(e.errno)
s.connect(("{L.SERVER}", 80))
""")
        log = self.lab.file("log")
        conf = self.config(f"target = {log}\nlevel = info\n")
        L.sysctl("client", net__ipv4__tcp_fastopen=0)
        try:
            r = self.lab.run(["/usr/bin/python3", program], shim=conf | {"LAB_LOG": str(log)})
        finally:
            L.sysctl("client", net__ipv4__tcp_fastopen=1)
        self.assertEqual((r.code, r.out), (0, b"95\n"), r)
        self.assertEqual([line["event"] for line in self.lines(r.log)], ["converted"])

    def test_variables(self):
        curl = ["curl", "-sS", "-o", "/dev/null", WHO]
        for more, said in (({"CONVERT_LOG_LEVEL": "loud"}, "CONVERT_LOG_LEVEL = loud: expected error, info or debug"),
                           ({"CONVERT_LOG_FORMAT": "xml"}, "CONVERT_LOG_FORMAT = xml: expected text or json")):
            r = self.lab.run(curl, shim=self.lab.via() | more)
            self.assertIn(said, r.log, r)
        r = self.lab.run(curl, shim=self.lab.via() | {"CONVERT_LOG_FORMAT": "json", "CONVERT_LOG_LEVEL": "debug"})
        self.assertEqual(len(self.lines(r.log)), 4)

    def test_how_without_where(self):
        """CASES 3.12: `level` alone logs nothing, which check says."""
        def check(log, **env):
            conf = self.lab.file("conf", f"[converter a]\naddress = {L.CONVERTER}\n[log]\n{log}\n")
            return self.lab.run([L.BUILD / "convert-bootstrap", "check"],
                                env={"CONVERT_CONF": str(conf)} | env).out.decode()
        for log in "level = info", "receipt = yes\nformat = text":
            self.assertIn("[log] says how and not where: nothing is logged", check(log))
        for log in "receipt = yes", "level = debug\ntarget = stderr":
            self.assertNotIn("not where", check(log))
        self.assertNotIn("not where", check("level = debug", CONVERT_LOG="stderr"))

    def test_a_relative_log_stays_where_it_was(self):
        folder = self.lab.file("folder")
        folder.mkdir()
        r = self.lab.run([RUN, "sh", "-c", f"cd / && curl -sS -o /dev/null {WHO}"], cwd=folder,
                         env=self.lab.via() | {"CONVERT_LOG": "log"})
        self.assertEqual((r.code, r.err), (0, ""), r)
        self.assertIn("converted", (folder / "log").read_text())
        (folder / "log").unlink()
        (folder / "receipt").touch(mode=0o600)
        self.goes_elsewhere(folder, self.lab.via() | {"CONVERT_LOG": "log", "CONVERT_RECEIPT": "receipt"})
        for name in "log", "receipt":
            self.assertEqual((folder / name).read_text().count("converted"), 2, name)

    def goes_elsewhere(self, folder, shim):
        """Between two connections, and before."""
        code = (f"import os, socket\nfor folder in '/', '{L.TMP}':\n"
                f"    os.chdir(folder)\n    s = socket.create_connection(('{L.SERVER}', 80))\n"
                "    s.sendall(b'GET /who HTTP/1.0\\r\\n\\r\\n')\n    print(s.recv(999).split()[-1].decode())")
        r = self.lab.run(["/usr/bin/python3", "-c", code], cwd=folder, shim=shim)
        self.assertEqual((r.out.decode().split(), r.err), ([L.ROUTER] * 2, ""), r)

    def test_a_relative_configuration_too(self):
        """Case 3.8. Of each process, from where it has begun."""
        conf = self.lab.config(log=False)["CONVERT_CONF"]
        folder, name = os.path.split(conf)
        for name in name, f"../{os.path.basename(folder)}/{name}":
            self.goes_elsewhere(folder, {"CONVERT_CONF": name})


class Targets(Log):
    CURL = ["curl", "-sS", WHO]

    def costs_nothing(self, log, **more):
        """Right, silent and soon."""
        r = self.lab.run(self.CURL, shim=self.config(log, policy=""), **more)
        self.assertEqual((r.code, r.err, r.out.decode().strip()), (0, "", L.ROUTER), r)
        self.assertLess(r.seconds, 10)

    def test_a_full_disk(self):
        self.costs_nothing("target = /dev/full\n")
        small = self.lab.file("small")
        small.mkdir()
        L.command(["mount", "-t", "tmpfs", "-o", "size=4k", "small", small])
        try:
            (small / "log").write_bytes(b"x" * 4095 + b"\n")
            self.costs_nothing(f"target = {small}/log\nlevel = debug\n")
        finally:
            L.command(["umount", small])

    def test_a_stuck_pipe(self):
        fifo = self.lab.file("fifo")
        os.mkfifo(fifo)
        self.costs_nothing(f"target = {fifo}\n")  # nobody reads
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        writer = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        try:
            while True:
                os.write(writer, bytes(4096))
        except BlockingIOError:
            self.costs_nothing(f"target = {fifo}\nlevel = debug\n")
        os.close(reader)
        os.close(writer)

    def test_standard_error_is_a_stuck_pipe(self):
        """The program itself writes nothing there."""
        conf = self.config("target = stderr\nlevel = debug\n")
        r = self.lab.run(["/usr/bin/python3", "-c", f"""
import fcntl, os, subprocess
r, w = os.pipe()
fcntl.fcntl(w, fcntl.F_SETFL, os.O_NONBLOCK)
try:
    while True:
        os.write(w, bytes(4096))
except BlockingIOError:
    fcntl.fcntl(w, fcntl.F_SETFL, 0)
print(subprocess.run({self.CURL}, stderr=w, env=os.environ | {conf} | {{"LD_PRELOAD": "{L.SHIM}"}},
                     capture_output=False, stdout=subprocess.PIPE, timeout=15).stdout)
"""])
        self.assertEqual((r.code, r.out.decode().strip()), (0, f"{(L.ROUTER + chr(10)).encode()}"), r)

    def syslog(self, *words, conf, missing=False, queue=None):
        """What arrives at a /dev/log of its own."""
        path = self.lab.file("dev-log")
        receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        receiver.bind(str(path))
        os.chmod(path, 0o666)
        try:
            dev = self.lab.file("dev")
            dev.mkdir()
            (dev / "null").touch()
            if not missing:
                (dev / "log").symlink_to(path)
            r = self.lab.run(["unshare", "-m", "sh", "-c",
                              f"mount --bind /dev/null {dev}/null && mount --rbind {dev} /dev && "
                              'exec "$@"', "sh", "env",
                              f"LD_PRELOAD={L.SHIM}", *(f"{k}={v}" for k, v in conf.items()), *words])
            receiver.setblocking(False)
            got = []
            try:
                while True:
                    got.append(receiver.recv(10000).decode())
            except BlockingIOError:
                return r, got
        finally:
            receiver.close()

    def test_syslog(self):
        for fmt in "text", "json":
            with self.subTest(fmt):
                r, got = self.syslog(*self.CURL, conf=self.config("target = syslog\n") | {"CONVERT_LOG_FORMAT": fmt})
                self.assertEqual((r.code, r.err), (0, ""), r)
                (line,) = got
                head, text = re.match(r"(<\d+>curl\[\d+\]: )(.*)\Z", line).groups()
                self.assertTrue(head.startswith("<14>"), line)
                if fmt == "json":
                    self.assertEqual(L.validated("log", text)["event"], "converted")
                else:
                    self.assertRegex(text, f"^converted {L.SERVER}:80 via ")

    def test_syslog_by_a_variable(self):
        """CASES 3.12: no file of that name in the current directory."""
        folder = self.lab.file("folder")
        folder.mkdir()
        r, got = self.syslog("env", "-C", folder, *self.CURL, conf=self.lab.via() | {"CONVERT_LOG": "syslog"})
        self.assertEqual((r.code, r.err, len(got)), (0, "", 1), r)
        self.assertEqual(list(folder.iterdir()), [])

    def test_no_syslog(self):
        r, got = self.syslog(*self.CURL, conf=self.config("target = syslog\nlevel = debug\n"), missing=True)
        self.assertEqual((r.code, r.err, r.out.decode().strip(), got), (0, "", L.ROUTER, []), r)

    def test_syslog_does_not_read(self):
        """Its queue is full: lines are dropped, and nobody waits."""
        many = ["curl", "-sS", "-o", "/dev/null", *[WHO] * 40, "-H", "Connection: close"]
        r, got = self.syslog(*many, conf=self.config("target = syslog\nlevel = debug\n"))
        self.assertEqual((r.code, r.err), (0, ""), r)
        self.assertIn(len(got), range(1, 160))
        self.assertLess(r.seconds, 15)


class Storm(Log):
    def test_every_line_of_a_storm(self):
        """Processes and threads, all at once, and every outcome."""
        log = self.lab.file("log")
        conf = self.config(f"target = {log}\nlevel = debug\n",
                           policy=f"fallback = direct\nrule = direct port 443")
        storm = self.lab.file("storm.py", f"""
import os, random, socket, sys, threading
def some(seed):
    r = random.Random(seed)
    for _ in range(30):
        s = socket.socket(socket.AF_INET)
        s.setblocking(r.random() < 0.7)
        s.connect_ex(("{L.SERVER}", r.choice((80, 80, 81, 443))))
        s.close()
for n in range(6):
    if os.fork() == 0:
        threads = [threading.Thread(target=some, args=(10 * n + i,)) for i in range(4)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        os._exit(0)
for n in range(6):
    os.wait()
""")
        receipt = self.lab.file("receipt.json")
        r = self.lab.run([RUN, f"--receipt={receipt}", "-c", conf["CONVERT_CONF"], "/usr/bin/python3", storm],
                         timeout=60)
        self.assertEqual((r.code, r.err), (0, ""), r)
        lines = self.lines(log.read_text())
        outcomes = ("converted", "failed", "fallback", "direct", "given-up")
        ends = [line for line in lines if line["event"] in outcomes]
        self.assertEqual(len(ends), 720)
        said = json.loads(receipt.read_text())
        self.assertEqual(said["sum"]["connections"], 720)
        self.assertEqual(said["processes"], 6)
        for event, key in ("converted", "converted"), ("failed", "failed"), ("given-up", "given_up"):
            self.assertEqual(said["sum"][key], sum(line["event"] == event for line in ends))
        self.assertGreater(len({line["event"] for line in lines}), 6)


if __name__ == "__main__":
    L.main(setup)

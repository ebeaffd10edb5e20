#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""convert-bootstrap run: what it finds out about converters, and that programs then know it."""
import itertools
import json
import os
import pathlib
import re
import signal
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import captures
import lab as L
import servers

WORDS = {"rfc8803": "2263", "draft-02": "0000", "hybrid": "0000"}


def setup(lab):
    servers.nginx(lab)


class Bootstrap(L.TestCase):
    def setUp(self):
        self.state = str(self.lab.file("state"))
        self.v4, self.v6 = self.lab.fresh_addresses()

    def config(self, converter="", policy="", address=None):
        return self.lab.config(converter, policy, address=address or self.v4) | {
            "CONVERT_STATE": self.state}

    def helper(self, *words, config, code=0, timeout=30):
        r = self.lab.run([L.BUILD / "convert-bootstrap", *words], env=config, timeout=timeout)
        self.assertEqual(r.code, code, r)
        return r

    def status(self, config):
        return json.loads(self.helper("status", "--json", config=config).out)["converters"]

    def curl(self, config, server=L.SERVER, seen=L.ROUTER):
        r = self.lab.run(["curl", "-sS", f"http://{server}/who"], shim=config)
        self.assertEqual((r.code, r.out.decode().strip()), (0, seen), r)
        return r

    def message(self, connection):
        """The Convert message that the client sent, wherever it was."""
        return next(p.data for p in connection if p.data and p.src == connection[0].src)


class Run(Bootstrap):
    def test_before_the_first_program(self):
        """The kernel holds the cookie of each address, and the first SYN has the Connect TLV."""
        self.lab.converter("--mptcp", "--fastopen", "cookie", listen=["0.0.0.0", "[::]"])
        config = self.config(address=[self.v4, self.v6])
        r = self.helper("run", config=config)
        lines = r.out.decode().splitlines()
        self.assertEqual(len(lines), 2, r)
        for line, address in zip(lines, (f"{self.v4}:{L.PORT}", f"[{self.v6}]:{L.PORT}")):
            self.assertRegex(line, rf"^lab {re.escape(address)} by c0: rfc8803, [0-9.]+ ms, "
                                   r"0-RTT, MPTCP$")
        for address, server, seen in ((self.v4, L.SERVER, L.ROUTER),
                                      (self.v6, f"[{L.SERVER6}]", L.ROUTER6)):
            metrics = L.command(L.inside("client", ["ip", "tcp_metrics", "show", address]))
            self.assertRegex(metrics, "fo_cookie [0-9a-f]{16}")
            capture = captures.Capture(self.lab)
            self.curl(config, server, seen)
            (connection,) = captures.connections(capture.packets())
            syn = connection[0]
            self.assertEqual((syn.dst, len(syn.option(captures.FAST_OPEN))), (address, 8))
            self.assertIsNotNone(syn.option(captures.MPTCP))
            self.assertEqual((syn.data[2:4].hex(), syn.data[4]), ("2263", 10))  # a Connect TLV
            self.assertIn("MPTCP", self.helper("status", config=config).out.decode())

    def test_what_does_not_work(self):
        config = self.config(address=[self.v4, self.v6])
        r = self.helper("run", config=config, code=1)
        self.assertEqual(r.out.decode().count("FAILS: no connection: Connection refused"), 2, r)
        (first, second) = self.status(config)
        self.assertEqual((first["failures"], second["failures"]), (1, 1))
        for fault, text in (("raw=48545450", "no Convert message"), ("error=64", "Resource"),
                            ("error=32", "Not Authorized")):
            with self.subTest(fault):
                self.setUp()
                self.lab.converter("--fault", fault, "--fastopen", "cookie", listen=[self.v4])
                config = self.config(policy="timeout = 300ms")
                r = self.helper("run", config=config, code=1)
                self.assertRegex(r.out.decode(), f"FAILS: .*{text}")
                self.assertEqual(len(r.out.decode().splitlines()), 1)
                # only one that asks for patience says it of Connects too
                self.assertEqual(sum(c["failures"] for c in self.status(config)),
                                 fault == "error=64")

    def test_no_reply_to_info(self):
        """Which is no failure, as long as no Connect has failed, and Info was not served before."""
        for fault, text in (("silence", "Connection timed out"), ("close", "closes"),
                            ("rst", "closes"), ("cut=3", "closes")):
            with self.subTest(fault):
                self.setUp()
                listen = {"listen": [self.v4]}
                converter = self.lab.converter("--fault", fault, "--fastopen", "cookie", **listen)
                config = self.config(policy="timeout = 300ms\nfallback = direct\nretry = 60s")
                r = self.helper("run", config=config)
                self.assertRegex(r.out.decode(), f"NOT KNOWN: .*no reply to Info: .*{text}")
                self.assertEqual(self.status(config), [])
                self.curl(config, seen=L.CLIENT)
                self.assertEqual(self.status(config)[0]["failures"], 1)
                r = self.helper("run", config=config, code=1)
                self.assertRegex(r.out.decode(), f"FAILS: .*no reply to Info: .*{text}")
                self.assertEqual(self.status(config)[0]["failures"], 1)
                converter.stop()
                converter = self.lab.converter("--fastopen", "cookie", **listen)
                self.assertIn("0-RTT", self.helper("run", config=config).out.decode())
                converter.stop()
                self.lab.converter("--fault", fault, "--fastopen", "cookie", **listen)
                self.assertIn("FAILS", self.helper("run", config=config, code=1).out.decode())
                self.assertEqual(self.status(config)[0]["failures"], 0)

    def test_where_it_is_not_at_home(self):
        self.lab.converter("--fastopen", "cookie", listen=[self.v4])
        config = self.config("from = 10.99.0.0/16")
        r = self.helper("run", config=config)
        self.assertIn("not used in this network", r.out.decode())
        self.assertEqual(self.status(config), [])
        config = self.config("interface = c0")
        self.assertIn("0-RTT", self.helper("run", config=config).out.decode())

    def test_no_route(self):
        """That of one family alone is no failure."""
        self.lab.converter("--fastopen", "cookie", listen=[self.v4])
        config = self.config(address=[self.v4, "2001:db8::1"])
        L.command(["ip", "-n", "client", "-6", "route", "add", "unreachable", "2001:db8::/32"])
        try:
            r = self.helper("run", config=config)
            self.assertEqual(r.out.decode().count("no route"), 1, r)
            self.helper("run", config=self.config(address="2001:db8::1"), code=1)
        finally:
            L.command(["ip", "-n", "client", "-6", "route", "del", "2001:db8::/32"])

    def test_usage(self):
        config = self.config()
        for words in (["x"], ["-x"], ["-c"], ["-c", ""], ["--watch", "x"]):
            self.assertIn("Usage", self.helper("run", *words, config=config, code=2).err)
        self.assertIn("no converter", self.helper("run", config={"CONVERT_CONF": str(
            self.lab.file("empty.conf", ""))}, code=1).err)
        r = self.helper("run", "-c", str(self.lab.file("bad.conf", "[x]\n")), config={}, code=1)
        self.assertRegex(r.err, r"bad\.conf:1: ")

    def test_switched_off(self):
        """That is what is said, and not that there is no converter. A file alone is asked all the same."""
        self.lab.converter("--fastopen", "cookie", listen=[self.v4])
        config = self.config("[incoming]\nrule = accept port 8080")
        etc = self.lab.file("etc")
        L.command(["cp", "-a", "/etc", etc])
        (etc / "convert.disable").touch()
        there = ["unshare", "--mount", "sh", "-c", f'mount --bind {etc} /etc && exec "$@"', "sh"]
        for before, env, why in (([], {"CONVERT_DISABLE": "1"}, "CONVERT_DISABLE is set"),
                                 (there, {}, "/etc/convert.disable is there")):
            for words, what in ((["run"], "no converter is asked (-c FILE asks those of a file)"),
                                (["run", "--watch"], "no converter is asked (-c FILE asks those of a file)"),
                                (["map"], "no port is mapped (-c FILE maps those of a file)"),
                                (["map", "8080"], "no port is mapped (-c FILE maps those of a file)"),
                                (["status"], "no state is used (-c FILE shows that of a file)")):
                r = self.lab.run([*before, L.BUILD / "convert-bootstrap", *words], env=config | env)
                self.assertEqual((r.code, r.out, r.err), (1, b"", f"switched off, {why}: {what}\n"))
            r = self.lab.run([*before, L.BUILD / "convert-bootstrap", "check", "--config"], env=config | env)
            self.assertIn(f"file         not read: {why}\n", r.out.decode())
        self.helper("run", "-c", config["CONVERT_CONF"], config=config | {"CONVERT_DISABLE": "1"})

    def test_a_state_file_that_cannot_be_written(self):
        self.lab.converter("--fastopen", "cookie", listen=[self.v4])
        config = self.config()
        other = self.lab.file("other", "not a state file\n")
        r = self.helper("run", config=config | {"CONVERT_STATE": str(other)}, code=1)
        self.assertIn("0-RTT", r.out.decode())
        self.assertIn(f"{other}: cannot be written: no state file of this version\n", r.err)
        r = self.helper("run", config=config | {"CONVERT_STATE": "/nowhere/below/state"}, code=1)
        self.assertIn("/nowhere/below/state: cannot be written: No such file or directory\n", r.err)
        folder = self.lab.file("folder")
        folder.mkdir()
        r = self.helper("run", config=config | {"CONVERT_STATE": str(folder)}, code=1)
        self.assertIn(f"{folder}: cannot be written: Is a directory\n", r.err)
        r = self.helper("run", config=config | {"CONVERT_STATE": "none"})
        self.assertEqual(r.err, "")
        r = self.helper("run", "-w", config=config | {"CONVERT_STATE": "/proc/x/state"}, code=1)
        self.assertIn("/proc/x/state.watch: No such file", r.err)

    def test_under_the_shim(self):
        """Where every process has it."""
        self.lab.converter("--mptcp", "--fastopen", "cookie", listen=[self.v4])
        r = self.lab.run([L.BUILD / "convert-bootstrap", "run"], shim=self.config())
        self.assertEqual(r.code, 0, r)
        self.assertIn("rfc8803", r.out.decode())
        self.assertIn("0-RTT, MPTCP", r.out.decode())

    def test_details(self):
        self.lab.converter("--fastopen", "cookie", "--dialect", "draft-02", listen=[self.v4])
        out = self.helper("run", "-v", config=self.config()).out.decode()
        for words in ("dialect       draft-02", "offers        30, 34", "cookie        none",
                      "the kernel holds a cookie", "acknowledged by the SYN+ACK",
                      "2, 1 of them for the dialect"):
            self.assertIn(words, out)


class Dialects(Bootstrap):
    KINDS = {"rfc8803": ["--dialect", "rfc8803"],
             "hybrid": ["--dialect", "hybrid"],
             "draft-02": ["--dialect", "draft-02"],
             "draft-02 as 22": ["--dialect", "draft-02", "--supported-type", "22"]}

    def find(self, kind, *options):
        """Returns the probes on the wire, and then the connection of the first program."""
        dialect = kind.split()[0]
        self.lab.converter("--mptcp", *self.KINDS[kind], *options, listen=[self.v4])
        config = self.config()
        capture = captures.Capture(self.lab)
        self.helper("run", config=config)
        self.curl(config)
        *probes, connection = captures.connections(capture.packets())
        (known,) = self.status(config)
        self.assertEqual((known["dialect"], known["offers"]), (dialect, [30, 34]))
        self.assertEqual(self.message(connection)[2:4].hex(), WORDS[dialect])
        return probes, connection

    def test_each(self):
        """Two probes at most, and the first program speaks it, with its cookie, in its SYN."""
        n = 0
        for kind, strict, tfo, cookie in itertools.product(
                self.KINDS, (True, False), ("cookie", "no-cookie", "off"), (False, True)):
            if cookie and kind.startswith("draft"):
                continue  # there are none
            with self.subTest(f"{kind} strict {strict} {tfo} cookie {cookie}"):
                self.setUp()
                options = ["--fastopen", tfo] + ["--lenient"] * (not strict)
                probes, connection = self.find(
                    kind, *options, *["--cookie-required"] * cookie)
                # one more where the first shows the dialect and the second brings the cookie
                self.assertLessEqual(len(probes), 2 + (cookie and strict and kind == "hybrid"))
                syn = connection[0]
                self.assertEqual(bool(syn.data), tfo != "off")
                message = self.message(connection)
                self.assertEqual(message[4], 10)
                at = 4 + 4 * message[5]
                self.assertEqual(message[at:at + 1], b"\x16" if cookie else b"")
                n += 1
        self.note(f"{n} kinds of converters")

    def test_quiet_ones(self):
        """To the wrong header word they say nothing, or reset."""
        for kind, answer in itertools.product(self.KINDS, ("reset", "silence")):
            if kind == "hybrid":
                continue  # it looks like draft-02 then, and gets the same bytes
            with self.subTest(f"{kind} {answer}"):
                self.setUp()
                self.lab.converter(*self.KINDS[kind], "--wrong-word", answer,
                                   "--fastopen", "cookie", listen=[self.v4])
                config = self.config(policy="timeout = 500ms")
                self.helper("run", config=config)
                self.assertEqual(self.status(config)[0]["dialect"], kind.split()[0])
                self.curl(config)

    def test_from_one_to_another(self):
        """Noticed by the helper, whatever was before; and by programs, if it says so."""
        config = self.config(policy="fallback = direct\ntimeout = 500ms")
        before = None
        for kind in ("rfc8803", "draft-02", "hybrid", "draft-02 as 22", "rfc8803", "hybrid",
                     "rfc8803"):
            with self.subTest(f"{before} to {kind}"):
                converter = self.lab.converter(*self.KINDS[kind], "--fastopen", "cookie",
                                               listen=[self.v4])
                if before:  # a program that comes first goes direct, or is understood
                    self.lab.run(["curl", "-sS", f"http://{L.SERVER}/who"], shim=config)
                self.helper("run", config=config)
                (known,) = self.status(config)
                self.assertEqual((known["dialect"], known["failures"]), (kind.split()[0], 0))
                self.curl(config)
                self.assertEqual(converter.stop(), 0)
                before = kind

    def test_setting(self):
        self.lab.converter(*self.KINDS["hybrid"], "--fastopen", "cookie", listen=[self.v4])
        config = self.config("dialect = rfc8803")
        r = self.helper("run", config=config, code=1)
        self.assertIn("dialect hybrid", r.out.decode())
        self.assertEqual(self.status(config)[0]["dialect"], "unknown")
        self.helper("run", config=self.config("dialect = hybrid"))


class Programs(Bootstrap):
    """What programs make of it."""

    def curls(self, config, n):
        """The SYNs to the converter of so many programs."""
        capture = captures.Capture(self.lab)
        for _ in range(n):
            self.curl(config)
        return [c[0] for c in captures.connections(capture.packets())]

    def test_data_without_a_cookie(self):
        """No TFO option comes back, and data is taken without: then programs send it so. Not before
        that is known, and not any more when it is not so any more."""
        self.lab.converter("--mptcp", "--fastopen", "no-cookie", listen=[self.v4])
        config = self.config()
        for syn in self.curls(config, 2):
            self.assertEqual(syn.data, b"")
        self.assertIn("0-RTT without a cookie, MPTCP",
                      self.helper("run", config=config).out.decode())
        for syn in self.curls(config, 2):
            self.assertIsNone(syn.option(captures.FAST_OPEN))
            self.assertIsNotNone(syn.option(captures.MPTCP))
            self.assertEqual((syn.data[2:4].hex(), syn.data[4]), ("2263", 10))
        L.sysctl("converter", net__ipv4__tcp_fastopen=1)
        try:
            syns = self.curls(config, 4)
        finally:
            L.sysctl("converter", net__ipv4__tcp_fastopen=3)
        self.assertEqual([bool(syn.data) for syn in syns], [True, True, True, False])

    def test_refused_data_is_not_held_against_mptcp(self):
        self.lab.converter("--mptcp", "--fastopen", "cookie", listen=[self.v4])
        config = self.config()
        self.helper("run", config=config)
        L.sysctl("converter", net__ipv4__tcp_fastopen=1)
        try:
            syns = self.curls(config, 4)
            self.assertEqual([bool(syn.data) for syn in syns], [True, True, True, False])
            for syn in syns:
                self.assertIsNotNone(syn.option(captures.MPTCP))
            r = self.curl(config)
            self.assertIn("connected, MPTCP", r.log)
            (known,) = self.status(config)
            self.assertEqual((known["syn_data"], known["mptcp"]), ("lost on the path", "works"))
            # and the helper finds the same
            self.helper("run", config=config)
            (known,) = self.status(config)
            self.assertEqual((known["syn_data"], known["mptcp"]), ("lost on the path", "works"))
        finally:
            L.sysctl("converter", net__ipv4__tcp_fastopen=3)
        # until it takes it again
        self.assertIn("0-RTT, MPTCP", self.helper("run", config=config).out.decode())
        (syn,) = self.curls(config, 1)
        self.assertTrue(syn.data)


class Secrets(Bootstrap):
    def test_nowhere(self):
        """Neither Fast Open cookies nor Convert cookies, learned or configured."""
        given = "SECRETcookie"
        file = self.lab.file("given", given)
        os.chmod(file, 0o600)
        self.lab.converter("--cookie-required", "--fastopen", "cookie", listen=[self.v4])
        self.lab.converter("--cookie", given, "--fastopen", "cookie", listen=[f"[{self.v6}]"])
        capture = captures.Capture(self.lab)
        written = b""
        for address, converter in ((self.v4, ""), (f"{self.v6}", f"cookie = @{file}")):
            config = self.config(converter, address=address) | {"CONVERT_LOG": "stderr"}
            strace = self.lab.file("exec.strace")
            r = self.helper("run", "-v", config=config)
            written += r.out + r.err.encode()
            r = self.lab.run(["strace", "-f", "-o", strace, "-e", "trace=execve", "-s", "9999",
                              L.BUILD / "convert-bootstrap", "run"], env=config)
            written += r.out + r.err.encode() + strace.read_bytes()
            r = self.curl(config)
            written += r.err.encode() + r.log.encode()
            for words in (["status"], ["status", "--json"], ["check"], ["check", "--json"]):
                r = self.lab.run([L.BUILD / "convert-bootstrap", *words], env=config)
                self.assertIn(r.code, (0, 1), r)  # what check finds here is not the matter
                written += r.out + r.err.encode()
            process = self.lab.start("client", [L.BUILD / "convert-bootstrap", "run", "-v", "-w"],
                                     env=config)
            process.wait_for("a line", lambda: "0-RTT" in process.text())
            for name in "cmdline", "comm", "status":
                written += open(f"/proc/{process.pid}/{name}", "rb").read()
            process.stop()
            written += process.out.read_bytes()
        # Info with the cookie that was learned: a header, a Cookie TLV of three words, Info
        learned = next(p.data[8:16] for p in capture.packets() if p.dst == self.v4 and
                       p.data[:6] == bytes.fromhex("010522631603"))
        metrics = L.command(L.inside("client", ["ip", "tcp_metrics"]))
        secrets = [given.encode(), learned] + [
            bytes.fromhex(c) for c in re.findall("fo_cookie ([0-9a-f]+)", metrics)]
        self.assertGreaterEqual(len(secrets), 4)
        for secret in secrets:
            self.assertGreaterEqual(len(secret), 8)
            self.assertNotIn(secret, written)
            self.assertNotIn(secret.hex().encode(), written.lower())
        for file in (self.state, self.state + ".watch"):
            self.assertEqual(os.stat(file).st_mode & 0o777, 0o600)


class Watch(Bootstrap):
    def watch(self, config, *words):
        return self.lab.start("client", [L.BUILD / "convert-bootstrap", "run", "--watch", *words],
                              env=config)

    def lines(self, process, n):
        process.wait_for(f"{n} lines", lambda: process.text().count("\n") >= n)
        return process.text().splitlines()

    def switches(self, process):
        """How often it has been woken up."""
        text = open(f"/proc/{process.pid}/status").read()
        return sum(int(n) for n in re.findall("ctxt_switches:\t(\\d+)", text))

    def test_a_new_address(self):
        """It is used as soon as it is where it may be used; and not asked again for nothing."""
        converter = self.lab.converter("--fastopen", "cookie", "--allow", "10.44.0.0/24",
                                       listen=[self.v4])
        process = self.watch(self.config("from = 10.44.0.0/24"))
        (line,) = self.lines(process, 1)
        self.assertIn("not used in this network", line)
        L.command(["ip", "-n", "converter", "route", "add", "10.44.0.0/24", "dev", "k0"])
        L.command(["ip", "-n", "client", "addr", "add", "10.44.0.1/24", "dev", "c0"])
        L.command(["ip", "-n", "client", "route", "add", self.v4, "dev", "c0", "src",
                   "10.44.0.1"])
        try:
            self.assertIn("0-RTT", self.lines(process, 2)[1])
            asked = len(converter.events("accept"))
            # changes that are none for a converter
            for verb in "add", "del":
                L.command(["ip", "-n", "client", "addr", verb, "10.45.0.1/24", "dev", "c0"])
                L.command(["ip", "-n", "client", "route", verb, "10.46.0.0/24", "dev", "lo"])
            L.command(["ip", "-n", "client", "route", "del", self.v4])
            self.assertIn("not used", self.lines(process, 3)[2])
            self.assertEqual(len(converter.events("accept")), asked)
        finally:
            L.command(["ip", "-n", "client", "addr", "del", "10.44.0.1/24", "dev", "c0"])
            L.command(["ip", "-n", "converter", "route", "del", "10.44.0.0/24"])
        self.assertEqual(process.stop(), 0)

    def test_a_new_route(self):
        self.lab.converter("--fastopen", "cookie", listen=[self.v4])
        L.command(["ip", "-n", "client", "route", "add", "unreachable", self.v4])
        process = self.watch(self.config())
        self.assertIn("no route", self.lines(process, 1)[0])
        L.command(["ip", "-n", "client", "route", "del", "unreachable", self.v4])
        self.assertIn("0-RTT", self.lines(process, 2)[1])

    def test_a_converter_that_comes_back(self):
        config = self.config(policy="retry = 2s")
        process = self.watch(config)
        self.assertIn("FAILS", self.lines(process, 1)[0])
        self.lab.converter("--fastopen", "cookie", listen=[self.v4])
        self.assertIn("0-RTT", self.lines(process, 2)[1])
        self.assertEqual(self.status(config)[0]["failures"], 0)
        self.curl(config)

    def look(self):
        """Any change makes it look whether all is as it was; else it does so twice a minute."""
        for verb in "add", "del":
            L.command(["ip", "-n", "client", "addr", verb, "10.45.0.1/24", "dev", "lo"])

    def test_what_was_forgotten(self):
        self.lab.converter("--fastopen", "cookie", listen=[self.v4])
        config = self.config()
        process = self.watch(config)
        self.lines(process, 1)
        self.helper("flush", config=config)
        self.look()
        self.lines(process, 2)
        L.wait_for("the file", lambda: self.status(config))

    def test_what_programs_find(self):
        """A converter of another dialect that says nothing to them: they cannot find out."""
        config = self.config(policy="fallback = direct\ntimeout = 500ms\nretry = 1s")
        converter = self.lab.converter("--fastopen", "cookie", listen=[self.v4])
        process = self.watch(config)
        self.assertIn("rfc8803", self.lines(process, 1)[0])
        self.curl(config)
        self.assertEqual(converter.stop(), 0)
        self.lab.converter("--dialect", "draft-02", "--wrong-word", "silence",
                           "--fastopen", "cookie", listen=[self.v4])
        self.curl(config, seen=L.CLIENT)
        self.look()
        self.assertIn("draft-02", self.lines(process, 2)[1])
        self.curl(config)

    def test_patience_that_is_asked_for(self):
        """It is not asked again for that, and what it says to Info meanwhile does not end it."""
        config = self.config(policy="fallback = direct")
        listening = {"listen": [self.v4]}
        converter = self.lab.converter("--fastopen", "cookie", **listening)
        process = self.watch(config)
        self.lines(process, 1)
        converter.stop()
        converter = self.lab.converter("--fault", "error=64:c8", "--fastopen", "cookie", **listening)
        self.curl(config, seen=L.CLIENT)
        converter.stop()
        converter = self.lab.converter("--fastopen", "cookie", **listening)
        before = self.switches(process)
        self.look()
        L.wait_for("a look", lambda: self.switches(process) > before)
        self.assertIn("0-RTT", self.helper("run", config=config).out.decode())
        self.assertGreater(self.status(config)[0]["left_alone_s"], 100)
        self.curl(config, seen=L.CLIENT)
        self.assertEqual(process.stop(), 0)
        self.assertEqual(process.text().count("\n"), 1, process.text())

    def test_info_that_is_not_served(self):
        """Said once, and asked again when Connects fail, too."""
        silent = ("--wrong-word", "silence", "--fastopen", "cookie")
        config = self.config(policy="fallback = direct\ntimeout = 500ms\nretry = 60s")
        converter = self.lab.converter("--no-info", "silent", *silent, listen=[self.v4])
        process = self.watch(config)
        self.assertIn("NOT KNOWN", self.lines(process, 1)[0])
        self.curl(config)
        self.look()
        self.curl(config)
        asked = [e["why"] for e in converter.events("ignored")]
        self.assertEqual(converter.stop(), 0)
        self.lab.converter("--fault", "silence", *silent, listen=[self.v4])
        self.curl(config, seen=L.CLIENT)
        self.look()
        self.assertIn("FAILS", self.lines(process, 2)[1])
        self.assertEqual(asked.count("Info is not served"), 1)

    def test_it_sleeps(self):
        """Nothing happens, so nothing is done; and a signal ends it at once, cleanly."""
        self.lab.converter("--fastopen", "cookie", listen=[self.v4])
        # whoever has started the tests may ignore them, and so would it
        for number in signal.SIGINT, signal.SIGHUP:
            self.addCleanup(signal.signal, number, signal.signal(number, signal.SIG_DFL))
        for number in signal.SIGTERM, signal.SIGINT, signal.SIGHUP:
            process = self.watch(self.config())
            self.lines(process, 1)
            L.wait_for("sleep", lambda: "poll" in open(f"/proc/{process.pid}/wchan").read() or
                       open(f"/proc/{process.pid}/stat").read().split()[2] == "S")
            before = self.switches(process)
            L.time.sleep(1.5)
            self.assertLessEqual(self.switches(process) - before, 1)
            started = L.time.monotonic()
            self.assertEqual(process.stop(number), 0, process.text())
            self.assertLess(L.time.monotonic() - started, 4)  # then stop() would have killed it
            self.assertEqual(process.text().count("\n"), 1)

    def test_a_signal_while_it_asks(self):
        self.lab.converter("--fault", "silence", "--fastopen", "cookie", listen=[self.v4])
        process = self.watch(self.config(policy="timeout = 30s"))
        L.wait_for("a connection", lambda: self.v4 in L.command(
            L.inside("client", ["ss", "-Htn", "state", "established"])))
        started = L.time.monotonic()
        self.assertEqual(process.stop(), 0)
        self.assertLess(L.time.monotonic() - started, 4)  # not 30
        self.assertEqual(process.text(), "")

    def test_one_for_each_state_file(self):
        self.lab.converter("--fastopen", "cookie", listen=[self.v4])
        config = self.config()
        first = self.watch(config)
        self.lines(first, 1)
        self.assertIn("another", self.helper("run", "--watch", config=config, code=1).err)
        self.helper("run", config=config)
        first.stop()
        second = self.watch(config)
        self.lines(second, 1)
        other = self.watch(config | {"CONVERT_STATE": str(self.lab.file("other-state"))})
        self.lines(other, 1)


class Started(Bootstrap):
    """By systemd, or by a script."""

    def test_units(self):
        self.need("systemd-analyze")
        directory = self.lab.file("units")
        directory.mkdir()
        (directory / "my tools").symlink_to(L.BUILD)
        units = []
        for unit in sorted(L.BUILD.glob("convert-bootstrap*.[st][ei][rm]*")):
            units.append(directory / unit.name)
            units[-1].write_text(re.sub('ExecStart=".*/', f'ExecStart="{directory}/my tools/', unit.read_text()))
        self.assertEqual(len(units), 3)
        for unit in units:  # who is not to run where all is switched off is not started again and again
            if unit.suffix == ".service":
                self.assertIn("\nConditionPathExists=!/etc/convert.disable\n", unit.read_text())
        r = self.lab.run(["systemd-analyze", "verify", "--man=no", *units])
        self.assertEqual((r.code, r.out, r.err), (0, b"", ""), r)

    def script(self, more=""):
        """What it is about, its log and its number's file, and how it is called."""
        log, pid_file = self.lab.file("script.log"), self.lab.file("script.pid")
        config = self.config(more) | {"PROGRAM": str(L.BUILD / "convert-bootstrap"),
                                      "LOG": str(log), "PID_FILE": str(pid_file)}

        def call(verb, code=0):
            r = self.lab.run([L.BUILD / "convert-bootstrap.init", verb], env=config)
            self.assertEqual(r.code, code, r)
            return pid_file.exists() and pid_file.read_text().strip()

        return config, log, pid_file, call

    def test_script_where_no_pcp_server_answers(self):
        """It is asked for some seconds whether the mapping has ended, and is then started anew."""
        converter = self.lab.converter("--fastopen", "cookie", "--pcp", "--pcp-external", L.ROUTER, "--pcp-drop", 100,
                                       listen=[self.v4])
        *_, script = self.script("[incoming]\nrule = accept port 8080")
        pid = script("start")
        self.addCleanup(script, "stop")
        converter.events("pcp", 1)
        again = script("restart")
        self.assertNotEqual(again, pid)
        self.assertEqual(script("status"), again)

    def test_script(self):
        self.lab.converter("--fastopen", "cookie", listen=[self.v4])
        config, log, pid_file, script = self.script()
        script("status", 3)
        pid = script("start")
        L.wait_for("a line", lambda: "0-RTT" in log.read_text())
        self.assertEqual(script("start"), pid)
        self.assertEqual(script("status"), pid)
        again = script("restart")
        self.assertNotEqual(again, pid)
        self.assertEqual(script("status"), again)
        script("stop")
        script("stop")
        script("status", 3)
        pid_file.write_text(f"{os.getpid()}\n")  # somebody else's number
        script("stop")
        script("bad", 2)
        pathlib.Path(config["CONVERT_CONF"]).write_text("[x]\n")
        script("start", 1)
        self.assertIn("convert.conf:1: ", log.read_text())


if __name__ == "__main__":
    L.main(setup)

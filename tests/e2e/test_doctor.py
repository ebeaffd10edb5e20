#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""convert-bootstrap check: what is wrong is named, and what it says mends it does mend it."""
import os
import re

import captures
import lab as L
import middlebox
import schemas
import servers

TOOL = L.BUILD / "convert-bootstrap"
SECRET = "SECRETcookie"
WIDTH = 80
MEND = " " * 15  # what stands behind it is to be copied, and not broken


def setup(lab):
    servers.nginx(lab)
    lab.standard = lab.converter("--mptcp", "--fastopen", "cookie", listen=["0.0.0.0", "[::]"])


class Doctor(L.TestCase):
    def setUp(self):
        self.state = str(self.lab.file("state"))
        self.v4, self.v6 = self.lab.fresh_addresses()

    def shim(self, converter="", policy="", **more):
        """A converter bound to its network, so that nothing is left to say of that."""
        return self.lab.config("interface = c0\n" + converter, policy,
                               **{"address": self.v4} | more) | {"CONVERT_STATE": self.state}

    def run_check(self, shim, *words, code=None, as_user=()):
        r = self.lab.run([*as_user, TOOL, "check", *words], env=shim, timeout=60)
        self.assertEqual(r.err, "", r)
        if code is not None:
            self.assertEqual(r.code, code, r)
        return r

    def check(self, shim, *words, **more):
        """{id: finding} of those that are not well; self.all has all of them."""
        r = self.run_check(shim, "--json", *words, **more)
        value = schemas.validated("check", r.out)
        self.all = {f["id"]: f for f in value["findings"]}
        bad = {f["id"]: f for f in value["findings"] if f["verdict"] != "ok"}
        problems = sum(f["verdict"] == "problem" for f in value["findings"])
        self.assertEqual((value["problems"], r.code), (problems, 1 if problems else 0), r)
        return bad

    def text(self, shim, *words, **more):
        out = self.run_check(shim, *words, **more).out.decode()
        for line in out.splitlines():
            self.assertTrue(len(line) <= WIDTH or line.startswith(MEND), line)
            self.assertEqual(line, line.rstrip())
        return out


class Well(Doctor):
    def test_nothing_to_say(self):
        for address in self.v4, self.v6:
            with self.subTest(address):
                shim = self.shim(address=address)
                self.assertEqual(self.check(shim, code=0), {})
                self.assertEqual(self.all["dialect"]["values"]["dialect"], "rfc8803")
                self.assertEqual(self.all["0-rtt"]["values"]["bare"], False)
                self.assertIn("30 (MPTCP), 34 (Fast Open)", self.all["extensions"]["what"])
                out = self.text(shim, code=0)
                self.assertTrue(out.endswith("\n0 problems, 0 notes\n"), out)
                self.assertIn(f"\nconverter lab, {address if '.' in address else f'[{address}]'}"
                              f":{L.PORT}\n", out)

    def test_nothing_is_written(self):
        self.check(self.shim(), code=0)
        self.assertFalse(os.path.exists(self.state))

    def test_the_wire(self):
        """It asks the converter and nobody else, and by Info alone."""
        capture = captures.Capture(self.lab)
        self.check(self.shim(), code=0)
        sent = [p for p in capture.packets() if p.src == L.CLIENT]
        self.assertEqual({p.dst for p in sent}, {self.v4})
        messages = {p.data.hex() for p in sent if p.data}
        self.assertEqual(messages, {"01022263" "01010000"})

    def test_usage(self):
        for words in (["-x"], ["-c", ""], ["a", "b"], ["http://a/"], ["--config", "a"],
                      ["--config", "-j"], ["--library", ""], ["user@a"]):
            r = self.lab.run([TOOL, "check", *words])
            self.assertEqual((r.code, r.out), (2, b""), r)
            self.assertIn("Usage: convert-bootstrap check", r.err)

    def test_an_ordinary_user(self):
        if not L.owns_several_users():
            self.skipTest("one user only in this namespace")
        shim = self.shim() | {"CONVERT_STATE": "/nowhere/state"}
        user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
        bad = self.check(shim, as_user=user, code=1)
        self.assertEqual({"state", "log"} - set(bad), set(), bad)
        self.assertEqual(self.all["namespaces"]["values"]["uid"], 65534)
        self.assertEqual(self.all["0-rtt"]["verdict"], "ok")


class Middlebox(Doctor):
    """Each is called by its name, and the packets say the same."""

    def through(self, *rules, **more):
        """(findings, the SYNs that the client sent, those that the converter got)"""
        with self.lab.box.rules(*rules) as box:
            ends = [captures.Capture(self.lab),
                    captures.Capture(self.lab, "converter", "k0", marker_to=L.CLIENT)]
            bad = self.check(self.shim(**more))
            self.assertTrue(all(box.did(rule) for rule in rules))
            packets = [end.packets() for end in ends]
        self.answers = [p for p in packets[0] if p.is_syn_ack()]
        return (bad, *([p for p in found if p.is_syn()] for found in packets))

    def test_strips_the_option(self):
        for address in self.v4, self.v6:
            with self.subTest(address):
                bad, sent, got = self.through("strip-tfo", address=address)
                with self.lab.box.rules("strip-tfo"):
                    self.assertIn("(34)", self.text(self.shim(address=address), code=1))
                self.assertEqual(list(bad), ["tfo-stripped"])
                self.assertEqual(sent[0].option(captures.FAST_OPEN), b"")
                for kind in captures.FAST_OPEN, captures.EXPERIMENT:
                    self.assertEqual({p.option(kind) for p in got + self.answers}, {None})

    def test_strips_one_form_of_the_option(self):
        """Then the kernel uses the other one."""
        bad, sent, got = self.through("strip-tfo-34")
        self.assertEqual(bad, {})
        self.assertIn("(254)", self.all["0-rtt"]["what"])
        self.assertEqual(sent[0].option(captures.FAST_OPEN), b"")
        self.assertIsNone(got[0].option(captures.FAST_OPEN))
        with_data = [p for p in got if p.data and p.option(captures.EXPERIMENT)]
        self.assertIn(with_data[-1].seq + 1 + len(with_data[-1].data),
                      [a.ack for a in self.answers])

    def test_strips_the_data(self):
        for address in self.v4, self.v6:
            with self.subTest(address):
                bad, sent, got = self.through("strip-syn-data", address=address)
                self.assertEqual(list(bad), ["syn-data-stripped"])
                with_data = [p for p in sent if p.data]
                self.assertEqual(len(with_data), bad["syn-data-stripped"]["values"]["times"])
                self.assertTrue(all(len(p.option(captures.FAST_OPEN)) == 8 for p in with_data))
                self.assertEqual({len(p.data) for p in got}, {0})
                for p in with_data:
                    self.assertIn(p.seq + 1, [a.ack for a in self.answers])

    def test_drops_syns_with_data(self):
        bad, sent, got = self.through("drop-syn-data")
        self.assertEqual(list(bad), ["syn-data-dropped"])
        lost = [p for p in sent if p.data]
        self.assertEqual(len(lost), bad["syn-data-dropped"]["values"]["times"])
        for p in lost:  # and each was sent again without
            again = [q for q in sent if q.sport == p.sport and not q.data]
            self.assertEqual([q.seq for q in again], [p.seq])
        self.assertEqual({len(p.data) for p in got}, {0})

    def test_strips_mptcp(self):
        for address in self.v4, self.v6:
            with self.subTest(address):
                bad, sent, got = self.through("strip-mptcp", address=address)
                self.assertEqual(list(bad), ["mptcp-stripped"])
                self.assertTrue(all(p.option(captures.MPTCP) for p in sent))
                self.assertEqual({p.option(captures.MPTCP) for p in got}, {None})

    def test_drops_mptcp(self):
        """And the kernel has not been made to give up MPTCP for everybody."""
        bad, sent, got = self.through("drop-mptcp")
        self.assertEqual(list(bad), ["mptcp-dropped"])
        self.assertGreaterEqual(len([p for p in sent if p.option(captures.MPTCP)]), 2)
        self.assertTrue(got)
        self.assertEqual({p.option(captures.MPTCP) for p in got}, {None})
        self.assertEqual(self.check(self.shim()), {})

    def test_two_at_once(self):
        bad, _, _ = self.through("strip-tfo", "strip-mptcp")
        self.assertEqual(sorted(bad), ["mptcp-stripped", "tfo-stripped"])


class Converters(Doctor):
    def one(self, *options, **config):
        """A converter of its own on a port of its own."""
        with_port = self.lab.converter(*options, listen=["0.0.0.0"], port=6000)
        try:
            return self.check(self.shim(port=6000, **config))
        finally:
            with_port.stop()

    def test_nobody_there(self):
        bad = self.check(self.shim(port=6001), code=1)
        self.assertEqual(list(bad), ["reachable"])
        self.assertEqual(bad["reachable"]["values"]["error"], "ECONNREFUSED")
        bad = self.check(self.shim(address="10.9.9.9"), code=1)
        self.assertEqual(bad["reachable"]["values"]["error"], "ENETUNREACH")

    def test_silence(self):
        bad = self.one("--mptcp", "--fastopen", "cookie", "--fault", "silence")
        self.assertEqual(list(bad), ["reply"])

    def test_no_converter_at_all(self):
        bad = self.check(self.shim(address=L.SERVER, port=servers.HTTP), code=1)
        self.assertEqual(list(bad), ["reply"])

    def test_another_dialect(self):
        for speaks, says in (("draft-02", "rfc8803"), ("hybrid", "rfc8803"),
                             ("rfc8803", "draft-02")):
            with self.subTest(speaks):
                bad = self.one("--mptcp", "--fastopen", "cookie", "--dialect", speaks,
                               converter=f"dialect = {says}")
                self.assertEqual(bad["dialect"]["verdict"], "problem")
                self.assertEqual(bad["dialect"]["mend"], [f"dialect = {speaks}"])
                # and so it does
                self.assertNotIn("dialect", self.one("--mptcp", "--fastopen", "cookie", "--dialect",
                                                     speaks, converter=f"dialect = {speaks}"))

    def test_no_fast_open(self):
        self.assertEqual(list(self.one("--mptcp", "--fastopen", "off")), ["tfo-stripped"])
        bad = self.one("--mptcp", "--fastopen", "cookie", converter="fast-open = no-cookie")
        self.assertEqual(bad["syn-data-refused"]["mend"], ["fast-open = cookie"])
        self.assertEqual(self.one("--mptcp", "--fastopen", "no-cookie",
                                  converter="fast-open = no-cookie"), {})
        self.assertEqual(self.all["0-rtt"]["values"]["bare"], True)

    def test_no_mptcp(self):
        bad = self.one("--kinds", "34", "--fastopen", "cookie")
        self.assertEqual([(f["id"], f["verdict"]) for f in bad.values()],
                         [("converter-mptcp", "note")])
        self.assertEqual(self.one("--kinds", "34", "--fastopen", "cookie",
                                  policy=bad["converter-mptcp"]["mend"][0]), {})

    def test_cookies(self):
        options = ("--mptcp", "--fastopen", "cookie", "--cookie", SECRET, "--cookie-required")
        bad = self.one(*options, converter="cookie = another")
        self.assertEqual(bad["convert-cookie"]["mend"], ["cookie = @FILE"])
        self.assertEqual(self.one(*options, converter=f"cookie = {SECRET}"), {})
        self.assertEqual(self.one("--mptcp", "--fastopen", "cookie", "--cookie-required"), {})
        self.assertIs(self.all["convert-cookie"]["values"]["known"], True)

    def test_refusal(self):
        bad = self.one("--mptcp", "--fastopen", "cookie", "--fault", "error=64:07")
        self.assertEqual(bad["refuses"]["values"]["error_code"], 64)
        self.assertEqual(bad["refuses"]["mend"], ["sleep 7; convert-bootstrap check"])

    def test_under_the_library(self):
        """The probe's connections are not converted, whatever is preloaded into it."""
        shim = self.shim() | {"LD_PRELOAD": str(L.SHIM)}
        self.assertEqual(self.check(shim, f"{L.SERVER}:80", code=0), {})
        self.assertEqual(self.all["direct"]["values"]["peer"], f"{L.SERVER}:80")

    def test_another_network(self):
        """Nothing is sent to it (F-02)."""
        capture = captures.Capture(self.lab)
        shim = self.lab.config("interface = wwan0", address=self.v4)
        bad = self.check(shim | {"CONVERT_STATE": self.state}, code=0)
        self.assertEqual(bad["network"]["mend"], ["interface = c0"])
        self.assertEqual([p for p in capture.packets() if p.dst == self.v4], [])

    def test_left_alone(self):
        shim = self.shim(policy="fallback = direct", port=6002)
        self.lab.run(["curl", "-sS", f"http://{L.SERVER}/who"], shim=shim)
        converter = self.lab.converter("--mptcp", "--fastopen", "cookie", listen=["0.0.0.0"],
                                       port=6002)
        bad = self.check(shim, code=0)
        converter.stop()
        self.assertEqual(bad["left-alone"]["mend"], ["convert-bootstrap flush"])


class Host(Doctor):
    def mended(self, shim, finding, **more):
        """The command that is shown is run, and then there is nothing more to say of it."""
        self.assertIn(MEND + finding["mend"][0], self.text(shim))
        for command in finding["mend"]:
            L.command(L.inside("client", ["sh", "-c", command]))
        self.assertNotIn(finding["id"], self.check(shim, **more))

    def test_fast_open_switched_off(self):
        shim = self.shim()
        for value in 0, 2:
            L.sysctl("client", net__ipv4__tcp_fastopen=value)
            bad = self.check(shim, code=1)
            self.assertEqual(bad["fast-open"]["verdict"], "problem")
            self.assertEqual(bad["0-rtt"]["verdict"], "problem")
            self.mended(shim, bad["fast-open"], code=0)
        L.sysctl("client", net__ipv4__tcp_fastopen=5)
        bad = self.check(shim)
        self.assertEqual(bad["fast-open"]["verdict"], "note")
        self.mended(shim, bad["fast-open"], code=0)

    def test_pause_of_fast_open(self):
        L.sysctl("client", net__ipv4__tcp_fastopen_blackhole_timeout_sec=60)
        shim = self.shim()
        bad = self.check(shim, code=0)
        self.assertEqual(list(bad), ["fast-open-pause"])
        self.mended(shim, bad["fast-open-pause"])

    def test_mptcp_switched_off(self):
        for policy, verdict, code in (("", "note", 0), ("mptcp = on", "problem", 1)):
            L.sysctl("client", net__mptcp__enabled=0)
            shim = self.shim(policy=policy)
            bad = self.check(shim, code=code)
            self.assertEqual([(f["id"], f["verdict"]) for f in bad.values()], [("mptcp", verdict)])
            self.mended(shim, bad["mptcp"], code=0)
        L.sysctl("client", net__mptcp__enabled=0)
        self.assertEqual(self.check(self.shim(policy="mptcp = off")), {})
        L.sysctl("client", net__mptcp__enabled=1)

    def test_a_second_network(self):
        """No endpoint for it; then no limit for it; then a filter in its way."""
        ip = ["ip", "-n", "client"]
        L.command(ip + ["link", "add", "c1", "type", "veth", "peer", "name", "c1peer"])
        try:
            L.command(ip + ["addr", "add", "10.3.0.1/24", "dev", "c1"])
            L.command(ip + ["link", "set", "c1", "up"])
            L.command(ip + ["link", "set", "c1peer", "up"])
            shim = self.shim()
            self.assertEqual(self.check(shim), {})  # no way to a converter leads there
            L.command(ip + ["route", "add", "default", "via", "10.3.0.2", "dev", "c1", "metric",
                            "100"])
            L.command(ip + ["mptcp", "limits", "set", "subflows", "0"])
            bad = self.check(shim, code=0)
            self.assertEqual(bad["mptcp-paths"]["mend"],
                             ["ip mptcp endpoint add 10.3.0.1 dev c1 subflow"])
            self.mended(shim, bad["mptcp-paths"])
            bad = self.check(shim, code=1)
            self.mended(shim, bad["mptcp-limits"])
            L.sysctl("client", net__ipv4__conf__c1__rp_filter=1)
            bad = self.check(shim, code=0)
            self.mended(shim, bad["rp-filter"], code=0)
            self.assertEqual(self.all["mptcp-paths"]["values"]["subflow_endpoints"], 1)
        finally:
            L.command(ip + ["link", "del", "c1"])
            L.command(ip + ["mptcp", "endpoint", "flush"])
            L.command(ip + ["mptcp", "limits", "set", "subflows", "2"])

    def test_open_files(self):
        r = self.lab.run(["sh", "-c", f"ulimit -n 64; {TOOL} check --json"], env=self.shim())
        (bad,) = [f for f in schemas.validated("check", r.out)["findings"]
                  if f["verdict"] != "ok"]
        self.assertEqual((bad["id"], bad["values"]["open_files"]), ("open-files", 64))

    def test_ld_so_preload(self):
        """One that names nothing is a problem; one that names the library is in every program, and
        in this one too."""
        for library, verdict in (("/nowhere/libconvert-preload.so", "problem"), (L.SHIM, "ok")):
            etc = self.lab.file("etc")
            etc.mkdir()
            (etc / "ld.so.preload").write_text(f"# ours\n{library}\n")
            script = f"mount --bind {etc} /etc && exec {TOOL} check --json {L.SERVER}:80"
            r = self.lab.run(["unshare", "-m", "sh", "-c", script], env=self.shim())
            found = {f["id"]: f for f in schemas.validated("check", r.out)["findings"]}
            self.assertEqual(found["ld-so-preload"]["verdict"], verdict, r)
            self.assertEqual(found["direct"]["values"]["peer"], f"{L.SERVER}:80")
            self.assertEqual(found["converted"]["values"]["peer"], f"{self.v4}:{L.PORT}")

    def test_library(self):
        bad = self.check(self.shim(), "--library", "/nowhere.so", code=0)
        self.assertEqual(list(bad), ["library"])
        copy = self.lab.file("libconvert-preload.so", b"x")
        os.chmod(copy, 0o700)
        bad = self.check(self.shim(), "--library", str(copy), code=1)
        self.assertEqual(bad["library"]["mend"], [f"chmod 755 {copy}"])


class Configuration(Doctor):
    BROKEN = """[converter lab]
address = converter.example
colour = green
[converter other]
port = 0
[policy]
timeout = 5x
rule = convert to nowhere
"""

    def test_every_mistake(self):
        file = self.lab.file("broken.conf", self.BROKEN)
        for words, env in ((["-c", file], {}), ([], {"CONVERT_CONF": str(file)})):
            r = self.run_check(env | {"CONVERT_STATE": self.state}, "--json", *words, code=1)
            found = [f for f in schemas.validated("check", r.out)["findings"]
                     if f["id"] == "configuration"]
            self.assertEqual([f["values"]["line"] for f in found], [2, 3, 4, 5, 7, 8])
            self.assertTrue(all(f["verdict"] == "problem" for f in found))
            self.assertEqual(found[4]["what"], f"{file}:7: timeout = 5x")
            self.assertEqual(found[4]["mend"],
                             ["expected a number with s or ms, such as 5s or 500ms"])
        self.assertIn("\n  problem  ", self.text({}, "-c", file, code=1))
        r = self.lab.run([TOOL, "check", "--config", "-c", file])
        self.assertEqual((r.code, r.out), (1, b""), r)
        self.assertEqual([line.split(":")[1] for line in r.err.splitlines()],
                         ["2", "3", "4", "5", "7", "8"])

    def test_environment(self):
        r = self.run_check({"CONVERT_ADDR": "x", "CONVERT_PORT": "0", "CONVERT_STATE": "y"},
                           "--json", code=1)
        what = [f["what"] for f in schemas.validated("check", r.out)["findings"]
                if f["id"] == "configuration"]
        self.assertEqual(len(what), 3)
        for text, name in zip(what, ("CONVERT_ADDR", "CONVERT_PORT", "CONVERT_STATE")):
            self.assertIn(name, text)

    def test_none_or_switched_off(self):
        bad = self.check({"CONVERT_CONF": str(self.lab.file("empty.conf", ""))}, code=1)
        self.assertIn("[converter NAME]", bad["configuration"]["mend"])
        bad = self.check(self.shim() | {"CONVERT_DISABLE": "1"}, code=1)
        self.assertEqual(bad["configuration"]["mend"], ["unset CONVERT_DISABLE"])

    def test_state_and_log(self):
        strange = self.lab.file("strange", "not a state file\n")
        os.chmod(strange, 0o600)
        shared = self.lab.file("shared", b"")
        os.chmod(shared, 0o666)
        for state in "/nowhere/below/state", str(strange), str(shared), "/run":
            bad = self.check(self.shim() | {"CONVERT_STATE": state}, code=1)
            self.assertEqual(list(bad), ["state"], state)
        self.assertEqual(strange.read_text(), "not a state file\n")
        bad = self.check(self.shim() | {"CONVERT_STATE": "none"}, code=0)
        self.assertEqual(bad["state"]["verdict"], "note")
        bad = self.check(self.shim() | {"CONVERT_LOG": "/nowhere/log"}, code=1)
        self.assertEqual(list(bad), ["log"])

    def test_meaning(self):
        """What check said before there was a doctor."""
        shim = self.shim(policy="rule = direct port 22")
        r = self.lab.run([TOOL, "check", "--config"], env=shim)
        self.assertEqual(r.code, 0, r)
        for words in ("converter lab\n", f"address    {self.v4}:5124\n", "rules      1\n"):
            self.assertIn(words, r.out.decode())

    def test_text_of_others(self):
        """Control characters and bytes that are no text do not reach a terminal, nor break JSON."""
        file = self.lab.file("odd\x1b[31m.conf", b"[converter \xff]\naddress = \x80\n")
        r = self.run_check({}, "--json", "-c", file, code=1)
        schemas.validated("check", r.out)
        out = self.run_check({}, "-c", file, code=1).out
        self.assertNotIn(b"\x1b", out)


class Request(Doctor):
    def request(self, shim, host=f"{L.SERVER}:80", **more):
        bad = self.check(shim, host, **more)
        return bad, {k: self.all[k] for k in ("direct", "converted", "compared") if k in self.all}

    def test_converted(self):
        """Who answered is looked up in the kernel; the server saw the converter."""
        capture = captures.Capture(self.lab)
        bad, found = self.request(self.shim(), code=0)
        self.assertEqual(bad, {})
        direct, converted = found["direct"]["values"], found["converted"]["values"]
        self.assertEqual((direct["peer"], converted["peer"]),
                         (f"{L.SERVER}:80", f"{self.v4}:{L.PORT}"))
        self.assertEqual((direct["mptcp"], converted["mptcp"]), (False, True))
        self.assertEqual((direct["http_status"], converted["http_status"]), (403, 403))
        for values in direct, converted:
            self.assertTrue(0 < values["connect_us"] <= values["first_byte_us"] < 10 ** 7, values)
        for key in "connect_us", "first_byte_us":
            self.assertEqual(found["compared"]["values"][key], converted[key] - direct[key])
        connections = captures.connections(capture.packets())
        self.assertEqual([c[0].dst for c in connections][-2:], [L.SERVER, self.v4])
        self.assertIn("nginx", self.text(self.shim(), f"{L.SERVER}:80", code=0))

    def test_ipv6(self):
        _, found = self.request(self.shim(address=self.v6), f"[{L.SERVER6}]:80", code=0)
        self.assertEqual(found["converted"]["values"]["peer"], f"[{self.v6}]:{L.PORT}")
        self.assertEqual(found["direct"]["values"]["peer"], f"[{L.SERVER6}]:80")

    def test_file_alone(self):
        """With -c the environment's converter does not count, for the request neither."""
        shim = self.shim()
        env = {"CONVERT_ADDR": "10.1.0.254", "CONVERT_STATE": "none"}
        self.check(env, "-c", shim["CONVERT_CONF"], f"{L.SERVER}:80", code=0)
        self.assertEqual(self.all["converted"]["values"]["peer"], f"{self.v4}:{L.PORT}")

    def test_https(self):
        """Its certificate is nobody's: that is curl's to say, and named."""
        bad, _ = self.request(self.shim(), L.SERVER, code=1)
        self.assertEqual(sorted(bad), ["converted", "direct"])
        self.assertEqual(bad["direct"]["mend"], [f"curl -v -o /dev/null https://{L.SERVER}/"])

    def test_past_the_converter(self):
        """A server that speaks Multipath TCP."""
        server = self.lab.start("server", ["/usr/bin/python3", "-m", "http.server", "8080"],
                                env={"LD_PRELOAD": str(L.LAB_TOOLS / "mptcp-sockets.so")})
        server.wait_for_listeners(8080)
        L.command(L.inside("client", ["env", f"CONVERT_STATE={self.state}", TOOL, "pin",
                                      f"{L.SERVER}:8080", "mptcp"]))
        bad, found = self.request(self.shim(), f"{L.SERVER}:8080", code=0)
        self.assertEqual(bad, {})
        self.assertIn("past the converter", found["converted"]["what"])
        self.assertEqual((found["converted"]["values"]["peer"],
                          found["converted"]["values"]["mptcp"]), (f"{L.SERVER}:8080", True))

    def test_direct_by_rule(self):
        """The line that is shown, put where it says, converts it."""
        rule = f"rule = direct to {L.SERVER}"
        bad, _ = self.request(self.shim(policy=rule), code=0)
        self.assertEqual(bad["converted"]["verdict"], "note")
        (mend,) = bad["converted"]["mend"]
        line, where = re.fullmatch(r"(rule = .*?) +# above line (\d+)", mend).groups()
        shim = self.shim(policy=rule)
        text = open(shim["CONVERT_CONF"]).read().splitlines()
        self.assertEqual(text[int(where) - 1], rule)
        bad, found = self.request(self.shim(policy=line + "\n" + rule), code=0)
        self.assertEqual(bad, {})

    def test_fallback(self):
        bad, _ = self.request(self.shim(policy="fallback = direct\ntimeout = 500ms", port=6003),
                              code=1)
        self.assertEqual(bad["converted"]["verdict"], "problem")
        self.assertIn("falling back", bad["converted"]["what"])

    def test_nobody_answers(self):
        bad, found = self.request(self.shim(), f"{L.SERVER}:81", code=1)
        self.assertEqual(sorted(bad), ["converted", "direct"])
        self.assertNotIn("compared", found)


class Secrets(Doctor):
    def test_in_no_output(self):
        """Neither a cookie of the configuration, nor one that was learned, nor the kernel's."""
        self.lab.converter("--mptcp", "--fastopen", "cookie", "--cookie", SECRET,
                           "--cookie-required", listen=["0.0.0.0"], port=6004)
        self.lab.converter("--mptcp", "--fastopen", "cookie", "--cookie-required",
                           listen=["0.0.0.0"], port=6005)
        capture = captures.Capture(self.lab)
        written = []
        for shim in (self.shim(f"cookie = {SECRET}", port=6004), self.shim(port=6005),
                     self.shim("cookie = another", port=6004), {"CONVERT_COOKIE": SECRET} |
                     self.lab.via(self.v4, 6004) | {"CONVERT_STATE": self.state}):
            for words in [], ["--json"], [f"{L.SERVER}:80"], ["--json", f"{L.SERVER}:80"]:
                r = self.run_check(shim, *words)
                written += [r.out, r.err.encode()]
            for verb in (["status"], ["status", "--json"], ["check", "--config"]):
                r = self.lab.run([TOOL, *verb], env=shim)
                written += [r.out, r.err.encode()]
        packets = capture.packets()
        secrets = {SECRET.encode()}
        for p in packets:
            secrets.add(p.option(captures.FAST_OPEN) or SECRET.encode())
            if p.src == self.v4 and p.data[4:5] == b"\x1e" and p.data[6:7] == b"\3":
                secrets.add(p.data[8:4 * p.data[1]])  # Missing Cookie, and the cookie
        self.assertGreaterEqual(len(secrets), 3)
        for secret in secrets:
            self.assertGreaterEqual(len(secret), 4)
            for text in written:
                self.assertNotIn(secret, text)
                self.assertNotIn(secret.hex().encode(), text.lower())


if __name__ == "__main__":
    L.main(setup, kind=middlebox.Lab)

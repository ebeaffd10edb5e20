#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""convert-bootstrap check: what is wrong is named, and what it says mends it does mend it."""
import json
import os
import pathlib
import random
import re
import shutil
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import captures
import lab as L
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
        value = L.validated("check", r.out)
        self.all = {f["id"]: f for f in value["findings"]}
        bad = {f["id"]: f for f in value["findings"] if f["verdict"] != "ok"}
        problems = sum(f["verdict"] == "problem" for f in value["findings"])
        self.assertEqual((value["problems"], r.code), (problems, 1 if problems else 0), r)
        return bad

    def text(self, shim, *words, **more):
        """What a pipe gets: a line for each finding, and one for what mends it in words."""
        out = self.run_check(shim, *words, **more).out.decode()
        for line in out.splitlines():
            self.assertTrue(line.startswith(("  ok  ", "  note  ", "  problem  ", MEND)) or
                            not line.startswith(" "), line)
            self.assertEqual(line, line.rstrip())
        return out

    def on_a_terminal(self, shim, *words):
        out = self.lab.run([sys.executable, "-c", "import pty, sys; pty.spawn(sys.argv[1:])",
                            TOOL, "check", *words], env=shim, timeout=60).out.decode()
        for line in out.replace("\r\n", "\n").splitlines():
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

    def test_help(self):
        """All that a wrong option is told, and what it is for."""
        for verb in "run", "check", "status", "top", "flush", "forget", "pin", "fetch", "explain", "map":
            wrong = self.lab.run([TOOL, verb, "--wrong"]).err
            usage = wrong[wrong.index(f"Usage: convert-bootstrap {verb} "):]
            for option in "-h", "--help":
                r = self.lab.run([TOOL, verb, option])
                self.assertEqual((r.code, r.err), (0, ""), r)
                self.assertTrue(r.out.decode().startswith(f"{usage}\n  {verb} "), r)

    def test_help_behind_others(self):
        for words in (["check", "-c", "/nowhere", "--help"], ["map", "8080", "-h"], ["map", "--help"], ["map", "-h"],
                      ["pin", "192.0.2.1:1", "tcp", "--help"], ["status", "-j", "-h"], ["fetch", "-q", "--help"],
                      ["flush", "-c", "/nowhere", "-h"], ["explain", "-j", "--help"]):
            r = self.lab.run([TOOL, *words])
            self.assertEqual((r.code, r.err), (0, ""), r)
            self.assertTrue(r.out.decode().startswith(f"Usage: convert-bootstrap {words[0]} "), r)
        for words in (["explain", "/bin/true", "--help"], ["explain", "/bin/true", "-h"]):  # the program's own
            self.assertIn(b"The library ", self.lab.run([TOOL, *words]).out)

    def test_usage(self):
        for words in (["-x"], ["-c", ""], ["a", "b"], ["http://a/"], ["--config", "a"],
                      ["--config", "-j"], ["--library", ""], ["user@a"]):
            r = self.lab.run([TOOL, "check", *words])
            self.assertEqual((r.code, r.out), (2, b""), r)
            self.assertIn("Usage: convert-bootstrap check", r.err)
        for word, says in (("stats", '; did you mean "status"?'), ("tpo", '; did you mean "top"?'),
                           ("maps", '; did you mean "map"?'), ("requests", ""), ("banana", "")):
            r = self.lab.run([TOOL, word])
            self.assertEqual((r.code, r.err.splitlines()[0]),
                             (2, f"convert-bootstrap: unknown verb \"{word}\"{says}"), r)

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
        """The codes that nobody knows as others of their class (PROTOCOL 2)."""
        for code, value, mend in ((64, ":07", "sleep 7; convert-bootstrap check"), (40, "", "cookie = @FILE"),
                                  (70, ":07", "sleep 30; convert-bootstrap check")):
            with self.subTest(code):
                bad = self.one("--mptcp", "--fastopen", "cookie", "--fault", f"error={code}{value}")
                self.assertEqual(bad["refuses"]["values"]["error_code"], code)
                self.assertEqual(bad["refuses"]["mend"], [mend])

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
        self.assertEqual(bad["left-alone"]["mend"], ["convert-bootstrap run"])


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
        self.lab.endpoint()
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
            self.lab.endpoint(*self.lab.endpoints)
            L.command(ip + ["mptcp", "limits", "set", "subflows", "2"])

    def test_open_files(self):
        r = self.lab.run(["sh", "-c", f"ulimit -n 64; {TOOL} check --json"], env=self.shim())
        (bad,) = [f for f in L.validated("check", r.out)["findings"]
                  if f["verdict"] != "ok"]
        self.assertEqual((bad["id"], bad["values"]["open_files"]), ("open-files", 64))

    def test_many_rules_in_vain(self):
        """The first hundred, and how many more: 54,000 of them were 500 MB."""
        conf = self.lab.file("many.conf", "[policy]\nrule = direct to 10.0.0.0/8\n" + "rule = direct to 10.0.0.1\n" * 300)
        r = self.lab.run([TOOL, "check", "--json", "-c", conf])
        said = [f["what"] for f in L.validated("check", r.out)["findings"] if "never match" in f["what"]]
        self.assertEqual(len(said), 101, said[:3])
        self.assertRegex(said[0], "many.conf:3: ")
        self.assertRegex(said[100], "many.conf: 200 more rules never match")

    def test_ld_so_preload(self):
        """One that names nothing is a problem; one that names the library is in every program, and
        in this one too."""
        place = self.lab.file("usr")
        for lib in f"lib/{os.uname().machine}-linux-gnu", "lib64", "lib":  # what $LIB is to the loader
            (place / lib).mkdir(parents=True, exist_ok=True)
            shutil.copy(L.SHIM, place / lib)
        for library, verdict in (("/nowhere/libconvert-preload.so", "problem"), (L.SHIM, "ok"),
                                 (f"{place}/$LIB/{L.SHIM.name}", "ok"), (f"{place}/${{LIB}}/{L.SHIM.name}", "ok"),
                                 ("/nowhere/$LIB/libconvert-preload.so", "problem"),
                                 (L.SHIM.name, "ok"), ("libconvert-preload.so.9", "problem")):
            etc = self.lab.file("etc")
            etc.mkdir()
            (etc / "ld.so.preload").write_text(f"# ours\n{library}\n")
            script = f"mount --bind {etc} /etc && exec {TOOL} check --json {L.SERVER}:80"
            r = self.lab.run(["unshare", "-m", "sh", "-c", script],
                             env=self.shim() | {"LD_LIBRARY_PATH": str(L.SHIM.parent)})
            found = {f["id"]: f for f in L.validated("check", r.out)["findings"]}
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


class Mends(Doctor):
    """Case 1.7. Each mend is run as it is written, by the user to whom it is told, in the shell in which the
    next check is; and then that has nothing more to say of it. What is not here: PORT, FILE, NAME,
    ADDRESS and ROUTER, which only a person knows, `curl -v`, `tcpdump` and `ip route get`, which only
    look, an older kernel and a kernel without MPTCP, which this one is not, and a setting of the
    converter's host.

    A mend may be wrong, and root runs it: all of this host is read-only meanwhile, but for the lab's
    own /run and /dev/shm. What is to be changed elsewhere is a copy."""

    VICTIM, HOSTILE = 65534, 1234
    HARMLESS = r"""
        set -e
        while read -r _ to _; do
            case $to in
            /run | /run/* | /dev | /dev/* | /proc | /proc/* | /sys | /sys/*) ;;
            *) mount -o remount,bind,ro "$to" ;;
            esac
        done </proc/self/mounts
        if [ -w / ] || [ -w /etc/passwd ] || [ -w "$HOST_TREE" ]; then
            echo "this host can be written" >&2
            exit 99
        fi
        set +e
        exec "$@"
    """
    SECTIONS = {"converter": ("interface", "from", "dialect", "fast-open", "address"),
                "policy": ("mptcp", "rule"), "log": ("target",)}

    def setUp(self):
        super().setUp()
        self.need("sudo")
        if not L.owns_several_users():
            self.skipTest("one user only in this namespace")
        # what a user gets who may use sudo; the helper is where make install puts it
        self.bin = self.lab.file("bin")
        self.bin.mkdir()
        for name in TOOL.name, L.SHIM.name:
            shutil.copy(L.BUILD / name, self.bin)
        rule = self.lab.file("sudoers", "nobody ALL=(ALL) NOPASSWD: ALL\nroot ALL=(ALL) ALL\n"
                             f"Defaults !fqdn, secure_path=\"{self.bin}:/usr/sbin:/usr/bin:"
                             "/sbin:/bin\"\n")
        os.chmod(rule, 0o440)
        L.command(["mount", "--bind", rule, "/etc/sudoers"])
        self.addCleanup(L.command, ["umount", "/etc/sudoers"])
        for path in os.listdir("/dev/shm"):
            shutil.rmtree(os.path.join("/dev/shm", path))
        shutil.rmtree("/run/user", ignore_errors=True)

    def shim_of_nobody(self):
        """With a converter that nobody is: soon asked, where it does not matter."""
        return self.shim(port=6001, log=False)

    def as_user(self, uid):
        return ["setpriv", "--reuid", uid, "--regid", uid, "--clear-groups"] if uid else []

    def environment(self, shim, state=""):
        return shim | {"CONVERT_STATE": state, "PATH": f"{self.bin}:{L.ENVIRONMENT['PATH']}"}

    def script(self, text, env, uid, before=(), code=None):
        harmless = ["unshare", "--mount", "sh", "-c", self.HARMLESS, "harmless"]
        r = self.lab.run([*harmless, *before, *self.as_user(uid), "sh", "-c", text],
                         env=env | {"HOST_TREE": str(L.ROOT)}, timeout=60)
        self.assertNotEqual(r.code, 99, r)
        if code is not None:
            self.assertEqual(r.code, code, r)
        return r

    def found(self, r):
        return {f["id"]: f for f in L.validated("check", r.out)["findings"]}

    def put_in(self, conf, lines):
        """Lines of the configuration, each in the section that its key is of."""
        text = open(conf, encoding="ascii").read()
        for line in lines:
            key = line.split()[0]
            if key.startswith("["):
                continue
            (section,) = [s for s, keys in self.SECTIONS.items() if key in keys]
            old = r"(?m)^(file|target) = .*\n" if key == "target" else rf"(?m)^{key} = .*\n"
            if key != "rule":
                text = re.sub(old, "", text)
            text = re.sub(rf"(?m)^\[{section}.*\]\n", rf"\g<0>{line}\n", text)
        with open(conf, "w", encoding="ascii") as f:
            f.write(text)

    def mended(self, id_, env, uid=0, before="", words="", around=()):
        """before: what a shell does first, that is then wrong. Returns the mend."""
        check = f"convert-bootstrap check --json {words}"
        r = self.script(f"{before}\n{check}", env, uid, around)
        finding = self.found(r)[id_]
        self.assertNotEqual(finding["verdict"], "ok")
        mend = finding["mend"]
        self.assertNotIn("666", "".join(mend))
        if re.match(r"\[|[a-z-]+ = ", mend[0]):
            self.put_in(env["CONVERT_CONF"], mend)
            commands = ""
        else:
            commands = "\n".join(mend)
        r = self.script(f"{before}\nexec 3>&1 >/dev/null\nset -e\n{commands}\nset +e\n"
                        f"exec >&3\n{check}", env, uid, around)
        after = self.found(r).get(id_)
        if after:
            self.assertEqual(after["verdict"], "ok", f"{mend}: {r}")
        self.assertEqual(r.err, "", r)
        return mend

    # ------------------------------------------------------------------------ the files

    def test_own_state(self):
        """What may be in the way of the file of a user without a runtime directory."""
        own = pathlib.Path(f"/dev/shm/convert-{self.VICTIM}")
        target = self.lab.file("etc")
        target.mkdir()

        def directory(uid, mode, state=None, state_mode=0o600, state_uid=None):
            own.mkdir()
            if state is not None:
                (own / "state").write_bytes(state)
                os.chmod(own / "state", state_mode)
                os.chown(own / "state", *2 * (uid if state_uid is None else state_uid,))
            os.chown(own, uid, uid)
            os.chmod(own, mode)

        def link():
            own.symlink_to(target)
            os.chown(own, self.HOSTILE, self.HOSTILE, follow_symlinks=False)

        def pipe():
            own.mkdir()
            os.mkfifo(own / "state")
            for path in own, own / "state":
                os.chown(path, self.VICTIM, self.VICTIM)
            os.chmod(own, 0o700)

        cases = {"planted": lambda: directory(self.HOSTILE, 0o700, b"x"),
                 "planted, open": lambda: directory(self.HOSTILE, 0o777, b"x", 0o666),
                 "root's": lambda: directory(0, 0o700), "a link": link, "a pipe": pipe,
                 "a mode": lambda: directory(self.VICTIM, 0o777, b""),
                 "a file's mode": lambda: directory(self.VICTIM, 0o700, b"", 0o666),
                 "no mode": lambda: directory(self.VICTIM, 0o700, b"", 0),
                 "a stranger's file": lambda: directory(self.VICTIM, 0o700, b"", 0o644,
                                                        self.HOSTILE),
                 "no state": lambda: directory(self.VICTIM, 0o700, b"not a state file")}
        for name, make in cases.items():
            with self.subTest(name):
                make()
                env = self.environment(self.shim(log=False))
                self.mended("state", env, self.VICTIM)
                if own.exists():
                    self.assertEqual(os.lstat(own).st_uid, self.VICTIM)
                # and it is used
                r = self.lab.run([*self.as_user(self.VICTIM), "curl", "-sS",
                                  f"http://{L.SERVER}/who"], shim=env)
                self.assertEqual(r.out.decode().strip(), L.ROUTER, r)
                self.assertTrue((own / "state").stat().st_size)
                shutil.rmtree(own)
        self.assertEqual(target.stat().st_uid, 0)

    def test_no_place_at_all(self):
        """check says so, and root makes one."""
        around = ["unshare", "--mount", "sh", "-c",
                  'mount -t tmpfs -o mode=755 lab /dev/shm && rm -rf /run/user && exec "$@"', "sh"]
        env = self.environment(self.shim_of_nobody())
        r = self.script("convert-bootstrap check", env, self.VICTIM, around, code=1)
        self.assertIn("can be made neither here nor by programs of this user",
                      " ".join(r.out.decode().split()))
        self.mended("state", env, self.VICTIM, around=around)
        self.assertEqual(os.stat(f"/run/user/{self.VICTIM}").st_uid, self.VICTIM)

    def test_root_without_its_place(self):
        around = ["unshare", "--mount", "sh", "-c",
                  'rm -rf /run/convert; mount --bind -o ro /usr /mnt && mount -t tmpfs lab /mnt && '
                  'mkdir /mnt/lab && mount --move /run/lab /mnt/lab 2>/dev/null || '
                  'mount --bind /run/lab /mnt/lab; mount --rbind /mnt /run && '
                  'mount -o remount,ro,bind /run && exec "$@"', "sh"]
        env = self.environment(self.shim_of_nobody())
        self.mended("state", env, around=around)

    def test_read_only(self):
        """A mode is not what is in the way."""
        around = ["unshare", "--mount", "sh", "-c",
                  'mkdir -p /run/convert && mount --bind /run/convert /run/convert && '
                  'mount -o remount,bind,ro /run/convert && exec "$@"', "sh"]
        env = self.environment(self.shim_of_nobody())
        for make in (lambda: None, lambda: os.mknod("/run/convert/state", 0o600)):
            shutil.rmtree("/run/convert", ignore_errors=True)
            os.makedirs("/run/convert", 0o700)
            make()
            shutil.rmtree("/dev/shm/convert-0", ignore_errors=True)
            r = self.script("convert-bootstrap check --json", env, 0, around)
            self.assertIn("is read-only here", self.found(r)["state"]["what"])
            (mend,) = self.mended("state", env, around=around)
            self.assertIn("ReadWritePaths=-/run/convert", mend)
            for path, state in ("/run/convert/log", ""), ("", "/run/convert/other"):
                r = self.script("convert-bootstrap check --json", self.environment(self.shim_of_nobody(), state or "none") |
                                {"CONVERT_LOG": path}, 0, around)
                found = self.found(r)["state" if state else "log"]
                self.assertIn("read-only here", found["what"])
                self.assertIn("ReadWritePaths=", found["mend"][0])
        shutil.rmtree("/run/convert")

    def test_named_state(self):
        """A file that was named is never removed, but for a state file."""
        for uid in 0, self.VICTIM:
            home = self.lab.file("home")
            home.mkdir()
            os.chown(home, uid, uid)
            system = self.lab.file("passwd", "root:x:0:0\n")
            names = {"missing": "a b/it's/$x/state", "no state": "diary", "mode": "mode",
                     "empty": "empty", "closed": "closed"}
            paths = {k: home / v for k, v in names.items()}
            for name, content, mode in (("no state", "Dear diary\n", 0o600), ("mode", "", 0o666),
                                        ("empty", "", 0o620), ("closed", "", 0o400)):
                paths[name].write_text(content)
                os.chmod(paths[name], mode)
                os.chown(paths[name], uid, uid)
            for name, path in (paths | {
                    "root's": pathlib.Path("/run/for root/below/state"),
                    "in root's": pathlib.Path("/run/state"), "a directory": pathlib.Path("/run"),
                    "closed to users": pathlib.Path("/run/lab/home/state"),
                    "of the system": system}).items():
                if name == "closed to users":
                    os.chmod("/run/lab/home", 0o700)
                env = self.environment(self.shim_of_nobody(), str(path))
                r = self.script("convert-bootstrap check --json", env, uid)
                if self.found(r)["state"]["verdict"] == "ok":
                    continue
                with self.subTest(name, uid=uid):
                    self.mended("state", env, uid)
            self.assertEqual(paths["no state"].read_text(), "Dear diary\n")
            self.assertEqual((system.read_text(), system.stat().st_uid), ("root:x:0:0\n", 0))
            shutil.rmtree("/run/for root", ignore_errors=True)
            pathlib.Path("/run/state").unlink(missing_ok=True)
            os.chmod("/run/lab/home", 0o755)

    def test_no_state(self):
        for uid in 0, self.VICTIM:
            env = self.environment(self.shim_of_nobody(), "none")
            self.assertEqual(self.mended("state", env, uid), ["unset CONVERT_STATE"])

    def test_log(self):
        """Never by a mode that lets others write it, nor by changing what was there."""
        target = self.lab.file("rootslog", "")
        os.chmod(target, 0o600)
        for path in ("/run/logs/convert.log", "/run/convert.log", str(target), "/run", "/run/x y/z"):
            for by_file in False, True:
                env = self.environment(self.shim_of_nobody())
                words = ""
                if by_file:
                    with open(env["CONVERT_CONF"], "a", encoding="ascii") as conf:
                        conf.write(f"[log]\nfile = {path}\n")
                    words = f"-c {env['CONVERT_CONF']}"
                else:
                    env |= {"CONVERT_LOG": path}
                with self.subTest(path, by_file=by_file):
                    self.mended("log", env, self.VICTIM, words=words)
                    if os.path.isfile(path):
                        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
                    self.assertEqual(os.stat(target).st_uid, 0)
                for made in "/run/logs", "/run/x y":
                    shutil.rmtree(made, ignore_errors=True)
                pathlib.Path("/run/convert.log").unlink(missing_ok=True)

    def test_log_of_roots(self):
        """In a folder where another user can put what he likes."""
        folder, aim = self.lab.file("web"), self.lab.file("aim", "")
        folder.mkdir()
        os.chown(folder, self.HOSTILE, self.HOSTILE)
        log = folder / "log"
        env = self.environment(self.shim_of_nobody()) | {"CONVERT_LOG": str(log)}

        def theirs():
            log.write_text("")
            os.chown(log, self.HOSTILE, self.HOSTILE)
        for name, make in {"a link": lambda: log.symlink_to(aim), "his file": theirs,
                           "another name": lambda: os.link(aim, log)}.items():
            with self.subTest(name):
                make()
                self.mended("log", env)
                log.unlink()
        log.symlink_to(aim)
        os.chown(folder, 0, 0)
        r = self.script("convert-bootstrap check --json", env, 0)
        self.assertEqual(self.found(r)["log"]["verdict"], "ok")

    def test_switches(self):
        shim = self.environment(self.shim_of_nobody())
        self.mended("configuration", shim | {"CONVERT_DISABLE": "1"}, self.VICTIM)
        etc = self.lab.file("etc")
        L.command(["cp", "-a", "/etc", etc])
        shutil.copy("/etc/sudoers", etc / "sudoers")
        (etc / "convert.disable").touch()
        around = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc && exec "$@"', etc]
        for uid in self.VICTIM, 0:
            (etc / "convert.disable").touch()
            self.mended("configuration", shim, uid, around=around)
            other, ours = "/lib/x86_64-linux-gnu/libm.so.6", "/nowhere/libconvert-preload.so"
            note = "# not libconvert-preload\n\t# nor this libconvert-preload\n"
            for before, after in ((f"{ours} {other}\n{ours}\n", f"{other}\n"), (f"{other}\t{ours}\n", f"{other}\t\n"),
                                  (f"{ours}\t{other}\n", f"{other}\n"), (f"{other}:{ours}\t{other}\n",
                                                                        f"{other}:{other}\n")):
                (etc / "ld.so.preload").write_text(note + before)
                r = self.script("convert-bootstrap check --json 2>/dev/null", shim, uid, around)
                (mend,) = self.found(r)["ld-so-preload"]["mend"]
                # the loader complains of the file until it is mended
                self.script(f"{mend} 2>/dev/null", shim, uid, around, code=0)
                self.assertEqual((etc / "ld.so.preload").read_text(), note + after)

    # ------------------------------------------------------------------------- the host

    def test_settings(self):
        env = self.environment(self.shim(log=False))
        for uid in 0, self.VICTIM:
            for id_, wrong, good in (("fast-open", "ipv4.tcp_fastopen=0", None),
                                     ("0-rtt", "ipv4.tcp_fastopen=2", None),
                                     ("fast-open", "ipv4.tcp_fastopen=5", None),
                                     ("fast-open-pause",
                                      "ipv4.tcp_fastopen_blackhole_timeout_sec=60", None),
                                     ("mptcp", "mptcp.enabled=0", "mptcp.enabled=1")):
                with self.subTest(wrong, uid=uid):
                    L.command(L.inside("client", ["sysctl", "-qw", f"net.{wrong}"]))
                    (mend,) = self.mended(id_, env, uid)
                    self.assertEqual(mend.startswith("sudo "), uid != 0)
                    if good:
                        L.command(L.inside("client", ["sysctl", "-qw", f"net.{good}"]))

    def test_close_timeout(self):
        env = self.environment(self.shim(policy="mptcp = on", log=False))
        for uid in 0, self.VICTIM:
            L.sysctl("client", net__mptcp__close_timeout=60)
            self.mended("mptcp-close", env, uid)
        L.sysctl("client", net__mptcp__close_timeout=60)

    def test_no_proc(self):
        around = ["unshare", "--mount", "sh", "-c",
                  'mount --bind /proc /mnt && mount -t tmpfs lab /proc && '
                  'mkdir /proc/self /proc/1 && exec "$@"', "sh"]
        self.mended("fast-open", self.environment(self.shim_of_nobody()), around=around)

    def test_open_files(self):
        env = self.environment(self.shim_of_nobody())
        sets = dict(line.split(":\t") for line in open("/proc/self/status") if line[:3] == "Cap")
        may_raise = int(sets["CapEff"], 16) >> 24 & 1  # CAP_SYS_RESOURCE
        for uid in 0, self.VICTIM:
            for limit in "-S -n 64", "-S -n 64; ulimit -H -n 300", "-n 64":
                if limit == "-n 64" and not may_raise:
                    continue  # a container's root may not do what the mend does
                with self.subTest(limit, uid=uid):
                    self.mended("open-files", env, uid, before=f"ulimit {limit}")

    def test_library(self):
        library = self.lab.file("a b") / "libconvert-preload.so"
        library.parent.mkdir()
        for owner in 0, self.VICTIM:
            shutil.copy(L.SHIM, library)
            os.chown(library, owner, owner)
            for uid in 0, self.VICTIM:
                os.chmod(library, 0o700)
                self.mended("library", self.environment(self.shim_of_nobody()), uid,
                            words=f"--library '{library}'")

    def test_paths(self):
        """A further network; and root alone is told of the endpoints."""
        ip = ["ip", "-n", "client"]
        env = self.environment(self.shim_of_nobody())
        conf = env["CONVERT_CONF"]
        r = self.script(f"convert-bootstrap check --json -c {conf}", env, self.VICTIM)
        for mend in self.found(r)["mptcp-paths"]["mend"]:  # newer kernels tell everybody
            r = self.script(mend, env, self.VICTIM)
            self.assertNotIn("only told to root", r.out.decode())
            self.assertIn(self.v4, r.out.decode())
        self.lab.endpoint()
        L.command(ip + ["link", "add", "c1", "type", "veth", "peer", "name", "c1peer"])
        try:
            L.command(ip + ["addr", "add", "10.3.0.1/24", "dev", "c1"])
            L.command(ip + ["link", "set", "c1", "up"])
            L.command(ip + ["link", "set", "c1peer", "up"])
            L.command(ip + ["route", "add", "default", "via", "10.3.0.2", "dev", "c1", "metric",
                            "100"])
            L.command(ip + ["mptcp", "limits", "set", "subflows", "0"])
            self.mended("mptcp-paths", env)
            self.mended("mptcp-limits", env)
            L.sysctl("client", net__ipv4__conf__c1__rp_filter=1)
            self.mended("rp-filter", env)
            mobile = ["unshare", "--mount", "sh", "-c",
                      "mount -t tmpfs lab /sys/class/net && mkdir /sys/class/net/c1 && "
                      'echo DEVTYPE=wwan >/sys/class/net/c1/uevent && exec "$@"', "sh"]
            for uid in 0, self.VICTIM:
                self.mended("mptcp-metered", env, uid, around=mobile)
                L.command(ip + ["mptcp", "endpoint", "flush"])
                self.mended("mptcp-paths", env, uid, around=mobile)
                self.assertIn(" backup ", L.command(ip + ["mptcp", "endpoint"]))
                L.command(ip + ["mptcp", "endpoint", "change", "10.3.0.1", "nobackup"])
        finally:
            L.command(ip + ["link", "del", "c1"])
            self.lab.endpoint(*self.lab.endpoints)
            L.command(ip + ["mptcp", "limits", "set", "subflows", "2"])

    # ------------------------------------------------------------------- the converters

    def with_converter(self, *options, id_, converter="", policy="", words="", uid=0):
        process = self.lab.converter(*options, listen=["0.0.0.0"], port=6000)
        try:
            shim = self.shim(converter, policy, port=6000, log=False)
            return self.mended(id_, self.environment(shim), uid, words=words)
        finally:
            process.stop()

    def test_keys(self):
        tfo = ("--mptcp", "--fastopen", "cookie")
        self.with_converter(*tfo, "--dialect", "draft-02", id_="dialect",
                            converter="dialect = rfc8803")
        self.with_converter(*tfo, id_="syn-data-refused", converter="fast-open = no-cookie")
        self.with_converter("--kinds", "34", "--fastopen", "cookie", id_="converter-mptcp")
        for text in "interface = wwan0", "from = 192.168.0.0/16":
            env = self.environment(self.lab.config(text, address=self.v4, log=False))
            self.mended("network", env)
        env = self.environment(self.lab.config("interface = w0\nfrom = 192.168.0.0/16",
                                               address=self.v4, log=False))
        self.assertEqual(len(self.mended("network", env)), 2)
        self.mended("network", self.environment(self.lab.config(address=self.v4, log=False)))

    def test_middleboxes(self):
        for rule, id_ in (("strip-mptcp", "mptcp-stripped"), ("drop-mptcp", "mptcp-dropped"),
                          ("strip-syn-data", "syn-data-stripped"),
                          ("drop-syn-data", "syn-data-dropped")):
            self.v4, self.v6 = self.lab.fresh_addresses()
            with self.subTest(rule), self.lab.box.rules(rule):
                self.mended(id_, self.environment(self.shim(log=False), self.state))

    def test_left_alone(self):
        """With -c, too, which is another state than the environment's."""
        for by_file in False, True:
            shim = self.shim(policy="fallback = direct", port=6002, log=False)
            env = self.environment(shim, f"{self.state}.other" if by_file else self.state)
            if by_file:
                with open(shim["CONVERT_CONF"], "a", encoding="ascii") as conf:
                    conf.write(f"[state]\nfile = {self.state}.2\n")
            used = env | ({"CONVERT_STATE": ""} if by_file else {})
            self.lab.run(["curl", "-sS", f"http://{L.SERVER}/who"], shim=used)
            converter = self.lab.converter("--mptcp", "--fastopen", "cookie", listen=["0.0.0.0"],
                                           port=6002)
            self.mended("left-alone", env, words=f"-c {shim['CONVERT_CONF']}" if by_file else "")
            converter.stop()


class Lines(Doctor):
    def test_pipe_and_terminal(self):
        """Words are broken at 80 columns for eyes, and never for grep."""
        shim = self.shim() | {"CONVERT_STATE": "/nowhere/" + "below/" * 9 + "state"}
        self.check(shim, code=1)
        what = self.all["state"]["what"]
        self.assertGreater(len(what), WIDTH)
        self.assertIn(f"  problem  {what}\n", self.text(shim, code=1))
        shown = self.on_a_terminal(shim)
        self.assertNotIn(what, shown)
        self.assertIn(what, re.sub(r"\s+", " ", shown))


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
            found = [f for f in L.validated("check", r.out)["findings"]
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

    def test_did_you_mean(self):
        """The word that was nearly written, of those that were expected; and none if none is near."""
        for text, word in (("[polcy]", "policy"), ("[convertor home]", "converter"),
                           ("[log]\nlevle = info", "level"), ("[policy]\nfall-back = none", "fallback"),
                           ("[policy]\nmptcp = atuo", "auto"), ("[policy]\nstrict = ye", "yes"),
                           ("[converter a]\naddress = 192.0.2.1\ndialect = draft02", "draft-02"),
                           ("[converter a]\naddress = 192.0.2.1\nfast_open = no-cookie", "fast-open"),
                           ("[policy]\nrule = covert to 192.0.2.0/24", "convert"),
                           ("[policy]\nrule = direct ports 80", "port"),
                           ("[policy]\nStrict = yes", "strict"),
                           ("[policy]\ncolour = green", None), ("[policy]\nmptcp = banana", None),
                           ("[state]\nfile = oh", None), ("[policy]\ntimeout = 5x", None),
                           ("[policy]\nrule = to 192.0.2.0/24", None)):
            with self.subTest(text):
                file = self.lab.file("nearly.conf", text + "\n")
                found = [f for f in L.validated(
                    "check", self.run_check({}, "-j", "-c", file, code=1).out)["findings"]
                    if f["id"] == "configuration" and f["values"].get("line")]
                mend = " ".join(found[0]["mend"])
                if word:
                    self.assertTrue(mend.endswith(f'; did you mean "{word}"?'), mend)
                else:
                    self.assertNotIn("did you mean", mend)
        file = self.lab.file("list.conf", "[policy]\nrule = direct to 10.0.0.0/8 192.0.2.0/24\n")
        out = self.text({}, "-c", file, code=1)
        self.assertIn("between the items of a list stands a comma", out)
        for text in "[policy", "[policy]\nmptcp":
            out = self.text({}, "-c", self.lab.file("half.conf", text + "\n"), code=1)
            self.assertNotIn("a file that can be read", out)

    def test_the_other_verbs_say_the_same(self):
        """All that is wrong, and what was meant, in the words of check --config."""
        file = self.lab.file("nearly.conf", "[polcy]\n[log]\nlevle = info\nnonsense\n")
        asked = self.lab.run([TOOL, "check", "--config", "-c", file])
        self.assertEqual(asked.err.count("; did you mean"), 2, asked)
        for verb in ["status"], ["top", "--once"], ["run"], ["flush"]:
            r = self.lab.run([TOOL, verb[0], "-c", file, *verb[1:]])
            self.assertEqual((r.code, r.out, r.err), (1, b"", asked.err), verb)

    def test_a_cause_is_told_without_its_consequence(self):
        for line, told in ("adress = 192.0.2.1", 2), ("address 192.0.2.1", 2), ("port = 80", 1):
            file = self.lab.file("cause.conf", f"[converter a]\n{line}\n")
            r = self.lab.run([TOOL, "check", "--config", "-c", file])
            self.assertEqual([int(m.split(":")[1]) for m in r.err.splitlines()], [told], r)

    def test_no_converter(self):
        file = self.lab.file("empty.conf", "")
        r = self.lab.run([TOOL, "run", "-c", file])
        self.assertEqual((r.code, r.err), (1, f"{file}: no converter is configured: expected "
                                              "[converter NAME] with an address\n"), r)

    def in_vain(self, text):
        """{line: what} of the notes on a configuration."""
        file = self.lab.file("vain.conf", text)
        r = self.run_check({"CONVERT_STATE": self.state}, "-j", "-c", file)
        return {f["values"]["line"]: f["what"] for f in L.validated("check", r.out)["findings"]
                if f["id"] == "configuration" and f["verdict"] == "note"}

    def test_rules_in_vain(self):
        head = f"[converter lab]\ninterface = nowhere0\naddress = {self.v4}\n[policy]\n"
        for rules, lines in (
                ("direct; convert port 80", [6]), ("direct to 10.0.0.0/8; direct to 10.1.0.0/16", [6]),
                ("direct to 10.0.0.0/8; convert to 10.0.0.0/8", [6]),
                ("direct port 1-100; convert to 10.0.0.0/8 port 50-101", []),
                ("direct port 1-100; convert to 10.0.0.0/8 port 50-100", [6]),
                ("direct port 1-60; direct port 61-100; convert to 10.0.0.0/8 port 50-100", [7]),
                ("direct to 10.1.0.0/16; convert to 10.0.0.0/8; convert", []),
                ("direct to ::/0; convert to 10.0.0.0/8", []),
                ("direct to 10.0.0.0/8 port 22,80; direct to 10.0.0.0/9,11.0.0.0/8 port 22", []),
                ("direct app curl; convert", []), ("convert; direct app curl", [])):
            with self.subTest(rules):
                text = "".join(f"rule = {rule}\n" for rule in rules.split("; "))
                self.assertEqual(list(self.in_vain(head + text)), lines)

    def test_addresses_in_vain(self):
        a = f"address = {self.v4}\n"
        for text, lines in (
                (f"[converter a]\n{a}{a}", [1]), (f"[converter a]\n{a}[converter b]\n{a}", [3]),
                (f"[converter a]\n{a}[converter b]\n{a}port = 81\n", []),
                (f"[converter a]\n{a}interface = nowhere0\n[converter b]\n{a}", [])):
            with self.subTest(text):
                self.assertEqual(list(self.in_vain(text)), lines)

    def test_environment(self):
        r = self.run_check({"CONVERT_ADDR": "x", "CONVERT_PORT": "0", "CONVERT_STATE": "y"},
                           "--json", code=1)
        what = [f["what"] for f in L.validated("check", r.out)["findings"]
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
        self.assertEqual(list(self.check(self.shim() | {"CONVERT_LOG": "nowhere/log"}, code=1)), ["log"])
        self.assertEqual(self.check(self.shim() | {"CONVERT_LOG": "some-log"}, code=0), {})
        self.assertEqual(self.all["log"]["what"], f"the log goes to {L.TMP}/some-log")
        link = self.lab.file("link")
        link.symlink_to("/run")
        for target in "/run", "/run/", str(link):
            bad = self.check(self.shim() | {"CONVERT_LOG": target}, code=1)
            self.assertEqual(list(bad), ["log"])
            self.assertIn(f"the log {target} is a directory", bad["log"]["what"])

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
        L.validated("check", r.out)
        out = self.run_check({}, "-c", file, code=1).out
        self.assertNotIn(b"\x1b", out)


class Where(Doctor):
    """check --explain HOST[:PORT]: what a connection would become, which the library then shows."""
    def explain(self, shim, to, **more):
        self.check(shim, "--explain", to, **more)
        return (self.all["would-match"]["values"]["line"], self.all["would-use"]["values"]["way"],
                self.all.get("would-multipath", {}).get("values", {}).get("mptcp"))

    def line(self, shim, words):
        lines = pathlib.Path(shim["CONVERT_CONF"]).read_text().splitlines()
        return lines.index(words) + 1

    def test_rules(self):
        direct, convert = "rule = direct to 10.2.0.0/24 port 22", "rule = convert to 10.2.0.0/24"
        shim = self.shim(policy=f"{direct}\n{convert}\nmptcp = on")
        for to, line, way, mptcp in (
                (f"{L.SERVER}:22", self.line(shim, direct), "direct", None),
                (f"{L.SERVER}:80", self.line(shim, convert), "converter", True),
                (L.SERVER, self.line(shim, convert), "converter", True),
                ("10.9.0.1:80", 0, "converter", True), ("[2001:db8::1]:80", 0, "converter", True),
                ("2001:db8::1", 0, "converter", True), ("127.0.0.1:80", 0, "direct", None),
                (f"{self.v4}:{L.PORT}", 0, "direct", None)):
            with self.subTest(to):
                self.assertEqual(self.explain(shim, to, code=0), (line, way, mptcp), self.all)
        self.assertEqual(self.all["would-use"]["what"], "direct: the converter's own host")
        self.assertIn(f"by converter lab, {self.v4}:{L.PORT}\n",
                      self.text(shim, "--explain", L.SERVER))

    def test_rules_of_a_program(self):
        rule = "rule = direct app ssh,curl port 80"
        shim = self.shim(policy=rule)
        for words, line, way in ([], 0, "converter"), (["--app", "wget"], 0, "converter"), \
                (["--app", "curl"], self.line(shim, rule), "direct"):
            with self.subTest(words):
                self.check(shim, "--explain", *words, f"{L.SERVER}:80")
                self.assertEqual((self.all["would-match"]["values"]["line"],
                                  self.all["would-use"]["values"]["way"]), (line, way))
        for words in ["--app", "curl"], ["--explain", "--app", "", "a"]:
            self.assertEqual(self.lab.run([TOOL, "check", *words]).code, 2)

    def test_is_what_happens(self):
        for policy, way, host in (("rule = direct port 80", "direct", L.CLIENT),
                                  ("rule = direct port 8080", "converter", L.ROUTER)):
            shim = self.shim(policy=policy)
            self.assertEqual(self.explain(shim, f"{L.SERVER}:80")[1], way)
            r = self.lab.run(["curl", "-sS", f"http://{L.SERVER}/who"], shim=shim)
            self.assertEqual(r.out.decode().strip(), host, r)

    def multipath(self, policy):
        self.explain(self.shim(policy=policy), L.SERVER)
        return self.all["would-multipath"]["what"]

    def test_multipath(self):
        self.assertEqual(self.multipath("mptcp = off"), "TCP: mptcp = off")
        self.assertEqual(self.multipath("mptcp = on"), "MPTCP: mptcp = on")
        self.assertEqual(self.multipath("mptcp = auto"),
                         "MPTCP: mptcp = auto, and there are several paths")
        self.addCleanup(self.lab.endpoint, *self.lab.endpoints)
        self.lab.endpoint()
        self.assertEqual(self.multipath("mptcp = auto"), "TCP: there is one path")

    def test_what_is_known(self):
        shim = self.shim(policy="mptcp = on")
        self.lab.run([TOOL, "pin", f"{L.SERVER}:443", "mptcp"], env=shim)
        self.assertEqual(self.explain(shim, L.SERVER), (0, "bypass", True))
        self.assertEqual(self.explain(self.shim(policy="bypass = never"), L.SERVER)[1], "converter")
        other = self.lab.config("interface = nowhere0", address=self.v4)
        self.assertEqual(self.explain(other | {"CONVERT_STATE": self.state}, L.SERVER)[1], "direct")
        self.assertEqual(self.explain(self.shim(port=1), "10.9.0.1")[1], "converter")
        dead = self.shim(port=1, policy="fallback = direct")
        self.lab.run(["curl", "-sS", f"http://{L.SERVER}/who"], shim=dead)
        self.assertEqual(self.explain(dead, "10.9.0.1")[1], "direct")
        self.assertIn("left alone", self.all["would-use"]["what"])

    def test_strict(self):
        """As test_policy.py has it; of a file alone (-c) the environment says nothing."""
        strict = {"CONVERT_STRICT": "1"}
        shim = self.shim(policy="fallback = direct\nrule = direct port 22", log=False)
        self.lab.run([TOOL, "pin", f"{L.SERVER}:443", "mptcp"], env=shim)
        nowhere = self.lab.config("interface = nowhere0", "fallback = direct", address=self.v4, log=False)
        nowhere |= {"CONVERT_STATE": self.state}
        empty = {"CONVERT_CONF": str(self.lab.file("empty.conf", "")), "CONVERT_STATE": self.state}
        for config, to, direct, strictly in ((shim, L.SERVER, "bypass", "converter"),
                                             (shim, f"{L.SERVER}:22", "direct", "direct"),
                                             (shim, "127.0.0.1:80", "direct", "direct"),
                                             (nowhere, L.SERVER, "direct", "none"),
                                             (empty, L.SERVER, "direct", "none"),
                                             (empty, "127.0.0.1:80", "direct", "none")):
            with self.subTest(to, strictly=strictly):
                self.assertEqual(self.explain(config, to)[1], direct)
                self.assertEqual(self.explain(config | strict, to)[1], strictly)
                self.assertEqual("CONVERT_STRICT" in self.all["would-use"]["what"], strictly == "none")
        self.explain(empty | strict, L.SERVER)
        self.assertIn("no connection is made (CONVERT_STRICT)", self.all["configuration"]["what"])
        self.check(empty | strict, "--explain", "-c", empty["CONVERT_CONF"], L.SERVER)
        self.assertEqual(self.all["would-use"]["values"]["way"], "direct")
        for words, bypass, fallback in ([], "never", "none"), (["-c", shim["CONVERT_CONF"]], "auto", "direct"):
            out = self.lab.run([TOOL, "check", "--config", *words], env=shim | strict).out.decode()
            self.assertRegex(out, rf"(?s) bypass +{bypass}\n.* fallback +{fallback}\n")
            self.assertEqual("CONVERT_STRICT is set" in out, not words)

    def test_nothing_is_sent(self):
        capture = captures.Capture(self.lab)
        self.explain(self.shim(), L.SERVER, code=0)
        self.assertEqual([p for p in capture.packets() if p.src == L.CLIENT], [])
        self.assertFalse(os.path.exists(self.state))

    def test_not_to_be_told(self):
        self.check(self.shim(), "--explain", "no.such.invalid", code=1)
        self.assertEqual(self.all["would-resolve"]["verdict"], "problem")
        self.check({"CONVERT_CONF": str(self.lab.file("empty.conf", ""))}, "--explain", L.SERVER,
                   code=1)
        self.check(self.shim() | {"CONVERT_DISABLE": "1"}, "--explain", L.SERVER, code=1)
        for words in ["--explain"], ["--explain", "--config", "a"], ["--explain", "a", "b"]:
            self.assertEqual(self.lab.run([TOOL, "check", *words]).code, 2)


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

    def test_others_from_the_same_port(self):
        """Connections of other programs to other hosts are not taken for the request's."""
        port, others = random.randrange(20000, 30000), 40
        before = L.command(L.inside("client", ["sysctl", "-n", "net.ipv4.ip_local_port_range"])).strip()
        L.sysctl("client", net__ipv4__ip_local_port_range=f"{port} {port}")
        try:
            holder = self.lab.start("client", ["/usr/bin/python3", "-c", f"""
import socket, time
listener = socket.create_server(("0.0.0.0", 7001), backlog={others})
kept = [socket.create_connection((f"127.0.1.{{i}}", 7001)) for i in range(1, {others} + 1)]
assert all(s.getsockname()[1] == {port} for s in kept)
print("there", flush=True)
time.sleep(60)
"""])
            holder.wait_for("connections", lambda: "there" in holder.text())
            for shim, peer, peer_port in (None, L.SERVER, 80), (self.shim(), self.v4, L.PORT):
                r = self.lab.run([TOOL, "request", f"http://{L.SERVER}/"], shim=shim)
                found = json.loads(r.out)
                self.assertEqual((found["peer"], found["peer_port"], found["mptcp"]),
                                 (peer, peer_port, shim is not None), r)
        finally:
            L.sysctl("client", net__ipv4__ip_local_port_range=before)

    def test_ipv6(self):
        _, found = self.request(self.shim(address=self.v6), f"[{L.SERVER6}]:80", code=0)
        self.assertEqual(found["converted"]["values"]["peer"], f"[{self.v6}]:{L.PORT}")
        self.assertEqual(found["direct"]["values"]["peer"], f"[{L.SERVER6}]:80")

    def test_file_alone_is_not_strict(self):
        """The request by the library is made by it, too."""
        shim = self.lab.config("interface = nowhere0", "fallback = direct", address=self.v4, log=False)
        self.check({"CONVERT_STRICT": "1", "CONVERT_STATE": self.state}, "-c", shim["CONVERT_CONF"], f"{L.SERVER}:80")
        self.assertEqual(self.all["converted"]["values"].get("peer"), f"{L.SERVER}:80", self.all["converted"])
        self.check(shim | {"CONVERT_STRICT": "1", "CONVERT_STATE": self.state}, f"{L.SERVER}:80")
        self.assertEqual((self.all["direct"]["verdict"], self.all["converted"]["verdict"]), ("ok", "problem"))
        self.assertNotIn("peer", self.all["converted"]["values"])

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

    def test_https_of_a_bare_ipv6_address(self):
        """As with brackets: the certificate is what is wrong."""
        found = [self.request(self.shim(address=self.v6), host, code=1)[0] for host in (L.SERVER6, f"[{L.SERVER6}]")]
        self.assertIn("ertificate", found[1]["direct"]["what"])
        for key in "about", "what", "mend":
            self.assertEqual(found[0]["direct"][key], found[1]["direct"][key])

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
    L.main(setup, kind=L.BoxedLab)

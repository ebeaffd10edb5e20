#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""Converters that are not ours: they convert, and do not serve all that RFC 8803 has.

What one leaves out (Info, options in a Connect, a cookie behind such options) is learned one by
one and left out from then on. Nothing but a Connect says that a converter does not convert; and
a probe that has failed leaves programs where they would be without it."""
import json
import re
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L
import servers

TOOL = L.BUILD / "convert-bootstrap"
LIMIT_MS = 800    # `timeout` here: what a silent one may cost, once
PROBE_MS = 250    # and for `run`, where its time is not what matters
SLACK = 2.5       # seconds, on a busy machine

ASYNCIO = """
import asyncio, sys
async def who():
    reader, writer = await asyncio.open_connection(sys.argv[1], 80)
    writer.write(b"GET /who HTTP/1.0\\r\\n\\r\\n")
    print((await reader.read()).split()[-1].decode(), flush=True)
    writer.close()
async def main():
    for _ in range(int(sys.argv[2])):
        await who()
asyncio.run(main())
"""
NODE = """
require("http").get({host: process.argv[1], path: "/who", agent: false}, answer => {
    answer.on("data", data => process.stdout.write(data));
}).on("error", error => { console.error(error.code); process.exitCode = 1; });
"""
PROGRAMS = {"curl": ["curl", "-sS", f"http://{L.SERVER}/who"],
            "asyncio": ["python3", "-c", ASYNCIO, L.SERVER, "1"],
            "node": ["node", "-e", NODE, L.SERVER]}

COOKIE = ["--cookie-required", "--cookie-at", "24"]


def setup(lab):
    servers.nginx(lab)


class Foreign(L.TestCase):
    def start(self, *options):
        """A converter that nobody has met before, the kernel neither."""
        self.v4, _ = self.lab.fresh_addresses()
        self.state = str(self.lab.file("state"))
        self.converter = self.lab.converter(*options, listen=[self.v4])

    def config(self, mptcp="auto", fallback="none", more="", limit_ms=LIMIT_MS):
        if L.MPTCP == "kernel-off":
            mptcp = "off"
        policy = f"timeout = {limit_ms}ms\nmptcp = {mptcp}\nfallback = {fallback}\n{more}"
        return self.lab.config("interface = c0", policy, address=self.v4) | {
            "CONVERT_STATE": self.state}

    def accepted(self):
        return len(self.converter.events("accept"))

    def run_program(self, name, config):
        """(what the server saw, connections that the converter got, the result)"""
        before = self.accepted()
        r = self.lab.run(PROGRAMS[name], shim=config)
        return r.out.decode().split(), self.accepted() - before, r

    def helper(self, *words, config, code=0):
        r = self.lab.run([TOOL, *words], env=config)
        self.assertEqual((r.code, r.err), (code, ""), r)
        return r

    def known(self, config):
        return json.loads(self.helper("status", "--json", config=config).out)["converters"]


# Case 7.1: an answer to Info, or none. Case 7.2: base only. Case 7.4: the cookie behind a Base Connect.
class Programs(Foreign):
    """One process after the other: the first one may pay, the next ones do not."""

    def one(self, first, tries, waits, config, options):
        """tries: connections that the first program may need; waits: one of them in vain."""
        order = list(PROGRAMS)
        order = order[order.index(first):] + order[:order.index(first)]
        seen, n, r = self.run_program(first, config)
        self.assertEqual((r.code, seen), (0, [L.ROUTER]), r)
        self.assertLessEqual(n, tries, r)
        took = [int(ms) / 1000 for ms in re.findall(r"after (\d+) ms", r.log)]  # without the program's start
        self.assertLess(max(took), SLACK + waits * LIMIT_MS / 1000, r)
        for name in order[1:]:
            seen, n, r = self.run_program(name, config)
            self.assertEqual((r.code, seen, n), (0, [L.ROUTER], 1), r)

    def each(self, *options, tries=1, tries_off=1, waits=False, cookie=False):
        """tries: with mptcp = auto; tries_off: without, where no Connect has an option. cookie: one
        try of these is for that, and `run` has had it before."""
        self.need("curl", "python3", "node")
        cells = [("auto", probed, fallback) for probed in (False, True)
                 for fallback in ("none", "direct")] + [("off", False, "none"),
                                                        ("off", True, "direct")]
        for i, (mptcp, probed, fallback) in enumerate(cells):
            first = list(PROGRAMS)[(i + len(options)) % len(PROGRAMS)]
            with self.subTest(f"{first} first, mptcp {mptcp}, fallback {fallback}" +
                              probed * ", after run"):
                self.start(*options)
                config = self.config(mptcp, fallback)
                if probed:
                    self.lab.run([TOOL, "run"],
                                 env=self.config(mptcp, fallback, limit_ms=PROBE_MS))
                most = (tries if mptcp == "auto" else tries_off) - (probed and cookie)
                self.one(first, most, waits and mptcp == "auto", config, options)
                self.assertEqual([c["failures"] for c in self.known(config)], [0])
                self.converter.stop()

    def test_info_gets_an_error(self):
        self.each("--no-info", "error")

    def test_info_gets_no_answer(self):
        self.each("--no-info", "silent")

    def test_base_only_error_1(self):
        self.each("--base-only", "error1", tries=2)

    def test_base_only_error_2(self):
        self.each("--base-only", "error2", tries=2)

    def test_base_only_close(self):
        self.each("--base-only", "close", tries=2)

    def test_base_only_silent(self):
        self.each("--base-only", "silent", tries=2, waits=True)

    def test_cookie_behind_a_base_connect(self):
        self.each(*COOKIE, tries=3, tries_off=2, cookie=True)

    def test_nothing_but_base_connects(self):
        """As the ones that people wrote for a client's tests."""
        self.each("--no-info", "error", "--base-only", "error1", *COOKIE, tries=3, tries_off=2)

    def test_nothing_but_base_connects_and_rude(self):
        self.each("--no-info", "silent", "--base-only", "close", tries=2)

    def test_nothing_but_base_connects_and_mute(self):
        self.each("--no-info", "silent", "--base-only", "silent", "--fastopen", "off", tries=2,
                  waits=True)

    def test_with_mptcp(self):
        self.each("--mptcp", "--no-info", "error", "--base-only", "error2", tries=2)

    def test_with_mptcp_and_mute(self):
        """Silence has two reasons then: a reply that its kernel holds back is the other."""
        self.each("--mptcp", "--fastopen", "cookie", "--no-info", "silent", "--base-only",
                  "silent", tries=3, waits=True)

    def test_other_dialects(self):
        for dialect in "draft-02", "hybrid":
            with self.subTest(dialect):
                self.each("--dialect", dialect, "--lenient", "--no-info", "error", "--base-only",
                          "error1", tries=2)


class Processes(Foreign):
    """Without a state file a process learns for itself."""

    def test_the_second_connection(self):
        for answer in "error1", "error2", "close", "silent":
            for fallback in "none", "direct":
                with self.subTest(f"{answer}, fallback {fallback}"):
                    self.start("--base-only", answer)
                    r = self.lab.run(["python3", "-c", ASYNCIO, L.SERVER, "3"],
                                     shim=self.config(fallback=fallback) |
                                     {"CONVERT_STATE": "none"})
                    self.assertEqual((r.code, r.out.decode().split()), (0, [L.ROUTER] * 3), r)
                    self.assertEqual(self.accepted(), 3 + (L.MPTCP != "kernel-off"), r)


# Case 7.3: nothing is tried once more that cannot be different.
class Connects(Foreign):
    def connects(self):
        """The options of each Connect that the converter got. It may be asked by Info, too,
        whether it is there: when it is silent."""
        requests = self.converter.events("request")
        self.assertEqual(len(requests), self.accepted())
        return [e["opts"] for e in requests if e["connect"] == "yes"]

    def refused(self, options, **config):
        self.start(*options)
        seen, _, r = self.run_program("curl", self.config(fallback="direct", **config))
        self.assertEqual(seen, [L.CLIENT], r)
        return self.connects()

    def test_error_33_for_no_options(self):
        """What was not sent cannot be left out: there is no second try."""
        for value in "1e", "1e220000", "fd":
            with self.subTest(value):
                self.assertEqual(self.refused(["--fault", f"error=33:{value}"], mptcp="off"),
                                 ["-"])

    def test_errors_for_no_options(self):
        """The same of every answer that means an option only if there was one."""
        for fault in "error=1", "error=2", "error=9", "close", "rst", "silence":
            with self.subTest(fault):
                self.assertEqual(self.refused(["--fault", fault], mptcp="off"), ["-"])

    def test_one_that_always_says_so(self):
        """One try more, and no third one."""
        if L.MPTCP == "kernel-off":
            self.skipTest("no Connect has an option")
        for fault in "error=1", "error=2", "error=9", "error=33:1e", "close", "rst", "silence":
            with self.subTest(fault):
                self.assertEqual(self.refused(["--fault", fault]), ["30", "-"])

    def test_nothing_is_asked_that_is_not_wanted(self):
        """Whether a server speaks MPTCP is asked for the bypass alone."""
        self.start()
        config = self.config(more="bypass = never")
        self.assertEqual(self.run_program("curl", config)[:2], ([L.ROUTER], 1))
        self.assertEqual(self.connects(), ["-"])


# Case 7.1: what the helper makes of it.
class Helper(Foreign):
    """`run` and `check` say what they have seen, and no more."""

    def ran(self, *options, words, code=0):
        self.start(*options)
        config = self.config(more="retry = 60s")
        r = self.helper("run", config=config, code=code)
        self.assertRegex(r.out.decode(), rf"\Alab {re.escape(self.v4)}:\d+ by c0: {words}\n\Z")
        self.assertLess(r.seconds, 5)
        self.assertEqual(sum(c["failures"] for c in self.known(config)), 0)
        return config

    def test_run(self):
        works = "{}, [0-9.]+ ms, .*, (TCP|MPTCP).*"
        for dialect in "rfc8803", "draft-02", "hybrid":
            with self.subTest(dialect):
                config = self.ran("--no-info", "error", "--dialect", dialect,
                                  words=works.format(dialect) + ", Info is not served")
                (known,) = self.known(config)
                self.assertEqual((known["dialect"], known["offers"]), (dialect, None))
        config = self.ran(*COOKIE, words=works.format("rfc8803") + ", Info is not served")
        self.assertTrue(self.known(config)[0]["convert_cookie"])
        self.ran("--no-info", "silent", words=works.format("rfc8803") + ", Info is not served")
        self.ran("--base-only", "silent", words=works.format("rfc8803"))

    def test_run_without_an_answer(self):
        """With a `timeout` that would be 15 s."""
        for options in [], ["--mptcp", "--fastopen", "cookie"]:
            with self.subTest(options):
                self.start("--no-info", "silent", "--wrong-word", "silence", *options)
                config = self.config(limit_ms=5000)
                r = self.helper("run", config=config)
                self.assertIn("NOT KNOWN: connected, but no reply to Info", r.out.decode())
                self.assertLess(r.seconds, 7)
                self.assertEqual(self.known(config), [])
                self.assertEqual(self.run_program("curl", config)[:2], ([L.ROUTER], 1))
                self.assertEqual(self.known(config)[0]["dialect"], "rfc8803")
                self.assertIn("NOT KNOWN", self.helper("run", config=config).out.decode())
                self.assertEqual(self.run_program("curl", config)[:2], ([L.ROUTER], 1))

    def findings(self, config, *words, code):
        r = self.lab.run([TOOL, "check", "--json", *words], env=config, timeout=60)
        self.assertEqual((r.code, r.err), (code, ""), r)
        return {f["id"]: f for f in L.validated("check", r.out)["findings"]}

    def test_check(self):
        silent = ["--no-info", "silent", "--wrong-word", "silence"]
        for options in (["--no-info", "error"], silent, COOKIE):
            with self.subTest(options):
                self.start("--fastopen", "cookie", *options)
                config = self.config(mptcp="off")
                found = self.findings(config, code=0)
                if options is silent:
                    self.assertEqual((found["reply"]["verdict"], found["reply"]["mend"]),
                                     ("note", ["convert-bootstrap check HOST"]))
                found = self.findings(config, f"{L.SERVER}:80", code=0)
                self.assertEqual(found["converted"]["verdict"], "ok")
                self.assertIn(f"converted by {self.v4}", found["converted"]["what"])
                self.assertNotIn("no converter", str(found))
                if options is silent:
                    self.assertIn("it converts", found["reply"]["what"])
                else:
                    self.assertIn("Info is not served", found["extensions"]["what"])

    def test_check_of_one_that_does_not_convert(self):
        self.start("--fault", "silence", "--wrong-word", "silence", "--fastopen", "cookie")
        config = self.config(mptcp="off", fallback="direct")
        found = self.findings(config, f"{L.SERVER}:80", code=1)
        self.assertEqual(found["converted"]["verdict"], "problem")
        self.assertEqual(self.findings(config, code=1)["reply"]["verdict"], "problem")


L.main(setup)

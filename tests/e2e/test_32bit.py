#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""Case 2.2. Programs of 32 bits (i386): with a 64-bit time_t, which call __select64 and its like; with a
32-bit one; and past libc. test_transparency.py's clients say the same converted as direct.

The library for them is found by the same LD_PRELOAD as the one for 64 bits, by its $LIB."""
import json
import os
import shutil
import subprocess
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L
import servers
import test_transcript as C
import test_transparency as T

ECHO = T.ECHO
BUILT = L.BUILD / "32"
WIDE, NARROW = BUILT / "e2e/plain", BUILT / "narrow/e2e/plain"
# what $LIB is to whom: libc6:i386, libc6-i386, other distributions; and Debian's x86-64
LIBS = {BUILT: ("lib/i386-linux-gnu", "lib32", "lib"), L.BUILD: ("lib/x86_64-linux-gnu", "lib64")}
if T.EXTENT == "all":
    L.TEST_LIMIT = 900
BUILDS = {"wide": "e2e/plain", "narrow": "narrow/e2e/plain",
          "wide-past-libc": "e2e/past-libc", "narrow-past-libc": "narrow/e2e/past-libc"}


def setup(lab):
    for built, folders in LIBS.items():
        for folder in folders:
            (L.TMP / folder).mkdir(parents=True, exist_ok=True)
            shutil.copy(built / L.SHIM.name, L.TMP / folder)
    L.SHIM = L.TMP / "$LIB" / L.SHIM.name
    L.MPTCP = "on"  # TCP has the server's listener, too
    T.setup(lab)
    servers.nginx(lab)
    T.BARE_MPTCP = {"LD_PRELOAD": str(BUILT / "lab/mptcp-sockets.so")}


class Library(L.TestCase):
    def test_exports(self):
        done = subprocess.run([L.ROOT / "tests/exports", BUILT / L.BUILT_SHIM.name,
                               BUILT / "e2e/plain/t_errno"], cwd=L.ROOT, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_a_large_difference(self):
        """Of the helper: 2^16 by 2^16 cells are none in 32 bits, and what was written there was outside."""
        program, helper = self.lab.file("differ"), L.ROOT / "bootstrap-helper"
        main = self.lab.file("differ.c", """
#include <stdlib.h>
#include <string.h>
#include "fetch.h"
int main(void)
{
	enum { LINES = 65535 };
	char *old = calloc(1, 2 * LINES + 1), *new = calloc(1, 2 * LINES + 1);
	for (int i = 0; i < LINES; i++) {
		memcpy(old + 2 * i, "a\\n", 2);
		memcpy(new + 2 * i, "b\\n", 2);
	}
	struct fetch_text a = { "old", old, 2 * LINES, true }, b = { "new", new, 2 * LINES, true };
	return fetch_diff(stdout, &a, &b) != 0;
}
""")
        compiler = os.environ.get("CC32", "i686-linux-gnu-gcc").split()
        rooms = [f"-I{folder}" for folder in (helper / "fetch", helper / "base", L.ROOT / "policy", L.ROOT / "common")]
        L.command([*compiler, "-O1", "-std=gnu11", "-D_GNU_SOURCE", *rooms, main, helper / "fetch/fetch_diff.c",
                   "-o", program])
        r = self.lab.run([program])
        self.assertEqual((r.code, r.out.count(b"\n")), (0, 3 + 2 * 65535), r.err)

    def test_one_state_for_both(self):
        """What was told one of 64 bits of a server, programs of both sizes know; and they count together."""
        converter = self.lab.converter("--mptcp", listen=T.LISTEN)
        shim = self.lab.config("fast-open = no-cookie", "timeout = 30s", log=False)
        shim["CONVERT_STATE"] = str(self.lab.file("state"))
        for verdict, requests in ("tcp", 3), ("mptcp", 3):
            self.tool(shim, "pin", f"{L.SERVER}:{ECHO}", verdict)
            for tools in L.TOOLS, WIDE, NARROW:
                r = self.lab.run([tools / "t_time", "=limit_zero-poll", *[L.SERVER, ECHO] * 2], shim=shim)
                self.assertEqual(r.code, 0, r)
            self.assertEqual(len(converter.events("request", requests)), requests)
        counts = json.loads(self.tool(shim, "status", "--json"))["counts"]
        self.assertEqual((counts["converted"], counts["bypassed"]), (3, 3))

    def tool(self, shim, *words):
        r = self.lab.run([L.BUILD / "convert-bootstrap", *words], env=shim)
        self.assertEqual(r.code, 0, r)
        return r.out.decode()


class Programs(T.Transparency):
    MPTCP, KIND = "off", ("at_once", "split", "ask")

    def setUp(self):
        super().setUp()
        L.MPTCP = self.MPTCP

    def client(self, build, *more, **others):
        return super().client(BUILT / BUILDS[build], *more, **{"jobs": 40} | others)

    def say_the_same(self, build, *clients):
        runs = [(build, client, pattern, outcome) for client, pattern, outcomes in clients
                for outcome in outcomes]
        self.through(*self.KIND, runs, enough=3)

    WAITING = ("t_matrix", "*", T.BOTH), ("t_io", "*", T.BOTH)
    LIBC = ("t_time", "[ls]*", T.BOTH), ("t_errno", "*", T.BOTH), ("t_args", "*", ["accepted"])
    MORE = (("t_life", "[!h]*", T.BOTH), ("t_options", "*", T.BOTH), ("t_epoll", "*", T.BOTH),
            ("t_args", "*", ["refused"]))
    PAST_LIBC = *WAITING, ("t_time", "[ls]*", ["accepted"])

    def test_wide(self):
        self.say_the_same("wide", *self.WAITING, *self.LIBC)

    def test_narrow(self):
        self.say_the_same("narrow", *self.WAITING, *self.LIBC)

    def test_wide_past_libc(self):
        self.say_the_same("wide-past-libc", *self.PAST_LIBC)

    def test_narrow_past_libc(self):
        self.say_the_same("narrow-past-libc", *self.PAST_LIBC)

    if T.EXTENT == "all":
        def test_more_wide(self):
            self.say_the_same("wide", *self.MORE)

        def test_more_narrow(self):
            self.say_the_same("narrow", *self.MORE)


class ProgramsOverMptcp(Programs):
    MPTCP, KIND, direct = "on", ("at_once", "whole", "data"), {}
    test_wide_past_libc = test_narrow_past_libc = None


class WideTranscripts(C.AtOnce):
    """Each call of a connection; signals, children, and a thread that is cancelled."""
    TOOLS, POLICY, direct, programs = BUILT / "e2e", "mptcp = off", {}, {}
    test_accepted6 = test_refused6 = test_unreachable = test_prohibited = None


class NarrowTranscripts(WideTranscripts):
    TOOLS, direct, programs = BUILT / "narrow/e2e", {}, {}


if __name__ == "__main__":
    L.main(setup, delay_ms=(30, 20))

#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""What a program sees of a connection, call by call: the same lines with the shim as without.

transcript.c and transcript-signals.c print them. The links have a delay, so that "still connecting" lasts long enough to
be looked at in both.
"""
import concurrent.futures
import difflib
import itertools
import sys
import types
import unittest.mock

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L
import servers

OUTCOMES = {  # what becomes of the connection, and how it is brought about
    "accepted": (L.SERVER, 80),
    "accepted6": (L.SERVER6, 80),
    "refused": (L.SERVER, 81),
    "refused6": (L.SERVER6, 81),
    "unreachable": (servers.UNREACHABLE, 80),
    "prohibited": (servers.PROHIBITED, 80),
    "mute": (servers.MUTE, 80),
}
BY_ICMP = {"unreachable": "EHOSTUNREACH", "prohibited": "EHOSTUNREACH"}
MUTE = ("sndtimeo", "cancel", "close_in_thread")
# Cases whose lines are about a connection that is made.
ONLY_ACCEPTED = ("blocking_exchange", "poll_exchange", "poll_in", "disconnect_connected",
                 "vfork_pending", "exec_pending", "execl_pending", "spawn_pending",
                 "io_pending", "threads", "vfork_memory")


def setup(lab):
    servers.nginx(lab)
    servers.nowhere(lab)


class Transcript(L.TestCase):
    """Subclasses say through what kind of converter."""
    CONVERTER = None
    SETTINGS = POLICY = USER = ""
    TOOLS = L.TOOLS
    programs = {}  # case -> the program that has it
    direct = {}    # (case, outcome) -> Result, shared by the subclasses and their threads

    @classmethod
    def setUpClass(cls):
        for program in (cls.TOOLS / "transcript", cls.TOOLS / "transcript-signals"):
            for case in L.command([program, "list"]).split():
                if case != "inherited":  # what the exec cases go on with
                    cls.programs[case] = program

    def transcript(self, case, outcome, shim=None):
        return self.lab.run([self.programs[case], case, *OUTCOMES[outcome]], shim=shim,
                            timeout=30, user=self.USER or None)

    def plain(self, case, outcome):
        result = self.direct.get((case, outcome))
        if result is None:
            result = self.direct[case, outcome] = self.transcript(case, outcome)
        return result

    def plain_again(self, case, outcome):
        """What other cases have shown stays: other threads look at it."""
        outcome = "refused" if outcome in BY_ICMP else outcome
        self.direct.pop((case, outcome), None)
        return self.plain(case, outcome)

    def expected(self, case, outcome):
        """What a plain run shows. For an ICMP error it is what a plain run shows of a refused
        server, with the other errno: since Linux 5.18 the kernel leaves such an error in the
        socket's error queue too, where it raises POLLERR for good, and nobody can put one there."""
        err = BY_ICMP.get(outcome)
        plain = self.plain(case, outcome if not err else "refused")
        text = plain.out.decode()
        return plain, (text.replace("ECONNREFUSED", err) if err else text).splitlines()

    def compare(self, case, outcome, shim):
        """Whether a signal of the program's timer comes before the answer of a server 100 ms away is chance where
        the host is busy: both runs have three tries. Anything else has another one if a plain run does not show the same
        once more: a reset wakes who waits twice, with the error and with the end, and who has been told both between the
        two is told once more by EPOLLET, once in some thousands."""
        plain, text = self.compare_once(case, outcome, shim)
        if text and plain.out != self.plain_again(case, outcome).out:
            self.tried_again(f"differed, and so do plain runs: {text}")
            _, text = self.compare_once(case, outcome, shim)
        for _ in range(2 if case.startswith("signal") else 0):
            if not text:
                break
            self.tried_again(f"differed: {text}")
            self.plain_again(case, outcome)
            _, text = self.compare_once(case, outcome, shim)
        return text

    def compare_once(self, case, outcome, shim):
        """The plain run, and how the other one differs from it, or None."""
        direct, expected = self.expected(case, outcome)
        shimmed = self.transcript(case, outcome, shim)
        lines = [expected, shimmed.out.decode().splitlines()]
        if (lines[0], direct.code, direct.err) == (lines[1], shimmed.code, shimmed.err):
            return direct, None
        # the first two lines of a unified diff are its file names
        difference = list(difflib.unified_diff(*lines, n=2, lineterm=""))[2:]
        return direct, "\n  ".join([f"{case}, {outcome}: exit {direct.code}, with the shim "
                                    f"{shimmed.code} {shimmed.err}"] + difference)

    def check(self, outcome, cases=None):
        converter = self.lab.converter(*self.CONVERTER)
        if cases is None:
            cases = [n for n in self.programs if n not in MUTE and
                     (outcome.startswith("accepted") or n not in ONLY_ACCEPTED)]
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            shims = [self.lab.config(self.SETTINGS, self.POLICY,
                                     address=[L.CONVERTER, L.CONVERTER6])
                     for _ in cases]
            bad = [text for text in pool.map(self.compare, cases, [outcome] * len(cases), shims)
                   if text]
        if bad:
            self.fail(f"{len(bad)} of {len(cases)} differ\n" + "\n".join(bad))
        return converter


class AtOnce(Transcript):
    """The converter answers the SYN at once, and the message when the server has answered."""
    CONVERTER = ()
    SETTINGS = "fast-open = no-cookie"

    def test_accepted(self):
        self.check("accepted")

    def test_accepted6(self):
        self.check("accepted6")

    def test_refused(self):
        self.check("refused")

    def test_refused6(self):
        self.check("refused6")

    def test_unreachable(self):
        self.check("unreachable")

    def test_prohibited(self):
        self.check("prohibited")

    def test_mute(self):
        self.check("mute", MUTE)


class Compared(Transcript):
    CONVERTER = ()
    SETTINGS = "fast-open = no-cookie"

    def test_what_is_tried_again(self):
        """A plain run that was otherwise than the next one; not what is otherwise with the shim alone."""
        case = "epoll_edge_before", "refused6"
        plain = self.transcript(*case)
        odd = types.SimpleNamespace(**plain.__dict__ | {"out": plain.out.replace(b"epoll_wait: 0", b"epoll_wait: 1 IN")})
        self.lab.converter(*self.CONVERTER)
        shim = self.lab.config(self.SETTINGS, self.POLICY, address=[L.CONVERTER, L.CONVERTER6])
        self.direct[case] = odd
        with unittest.mock.patch.object(self, "tried_again") as tried:
            self.assertIsNone(self.compare(*case, shim))
        tried.assert_called_once()
        with unittest.mock.patch.object(self, "transcript", lambda *_: odd):
            self.direct[case] = plain
            with unittest.mock.patch.object(self, "plain", lambda *_: plain):
                self.assertIn("+epoll_wait: 1 IN", self.compare(*case, shim))

    def test_others_are_kept(self):
        """What plain runs of other cases have shown is looked at by other threads, while this one has another try."""
        other, numbers = ("poll", "refused"), itertools.count()

        def transcript(*run):
            return types.SimpleNamespace(out=b"odd" if run[2:] else b"%d" % next(numbers), code=0, err="")
        for outcome in "refused", "unreachable":
            with (unittest.mock.patch.dict(self.direct, {other: "kept"}, clear=True),
                  unittest.mock.patch.object(self, "tried_again"),
                  unittest.mock.patch.object(self, "transcript", transcript)):
                self.assertIn("+odd", self.compare("signal", outcome, {}))
                self.assertEqual(self.direct.get(other), "kept")


class Owed(Transcript):
    """The message never rides in the SYN."""
    CONVERTER = ()

    def setUp(self):
        super().setUp()
        L.sysctl("client", net__ipv4__tcp_fastopen=0)
        self.addCleanup(L.sysctl, "client", net__ipv4__tcp_fastopen=1)

    def test_accepted(self):
        self.check("accepted")

    def test_refused(self):
        self.check("refused")

    def test_mute(self):
        self.check("mute", MUTE)


class Split(Transcript):
    CONVERTER = ("--fault", "split=1,gap=2", "--ext-header", "always")
    SETTINGS = "fast-open = no-cookie"

    def test_accepted(self):
        self.check("accepted")

    def test_refused(self):
        self.check("refused")


class Hold(Transcript):
    """The converter holds the SYN until the server has answered, and refuses it by a RST."""
    CONVERTER = ("--hold",)
    SETTINGS = "fast-open = no-cookie"

    def test_accepted(self):
        self.check("accepted")

    def test_refused(self):
        self.check("refused")

    def test_mute(self):
        self.check("mute", MUTE)


class Multipath(Transcript):
    """Of established connections, and of what becomes of them, test_differences.py has more."""
    CONVERTER = ("--mptcp",)
    SETTINGS = "fast-open = no-cookie"
    POLICY = "mptcp = on"

    def check(self, outcome):
        converter = super().check(outcome)
        kinds = [event["mptcp"] for event in converter.events("accept")]
        self.assertGreater(kinds.count("yes"), len(kinds) / 2)

    def test_accepted(self):
        self.check("accepted")

    def test_refused(self):
        self.check("refused")


class MultipathWithoutPrivileges(Multipath):
    USER = "nobody"


if __name__ == "__main__":
    L.main(setup, delay_ms=(40, 10))

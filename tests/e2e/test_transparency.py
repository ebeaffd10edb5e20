#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Each call that a program can make around a connection: the same lines converted as direct.

The clients are in clients/; a client runs many cases, each in a process of its own, and prints what
every call returned. It runs twice without the shim for each outcome, and then through each kind of
converter, where it has to say what one of the plain runs has said.

With LAB_MPTCP=on the connections to the converter and the server's are Multipath TCP. Then a client
runs directly over an MPTCP socket besides, and a line may be what that one has said: options and
readiness that the kernel's MPTCP has and TCP has not are the kernel's.
"""
import collections
import concurrent.futures
import difflib
import functools
import itertools
import os
import re
import subprocess

import known_differences
import sys
sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L
import servers

ECHO, GREET, PIECES, BYE, RESET, SILENT = range(7000, 7006)  # echo-server's
CLOSED = 7009
OUTCOMES = {
    "accepted": (L.SERVER, ECHO),
    "refused": (L.SERVER, CLOSED),
    "mute": (servers.MUTE, ECHO),
}

# Longer than any case: what ends a wait on a mute server is the program. No bypass: the server speaks
# MPTCP, too.
POLICY = "timeout = 30s\nbypass = never"
# What the clients' own listeners are made, which nobody but they themselves connects to.
INCOMING = "\n[incoming]\nrule = accept"
LISTEN = ["0.0.0.0", "[::]"]  # the wildcard, for subflows that join

# How the converter answers: it accepts TCP at once and replies later, or holds the SYN.
ANSWERS = {"at_once": [], "hold": ["--hold"]}
# How its reply comes: with whole 2 ms between bytes the split one takes 0.1 s.
REPLIES = {"whole": [], "split": ["--fault", "split=1,gap=2"],
           "late": ["--fault", "delay=700,split=1"]}
# Where the Connect TLV goes: into the SYN; behind the handshake, as this SYN asks for a Fast Open
# cookie (and the converter never gives one); behind the handshake, as Fast Open is switched off.
# "free" is for programs that use Fast Open themselves: their kernel asks for no cookie.
SYNS = {"data": ([], "fast-open = no-cookie", 1),
        "ask": (["--fastopen", "off"], "fast-open = cookie", 1),
        "off": ([], "", 0),
        "free": ([], "fast-open = no-cookie", 5)}

BARE_MPTCP = {"LD_PRELOAD": str(L.LAB_TOOLS / "mptcp-sockets.so")}


def is_mptcp():
    return L.MPTCP == "on"


@functools.cache
def before_all_others():
    """Where we may (sched(7)): else what is late is late again."""
    words = ("chrt", "-f", "1")
    may = not L.USER and subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0
    return words if may else ()


def setup(lab):
    servers.nowhere(lab)
    L.sysctl("server", net__ipv4__tcp_fastopen=3)
    server = lab.start("server", [L.TOOLS / "echo-server", ECHO],
                       env=BARE_MPTCP if is_mptcp() else None)
    server.wait_for_listeners(ECHO, SILENT)


def blocks(text):
    """{case: its lines}"""
    found, lines = {}, []
    for line in text.splitlines():
        if line.startswith("== "):
            lines = found.setdefault(line[3:], [])
        else:
            lines.append(line)
    return found


# Each client runs through one kind of converter, so that all of them together meet each kind of answer,
# reply and SYN; another one over MPTCP. TRANSPARENCY=pairs: each value of each, pairwise; all: all.
ONE = {"Waiting": ("at_once_split_ask", "hold_split_data"),
       "InputOutput": ("at_once_late_off", "at_once_whole_data"),
       "Life": ("hold_split_data", "at_once_whole_data"),
       "Handed": ("hold_late_data", "at_once_whole_data"),
       "Epoll": ("at_once_late_off", "hold_split_data"),
       "Time": ("at_once_whole_data", "hold_split_data"),
       "Arguments": ("at_once_split_ask", "at_once_whole_data"),
       "FastOpen": ("hold_split_free", "at_once_whole_free"),
       "FastOpenOwed": ("at_once_late_off", None),
       "Errno": ("at_once_whole_data", "hold_split_data"),
       "PastLibc": ("at_once_split_ask", None)}
PAIRS = ["at_once_whole_data", "at_once_split_ask", "at_once_late_off", "hold_split_data",
         "hold_late_data", "at_once_whole_free", "hold_split_free", "at_once_late_free"]
# Where the clients that were built without _FORTIFY_SOURCE run, too, and those whose calls are made by
# syscall().
PLAIN = ["at_once_whole_data", "at_once_late_off"]
PAST_LIBC = ["at_once_split_ask", "hold_late_data"]
EXTENT = os.environ.get("TRANSPARENCY", "one")


def is_chosen(name, label, every, pairs):
    if EXTENT == "one":
        return label == ONE[name][is_mptcp()]
    return EXTENT == "all" or every or label in pairs


def as_tcp(converted, direct, mptcp):
    """converted, with the lines of direct where it says what MPTCP does."""
    if mptcp is None or converted == mptcp:
        return converted if mptcp is None else direct
    if not len(converted) == len(direct) == len(mptcp):
        return converted
    return [tcp if line == bare else line for line, tcp, bare in zip(converted, direct, mptcp)]


# cases of one run that may have been looked at late; more of them are no accident
MAY_BE_LATE = 5


class Transparency(L.TestCase):
    direct = {}  # shared by all: what plain runs said, and what bare MPTCP said

    def forget(self):
        self.direct.clear()  # what had no token may be the one that the others are compared with

    def client(self, build, client, pattern, outcome, shim=None, jobs=150, env=None, first=()):
        """first: words that let it run before all others."""
        program = L.TOOLS / build / client
        target = [str(word) for word in OUTCOMES[outcome] + (L.SERVER, ECHO)]
        result = self.lab.run([*first, program, "-j", jobs, pattern] + target, shim=shim, env=env,
                              timeout=100)
        self.assertIn(result.code, (0, 1), result)
        return blocks(result.out.decode(errors="replace"))

    def plainly(self, fast_open, pool, runs, **more):
        """Runs without the shim what has not run yet with the same Fast Open in the kernel."""
        missing = [what for what in runs if (fast_open,) + what not in self.direct]
        twice = [[pool.submit(self.client, *what, **more) for _ in range(2)] for what in missing]
        bare = [pool.submit(self.client, *what, env=BARE_MPTCP, **more) if is_mptcp() else None
                for what in missing]
        for what, both, mptcp in zip(missing, twice, bare):
            first, second = (run.result() for run in both)
            mptcp = mptcp.result() if mptcp else dict.fromkeys(first)
            self.assertEqual(set(first), set(second))
            unsure = [case for case in first if first[case] != second[case]]
            if unsure:
                self.note(f"two plain runs of {' '.join(what)} differ: {', '.join(unsure)}")
            self.direct[(fast_open,) + what] = {case: (first[case], second[case], mptcp[case])
                                                for case in first}

    def difference(self, label, what, case, plain, converted):
        """A text if there is one that should not be, or none that should. plain: what two plain runs
        said, which now and then race with the network by themselves: one of the two counts; and what
        bare MPTCP said."""
        _, client, _, outcome = what
        known = known_differences.find(label.replace(" ", "_"), client, case, outcome)
        head = f"{label} {' '.join(what)} {case}:"
        found = [self.unexplained(known, head, direct, as_tcp(converted, direct, plain[2]))
                 for direct in plain[:2]]
        return found[0] if all(found) else []

    @staticmethod
    def unexplained(known, head, direct, converted):
        lines = [d for d in difflib.ndiff(direct, converted) if d[0] != "?"]
        if known_differences.explains(known, [d for d in lines if d[0] in "+-"]) \
                if known else direct == converted:
            return []
        if direct == converted:
            return [f"{head}\n  does not differ any more"]
        return [f"{head}\n  " + "\n  ".join(lines)]

    def differences(self, label, what, direct, converted, again):
        """A program that was not scheduled between two looks has seen less or more than another one:
        what differs is looked at again by itself, without the shim and with it, and counts if it
        differs then too. again: of a case, direct and converted as here."""
        self.assertEqual(set(direct), set(converted))
        once = {case: text for case in direct
                if (text := self.difference(label, what, case, direct[case], converted[case]))}
        bad = []
        for case in once:
            if len(once) <= MAY_BE_LATE and not self.difference(label, what, case, *again(what, case)):
                self.tried_again(f"differed once: {once[case][0]}")
            else:
                bad += once[case]
        return [f"{label} {' '.join(what)}: {len(bad)} of {len(direct)} differ"] * bool(bad) + bad

    def through(self, answer, reply, syn, runs, enough=10, at_once=os.cpu_count(), **more):
        """runs: [(build, client, pattern, outcome)...], all through one kind of converter."""
        options, settings, fast_open = SYNS[syn]
        if answer == "at_once":  # and so half of all runs
            settings += INCOMING
        converter = self.lab.converter(*ANSWERS[answer], *REPLIES[reply], *options,
                                       *["--mptcp"] * is_mptcp(), listen=LISTEN)
        L.sysctl("client", net__ipv4__tcp_fastopen=fast_open)
        bad = []

        def convert(what, **alone):
            return self.client(*what, **more | alone, shim=self.lab.config(settings, POLICY))

        def again(what, case):
            build, client, _, outcome = what
            what, alone = (build, client, case, outcome), {"jobs": 1, "first": before_all_others()}
            plain = [self.client(*what, **more | alone)[case] for _ in range(2)]
            mptcp = is_mptcp() and self.client(*what, **more | alone | {"env": BARE_MPTCP})[case]
            return (*plain, mptcp or None), convert(what, **alone)[case]

        try:
            with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
                found = [pool.submit(convert, what) for what in runs]
                self.plainly(fast_open, pool, runs, **more)
            for what, converted in zip(runs, found):
                bad += self.differences(f"{'mptcp ' * is_mptcp()}{answer} {reply} {syn}", what,
                                        self.direct[(fast_open,) + what], converted.result(), again)
        finally:
            L.sysctl("client", net__ipv4__tcp_fastopen=1)
        if bad and "DIFFERENCES" in os.environ:  # a file for all of it
            with open(os.environ["DIFFERENCES"], "a") as file:
                print(*bad, sep="\n", file=file)
        self.assertFalse(bad, "\n".join(bad))
        self.assertGreaterEqual(len(converter.events("request")), enough * len(runs),
                                "too little was converted")
        if is_mptcp():
            kinds = collections.Counter(event["mptcp"] for event in converter.events("accept"))
            self.note(f"{kinds['yes']} of {kinds.total()} connections to the converter were MPTCP")
            self.assertGreater(kinds["yes"], kinds.total() / 4)


def through_each(name, runs, every=False, syns=("data", "ask", "off"), build="", pairs=PAIRS,
                 **more):
    """A class with one test for each kind of converter; runs: [(client, pattern, outcome)...]. A
    SYN without the Connect TLV is one that a converter cannot hold."""
    tests = {}
    for kind in itertools.product(ANSWERS, REPLIES, syns):
        label = "_".join(kind)
        if kind[0] == "hold" and kind[2] not in ("data", "free"):
            continue
        if not is_chosen(name, label, every, pairs):
            continue
        plain, few = not build and label in PLAIN, EXTENT == "one" and is_mptcp()
        builds = ["", "plain"] if plain and not few else [build]

        def test(self, kind=kind, builds=builds):
            self.through(*kind, [(build,) + run for build in builds for run in runs], **more)
        tests["test_" + label] = test
    return type(name, (Transparency,), tests)


def with_outcomes(client, *outcomes, pattern="*"):
    return [(client, pattern, outcome) for outcome in outcomes]


BOTH = ("accepted", "refused")
ALL = ("accepted", "refused", "mute")

Waiting = through_each("Waiting", with_outcomes("t_matrix", *BOTH), every=True)
InputOutput = through_each("InputOutput", with_outcomes("t_io", *ALL))
Life = through_each("Life", with_outcomes("t_life", *BOTH, pattern="[!h]*"))
Handed = through_each("Handed", with_outcomes("t_life", *BOTH, pattern="hand-*"), enough=5)
Epoll = through_each("Epoll", with_outcomes("t_epoll", *BOTH))
Time = through_each("Time", with_outcomes("t_time", *ALL, pattern="[ls]*"))
Arguments = through_each("Arguments", with_outcomes("t_args", *BOTH) +
                         with_outcomes("t_options", *BOTH))
FastOpen = through_each("FastOpen", with_outcomes("t_fastopen", *ALL) +
                        with_outcomes("t_deferred", *ALL), syns=["free"])
FastOpenOwed = through_each("FastOpenOwed", with_outcomes("t_fastopen", *BOTH) +
                            with_outcomes("t_deferred", *BOTH), syns=["ask", "off"])
Errno = through_each("Errno", with_outcomes("t_errno", *BOTH), enough=3)
PastLibc = through_each(
    "PastLibc", with_outcomes("t_matrix", *BOTH) + with_outcomes("t_io", *ALL) +
    with_outcomes("t_life", *BOTH, pattern="[!h]*") + with_outcomes("t_epoll", *BOTH) +
    with_outcomes("t_time", *ALL, pattern="[ls]*") + with_outcomes("t_options", *BOTH),
    build="past-libc", pairs=PAST_LIBC)


class Names(L.TestCase):
    def test_every_exported_name_is_called(self):
        lines = L.command(["nm", "-D", "--defined-only", L.BUILT_SHIM]).splitlines()
        exported = [line.split()[2] for line in lines]
        called = L.command([L.TOOLS / "t_errno", "names"]).split()
        self.assertEqual(sorted(exported), sorted(called))


class Patience(L.TestCase):
    """A program that waits 2 s for a reply makes fewer than 20 system calls in that time."""

    def calls(self, case):
        trace = self.lab.file("strace")
        shim = self.lab.config("fast-open = no-cookie", log=False)  # a log is calls, too
        environment = {"LD_PRELOAD": str(L.SHIM)} | shim
        argv = ["strace", "-f", "-qq", "-o", trace]
        argv += [f"-E{name}={value}" for name, value in environment.items()]
        argv += [L.TOOLS / "t_time", "=" + case, L.SERVER, ECHO, L.SERVER, ECHO]
        result = self.lab.run(argv, timeout=30)
        self.assertEqual(result.code, 0, result)
        lines = trace.read_text().splitlines()
        first = next(n for n, line in enumerate(lines) if "MSG_FASTOPEN" in line)
        # what a connect() that does not wait does itself comes before
        first = next((n for n, line in enumerate(lines)
                      if 'write(1, "' in line and "EINPROGRESS" in line), first)
        last = next(n for n, line in enumerate(lines) if n > first and 'write(1, "' in line and
                    "EINPROGRESS" not in line)
        waiting = lines[first].split()[0]  # the thread; another one may just be starting
        calls = [line for line in lines[first + 1:last]
                 if line.startswith(waiting + " ") and " resumed>" not in line]
        # what looks at the arguments comes before the waiting
        begin = next(i for i, line in enumerate(calls)
                     if re.search(r" (p?poll|p?select6?|epoll_p?wait2?)\(", line))
        return calls[begin:]

    def test_calls_while_waiting(self):
        self.need("strace")
        self.lab.converter("--fault", "delay=2000")
        cases = L.command([L.TOOLS / "t_time", "list"]).split()
        cases = [case for case in cases if case.startswith(("wait", "thread_wait"))]
        with concurrent.futures.ThreadPoolExecutor(len(cases)) as pool:
            found = dict(zip(cases, pool.map(self.calls, cases)))
        self.note(", ".join(f"{case} {len(lines)}" for case, lines in found.items()))
        bad = [f"{case}: {len(lines)}\n" + "\n".join(lines)
               for case, lines in found.items() if len(lines) >= 20]
        self.assertFalse(bad, "\n".join(bad))


if __name__ == "__main__":
    # what a Multipath TCP socket shows is compared in test_mptcp.py
    L.MPTCP = os.environ.get("LAB_MPTCP", "off")
    L.main(setup, delay_ms=(30, 20))

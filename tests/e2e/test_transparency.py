#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Each call that a program can make around a connection: the same lines converted as direct.

The clients are in clients/; a client runs many cases, each in a process of its own, and prints what
every call returned. It runs once without the shim for each outcome (twice: what two plain runs do
not agree on is no test), and then through each kind of converter.
"""
import concurrent.futures
import difflib
import itertools
import os
import re

import lab as L
import servers

ECHO, GREET, PIECES, BYE, RESET, SILENT = range(7000, 7006)  # echo-server's
CLOSED = 7009
OUTCOMES = {
    "accepted": (L.SERVER, ECHO),
    "refused": (L.SERVER, CLOSED),
    "mute": (servers.MUTE, ECHO),
}

# Longer than any case: what ends a wait on a mute server is the program.
TIMEOUT = "timeout = 30s"

# How the converter answers: it accepts TCP at once and replies later, or holds the SYN.
ANSWERS = {"at_once": [], "hold": ["--hold"]}
# How its reply comes: with whole 2 ms between bytes the split one takes 0.1 s.
REPLIES = {"whole": [], "split": ["--fault", "split=1,gap=2"],
           "late": ["--fault", "delay=700,split=1"]}
# Where the Connect TLV goes: into the SYN; behind the handshake, as this SYN asks for a Fast Open
# cookie (and the converter never gives one); behind the handshake, as Fast Open is switched off.
SYNS = {"data": ([], "fast-open = no-cookie", 1),
        "ask": (["--fastopen", "off"], "fast-open = cookie", 1),
        "off": ([], "", 0)}


def setup(lab):
    servers.nowhere(lab)
    server = lab.start("server", [L.TOOLS / "echo-server", ECHO])
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


class Transparency(L.TestCase):
    direct = {}  # shared by all: (build, client, pattern, outcome) -> blocks

    def client(self, build, client, pattern, outcome, shim=None, jobs=64):
        program = L.TOOLS / build / client
        target = [str(word) for word in OUTCOMES[outcome] + (L.SERVER, ECHO)]
        result = self.lab.run([program, "-j", jobs, pattern] + target, shim=shim, timeout=100)
        self.assertIn(result.code, (0, 1), result)
        return blocks(result.out.decode(errors="replace"))

    def plainly(self, *what, **more):
        if what not in self.direct:
            first, second = (self.client(*what, **more) for _ in range(2))
            unsure = [f"{name}:\n" + "\n".join(difflib.ndiff(first[name], second[name]))
                      for name in first if first[name] != second.get(name)]
            self.assertFalse(unsure, "two plain runs differ:\n" + "\n".join(unsure))
            self.direct[what] = first
        return self.direct[what]

    def compare(self, what, shim, label, **more):
        direct = self.plainly(*what, **more)
        converted = self.client(*what, shim=shim, **more)
        self.assertEqual(set(direct), set(converted))
        bad = [f"{label} {name}:\n  " +
               "\n  ".join(d for d in difflib.ndiff(direct[name], converted[name]) if d[0] != "?")
               for name in direct if direct[name] != converted[name]]
        return [f"{len(bad)} of {len(direct)} differ"] * bool(bad) + bad

    def through(self, answer, reply, syn, runs, enough=10, **more):
        """runs: [(build, client, pattern, outcome)...], all through one kind of converter."""
        options, settings, fast_open = SYNS[syn]
        converter = self.lab.converter(*ANSWERS[answer], *REPLIES[reply], *options)
        bad, requests = [], 0
        for what in runs:
            self.plainly(*what, **more)  # with Fast Open as it always is
            L.sysctl("client", net__ipv4__tcp_fastopen=fast_open)
            try:
                bad += self.compare(what, self.lab.config(settings, TIMEOUT),
                                    f"{answer} {reply} {syn} {' '.join(what)}", **more)
            finally:
                L.sysctl("client", net__ipv4__tcp_fastopen=1)
            before, requests = requests, len(converter.events("request"))
            self.assertGreaterEqual(requests - before, enough, "too little was converted")
        if bad and "DIFFERENCES" in os.environ:  # a file for all of it
            with open(os.environ["DIFFERENCES"], "a") as file:
                print(*bad, sep="\n", file=file)
        self.assertFalse(bad, "\n".join(bad))


def through_each(name, runs, **more):
    """A class with one test for each kind of converter. A SYN without the Connect TLV is one that
    a converter cannot hold."""
    tests = {}
    for answer, reply, syn in itertools.product(ANSWERS, REPLIES, SYNS):
        if answer == "hold" and syn != "data":
            continue

        def test(self, answer=answer, reply=reply, syn=syn):
            self.through(answer, reply, syn, runs, **more)
        tests[f"test_{answer}_{reply}_{syn}"] = test
    return type(name, (Transparency,), tests)


Waiting = through_each("Waiting", [("", "t_matrix", "*", "accepted"),
                                   ("", "t_matrix", "*", "refused")])
InputOutput = through_each("InputOutput", [("", "t_io", "*", "accepted"),
                                           ("", "t_io", "*", "refused"),
                                           ("", "t_io", "*", "mute")], jobs=96)
Life = through_each("Life", [("", "t_life", "[!h]*", "accepted"),
                             ("", "t_life", "[!h]*", "refused")])
Handed = through_each("Handed", [("", "t_life", "hand-*", "accepted"),
                                 ("", "t_life", "hand-*", "refused")])
Epoll = through_each("Epoll", [("", "t_epoll", "*", "accepted"), ("", "t_epoll", "*", "refused")])
Time = through_each("Time", [("", "t_time", "[ls]*", "accepted"),
                             ("", "t_time", "[ls]*", "refused"),
                             ("", "t_time", "[ls]*", "mute")], jobs=96)

Arguments = through_each("Arguments", [("", client, "*", outcome)
                                       for client in ("t_args", "t_options")
                                       for outcome in ("accepted", "refused")], jobs=96)
Errno = through_each("Errno", [("", "t_errno", "*", "accepted"),
                               ("", "t_errno", "*", "refused")], enough=3)


class Names(L.TestCase):
    def test_every_exported_name_is_called(self):
        text = (L.ROOT / "preload/convert-preload.map").read_text()
        exported = re.search(r"global:(.*?)local:", text, re.DOTALL)[1].replace(";", " ").split()
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
        last = next(n for n, line in enumerate(lines) if n > first and 'write(1, "' in line and
                    "EINPROGRESS" not in line)
        return lines[first + 1:last]

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
    L.main(setup, delay_ms=(30, 20))

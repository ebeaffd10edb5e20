#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Each call that a program can make around a connection: the same lines converted as direct.

The clients are in tests/programs/clients/; a client runs many cases, each in a process of its own, and prints what
every call returned. It runs twice without the shim for each outcome, and then through each kind of
converter, where it has to say what one of the plain runs has said.

With LAB_MPTCP=on the connections to the converter and the server's are Multipath TCP. Then a client
runs directly over an MPTCP socket besides, and a line may be what that one has said: options and
readiness that the kernel's MPTCP has and TCP has not are the kernel's.

KNOWN has, one by one, where a program can tell that its connection is converted: these lines may differ and no
others, and it fails, too, if they do not differ any more.
"""
import collections
import concurrent.futures
import difflib
import fnmatch
import functools
import itertools
import os
import re
import subprocess
import sys
import typing

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


# ---- what differs. A kind of converter is its way to answer, its reply, and the SYN; with mptcp_ before it if the
# connections are Multipath TCP (where lines that bare MPTCP says, too, need not be here).

class Known(typing.NamedTuple):
    kinds: str  # this and the next three are shell patterns
    client: str
    case: str
    outcome: str
    why: str
    lines: list  # shell patterns of "- direct" and "+ converted"; none: it does not differ
    always: bool = True  # and not only at times


def known_of(kind, client, case, outcome):
    """The entry for a case, or None."""
    for known in KNOWN:
        if all(map(fnmatch.fnmatchcase, (kind, client, case, outcome), known[:4])):
            return known
    return None


def explains(known, differing):
    if not differing:
        return not known.lines or not known.always
    return all(any(fnmatch.fnmatchcase(line, pattern) for pattern in known.lines)
               for line in differing)


BROADCAST = """the broadcast address of a subnet is known to the kernel, which refuses it at once; the shim
would have to ask for the route of every destination. The converter says the same later."""
LISTEN_AFTER = """listen() on a socket whose connect() was refused is EINVAL, as the socket still counts as
connecting; the shim has disconnected it."""
CLAMP = """the window that the kernel has chosen for a connection is gone once the shim has disconnected
the socket; one that the program has set stays."""
RESET_BY_CONVERTER = """a converter that refuses with a RST leaves the failure to the kernel, which has
connected to the converter and has sent it the Connect TLV."""
OTHER_PROCESS = """whoever gets a descriptor by exec, spawn or SCM_RIGHTS has not the library's memory: a
connection that is being made is made first, and the socket is then what the kernel knows."""
CLOSED_IN_SET = """the kernel keeps what a closed number was registered for as long as a duplicate lives, and
nobody can change it any more (epoll(7)): the program's own mask has to be in place before that."""
OPTION_REFUSED = """an option that MPTCP refuses while it connects or later fails (preload/number/twin_options.c),
and is then what it was."""
BIND_AGAIN = """the socket that takes the twin's place is bound to the port that the kernel had chosen, so that
getsockname() shows it; after a refusal TCP shows it, too, but has given it back, and could be bound again. So has
the twin, and if somebody took the port in between (15 of 2,132 with 400 ports to choose from), the twin stays."""
LISTEN_AGAIN = """a listener that was bound to port 0, shut down, and listens again gets another port; a twin is bound to
the one that the kernel had chosen, where connections may still be ending."""
BUFFER = """how large MPTCP makes its send buffer depends on what its subflow has seen."""
SHARED_MPTCP = """a refused MPTCP socket that another number or process has, too, is not replaced by one of TCP:
disconnected, it has no EPOLLERR."""
IN_PIECES = """63 pieces of a message fit beside the Connect TLV; what is left of a blocking one waits for the
connection, which a mute server never makes."""
SPLICED = """splice() cannot put data behind the Connect TLV: as a deferred socket's first write it connects,
and then waits."""

SPLICED_LATE = """splice() of what is left of the time, for fewer bytes than SO_RCVLOWAT: of a TCP socket it takes
them at once, an MPTCP socket waits for more, and SO_RCVTIMEO begins anew."""

WAITALL = """SO_RCVTIMEO of a read that waits for more than what comes first begins anew with that, if the connection was
pending when it began: the rest of a limit cannot be given to libc's call but by setting the option for all."""

# a descriptor is handed over only when its connection is made, or has failed
MADE_FIRST = ["- poll IN|OUT|RDHUP: 0 -", "+ poll IN|OUT|RDHUP: 1 *"]
CONVERTER_AS_PEER = ["- getpeername: ENOTCONN", "- getpeername: * 10.2.0.2 port 7000",
                     "+ getpeername: * 10.1.0.2 port 5124"]
NO_ADDRESS = ["- getsockname: * 10.1.0.1 port 1", "+ getsockname: * 0.0.0.0 port 1"]
OTHER_ERROR = ["- SO_ERROR: ECONNREFUSED", "+ SO_ERROR: ECONNRESET"]
NO_ERROR = ["- SO_ERROR: ECONNREFUSED", "+ SO_ERROR: 0",
            "- poll OUT: 1 OUT|ERR|HUP", "+ poll OUT: 1 OUT|HUP"]
# of which the parent, too, wants to know
TOLD_TWICE = ["- poll OUT: 1 OUT|HUP", "+ poll OUT: 1 OUT|ERR|HUP",
              "- send: EPIPE", "+ send: ECONNREFUSED"]

KNOWN = [
    Known("mptcp_at_once_*", "t_args", "badly*", "*", LISTEN_AGAIN, ["- listen: 0", "+ listen: EADDRINUSE"], False),
    Known("*", "t_fastopen", "in_pieces-blocking", "mute", IN_PIECES, ["- send: 900", "+ send: 189"]),
    Known("*", "t_deferred", "first-blocking-splice", "mute", SPLICED, [
        "- first: 100", "+ first: EAGAIN", "[-+] back: 0 of *, the same, then nothing"]),
    Known("*_late_*", "t_args", "places", "*", BROADCAST, [ # and the reply is later than it waits
        "- connect: ENETUNREACH", "+ connect: EINPROGRESS", "[-+] poll OUT: *",
        "[-+] SO_ERROR: *", "- getsockname: * 0.0.0.0 port 0",
        "+ getsockname: * 10.1.0.1 port 1"]),
    Known("*", "t_args", "places", "*", BROADCAST, [
        "- connect: ENETUNREACH", "+ connect: EINPROGRESS", "+ poll OUT: 1 OUT|ERR|HUP",
        "+ SO_ERROR: E*", "- getsockname: * 0.0.0.0 port 0",
        "+ getsockname: * 10.1.0.1 port 1"]),
    Known("at_once_*", "t_args", "listen_after", "refused", LISTEN_AFTER, [
        "- listen: EINVAL", "+ listen: 0", "- poll IN|OUT: 1 IN|OUT|ERR|HUP",
        "+ poll IN|OUT: 0 -"]),
    Known("hold_*", "t_args", "socket_calls-done", "refused", RESET_BY_CONVERTER, [
        "- queued: 1", "+ queued: 25"]),
    Known("at_once_*", "t_options", "TCP_WINDOW_CLAMP-after", "refused", CLAMP, [
        "- TCP_WINDOW_CLAMP: 67107840 length 4", "+ TCP_WINDOW_CLAMP: 0 length 4"]),
    Known("hold_*", "t_options", "peer_option", "refused", RESET_BY_CONVERTER, [
        "- length 16, the target's: yes", "+ length 16, the target's: no"]),
    # where nothing of the reply comes behind the SYN+ACK, it is right away what was registered
    Known("hold_whole_*", "t_life", "epoll_of_copy*", "accepted", CLOSED_IN_SET, []),
    # where the rest comes a little later, a program that is late itself finds the whole of it
    *(Known(kinds, "t_life", "epoll_of_copy*", "accepted", CLOSED_IN_SET, [
        "- poll IN|OUT|RDHUP: 1 OUT", "+ poll IN|OUT|RDHUP: 0 -",
        "- getpeername: * 10.2.0.2 port 7000", "+ getpeername: ENOTCONN"], always)
      for kinds, always in (("hold_*", False), ("*", True))),
    *(Known(kinds, "t_life", "epoll_of_copy*", "refused", CLOSED_IN_SET, [
        "- epoll_wait: 1 OUT|ERR|HUP 5", "+ epoll_wait: 1 OUT 5",
        "- poll IN|OUT|RDHUP: 1 IN|OUT|ERR|HUP|RDHUP", "+ poll IN|OUT|RDHUP: 0 -"])
      for kinds in ("at_once_*", "mptcp_at_once_*")),
]
for option in "IP_TTL", "TCP_USER_TIMEOUT", "SO_PEEK_OFF", "SO_PEEK_OFF 3":
    # after a refusal it is a TCP socket again
    KNOWN += [Known("mptcp_*", "t_options", option + when, outcome, OPTION_REFUSED, [
        f"- {option}: * length 4", f"+ {option}: * length 4"])
              for when, outcome in (("-pending", "*"), ("-after", "accepted"))]
KNOWN += [
    Known("mptcp_*", "t_options", "TCP_WINDOW_CLAMP-pending", "refused", OPTION_REFUSED, [
        "- TCP_WINDOW_CLAMP: 8888 length 4", "+ TCP_WINDOW_CLAMP: 0 length 4"]),
    Known("mptcp_*", "t_options", "TCP_WINDOW_CLAMP-after", "refused", CLAMP, [
        "- TCP_WINDOW_CLAMP: 67107840 length 4", "+ TCP_WINDOW_CLAMP: 0 length 4"]),
    # what the program has set is what it was set
    *(Known("mptcp_*", "t_options", f"SO_SNDBUF-{when}", "*", BUFFER, [
        "- SO_SNDBUF: 16384 length 4", "+ SO_SNDBUF: * length 4"], False) for when in ("before", "pending")),
    Known("mptcp_*", "t_options", "SO_SNDBUF-after", "*", BUFFER, ["[-+] SO_SNDBUF: * length 4"], False),
    Known("*_late_*", "t_io", "waitall-limit", "accepted", WAITALL, ["- in time", "+ too late"]),
    Known("mptcp_*", "t_io", "rcvlowat_limit-splice_in", "accepted", SPLICED_LATE, ["- in time", "+ too late"]),
    Known("mptcp_*", "t_args", "listen_after", "refused", LISTEN_AFTER, [
        "- listen: EINVAL", "+ listen: 0", "- poll IN|OUT: 1 IN|OUT|ERR|HUP",
        "+ poll IN|OUT: 0 -"]),
    *(Known("mptcp_*", "t_args", case, "refused", BIND_AGAIN, ["- bind: 0", "+ bind: EINVAL"],
            case != "bound-late")
      for case in ("bound", "bound-late", "bound-reuse")),
    Known("mptcp_*", "t_epoll", "file_twice", "refused", SHARED_MPTCP, [
        "-   OUT|ERR|HUP word 2", "+   OUT|HUP word 2"]),
    Known("mptcp_*", "t_matrix", "*-look-*oneshot-child-inout", "refused", SHARED_MPTCP, []),
    Known("mptcp_*", "t_matrix", "epoll_*-child-inout", "refused", SHARED_MPTCP, [
        "- *: 1 IN|OUT|ERR|HUP *", "+ *: 1 IN|OUT|HUP *"]),
    Known("mptcp_*", "t_matrix", "epoll_*-both-inout", "refused", SHARED_MPTCP, [
        "- *: 1 IN|OUT|ERR|HUP *", "+ *: 1 IN|OUT|HUP *"]),
]
for case in ("hand-exec_pending", "hand-spawn_pending", "hand-sent_to_child"):
    KNOWN.append(Known("*", "t_life", case, "accepted", OTHER_PROCESS,
                       MADE_FIRST + CONVERTER_AS_PEER))
KNOWN.append(Known("mptcp_*", "t_life", "hand-exec_connected", "refused", OTHER_PROCESS, NO_ADDRESS))
for case in ("hand-exec_connected", "hand-sent_to_child-connected"):
    KNOWN += [Known("mptcp_*", "t_life", case, "refused", OTHER_PROCESS, NO_ADDRESS + OTHER_ERROR),
              Known("*", "t_life", case, "accepted", OTHER_PROCESS, CONVERTER_AS_PEER),
              Known("at_once_*", "t_life", case, "refused", OTHER_PROCESS,
                    NO_ADDRESS + OTHER_ERROR)]
KNOWN += [Known("*", "t_life", "hand-sent_fresh*", "accepted", OTHER_PROCESS, CONVERTER_AS_PEER),
          Known("*at_once_*", "t_life", "hand-sent_fresh*", "refused", OTHER_PROCESS, NO_ADDRESS + OTHER_ERROR)]
for case in ("hand-exec_pending", "hand-spawn_pending", "hand-sent_to_child",
             "hand-sent_to_itself"):
    told_twice = TOLD_TWICE * (case == "hand-spawn_pending")
    sent = case.startswith("hand-sent")
    KNOWN += [Known("mptcp_*", "t_life", case, "refused", OTHER_PROCESS,
                    MADE_FIRST + (NO_ADDRESS + OTHER_ERROR if sent else NO_ERROR + told_twice)),
              Known("at_once_*", "t_life", case, "refused", OTHER_PROCESS,
                    MADE_FIRST + NO_ADDRESS + OTHER_ERROR + told_twice),
              Known("hold_*", "t_life", case, "refused", OTHER_PROCESS,
                    MADE_FIRST + NO_ADDRESS + NO_ERROR + told_twice)]
KNOWN += [
    Known("*", "t_life", "hand-sent_to_itself", "accepted", OTHER_PROCESS,
          MADE_FIRST + ["- getpeername: ENOTCONN", "+ getpeername: * 10.2.0.2 port 7000"]),
    Known("at_once_*", "t_life", "hand-sent_to_itself-connected", "refused", OTHER_PROCESS,
          NO_ADDRESS + OTHER_ERROR),
    Known("mptcp_*", "t_life", "hand-sent_to_itself-connected", "refused", OTHER_PROCESS,
          NO_ADDRESS + OTHER_ERROR),
]


# ---- the clients, through each kind

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
        known = known_of(label.replace(" ", "_"), client, case, outcome)
        head = f"{label} {' '.join(what)} {case}:"
        found = [self.unexplained(known, head, direct, as_tcp(converted, direct, plain[2]))
                 for direct in plain[:2]]
        return found[0] if all(found) else []

    @staticmethod
    def unexplained(known, head, direct, converted):
        lines = [d for d in difflib.ndiff(direct, converted) if d[0] != "?"]
        if explains(known, [d for d in lines if d[0] in "+-"]) \
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
    """A program that waits 2 s for a reply makes fewer than 20 system calls in that time; twice as many for two
    connections, of which the second one is tried again."""

    def calls(self, case):
        trace = self.lab.file("strace")
        shim = self.lab.config("fast-open = no-cookie", log=False)  # a log is calls, too
        environment = {"LD_PRELOAD": str(L.SHIM)} | shim
        argv = ["strace", "-f", "-qq", "-o", trace]
        argv += [f"-E{name}={value}" for name, value in environment.items()]
        target = servers.MUTE if case.startswith("wait_nested") else L.SERVER
        argv += [L.TOOLS / "t_time", "=" + case, target, ECHO, L.SERVER, ECHO]
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
        bad = [f"{case}: {len(lines)}\n" + "\n".join(lines[:40])
               for case, lines in found.items() if len(lines) >= (40 if "nested" in case else 20)]
        self.assertFalse(bad, "\n".join(bad))


if __name__ == "__main__":
    # what a Multipath TCP socket shows is compared in test_mptcp.py
    L.MPTCP = os.environ.get("LAB_MPTCP", "off")
    L.main(setup, delay_ms=(30, 20))

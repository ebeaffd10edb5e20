#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""docs/mptcp.md, the table of all by which a program can tell an MPTCP socket from a TCP one: made
anew and compared. `make differences` writes it.

differences.c runs over bare TCP, over bare MPTCP and through us, options.py likewise. What to do
about what is not as over TCP is decided in DECISIONS, row by row, and every difference has to be; the first
that fits counts. One that decides nothing any more has to go.
"""
import collections
import concurrent.futures
import difflib
import fnmatch
import os
import socket
import subprocess
import sys
import typing

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L
import paths

TABLE = L.ROOT / "docs/mptcp.md"
BARE = {"LD_PRELOAD": str(L.LAB_TOOLS / "mptcp-sockets.so")}
ONE, TWO, GONE, FELL_BACK = WORLDS = "one path", "two paths", "first path gone", "fell back"

# What happens to packets from the client, of one port
REJECT = ["-j", "REJECT", "--reject-with", "tcp-reset"]
EVENTS = {(ONE, "reset"): REJECT, (ONE, "silent"): ["-j", "DROP"], (FELL_BACK, "reset"): REJECT,
          (GONE, "plain"): ["-i", "k0"] + REJECT}
# By world and group: its number, which is added to the ports of its server and its converter
GROUPS = {key: number for number, key in enumerate([
    (ONE, "plain"), (ONE, "reset"), (ONE, "silent"), (FELL_BACK, "plain"), (FELL_BACK, "reset"),
    (TWO, "plain"), (GONE, "plain")])}
SERVER_PORT, CONVERTER_PORT = 7100, 5200
ECHO = {ONE: 7000, FELL_BACK: 7010}  # what options.py connects to
# As whom the programs run a second time
OTHER = "nobody"

# ms: what TCP says within a second or two; and what MPTCP says when net.mptcp.close_timeout has
# passed, by then a second
SOON, LATER = 3000, 5500
LATE = ", after close_timeout"


def setup(lab):
    lab.second_network(False)
    # SYN data that a converter was too busy to take makes a connection fall back
    L.sysctl("client", net__ipv4__tcp_fastopen=0)
    # a connection with data on its way is given up after a second, or a second and a half
    L.sysctl("client", net__ipv4__tcp_retries2=1)
    lab.servers = {}
    for (world, group), number in GROUPS.items():
        start_peer(lab, world, number)
        lab.wide_converter(*["--mptcp"] * (world != FELL_BACK), listen=["0.0.0.0", "[::]"],
                           port=CONVERTER_PORT + number)
    for world, port in ECHO.items():
        server = lab.start("server", [L.TOOLS / "echo-server", port],
                           env=BARE if world == ONE else None)
        server.wait_for_listeners(port)


def start_peer(lab, world, number):
    peer = lab.start("server", [L.TOOLS / "differences-peer", SERVER_PORT + number],
                     env=None if world == FELL_BACK else BARE)
    peer.wait_for_listeners(SERVER_PORT + number)
    lab.servers[number] = peer


class Run:
    """differences.c over one kind of socket, in one world."""

    def __init__(self, lab, kind, world, group, wait_ms=0, late="", user=""):
        self.key, self.late, self.group = (f"{kind} {user}".strip(), world), late, group
        self.tag = f"{self.key[0]}@{world}"
        number = GROUPS[world, group]
        argv = [L.TOOLS / "differences", group, self.tag, L.SERVER, SERVER_PORT + number, wait_ms]
        is_mptcp = kind != "tcp" and world != FELL_BACK
        if is_mptcp:
            argv.append("mptcp")
            if world in (TWO, GONE):
                argv.append("joined")
        self.are_mptcp = f"MPTCP: {'all' if is_mptcp else 'none'}"
        self.port = (CONVERTER_PORT if kind == "ours" else SERVER_PORT) + number
        env = {"tcp": {}, "mptcp": BARE}.get(kind)
        if env is None:
            env = ours(lab, self.port)
        self.shim_log = env.get("LAB_LOG", "")
        self.made_again = 0
        self.out = lab.file("differences.out")
        with open(self.out, "wb") as out:
            wrapped = ["env", "-i"] + [f"{k}={v}" for k, v in (L.ENVIRONMENT | env).items()] + argv
            self.process = subprocess.Popen(
                L.inside("client", L.as_user(user, [str(word) for word in wrapped])),
                env=L.ENVIRONMENT, cwd=L.TMP, stdin=subprocess.PIPE, stdout=out,
                stderr=subprocess.STDOUT)

    def is_ready(self):
        return self.process.poll() is not None or "ready\n" in self.out.read_text()

    def log(self):
        """What the library has to say of connections that are not over MPTCP."""
        lines = open(self.shim_log).readlines() if os.path.exists(self.shim_log) else []
        return "".join([line for line in lines if not line.endswith("connected, MPTCP\n")][:5])

    def go(self):
        self.process.stdin.write(b"\n")
        self.process.stdin.close()

    def rows(self):
        """{(state, call): value}"""
        text = self.out.read_text()
        if self.process.wait(60):
            raise RuntimeError(f"{self.tag} {self.key}: {self.process.returncode}\n{text[-2000:]}")
        found, other = {}, []
        for line in self.out.read_text().splitlines():
            if line.startswith("made again: "):
                self.made_again = int(line.split()[-1])
                continue
            if line.count("\t") == 2:
                state, call, value = line.split("\t")
                found[state + self.late, call] = value
            elif line not in ("ready", self.are_mptcp):
                other.append(line)
        if other:
            raise RuntimeError(f"{self.tag} {self.late}: {other[:5]}\n{self.log()}")
        return found


def ours(lab, port, address=L.CONVERTER):
    return {"LD_PRELOAD": str(L.SHIM)} | lab.config(
        policy="timeout = 30s\nbypass = never\nmptcp = on", address=address,
        port=port)


def phase(lab, wanted):
    """Runs at the same time, and what happens to their paths. {(kind, world): its rows}"""
    missed = lab.tokens_missed()
    started = [Run(lab, kind, world, group, *more, user=user)
               for kinds, world, group, *more in wanted for kind, user in kinds]
    for run in started:
        L.wait_for(f"{run.key}", run.is_ready, 40)
    ports = {run.port for run in started}
    rules = [(chain, "-p", "tcp", "--dport", str(base + GROUPS[group]), *rule)
             for group, rule in EVENTS.items() for base in (SERVER_PORT, CONVERTER_PORT)
             for chain in ("INPUT", "FORWARD") if base + GROUPS[group] in ports]

    def each_rule(command):
        for rule in rules:
            L.command(L.inside("converter", ["iptables", command, *rule]))
    each_rule("-A")
    is_gone = any(run.key[1] == GONE for run in started)
    if is_gone:
        wait_until_gone()
        each_rule("-D")  # so that the other end is told, too
    for run in started:
        run.go()
    found = [(run, run.rows()) for run in started]
    if not is_gone:
        each_rule("-D")
    missed = lab.tokens_missed() - missed
    again = sum(run.made_again for run in started)
    if again > missed:
        raise RuntimeError(f"{again} connections were TCP, and {missed} had no token")
    if again:
        print(f"     again: {again} connections for which the kernel had no MPTCP token")
    return found


def wait_until_gone():
    """Keepalive has met the resets: no subflow on path 1 is left."""
    number = GROUPS[GONE, "plain"]
    ask = ["ss", "-Htn", "state", "established", "src", L.CLIENT, "and", "("]
    ask += ["dport", "=", f":{SERVER_PORT + number}", "or",
            "dport", "=", f":{CONVERTER_PORT + number}", ")"]
    L.wait_for("path 1's end", lambda: not L.command(L.inside("client", ask)), 30)


def ask_options(lab, kind, world, when):
    """options.py's rows, {(state, call): value}; and for which it made no MPTCP connection."""
    shim = {}
    state = {"connected": "established", "before": "set before connect()"}[when]
    rows, plain = {}, set()
    for address, converter in (L.SERVER, L.CONVERTER), (L.SERVER6, L.CONVERTER6):
        if kind == "ours":
            shim = ours(lab, CONVERTER_PORT + GROUPS[world, "plain"], converter)
        r = lab.run(["/usr/bin/python3", "-B", L.ROOT / "tests/lab/options.py",
                     262 if kind == "mptcp" else 0, address, ECHO[world], when], env=shim)
        if r.code:
            raise RuntimeError(f"{r}")
        for line in r.out.decode().replace("ENOTSUP", "EOPNOTSUPP").splitlines():
            name, is_mptcp, before, said, after = line.split()
            calls = {f"getsockopt {name}": before, f"setsockopt {name}": said,
                     f"getsockopt {name} once set": after}
            if when == "before":
                del calls[f"getsockopt {name}"]
            rows |= {(state, call): "nothing" if value == "-" else value
                     for call, value in calls.items()}
            plain |= {(state, call) for call in calls if is_mptcp == "0"}
    return (kind, world), rows, plain


# What the other end needs more than a second for, to know it
SENT = {"close while the peer sends", "killed while the peer sends"}


def peers_rows(lab, wanted):
    """What the other end has seen of a run. {(state, call): value}"""
    lines = [line.split("\t") for server in lab.servers.values() for line in server.text().splitlines(True)
             if line.endswith("\n")]
    # in an order that is not that of the moments in which it saw them
    return dict(sorted(((state, call), value.rstrip("\n")) for tag, state, call, value in lines if tag.strip() == wanted))


def run_all(lab, user):
    """{(kind, world): {(state, call): value}}, and the options with which we have made no MPTCP."""
    found, plain = collections.defaultdict(dict), set()

    def add(*wanted):
        for run, rows in phase(lab, wanted):
            if run.group == "plain":
                L.wait_for(f"{run.tag}: its peer", lambda tag=run.tag: SENT <= {state for state, _ in peers_rows(lab, tag)},
                           20)
            found[run.key].update(rows | peers_rows(lab, run.tag))

    over_mptcp = [("mptcp", ""), ("ours", "")]
    every = [("tcp", "")] + over_mptcp + [("ours", user)]

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(ask_options, lab, kind, world, when)
                 for world in (ONE, FELL_BACK) for kind, user in every[:3] if not user
                 for when in ("connected", "before") if (kind, world) != ("tcp", FELL_BACK)]
        add((every, ONE, "plain"), (over_mptcp, FELL_BACK, "plain"),
            (every, ONE, "reset", SOON), (every, ONE, "silent", SOON),
            (over_mptcp, FELL_BACK, "reset", SOON))
        L.sysctl("client", net__mptcp__close_timeout=1)
        add((every, ONE, "reset", LATER, LATE), (every, ONE, "silent", LATER, LATE))
        L.sysctl("client", net__mptcp__close_timeout=60)
        for key, rows, kept in (one.result() for one in asked):
            found[key].update(rows)
            if key == ("ours", ONE):
                plain |= kept
    lab.second_network(True)
    add((over_mptcp, TWO, "plain"), (every[1:], GONE, "plain"))
    end_second_network(lab)
    return found, plain


def end_second_network(lab):
    """When the kernel has nothing to end any more: else it keeps it for ever (LINUX-FACTS 4.17)."""
    for world in TWO, GONE:
        number = GROUPS[world, "plain"]
        lab.servers[number].stop()
        start_peer(lab, world, number)
    L.wait_for("the client's ends", lambda: not L.command(L.inside("client", ["ss", "-HMna"])), 70)
    lab.second_network(False)


# ------------------------------------------------------------------------------- the table

# Calls that say the same in most states, and what they are called then
CLASSES = {
    "a read": ["read", "readv", "recv", "recvfrom", "recvmsg", "splice from", "recv MSG_TRUNC",
               "recv MSG_WAITALL"],
    "a write": ["write", "writev", "send", "sendto elsewhere", "sendmsg", "sendmmsg", "sendfile",
                "splice to", "send MSG_OOB", "send MSG_MORE", "send MSG_ZEROCOPY"],
    "poll, epoll_wait": ["poll", "epoll_wait", "epoll_wait EPOLLET"],
    "SIOCATMARK": ["SIOCATMARK", "sockatmark"],
    "shutdown": ["shutdown SHUT_RD", "shutdown SHUT_WR", "shutdown SHUT_RDWR"],
}
STATES = {
    "path silent": ["path silent, keepalive 1 s", "path silent, data sent"],
    "path silent" + LATE: ["path silent, keepalive 1 s" + LATE, "path silent, data sent" + LATE],
}
PREFIXES = "", "poll after ", "SO_ERROR after "
VERBS = "getsockopt", "setsockopt", "poll after", "SO_ERROR after"

Row = collections.namedtuple("Row", "states worlds calls tcp mptcp ours decision")


# ---- what is done about each way in which a connection of ours is not as over TCP

class Decision(typing.NamedTuple):
    kind: str
    text: str = ""     # what a program or its user can do
    worlds: str = "*"  # shell patterns, with | between them
    states: str = "*"
    calls: str = "*"


MADE_EQUAL, NOT_CONVERTED, SAID = "made equal", "not converted over Multipath TCP", "said"
KINDS = {
    MADE_EQUAL: "Over bare MPTCP these differ. Through us they do not.",
    NOT_CONVERTED: """A program that sets one of these before it connects
gets a connection over TCP.""",
    SAID: "What differs, and what there is to do about it.",
}

EQUAL = Decision(MADE_EQUAL)
TCP = Decision(NOT_CONVERTED)

HEAD = """# What a program can tell Multipath TCP by

Everything that a program can ask of its connection, in every state that the connection can be in,
over TCP, over a bare MPTCP socket, and through us over Multipath TCP: what is not the same in all
three. tests/e2e/test_differences.py makes this table, and fails if it has become another; `make
differences` writes it. What is decided stands there, too.

Kernel: {kernel}

Where a state has no path beside it, it is the same with one path, with two, with the first of two
gone, and after a fallback to TCP. "path reset" is a reset for a keepalive probe, "path silent"
one that loses everything, both of the only path; "after close_timeout" is what they become when
net.mptcp.close_timeout has passed. Each call is the first in that state; "then" is the same once
more. "poll after" and "SO_ERROR after" a call stand here only where they differ in another way
than before it. SIGPIPE comes where MSG_NOSIGNAL does not say otherwise.

- a read: {reads}
- a write: {writes}
"""


def fits(text, patterns):
    return any(fnmatch.fnmatchcase(text, pattern) for pattern in patterns.split("|"))


def decide(world, state, call):
    for decision in DECISIONS:
        if fits(world, decision.worlds) and fits(state, decision.states) and \
                fits(call, decision.calls):
            return decision
    return None


DECISIONS = [
    Decision(SAID, """TCP_INFO counts the Convert message, 24 bytes there and 4 back: it is the
connection to the converter. Over TCP, too.""",
             worlds="one path|two paths|fell back", states="established",
             calls="TCP_INFO ato|TCP_INFO data_segs_in|TCP_INFO bytes_*"),
    Decision(SAID, """A path that is reset, or silent, is told when net.mptcp.close_timeout (60 s)
has passed, and as an end without an error. A lower net.mptcp.close_timeout tells it sooner, and
gives a connection less time to find another path; `mptcp = off` for programs that rely on
keepalive.""", states="path *",
             worlds="one path"),
    Decision(SAID, """TCP_INFO is that of the first subflow, also when there is another and it is
gone: whether a connection lives, poll() and SO_ERROR say.""", calls="TCP_INFO *"),
    Decision(SAID, """A closed end goes on taking what the peer sends for a minute, where TCP resets
at the first of it. No setting changes that: `mptcp = off` for programs that end long downloads
early.""",
             states="* while the peer sends"),
    Decision(SAID, """Urgent data is a TCP matter: MPTCP has none, and a converter that copies bytes
passes none on. Leave programs that need it out (`exclude`).""", states="urgent data to read"),
    Decision(SAID, """MSG_OOB reads what a plain recv() would: there is no urgent data.""",
             calls="recv MSG_OOB|* after recv MSG_OOB"),
    Decision(SAID, """A recv() of nothing is 0 and tells no error.""",
             calls="recv of 0 bytes|* after recv of 0 bytes"),
    Decision(SAID, """The reset of a peer that was written to after its end is told once as EPIPE by
a read, where TCP leaves it to SO_ERROR and reads the end.""",
             states="peer has closed, and was written to"),
    Decision(SAID, """After a fallback a reset connection has no IN and RDHUP, and what is asked
after the error was told is ENOTCONN, not the end.""",
             worlds="fell back", states="reset by peer*|path reset*"),
    Decision(SAID, """After a fallback close() with unread data ends the connection, and does not
reset it.""",
             worlds="fell back", states="close, data to read"),
    Decision(SAID, """A disconnected socket (connect() to AF_UNSPEC) has no error to tell.""",
             calls="* after connect AF_UNSPEC"),
    Decision(SAID, """Who asks by name is told that it is Multipath TCP.""",
             calls="TCP_IS_MPTCP|MPTCP_INFO|getxattr *|getsockopt TCP_ULP*"),
    Decision(SAID, """No kernel TLS: programs use their own then. `mptcp = off` for those that want
it.""",
             calls="setsockopt TCP_ULP"),
    Decision(SAID, """No zero copy: sending copies, and no completion is told. Programs ask
SO_ZEROCOPY first.""",
             calls="SO_ZEROCOPY|mmap|*, its completion"),
    Decision(SAID, """MSG_MORE holds nothing back. TCP_CORK does.""", calls="what MSG_MORE *"),
    Decision(SAID, """SO_PEEK_OFF is refused. Set before connect() the connection is TCP.""",
             calls="*SO_PEEK_OFF*"),
    Decision(SAID, """The connection's own TCP options are not those that MPTCP was told of, after a
fallback: a limit for unsent data is gone. Set it once more.""", worlds="fell back",
             calls="getsockopt TCP_NOTSENT_LOWAT*|getsockopt TCP_INQ once set"),
    Decision(SAID, """Lost where Fast Open is switched off (net.ipv4.tcp_fastopen): what MPTCP
refuses to send in a SYN disconnects its socket, and that forgets TCP_MAXSEG. Setting it once
more mends it.""",
             states="set before connect()", calls="getsockopt TCP_MAXSEG once set"),
    Decision(SAID, """The name of the protocol is told at SO_PROTOCOL, where programs ask for it,
and not here.""",
             calls="getsockopt IP_PROTOCOL*"),
    Decision(SAID, """These have no meaning for a connection over TCP either, and read back as MPTCP
has them.""",
             calls="getsockopt SO_NOFCS once set|getsockopt SO_NO_CHECK once set|"
                   "getsockopt SO_SELECT_ERR_QUEUE once set"),
    Decision(SAID, """What is known of an IPv6 path is in TCP_INFO, tcpi_pmtu.""",
             calls="getsockopt IPV6_ADDRFORM*|getsockopt IPV6_MTU*"),
    Decision(SAID, """The processor of the last packet is not told.""", calls="SO_INCOMING_CPU"),
    Decision(SAID, """What a program may rely on is refused as MPTCP refuses it, and keeps its
value. Set before connect() the connection is TCP.""", states="established",
             calls="setsockopt *|getsockopt * once set|getsockopt TCP_WINDOW_CLAMP"),
]


# ---- the table

def triples(found):
    """{(state, call): {world: what TCP, MPTCP and we say}}"""
    tcp, said = found["tcp", ONE], collections.defaultdict(dict)
    for world in WORLDS:
        mptcp, our = found["mptcp", world], found["ours", world]
        for key in mptcp.keys() | our.keys():
            values = [side.get(key, "nothing") for side in (tcp, mptcp, our)]
            if key[1].startswith("getsockopt ") and len(set(values)) > 1:
                values = [v if v.startswith("E") or v == "nothing" else
                          "a value" if v == tcp[key] else "another" for v in values]
            said[key][world] = tuple(values)
    return said


def follows(said, state, call, world):
    """It is told by what the state's own poll() or SO_ERROR says."""
    mine = said[state, call][world]
    if call.startswith("poll after "):
        return mine == said[state, "poll"][world]
    if call.startswith("SO_ERROR after "):
        return mine == tuple(v.split(",")[0] for v in said[state, "SO_ERROR"][world])
    if call == "send MSG_NOSIGNAL":
        return mine == tuple(v.replace(" SIGPIPE", "") for v in said[state, "send"][world])
    return False


def gather(found, plain):
    """Every difference with its decision, those alike in one row; and what is wrong with the
    decisions."""
    said, wrong, used = triples(found), [], set()
    order = {key: at for at, key in enumerate(found["tcp", ONE])}
    by_world = collections.defaultdict(list)
    said = {key: said[key] for key in sorted(said, key=lambda key: order.get(key, len(order)))}
    for state, call in said:
        for world, (tcp, mptcp, our) in said[state, call].items():
            if tcp == mptcp == our or follows(said, state, call, world):
                continue
            decision = EQUAL
            if tcp == our and (state, call) in plain:
                decision = TCP
            elif tcp != our:
                decision = decide(world, state, call)
                used.add(decision)
            if not decision:
                wrong.append(f"no decision: {world}, {state}, {call}: TCP {tcp}, MPTCP {mptcp}, "
                             f"through us {our}")
            by_world[state, call, tcp, mptcp, our, decision].append(world)
    wrong += [f"nothing is decided by: {d}" for d in DECISIONS if d not in used]

    by_state = collections.defaultdict(list)
    for (state, call, *values), worlds in by_world.items():
        every = list(said[state, call])
        by_state[call, *values, "" if worlds == every else ", ".join(worlds)].append(state)
    rows = collections.defaultdict(list)
    for (call, *values), states in by_state.items():
        every = [state for state, c in said if c == call]
        rows[named(states, every), *values].append(call)
    rows = [Row(states, worlds, named_calls(calls), *values, decision)
            for (states, *values, decision, worlds), calls in rows.items()]
    return sorted(rows, key=lambda row: " after " in row.calls), wrong


def named(states, every):
    """In the order of the client's table, or what is missing if that is less."""
    found = [state for state in dict.fromkeys(every) if state in states]
    missing = [state for state in dict.fromkeys(every) if state not in states]
    if len(every) > 3 and len(missing) < len(found) / 2:
        return "every state" + (" but " + "; ".join(together(missing, STATES))) * bool(missing)
    return "; ".join(together(found, STATES))


def together(names, classes, prefix=""):
    """With those that stand for several: where the first of these was."""
    for name, members in classes.items():
        members = [prefix + member for member in members]
        if all(member in names for member in members):
            names = [prefix + name if n == members[0] else n
                     for n in names if n not in members[1:]]
    return names


def named_calls(calls):
    for prefix in PREFIXES:
        calls = together(calls, CLASSES, prefix)
    by_verb = collections.defaultdict(list)
    for call in calls:
        verb = next((verb for verb in VERBS if call.startswith(verb)), "")
        by_verb[verb + " once set:" * call.endswith(" once set")].append(
            call.removeprefix(verb).removesuffix(" once set").strip())
    return "; ".join(f"{verb} {', '.join(names)}".strip() for verb, names in by_verb.items())


def render(rows):
    text = [HEAD.format(
        kernel=os.uname().release.split("-")[0], reads=", ".join(CLASSES["a read"]),
        writes=", ".join(CLASSES["a write"]))]
    for kind in KINDS:
        chosen = [row for row in rows if row.decision and row.decision.kind == kind]
        text.append(f"\n## {kind[0].upper()}{kind[1:]}\n\n{KINDS[kind]}\n")
        for decision in dict.fromkeys(row.decision for row in chosen):
            if decision.text:
                text.append("\n**" + " ".join(decision.text.split()) + "**\n")
            text.append("\n| state | call | TCP | MPTCP | through us |\n|---|---|---|---|---|")
            for row in chosen:
                if row.decision == decision:
                    where = f" ({row.worlds})" if row.worlds else ""
                    text.append(f"\n| {row.states}{where} | {row.calls} | {row.tcp} | {row.mptcp} "
                                f"| {row.ours} |")
            text.append("\n")
    return "".join(text)


def without_kernel(text):
    return [line for line in text.splitlines() if not line.startswith("Kernel: ")]


def not_as_kept(found, plain):
    """What differs from the table, or is wrong in itself."""
    rows, wrong = gather(found, plain)
    kept = TABLE.read_text() if TABLE.exists() else ""
    lines = difflib.unified_diff(without_kernel(kept), without_kernel(render(rows)), lineterm="", n=0)
    return [*wrong, *(line for line in lines if line[:3] not in ("---", "+++") and line[0] != "@"),
            *map(str, unprivileged(found))]


def unprivileged(found):
    """What is not the same through us as root and not."""
    return [(key, value, found[f"ours {OTHER}", world].get(key)) for world in (ONE, GONE)
            for key, value in found["ours", world].items()
            if value != found[f"ours {OTHER}", world].get(key, value)]


def majority(runs):
    """A program that was not scheduled for a second sees other things, and one for which the kernel had no token
    TCP: of three runs, what two have seen."""
    def most(kind, key):
        return collections.Counter(found[kind].get(key) for found, _ in runs).most_common(1)[0][0]
    plain = collections.Counter(key for _, plain in runs for key in plain)
    keys = {kind: dict.fromkeys(key for found, _ in runs for key in found[kind]) for kind in runs[0][0]}
    return ({kind: {key: value for key in keys[kind] if (value := most(kind, key)) is not None} for kind in keys},
            {key for key, often in plain.items() if often > len(runs) / 2})


class Majority(L.TestCase):
    def test_of_three(self):
        """Also of what the first one has not seen, or has seen alone."""
        first = {"ours": {"a": 1, "b": 2, "alone": 5}}
        second, third = ({"ours": {"c": 4, "a": 1, "b": b}} for b in (3, 3))
        self.assertEqual(majority([(first, {"x"}), (second, {"x"}), (third, set())]),
                         ({"ours": {"a": 1, "b": 3, "c": 4}}, {"x"}))
        self.assertEqual(majority([(first, {"x"})]), (first, {"x"}))


class Differences(L.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        # A socket that asks for the time of what it receives has it from when a worker of the kernel has switched
        # that on for all, which is later; while one asks, it is on.
        asks = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        asks.setsockopt(socket.SOL_SOCKET, 29, 1)  # SO_TIMESTAMP
        cls.addClassCleanup(asks.close)
        runs = [run_all(cls.lab, OTHER)]
        differs = not_as_kept(*runs[0])
        if differs:
            for line in differs[:5]:  # for tests/run, which names it at the end
                print(f"     again: Differences: {' '.join(line.split())[:300]}", flush=True)
            runs += [run_all(cls.lab, OTHER) for _ in range(2)]
        cls.found, plain = majority(runs)
        cls.rows, cls.wrong = gather(cls.found, plain)

    def test_every_row_has_a_decision(self):
        self.assertEqual(self.wrong, [], "\n" + "\n".join(self.wrong))

    def test_the_table(self):
        text = render(self.rows)
        if os.environ.get("DIFFERENCES") == "write":
            TABLE.write_text(text)
        kept = TABLE.read_text() if TABLE.exists() else ""
        diff = list(difflib.unified_diff(without_kernel(kept), without_kernel(text),
                                         "docs/mptcp.md", "this kernel and we", lineterm="", n=0))
        self.assertEqual(diff, [], "`make differences` writes it anew\n" + "\n".join(diff))

    def test_without_privileges(self):
        """The same through us as root and not."""
        self.assertEqual(unprivileged(self.found), [])
        for world in ONE, GONE:
            self.assertGreater(len(self.found[f"ours {OTHER}", world]), 1500)


if __name__ == "__main__":
    L.main(setup, paths.TwoPaths, delay_ms=(0, 0), rate=None)

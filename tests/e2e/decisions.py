# SPDX-License-Identifier: MIT
"""What is done about each way in which a connection of ours is not as over TCP: test_differences.py
finds them, and every one has to be decided here; the first that fits counts. One that decides
nothing any more has to go."""
import fnmatch
import typing


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
differences` writes it. What is decided stands in tests/e2e/decisions.py.

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


def find(world, state, call):
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

# SPDX-License-Identifier: MIT
"""Where a program can tell that its connection is converted, one by one: test_transparency.py allows
these lines to differ and no others, and fails too if they do not differ any more.

A kind of converter is its way to answer, its reply, and the SYN; with mptcp_ before it if the
connections are Multipath TCP (where lines that bare MPTCP says, too, need not be here)."""
import fnmatch
import typing


class Known(typing.NamedTuple):
    kinds: str  # this and the next three are shell patterns
    client: str
    case: str
    outcome: str
    why: str
    lines: list  # shell patterns of "- direct" and "+ converted"; none: it does not differ
    always: bool = True  # and not only at times


def find(kind, client, case, outcome):
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
LISTEN = """listen() on a socket whose connect() was refused is EINVAL, as the socket still counts as
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
PIECES = """63 pieces of a message fit beside the Connect TLV; what is left of a blocking one waits for the
connection, which a mute server never makes."""
SPLICED = """splice() cannot put data behind the Connect TLV: as a deferred socket's first write it connects,
and then waits."""

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
    Known("*", "t_fastopen", "in_pieces-blocking", "mute", PIECES, ["- send: 900", "+ send: 189"]),
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
    Known("at_once_*", "t_args", "listen_after", "refused", LISTEN, [
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
    Known("mptcp_*", "t_args", "listen_after", "refused", LISTEN, [
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

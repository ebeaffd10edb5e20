# SPDX-License-Identifier: MIT
"""A client of test_families.py: every kind of socket to a server of either family, one line for each:
what the program saw of it, and whom the server saw."""
import contextlib
import ctypes
import errno
import itertools
import json
import socket
import sys

IP, SOCKET, TCP, IPV6 = 0, 1, 6, 41
V6ONLY = IPV6, 26

# level, number, value
OPTIONS = {
    "no option": None,
    "SO_KEEPALIVE": (SOCKET, 9, 1),
    "TCP_USER_TIMEOUT": (TCP, 18, 5000),
    "TCP_SYNCNT": (TCP, 7, 3),
    "IP_TTL": (IP, 2, 33),
    "IPV6_UNICAST_HOPS": (IPV6, 16, 33),
    "SO_BINDTODEVICE": (SOCKET, 25, b"c0"),
}
FEW = "no option", "TCP_USER_TIMEOUT"
ANY, OWN = {2: "0.0.0.0", 10: "::"}, {"v4": "10.1.0.1", "mapped": "::ffff:10.1.0.1", "v6": "fd01::1"}


def targets(v4, v6):
    return {"v4": (socket.AF_INET, v4), "mapped": (socket.AF_INET6, "::ffff:" + v4),
            "v6": (socket.AF_INET6, v6)}


def cases(every):
    """Target, V6ONLY, option, which of the two is set first, bound to what, made how."""
    for target, only, option, first in itertools.product(
            OWN, (None, 0, 1), OPTIONS, ("V6ONLY", "option")):
        if first == "option" and (only is None or option == "no option"):
            continue
        if not every and option not in FEW:
            continue
        for made in "blocking", "non-blocking":
            yield target, only, option, first, "not bound", made
        if option not in FEW or first == "option":
            continue
        for bound in ["any"] + [own for own in OWN if (own == "v4") == (target == "v4")]:
            yield target, only, option, first, bound, "non-blocking"
        for made in "unseen", "refused first":
            yield target, only, option, first, "not bound", made


def attempt(call, *args):
    """Its result or the name of its errno."""
    try:
        return call(*args)
    except OSError as e:
        return errno.errorcode[e.errno]


def make(family, how):
    if how != "unseen":
        return socket.socket(family)
    libc = ctypes.CDLL(None, use_errno=True)
    return socket.socket(fileno=libc.syscall(41, int(family), int(socket.SOCK_STREAM), 0))


def free_port():
    """Of both families: an IPv4 socket may be given a number that an IPv6 socket has, or has had a minute ago, and
    then no IPv6 socket can take its place."""
    with socket.socket(socket.AF_INET6) as s:
        s.setsockopt(*V6ONLY, 0)  # whatever net.ipv6.bindv6only says
        s.bind(("::", 0))
        return s.getsockname()[1]


def state(s, option):
    """What the program can ask; not the numbers of ports."""
    def name(call):
        said = attempt(call)
        return said if isinstance(said, str) else [said[0], bool(said[1]), *said[2:]]
    return {"V6ONLY": attempt(s.getsockopt, *V6ONLY),
            "option": attempt(s.getsockopt, *option[:2]) if option else None,
            "domain": s.getsockopt(SOCKET, 39), "type": s.getsockopt(SOCKET, 38),
            "name": name(s.getsockname), "peer": attempt(s.getpeername)}


def one(to, port, closed, target, only, option, first, bound, made):
    family, host = to[target]
    option = OPTIONS[option]
    said = {}
    with contextlib.closing(make(family, made)) as s:
        s.settimeout(None if made == "blocking" else 10)
        settings = [(V6ONLY + (only,)) if only is not None else None, option]
        for setting in settings if first == "V6ONLY" else settings[::-1]:
            if setting:
                said[f"set {setting[1]}"] = attempt(s.setsockopt, *setting)
        if bound != "not bound":
            address = (ANY[family], free_port()) if bound == "any" else (OWN[bound], 0)
            said["bind"] = attempt(s.bind, address)
        said["before"] = state(s, option)
        if made == "refused first":
            said["refused"] = attempt(s.connect, (host, closed))
            said["after refused"] = state(s, option)
            if said["refused"] == "ECONNREFUSED":  # Python has asked SO_ERROR
                said["aborted"] = attempt(s.connect, (host, port))
        said["connect"] = attempt(s.connect, (host, port))
        said["after connect"] = state(s, option)
        said["set V6ONLY"] = attempt(s.setsockopt, *V6ONLY, 0)
        said["set late"] = attempt(s.setsockopt, TCP, 18, 7000)  # which MPTCP refuses
        said["saw"] = None if said["connect"] else s.makefile().readline().strip()
    return said


def main(v4, v6, port, closed, every):
    to = targets(v4, v6)
    for case in cases(every == "every"):
        print(json.dumps([*case, one(to, int(port), int(closed), *case)]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

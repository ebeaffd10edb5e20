# SPDX-License-Identifier: MIT
"""LINUX-FACTS 4.2 asked of this kernel: what TCP and MPTCP sockets say to each option, and what a
program is to be told on a connection of ours: TCP's answer where the option is only a hint. Where a
program may rely on it, it is refused as MPTCP does, and its value stays what it was."""
import errno
import socket
import struct

IP, SOCKET, TCP, IPV6 = 0, 1, 6, 41
HINT, RELIED = "hint", "relied on"

# name: (level, number, value to set or None, what it is to a program)
OPTIONS = {
    "SO_PROTOCOL": (SOCKET, 38, None, HINT),
    "SO_DOMAIN": (SOCKET, 39, None, HINT),
    "TCP_USER_TIMEOUT": (TCP, 18, 5000, RELIED),
    "TCP_QUICKACK": (TCP, 12, 1, HINT),
    "TCP_SYNCNT": (TCP, 7, 3, HINT),
    "TCP_LINGER2": (TCP, 8, 20, HINT),
    "TCP_WINDOW_CLAMP": (TCP, 10, 100000, RELIED),
    "TCP_THIN_LINEAR_TIMEOUTS": (TCP, 16, 1, HINT),
    "TCP_THIN_DUPACK": (TCP, 17, 0, HINT),
    "TCP_SAVE_SYN": (TCP, 27, 1, HINT),
    "TCP_TX_DELAY": (TCP, 37, 1000, RELIED),
    "TCP_REPAIR": (TCP, 19, 0, RELIED),
    "TCP_RTO_MAX_MS": (TCP, 44, 5000, RELIED),
    "TCP_RTO_MIN_US": (TCP, 45, 100000, RELIED),
    "TCP_DELACK_MAX_US": (TCP, 46, 20000, HINT),
    "TCP_ULP": (TCP, 31, b"tls", RELIED),
    "IP_TTL": (IP, 2, 33, RELIED),
    "IP_MTU_DISCOVER": (IP, 10, 2, RELIED),
    "IP_RECVERR": (IP, 11, 1, RELIED),
    "IP_PKTINFO": (IP, 8, 1, HINT),
    "IP_RECVTOS": (IP, 13, 1, HINT),
    "IP_RECVTTL": (IP, 12, 1, HINT),
    "IP_MINTTL": (IP, 21, 1, RELIED),
    "IP_MTU": (IP, 14, None, HINT),
    "IP_UNICAST_IF": (IP, 50, 0, RELIED),
    "SO_ORIGINAL_DST": (IP, 80, None, HINT),
    "IP_TRANSPARENT": (IP, 19, 0, HINT),
    "IP_FREEBIND": (IP, 15, 1, HINT),
    "IP_BIND_ADDRESS_NO_PORT": (IP, 24, 1, HINT),
    "IP_TOS": (IP, 1, 0x20, HINT),
    "SO_REUSEADDR": (SOCKET, 2, 1, HINT),
    "SO_REUSEPORT": (SOCKET, 15, 0, HINT),
    "SO_BINDTODEVICE": (SOCKET, 25, b"c0", RELIED),
    "SO_ZEROCOPY": (SOCKET, 60, 1, RELIED),
    "SO_OOBINLINE": (SOCKET, 10, 1, HINT),
    "SO_PEEK_OFF": (SOCKET, 42, 0, RELIED),
    "SO_MAX_PACING_RATE": (SOCKET, 47, 10 ** 9, RELIED),
    "SO_TXREHASH": (SOCKET, 74, 1, HINT),
    "SO_BUF_LOCK": (SOCKET, 72, 0, RELIED),
    "SO_LOCK_FILTER": (SOCKET, 44, 0, RELIED),
    "SO_CNX_ADVICE": (SOCKET, 53, 1, HINT),
    "SO_BROADCAST": (SOCKET, 6, 1, HINT),
    "SO_RXQ_OVFL": (SOCKET, 40, 1, HINT),
    "SO_WIFI_STATUS": (SOCKET, 41, 1, HINT),
    "SO_KEEPALIVE": (SOCKET, 9, 1, HINT),
    "TCP_NODELAY": (TCP, 1, 1, HINT),
    "TCP_KEEPIDLE": (TCP, 4, 77, HINT),
    "IPV6_TCLASS": (IPV6, 67, 0x20, HINT),
    "IPV6_UNICAST_HOPS": (IPV6, 16, 33, RELIED),
    "IPV6_RECVTCLASS": (IPV6, 66, 1, HINT),
    "IPV6_RECVPKTINFO": (IPV6, 49, 1, HINT),
    "IPV6_MTU_DISCOVER": (IPV6, 23, 2, RELIED),
    "IPV6_DONTFRAG": (IPV6, 62, 1, RELIED),
    "IPV6_AUTOFLOWLABEL": (IPV6, 70, 1, HINT),
}

# The others of socket(7), tcp(7), ip(7) and ipv6(7), for the table of differences alone. Not among
# them: what takes a pointer or a descriptor, what changes by itself (SO_SNDBUF, SO_RCVBUF,
# TCP_TIMESTAMP, SO_INCOMING_CPU), and what makes another connection (TCP_FASTOPEN_CONNECT).
MORE = {name: (SOCKET, number, value) for name, number, value in (
    ("SO_DEBUG", 1, 0), ("SO_TYPE", 3, None), ("SO_ERROR", 4, None), ("SO_DONTROUTE", 5, 0),
    ("SO_NO_CHECK", 11, 1), ("SO_PRIORITY", 12, 3), ("SO_LINGER", 13, struct.pack("ii", 1, 2)),
    ("SO_PASSCRED", 16, 1), ("SO_PEERCRED", 17, None), ("SO_RCVLOWAT", 18, 5),
    ("SO_SNDLOWAT", 19, 5),
    ("SO_RCVTIMEO", 20, struct.pack("qq", 3, 0)), ("SO_SNDTIMEO", 21, struct.pack("qq", 3, 0)),
    ("SO_DETACH_FILTER", 27, 0), ("SO_TIMESTAMP", 29, 1), ("SO_ACCEPTCONN", 30, None),
    ("SO_PEERSEC", 31, None), ("SO_PASSSEC", 34, 1), ("SO_TIMESTAMPNS", 35, 1), ("SO_MARK", 36, 7),
    ("SO_TIMESTAMPING", 37, 16), ("SO_NOFCS", 43, 1), ("SO_SELECT_ERR_QUEUE", 45, 1),
    ("SO_BUSY_POLL", 46, 0), ("SO_BPF_EXTENSIONS", 48, None),
    ("SO_MEMINFO", 55, None), ("SO_INCOMING_NAPI_ID", 56, None), ("SO_PEERGROUPS", 59, None),
    ("SO_TXTIME", 61, bytes(8)), ("SO_BINDTOIFINDEX", 62, 0), ("SO_PREFER_BUSY_POLL", 69, 0),
    ("SO_BUSY_POLL_BUDGET", 70, 8), ("SO_RESERVE_MEM", 73, 4096))}
MORE |= {name: (TCP, number, value) for name, number, value in (
    ("TCP_MAXSEG", 2, 1000), ("TCP_CORK", 3, 1), ("TCP_KEEPINTVL", 5, 7), ("TCP_KEEPCNT", 6, 4),
    ("TCP_DEFER_ACCEPT", 9, 3), ("TCP_CONGESTION", 13, b"reno"), ("TCP_MD5SIG", 14, bytes(216)),
    ("TCP_REPAIR_QUEUE", 20, 1), ("TCP_QUEUE_SEQ", 21, 1), ("TCP_REPAIR_OPTIONS", 22, bytes(8)),
    ("TCP_FASTOPEN", 23, 3), ("TCP_NOTSENT_LOWAT", 25, 5000),
    ("TCP_CC_INFO", 26, None), ("TCP_SAVED_SYN", 28, None), ("TCP_REPAIR_WINDOW", 29, bytes(20)),
    ("TCP_FASTOPEN_KEY", 33, bytes(16)), ("TCP_FASTOPEN_NO_COOKIE", 34, 1),
    ("TCP_ZEROCOPY_RECEIVE", 35, None), ("TCP_INQ", 36, 1))}
MORE |= {name: (IP, number, value) for name, number, value in (
    ("IP_HDRINCL", 3, 1), ("IP_OPTIONS", 4, bytes([1, 1, 1, 1])), ("IP_ROUTER_ALERT", 5, 1),
    ("IP_RECVOPTS", 6, 1), ("IP_RETOPTS", 7, 1), ("IP_PASSSEC", 18, 1), ("IP_NODEFRAG", 22, 1),
    ("IP_CHECKSUM", 23, 1), ("IP_RECVFRAGSIZE", 25, 1), ("IP_RECVERR_RFC4884", 26, 1),
    ("IP_MULTICAST_IF", 32, 0), ("IP_MULTICAST_TTL", 33, 2), ("IP_MULTICAST_LOOP", 34, 0),
    ("IP_MULTICAST_ALL", 49, 0), ("IP_LOCAL_PORT_RANGE", 51, 0), ("IP_PROTOCOL", 52, None))}
MORE |= {name: (IPV6, number, value) for name, number, value in (
    ("IPV6_ADDRFORM", 1, 2), ("IPV6_FLOWINFO", 11, 1), ("IPV6_MULTICAST_IF", 17, 0),
    ("IPV6_MULTICAST_HOPS", 18, 2), ("IPV6_MULTICAST_LOOP", 19, 0), ("IPV6_MTU", 24, 1400),
    ("IPV6_RECVERR", 25, 1), ("IPV6_V6ONLY", 26, 1), ("IPV6_FLOWINFO_SEND", 33, 1),
    ("IPV6_RECVHOPLIMIT", 51, 1), ("IPV6_RECVHOPOPTS", 53, 1), ("IPV6_RECVRTHDR", 56, 1),
    ("IPV6_RECVDSTOPTS", 58, 1), ("IPV6_RECVPATHMTU", 60, 1), ("IPV6_TRANSPARENT", 75, 0),
    ("IPV6_ADDR_PREFERENCES", 72, 2), ("IPV6_MINHOPCOUNT", 73, 1), ("IPV6_RECVORIGDSTADDR", 74, 1),
    ("IPV6_UNICAST_IF", 76, 0), ("IPV6_RECVFRAGSIZE", 77, 1), ("IPV6_FREEBIND", 78, 1))}
EVERY = OPTIONS | MORE


def ask(s, name):
    try:
        return s.getsockopt(*EVERY[name][:2], 16 if name == "TCP_ULP" else 4).hex() or "-"
    except OSError as e:
        return errno.errorcode[e.errno]


def tell(s, name):
    """What it was, what setting it gave, what it is then."""
    level, number, value = EVERY[name][:3]
    said = [ask(s, name), "-"]
    if value is not None:
        value = value if isinstance(value, bytes) else struct.pack("i", value)
        try:
            s.setsockopt(level, number, value)
            said[1] = "ok"
        except OSError as e:
            said[1] = errno.errorcode[e.errno]
    return " ".join(said + [ask(s, name)])


def tell_before(s, name, address):
    """The same, set before it is connected: is that MPTCP, what setting it gave, what it is."""
    level, number, value = EVERY[name][:3]
    try:
        s.setsockopt(level, number, value if isinstance(value, bytes) else struct.pack("i", value))
        said = "ok"
    except OSError as e:
        said = errno.errorcode[e.errno]
    failed = s.connect_ex(address)
    return f"{s.getsockopt(TCP, 43)} - {said} {errno.errorcode[failed] if failed else ask(s, name)}"


def names(family, options=OPTIONS):
    return [name for name, (level, *_) in options.items()
            if level != (IPV6 if family == socket.AF_INET else IP)]


def sizes(address, port):
    """Each value on a socket of its own, set before it is connected."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for name in names(family):
        level, number, value, kind = OPTIONS[name]
        if kind != HINT or value is None:
            continue
        for value in (struct.pack("i", 2), struct.pack("ii", 1, -1), struct.pack("i", 256), b"\1"):
            s = socket.socket(family)
            try:
                s.setsockopt(level, number, value)
            except OSError:
                s.close()
                continue
            s.connect((address, int(port)))
            print(name, value.hex(), *(asked(s, level, number, room) for room in (16, 4, 1)))
            s.close()


def asked(s, level, number, room):
    try:
        return s.getsockopt(level, number, room).hex()
    except OSError as e:
        return errno.errorcode[e.errno]


def main(protocol, address, port, when=""):
    if protocol == "sizes":
        return sizes(address, port)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for name in names(family, EVERY if when else OPTIONS):
        if when == "before" and EVERY[name][2] is None:
            continue
        s = socket.socket(family, socket.SOCK_STREAM, int(protocol))
        if when == "before":
            print(name, tell_before(s, name, (address, int(port))))
            s.close()
            continue
        s.connect((address, int(port)))
        print(name, s.getsockopt(TCP, 43), tell(s, name))
        s.close()


if __name__ == "__main__":
    import sys
    main(*sys.argv[1:])

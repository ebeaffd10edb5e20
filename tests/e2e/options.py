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


def ask(s, name):
    try:
        return s.getsockopt(*OPTIONS[name][:2], 16 if name == "TCP_ULP" else 4).hex() or "-"
    except OSError as e:
        return errno.errorcode[e.errno]


def tell(s, name):
    """What it was, what setting it gave, what it is then."""
    level, number, value, _ = OPTIONS[name]
    said = [ask(s, name), "-"]
    if value is not None:
        value = value if isinstance(value, bytes) else struct.pack("i", value)
        try:
            s.setsockopt(level, number, value)
            said[1] = "ok"
        except OSError as e:
            said[1] = errno.errorcode[e.errno]
    return " ".join(said + [ask(s, name)])


def names(family):
    return [name for name, (level, *_) in OPTIONS.items()
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


def main(protocol, address, port):
    if protocol == "sizes":
        return sizes(address, port)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for name in names(family):
        s = socket.socket(family, socket.SOCK_STREAM, int(protocol))
        s.connect((address, int(port)))
        print(name, s.getsockopt(TCP, 43), tell(s, name))
        s.close()


if __name__ == "__main__":
    import sys
    main(*sys.argv[1:])

#!/bin/bash
# SPDX-License-Identifier: MIT
# What a server sets on its listening socket its connections have as well: on Linux that is so, and servers rely on it.
# An MPTCP listener takes clients of MPTCP and of plain TCP, and hands most options on to both. Time limits,
# low-water marks and TCP_INQ only those have that came by MPTCP: the same server waits 5 seconds for one client and for
# ever for the next.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine

seen=$(inside python3 - <<'EOF'
import socket
import struct

def number(n):
	return struct.pack("i", n)

OPTIONS = {
	"SO_KEEPALIVE": (socket.SOL_SOCKET, 9, number(1)),
	"SO_LINGER": (socket.SOL_SOCKET, 13, struct.pack("ii", 1, 3)),
	"TCP_NODELAY": (socket.IPPROTO_TCP, 1, number(1)),
	"TCP_KEEPIDLE": (socket.IPPROTO_TCP, 4, number(33)),
	"TCP_CONGESTION": (socket.IPPROTO_TCP, 13, b"reno"),
	"IP_TOS": (socket.IPPROTO_IP, 1, number(16)),
	"SO_RCVTIMEO": (socket.SOL_SOCKET, 20, struct.pack("ll", 5, 0)),
	"SO_SNDTIMEO": (socket.SOL_SOCKET, 21, struct.pack("ll", 7, 0)),
	"SO_RCVLOWAT": (socket.SOL_SOCKET, 18, number(5)),
	"TCP_NOTSENT_LOWAT": (socket.IPPROTO_TCP, 25, number(5000)),
	"TCP_INQ": (socket.IPPROTO_TCP, 36, number(1)),
}

def accepted(listening, calling, level, name, value):
	listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, listening)
	listener.bind(("127.0.0.1", 0))
	listener.setsockopt(level, name, value)
	listener.listen()
	client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, calling)
	client.connect(listener.getsockname())
	return listener.accept()[0].getsockopt(level, name, 16) == listener.getsockopt(level, name, 16)

for who, listening, calling in (("TCP of TCP", 0, 0), ("MPTCP of MPTCP", 262, 262), ("TCP of MPTCP", 262, 0)):
	missing = [name for name, option in OPTIONS.items() if not accepted(listening, calling, *option)]
	print(f"{who}: not inherited:", *missing or ["nothing"])
EOF
)

verdict "TCP of TCP: not inherited: nothing
MPTCP of MPTCP: not inherited: nothing
TCP of MPTCP: not inherited: nothing" "TCP of TCP: not inherited: nothing
MPTCP of MPTCP: not inherited: nothing
TCP of MPTCP: not inherited: SO_RCVTIMEO SO_SNDTIMEO SO_RCVLOWAT TCP_NOTSENT_LOWAT TCP_INQ" "$seen"

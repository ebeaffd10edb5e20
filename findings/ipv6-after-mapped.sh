#!/bin/bash
# SPDX-License-Identifier: MIT
# connect() to an address of AF_UNSPEC dissolves what a TCP socket was connected to, and it may be connected again
# (connect(2)). An IPv6 socket that was connected to an IPv4 server (::ffff:...) Linux does not make one of IPv6
# again: its next connect(), to an IPv6 server, sends a SYN of IPv4 to the host of before, at the new one's port, does not
# heed the reset that comes back, and waits. With Multipath TCP it is the same; the other way round, from IPv6 to IPv4, it works.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine

seen=$(inside python3 - <<'EOF2'
import ctypes
import os
import socket

libc = ctypes.CDLL(None)

def listener(family, host):
	s = socket.socket(family)
	s.bind((host, 0))
	s.listen()
	return s, s.getsockname()[1]

v4, port4 = listener(socket.AF_INET, "127.0.0.1")
v6, port6 = listener(socket.AF_INET6, "::1")
WAYS = {"IPv6, then IPv4": (("::1", port6), ("::ffff:127.0.0.1", port4)),
        "IPv4, then IPv6": (("::ffff:127.0.0.1", port4), ("::1", port6))}
for name, protocol in ("TCP", 0), ("MPTCP", 262):
	for way, (first, then) in WAYS.items():
		s = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, protocol)
		s.settimeout(1)
		s.connect(first)
		dissolved = libc.connect(s.fileno(), bytes(28), 28) == 0
		try:
			s.connect(then)
			end = "connected"
		except socket.timeout:
			end = "waits"
		except OSError as e:
			end = os.strerror(e.errno)
		print(f"{name}, {way}: {'' if dissolved else 'not dissolved, '}{end}")
EOF2
)

verdict "TCP, IPv6, then IPv4: connected
TCP, IPv4, then IPv6: connected
MPTCP, IPv6, then IPv4: connected
MPTCP, IPv4, then IPv6: connected" "TCP, IPv6, then IPv4: connected
TCP, IPv4, then IPv6: waits
MPTCP, IPv6, then IPv4: connected
MPTCP, IPv4, then IPv6: waits" "$seen"

#!/bin/bash
# SPDX-License-Identifier: MIT
# bind() to an IPv6 address other than :: turns IPV6_V6ONLY on by itself: nobody has set it, and
# getsockopt() says 1. ipv6(7) does not tell. An MPTCP socket goes on saying 0; and where a socket
# of AF_INET is asked, TCP says EOPNOTSUPP and MPTCP 0.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine

seen=$(inside python3 - <<'EOF'
import socket

def v6only(s):
	try:
		return s.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
	except OSError as error:
		return error.strerror.lower()

for name, protocol in ("TCP", 0), ("MPTCP", 262):
	s = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, protocol)
	before = v6only(s)
	s.bind(("::1", 0))
	four = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
	print(name, "fresh", before, "bound to ::1", v6only(s), "AF_INET", v6only(four))
EOF
)

verdict "TCP fresh 0 bound to ::1 0 AF_INET operation not supported
MPTCP fresh 0 bound to ::1 0 AF_INET operation not supported" \
	"TCP fresh 0 bound to ::1 1 AF_INET operation not supported
MPTCP fresh 0 bound to ::1 0 AF_INET 0" "$seen"

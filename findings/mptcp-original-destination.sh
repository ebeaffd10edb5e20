#!/bin/bash
# SPDX-License-Identifier: MIT
# A transparent proxy asks SO_ORIGINAL_DST where a redirected client wanted to go. Where it listens
# with MPTCP it gets the answer for its TCP clients alone: of a connection that is MPTCP it is
# told EOPNOTSUPP, and getsockname() has only the proxy's own port. conntrack redirects both alike.
# Needs iptables beside what the others need.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
iptables -V

seen=$(inside sh -c '
iptables -t nat -A OUTPUT -p tcp --dport 7777 -j REDIRECT --to-ports 7000
exec python3 -' <<'EOF'
import socket
import struct

SO_ORIGINAL_DST = 80
proxy = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
proxy.bind(("127.0.0.1", 7000))
proxy.listen()
for name, protocol in ("TCP", 0), ("MPTCP", 262):
	client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
	client.connect(("127.0.0.1", 7777))
	accepted, _ = proxy.accept()
	try:
		address = accepted.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
		answer = "port %d" % struct.unpack("!H", address[2:4])
	except OSError as error:
		answer = error.strerror.lower()
	print(name, "client: original destination", answer, "own port", accepted.getsockname()[1])
EOF
)

verdict "TCP client: original destination port 7777 own port 7000
MPTCP client: original destination port 7777 own port 7000" \
	"TCP client: original destination port 7777 own port 7000
MPTCP client: original destination operation not supported own port 7000" "$seen"

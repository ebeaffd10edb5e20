#!/bin/bash
# SPDX-License-Identifier: MIT
# An MPTCP socket that connects to its own port (a simultaneous open, RFC 9293 3.5) falls back to
# TCP, and loses the first byte of its stream: send() says 8, seven arrive, the end comes as usual.
# A TCP socket gets what it has sent. The kernel counts a SimultConnectFallback and a
# DuplicateData: it takes the byte for one that it has had.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine

seen=$(inside python3 - <<'EOF'
import socket

for name, protocol in ("TCP", 0), ("MPTCP", 262):
	s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
	s.settimeout(5)
	s.bind(("127.0.0.1", 0))
	s.connect(s.getsockname())
	sent = s.send(b"ABCDEFGH")
	s.shutdown(socket.SHUT_WR)
	got = b""
	while data := s.recv(100):
		got += data
	print(name, "sent", sent, "got", got.decode())
EOF
)

verdict "TCP sent 8 got ABCDEFGH
MPTCP sent 8 got ABCDEFGH" \
	"TCP sent 8 got ABCDEFGH
MPTCP sent 8 got BCDEFGH" "$seen"

#!/bin/bash
# SPDX-License-Identifier: MIT
# FIONREAD on an MPTCP socket counts the end of the stream as a byte that can be read: 5 bytes and
# the end are 6, and once all is read it says 1 for ever while recv() gives the end. So a loop
# "while something is available, read it" has no last round. TCP says 5 and then 0.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine

seen=$(inside python3 - <<'EOF'
import array
import fcntl
import select
import socket
import termios

def available(s):
	n = array.array("i", [0])
	fcntl.ioctl(s, termios.FIONREAD, n)
	return n[0]

for name, protocol in ("TCP", 0), ("MPTCP", 262):
	listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
	listener.bind(("127.0.0.1", 0))
	listener.listen()
	client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
	client.connect(listener.getsockname())
	server, _ = listener.accept()
	server.sendall(b"hello")
	server.shutdown(socket.SHUT_WR)
	ended = select.poll()
	ended.register(client, select.POLLRDHUP)
	assert ended.poll(5000)
	counts = [available(client)]
	assert client.recv(100) == b"hello"
	counts.append(available(client))
	assert client.recv(100) == b""
	counts.append(available(client))
	print(name, *counts)
EOF
)

verdict "TCP 5 0 0
MPTCP 5 0 0" "TCP 5 0 0
MPTCP 6 1 1" "$seen"

#!/bin/bash
# SPDX-License-Identifier: MIT
# An MPTCP sender whose peer's window was full does not notice that it has opened again, where a packet
# and its answer pass within one call, as on lo or a veth pair (a container beside its host): it goes
# on when MPTCP's own retransmission timer fires, 200 ms later, each time. 300 kB through a receive
# buffer of 10,000 bytes take TCP a moment and MPTCP seconds; with a millisecond on the way it is as
# fast. Whatever the congestion control is; bbr fills the window more often than others.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine

seen=$(inside python3 - <<'EOF'
import socket
import threading

SIZE = 300000

def retransmissions():
	names, numbers = [line.split() for line in open("/proc/net/netstat") if line[:7] == "MPTcpEx"]
	return int(dict(zip(names, numbers))["MPTCPRetrans"])

for name, protocol in ("TCP", 0), ("MPTCP", 262):
	listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
	listener.bind(("127.0.0.1", 0))
	listener.listen()
	client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
	client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 10000)
	client.connect(listener.getsockname())
	server, _ = listener.accept()
	before = retransmissions()
	threading.Thread(target=server.sendall, args=(bytes(SIZE),)).start()
	got = 0
	while got < SIZE:
		got += len(client.recv(1 << 18))
	stalls = retransmissions() - before
	print(name, "no stall" if stalls == 0 else "one stall" if stalls < 5 else "many stalls")
EOF
)

verdict "TCP no stall
MPTCP no stall" "TCP no stall
MPTCP many stalls" "$seen"

#!/bin/bash
# SPDX-License-Identifier: MIT
# A TCP server sends no more than its client has room for, and so does an MPTCP server: the window is the
# connection's, however many subflows it has (RFC 8684, 3.3.1). If the client's SYN has brought data by Fast Open,
# it does not: Linux takes the window of that SYN for a scaled one, up to a thousand times as much, and with a second
# subflow sends past the real one. The client's TCP acknowledges what its MPTCP then drops (MPTcpExtNoDSSInWindow), and
# MPTCP's own timer has to bring it again. Here a client of two addresses reads slowly, once with
# data in its SYN and once without.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine

# shellcheck disable=SC2016 # the inner shell's $n
seen=$(inside sh -c 'for n in 1 2; do ip addr add 10.9.0.$n/32 dev lo; done
	echo 0x207 >/proc/sys/net/ipv4/tcp_fastopen
	ip mptcp limits set subflows 2 add_addr_accepted 2
	ip mptcp endpoint add 10.9.0.2 dev lo subflow
	exec python3 -' <<'EOF2'
import socket
import threading
import time

MPTCP, MSG_FASTOPEN, TCP_FASTOPEN = 262, 0x20000000, 23

def counter(name):
	names, numbers = [line.split() for line in open("/proc/net/netstat") if line[:7] == "MPTcpEx"]
	return int(dict(zip(names, numbers))[name])

def serve(listener):
	server, _ = listener.accept()
	while server.recv(1) == b"x":
		server.send(b"x")
	server.settimeout(3)
	try:
		server.sendall(bytes(8 << 20))
	except OSError:
		pass

for name in "no data in the SYN", "data in the SYN":
	listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, MPTCP)
	listener.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN, 8)
	listener.bind(("10.9.0.1", 0))
	listener.listen()
	threading.Thread(target=serve, args=(listener,), daemon=True).start()
	client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, MPTCP)
	joined, dropped = counter("MPJoinSynAckRx"), counter("NoDSSInWindow")
	if name[0] == "n":
		client.connect(listener.getsockname())
		client.send(b"x")
	else:
		client.sendto(b"x", MSG_FASTOPEN, listener.getsockname())
	client.recv(1)
	for _ in range(100):
		if counter("MPJoinSynAckRx") > joined:
			break
		client.send(b"x")
		client.recv(1)
		time.sleep(0.01)
	else:
		print("no second subflow")
	time.sleep(0.2)
	client.send(b".")
	for _ in range(50):
		time.sleep(0.02)
		client.recv(1 << 16)
	dropped = counter("NoDSSInWindow") - dropped
	print(name + ":", "nothing past the window" if dropped == 0 else "past the window" if dropped > 5 else dropped)
EOF2
)

verdict "no data in the SYN: nothing past the window
data in the SYN: nothing past the window" "no data in the SYN: nothing past the window
data in the SYN: past the window" "$seen"

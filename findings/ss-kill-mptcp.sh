#!/bin/bash
# SPDX-License-Identifier: MIT
# "ss -K" cannot end an MPTCP connection. Asked for MPTCP sockets (-M) it shows and does nothing,
# and exits 0. Asked for TCP sockets it does end the connection's subflow, but the program is not
# told: its socket stays ESTAB without a path, send() goes on taking data, poll() sees nothing,
# until net.mptcp.close_timeout (60 s; here 2 s) is over. Then recv() says ENOTCONN, not
# ECONNABORTED as a killed TCP socket does. Any reset of the only path is told that late.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch iproute2=6.1.0-3 libbpf1=1:1.1.2-0+deb12u1 libelf1=0.188-2.1 libmnl0=1.0.4-3 \
	libcap2=1:2.66-4+deb12u3+b1 libselinux1=3.4-1+b6

seen=$(inside python3 - <<'EOF'
import os
import select
import socket
import subprocess

ROOT, LIBS = os.environ["ROOT"], os.environ["LIBS"]
with open("/proc/sys/net/mptcp/close_timeout", "w") as sysctl:
	sysctl.write("2")

def ss(*args):
	run = subprocess.run([ROOT + "/bin/ss", "-Hn", *args], env={"LD_LIBRARY_PATH": LIBS},
		capture_output=True, text=True, check=False)
	return "exit %d, %d sockets;" % (run.returncode, len(run.stdout.splitlines()))

def attempt(call, *args):
	try:
		return call(*args)
	except OSError as error:
		return error.strerror.lower()

for name, protocol in ("TCP", 0), ("MPTCP", 262):
	listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
	listener.bind(("127.0.0.1", 0))
	listener.listen()
	client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
	client.connect(listener.getsockname())
	server, _ = listener.accept()
	client.sendall(b"x")
	server.recv(1)
	told = select.poll()
	told.register(client, select.POLLIN)
	which = "dport = :%d" % listener.getsockname()[1]
	print(name, "ss -MK:", ss("-MK", which), "told", bool(told.poll(300)))
	print(name, "ss -tK:", ss("-tK", which), "told", bool(told.poll(300)),
		"send", attempt(client.send, b"y"))
	if name == "MPTCP":
		print("later: told", bool(told.poll(10000)), "recv", attempt(client.recv, 1))
EOF
)

verdict "TCP ss -MK: exit 0, 0 sockets; told False
TCP ss -tK: exit 0, 1 sockets; told True send software caused connection abort
MPTCP ss -MK: exit 0, 1 sockets; told True
and then no subflow to kill" \
	"TCP ss -MK: exit 0, 0 sockets; told False
TCP ss -tK: exit 0, 1 sockets; told True send software caused connection abort
MPTCP ss -MK: exit 0, 0 sockets; told False
MPTCP ss -tK: exit 0, 1 sockets; told False send 1
later: told True recv transport endpoint is not connected" "$seen"

#!/bin/bash
# SPDX-License-Identifier: MIT
# A program has closed its MPTCP connection, the other side has not yet: the kernel keeps what is left
# of it until the other side has, or for 60 s. If its first subflow is gone and the endpoint of the second
# is deleted meanwhile (a laptop that leaves its second network), it is kept for ever: ss shows it as
# UNCONN with a timer that runs out and does nothing, its token stays taken and its network namespace
# cannot go. The kernel has a place for tokens per MB of memory; when so many are taken, some MPTCP
# sockets connect over TCP (nstat: MPTcpExtMPFallbackTokenInit). This script leaves one behind until the
# next boot.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch iproute2=6.1.0-3 libbpf1=1:1.1.2-0+deb12u1 libelf1=0.188-2.1 libmnl0=1.0.4-3 \
	libcap2=1:2.66-4+deb12u3+b1 libselinux1=3.4-1+b6

seen=$(inside python3 - <<'EOT'
import os
import socket
import subprocess
import time

ROOT, LIBS = os.environ["ROOT"], os.environ["LIBS"]

def sh(line):
	path = "%s/bin:%s" % (ROOT, os.environ["PATH"])
	return subprocess.run(line, shell=True, capture_output=True, text=True, check=True,
		env=os.environ | {"PATH": path, "LD_LIBRARY_PATH": LIBS}).stdout

def kept(port):
	return [line.split()[0] for line in sh("ss -HMna dst 10.9.0.2:%d" % port).splitlines()]

for address in "10.9.0.1", "10.9.0.2", "10.9.1.1":
	sh("ip address add %s/32 dev lo" % address)
sh("ip mptcp limits set subflows 2")
for deleted in False, True:
	sh("ip mptcp endpoint add 10.9.1.1 id 1 dev lo subflow")
	listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
	listener.bind(("10.9.0.2", 0))
	listener.listen()
	port = listener.getsockname()[1]
	client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
	client.bind(("10.9.0.1", 0))
	client.connect(("10.9.0.2", port))
	server, _ = listener.accept()
	client.sendall(b"x")
	server.recv(1)
	while sh("ss -Htn state established dst 10.9.0.2:%d" % port).count("\n") < 2:
		time.sleep(0.1)
	sh("ss -tnK src 10.9.0.1 dst 10.9.0.2:%d" % port)  # its first subflow
	time.sleep(0.3)
	client.close()
	time.sleep(0.3)
	if deleted:
		sh("ip mptcp endpoint delete id 1")
	time.sleep(0.3)
	before = kept(port)
	server.close()
	listener.close()
	time.sleep(5)
	print("endpoint", "deleted:" if deleted else "kept:", "the client's socket is", *before,
		"and when the server has closed, too,", *(kept(port) or ["gone"]))
	if not deleted:
		sh("ip mptcp endpoint delete id 1")
EOT
)

verdict "either way it is gone when the server has closed, too" \
	"endpoint kept: the client's socket is FIN-WAIT-2 and when the server has closed, too, gone
endpoint deleted: the client's socket is UNCONN and when the server has closed, too, UNCONN" "$seen"

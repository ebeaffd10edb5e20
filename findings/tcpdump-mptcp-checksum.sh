#!/bin/bash
# SPDX-License-Identifier: MIT
# tcpdump 4.99.3 calls a right option wrong: where MPTCP's checksums are on (net.mptcp.checksum_enabled),
# the first data come with an MP_CAPABLE of 24 bytes (RFC 8684, 3.1: keys, length and checksum), and
# tcpdump prints "[bad opt]" and nothing behind it, not the other options and not the packet's length.
# Without checksums it is 22 bytes, and read. It matters to whoever looks for a middlebox that harms
# MPTCP, for which checksums are switched on: the trace accuses the sender.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch tcpdump=4.99.3-1 libpcap0.8=1.10.3-1 libssl3=3.0.20-1~deb12u2 libdbus-1-3=1.14.10-1~deb12u1 \
	libsystemd0=252.39-1~deb12u2 libcap2=1:2.66-4+deb12u3+b1 libgcrypt20=1.10.1-3+deb12u1 \
	libgpg-error0=1.46-1 liblz4-1=1.9.4-1 liblzma5=5.4.1-1+deb12u1 libzstd1=1.5.4+dfsg2-5

seen=$(inside python3 - "$WORK/trace" <<'EOT'
import os
import re
import socket
import subprocess
import sys
import time

def tcpdump(*words, **more):
	return subprocess.Popen([os.environ["ROOT"] + "/usr/bin/tcpdump", "-n", "--immediate-mode", *words],
		env={"LD_LIBRARY_PATH": os.environ["LIBS"]}, text=True, **more)

def transfer(listener):
	client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_MPTCP)
	client.connect(listener.getsockname())
	client.sendall(b"hello")
	server, _ = listener.accept()
	assert server.recv(10) == b"hello"

for enabled in "0", "1":
	with open("/proc/sys/net/mptcp/checksum_enabled", "w", encoding="ascii") as sysctl:
		sysctl.write(enabled)
	listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_MPTCP)
	listener.bind(("127.0.0.1", 0))
	listener.listen()
	trace = tcpdump("-Z", "root", "-U", "-w", sys.argv[1], "-i", "lo", "tcp", stderr=subprocess.PIPE)
	if "listening on lo" not in trace.stderr.readline():
		print("tcpdump has to be started as the machine's root: nothing was tried", file=sys.stderr)
		sys.exit(2)
	transfer(listener)
	time.sleep(0.5)
	trace.terminate()
	trace.wait()
	text = tcpdump("-r", sys.argv[1], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).communicate()[0]
	first = [line for line in text.splitlines() if re.search("mptcp 2[24] capable", line)][0]
	said = re.search(r"mptcp \d+ capable *(v1|\[bad opt\])", first).group()
	print("checksum_enabled=%s: %s," % (enabled, said), "length 5" if "length 5" in first else "no length")
EOT
)

verdict "checksum_enabled=0: mptcp 22 capable v1, length 5
checksum_enabled=1: mptcp 24 capable v1, length 5" \
	"checksum_enabled=0: mptcp 22 capable v1, length 5
checksum_enabled=1: mptcp 24 capable[bad opt], no length" "$seen"

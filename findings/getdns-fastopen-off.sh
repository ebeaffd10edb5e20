#!/bin/bash
# SPDX-License-Identifier: MIT
# getdns asks over TCP by Fast Open without being told to, and where the kernel does not do it for clients
# (net.ipv4.tcp_fastopen has not the bit 1) it cannot ask over TCP at all: setsockopt() of
# TCP_FASTOPEN_CONNECT is refused, so it takes sendto() with MSG_FASTOPEN, which is refused for the same
# reason, and there it ends; connect() is not tried. Over UDP and over TLS it asks. (kdig does so where
# +fastopen is given.) It matters to who switches Fast Open off on a host against a box on the way.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch getdns-utils=1.6.0-3+b1 libgetdns10=1.6.0-3+b1 libunbound8=1.17.1-2+deb12u4 libssl3=3.0.20-1~deb12u2 \
	libbsd0=0.11.7-2 libmd0=1.0.4-2 libidn2-0=2.3.3-1+b1 libevent-2.1-7=2.1.12-stable-8 libhogweed6=3.8.1-2 \
	libnettle8=3.8.1-2 libgmp10=2:6.2.1+dfsg1-1.1 libunistring2=1.0-2

seen=$(inside python3 - <<'EOT'
import os
import re
import socket
import struct
import subprocess
import threading

def answer(query):
	return query[:2] + b"\x81\x80" + query[4:]  # no error, no answer

def over_udp(server):
	while True:
		query, client = server.recvfrom(1000)
		server.sendto(answer(query), client)

def over_tcp(listener):
	while True:
		client, _ = listener.accept()
		with client, client.makefile("rwb") as stream:
			while len(size := stream.read(2)) == 2:
				stream.write(size + answer(stream.read(struct.unpack("!H", size)[0])))
				stream.flush()

udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("127.0.0.1", 53))
threading.Thread(target=over_udp, args=(udp,), daemon=True).start()
threading.Thread(target=over_tcp, args=(socket.create_server(("127.0.0.1", 53)),), daemon=True).start()
for value in "1", "0":
	with open("/proc/sys/net/ipv4/tcp_fastopen", "w", encoding="ascii") as sysctl:
		sysctl.write(value)
	for name, option in ("UDP", "-U"), ("TCP", "-T"):
		run = subprocess.run([os.environ["ROOT"] + "/usr/bin/getdns_query", "-s", option, "@127.0.0.1", "name.test",
			"A"], env={"LD_LIBRARY_PATH": os.environ["LIBS"]}, capture_output=True, text=True, timeout=20, check=False)
		said = re.search("RESPSTATUS_[A-Z_]+|Generic error", run.stdout + run.stderr)
		print("tcp_fastopen = %s, over %s: exit %d, %s" % (value, name, run.returncode, said and said.group()))
EOT
)

verdict "each: exit 0, RESPSTATUS_NO_NAME" "tcp_fastopen = 1, over UDP: exit 0, RESPSTATUS_NO_NAME
tcp_fastopen = 1, over TCP: exit 0, RESPSTATUS_NO_NAME
tcp_fastopen = 0, over UDP: exit 0, RESPSTATUS_NO_NAME
tcp_fastopen = 0, over TCP: exit 1, Generic error" "$seen"

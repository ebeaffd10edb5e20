#!/bin/bash
# SPDX-License-Identifier: MIT
# kdig +fastopen fails where the kernel does not do TCP Fast Open for clients (net.ipv4.tcp_fastopen
# has not the bit 1): "can't send query", though a plain connect() on the same socket would do. It
# does not fall back; curl --tcp-fastopen, and httping -F, do. (The default is 1. Where it is on,
# kdig asks.)
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch knot-dnsutils=3.2.6-1 libdnssec9=3.2.6-1 libgnutls30=3.7.9-2+deb12u7 \
	libgmp10=2:6.2.1+dfsg1-1.1 libhogweed6=3.8.1-2 libnettle8=3.8.1-2 libidn2-0=2.3.3-1+b1 \
	libunistring2=1.0-2 libp11-kit0=0.24.1-2 libffi8=3.4.4-1 libtasn1-6=4.19.0-2+deb12u1 \
	libknot13=3.2.6-1 libbpf1=1:1.1.2-0+deb12u1 libelf1=0.188-2.1 liblmdb0=0.9.24-1 \
	libxdp1=1.3.1-1 libzscanner4=3.2.6-1 libedit2=3.1-20221030-2 libbsd0=0.11.7-2 \
	libmd0=1.0.4-2 libtinfo6=6.4-4 libfstrm0=0.6.1-1 libmnl0=1.0.4-3 \
	libnghttp2-14=1.52.0-1+deb12u3 libprotobuf-c1=1.4.1-1+b1

seen=$(inside python3 - <<'EOF'
import os
import re
import socket
import struct
import subprocess
import threading

def serve(listener):
	while True:
		client, _ = listener.accept()
		with client, client.makefile("rwb") as stream:
			size = stream.read(2)
			if len(size) == 2:
				query = stream.read(struct.unpack("!H", size)[0])
				stream.write(size + query[:2] + b"\x80\x00" + query[4:])  # no error, no answer

listener = socket.create_server(("127.0.0.1", 5300))
threading.Thread(target=serve, args=(listener,), daemon=True).start()
for value in "1", "0":
	with open("/proc/sys/net/ipv4/tcp_fastopen", "w", encoding="ascii") as sysctl:
		sysctl.write(value)
	for option in "+tcp", "+fastopen":
		run = subprocess.run([os.environ["ROOT"] + "/usr/bin/kdig", "@127.0.0.1", "-p", "5300", option,
			"+noedns", "+retry=0", "+timeout=3", "name.test"], env={"LD_LIBRARY_PATH": os.environ["LIBS"]},
			capture_output=True, text=True, check=False)
		said = re.search("status: [A-Z]+|can't send query", run.stdout + run.stderr)
		print("tcp_fastopen =", value, option, "exit %d," % run.returncode, said and said.group())
EOF
)

verdict "each: exit 0, status: NOERROR" \
	"tcp_fastopen = 1 +tcp exit 0, status: NOERROR
tcp_fastopen = 1 +fastopen exit 0, status: NOERROR
tcp_fastopen = 0 +tcp exit 0, status: NOERROR
tcp_fastopen = 0 +fastopen exit 1, can't send query" "$seen"

#!/bin/bash
# SPDX-License-Identifier: MIT
# curl --tcp-fastopen gives up at the first address of a name. Without the option it goes on to the
# second one when the first refuses. With it, as soon as the kernel may put data into a SYN (a cookie
# is there, or net.ipv4.tcp_fastopen has the bit 4, as here), the socket looks connected before
# anything was sent, curl has its choice made, and the refusal that comes with the request is final:
# exit 56, with the words of a getpeername() that failed.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch curl=7.88.1-10+deb12u15 libcurl4=7.88.1-10+deb12u15 libbrotli1=1.0.9-2+deb12u1 \
	libgssapi-krb5-2=1.20.1-2+deb12u5 libcom-err2=1.47.0-2+b2 libk5crypto3=1.20.1-2+deb12u5 \
	libkrb5support0=1.20.1-2+deb12u5 libkrb5-3=1.20.1-2+deb12u5 libkeyutils1=1.6.3-2 \
	libssl3=3.0.22-1~deb12u2 libidn2-0=2.3.3-1+b1 libunistring2=1.0-2 \
	libldap-2.5-0=2.5.13+dfsg-5 libgnutls30=3.7.9-2+deb12u7 libgmp10=2:6.2.1+dfsg1-1.1 \
	libhogweed6=3.8.1-2 libnettle8=3.8.1-2 libp11-kit0=0.24.1-2 libffi8=3.4.4-1 \
	libtasn1-6=4.19.0-2+deb12u1 libsasl2-2=2.1.28+dfsg-10+deb12u1 libnghttp2-14=1.52.0-1+deb12u3 \
	libpsl5=0.21.2-1 librtmp1=2.4+20151223.gitfa8646d.1-2+b2 libssh2-1=1.10.0-3+deb12u1 \
	libzstd1=1.5.4+dfsg2-5

seen=$(inside python3 - <<'EOF'
import os
import socket
import subprocess
import threading

with open("/proc/sys/net/ipv4/tcp_fastopen", "w") as sysctl:
	sysctl.write("5")

def serve(listener):
	while True:
		client, _ = listener.accept()
		client.recv(10000)
		client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nyes")
		client.close()

listener = socket.create_server(("127.0.0.2", 8080))  # and nobody listens at 127.0.0.9
threading.Thread(target=serve, args=(listener,), daemon=True).start()
for options in [], ["--tcp-fastopen"]:
	for addresses in "127.0.0.2", "127.0.0.9,127.0.0.2":
		run = subprocess.run([os.environ["ROOT"] + "/usr/bin/curl", "-q", "-s", "-m", "5", *options,
			"--resolve", "name.test:8080:" + addresses, "http://name.test:8080/"],
			env={"LD_LIBRARY_PATH": os.environ["LIBS"]}, capture_output=True, text=True, check=False)
		print(*options, addresses, "exit", run.returncode, run.stdout)
EOF
)

verdict "127.0.0.2 exit 0 yes
127.0.0.9,127.0.0.2 exit 0 yes
--tcp-fastopen 127.0.0.2 exit 0 yes
--tcp-fastopen 127.0.0.9,127.0.0.2 exit 0 yes" \
	"127.0.0.2 exit 0 yes
127.0.0.9,127.0.0.2 exit 0 yes
--tcp-fastopen 127.0.0.2 exit 0 yes
--tcp-fastopen 127.0.0.9,127.0.0.2 exit 56 " "$seen"

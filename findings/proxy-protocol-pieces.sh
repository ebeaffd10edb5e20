#!/bin/bash
# SPDX-License-Identifier: MIT
# A relay tells the server behind it whose connection it is by a header in front of the data, HAProxy's PROXY
# protocol, of one line or of up to 64 kB. Its text recommends servers to bear with a header in pieces. nginx,
# lighttpd and haproxy itself end a connection whose header comes in two. nginx and lighttpd do so too where
# version 2 has 2000 bytes to pass over, and haproxy where UNKNOWN has addresses behind it, which are to be
# passed over.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch nginx=1.22.1-9+deb12u11 haproxy=2.6.12-1+deb12u4 lighttpd=1.4.69-1 liblua5.3-0=5.3.6-2 \
	libopentracing-c-wrapper0=1.1.3-3+b1 libopentracing1=1.6.0-4 libxxhash0=0.8.1-1 \
	libpcre2-8-0=10.42-1+deb12u2 libnettle8=3.8.1-2

cat >"$WORK/nginx.conf" <<EOF
daemon off; error_log $WORK/nginx.log; pid $WORK/nginx.pid; events {}
$([ "$(id -u)" = 0 ] && echo "user root;")
http { access_log off; client_body_temp_path $WORK; proxy_temp_path $WORK; fastcgi_temp_path $WORK;
	uwsgi_temp_path $WORK; scgi_temp_path $WORK;
	server { listen 127.0.0.1:3001 proxy_protocol; location / { return 200 hello; } } }
EOF
cat >"$WORK/haproxy.conf" <<'EOF'
defaults
	mode http
	timeout client 5s
frontend f
	bind 127.0.0.1:3002 accept-proxy
	http-request return status 200 content-type text/plain string hello
EOF
echo hello >"$WORK/index.html"
cat >"$WORK/lighttpd.conf" <<EOF
server.document-root = "$WORK"
server.bind = "127.0.0.1"
server.port = 3003
server.modules = ("mod_extforward", "mod_indexfile")
index-file.names = ("index.html")
extforward.hap-PROXY = "enable"
extforward.forwarder = ("127.0.0.1" => "trust")
EOF

seen=$(inside python3 - "$WORK" <<'EOF'
import os
import socket
import struct
import subprocess
import sys
import time

TMP, ROOT = sys.argv[1], os.environ["ROOT"]
REQUEST = b"GET / HTTP/1.0\r\n\r\n"
FROM_TO = socket.inet_aton("192.0.2.7") + socket.inet_aton("192.0.2.1") + struct.pack("!HH", 4000, 80)
LONG = "2001:db8:1111:2222:3333:4444:5555:6666"

def line(text):
	return ("PROXY " + text + "\r\n").encode()

def binary(family, body):
	return b"\r\n\r\n\0\r\nQUIT\n" + bytes([0x21, family]) + struct.pack("!H", len(body)) + body

def noop(n):
	return b"\4" + struct.pack("!H", n) + bytes(n)

servers = {
	"nginx": (3001, ["/usr/sbin/nginx", "-p", TMP, "-c", TMP + "/nginx.conf"]),
	"haproxy": (3002, ["/usr/sbin/haproxy", "-f", TMP + "/haproxy.conf"]),
	"lighttpd": (3003, ["/usr/sbin/lighttpd", "-D", "-f", TMP + "/lighttpd.conf", "-m", ROOT + "/usr/lib/lighttpd"]),
}
headers = {
	"TCP4": line("TCP4 192.0.2.7 192.0.2.1 4000 80"),
	"UNKNOWN": line("UNKNOWN"),
	"UNKNOWN with addresses": line(f"UNKNOWN {LONG} {LONG} 65535 65535"),
	"version 2": binary(0x11, FROM_TO),
	"version 2, 20 bytes to pass over": binary(0x11, FROM_TO + noop(20)),
	"version 2, 2000 bytes to pass over": binary(0x11, FROM_TO + noop(2000)),
}

def reach(port):
	for _ in range(100):
		try:
			return socket.create_connection(("127.0.0.1", port), timeout=4)
		except ConnectionRefusedError:
			time.sleep(0.1)
	raise TimeoutError(port)

def answers(port, pieces):
	got = b""
	with reach(port) as s:
		try:
			for piece in pieces:
				s.sendall(piece)
				time.sleep(0.2)
			while data := s.recv(1000):
				got += data
		except OSError:
			pass
	return b"hello" in got

for _, command in servers.values():
	subprocess.Popen([ROOT + command[0], *command[1:]], env={"LD_LIBRARY_PATH": os.environ["LIBS"]},
		stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
for name, (port, _) in servers.items():
	reach(port).close()
for name, header in headers.items():
	pieces = [[header + REQUEST]]
	if name in ("TCP4", "version 2"):
		pieces.append([header[:14], header[14:] + REQUEST])
	for how in pieces:
		refused = [server for server, (port, _) in servers.items() if not answers(port, how)]
		print(name + (", in two pieces: " if len(how) > 1 else ": ") + (", ".join(refused) or "none"), "refuses")
EOF
)

verdict "each header: none refuses" "TCP4: none refuses
TCP4, in two pieces: nginx, haproxy, lighttpd refuses
UNKNOWN: none refuses
UNKNOWN with addresses: haproxy refuses
version 2: none refuses
version 2, in two pieces: nginx, haproxy, lighttpd refuses
version 2, 20 bytes to pass over: none refuses
version 2, 2000 bytes to pass over: nginx, lighttpd refuses" "$seen"

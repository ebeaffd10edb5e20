#!/bin/bash
# SPDX-License-Identifier: MIT
# A client that sends its question, ends its side (shutdown(SHUT_WR), as "nc -N" does), and reads
# on for the answer is right by TCP. Behind many small relays and proxies it gets nothing: they take
# the end of one direction for the end of both, and close the server's side while it answers. Not
# even the answer's first byte comes, and no error: an end of the stream.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch microsocks=1.0.3-2 tinyproxy-bin=1.11.1-2.1+deb12u1 simpleproxy=3.5-1+b2 redir=3.3-1 \
	rinetd=0.73-1 6tunnel=1:0.13-2 privoxy=3.0.34-1 libbrotli1=1.0.9-2+deb12u1 \
	libmbedcrypto7=2.28.3-1 libmbedtls14=2.28.3-1 libmbedx509-1=2.28.3-1 libpcre3=2:8.39-15 \
	haproxy=2.6.12-1+deb12u4 liblua5.3-0=5.3.6-2 libopentracing-c-wrapper0=1.1.3-3+b1 \
	libopentracing1=1.6.0-4 libstdc++6=12.2.0-14+deb12u1 libpcre2-8-0=10.42-1+deb12u2 \
	libssl3=3.0.22-1~deb12u2 libsystemd0=252.39-1~deb12u2 libcap2=1:2.66-4+deb12u3+b1 \
	libgcrypt20=1.10.1-3+deb12u1 libgpg-error0=1.46-1 liblz4-1=1.9.4-1 \
	liblzma5=5.4.1-1+deb12u2 libzstd1=1.5.4+dfsg2-5

cat >"$WORK/tinyproxy.conf" <<'EOF'
Port 3001
Listen 127.0.0.1
MaxClients 10
Allow 127.0.0.1
EOF
cat >"$WORK/rinetd.conf" <<'EOF'
127.0.0.1 3004 127.0.0.1 7000
EOF
cat >"$WORK/privoxy.conf" <<EOF
listen-address 127.0.0.1:3006
confdir $WORK
logdir $WORK
EOF
cat >"$WORK/haproxy.cfg" <<'EOF'
defaults
	mode tcp
	timeout connect 5s
	timeout client 5s
	timeout server 5s
listen relay
	bind 127.0.0.1:3007
	server answer 127.0.0.1:7000
EOF

seen=$(inside python3 - "$WORK" <<'EOF'
import os
import socket
import struct
import subprocess
import sys
import threading
import time

TMP, BIN = sys.argv[1], os.environ["ROOT"] + "/usr/bin/"
SBIN = os.environ["ROOT"] + "/usr/sbin/"
SOCKS = b"\5\1\0\1" + socket.inet_aton("127.0.0.1") + struct.pack("!H", 7000)
CONNECT = b"CONNECT 127.0.0.1:7000 HTTP/1.1\r\nHost: 127.0.0.1:7000\r\n\r\n"
PLAIN = ()

def answer(client):
	with client:
		question = b""
		while data := client.recv(100):
			question += data
		client.sendall(b"answer to " + question)

def serve(listener):
	while True:
		threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

def reach(port):
	for _ in range(100):
		try:
			return socket.create_connection(("127.0.0.1", port), timeout=5)
		except ConnectionRefusedError:
			time.sleep(0.1)
	raise TimeoutError(port)

def ask(port, openings):
	with reach(port) as s:
		for opening in openings:
			s.sendall(opening)
			assert s.recv(1000)
		s.sendall(b"question")
		time.sleep(0.1)
		s.shutdown(socket.SHUT_WR)
		got = b""
		while data := s.recv(100):
			got += data
		return got.decode() or "nothing"

relays = {
	"microsocks": (3000, (b"\5\1\0", SOCKS), [BIN + "microsocks", "-i", "127.0.0.1", "-p", "3000"]),
	"tinyproxy": (3001, (CONNECT,), [BIN + "tinyproxy", "-d", "-c", TMP + "/tinyproxy.conf"]),
	"simpleproxy": (3002, PLAIN, [BIN + "simpleproxy", "-L", "127.0.0.1:3002", "-R", "127.0.0.1:7000"]),
	"redir": (3003, PLAIN, [BIN + "redir", "-n", "127.0.0.1:3003", "127.0.0.1:7000"]),
	"rinetd": (3004, PLAIN, [SBIN + "rinetd", "-f", "-c", TMP + "/rinetd.conf"]),
	"6tunnel": (3005, PLAIN,
		[BIN + "6tunnel", "-d", "-4", "-l", "127.0.0.1", "3005", "127.0.0.1", "7000"]),
	"privoxy": (3006, (CONNECT,), [SBIN + "privoxy", "--no-daemon", TMP + "/privoxy.conf"]),
	"haproxy": (3007, PLAIN, [SBIN + "haproxy", "-db", "-f", TMP + "/haproxy.cfg"]),
}
threading.Thread(target=serve, args=(socket.create_server(("127.0.0.1", 7000)),), daemon=True).start()
for port, _, command in relays.values():
	subprocess.Popen(command, env={"LD_LIBRARY_PATH": os.environ["LIBS"]},
		stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print("direct:", ask(7000, PLAIN))
for name, (port, openings, _) in relays.items():
	print(name + ":", ask(port, openings))
EOF
)

verdict "each: answer to question" \
	"direct: answer to question
microsocks: nothing
tinyproxy: nothing
simpleproxy: nothing
redir: nothing
rinetd: nothing
6tunnel: nothing
privoxy: nothing
haproxy: answer to question" "$seen"

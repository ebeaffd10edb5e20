#!/bin/bash
# SPDX-License-Identifier: MIT
# Whoever knows that a proxy asks for no password can send all that it has to say in one segment,
# and save round trips: the request, and behind it the first data for the server. Neither SOCKS5
# (RFC 1928) nor HTTP's CONNECT forbids it, and TCP has no segments that a receiver may count on.
# microsocks answers the greeting and throws away what stood behind it, the request too; both then
# wait for each other. privoxy connects, and throws away the data behind the head of the request.
# tinyproxy passes it on.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch microsocks=1.0.3-2 tinyproxy-bin=1.11.1-2.1+deb12u1 privoxy=3.0.34-1 \
	libbrotli1=1.0.9-2+deb12u1 libmbedcrypto7=2.28.3-1 libmbedtls14=2.28.3-1 \
	libmbedx509-1=2.28.3-1 libpcre3=2:8.39-15

cat >"$WORK/tinyproxy.conf" <<'EOF'
Port 3001
Listen 127.0.0.1
MaxClients 10
Allow 127.0.0.1
EOF
cat >"$WORK/privoxy.conf" <<EOF
listen-address 127.0.0.1:3002
confdir $WORK
logdir $WORK
EOF

seen=$(inside python3 - "$WORK" <<'EOF'
import os
import socket
import struct
import subprocess
import sys
import threading
import time

TMP, ROOT = sys.argv[1], os.environ["ROOT"]
SOCKS = b"\5\1\0\1" + socket.inet_aton("127.0.0.1") + struct.pack("!H", 7000)
CONNECT = b"CONNECT 127.0.0.1:7000 HTTP/1.1\r\nHost: 127.0.0.1:7000\r\n\r\n"

def echo(client):
	with client:
		while data := client.recv(100):
			client.sendall(b"[echo of " + data + b"]")

def serve(listener):
	while True:
		threading.Thread(target=echo, args=(listener.accept()[0],), daemon=True).start()

def reach(port):
	for _ in range(100):
		try:
			return socket.create_connection(("127.0.0.1", port), timeout=2)
		except ConnectionRefusedError:
			time.sleep(0.1)
	raise TimeoutError(port)

def ask(port, pieces):
	"""Sends each piece when the one before was answered; is the last one's echo seen?"""
	got = b""
	with reach(port) as s:
		for piece in pieces:
			s.sendall(piece)
			try:
				got = s.recv(1000)
				while b"early" in piece and b"echo of early" not in got:
					got += s.recv(1000)
			except TimeoutError:
				pass
	return "the echo" if b"[echo of early]" in got else "no echo"

proxies = {
	"microsocks": (3000, (b"\5\1\0", SOCKS, b"early"),
		["/usr/bin/microsocks", "-i", "127.0.0.1", "-p", "3000"]),
	"tinyproxy": (3001, (CONNECT, b"early"),
		["/usr/bin/tinyproxy", "-d", "-c", TMP + "/tinyproxy.conf"]),
	"privoxy": (3002, (CONNECT, b"early"),
		["/usr/sbin/privoxy", "--no-daemon", TMP + "/privoxy.conf"]),
}
threading.Thread(target=serve, args=(socket.create_server(("127.0.0.1", 7000)),), daemon=True).start()
for _, _, command in proxies.values():
	subprocess.Popen([ROOT + command[0], *command[1:]], env={"LD_LIBRARY_PATH": os.environ["LIBS"]},
		stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
for name, (port, pieces, _) in proxies.items():
	print("%s: step by step %s, all at once %s" % (name, ask(port, pieces), ask(port, [b"".join(pieces)])))
EOF
)

verdict "each: step by step the echo, all at once the echo" \
	"microsocks: step by step the echo, all at once no echo
tinyproxy: step by step the echo, all at once the echo
privoxy: step by step the echo, all at once no echo" "$seen"

#!/bin/bash
# SPDX-License-Identifier: MIT
# A connection that ends by a reset is one of which something may be missing; who reads from it can tell this from the
# end of the stream. Out of a container without rights no reset comes: whether slirp4netns or pasta connects it, the
# server reads an orderly end where the program aborts, or is killed with something unread. A server's reset does get
# in. It matters to what takes the end of the connection for the end of the data, as an upload by FTP: half a file
# passes for a whole one.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch passt=0.0~git20230309.7c7625d-1 slirp4netns=1.2.0-1 libslirp0=4.7.0-1 libglib2.0-0=2.74.6-2+deb12u9 \
	libpcre2-8-0=10.42-1+deb12u2 libcap2=1:2.66-4+deb12u3+b1 libseccomp2=2.5.4-1+deb12u1

cat >"$WORK/ends.py" <<'EOT'
import socket
import struct

def close(s, how):
	if how == "aborts":
		s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
	elif how == "leaves something unread":
		s.recv(1, socket.MSG_PEEK)
	s.close()

def read(s):
	s.settimeout(10)
	try:
		while s.recv(100):
			pass
		return "end"
	except ConnectionResetError:
		return "reset"

WAYS = "closes", "aborts", "leaves something unread"
EOT
cat >"$WORK/server.py" <<'EOT'
import socket
import time

import ends

listener = socket.create_server(("198.51.100.1", 8000))
open("listening", "w", encoding="ascii").close()
while True:
	for way in ends.WAYS:
		s = listener.accept()[0]
		s.sendall(b"unread" if "unread" in way else b"")
		print("the program %s: %s" % (way, ends.read(s)), end="; ", flush=True)
		s.close()
	for way in ends.WAYS:
		s = listener.accept()[0]
		s.sendall(b"half of it")
		time.sleep(0.5)  # so that it is read before the reset comes
		ends.close(s, way)
EOT
cat >"$WORK/client.py" <<'EOT'
import socket
import time

import ends

for way in ends.WAYS:
	s = socket.create_connection(("198.51.100.1", 8000), timeout=10)
	s.sendall(b"half of it")
	time.sleep(0.5)
	ends.close(s, way)
	time.sleep(0.5)
said = []
for way in ends.WAYS:
	s = socket.create_connection(("198.51.100.1", 8000), timeout=10)
	s.sendall(b"unread" if "unread" in way else b"")
	said.append("the server %s: %s" % (way, ends.read(s)))
	s.close()
print("; ".join(said), flush=True)
EOT
seen=$(relays)

verdict "each:
the program closes: end; the program aborts: reset; the program leaves something unread: reset;
the server closes: end; the server aborts: reset; the server leaves something unread: reset" "host: the program closes: end; the program aborts: reset; the program leaves something unread: reset; the server closes: end; the server aborts: reset; the server leaves something unread: reset
slirp4netns: the program closes: end; the program aborts: end; the program leaves something unread: end; the server closes: end; the server aborts: reset; the server leaves something unread: reset
pasta: the program closes: end; the program aborts: end; the program leaves something unread: end; the server closes: end; the server aborts: reset; the server leaves something unread: reset" "$seen"

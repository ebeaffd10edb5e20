#!/bin/bash
# SPDX-License-Identifier: MIT
# pasta connects a container without rights to its host's network, as slirp4netns does. Where a server refuses, it
# sends a reset into the container, but one without ACK, and to a socket that has sent a SYN such a reset says nothing
# (RFC 9293, 3.10.7.3). The SYN is sent again and again, and each time refused: connect(), which fails at once on the
# host and behind slirp4netns, goes on until the kernel gives up, as if nobody answered. It matters to whatever then goes on
# to a second address, or waits for a server by trying: in the container it stands still.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch passt=0.0~git20230309.7c7625d-1 slirp4netns=1.2.0-1 libslirp0=4.7.0-1 libglib2.0-0=2.74.6-2+deb12u9 \
	libpcre2-8-0=10.42-1+deb12u2 libcap2=1:2.66-4+deb12u3+b1 libseccomp2=2.5.4-1+deb12u1

cat >"$WORK/server.py" <<'EOT'
import socket

listener = socket.create_server(("198.51.100.1", 8000))
open("listening", "w", encoding="ascii").close()
while True:
	listener.accept()[0].close()
EOT
cat >"$WORK/client.py" <<'EOT'
import socket
import time

def resets(packets):
	"""those that have come from the server's host meanwhile"""
	seen = set()
	try:
		while True:
			packet = packets.recv(2000)
			flags = packet[(packet[0] & 15) * 4 + 13]
			if packet[9] == 6 and packet[12:16] == bytes((198, 51, 100, 1)) and flags & 4:
				seen.add("RST with ACK" if flags & 16 else "RST without ACK")
	except BlockingIOError:
		return "".join(", " + reset for reset in sorted(seen))

packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, socket.htons(0x800))
said = []
for port in 8000, 8001:
	begun = time.monotonic()
	try:
		socket.create_connection(("198.51.100.1", port), timeout=5).close()
		how = "connected"
	except ConnectionRefusedError:
		how = "refused"
	except TimeoutError:
		how = "nothing for five seconds"
	said.append(("a server: " if port == 8000 else "none: ") + how + resets(packets))
print("; ".join(said), flush=True)
EOT
seen=$(relays)

verdict "each: a server: connected; none: refused, RST with ACK" "host: a server: connected; none: refused, RST with ACK
slirp4netns: a server: connected; none: refused, RST with ACK
pasta: a server: connected; none: nothing for five seconds, RST without ACK" "$seen"

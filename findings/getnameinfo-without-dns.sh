#!/bin/bash
# SPDX-License-Identifier: MIT
# getnameinfo() without NI_NAMEREQD is to give the number where a name cannot be determined (getnameinfo(3),
# POSIX). glibc does so where DNS says that there is no name, and fails with EAI_AGAIN where DNS is not there
# or says SERVFAIL; the service's name, which is known, is not given either. It matters to a server that logs
# who comes, or a client that prints where it connects to: without DNS the call is an error, and if that is
# not heeded what is in the buffer is printed.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine

echo "nameserver 127.0.0.1" >"$WORK/resolv.conf"
echo "hosts: files dns" >"$WORK/nsswitch.conf"
cat >"$WORK/try.py" <<'EOT'
import socket
import threading

rcode = None

def serve(server):
	while True:
		query, client = server.recvfrom(1000)
		end = query.index(b"\0", 12) + 5  # of the question
		server.sendto(query[:2] + bytes([0x81, 0x80 | rcode]) + query[4:6] + bytes(6) + query[12:end], client)

def ask(what):
	try:
		print(what + ":", *socket.getnameinfo(("192.0.2.1", 80), 0), flush=True)
	except socket.gaierror as error:
		print(what + ":", "EAI_AGAIN" if error.errno == socket.EAI_AGAIN else error, flush=True)

ask("DNS is not there")
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
threading.Thread(target=serve, args=(server,), daemon=True).start()
for what, rcode in ("no such name", 3), ("no PTR", 0), ("SERVFAIL", 2):
	ask(what)
EOT
# shellcheck disable=SC2016 # the inner shell's
seen=$(inside unshare --mount sh -c 'for f in resolv.conf nsswitch.conf; do mount --bind "$1/$f" "/etc/$f"; done
	exec python3 "$1/try.py"' sh "$WORK")

verdict "each: 192.0.2.1 http" "DNS is not there: EAI_AGAIN
no such name: 192.0.2.1 http
no PTR: 192.0.2.1 http
SERVFAIL: EAI_AGAIN" "$seen"

#!/bin/bash
# SPDX-License-Identifier: MIT
# A name may have two addresses, and where the first refuses, a client goes on to the second, as wget, nc and
# lftp do. Of four small relays three do not: who comes through them finds the server down. It matters where
# a server leaves one of its addresses, or is on IPv4 alone and its name has IPv6 too.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch simpleproxy=3.5-1+b2 redir=3.3-1 rinetd=0.73-1 6tunnel=1:0.13-2

printf '127.0.0.1 3003 two.test 7000\n' >"$WORK/rinetd.conf"
printf '127.0.0.3 two.test\n127.0.0.128 two.test\n' >"$WORK/hosts"
cat >"$WORK/try.py" <<'EOT'
import os
import socket
import subprocess
import sys
import threading
import time
USR = os.environ["ROOT"] + "/usr/"

def serve(listener):
	while True:
		listener.accept()[0].sendall(b"welcome")

def ask(address):
	for _ in range(100):
		try:
			s = socket.create_connection(address, timeout=5)
			return "served" if s.recv(100) == b"welcome" else "not served"
		except ConnectionRefusedError:
			time.sleep(0.1)  # not started yet
		except ConnectionResetError:
			return "not served"
	raise TimeoutError(address)

relays = {
	3001: ["bin/simpleproxy", "-L", "127.0.0.1:3001", "-R", "two.test:7000"],
	3002: ["bin/redir", "-n", "127.0.0.1:3002", "two.test:7000"],
	3003: ["sbin/rinetd", "-f", "-c", sys.argv[1] + "/rinetd.conf"],
	3004: ["bin/6tunnel", "-d", "-4", "-l", "127.0.0.1", "3004", "two.test", "7000"],
}
listener = socket.create_server(("127.0.0.128", 7000))
threading.Thread(target=serve, args=(listener,), daemon=True).start()
print("the name is", *(a[4][0] for a in socket.getaddrinfo("two.test", 7000, type=socket.SOCK_STREAM)))
for command in relays.values():
	subprocess.Popen([USR + command[0], *command[1:]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print("direct:", ask(("two.test", 7000)))
for port, command in relays.items():
	print(command[0].split("/")[1] + ":", ask(("127.0.0.1", port)))
EOT
# shellcheck disable=SC2016 # the inner shell's
seen=$(inside unshare --mount sh -c 'mount --bind "$1/hosts" /etc/hosts && python3 "$1/try.py" "$1"' sh "$WORK")

verdict "each: served" "the name is 127.0.0.3 127.0.0.128
direct: served
simpleproxy: not served
redir: not served
rinetd: not served
6tunnel: served" "$seen"

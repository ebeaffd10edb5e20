#!/bin/bash
# SPDX-License-Identifier: MIT
# Under proxychains with its proxy_dns getaddrinfo() heeds little of what it is asked, and is never wrong: who
# asks for IPv6 alone gets an IPv4 address, a service that is not there gets the port 0 instead of
# EAI_SERVICE, and who leaves the type open gets type 0, of which socket() makes no socket; the protocol is 0.
# Of a number, too. It matters to programs that ask for both families one by one, or that take the three
# numbers of an answer as they are.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch proxychains4=4.16-2 libproxychains4=4.16-2

printf 'quiet_mode\nproxy_dns\n[ProxyList]\nsocks5 127.0.0.1 1080\n' >"$WORK/proxychains.conf"
cat >"$WORK/ask.py" <<'EOT'
import socket
import sys

def ask(what, service="80", **hints):
	try:
		answers = socket.getaddrinfo(sys.argv[1], service, **hints)
	except socket.gaierror as error:
		print(what + ":", error.strerror.lower())
		return
	family, kind, protocol, _, address = answers[0]
	try:
		socket.socket(family, kind, protocol).close()
		made = "a socket"
	except OSError as error:
		made = error.strerror.lower()
	print("%s: %s, port %d, %s" % (what, family.name, address[1], made))

ask("a stream", type=socket.SOCK_STREAM)
ask("anything")
ask("IPv6", family=socket.AF_INET6, type=socket.SOCK_STREAM)
ask("no such service", "nosuch", type=socket.SOCK_STREAM)
EOT

seen=$(inside env LD_PRELOAD="$ROOT/usr/lib/x86_64-linux-gnu/libproxychains.so.4" \
	PROXYCHAINS_CONF_FILE="$WORK/proxychains.conf" python3 "$WORK/ask.py" name.test)

verdict "$(inside python3 "$WORK/ask.py" 10.5.5.5)" "a stream: AF_INET, port 80, a socket
anything: AF_INET, port 80, socket type not supported
IPv6: AF_INET, port 80, a socket
no such service: AF_INET, port 0, a socket" "$seen"

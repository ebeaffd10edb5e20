#!/bin/bash
# SPDX-License-Identifier: MIT
# Under libnss_wrapper (cwrap), with which servers are tested under names of their own, getaddrinfo() of
# a name from NSS_WRAPPER_HOSTS answers what no socket can be made of: asked for the protocol TCP alone,
# it says SOCK_DGRAM with TCP (first) and SOCK_STREAM with UDP. Asked for anything it leaves SOCK_RAW out;
# AI_V4MAPPED is not heeded; a service that is not there is "name not known". A number in place of the
# name is answered as glibc does. It matters to who writes getaddrinfo(host, port, proto=IPPROTO_TCP) and
# tries the answers in turn, or takes the first.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch libnss-wrapper=1.1.12-1

printf '10.5.5.5 four.test\n' >"$WORK/hosts"
cat >"$WORK/ask.py" <<'EOT'
import socket
import sys

NAMES = {socket.IPPROTO_TCP: "TCP", socket.IPPROTO_UDP: "UDP", 0: "0"}

def ask(what, service="80", **hints):
	try:
		answers = socket.getaddrinfo(sys.argv[1], service, **hints)
		print(what + ":", ", ".join("%s %s" % (a[1].name, NAMES[a[2]]) for a in answers))
	except socket.gaierror as error:
		print(what + ":", error.strerror.lower())

ask("anything")
ask("TCP", proto=socket.IPPROTO_TCP)
ask("mapped", family=socket.AF_INET6, proto=socket.IPPROTO_TCP, flags=socket.AI_V4MAPPED)
ask("no such service", "nosuch", type=socket.SOCK_STREAM)
EOT

seen=$(inside env LD_PRELOAD="$ROOT/usr/lib/x86_64-linux-gnu/libnss_wrapper.so" \
	NSS_WRAPPER_HOSTS="$WORK/hosts" python3 "$WORK/ask.py" four.test)

verdict "$(inside python3 "$WORK/ask.py" 10.5.5.5)" "anything: SOCK_DGRAM UDP, SOCK_STREAM TCP
TCP: SOCK_DGRAM TCP, SOCK_STREAM UDP
mapped: address family for hostname not supported
no such service: name or service not known" "$seen"

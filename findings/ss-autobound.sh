#!/bin/bash
# SPDX-License-Identifier: MIT
# ss's filter "autobound" is to "match if the port or path of the source address was automatically allocated (rather
# than explicitly specified)", says its man page. Neither it nor "not autobound" shows the TCP sockets that a server
# has accepted on a port of its choice, nor those of a client or a server that has chosen one in
# net.ipv4.ip_local_port_range. Two are asked: the kernel, which knows whether this very socket was bound to a port
# (one that was accepted was not), and then ss itself, which looks whether the port lies in the range; shown is what
# both say, of either filter. What is accepted on a chosen port in the range is called autobound. It matters to who
# leaves out what clients have made to see what is on a server's ports: its connections are missing.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch iproute2=6.1.0-3 libbpf1=1:1.1.2-0+deb12u1 libelf1=0.188-2.1 libmnl0=1.0.4-3 \
	libcap2=1:2.66-4+deb12u3+b1 libselinux1=3.4-1+b6

seen=$(inside python3 - <<'EOF'
import os
import socket
import subprocess

with open("/proc/sys/net/ipv4/ip_local_port_range", "w", encoding="ascii") as sysctl:
	sysctl.write("32768 60999")

def shown(*words):
	lines = subprocess.run([os.environ["ROOT"] + "/bin/ss", "-Hnta", *words], env={"LD_LIBRARY_PATH": os.environ["LIBS"]},
		stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
	return {tuple(line.split()[3:5]) for line in lines}

ends = []

def listens(what, port):
	server = socket.create_server(("127.0.0.1", port))
	ends.append(("listens on " + what, server))
	return server

def connects(what, server, port=0):
	client = socket.create_connection(server.getsockname(), source_address=("127.0.0.1", port) if port else None)
	ends.append(("connects from " + what, client))
	ends.append(("is accepted on %d" % server.getsockname()[1], server.accept()[0]))

low, high = listens("80", 80), listens("40000", 40000)
listens("any port", 0)
connects("any port", low)
connects("1000", low, 1000)
connects("50000", low, 50000)
connects("any port", high)

found = {words: shown(*words.split()) for words in ("autobound", "not autobound")}
for what, end in ends:
	addresses = ["%s:%d" % end.getsockname(), "0.0.0.0:*"]
	if not what.startswith("listens"):
		addresses[1] = "%s:%d" % end.getpeername()
	print(what + ":", *[words for words in found if tuple(addresses) in found[words]] or ["neither"])
EOF
)
verdict "each that has a number: not autobound
each on any port: autobound" "listens on 80: not autobound
listens on 40000: neither
listens on any port: autobound
connects from any port: autobound
is accepted on 80: neither
connects from 1000: not autobound
is accepted on 80: neither
connects from 50000: neither
is accepted on 80: neither
connects from any port: autobound
is accepted on 40000: autobound" "$seen"

#!/bin/bash
# SPDX-License-Identifier: MIT
# A mapping of the Port Control Protocol (RFC 6887) is known by the client's address, port and protocol; which
# external port it would like is a suggestion. Who renews his mapping with another suggestion than before
# gets a second external port from miniupnpd, and keeps the first. Asked to delete the mapping it says
# SUCCESS, and one of the two stays open until its lifetime is over.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch miniupnpd-iptables=2.3.1-1 iptables=1.8.9-2 libxtables12=1.8.9-2 libip4tc2=1.8.9-2 libip6tc2=1.8.9-2

cat >"$WORK/conf" <<'EOF'
ext_ifname=wan
listening_ip=lan
enable_natpmp=yes
enable_upnp=no
allow 1024-65535 10.3.0.0/24 1024-65535
EOF

# The gateway's two sides, and the client as a second address of the inner one. 11.0.0.1, as miniupnpd
# maps no private address.
cat >"$WORK/gateway" <<'EOF'
ip link add lan type veth peer name host
ip link add wan type veth peer name internet
for device in lan host wan internet; do ip link set "$device" up; done
ip addr add 10.3.0.2/24 dev lan
ip addr add 10.3.0.1/24 dev lan
ip addr add 11.0.0.1/24 dev wan
"$@"
EOF

seen=$(inside sh "$WORK/gateway" python3 - "$WORK" <<'EOF'
import os
import re
import socket
import struct
import subprocess
import sys
import time

WORK, ROOT = sys.argv[1], os.environ["ROOT"]
LIBRARIES = {"LD_LIBRARY_PATH": os.environ["LIBS"], "XTABLES_LOCKFILE": WORK + "/lock",
	"XTABLES_LIBDIR": ROOT + "/usr/lib/x86_64-linux-gnu/xtables"}

def iptables(*arguments):
	return subprocess.run([ROOT + "/usr/sbin/xtables-legacy-multi", "iptables", *arguments],
		env=LIBRARIES, check=True, capture_output=True, text=True).stdout

def mapped(address):
	return bytes(10) + b"\xff\xff" + socket.inet_aton(address)

def ask(lifetime, suggestion):
	"""MAP of TCP port 8080"""
	s.send(bytes([2, 1, 0, 0]) + struct.pack("!I", lifetime) + mapped("10.3.0.1") +
		b"always alike" + bytes([6, 0, 0, 0]) + struct.pack("!HH", 8080, suggestion) + mapped("0.0.0.0"))
	answer = s.recv(1100)
	rules = re.findall(r"--dport (\d+)", iptables("-t", "nat", "-S", "MINIUPNPD"))
	print("lifetime %d, suggested %d: result %d, external port %d; rules for %s" % (lifetime, suggestion,
		answer[3], struct.unpack("!H", answer[42:44])[0], " and ".join(sorted(rules)) or "none"))

for table, chain in (("nat", "MINIUPNPD"), ("nat", "MINIUPNPD-POSTROUTING"), ("filter", "MINIUPNPD"),
		("mangle", "MINIUPNPD")):
	iptables("-t", table, "-N", chain)
subprocess.Popen([ROOT + "/usr/sbin/miniupnpd", "-d", "-f", WORK + "/conf", "-P", WORK + "/pid"],
	env=LIBRARIES, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
while ":14E7 " not in open("/proc/net/udp", encoding="ascii").read():  # 5351
	time.sleep(0.1)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("10.3.0.1", 0))
s.connect(("10.3.0.2", 5351))
s.settimeout(5)
for lifetime, suggestion in (3600, 9001), (3600, 9001), (3600, 9002), (0, 0):
	ask(lifetime, suggestion)
EOF
)

verdict "lifetime 3600, suggested 9001: result 0, external port 9001; rules for 9001
lifetime 3600, suggested 9001: result 0, external port 9001; rules for 9001
lifetime 3600, suggested 9002: result 0, external port 9001; rules for 9001
lifetime 0, suggested 0: result 0, external port 0; rules for none" \
	"lifetime 3600, suggested 9001: result 0, external port 9001; rules for 9001
lifetime 3600, suggested 9001: result 0, external port 9001; rules for 9001
lifetime 3600, suggested 9002: result 0, external port 9002; rules for 9001 and 9002
lifetime 0, suggested 0: result 0, external port 0; rules for 9002" "$seen"

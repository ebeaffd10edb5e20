#!/bin/bash
# SPDX-License-Identifier: MIT
# p0f tells hosts apart by their SYNs, and says "host change" where an address begins to send others: a
# sign that several hosts share it. A Linux host sends three kinds: a plain one, one with data (Fast Open
# whose cookie is known, or that needs none), and one with Multipath TCP's option, which p0f takes for an
# option nobody knows. A host that uses one of them for some of its connections is another host to p0f
# each time that it changes.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch p0f=3.09b-3 libpcap0.8=1.10.3-1 libdbus-1-3=1.14.10-1~deb12u1 tcpdump=4.99.3-1

seen=$(inside bash -s "$WORK" <<'EOF'
cd "$1"
export LD_LIBRARY_PATH=$LIBS
ip link set lo mtu 1500
sysctl -qw net.ipv4.tcp_fastopen=0x207 # without cookies

changes() { # KINDS: p plain, d with data, m Multipath TCP
	"$ROOT/usr/bin/tcpdump" -Z root -U -i lo -w syns.pcap 'tcp[13] == 2' 2>said &
	local tcpdump=$!
	until grep -q listening said; do sleep 0.1; done
	python3 - "$1" <<'END'
import socket, sys, time
plain = socket.create_server(("127.0.0.1", 7001))
multipath = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
multipath.bind(("127.0.0.1", 7004))
multipath.listen()
keep = []
for kind in sys.argv[1]:
    s = socket.socket(proto=262 if kind == "m" else 0)
    if kind == "d":
        s.sendto(b"hello", 0x20000000, ("127.0.0.1", 7001))
    else:
        s.connect(("127.0.0.1", 7004 if kind == "m" else 7001))
    keep.append(s)
    time.sleep(0.1)
END
	sleep 0.5
	kill $tcpdump
	wait $tcpdump
	"$ROOT/usr/sbin/p0f" -f "$ROOT/etc/p0f/p0f.fp" -r syns.pcap | grep -c 'host change'
}

echo "four plain: $(changes pppp)"
echo "plain, plain, with data: $(changes ppd)"
echo "plain, plain, Multipath TCP: $(changes ppm)"
echo "Multipath TCP, Multipath TCP, plain: $(changes mmp)"
EOF
)

verdict "four plain: 0
plain, plain, with data: 0
plain, plain, Multipath TCP: 0
Multipath TCP, Multipath TCP, plain: 0" "four plain: 0
plain, plain, with data: 1
plain, plain, Multipath TCP: 1
Multipath TCP, Multipath TCP, plain: 1" "$seen"

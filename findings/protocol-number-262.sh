#!/bin/bash
# SPDX-License-Identifier: MIT
# /etc/protocols calls the number 262 "mptcp". It is none of IP's protocols, which end at 255: Linux has
# it for socket() alone, and MPTCP's packets are TCP's. Who gives that name where a protocol of packets is
# meant gets no error but three other things: iptables-legacy keeps 262, and the rule matches nothing;
# iptables-nft and "ip rule" cut it to 8 bits, which is 6, and it is for all of TCP. By the number 262 all
# of them refuse it. It matters to whoever wants a rule for MPTCP (that is --tcp-option 30).
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch iptables=1.8.9-2 libip4tc2=1.8.9-2 libip6tc2=1.8.9-2 libxtables12=1.8.9-2 libnftnl11=1.2.4-2 \
	libmnl0=1.0.4-3 libnfnetlink0=1.0.2-2 libnetfilter-conntrack3=1.0.9-3 iproute2=6.1.0-3 \
	libbpf1=1:1.1.2-0+deb12u1 libelf1=0.188-2.1

if [ "$(getent protocols mptcp)" != "mptcp                 262 MPTCP" ]; then
	echo "no mptcp in /etc/protocols (Debian's netbase): nothing was tried" >&2
	exit 2
fi

cat >"$WORK/try.sh" <<'EOT'
export LD_LIBRARY_PATH="$LIBS" XTABLES_LIBDIR="$ROOT/usr/lib/x86_64-linux-gnu/xtables" XTABLES_LOCKFILE="$1/lock"
for variant in legacy nft; do
	tables=$ROOT/usr/sbin/xtables-$variant-multi
	for protocol in 262 mptcp; do
		result=$("$tables" iptables -A INPUT -p $protocol 2>"$1/err" && echo accepted || echo refused)
		echo "iptables-$variant -p $protocol: $result"
	done
done
python3 - <<'PY'
import socket
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())  # TCP: 3 packets and more
PY
for variant in legacy nft; do
	packets=$("$ROOT/usr/sbin/xtables-$variant-multi" iptables -nvxL INPUT 2>"$1/err" | awk 'NR == 3 { print $1 }')
	echo "packets of a TCP connection that this rule of iptables-$variant saw:" \
		"$([ "$packets" = 0 ] && echo none || echo "some")"
done
for protocol in 262 mptcp; do
	"$ROOT/bin/ip" rule add ipproto $protocol lookup main 2>"$1/err" && result=accepted || result=refused
	echo "ip rule add ipproto $protocol: $result"
done
"$ROOT/bin/ip" rule | grep -o 'ipproto.*'
EOT
seen=$(inside sh "$WORK/try.sh" "$WORK")

verdict "all: refused" "iptables-legacy -p 262: refused
iptables-legacy -p mptcp: accepted
iptables-nft -p 262: refused
iptables-nft -p mptcp: accepted
packets of a TCP connection that this rule of iptables-legacy saw: none
packets of a TCP connection that this rule of iptables-nft saw: some
ip rule add ipproto 262: refused
ip rule add ipproto mptcp: accepted
ipproto tcp lookup main" "$seen"

#!/bin/bash
# SPDX-License-Identifier: MIT
# `ip route` lists a route by a nexthop object as "nhid 1 via 10.0.0.1 dev d0", and by that line it can neither be
# made nor deleted: the kernel wants the id or the gateway and tells both. For the same reason `ip route flush`
# gives up at such a route (exit status 2, and it is left), and `ip route restore` does, of what `ip route save`
# has written: it and what stands behind it do not come back. With net.ipv4.nexthop_compat_mode = 0 the kernel
# tells the id alone, and all of it works; the default is 1. It matters to whatever cleans up a table or carries
# it over a restart, on a host whose routing daemon makes nexthop objects.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch iproute2=6.1.0-3 libbpf1=1:1.1.2-0+deb12u1 libelf1=0.188-2.1 libmnl0=1.0.4-3

cat >"$WORK/try" <<'EOF'
saved=$1
ip() { LD_LIBRARY_PATH="$LIBS" "$ROOT/bin/ip" "$@" 2>/dev/null; }
# table FAMILY COMMAND...: ip's exit status; in table 7
table() {
	arguments="$1 route $2 table 7"
	shift 2
	# shellcheck disable=SC2086 # words
	ip $arguments "$@" >/dev/null
	echo $?
}
left() { ip "$1" route show table 7 | wc -l; }
# attempt FAMILY GATEWAY NET1 NET2 NET3 HOW
attempt() {
	ip nexthop add id 1 via "$2" dev d0
	# shellcheck disable=SC2086 # words
	for route in "$3 via $2" "$4 $6" "$5 via $2"; do
		table "$1" add $route >/dev/null
	done
	ip "$1" route save table 7 >"$saved"
	line=$(ip "$1" route show table 7 "$4")
	printf '%s: ' "${line% }"
	# shellcheck disable=SC2086 # words
	for command in del replace; do
		printf '%s: %s; ' "$command" "$(table "$1" "$command" $line)"
	done
	# shellcheck disable=SC2086 # words
	table "$1" replace "$4" $6 >/dev/null
	printf 'flush: %s, %s left; ' "$(table "$1" flush)" "$(left "$1")"
	table "$1" del "$4" >/dev/null
	ip "$1" route restore <"$saved"
	printf 'restore: %s, %s back\n' $? "$(left "$1")"
	ip nexthop flush >/dev/null
	table "$1" flush >/dev/null
}

ip link add d0 type veth peer name d1
ip link set d0 up
ip link set d1 up
ip addr add 10.0.0.2/24 dev d0
ip addr add fd00::2/64 dev d0 nodad
for mode in 1 0; do
	echo "nexthop_compat_mode $mode"
	echo $mode >/proc/sys/net/ipv4/nexthop_compat_mode
	for how in "via 10.0.0.1" "nhid 1"; do
		attempt -4 10.0.0.1 11.0.0.0/8 12.0.0.0/8 13.0.0.0/8 "$how"
	done
	attempt -6 fd00::1 fd11::/16 fd12::/16 fd13::/16 "nhid 1"
done
EOF
seen=$(inside sh "$WORK/try" "$WORK/saved")
verdict "each: del: 0; replace: 0; flush: 0, 0 left; restore: 0, 3 back" "nexthop_compat_mode 1
12.0.0.0/8 via 10.0.0.1 dev d0: del: 0; replace: 0; flush: 0, 0 left; restore: 0, 3 back
12.0.0.0/8 nhid 1 via 10.0.0.1 dev d0: del: 2; replace: 2; flush: 2, 1 left; restore: 2, 1 back
fd12::/16 nhid 1 via fd00::1 dev d0 metric 1024 pref medium: del: 2; replace: 2; flush: 2, 1 left; restore: 2, 1 back
nexthop_compat_mode 0
12.0.0.0/8 via 10.0.0.1 dev d0: del: 0; replace: 0; flush: 0, 0 left; restore: 0, 3 back
12.0.0.0/8 nhid 1: del: 0; replace: 0; flush: 0, 0 left; restore: 0, 3 back
fd12::/16 nhid 1 metric 1024 pref medium: del: 0; replace: 0; flush: 0, 0 left; restore: 0, 3 back" "$seen"

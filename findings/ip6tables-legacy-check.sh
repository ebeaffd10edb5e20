#!/bin/bash
# SPDX-License-Identifier: MIT
# `ip6tables-legacy -C`, which asks whether a rule is there, does not compare the values of most matches: of the rule
# for TCP's port 80 it says that one for port 81 is there, and of one for new connections that one for established
# ones is. Addresses, protocol, target and a comment it does compare; -D compares all, and says that what -C has found
# is not there. iptables-legacy and the nft kind of both compare all. It matters to scripts that say "-C RULE || -A
# RULE": the rule of the first port is added, and those of other ports never are, on IPv6 alone.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch iptables=1.8.9-2 libxtables12=1.8.9-2 libip6tc2=1.8.9-2 libip4tc2=1.8.9-2 libnftnl11=1.2.4-2 libmnl0=1.0.4-3 \
	libnfnetlink0=1.0.2-2 libnetfilter-conntrack3=1.0.9-3

export XTABLES_LIBDIR=$ROOT/usr/lib/x86_64-linux-gnu/xtables
cat >"$WORK/try.py" <<'EOT'
import os
import subprocess
import sys

ENV = os.environ | {"LD_LIBRARY_PATH": os.environ["LIBS"], "XTABLES_LOCKFILE": sys.argv[1] + "/lock"}
# what differs, a rule, and another one that is asked for
CASES = (
	("itself", "-p tcp --dport 80 -j DROP", "-p tcp --dport 80 -j DROP"),
	("target", "-p tcp --dport 80 -j DROP", "-p tcp --dport 80 -j ACCEPT"),
	("protocol", "-p tcp --dport 80 -j DROP", "-p udp --dport 80 -j DROP"),
	("TCP port", "-p tcp --dport 80 -j DROP", "-p tcp --dport 81 -j DROP"),
	("UDP port", "-p udp --dport 80 -j DROP", "-p udp --dport 81 -j DROP"),
	("length", "-m length --length 100 -j DROP", "-m length --length 2 -j DROP"),
	("mark", "-m mark --mark 1 -j DROP", "-m mark --mark 2 -j DROP"),
	("state", "-m conntrack --ctstate NEW -j DROP", "-m conntrack --ctstate ESTABLISHED -j DROP"),
	("comment", "-m comment --comment one -j DROP", "-m comment --comment two -j DROP"),
)

def run(command, what, rule):
	name, _, kind = command.partition("-")
	return subprocess.run([f"{os.environ['ROOT']}/usr/sbin/xtables-{kind}-multi", name, what, "INPUT", *rule.split()],
		env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode

for command in "iptables-nft", "ip6tables-nft", "iptables-legacy", "ip6tables-legacy":
	found, deleted = [], []
	for name, rule, other in CASES:
		assert run(command, "-A", rule) == 0
		if run(command, "-C", other) == 0:
			found.append(name)
		if run(command, "-D", other) == 0:
			deleted.append(name)
		else:
			assert run(command, "-D", rule) == 0
	print("%s: -C takes for it: %s; -D: %s" % (command, ", ".join(found), ", ".join(deleted)))
EOT
seen=$(inside python3 "$WORK/try.py" "$WORK")

verdict "each: -C takes for it: itself; -D: itself" "iptables-nft: -C takes for it: itself; -D: itself
ip6tables-nft: -C takes for it: itself; -D: itself
iptables-legacy: -C takes for it: itself; -D: itself
ip6tables-legacy: -C takes for it: itself, TCP port, UDP port, length, mark, state; -D: itself" "$seen"

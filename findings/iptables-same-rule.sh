#!/bin/bash
# SPDX-License-Identifier: MIT
# Which rule `iptables -C` and -D take for the one that is named (1.8.9).
# `ip6tables-legacy -C`, which asks whether a rule is there, does not compare the values of most matches: of the rule
# for TCP's port 80 it says that one for port 81 is there, and of one for new connections that one for established
# ones is. Addresses, protocol, target and a comment it does compare; -D compares all, and says that what -C has found
# is not there. It matters to scripts that say "-C RULE || -A RULE": the rule of the first port is added, and those of
# other ports never are, on IPv6 alone.
# To all kinds of iptables and ip6tables two rules are the same if they differ in nothing but the name behind `-m helper
# --helper`, the number behind `-m connlabel --label`, or a "!" before either: -D deletes the first of them, which is
# another one than was asked for. It matters to who takes back what one helper was allowed: another one's rule goes.
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
KINDS = "iptables-nft", "ip6tables-nft", "iptables-legacy", "ip6tables-legacy"
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
# two rules, of which the second is deleted
PAIRS = (
	("-m mark --mark 0x1", "-m mark --mark 0x2"),
	("-m conntrack --ctstate NEW", "-m conntrack --ctstate ESTABLISHED"),
	("-m helper --helper ftp", "-m helper --helper irc"),
	("-m helper --helper ftp", "-m helper ! --helper ftp"),
	("-m connlabel --label 1", "-m connlabel --label 2"),
	("-m connlabel --label 1", "-m connlabel ! --label 1"),
)

def run(command, *words):
	name, _, kind = command.partition("-")
	return subprocess.run([f"{os.environ['ROOT']}/usr/sbin/xtables-{kind}-multi", name, *words], env=ENV,
		stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)

def ended(command, what, rule):
	return run(command, what, "INPUT", *rule.split()).returncode

def left(command, first, second):
	run(command, "-F")
	for rule in first, second:
		run(command, "-A", "INPUT", *rule.split())
	run(command, "-D", "INPUT", *second.split())
	rules = [line.replace('"', "") for line in run(command, "-S", "INPUT").stdout.splitlines()]
	shown = [name for name, rule in (("first", first), ("second", second)) if "-A INPUT " + rule in rules]
	return shown[0] if len(shown) == 1 else str(rules)

for command in KINDS:
	found, deleted = [], []
	for name, rule, other in CASES:
		assert ended(command, "-A", rule) == 0
		if ended(command, "-C", other) == 0:
			found.append(name)
		if ended(command, "-D", other) == 0:
			deleted.append(name)
		else:
			assert ended(command, "-D", rule) == 0
	print("%s: -C takes for it: %s; -D: %s" % (command, ", ".join(found), ", ".join(deleted)))
for first, second in PAIRS:
	print("of %s and %s stays the" % (first, second), "/".join(left(command, first, second) for command in KINDS))
EOT
seen=$(inside python3 "$WORK/try.py" "$WORK")

verdict "each: -C takes for it: itself; -D: itself; of each stays the first/first/first/first" "iptables-nft: -C takes for it: itself; -D: itself
ip6tables-nft: -C takes for it: itself; -D: itself
iptables-legacy: -C takes for it: itself; -D: itself
ip6tables-legacy: -C takes for it: itself, TCP port, UDP port, length, mark, state; -D: itself
of -m mark --mark 0x1 and -m mark --mark 0x2 stays the first/first/first/first
of -m conntrack --ctstate NEW and -m conntrack --ctstate ESTABLISHED stays the first/first/first/first
of -m helper --helper ftp and -m helper --helper irc stays the second/second/second/second
of -m helper --helper ftp and -m helper ! --helper ftp stays the second/second/second/second
of -m connlabel --label 1 and -m connlabel --label 2 stays the second/second/second/second
of -m connlabel --label 1 and -m connlabel ! --label 1 stays the second/second/second/second" "$seen"

#!/bin/bash
# SPDX-License-Identifier: MIT
# To iptables two rules are the same if they differ in nothing but the name behind `-m helper --helper`, the number
# behind `-m connlabel --label`, or a "!" before either: -C finds the one for the other, and -D deletes the first of
# them, which is another one than was asked for. So it is with both kinds of iptables and ip6tables, all of 1.8.9; the
# rules themselves are what they should be. It matters to who takes back what one helper was allowed: another one's
# rule goes, and this one's stays.
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
# two rules, of which the second is deleted
CASES = (
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
		stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout

def left(command, first, second):
	run(command, "-F")
	for rule in first, second:
		run(command, "-A", "INPUT", *rule.split())
	run(command, "-D", "INPUT", *second.split())
	rules = [line.replace('"', "") for line in run(command, "-S", "INPUT").splitlines()]
	shown = [name for name, rule in (("first", first), ("second", second)) if "-A INPUT " + rule in rules]
	return shown[0] if len(shown) == 1 else str(rules)

for first, second in CASES:
	stays = [left(command, first, second)
		for command in ("iptables-nft", "ip6tables-nft", "iptables-legacy", "ip6tables-legacy")]
	print("of %s and %s stays the" % (first, second), "/".join(stays))
EOT
seen=$(inside python3 "$WORK/try.py" "$WORK")

verdict "of each: first/first/first/first" "of -m mark --mark 0x1 and -m mark --mark 0x2 stays the first/first/first/first
of -m conntrack --ctstate NEW and -m conntrack --ctstate ESTABLISHED stays the first/first/first/first
of -m helper --helper ftp and -m helper --helper irc stays the second/second/second/second
of -m helper --helper ftp and -m helper ! --helper ftp stays the second/second/second/second
of -m connlabel --label 1 and -m connlabel --label 2 stays the second/second/second/second
of -m connlabel --label 1 and -m connlabel ! --label 1 stays the second/second/second/second" "$seen"

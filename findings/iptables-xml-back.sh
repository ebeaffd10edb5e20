#!/bin/bash
# SPDX-License-Identifier: MIT
# iptables-xml makes XML of what iptables-save prints, and iptables.xslt, which comes with it, is to make of that
# again what iptables-restore reads (so says the manual page). A jump into a chain of one's own, which nearly every
# firewall has, comes back as a jump to "callNAME", and "-g NAME" as one to "gotoNAME"; the quotes within a comment
# come back bare. iptables-restore refuses the whole table for it. And as a chain's name becomes an element's, a
# name that begins with a digit makes a document that is not well-formed. iptables-xml has the exit status 0. It
# matters to who keeps or changes a firewall as XML: the way back works for the simplest ones alone.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch iptables=1.8.9-2 libxtables12=1.8.9-2 libip4tc2=1.8.9-2 libip6tc2=1.8.9-2 libnftnl11=1.2.4-2 libmnl0=1.0.4-3 \
	xsltproc=1.1.35-1+deb12u4 libxslt1.1=1.1.35-1+deb12u4 libxml2=2.9.14+dfsg-1.3~deb12u6 libicu72=72.1-3+deb12u1 \
	libgcrypt20=1.10.1-3+deb12u1 libgpg-error0=1.46-1

seen=$(inside python3 - "$WORK" <<'EOF'
import os
import re
import subprocess
import sys

WORK, ROOT = sys.argv[1], os.environ["ROOT"]
ENVIRONMENT = {"LD_LIBRARY_PATH": os.environ["LIBS"], "XTABLES_LOCKFILE": WORK + "/lock",
	"XTABLES_LIBDIR": ROOT + "/usr/lib/x86_64-linux-gnu/xtables"}
MULTI = "/usr/sbin/xtables-legacy-multi"

def run(*words, given=None):
	return subprocess.run([ROOT + words[0], *words[1:]], input=given, text=True, env=ENVIRONMENT,
		capture_output=True, check=False)

def saved():
	# -t: which tables there are only the machine's root may read
	return run(MULTI, "iptables-save", "-t", "filter").stdout

def rules(text):
	return re.findall("(?m)^-A .*", text)

for rule in (
		"-s 10.0.0.0/8 ! -i lo -p tcp -m tcp ! --dport 22 -j ACCEPT",
		'-m comment --comment "a & <b>" -j DROP',
		'-m comment --comment "a \\"b\\"" -j DROP',
		"-p tcp -m tcp --dport 22 -j own",
		"-p tcp -m tcp --dport 22 -g own",
		"-p tcp -m tcp --dport 22 -j 2nd"):
	run(MULTI, "iptables-restore", given="*filter\n:own -\n:2nd -\n-A INPUT " + rule + "\nCOMMIT\n").check_returncode()
	before = rules(saved())
	xml = run(MULTI, "iptables-xml", given=saved()).stdout
	back = run("/usr/bin/xsltproc", ROOT + "/usr/share/iptables/iptables.xslt", "-", given=xml)
	assert before
	run(MULTI, "iptables", "-F")
	status = run(MULTI, "iptables-restore", given=back.stdout).returncode
	print("%s: %s" % (rule, "the same" if rules(saved()) == before else
		"not well-formed" if back.returncode else
		"%s, status %d" % (re.search("^-A INPUT (.*)", back.stdout, re.M)[1], status)))
EOF
)
verdict "each: the same" '-s 10.0.0.0/8 ! -i lo -p tcp -m tcp ! --dport 22 -j ACCEPT: the same
-m comment --comment "a & <b>" -j DROP: the same
-m comment --comment "a \"b\"" -j DROP: -m comment --comment "a "b"" -j DROP, status 2
-p tcp -m tcp --dport 22 -j own: -p tcp -m tcp --dport 22 -j callown, status 2
-p tcp -m tcp --dport 22 -g own: -p tcp -m tcp --dport 22 -j gotoown, status 2
-p tcp -m tcp --dport 22 -j 2nd: not well-formed' "$seen"

#!/bin/bash
# SPDX-License-Identifier: MIT
# `conntrack -L -o save` shows the entries as words of conntrack, to be read back by --load-file; the manual
# page copies a zone's entries to another one so. Zone, NAT, status, timeout and a protocol's state are among the
# words, the mark is not: loaded again an entry has mark 0, with exit status 0. It matters to who keeps the
# entries over a restart or takes them to another gateway: connections whose mark says which way they go, or
# how fast, go another way from then on.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch conntrack=1:1.4.7-1+b2 libnetfilter-conntrack3=1.0.9-3 libnfnetlink0=1.0.2-2 libmnl0=1.0.4-3

seen=$(inside python3 - <<'EOT'
import os
import re
import subprocess

def conntrack(*words, given=None):
	return subprocess.run([os.environ["ROOT"] + "/usr/sbin/conntrack", *words], input=given, check=True, text=True,
		env={"LD_LIBRARY_PATH": os.environ["LIBS"]}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout

def part(pattern):
	return re.search(pattern, conntrack("-L")).group()

ENTRY = "-p tcp -s 10.0.0.1 -d 10.0.0.2 --sport 1000 --dport 80 -t 600"
for words, pattern in (
		("--state ESTABLISHED", "[A-Z_]{4,}"),
		("--state ESTABLISHED --status ASSURED,SEEN_REPLY", r"\[[A-Z]+\]"),
		("--state ESTABLISHED --dst-nat 10.0.0.3", r"src=\S+(?= dst=10.0.0.1)"),
		("--state ESTABLISHED --zone 7", r"zone=\d+"),
		("--state ESTABLISHED --mark 5", r"mark=\d+")):
	conntrack("-I", *ENTRY.split(), *words.split())
	before, saved = part(pattern), conntrack("-L", "-o", "save")
	conntrack("-F")
	conntrack("--load-file", "-", given=saved)
	print("%s: %s, loaded again %s" % (words.split("ESTABLISHED ")[-1], before, part(pattern)))
	conntrack("-F")
EOT
)

verdict "each: loaded again as it was" "--state ESTABLISHED: ESTABLISHED, loaded again ESTABLISHED
--status ASSURED,SEEN_REPLY: [ASSURED], loaded again [ASSURED]
--dst-nat 10.0.0.3: src=10.0.0.3, loaded again src=10.0.0.3
--zone 7: zone=7, loaded again zone=7
--mark 5: mark=5, loaded again mark=0" "$seen"

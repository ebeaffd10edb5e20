#!/bin/bash
# SPDX-License-Identifier: MIT
# What `nft -j list ruleset` prints, `nft -j -f` does not make the same again. Some of it is lost, with exit status
# 0: comments of tables, chains and sets, "auto-merge", "flags dynamic", without which no rule can be added that
# updates the set, and all times of a "ct timeout", so that the default ones hold. Some of it is refused, and with it
# the whole: a synproxy object, a ct expectation, a set of one of TCP's options, a map of two to two. As text all of
# it comes back. It matters to whatever keeps or copies rules by JSON.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch nftables=1.0.6-2+deb12u2 libnftables1=1.0.6-2+deb12u2 libnftnl11=1.2.4-2 libmnl0=1.0.4-3 \
	libjansson4=2.14-2 libxtables12=1.8.9-2 libedit2=3.1-20221030-2

seen=$(inside python3 - <<'EOT'
import os
import subprocess

THINGS = {
	"table": 'comment "c"',
	"chain": 'chain n { comment "c"; }',
	"set with a comment": 'set n { type ipv4_addr; comment "c"; }',
	"counter with a comment": 'counter n { comment "c"; }',
	"auto-merge": "set n { type ipv4_addr; flags interval; auto-merge; }",
	"dynamic": "set n { type ipv4_addr; size 9; flags dynamic; }",
	"map to verdicts": "map n { type inet_service : verdict; flags interval; elements = { 1-2 : accept }; }",
	"two to two": "map n { typeof ip saddr . tcp dport : ip daddr . tcp dport; "
		"elements = { 10.0.0.1 . 80 : 10.0.0.2 . 81 }; }",
	"MSS": "set n { typeof tcp option maxseg size; elements = { 1460 }; }",
	"quota": "quota n { over 9 mbytes; }",
	"limit": "limit n { rate 9/second burst 7 packets; }",
	"ct timeout": "ct timeout n { protocol tcp; l3proto ip; policy = { established : 100, close : 4 }; }",
	"ct expectation": "ct expectation n { protocol tcp; dport 5432; timeout 1h; size 12; l3proto ip; }",
	"synproxy": "synproxy n { mss 1460; wscale 7; timestamp sack-perm; }",
}

def nft(*words, **more):
	return subprocess.run([os.environ["ROOT"] + "/usr/sbin/nft", *words], env={"LD_LIBRARY_PATH": os.environ["LIBS"]},
		stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False, **more)

def back(*json):
	kept, before = nft(*json, "list", "ruleset").stdout, nft("list", "ruleset").stdout
	assert before
	nft("flush", "ruleset")
	if nft(*json, "-f", "-", input=kept).returncode:
		return "refused"
	after = nft("list", "ruleset").stdout.split()
	return "as it was" if after == before.split() else "without " + " ".join(
		word for word in before.split() if word not in after)

for name, thing in THINGS.items():
	results = []
	for json in (), ("-j",):
		nft("flush", "ruleset")
		nft("table ip t { %s; }" % thing).check_returncode()
		results.append(back(*json))
	print("%s: text: %s, JSON: %s" % (name, *results))
EOT
)

verdict "each: text: as it was, JSON: as it was" \
	'table: text: as it was, JSON: without comment "c"
chain: text: as it was, JSON: without comment "c"
set with a comment: text: as it was, JSON: without comment "c"
counter with a comment: text: as it was, JSON: as it was
auto-merge: text: as it was, JSON: without auto-merge
dynamic: text: as it was, JSON: without flags dynamic
map to verdicts: text: as it was, JSON: as it was
two to two: text: as it was, JSON: refused
MSS: text: as it was, JSON: refused
quota: text: as it was, JSON: as it was
limit: text: as it was, JSON: as it was
ct timeout: text: as it was, JSON: without established : 100, close : 4
ct expectation: text: as it was, JSON: refused
synproxy: text: as it was, JSON: refused' "$seen"

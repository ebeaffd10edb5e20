#!/bin/bash
# SPDX-License-Identifier: MIT
# arptables takes a mask for a MAC address: 02:00:5e:00:00:00/ff:ff:ff:00:00:00 is all devices of a vendor, and the
# rule in the kernel is that. But arptables-save and -L leave the address out if its mask is one of whole bytes, as
# vendors' are; loaded again the rule is one for everybody. A mask that ends within a byte is kept, and so are an
# address without a mask, the masks of IP addresses, and all of ebtables'. It matters to who keeps rules over a
# reboot: of "accept what this vendor makes" comes back "accept".
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch iptables=1.8.9-2 libxtables12=1.8.9-2 libnftnl11=1.2.4-2 libmnl0=1.0.4-3 nftables=1.0.6-2+deb12u2 \
	libnftables1=1.0.6-2+deb12u2 libjansson4=2.14-2 libgmp10=2:6.2.1+dfsg1-1.1 libedit2=3.1-20221030-2 \
	libbsd0=0.11.7-2 libmd0=1.0.4-2

export XTABLES_LIBDIR=$ROOT/usr/lib/x86_64-linux-gnu/xtables
cat >"$WORK/try.py" <<'EOT'
import os
import subprocess

SBIN = os.environ["ROOT"] + "/usr/sbin/"
ENV = os.environ | {"LD_LIBRARY_PATH": os.environ["LIBS"]}
VENDOR = "02:00:5e:00:00:00/ff:ff:ff:00:00:00"

def run(*words, text=None):
	return subprocess.run([SBIN + words[0], *words[1:]], input=text, env=ENV, stdout=subprocess.PIPE,
		stderr=subprocess.DEVNULL, text=True, check=True).stdout

def kernel(family):
	"""what nft says of the only rule, without its counter"""
	rules = [line for line in run("nft", "list", "table", family, "filter").splitlines() if "counter" in line]
	assert len(rules) == 1
	return rules[0].strip().partition(" counter")[0].removeprefix("arp htype 1 arp hlen 6 arp plen 4").strip() or "all"

for family, command, rule in (
		("arp", "arptables", "--source-mac " + VENDOR), ("arp", "arptables", "--destination-mac " + VENDOR),
		("arp", "arptables", "--source-mac 02:00:5e:00:00:00/ff:ff:ff:f0:00:00"),
		("arp", "arptables", "--source-mac 02:00:5e:00:00:01"), ("arp", "arptables", "-s 192.0.2.0/24"),
		("bridge", "ebtables", "-s " + VENDOR)):
	run("xtables-nft-multi", command, "-F")
	run("xtables-nft-multi", command, "-A", "INPUT", *rule.split(), "-j", "ACCEPT")
	before = kernel(family)
	saved = run("xtables-nft-multi", command + "-save")
	run("xtables-nft-multi", command + "-restore", text=saved)
	print("%s %s: %s, then %s" % (command, rule, before, kernel(family)))
EOT
seen=$(inside python3 "$WORK/try.py")

verdict "each: the same before and after" "arptables --source-mac 02:00:5e:00:00:00/ff:ff:ff:00:00:00: arp saddr ether 02:00:5e:00:00:00/24, then all
arptables --destination-mac 02:00:5e:00:00:00/ff:ff:ff:00:00:00: arp daddr ether 02:00:5e:00:00:00/24, then all
arptables --source-mac 02:00:5e:00:00:00/ff:ff:ff:f0:00:00: arp saddr ether & ff:ff:ff:f0:00:00 == 02:00:5e:00:00:00, then arp saddr ether & ff:ff:ff:f0:00:00 == 02:00:5e:00:00:00
arptables --source-mac 02:00:5e:00:00:01: arp saddr ether 02:00:5e:00:00:01, then arp saddr ether 02:00:5e:00:00:01
arptables -s 192.0.2.0/24: arp saddr ip 192.0.2.0/24, then arp saddr ip 192.0.2.0/24
ebtables -s 02:00:5e:00:00:00/ff:ff:ff:00:00:00: ether saddr 02:00:5e:00:00:00/24, then ether saddr 02:00:5e:00:00:00/24" "$seen"

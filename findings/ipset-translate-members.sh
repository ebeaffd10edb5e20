#!/bin/bash
# SPDX-License-Identifier: MIT
# ipset-translate makes sets for nft whose members are others than those of the set it was given: a "wildcard"
# becomes an interface of just that name, a bridge's port ("physdev") any interface, "timeout 0", which is for
# ever, the set's own timeout, and a "nomatch", which is not to be in it, a member, which nft then refuses beside
# the net that it is cut out of. The exit status is 0, and no "#" marks these, as it does a set with skbinfo. (Its
# manual page says that a few options may be not supported, not which, nor that they are passed over.) It matters
# to whoever moves a firewall over: a set that loads without a word may still be another.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch ipset=7.17-1 libipset13=7.17-1 libmnl0=1.0.4-3 nftables=1.0.6-2+deb12u2 libnftables1=1.0.6-2+deb12u2 \
	libnftnl11=1.2.4-2 libxtables12=1.8.9-2 libjansson4=2.14-2 libedit2=3.1-20221030-2 libbsd0=0.11.7-2 \
	libmd0=1.0.4-2 libtinfo6=6.4-4 libgmp10=2:6.2.1+dfsg1-1.1

seen=$(inside python3 - <<'EOT'
import os
import re
import subprocess
import time

def run(*words, given=None):
	return subprocess.run([os.environ["ROOT"] + "/usr/sbin/" + words[0], *words[1:]], input=given, text=True,
		env={"LD_LIBRARY_PATH": os.environ["LIBS"]}, capture_output=True, check=False)

def translate(kind, entries, *asked):
	run("ipset", "destroy")
	run("nft", "flush", "ruleset")
	run("ipset", "create", "s", *kind.split()).check_returncode()
	for entry in entries:
		run("ipset", "add", "s", *entry.split()).check_returncode()
	told = run("ipset-translate", "restore", given=run("ipset", "save").stdout)
	loaded = run("nft", "-f", "-", given=told.stdout).returncode == 0
	print("%s, of %s: exit %d, %s" % (kind, " and ".join(entries), told.returncode,
		"marked" if "#" in told.stdout else "loaded" if loaded else "refused"))
	if "timeout" in kind:
		time.sleep(2)
	for element in asked if loaded else ():
		name = re.sub("physdev:", "", element).replace(",", " . ")
		held = (run("ipset", "test", "s", element), run("nft", "get", "element", "inet global s { %s }" % name))
		print("  %s: in ipset's %s, in nft's %s" % (element, *("no" if h.returncode else "yes" for h in held)))

translate("hash:ip skbinfo", ["10.0.0.1"])
translate("hash:net", ["10.0.0.0/8"], "10.0.0.1", "11.0.0.1")
translate("hash:net", ["10.0.0.0/8", "10.1.0.0/16 nomatch"], "10.0.0.1", "10.1.0.1")
translate("hash:net,iface", ["10.0.0.0/8,eth wildcard"], "10.0.0.1,eth", "10.0.0.1,eth0")
translate("hash:net,iface", ["10.0.0.0/8,physdev:eth0"], "10.0.0.1,physdev:eth0", "10.0.0.1,eth0")
translate("hash:ip timeout 1", ["10.0.0.1 timeout 0", "10.0.0.2"], "10.0.0.1", "10.0.0.2")
EOT
)

verdict "each but the first: marked or loaded; in both or in none" "hash:ip skbinfo, of 10.0.0.1: exit 0, marked
hash:net, of 10.0.0.0/8: exit 0, loaded
  10.0.0.1: in ipset's yes, in nft's yes
  11.0.0.1: in ipset's no, in nft's no
hash:net, of 10.0.0.0/8 and 10.1.0.0/16 nomatch: exit 0, refused
hash:net,iface, of 10.0.0.0/8,eth wildcard: exit 0, loaded
  10.0.0.1,eth: in ipset's yes, in nft's yes
  10.0.0.1,eth0: in ipset's yes, in nft's no
hash:net,iface, of 10.0.0.0/8,physdev:eth0: exit 0, loaded
  10.0.0.1,physdev:eth0: in ipset's yes, in nft's yes
  10.0.0.1,eth0: in ipset's no, in nft's yes
hash:ip timeout 1, of 10.0.0.1 timeout 0 and 10.0.0.2: exit 0, loaded
  10.0.0.1: in ipset's yes, in nft's no
  10.0.0.2: in ipset's no, in nft's no" "$seen"

#!/bin/bash
# SPDX-License-Identifier: MIT
# nft 1.0.6 takes a rule that decides by MPTCP's subtype, and lists it as one that it does not take: "subtype"
# comes back as "unknown & 240", and the numbers times 16. Neither what `nft list ruleset` prints can be loaded
# again, nor its JSON; as a set ({ 0, 1 }) it can. It matters to who saves the ruleset that runs for the next
# boot: a file with one such rule is refused whole.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch nftables=1.0.6-2+deb12u2 libnftables1=1.0.6-2+deb12u2 libjansson4=2.14-2 libedit2=3.1-20221030-2 \
	libbsd0=0.11.7-2 libmd0=1.0.4-2 libtinfo6=6.4-4 libmnl0=1.0.4-3 libnftnl11=1.2.4-2 libxtables12=1.8.9-2 \
	libgmp10=2:6.2.1+dfsg1-1.1

seen=$(inside python3 - <<'EOT'
import os
import re
import subprocess

def nft(*words, text=None):
	return subprocess.run([os.environ["ROOT"] + "/usr/sbin/nft", *words], input=text, capture_output=True, text=True,
		env={"LD_LIBRARY_PATH": os.environ["LIBS"]}, check=False)

def again(words, text):
	nft("flush", "ruleset")
	return "loaded" if nft(*words, "-f", "-", text=text).returncode == 0 else "refused"

for rule in "{ 0, 1 }", "vmap { 0 : accept, 1 : drop }":
	nft("flush", "ruleset")
	nft("-f", "-", text="table ip t { chain c { tcp option mptcp subtype %s; }; }" % rule).check_returncode()
	text, json = nft("list", "ruleset").stdout, nft("-j", "list", "ruleset").stdout
	print("listed as:", re.search("tcp option.*", text).group())
	print("its list again: %s, as JSON: %s" % (again([], text), again(["-j"], json)))
EOT
)

verdict "listed as: tcp option mptcp subtype { 0, 1 }
its list again: loaded, as JSON: loaded
listed as: tcp option mptcp subtype vmap { 0 : accept, 1 : drop }
its list again: loaded, as JSON: loaded" "listed as: tcp option mptcp subtype { 0, 1 }
its list again: loaded, as JSON: loaded
listed as: tcp option mptcp unknown & 240 vmap { 0 : accept, 16 : drop }
its list again: refused, as JSON: refused" "$seen"

#!/bin/bash
# SPDX-License-Identifier: MIT
# `conntrack -L -o xml` prints no XML where there is no entry: nothing at all, with exit status 0, not an empty
# <conntrack>; and `conntrack -G -o xml`, of one entry, never closes its <conntrack>. With entries to list it
# is well-formed, and so is -E when it is interrupted. It matters to a monitor that parses it: it fails on an
# idle gateway, and works whenever somebody looks.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch conntrack=1:1.4.7-1+b2 libnetfilter-conntrack3=1.0.9-3 libnfnetlink0=1.0.2-2 libmnl0=1.0.4-3 \
	iptables=1.8.9-2 libxtables12=1.8.9-2 libnftnl11=1.2.4-2

export XTABLES_LIBDIR=$ROOT/usr/lib/x86_64-linux-gnu/xtables
seen=$(inside python3 - <<'EOT'
import os
import socket
import subprocess
import xml.dom.minidom
import xml.parsers.expat

def run(*words):
	return subprocess.run([os.environ["ROOT"] + "/usr/sbin/" + words[0], *words[1:]], stdout=subprocess.PIPE,
		stderr=subprocess.DEVNULL, text=True, env=os.environ | {"LD_LIBRARY_PATH": os.environ["LIBS"]}, check=False)

def show(what, *words):
	shown = run("conntrack", *words, "-o", "xml")
	try:
		entries = xml.dom.minidom.parseString(shown.stdout).getElementsByTagName("flow")
		said = "XML, entries: %d" % len(entries)
	except xml.parsers.expat.ExpatError:
		said = "no XML, but " + ("an open <conntrack>" if "<conntrack>" in shown.stdout else "nothing")
	print("%s: exit %d, %s" % (what, shown.returncode, said))

# a rule that asks conntrack switches it on in this namespace
run("xtables-nft-multi", "iptables", "-A", "INPUT", "-m", "conntrack", "--ctstate", "INVALID").check_returncode()
show("a list of none", "-L")
end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
end.bind(("127.0.0.1", 7000))
end.sendto(b"x", end.getsockname())
show("a list of one", "-L")
show("that one", "-G", "-p", "udp", "-s", "127.0.0.1", "-d", "127.0.0.1", "--sport", "7000", "--dport", "7000")
EOT
)

verdict "a list of none: exit 0, XML, entries: 0
a list of one: exit 0, XML, entries: 1
that one: exit 0, XML, entries: 1" "a list of none: exit 0, no XML, but nothing
a list of one: exit 0, XML, entries: 1
that one: exit 0, no XML, but an open <conntrack>" "$seen"

#!/bin/bash
# SPDX-License-Identifier: MIT
# iptables-translate gives rules for nft that are not the rule it was given: "not with ECE" becomes
# "tcp flags != ecn", which compares all the flags, so a SYN with ECE and CWR, which the rule of iptables leaves
# alone, is matched by its translation; TOS on IPv4 becomes "ip6 dscp", and the status NONE nothing, and these
# two nft refuses. The exit status is 0, and no "#" marks them, as it does what cannot be translated. It matters
# to whoever moves a ruleset over: a rule that loads may still be another.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch iptables=1.8.9-2 libxtables12=1.8.9-2 libnftnl11=1.2.4-2 libmnl0=1.0.4-3 nftables=1.0.6-2+deb12u2 \
	libnftables1=1.0.6-2+deb12u2 libjansson4=2.14-2 libedit2=3.1-20221030-2 libbsd0=0.11.7-2 libmd0=1.0.4-2 \
	libtinfo6=6.4-4 libgmp10=2:6.2.1+dfsg1-1.1

export XTABLES_LIBDIR=$ROOT/usr/lib/x86_64-linux-gnu/xtables
seen=$(inside python3 - <<'EOT'
import os
import re
import socket
import subprocess

def run(*words):
	return subprocess.run([os.environ["ROOT"] + "/usr/sbin/" + words[0], *words[1:]], capture_output=True, text=True,
		env=os.environ | {"LD_LIBRARY_PATH": os.environ["LIBS"]}, check=False)

def translate(rule):
	told = run("xtables-nft-multi", "iptables-translate", *rule.split())
	command = told.stdout.strip().removeprefix("nft ").strip("'")
	loaded = run("nft", command).returncode == 0
	print(rule + "\n  exit %d," % told.returncode, command.split("INPUT ")[-1] + ",", "loaded" if loaded else "refused")

run("nft", "add table ip filter; add chain ip filter INPUT { type filter hook input priority 0; }").check_returncode()
run("nft", "add table ip mangle; add chain ip mangle INPUT { type filter hook input priority 0; }").check_returncode()
translate("-t mangle -A INPUT -j TOS --set-tos 0x10/0x3f")
translate("-A INPUT -m conntrack --ctstatus NONE")
rule = "-A INPUT -p tcp --syn -m ecn ! --ecn-tcp-ece"
translate(rule)
run("xtables-nft-multi", "iptables", *rule.split()).check_returncode()
with open("/proc/sys/net/ipv4/tcp_ecn", "w", encoding="ascii") as sysctl:
	sysctl.write("1")  # a SYN asks for ECN by both of its flags
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
counts = re.findall(r"counter packets (\d+)", run("nft", "list chain ip filter INPUT").stdout)
print("SYNs with ECE and CWR that match: the translation %s, iptables' own %s" % (counts[-2], counts[-1]))
EOT
)

verdict "all: loaded
SYNs with ECE and CWR that match: the translation 0, iptables' own 0" "-t mangle -A INPUT -j TOS --set-tos 0x10/0x3f
  exit 0, counter ip6 dscp set 0x04, refused
-A INPUT -m conntrack --ctstatus NONE
  exit 0, ct status counter, refused
-A INPUT -p tcp --syn -m ecn ! --ecn-tcp-ece
  exit 0, tcp flags syn / fin,syn,rst,ack tcp flags != ecn counter, loaded
SYNs with ECE and CWR that match: the translation 1, iptables' own 0" "$seen"

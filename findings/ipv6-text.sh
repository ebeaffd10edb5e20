#!/bin/bash
# SPDX-License-Identifier: MIT
# What libraries and tools make of the text of an IPv6 address. "::" may stand for one group of zeros, too, and at
# either end, and behind any six groups four bytes as of IPv4 (RFC 4291, 2.2); in the short form that they write it
# stands for the longest run of zeros, and not for a single group (RFC 5952, 4.2). Of eighteen that were asked for it
# seven do all of it. sipcalc, Net::IP and tcllib refuse a "::" for one group. What comes out may be another address,
# or none: to the gem ipaddress the six groups before IPv4 are ::ffff whatever they are; Net::CIDR::Set makes of the
# mapped 192.0.2.1 a network with a prefix of 135 bits; the gem netaddr, which writes ":ffff:c000:201" of it, and
# Net::IPv6Addr lose a colon, and of "::" the former writes nothing.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch netmask=2.4.4-3 subnetcalc=2.4.21-1 ipcalc-ng=1.0.2-1 sipcalc=1.1.6-3 ipv6calc=1.0.0-1.1 libgeoip1=1.6.12-10 \
	libnet-ip-perl=1.26-3 libnetaddr-ip-perl=4.079+dfsg-2+b1 libnet-cidr-perl=0.21-2 \
	libnet-cidr-lite-perl=0.22-3~deb12u2 libnet-cidr-set-perl=0.13-4 libnet-ipv6addr-perl=1.02-1 \
	libmath-base85-perl=0.5+dfsg-2 libnet-dns-perl=1.36-1+deb12u1 perl-base=5.36.0-7+deb12u4 \
	perl-modules-5.36=5.36.0-7+deb12u4 libperl5.36=5.36.0-7+deb12u4 python3-netaddr=0.8.0-2 ieee-data=20220827.1 \
	ruby3.1=3.1.7+really3.1.2-0+deb12u1 libruby3.1=3.1.7+really3.1.2-0+deb12u1 ruby-ipaddress=0.8.3-3 \
	ruby-netaddr=1.5.1-3 tcl8.6=8.6.13+dfsg-2 libtcl8.6=8.6.13+dfsg-2 tcllib=1.21+dfsg-1

export TCL_LIBRARY=$ROOT/usr/share/tcltk/tcl8.6 TCLLIBPATH=$ROOT/usr/share/tcltk/tcllib1.21
perl=$ROOT/usr/share/perl5:$ROOT/usr/share/perl/5.36.0:$ROOT/usr/lib/x86_64-linux-gnu/perl5/5.36
export PERL5LIB=$perl:$ROOT/usr/lib/x86_64-linux-gnu/perl/5.36:$ROOT/usr/lib/x86_64-linux-gnu/perl-base
gems=$ROOT/usr/share/rubygems-integration/all/gems PYTHONPATH=$ROOT/usr/lib/python3/dist-packages
export PYTHONPATH RUBYLIB=$ROOT/usr/lib/ruby/3.1.0:$ROOT/usr/lib/x86_64-linux-gnu/ruby/3.1.0
RUBYLIB+=:$gems/ipaddress-0.8.3/lib:$gems/netaddr-1.5.1/lib
cat >"$WORK/try.py" <<'EOT'
import os
import re
import socket
import subprocess
import sys

ROOT = os.environ["ROOT"]
# an address, and its short form if that is asked for
CASES = {
	"2001:DB8:0:0:0:0:0:a": "2001:db8::a",
	"2001:db8:0:1:1:1:1:1": "2001:db8:0:1:1:1:1:1",
	"2001:0:0:1:0:0:0:1": "2001:0:0:1::1",
	"::": "::",
	"1:2:3:4:5:6:7::": "1:2:3:4:5:6:7:0",
	"::2:3:4:5:6:7:8": "0:2:3:4:5:6:7:8",
	"::ffff:192.0.2.1": None,
	"1:2:3:4:5:6:192.0.2.1": None,
}
PERL, RUBY = ["usr/bin/perl", "-e"], ["usr/bin/ruby3.1", "--disable-gems", "-e"]
WAYS = {
	"netmask": ["usr/bin/netmask", "TEXT"],
	"subnetcalc": ["usr/bin/subnetcalc", "TEXT/128", "-n"],
	"ipcalc-ng": ["usr/bin/ipcalc-ng", "TEXT"],
	"sipcalc": ["usr/bin/sipcalc", "TEXT"],
	"ipv6calc": "usr/bin/ipv6calc -q -I ipv6addr -O ipv6addr --printcompressed TEXT".split(),
	"Net::IP": [*PERL, "use Net::IP; print Net::IP->new('TEXT')->short"],
	"NetAddr::IP": [*PERL, "use NetAddr::IP; print NetAddr::IP->new6('TEXT')->canon"],
	"Net::CIDR": [*PERL, "use Net::CIDR; print Net::CIDR::range2cidr('TEXT-TEXT')"],
	"Net::CIDR::Lite": [*PERL, "use Net::CIDR::Lite; print Net::CIDR::Lite->new('TEXT/128')->list"],
	"Net::CIDR::Set": [*PERL, "use Net::CIDR::Set; print Net::CIDR::Set->new('TEXT/128')->as_string"],
	"Net::IPv6Addr": [*PERL, "use Net::IPv6Addr; print Net::IPv6Addr->new('TEXT')->to_string_compressed"],
	"Net::DNS": [*PERL, "use Net::DNS; print Net::DNS::RR->new('a. AAAA TEXT')->address_short"],
	"netaddr of Python": ["/usr/bin/python3", "-c", "import netaddr; print(netaddr.IPAddress('TEXT'))"],
	"ipaddr of Ruby": [*RUBY, "require 'ipaddr'; print IPAddr.new('TEXT')"],
	"Resolv of Ruby": [*RUBY, "require 'resolv'; print Resolv::IPv6.create('TEXT')"],
	"gem ipaddress": [*RUBY, "require 'ipaddress'; print IPAddress('TEXT').compressed"],
	"gem netaddr": [*RUBY, "require 'netaddr'; print NetAddr::CIDR.create('TEXT').ip(:Short => true)"],
	"tcllib": ["usr/bin/tclsh8.6"],
}

def run(name, text, short):
	words = [word.replace("TEXT", text) for word in WAYS[name]]
	done = subprocess.run([os.path.join(ROOT, words[0]), *words[1:]], text=True, check=False,
		stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ | {"LD_LIBRARY_PATH": os.environ["LIBS"]},
		input=f"package require ip; if {{[catch {{puts [ip::contract {text}]}}]}} {{exit 1}}")
	line = re.search({"subnetcalc": r"Address *= (.*)", "ipcalc-ng": r"(?m)^Address:\t(.*)",
		"sipcalc": r"Compressed address\t- (.*)"}.get(name, r"(?s)(.*)"), done.stdout)
	if done.returncode or not line:
		return "refused by"
	written = re.sub(r"/128$", "", line[1].strip())
	try:
		if socket.inet_pton(socket.AF_INET6, written) != socket.inet_pton(socket.AF_INET6, text):
			return f"another address, {written}, by"
	except OSError:
		return f"no address, \"{written}\", by"
	return "" if short in (written, None) else f"{written} by"

for text, short in CASES.items():
	said = [run(name, text, short) for name in WAYS]
	for wrong in sorted(set(said) - {""}):
		print(f"{text} - {wrong} {', '.join(name for name, how in zip(WAYS, said) if how == wrong)}", flush=True)
	if not any(said):
		print(f"{text} - read and written", flush=True)
EOT
seen=$(inside /usr/bin/python3 "$WORK/try.py")

verdict "each: read and written" '2001:DB8:0:0:0:0:0:a - read and written
2001:db8:0:1:1:1:1:1 - 2001:db8::1:1:1:1:1 by ipv6calc, Net::CIDR, Net::CIDR::Lite, Net::CIDR::Set, Net::IPv6Addr, Resolv of Ruby
2001:0:0:1:0:0:0:1 - 2001::1:0:0:0:1 by Resolv of Ruby, tcllib
:: - no address, "", by gem netaddr
1:2:3:4:5:6:7:: - 0001:2:3:4:5:6:7:: by Net::CIDR::Lite, Net::CIDR::Set
1:2:3:4:5:6:7:: - 1:2:3:4:5:6:7:: by Net::CIDR, Resolv of Ruby
1:2:3:4:5:6:7:: - no address, "1:2:3:4:5:6:7:", by Net::IPv6Addr
1:2:3:4:5:6:7:: - refused by sipcalc, Net::IP, tcllib
::2:3:4:5:6:7:8 - ::2:3:4:5:6:7:8 by ipv6calc, Net::CIDR, Net::CIDR::Lite, Net::CIDR::Set, Resolv of Ruby
::2:3:4:5:6:7:8 - no address, ":2:3:4:5:6:7:8", by Net::IPv6Addr
::2:3:4:5:6:7:8 - refused by sipcalc, Net::IP, tcllib
::ffff:192.0.2.1 - no address, "::ffff:c0:2/135", by Net::CIDR::Set
::ffff:192.0.2.1 - no address, ":ffff:c000:201", by gem netaddr
1:2:3:4:5:6:192.0.2.1 - another address, ::ffff:c000:201, by gem ipaddress
1:2:3:4:5:6:192.0.2.1 - refused by Net::CIDR::Lite, Net::CIDR::Set' "$seen"

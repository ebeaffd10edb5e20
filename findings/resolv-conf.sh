#!/bin/bash
# SPDX-License-Identifier: MIT
# What resolv.conf(5) says, and readers of the file do otherwise. Of several "search" or "domain" the last counts;
# blanks or tabs stand between the domains, of which there may be any number; a name with fewer dots than "ndots:" is
# tried in each of them first. Where no "nameserver" stands there the one of this machine is asked, where the first
# does not answer the next, and an address may be one of IPv6 (that it may be a link-local one with its interface it
# does not say; glibc reads it). Of fifteen readers glibc, dig, adnshost and Ruby's Resolv do all of it, dnsget and
# AnyEvent all but the last. To c-ares two domains with a tab between them are one, with a tab in its name. Four that
# do not read the link-local address ask 127.0.0.1 in its stead, and do not say so. It matters to who moves a program,
# say into a container, whose names are found there by another domain, or not at all. PHP's Net_DNS2 knows the first
# domain alone.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch bind9-dnsutils=1:9.18.49-1~deb12u3 bind9-libs=1:9.18.49-1~deb12u3 \
	adns-tools=1.6.0-2 libadns1=1.6.0-2 udns-utils=0.4-1+b1 libudns0=0.4-1+b1 busybox=1:1.35.0-4+deb12u1+b1 \
	getdns-utils=1.6.0-3+b1 libgetdns10=1.6.0-3+b1 libunbound8=1.17.1-2+deb12u4 \
	python3-dnspython=2.3.0-1+deb12u1 python3-pycares=4.3.0-2 libc-ares2=1.18.1-3 python3-idna=3.3-1+deb12u1 \
	python3-cffi-backend=1.15.1-5+b1 lua5.3=5.3.6-2 lua-cqueues=20200726-1+b1 \
	erlang-base=1:25.2.3+dfsg-1+deb12u4 php8.2-cli=8.2.36-1~deb12u1 php-net-dns2=1.5.0-1 \
	libnet-dns-perl=1.36-1+deb12u1 libanyevent-perl=7.170-2+b3 libcommon-sense-perl=3.75-3 \
	perl-base=5.36.0-7+deb12u4 perl-modules-5.36=5.36.0-7+deb12u4 libperl5.36=5.36.0-7+deb12u4 \
	ruby3.1=3.1.7+really3.1.2-0+deb12u1 libruby3.1=3.1.7+really3.1.2-0+deb12u1 ruby-dnsruby=1.61.5-3 \
	ruby-simpleidn=0.1.1-2 ruby-unf=0.1.4-2.1 ruby-unf-ext=0.0.7.7-1+b4 libjemalloc2=5.3.0-1 \
	libuv1=1.44.2-1+deb12u1 libjson-c5=0.16-2 libxml2=2.9.14+dfsg-1.3~deb12u6 libicu72=72.1-3+deb12u1 \
	libmaxminddb0=1.7.1-1 libfstrm0=0.6.1-1 libprotobuf-c1=1.4.1-1+b1 liblmdb0=0.9.24-1 \
	libnghttp2-14=1.52.0-1+deb12u3 libevent-2.1-7=2.1.12-stable-8+deb12u1 \
	libevent-core-2.1-7=2.1.12-stable-8+deb12u1 libssl3=3.0.22-1~deb12u2 libev4=1:4.33-1 \
	libedit2=3.1-20221030-2 libbsd0=0.11.7-2 libmd0=1.0.4-2 libreadline8=8.2-1.3 \
	libargon2-1=0~20171227-0.3+deb12u1 libsodium23=1.0.18-1+deb12u1 libpcre2-8-0=10.42-1+deb12u2

perl=$ROOT/usr/share/perl5:$ROOT/usr/share/perl/5.36.0:$ROOT/usr/lib/x86_64-linux-gnu/perl5/5.36
export PERL5LIB=$perl:$ROOT/usr/lib/x86_64-linux-gnu/perl/5.36:$ROOT/usr/lib/x86_64-linux-gnu/perl-base
export PYTHONPATH=$ROOT/usr/lib/python3/dist-packages HOME=$WORK ERL_INETRC=$WORK/inetrc
export "LUA_PATH=$ROOT/usr/share/lua/5.3/?.lua" "LUA_CPATH=$ROOT/usr/lib/x86_64-linux-gnu/lua/5.3/?.so"
ruby=$ROOT/usr/lib/ruby gems=$ROOT/usr/share/rubygems-integration/all/gems native=$ROOT/usr/lib/x86_64-linux-gnu/ruby
export RUBYLIB=$ruby/vendor_ruby:$ruby/3.1.0:$native/3.1.0:$native/vendor_ruby/3.1.0:$gems/simpleidn-0.1.1/lib
RUBYLIB+=:$ruby/gems/3.1.0/gems/net-ftp-0.1.3/lib:$ruby/gems/3.1.0/gems/net-protocol-0.1.2/lib
export ROOTDIR=$ROOT/usr/lib/erlang EMU=beam PROGNAME=erl
BINDIR=$(echo "$ROOTDIR"/erts-*/bin)
export BINDIR
printf '{resolv_conf,"/etc/resolv.conf"}.\n{lookup,[dns]}.\n' >"$WORK/inetrc"
cat >"$WORK/net.pl" <<'EOT'
use Net::DNS;
my $reply = Net::DNS::Resolver->new->search($ARGV[0]) or die;
print $_->address for $reply->answer;
EOT
cat >"$WORK/any.pl" <<'EOT'
use AnyEvent::DNS;
AnyEvent::DNS::a($ARGV[0], my $done = AnyEvent->condvar);
print $done->recv;
EOT
cat >"$WORK/python.py" <<'EOT'
import sys
import dns.resolver
print(dns.resolver.resolve(sys.argv[1], "A", search=True)[0])
EOT
cat >"$WORK/ares.py" <<'EOT'
import select
import socket
import sys
import pycares
channel, said = pycares.Channel(), []
channel.gethostbyname(sys.argv[1], socket.AF_INET, lambda host, error: said.append(host and host.addresses))
while not said:
	ready = select.select(*channel.getsock(), [], 0.1)
	for fd in ready[0] or [pycares.ARES_SOCKET_BAD]:
		channel.process_fd(fd, ready[1][0] if ready[1] else pycares.ARES_SOCKET_BAD)
print(said)
EOT
cat >"$WORK/resolv.rb" <<'EOT'
require "resolv"
puts Resolv::DNS.new.getaddress(ARGV[0])
EOT
cat >"$WORK/dnsruby.rb" <<'EOT'
require "dnsruby"
puts Dnsruby::DNS.new.getaddress(ARGV[0])
EOT
cat >"$WORK/dns2.php" <<'EOT'
<?php
require "Net/DNS2.php";
echo (new Net_DNS2_Resolver())->query($argv[1], "A")->answer[0]->address;
EOT
cat >"$WORK/cqueues.lua" <<'EOT'
local dns = require("cqueues.dns")
local queue = require("cqueues").new()
queue:wrap(function()
	for record in assert(dns.query(arg[1], "A")):grep{section = "answer", type = "A"} do print(record:addr()) end
end)
queue:loop()
EOT
cat >"$WORK/try.py" <<'EOT'
import concurrent.futures
import os
import re
import socket
import subprocess
import sys
import threading

WORK, ROOT = sys.argv[1], os.environ["ROOT"]
HERE, GOOD = "nameserver 127.0.0.1\n", "search good.test\n"
MANY = [f"{n}.test" for n in range(1, 8)]
# what stands in the file, the name that is asked for, and what has to be asked
CASES = {
	"as most do": (HERE + GOOD, "", ["good.test"]),
	"two lines of search": (HERE + "search 1.test\n" + GOOD, "", ["good.test"]),
	"domain behind search": (HERE + "search 1.test\ndomain good.test\n", "", ["good.test"]),
	"a tab between domains": (HERE + "search 1.test\tgood.test\n", "", ["1.test", "good.test"]),
	"a tab behind nameserver": (HERE.replace(" ", "\t") + GOOD, "", ["good.test"]),
	"eight domains": (HERE + f"search {' '.join(MANY)} good.test\n", "", [*MANY, "good.test"]),
	"ndots:2": (HERE + GOOD + "options ndots:2\n", ".x", ["x.good.test"]),
	"no nameserver": (GOOD, "", ["good.test"]),
	"the first nameserver refuses": ("nameserver 127.0.0.9\n" + HERE + GOOD, "", ["good.test"]),
	"::1": ("nameserver ::1\n" + GOOD, "", ["good.test of ::1"]),
	"fe80::1%v0": ("nameserver fe80::1%v0\n" + GOOD, "", ["good.test of fe80::1%v0"]),
}
READERS = {
	"glibc": "/usr/bin/getent ahostsv4",
	"busybox": "bin/busybox nslookup -type=a",
	"dig": "usr/bin/dig +short +search",
	"adnshost": "usr/bin/adnshost -s -ta",
	"dnsget": "usr/bin/dnsget -t a",
	"getdns": "usr/bin/getdns_query -s -A",
	"dnspython": f"/usr/bin/python3 {WORK}/python.py",
	"c-ares": f"/usr/bin/python3 {WORK}/ares.py",
	"Net::DNS": f"usr/bin/perl {WORK}/net.pl",
	"AnyEvent": f"usr/bin/perl {WORK}/any.pl",
	"Ruby": f"usr/bin/ruby3.1 {WORK}/resolv.rb",
	"dnsruby": f"usr/bin/ruby3.1 {WORK}/dnsruby.rb",
	"Net_DNS2": f"usr/bin/php8.2 -n -d include_path={ROOT}/usr/share/php {WORK}/dns2.php",
	"cqueues": f"usr/bin/lua5.3 {WORK}/cqueues.lua",
	"Erlang": os.environ["BINDIR"] + "/erlexec -noshell -noinput -eval "
		"io:format(\"~p\",[inet_res:gethostbyname(\"NAME\")]),halt().",
}
asked = {}

def serve(address):
	s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
	s.bind(socket.getaddrinfo(address, 53, type=socket.SOCK_DGRAM)[0][4])
	def answer():
		while True:
			query, client = s.recvfrom(4000)
			name, at = [], 12
			while query[at]:
				name.append(query[at + 1:at + 1 + query[at]].decode())
				at += query[at] + 1
			first, name = name[0], ".".join(name[1:])
			line = (name or "nothing else") + ("" if address == "127.0.0.1" else " of " + address)
			if line not in asked.setdefault(first, []):
				asked[first].append(line)
			good = name.endswith("good.test") and query[at + 2] == 1
			head = query[:2] + (b"\x85\x80\0\1\0\1" if good else b"\x85\x80\0\1\0\0" if "good" in name else b"\x85\x83\0\1\0\0")
			record = b"\xc0\x0c\0\1\0\1\0\0\0\x1e\0\4\xc0\0\2\1" if good else b""
			s.sendto(head + bytes(4) + query[12:at + 5] + record, client)
	threading.Thread(target=answer, daemon=True).start()

def run(reader, what):
	_, name, expected = CASES[what]
	first = f"w{list(READERS).index(reader)}"
	command = READERS[reader] if "NAME" in READERS[reader] else READERS[reader] + " NAME"
	words = command.replace("NAME", first + name).split()
	asked.pop(first, None)
	try:
		out = subprocess.run([os.path.join(ROOT, words[0]), *words[1:]], cwd=WORK, stdin=subprocess.DEVNULL,
			env=os.environ | {"LD_LIBRARY_PATH": os.environ["LIBS"]}, stdout=subprocess.PIPE,
			stderr=subprocess.DEVNULL, timeout=6, check=False).stdout.decode()
	except subprocess.TimeoutExpired:
		out = ""
	lines = [line for line in asked.get(first, []) if what == "as most do" or "else" not in line]
	if " of " in expected[0]:
		lines = [line if " of " in line else line + " of 127.0.0.1" for line in lines]
	if lines != expected and (what != "no nameserver" or lines != ["good.test of ::1"]):
		return "asked " + (", ".join(lines[:3]).replace("\t", "<tab>") or "nobody")
	return "" if re.search(r"192(\.|,)0\1(2)\1(1)", out) else "not found"

for address in "127.0.0.1", "::1", "fe80::1%v0":
	serve(address)
with concurrent.futures.ThreadPoolExecutor(6) as pool:
	for what in CASES:
		with open("/etc/resolv.conf", "w") as f:
			f.write(CASES[what][0])
		said = list(pool.map(lambda reader, what=what: run(reader, what), READERS))
		for wrong in sorted(set(said) - {""}):
			print(f"{what}: {wrong}: {', '.join(name for name, how in zip(READERS, said) if how == wrong)}", flush=True)
		if not any(said):
			print(f"{what}: right", flush=True)
os._exit(0)
EOT
cat >"$WORK/run" <<'EOT'
for name in resolv.conf hosts nsswitch.conf; do
	echo "hosts: dns" >$name
	mount --bind $name /etc/$name
done
: >hosts
ip link add v0 type veth peer name v1
ip link set v1 up
ip link set v0 up
ip address add 192.0.2.77/32 dev v0
ip address add fe80::1/64 dev v0 nodad
exec /usr/bin/python3 try.py "$PWD"
EOT
cd "$WORK" || exit 2
seen=$(inside unshare --mount sh run)

verdict "each: right" "as most do: asked nothing else, good.test: dnsruby
two lines of search: asked 1.test, good.test: getdns, Net::DNS, dnsruby
domain behind search: asked 1.test: busybox, getdns, Net::DNS
a tab between domains: asked 1.test: Net_DNS2
a tab between domains: asked 1.test<tab>good.test: c-ares
a tab behind nameserver: asked nobody: Net_DNS2
eight domains: asked 1.test: Net_DNS2
eight domains: asked 1.test, 2.test, 3.test: cqueues
ndots:2: asked x: busybox, getdns, Net_DNS2
ndots:2: asked x, x.good.test: Net::DNS, dnsruby, Erlang
no nameserver: asked nobody: getdns, dnspython, dnsruby, Net_DNS2, Erlang
the first nameserver refuses: asked nobody: getdns, cqueues
::1: asked nobody: cqueues
fe80::1%v0: asked good.test of 127.0.0.1: dnsget, c-ares, AnyEvent, cqueues
fe80::1%v0: asked nobody: dnsruby, Net_DNS2, Erlang" "$seen"

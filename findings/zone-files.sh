#!/bin/bash
# SPDX-License-Identifier: MIT
# What may stand in a zone file, and readers of zone files do not read, or make something else of. Class and TTL come in
# either order, "(" may stand anywhere, and so may lines of a comment alone, "\X" is X without its special meaning, "@"
# is the origin, which completes every name that has no dot at its end, and $INCLUDE may name another (RFC 1035, 5.1).
# The data of a known type may be written by "\#", and IN as CLASS1 (RFC 3597, 5); the times of an RRSIG as seconds
# since 1970 (RFC 4034, 3.2). Of ten readers named-checkzone and Perl's Net::DNS read all of it. The others refuse what
# another one serves, or have other records and no error: zone2json passes over $INCLUDE's origin; five make w.s of
# the w of a $ORIGIN s (dnspython leaves it out then, since it is of no name of the zone); to nsd 1735689600, which is
# the begin of 2025, is in 2007; dnslib makes of the server m one of the root.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch bind9-utils=1:9.18.49-1~deb12u3 bind9-libs=1:9.18.49-1~deb12u3 ldnsutils=1.8.3-1+b1 libldns3=1.8.3-1+b1 \
	nsd=4.6.1-1 knot-dnssecutils=3.2.6-1 libknot13=3.2.6-1 libdnssec9=3.2.6-1 libzscanner4=3.2.6-1 \
	libxdp1=1.3.1-1 libbpf1=1:1.1.2-0+deb12u1 libelf1=0.188-2.1 \
	pdns-server=4.7.3-2 validns=0.8+git20160720-3.2 python3-dnspython=2.3.0-1+deb12u1 python3-dnslib=0.9.23-1 \
	libnet-dns-perl=1.36-1+deb12u1 ruby-dnsruby=1.61.5-3 ruby-simpleidn=0.1.1-2 ruby-unf=0.1.4-2.1 \
	ruby-unf-ext=0.0.7.7-1+b4 ruby3.1=3.1.7+really3.1.2-0+deb12u1 libruby3.1=3.1.7+really3.1.2-0+deb12u1 \
	perl-base=5.36.0-7+deb12u4 perl-modules-5.36=5.36.0-7+deb12u4 libperl5.36=5.36.0-7+deb12u4 \
	libjudydebian1=1.0.5-5+b2 libjemalloc2=5.3.0-1 libuv1=1.44.2-1+deb12u1 libjson-c5=0.16-2 \
	libxml2=2.9.14+dfsg-1.3~deb12u6 libicu72=72.1-3+deb12u1 libmaxminddb0=1.7.1-1 libfstrm0=0.6.1-1 \
	libprotobuf-c1=1.4.1-1+b1 liblmdb0=0.9.24-1 libnghttp2-14=1.52.0-1+deb12u3 liburcu8=0.13.2-1 \
	libevent-2.1-7=2.1.12-stable-8+deb12u1 libssl3=3.0.22-1~deb12u2

perl=$ROOT/usr/share/perl5:$ROOT/usr/share/perl/5.36.0:$ROOT/usr/lib/x86_64-linux-gnu/perl/5.36
export PERL5LIB=$perl:$ROOT/usr/lib/x86_64-linux-gnu/perl-base PYTHONPATH=$ROOT/usr/lib/python3/dist-packages
ruby=$ROOT/usr/lib/ruby gems=$ROOT/usr/share/rubygems-integration/all/gems native=$ROOT/usr/lib/x86_64-linux-gnu/ruby
export RUBYLIB=$ruby/vendor_ruby:$ruby/3.1.0:$native/3.1.0:$native/vendor_ruby/3.1.0:$gems/simpleidn-0.1.1/lib
RUBYLIB+=:$ruby/gems/3.1.0/gems/net-ftp-0.1.3/lib:$ruby/gems/3.1.0/gems/net-protocol-0.1.2/lib
cat >"$WORK/dnspython.py" <<'EOT'
import sys
import dns.zone
print(dns.zone.from_file(sys.argv[1], "a.test.", relativize=False).to_text(relativize=False))
EOT
cat >"$WORK/lib.py" <<'EOT'
import sys
import dnslib
with open(sys.argv[1]) as zone:
	for record in dnslib.RR.fromZone(zone, "a.test."):
		print(record)
EOT
cat >"$WORK/read.pl" <<'EOT'
use Net::DNS::ZoneFile;
my $zone = Net::DNS::ZoneFile->new($ARGV[0], "a.test.");
while (my $record = $zone->read) {
	print $record->plain, "\n";
}
EOT
cat >"$WORK/read.rb" <<'EOT'
require "dnsruby"
puts Dnsruby::ZoneReader.new("a.test.").process_file(ARGV[0]).map(&:to_s)
EOT
cat >"$WORK/try.py" <<'EOT'
import json
import os
import re
import subprocess
import sys

WORK, ROOT = sys.argv[1], os.environ["ROOT"]
HEAD = """$ORIGIN a.test.
$TTL 300
@ IN SOA ns.a.test. me.a.test. 1 3600 600 86400 300
@ IN NS ns.a.test.
ns IN A 192.0.2.9
"""
A = r"^w(\.a\.test\.?)? 300 IN A 192\.0\.2\.1$"
# what is written, and how it is printed by who has read it
CASES = {
	"as most do": ("w 300 IN A 192.0.2.1", A),
	"class, then TTL": ("w IN 77 A 192.0.2.1", A.replace("300", "77")),
	"in lower case": ("w in a 192.0.2.1", A),
	"( behind the name": ("w ( IN A\n 192.0.2.1 )", A),
	"( at the beginning": ("w IN TXT x\n  ( IN A\n 192.0.2.1 )", A),
	"a blank line with a comment": ("\t; here it is\nw IN A 192.0.2.1", A),
	r"\X in a name": (r"\w IN A 192.0.2.1", A),
	"a relative name behind SRV": ("w IN SRV 1 2 3 m", r"SRV 1 2 3 m\.a\.test"),
	"a relative name behind KX": ("w IN KX 1 m", r"KX 1 m\.a\.test"),
	"@ behind CNAME": ("w IN CNAME @", r"CNAME a\.test"),
	"a relative ORIGIN": ("$ORIGIN s\nw IN A 192.0.2.1", r"^w\.s\.a\.test\.? 300 IN A 192\.0\.2\.1$"),
	"INCLUDE with an origin": (f"$INCLUDE {WORK}/other s.a.test.", r"^w\.s\.a\.test\.? 300 IN A 192\.0\.2\.1$"),
	r"A by \#": (r"w IN A \# 4 C0000201", A.replace("192", r"(\\# 4 C0000201|192").replace("1$", "1)$")),
	"CLASS1": ("w CLASS1 A 192.0.2.1", A.replace("IN", "(IN|CLASS1)")),
	"RRSIG with seconds": ("w IN A 192.0.2.1\nw IN RRSIG A 8 3 300 1893456000 1735689600 5 a.test. AQID",
		r"RRSIG A (8|RSASHA256) 3 300 (20300101000000|1893456000) (20250101000000|1735689600) 5 a\.test"),
}
READERS = {
	"named-checkzone": "usr/bin/named-checkzone -q -i none -k ignore -D -o - a.test ZONE",
	"ldns": "usr/bin/ldns-read-zone ZONE",
	"nsd": "usr/sbin/nsd-checkzone -p a.test ZONE",
	"kzonecheck": "usr/bin/kzonecheck -o a.test ZONE",
	"zone2json": "usr/bin/zone2json --zone=ZONE --zone-name=a.test",
	"validns": "usr/bin/validns -t 1740000000 -z a.test. ZONE",
	"dnspython": f"/usr/bin/python3 {WORK}/dnspython.py ZONE",
	"dnslib": f"/usr/bin/python3 {WORK}/lib.py ZONE",
	"Net::DNS": f"usr/bin/perl {WORK}/read.pl ZONE",
	"dnsruby": f"usr/bin/ruby3.1 {WORK}/read.rb ZONE",
}

def run(name, expected):
	if name == "validns" and "RRSIG" in expected:
		return ""  # it would ask for the key, too
	words = READERS[name].replace("ZONE", WORK + "/zone").split()
	done = subprocess.run([os.path.join(ROOT, words[0]), *words[1:]], cwd=WORK,
		env=os.environ | {"LD_LIBRARY_PATH": os.environ["LIBS"]}, stdin=subprocess.DEVNULL,
		stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
	if done.returncode:
		return "refused by"
	if name in ("kzonecheck", "validns"):  # which print no zone
		return ""
	text = done.stdout.decode()
	if name == "zone2json":
		text = "".join("{name} {ttl} IN {type} {content}\n".format(**record) if record["type"] != "SRV" else
			"{name} {ttl} IN {type} {prio} {content}\n".format(**record) for record in json.loads(text)["records"])
	if name == "nsd":
		text = re.sub(r"(?m)^\$ORIGIN (\S+)\n(\w)(\s)", r"\2.\1\3", text)
	return "" if re.search(expected, re.sub(r"[ \t(]+", " ", text), re.M) else "another record by"

with open(WORK + "/other", "w") as f:
	f.write("w IN A 192.0.2.1\n")
for what, (zone, expected) in CASES.items():
	with open(WORK + "/zone", "w") as f:
		f.write(HEAD + zone + "\n")
	said = [run(name, expected) for name in READERS]
	for wrong in sorted(set(said) - {""}, reverse=True):
		print(f"{what}: {wrong} {', '.join(name for name, how in zip(READERS, said) if how == wrong)}", flush=True)
	if not any(said):
		print(f"{what}: read", flush=True)
EOT
seen=$(inside /usr/bin/python3 "$WORK/try.py" "$WORK")

verdict "each: read" 'as most do: read
class, then TTL: refused by ldns, dnspython, dnslib, dnsruby
in lower case: refused by dnslib
in lower case: another record by dnsruby
( behind the name: refused by zone2json, dnsruby
( at the beginning: refused by nsd, zone2json, dnsruby
a blank line with a comment: refused by dnslib
\X in a name: another record by dnslib
a relative name behind SRV: another record by dnslib
a relative name behind KX: refused by dnslib
a relative name behind KX: another record by zone2json, dnsruby
@ behind CNAME: another record by dnslib
a relative ORIGIN: refused by nsd, kzonecheck
a relative ORIGIN: another record by ldns, zone2json, dnspython, dnslib, dnsruby
INCLUDE with an origin: refused by ldns, validns, dnslib, dnsruby
INCLUDE with an origin: another record by zone2json
A by \#: refused by validns, dnslib
CLASS1: refused by kzonecheck, zone2json, validns, dnslib
RRSIG with seconds: refused by dnslib
RRSIG with seconds: another record by nsd' "$seen"

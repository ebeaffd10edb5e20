#!/bin/bash
# SPDX-License-Identifier: MIT
# dhcpd writes a lease to its file each time it changes; "the last one in the file is the current one", says
# dhcpd.leases(5), and a time may be "never" or, with "db-time-format local", "epoch N". dhcp-lease-list, of the same
# package, "prints active DHCP leases", but reads its own server's file otherwise. An address that was given back it
# calls active for as long as the client might have kept it, and if another client has got it since, it has two; of a
# renewed lease it says when the first would have ended; a lease without end is missing, and so are all with "epoch".
# get_current() of python3-isc-dhcp-leases has what was given back, too. dhcpd-pools counts all right, and dhcpd -T
# reads each file. It matters to who asks whose an address is.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch isc-dhcp-server=4.4.3-P1-2 dhcpd-pools=2.29-1.1 python3-isc-dhcp-leases=0.9.1-4 python3-six=1.16.0-4 \
	perl-base=5.36.0-7+deb12u4

cat >"$WORK/try.py" <<'EOF'
import datetime
import os
import re
import subprocess
import sys

from isc_dhcp_leases import IscDhcpLeases

WORK, USR = sys.argv[1], os.environ["ROOT"] + "/usr/"
NOW = datetime.datetime.utcnow().replace(microsecond=0)

def lease(number, name, start, end, state="active", local=False):
	"""as dhcpd writes it; start and end in minutes from now"""
	def when(minutes):
		moment = NOW + datetime.timedelta(minutes=minutes)
		return "epoch %d; # %s" % (moment.replace(tzinfo=datetime.timezone.utc).timestamp(),
			moment.strftime("%c")) if local else moment.strftime("%w %Y/%m/%d %H:%M:%S;")
	return "lease 10.0.0.%d {\n  %s}\n" % (number, "".join(line + "\n  " for line in (
		"starts " + when(start), "ends " + ("never;" if end is None else when(end)), "cltt " + when(start),
		"binding state %s;" % state, "hardware ethernet 00:00:5e:00:53:%02x;" % ord(name),
		'client-hostname "%s";' % name))[:-2])

# what is in the file, and what is so now: the address, its client, how many minutes are left
FILES = {
	"given": (lease(1, "a", -10, 50), ["1 a 50"]),
	"renewed": (lease(1, "a", -50, 10) + lease(1, "a", -10, 50), ["1 a 50"]),
	"given back": (lease(1, "a", -10, 50) + lease(1, "a", -10, -5, "free"), []),
	"given back, and to another": (lease(1, "a", -10, 50) + lease(1, "a", -10, -5, "free") + lease(1, "b", -4, 56),
		["1 b 56"]),
	"without end": (lease(1, "a", -10, None), ["1 a never"]),
	"local times": (lease(1, "a", -10, 50, local=True), ["1 a 50"]),
}

def run(*words):
	return subprocess.run([USR + words[0], *words[1:]], capture_output=True, text=True, check=True)

def minutes(end):
	return "never" if end is None else str(round((end - NOW).total_seconds() / 60))

def by_list(file_name):
	for number, name, end in re.findall(r"IP 10\.0\.0\.(\d+) HOSTNAME (\S+) .*END (\S+ \S+) ", run("bin/perl",
			USR + "sbin/dhcp-lease-list", "--parsable", "--lease", file_name).stdout):
		yield " ".join((number, name, minutes(datetime.datetime.fromisoformat(end))))

def by_python(file_name):
	for got in IscDhcpLeases(file_name).get_current().values():
		yield " ".join((got.ip.split(".")[3], got.hostname, minutes(got.end)))

def by_pools(file_name):
	return run("bin/dhcpd-pools", "-c", WORK + "/conf", "-l", file_name, "-f", "c", "-L", "01").stdout.split('"')[-10]

with open(WORK + "/conf", "w", encoding="ascii") as file:
	file.write("subnet 10.0.0.0 netmask 255.255.255.0 { range 10.0.0.1 10.0.0.9; }\n")
path = WORK + "/leases"
for what, (text, wanted) in FILES.items():
	with open(path, "w", encoding="ascii") as file:
		file.write("authoring-byte-order little-endian;\n\n" + text)
	tested = run("sbin/dhcpd", "-T", "-cf", WORK + "/conf", "-lf", path, "-pf", WORK + "/pid").stderr
	assert "Lease file test successful" in tested
	shown = [", ".join(leases) or "none" for leases in (wanted, sorted(by_list(path)), sorted(by_python(path)))]
	print("%s: %s; dhcp-lease-list %s, get_current() %s, dhcpd-pools %s" % (what, *shown, by_pools(path)))
EOF
export PERL5LIB=$ROOT/usr/lib/x86_64-linux-gnu/perl-base PYTHONPATH=$ROOT/usr/lib/python3/dist-packages
seen=$(inside python3 -W ignore "$WORK/try.py" "$WORK")
verdict "each of the three: what stands first, or how many" \
	"given: 1 a 50; dhcp-lease-list 1 a 50, get_current() 1 a 50, dhcpd-pools 1
renewed: 1 a 50; dhcp-lease-list 1 a 10, get_current() 1 a 50, dhcpd-pools 1
given back: none; dhcp-lease-list 1 a 50, get_current() 1 a 50, dhcpd-pools 0
given back, and to another: 1 b 56; dhcp-lease-list 1 a 50, 1 b 56, get_current() 1 a 50, 1 b 56, dhcpd-pools 1
without end: 1 a never; dhcp-lease-list none, get_current() 1 a never, dhcpd-pools 1
local times: 1 a 50; dhcp-lease-list none, get_current() 1 a 50, dhcpd-pools 1" "$seen"

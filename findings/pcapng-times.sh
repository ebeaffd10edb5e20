#!/bin/bash
# SPDX-License-Identifier: MIT
# In a pcapng trace each interface says in which unit its packets' times are (if_tsresol) and from when they count
# (if_tsoffset), and each section has interfaces and a byte order of its own (draft-ietf-opsawg-pcapng, 4.1 and 4.2).
# dpkt takes what the first interface says for all: a trace of two interfaces, one of them in nanoseconds, goes on in
# the year 52671. scapy passes over the offset, and counts sections' interfaces on from the first section's, so that
# the second section has its unit. A packet without a time (Simple Packet Block, 4.4) dpkt leaves out, and scapy says it
# is of now, of each reading. tcpdump cannot say 2040, takes 2110 for 1973, and refuses a second section of the other
# byte order, at which dpkt ends without a word.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
if [ "$(id -u)" != 0 ]; then
	echo "tcpdump has to be started as the machine's root: nothing was tried" >&2
	exit 2
fi
fetch tcpdump=4.99.3-1 libpcap0.8=1.10.3-1 python3-dpkt=1.9.8-1 python3-scapy=2.5.0+dfsg-2 libssl3=3.0.22-1~deb12u2 \
	libdbus-1-3=1.14.10-1~deb12u1 libsystemd0=252.39-1~deb12u2 libcap2=1:2.66-4+deb12u3+b1 libgcrypt20=1.10.1-3+deb12u1 \
	libgpg-error0=1.46-1 liblz4-1=1.9.4-1 liblzma5=5.4.1-1+deb12u2 libzstd1=1.5.4+dfsg2-5+deb12u1

cat >"$WORK/try.py" <<'EOF'
import logging
import os
import struct
import subprocess
import sys
import time

logging.getLogger("scapy").setLevel(logging.ERROR)
import dpkt.pcapng
from scapy.layers import l2  # it knows Ethernet
from scapy.utils import PcapReader

TRACE = sys.argv[1] + "/trace"
FRAME = bytes.fromhex("00005e00530200005e0053010800450000180000000040115110c0000201c633640203e807d000040000")
FIRST, SECOND, LATE, LATER = 1600000000, 1600000100, 2208988800, 4417977600  # the last two are of 2040 and 2110

def block(kind, body, order="="):
	body += bytes(-len(body) % 4)
	return struct.pack(order + "II", kind, len(body) + 12) + body + struct.pack(order + "I", len(body) + 12)

def section(order="="):
	return block(0x0a0d0d0a, struct.pack(order + "IHHq", 0x1a2b3c4d, 1, 0, -1), order)

def interface(*options, order="="):
	return block(1, struct.pack(order + "HHI", 1, 0, 262144) + b"".join(
		struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4) for code, value in (*options, (0, b""))),
		order)

def packet(number, moment, order="="):
	return block(6, struct.pack(order + "5I", number, moment >> 32, moment % 2**32, len(FRAME), len(FRAME)) + FRAME, order)

MICRO, NANO = 10**6, 10**9
IN_NANO, IN_POWER, AFTER_FIRST = (9, b"\x09"), (9, b"\x8a"), (14, struct.pack("=q", FIRST))
SWAPPED = ">" if sys.byteorder == "little" else "<"
# what is read, what it says of when
TRACES = {
	"microseconds": (section() + interface() + packet(0, FIRST * MICRO), [FIRST]),
	"nanoseconds": (section() + interface(IN_NANO) + packet(0, FIRST * NANO), [FIRST]),
	"1/1024 s": (section() + interface(IN_POWER) + packet(0, FIRST * 1024), [FIRST]),
	"from an offset": (section() + interface(AFTER_FIRST) + packet(0, 0), [FIRST]),
	"two units": (section() + interface() + interface(IN_NANO) + packet(0, FIRST * MICRO) + packet(1, SECOND * NANO),
		[FIRST, SECOND]),
	"the second from an offset": (section() + interface() + interface(AFTER_FIRST) + packet(0, FIRST * MICRO)
		+ packet(1, 100 * MICRO), [FIRST, SECOND]),
	"two sections": (section() + interface() + packet(0, FIRST * MICRO) + section() + interface(IN_NANO)
		+ packet(0, SECOND * NANO), [FIRST, SECOND]),
	"the second section of the other byte order": (section() + interface() + packet(0, FIRST * MICRO) + section(SWAPPED)
		+ interface(order=SWAPPED) + packet(0, SECOND * MICRO, SWAPPED), [FIRST, SECOND]),
	"no time": (section() + interface() + block(3, struct.pack("=I", len(FRAME)) + FRAME), [0]),
	"2040": (section() + interface() + packet(0, LATE * MICRO), [LATE]),
	"2110": (section() + interface() + packet(0, LATER * MICRO), [LATER]),
}

def by_tcpdump():
	ran = subprocess.run([os.environ["ROOT"] + "/usr/bin/tcpdump", "-Z", "root", "-n", "-tt", "-r", TRACE],
		env={"LD_LIBRARY_PATH": os.environ["LIBS"]}, capture_output=True, text=True, check=False)
	for line in ran.stdout.splitlines():
		yield line.partition(" IP ")[0]
	if ran.returncode:
		raise ValueError

def by_dpkt():
	with open(TRACE, "rb") as file:
		for moment, _ in dpkt.pcapng.Reader(file):
			yield moment

def by_scapy():
	with PcapReader(TRACE) as reader:
		for read in reader:
			yield read.time

def shown(reader):
	times = []
	try:
		for moment in reader():
			try:
				seconds = round(float(moment))
				times.append("now" if abs(seconds - time.time()) < 60 else seconds)
			except ValueError:
				times.append(moment)
	except (ValueError, OSError):
		times.append("refused")
	return times

for name, (trace, wanted) in TRACES.items():
	with open(TRACE, "wb") as file:
		file.write(trace)
	print(name + ":", "; ".join(reader.__name__[3:] + " " + (
		"right" if shown(reader) == wanted else " ".join(str(moment) for moment in shown(reader)) or "nothing")
		for reader in (by_tcpdump, by_dpkt, by_scapy)))
EOF
seen=$(PYTHONPATH=$ROOT/usr/lib/python3/dist-packages inside python3 -W ignore "$WORK/try.py" "$WORK")
verdict "each: tcpdump right; dpkt right; scapy right" "microseconds: tcpdump right; dpkt right; scapy right
nanoseconds: tcpdump right; dpkt right; scapy right
1/1024 s: tcpdump right; dpkt right; scapy right
from an offset: tcpdump right; dpkt right; scapy 0
two units: tcpdump right; dpkt 1600000000 1600000100000; scapy right
the second from an offset: tcpdump right; dpkt 1600000000 100; scapy 1600000000 100
two sections: tcpdump right; dpkt 1600000000 1600000100000; scapy 1600000000 1600000100000
the second section of the other byte order: tcpdump 1600000000 refused; dpkt 1600000000; scapy right
no time: tcpdump right; dpkt nothing; scapy now
2040: tcpdump [Error converting time]; dpkt right; scapy right
2110: tcpdump 123010304; dpkt right; scapy right" "$seen"

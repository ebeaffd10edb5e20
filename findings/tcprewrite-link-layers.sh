#!/bin/bash
# SPDX-License-Identifier: MIT
# tcprewrite "currently supports reading" ten link layers, says its man page. Of seven of them it changes nothing but
# Ethernet's: a trace of raw IP (a tun device's), of the loopback devices of BSD and OpenBSD, of "Linux cooked"
# (tcpdump -i any -y LINUX_SLL), of PPP or of Cisco's HDLC comes out packet by packet as it went in, with exit status
# 0 and not a word, whatever is to be changed: addresses, ports, TTL, checksums. To make Ethernet of them first, with
# --dlt=enet, does not help: what comes out is not Ethernet, or the whole is refused. And of Ethernet all unicast IPv6
# gets the addresses of multicast (RFC 2464, 7), as sender and as receiver, even if nothing is to be changed, or
# --enet-dmac says which. It matters to who changes a trace before it is shown or played to others.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch tcpreplay=4.4.3-1 libdumbnet1=1.16.3-1 libpcap0.8=1.10.3-1 libdbus-1-3=1.14.10-1~deb12u1 \
	libsystemd0=252.39-1~deb12u2 libcap2=1:2.66-4+deb12u3+b1 libgcrypt20=1.10.1-3+deb12u1 \
	libgpg-error0=1.46-1 liblz4-1=1.9.4-1 liblzma5=5.4.1-1+deb12u2 libzstd1=1.5.4+dfsg2-5+deb12u1

cat >"$WORK/try.py" <<'EOF'
import os
import struct
import subprocess
import sys

WORK, ROOT = sys.argv[1], os.environ["ROOT"]
MACS = bytes.fromhex("00005e00530200005e005301")
# the number of the link layer, what stands in front of IPv4
LAYERS = {
	"Ethernet": (1, MACS + b"\x08\x00"),
	"raw IP": (101, b""),
	"BSD loopback": (0, struct.pack("=I", 2)),
	"OpenBSD loopback": (108, struct.pack("!I", 2)),
	"Linux cooked": (113, struct.pack("!HHH8sH", 0, 1, 6, MACS[6:], 0x0800)),
	"PPP": (50, b"\xff\x03\x00\x21"),
	"Cisco HDLC": (104, b"\x0f\x00\x08\x00"),
}

def checked(header, at, before=b""):
	total = sum(struct.unpack("!%dH" % (len(before + header) // 2), before + header)) % 65535
	return header[:at] + struct.pack("!H", 65535 - total) + header[at + 2:]

def packet(source=(192, 0, 2, 1), port=80, ttl=64, wrong=False):
	"""a SYN"""
	addresses = bytes(source + (198, 51, 100, 2))
	tcp = checked(struct.pack("!HHIIBBHI", 1000, port, 1, 0, 80, 2, 60000, 0), 16, addresses + struct.pack("!HH", 6, 20))
	ip = checked(struct.pack("!BBHIBBH", 69, 0, 40, 0, ttl, 6, 0) + addresses, 10)
	return ip + (tcp[:16] + b"\x12\x34" + tcp[18:] if wrong else tcp)

def trace(layer, ip):
	number, front = LAYERS[layer]
	frame = front + ip
	head = struct.pack("=IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 262144, number)
	return head + 2 * (struct.pack("=IIII", 1600000000, 0, len(frame), len(frame)) + frame)

def rewrite(data, options):
	with open(WORK + "/in", "wb") as file:
		file.write(data)
	status = subprocess.run([ROOT + "/usr/bin/tcprewrite", "-i", WORK + "/in", "-o", WORK + "/out", *options.split()],
		env={"LD_LIBRARY_PATH": os.environ["LIBS"]}, stderr=subprocess.DEVNULL, check=False).returncode
	with open(WORK + "/out", "rb") as file:
		return status, file.read()[24:]

TO_ENET = "--dlt=enet --enet-dmac=00:00:5e:00:53:02 --enet-smac=00:00:5e:00:53:01"
for layer in LAYERS:
	results = []
	for options, before, after, new in (
			("--pnat=192.0.2.0/24:10.0.0.0/24", packet(), packet(source=(10, 0, 0, 1)), layer),
			("--portmap=80:8080", packet(), packet(port=8080), layer), ("--ttl=9", packet(), packet(ttl=9), layer),
			("--fixcsum", packet(wrong=True), packet(), layer), (TO_ENET, packet(), packet(), "Ethernet")):
		status, written = rewrite(trace(layer, before), options)
		results.append(options[2:].partition("=")[0] + " " + ("refused" if status else "done" if written == trace(new,
			after)[24:] else "not done" if written == trace(layer, before)[24:] else "wrong"))
	print(layer + ": " + ", ".join(results))
ENDS = bytes.fromhex("20010db8000000000000000000000007 20010db8000000000000000000000008")
SYN = checked(struct.pack("!HHIIBBHI", 1000, 80, 1, 0, 80, 2, 60000, 0), 16, ENDS + struct.pack("!II", 20, 6))
LAYERS["IPv6"] = (1, MACS + b"\x86\xdd")
for options in "", "--enet-dmac=00:00:5e:00:53:02 --enet-smac=00:00:5e:00:53:01":
	status, written = rewrite(trace("IPv6", struct.pack("!IHBB", 6 << 28, 20, 6, 64) + ENDS + SYN), options)
	print("Ethernet, IPv6, %s: from %s to %s" % ("with its MACs" if options else "no option", written[22:28].hex(":"),
		written[16:22].hex(":")))
EOF
seen=$(inside python3 "$WORK/try.py" "$WORK")
verdict "each: pnat done, portmap done, ttl done, fixcsum done, dlt done
IPv6: from 00:00:5e:00:53:01 to 00:00:5e:00:53:02" "Ethernet: pnat done, portmap done, ttl done, fixcsum done, dlt done
raw IP: pnat not done, portmap not done, ttl not done, fixcsum not done, dlt refused
BSD loopback: pnat not done, portmap not done, ttl not done, fixcsum not done, dlt wrong
OpenBSD loopback: pnat not done, portmap not done, ttl not done, fixcsum not done, dlt wrong
Linux cooked: pnat not done, portmap not done, ttl not done, fixcsum not done, dlt wrong
PPP: pnat not done, portmap not done, ttl not done, fixcsum not done, dlt wrong
Cisco HDLC: pnat not done, portmap not done, ttl not done, fixcsum not done, dlt wrong
Ethernet, IPv6, no option: from 33:33:00:00:00:07 to 33:33:00:00:00:08
Ethernet, IPv6, with its MACs: from 33:33:00:00:00:07 to 33:33:00:00:00:08" "$seen"

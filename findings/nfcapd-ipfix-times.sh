#!/bin/bash
# SPDX-License-Identifier: MIT
# softflowd exports the flows of a trace as NetFlow or IPFIX, nfcapd collects them, nfdump shows them. There are five
# ways in which softflowd says in IPFIX when a flow began and ended, and nfcapd is right about one, milliseconds (-A
# milli). The usual one, counted from the exporter's start, it takes the wrong way round: each flow ends before it
# begins. Seconds, microseconds and nanoseconds it passes over: the flow is of 1970. Nothing is said, and the packets
# and bytes are right, as are the times of NetFlow 5 and 9. What softflowd sends is as it should be: a record is
# looked at here. It matters to who goes from NetFlow 9 to IPFIX: all flows are there, and none at its time.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch softflowd=1.1.0-1+b1 nfdump=1.7.1-2+deb12u1 libpcap0.8=1.10.3-1 libdbus-1-3=1.14.10-1~deb12u1 \
	libsystemd0=252.39-1~deb12u2 libcap2=1:2.66-4+deb12u3+b1 libgcrypt20=1.10.1-3+deb12u1 \
	libgpg-error0=1.46-1 liblz4-1=1.9.4-1 liblzma5=5.4.1-1+deb12u2 libzstd1=1.5.4+dfsg2-5+deb12u1 libbz2-1.0=1.0.8-5+b1

cat >"$WORK/try.py" <<'EOT'
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time

WORK, USR = sys.argv[1], os.environ["ROOT"] + "/usr/"
ENV = {"LD_LIBRARY_PATH": os.environ["LIBS"], "TZ": "UTC"}
BEGIN = 1600000000

def trace(path):
	"""five datagrams within two seconds, with no link layer in front of IPv4"""
	with open(path, "wb") as file:
		file.write(struct.pack("!IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 101))
		for number in range(5):
			packet = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 32, 0, 0, 64, 17, 0, bytes((192, 0, 2, 1)),
				bytes((198, 51, 100, 2))) + struct.pack("!HHHH4x", 1000, 2000, 12, 0)
			size = len(packet)
			file.write(struct.pack("!IIII", BEGIN + number // 2, number % 2 * 500000, size, size) + packet)

def export(port, *options):
	subprocess.run([USR + "sbin/softflowd", "-d", "-a", "-n", "127.0.0.1:%d" % port, "-r", WORK + "/trace", "-p",
		WORK + "/pid", "-c", "none", *options], env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
		check=True, timeout=20)

def collected(*options):
	flows = WORK + "/flows"
	shutil.rmtree(flows, ignore_errors=True)
	os.mkdir(flows)
	collector = subprocess.Popen([USR + "bin/nfcapd", "-b", "127.0.0.1", "-p", "9995", "-w", flows], env=ENV,
		stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
	while ":270B " not in open("/proc/net/udp", encoding="ascii").read():  # port 9995
		assert collector.poll() is None
		time.sleep(0.1)
	export(9995, *options)
	time.sleep(1)
	collector.send_signal(signal.SIGTERM)
	collector.wait(20)
	return subprocess.run([USR + "bin/nfdump", "-R", flows, "-q", "-o", "fmt:%ts to %te packets %pkt bytes %byt"],
		env=ENV, stdout=subprocess.PIPE, text=True, check=True).stdout.split()

def sent():
	"""of an IPFIX record, the end less the begin in ms (fields 21 and 22)"""
	end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
	end.bind(("127.0.0.1", 0))
	end.settimeout(10)
	export(end.getsockname()[1], "-v", "10")
	message, at, templates = end.recv(65535), 16, {}
	while at < len(message):
		kind, length = struct.unpack_from("!HH", message, at)
		if kind == 2:
			here = at + 4
			while here < at + length:
				number, count = struct.unpack_from("!HH", message, here)
				templates[number] = [struct.unpack_from("!HH", message, here + 4 + 4 * i) for i in range(count)]
				here += 4 + 4 * count
		elif kind in templates:
			here, fields = at + 4, {}
			for field, size in templates[kind]:
				fields[field] = int.from_bytes(message[here:here + size], "big")
				here += size
			return fields[21] - fields[22]
		at += length
	return None

trace(WORK + "/trace")
print("sent in IPFIX: the flow ends %d ms after it begins" % sent())
for options in ("-v 5", "-v 9", "-v 10", "-v 10 -A sec", "-v 10 -A milli", "-v 10 -A micro", "-v 10 -A nano"):
	print(options + ":", *collected(*options.split()), flush=True)
EOT
seen=$(inside python3 "$WORK/try.py" "$WORK")

verdict "each: 2020-09-13 12:26:40.000 to 2020-09-13 12:26:42.000 packets 5 bytes 160" "sent in IPFIX: the flow ends 2000 ms after it begins
-v 5: 2020-09-13 12:26:40.000 to 2020-09-13 12:26:42.000 packets 5 bytes 160
-v 9: 2020-09-13 12:26:40.000 to 2020-09-13 12:26:42.000 packets 5 bytes 160
-v 10: 2020-09-13 12:26:42.000 to 2020-09-13 12:26:40.000 packets 5 bytes 160
-v 10 -A sec: 1970-01-01 00:00:00.000 to 1970-01-01 00:00:00.000 packets 5 bytes 160
-v 10 -A milli: 2020-09-13 12:26:40.000 to 2020-09-13 12:26:42.000 packets 5 bytes 160
-v 10 -A micro: 1970-01-01 00:00:00.000 to 1970-01-01 00:00:00.000 packets 5 bytes 160
-v 10 -A nano: 1970-01-01 00:00:00.000 to 1970-01-01 00:00:00.000 packets 5 bytes 160" "$seen"

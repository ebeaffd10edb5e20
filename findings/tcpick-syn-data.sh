#!/bin/bash
# SPDX-License-Identifier: MIT
# tcpick -wR writes both directions of a captured connection into files, but takes data only once it
# has seen the handshake end in an ACK without any. What the client sends by TCP Fast Open is missing
# from its file, in silence, and the connection stays SYN-RECEIVED for tcpick; and so is what it sends
# together with the third segment of the handshake, be that the SYN's data sent again because the
# server refused them, or the first ones. (tcptrace, tcpflow, ngrep and tshark count them.)
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch tcpick=0.2.1-10 libpcap0.8=1.10.3-1 libdbus-1-3=1.14.10-1~deb12u1 \
	libsystemd0=252.39-1~deb12u2 libcap2=1:2.66-4+deb12u3+b1 libgcrypt20=1.10.1-3+deb12u1 \
	libgpg-error0=1.46-1 liblz4-1=1.9.4-1 liblzma5=5.4.1-1+deb12u2 libzstd1=1.5.4+dfsg2-5

seen=$(inside python3 - "$WORK" <<'EOF'
import glob
import os
import re
import struct
import subprocess
import sys

WORK = sys.argv[1]
SYN, SYN_ACK, ACK, FIN_ACK = 0x02, 0x12, 0x10, 0x11
COOKIE = bytes([2, 4, 5, 0xb4, 34, 10]) + bytes(range(8)) + bytes([1, 1])
CLIENT, SERVER = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])

def checksum(data):
	total = sum(struct.unpack("!%dH" % ((len(data) + 1) // 2), data + bytes(len(data) % 2)))
	while total >> 16:
		total = (total & 0xffff) + (total >> 16)
	return struct.pack("!H", ~total & 0xffff)

class Side:
	def __init__(self, address, peer, ports, seq):
		self.address, self.peer, self.ports, self.seq, self.ack = address, peer, ports, seq, 0

	def segment(self, flags, data=b"", options=b""):
		tcp = struct.pack("!HHIIBBHHH", *self.ports, self.seq, self.ack, (20 + len(options)) << 2, flags,
			65000, 0, 0) + options + data
		pseudo = self.address + self.peer + struct.pack("!HH", 6, len(tcp))
		tcp = tcp[:16] + checksum(pseudo + tcp) + tcp[18:]
		ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 1, 0x4000, 64, 6, 0)
		ip += self.address + self.peer
		self.seq += len(data) + bool(flags & 3)
		return ip[:10] + checksum(ip) + ip[12:] + tcp

def connection(syn, third, later):
	"""What the client sends in its SYN (which is acknowledged), with its third segment, and later."""
	client = Side(CLIENT, SERVER, (40000, 7000), 1000)
	server = Side(SERVER, CLIENT, (7000, 40000), 5000)
	packets = [client.segment(SYN, syn, COOKIE)]
	if syn == third:
		client.seq -= len(syn)  # refused
	server.ack = client.seq
	packets.append(server.segment(SYN_ACK))
	client.ack = server.seq
	packets.append(client.segment(ACK, third))
	if later:
		packets.append(client.segment(ACK, later))
	server.ack = client.seq
	packets.append(server.segment(ACK, b"answer"))
	client.ack = server.seq
	packets.append(client.segment(FIN_ACK))
	server.ack = client.seq
	packets.append(server.segment(FIN_ACK))
	client.ack = server.seq
	packets.append(client.segment(ACK))
	return packets

def show(name, packets):
	with open(WORK + "/capture", "wb") as f:
		f.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 101))
		for i, packet in enumerate(packets):
			f.write(struct.pack("<IIII", 1700000000, i * 1000, len(packet), len(packet)) + packet)
	run = subprocess.run([os.environ["ROOT"] + "/usr/sbin/tcpick", "-r", "capture", "-wR"], cwd=WORK,
		env={"LD_LIBRARY_PATH": os.environ["LIBS"]}, capture_output=True, text=True, check=False)
	sides = []
	for side in "serv", "clnt":
		for path in glob.glob(WORK + "/tcpick_*.%s.dat" % side):
			with open(path, encoding="ascii") as f:
				sides.append(repr(f.read()))
			os.remove(path)
	states = re.findall("SYN-SENT|SYN-RECEIVED|ESTABLISHED|CLOSED", run.stdout)
	print(name + ":", *sides, "last state", states[-1])

show("after the handshake", connection(b"", b"", b"first second"))
show("with the third segment", connection(b"", b"first ", b"second"))
show("in the SYN", connection(b"first ", b"", b"second"))
show("in the SYN, refused", connection(b"first ", b"first ", b"second"))
EOF
)

verdict "each: 'first second' 'answer' last state CLOSED" \
	"after the handshake: 'first second' 'answer' last state CLOSED
with the third segment: 'second' 'answer' last state CLOSED
in the SYN: 'second' 'answer' last state SYN-RECEIVED
in the SYN, refused: 'second' 'answer' last state CLOSED" "$seen"

#!/bin/bash
# SPDX-License-Identifier: MIT
# Four programs of Debian 12 write what went through a trace's TCP connections to files, and dsniff's urlsnarf shows the
# requests in it. Each of the four is wrong of some that are quite usual, with exit status 0. tcpflow takes for data
# what fills up a short Ethernet frame. tcptrace -e and chaosreader take for data the byte of a keep-alive, which may be
# garbage (RFC 1122, 4.2.3.6), and do not go on where the sequence numbers begin anew (RFC 9293, 3.4). tcpick, by whose
# man page "the flow is rebuilded, reordered and the duplicates are dropped", leaves out what stands in a segment behind
# what is sent again, and behind the probe of a closed window a whole piece in the middle. chaosreader forgets a packet
# when another comes in the same microsecond, and makes one stream of two connections. urlsnarf is right of all.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch tcpflow=1.6.1-2+b1 tcptrace=6.6.7-6+b1 tcpick=0.2.1-10 chaosreader=0.96-12 dsniff=2.4b1+debian-31 \
	libhttp-parser2.9=2.9.4-5 libcairo2=1.16.0-7 libpcap0.8=1.10.3-1 libssl3=3.0.22-1~deb12u2 \
	libdbus-1-3=1.14.10-1~deb12u1 libsystemd0=252.39-1~deb12u2 libcap2=1:2.66-4+deb12u3+b1 \
	libgcrypt20=1.10.1-3+deb12u1 libgpg-error0=1.46-1 liblz4-1=1.9.4-1 liblzma5=5.4.1-1+deb12u2 \
	libzstd1=1.5.4+dfsg2-5+deb12u1 libpixman-1-0=0.42.2-1 libfontconfig1=2.14.1-4 libfreetype6=2.12.1+dfsg-5+deb12u4 \
	libpng16-16=1.6.39-2+deb12u6 libxcb-shm0=1.15-1 libxcb1=1.15-1 libxcb-render0=1.15-1 libxrender1=1:0.9.10-1.1 \
	libx11-6=2:1.8.4-2+deb12u2 libxext6=2:1.3.4-1+b1 libxau6=1:1.0.9-1 libxdmcp6=1:1.1.2-3 libexpat1=2.5.0-1+deb12u5 \
	libbrotli1=1.0.9-2+deb12u1 libbsd0=0.11.7-2 libmd0=1.0.4-2 libnids1.21=1.26-2 libnet1=1.1.6+dfsg-3.2 \
	libglib2.0-0=2.74.6-2+deb12u9 libpcre2-8-0=10.42-1+deb12u2 libnet-dns-perl=1.36-1+deb12u1 \
	libdigest-hmac-perl=1.04+dfsg-2 perl-base=5.36.0-7+deb12u4 perl-modules-5.36=5.36.0-7+deb12u4 \
	libperl5.36=5.36.0-7+deb12u4

export PERL5LIB=$ROOT/usr/share/perl5:$ROOT/usr/share/perl/5.36.0:$ROOT/usr/lib/x86_64-linux-gnu/perl/5.36
cat >"$WORK/try.py" <<'EOF'
import glob
import os
import re
import shutil
import struct
import subprocess
import sys

WORK, USR = sys.argv[1], os.environ["ROOT"] + "/usr/"
SAID = b"GET /abcdefghijklmnopqrst HTTP/1.0\r\n\r\n"
ENV = os.environ | {"LD_LIBRARY_PATH": os.environ["LIBS"]}
ALL = len(SAID)
# how a program is started, and where it writes what the client has said
PROGRAMS = {
	"tcpflow": ("bin/tcpflow -r TRACE", "192*"),
	"tcptrace": ("bin/tcptrace -n -e TRACE", "[ac]2*"),
	"tcpick": ("sbin/tcpick -r TRACE -wR", "*serv*"),
	"chaosreader": ("bin/perl USR/bin/chaosreader -q -r TRACE", "*.raw2"),
	"urlsnarf": ("sbin/urlsnarf -n -p TRACE", ""),
}

def checked(header, at, before=b""):
	words = before + header + bytes(len(header) % 2)
	total = sum(struct.unpack("!%dH" % (len(words) // 2), words)) % 65535
	return header[:at] + struct.pack("!H", 65535 - total) + header[at + 2:]

def frame(answer, seq, ack, flags, data=b"", window=60000):
	addresses = bytes((198, 51, 100, 2, 192, 0, 2, 1) if answer else (192, 0, 2, 1, 198, 51, 100, 2))
	tcp = struct.pack("!HHIIBBHI", *((80, 1000) if answer else (1000, 80)), seq % 2**32, ack % 2**32, 80, flags, window,
		0) + data
	ip = struct.pack("!BBHIBBH", 69, 0, 20 + len(tcp), 0, 64, 6, 0) + addresses
	return bytes.fromhex("00005e00530100005e0053020800") + checked(ip, 10) + checked(tcp, 16, addresses
		+ struct.pack("!HH", 6, len(tcp)))

def part(start, end, acknowledged=None, window=60000):
	return start, SAID[start:end], end if acknowledged is None else acknowledged, window

def connection(*segments, isn=1000):
	begin, end = isn + 1, isn + 1 + ALL
	frames = [frame(False, isn, 0, 2), frame(True, 5000, begin, 18), frame(False, begin, 5001, 16)]
	for start, data, acknowledged, window in segments or (part(0, 15), part(15, 30), part(30, ALL)):
		frames.append(frame(False, begin + start, 5001, 24, data))
		frames.append(frame(True, 5001, begin + acknowledged, 16, window=window))
	return frames + [frame(False, end, 5001, 17), frame(True, 5001, end + 1, 17), frame(False, end + 1, 5002, 16)]

def read(command, written):
	here = WORK + "/here"
	shutil.rmtree(here, ignore_errors=True)
	os.mkdir(here)
	words = [word.replace("USR/", USR).replace("TRACE", WORK + "/trace") for word in command.split()]
	shown = subprocess.run([USR + words[0], *words[1:]], cwd=here, env=ENV, stdin=subprocess.DEVNULL,
		stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, timeout=20).stdout
	if not written:
		return [b"GET " + path + b" HTTP/1.0\r\n\r\n" for path in re.findall(rb"GET http://[^/]*(/\S*)", shown)]
	streams = [open(name, "rb").read() for name in sorted(glob.glob(here + "/" + written))]
	return [stream for stream in streams if stream]

TRACES = {
	"in order": connection(),
	"frames filled up": [short.ljust(60, b"\0") for short in connection()],
	"numbers begin anew": connection(isn=2**32 - 20),
	"keep-alive of a byte": connection(part(0, 15), (14, b"\0", 15, 60000), part(15, 30), part(30, ALL)),
	"the first is late": connection(part(15, 30, 0), part(30, ALL, 0), part(0, 15, ALL)),
	"again with more": connection(part(0, 15), part(15, 30, 15), part(15, ALL)),
	"window probed": connection(part(0, 15, window=0), part(15, 16, 15), part(15, 30), part(30, ALL)),
	"two of a microsecond": connection(),
	"the ports again": connection() + connection(isn=70000),
}
for what, frames in TRACES.items():
	with open(WORK + "/trace", "wb") as file:
		file.write(struct.pack("=IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
		for number, sent in enumerate(frames):
			moment = (number + 1) // 2 if what.startswith("two") else number
			file.write(struct.pack("=IIII", 1600000000, moment * 10000, len(sent), len(sent)) + sent)
	wanted = [SAID] * (2 if what.endswith("again") else 1)
	results = {name: read(*program) for name, program in PROGRAMS.items()}
	print(what + ": " + ", ".join(name for name in results if results[name] == wanted))
	for name, streams in results.items():
		if streams != wanted:
			print("  %s: %s" % (name, " and ".join('"%s"' % str(stream)[2:-1] for stream in streams) or "nothing"))
EOF
seen=$(inside python3 "$WORK/try.py" "$WORK")
verdict "each: all five" 'in order: tcpflow, tcptrace, tcpick, chaosreader, urlsnarf
frames filled up: tcptrace, tcpick, chaosreader, urlsnarf
  tcpflow: "GET /abcdefghijklmnopqrst HTTP/1.0\r\n\r\n\x00\x00\x00\x00\x00\x00" and "\x00\x00\x00\x00\x00\x00"
numbers begin anew: tcpflow, tcpick, urlsnarf
  tcptrace: "GET /abcdefghijklmnopqrst HTTP"
  chaosreader: "/1.0\r\n\r\nGET /abcdefghijklmnopqrst HTTP"
keep-alive of a byte: tcpflow, tcpick, urlsnarf
  tcptrace: "GET /abcdefghi\x00klmnopqrst HTTP/1.0\r\n\r\n"
  chaosreader: "GET /abcdefghij\x00klmnopqrst HTTP/1.0\r\n\r\n"
the first is late: tcpflow, tcptrace, tcpick, chaosreader, urlsnarf
again with more: tcpflow, tcptrace, chaosreader, urlsnarf
  tcpick: "GET /abcdefghijklmnopqrst HTTP"
window probed: tcpflow, tcptrace, chaosreader, urlsnarf
  tcpick: "GET /abcdefghijk/1.0\r\n\r\n"
two of a microsecond: tcpflow, tcptrace, tcpick, urlsnarf
  chaosreader: nothing
the ports again: tcpflow, tcptrace, tcpick, urlsnarf
  chaosreader: "GET /abcdefghijklmnopqrst HTTP/1.0\r\n\r\nGET /abcdefghijklmnopqrst HTTP/1.0\r\n\r\n"' "$seen"

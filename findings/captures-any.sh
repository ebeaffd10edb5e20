#!/bin/bash
# SPDX-License-Identifier: MIT
# `tcpdump -i any -w` of Debian 12 writes a trace whose packets have the link layer LINUX_SLL2 in front, as libpcap
# 1.10 has it. Of ten programs of the same Debian that read traces none reads it. Most say so; tcpstat finds no TCP in
# it, ssldump says nothing at all, as of a trace in which nobody connects, and the exit status of these two and of
# ipgrab is 0. With "-y LINUX_SLL" tcpdump writes the older link layer, which all but tcpstat and ipgrab read. It
# matters to who records on all interfaces because it is not known which way something goes, and looks at it
# later: by then it is too late for -y.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch tcpdump=4.99.3-1 libpcap0.8=1.10.3-1 libssl3=3.0.20-1~deb12u2 libdbus-1-3=1.14.10-1~deb12u1 \
	libsystemd0=252.39-1~deb12u2 libcap2=1:2.66-4+deb12u3+b1 libgcrypt20=1.10.1-3+deb12u1 \
	libgpg-error0=1.46-1 liblz4-1=1.9.4-1 liblzma5=5.4.1-1+deb12u2 libzstd1=1.5.4+dfsg2-5 \
	ngrep=1.47+ds1-5+b1 libnet1=1.1.6+dfsg-3.2 libpcre2-8-0=10.42-1+deb12u2 tcptrace=6.6.7-6+b1 \
	tcpick=0.2.1-10 tcpstat=1.5-8+b1 tcpreplay=4.4.3-1 libdumbnet1=1.16.3-1 softflowd=1.1.0-1+b1 \
	httpry=0.1.8-3 ssldump=1.5-1 libjson-c5=0.16-2 nfdump=1.7.1-2+deb12u1 libbz2-1.0=1.0.8-5+b1 ipgrab=0.9.10-4

seen=$(inside python3 - "$WORK" <<'EOF'
import os
import re
import signal
import socket
import subprocess
import sys
import time

WORK, USR = sys.argv[1], os.environ["ROOT"] + "/usr/"
# what a program shows of the packets, on its standard output or in the files that it writes
PROGRAMS = (
	("bin/ngrep -q -I TRACE where", "GET /where"),
	("bin/tcptrace -n TRACE", r"\n[1-9]\d* packets seen"),
	("sbin/tcpick -r TRACE -bR", "GET /where"),
	("bin/tcpstat -r TRACE -o %T -1", "[1-9]"),
	("bin/tcprewrite -i TRACE -o out --fixcsum", "GET /where"),
	("sbin/softflowd -d -r TRACE", r"Packets processed: [1-9]"),
	("sbin/httpry -r TRACE", "/where"),
	("sbin/ssldump -n -r TRACE", "New TCP connection"),
	("bin/nfpcapd -r TRACE -w .", r"Processed: [1-9]"),
	("sbin/ipgrab -r TRACE", "TCP Header"))

def start(command, **more):
	return subprocess.Popen(command, env={"LD_LIBRARY_PATH": os.environ["LIBS"]}, encoding="latin-1",
		stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)

def connection():
	listener = socket.create_server(("127.0.0.1", 8080))
	client = socket.create_connection(("127.0.0.1", 8080))
	server = listener.accept()[0]
	client.sendall(b"GET /where HTTP/1.0\r\n\r\n")
	server.recv(100)
	server.sendall(b"HTTP/1.0 204 No Content\r\n\r\n")
	server.close()
	while client.recv(100):
		pass
	client.close()

def read(command, shown):
	here = WORK + "/here"
	subprocess.run(["rm", "-rf", here], check=True)
	os.mkdir(here)
	program = start(command, cwd=here)
	output = "".join(program.communicate())
	for name in os.listdir(here):
		with open(here + "/" + name, encoding="latin-1") as file:
			output += file.read()
	how = "read" if re.search(shown, output) else "not read" if output.strip() else "no word"
	return how if how == "read" else "%s, status %d" % (how, program.returncode)

traces = {}
for options in "-i lo", "-i any -y LINUX_SLL", "-i any":
	trace = WORK + "/" + options.replace(" ", "")
	tcpdump = start([USR + "bin/tcpdump", "-Z", "root", "--immediate-mode", "-U", "-w", trace, *options.split(),
		"tcp port 8080"])
	while not (line := tcpdump.stderr.readline()).startswith("tcpdump: listening on"):
		if not line:
			print("tcpdump has to be started as the machine's root: nothing was tried", file=sys.stderr)
			sys.exit(2)
	connection()
	time.sleep(1)
	tcpdump.send_signal(signal.SIGINT)
	tcpdump.communicate()
	traces[options] = trace
for words, shown in PROGRAMS:
	program, *arguments = words.split()
	print(program.partition("/")[2] + ":", "; ".join(
		"%s: %s" % (options, read([USR + program, *(trace if a == "TRACE" else a for a in arguments)], shown))
		for options, trace in traces.items()))
EOF
)
verdict "each: read; read; read" "ngrep: -i lo: read; -i any -y LINUX_SLL: read; -i any: not read, status 1
tcptrace: -i lo: read; -i any -y LINUX_SLL: read; -i any: not read, status 1
tcpick: -i lo: read; -i any -y LINUX_SLL: read; -i any: not read, status 1
tcpstat: -i lo: read; -i any -y LINUX_SLL: not read, status 0; -i any: not read, status 0
tcprewrite: -i lo: read; -i any -y LINUX_SLL: read; -i any: not read, status 255
softflowd: -i lo: read; -i any -y LINUX_SLL: read; -i any: not read, status 1
httpry: -i lo: read; -i any -y LINUX_SLL: read; -i any: not read, status 2
ssldump: -i lo: read; -i any -y LINUX_SLL: read; -i any: no word, status 0
nfpcapd: -i lo: read; -i any -y LINUX_SLL: read; -i any: not read, status 1
ipgrab: -i lo: read; -i any -y LINUX_SLL: not read, status 0; -i any: not read, status 0" "$seen"

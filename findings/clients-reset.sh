#!/bin/bash
# SPDX-License-Identifier: MIT
# A connection that is reset in the middle of an answer is none that has ended: read() says ECONNRESET. Of small
# programs that read one to its end, eight make no difference. Three kinds of nc and socat exit with status 0 and
# print nothing (socat has a warning for who asks with -d), to Tcl's read and eof it is the end and "fconfigure
# -error" is empty, and what fetches a page by HTTP/1.0 with LuaSocket, newLISP or w3m gets half of it as a good
# answer. ncat, gawk, tnftp, and the wget of the same busybox fail as one would think. It matters to who takes a
# backup or a page by these: a server that was killed, or a box between that has lost the connection, leaves half a
# file and the word that all is well.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch netcat-openbsd=1.219-1 netcat-traditional=1.10-47 busybox=1:1.35.0-4+deb12u1+b1 socat=1.7.4.4-2 \
	tcl8.6=8.6.13+dfsg-2 libtcl8.6=8.6.13+dfsg-2 lua5.1=5.1.5-9 lua-socket=3.1.0-1+b1 newlisp=10.7.5-2+b2 \
	w3m=0.5.3+git20230121-2 ncat=7.93+dfsg1-1 gawk=1:5.2.1-2 tnftp=20210827-4+b1 libgc1=1:8.2.2-3 \
	libgpm2=1.20.7-10+b1 libwrap0=7.6.q-32 libreadline8=8.2-1.3 libssl3=3.0.22-1~deb12u2 libbsd0=0.11.7-2 \
	libmd0=1.0.4-2 libffi8=3.4.4-1 libsigsegv2=2.14-1 libmpfr6=4.2.0-1 libgmp10=2:6.2.1+dfsg1-1.1 \
	libedit2=3.1-20221030-2 liblua5.3-0=5.3.6-2 libpcap0.8=1.10.3-1

export TCL_LIBRARY=$ROOT/usr/share/tcltk/tcl8.6 HOME=$WORK
export "LUA_PATH=$ROOT/usr/share/lua/5.1/?.lua" "LUA_CPATH=$ROOT/usr/lib/x86_64-linux-gnu/lua/5.1/?.so"
cat >"$WORK/read.tcl" <<'EOT'
set s [socket 127.0.0.1 [lindex $argv 0]]
puts $s "GET / HTTP/1.0\n"
flush $s
puts "[read $s] [eof $s] [fconfigure $s -error]"
EOT
cat >"$WORK/get.lua" <<'EOT'
print((require("socket.http").request("http://127.0.0.1:" .. arg[1] .. "/")))
EOT
cat >"$WORK/read.awk" <<'EOT'
BEGIN {
	server = "/inet/tcp/0/127.0.0.1/" port
	printf "GET / HTTP/1.0\r\n\r\n" |& server
	while ((more = (server |& getline)) > 0)
		print
	exit more < 0
}
EOT
cat >"$WORK/try.py" <<'EOT'
import os
import socket
import struct
import subprocess
import sys
import threading
import time

WORK, ROOT = sys.argv[1], os.environ["ROOT"]
CLIENTS = (
	("OpenBSD's nc", "bin/nc.openbsd 127.0.0.1 PORT"),
	("nc.traditional", "bin/nc.traditional 127.0.0.1 PORT"),
	("busybox nc", "bin/busybox nc 127.0.0.1 PORT"),
	("socat", "usr/bin/socat -t 20 - TCP:127.0.0.1:PORT"),
	("Tcl", f"usr/bin/tclsh8.6 {WORK}/read.tcl PORT"),
	("LuaSocket", f"usr/bin/lua5.1 {WORK}/get.lua PORT"),
	("newLISP", 'usr/bin/newlisp -n -e (get-url"http://127.0.0.1:PORT/")'),
	("w3m", "usr/bin/w3m -no-cookie -dump_source http://127.0.0.1:PORT/"),
	("ncat", "usr/bin/ncat 127.0.0.1 PORT"),
	("gawk", f"usr/bin/gawk -v port=PORT -f {WORK}/read.awk"),
	("tnftp", "usr/bin/tnftp -o - http://127.0.0.1:PORT/"),
	("busybox wget", "bin/busybox wget -q -O - http://127.0.0.1:PORT/"),
)

def answer(s, reset):
	request = b""
	while b"\r\n\r\n" not in request.replace(b"\n\n", b"\r\n\r\n"):
		request += s.recv(1000)
	s.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nhalf of it\n")
	time.sleep(0.7)  # it is read before the end comes
	if reset:
		s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
	s.close()

def serve(listener, reset):
	while True:
		threading.Thread(target=answer, args=(listener.accept()[0], reset), daemon=True).start()

def run(command, port):
	words = [word.replace("PORT", str(port)) for word in command.split()]
	done = subprocess.run([ROOT + "/" + words[0], *words[1:]], input=b"GET / HTTP/1.0\r\n\r\n", timeout=15,
		stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"LD_LIBRARY_PATH": os.environ["LIBS"]},
		check=False)
	assert done.returncode or b"half of it" in done.stdout, (command, done)
	return done.returncode, done.stdout, done.stderr

ports = []
for reset in False, True:
	listener = socket.create_server(("127.0.0.1", 0))
	ports.append(listener.getsockname()[1])
	threading.Thread(target=serve, args=(listener, reset), daemon=True).start()
for name, command in CLIENTS:
	end, reset = (run(command, port) for port in ports)
	print("%s: status %d after an end, %s after a reset" % (name, end[0], "just so" if end == reset else reset[0]),
		flush=True)
EOT
seen=$(inside python3 "$WORK/try.py" "$WORK")

verdict "each: status 0 after an end, 1 after a reset" "OpenBSD's nc: status 0 after an end, just so after a reset
nc.traditional: status 0 after an end, just so after a reset
busybox nc: status 0 after an end, just so after a reset
socat: status 0 after an end, just so after a reset
Tcl: status 0 after an end, just so after a reset
LuaSocket: status 0 after an end, just so after a reset
newLISP: status 0 after an end, just so after a reset
w3m: status 0 after an end, just so after a reset
ncat: status 0 after an end, 1 after a reset
gawk: status 0 after an end, 1 after a reset
tnftp: status 0 after an end, 1 after a reset
busybox wget: status 0 after an end, 1 after a reset" "$seen"

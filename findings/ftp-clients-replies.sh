#!/bin/bash
# SPDX-License-Identifier: MIT
# What an FTP server says by right, and clients do not read. Its reply to PASV need not have parentheses: a client has
# to look for the digits (RFC 1123, 4.1.2.6). Any reply may have several lines (RFC 959, 4.2). In the reply to EPSV "|"
# is recommended, and another character may stand for it; and who knows EPSV falls back to PASV where a server does not
# (RFC 2428). The last reply, that the file has been sent, may come with the one before it in one segment, as it does
# where the file is short, or a segment was lost. Of fifteen clients nine get no file from one of these servers
# (LuaSocket knows EPSV alone), and aria2 has the file and waits for the reply that it has read already.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch busybox=1:1.35.0-4+deb12u1+b1 links=2.28-1+b2 lua5.1=5.1.5-9 lua-socket=3.1.0-1+b1 tcl8.6=8.6.13+dfsg-2 \
	libtcl8.6=8.6.13+dfsg-2 tcllib=1.21+dfsg-1 tnftp=20210827-4+b1 lftp=4.9.2-2+b1 aria2=1.36.0-1 \
	libaria2-0=1.36.0-1 axel=2.17.11-3 ncftp=2:3.2.6-1+b1 wget=1.21.3-1+deb12u1 \
	php8.2-cli=8.2.36-1~deb12u1 ruby3.1=3.1.7+really3.1.2-0+deb12u1 libruby3.1=3.1.7+really3.1.2-0+deb12u1 \
	python3.11-minimal=3.11.2-6+deb12u9 libpython3.11-minimal=3.11.2-6+deb12u9 \
	libpython3.11-stdlib=3.11.2-6+deb12u9 perl-base=5.36.0-7+deb12u4 perl-modules-5.36=5.36.0-7+deb12u4 \
	libperl5.36=5.36.0-7+deb12u4 libbrotli1=1.0.9-2+deb12u1 libgpm2=1.20.7-10+b1 liblz1=1.13-5 \
	libssl3=3.0.22-1~deb12u2 libreadline8=8.2-1.3 libffi8=3.4.4-1 libbsd0=0.11.7-2 libmd0=1.0.4-2 \
	libedit2=3.1-20221030-2 libpsl5=0.21.2-1 libuuid1=2.38.1-5+deb12u3 libpcre2-8-0=10.42-1+deb12u2 \
	libargon2-1=0~20171227-0.3+deb12u1 libsodium23=1.0.18-1+deb12u1 libxml2=2.9.14+dfsg-1.3~deb12u6 \
	libicu72=72.1-3+deb12u1 libexpat1=2.5.0-1+deb12u5 libc-ares2=1.18.1-3 \
	libssh2-1=1.10.0-3+deb12u1 libsqlite3-0=3.40.1-2+deb12u2

export TCL_LIBRARY=$ROOT/usr/share/tcltk/tcl8.6 TCLLIBPATH=$ROOT/usr/share/tcltk/tcllib1.21 HOME=$WORK
export "LUA_PATH=$ROOT/usr/share/lua/5.1/?.lua" "LUA_CPATH=$ROOT/usr/lib/x86_64-linux-gnu/lua/5.1/?.so"
perl=$ROOT/usr/share/perl/5.36.0:$ROOT/usr/lib/x86_64-linux-gnu/perl/5.36
export PERL5LIB=$perl:$ROOT/usr/lib/x86_64-linux-gnu/perl-base
export RUBYLIB=$ROOT/usr/lib/ruby/3.1.0:$ROOT/usr/lib/x86_64-linux-gnu/ruby/3.1.0
cat >"$WORK/get.lua" <<'EOT'
io.write(require("socket.ftp").get(arg[1] .. ";type=i") or "")
EOT
cat >"$WORK/get.tcl" <<'EOT'
package require ftp
set server [ftp::Open 127.0.0.1 ftp me -port [lindex $argv 0] -mode passive]
ftp::Type $server binary
ftp::Get $server file -variable file
puts -nonewline $file
EOT
cat >"$WORK/get.pl" <<'EOT'
use Net::FTP;
my $server = Net::FTP->new("127.0.0.1", Port => $ARGV[0], Passive => 1, Timeout => 8) or die;
$server->login("ftp", "me");
$server->binary;
$server->get("file", \*STDOUT) or die;
EOT
cat >"$WORK/get.py" <<'EOT'
import ftplib
import sys
server = ftplib.FTP()
server.connect("127.0.0.1", int(sys.argv[1]))
server.login()
server.retrbinary("RETR file", sys.stdout.buffer.write)
EOT
cat >"$WORK/get.rb" <<'EOT'
require "open-uri"
print URI.open(ARGV[0]).read
EOT
cat >"$WORK/get.php" <<'EOT'
<?php echo @file_get_contents($argv[1]);
EOT
cat >"$WORK/try.py" <<'EOT'
import concurrent.futures
import os
import socket
import subprocess
import sys
import threading
import time

WORK, ROOT = sys.argv[1], os.environ["ROOT"]
FILE = b"a line of the file\n" * 100
SERVERS = ("as most do", "PASV without parentheses", "PASV in two lines", "EPSV with !", "no EPSV",
	"the last two replies together")
NO_EPSV = SERVERS[1:3] + SERVERS[4:5]
URL = "ftp://127.0.0.1:PORT/file"
TO_FILE = WORK + "/got.PORT."
CLIENTS = {
	"busybox wget": ["bin/busybox", "wget", "-q", "-O", "-", URL],
	"busybox ftpget": ["bin/busybox", "ftpget", "-P", "PORT", "127.0.0.1", TO_FILE + "ftpget", "file"],
	"links": ["usr/bin/links", "-source", URL],
	"LuaSocket": ["usr/bin/lua5.1", WORK + "/get.lua", URL],
	"tcllib": ["usr/bin/tclsh8.6", WORK + "/get.tcl", "PORT"],
	"tnftp": ["usr/bin/tnftp", "-o", "-", URL],
	"lftp": ["usr/bin/lftp", "-c", f"set net:max-retries 1; cat {URL}"],
	"aria2": ["usr/bin/aria2c", "-q", "-d", "/", "-o", TO_FILE[1:] + "aria2", "--file-allocation=none", URL],
	"axel": ["usr/bin/axel", "-q", "-o", TO_FILE + "axel", URL],
	"ncftpget": ["usr/bin/ncftpget", "-t", "5", "-V", "-c", URL],
	"wget": ["usr/bin/wget", "-q", "-t", "1", "-O", "-", URL],
	"PHP": ["usr/bin/php8.2", WORK + "/get.php", URL],
	"Ruby": ["usr/bin/ruby3.1", WORK + "/get.rb", URL],
	"ftplib": ["usr/bin/python3.11", WORK + "/get.py", "PORT"],
	"Net::FTP": ["usr/bin/perl", WORK + "/get.pl", "PORT"],
}

def passive(what, command, data):
	port = data.getsockname()[1]
	if command == "EPSV":
		return "229 Extended passive ({0}{0}{0}{1}{0})".format("!" if what == "EPSV with !" else "|", port)
	address = "127,0,0,1,%d,%d" % divmod(port, 256)
	if what == "PASV without parentheses":
		return "227 Passive " + address
	return ("227-Passive:\r\n" if what == "PASV in two lines" else "") + f"227 Passive ({address})"

def send(data):
	with data, data.accept()[0] as s:
		s.sendall(FILE)

def converse(s, what):
	data = None
	with s, s.makefile("rb") as lines:
		def say(text):
			s.sendall(text.encode() + b"\r\n")
		say("220 ready")
		for line in lines:
			command = line.split()[0].decode().upper()
			if command == "PASV" or command == "EPSV" and what not in NO_EPSV:
				data = socket.create_server(("127.0.0.1", 0))
				say(passive(what, command, data))
			elif command == "RETR" and data:
				if what == "the last two replies together":
					send(data)
					say("150 it comes\r\n226 that was it")
				else:
					say("150 it comes")
					send(data)
					say("226 that was it")
			else:
				say({"USER": "331 password?", "PASS": "230 welcome", "TYPE": "200 so be it", "PWD": '257 "/"',
					"CWD": "250 there", "SIZE": "213 %d" % len(FILE), "QUIT": "221 bye"}.get(command, "500 unknown"))

def converse_on(s, what):
	try:
		converse(s, what)
	except OSError:
		pass  # it has gone

def serve(listener, what):
	while True:
		threading.Thread(target=converse_on, args=(listener.accept()[0], what), daemon=True).start()

def run(name, port):
	words = [word.replace("PORT", str(port)) for word in CLIENTS[name]]
	env = os.environ | {"LD_LIBRARY_PATH": os.environ["LIBS"]}
	if name == "ftplib":
		env["PYTHONHOME"] = ROOT + "/usr"
	try:
		out = subprocess.run([ROOT + "/" + words[0], *words[1:]], env=env, stdin=subprocess.DEVNULL, timeout=10,
			stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout
		waits = ""
	except subprocess.TimeoutExpired as e:
		out, waits = e.stdout, " (waits)"
	path = f"{TO_FILE}{name.split()[-1]}".replace("PORT", str(port))
	if os.path.exists(path):
		with open(path, "rb") as f:
			out = f.read()
	return ("" if out == FILE else " without it") + waits

with concurrent.futures.ThreadPoolExecutor(5) as pool:
	for what in SERVERS:
		listener = socket.create_server(("127.0.0.1", 0))
		threading.Thread(target=serve, args=(listener, what), daemon=True).start()
		port = listener.getsockname()[1]
		said = pool.map(lambda name, port=port: run(name, port), CLIENTS)
		wrong = [name + how for name, how in zip(CLIENTS, said) if how]
		print(what + ": " + (", ".join(wrong) or "each the file"), flush=True)
os._exit(0)
EOT
seen=$(inside /usr/bin/python3 "$WORK/try.py" "$WORK")

verdict "each server: each the file" "as most do: each the file
PASV without parentheses: LuaSocket without it, aria2 without it, Ruby without it
PASV in two lines: links without it, LuaSocket without it, axel without it (waits), ncftpget without it
EPSV with !: busybox wget without it, busybox ftpget without it, PHP without it
no EPSV: LuaSocket without it
the last two replies together: aria2 (waits)" "$seen"

#!/bin/bash
# SPDX-License-Identifier: MIT
# Before its answer an HTTP/1.1 server may send others with a number of 1xx, such as 103 ("early hints": what the
# page will need). A client has to read on for the answer, whether it knows the number or not (RFC 9110, 15.2). Of
# fourteen that ask by HTTP/1.1, twelve do not: some say that the page could not be had, to some it is an empty one,
# or all that follows is part of it, and PHP reads over one and not over two. "100 Continue" most of them know. It
# matters to who switches early hints on for browsers: scripts and health checks lose the page.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch busybox=1:1.35.0-4+deb12u1+b1 links=2.28-1+b2 newlisp=10.7.5-2+b2 lua5.1=5.1.5-9 lua-socket=3.1.0-1+b1 \
	tcl8.6=8.6.13+dfsg-2 libtcl8.6=8.6.13+dfsg-2 tnftp=20210827-4+b1 lftp=4.9.2-2+b1 guile-3.0=3.0.8-2 \
	guile-3.0-libs=3.0.8-2 wget2=1.99.1-2.2 libwget0=1.99.1-2.2 libgpgme11=1.18.0-3+deb12u1 \
	wget=1.21.3-1+deb12u1 php8.2-cli=8.2.36-1~deb12u1 \
	ruby3.1=3.1.7+really3.1.2-0+deb12u1 libruby3.1=3.1.7+really3.1.2-0+deb12u1 \
	python3.11-minimal=3.11.2-6+deb12u9 libpython3.11-minimal=3.11.2-6+deb12u9 \
	libpython3.11-stdlib=3.11.2-6+deb12u9 perl-base=5.36.0-7+deb12u4 perl-modules-5.36=5.36.0-7+deb12u4 \
	libperl5.36=5.36.0-7+deb12u4 libwww-perl=6.68-1 liburi-perl=5.17-1 libhttp-message-perl=6.44-1 \
	libhttp-date-perl=6.05-2 libnet-http-perl=6.22-1 libtry-tiny-perl=0.31-2 libencode-locale-perl=1.05-3 \
	libio-html-perl=1.004-3 liblwp-mediatypes-perl=6.04-2 libtimedate-perl=2.3300-2 \
	libbrotli1=1.0.9-2+deb12u1 libgpm2=1.20.7-10+b1 liblz1=1.13-5 libssl3=3.0.22-1~deb12u2 \
	libreadline8=8.2-1.3 libffi8=3.4.4-1 libgc1=1:8.2.2-3 libbsd0=0.11.7-2 libmd0=1.0.4-2 \
	libedit2=3.1-20221030-2 libassuan0=2.5.5-5 libpsl5=0.21.2-1 libuuid1=2.38.1-5+deb12u3 \
	libpcre2-8-0=10.42-1+deb12u2 libargon2-1=0~20171227-0.3+deb12u1 libsodium23=1.0.18-1+deb12u1 \
	libxml2=2.9.14+dfsg-1.3~deb12u6 libicu72=72.1-3+deb12u1 libexpat1=2.5.0-1+deb12u5

export TCL_LIBRARY=$ROOT/usr/share/tcltk/tcl8.6 HOME=$WORK
export "LUA_PATH=$ROOT/usr/share/lua/5.1/?.lua" "LUA_CPATH=$ROOT/usr/lib/x86_64-linux-gnu/lua/5.1/?.so"
export GUILE_LOAD_PATH=$ROOT/usr/share/guile/3.0
export GUILE_LOAD_COMPILED_PATH=$ROOT/usr/lib/x86_64-linux-gnu/guile/3.0/ccache
perl=$ROOT/usr/share/perl5:$ROOT/usr/share/perl/5.36.0:$ROOT/usr/lib/x86_64-linux-gnu/perl/5.36
export PERL5LIB=$perl:$ROOT/usr/lib/x86_64-linux-gnu/perl-base
export RUBYLIB=$ROOT/usr/lib/ruby/3.1.0:$ROOT/usr/lib/x86_64-linux-gnu/ruby/3.1.0
cat >"$WORK/get.lua" <<'EOT'
print((require("socket.http").request(arg[1])))
EOT
cat >"$WORK/get.tcl" <<'EOT'
package require http
set page [http::geturl [lindex $argv 0]]
puts "[http::status $page]: [http::data $page]"
EOT
cat >"$WORK/get.scm" <<'EOT'
(use-modules (web client) (ice-9 receive))
(receive (response body) (http-get (cadr (command-line))) (display body))
EOT
cat >"$WORK/get.pl" <<'EOT'
use LWP::UserAgent;
my $answer = LWP::UserAgent->new->get($ARGV[0]);
print $answer->content;
EOT
cat >"$WORK/get.py" <<'EOT'
import sys
import urllib.request
print(urllib.request.urlopen(sys.argv[1]).read().decode())
EOT
cat >"$WORK/get.rb" <<'EOT'
require "net/http"
print Net::HTTP.get(URI(ARGV[0]))
EOT
cat >"$WORK/get.php" <<'EOT'
<?php echo file_get_contents($argv[1]);
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
PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 9\r\nConnection: close\r\n\r\nthe page\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload; as=style\r\n\r\n"
ANSWERS = {
	"none": [PAGE],
	"100": [b"HTTP/1.1 100 Continue\r\n\r\n", PAGE],
	"103": [HINTS, PAGE],
	"103 twice": [HINTS, HINTS, PAGE],
}
URL = "http://127.0.0.1:PORT/"
CLIENTS = {
	"busybox wget": ["bin/busybox", "wget", "-q", "-O", "-", URL],
	"links": ["usr/bin/links", "-source", URL],
	"newLISP": ["usr/bin/newlisp", "-n", "-e", f'(get-url "{URL}")'],
	"LuaSocket": ["usr/bin/lua5.1", WORK + "/get.lua", URL],
	"Tcl": ["usr/bin/tclsh8.6", WORK + "/get.tcl", URL],
	"tnftp": ["usr/bin/tnftp", "-o", "-", URL],
	"lftp": ["usr/bin/lftp", "-c", f"set net:max-retries 1; cat {URL}"],
	"LWP": ["usr/bin/perl", WORK + "/get.pl", URL],
	"urllib": ["usr/bin/python3.11", WORK + "/get.py", URL],
	"Guile": ["usr/bin/guile-3.0", "--no-auto-compile", WORK + "/get.scm", URL],
	"wget2": ["usr/bin/wget2", "-q", "-O", "-", URL],
	"PHP": ["usr/bin/php8.2", WORK + "/get.php", URL],
	"Ruby": ["usr/bin/ruby3.1", WORK + "/get.rb", URL],
	"wget": ["usr/bin/wget", "-q", "-O", "-", URL],
}

def answer(s, pieces):
	request = b""
	with s:
		while b"\r\n\r\n" not in request:
			request += s.recv(4000)
		assert b" HTTP/1.1\r\n" in request, request
		try:
			for piece in pieces:
				s.sendall(piece)
				time.sleep(0.3)
		except OSError:
			pass  # it has gone

def serve(listener, pieces):
	while True:
		threading.Thread(target=answer, args=(listener.accept()[0], pieces), daemon=True).start()

def run(name, port):
	words = [word.replace("PORT", str(port)) for word in CLIENTS[name]]
	env = os.environ | {"LD_LIBRARY_PATH": os.environ["LIBS"]}
	if name == "urllib":
		env["PYTHONHOME"] = ROOT + "/usr"
	out = subprocess.run([ROOT + "/" + words[0], *words[1:]], env=env, stdin=subprocess.DEVNULL, timeout=20,
		stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout
	return "" if b"the page" in out and b"200 OK" not in out else "headers and all" if b"the page" in out else "no page"

with concurrent.futures.ThreadPoolExecutor(4) as pool:
	for what, pieces in ANSWERS.items():
		listener = socket.create_server(("127.0.0.1", 0))
		threading.Thread(target=serve, args=(listener, pieces), daemon=True).start()
		port = listener.getsockname()[1]
		said = list(pool.map(lambda name, port=port: run(name, port), CLIENTS))
		for wrong in "no page", "headers and all":
			names = [name for name, how in zip(CLIENTS, said) if how == wrong]
			if names:
				print("%s: %s by %s" % (what, wrong, ", ".join(names)), flush=True)
		if not any(said):
			print("%s: the page" % what, flush=True)
os._exit(0)
EOT
seen=$(inside /usr/bin/python3 "$WORK/try.py" "$WORK")

verdict "each: the page" "none: the page
100: no page by tnftp, Guile, wget2
103: no page by busybox wget, links, LuaSocket, Tcl, tnftp, lftp, LWP, urllib, Guile, wget2
103: headers and all by newLISP
103 twice: no page by busybox wget, links, LuaSocket, Tcl, tnftp, lftp, LWP, urllib, Guile, wget2, PHP
103 twice: headers and all by newLISP" "$seen"

#!/bin/bash
# SPDX-License-Identifier: MIT
# Requests for a file that HTTP/1.1 (RFC 9110, 9112) allows, and what twelve web servers make of them. A server must
# take the form of request that goes to proxies (GET http://host/file), so that a client need not know what it speaks
# to: half of them do not. PHP's server for trying pages ends the connection without a word if the first segment ends
# inside the path, or if two requests are sent at once. busybox sends the file after the head that HEAD asks for, weborf
# sends nothing at all. For the last five bytes weborf gives the first six, and calls them that; a range in a unit that
# they do not know, which is to be passed over, merecat and weborf take for one of bytes.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
if [ "$(id -u)" != 0 ]; then
	echo "the root of a user namespace cannot become another user, as some servers do: nothing was tried" >&2
	exit 2
fi
fetch mini-httpd=1.30-3 webfs=1.21+ds1-12+b1 lighttpd=1.4.69-1 merecat=2.31+git20220513+ds-4.1 \
	weborf=0.19-2.1+deb12u1 nginx=1.22.1-9+deb12u11 busybox=1:1.35.0-4+deb12u1+b1 civetweb=1.15+dfsg-4 \
	libcivetweb1=1.15+dfsg-4 micro-httpd=20140814-2.1+b2 ucspi-tcp=1:0.88-7 php8.2-cli=8.2.36-1~deb12u1 \
	ruby3.1=3.1.7+really3.1.2-0+deb12u1 libruby3.1=3.1.7+really3.1.2-0+deb12u1 ruby-webrick=1.8.1-1 \
	python3.11-minimal=3.11.2-6+deb12u9 libpython3.11-minimal=3.11.2-6+deb12u9 \
	libpython3.11-stdlib=3.11.2-6+deb12u9 libssl3=3.0.22-1~deb12u2 libmagic1=1:5.44-3 libmagic-mgc=1:5.44-3 \
	libnettle8=3.8.1-2 libpcre2-8-0=10.42-1+deb12u2 libxxhash0=0.8.1-1 libffi8=3.4.4-1 \
	libargon2-1=0~20171227-0.3+deb12u1 libsodium23=1.0.18-1+deb12u1 libxml2=2.9.14+dfsg-1.3~deb12u6 \
	libicu72=72.1-3+deb12u1 libexpat1=2.5.0-1+deb12u5 libmbedcrypto7=2.28.3-1 libmbedtls14=2.28.3-1 \
	libconfuse2=3.3-3

export HOME=$WORK FILES=$WORK/files
mkdir "$FILES"
chmod 755 "$WORK" "$FILES"
echo "hello page" >"$FILES/file.txt"
cat >"$WORK/nginx.conf" <<EOF
daemon off; error_log $WORK/nginx.log; pid $WORK/nginx.pid; events {}
user root;
http { access_log off; client_body_temp_path $WORK; proxy_temp_path $WORK; fastcgi_temp_path $WORK;
	uwsgi_temp_path $WORK; scgi_temp_path $WORK; server { listen 127.0.0.1:3006; root $FILES; } }
EOF
cat >"$WORK/lighttpd.conf" <<EOF
server.document-root = "$FILES"
server.bind = "127.0.0.1"
server.port = 3003
EOF
cat >"$WORK/webrick.rb" <<'EOF'
require "webrick"
WEBrick::HTTPServer.new(BindAddress: "127.0.0.1", Port: 3012, DocumentRoot: ARGV[0]).start
EOF
cat >"$WORK/try.py" <<'EOF'
import os
import socket
import subprocess
import sys
import time

WORK, ROOT, FILES = sys.argv[1], os.environ["ROOT"], os.environ["FILES"]
SERVERS = {
	"mini-httpd": (3001, f"usr/sbin/mini_httpd -D -h 127.0.0.1 -p 3001 -d {FILES}"),
	"webfs": (3002, f"usr/bin/webfsd -F -4 -i 127.0.0.1 -p 3002 -r {FILES}"),
	"lighttpd": (3003, f"usr/sbin/lighttpd -D -f {WORK}/lighttpd.conf -m {ROOT}/usr/lib/lighttpd"),
	"merecat": (3004, f"usr/sbin/merecat -n -p 3004 {FILES}"),
	"weborf": (3005, f"usr/bin/weborf -i 127.0.0.1 -p 3005 -b {FILES}"),
	"nginx": (3006, f"usr/sbin/nginx -c {WORK}/nginx.conf"),
	"busybox": (3007, f"bin/busybox httpd -f -p 127.0.0.1:3007 -h {FILES}"),
	"civetweb": (3008, f"usr/bin/civetweb -listening_ports 127.0.0.1:3008 -document_root {FILES}"),
	"http.server": (3009, f"usr/bin/python3.11 -m http.server -b 127.0.0.1 -d {FILES} 3009"),
	"micro-httpd": (3010, f"usr/bin/tcpserver -H -R 127.0.0.1 3010 {ROOT}/usr/sbin/micro-httpd {FILES}"),
	"PHP": (3011, f"usr/bin/php8.2 -S 127.0.0.1:3011 -t {FILES}"),
	"WEBrick": (3012, f"usr/bin/ruby3.1 {WORK}/webrick.rb {FILES}"),
}
HOST, CLOSE = "Host: 127.0.0.1:PORT\r\n", "Connection: close\r\n"
GET = "GET /file.txt HTTP/1.1\r\n" + HOST
WHOLE = "hello page\n"
REQUESTS = {  # the segments, and what may be the answer: its status, and its body
	"a file": ([GET + CLOSE + "\r\n"], {(200, WHOLE)}),
	"by its URL": ([GET.replace("/", "http://127.0.0.1:PORT/", 1) + CLOSE + "\r\n"], {(200, WHOLE)}),
	"cut in the path": ([GET[:8], GET[8:] + CLOSE + "\r\n"], {(200, WHOLE)}),
	"two at once": ([GET + "\r\n" + GET + CLOSE + "\r\n"], {(200, WHOLE)}),  # or both of them
	"HEAD": ([GET.replace("GET", "HEAD") + CLOSE + "\r\n"], {(200, ""), (501, "")}),
	"the last five bytes": ([GET + CLOSE + "Range: bytes=-5\r\n\r\n"], {(206, WHOLE[-5:]), (200, WHOLE)}),
	"a range of lines": ([GET + CLOSE + "Range: lines=1-2\r\n\r\n"], {(200, WHOLE), (416, "")}),
}

def reach(port):
	for _ in range(100):
		try:
			return socket.create_connection(("127.0.0.1", port), timeout=4)
		except ConnectionRefusedError:
			time.sleep(0.1)
	raise TimeoutError(port)

def ask(port, segments):
	got = b""
	with reach(port) as s:
		try:
			for segment in segments:
				s.sendall(segment.replace("PORT", str(port)).encode())
				time.sleep(0.1)
			while data := s.recv(10000):
				got += data
		except OSError:
			pass
	head, _, body = got.decode("latin-1").partition("\r\n\r\n")
	return (int(head.split()[1]) if head else 0), body

for port, command in SERVERS.values():
	words = command.split()
	env = {"LD_LIBRARY_PATH": os.environ["LIBS"], "HOME": WORK}
	if "python3.11" in command:
		env["PYTHONHOME"] = ROOT + "/usr"
	env["RUBYLIB"] = ":".join(ROOT + path for path in ("/usr/lib/ruby/3.1.0", "/usr/lib/x86_64-linux-gnu/ruby/3.1.0",
		"/usr/share/rubygems-integration/all/gems/webrick-1.8.1/lib", "/usr/lib/ruby/vendor_ruby"))
	subprocess.Popen([ROOT + "/" + words[0], *words[1:]], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
for name, (segments, right) in REQUESTS.items():
	wrong = []
	for server, (port, _) in SERVERS.items():
		status, body = ask(port, segments)
		if status == 501 and name == "HEAD":
			continue
		if (status, body) not in right and not (name == "two at once" and body.startswith(WHOLE)):
			what = repr(body) if status in (200, 206) else ""
			wrong.append(" ".join(filter(None, (server, str(status or "nothing"), what))))
	print(name + ": " + (", ".join(wrong) or "each as asked for"), flush=True)
os._exit(0)
EOF
seen=$(inside /usr/bin/python3 "$WORK/try.py" "$WORK")

verdict "each: each as asked for" "a file: each as asked for
by its URL: mini-httpd 400, weborf 404, busybox 400, civetweb nothing, http.server 404, micro-httpd 400
cut in the path: PHP nothing
two at once: PHP nothing
HEAD: weborf nothing, busybox 200 'hello page\\n'
the last five bytes: weborf 206 'hello '
a range of lines: merecat 206 'el', weborf 206 'el', WEBrick 400" "$seen"

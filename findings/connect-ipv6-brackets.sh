#!/bin/bash
# SPDX-License-Identifier: MIT
# The address of IPv6 that an HTTP proxy is asked to connect to stands in brackets (CONNECT [2001:db8::1]:443; RFC
# 9110, 9.3.6). Seven of sixteen programs leave them away, though they were given an address with them, or an
# address and a port apart: "CONNECT 2001:db8::1:443", which is an address, too. As proxies ncat and tinyproxy take the
# last colon for the port's; privoxy refuses it. tinyproxy, where it hands on to another proxy, takes away the brackets
# that it got. It matters in networks that reach the world by a proxy alone: IPv6 works by name, and by number with
# some programs and some proxies.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch corkscrew=2.0-14 connect-proxy=1.105-1.3 wget=1.21.3-1+deb12u1 ruby3.1=3.1.7+really3.1.2-0+deb12u1 \
	libruby3.1=3.1.7+really3.1.2-0+deb12u1 python3.11-minimal=3.11.2-6+deb12u9 \
	libpython3.11-minimal=3.11.2-6+deb12u9 libpython3.11-stdlib=3.11.2-6+deb12u9 openssl=3.0.22-1~deb12u2 \
	libssl3=3.0.22-1~deb12u2 libproxychains4=4.16-2 tinyproxy-bin=1.11.1-2.1+deb12u1 ncat=7.93+dfsg1-1 \
	netcat-openbsd=1.219-1 socat=1.7.4.4-2 proxytunnel=1.10.20210604-2 links=2.28-1+b2 lftp=4.9.2-2+b1 \
	stunnel4=3:5.68-2+deb12u1 privoxy=3.0.34-1 libbrotli1=1.0.9-2+deb12u1 libgpm2=1.20.7-10+b1 liblz1=1.13-5 \
	libreadline8=8.2-1.3 libffi8=3.4.4-1 libbsd0=0.11.7-2 libmd0=1.0.4-2 libwrap0=7.6.q-32 \
	liblua5.3-0=5.3.6-2 libpcap0.8=1.10.3-1 libpsl5=0.21.2-1 libuuid1=2.38.1-5+deb12u3 \
	libpcre2-8-0=10.42-1+deb12u2 libpcre3=2:8.39-15 libmbedcrypto7=2.28.3-1 libmbedtls14=2.28.3-1 \
	libmbedx509-1=2.28.3-1 libexpat1=2.5.0-1+deb12u5

export HOME=$WORK
cat >"$WORK/get.py" <<'EOT'
import sys
import urllib.request
urllib.request.urlopen(sys.argv[1])
EOT
cat >"$WORK/get.rb" <<'EOT'
require "net/http"
http = Net::HTTP.new(ARGV[0], 443, "127.0.0.1", ARGV[1].to_i)
http.use_ssl = true
http.get("/")
EOT
cat >"$WORK/connect.py" <<'EOT'
import socket
socket.create_connection(("2001:db8::1", 443), 5)
EOT
cat >"$WORK/try.py" <<'EOT'
import os
import socket
import subprocess
import sys
import threading
import time

WORK, ROOT, LIBS = sys.argv[1], os.environ["ROOT"], os.environ["LIBS"]
ADDRESS, URL = "2001:db8::1", "https://[2001:db8::1]/"
ENV = {"LD_LIBRARY_PATH": LIBS, "HOME": WORK, "PATH": os.environ["PATH"]}
CONFIGURATIONS = {
	"tinyproxy": "Port 3001\nListen 127.0.0.1\nAllow 127.0.0.1\n",
	"tinyproxy.up": "Port 3002\nListen 127.0.0.1\nAllow 127.0.0.1\nUpstream http 127.0.0.1:PORT\n",
	"privoxy": f"listen-address 127.0.0.1:3003\nconfdir {WORK}\nlogdir {WORK}\n",
	"privoxy.up": f"listen-address 127.0.0.1:3004\nconfdir {WORK}\nlogdir {WORK}\nforward / 127.0.0.1:PORT\n",
	"stunnel": "foreground=yes\npid=\n[a]\nclient=yes\naccept=127.0.0.1:3005\nconnect=127.0.0.1:PORT\n"
		"protocol=connect\nprotocolHost=[2001:db8::1]:443\n",
	"proxychains": "strict_chain\nquiet_mode\n[ProxyList]\nhttp 127.0.0.1 PORT\n",
}
PROXIES = {
	"ncat": (3006, "usr/bin/ncat -l -k --proxy-type http 127.0.0.1 3006"),
	"tinyproxy": (3001, f"usr/bin/tinyproxy -d -c {WORK}/tinyproxy"),
	"privoxy": (3003, f"usr/sbin/privoxy --no-daemon {WORK}/privoxy"),
	"tinyproxy to another": (3002, f"usr/bin/tinyproxy -d -c {WORK}/tinyproxy.up"),
	"privoxy to another": (3004, f"usr/sbin/privoxy --no-daemon {WORK}/privoxy.up"),
	"stunnel": (3005, f"usr/bin/stunnel4 {WORK}/stunnel"),
}
CLIENTS = {
	"corkscrew": f"usr/bin/corkscrew 127.0.0.1 PORT {ADDRESS} 443",
	"connect-proxy": f"usr/bin/connect-proxy -H 127.0.0.1:PORT {ADDRESS} 443",
	"nc": f"bin/nc.openbsd -X connect -x 127.0.0.1:PORT {ADDRESS} 443",
	"ncat": f"usr/bin/ncat --proxy 127.0.0.1:PORT --proxy-type http {ADDRESS} 443",
	"socat": f"usr/bin/socat - PROXY:127.0.0.1:[{ADDRESS}]:443,proxyport=PORT",
	"proxytunnel": f"usr/bin/proxytunnel -q -p 127.0.0.1:PORT -d [{ADDRESS}]:443",
	"openssl s_client": f"usr/bin/openssl s_client -proxy 127.0.0.1:PORT -connect [{ADDRESS}]:443",
	"wget": f"usr/bin/wget -q -t 1 -O - {URL}",
	"urllib": f"usr/bin/python3.11 {WORK}/get.py {URL}",
	"Net::HTTP of Ruby": f"usr/bin/ruby3.1 {WORK}/get.rb {ADDRESS} PORT",
	"links": f"usr/bin/links -https-proxy 127.0.0.1:PORT -source {URL}",
	"lftp": f"usr/bin/lftp -c set\tnet:max-retries\t1;cat\t{URL}",
	"proxychains": f"usr/bin/python3.11 {WORK}/connect.py",
}
asked = []

def reach(port):
	for _ in range(100):
		try:
			return socket.create_connection(("127.0.0.1", port), timeout=5)
		except ConnectionRefusedError:
			time.sleep(0.1)
	raise TimeoutError(port)

def other_proxy(listener):
	while True:
		with listener.accept()[0] as s:
			if line := s.recv(4000).split(b"\r\n")[0].decode("latin-1"):
				asked.append(line)

def server(listener):
	while True:
		with listener.accept()[0] as s:
			s.sendall(b"hello")

def ask(port, target):
	with reach(port) as s:
		try:
			s.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
			got = b""
			while not got.endswith(b"hello") and (data := s.recv(4000)):
				got += data
		except OSError:
			return False
	return b" 200 " in got and got.endswith(b"hello")

def said(what):
	lines, asked[:] = set(asked), []
	right = lines == {f"CONNECT [{ADDRESS}]:443 HTTP/1.1"} or lines == {f"CONNECT [{ADDRESS}]:443 HTTP/1.0"}
	print(what + ":", "in brackets" if right else ", ".join(line.rpartition(" ")[0] for line in lines), flush=True)

listener = socket.create_server(("127.0.0.1", 0))
port = str(listener.getsockname()[1])
threading.Thread(target=other_proxy, args=(listener,), daemon=True).start()
threading.Thread(target=server, args=(socket.create_server(("::1", 7000), family=socket.AF_INET6),), daemon=True).start()
for name, text in CONFIGURATIONS.items():
	with open(f"{WORK}/{name}", "w") as f:
		f.write(text.replace("PORT", port))
for name, command in CLIENTS.items():
	env = ENV | {"https_proxy": "http://127.0.0.1:" + port}
	if "python3.11" in command:
		env["PYTHONHOME"] = ROOT + "/usr"
	if "ruby" in command:
		env["RUBYLIB"] = f"{ROOT}/usr/lib/ruby/3.1.0:{LIBS.split(':')[0]}/ruby/3.1.0"
	if name == "proxychains":
		env |= {"LD_PRELOAD": LIBS.split(":")[0] + "/libproxychains.so.4",
			"PROXYCHAINS_CONF_FILE": WORK + "/proxychains"}
	words = [word.replace("\t", " ").replace("PORT", port) for word in command.split(" ")]
	with subprocess.Popen([ROOT + "/" + words[0], *words[1:]], env=env, stdin=subprocess.DEVNULL,
			stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as client:
		for _ in range(100):
			if asked or client.poll() is not None:
				break
			time.sleep(0.1)
		client.kill()
	said(name)
for name, (at, command) in PROXIES.items():
	words = command.split()
	subprocess.Popen([ROOT + "/" + words[0], *words[1:]], env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
	reach(at).close()
	time.sleep(0.2)
	asked.clear()
	if name in ("ncat", "tinyproxy", "privoxy"):
		answers = [ask(at, target) for target in ("[::1]:7000", "::1:7000")]
		print(name, "as a proxy: with brackets %s, without %s" % tuple("yes" if a else "no" for a in answers), flush=True)
	else:
		ask(at, f"[{ADDRESS}]:443")
		said(name)
os._exit(0)
EOT
seen=$(inside /usr/bin/python3 "$WORK/try.py" "$WORK")

verdict "each: in brackets
as a proxy: with brackets yes, without no" "corkscrew: CONNECT 2001:db8::1:443
connect-proxy: CONNECT 2001:db8::1:443
nc: in brackets
ncat: in brackets
socat: in brackets
proxytunnel: in brackets
openssl s_client: in brackets
wget: CONNECT 2001:db8::1:443
urllib: CONNECT 2001:db8::1:443
Net::HTTP of Ruby: CONNECT 2001:db8::1:443
links: in brackets
lftp: in brackets
proxychains: CONNECT 2001:db8::1:443
ncat as a proxy: with brackets yes, without yes
tinyproxy as a proxy: with brackets yes, without yes
privoxy as a proxy: with brackets yes, without no
tinyproxy to another: CONNECT 2001:db8::1:443
privoxy to another: in brackets
stunnel: in brackets" "$seen"

#!/bin/bash
# SPDX-License-Identifier: MIT
# A SOCKS5 proxy's answer to CONNECT names the address that it has connected from, which may be an IPv4 one,
# an IPv6 one or a name (RFC 1928, 6). That is as long as its type says. tsocks and torsocks read ten bytes
# whatever it is, and the rest of it is to the program what the server has sent first. OpenBSD's nc
# refuses a name.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch connect-proxy=1.105-1.3 ncat=7.93+dfsg1-1 netcat-openbsd=1.219-1 tsocks=1.8beta5+ds1-1+b3 \
	torsocks=2.4.0-1 libproxychains4=4.16-2 liblua5.3-0=5.3.6-2 libpcap0.8=1.10.3-1 libbsd0=0.11.7-2 \
	libmd0=1.0.4-2

seen=$(inside python3 - "$WORK" <<'EOF'
import concurrent.futures
import os
import socket
import subprocess
import sys
import threading

TMP, ROOT, LIBS = sys.argv[1], os.environ["ROOT"], os.environ["LIBS"]
TEXT = b"hello from the server\r\n"
addresses = {
	"IPv4": b"\1" + bytes(4),
	"IPv6": b"\4" + bytes(16),
	"a name": b"\3\x0bexample.net",
}
PLAIN = """import socket
s = socket.create_connection(("192.0.2.1", 22), 5)
while data := s.recv(1000): print(data.decode("latin-1"), end="", flush=True)"""
preloaded = { # library, its variable, its configuration
	"tsocks": ("libtsocks.so", "TSOCKS_CONF_FILE", "server = 127.0.0.1\nserver_port = {}\nserver_type = 5\n"),
	"torsocks": ("torsocks/libtorsocks.so", "TORSOCKS_CONF_FILE", "TorAddress 127.0.0.1\nTorPort {}\n"),
	"proxychains4": ("libproxychains.so.4", "PROXYCHAINS_CONF_FILE",
		"strict_chain\nquiet_mode\n[ProxyList]\nsocks5 127.0.0.1 {}\n"),
}
programs = {
	"ncat": "/usr/bin/ncat --proxy 127.0.0.1:{} --proxy-type socks5 192.0.2.1 22",
	"nc": "/bin/nc.openbsd -X 5 -x 127.0.0.1:{} 192.0.2.1 22",
	"connect-proxy": "/usr/bin/connect-proxy -5 -S 127.0.0.1:{} 192.0.2.1 22",
}

def proxy(listener, address):
	s = listener.accept()[0]
	with s:
		s.recv(2, socket.MSG_WAITALL) # and the methods
		s.recv(100)
		s.sendall(b"\5\0")
		s.recv(10, socket.MSG_WAITALL)
		s.sendall(b"\5\0\0" + address + b"\x1b\x58" + TEXT)
		s.shutdown(socket.SHUT_WR)
		try:
			s.recv(1)
		except ConnectionResetError: # by nc
			pass

def ask(name, address):
	with socket.create_server(("127.0.0.1", 0)) as listener:
		threading.Thread(target=proxy, args=(listener, address), daemon=True).start()
		port = listener.getsockname()[1]
		env = {"LD_LIBRARY_PATH": LIBS}
		if name in programs:
			argv = (ROOT + programs[name].format(port)).split()
		else:
			library, variable, text = preloaded[name]
			env |= {"LD_PRELOAD": LIBS.split(":")[0] + "/" + library, variable: f"{TMP}/{name}.{port}"}
			with open(env[variable], "w") as f:
				f.write(text.format(port))
			argv = ["/usr/bin/python3", "-c", PLAIN]
		with subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
				stderr=subprocess.DEVNULL) as p:
			threading.Timer(8, p.kill).start()
			out = p.stdout.read()
	return "" if out == TEXT else "more than the text" if TEXT in out else "no text"

names = [*programs, *preloaded]
with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
	for what, address in addresses.items():
		said = pool.map(lambda name: ask(name, address), names)
		wrong = [f"{name} {what}" for name, what in zip(names, said) if what]
		print(what + ": " + (", ".join(wrong) or "each the text"), flush=True)
os._exit(0)
EOF
)

verdict "each address: each the text" "IPv4: each the text
IPv6: tsocks more than the text, torsocks more than the text
a name: nc no text, tsocks more than the text, torsocks more than the text" "$seen"

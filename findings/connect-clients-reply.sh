#!/bin/bash
# SPDX-License-Identifier: MIT
# What a client asks an HTTP proxy by CONNECT is answered by a head of any length (RFC 9110), which TCP
# may hand over in pieces. Of six programs that carry ssh and others through such proxies, corkscrew takes
# what its first read() gives for the whole head: what comes behind it, or is beyond 4 kB, goes to the
# program as the server's, and a piece of a status line is a failure. OpenBSD's nc gives up at a header of
# 2000 bytes, and where there are a hundred.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch corkscrew=2.0-14 connect-proxy=1.105-1.3 proxytunnel=1.10.20210604-2 ncat=7.93+dfsg1-1 \
	netcat-openbsd=1.219-1 socat=1.7.4.4-2 liblua5.3-0=5.3.6-2 libpcap0.8=1.10.3-1 \
	libbsd0=0.11.7-2 libmd0=1.0.4-2 libwrap0=7.6.q-32

seen=$(inside python3 - <<'EOF'
import concurrent.futures
import os
import socket
import subprocess
import threading
import time

ROOT = os.environ["ROOT"]
TEXT = b"hello from the server\r\n"
OK, END = b"HTTP/1.1 200 Connection established\r\n", b"\r\n"
replies = { # pieces, half a second apart
	"at once": [OK + END],
	"with the server's text": [OK + END + TEXT],
	"in two pieces": [OK, END],
	"in two pieces of the first line": [OK[:6], OK[6:] + END],
	"a header of 2000 bytes": [OK + b"X-A: " + b"a" * 1993 + END + END],
	"100 headers, 6 kB": [OK + b"".join(b"X-%02d: %s\r\n" % (i, b"a" * 54) for i in range(100)) + END],
}
clients = {
	"corkscrew": "/usr/bin/corkscrew 127.0.0.1 {} 192.0.2.1 22",
	"connect-proxy": "/usr/bin/connect-proxy -H 127.0.0.1:{} 192.0.2.1 22",
	"proxytunnel": "/usr/bin/proxytunnel -q -p 127.0.0.1:{} -d 192.0.2.1:22",
	"ncat": "/usr/bin/ncat --proxy 127.0.0.1:{} --proxy-type http 192.0.2.1 22",
	"nc": "/bin/nc.openbsd -X connect -x 127.0.0.1:{} 192.0.2.1 22",
	"socat": "/usr/bin/socat - PROXY:127.0.0.1:192.0.2.1:22,proxyport={}",
}

def proxy(listener, pieces):
	s, asked = listener.accept()[0], b""
	with s:
		while b"\r\n\r\n" not in asked:
			asked += s.recv(1000)
		try:
			for piece in pieces if TEXT in pieces[-1] else [*pieces, TEXT]:
				s.sendall(piece)
				time.sleep(0.5)
			s.shutdown(socket.SHUT_WR)
			s.recv(1)
		except OSError:
			pass

def ask(command, pieces):
	with socket.create_server(("127.0.0.1", 0)) as listener:
		threading.Thread(target=proxy, args=(listener, pieces), daemon=True).start()
		with subprocess.Popen((ROOT + command.format(listener.getsockname()[1])).split(),
				env={"LD_LIBRARY_PATH": os.environ["LIBS"]}, stdin=subprocess.PIPE,
				stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as p:
			threading.Timer(6, p.kill).start()
			out = p.stdout.read()
	return "" if out == TEXT else "more than the text" if TEXT in out else "no text"

with concurrent.futures.ThreadPoolExecutor(len(clients)) as pool:
	for name, pieces in replies.items():
		said = pool.map(lambda command: ask(command, pieces), clients.values())
		wrong = [f"{client} {what}" for client, what in zip(clients, said) if what]
		print(name + ": " + (", ".join(wrong) or "each the text"), flush=True)
os._exit(0)
EOF
)

verdict "each reply: each the text" "at once: each the text
with the server's text: each the text
in two pieces: corkscrew more than the text
in two pieces of the first line: corkscrew no text
a header of 2000 bytes: nc no text
100 headers, 6 kB: corkscrew more than the text, nc no text" "$seen"

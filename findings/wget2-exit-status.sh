#!/bin/bash
# SPDX-License-Identifier: MIT
# wget2 ends with exit status 0 where it could not connect, could not resolve the name, or was cut off: its
# manual has 4, "Network failure", for that, as wget. A page that is not there is 8, as it says. And of a
# name with two addresses it tries the first alone, however often (-t), with Fast Open, which is its
# default, and without. It matters to scripts that go on when the status is 0, with nothing or a part.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch wget2=1.99.1-2.2 libwget0=1.99.1-2.2 libgpgme11=1.18.0-3+b1 libassuan0=2.5.5-5 \
	libgpg-error0=1.46-1 libbrotli1=1.0.9-2+b6 libbz2-1.0=1.0.8-5+b1 zlib1g=1:1.2.13.dfsg-1 \
	libidn2-0=2.3.3-1+b1 libunistring2=1.0-2 libgnutls30=3.7.9-2+deb12u7 libgmp10=2:6.2.1+dfsg1-1.1 \
	libhogweed6=3.8.1-2 libnettle8=3.8.1-2 libp11-kit0=0.24.1-2 libffi8=3.4.4-1 libtasn1-6=4.19.0-2+deb12u1 \
	libnghttp2-14=1.52.0-1+deb12u3 libpsl5=0.21.2-1 libpcre2-8-0=10.42-1 liblzma5=5.4.1-1+deb12u1

cat >"$WORK/try.py" <<'EOT'
import os
import socket
import subprocess
import sys
import threading

HEAD = b"HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
PAGES = {b"/there": HEAD % (b"200 OK", 3, b"yes"), b"/missing": HEAD % (b"404 Not Found", 2, b"no"),
	b"/half": HEAD % (b"200 OK", 1000, b"half")}

def serve(listener):
	while True:
		client, _ = listener.accept()
		with client:
			client.sendall(PAGES[client.recv(10000).split()[1]])

listener = socket.create_server(("127.0.0.1", 8080))  # nobody is at ::1
threading.Thread(target=serve, args=(listener,), daemon=True).start()
for what, url in (("a page", "127.0.0.1:8080/there"), ("no page", "127.0.0.1:8080/missing"),
		("half a page", "127.0.0.1:8080/half"), ("refused", "127.0.0.9:8080/"), ("no such name", "no.test:8080/"),
		("second address", "two.test:8080/there")):
	run = subprocess.run([os.environ["ROOT"] + "/usr/bin/wget2", "-q", "--no-config", "-t", "1", "-O", "-", "http://" + url],
		env={"LD_LIBRARY_PATH": os.environ["LIBS"], "HOME": sys.argv[1]}, stdout=subprocess.PIPE,
		stderr=subprocess.DEVNULL, text=True, timeout=20, check=False)
	print(what + ": exit", run.returncode, run.stdout or "nothing")
EOT
printf '::1 two.test\n127.0.0.1 two.test\n' >"$WORK/hosts"
# shellcheck disable=SC2016 # the inner shell's
seen=$(inside unshare --mount sh -c 'mount --bind "$1/hosts" /etc/hosts && python3 "$1/try.py" "$1"' sh "$WORK")

verdict "a page: exit 0 yes
no page: exit 8 nothing
half a page: exit 4 half
refused: exit 4 nothing
no such name: exit 4 nothing
second address: exit 0 yes" "a page: exit 0 yes
no page: exit 8 nothing
half a page: exit 0 half
refused: exit 0 nothing
no such name: exit 0 nothing
second address: exit 0 nothing" "$seen"

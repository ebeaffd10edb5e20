#!/bin/bash
# SPDX-License-Identifier: MIT
# A gopher server sends a text with one more dot before each line that begins with a dot, and a line with a dot alone
# at its end; the client should strip the dots that are too many, and what it asks is a line, which ends in CR LF (RFC
# 1436, 2 and appendix). Of six clients none strips the dots. gopher and sacc leave out the last line, and the others
# show it as if it were of the text. w3m ends what it asks with LF alone.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch gopher=3.0.17.3+nmu1+b1 lynx=2.9.0dev.12-1 w3m=0.5.3+git20230121-2 sacc=1.06-1+b1 vf1=0.0.11-3 \
	edbrowse=3.7.7-5 python3.11-minimal=3.11.2-6+deb12u9 \
	libpython3.11-minimal=3.11.2-6+deb12u9 libpython3.11-stdlib=3.11.2-6+deb12u9 libncurses6=6.4-4 \
	libtinfo6=6.4-4 libbsd0=0.11.7-2 libmd0=1.0.4-2 libgc1=1:8.2.2-3 libgpm2=1.20.7-10+b1 libtls26=3.7.0-4 \
	libcurl4=7.88.1-10+deb12u15 libbrotli1=1.0.9-2+deb12u1 libldap-2.5-0=2.5.13+dfsg-5 \
	libnghttp2-14=1.52.0-1+deb12u3 libpsl5=0.21.2-1 librtmp1=2.4+20151223.gitfa8646d.1-2+b2 \
	libsasl2-2=2.1.28+dfsg-10+deb12u1 libssh2-1=1.10.0-3+deb12u1 libssl3=3.0.22-1~deb12u2 \
	libduktape207=2.7.0-2 libpcre2-8-0=10.42-1+deb12u2 libreadline8=8.2-1.3 libtidy5deb1=2:5.6.0-11 \
	libffi8=3.4.4-1

export HOME=$WORK TERM=vt100 PAGER=cat
touch "$WORK/lynx.cfg" "$WORK/.ebrc"
cat >"$WORK/try.py" <<'EOT'
import fcntl
import os
import pty
import re
import select
import socket
import struct
import subprocess
import sys
import termios
import threading
import time

WORK, ROOT = sys.argv[1], os.environ["ROOT"]
TEXT = b"first\r\n..second\r\n..\r\nthe end\r\n.\r\n"
CLIENTS = {
	"gopher": "usr/bin/gopher URL",
	"lynx": f"usr/bin/lynx -cfg={WORK}/lynx.cfg -lss={WORK}/none -dump -nolist URL",
	"w3m": "usr/bin/w3m -dump URL",
	"sacc": "usr/bin/sacc URL",
	"vf1": "usr/bin/python3.11 usr/bin/vf1 URL",
	"edbrowse": "usr/bin/edbrowse URL",
}

def serve(listener, heard):
	while True:
		with listener.accept()[0] as s:
			heard.append(s.recv(1000))
			while not heard[0].endswith(b"\n"):
				heard[0] += s.recv(1000)
			s.sendall(TEXT)

def run(name):
	heard, shown = [], b""
	listener = socket.create_server(("127.0.0.1", 0))
	threading.Thread(target=serve, args=(listener, heard), daemon=True).start()
	url = f"gopher://127.0.0.1:{listener.getsockname()[1]}/0/file"
	words = [ROOT + "/" + word if word.startswith("usr/") else word for word in CLIENTS[name].replace("URL", url).split()]
	env = os.environ | {"LD_LIBRARY_PATH": os.environ["LIBS"]}
	if name == "vf1":
		env["PYTHONHOME"] = ROOT + "/usr"
	mine, its = pty.openpty()
	fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
	with subprocess.Popen(words, env=env, cwd=WORK, stdin=its, stdout=its, stderr=its, start_new_session=True,
			preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)) as client:
		os.close(its)
		if name == "edbrowse":
			os.write(mine, b",p\nqt\n")
		end = time.time() + 12
		while time.time() < end:
			if select.select([mine], [], [], 1)[0]:
				try:
					shown += os.read(mine, 10000)
				except OSError:
					break  # it has ended
			elif b"the end" in shown:
				break
			elif name == "gopher":
				os.write(mine, b"\n")  # it shows its licence the first time
		client.kill()
	os.close(mine)
	wrong = []
	if not re.search(rb"first.*second.*the end", shown, re.S):
		wrong.append("no text")
	if b"..second" in shown:
		wrong.append("two dots")
	if re.search(rb"the end[\r\n]+\.[\r\n]", shown):
		wrong.append("the last line")
	if heard and not heard[0].endswith(b"\r\n"):
		wrong.append("asked with LF alone")
	return ", ".join(wrong)

for name in CLIENTS:
	print(f"{name}: {run(name) or 'the text'}", flush=True)
os._exit(0)
EOT
seen=$(inside /usr/bin/python3 "$WORK/try.py" "$WORK")

verdict "each: the text" "gopher: two dots
lynx: two dots, the last line
w3m: two dots, the last line, asked with LF alone
sacc: two dots
vf1: two dots, the last line
edbrowse: two dots, the last line" "$seen"

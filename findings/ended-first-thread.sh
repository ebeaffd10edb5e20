#!/bin/bash
# SPDX-License-Identifier: MIT
# A program whose first thread has ended (pthread_exit() in main, the others go on, as POSIX allows) still
# listens and answers. But /proc/PID/fd is the first thread's, which has none any more; so whoever asks
# what holds a port is told "nothing": ss, lsof, fuser and netstat look there and not into
# /proc/PID/task/TID/fd. fuser -k kills nobody then, and lsof and fuser say by their status that the port
# is free.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch iproute2=6.1.0-3 libbpf1=1:1.1.2-0+deb12u1 libelf1=0.188-2.1 libmnl0=1.0.4-3 \
	libcap2=1:2.66-4+deb12u3+b1 libselinux1=3.4-1+b6 lsof=4.95.0-1 psmisc=23.6-1 net-tools=2.10-0.1+deb12u2

seen=$(inside unshare --mount --mount-proc python3 - <<'EOT'
import ctypes
import os
import socket
import subprocess
import threading
import time

ROOT = os.environ["ROOT"]
TOOLS = {
	"ss": "ss -Hltnp sport = :%d",
	"lsof": "lsof -nP -t -iTCP:%d",
	"fuser": "fuser -n tcp %d 2>/dev/null",
	"netstat": "netstat -ltnp 2>/dev/null | grep ':%d '",
}
PATH = "%s/bin:%s/usr/bin:%s" % (ROOT, ROOT, os.environ["PATH"])

def named(pid, port):
	env = os.environ | {"PATH": PATH, "LD_LIBRARY_PATH": os.environ["LIBS"]}
	return " ".join("%s: %s" % (name, "yes" if str(pid) in subprocess.run(line % port, shell=True, text=True,
		capture_output=True, env=env).stdout.replace("=", " ").replace(",", " ").replace("/", " ").split()
		else "no") for name, line in TOOLS.items())

def serve(listener):
	while True:
		listener.accept()[0].sendall(b"here")

def program(ends):
	listener = socket.create_server(("127.0.0.1", 0))
	port = listener.getsockname()[1]
	pid = os.fork()
	if pid:
		listener.close()
		return pid, port
	threading.Thread(target=serve, args=(listener,)).start()
	if ends:
		ctypes.CDLL(None).syscall(60, 0)  # exit(2), of this thread alone
	time.sleep(60)

for ends in False, True:
	pid, port = program(ends)
	time.sleep(0.5)
	answer = socket.create_connection(("127.0.0.1", port)).recv(10).decode()
	tasks = "/proc/%d/task" % pid
	print("first thread", "ended:" if ends else "alive:", "the server says", answer + ";", named(pid, port) + ";",
		"/proc/PID/fd: %d," % bool(os.listdir("/proc/%d/fd" % pid)),
		"task/TID/fd: %d" % any(os.listdir("%s/%s/fd" % (tasks, tid)) for tid in os.listdir(tasks)))
	os.kill(pid, 9)
EOT
)
verdict "first thread alive: the server says here; ss: yes lsof: yes fuser: yes netstat: yes; /proc/PID/fd: 1, task/TID/fd: 1
first thread ended: the server says here; ss: yes lsof: yes fuser: yes netstat: yes; /proc/PID/fd: 1, task/TID/fd: 1" \
	"first thread alive: the server says here; ss: yes lsof: yes fuser: yes netstat: yes; /proc/PID/fd: 1, task/TID/fd: 1
first thread ended: the server says here; ss: no lsof: no fuser: no netstat: no; /proc/PID/fd: 0, task/TID/fd: 1" "$seen"

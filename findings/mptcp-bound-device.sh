#!/bin/bash
# SPDX-License-Identifier: MIT
# A program that binds its socket to an interface (SO_BINDTODEVICE) or to an address means it: a VPN,
# or not the metered link. An MPTCP socket takes the wish for its first subflow alone. Where the
# kernel has an endpoint of another interface ("ip mptcp endpoint add"), it opens a second subflow
# from there for that very socket; and when the interface that was asked for goes down, all of the
# data leaves by the other one.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine

seen=$(inside python3 - <<'EOF'
import socket
import subprocess
import time

# the far end, in a network of its own: takes what it is sent
FAR = """
echo here
read go
for i in 1 2; do
	ip address add 10.7.$i.2/24 dev far$i
	ip link set far$i up
done
ip mptcp limits set subflows 2
exec python3 -c '
import socket, threading
def drop(client):
	while client.recv(65536):
		pass
listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
listener.bind(("", 7000))
listener.listen()
print("ready", flush=True)
while True:
	threading.Thread(target=drop, args=(listener.accept()[0],), daemon=True).start()
'"""

def sh(line):
	subprocess.run(line, shell=True, check=True)

def sent(interface):
	with open("/proc/net/dev", encoding="ascii") as f:
		return next(int(line.split()[9]) for line in f if line.strip().startswith(interface + ":"))

far = subprocess.Popen(["unshare", "--net", "sh", "-c", FAR], stdin=subprocess.PIPE,
	stdout=subprocess.PIPE, text=True)
far.stdout.readline()
for i in 1, 2:
	sh("ip link add near%d type veth peer name far%d netns %d" % (i, i, far.pid))
	sh("ip address add 10.7.%d.1/24 dev near%d; ip link set near%d up" % (i, i, i))
sh("ip rule add from 10.7.2.1 table 2; ip route add 10.7.1.2 via 10.7.2.2 dev near2 table 2")
sh("ip mptcp limits set subflows 2; ip mptcp endpoint add 10.7.2.1 dev near2 subflow")
far.stdin.write("go\n")
far.stdin.flush()
assert far.stdout.readline() == "ready\n"

def to_device(s):
	s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"near1\0")

def to_address(s):
	s.bind(("10.7.1.1", 0))

def subflows():
	return subprocess.run(["ss", "-Htn", "state", "established", "dport", "=", ":7000"],
		capture_output=True, text=True, check=True).stdout.count("10.7.1.2:7000")

for bind in to_device, to_address:
	for name, protocol in ("TCP", 0), ("MPTCP", 262):
		with socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol) as s:
			bind(s)
			s.connect(("10.7.1.2", 7000))
			s.sendall(b"first")
			for _ in range(20):  # 2 s for a second subflow
				if subflows() > 1:
					break
				time.sleep(0.1)
			paths = subflows()
			before = sent("near2")
			sh("ip link set near1 down")
			s.sendall(bytes(40000))
			for _ in range(30):  # 3 s
				if sent("near2") - before > 40000:
					break
				time.sleep(0.1)
			left = "leave" if sent("near2") - before > 40000 else "do not leave"
			print(name, "bound", bind.__name__ + ":", paths, "subflow(s), data", left, "by near2")
			sh("ip link set near1 up")
EOF
)

verdict "each: 1 subflow(s), data do not leave by near2" \
	"TCP bound to_device: 1 subflow(s), data do not leave by near2
MPTCP bound to_device: 2 subflow(s), data leave by near2
TCP bound to_address: 1 subflow(s), data do not leave by near2
MPTCP bound to_address: 2 subflow(s), data leave by near2" "$seen"

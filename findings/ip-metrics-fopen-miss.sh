#!/bin/bash
# SPDX-License-Identifier: MIT
# `ip -j tcp_metrics` gives the MSS that Linux remembers for Fast Open the name "fopen_miss": a program
# that watches how often Fast Open misses reads tens of thousands after a single success. Without -j the
# same number is "fo_mss", which it is. And where an address is named, -j is not heeded: text comes.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch iproute2=6.1.0-3 libbpf1=1:1.1.2-0+deb12u1 libelf1=0.188-2.1 libmnl0=1.0.4-3

seen=$(inside python3 - <<'PY'
import json
import os
import re
import socket
import subprocess

with open("/proc/sys/net/ipv4/tcp_fastopen", "w", encoding="ascii") as sysctl:
	sysctl.write("3")
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 5)
listener.listen()
for _ in range(2):  # the first gets the cookie, the second uses it
	client = socket.socket()
	client.sendto(b"early", socket.MSG_FASTOPEN, listener.getsockname())
	server, _ = listener.accept()
	client.close()
	server.close()

def ip(*words):
	return subprocess.run([os.environ["ROOT"] + "/bin/ip", *words], env={"LD_LIBRARY_PATH": os.environ["LIBS"]},
		capture_output=True, text=True, check=True).stdout

def is_json(text):
	try:
		return bool(json.loads(text))
	except ValueError:
		return False

text, whole = ip("tcp_metrics", "show"), ip("-j", "tcp_metrics", "show")
print("text:", *re.findall("fo_m[a-z]* [0-9]+", text))
print("-j:", *("%s %s" % item for item in json.loads(whole)[0].items() if re.match("fo.*_m", item[0])))
print("-j, of one address:", "JSON" if is_json(ip("-j", "tcp_metrics", "show", "127.0.0.1")) else "text")
PY
)

verdict "text: fo_mss 65495
-j: fo_mss 65495
-j, of one address: JSON" "text: fo_mss 65495
-j: fopen_miss 65495
-j, of one address: text" "$seen"

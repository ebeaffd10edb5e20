#!/bin/bash
# SPDX-License-Identifier: MIT
# `ip -j mptcp limits show` and `ip -j mptcp monitor` print text: -j is not heeded, and no error is made
# of it. `ip -j mptcp endpoint show` is JSON. It matters to a program that sets up Multipath TCP or watches
# it: of the endpoints it gets JSON, of the limits and of what happens text, with exit status 0.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch iproute2=6.1.0-3 libbpf1=1:1.1.2-0+deb12u1 libelf1=0.188-2.1 libmnl0=1.0.4-3

seen=$(inside python3 - <<'PY'
import json
import os
import socket
import subprocess

IP = {"args": None, "executable": os.environ["ROOT"] + "/bin/ip", "env": {"LD_LIBRARY_PATH": os.environ["LIBS"]},
	"stdout": subprocess.PIPE, "text": True}

def kind(text):
	try:
		json.loads(text)
		return "JSON"
	except ValueError:
		return "text: " + text.split(" token")[0].strip().strip("[]").strip()

subprocess.run(**IP | {"args": "ip mptcp endpoint add 127.0.0.2 dev lo signal".split()}, check=True)
for what in "endpoint", "limits":
	shown = subprocess.run(**IP | {"args": ["ip", "-j", "mptcp", what, "show"]}, check=True)
	print(what, "show,", kind(shown.stdout))

listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_MPTCP)
listener.bind(("127.0.0.1", 0))
listener.listen()
with subprocess.Popen(**IP | {"args": "ip -j mptcp monitor".split()}) as monitor:
	os.set_blocking(monitor.stdout.fileno(), False)
	line = ""
	while not line:  # until it listens, too
		client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_MPTCP)
		client.settimeout(1)
		client.connect(listener.getsockname())
		line = monitor.stdout.readline()
	print("monitor,", kind(line))
	monitor.kill()
PY
)

verdict "endpoint show, JSON
limits show, JSON
monitor, JSON" "endpoint show, JSON
limits show, text: add_addr_accepted 0 subflows 2
monitor, text: CREATED" "$seen"

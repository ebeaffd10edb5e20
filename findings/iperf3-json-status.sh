#!/bin/bash
# SPDX-License-Identifier: MIT
# iperf3's exit status is 1 where the test could not be made, or was not finished. With -J it is 0 then, as of a
# good test, and only a member "error" of the JSON tells. It matters to a script that measures: it takes JSON because
# it wants the numbers, and has none of them, or too few.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch iperf3=3.12-1+deb12u2 libiperf0=3.12-1+deb12u2 libsctp1=1.0.19+dfsg-2 libssl3=3.0.22-1~deb12u2

seen=$(inside python3 - <<'EOT'
import json
import os
import socket
import subprocess
import time

IPERF3 = os.environ["ROOT"] + "/usr/bin/iperf3"

def start(*options):
	return subprocess.Popen([IPERF3, *options], env={"LD_LIBRARY_PATH": os.environ["LIBS"]}, text=True,
		stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

def serve():
	server = start("-s", "-1", "-B", "127.0.0.1", "--forceflush")
	while "listening" not in server.stdout.readline():
		assert server.poll() is None
	return server

def client(*options):
	return start("-c", "127.0.0.1", "-b", "1M", *options)

def end(process):
	output = process.communicate(timeout=20)[0]
	status = "%d" % process.returncode
	return status if not output.startswith("{") else "%s, %s" % (
		status, "an error" if "error" in json.loads(output) else "no error")

def served(*options):
	server = serve()
	result = end(client(*options))
	server.kill()
	return result

def good(*options):
	return served("-t", "1", *options)

def refused(*options):
	return end(client(*options))

def no_address(*options):
	return end(client("-B", "192.0.2.1", *options))

def congestion(*options):
	return served("-C", "none-such", *options)

def busy(*options):
	server = serve()
	other = client("-t", "5")
	time.sleep(1)
	result = end(client("-t", "1", *options))
	other.kill()
	server.kill()
	return result

def ended(*options):
	server = serve()
	test = client("-t", "5", *options)
	time.sleep(1)
	server.terminate()
	return end(test)

for name, test in (("a good test", good), ("nobody listens", refused), ("an address of nobody's", no_address),
		("an unknown congestion control", congestion), ("a busy server", busy), ("a server that ends", ended)):
	print("%s: %s; -J: %s" % (name, test(), test("-J")), flush=True)
EOT
)

verdict "a good test: 0; -J: 0, no error
each other: 1; -J: 1, an error" "a good test: 0; -J: 0, no error
nobody listens: 1; -J: 0, an error
an address of nobody's: 1; -J: 0, an error
an unknown congestion control: 1; -J: 0, an error
a busy server: 1; -J: 0, an error
a server that ends: 1; -J: 0, an error" "$seen"

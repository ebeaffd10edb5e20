#!/bin/bash
# SPDX-License-Identifier: MIT
# `ip -j route` leaves out that a metric is locked: of "mtu lock 1400", by which path MTU discovery is switched
# off for the route, and of "congctl lock", by which a program may not choose for itself, JSON has what it has
# without "lock"; and what is asked and printed as "congctl" is "congestion" there, "features ecn" is "ecn" with
# null. It matters to whatever keeps or compares routes by JSON: written back, the lock is gone.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch iproute2=6.1.0-3 libbpf1=1:1.1.2-0+deb12u1 libelf1=0.188-2.1 libmnl0=1.0.4-3

seen=$(inside python3 - <<'PY'
import json
import os
import subprocess

def ip(*words):
	return subprocess.run([os.environ["ROOT"] + "/bin/ip", *words], env={"LD_LIBRARY_PATH": os.environ["LIBS"]},
		capture_output=True, text=True, check=True).stdout

for metrics in "mtu 1400", "mtu lock 1400", "congctl reno", "congctl lock reno", "features ecn":
	ip("route", "replace", "10.6.0.0/24", "dev", "lo", *metrics.split())
	text, route = ip("route", "show", "10.6.0.0/24"), json.loads(ip("-j", "route", "show", "10.6.0.0/24"))
	print("text:", text.split("link ")[1].strip() + ", -j:", json.dumps(route[0]["metrics"]))
PY
)

verdict "the two of each kind differ, in both" 'text: mtu 1400, -j: [{"mtu": 1400}]
text: mtu lock 1400, -j: [{"mtu": 1400}]
text: congctl reno, -j: [{"congestion": "reno"}]
text: congctl lock reno, -j: [{"congestion": "reno"}]
text: features ecn, -j: [{"ecn": null}]' "$seen"

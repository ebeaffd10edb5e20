#!/bin/bash
# SPDX-License-Identifier: MIT
# libuid_wrapper (cwrap) lets a test play root without being it. A server gives root up by initgroups(),
# setgid() and setuid(), and of these initgroups() alone is the kernel's own and refused, though setgroups(),
# of which it is made, is played. And once the part of root is given up, setgroups() still succeeds, and
# setgid() does not. It matters to who tests there that privileges are dropped: the right order cannot be
# run, and a program that keeps its groups too long is not found out.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch libuid-wrapper=1.2.9-1

cat >"$WORK/server.py" <<'EOT'
import os

def result(call, *values):
	try:
		call(*values)
		return "ok"
	except OSError as error:
		return error.strerror.lower()

print("root: setgroups", result(os.setgroups, [1, 2]) + ", groups", *os.getgroups())
print("root: initgroups", result(os.initgroups, "daemon", 1))
print("root: setgid", result(os.setgid, 1) + ", setuid", result(os.setuid, 1))
print("no more root: setgroups", result(os.setgroups, [5]) + ", groups", *os.getgroups())
print("no more root: setgid", result(os.setgid, 7) + ", uid", os.getuid())
EOT

# the kernel's privileges are taken away, so that nobody is root but by the wrapper
seen=$(inside setpriv --bounding-set -all --inh-caps -all \
	env LD_PRELOAD="$ROOT/usr/lib/x86_64-linux-gnu/libuid_wrapper.so" UID_WRAPPER=1 UID_WRAPPER_ROOT=1 \
	python3 "$WORK/server.py")

verdict "root: setgroups ok, groups 1 2
root: initgroups ok
root: setgid ok, setuid ok
no more root: setgroups operation not permitted, groups 1
no more root: setgid operation not permitted, uid 1" "root: setgroups ok, groups 1 2
root: initgroups operation not permitted
root: setgid ok, setuid ok
no more root: setgroups ok, groups 5
no more root: setgid operation not permitted, uid 1" "$seen"

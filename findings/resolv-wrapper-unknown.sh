#!/bin/bash
# SPDX-License-Identifier: MIT
# Under libresolv_wrapper (cwrap), with which a program's questions to DNS are tested without a server, no name is
# unknown: res_query() of one that is not in RESOLV_WRAPPER_HOSTS, or of a type that it has not there, succeeds,
# with a message without answers and without an error (NOERROR). glibc's res_query() fails then, h_errno being
# HOST_NOT_FOUND or NO_DATA. And of two addresses of one name the first alone is answered. It matters to who
# tests there what a program does about a name that is not there, or that it goes on to a second address.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch libresolv-wrapper=1.1.8-1

cat >"$WORK/records" <<'EOF'
A one.test 10.0.0.1
A two.test 10.0.0.1
A two.test 10.0.0.2
EOF
echo "nameserver 127.0.0.1" >"$WORK/resolv.conf"
cat >"$WORK/try.py" <<'EOT'
import ctypes
import os
import socket
import subprocess
import sys
import threading

TYPES = {"A": 1, "AAAA": 28}
ERRORS = {1: "HOST_NOT_FOUND", 2: "TRY_AGAIN", 3: "NO_RECOVERY", 4: "NO_DATA"}
RECORDS = [line.split() for line in open(sys.argv[1] + "/records", encoding="ascii")]

def serve(server):
	while True:
		query, client = server.recvfrom(1000)
		end = query.index(b"\0", 12) + 5  # of the question
		name, kind = query[12:end - 5], int.from_bytes(query[end - 4:end - 2], "big")
		of_name = [r for r in RECORDS if b"".join(bytes([len(p)]) + p.encode() for p in r[1].split(".")) == name]
		answers = [b"\xc0\x0c" + query[end - 4:end] + bytes([0, 0, 0, 9, 0, 4]) + socket.inet_aton(r[2])
			for r in of_name if TYPES[r[0]] == kind]
		server.sendto(query[:2] + bytes([0x81, 0x80 if of_name else 0x83]) + query[4:6] +
			len(answers).to_bytes(2, "big") + bytes(4) + query[12:end] + b"".join(answers), client)

def ask(name, kind):
	libc, answer = ctypes.CDLL(None), ctypes.create_string_buffer(1000)
	libc.__h_errno_location.restype = ctypes.POINTER(ctypes.c_int)
	if libc.res_query(name.encode(), 1, TYPES[kind], answer, len(answer)) < 0:
		return ERRORS[libc.__h_errno_location()[0]]
	return "rcode %d, %d answers" % (answer.raw[3] & 15, int.from_bytes(answer.raw[6:8], "big"))

if len(sys.argv) > 2:
	print(ask(*sys.argv[2:]))
	sys.exit()
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
threading.Thread(target=serve, args=(server,), daemon=True).start()
for question in ("one.test", "A"), ("one.test", "AAAA"), ("two.test", "A"), ("three.test", "A"):
	words = [sys.executable, *sys.argv, *question]
	wrapped = {**os.environ, "RESOLV_WRAPPER_HOSTS": sys.argv[1] + "/records",
		"LD_PRELOAD": os.environ["LIBS"].partition(":")[0] + "/libresolv_wrapper.so"}
	print("%s, %s: by a server %s; wrapped %s" % (*question, *(subprocess.run(words, env=environment, check=True,
		stdout=subprocess.PIPE, text=True).stdout.strip() for environment in (os.environ, wrapped))))
EOT
# shellcheck disable=SC2016 # the inner shell's
seen=$(inside unshare --mount sh -c 'mount --bind "$1/resolv.conf" /etc/resolv.conf &&
	exec python3 "$1/try.py" "$1"' sh "$WORK")
verdict "each: wrapped as by a server" "one.test, A: by a server rcode 0, 1 answers; wrapped rcode 0, 1 answers
one.test, AAAA: by a server NO_DATA; wrapped rcode 0, 0 answers
two.test, A: by a server rcode 0, 2 answers; wrapped rcode 0, 1 answers
three.test, A: by a server HOST_NOT_FOUND; wrapped rcode 0, 0 answers" "$seen"

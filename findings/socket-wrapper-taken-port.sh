#!/bin/bash
# SPDX-License-Identifier: MIT
# Under libsocket_wrapper (cwrap), with which Samba and others test servers without a network, bind() to
# a port on which somebody listens succeeds, in the same process and in another one, and the listener
# is cut off: it gets no connection any more, not even when the second socket is gone. A port where
# nobody was yet is "no route to host", one whose socket has gone "connection refused". It matters
# to whoever tests there that a port is taken, picks a free one by trying, or that a refusal leads to
# the next server.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch libsocket-wrapper=1.3.5-1

cat >"$WORK/ports.py" <<'EOT'
import os
import socket

def result(call, *values):
	try:
		call(*values)
		return "ok"
	except OSError as error:
		return os.strerror(error.errno).lower() if error.errno else "nothing came"

def connected():
	return result(socket.socket().connect, ADDRESS)

ADDRESS = ("127.0.0.1", 7000)
print("nobody was there yet: connect", connected())
listener = socket.socket()
listener.bind(ADDRESS)
listener.listen()
listener.settimeout(1)
print("one listens: connect", connected() + ", accept", result(listener.accept), flush=True)
if os.fork() == 0:
	print("in another process: bind", result(socket.socket().bind, ADDRESS), flush=True)
	os._exit(0)
os.wait()
print("that has gone: connect", connected() + ", accept", result(listener.accept))
EOT

wrapper=$ROOT/usr/lib/x86_64-linux-gnu/libsocket_wrapper.so
mkdir "$WORK/sockets"
# SOCKET_WRAPPER_DEFAULT_IFACE: 127.0.0.1 is the host's own address
seen=$(inside env LD_PRELOAD="$wrapper" SOCKET_WRAPPER_DIR="$WORK/sockets" SOCKET_WRAPPER_DEFAULT_IFACE=1 \
	python3 "$WORK/ports.py")

verdict "$(inside python3 "$WORK/ports.py")" "nobody was there yet: connect no route to host
one listens: connect ok, accept ok
in another process: bind ok
that has gone: connect connection refused, accept nothing came" "$seen"

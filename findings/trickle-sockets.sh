#!/bin/bash
# SPDX-License-Identifier: MIT
# trickle is to slow down "any SOCK_STREAM connection" of a program, by a preloaded library. It passes over a socket
# that was opened with SOCK_CLOEXEC or SOCK_NONBLOCK in its type, as Python's own are, and over what accept4()
# gives; and over sendmsg(), sendfile() and splice() on any. Nothing is said: the program runs at full speed. IPv6
# and MPTCP sockets are slowed. It matters to whoever tries a client on a slow link this way: it may be on a fast one.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch trickle=1.07-12 libbsd0=0.11.7-2 libmd0=1.0.4-2

cat >"$WORK/send.py" <<'EOT'
import ctypes
import os
import socket
import sys
import threading
import time

N = 10000
DATA = bytes(N)
libc = ctypes.CDLL(None)

class Vector(ctypes.Structure):
	_fields_ = [("base", ctypes.c_char_p), ("length", ctypes.c_size_t)]

class Message(ctypes.Structure):
	_fields_ = [("name", ctypes.c_void_p), ("name_length", ctypes.c_uint), ("vectors", ctypes.POINTER(Vector)),
		("count", ctypes.c_size_t), ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t),
		("flags", ctypes.c_int)]

MESSAGE = Message(vectors=ctypes.pointer(Vector(DATA, N)), count=1)
with open(sys.argv[1] + "/data", "wb+") as f:
	f.write(DATA)
FILE = os.open(sys.argv[1] + "/data", os.O_RDONLY)
FROM, TO = os.pipe()

def swallow(listener):
	while True:
		s = listener.accept()[0]
		threading.Thread(target=lambda s=s: [None for _ in iter(lambda: s.recv(N), b"")], daemon=True).start()

def serve(family, protocol, address):
	listener = socket.socket(family, socket.SOCK_STREAM, protocol)
	listener.bind((address, 0))
	listener.listen()
	threading.Thread(target=swallow, args=(listener,), daemon=True).start()
	return listener.getsockname()

def splice(fd):
	assert os.write(TO, DATA) == N
	return libc.splice(FROM, None, fd, None, ctypes.c_size_t(N), 0)

def sendfile(fd, name):
	os.lseek(FILE, 0, os.SEEK_SET)
	return getattr(libc, name)(fd, FILE, None, ctypes.c_size_t(N))

CALLS = {
	"send": lambda fd: libc.send(fd, DATA, N, 0),
	"sendto": lambda fd: libc.sendto(fd, DATA, N, 0, None, 0),
	"write": lambda fd: libc.write(fd, DATA, N),
	"writev": lambda fd: libc.writev(fd, ctypes.byref(MESSAGE.vectors.contents), 1),
	"sendmsg": lambda fd: libc.sendmsg(fd, ctypes.byref(MESSAGE), 0),
	"sendfile": lambda fd: sendfile(fd, "sendfile"),
	"sendfile64": lambda fd: sendfile(fd, "sendfile64"),
	"splice": splice,
}

def measure(fd, call="send"):
	socket.socket(fileno=os.dup(fd)).setblocking(True)
	begin = time.monotonic()
	for _ in range(10):
		assert CALLS[call](fd) == N
	return "slowed" if time.monotonic() - begin > 0.1 else "not slowed"

def opened(kind=0, address=serve(socket.AF_INET, 0, "127.0.0.1"), family=socket.AF_INET, protocol=0):
	fd = libc.socket(family, socket.SOCK_STREAM | kind, protocol)
	s = socket.socket(fileno=os.dup(fd))
	s.setblocking(True)
	s.connect(address)
	return fd

def accepted(name, *flags):
	listener = socket.create_server(("127.0.0.1", 0))
	client = socket.create_connection(listener.getsockname())
	threading.Thread(target=lambda: [None for _ in iter(lambda: client.recv(N), b"")], daemon=True).start()
	return getattr(libc, name)(listener.fileno(), None, None, *flags)

KINDS = {
	"protocol 6": lambda: opened(protocol=socket.IPPROTO_TCP),
	"IPv6": lambda: opened(0, serve(socket.AF_INET6, 0, "::1"), socket.AF_INET6),
	"MPTCP": lambda: opened(0, serve(socket.AF_INET, 262, "127.0.0.1"), protocol=262),
	"SOCK_CLOEXEC": lambda: opened(socket.SOCK_CLOEXEC),
	"SOCK_NONBLOCK": lambda: opened(socket.SOCK_NONBLOCK),
	"dup": lambda: libc.dup(opened()),
	"accept": lambda: accepted("accept"),
	"accept4": lambda: accepted("accept4", 0),
}
if len(sys.argv) < 3:
	print(*CALLS, *KINDS, sep="\n")
elif sys.argv[2] in CALLS:
	print(sys.argv[2] + ":", measure(opened(), sys.argv[2]))
else:
	print(sys.argv[2] + ":", measure(KINDS[sys.argv[2]]()))
EOT
cat >"$WORK/each" <<'EOT'
python=$(python3 -c 'import sys; print(sys.executable)')
"$python" "$1/send.py" "$1" | while read -r what; do
	LD_LIBRARY_PATH=$LIBS "$ROOT/usr/bin/trickle" -s -u 200 \
		-P "$ROOT/usr/lib/x86_64-linux-gnu/trickle/trickle-overload.so" "$python" "$1/send.py" "$1" "$what"
done
EOT
seen=$(inside sh "$WORK/each" "$WORK")

verdict "each: slowed" "send: slowed
sendto: slowed
write: slowed
writev: slowed
sendmsg: not slowed
sendfile: not slowed
sendfile64: not slowed
splice: not slowed
protocol 6: slowed
IPv6: slowed
MPTCP: slowed
SOCK_CLOEXEC: not slowed
SOCK_NONBLOCK: not slowed
dup: slowed
accept: slowed
accept4: not slowed" "$seen"

#!/bin/bash
# SPDX-License-Identifier: MIT
# Where libfaketime makes time run twice as fast, a timeout takes half as long: poll(), select(),
# epoll_wait() do so. ppoll() does so only from one second on: a timeout of 0.9 s takes 0.9 s, one
# of 1.0 s takes 0.5 s, so the shorter one lasts longer. epoll_pwait2() is not scaled at all. (ssh
# waits in ppoll().)
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch libfaketime=0.9.10-2.1

faketime=$ROOT/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1
seen=$(inside env LD_PRELOAD="$faketime" FAKETIME="+0 x2" python3 - <<'EOF'
import ctypes
import select

libc = ctypes.CDLL(None)

class Timespec(ctypes.Structure):
	_fields_ = [("s", ctypes.c_long), ("ns", ctypes.c_long)]

def now():  # the kernel's own clock, whatever is preloaded
	t = Timespec()
	libc.syscall(ctypes.c_long(228), 1, ctypes.byref(t))  # clock_gettime of x86-64
	return t.s + t.ns / 1e9

def timespec(ms):
	return ctypes.byref(Timespec(ms // 1000, ms % 1000 * 1000000))

epoll = select.epoll()
room = ctypes.create_string_buffer(64)
waits = {
	"poll": lambda ms: libc.poll(None, 0, ms),
	"select": lambda ms: select.select([], [], [], ms / 1000),
	"epoll_wait": lambda ms: epoll.poll(ms / 1000),
	"ppoll": lambda ms: libc.ppoll(None, 0, timespec(ms), None),
	"epoll_pwait2": lambda ms: libc.epoll_pwait2(epoll.fileno(), room, 1, timespec(ms), None),
}
for name, wait in waits.items():
	took = []
	for ms in 900, 1000:
		start = now()
		wait(ms)
		took.append("%d ms took %s" % (ms, "half" if now() - start < 0.75 * ms / 1000 else "all"))
	print(name + ":", ", ".join(took))
EOF
)

verdict "each: 900 ms took half, 1000 ms took half" \
	"poll: 900 ms took half, 1000 ms took half
select: 900 ms took half, 1000 ms took half
epoll_wait: 900 ms took half, 1000 ms took half
ppoll: 900 ms took all, 1000 ms took half
epoll_pwait2: 900 ms took all, 1000 ms took all" "$seen"

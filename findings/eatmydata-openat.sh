#!/bin/bash
# SPDX-License-Identifier: MIT
# eatmydata makes files lose O_SYNC and O_DSYNC when they are opened, beside fsync() and its like, which it
# makes do nothing; but by the name open() alone (and open64()). Behind openat(), and behind __open_2(),
# which is what open() becomes with _FORTIFY_SOURCE where the compiler does not know the flags, as in most
# packages of Debian, every write() is on the disk before it returns, as without eatmydata. It matters to
# whoever measures with and without it, and as an example of how many names one call has in a libc.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch libeatmydata1=130-2+b1

seen=$(inside env LD_PRELOAD="$ROOT/usr/lib/x86_64-linux-gnu/libeatmydata.so" \
	python3 - "$WORK/file" <<'EOT'
import ctypes
import fcntl
import os
import sys

libc = ctypes.CDLL(None)
path = sys.argv[1].encode()
flags = os.O_RDWR | os.O_SYNC
os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
calls = {
	"open": (path, flags),
	"open64": (path, flags),
	"__open_2": (path, flags),
	"openat": (-100, path, flags),  # AT_FDCWD
	"openat64": (-100, path, flags),
	"__openat_2": (-100, path, flags),
}
for name, arguments in calls.items():
	fd = getattr(libc, name)(*arguments)
	print(name + ":", "O_SYNC" if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_SYNC else "no O_SYNC")
EOT
)

verdict "each: no O_SYNC" "open: no O_SYNC
open64: no O_SYNC
__open_2: O_SYNC
openat: O_SYNC
openat64: O_SYNC
__openat_2: O_SYNC" "$seen"

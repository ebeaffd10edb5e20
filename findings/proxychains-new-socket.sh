#!/bin/bash
# SPDX-License-Identifier: MIT
# Under proxychains connect() puts another socket in the program's place (dup2()), and what the
# program had done to its own is lost without an error: SO_KEEPALIVE, TCP_NODELAY, TCP_USER_TIMEOUT,
# buffer sizes, the registration in an epoll set, which never reports anything then, and close-on-exec:
# the connection is inherited by every child. O_NONBLOCK alone is kept. torsocks connects the program's
# own socket. It matters to programs that set a socket up before they connect it, as most libraries do.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch proxychains4=4.16-2 libproxychains4=4.16-2 torsocks=2.4.0-1 microsocks=1.0.3-2

printf 'quiet_mode\n[ProxyList]\nsocks5 127.0.0.1 1080\n' >"$WORK/proxychains.conf"
printf 'TorPort 1080\n' >"$WORK/torsocks.conf"
cat >"$WORK/client.py" <<'EOT'
import os
import select
import socket

s = socket.socket()  # Python's are close-on-exec
s.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
epoll = select.epoll()
epoll.register(s, select.EPOLLOUT)
s.connect(("10.9.9.9", 7000))
print("keepalive", s.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
	"nodelay", s.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY),
	"close-on-exec", int(not os.get_inheritable(s.fileno())), "epoll events", len(epoll.poll(1)))
EOT

lib=$ROOT/usr/lib/x86_64-linux-gnu
# shellcheck disable=SC2016 # the inner shell's
seen=$(inside env PROXYCHAINS_CONF_FILE="$WORK/proxychains.conf" TORSOCKS_CONF_FILE="$WORK/torsocks.conf" \
	sh -c 'ip addr add 10.9.9.9/32 dev lo
	"$1" -i 127.0.0.1 >/dev/null 2>&1 &
	python3 -c "import socket, time; s = socket.create_server((\"10.9.9.9\", 7000)); time.sleep(40)" &
	until ss -Hltn | grep -q :1080 && ss -Hltn | grep -q :7000; do sleep 0.1; done
	echo "alone: $(python3 "$4")"
	echo "torsocks: $(LD_PRELOAD=$2 python3 "$4")"
	echo "proxychains: $(LD_PRELOAD=$3 python3 "$4")"' sh "$ROOT/usr/bin/microsocks" \
	"$lib/torsocks/libtorsocks.so" "$lib/libproxychains.so.4" "$WORK/client.py")

verdict "each: keepalive 1 nodelay 1 close-on-exec 1 epoll events 1" \
	"alone: keepalive 1 nodelay 1 close-on-exec 1 epoll events 1
torsocks: keepalive 1 nodelay 1 close-on-exec 1 epoll events 1
proxychains: keepalive 0 nodelay 0 close-on-exec 0 epoll events 0" "$seen"

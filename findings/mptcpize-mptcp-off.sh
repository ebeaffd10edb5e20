#!/bin/bash
# SPDX-License-Identifier: MIT
# mptcpize is to make programs use MPTCP where the host has it. Where it is switched off (net.mptcp.enabled = 0)
# a program under it gets no stream socket at all: socket() is ENOPROTOOPT, an error that it has no way to
# expect, and TCP, which would do, is not tried. It matters to whoever enables it for a service (mptcpize enable
# writes it into the unit) and switches MPTCP off later: the service does not start any more.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch mptcpize=0.12-1 libmptcpwrap0=0.12-1

cat >"$WORK/client.py" <<'EOT'
import socket

try:
	listener = socket.create_server(("127.0.0.1", 0))
	client = socket.create_connection(listener.getsockname())
	print("connected, protocol", client.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL))
except OSError as error:
	print(error.strerror.lower())
EOT

# what "mptcpize run" preloads, from where it is here
wrapper=$ROOT/usr/lib/x86_64-linux-gnu/mptcpize/libmptcpwrap.so.0
# shellcheck disable=SC2016 # the inner shell's
seen=$(inside sh -c 'for enabled in 1 0; do
	echo $enabled >/proc/sys/net/mptcp/enabled
	echo "net.mptcp.enabled=$enabled: alone" "$(python3 "$2")"
	echo "net.mptcp.enabled=$enabled: mptcpize" "$(LD_PRELOAD=$1 python3 "$2")"
done' sh "$wrapper" "$WORK/client.py")

verdict "net.mptcp.enabled=1: alone connected, protocol 6
net.mptcp.enabled=1: mptcpize connected, protocol 262
net.mptcp.enabled=0: alone connected, protocol 6
net.mptcp.enabled=0: mptcpize connected, protocol 6" "net.mptcp.enabled=1: alone connected, protocol 6
net.mptcp.enabled=1: mptcpize connected, protocol 262
net.mptcp.enabled=0: alone connected, protocol 6
net.mptcp.enabled=0: mptcpize protocol not available" "$seen"

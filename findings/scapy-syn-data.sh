#!/bin/bash
# SPDX-License-Identifier: MIT
# scapy's TCPSession puts the segments of a stream together. Where the stream begins in the SYN (TCP
# Fast Open) it takes the SYN's own sequence number for the first byte's, so all that follows is off
# by one, and a NUL byte stands in the stream that nobody has sent: here in the head of an HTTP
# request, which scapy then shows as complete.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch python3-scapy=2.5.0+dfsg-2

seen=$(inside env PYTHONPATH="$ROOT/usr/lib/python3/dist-packages" python3 -W ignore - <<'EOF'
import logging

logging.getLogger("scapy").setLevel(logging.ERROR)
from scapy.layers.http import HTTPRequest
from scapy.layers.inet import IP, TCP
from scapy.packet import Raw
from scapy.sendrecv import sniff
from scapy.sessions import TCPSession

HEAD, REST = b"GET / HTTP/1.1\r\nHost: name.test\r\n", b"Accept: text/plain\r\n\r\n"

def segment(seq, flags, data, options=()):
	packet = IP(src="10.0.0.1", dst="10.0.0.2") / TCP(sport=40000, dport=80, seq=seq, ack=5000,
		flags=flags, options=list(options))
	return IP(bytes(packet / Raw(data) if data else packet))

def show(name, packets):
	for packet in sniff(offline=packets, session=TCPSession, quiet=True):
		if HTTPRequest in packet:
			request = bytes(packet[HTTPRequest])
			print(name + ":", "as sent" if request == HEAD + REST else request[len(HEAD) - 6:len(HEAD) + 6])

show("after an empty SYN", [segment(999, "S", b""), segment(1000, "PA", HEAD),
	segment(1000 + len(HEAD), "PA", REST)])
show("the head in the SYN", [segment(999, "S", HEAD, [("TFO", (1, 2))]),
	segment(1000 + len(HEAD), "PA", REST)])
EOF
)

verdict "each: as sent" \
	"after an empty SYN: as sent
the head in the SYN: b'test\\r\\n\\x00Accep'" "$seen"

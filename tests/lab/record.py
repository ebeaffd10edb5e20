# SPDX-License-Identifier: MIT
"""Writes what passes an interface into a pcap file, with the kernel's time stamps: record.py
INTERFACE FILE. tcpdump does not start in a user namespace of one user, as it wants to become
another one."""
import socket
import struct
import sys

ETH_P_ALL = 3
SO_RCVBUFFORCE = 33
SO_TIMESTAMPNS = 35
BUFFER = 16 << 20

link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
link.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
try:
    link.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
except PermissionError:  # then as much as net.core.rmem_max lets us
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
link.bind((sys.argv[1], 0))
with open(sys.argv[2], "wb", buffering=0) as pcap:
    pcap.write(struct.pack("=IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 1 << 18, 1))  # nanoseconds, Ethernet
    print("recording", flush=True)
    while True:
        frame, ancillary, _, _ = link.recvmsg(1 << 17, 100)
        seconds, nanoseconds = struct.unpack("qq", ancillary[0][2])
        pcap.write(struct.pack("=IIII", seconds, nanoseconds, len(frame), len(frame)) + frame)

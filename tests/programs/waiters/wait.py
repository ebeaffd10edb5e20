# SPDX-License-Identifier: MIT
"""Connects in one way and ends: wait.py blocking|poll|select|epoll ADDRESS PORT [threads].
With threads, two more threads sleep meanwhile."""
import select
import socket
import sys
import threading

how, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
done = threading.Event()
if sys.argv[4:] == ["threads"]:
    for _ in range(2):
        threading.Thread(target=done.wait, daemon=True).start()

s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
if how == "blocking":
    s.connect((address, port))
else:
    s.setblocking(False)
    s.connect_ex((address, port))
    if how == "poll":
        poll = select.poll()
        poll.register(s, select.POLLOUT)
        poll.poll(10000)
    elif how == "select":
        select.select([], [s], [], 10)
    else:
        epoll = select.epoll()
        epoll.register(s, select.EPOLLOUT)
        epoll.poll(10)
error = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
if error:
    raise OSError(error)
s.getpeername()

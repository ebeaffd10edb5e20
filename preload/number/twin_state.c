// SPDX-License-Identifier: MIT
#include "twin_state.h"

#include "sock.h"

#ifndef SO_MEMINFO
#define SO_MEMINFO 55
#endif

static int events(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLRDHUP };
	struct timespec now = { .tv_sec = 0 };

	return syscall(SYS_ppoll, &p, 1, &now, NULL, 0) > 0 ? p.revents : 0;
}

/* The queue is counted by a look at it that copies nothing. From an empty one that would take a pending
 * error; behind its last byte there is the end or not, and SO_MEMINFO says whether there is one. */
int twin_unread(int fd, int n)
{
	long r;

	if (n == 1 && !sock_int(fd, SOL_SOCKET, SO_MEMINFO, 1))
		return 0;
	if (n == 1 && events(fd) & POLLERR)
		return 1;
	r = sys_recv(fd, NULL, INT32_MAX, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
	return r < 0 ? n : (int)r;
}

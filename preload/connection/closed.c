// SPDX-License-Identifier: MIT
/* How a converted connection ended, for the log's debug level: where the program closes it by libc. */
#include "advance.h"

#include "sock.h"

#include <string.h>

/* The kernel's structures, of whose ends libc's headers do not know yet. */
#define TCP_INFO_RECEIVED   128
#define TCP_INFO_SENT	    200
#define TCP_INFO_AGAIN	    208 /* of those that were sent */
#define KERNEL_SOL_MPTCP    284
#define MPTCP_INFO	    1
#define MPTCP_INFO_SENT	    56
#define MPTCP_INFO_RECEIVED 64

struct bytes { /* -1: the kernel does not say */
	int64_t sent, received;
};

static int64_t counted(const uint8_t *info, size_t len, size_t at)
{
	int64_t n;

	if (len < at + sizeof(n))
		return -1;
	memcpy(&n, info + at, sizeof(n));
	return n;
}

static const char *how(uint8_t state)
{
	switch (state) {
	case TCP_ESTABLISHED:
		return "by the program";
	case TCP_CLOSE_WAIT:
		return "after the server";
	case TCP_FIN_WAIT1:
	case TCP_FIN_WAIT2:
		return "after its shutdown()";
	default:
		return "ended by both, or reset";
	}
}

/* Of an MPTCP socket TCP_INFO tells what is of one path. */
static struct bytes look(int fd, const char **why)
{
	uint8_t info[256] = { TCP_CLOSE };
	socklen_t len = sizeof(info);
	struct bytes b = { -1, -1 };
	int64_t again;

	if (sys_getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &len) < 0)
		len = 0;
	*why = how(info[0]);
	again = counted(info, len, TCP_INFO_AGAIN);
	if (again >= 0)
		b.sent = counted(info, len, TCP_INFO_SENT) - again;
	b.received = counted(info, len, TCP_INFO_RECEIVED);
	len = sizeof(info);
	if (sys_getsockopt(fd, KERNEL_SOL_MPTCP, MPTCP_INFO, info, &len) == 0)
		b = (struct bytes){ counted(info, len, MPTCP_INFO_SENT),
				    counted(info, len, MPTCP_INFO_RECEIVED) };
	return b;
}

SLOW void conn_log_close(int fd)
{
	struct addr via, local;
	const struct conn *c = conn_peek(fd);
	int saved_errno = errno;
	const char *why;
	struct bytes b;
	int64_t ms;

	if (!c || !conn_is_owner() || !conn_is_ours(c) || c->copied || !conn_is_of(fd, c)) {
		errno = saved_errno;
		return;
	}
	b = look(fd, &why);
	ms = (now_ns() - c->began_ns) / 1000000;
	sock_addr(fd, SYS_getpeername, &via);
	sock_addr(fd, SYS_getsockname, &local);
	log_tell(LOG_LEVEL_DEBUG, LOG_CLOSED,
		 "{server:%p}{converter: via %p}{local: from %p} after {lived_ms:%lld} ms: {how:%s}"
		 "{sent:, %lld bytes sent}{received:, %lld received}",
		 &c->server, &via, &local, (long long)ms, why, (long long)b.sent,
		 (long long)b.received);
	errno = saved_errno;
}

// SPDX-License-Identifier: MIT
#include "twin_int.h"

#include "sock.h"

#include <linux/sockios.h>
#include <stddef.h>
#include <string.h>

#ifndef SOL_MPTCP
#define SOL_MPTCP 284
#endif
#define GET_INFO    1 /* MPTCP_INFO */
#define GET_TCPINFO 2 /* MPTCP_TCPINFO */

static int queued(int fd, unsigned long request)
{
	int n = 0;

	return syscall(SYS_ioctl, fd, request, &n) < 0 ? 0 : n;
}

/* The queue is counted by a look at it that copies nothing. From an empty one that would take a pending
 * error; behind its last byte there is the end or not, and SO_MEMINFO says whether there is one. */
int twin_unread(int fd, int n)
{
	long r;

	if (n == 1 && !sock_int(fd, SOL_SOCKET, SO_MEMINFO, 1))
		return 0;
	if (n == 1 && sock_events(fd, 0) & POLLERR)
		return 1;
	r = sys_recv(fd, NULL, INT32_MAX, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
	return r < 0 ? n : (int)r;
}

/* MPTCP has its own end of each direction, and its subflows go on being ESTABLISHED until both are over. */
static uint8_t state(int fd)
{
	uint8_t shut = atomic_load(&note_at(fd)->shut), name;
	socklen_t none = 0;
	int seen = sock_events(fd, POLLRDHUP);
	bool ours = shut & 1 << SHUT_WR, peers = seen & POLLRDHUP && !(shut & 1 << SHUT_RD);

	if (seen & POLLHUP && syscall(SYS_getpeername, fd, &name, &none) < 0)
		return TCP_CLOSE;
	if (peers)
		return ours ? TCP_LAST_ACK : TCP_CLOSE_WAIT;
	if (ours)
		return queued(fd, SIOCOUTQ) ? TCP_FIN_WAIT1 : TCP_FIN_WAIT2;
	return TCP_ESTABLISHED;
}

#define SUBFLOWS 4
#define INFO_MAX 320

/* The first one has gone, or goes: one that has not says more of the connection. False: there is none. */
static bool of_living(int fd, uint8_t *info, socklen_t len)
{
	struct {
		uint32_t size, n, size_kernel, size_user; /* struct mptcp_subflow_data */
		uint8_t infos[SUBFLOWS * INFO_MAX];
	} all = { .size = 16, .size_user = len < INFO_MAX ? len : INFO_MAX };
	socklen_t size = sizeof(all);
	const uint8_t *each = all.infos;

	if (sys_getsockopt(fd, SOL_MPTCP, GET_TCPINFO, &all, &size) < 0)
		return true;
	for (uint32_t i = 0; i < all.n && i < SUBFLOWS; i++, each += all.size_user)
		if (*each == TCP_ESTABLISHED) {
			memcpy(info, each, all.size_user);
			return true;
		}
	return false;
}

static void put(uint8_t *info, socklen_t len, size_t at, const void *value, size_t size)
{
	if (at < len)
		memcpy(info + at, value, len - at < size ? len - at : size);
}

struct whole { /* struct mptcp_info; what comes behind the third byte of `more` since Linux 6.5 */
	uint8_t counts[8];
	uint32_t flags, token; /* flags: 1: fallback, 2: the other side's key is there */
	uint64_t places[3];
	uint8_t more[4];
	uint32_t retransmits;
	uint64_t retrans, sent, received, acked;
};

void twin_tcp_info(int fd, uint8_t *info, socklen_t len)
{
	struct whole whole;
	socklen_t size = sizeof(whole);
	uint32_t unsent = 0;

	/* after a fallback there is one subflow, and what it says is right */
	if (!len || *info == TCP_SYN_SENT ||
	    sys_getsockopt(fd, SOL_MPTCP, GET_INFO, &whole, &size) < 0)
		return;
	/* without any path left it is closed, which events tell net.mptcp.close_timeout later */
	if (*info == TCP_ESTABLISHED || of_living(fd, info, len) || *info != TCP_CLOSE)
		*info = state(fd);
	if (len >= 148)
		memcpy(&unsent, info + 144, sizeof(unsent)); /* tcpi_notsent_bytes */
	unsent += (uint32_t)queued(fd, SIOCOUTQNSD);
	put(info, len, 144, &unsent, sizeof(unsent));
	if (size < sizeof(whole))
		return;
	whole.acked++;					     /* TCP's SYN */
	put(info, len, 120, &whole.acked, sizeof(uint64_t)); /* tcpi_bytes_acked */
	put(info, len, 128, &whole.received, sizeof(uint64_t));
	put(info, len, 200, &whole.sent, sizeof(uint64_t)); /* tcpi_bytes_sent */
	put(info, len, 208, &whole.retrans, sizeof(uint64_t));
}

/* After a fallback to TCP the question is the subflow's, which does not know it. */
bool twin_is_answered(int fd)
{
	struct whole whole;
	socklen_t size = offsetof(struct whole, token);

	return sys_getsockopt(fd, SOL_MPTCP, GET_INFO, &whole, &size) == 0 &&
	       size == offsetof(struct whole, token) && (whole.flags & 3) == 2;
}

/* Of a connection that has failed TCP says after its error that the stream has ended. What has fallen
 * back to TCP goes on saying ENOTCONN, and shows neither POLLIN nor POLLRDHUP, until it is shut down
 * (which is ENOTCONN, and works). */
void twin_told(int fd)
{
	if (mark_get(fd) == MARK_UP &&
	    (sock_events(fd, POLLRDHUP) & (POLLHUP | POLLRDHUP)) == POLLHUP)
		sys_shutdown(fd, SHUT_RDWR);
}

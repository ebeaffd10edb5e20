// SPDX-License-Identifier: MIT
#include "top.h"

#include "genl.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/mptcp.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROOM (64 * 1024) /* the kernel fills what it is given, up to 32 KiB */

/* TCP_ESTABLISHED is 1; <netinet/tcp.h>, which has the names, does not go with <linux/tcp.h>. */
enum { SYN_RECV = 3, TIME_WAIT = 6, CLOSE = 7, NEW_SYN_RECV = 12 };
#define STATES (0xfffU & ~(1U << SYN_RECV | 1U << TIME_WAIT | 1U << CLOSE | 1U << NEW_SYN_RECV))

/* As newer headers have struct mptcp_info to its end. */
struct mptcp_bytes {
	uint8_t before[offsetof(struct mptcp_info, mptcpi_rcv_nxt) + 8];
	uint8_t local_addr_used, local_addr_max, csum_enabled;
	uint32_t retransmits;
	uint64_t retransmitted, sent, received;
};

struct question {
	struct nlmsghdr header;
	struct inet_diag_req_v2 request;
	struct rtattr attribute;
	uint32_t protocol; /* the field in the request has eight bits */
};

static int ask(int fd, int family, int protocol)
{
	struct question q = {
		.header = { .nlmsg_len = sizeof(q),
			    .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			    .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.request = { .sdiag_family = (uint8_t)family,
			     .sdiag_protocol = protocol > 255 ? IPPROTO_RAW : (uint8_t)protocol,
			     .idiag_ext = 1 << (INET_DIAG_INFO - 1),
			     .idiag_states = STATES },
		.attribute = { .rta_len = RTA_LENGTH(4), .rta_type = INET_DIAG_REQ_PROTOCOL },
		.protocol = (uint32_t)protocol,
	};

	return send(fd, &q, sizeof(q), 0) < 0 ? -errno : 0;
}

static void address(struct addr *a, int family, const void *ip, uint16_t port)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	memcpy(a->ip, mapped, sizeof(mapped));
	memcpy(family == AF_INET ? a->ip + 12 : a->ip, ip, family == AF_INET ? 4 : 16);
	a->port = ntohs(port);
}

static void tcp_bytes(struct diag_socket *s, const void *info, size_t len)
{
	struct tcp_info t = { 0 };

	memcpy(&t, info, len < sizeof(t) ? len : sizeof(t));
	s->rtt_us = t.tcpi_rtt;
	s->received = t.tcpi_bytes_received;
	s->sent = t.tcpi_bytes_sent - t.tcpi_bytes_retrans;
}

static void mptcp_bytes(struct diag_socket *s, const void *info, size_t len)
{
	struct mptcp_info m = { 0 };
	struct mptcp_bytes b;

	memcpy(&m, info, len < sizeof(m) ? len : sizeof(m));
	s->has_fallen_back = m.mptcpi_flags & MPTCP_INFO_FLAG_FALLBACK;
	if (len >= sizeof(b)) { /* Linux 6.5 */
		memcpy(&b, info, sizeof(b));
		s->received = b.received;
		s->sent = b.sent;
	}
}

static void tell(const struct nlmsghdr *h, bool is_mptcp, diag_each_fn *each, void *arg)
{
	const struct inet_diag_msg *d = NLMSG_DATA(h);
	struct diag_socket s = { .cookie = (uint64_t)d->id.idiag_cookie[1] << 32 |
					   d->id.idiag_cookie[0],
				 .inode = d->idiag_inode,
				 .uid = d->idiag_uid,
				 .state = d->idiag_state,
				 .is_mptcp = is_mptcp };
	const void *info;
	size_t len;

	address(&s.local, d->idiag_family, d->id.idiag_src, d->id.idiag_sport);
	address(&s.remote, d->idiag_family, d->id.idiag_dst, d->id.idiag_dport);
	info = genl_find((const uint8_t *)(d + 1), h->nlmsg_len - NLMSG_LENGTH(sizeof(*d)),
			 INET_DIAG_INFO, &len);
	if (info)
		(is_mptcp ? mptcp_bytes : tcp_bytes)(&s, info, len);
	each(&s, arg);
}

/* 1: there is more to come. */
static int answers(int fd, bool is_mptcp, diag_each_fn *each, void *arg)
{
	static _Alignas(struct nlmsghdr) uint8_t buffer[ROOM];
	ssize_t got = recv(fd, buffer, sizeof(buffer), 0);
	unsigned int left = (unsigned int)got;
	const struct nlmsghdr *h;

	if (got < 0)
		return errno == EINTR ? 1 : -errno;
	for (h = (const void *)buffer; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
		if (h->nlmsg_type == NLMSG_DONE)
			return 0;
		if (h->nlmsg_type == NLMSG_ERROR)
			return ((const struct nlmsgerr *)NLMSG_DATA(h))->error;
		if (h->nlmsg_len >= NLMSG_LENGTH(sizeof(struct inet_diag_msg)))
			tell(h, is_mptcp, each, arg);
	}
	return got ? 1 : -EBADMSG;
}

static int dump(int fd, int family, int protocol, diag_each_fn *each, void *arg)
{
	int r = ask(fd, family, protocol);

	if (r == 0)
		do
			r = answers(fd, protocol == IPPROTO_MPTCP, each, arg);
		while (r > 0);
	return r;
}

int diag_each(diag_each_fn *each, void *arg, bool *has_mptcp)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG), r;

	if (fd < 0)
		return -errno;
	/* MPTCP's first: a connection that begins meanwhile is then only taken for one of TCP */
	*has_mptcp = dump(fd, AF_INET, IPPROTO_MPTCP, each, arg) == 0 &&
		     dump(fd, AF_INET6, IPPROTO_MPTCP, each, arg) == 0;
	r = dump(fd, AF_INET, IPPROTO_TCP, each, arg);
	if (r == 0)
		r = dump(fd, AF_INET6, IPPROTO_TCP, each, arg);
	if (r == -ENOENT) /* no IPv6 */
		r = 0;
	close(fd);
	return r;
}

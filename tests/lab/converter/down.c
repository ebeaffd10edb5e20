// SPDX-License-Identifier: MIT
#include "conn.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static int open_socket(int family, int protocol)
{
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);

	return fd < 0 ? -errno : fd;
}

int down_open(struct down_wish *wish)
{
	int family = addr_is_v4(&wish->target) ? AF_INET : AF_INET6;
	int fd = -EPROTONOSUPPORT;

	if (wish->mptcp)
		fd = open_socket(family, IPPROTO_MPTCP);
	if (fd == -EPROTONOSUPPORT || fd == -ENOPROTOOPT || fd == -EINVAL) {
		wish->mptcp = false;
		fd = open_socket(family, IPPROTO_TCP);
	}
	if (fd < 0)
		return fd;
	sockopt_set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	/* refused on MPTCP sockets (LINUX-FACTS 4.2): there errno alone must do */
	if (family == AF_INET)
		sockopt_set(fd, IPPROTO_IP, IP_RECVERR, 1);
	else
		sockopt_set(fd, IPPROTO_IPV6, IPV6_RECVERR, 1);
	return fd;
}

/* The kernel, not the Connect TLV, decides which cookie the SYN carries: it has its own per
 * server. Without one the SYN carries an empty option and no data (LINUX-FACTS 1.1), which is
 * also what an empty option in the Connect asks for. */
static int send_syn(int fd, const struct sockaddr *sa, socklen_t len, struct cvt_span data,
		    size_t *used)
{
	ssize_t n = sendto(fd, data.p, data.len, MSG_FASTOPEN | MSG_DONTWAIT | MSG_NOSIGNAL, sa,
			   len);

	if (n > 0)
		*used = (size_t)n;
	if (n < 0 && errno != EINPROGRESS)
		return -errno;
	return 0;
}

int down_connect(int fd, struct down_wish *wish, size_t *used)
{
	struct sockaddr_storage ss;
	socklen_t len = addr_to_sockaddr(&wish->target,
					 addr_is_v4(&wish->target) ? AF_INET : AF_INET6, &ss);
	const struct sockaddr *sa = (const struct sockaddr *)&ss;
	int err;

	*used = 0;
	if (wish->fast_open != DOWN_FO_NO) {
		err = send_syn(fd, sa, len, wish->data, used);
		if (err != -EOPNOTSUPP)
			return err;
		wish->fast_open = DOWN_FO_NO; /* net.ipv4.tcp_fastopen says no */
	}
	if (connect(fd, sa, len) < 0 && errno != EINPROGRESS)
		return -errno;
	return 0;
}

/* Nobody else's can be bound. */
bool down_is_own(const struct addr *target)
{
	int family = addr_is_v4(target) ? AF_INET : AF_INET6;
	struct sockaddr_storage ss;
	struct addr host = *target;
	socklen_t len;
	bool own;
	int fd;

	host.port = 0;
	len = addr_to_sockaddr(&host, family, &ss);
	fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	own = fd >= 0 && bind(fd, (struct sockaddr *)&ss, len) == 0;
	if (fd >= 0)
		close(fd);
	return own;
}

/* ------------------------------------------------------------------ failures */

void down_local_failure(int err, const struct options *o, struct failure *f)
{
	switch (err) {
	case EMFILE:
	case ENFILE:
	case ENOMEM:
	case ENOBUFS:
	case EAGAIN:
		failure_set(f, CVT_ERR_RESOURCE, "no resources for the downstream connection");
		break;
	default: /* ENETUNREACH, EADDRNOTAVAIL, EACCES of a local rule... */
		failure_set(f, CVT_ERR_NETWORK, "downstream connection fails here");
		break;
	}
	f->value[f->n++] = (uint8_t)o->retry_after;
}

/* No ICMP came, so the code is made up: "host unreachable", in IPv6 "address unreachable". The other
 * candidate, Error 65, would make clients keep off the whole converter because of one dead server
 * (P-29). */
void down_mute(bool v4, struct failure *f)
{
	failure_set(f, CVT_ERR_UNREACHABLE, "server is mute");
	f->value[f->n++] = v4 ? ICMP_HOST_UNREACH : ICMP6_DST_UNREACH_ADDR;
}

/* Takes one message off the error queue. True if it was an ICMP one. */
static bool next_icmp(int fd, struct sock_extended_err *ee)
{
	union {
		char bytes[512];
		struct cmsghdr align;
	} control;
	char payload[64];
	struct iovec iov = { payload, sizeof(payload) };
	struct msghdr mh = { .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.bytes,
			     .msg_controllen = sizeof(control.bytes) };

	if (recvmsg(fd, &mh, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
		return false;
	ee->ee_origin = SO_EE_ORIGIN_NONE;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&mh); c; c = CMSG_NXTHDR(&mh, c))
		if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) ||
		    (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR))
			memcpy(ee, CMSG_DATA(c), sizeof(*ee));
	return true;
}

static bool is_unreachable(const struct sock_extended_err *ee)
{
	return (ee->ee_origin == SO_EE_ORIGIN_ICMP && ee->ee_type == ICMP_DEST_UNREACH) ||
	       (ee->ee_origin == SO_EE_ORIGIN_ICMP6 && ee->ee_type == ICMP6_DST_UNREACH);
}

/* The last Destination Unreachable in the queue; path MTU messages are not in it. */
static bool find_icmp(int fd, struct sock_extended_err *found)
{
	struct sock_extended_err ee;
	bool any = false;

	while (next_icmp(fd, &ee)) {
		if (!is_unreachable(&ee))
			continue;
		*found = ee;
		any = true;
	}
	return any;
}

/* MPTCP sockets show no ICMP message, only the errno that the kernel made of it: this is the
 * way back, by the table in PROTOCOL section 2. */
static int icmp_code_of(int err, bool v4)
{
	switch (err) {
	case ENETUNREACH:
		return ICMP_NET_UNREACH;
	case EHOSTUNREACH:
		return v4 ? ICMP_HOST_UNREACH : ICMP6_DST_UNREACH_ADDR;
	case ENOPROTOOPT:
		return ICMP_PROT_UNREACH;
	case EOPNOTSUPP:
		return ICMP_SR_FAILED;
	case EHOSTDOWN:
		return ICMP_HOST_UNKNOWN;
	case ENONET:
		return ICMP_HOST_ISOLATED;
	case EACCES:
		return ICMP6_DST_UNREACH_ADMIN;
	}
	return -1;
}

static void explain(int err, bool v4, const struct options *o, struct failure *f)
{
	int code = icmp_code_of(err, v4);

	if (err == ECONNREFUSED || err == ECONNRESET) {
		failure_set(f, CVT_ERR_RESET, "server sent RST");
	} else if (err == ETIMEDOUT) {
		down_mute(v4, f);
	} else if (code >= 0) {
		failure_set(f, CVT_ERR_UNREACHABLE, "unreachable, code from errno");
		f->value[f->n++] = (uint8_t)code;
	} else {
		down_local_failure(err, o, f);
	}
}

/* Which ICMP errors end the attempt? Those that end a connect() on Linux: every Destination
 * Unreachable (RFC 5461 would go on after the soft ones). The kernel itself only remembers the
 * message when it arrives while connect() still holds the socket, as it does on a veth pair, and
 * then gives up a second later, at the SYN's retransmission; that is chance, so we do not wait. */
int down_result(int fd, uint32_t events, const struct options *o, struct failure *f)
{
	struct sock_extended_err ee;
	bool v4 = sockopt_get(fd, SOL_SOCKET, SO_DOMAIN) == AF_INET;
	int err = sockopt_get(fd, SOL_SOCKET, SO_ERROR); /* first: the queue's reader clears it */

	if (err == 0 && (events & EPOLLOUT) && !(events & EPOLLHUP)) {
		/* from now on only what ends the connection shall show as EPOLLERR */
		sockopt_set(fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_RECVERR : IPV6_RECVERR, 0);
		return 1;
	}
	if (find_icmp(fd, &ee)) {
		failure_set(f, CVT_ERR_UNREACHABLE, "ICMP");
		f->value[f->n++] = ee.ee_code;
		f->icmp_type = ee.ee_type;
		return -(err > 0 ? err : EHOSTUNREACH);
	}
	if (err == 0 && !(events & EPOLLHUP))
		return 0;
	explain(err ? err : ECONNRESET, v4, o, f);
	return -(err ? err : ECONNRESET);
}

/* ------------------------------------------------------- the SYN+ACK's options */

bool down_is_mptcp(int fd)
{
	return sockopt_get(fd, IPPROTO_TCP, TCP_IS_MPTCP) == 1;
}

static size_t put_opt(uint8_t *out, size_t at, const void *opt, size_t len)
{
	memcpy(out + at, opt, len);
	return at + len;
}

/* Values that TCP_INFO does not tell are zero: timestamps and the server's MPTCP key. */
size_t down_rebuild_opts(int fd, uint8_t out[static CVT_SYN_OPTS_MAX])
{
	static const uint8_t timestamps[12] = { 1, 1, 8, 10 }, sack[4] = { 1, 1, 4, 2 };
	static const uint8_t mp_capable[12] = { CVT_OPT_MPTCP, 12, 0x01, 0x01 }; /* version 1 */
	struct tcp_info ti = { 0 };
	socklen_t len = sizeof(ti);
	size_t n = 0;
	unsigned int mss;

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &ti, &len) < 0)
		return 0;
	/* tcpi_snd_mss is what is left for data beside the timestamps */
	mss = ti.tcpi_snd_mss + (ti.tcpi_options & TCPI_OPT_TIMESTAMPS ? 12 : 0);
	n = put_opt(out, n, (uint8_t[]){ 2, 4, (uint8_t)(mss >> 8), (uint8_t)mss }, 4);
	if (ti.tcpi_options & TCPI_OPT_SACK)
		n = put_opt(out, n, sack, sizeof(sack));
	if (ti.tcpi_options & TCPI_OPT_TIMESTAMPS)
		n = put_opt(out, n, timestamps, sizeof(timestamps));
	if (ti.tcpi_options & TCPI_OPT_WSCALE)
		n = put_opt(out, n, (uint8_t[]){ 1, 3, 3, ti.tcpi_snd_wscale }, 4);
	if (down_is_mptcp(fd))
		n = put_opt(out, n, mp_capable, sizeof(mp_capable));
	return n;
}

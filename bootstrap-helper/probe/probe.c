// SPDX-License-Identifier: MIT
/* The connections of a probe. What they mean is probe_plan.c's. */
#include "probe.h"

#include <errno.h>
#include <linux/tcp.h>
#include <linux/tcp_metrics.h>
#include <netinet/in.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "genl.h"

#ifndef TCP_IS_MPTCP
#define TCP_IS_MPTCP 43
#endif

/* tcpi_fastopen_client_fail (LINUX-FACTS 1.9) */
enum { FAIL_NOT_ACKED = 2, FAIL_SYN_AGAIN = 3 };

/* Info asks for nothing that a server or another host is needed for: a converter that serves it
 * answers at once. There is time for one lost packet each way. */
#define REPLY_MS     1000
#define REPLY_FACTOR 4

struct attempt {
	int fd, stop_fd;
	int64_t started_us, until_us; /* CLOCK_MONOTONIC */
	struct cvt_writer request;
	size_t sent;
	struct hs reply;
	struct probe_seen *seen;
};

static int64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static uint32_t since(int64_t started_us)
{
	int64_t us = now_us() - started_us;

	return us <= 0 ? 1 : us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

/* 0, -ETIMEDOUT or -ECANCELED. */
static int wait_for(const struct attempt *a, short events)
{
	struct pollfd fds[] = { { .fd = a->fd, .events = events },
				{ .fd = a->stop_fd, .events = POLLIN } };

	for (;;) {
		int64_t left_us = a->until_us - now_us();
		int n = poll(fds, 2, left_us > 0 ? (int)((left_us + 999) / 1000) : 0);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0 && fds[1].revents)
			return -ECANCELED;
		if (n > 0)
			return 0;
		if (n == 0 && left_us <= 0)
			return -ETIMEDOUT;
	}
}

static int pending_error(int fd)
{
	int err = 0;
	socklen_t len = sizeof(err);

	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 ? -errno : -err;
}

static int flag(int fd, int name)
{
	int on = 0;
	socklen_t len = sizeof(on);

	return getsockopt(fd, IPPROTO_TCP, name, &on, &len) == 0 && on;
}

/* -------------------------------------------------------------------- the SYN */

/* A socket like the one that programs will get. */
static int open_socket(const struct probe_request *q, const struct probe_step *step,
		       struct probe_seen *seen)
{
	int family = addr_is_v4(&q->to) ? AF_INET : AF_INET6;
	int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
	bool mptcp = q->mptcp && !step->tcp;
	int fd = mptcp ? socket(family, type, IPPROTO_MPTCP) : -1;

	if (fd >= 0)
		return fd;
	seen->mptcp_off = mptcp;
	fd = socket(family, type, IPPROTO_TCP);
	return fd < 0 ? -errno : fd;
}

static int write_request(struct attempt *a, const struct probe_step *step, const struct probe *p)
{
	cvt_begin(&a->request, step->dialect);
	if (step->with_cookie)
		cvt_put_list(&a->request, CVT_TLV_COOKIE,
			     (struct cvt_span){ p->convert_cookie, p->convert_cookie_len });
	cvt_put_info(&a->request);
	if (step->unknown_tlv)
		cvt_put_unknown(&a->request, PROBE_UNKNOWN_TLV);
	return cvt_finish(&a->request);
}

/* 0: the SYN is out. As exchange_open() does it (LINUX-FACTS 1.1). */
static int send_syn(struct attempt *a, const struct probe_step *step, const struct addr *to)
{
	struct sockaddr_storage ss;
	socklen_t len = addr_to_sockaddr(to, addr_is_v4(to) ? AF_INET : AF_INET6, &ss);
	ssize_t n = -1;
	int on = 1;

	if (step->syn == PROBE_SYN_BARE)
		setsockopt(a->fd, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, &on, sizeof(on));
	errno = EOPNOTSUPP;
	if (step->syn != PROBE_SYN_PLAIN) {
		n = sendto(a->fd, a->request.bytes, a->request.len,
			   MSG_FASTOPEN | MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&ss, len);
		a->seen->fast_open_off = n < 0 && errno == EOPNOTSUPP;
	}
	if (n > 0) {
		a->sent = (size_t)n;
		a->seen->syn_data = true;
		return 0;
	}
	if (n < 0 && errno == EOPNOTSUPP)
		n = connect(a->fd, (struct sockaddr *)&ss, len);
	return n == 0 || errno == EINPROGRESS ? 0 : -errno;
}

/* ------------------------------------------------------------ what became of it */

static void look_at_connection(struct attempt *a)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);
	struct probe_seen *seen = a->seen;

	seen->connected = true;
	seen->handshake_us = since(a->started_us);
	if (getsockopt(a->fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0) {
		seen->syn_data_acked = seen->syn_data && info.tcpi_options & TCPI_OPT_SYN_DATA;
		/* data that the SYN+ACK did not acknowledge has been sent again by now, alone */
		seen->syn_again = info.tcpi_fastopen_client_fail == FAIL_SYN_AGAIN ||
				  (info.tcpi_fastopen_client_fail != FAIL_NOT_ACKED &&
				   info.tcpi_total_retrans > 0);
		/* the kernel's own measure has not waited for this process */
		if (info.tcpi_rtt && info.tcpi_rtt < seen->handshake_us && !seen->syn_again)
			seen->handshake_us = info.tcpi_rtt;
	}
	seen->is_mptcp = flag(a->fd, TCP_IS_MPTCP);
}

static int connected(struct attempt *a)
{
	int r = wait_for(a, POLLOUT);

	if (r == 0)
		r = pending_error(a->fd);
	if (r == -ECONNRESET ||
	    r == -EPIPE) /* what was said before can be read (LINUX-FACTS 2.4) */
		r = 0;
	if (r == 0)
		look_at_connection(a);
	return r;
}

static int send_rest(struct attempt *a)
{
	while (a->sent < a->request.len) {
		ssize_t n = send(a->fd, a->request.bytes + a->sent, a->request.len - a->sent,
				 MSG_DONTWAIT | MSG_NOSIGNAL);
		int r = n < 0 && errno == EAGAIN ? wait_for(a, POLLOUT) : n < 0 ? -errno : 0;

		if (r < 0)
			return r;
		a->sent += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static int read_reply(struct attempt *a)
{
	int64_t asked_us = a->seen->syn_data ? a->started_us : now_us();
	int64_t until_us = now_us() + REPLY_MS * 1000 +
			   REPLY_FACTOR * (int64_t)a->seen->handshake_us;

	if (until_us < a->until_us)
		a->until_us = until_us;
	for (;;) {
		ssize_t n = recv(a->fd, hs_room(&a->reply), hs_want(&a->reply), MSG_DONTWAIT);
		int r = n < 0 && errno == EAGAIN ? wait_for(a, POLLIN) :
			n < 0			 ? -errno :
			n == 0			 ? -ECONNRESET :
						   0;

		if (r < 0)
			return r;
		if (n > 0 && hs_took(&a->reply, (size_t)n, true, &a->seen->result) != HS_MORE) {
			a->seen->reply_us = since(asked_us);
			return 0;
		}
	}
}

static int attempt(struct attempt *a, const struct probe_request *q, const struct probe_step *step,
		   const struct probe *p)
{
	int r = write_request(a, step, p);

	if (r < 0)
		return r;
	a->fd = open_socket(q, step, a->seen);
	if (a->fd < 0)
		return a->fd;
	a->started_us = now_us();
	a->until_us = a->started_us + (int64_t)step->timeout_ms * 1000;
	hs_start(&a->reply, step->dialect, true);
	r = send_syn(a, step, &q->to);
	if (r == 0)
		r = connected(a);
	if (r == 0)
		r = send_rest(a);
	return r == 0 ? read_reply(a) : r;
}

/* ------------------------------------------------------------- what the kernel remembers */

static void put_address(struct genl_message *m, const struct addr *a, uint16_t v4, uint16_t v6)
{
	if (addr_is_v4(a))
		genl_put(m, v4, a->ip + 12, 4);
	else
		genl_put(m, v6, a->ip, 16);
}

static bool look(int fd, const struct addr *to, const struct addr *source)
{
	static const struct addr any;
	uint16_t number = genl_family(fd, TCP_METRICS_GENL_NAME);
	struct genl_message m;
	size_t len;

	genl_begin(&m, number, TCP_METRICS_CMD_GET, TCP_METRICS_GENL_VERSION);
	put_address(&m, to, TCP_METRICS_ATTR_ADDR_IPV4, TCP_METRICS_ATTR_ADDR_IPV6);
	if (!addr_equal_ip(source, &any))
		put_address(&m, source, TCP_METRICS_ATTR_SADDR_IPV4, TCP_METRICS_ATTR_SADDR_IPV6);
	return number && genl_ask(fd, &m) == 0 &&
	       genl_find_in(&m, TCP_METRICS_ATTR_FOPEN_COOKIE, &len) && len > 0;
}

bool metrics_has_tfo_cookie(const struct addr *to, const struct addr *source)
{
	int fd = genl_open();
	bool has;

	if (fd < 0)
		return false;
	has = look(fd, to, source);
	genl_close(fd);
	return has;
}

/* ------------------------------------------------------------------------------ all of it */

void probe_converter(const struct probe_request *q, struct probe *p)
{
	struct probe_plan plan;
	struct probe_step step;

	probe_begin(&plan, q, p);
	while (probe_next(&plan, &step)) {
		struct probe_seen seen = { 0 };
		struct attempt a = { .fd = -1, .stop_fd = q->stop_fd, .seen = &seen };

		seen.err = -attempt(&a, q, &step, p);
		if (seen.connected)
			seen.tfo_cookie = metrics_has_tfo_cookie(&q->to, &q->source);
		probe_learn(&plan, &step, &seen);
		if (a.fd >= 0)
			close(a.fd);
		explicit_bzero(&a, sizeof(a));
	}
	explicit_bzero(&plan, sizeof(plan));
}

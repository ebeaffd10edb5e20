// SPDX-License-Identifier: MIT
/* How an exchange goes on: the rest of the message, the reply, and what the reply means. */
#include "upstream_int.h"

#include "converters.h"
#include "real.h"
#include "servers.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <sys/ioctl.h>

void upstream_go_on(struct upstream *u, enum upstream_phase phase)
{
	uint32_t now = atomic_load(&u->phase);

	while (now < UPSTREAM_CONNECTED && !atomic_compare_exchange_weak(&u->phase, &now, phase))
		;
}

void upstream_request_taken(struct upstream *u)
{
	hs_start(&u->reply, u->dialect, u->converter->dialect_is_auto);
	upstream_go_on(u, UPSTREAM_REPLY);
}

int upstream_tcp_state(int fd)
{
	struct tcp_info info = { .tcpi_state = 0 };
	socklen_t len = offsetof(struct tcp_info, tcpi_ca_state);

	return sys_getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0 ? 0 : info.tcpi_state;
}

/* The Extended TCP Header tells what the server answered to MP_CAPABLE, if that was asked. */
static void learn(const struct upstream *u, struct cvt_span options)
{
	struct cvt_span tfo_cookie = { NULL, 0 };
	struct cvt_opt option;
	size_t at = 0;

	if (!u->asks_mptcp || !options.p)
		return;
	while (cvt_next_opt(options, &at, &option))
		if (option.kind == CVT_OPT_FAST_OPEN)
			tfo_cookie = option.value;
	servers_learn(&u->server, cvt_has_mp_capable(options), tfo_cookie, state_now_ms());
}

static void finish(struct upstream *u, int fd, const struct hs_result *result)
{
	converters_replied(u, result);
	switch (result->verdict) {
	case HS_MORE:
		break;
	case HS_CONNECTED:
		converters_connected(u, fd);
		learn(u, result->msg.ext_tcp_header);
		upstream_end(u, fd, UPSTREAM_CONNECTED);
		upstream_log_connected(u, fd);
		break;
	case HS_COOKIE:
		upstream_retry_with_cookie(u, fd, result);
		break;
	case HS_SERVER:
	case HS_CONVERTER:
		if (upstream_retry_without_options(u, fd, result) ||
		    upstream_retry_without_cookie(u, fd, result))
			break;
		upstream_give_up(u, fd, result->verdict, result->err,
				 result->parse != CVT_OK ? cvt_verdict_name(result->parse) :
							   cvt_err_name(result->msg.error.code),
				 result);
		break;
	}
}

static void read_reply(struct upstream *u, int fd)
{
	struct hs_result result;

	while (upstream_phase(u) == UPSTREAM_REPLY) {
		long n = sys_recv(fd, hs_room(&u->reply), hs_want(&u->reply), MSG_DONTWAIT);

		if (n == -EAGAIN || n == -EINTR || !upstream_is_pending(u))
			return;
		if (n <= 0) {
			upstream_give_up(u, fd, HS_CONVERTER, n ? (int)-n : ECONNRESET,
					 n ? "no reply" : "closed before the reply was whole",
					 NULL);
			return;
		}
		if (hs_took(&u->reply, (size_t)n, addr_is_v4(&u->server), &result) != HS_MORE)
			finish(u, fd, &result);
	}
}

static void send_owed(struct upstream *u, int fd)
{
	size_t left = u->request.len - u->sent;
	long n = sys_sendto(fd, u->request.bytes + u->sent, left, MSG_DONTWAIT | MSG_NOSIGNAL, NULL,
			    0);

	if (n == -EAGAIN || n == -EINTR || !upstream_is_pending(u))
		return;
	if (n < 0) {
		upstream_give_up(u, fd, HS_CONVERTER, (int)-n, "no connection to the converter",
				 NULL);
		return;
	}
	u->sent = (uint16_t)(u->sent + n);
	if (u->sent == u->request.len)
		upstream_request_taken(u);
}

/* Has the connection to the converter failed with nothing left to read, and is that failure what
 * the program shall see? Then the kernel shows it better than we could: reading the error would
 * use it up, and epoll would not report it (EPOLLERR). */
static bool leave_to_kernel(const struct upstream *u, int fd)
{
	int unread = 1;

	return !u->fall_back && !u->mptcp && !upstream_has_elsewhere(u) &&
	       upstream_tcp_state(fd) == TCP_CLOSE &&
	       sys_result(syscall(SYS_ioctl, fd, FIONREAD, &unread)) == 0 && unread == 0;
}

void upstream_advance(struct upstream *u, int fd, bool broken)
{
	if (!upstream_try_lock(u))
		return;
	if (broken && upstream_is_pending(u) && leave_to_kernel(u, fd)) {
		upstream_log_failed(u, "failed", "no connection to the converter", 0);
		converters_failed(u, NULL, 0);
		upstream_undo_no_cookie(u, fd);
		upstream_end(u, fd, UPSTREAM_DIRECT);
	}
	if (upstream_phase(u) == UPSTREAM_OWED)
		send_owed(u, fd);
	else if (upstream_phase(u) == UPSTREAM_REPLY)
		read_reply(u, fd);
	if (upstream_phase(u) == UPSTREAM_REPLY && now_ns() >= atomic_load(&u->look_ns))
		upstream_look(u, fd);
	upstream_unlock(u);
}

void upstream_expire(struct upstream *u, int fd)
{
	if (!upstream_try_lock(u))
		return;
	if (upstream_is_pending(u))
		upstream_give_up(u, fd, HS_CONVERTER, ETIMEDOUT, "no reply in time", NULL);
	upstream_unlock(u);
}

short upstream_wants(const struct upstream *u)
{
	return upstream_phase(u) == UPSTREAM_OWED ? POLLOUT : POLLIN;
}

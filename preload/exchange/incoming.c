// SPDX-License-Identifier: MIT
/* The message at the head of a connection that a converter has made to us, and our header, which is the
 * answer to it. */
#include "converters.h"
#include "exchange_int.h"
#include "shim.h"
#include "sock.h"
#include "traces.h"

#include <string.h>

#define ACK_LOOK_NS 2000000

struct exchange *exchange_incoming(uint64_t sock_cookie, const struct config_converter *converter,
				   const struct addr *via, int family, bool mptcp)
{
	struct exchange *u = exchange_new(sock_cookie);
	int64_t now = now_ns();

	if (!u)
		return NULL;
	u->started_ns = u->part_ns = u->attempt_ns = now;
	u->started_ms = state_now_ms();
	u->limit_ns = u->deadline_ns = now + (int64_t)shim_config()->timeout_ms * 1000000;
	converters_take(u, converter);
	u->via = *via;
	u->health = (struct health_key){ .converter = *via };
	u->family = family;
	u->mptcp = mptcp;
	u->dialect = converter->dialect;
	u->incoming = u->stays = true;
	hs_start_incoming(&u->reply, u->dialect, converter->dialect_is_auto);
	exchange_go_on(u, EXCHANGE_REPLY);
	return u;
}

/* The converter gets a reset, and the program sees one. */
enum exchange_event exchange_refuse(struct exchange_turn *t, const char *why)
{
	report_line(&t->report, t->u, LOG_LEVEL_ERROR, LOG_REFUSED, why, 0);
	t->failure = (struct exchange_failure){ .err = ECONNRESET, .why = why };
	exchange_hold(t->u);
	return EXCHANGE_IS_REFUSED;
}

/* Nothing is taken away before it is known to be a message's. A part of the header would be there again at
 * every look, so the kernel tells of it when it is whole. */
static bool has_begun(struct exchange_turn *t, enum exchange_event *event)
{
	struct exchange *u = t->u;
	uint8_t head[CVT_HEADER_LEN];
	long n = sys_recv(t->fd, head, sizeof(head), MSG_PEEK | MSG_DONTWAIT);

	*event = EXCHANGE_GOES_ON;
	if (n == -EAGAIN || n == -EINTR)
		return false;
	if (n < 0) {
		*event = exchange_refuse(t, "reset before the message was whole");
		return false;
	}
	if (n == 0 || !hs_may_begin(&u->reply, (struct cvt_span){ head, (size_t)n }) ||
	    (n < (long)sizeof(head) && sock_events(t->fd, POLLRDHUP))) { /* that was all */
		exchange_end(u, t->fd, EXCHANGE_DIRECT); /* what has come is the program's */
		return false;
	}
	if (n == (long)sizeof(head))
		return true;
	if (!u->rcvlowat) /* accept_begin() has looked: it is not more */
		u->rcvlowat = 1;
	sock_set_int(t->fd, SOL_SOCKET, SO_RCVLOWAT, CVT_HEADER_LEN);
	return false;
}

static enum exchange_event read_message(struct exchange_turn *t)
{
	struct exchange *u = t->u;
	enum exchange_event event;
	struct hs_result result;

	if (!u->reply.got && !has_begun(t, &event))
		return event;
	for (;;) {
		long n = exchange_recv(u, t->fd);

		if (n == -EAGAIN || n == -EINTR || !exchange_is_pending(u))
			return EXCHANGE_GOES_ON;
		if (n <= 0)
			return exchange_refuse(t, n ? "reset before the message was whole" :
						      "closed before the message was whole");
		if (u->rcvlowat)
			sock_set_int(t->fd, SOL_SOCKET, SO_RCVLOWAT, 1);
		if (hs_took(&u->reply, (size_t)n, false, &result) == HS_MORE)
			continue;
		report_received(&t->report, u, &result);
		if (result.verdict != HS_CONNECTED)
			return exchange_refuse(t, result.parse == CVT_OK ?
							  "no Connect TLV with a remote host" :
							  cvt_verdict_name(result.parse));
		memcpy(u->server.ip, result.msg.connect.addr, sizeof(u->server.ip));
		u->server.port = result.msg.connect.port;
		t->report.server = u->server;
		return EXCHANGE_GOES_ON;
	}
}

/* P-01, P-03: in the words of who has asked. */
static enum exchange_event answer(struct exchange_turn *t)
{
	struct exchange *u = t->u;
	const uint8_t header[CVT_HEADER_LEN] = { CVT_VERSION, 1, u->reply.buf[2], u->reply.buf[3] };

	/* what an MPTCP socket is given to send before the third ACK stays there (LINUX-FACTS 2b.3), and no event tells
	 * of that one */
	if (u->mptcp && sock_tcp_state(t->fd) == TCP_SYN_RECV) {
		atomic_store(&u->look_ns, now_ns() + ACK_LOOK_NS);
		return EXCHANGE_GOES_ON;
	}
	if (traces_send(t->fd, u->stamps, header, sizeof(header), MSG_DONTWAIT | MSG_NOSIGNAL) !=
	    (long)sizeof(header))
		return exchange_refuse(t, "reset before it was answered");
	if (u->corked)
		traces_push(t->fd);
	report_accepted(&t->report, u);
	exchange_end(u, t->fd, EXCHANGE_CONNECTED);
	return EXCHANGE_GOES_ON;
}

enum exchange_event exchange_read_incoming(struct exchange_turn *t)
{
	enum exchange_event event = EXCHANGE_GOES_ON;

	if (!t->u->server.port)
		event = read_message(t);
	return t->u->server.port ? answer(t) : event;
}

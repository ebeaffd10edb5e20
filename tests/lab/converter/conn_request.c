// SPDX-License-Identifier: MIT
/* The client's message, and the downstream connection that it asks for. */
#include "conn.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#define SYN_DATA_MAX 1420   /* bytes: more does not fit into a SYN */
#define HOLD_MS	     130000 /* then a Linux client has given up its SYN */

/* ------------------------------------------------------------ downstream connect */

static void down_failed(struct conn *c, const struct failure *f)
{
	loop_disarm(&c->timer);
	conn_close_down(c);
	if (c->held && c->up.fd < 0)
		conn_held_refuse(c, f);
	else
		conn_fail(c, f);
}

/* The Connect TLV's options that are asked of us (S-04, S-07). */
static void read_wish(struct conn *c)
{
	const struct options *o = conn_options();
	struct cvt_span value;

	c->wish.target = c->request.target;
	c->wish.mptcp = o->mptcp_down || request_has_opt(&c->request, CVT_OPT_MPTCP, NULL);
	c->wish.fast_open = DOWN_FO_NO;
	if (request_has_opt(&c->request, CVT_OPT_FAST_OPEN, &value))
		c->wish.fast_open = value.len ? DOWN_FO_DATA : DOWN_FO_ASK;
}

/* With a Fast Open cookie in the Connect the client allows its data in the SYN (S-07). Of a held
 * SYN they are known; else they are peeked at, so that what the kernel does not take is relayed
 * as usual. */
static int send_down_syn(struct conn *c, struct cvt_span early_data)
{
	uint8_t data[SYN_DATA_MAX];
	ssize_t n = 0;
	int err;

	if (c->wish.fast_open == DOWN_FO_DATA && c->up.fd >= 0) {
		n = recv(c->up.fd, data, sizeof(data), MSG_PEEK | MSG_DONTWAIT);
		early_data = (struct cvt_span){ data, n > 0 ? (size_t)n : 0 };
	}
	if (c->wish.fast_open == DOWN_FO_DATA)
		c->wish.data = early_data;
	err = down_connect(c->down.fd, &c->wish, &c->early);
	c->wish.data = (struct cvt_span){ NULL, 0 };
	c->discard = c->early;
	if (c->discard && c->up.fd >= 0 &&
	    recv(c->up.fd, NULL, c->discard, MSG_TRUNC | MSG_DONTWAIT) > 0)
		c->discard = 0;
	return err;
}

static void log_down(const struct conn *c)
{
	static const char *const fast_open[] = { "no", "ask", "data" };
	char target[ADDR_TEXT_MAX];

	addr_format(&c->wish.target, target);
	log_event("down", "conn=%lu target=%s mptcp=%s fastopen=%s early=%zu", c->id, target,
		  c->wish.mptcp ? "yes" : "no", fast_open[c->wish.fast_open], c->early);
}

static void connect_down(struct conn *c, struct cvt_span early_data)
{
	const struct options *o = conn_options();
	struct failure f;
	int err;

	read_wish(c);
	c->state = CONN_CONNECTING;
	if (request_is_own_port(&c->wish.target, o) && down_is_own(&c->wish.target)) {
		failure_set(&f, CVT_ERR_NOT_AUTHORIZED, "target is the converter");
		down_failed(c, &f);
		return;
	}
	c->down.fd = down_open(&c->wish);
	err = c->down.fd < 0 ? c->down.fd : send_down_syn(c, early_data);
	if (err == 0)
		err = loop_watch(&c->down, EPOLLOUT);
	log_down(c);
	if (err < 0) {
		down_local_failure(-err, o, &f);
		down_failed(c, &f);
		return;
	}
	if (o->connect_timeout_ms)
		loop_arm(&c->timer, o->connect_timeout_ms);
	else if (c->held)
		loop_arm(&c->timer, HOLD_MS);
}

void conn_down_ready(struct conn *c, uint32_t events)
{
	struct failure f;
	int r = down_result(c->down.fd, events, conn_options(), &f);

	if (r == 0)
		return;
	if (r < 0) {
		down_failed(c, &f);
		return;
	}
	loop_disarm(&c->timer);
	loop_unwatch(&c->down); /* whatever comes now waits for the relay */
	if (c->held && c->up.fd < 0)
		conn_held_admit(c);
	else
		conn_reply_success(c);
}

/* The server is mute. Without --connect-timeout a held SYN just goes, as it would in the net. */
void conn_down_late(struct conn *c)
{
	struct failure f;

	if (!conn_options()->connect_timeout_ms) {
		hold_drop(&c->ticket);
		conn_drop(c, "hold-gone", true);
		return;
	}
	down_mute(addr_is_v4(&c->wish.target), &f);
	down_failed(c, &f);
}

/* ------------------------------------------------------------------- request */

static unsigned int pending_of(const struct addr *client)
{
	unsigned int n = 0;

	for (const struct conn *c = conn_first(); c; c = c->next)
		n += c->state <= CONN_REPLY && addr_equal_ip(&c->client, client);
	return n;
}

/* The option kinds of the Connect TLV as "30,34"; never their values (F-14). not_sent: those
 * that user space cannot put into a SYN, out of those that we accept. */
static void list_kinds(const struct conn *c, bool not_sent, char *out, size_t size)
{
	struct cvt_opt opt;
	size_t at = 0;

	snprintf(out, size, "-");
	for (size_t pos = 0;
	     at + 5 < size && cvt_next_opt(c->request.msg.connect.opts, &pos, &opt);) {
		bool ours = opt.kind == CVT_OPT_FAST_OPEN || opt.kind <= 5 || opt.kind == 8 ||
			    (opt.kind == CVT_OPT_MPTCP && opt.value.len == 0);

		if (!not_sent || !ours)
			at += (size_t)snprintf(out + at, size - at, at ? ",%u" : "%u", opt.kind);
	}
}

static void log_request(const struct conn *c)
{
	const struct cvt_msg *m = &c->request.msg;
	char target[ADDR_TEXT_MAX] = "-", kinds[128], not_sent[128];

	if (m->has_connect)
		addr_format(&c->request.target, target);
	list_kinds(c, false, kinds, sizeof(kinds));
	list_kinds(c, true, not_sent, sizeof(not_sent));
	log_event("request",
		  "conn=%lu info=%s cookie=%s connect=%s target=%s opts=%s not_sent=%s bytes=%zu",
		  c->id, m->has_info ? "yes" : "no", m->convert_cookie.p ? "yes" : "no",
		  m->has_connect ? "yes" : "no", target, kinds, not_sent, c->request.have);
}

void conn_serve(struct conn *c, struct cvt_span early_data)
{
	const struct options *o = conn_options();
	struct failure f;

	log_request(c);
	if (pending_of(&c->client) <= o->max_pending && conn_count_served(c)) {
		connect_down(c, early_data);
		return;
	}
	failure_set(&f, CVT_ERR_RESOURCE, "limit reached");
	f.value[f.n++] = (uint8_t)o->retry_after;
	down_failed(c, &f);
}

/* The message of a held SYN has left the socket, now also its data that the server has. */
void conn_catch_up(struct conn *c)
{
	c->state = CONN_CATCH_UP;
	while (c->discard) {
		ssize_t n = recv(c->up.fd, NULL, c->discard, MSG_TRUNC | MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			conn_drop(c, "client-reset", true);
			return;
		}
		c->discard -= (size_t)n;
	}
	loop_disarm(&c->timer);
	if (c->has_failure)
		conn_fail(c, &c->failure);
	else
		conn_reply_success(c);
}

/* No message of ours comes back; the connection stays open, or gets our FIN. */
static void leave_unanswered(struct conn *c, const char *why, bool close)
{
	log_event("ignored", "conn=%lu why=\"%s\"", c->id, why);
	loop_disarm(&c->timer);
	loop_watch(&c->up, 0);
	if (!close) {
		conn_stay_silent(c);
		return;
	}
	c->outcome = "not-served";
	conn_linger(c, true);
}

static void judge_request(struct conn *c, bool eof)
{
	enum request_verdict verdict;
	struct failure f;

	verdict = request_judge(&c->request, conn_options(), &c->client, &c->local, eof, &f);
	switch (verdict) {
	case REQUEST_MORE:
		return;
	case REQUEST_RESET:
		conn_drop(c, "no-request", true);
		return;
	case REQUEST_IGNORED:
	case REQUEST_CLOSED:
		leave_unanswered(c, f.why, verdict == REQUEST_CLOSED);
		return;
	case REQUEST_FAILED:
		loop_disarm(&c->timer);
		conn_fail(c, &f);
		return;
	case REQUEST_INFO:
		loop_disarm(&c->timer);
		log_request(c);
		conn_reply_success(c);
		return;
	case REQUEST_CONNECT:
		if (c->held) {
			conn_catch_up(c);
			return;
		}
		loop_disarm(&c->timer);
		loop_watch(&c->up, 0);
		if (c->fault.late_ms) {
			c->state = CONN_LATE;
			loop_arm(&c->timer, c->fault.late_ms);
			return;
		}
		conn_serve(c, (struct cvt_span){ NULL, 0 });
		return;
	}
}

/* Reads the message and not one byte more (S-20). */
void conn_read_request(struct conn *c)
{
	struct request *r = &c->request;

	while (c->state == CONN_REQUEST) {
		ssize_t n = recv(c->up.fd, r->bytes + r->have, r->need - r->have, MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0 || (n == 0 && r->have == 0)) {
			conn_drop(c, "no-request", n < 0);
			return;
		}
		r->have += (size_t)n;
		if (n == 0 || r->have == r->need)
			judge_request(c, n == 0);
	}
}

// SPDX-License-Identifier: MIT
/* Connections as they come, accepted or as a SYN that waits, and what an event means in each state. */
#include "conn.h"

#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

/* ---------------------------------------------------------------------- accept */

static void log_accept(const struct conn *c)
{
	char client[ADDR_TEXT_MAX], local[ADDR_TEXT_MAX];

	addr_format(&c->client, client);
	addr_format(&c->local, local);
	log_event("accept", "conn=%lu client=%s local=%s syn_data=%s mptcp=%s held=%s", c->id,
		  client, local, sockopt_had_syn_data(c->up.fd) ? "yes" : "no",
		  c->up_mptcp ? "yes" : "no", c->held ? "yes" : "no");
}

/* The message is read even of a held SYN, whose message is known: it must leave the socket. */
static void attach(struct conn *c, int fd)
{
	c->up.fd = fd;
	c->up_mptcp = sockopt_get(fd, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_MPTCP;
	c->state = CONN_REQUEST;
	sockopt_set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	conn_bound_send_buffer(c);
	log_accept(c);
	if (c->fault.unread) {
		conn_drop(c, "fault", false);
		return;
	}
	if (loop_watch(&c->up, EPOLLIN) < 0) {
		conn_drop(c, "local", true);
		return;
	}
	loop_arm(&c->timer, conn_options()->request_timeout_ms);
	conn_read_request(c);
}

void conn_accept(int fd, const struct addr *client, const struct addr *local)
{
	struct conn *c = conn_held_find(client, local, true);

	if (!c)
		c = conn_new(client, local);
	if (c) {
		attach(c, fd);
		return;
	}
	sockopt_linger_rst(fd);
	close(fd);
}

/* ------------------------------------------------------------------------ hold */
/*
 * A client's SYN that waits until its server has answered (--hold). The connection is born from
 * the SYN's payload, without a socket; conn_accept() brings the socket later.
 */

/* Is this the SYN of one that already waits, sent again? A SYN of another `seq` from the same port is
 * a new attempt: the old one is dropped. */
static bool repeats(const struct hold_ticket *ticket, const struct addr *client,
		    const struct addr *local)
{
	struct conn *c = conn_held_find(client, local, false);

	if (!c || c->ticket.seq == ticket->seq)
		return c != NULL;
	if (c->state != CONN_ADMITTED)
		hold_drop(&c->ticket);
	conn_drop(c, "hold-gone", true);
	return false;
}

static void log_held(const struct conn *c, size_t bytes)
{
	char client[ADDR_TEXT_MAX], local[ADDR_TEXT_MAX];

	addr_format(&c->client, client);
	addr_format(&c->local, local);
	log_event("held", "conn=%lu client=%s local=%s bytes=%zu", c->id, client, local, bytes);
}

/* The message at the head of the payload; false if it is not there as a whole. */
static bool take_message(struct request *r, struct cvt_span payload)
{
	request_begin(r);
	if (payload.len < CVT_HEADER_LEN)
		return false;
	memcpy(r->bytes, payload.p, CVT_HEADER_LEN);
	r->have = CVT_HEADER_LEN;
	r->need = CVT_HEADER_LEN;
	return true;
}

bool conn_hold(const struct hold_ticket *ticket, const struct addr *client,
	       const struct addr *local, struct cvt_span payload)
{
	const struct options *o = conn_options();
	static struct request r; /* a kilobyte; judged before there is a connection */
	enum request_verdict verdict;
	struct failure f;
	struct conn *c;

	if (repeats(ticket, client, local)) {
		hold_drop(ticket);
		return true;
	}
	if (!take_message(&r, payload))
		return false;
	verdict = request_judge(&r, o, client, local, false, &f);
	if (verdict == REQUEST_MORE && payload.len >= r.need) {
		memcpy(r.bytes, payload.p, r.need);
		r.have = r.need;
		verdict = request_judge(&r, o, client, local, false, &f);
	}
	/* whatever else it is, the accepted connection will be told */
	if (verdict != REQUEST_CONNECT || (c = conn_new(client, local)) == NULL)
		return false;
	c->held = true;
	c->ticket = *ticket;
	memcpy(c->request.bytes, r.bytes, r.need);
	c->request.have = c->request.need = r.need;
	request_judge(&c->request, o, client, local, false, &f); /* its spans point into c now */
	log_held(c, payload.len);
	conn_serve(c, (struct cvt_span){ payload.p + r.need, payload.len - r.need });
	return true;
}

/* ---------------------------------------------------------------------- events */

static void on_timer(struct loop_timer *t)
{
	struct conn *c = LOOP_OWNER(t, struct conn, timer);

	switch (c->state) {
	case CONN_REQUEST:
	case CONN_CATCH_UP:
		conn_drop(c, "request-timeout", true);
		break;
	case CONN_LATE:
		conn_serve(c, (struct cvt_span){ NULL, 0 });
		break;
	case CONN_CONNECTING:
		conn_down_late(c);
		break;
	case CONN_ADMITTED:
		conn_drop(c, "hold-gone", true);
		break;
	case CONN_REPLY:
		conn_reply_step(c);
		break;
	case CONN_CALLING:
	case CONN_RELAY:
		conn_idle_check(c);
		break;
	case CONN_RESETTING:
		conn_reset_after_drain(c);
		break;
	case CONN_SILENT:
	case CONN_LINGER:
		conn_drop(c, "client-gone", false);
		break;
	case CONN_DEAD:
		break;
	}
}

static void on_up(struct loop_watch *w, uint32_t events)
{
	struct conn *c = LOOP_OWNER(w, struct conn, up);

	switch (c->state) {
	case CONN_REQUEST:
		conn_read_request(c);
		break;
	case CONN_CATCH_UP:
		conn_catch_up(c);
		break;
	case CONN_REPLY:
		if (events & (EPOLLERR | EPOLLHUP))
			conn_drop(c, "client-reset", true);
		else
			conn_reply_step(c);
		break;
	case CONN_CALLING:
		incoming_up(c, events);
		break;
	case CONN_RELAY:
		conn_relay_step(c, RELAY_UP, events);
		break;
	case CONN_LINGER:
		conn_drain_linger(c);
		break;
	default: /* only EPOLLERR and EPOLLHUP are asked for */
		conn_drop(c, "client-reset", true);
		break;
	}
}

static void on_down(struct loop_watch *w, uint32_t events)
{
	struct conn *c = LOOP_OWNER(w, struct conn, down);

	if (c->state == CONN_CONNECTING)
		conn_down_ready(c, events);
	else if (c->state == CONN_RELAY)
		conn_relay_step(c, RELAY_DOWN, events);
	else if (c->state == CONN_CALLING) /* only EPOLLERR and EPOLLHUP are asked for */
		conn_drop(c, "remote-gone", true);
	else
		loop_unwatch(w);
}

void conn_init(const struct options *o)
{
	conn_life_init(o, on_up, on_down, on_timer);
}

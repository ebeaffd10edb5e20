// SPDX-License-Identifier: MIT
#include "conn_parts.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "log.h"
#include "sockopt.h"

#define LINGER_MS      2000
#define INFO_LINGER_MS 10000 /* the client closes after a reply without Connect */
#define RESET_POLL_MS  5
#define RESET_POLLS    200 /* one second for the last bytes before the RST */
#define SPARE	       256 /* connections above the limit that can still be told so */

/* bytes; the kernel doubles them. Without root the last is net.core.wmem_max. */
#define FIRST_SEND_BUFFER (1 << 15)
#define LAST_SEND_BUFFER  (1 << 19)
#define GROWTH		  8

static const struct options *opts;
static struct conn *live, *dead;
static struct conn_totals totals;
static size_t serving;
static unsigned int fault_seed;

static void on_timer(struct loop_timer *t);
static void on_up(struct loop_watch *w, uint32_t events);
static void on_down(struct loop_watch *w, uint32_t events);

void conn_init(const struct options *o)
{
	opts = o;
	fault_seed = (unsigned int)getpid();
}

const struct options *conn_options(void)
{
	return opts;
}

const struct conn_totals *conn_totals(void)
{
	return &totals;
}

void conn_count_reply(void)
{
	totals.replies++;
}

void conn_count_error(void)
{
	totals.errors++;
}

bool conn_count_served(struct conn *c)
{
	if (serving >= opts->max_connections)
		return false;
	c->serving = true;
	serving++;
	return true;
}

size_t conn_limit(const struct options *o)
{
	return o->max_connections + SPARE;
}

/* ------------------------------------------------------------- birth and death */

static void set_linger_rst(int fd)
{
	struct linger l = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
}

struct conn *conn_first(void)
{
	return live;
}

struct conn *conn_new(const struct addr *client, const struct addr *local)
{
	struct conn *c = totals.open < conn_limit(opts) ? calloc(1, sizeof(*c)) : NULL;

	if (!c) {
		log_event("refuse", "open=%zu", totals.open);
		return NULL;
	}
	c->id = ++totals.accepted;
	c->client = *client;
	c->local = *local;
	c->up = (struct loop_watch){ .fd = -1, .ready = on_up };
	c->down = (struct loop_watch){ .fd = -1, .ready = on_down };
	c->timer.fire = on_timer;
	c->fault = opts->fault;
	if (opts->fault.random)
		fault_draw(&c->fault, &fault_seed);
	c->started_ms = c->active_ms = loop_now_ms();
	request_begin(&c->request);
	c->next = live;
	if (live)
		live->prev = c;
	live = c;
	totals.open++;
	return c;
}

static void unlink_conn(struct conn *c)
{
	if (c->prev)
		c->prev->next = c->next;
	else
		live = c->next;
	if (c->next)
		c->next->prev = c->prev;
	totals.open--;
	serving -= c->serving;
}

static void log_close_event(const struct conn *c)
{
	log_event("close", "conn=%lu outcome=%s c2s=%llu s2c=%llu ms=%llu", c->id, c->outcome,
		  (unsigned long long)c->relay.flow[RELAY_UP].bytes + c->early,
		  (unsigned long long)c->relay.flow[RELAY_DOWN].bytes,
		  (unsigned long long)(loop_now_ms() - c->started_ms));
}

void conn_drop(struct conn *c, const char *outcome, bool reset)
{
	if (c->state == CONN_DEAD)
		return;
	if (!c->outcome)
		c->outcome = outcome;
	for (int i = 0; i < 2; i++) {
		struct loop_watch *w = i ? &c->down : &c->up;

		if (w->fd < 0)
			continue;
		loop_unwatch(w);
		if (reset)
			set_linger_rst(w->fd);
	}
	log_close_event(c);
	loop_disarm(&c->timer);
	relay_end(&c->relay);
	unlink_conn(c);
	c->state = CONN_DEAD;
	c->next = dead;
	dead = c;
}

void conn_close_down(struct conn *c)
{
	loop_unwatch(&c->down);
	if (c->down.fd >= 0)
		close(c->down.fd);
	c->down.fd = -1;
}

void conn_free_dead(void)
{
	while (dead) {
		struct conn *c = dead;

		dead = c->next;
		conn_close_down(c);
		if (c->up.fd >= 0)
			close(c->up.fd);
		free(c);
	}
}

void conn_end_all(void)
{
	while (live)
		conn_drop(live, "local", true);
	conn_free_dead();
	relay_close_pool();
}

/* ---------------------------------------------------------------------- accept */

static bool had_syn_data(int fd)
{
	struct tcp_info ti = { 0 };
	socklen_t len = sizeof(ti);

	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &ti, &len) == 0 &&
	       (ti.tcpi_options & TCPI_OPT_SYN_DATA);
}

/* Linux (6.18) takes the window of a SYN with data for a scaled one when it makes the MPTCP
 * socket: up to 64 MB are then sent past the client's real window, and what its MPTCP has no room
 * for is dropped after its TCP has acknowledged it (MPTcpExtNoDSSInWindow), to be sent again by
 * MPTCP's slow timer. So the send buffer has to be what is behind the window for once: it starts
 * as small as windows do, and grows no faster than a client's can with what has arrived there. */
static void bound_send_buffer(struct conn *c)
{
	if (!c->up_mptcp || !had_syn_data(c->up.fd))
		return;
	c->send_buffer = FIRST_SEND_BUFFER;
	sockopt_set(c->up.fd, SOL_SOCKET, SO_SNDBUF, FIRST_SEND_BUFFER);
}

static void grow_send_buffer(struct conn *c)
{
	bool grown = false;

	while (c->send_buffer && c->send_buffer < LAST_SEND_BUFFER &&
	       c->relay.flow[RELAY_DOWN].bytes >= GROWTH * (uint64_t)c->send_buffer) {
		c->send_buffer *= 2;
		grown = true;
	}
	if (grown && sockopt_set(c->up.fd, SOL_SOCKET, SO_SNDBUFFORCE, c->send_buffer) < 0)
		sockopt_set(c->up.fd, SOL_SOCKET, SO_SNDBUF, c->send_buffer);
}

static void log_accept(const struct conn *c)
{
	char client[ADDR_TEXT_MAX], local[ADDR_TEXT_MAX];

	addr_format(&c->client, client);
	addr_format(&c->local, local);
	log_event("accept", "conn=%lu client=%s local=%s syn_data=%s mptcp=%s held=%s", c->id,
		  client, local, had_syn_data(c->up.fd) ? "yes" : "no", c->up_mptcp ? "yes" : "no",
		  c->held ? "yes" : "no");
}

/* The message is read even of a held SYN, whose message is known: it must leave the socket. */
void conn_attach(struct conn *c, int fd)
{
	c->up.fd = fd;
	c->up_mptcp = sockopt_get(fd, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_MPTCP;
	c->state = CONN_REQUEST;
	sockopt_set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	bound_send_buffer(c);
	log_accept(c);
	if (loop_watch(&c->up, EPOLLIN) < 0) {
		conn_drop(c, "local", true);
		return;
	}
	loop_arm(&c->timer, opts->request_timeout_ms);
	conn_read_request(c);
}

void conn_accept(int fd, const struct addr *client, const struct addr *local)
{
	struct conn *c = conn_hold_find(client, local);

	if (!c)
		c = conn_new(client, local);
	if (c) {
		conn_attach(c, fd);
		return;
	}
	set_linger_rst(fd);
	close(fd);
}

/* --------------------------------------------------------------- relay and end */

static void reset_after_drain(struct conn *c)
{
	int survivor = c->relay.failed == RELAY_UP ? c->down.fd : c->up.fd;
	int left = 0;

	/* RST throws away what is still queued, so give it a moment (LINUX-FACTS 2.4) */
	if (ioctl(survivor, SIOCOUTQ, &left) == 0 && left > 0 && c->waits++ < RESET_POLLS)
		loop_arm(&c->timer, RESET_POLL_MS);
	else
		conn_drop(c, "reset", true);
}

static void relay_step(struct conn *c, enum relay_side side, uint32_t events)
{
	c->active_ms = loop_now_ms();
	grow_send_buffer(c);
	switch (relay_ready(&c->relay, side, events)) {
	case RELAY_GOING:
		return;
	case RELAY_DONE:
		conn_drop(c, "ok", false);
		return;
	case RELAY_FAILED:
		break;
	}
	if (c->relay.error == ECONNABORTED)
		c->outcome = "fault";
	else if (c->relay.error == EMFILE || c->relay.error == ENFILE || c->relay.error == ENOMEM)
		c->outcome = "local";
	else
		c->outcome = c->relay.failed == RELAY_UP ? "client-reset" : "server-reset";
	loop_unwatch(&c->up);
	loop_unwatch(&c->down);
	c->state = CONN_RESETTING;
	c->waits = 0;
	reset_after_drain(c);
}

void conn_start_relay(struct conn *c)
{
	c->state = CONN_RELAY;
	relay_start(&c->relay, &c->up, &c->down);
	c->relay.limit_down = c->fault.drop_after;
	loop_arm(&c->timer, (uint64_t)opts->idle_timeout_s * 1000);
	relay_step(c, RELAY_UP, 0);
}

static void drain_linger(struct conn *c)
{
	char scrap[4096];
	ssize_t n;

	for (int i = 0; i < 16; i++) {
		n = recv(c->up.fd, scrap, sizeof(scrap), MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			conn_drop(c, "client-gone", false);
			return;
		}
	}
}

void conn_linger(struct conn *c, bool send_fin)
{
	c->state = CONN_LINGER;
	if (send_fin)
		shutdown(c->up.fd, SHUT_WR);
	if (loop_watch(&c->up, EPOLLIN) < 0) {
		conn_drop(c, "local", true);
		return;
	}
	loop_arm(&c->timer, send_fin ? LINGER_MS : INFO_LINGER_MS);
	drain_linger(c);
}

/* ---------------------------------------------------------------------- events */

static void idle_check(struct conn *c)
{
	uint64_t limit = (uint64_t)opts->idle_timeout_s * 1000;
	uint64_t idle = loop_now_ms() - c->active_ms;

	if (idle >= limit)
		conn_drop(c, "idle", true);
	else
		loop_arm(&c->timer, limit - idle);
}

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
	case CONN_RELAY:
		idle_check(c);
		break;
	case CONN_RESETTING:
		reset_after_drain(c);
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
	case CONN_RELAY:
		relay_step(c, RELAY_UP, events);
		break;
	case CONN_LINGER:
		drain_linger(c);
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
		relay_step(c, RELAY_DOWN, events);
	else
		loop_unwatch(w);
}

// SPDX-License-Identifier: MIT
#include "conn.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "conn_reply.h"
#include "log.h"
#include "reply.h"
#include "sockopt.h"

#define LINGER_MS     2000
#define INFO_LINGER_MS 10000 /* the client closes after a reply without Connect */
#define RESET_POLL_MS 5
#define RESET_POLLS   200 /* one second for the last bytes before the RST */
#define SYN_DATA_MAX  1420 /* bytes: more does not fit into a SYN */
#define SPARE	      256 /* connections above the limit that can still be told so */

static const struct options *opts;
static struct conn *live, *dead;
static struct conn_totals totals;
static size_t serving;

static void on_timer(struct loop_timer *t);
static void on_up(struct loop_watch *w, uint32_t events);
static void on_down(struct loop_watch *w, uint32_t events);

void conn_init(const struct options *o)
{
	opts = o;
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

static struct conn *new_conn(const struct addr *client, const struct addr *local)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->id = ++totals.accepted;
	c->client = *client;
	c->local = *local;
	c->up = (struct loop_watch){ .fd = -1, .ready = on_up };
	c->down = (struct loop_watch){ .fd = -1, .ready = on_down };
	c->timer.fire = on_timer;
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
	log_event("close", "conn=%lu outcome=%s c2s=%llu s2c=%llu ms=%llu down_mptcp=%s", c->id,
		  c->outcome, (unsigned long long)(c->relay.flow[RELAY_UP].bytes + c->early),
		  (unsigned long long)c->relay.flow[RELAY_DOWN].bytes,
		  (unsigned long long)(loop_now_ms() - c->started_ms),
		  c->down.fd >= 0 && down_is_mptcp(c->down.fd) ? "yes" : "no");
	loop_disarm(&c->timer);
	relay_end(&c->relay);
	unlink_conn(c);
	c->state = CONN_DEAD;
	c->next = dead;
	dead = c;
}

void conn_free_dead(void)
{
	while (dead) {
		struct conn *c = dead;

		dead = c->next;
		if (c->up.fd >= 0)
			close(c->up.fd);
		if (c->down.fd >= 0)
			close(c->down.fd);
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

/* ------------------------------------------------------------ downstream connect */

void conn_close_down(struct conn *c)
{
	loop_unwatch(&c->down);
	if (c->down.fd >= 0)
		close(c->down.fd);
	c->down.fd = -1;
}

static void down_failed(struct conn *c, const struct failure *f)
{
	conn_close_down(c);
	conn_fail(c, f);
}

/* The Connect TLV's options that are asked of us (S-04, S-07). */
static void read_wish(struct conn *c)
{
	struct cvt_span value;

	c->wish.target = c->request.target;
	c->wish.mptcp = opts->mptcp_down || request_has_opt(&c->request, CVT_OPT_MPTCP, NULL);
	c->wish.fast_open = DOWN_FO_NO;
	if (request_has_opt(&c->request, CVT_OPT_FAST_OPEN, &value))
		c->wish.fast_open = value.len ? DOWN_FO_DATA : DOWN_FO_ASK;
}

/* With a Fast Open cookie in the Connect the client allows its data in the SYN (S-07). It is
 * peeked at here, so that what the kernel does not take is relayed as usual. */
static int connect_down(struct conn *c)
{
	uint8_t data[SYN_DATA_MAX];
	size_t used = 0;
	ssize_t n = 0;
	int err;

	if (c->wish.fast_open == DOWN_FO_DATA) {
		n = recv(c->up.fd, data, sizeof(data), MSG_PEEK | MSG_DONTWAIT);
		c->wish.data = (struct cvt_span){ data, n > 0 ? (size_t)n : 0 };
	}
	err = down_connect(c->down.fd, &c->wish, &used);
	c->wish.data = (struct cvt_span){ NULL, 0 };
	if (used && recv(c->up.fd, NULL, used, MSG_TRUNC | MSG_DONTWAIT) > 0)
		c->early = used;
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

static void start_down(struct conn *c)
{
	struct failure f;
	int err;

	read_wish(c);
	c->down.fd = down_open(&c->wish);
	err = c->down.fd < 0 ? c->down.fd : connect_down(c);
	if (err == 0)
		err = loop_watch(&c->down, EPOLLOUT);
	log_down(c);
	if (err < 0) {
		down_local_failure(-err, opts, &f);
		down_failed(c, &f);
		return;
	}
	c->state = CONN_CONNECTING;
	if (opts->connect_timeout_ms)
		loop_arm(&c->timer, opts->connect_timeout_ms);
}

static void down_ready(struct conn *c, uint32_t events)
{
	struct failure f;
	int r = down_result(c->down.fd, events, opts, &f);

	if (r < 0) {
		down_failed(c, &f);
	} else if (r > 0) {
		loop_disarm(&c->timer);
		loop_unwatch(&c->down); /* whatever comes now waits for the relay */
		conn_reply_success(c);
	}
}

/* ------------------------------------------------------------------- request */

static unsigned int pending_of(const struct addr *client)
{
	unsigned int n = 0;

	for (const struct conn *c = live; c; c = c->next)
		n += c->state <= CONN_REPLY && addr_equal_ip(&c->client, client);
	return n;
}

static void log_request(const struct conn *c)
{
	const struct cvt_msg *m = &c->request.msg;
	char target[ADDR_TEXT_MAX] = "-", kinds[4 * CVT_SYN_OPTS_MAX] = "-";
	struct cvt_opt opt;
	int n = 0;

	if (m->has_connect)
		addr_format(&c->request.target, target);
	/* kinds only: values may be cookies or keys (F-14) */
	for (size_t pos = 0; n < (int)sizeof(kinds) - 4 && cvt_next_opt(m->connect.opts, &pos, &opt);)
		n += sprintf(kinds + n, n ? ",%u" : "%u", opt.kind);
	log_event("request", "conn=%lu info=%s cookie=%s connect=%s target=%s opts=%s bytes=%zu",
		  c->id, m->has_info ? "yes" : "no", m->convert_cookie.p ? "yes" : "no",
		  m->has_connect ? "yes" : "no", target, kinds, c->request.have);
}

static void serve(struct conn *c)
{
	struct failure f;

	log_request(c);
	if (serving >= opts->max_connections || pending_of(&c->client) > opts->max_pending) {
		failure_set(&f, CVT_ERR_RESOURCE, "limit reached");
		f.value[f.n++] = (uint8_t)opts->retry_after;
		conn_fail(c, &f);
		return;
	}
	c->serving = true;
	serving++;
	start_down(c);
}

static void judge_request(struct conn *c, bool eof)
{
	struct failure f;

	switch (request_judge(&c->request, opts, &c->client, &c->local, eof, &f)) {
	case REQUEST_MORE:
		return;
	case REQUEST_RESET:
		conn_drop(c, "no-request", true);
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
		loop_disarm(&c->timer);
		loop_watch(&c->up, 0);
		serve(c);
		return;
	}
}

/* Reads the message and not one byte more (S-20). */
static void read_request(struct conn *c)
{
	struct request *r = &c->request;

	while (c->state == CONN_REQUEST) {
		ssize_t n = recv(c->up.fd, r->bytes + r->have, r->need - r->have, 0);

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

static bool had_syn_data(int fd)
{
	struct tcp_info ti = { 0 };
	socklen_t len = sizeof(ti);

	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &ti, &len) == 0 &&
	       (ti.tcpi_options & TCPI_OPT_SYN_DATA);
}

static void log_accept(const struct conn *c)
{
	char client[ADDR_TEXT_MAX], local[ADDR_TEXT_MAX];

	addr_format(&c->client, client);
	addr_format(&c->local, local);
	log_event("accept", "conn=%lu client=%s local=%s syn_data=%s mptcp=%s", c->id, client, local,
		  had_syn_data(c->up.fd) ? "yes" : "no", c->up_mptcp ? "yes" : "no");
}

void conn_accept(int fd, const struct addr *client, const struct addr *local)
{
	struct conn *c = totals.open < conn_limit(opts) ? new_conn(client, local) : NULL;

	if (!c) {
		set_linger_rst(fd);
		close(fd);
		log_event("refuse", "open=%zu", totals.open);
		return;
	}
	c->up.fd = fd;
	c->up_mptcp = sockopt_get(fd, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_MPTCP;
	sockopt_set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	log_accept(c);
	if (loop_watch(&c->up, EPOLLIN) < 0) {
		conn_drop(c, "local", true);
		return;
	}
	loop_arm(&c->timer, opts->request_timeout_ms);
	read_request(c);
}

/* --------------------------------------------------------------- relay and end */

static void reset_after_drain(struct conn *c)
{
	int *survivor = c->relay.failed == RELAY_UP ? &c->down.fd : &c->up.fd;
	int left = 0;

	/* RST throws away what is still queued, so give it a moment (LINUX-FACTS 2.4) */
	if (ioctl(*survivor, SIOCOUTQ, &left) == 0 && left > 0 && c->waits++ < RESET_POLLS)
		loop_arm(&c->timer, RESET_POLL_MS);
	else
		conn_drop(c, "reset", true);
}

static void relay_step(struct conn *c, enum relay_side side, uint32_t events)
{
	c->active_ms = loop_now_ms();
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
	c->relay.limit_down = opts->fault.drop_after;
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
	struct failure f;

	switch (c->state) {
	case CONN_REQUEST:
		conn_drop(c, "request-timeout", true);
		break;
	case CONN_CONNECTING:
		down_mute(&f);
		down_failed(c, &f);
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
		read_request(c);
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
		down_ready(c, events);
	else if (c->state == CONN_RELAY)
		relay_step(c, RELAY_DOWN, events);
	else
		loop_unwatch(w);
}

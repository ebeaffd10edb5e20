// SPDX-License-Identifier: MIT
/* A connection's birth and death, and how many there are. */
#include "conn.h"

#include <stdlib.h>
#include <unistd.h>

#define SPARE 256 /* connections above the limit that can still be told so */

static const struct options *opts;
static struct conn *live, *dead;
static struct conn_totals totals;
static size_t serving;
static unsigned int fault_seed;
static void (*ready_up)(struct loop_watch *w, uint32_t events);
static void (*ready_down)(struct loop_watch *w, uint32_t events);
static void (*fire)(struct loop_timer *t);

void conn_life_init(const struct options *o, void (*on_up)(struct loop_watch *w, uint32_t events),
		    void (*on_down)(struct loop_watch *w, uint32_t events),
		    void (*on_timer)(struct loop_timer *t))
{
	opts = o;
	ready_up = on_up;
	ready_down = on_down;
	fire = on_timer;
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
	c->up = (struct loop_watch){ .fd = -1, .ready = ready_up };
	c->down = (struct loop_watch){ .fd = -1, .ready = ready_down };
	c->timer.fire = fire;
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
			sockopt_linger_rst(w->fd);
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

// SPDX-License-Identifier: MIT
/*
 * The table is a fixed one, in sets of four, and not uthash's: nothing to allocate in somebody
 * else's process, a look-up whose cost has a bound, and pages that nobody touches cost nothing.
 */
#include "servers_int.h"

#include <stdatomic.h>
#include <string.h>

#define WAYS 4
#define SETS (SERVERS_TABLE / WAYS)

struct row {
	struct servers_entry entry;
	int64_t checked_ms; /* when it was last compared with the file; 0: the row is free */
	uint32_t used;	    /* the smaller, the longer ago */
	bool in_file;	    /* if it is not there any more, somebody has taken it out */
};

static struct row table[SETS][WAYS];
static uint32_t uses;
static atomic_flag busy = ATOMIC_FLAG_INIT;

/* ------------------------------------------------------------------------- the file */

struct stored { /* the value; all bytes, so it has no padding */
	uint8_t verdict, is_pinned, withdrawals, tfo_cookie_len;
	uint8_t tfo_cookie[SERVERS_COOKIE_MAX];
	uint8_t unused[2];
};

_Static_assert(sizeof(struct stored) == STATE_SERVER_VALUE, "what is kept of a server");

static void make_key(uint8_t key[STATE_SERVER_KEY], const struct addr *server)
{
	memcpy(key, server->ip, 16);
	key[16] = (uint8_t)(server->port >> 8);
	key[17] = (uint8_t)server->port;
}

static void encode(struct stored *s, const struct servers_entry *e)
{
	*s = (struct stored){ .verdict = (uint8_t)e->verdict,
			      .is_pinned = e->is_pinned,
			      .withdrawals = e->withdrawals,
			      .tfo_cookie_len = e->tfo_cookie_len };
	memcpy(s->tfo_cookie, e->tfo_cookie, sizeof(s->tfo_cookie));
}

/* False, and e untouched, if it makes no sense. */
static bool decode(struct servers_entry *e, const void *value, const struct state_times *times)
{
	struct stored s;

	memcpy(&s, value, sizeof(s));
	if (s.verdict > SERVERS_TCP || s.is_pinned > 1 || s.withdrawals > SERVERS_SHIFTS_MAX ||
	    s.tfo_cookie_len > SERVERS_COOKIE_MAX)
		return false;
	e->verdict = (enum servers_verdict)s.verdict;
	e->is_pinned = s.is_pinned;
	e->withdrawals = s.withdrawals;
	e->tfo_cookie_len = s.tfo_cookie_len;
	memcpy(e->tfo_cookie, s.tfo_cookie, sizeof(e->tfo_cookie));
	e->learned_ms = times->written_ms;
	e->until_ms = times->until_ms;
	return true;
}

static bool read_file(const struct addr *server, int64_t now_ms, struct servers_entry *e)
{
	uint8_t key[STATE_SERVER_KEY], value[STATE_SERVER_VALUE];
	struct state_times times;

	make_key(key, server);
	return state_get(STATE_SERVER, key, now_ms, value, &times) && decode(e, value, &times);
}

static bool change_file(void *value, struct state_times *times, bool found, void *arg)
{
	struct servers_news *n = arg;
	struct servers_entry e = n->entry;
	struct stored s;
	bool changed;

	if (found)
		decode(&e, value, times);
	changed = servers_apply(&e, n);
	n->entry = e;
	encode(&s, &e);
	memcpy(value, &s, sizeof(s));
	times->until_ms = e.until_ms;
	return changed;
}

/* ------------------------------------------------------------------------ the table */

/* Never waits; held for some loads and stores, never over a system call. */
static bool try_lock(void)
{
	return !atomic_flag_test_and_set_explicit(&busy, memory_order_acquire);
}

static void unlock(void)
{
	atomic_flag_clear_explicit(&busy, memory_order_release);
}

static bool is_same(const struct addr *a, const struct addr *b)
{
	return a->port == b->port && addr_equal_ip(a, b);
}

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 32) * 0x9e3779b97f4a7c15;
	x = (x ^ x >> 29) * 0xbf58476d1ce4e5b9;
	return x ^ x >> 32;
}

static struct row *set_of(const struct addr *server)
{
	uint64_t high, low;

	memcpy(&high, server->ip, 8);
	memcpy(&low, server->ip + 8, 8);
	return table[mix(mix(high ^ server->port) ^ low) % SETS];
}

static struct row *row_of(const struct addr *server)
{
	struct row *set = set_of(server);

	for (unsigned int i = 0; i < WAYS; i++) {
		if (set[i].checked_ms && is_same(&set[i].entry.server, server)) {
			set[i].used = ++uses;
			return &set[i];
		}
	}
	return NULL;
}

/* The one of the set that was last used longest ago, or a free one. */
static struct row *oldest_row(const struct addr *server)
{
	struct row *set = set_of(server), *oldest = set;

	for (unsigned int i = 1; i < WAYS; i++) {
		if (!set[i].checked_ms ||
		    (oldest->checked_ms && uses - set[i].used > uses - oldest->used))
			oldest = &set[i];
	}
	oldest->used = ++uses;
	return oldest;
}

static void keep(const struct servers_entry *e, int64_t now_ms, bool in_file)
{
	struct row *row;

	if (!try_lock())
		return;
	row = row_of(&e->server);
	if (!row)
		row = oldest_row(&e->server);
	row->entry = *e;
	row->checked_ms = now_ms;
	row->in_file = in_file;
	unlock();
}

enum look { LOOK_BUSY, LOOK_FRESH, LOOK_STALE, LOOK_NONE };

static enum look look(const struct addr *server, int64_t now_ms, struct row *copy)
{
	const struct row *row;
	enum look found = LOOK_NONE;

	if (!try_lock())
		return LOOK_BUSY;
	row = row_of(server);
	if (row) {
		int64_t age = now_ms - row->checked_ms;

		*copy = *row;
		found = age >= 0 && age < SERVERS_REREAD_MS ? LOOK_FRESH : LOOK_STALE;
	}
	unlock();
	return found;
}

static void blank(struct servers_entry *e, const struct addr *server)
{
	*e = (struct servers_entry){ .server = *server };
}

/* What is known, blank if that is nothing; in_file: or the file has it too. False: the table is
 * being used. */
static bool recall(const struct addr *server, int64_t now_ms, struct servers_entry *e,
		   bool *in_file)
{
	struct row row;
	enum look found = look(server, now_ms, &row);

	blank(e, server);
	if (found == LOOK_BUSY)
		return false;
	if (found == LOOK_FRESH) {
		*e = row.entry;
		*in_file = row.in_file;
	} else {
		*in_file = read_file(server, now_ms, e);
		if (!*in_file && found == LOOK_STALE && !row.in_file)
			*e = row.entry; /* the file could not be written, or there is none */
		keep(e, now_ms, *in_file);
	}
	if (e->until_ms <= now_ms)
		blank(e, server);
	return true;
}

static bool tell(const struct addr *server, struct servers_news *n)
{
	struct servers_entry e;
	uint8_t key[STATE_SERVER_KEY];
	bool in_file;

	if (!recall(server, n->now_ms, &e, &in_file))
		return false;
	if (in_file) /* or nothing of it may be there any more */
		blank(&n->entry, server);
	else
		n->entry = e;
	if (!servers_apply(&e, n))
		return false;
	make_key(key, server);
	in_file = state_update(STATE_SERVER, key, n->now_ms, change_file, n) == 0;
	keep(in_file ? &n->entry : &e, n->now_ms, in_file);
	return in_file;
}

/* ----------------------------------------------------------------------------- public */

bool servers_find(const struct addr *server, int64_t now_ms, struct servers_entry *entry)
{
	bool in_file;

	return recall(server, now_ms, entry, &in_file) && entry->until_ms > now_ms;
}

enum servers_verdict servers_lookup(const struct addr *server, int64_t now_ms)
{
	struct servers_entry e;

	return servers_find(server, now_ms, &e) ? e.verdict : SERVERS_UNKNOWN;
}

void servers_learn(const struct addr *server, bool mptcp, struct cvt_span tfo_cookie,
		   int64_t now_ms)
{
	struct servers_news n = { .kind = SERVERS_NEWS_LEARNED,
				  .verdict = mptcp ? SERVERS_MPTCP : SERVERS_TCP,
				  .tfo_cookie = tfo_cookie,
				  .now_ms = now_ms };

	tell(server, &n);
}

void servers_withdraw(const struct addr *server, int64_t now_ms)
{
	struct servers_news n = { .kind = SERVERS_NEWS_WITHDRAWN, .now_ms = now_ms };

	tell(server, &n);
}

void servers_drop_cookie(const struct addr *server, int64_t now_ms)
{
	struct servers_news n = { .kind = SERVERS_NEWS_BAD_COOKIE, .now_ms = now_ms };

	tell(server, &n);
}

bool servers_pin(const struct addr *server, enum servers_verdict verdict, int64_t now_ms)
{
	struct servers_news n = { .kind = SERVERS_NEWS_PINNED,
				  .verdict = verdict,
				  .now_ms = now_ms };

	return tell(server, &n);
}

bool servers_forget(const struct addr *server, int64_t now_ms)
{
	uint8_t key[STATE_SERVER_KEY];
	struct row *row;

	if (try_lock()) {
		row = row_of(server);
		if (row)
			row->checked_ms = 0;
		unlock();
	}
	make_key(key, server);
	return state_erase(STATE_SERVER, key, now_ms) == 0;
}

struct walk {
	servers_each_fn *each;
	void *arg;
};

static void show(const void *key, const void *value, const struct state_times *times, void *arg)
{
	const struct walk *w = arg;
	const uint8_t *k = key;
	struct servers_entry e = { 0 };

	memcpy(e.server.ip, k, 16);
	e.server.port = (uint16_t)(k[16] << 8 | k[17]);
	if (decode(&e, value, times))
		w->each(&e, w->arg);
}

void servers_each(int64_t now_ms, servers_each_fn *each, void *arg)
{
	struct walk w = { each, arg };

	state_each(STATE_SERVER, now_ms, show, &w);
}

void servers_clear_table(void)
{
	if (!try_lock())
		return;
	memset(table, 0, sizeof(table));
	unlock();
}

void servers_in_child(void)
{
	if (!try_lock()) /* half a change may be in it */
		memset(table, 0, sizeof(table));
	unlock();
}

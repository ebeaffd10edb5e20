// SPDX-License-Identifier: MIT
#include "servers.h"

#include <errno.h>
#include <string.h>

#include "memo.h"

#define WAYS 4

struct row {
	struct memo_row memo;
	struct servers_entry entry;
};

static struct row table[SERVERS_TABLE];
static struct memo memo = MEMO_OF(table, WAYS, STATE_SERVER_KEY);

/* ------------------------------------------------------- what news mean: all of it pure */

#define WITHDRAWALS_MAX 9 /* SERVERS_HOLD_MS << 8 is more than SERVERS_KEEP_MS */

enum news_kind { NEWS_LEARNED, NEWS_WITHDRAWN, NEWS_PINNED };

struct news {
	enum news_kind kind;
	enum servers_verdict verdict;
	struct cvt_span tfo_cookie;
	int64_t now_ms;
	struct servers_entry entry; /* what only we know; out: as it is in the file afterwards */
};

static bool is_held(const struct servers_entry *e, int64_t now_ms)
{
	int64_t hold = e->withdrawals ? SERVERS_HOLD_MS << (e->withdrawals - 1) : 0;

	if (hold > SERVERS_KEEP_MS)
		hold = SERVERS_KEEP_MS;
	return now_ms >= e->learned_ms && now_ms - e->learned_ms < hold;
}

static bool learn(struct servers_entry *e, const struct news *n)
{
	const struct cvt_span *c = &n->tfo_cookie;
	bool is_news = c->len > 0 && c->len <= SERVERS_COOKIE_MAX &&
		       (e->tfo_cookie_len != c->len || memcmp(e->tfo_cookie, c->p, c->len) != 0);

	if (is_news) {
		memset(e->tfo_cookie, 0, sizeof(e->tfo_cookie));
		memcpy(e->tfo_cookie, c->p, c->len);
		e->tfo_cookie_len = (uint8_t)c->len;
	}
	if (e->is_pinned || (n->verdict == SERVERS_MPTCP && is_held(e, n->now_ms)))
		return is_news;
	is_news |= e->verdict != n->verdict || n->now_ms < e->learned_ms ||
		   n->now_ms - e->learned_ms >= SERVERS_RENEW_MS;
	e->verdict = n->verdict;
	if (n->verdict == SERVERS_TCP) {
		is_news |= e->withdrawals > 0;
		e->withdrawals = 0;
	}
	return is_news;
}

static bool withdraw(struct servers_entry *e)
{
	if (e->is_pinned)
		return false;
	e->verdict = SERVERS_TCP;
	if (e->withdrawals < WITHDRAWALS_MAX)
		e->withdrawals++;
	return true;
}

/* Returns whether e has changed. */
static bool apply(struct servers_entry *e, const struct news *n)
{
	bool changed = true;

	switch (n->kind) {
	case NEWS_LEARNED:
		changed = learn(e, n);
		break;
	case NEWS_WITHDRAWN:
		changed = withdraw(e);
		break;
	case NEWS_PINNED:
		e->is_pinned = true;
		e->verdict = n->verdict;
		e->withdrawals = 0;
		break;
	}
	if (changed) {
		e->learned_ms = n->now_ms;
		e->until_ms = e->is_pinned ? STATE_FOREVER : n->now_ms + SERVERS_KEEP_MS;
	}
	return changed;
}

/* ------------------------------------------------------------------------- the file */

struct stored { /* the value; all bytes, so it has no padding */
	uint8_t verdict, is_pinned, withdrawals, tfo_cookie_len;
	uint8_t tfo_cookie[SERVERS_COOKIE_MAX];
	uint8_t unused[2];
};

_Static_assert(sizeof(struct stored) == STATE_SERVER_VALUE, "what is kept of a server");

_Static_assert(STATE_SERVER_KEY == MEMO_ADDR, "the server's address and port");

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
	if (s.verdict > SERVERS_TCP || s.is_pinned > 1 || s.withdrawals > WITHDRAWALS_MAX ||
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

/* Is it what only this process knows, as the file could not be written? Not if others have written later,
 * a person has said something, or the clock was set back. */
static bool is_ahead(const struct servers_entry *e, const struct servers_entry *of_file,
		     int64_t now_ms)
{
	return !of_file->is_pinned && of_file->learned_ms <= e->learned_ms &&
	       e->learned_ms <= now_ms;
}

/* e: what the file did not have when it was read last, if anything. False: nor does it have more now. */
static bool read_file(const struct addr *server, int64_t now_ms, struct servers_entry *e)
{
	uint8_t key[STATE_SERVER_KEY], value[STATE_SERVER_VALUE];
	struct servers_entry of_file = *e;
	struct state_times times;

	memo_key(key, server);
	if (!state_get(STATE_SERVER, key, now_ms, value, &times) ||
	    !decode(&of_file, value, &times) || is_ahead(e, &of_file, now_ms))
		return false;
	*e = of_file;
	return true;
}

static bool change_file(void *value, struct state_times *times, bool found, void *arg)
{
	struct news *n = arg;
	struct servers_entry e = n->entry;
	struct stored s;
	bool changed;

	if (found && decode(&e, value, times) && is_ahead(&n->entry, &e, n->now_ms))
		e = n->entry;
	changed = apply(&e, n);
	n->entry = e;
	encode(&s, &e);
	memcpy(value, &s, sizeof(s));
	times->until_ms = e.until_ms;
	return changed;
}

/* ------------------------------------------------------------------------ the table */

static void keep(const struct servers_entry *e, int64_t now_ms, bool in_file)
{
	uint8_t key[STATE_SERVER_KEY];
	struct row *row;

	memo_key(key, &e->server);
	if (!memo_try_lock(&memo))
		return;
	row = memo_place(&memo, key);
	row->entry = *e;
	row->memo.checked_ms = now_ms;
	row->memo.in_file = in_file;
	memo_unlock(&memo);
}

enum look { LOOK_BUSY, LOOK_FRESH, LOOK_STALE, LOOK_NONE };

static enum look look(const struct addr *server, int64_t now_ms, struct servers_entry *e,
		      bool *in_file)
{
	uint8_t key[STATE_SERVER_KEY];
	const struct row *row;
	enum look found = LOOK_NONE;

	memo_key(key, server);
	if (!memo_try_lock(&memo))
		return LOOK_BUSY;
	row = memo_find(&memo, key);
	if (row) {
		int64_t age = now_ms - row->memo.checked_ms;

		*e = row->entry;
		*in_file = row->memo.in_file;
		found = age >= 0 && age < SERVERS_REREAD_MS ? LOOK_FRESH : LOOK_STALE;
	}
	memo_unlock(&memo);
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
	enum look found;

	blank(e, server);
	*in_file = false;
	found = look(server, now_ms, e, in_file);
	if (found == LOOK_STALE || found == LOOK_NONE) {
		if (*in_file) /* else the file could not be written, or there is none */
			blank(e, server);
		*in_file = read_file(server, now_ms, e);
		keep(e, now_ms, *in_file);
	}
	if (e->until_ms <= now_ms)
		blank(e, server);
	return found != LOOK_BUSY;
}

/* 0, or the -errno of state_update(); -EAGAIN, too, where the table is being used. */
static int tell(const struct addr *server, struct news *n)
{
	struct servers_entry e;
	uint8_t key[STATE_SERVER_KEY];
	bool in_file;
	int ret;

	if (!recall(server, n->now_ms, &e, &in_file))
		return -EAGAIN;
	if (in_file) /* or nothing of it may be there any more */
		blank(&n->entry, server);
	else
		n->entry = e;
	if (!apply(&e, n))
		return 0;
	memo_key(key, server);
	ret = state_update(STATE_SERVER, key, n->now_ms, change_file, n);
	/* another process is just writing: the file will say more */
	keep(ret == 0 ? &n->entry : &e, n->now_ms, ret == 0 || ret == -EAGAIN);
	return ret;
}

/* ----------------------------------------------------------------------------- public */

bool servers_find(const struct addr *server, int64_t now_ms, struct servers_entry *entry)
{
	bool in_file;

	return recall(server, now_ms, entry, &in_file) && entry->until_ms > now_ms;
}

enum servers_verdict servers_verdict_of(const struct servers_entry *e, int64_t now_ms)
{
	/* after a withdrawal the converter is asked again, or it could not be believed again */
	return e->verdict == SERVERS_TCP && e->withdrawals && !is_held(e, now_ms) ?
		       SERVERS_UNKNOWN :
		       e->verdict;
}

enum servers_verdict servers_lookup(const struct addr *server, int64_t now_ms)
{
	struct servers_entry e;

	return servers_find(server, now_ms, &e) ? servers_verdict_of(&e, now_ms) : SERVERS_UNKNOWN;
}

void servers_learn(const struct addr *server, bool mptcp, struct cvt_span tfo_cookie,
		   int64_t now_ms)
{
	struct news n = { .kind = NEWS_LEARNED,
			  .verdict = mptcp ? SERVERS_MPTCP : SERVERS_TCP,
			  .tfo_cookie = tfo_cookie,
			  .now_ms = now_ms };

	tell(server, &n);
}

void servers_withdraw(const struct addr *server, int64_t now_ms)
{
	struct news n = { .kind = NEWS_WITHDRAWN, .now_ms = now_ms };

	tell(server, &n);
}

int servers_pin(const struct addr *server, enum servers_verdict verdict, int64_t now_ms)
{
	struct news n = { .kind = NEWS_PINNED, .verdict = verdict, .now_ms = now_ms };

	return tell(server, &n);
}

int servers_forget(const struct addr *server, int64_t now_ms)
{
	uint8_t key[STATE_SERVER_KEY];

	memo_key(key, server);
	memo_drop(&memo, key);
	return state_erase(STATE_SERVER, key, now_ms);
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
	memo_clear(&memo);
}

void servers_in_child(void)
{
	memo_in_child(&memo);
}

// SPDX-License-Identifier: MIT
/* What news of a server means. All of it pure. */
#include "servers_int.h"

#include <string.h>

static void put_cookie(struct servers_entry *e, struct cvt_span tfo_cookie)
{
	memset(e->tfo_cookie, 0, sizeof(e->tfo_cookie));
	memcpy(e->tfo_cookie, tfo_cookie.p, tfo_cookie.len);
	e->tfo_cookie_len = (uint8_t)tfo_cookie.len;
}

static bool is_same_cookie(const struct servers_entry *e, struct cvt_span tfo_cookie)
{
	return e->tfo_cookie_len == tfo_cookie.len &&
	       memcmp(e->tfo_cookie, tfo_cookie.p, tfo_cookie.len) == 0;
}

static bool is_held(const struct servers_entry *e, int64_t now_ms)
{
	int64_t hold = e->withdrawals ? SERVERS_HOLD_MS << (e->withdrawals - 1) : 0;

	if (hold > SERVERS_KEEP_MS)
		hold = SERVERS_KEEP_MS;
	return now_ms >= e->learned_ms && now_ms - e->learned_ms < hold;
}

static bool learn(struct servers_entry *e, const struct servers_news *n)
{
	const struct cvt_span *c = &n->tfo_cookie;
	bool is_news = c->len > 0 && c->len <= SERVERS_COOKIE_MAX && !is_same_cookie(e, *c);

	if (is_news)
		put_cookie(e, *c);
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
	if (e->withdrawals < SERVERS_SHIFTS_MAX)
		e->withdrawals++;
	return true;
}

static bool drop_cookie(struct servers_entry *e)
{
	bool had_one = e->tfo_cookie_len > 0;

	memset(e->tfo_cookie, 0, sizeof(e->tfo_cookie));
	e->tfo_cookie_len = 0;
	return had_one;
}

bool servers_apply(struct servers_entry *e, const struct servers_news *n)
{
	bool changed = true;

	switch (n->kind) {
	case SERVERS_NEWS_LEARNED:
		changed = learn(e, n);
		break;
	case SERVERS_NEWS_WITHDRAWN:
		changed = withdraw(e);
		break;
	case SERVERS_NEWS_BAD_COOKIE:
		changed = drop_cookie(e);
		break;
	case SERVERS_NEWS_PINNED:
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

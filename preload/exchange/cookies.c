// SPDX-License-Identifier: MIT
#include "message.h"

#include "converters.h"

#include <string.h>

/*
 * The cookies that were handed out last, to whichever converter they belong (retry.c has them learned). A new one never takes the
 * place of the one that it follows, which others may just be reading: it goes where the oldest of all is
 * that nobody needs. Nobody waits for anybody: an entry that is just being written is not there yet, and
 * who finds that somebody else has come first looks again.
 */
#define LEARNED_MOST 16

#define WORDS	  (CONFIG_COOKIE_MAX / sizeof(uint64_t))
#define KEY_WORDS 4

static struct learned {
	_Atomic uint32_t changes; /* odd: being written */
	_Atomic uint32_t turn;	  /* the newer one counts; 0: there is none */
	_Atomic uint32_t len;	  /* 0: it was dropped */
	_Atomic uint64_t mark;	  /* cookies_mark() */
	_Atomic uint64_t key[KEY_WORDS];
	_Atomic uint64_t bytes[WORDS];
} all[LEARNED_MOST];

_Static_assert(CONFIG_COOKIE_MAX % sizeof(uint64_t) == 0, "whole words");

static _Atomic uint32_t turns;

/* Whose a cookie is: the converter's address and port, and the network. */
static void take_key(uint64_t key[static KEY_WORDS], const struct health_key *whose)
{
	memcpy(key, whose->converter.ip, sizeof(whose->converter.ip));
	key[2] = whose->network;
	key[3] = whose->converter.port;
}

static bool has_key(const struct learned *l, const uint64_t key[static KEY_WORDS])
{
	for (int i = 0; i < KEY_WORDS; i++)
		if (atomic_load(&l->key[i]) != key[i])
			return false;
	return true;
}

static bool is_of(const struct learned *l, const uint64_t key[static KEY_WORDS])
{
	return atomic_load(&l->turn) && !(atomic_load(&l->changes) & 1) && has_key(l, key);
}

/* Signed, as turns wrap. */
static bool is_newer(const struct learned *l, const struct learned *than)
{
	return !than || (int32_t)(atomic_load(&l->turn) - atomic_load(&than->turn)) > 0;
}

/* NULL: there is none. Before the first one the table's pages are left alone. */
static struct learned *newest_of(const struct exchange *u)
{
	struct learned *newest = NULL;
	uint64_t key[KEY_WORDS];

	if (!atomic_load_explicit(&turns, memory_order_relaxed))
		return NULL;
	take_key(key, &u->health);
	for (struct learned *l = all; l < all + LEARNED_MOST; l++)
		if (is_of(l, key) && is_newer(l, newest))
			newest = l;
	return newest;
}

static bool copy(const struct learned *l, const struct exchange *u, uint8_t *room, size_t len)
{
	uint32_t before = atomic_load(&l->changes);
	uint64_t word, key[KEY_WORDS];

	take_key(key, &u->health);
	if (before & 1 || len != atomic_load(&l->len) || !is_of(l, key))
		return false;
	for (size_t at = 0; at < len; at += sizeof(word)) {
		word = atomic_load(&l->bytes[at / sizeof(word)]);
		memcpy(room + at, &word, len - at < sizeof(word) ? len - at : sizeof(word));
	}
	return atomic_load(&l->changes) == before;
}

size_t cookies_len(const struct exchange *u)
{
	const struct cvt_span *configured = &converters_of(u)->convert_cookie;
	const struct learned *l;

	if (configured->len)
		return configured->len;
	l = newest_of(u);
	return l ? atomic_load(&l->len) : 0;
}

bool cookies_copy(const struct exchange *u, uint8_t *room, size_t len)
{
	const struct cvt_span *configured = &converters_of(u)->convert_cookie;
	const struct learned *l;

	if (configured->len) {
		if (len == configured->len)
			memcpy(room, configured->p, len);
		return len == configured->len;
	}
	l = newest_of(u);
	return l && copy(l, u, room, len);
}

/* FNV-1a, over what is on the wire: whole words. */
uint64_t cookies_mark(struct cvt_span cookie)
{
	uint64_t h = 0xcbf29ce484222325;

	for (size_t i = 0; i < (cookie.len + 3) / 4 * 4; i++)
		h = (h ^ (i < cookie.len ? cookie.p[i] : 0)) * 0x100000001b3;
	return cookie.len ? h | 1 : 0;
}

static bool is_followed(const struct learned *l)
{
	uint64_t key[KEY_WORDS];

	for (int i = 0; i < KEY_WORDS; i++)
		key[i] = atomic_load(&l->key[i]);
	for (const struct learned *other = all; other < all + LEARNED_MOST; other++)
		if (other != l && atomic_load(&other->turn) && is_newer(other, l) &&
		    has_key(other, key))
			return true;
	return false;
}

/* Is it of less use than the other one? What was never used, then what has a successor, then what is
 * old. */
static bool is_better_room(const struct learned *l, const struct learned *than)
{
	bool old = is_followed(l), other_old = is_followed(than);

	if (!atomic_load(&l->turn) || !atomic_load(&than->turn))
		return !atomic_load(&l->turn);
	return old != other_old ? old : is_newer(than, l);
}

/* Its `changes` are odd then. NULL: so are all. */
static struct learned *claim(void)
{
	uint32_t changes, best_changes;
	struct learned *best;

	do {
		best = NULL;
		best_changes = 0;
		for (struct learned *l = all; l < all + LEARNED_MOST; l++) {
			changes = atomic_load(&l->changes);
			if (changes & 1 || (best && !is_better_room(l, best)))
				continue;
			best = l;
			best_changes = changes;
		}
	} while (best &&
		 !atomic_compare_exchange_strong(&best->changes, &best_changes, best_changes + 1));
	return best;
}

static bool add(const struct exchange *u, struct cvt_span convert_cookie)
{
	uint64_t key[KEY_WORDS], word;
	struct learned *l = claim();
	uint32_t turn;

	if (!l)
		return false;
	take_key(key, &u->health);
	atomic_store(&l->turn, 0);
	for (int i = 0; i < KEY_WORDS; i++)
		atomic_store(&l->key[i], key[i]);
	atomic_store(&l->len, (uint32_t)convert_cookie.len);
	atomic_store(&l->mark, cookies_mark(convert_cookie));
	for (size_t at = 0; at < convert_cookie.len; at += sizeof(word)) {
		size_t n = convert_cookie.len - at;

		word = 0;
		memcpy(&word, convert_cookie.p + at, n < sizeof(word) ? n : sizeof(word));
		atomic_store(&l->bytes[at / sizeof(word)], word);
	}
	turn = atomic_fetch_add(&turns, 1) + 1;
	atomic_store(&l->turn, turn ? turn : 1);
	atomic_fetch_add(&l->changes, 1);
	return true;
}

bool cookies_learn(const struct exchange *u, struct cvt_span convert_cookie)
{
	const struct learned *known = newest_of(u);
	uint64_t mark = cookies_mark(convert_cookie);

	if (converters_of(u)->convert_cookie.len || convert_cookie.len > CONFIG_COOKIE_MAX)
		return false;
	/* another thread may have learned it */
	if (mark == (known ? atomic_load(&known->mark) : 0))
		return mark && mark != u->sent_cookie;
	return add(u, convert_cookie);
}

/* In its place, so that one that another thread has just learned stays the newest. */
void cookies_drop(const struct exchange *u)
{
	struct learned *l = newest_of(u);
	uint32_t changes = l ? atomic_load(&l->changes) : 0;

	if (!l || converters_of(u)->convert_cookie.len || !u->sent_cookie || changes & 1 ||
	    atomic_load(&l->mark) != u->sent_cookie ||
	    !atomic_compare_exchange_strong(&l->changes, &changes, changes + 1))
		return;
	atomic_store(&l->len, 0);
	atomic_store(&l->mark, 0);
	atomic_fetch_add(&l->changes, 1);
}

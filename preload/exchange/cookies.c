// SPDX-License-Identifier: MIT
#include "cookies.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

/*
 * The cookies that were handed out last, to whichever converter they belong. A new one never takes the
 * place of the one that it follows, which others may just be reading: it goes where the oldest of all is
 * that nobody needs. Nobody waits for anybody: an entry that is just being written is not there yet, and
 * who finds that somebody else has come first looks again.
 */
#define LEARNED_MOST 16

#define WORDS (CONFIG_COOKIE_MAX / sizeof(uint64_t))

struct learned {
	_Atomic uint32_t changes; /* odd: being written */
	_Atomic uint32_t turn;	  /* the newer one counts; 0: there is none */
	_Atomic uint32_t len;	  /* 0: it was dropped */
	_Atomic uint32_t port;
	_Atomic uint64_t mark; /* cookies_mark() */
	_Atomic uint64_t ip[2], network;
	_Atomic uint64_t bytes[WORDS];
};

_Static_assert(CONFIG_COOKIE_MAX % sizeof(uint64_t) == 0, "whole words");

static _Atomic(struct learned *) table;
static _Atomic uint32_t turns;

static struct learned *the_table(bool make)
{
	struct learned *all = atomic_load_explicit(&table, memory_order_acquire), *mine;
	size_t size = LEARNED_MOST * sizeof(*all);

	if (all || !make)
		return all;
	mine = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mine == MAP_FAILED)
		return NULL;
	if (atomic_compare_exchange_strong(&table, &all, mine))
		return mine;
	munmap(mine, size);
	return all;
}

static bool is_of(const struct learned *l, const struct health_key *key)
{
	uint64_t ip[2];

	memcpy(ip, key->converter.ip, sizeof(ip));
	return atomic_load(&l->turn) && !(atomic_load(&l->changes) & 1) &&
	       atomic_load(&l->network) == key->network &&
	       atomic_load(&l->port) == key->converter.port && atomic_load(&l->ip[0]) == ip[0] &&
	       atomic_load(&l->ip[1]) == ip[1];
}

/* Signed, as turns wrap. */
static bool is_newer(const struct learned *l, const struct learned *than)
{
	return !than || (int32_t)(atomic_load(&l->turn) - atomic_load(&than->turn)) > 0;
}

static struct learned *newest_of(struct learned *all, const struct health_key *key)
{
	struct learned *newest = NULL;

	for (int i = 0; all && i < LEARNED_MOST; i++)
		if (is_of(&all[i], key) && is_newer(&all[i], newest))
			newest = &all[i];
	return newest;
}

static bool copy(const struct learned *l, const struct health_key *key, uint8_t *room, size_t len)
{
	uint32_t before = atomic_load(&l->changes);
	uint64_t word;

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
	const struct learned *l;

	if (u->converter->convert_cookie.len)
		return u->converter->convert_cookie.len;
	l = newest_of(the_table(false), &u->health);
	return l ? atomic_load(&l->len) : 0;
}

bool cookies_copy(const struct exchange *u, uint8_t *room, size_t len)
{
	const struct learned *l;

	if (u->converter->convert_cookie.len) {
		memcpy(room, u->converter->convert_cookie.p, len);
		return true;
	}
	l = newest_of(the_table(false), &u->health);
	return l && copy(l, &u->health, room, len);
}

/* FNV-1a, over what is on the wire: whole words. */
uint64_t cookies_mark(struct cvt_span cookie)
{
	uint64_t h = 0xcbf29ce484222325;

	for (size_t i = 0; i < (cookie.len + 3) / 4 * 4; i++)
		h = (h ^ (i < cookie.len ? cookie.p[i] : 0)) * 0x100000001b3;
	return cookie.len ? h | 1 : 0;
}

static uint64_t known_mark(const struct exchange *u)
{
	const struct learned *l = newest_of(the_table(false), &u->health);

	return l ? atomic_load(&l->mark) : 0;
}

static bool is_same(const struct learned *a, const struct learned *b)
{
	return atomic_load(&a->port) == atomic_load(&b->port) &&
	       atomic_load(&a->network) == atomic_load(&b->network) &&
	       atomic_load(&a->ip[0]) == atomic_load(&b->ip[0]) &&
	       atomic_load(&a->ip[1]) == atomic_load(&b->ip[1]);
}

static bool is_followed(struct learned *all, const struct learned *l)
{
	for (int i = 0; i < LEARNED_MOST; i++)
		if (&all[i] != l && atomic_load(&all[i].turn) && is_newer(&all[i], l) &&
		    is_same(&all[i], l))
			return true;
	return false;
}

/* Is it of less use than the other one? What was never used, then what has a successor, then what is
 * old. */
static bool is_better_room(struct learned *all, const struct learned *l, const struct learned *than)
{
	bool old = is_followed(all, l), other_old = is_followed(all, than);

	if (!atomic_load(&l->turn) || !atomic_load(&than->turn))
		return !atomic_load(&l->turn);
	return old != other_old ? old : is_newer(than, l);
}

/* Its `changes` are odd then. NULL: so are all. */
static struct learned *claim(struct learned *all)
{
	uint32_t changes, best_changes;
	struct learned *best;

	do {
		best = NULL;
		best_changes = 0;
		for (int i = 0; i < LEARNED_MOST; i++) {
			changes = atomic_load(&all[i].changes);
			if (changes & 1 || (best && !is_better_room(all, &all[i], best)))
				continue;
			best = &all[i];
			best_changes = changes;
		}
	} while (best &&
		 !atomic_compare_exchange_strong(&best->changes, &best_changes, best_changes + 1));
	return best;
}

static bool add(const struct exchange *u, struct cvt_span convert_cookie)
{
	struct learned *all = the_table(true), *l = all ? claim(all) : NULL;
	uint64_t ip[2], word;
	uint32_t turn;

	if (!l)
		return false;
	memcpy(ip, u->health.converter.ip, sizeof(ip));
	atomic_store(&l->turn, 0);
	atomic_store(&l->network, u->health.network);
	atomic_store(&l->port, u->health.converter.port);
	atomic_store(&l->ip[0], ip[0]);
	atomic_store(&l->ip[1], ip[1]);
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
	uint64_t mark = cookies_mark(convert_cookie);

	if (u->converter->convert_cookie.len || convert_cookie.len > CONFIG_COOKIE_MAX)
		return false;
	if (known_mark(u) == mark) /* another thread may have learned it */
		return mark && mark != u->sent_cookie;
	return add(u, convert_cookie);
}

/* In its place, so that one that another thread has just learned stays the newest. */
void cookies_drop(const struct exchange *u)
{
	struct learned *l = newest_of(the_table(false), &u->health);
	uint32_t changes = l ? atomic_load(&l->changes) : 0;

	if (!l || u->converter->convert_cookie.len || !u->sent_cookie || changes & 1 ||
	    atomic_load(&l->mark) != u->sent_cookie ||
	    !atomic_compare_exchange_strong(&l->changes, &changes, changes + 1))
		return;
	atomic_store(&l->len, 0);
	atomic_store(&l->mark, 0);
	atomic_fetch_add(&l->changes, 1);
}

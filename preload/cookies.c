// SPDX-License-Identifier: MIT
#include "cookies.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

/* One per converter that ever asked for a cookie. Entries are added at the head and never
 * changed or freed, so readers need no lock; a new cookie of a converter hides its older one. */
struct learned {
	struct health_key of;
	struct learned *next;
	size_t len; /* 0: it was dropped */
	uint8_t bytes[CONFIG_COOKIE_MAX];
};

#define LEARNED_MOST 64 /* a converter that hands out a new one each time is not obliged */

static _Atomic(struct learned *) head;
static atomic_int n_learned;

static bool is_same(const struct health_key *a, const struct health_key *b)
{
	return a->network == b->network && a->converter.port == b->converter.port &&
	       addr_equal_ip(&a->converter, &b->converter);
}

struct cvt_span cookies_for(const struct upstream *u)
{
	if (u->converter->convert_cookie.len)
		return u->converter->convert_cookie;
	for (struct learned *l = atomic_load(&head); l; l = l->next)
		if (is_same(&l->of, &u->health))
			return (struct cvt_span){ l->bytes, l->len };
	return (struct cvt_span){ NULL, 0 };
}

static bool add(const struct upstream *u, struct cvt_span convert_cookie)
{
	struct learned *new;

	if (atomic_fetch_add(&n_learned, 1) >= LEARNED_MOST)
		return false;
	new = mmap(NULL, sizeof(*new), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (new == MAP_FAILED)
		return false;
	new->of = u->health;
	new->len = convert_cookie.len;
	if (convert_cookie.len)
		memcpy(new->bytes, convert_cookie.p, convert_cookie.len);
	new->next = atomic_load(&head);
	while (!atomic_compare_exchange_weak(&head, &new->next, new))
		;
	return true;
}

bool cookies_learn(const struct upstream *u, struct cvt_span convert_cookie)
{
	struct cvt_span known = cookies_for(u);

	if (u->converter->convert_cookie.len || convert_cookie.len > CONFIG_COOKIE_MAX ||
	    (known.len == convert_cookie.len &&
	     (!known.len || memcmp(known.p, convert_cookie.p, known.len) == 0)))
		return false;
	return add(u, convert_cookie);
}

void cookies_drop(const struct upstream *u)
{
	if (!u->converter->convert_cookie.len && cookies_for(u).len)
		add(u, (struct cvt_span){ NULL, 0 });
}

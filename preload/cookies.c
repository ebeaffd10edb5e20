// SPDX-License-Identifier: MIT
#include "cookies.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

/* One per converter that ever asked for a cookie. Entries are added at the head and never
 * changed or freed, so readers need no lock; a new cookie of a converter hides its older one. */
struct learned {
	const struct config_converter *converter;
	struct learned *next;
	size_t len;
	uint8_t bytes[CONFIG_COOKIE_MAX];
};

#define LEARNED_MOST 64 /* a converter that hands out a new one each time is not obliged */

static _Atomic(struct learned *) head;
static atomic_int n_learned;

struct cvt_span cookies_for(const struct config_converter *converter)
{
	if (converter->convert_cookie.len)
		return converter->convert_cookie;
	for (struct learned *l = atomic_load(&head); l; l = l->next)
		if (l->converter == converter)
			return (struct cvt_span){ l->bytes, l->len };
	return (struct cvt_span){ NULL, 0 };
}

bool cookies_learn(const struct config_converter *converter, struct cvt_span convert_cookie)
{
	struct cvt_span known = cookies_for(converter);
	struct learned *new;

	if (converter->convert_cookie.len || convert_cookie.len > CONFIG_COOKIE_MAX ||
	    (known.p && known.len == convert_cookie.len &&
	     memcmp(known.p, convert_cookie.p, known.len) == 0) ||
	    atomic_fetch_add(&n_learned, 1) >= LEARNED_MOST)
		return false;
	new = mmap(NULL, sizeof(*new), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (new == MAP_FAILED)
		return false;
	new->converter = converter;
	new->len = convert_cookie.len;
	memcpy(new->bytes, convert_cookie.p, convert_cookie.len);
	new->next = atomic_load(&head);
	while (!atomic_compare_exchange_weak(&head, &new->next, new))
		;
	return true;
}

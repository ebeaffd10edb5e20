// SPDX-License-Identifier: MIT
#include "options.h"

#include "servers.h"

#include <string.h>

/* Written once, from the first one on; who reads one too few asks for the option once more. */
static struct refusal {
	_Atomic(const struct config_converter *) converter;
	_Atomic uint8_t kind;
} refusals[64];
static _Atomic unsigned int n_refusals;

#define REFUSALS_MOST (sizeof(refusals) / sizeof(refusals[0]))

bool options_is_refused(const struct config_converter *converter, uint8_t kind)
{
	unsigned int n = atomic_load_explicit(&n_refusals, memory_order_relaxed);

	for (unsigned int i = 0; i < n && i < REFUSALS_MOST; i++)
		if (atomic_load_explicit(&refusals[i].converter, memory_order_acquire) ==
			    converter &&
		    atomic_load_explicit(&refusals[i].kind, memory_order_relaxed) == kind)
			return true;
	return false;
}

static void refuse(const struct config_converter *converter, uint8_t kind)
{
	unsigned int i = atomic_fetch_add(&n_refusals, 1);

	if (i >= REFUSALS_MOST) {
		atomic_store(&n_refusals, REFUSALS_MOST);
		return;
	}
	atomic_store_explicit(&refusals[i].kind, kind, memory_order_relaxed);
	atomic_store_explicit(&refusals[i].converter, converter, memory_order_release);
}

bool options_refused(const struct config_converter *converter, struct cvt_span kinds)
{
	bool any = false;

	for (size_t i = 0; i < kinds.len; i++) {
		if (!kinds.p[i] || options_is_refused(converter, kinds.p[i]))
			continue;
		refuse(converter, kinds.p[i]);
		any = true;
	}
	return any;
}

/* An option without content: the converter shall make it up (P-22, P-23). */
static void ask(struct cvt_span *options, uint8_t *room, const struct upstream *u, uint8_t kind)
{
	if (options_is_refused(u->converter, kind) || options->len + 2 > OPTIONS_MAX)
		return;
	room[options->len++] = kind;
	room[options->len++] = 2;
}

/* The cookie that the server has given, through a converter, is copied into the SYN to it (P-23). */
static bool add_tfo_cookie(struct cvt_span *options, uint8_t *room, const struct upstream *u)
{
	struct servers_entry known;

	if (options_is_refused(u->converter, CVT_OPT_FAST_OPEN) ||
	    !servers_find(&u->server, state_now_ms(), &known) || !known.tfo_cookie_len ||
	    options->len + 2 + known.tfo_cookie_len > OPTIONS_MAX)
		return false;
	room[options->len++] = CVT_OPT_FAST_OPEN;
	room[options->len++] = (uint8_t)(2 + known.tfo_cookie_len);
	memcpy(room + options->len, known.tfo_cookie, known.tfo_cookie_len);
	options->len += known.tfo_cookie_len;
	return true;
}

struct cvt_span options_for(const struct upstream *u, uint8_t room[static OPTIONS_MAX])
{
	struct cvt_span options = { room, 0 };

	if (u->asks_mptcp)
		ask(&options, room, u, CVT_OPT_MPTCP);
	if (u->fast_open && !add_tfo_cookie(&options, room, u))
		ask(&options, room, u, CVT_OPT_FAST_OPEN);
	return options;
}

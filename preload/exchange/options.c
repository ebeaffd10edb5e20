// SPDX-License-Identifier: MIT
#include "message.h"

#include "converters.h"

#include <string.h>

/* Kinds that are never sent are not in here: one converter may name more of them than there is room for
 * all. Written once, from the first one on; who reads one too few asks for the option once more. */
static struct refusal {
	_Atomic(const struct config_converter *) converter;
	_Atomic uint8_t kind;
} refusals[64];
static _Atomic unsigned int n_refusals;

#define REFUSALS_MOST (sizeof(refusals) / sizeof(refusals[0]))

static bool is_refused(const struct config_converter *converter, uint8_t kind)
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

static bool is_ever_sent(uint8_t kind)
{
	return kind == CVT_OPT_MPTCP || kind == CVT_OPT_FAST_OPEN;
}

void options_refused(const struct config_converter *converter, struct cvt_span kinds)
{
	for (size_t i = 0; i < kinds.len; i++)
		if (is_ever_sent(kinds.p[i]) && !is_refused(converter, kinds.p[i]))
			refuse(converter, kinds.p[i]);
}

bool options_asked(const struct exchange *u, struct cvt_span kinds)
{
	for (unsigned int i = 0; u->has_options && i < u->n_asked; i++)
		if (kinds.len && memchr(kinds.p, u->asked[i], kinds.len))
			return true;
	return false;
}

static bool may_ask(const struct exchange *u, uint8_t kind)
{
	return !(u->tried & EXCHANGE_TRIED_BASE) && !is_refused(converters_of(u), kind);
}

/* With no content the converter shall make it up (P-22, P-23). */
static void add(struct cvt_span *options, uint8_t *room, struct exchange *u, uint8_t kind,
		struct cvt_span content)
{
	if (options->len + 2 + content.len > OPTIONS_MAX)
		return;
	room[options->len++] = kind;
	room[options->len++] = (uint8_t)(2 + content.len);
	if (content.len)
		memcpy(room + options->len, content.p, content.len);
	options->len += content.len;
	u->asked[u->n_asked++] = kind;
}

struct cvt_span options_for(struct exchange *u, uint8_t room[static OPTIONS_MAX])
{
	struct cvt_span options = { room, 0 };
	bool asks_mptcp = u->asks_mptcp && may_ask(u, CVT_OPT_MPTCP);
	bool asks_fast_open = u->fast_open && may_ask(u, CVT_OPT_FAST_OPEN);

	if (!asks_mptcp && !asks_fast_open)
		return options;
	u->has_options = true;
	u->n_asked = 0;
	if (asks_mptcp)
		add(&options, room, u, CVT_OPT_MPTCP, (struct cvt_span){ NULL, 0 });
	/* the cookie that the server has given, through a converter, is copied into the SYN to it */
	if (asks_fast_open)
		add(&options, room, u, CVT_OPT_FAST_OPEN,
		    (struct cvt_span){ u->tfo_cookie, u->tfo_cookie_len });
	return options;
}

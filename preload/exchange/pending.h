/* SPDX-License-Identifier: MIT */
/*
 * pending.h - what an exchange that is pending is about, and what it waits for.
 */
#ifndef CVT_PENDING_H
#define CVT_PENDING_H

#include "exchange.h"

/* Is the message that is out an Info TLV, and no Connect TLV? */
static inline bool exchange_asks_info(const struct exchange *u)
{
	return (u->tried & (EXCHANGE_TRIED_INFO | EXCHANGE_TRIED_AGAIN)) == EXCHANGE_TRIED_INFO;
}

static inline bool exchange_is_pending(const struct exchange *u)
{
	enum exchange_phase phase = exchange_phase(u);

	return phase >= EXCHANGE_DEFERRED && phase <= EXCHANGE_REPLY;
}

/* Still the kernel's alone: nothing was sent, and the socket shows what the program shall see. */
static inline bool exchange_is_deferred(const struct exchange *u)
{
	return exchange_phase(u) == EXCHANGE_DEFERRED;
}

/* POLLOUT or POLLIN (the epoll bits are the same): what advance would need. */
static inline short exchange_wants(const struct exchange *u)
{
	short wants = (short)watch_wants(&u->watch);

	return wants ? wants : POLLIN;
}

/* When there is something to be done even if nothing happens: the next look, or the end of its time. */
static inline int64_t exchange_due_ns(const struct exchange *u)
{
	int64_t look_ns = atomic_load(&u->look_ns), deadline_ns = atomic_load(&u->deadline_ns);

	return look_ns < deadline_ns ? look_ns : deadline_ns;
}

/* Its converter has not been tried yet; until `limit_ns` all that it may go on to share the time. */
void exchange_begin_tries(struct exchange *u);

#endif

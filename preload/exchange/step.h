/* SPDX-License-Identifier: MIT */
/*
 * step.h - an exchange on its way.
 */
#ifndef CVT_STEP_H
#define CVT_STEP_H

#include "exchange.h"
#include "slots.h"

/* The program's first data, to follow the message at once: it uses Fast Open itself (D10). */
struct exchange_early {
	const struct msghdr *msg; /* iov and control; NULL: no data */
	int flags;		  /* of its call */
	size_t taken;		  /* out: bytes that the kernel has queued; it has no others */
};

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

/* Its converter has not been tried yet; until `limit_ns` all that it may go on to share the time. */
void exchange_begin_tries(struct exchange *u);
/* Sends the SYN, to the next converter if that cannot be done, and without ever waiting; with u->may_defer and no early data perhaps only prepares it.
 * early: NULL, or what the program sends. 0; -EINTR: it is out, but a signal arrived; else -errno:
 * nothing was sent, the exchange is over. */
int exchange_open(struct exchange *u, int fd, bool nonblocking, struct exchange_early *early);
/* When there is something to be done even if nothing happens: the next look, or the end of its time. */
static inline int64_t exchange_due_ns(const struct exchange *u)
{
	int64_t look_ns = atomic_load(&u->look_ns), deadline_ns = atomic_load(&u->deadline_ns);

	return look_ns < deadline_ns ? look_ns : deadline_ns;
}

/* A step: does what can be done without waiting; the program's descriptor is fd. What has arrived counts,
 * however late somebody looks; then the clock does. broken: a wait has reported an error on it. Between
 * exchange_enter() and exchange_leave(). */
enum exchange_event exchange_advance(struct exchange *u, int fd, bool broken, int *err);
/* The end of it, with the options as the program has set them. */
void exchange_end(struct exchange *u, int fd, enum exchange_phase phase);
/* Back to an unconnected socket (sock_disconnect()), but for what the program has set. */
void exchange_take_back(struct exchange *u, int fd);
/* POLLOUT or POLLIN (the epoll bits are the same): what advance would need. */
static inline short exchange_wants(const struct exchange *u)
{
	short wants = (short)watch_wants(&u->watch);

	return wants ? wants : POLLIN;
}

#endif

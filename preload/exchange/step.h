/* SPDX-License-Identifier: MIT */
/*
 * step.h - an exchange on its way: what it is about and waits for, and a step of it.
 */
#ifndef CVT_STEP_H
#define CVT_STEP_H

#include "slots.h"

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

/* patience.c: its converter has not been tried yet; until `limit_ns` all that it may go on to share the time. */
void exchange_begin_tries(struct exchange *u);

/* step.c: sends the SYN, to the next converter if that cannot be done, and without ever waiting; with u->may_defer and
 * no early data perhaps only prepares it. early: NULL, or what the program sends. 0; -EINTR: it is out, but a signal
 * arrived; else -errno: nothing was sent, the exchange is over. */
int exchange_open(struct exchange *u, int fd, bool nonblocking, struct exchange_early *early);
/* incoming.c: one that a converter has begun: a connection that it has made to us for a remote host, whose Connect TLV
 * says which. Pending until that has come and our header is out; then `server` is the remote host. What does
 * not begin as such a message ends as EXCHANGE_DIRECT, untouched. NULL: there is no room for it. family: of
 * the program's socket. */
struct exchange *exchange_incoming(uint64_t sock_cookie, const struct config_converter *converter,
				   const struct addr *via, int family, bool mptcp);
/* step.c: a step: does what can be done without waiting; the program's descriptor is fd. What has arrived counts,
 * however late somebody looks; then the clock does. word: mark_look(fd) from before it was known to be u's; if
 * that has changed, nothing is done. broken: a wait has reported an error on it. Between exchange_enter() and
 * exchange_leave(). */
enum exchange_event exchange_advance(struct exchange *u, int fd, uint16_t word, bool broken,
				     int *err);
/* silence.c: the program closes the number, or takes the connection back, before there is an outcome. For the log; and
 * if nothing at all has come from the converter for health, as the next program may be as impatient. No system call
 * for what was just begun. */
void exchange_given_up(struct exchange *u, int fd);

#endif

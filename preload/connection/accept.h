/* SPDX-License-Identifier: MIT */
/*
 * accept.h - listeners whose connections a converter may make for remote hosts, and those connections (accept.c); and
 * those that have no name yet, of a listener that does not wait for it (held.c; docs/design.md, "Connections from
 * outside"): numbers of this process that its program does not know of. And programs that are the client and the
 * server of one connection: natively the client is connected before accept() returns the other end (both_ends.c; D1,
 * TRAPS 2.17).
 */
#ifndef CVT_ACCEPT_H
#define CVT_ACCEPT_H

#include "record.h"

/* Before listen(): Multipath TCP, and data in SYNs, if a rule speaks of where it is bound. */
void accept_listen(int fd);
/* From `peer`, accepted on listener just now. Has it become a number with a record, perhaps settled already? */
bool accept_begin(int listener, int fd, const struct addr *peer, int family);
/* Is the peer known: its name, which getpeername() then says, too? Or is there none any more? */
enum accept_name { ACCEPT_UNKNOWN, ACCEPT_KNOWN, ACCEPT_GONE };
enum accept_name accept_name(int fd, struct addr *peer);

/* ---- held.c */

#define HELD_LOOK_NS 5000000

extern _Atomic int held_number INTERNAL;
static inline bool held_any(void)
{
	return __builtin_expect(atomic_load_explicit(&held_number, memory_order_relaxed) > 0, 0);
}

/* fd is the listener's from now on. False: there is no room, or nobody would know where it is waited for. */
bool held_put(int listener, int fd);
/* Is the number one of them? One of the listener's; and one that is over, which comes of accept() next; or NULL. */
bool held_is(int fd);
struct held *held_of(int listener);
struct held *held_ready(int listener);
/* Must a wait for the number come by here? */
static inline bool held_or_unsettled(int fd)
{
	return mark_is_unsettled(mark_get(fd)) || (held_any() && held_of(fd));
}

/* That one, with the flags of this accept4(); waits: or, if there is none, one that is not over yet. -1: there is
 * none of these. */
int held_take(int listener, bool waits, int flags);
/* To the n events that a wait on epfd has brought, those of listeners that have one ready. Returns how many
 * there are then, `most` at most. */
int held_events(int epfd, struct epoll_event *events, int n, int most);
/* Listeners with these numbers are about to be closed, and their queues with them. */
void held_drop(int first, int last);
/* The listener has been registered in an epoll set, or anew. */
void held_registered(int listener);
/* In the child of fork(): they are the parent's. */
void held_in_child(void);

/* ---- both_ends.c */

/* This thread has begun a conversion. */
void both_ends_begun(const struct exchange *u);
/* accept() is about to wait on listener, and something is pending: if it is the last conversion of
 * this thread and goes to this listener, waits until it or another one to there is over. Never for
 * a non-blocking listener; never longer than its SO_RCVTIMEO or the exchange's deadline. Says
 * whether accept() may go on; if not, errno is set (EINTR, EAGAIN). A cancellation point. */
bool both_ends_in_order(int listener);

#endif

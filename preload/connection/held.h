/* SPDX-License-Identifier: MIT */
/*
 * held.h - connections of a converter's whose name is not here yet, to a listener that does not wait for it
 * (docs/design.md, "Connections from outside"): numbers of this process that its program does not know of.
 */
#ifndef CVT_HELD_H
#define CVT_HELD_H

#include "record.h"

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

#endif

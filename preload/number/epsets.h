/* SPDX-License-Identifier: MIT */
/*
 * epsets.h - which epoll sets a socket is registered in, for sockets that may be converted: while one is,
 * the registrations are swapped for ours (D2, TRAPS 2.10-2.12).
 *
 * Only sockets made by our socket() are followed before their connect(), and beyond EPSET_MAX registrations
 * at a time none is. What is left of sets and sockets that were closed unseen makes room when room is needed.
 */
#ifndef CVT_EPSETS_H
#define CVT_EPSETS_H

#include "real.h"

#include <stdatomic.h>

#ifndef EPSET_MAX /* at most 1 << EPSET_BITS */
#define EPSET_MAX (1 << EPSET_BITS)
#endif
#define EPSET_BITS 20

/* The owner of a pending connection, as far as its registrations are concerned; shared with forked
 * processes. */
struct watch {
	/* In the low half the events that it waits for now (POLLIN, POLLOUT, which are epoll's too), 0:
	 * none yet, or no more. The high half is the owner's own. */
	_Atomic uint32_t state;
	/* How many have been swapped, and which of the first 32 have been put back: of two processes only
	 * one does it. */
	_Atomic uint32_t n_swapped, put_back;
};

static inline uint32_t watch_wants(const struct watch *w)
{
	return atomic_load_explicit(&w->state, memory_order_acquire) & 0xffff;
}

/* Has a word of ours ever been in any epoll set? From then on every wait must be looked at. */
extern _Atomic bool epset_swapped INTERNAL;
static inline bool epset_ever_swapped(void)
{
	return __builtin_expect(atomic_load_explicit(&epset_swapped, memory_order_relaxed), 0);
}
/* Follows what an epoll_ctl() that the kernel has accepted did. False: the table is full. */
bool epset_follow(int epfd, int op, int fd, const struct epoll_event *event);
/* epoll_ctl() of fd, whose conversion is pending: the kernel gets our mask and word, and
 * what the program wants is put back later. Returns what epoll_ctl() says, 0 or -errno (-ENOSPC if the table is
 * full); or 1: libc's shall go on. */
int epset_ctl_swapped(int op, int epfd, int fd, const struct epoll_event *event, struct watch *w);

/* All registrations of fd: to the mask that w wants (again, if that has changed); back to what the
 * program wants, unless another process has done so (w may be NULL where that is not known); forget: they are
 * not followed any more. */
void epset_swap(int fd, struct watch *w);
void epset_put_back(int fd, struct watch *w, bool forget);
/* By a vfork child, in the sets that it still has; for its parent they are not put back yet. */
void epset_show(int fd, struct watch *w);
/* Another socket is about to take the place of fd's: takes all registrations out of their sets, as the old socket's
 * would go with it. The next epset_swap() enters the new one; epset_settle() does with the program's own masks. False:
 * one of them cannot be entered again as it is; nothing has changed. swapped: those that are swapped, too, which are
 * entered again when they are put back. */
bool epset_lift(int fd, bool swapped);
void epset_settle(int fd);
bool epset_has(int fd);
/* What the program has asked of fd, which is not swapped, in the set. False: nothing, or a one-shot event that it
 * has had. The second: it has it now; false: from somebody else. */
bool epset_asked(int epfd, int fd, struct epoll_event *event);
bool epset_fire(int epfd, int fd);
/* The number is closed or means something else now. */
void epset_forget(int fd);

/* A number that the program does not know of, in the sets that one of its own is registered in: who waits
 * there, or in a set around it, comes by at once, and whenever something happens to the guest. Not in sets that
 * forked processes may have, too, as they do not know our word. */
struct epset_guest {
	_Atomic int fd; /* plus one; 0: nobody, so that entering does nothing */
	int n, sets[8];
};
void epset_guest_enter(struct epset_guest *g, int host);
/* is_there: the number still is the guest. */
void epset_guest_leave(struct epset_guest *g, bool is_there);
/* fd was not followed for a while, and is from now on. What it is registered in by now /proc says; if not, it is
 * as if there had been no room. */
void epset_follow_again(int fd);
/* Does nobody know in which epoll sets fd is, because there was no room? */
bool epset_is_lost(int fd);

/* Is this event, from the set epfd, for us? Then *fd is the number it was registered for, or -1 if
 * nobody knows. */
bool epset_is_ours(const struct epoll_event *event, int epfd, int *fd);

void epset_before_fork(void);
void epset_in_child(void);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * regs.h - which epoll sets a socket is registered in, for sockets that may be converted.
 *
 * While a conversion is pending its registrations are exchanged for ones with the mask that the
 * exchange needs and a data word of our own, so that the program's threads wake for us and never
 * see the socket early; afterwards they are put back, which also re-arms edge-triggered and
 * one-shot ones (D2, TRAPS 2.10-2.12).
 *
 * Only sockets made by our socket() are followed before their connect(). Bounded: beyond
 * REGS_MAX registrations at a time a socket is not followed, and then not converted, as long as it is
 * open. What is left of sets and sockets that were closed unseen makes room when room is needed.
 */
#ifndef CVT_REGS_H
#define CVT_REGS_H

#include "real.h"
#include "upstream.h"

#include <sys/epoll.h>

#ifndef REGS_MAX /* at most 1 << REGS_BITS */
#define REGS_MAX (1 << REGS_BITS)
#endif
#define REGS_BITS 20

/* Has a word of ours ever been in any epoll set? From then on every wait must be looked at. */
extern _Atomic bool regs_exchanged INTERNAL;
static inline bool regs_ever_exchanged(void)
{
	return __builtin_expect(atomic_load_explicit(&regs_exchanged, memory_order_relaxed), 0);
}
/* Follows what an epoll_ctl() that the kernel has accepted did. False: the table is full. */
bool regs_follow(int epfd, int op, int fd, const struct epoll_event *event);
/* EPOLL_CTL_MOD of fd, whose conversion is pending: changes what is put back later, and the kernel
 * gets our mask and word. Returns what epoll_ctl() says, or 1: libc's shall go on. */
int regs_change(int epfd, int fd, const struct epoll_event *event, struct upstream *u);
/* Enters fd, whose conversion is pending, in the set: the kernel gets our mask and word. Returns
 * what epoll_ctl(EPOLL_CTL_ADD) says, 0 or -errno; -ENOSPC if the table is full. */
int regs_add_exchanged(int epfd, int fd, const struct epoll_event *event, struct upstream *u);

/* All registrations of fd: to the mask that u wants (again, if that has changed); back to what the
 * program wants, unless another process has done so (u may be NULL where that is not known); forget: they are
 * not followed any more. */
void regs_exchange(int fd, struct upstream *u);
void regs_put_back(int fd, struct upstream *u, bool forget);
/* Another socket is about to take the place of fd's: takes all registrations out of their sets, as the
 * old socket's would go with it. The next regs_exchange() enters the new one; regs_settle() does with
 * the program's own masks. False: one of them cannot be entered again as it is; nothing has changed. */
bool regs_lift(int fd);
void regs_settle(int fd);
/* The same while they are exchanged: those are entered again when they are put back. */
bool regs_lift_exchanged(int fd);
bool regs_has(int fd);
/* The number is closed or means something else now. */
void regs_forget(int fd);
/* Does nobody know in which epoll sets fd is, because there was no room? */
bool regs_is_lost(int fd);

/* Is this event, from the set epfd, for us? Then *fd is the number it was registered for, or -1 if
 * nobody knows. */
bool regs_is_ours(const struct epoll_event *event, int epfd, int *fd);

void regs_in_child(void);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * pollset.h - a wait on a set of descriptors of which some are pending conversions (D2).
 * What poll, ppoll, select and pselect have in common.
 */
#ifndef CVT_POLLSET_H
#define CVT_POLLSET_H

#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

/* Room for a set: on the caller's stack if it is small, else a mapping of its own (never
 * the program's allocator). pollset_release() is also for libc_cleanup_push(), as all waits
 * are cancellation points; under musl, a handler that leaves by longjmp() leaks a mapping. */
#define POLLSET_ON_STACK 16
struct pollset_room {
	struct pollfd *fds;
	nfds_t n;
	struct pollfd on_stack[POLLSET_ON_STACK];
};
struct pollfd *pollset_room(struct pollset_room *room, nfds_t n); /* NULL: no memory */
void pollset_release(void *room);

/* As ppoll(2), but until a moment of CLOCK_MONOTONIC (WAIT_FOREVER: no limit), and it returns a
 * negative errno. fds is read first and written last: a signal handler may leave by longjmp(),
 * and another thread may share it (TRAPS 2.19). */
int pollset_wait(struct pollfd *fds, nfds_t n, int64_t until_ns, const sigset_t *mask);

#endif

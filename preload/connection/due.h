/* SPDX-License-Identifier: MIT */
/*
 * due.h - when which number is to be looked after, without a walk over all of them.
 *
 * A hint, that may be too soon and is never too late (by more than 66 us). Promises: no lock, no system call,
 * no allocation; whoever leaves or dies in the middle leaves it as it was.
 */
#ifndef CVT_DUE_H
#define CVT_DUE_H

#include <stdint.h>

/* fd (0..MARK_MAX-1), at this moment (CLOCK_MONOTONIC) or earlier. What is to be seen of it then has been
 * stored before. */
void due_at(int fd, int64_t at_ns);
/* The soonest of all; INT64_MAX: none. */
int64_t due_next(void);
/* Has those looked after, up to `highest`, that are due at this moment, and some neighbours. look() says when
 * again; INT64_MAX: never. */
void due_each(int64_t at_ns, int highest, int64_t (*look)(int fd));

#endif

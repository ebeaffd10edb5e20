/* SPDX-License-Identifier: MIT */
/*
 * advance.h - how a connection goes on: steps, waits, and what is told of it.
 */
#ifndef CVT_ADVANCE_H
#define CVT_ADVANCE_H

#include "record.h"

/* Does what can be done without waiting, or ends an exchange whose deadline has passed. Returns the mark that the
 * number has then: MARK_PENDING while the program has to wait. broken: after a wait that has reported an error on fd. */
enum mark conn_advance_after(int fd, struct conn *c, bool broken);
static inline enum mark conn_advance(int fd, struct conn *c)
{
	return conn_advance_after(fd, c, false);
}
/* Waits as a blocking connect() does: 0 when the exchange is over; -ETIMEDOUT at limit_ns
 * (CLOCK_MONOTONIC, WAIT_FOREVER for none); -EINTR after a signal that does not restart (TRAPS
 * 2.9; with a time limit the kernel never restarts); -EDEADLK if waiting could not help
 * (exchange_is_interrupted()). -EBADF if the number
 * means something else by now. A cancellation point; holds no lock.
 * A signal between the SYN and the wait is not seen, as one just before connect() is not: to see it,
 * all signals would have to be blocked around both, two system calls more for each connect(). */
int conn_wait(int fd, struct conn *c, int64_t limit_ns);
/* Waits until the exchange on fd, if there is one, is over. Bounded by its deadline; signals do not end
 * it. */
void conn_finish(int fd);
/* The errno of a failed conversion, once; 0 when it has been told. */
int conn_take_error(int fd, struct conn *c);
/* connect() reports the outcome: has one done so before, through whichever number (through this one,
 * once the exchange is forgotten)? */
bool conn_tell(struct conn *c);
/* Was it accepted (accept.h)? Then it is connected, if nothing has come yet. */
bool conn_is_incoming(const struct conn *c);
/* The program itself ends the connection (or the attempt): the exchange, if any, is over. */
void conn_abandon(int fd, struct conn *c);
/* When the nearest deadline of anything pending should be looked after (CLOCK_MONOTONIC);
 * INT64_MAX: nothing is pending. */
int64_t conn_next_check(void);
/* Looks after what is due by then: ends those whose deadline has passed, settles what another process has
 * ended, forgets those whose number means something else. For whoever waits, as no deadline fires by itself
 * (TRAPS 2.20). Says whether there was anything. */
bool conn_sweep(int64_t ahead_ns);
/* How long it may take until what another process has ended is noticed: with so much ahead it is at once. */
#define CONN_LOOK_NS 10000000
/* The exchange is due at another moment than it was. */
void conn_set_due(int fd, struct exchange *u);

#endif

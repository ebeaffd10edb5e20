/* SPDX-License-Identifier: MIT */
/*
 * advance.h - how a connection goes on: steps, waits, and what is told of it (advance.c). And how an exchange ends:
 * refused, directly, taken back; and what marks and registrations say then, connected ones too (end.c).
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

/* ---- end.c */

/* What exchange_advance() has said of fd, in EXCHANGE_OPENING: carries it out, and ends the exchange. Unless
 * the number has been closed meanwhile, or the program has taken the connection back. */
void end_by(int fd, struct exchange *u, enum exchange_event event, int err);
/* Makes the kernel show what a refused connect shows, and ends the exchange; err is to be told. c: the
 * record of fd. */
void end_refused(int fd, struct conn *c, struct exchange *u, int err);
/* After EXCHANGE_DIRECT: has the kernel connect fd to the server, without waiting. 0 or -errno. */
int end_connect(int fd, const struct exchange *u);
/* Nothing was sent: the program's own socket again, as it was before its connect(). c: the record of fd, or
 * NULL. This and the next one while the number is MARK_OPENING, so that nobody closes it meanwhile. */
void end_withdrawn(int fd, struct conn *c);
/* Disconnected, and what has the number is no twin any more. */
void end_disconnected(int fd, struct conn *c);
/* connect(AF_UNSPEC), shutdown() of what is pending, and whatever was known of an attempt is over: the socket may
 * connect again. Nothing, if the number is another socket's by now. */
void conn_reset(int fd, struct conn *c);
/* The exchange u of fd is over: marks and registrations of all its numbers say so. Returns the mark of
 * fd. */
enum mark conn_settle(int fd, struct exchange *u);
/* One number of it gets the mark, if it still is one of it. */
void conn_settle_number(int fd, enum mark mark, struct exchange *u);
/* lost.c: the same where nobody has the exchange any more: the socket is asked. */
enum mark conn_settle_lost(int fd);
/* closed.c: the log's debug level: the program is about to close a converted connection. errno is kept. */
void conn_log_close(int fd);

#endif

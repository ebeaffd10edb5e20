/* SPDX-License-Identifier: MIT */
/*
 * both_ends.h - programs that are the client and the server of one connection: natively the client is
 * connected before accept() returns the other end (D1, TRAPS 2.17).
 */
#ifndef CVT_BOTH_ENDS_H
#define CVT_BOTH_ENDS_H

#include "record.h"

/* This thread has begun a conversion. */
void both_ends_begun(const struct exchange *u);
/* accept() is about to wait on listener, and something is pending: if it is the last conversion of
 * this thread and goes to this listener, waits until it or another one to there is over. Never for
 * a non-blocking listener; never longer than its SO_RCVTIMEO or the exchange's deadline. Says
 * whether accept() may go on; if not, errno is set (EINTR, EAGAIN). A cancellation point. */
bool both_ends_in_order(int listener);

#endif

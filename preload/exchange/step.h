/* SPDX-License-Identifier: MIT */
/*
 * step.h - an exchange on its way.
 */
#ifndef CVT_STEP_H
#define CVT_STEP_H

#include "pending.h"
#include "slots.h"

/* Sends the SYN, to the next converter if that cannot be done, and without ever waiting; with u->may_defer
 * and no early data perhaps only prepares it. early: NULL, or what the program sends. 0; -EINTR: it is out, but a signal arrived; else -errno:
 * nothing was sent, the exchange is over. */
int exchange_open(struct exchange *u, int fd, bool nonblocking, struct exchange_early *early);
/* A step: does what can be done without waiting; the program's descriptor is fd. What has arrived counts,
 * however late somebody looks; then the clock does. word: mark_look(fd) from before it was known to be u's; if
 * that has changed, nothing is done. broken: a wait has reported an error on it. Between exchange_enter() and
 * exchange_leave(). */
enum exchange_event exchange_advance(struct exchange *u, int fd, uint16_t word, bool broken,
				     int *err);

#endif

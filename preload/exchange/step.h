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
/* One that a converter has begun: a connection that it has made to us for a remote host, whose Connect TLV
 * says which. Pending until that has come and our header is out; then `server` is the remote host. What does
 * not begin as such a message ends as EXCHANGE_DIRECT, untouched. NULL: there is no room for it. family: of
 * the program's socket. */
struct exchange *exchange_incoming(uint64_t sock_cookie, const struct config_converter *converter,
				   const struct addr *via, int family, bool mptcp);
/* A step: does what can be done without waiting; the program's descriptor is fd. What has arrived counts,
 * however late somebody looks; then the clock does. word: mark_look(fd) from before it was known to be u's; if
 * that has changed, nothing is done. broken: a wait has reported an error on it. Between exchange_enter() and
 * exchange_leave(). */
enum exchange_event exchange_advance(struct exchange *u, int fd, uint16_t word, bool broken,
				     int *err);
/* The program closes the number, or takes the connection back, before there is an outcome. For the log; and if
 * nothing at all has come from the converter for health, as the next program may be as impatient. No system
 * call for what was just begun. */
void exchange_given_up(struct exchange *u, int fd);

#endif

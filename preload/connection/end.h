/* SPDX-License-Identifier: MIT */
/*
 * end.h - how an exchange ends: refused, directly, taken back; and what marks and registrations say then,
 * connected ones too.
 */
#ifndef CVT_END_H
#define CVT_END_H

#include "record.h"

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

/* SPDX-License-Identifier: MIT */
/*
 * conn_int.h - what record.c (records), begin.c and advance.c share among themselves.
 */
#ifndef CVT_CONN_INT_H
#define CVT_CONN_INT_H

#include "conn.h"

/* The page that holds the record of fd (0..MARK_MAX-1); make: if need be. NULL: none, or no memory. */
#define CONN_PAGE 256
struct conn *conn_page(int fd, bool make);
/* Do the records belong to this process, or is it a vfork child in its parent's memory? */
bool conn_is_owner(void);
/* A new record, without an exchange yet. */
void conn_fill(struct conn *c, uint64_t sock_cookie, const struct addr *server, uint8_t family);
void conn_copy_record(int fd, int newfd, enum mark mark);

/* The highest number that can be pending or a copy: the end of every walk. */
void conn_raise_highest(int fd);
int conn_highest(void);

/* Something pending has to be looked after at this moment (CLOCK_MONOTONIC). */
void conn_check_at(int64_t at_ns);
/* The exchange u of fd is over: marks and registrations of all its numbers say so. Returns the mark of
 * fd. */
enum mark conn_settle(int fd, struct exchange *u);
/* One number of it gets the mark, if it still is one of it. */
void conn_settle_number(int fd, enum mark mark, struct exchange *u);
/* The same where nobody has the exchange any more: the socket is asked. */
enum mark conn_settle_lost(int fd);

#endif

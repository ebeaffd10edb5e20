/* SPDX-License-Identifier: MIT */
/*
 * attempt.h - all of connect() but its system call.
 */
#ifndef CVT_ATTEMPT_H
#define CVT_ATTEMPT_H

#include "record.h"

/* All of connect(), but its system call: 0, -errno, or CONN_NATIVELY. early: the program's
 * MSG_FASTOPEN; then 0 is a connection, and -EINPROGRESS may be one that has taken data. */
#define CONN_NATIVELY 1
int conn_connect(int fd, const struct sockaddr *sa, socklen_t len, struct exchange_early *early);
/* CONN_NATIVELY, or what a connect() is told that must not be direct (CONVERT_STRICT). */
int conn_natively(int fd, const struct sockaddr *sa, socklen_t len);
/* Waits for u as a blocking connect() does; this thread drives it. When the time limit is over the
 * connection goes on by itself, and on_limit is what is said. The same results. */
int conn_wait_for_outcome(int fd, struct exchange *u, int64_t limit_ns, int on_limit);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * upstream_int.h - what upstream.c (going on), upstream_syn.c (the SYN), upstream_retry.c and
 * upstream_end.c (the ends) share among themselves. All of it under the exchange's lock, or before anybody else can see it.
 */
#ifndef CVT_UPSTREAM_INT_H
#define CVT_UPSTREAM_INT_H

#include "upstream.h"

/* From one pending phase to the next, unless the program has taken the connection back. */
void upstream_go_on(struct upstream *u, enum upstream_phase phase);
/* All of the request is queued in the kernel. */
void upstream_request_taken(struct upstream *u);
/* TCP_SYN_SENT and so on; 0: the kernel does not say. */
int upstream_tcp_state(int fd);

/* upstream_open(), but if nothing was sent the exchange is not over. */
int upstream_send_syn(struct upstream *u, int fd, bool nonblocking, struct upstream_early *early);
/* connect() that never waits. */
int upstream_connect(int fd, const struct sockaddr *to, socklen_t len, bool nonblocking);

/* upstream_disconnect(), but the program's own settings stay. */
void upstream_take_back(struct upstream *u, int fd);
/* TCP_FASTOPEN_NO_COOKIE as the program had it. */
void upstream_undo_no_cookie(struct upstream *u, int fd);
/* The exchange is over. */
void upstream_end(struct upstream *u, int fd, enum upstream_phase phase);
/* It has failed: a direct connection if it may be, or the failure for the program to see. result: the
 * converter's reply, or NULL if there is none. */
void upstream_give_up(struct upstream *u, int fd, enum hs_verdict verdict, int err, const char *why,
		      const struct hs_result *result);

/* Missing Cookie: reset, remember the cookie, once more (P-27). */
void upstream_retry_with_cookie(struct upstream *u, int fd, const struct hs_result *result);
/* Unsupported TCP Option: reset, remember the kinds, once more without them. False: it is not that, or
 * the attempt is spent. */
bool upstream_retry_without_options(struct upstream *u, int fd, const struct hs_result *result);
/* Not Authorized, with a cookie that was learned; Unsupported Message, with any: reset, forget the cookie,
 * once more without it (PROTOCOL 2). False as above. */
bool upstream_retry_without_cookie(struct upstream *u, int fd, const struct hs_result *result);
/* The converter has failed: by another one of the configuration, if there is one that may be used and
 * that the socket as it is can reach. */
bool upstream_retry_elsewhere(struct upstream *u, int fd, const char *why, int err);
bool upstream_has_elsewhere(const struct upstream *u);
/* Nothing has come by look_ns: has the SYN, or its answer, been lost? Is the reply held back? Then once
 * more. Sets look_ns anew. */
void upstream_look(struct upstream *u, int fd);
/* May it be held back, as data in the SYN has not been seen to work with MPTCP (LINUX-FACTS 2b.3)? If
 * so it has until half of the attempt's time is over. */
bool upstream_may_be_held(const struct upstream *u);
int64_t upstream_half_time_ns(const struct upstream *u);

void upstream_log_failed(const struct upstream *u, const char *what, const char *why, int err);
void upstream_log_connected(const struct upstream *u, int fd);

#endif

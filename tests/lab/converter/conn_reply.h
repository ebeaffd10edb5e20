/* SPDX-License-Identifier: MIT */
/*
 * conn_reply.h - the reply's way to the client: conn_reply.c is the second half of conn.c.
 *
 * Promises: the reply is built once, then sent as --fault says, and what follows it follows.
 */
#ifndef LAB_CONN_REPLY_H
#define LAB_CONN_REPLY_H

#include "conn.h"

/* The downstream connection stands, or the client only asked what is supported. */
void conn_reply_success(struct conn *c);
/* The request cannot be granted. */
void conn_fail(struct conn *c, const struct failure *f);
/* Sends what can be sent; to be called again by the timer and when there is room. */
void conn_reply_step(struct conn *c);

/* What conn.c does for it. */
const struct options *conn_options(void);
void conn_start_relay(struct conn *c);
void conn_linger(struct conn *c, bool send_fin);
void conn_close_down(struct conn *c);
void conn_count_reply(void);
void conn_count_error(void);
/* outcome: a word for the log, unless one was set before. reset: RST to both sides. */
void conn_drop(struct conn *c, const char *outcome, bool reset);

#endif

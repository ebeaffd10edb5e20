/* SPDX-License-Identifier: MIT */
/*
 * message.h - what the Connect message says beside whom to connect to: TCP options for the connection to the
 * server, and the Convert cookie (the Cookie TLV) that the converter has handed out (P-27, P-28).
 *
 * Both are remembered for as long as the process lives: which kinds a converter has refused (Error 33), and the
 * last cookies, per converter's address and network, given back to nobody else (F-02). health.h has the last
 * ones for other processes. A configured cookie is never replaced by one that the network brought (F-03).
 * Promises: no lock, no system call, no allocation.
 */
#ifndef CVT_MESSAGE_H
#define CVT_MESSAGE_H

#include "exchange.h"

#define OPTIONS_MAX CVT_SYN_OPTS_MAX

/* The option list for this exchange, in room; it may be empty: a Base Connect. */
struct cvt_span options_for(struct exchange *u, uint8_t room[static OPTIONS_MAX]);
/* Error 33 named these kinds (zero bytes are padding): they are not sent any more. */
void options_refused(const struct config_converter *converter, struct cvt_span kinds);
/* Has this exchange asked for one of these? */
bool options_asked(const struct exchange *u, struct cvt_span kinds);

/* How long the configured or learned cookie for this exchange is; 0: there is none. */
size_t cookies_len(const struct exchange *u);
/* The cookie, if it has that length. */
bool cookies_copy(const struct exchange *u, uint8_t *room, size_t len);
/* Tells cookies apart; 0 is none (u->sent_cookie). */
uint64_t cookies_mark(struct cvt_span cookie);
/* False if the cookie is not taken: too long, one is configured, or this one was already tried. */
bool cookies_learn(const struct exchange *u, struct cvt_span convert_cookie);
/* The learned one, if it is the one that was sent, is of no use any more. */
void cookies_drop(const struct exchange *u);

#endif

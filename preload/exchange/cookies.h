/* SPDX-License-Identifier: MIT */
/*
 * cookies.h - Convert cookies (the Cookie TLV) that converters have handed out (P-27, P-28).
 *
 * The last ones that this process has got, per converter's address and network, and given back to nobody else
 * (F-02). health.h has the last one for other processes. A configured cookie is never replaced by one that
 * the network brought (F-03).
 */
#ifndef CVT_COOKIES_H
#define CVT_COOKIES_H

#include "exchange.h"

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

/* SPDX-License-Identifier: MIT */
/*
 * cookies.h - Convert cookies (the Cookie TLV) that converters have handed out (P-27, P-28).
 *
 * Kept in this process only, per converter, and given back to nobody else (F-02). A configured
 * cookie is never replaced by one that the network brought (F-03).
 */
#ifndef CVT_COOKIES_H
#define CVT_COOKIES_H

#include "config.h"

/* The configured or learned cookie; len 0 if there is none. */
struct cvt_span cookies_for(const struct config_converter *converter);
/* False if the cookie is not taken: too long, one is configured, or this one was already tried. */
bool cookies_learn(const struct config_converter *converter, struct cvt_span convert_cookie);

#endif

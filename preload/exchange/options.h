/* SPDX-License-Identifier: MIT */
/*
 * options.h - the TCP options that a Connect TLV asks the converter to use towards the server.
 *
 * Which kinds a converter has refused (Error 33) is remembered for as long as the process lives.
 * Promises: no lock, no system call, no allocation.
 */
#ifndef CVT_OPTIONS_H
#define CVT_OPTIONS_H

#include "exchange.h"

#define OPTIONS_MAX CVT_SYN_OPTS_MAX

/* The option list for this exchange, in room; it may be empty: a Base Connect. */
struct cvt_span options_for(struct exchange *u, uint8_t room[static OPTIONS_MAX]);
/* Error 33 named these kinds (zero bytes are padding). False: of those that we send we know all already,
 * and would only repeat ourselves. */
bool options_refused(const struct config_converter *converter, struct cvt_span kinds);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * converters.h - what exchanges tell of the converters, and what they are told: health.h, applied.
 *
 * All processes of a user share it through the state file. Nothing here waits.
 */
#ifndef CVT_CONVERTERS_H
#define CVT_CONVERTERS_H

#include "handshake.h"
#include "upstream.h"

/* May the converter at this address be used now (pol_usable_fn)? When it has failed, only one
 * connection at a time gets a yes, to find out. */
enum pol_reason converters_usable(const struct addr *via);
/* The same, but one that has failed may. */
enum pol_reason converters_allowed(const struct addr *via);
/* A new exchange: its dialect, and what of Fast Open and MPTCP the converter takes. */
void converters_advise(struct upstream *u);
/* Does the network lose MPTCP on the way to it? Then a socket that speaks it gains nothing. */
bool converters_lose_mptcp(const struct addr *via);

/* A whole reply has come, whatever it says. */
void converters_replied(struct upstream *u, const struct hs_result *result);
/* It does not take the Convert cookie that it has given. */
void converters_refused_cookie(const struct upstream *u);
/* It has made the connection of fd. */
void converters_connected(struct upstream *u, int fd);
/* The exchange has failed by its fault, as it seems. result: its reply, or NULL and the errno. */
void converters_failed(const struct upstream *u, const struct hs_result *result, int err);

#endif

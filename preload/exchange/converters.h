/* SPDX-License-Identifier: MIT */
/*
 * converters.h - what exchanges are told of the converters: health.h, asked. (report.h tells it.)
 *
 * All processes of a user share it through the state file. Nothing here waits, and nothing is asked
 * while an exchange's lock is held.
 */
#ifndef CVT_CONVERTERS_H
#define CVT_CONVERTERS_H

#include "exchange.h"

struct converters_choice {
	const struct pol_binding *by; /* what the socket is bound to, or NULL */
	const struct exchange *after; /* NULL, or the exchange whose converters have been tried */
	bool again;    /* no other is usable: one that is left alone may be, for a try */
	bool despite;  /* of what is known of its failures: a converter may be asked all the same */
	bool is_probe; /* out: it had failed, and this connection is the one that finds out */
};

/* The converter for a connection to dst, by a rule that says POL_CONVERT. */
struct pol_verdict converters_choose(const struct addr *dst, int socket_family,
				     struct pol_verdict rule, struct converters_choice *choice);
/* route_lookup(), which does not ask again what was asked since the last converters_choose(). */
bool converters_route(const struct addr *to, const struct pol_binding *by, struct pol_route *route);
/* The one of choice has not been used after all. */
void converters_unchoose(const struct addr *via, const struct converters_choice *choice);
/* Of an exchange with u->converter and u->by: its dialect, and what of Fast Open and MPTCP that takes. */
void converters_advise(struct exchange *u);
/* Is the converter still reached by the network that key says? Asked now; false: *key says by which, if that is
 * known, and what is begun from now on knows. */
bool converters_is_still_in(struct health_key *key, const struct pol_binding *by);
/* Does the network lose MPTCP on the way to it? Then a socket that speaks it gains nothing. */
bool converters_lose_mptcp(const struct addr *via, const struct pol_binding *by);

#endif

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
#include "shim.h"

struct converters_choice {
	const struct pol_binding *by; /* what the socket is bound to */
	const struct exchange *after; /* NULL, or the exchange whose converters have been tried */
	bool only_v6;  /* the socket would not come back from IPv4, or not get there */
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
/* By its place in the configuration; the first one, where there is none: a forked child, which may be less trusted
 * by now, can write any number into an exchange. */
static inline const struct config_converter *converters_at(uint32_t place)
{
	const struct config *config = shim_config();

	return &config->converters[place < config->n_converters ? place : 0];
}

/* The one of an exchange. */
static inline const struct config_converter *converters_of(const struct exchange *u)
{
	return converters_at(atomic_load_explicit(&u->converter, memory_order_relaxed));
}

static inline void converters_take(struct exchange *u, const struct config_converter *c)
{
	FILL(u->converter, (uint32_t)(c - shim_config()->converters));
}

/* Of an exchange with a converter and u->by: its dialect, and what of Fast Open and MPTCP that takes. */
void converters_advise(struct exchange *u);
/* Is the converter still reached by the network that key says? Asked now; false: *key says by which, if that is
 * known, and what is begun from now on knows. */
bool converters_is_still_in(struct health_key *key, const struct pol_binding *by);
/* Does the network lose MPTCP on the way to it? Then a socket that speaks it gains nothing. */
bool converters_lose_mptcp(const struct addr *via, const struct pol_binding *by);

#endif

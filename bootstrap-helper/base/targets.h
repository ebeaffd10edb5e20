/* SPDX-License-Identifier: MIT */
/* targets.h - the converters' addresses, each with the network that it is reached by from here. */
#ifndef CVT_TARGETS_H
#define CVT_TARGETS_H

#include "config.h"
#include "policy.h"

struct target {
	const struct config_converter *converter;
	struct addr to;
	bool has_route, at_home; /* at_home: `from` and `interface` let it be used */
	struct pol_route route;
	uint64_t network; /* health_network(); 0: no route */
};

/* All addresses of all converters, as they are reached now; free() them. NULL: there are none, or no
 * memory. */
struct target *targets_find(const struct config *config, size_t *n);
/* Asks for the route again. Returns whether it leads through another network, or may be used now and
 * was not before. */
bool targets_look(struct target *t);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * paths.h - what the kernel's MPTCP path manager was told (ip-mptcp(8)), and what it would make of it.
 *
 * Promises: sockets are opened and closed inside the call; never waits; errno untouched.
 */
#ifndef CVT_PATHS_H
#define CVT_PATHS_H

#include "multipath.h"
#include "policy.h"

#define PATHS_MOST 8	/* the kernel's own limit */
#define PATHS_MS   2000 /* a network may come or go: so long an answer is taken to hold */

struct paths {
	int err; /* 0, -ENOENT: no path manager, -EPERM: not for this user */
	unsigned int subflows, accepted; /* limits: subflows, add_addr_accepted */
	struct paths_endpoint {
		struct addr address;
		char interface[16]; /* "" if it is not bound to one */
		bool makes_subflows;
		bool is_backup; /* they carry data when no other is left */
	} endpoints[PATHS_MOST];
	unsigned int n_endpoints;
};

void paths_look(struct paths *paths);
/* Pure: from where the first subflow goes by `first`, through a tunnel or not. */
enum paths_found paths_beside(const struct paths *paths, const struct pol_route *first,
			      bool is_tunnel);
/* To an address: asked of the kernel, and remembered for PATHS_MS. Three system calls where there are
 * no endpoints. */
enum paths_found paths_to(const struct addr *to, pol_route_fn *route, int64_t now_ms);

#endif

/* SPDX-License-Identifier: MIT */
/* paths.h - what the kernel's MPTCP path manager was told (ip-mptcp(8)), by generic netlink. */
#ifndef CVT_PATHS_H
#define CVT_PATHS_H

#include <stdbool.h>

#include "addr.h"

#define PATHS_MOST 8 /* the kernel's own limit */

struct paths {
	int err; /* 0, -ENOENT: no path manager, -EPERM: not for this user */
	unsigned int subflows, accepted; /* limits: subflows, add_addr_accepted */
	struct paths_endpoint {
		struct addr address;
		char interface[16]; /* "" if it is not bound to one */
		bool makes_subflows;
	} endpoints[PATHS_MOST];
	unsigned int n_endpoints;
};

void paths_look(struct paths *paths);

#endif

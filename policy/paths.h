/* SPDX-License-Identifier: MIT */
/*
 * paths.h - which way the kernel would send a packet to an address, asked over rtnetlink (route.c); what its MPTCP
 * path manager was told (ip-mptcp(8)), and what it would make of it (paths.c).
 *
 * And does Multipath TCP gain a connection anything now? With a second path it does, and costs what it
 * costs: up to a round trip to the converter (LINUX-FACTS 2b.3), and its differences from TCP (LINUX-FACTS
 * 4). On one path it only costs. And whoever binds a socket says which network it shall use, where the
 * kernel's MPTCP uses others all the same (LINUX-FACTS 4.8): a VPN's traffic beside the VPN, a metered
 * link that was to be avoided.
 *
 * Promises: sockets are opened and closed inside the call, unless somebody wants to have one; never waits; errno
 * untouched. An answer holds for now, and for this process's user and namespace only.
 */
#ifndef CVT_PATHS_H
#define CVT_PATHS_H

#include "config.h"
#include "policy.h"

/* A pol_route_fn. */
bool route_lookup(const struct addr *to, const struct pol_binding *by, struct pol_route *route);
/* The name of an interface, "" if there is none; fd: any socket, asked by ioctl(). errno may change. */
void route_interface(int fd, char name[16], int index);

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

/* Between this host and an address, as the kernel would make them. */
enum paths_found {
	PATHS_UNASKED,
	PATHS_ONE,     /* no endpoint beside the address that the first subflow has */
	PATHS_SEVERAL, /* or nobody can tell */
	PATHS_AROUND,  /* the first goes through a tunnel, the others would go around it */
};

void paths_look(struct paths *paths);
/* Pure: from where the first subflow goes by `first`, through a tunnel or not. */
enum paths_found paths_beside(const struct paths *paths, const struct pol_route *first,
			      bool is_tunnel);
/* Where the MPTCP socket that is asked comes from: it is left open, or open() has returned a negative number. */
struct paths_socket {
	int (*open)(void *arg);
	void *arg;
};

/* To an address: asked of the kernel, and remembered for PATHS_MS. Three system calls where there are
 * no endpoints. from: NULL, or who has a use for such a socket if there are several paths. */
enum paths_found paths_to(const struct addr *to, pol_route_fn *route, int64_t now_ms,
			  const struct paths_socket *from);

/* Pure from here: facts in, verdict out. */
struct multipath_facts {
	enum config_mptcp setting;
	bool is_own;	 /* the program itself has made an MPTCP socket */
	bool is_bound;	 /* the program has named a device, a local address, or a route (SO_MARK) */
	bool is_watched; /* its keepalive is to find a dead path soon, of which MPTCP tells late */
	bool is_lost;	 /* the last connections there have turned into TCP */
	enum paths_found paths;
};

enum multipath {
	/* yes */
	MULTIPATH_GAINS,
	MULTIPATH_OWN,	    /* it is what the program wants */
	MULTIPATH_ON,	    /* so does the configuration ... */
	MULTIPATH_ON_BOUND, /* ... more than the program may like */
	/* no */
	MULTIPATH_OFF,
	MULTIPATH_BOUND,
	MULTIPATH_WATCHED,
	MULTIPATH_LOST,
	MULTIPATH_ONE,
	MULTIPATH_AROUND,
	/* paths decides, and was not asked */
	MULTIPATH_UNCLEAR,
};

enum multipath multipath(const struct multipath_facts *f);
static inline bool multipath_is(enum multipath m)
{
	return m < MULTIPATH_OFF;
}
/* For the log, behind "connected, TCP: " or "connected, MPTCP: "; NULL: nothing to explain. */
const char *multipath_text(enum multipath m);

#endif

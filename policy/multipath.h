/* SPDX-License-Identifier: MIT */
/*
 * multipath.h - does Multipath TCP gain a connection anything now?
 *
 * With a second path it does, and costs what it costs: up to a round trip to the converter (LINUX-FACTS
 * 2b.3), and its differences from TCP (LINUX-FACTS 4). On one path it only costs. And whoever binds a
 * socket says which network it shall use, where the kernel's MPTCP uses others all the same (LINUX-FACTS
 * 4.8): a VPN's traffic beside the VPN, a metered link that was to be avoided.
 *
 * Pure: facts in, verdict out. What the kernel is asked for a second path: paths.h.
 */
#ifndef CVT_MULTIPATH_H
#define CVT_MULTIPATH_H

#include "config.h"

/* Between this host and an address, as the kernel would make them. */
enum paths_found {
	PATHS_UNASKED,
	PATHS_ONE,     /* no endpoint beside the address that the first subflow has */
	PATHS_SEVERAL, /* or nobody can tell */
	PATHS_AROUND,  /* the first goes through a tunnel, the others would go around it */
};

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

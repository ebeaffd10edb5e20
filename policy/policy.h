/* SPDX-License-Identifier: MIT */
/*
 * policy.h - where should this connection go?
 *
 * Promises: a decision is a pure function of the configuration, the destination and the facts
 * passed in; its verdict carries a reason that log, tests and manual share.
 * Never: a socket, a clock, or the environment.
 */
#ifndef CVT_POLICY_H
#define CVT_POLICY_H

#include "config.h"

enum pol_action { POL_DIRECT, POL_CONVERT };

enum pol_reason {
	POL_DEFAULT,  /* no rule spoke: convert */
	POL_RULE,     /* a rule of the configuration decided */
	POL_OFF,      /* no converter is configured, or the shim is switched off */
	POL_LOOPBACK, /* built-in exclusions, PROTOCOL 4.10 */
	POL_LINK_LOCAL,
	POL_MULTICAST,
	POL_UNSPECIFIED,
	POL_BROADCAST,
	POL_IS_CONVERTER,
	POL_LEFT_ALONE, /* every converter that could be used has failed lately (health.h) */
	POL_STRIPPED,	/* `strict`, and the network takes the data out of SYNs (P-30) */
	POL_OUTSIDE,	/* every converter is bound to another network (F-01) */
	POL_ON_LINK,	/* the program wants nothing beyond its own links (SO_DONTROUTE) */
	POL_NOT_OURS,	/* CONVERT_STRICT: what a rule would convert, on a socket that cannot be */
	POL_NAT64, /* by NAT64 to an IPv4 address that is somebody else's behind the converter */
};

struct pol_verdict {
	enum pol_action action;
	enum pol_reason reason;
	unsigned int rule_line;			  /* line of the rule, for POL_RULE */
	const struct config_converter *converter; /* for POL_CONVERT */
	struct addr via;			  /* its address and port to use */
};

/* What a socket says itself of the way of its packets: an address or a device that it is bound to, a mark; how far
 * along it they get. What is zero it does not say. */
struct pol_binding {
	struct addr source; /* whatever the port */
	uint32_t interface; /* its index */
	uint32_t mark;
	bool few_hops; /* they, or the answers, not as far as those of others: no route knows of it */
};
/* How the host would route to an address now, from a socket that is bound so (NULL: to nothing); asked only for
 * converters that are bound to a network by `from` or `interface`. Returns false if there is no route. */
struct pol_route {
	struct addr source;
	char interface[16];
};
typedef bool pol_route_fn(const struct addr *to, const struct pol_binding *by,
			  struct pol_route *route);
/* May the converter be used from there, by `from` and `interface` (F-01)? */
bool pol_is_at_home(const struct config_converter *c, const struct pol_route *route);

/* dst: where the program wants to go. socket_family: AF_INET or AF_INET6; for an AF_INET socket the
 * verdict's via may be IPv6, if there is nothing else: then another socket has to take its place.
 * route may be NULL
 * (then such converters are not used). */
struct pol_verdict pol_decide(const struct config *config, const struct addr *dst,
			      int socket_family, pol_route_fn *route);
/* What is asked of the host while a converter is chosen; NULL: nobody to ask. */
struct pol_facts {
	pol_route_fn *route;
	const struct pol_binding *by; /* what the socket is bound to, or NULL */
	/* Is the converter at this address usable now? Asked only of those that would be chosen, and of
	 * the one that is chosen last. POL_DEFAULT is yes, anything else why not. */
	enum pol_reason (*usable)(const struct addr *via, void *arg);
	void *arg;
};
/* pol_decide() in two steps. The first asks nobody: POL_CONVERT (without a converter yet), or direct.
 * The second is for a verdict of the first that says POL_CONVERT. */
struct pol_verdict pol_rule(const struct config *config, const struct addr *dst);
struct pol_verdict pol_choose(const struct config *config, const struct addr *dst,
			      int socket_family, struct pol_verdict rule, struct pol_facts facts);
/* An incoming connection from `peer` to our end, by->source: does a rule say that connections to there may be
 * remote hosts', and is the peer a converter in its own network (F-01)? NULL: it is what it looks like. */
const struct config_converter *pol_accept(const struct config *config, const struct addr *peer,
					  const struct pol_binding *by, pol_route_fn *route);
/* The first of those, of a listener; the second, wherever it is. */
bool pol_listens(const struct config *config, const struct addr *local);
bool pol_is_converter(const struct config *config, const struct addr *peer);
const char *pol_reason_text(enum pol_reason reason);

#endif

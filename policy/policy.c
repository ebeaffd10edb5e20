// SPDX-License-Identifier: MIT
#include "policy.h"

#include <string.h>
#include <sys/socket.h>

#include "rules.h"

static const struct addr_prefix loopback_v4 = {
	.ip = { [10] = 0xff, [11] = 0xff, [12] = 127 },
	.len = 96 + 8,
};
static const struct addr_prefix loopback_v6 = { .ip = { [15] = 1 }, .len = 128 };

/* The destinations that no rule can have converted: a Connect TLV cannot name them, or would
 * send the converter to itself; and no NAT64 has anybody behind a private address (RFC 6052, 3.1), a
 * converter may. POL_DEFAULT: none of these. */
static enum pol_reason never(const struct addr *dst, bool by_nat64)
{
	switch (addr_classify(dst)) {
	case ADDR_MULTICAST:
		return POL_MULTICAST;
	case ADDR_UNSPECIFIED:
		return POL_UNSPECIFIED;
	case ADDR_BROADCAST:
		return POL_BROADCAST;
	case ADDR_LINK_LOCAL:
		return POL_LINK_LOCAL;
	case ADDR_GLOBAL:
	case ADDR_LOOPBACK:
		break;
	}
	if (by_nat64 && addr_is_private(dst))
		return POL_NAT64;
	return dst->port == 0 ? POL_UNSPECIFIED : POL_DEFAULT;
}

/* dst: behind NAT64, if it is there. */
static bool is_at(const struct addr *a, const struct addr *dst)
{
	struct addr behind;

	return addr_equal_ip(addr_behind_nat64(a, &behind), dst);
}

/* Is the destination a converter's host, and is it the converter itself? */
static bool is_converter_host(const struct config *config, const struct addr *dst, bool *itself)
{
	bool found = false;

	*itself = false;
	for (size_t i = 0; i < config->n_converters; i++) {
		const struct config_converter *c = &config->converters[i];

		for (size_t k = 0; k < c->n_addrs; k++) {
			if (!is_at(&c->addrs[k], dst))
				continue;
			found = true;
			*itself |= c->addrs[k].port == dst->port;
		}
	}
	return found;
}

/* Loopback and a converter's host are direct unless a rule means them and nothing wider. */
static bool means_loopback(const struct config_rule_match *rule)
{
	return rule->has_to && (addr_prefix_within(&rule->to, &loopback_v4) ||
				addr_prefix_within(&rule->to, &loopback_v6));
}

static bool means_host(const struct config_rule_match *rule)
{
	return rule->has_to && (rule->to.len == 128 || means_loopback(rule));
}

/* The address of c that is tried as number `turn` of the given family, or NULL. */
static const struct addr *nth_address(const struct config_converter *c, bool v4, size_t turn)
{
	for (size_t i = 0; i < c->n_addrs; i++) {
		if (addr_is_v4(&c->addrs[i]) == v4 && turn-- == 0)
			return &c->addrs[i];
	}
	return NULL;
}

static bool is_source_allowed(const struct config_converter *c, const struct pol_route *r)
{
	for (size_t i = 0; i < c->n_from; i++) {
		if (config_prefix_holds(&c->from[i], &r->source))
			return true;
	}
	return c->n_from == 0;
}

static bool is_interface_allowed(const struct config_converter *c, const struct pol_route *r)
{
	for (size_t i = 0; i < c->n_interfaces; i++) {
		if (strcmp(c->interfaces[i], r->interface) == 0)
			return true;
	}
	return c->n_interfaces == 0;
}

/* F-01: the same address may be anybody's in another network. */
bool pol_is_at_home(const struct config_converter *c, const struct pol_route *route)
{
	return is_source_allowed(c, route) && is_interface_allowed(c, route);
}

static bool is_at_home(const struct config_converter *c, const struct addr *via,
		       struct pol_facts facts)
{
	struct pol_route r;

	if (c->n_from == 0 && c->n_interfaces == 0)
		return true;
	return facts.route && facts.route(via, facts.by, &r) && pol_is_at_home(c, &r);
}

/* Tries the addresses of one family. Returns false if c cannot be used by them. */
static bool try_family(const struct config_converter *c, bool v4, struct pol_facts facts,
		       struct pol_verdict *v)
{
	enum pol_reason why_not;
	const struct addr *a;

	for (size_t turn = 0; (a = nth_address(c, v4, turn)); turn++) {
		if (!is_at_home(c, a, facts))
			continue;
		why_not = facts.usable ? facts.usable(a, facts.arg) : POL_DEFAULT;
		if (why_not != POL_DEFAULT) {
			if (v->reason != POL_LEFT_ALONE) /* which may be looked at again */
				v->reason = why_not;
			continue;
		}
		v->action = POL_CONVERT;
		v->converter = c;
		v->via = *a;
		return true;
	}
	return false;
}

/* An IPv6 socket reaches both families, best by the server's own; an IPv4 one IPv4 only. */
static bool try_converter(const struct config_converter *c, const struct addr *dst, int family,
			  struct pol_facts facts, struct pol_verdict *v)
{
	bool v4_first = addr_is_v4(dst) || family == AF_INET;

	return try_family(c, v4_first, facts, v) ||
	       (family != AF_INET && try_family(c, !v4_first, facts, v));
}

/* Of an IPv4 socket: by another one of the other family in its place. */
static bool try_otherwise(const struct config_converter *c, const struct addr *dst, int family,
			  struct pol_facts facts, struct pol_verdict *v)
{
	(void)dst;
	return family == AF_INET && v->reason == POL_OUTSIDE && try_family(c, false, facts, v);
}

/* Neighbours that have a weight share the connections; without one a converter is alone. */
#define TURN_MOST 64 /* converters */

static size_t turn_of(const struct config *config, size_t first)
{
	size_t n = 1;

	if (config->converters[first].weight)
		while (n < TURN_MOST && first + n < config->n_converters &&
		       config->converters[first + n].weight)
			n++;
	return n;
}

/* Which of those that are not in `tried` takes this lot. */
static size_t draw(const struct config_converter *c, size_t n, uint64_t tried, uint32_t lot)
{
	uint32_t total = 0, at;
	size_t i;

	for (i = 0; i < n; i++)
		total += tried >> i & 1 ? 0 : c[i].weight;
	at = total ? lot % total : 0;
	for (i = 0; i < n; i++) {
		uint32_t share = tried >> i & 1 ? 0 : c[i].weight;

		if (!(tried >> i & 1) && at < (share ? share : 1))
			break;
		at -= share;
	}
	return i;
}

typedef bool try_fn(const struct config_converter *c, const struct addr *dst, int family,
		    struct pol_facts facts, struct pol_verdict *v);

/* A server stays with the converter that it was drawn, as long as that can be used; of two that go on
 * from there by the others each goes by its own lot. */
static bool try_turn(const struct config_converter *c, size_t n, const struct addr *dst, int family,
		     struct pol_facts facts, struct pol_verdict *v, try_fn *try)
{
	uint64_t tried = 0;
	uint32_t h = n > 1 ? addr_hash(dst) : 0;

	for (size_t left = n; left > 0; left--) {
		size_t i = draw(c, n, tried, h);

		if (try(&c[i], dst, family, facts, v))
			return true;
		tried |= (uint64_t)1 << i;
		h = h >> 7 | h << 25;
	}
	return false;
}

static bool try_all(const struct config *config, const struct addr *dst, int family,
		    struct pol_facts facts, struct pol_verdict *v, try_fn *try)
{
	size_t n;

	for (size_t i = 0; i < config->n_converters; i += n) {
		n = turn_of(config, i);
		if (try_turn(&config->converters[i], n, dst, family, facts, v, try))
			return true;
	}
	return false;
}

/* By the socket as it is, or else by one of the other family in its place. */
struct pol_verdict pol_choose(const struct config *config, const struct addr *dst,
			      int socket_family, struct pol_verdict rule, struct pol_facts facts)
{
	struct pol_verdict v = { .reason = POL_OUTSIDE, .rule_line = rule.rule_line };

	if (try_all(config, dst, socket_family, facts, &v, try_converter) ||
	    try_all(config, dst, socket_family, facts, &v, try_otherwise))
		v.reason = rule.reason;
	return v;
}

static struct pol_verdict direct(enum pol_reason reason, unsigned int rule_line)
{
	return (struct pol_verdict){ .reason = reason, .rule_line = rule_line };
}

struct pol_verdict pol_rule(const struct config *config, const struct addr *dst)
{
	struct addr behind;
	const struct addr *to = addr_behind_nat64(
		dst, &behind); /* rules speak of what the program sees */
	struct config_rule_match rule = { 0 };
	enum pol_reason reason = never(to, to != dst);
	bool spoke, converter_host, itself;

	if (config->n_converters == 0)
		return direct(POL_OFF, 0);
	if (reason != POL_DEFAULT)
		return direct(reason, 0);
	converter_host = is_converter_host(config, to, &itself);
	if (itself)
		return direct(POL_IS_CONVERTER, 0);
	spoke = config->rules && config_rules_find(config->rules, dst, &rule);
	if (spoke && !rule.converts)
		return direct(POL_RULE, rule.line);
	if (addr_classify(to) == ADDR_LOOPBACK && !means_loopback(&rule))
		return direct(POL_LOOPBACK, 0);
	if (converter_host && !means_host(&rule))
		return direct(POL_IS_CONVERTER, 0);
	return (struct pol_verdict){ .action = POL_CONVERT,
				     .reason = spoke ? POL_RULE : POL_DEFAULT,
				     .rule_line = rule.line };
}

struct pol_verdict pol_decide(const struct config *config, const struct addr *dst,
			      int socket_family, pol_route_fn *route)
{
	struct pol_verdict rule = pol_rule(config, dst);

	if (rule.action == POL_DIRECT)
		return rule;
	return pol_choose(config, dst, socket_family, rule, (struct pol_facts){ .route = route });
}

bool pol_listens(const struct config *config, const struct addr *local)
{
	struct config_rule_match rule;

	return config->n_converters && config->incoming &&
	       config_rules_find(config->incoming, local, &rule);
}

bool pol_is_converter(const struct config *config, const struct addr *peer)
{
	struct addr behind;
	bool itself;

	return is_converter_host(config, addr_behind_nat64(peer, &behind), &itself);
}

/* Where the packets to it leave, and which address of ours they really have. */
static bool is_from_home(const struct config_converter *c, const struct addr *peer,
			 const struct pol_binding *by, pol_route_fn *route)
{
	struct pol_route r = { .interface = "" };

	if (c->n_interfaces && !(route && route(peer, by, &r)))
		return false;
	r.source = by->source;
	return pol_is_at_home(c, &r);
}

const struct config_converter *pol_accept(const struct config *config, const struct addr *peer,
					  const struct pol_binding *by, pol_route_fn *route)
{
	for (size_t i = 0; i < config->n_converters; i++) {
		const struct config_converter *c = &config->converters[i];

		for (size_t k = 0; k < c->n_addrs; k++)
			if (addr_equal_ip(&c->addrs[k], peer) && pol_listens(config, &by->source) &&
			    is_from_home(c, peer, by, route))
				return c;
	}
	return NULL;
}

const char *pol_reason_text(enum pol_reason reason)
{
	static const char *const texts[] = {
		[POL_DEFAULT] = "no rule matches",
		[POL_RULE] = "a rule",
		[POL_OFF] = "no converter is configured, or it is switched off",
		[POL_LOOPBACK] = "loopback",
		[POL_LINK_LOCAL] = "link-local address",
		[POL_MULTICAST] = "multicast address",
		[POL_UNSPECIFIED] = "unspecified address or port",
		[POL_BROADCAST] = "broadcast address",
		[POL_IS_CONVERTER] = "the converter's own host",
		[POL_LEFT_ALONE] = "every converter has failed and is left alone for a while",
		[POL_STRIPPED] = "the network takes the data out of SYNs, and strict = yes",
		[POL_OUTSIDE] = "outside the networks of the converters",
		[POL_ON_LINK] = "SO_DONTROUTE: nothing beyond the host's own links",
		[POL_NOT_OURS] = "this socket cannot be converted, and no rule lets it be direct",
		[POL_NAT64] = "an address of NAT64 with an IPv4 address that is not global",
	};

	return texts[reason];
}

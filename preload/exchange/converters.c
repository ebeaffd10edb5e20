// SPDX-License-Identifier: MIT
#include "converters.h"

#include "message.h"
#include "paths.h"
#include "shim.h"

#include <string.h>

/* What this thread has asked last, since it has begun to choose a converter: the same connect() may want to
 * know it again. A signal handler that asks in between changes the number. */
static __thread struct {
	volatile unsigned int asked; /* 0: nothing */
	struct addr to;
	struct pol_binding by;
	struct pol_route route;
} last __attribute__((tls_model("initial-exec")));

static bool goes_apart(const struct pol_binding *by)
{
	uint64_t ip[2];

	memcpy(ip, by->source.ip, sizeof(ip));
	if (!(by->interface | by->mark | by->few_hops | ip[0] | ip[1])) /* mostly, and soon seen */
		return false;
	return by->interface || by->mark || by->few_hops ||
	       addr_classify(&by->source) != ADDR_UNSPECIFIED;
}

/* What becomes of packets that do not get as far as others says nothing to those: it is told of a network that no
 * other socket is in. */
static uint64_t network_of(const struct pol_route *route, const struct pol_binding *by)
{
	uint64_t network = health_network(route);

	return by->few_hops && ~network ? ~network : network;
}

static bool is_same(const struct pol_binding *a, const struct pol_binding *b)
{
	return a->interface == b->interface && a->mark == b->mark &&
	       addr_equal_ip(&a->source, &b->source);
}

bool converters_route(const struct addr *to, const struct pol_binding *by, struct pol_route *route)
{
	static __thread unsigned int n __attribute__((tls_model("initial-exec")));
	static const struct pol_binding none;
	unsigned int asked = last.asked;

	by = by ? by : &none;
	atomic_signal_fence(memory_order_seq_cst);
	*route = last.route;
	if (asked && addr_equal_ip(&last.to, to) && is_same(&last.by, by)) {
		atomic_signal_fence(memory_order_seq_cst);
		if (last.asked == asked)
			return true;
	}
	last.asked = 0;
	if (!route_lookup(to, by, route))
		return false;
	atomic_signal_fence(memory_order_seq_cst);
	last.to = *to;
	last.by = *by;
	last.route = *route;
	atomic_signal_fence(memory_order_seq_cst);
	last.asked = ++n ? n : ++n;
	return true;
}

/* Without a state file, too: a cookie is shown to the network alone that it was given in (F-02), and a
 * process may outlive its network. The route is asked for once in a while (HEALTH_ROUTE_MS), but for a socket
 * that goes its own way each time. */
static void where(const struct addr *via, const struct pol_binding *by, int64_t now_ms,
		  struct health_key *key)
{
	struct pol_route route;

	if (!goes_apart(by)) {
		health_where(via, converters_route, now_ms, key);
		return;
	}
	*key = (struct health_key){ .converter = *via };
	if (converters_route(via, by, &route))
		key->network = network_of(&route, by);
}

/* P-30: from a network that takes the data out of SYNs a converter is not used. */
SLOW static bool is_stripped(const struct health_key *key, int64_t now_ms)
{
	struct health h;

	if (!shim_config()->strict)
		return false;
	health_find(key, now_ms, &h);
	return h.stripped;
}

/* The socket is what it is by now, so only its own family will do. */
static bool was_tried(const struct exchange *u, const struct addr *via)
{
	if (addr_is_v4(via) != addr_is_v4(&u->via) || addr_equal(via, &u->via))
		return true;
	for (unsigned int i = 0; i < EXCHANGE_MOVES && i < u->moves; i++)
		if (addr_equal(via, &u->left[i].converter))
			return true;
	return false;
}

/* For a connection that a converter has let down whatever has had its first second will do. */
SLOW static bool may_go_on(const struct health_key *key, int64_t now_ms)
{
	struct health h;

	health_find(key, now_ms, &h);
	return health_may_again(&h, now_ms);
}

static enum pol_reason usable(const struct addr *via, void *arg)
{
	struct converters_choice *choice = arg;
	int64_t now_ms = state_now_ms();
	enum health_advice advice;
	struct health_key key;

	if (choice->only_v6 && addr_is_v4(via))
		return POL_OUTSIDE;
	if (choice->after && was_tried(choice->after, via))
		return POL_LEFT_ALONE;
	if (choice->despite && !shim_config()->strict)
		return POL_DEFAULT;
	where(via, choice->by, now_ms, &key);
	if (is_stripped(&key, now_ms))
		return POL_STRIPPED;
	if (choice->despite || (choice->again && choice->after && may_go_on(&key, now_ms)))
		return POL_DEFAULT;
	advice = health_ask(&key, now_ms, shim_config()->timeout_ms, choice->again);
	choice->is_probe = advice == HEALTH_PROBE;
	return advice == HEALTH_LEAVE ? POL_LEFT_ALONE : POL_DEFAULT;
}

/* Has one of them only just failed? Then what was seen of the others is from before that. */
SLOW static bool has_news(const struct config *config, const struct pol_binding *by)
{
	int64_t now_ms = state_now_ms();
	struct health_key key;
	struct health h;

	for (size_t i = 0; i < config->n_converters; i++)
		for (size_t k = 0; k < config->converters[i].n_addrs; k++) {
			where(&config->converters[i].addrs[k], by, now_ms, &key);
			health_find(&key, now_ms, &h);
			if (h.failures == 1)
				return true;
		}
	return false;
}

struct pol_verdict converters_choose(const struct addr *dst, int socket_family,
				     struct pol_verdict rule, struct converters_choice *choice)
{
	struct pol_facts facts = {
		.route = converters_route, .by = choice->by, .usable = usable, .arg = choice
	};
	const struct config *config = shim_config();
	struct pol_verdict v;

	last.asked = 0;
	choice->is_probe = choice->again = false;
	v = pol_choose(config, dst, socket_family, rule, facts);
	if (v.reason != POL_LEFT_ALONE || choice->despite ||
	    !(choice->after || has_news(config, choice->by)))
		return v;
	choice->again = true;
	return pol_choose(config, dst, socket_family, rule, facts);
}

void converters_unchoose(const struct addr *via, const struct converters_choice *choice)
{
	const struct health_event e = { .kind = HEALTH_UNPROBED };
	int64_t now_ms = state_now_ms();
	struct health_key key;

	if (!choice->is_probe)
		return;
	where(via, choice->by, now_ms, &key);
	health_report(&key, &e, now_ms);
}

bool converters_is_still_in(struct health_key *key, const struct pol_binding *by)
{
	struct health_key now = { .converter = key->converter };
	struct pol_route route;

	if (!goes_apart(by))
		health_where_now(&key->converter, route_lookup, state_now_ms(), &now);
	else if (route_lookup(&key->converter, by, &route))
		now.network = network_of(&route, by);
	if (now.network == key->network)
		return true;
	if (now.network)
		*key = now;
	return false;
}

bool converters_lose_mptcp(const struct addr *via, const struct pol_binding *by)
{
	int64_t now_ms = state_now_ms();
	struct health_key key;
	struct health h;

	where(via, by, now_ms, &key);
	health_find(&key, now_ms, &h);
	return h.way[HEALTH_MPTCP] == HEALTH_LOSES;
}

/* A converter that says nothing to the wrong dialect is convert-bootstrap's to find out: a reset or
 * silence may be its answer about a server as well (PROTOCOL 6). */
static enum cvt_dialect dialect_for(const struct config_converter *c, const struct health *h)
{
	return c->dialect_is_auto && h->dialect ? (enum cvt_dialect)(h->dialect - 1) : c->dialect;
}

/* Data without a TFO cookie goes where that is configured, or known to work (D9a). None goes where it is
 * lost, nor with MPTCP where the reply to it is held back: that may be for ever, so it holds whatever is
 * configured. */
static void advise_on_syn_data(struct exchange *u, enum config_fast_open configured,
			       const struct health *h)
{
	bool is_auto = configured == CONFIG_FO_AUTO;
	uint8_t bare = h->way[HEALTH_BARE_DATA];
	bool known = is_auto && (bare == HEALTH_WORKS || bare == HEALTH_PASSES);
	bool holds = h->way[HEALTH_SYN_DATA] == HEALTH_HOLDS;
	enum health_path path = known ? HEALTH_BARE_DATA : HEALTH_SYN_DATA;
	uint8_t way = h->way[path];

	u->bare = known || configured == CONFIG_FO_NO_COOKIE;
	u->syn_path = path;
	u->no_syn_data = (way == HEALTH_LOSES && is_auto) || (holds && u->mptcp);
	u->is_proven = way == HEALTH_WORKS || (way > HEALTH_LOSES && !u->mptcp);
	u->syn_data_lost = h->lost[path];
}

void converters_advise(struct exchange *u)
{
	static const uint8_t kinds[] = { CVT_OPT_MPTCP, CVT_OPT_FAST_OPEN };
	const struct config_converter *c = converters_of(u);
	int64_t now_ms = state_now_ms();
	struct health h;

	where(&u->via, &u->by, now_ms, &u->health);
	health_find(&u->health, now_ms, &h);
	u->started_ms = now_ms;
	u->dialect = dialect_for(c, &h);
	for (size_t i = 0; i < sizeof(kinds); i++)
		if (!health_may_send(&h, kinds[i]))
			options_refused(c, (struct cvt_span){ &kinds[i], 1 });
	u->takes_options = h.takes_options;
	advise_on_syn_data(u, c->fast_open, &h);
	u->rtt_us = h.rtt_us;
	if (h.convert_cookie_len && !cookies_len(u))
		cookies_learn(u, (struct cvt_span){ h.convert_cookie, h.convert_cookie_len });
}

// SPDX-License-Identifier: MIT
/* How an exchange spends its time: what may still be tried, and when. */
#include "exchange_int.h"

#include "shim.h"

bool exchange_may_try(const struct exchange *u, enum exchange_try what)
{
	return !u->early && !(u->tried & what);
}

bool exchange_may_try_base(const struct exchange *u)
{
	return u->has_options && exchange_may_try(u, EXCHANGE_TRIED_BASE);
}

bool exchange_may_be_too_long(const struct exchange *u)
{
	return !u->takes_options && exchange_may_try_base(u);
}

bool exchange_may_be_held(const struct exchange *u)
{
	return u->syn_data && u->mptcp && !u->is_proven &&
	       exchange_may_try(u, EXCHANGE_TRIED_NO_DATA);
}

/* The configuration's other addresses that the socket as it is can reach: to know how many share the
 * time nobody need be asked. */
static unsigned int count_elsewhere(const struct exchange *u)
{
	const struct config *config = shim_config();
	unsigned int n = 0, moves = atomic_load(&u->moves);
	unsigned int most = moves < EXCHANGE_MOVES ? EXCHANGE_MOVES - moves : 0;
	bool v4 = addr_is_v4(&u->via);

	if (config->n_converters == 1 && config->converters->n_addrs == 1) /* as most have */
		return 0;
	for (size_t i = 0; i < config->n_converters; i++)
		for (size_t k = 0; k < config->converters[i].n_addrs; k++)
			n += addr_is_v4(&config->converters[i].addrs[k]) == v4;
	n = n > 1U + moves ? n - 1 - moves : 0;
	return n < most ? n : most;
}

bool exchange_has_elsewhere(const struct exchange *u)
{
	return !u->early && !u->stays && count_elsewhere(u) > 0;
}

void exchange_begin_tries(struct exchange *u)
{
	int64_t now = now_ns(), left_ns = atomic_load(&u->limit_ns) - now;
	unsigned int others = u->early ? 0 : count_elsewhere(u);

	u->tried = 0;
	u->omits_cookie = u->has_options = false;
	u->n_asked = 0;
	u->first_err = 0;
	u->part_ns = u->attempt_ns = now;
	atomic_store(&u->deadline_ns, now + health_share_ns(left_ns, others, u->rtt_us));
}

static int64_t sooner(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

#define PATIENCE_LEAST_NS 250000000
#define PATIENCE_MOST_NS  900000000

/* Three round trips to the converter, as far as they are known: what an answer may take. */
static int64_t patience_ns(const struct exchange *u)
{
	int64_t ns = u->rtt_us ? 3000LL * u->rtt_us : PATIENCE_MOST_NS;

	return ns < PATIENCE_LEAST_NS ? PATIENCE_LEAST_NS :
	       ns > PATIENCE_MOST_NS  ? PATIENCE_MOST_NS :
					ns;
}

int64_t exchange_half_ns(const struct exchange *u)
{
	return u->attempt_ns / 2 + atomic_load(&u->deadline_ns) / 2;
}

int64_t exchange_ask_window_ns(const struct exchange *u)
{
	return sooner(patience_ns(u), (int64_t)shim_config()->timeout_ms * 1000000 / 4);
}

bool exchange_may_ask(const struct exchange *u)
{
	return exchange_may_try(u, EXCHANGE_TRIED_INFO) && !exchange_has_elsewhere(u);
}

/* One that has failed, whom the program may give less time than we would; of the others a slow server
 * would pay for it. */
bool exchange_may_ask_soon(const struct exchange *u)
{
	return u->is_probe && exchange_may_try(u, EXCHANGE_TRIED_INFO);
}

/* A SYN and another one have had the time to be answered. */
int64_t exchange_ask_soon_ns(const struct exchange *u)
{
	return u->part_ns + 2 * patience_ns(u);
}

/* The second one is on its way after 900 ms, whatever is known. */
bool exchange_is_overdue(const struct exchange *u)
{
	return u->unheard ||
	       now_ns() >= sooner(u->part_ns + PATIENCE_MOST_NS, exchange_ask_soon_ns(u));
}

/* The kernel sends a lost SYN again after a second and without the data, which is no answer to a
 * converter that ignores such SYNs (PROTOCOL L4). So ours comes first. */
bool exchange_may_be_lost(const struct exchange *u)
{
	return u->syn_data && exchange_may_try(u, EXCHANGE_TRIED_SYN);
}

void exchange_look_at(struct exchange *u, int64_t now)
{
	int64_t look_ns = INT64_MAX,
		ask_ns = atomic_load(&u->deadline_ns) - exchange_ask_window_ns(u);
	int64_t lost_ns = u->attempt_ns + patience_ns(u), half = exchange_half_ns(u);

	if (exchange_may_be_lost(u) && now < sooner(lost_ns, half))
		look_ns = sooner(lost_ns, half);
	if ((exchange_may_be_held(u) || exchange_may_be_too_long(u)) && now < half)
		look_ns = sooner(look_ns, half);
	if (exchange_may_ask_soon(u) && now < exchange_ask_soon_ns(u))
		look_ns = sooner(look_ns, exchange_ask_soon_ns(u));
	if (exchange_may_ask(u) && now < ask_ns)
		look_ns = sooner(look_ns, ask_ns);
	atomic_store(&u->look_ns, look_ns);
}

void exchange_look_later(struct exchange *u)
{
	u->attempt_ns = now_ns();
	exchange_look_at(u, u->attempt_ns);
}

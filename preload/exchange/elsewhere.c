// SPDX-License-Identifier: MIT
/* By another converter, if there is one that may be used and that the socket as it is can reach. */
#include "exchange_int.h"

#include "converters.h"

static void leave(struct exchange_turn *t, bool is_unclear)
{
	struct exchange *u = t->u;
	unsigned int i;

	report_nothing(&t->report, u);
	report_line(&t->report, u, LOG_LEVEL_ERROR, LOG_NEXT, t->failure.why, t->failure.err);
	i = atomic_load(&u->moves);
	if (i < EXCHANGE_MOVES) { /* unless a forked child has written there */
		u->left[i] = u->health;
		u->left_ms[i] = u->started_ms;
		u->unclear |= (uint8_t)((is_unclear ? 1U : 0U) << i);
		atomic_store(&u->moves, (uint8_t)(i + 1));
	}
	report_tell(&t->report, u);
}

/* Returns whether the SYN is out. */
static bool go_by(struct exchange_turn *t, const struct pol_verdict *v, bool is_probe)
{
	struct exchange *u = t->u;
	int r;

	leave(t, t->before != EXCHANGE_OPENING);
	converters_take(u, v->converter);
	u->via = v->via;
	u->is_probe = is_probe;
	converters_advise(u);
	exchange_begin_tries(u);
	report_begin(&t->report, u, t->fd);
	r = exchange_send_syn_again(t);
	if (r < 0)
		t->failure = (struct exchange_failure){ .err = -r, .why = "no SYN could be sent" };
	t->before = EXCHANGE_OPENING;
	return r == 0;
}

bool exchange_try_elsewhere(struct exchange_turn *t)
{
	const struct pol_verdict rule = { .action = POL_CONVERT };
	struct exchange *u = t->u;

	while (exchange_has_elsewhere(u)) {
		struct converters_choice choice = { .after = u, .by = &u->by };
		struct pol_verdict v;

		report_tell(&t->report, u);
		v = converters_choose(&u->server, u->family, rule, &choice);
		if (v.action != POL_CONVERT)
			return false;
		if (go_by(t, &v, choice.is_probe))
			return true;
	}
	return false;
}

enum exchange_event exchange_go_elsewhere(struct exchange_turn *t)
{
	struct exchange *u = t->u;

	if (exchange_try_elsewhere(t))
		return EXCHANGE_GOES_ON;
	/* none is left: as if nobody had looked for one */
	if (t->before == EXCHANGE_OPENING)
		return exchange_give_up_for_good(t);
	u->stays = true;
	atomic_store(&u->deadline_ns, atomic_load(&u->limit_ns));
	exchange_look_later(u);
	exchange_go_on(u, t->before);
	return EXCHANGE_GOES_ON;
}

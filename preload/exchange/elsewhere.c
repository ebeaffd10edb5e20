// SPDX-License-Identifier: MIT
/* When nothing more can be tried by this converter: by another one, if there is one that may be used and that the
 * socket as it is can reach, or the end. */
#include "exchange_int.h"

#include "converters.h"

enum exchange_event exchange_give_up_for_good(struct exchange_turn *t)
{
	struct exchange *u = t->u;
	struct exchange_failure *f = &t->failure;
	bool refused = f->is_servers || !u->fall_back;
	bool is_converters = !f->is_servers && !u->is_in_doubt;

	if (!f->is_servers && u->first_err) { /* what it has said to the whole message */
		f->err = u->first_err;
		f->why = u->first_why;
	}
	report_nothing(&t->report, u);
	report_line(&t->report, u, is_converters ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO,
		    refused ? LOG_FAILED : LOG_FALLS_BACK, f->why, f->err);
	exchange_hold(u);
	return refused ? EXCHANGE_IS_REFUSED : EXCHANGE_FALLS_BACK;
}

enum exchange_event exchange_give_up(struct exchange_turn *t, struct exchange_failure failure)
{
	t->failure = failure;
	if (!failure.is_servers && exchange_has_elsewhere(t->u)) {
		t->before = EXCHANGE_OPENING;
		exchange_hold(t->u);
		return EXCHANGE_ELSEWHERE;
	}
	return exchange_give_up_for_good(t);
}

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

// SPDX-License-Identifier: MIT
/* When nothing more can be tried by this converter, or by any. */
#include "exchange_int.h"

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

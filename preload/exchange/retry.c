// SPDX-License-Identifier: MIT
/* One attempt more on the same socket: at most one for each cause (F-15), and within the time that
 * the exchange has anyway. */
#include "exchange_int.h"

#include "converters.h"
#include "message.h"

/* Of what is only tried because nothing comes the log's usual level says no more than how it ends. */
static bool is_guess(const struct exchange *u, enum exchange_try what)
{
	return what == EXCHANGE_TRIED_INFO || what == EXCHANGE_TRIED_AGAIN ||
	       (what == EXCHANGE_TRIED_BASE && u->first_err == ETIMEDOUT);
}

enum exchange_event exchange_retry(struct exchange_turn *t, enum exchange_try what, const char *why)
{
	int r;

	t->u->tried |= (uint8_t)what;
	report_line(&t->report, t->u, is_guess(t->u, what) ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO,
		    LOG_RETRY, why, 0);
	r = exchange_send_syn_again(t);
	if (r == 0)
		return EXCHANGE_GOES_ON;
	if (what == EXCHANGE_TRIED_INFO)
		report_not_asked(t->u);
	if (r == -ECONNREFUSED) /* else it has not come out of this host */
		report_failed(&t->report, t->u, NULL, -r);
	return exchange_give_up(t, (struct exchange_failure){ .err = -r, .why = why });
}

enum exchange_event exchange_retry_base(struct exchange_turn *t, int err, const char *why)
{
	t->u->first_err = err;
	t->u->first_why = why;
	if (t->u->tried & EXCHANGE_TRIED_NO_DATA) /* that was not it */
		t->u->no_syn_data = false;
	return exchange_retry(t, EXCHANGE_TRIED_BASE, why);
}

/* A cookie is that network's where it is shown (F-02), which may have become another one. */
static bool is_still_there(struct exchange_turn *t)
{
	bool is = converters_is_still_in(&t->u->health, &t->u->by);

	t->report.health = t->u->health;
	return is;
}

/* Missing Cookie: the cookie that came along; or there is one in the message, behind options. */
static bool retry_with_cookie(struct exchange_turn *t, const struct hs_result *result,
			      enum exchange_event *event)
{
	struct cvt_span cookie = { result->msg.error.value.p + 1, result->msg.error.value.len - 1 };
	bool is_new;

	if (result->verdict != HS_COOKIE)
		return false;
	is_still_there(t);
	is_new = cookies_learn(t->u, cookie);
	if (is_new && exchange_may_try(t->u, EXCHANGE_TRIED_COOKIE))
		*event = exchange_retry(t, EXCHANGE_TRIED_COOKIE, "Missing Cookie");
	else if (t->u->sent_cookie && exchange_may_try_base(t->u))
		*event = exchange_retry_base(t, EACCES, "Missing Cookie");
	else
		return false;
	return true;
}

static bool retry_without_options(struct exchange_turn *t, const struct hs_result *result,
				  enum exchange_event *event)
{
	struct exchange *u = t->u;
	uint8_t error = result->error;

	if (!u->has_options)
		return false;
	if (error == CVT_ERR_TCP_OPTION) /* another connection may have heard it before */
		options_refused(converters_of(u), result->msg.error.value);
	if (error == CVT_ERR_TCP_OPTION && options_asked(u, result->msg.error.value) &&
	    exchange_may_try(u, EXCHANGE_TRIED_OPTIONS)) {
		*event = exchange_retry(t, EXCHANGE_TRIED_OPTIONS, "Unsupported TCP Option");
		return true;
	}
	if ((error != CVT_ERR_TCP_OPTION && error != CVT_ERR_MALFORMED &&
	     error != CVT_ERR_UNSUPPORTED) ||
	    !exchange_may_try_base(u))
		return false;
	*event = exchange_retry_base(t, result->err, cvt_err_name(result->msg.error.code));
	return true;
}

/* Not Authorized, with a cookie that was learned; Unsupported Message, with any (PROTOCOL 2). */
static bool retry_without_cookie(struct exchange_turn *t, const struct hs_result *result,
				 enum exchange_event *event)
{
	struct exchange *u = t->u;
	uint8_t error = result->error;
	bool configured = converters_of(u)->convert_cookie.len > 0;

	if (!u->sent_cookie ||
	    !(error == CVT_ERR_UNSUPPORTED || (error == CVT_ERR_NOT_AUTHORIZED && !configured)))
		return false;
	if (!configured && is_still_there(t)) {
		cookies_drop(u);
		report_refused_cookie(&t->report);
	}
	if (!exchange_may_try(u, EXCHANGE_TRIED_NO_COOKIE))
		return false;
	u->omits_cookie = error == CVT_ERR_UNSUPPORTED;
	*event = exchange_retry(t, EXCHANGE_TRIED_NO_COOKIE, cvt_err_name(result->msg.error.code));
	return true;
}

bool exchange_retry_answered(struct exchange_turn *t, const struct hs_result *result,
			     enum exchange_event *event)
{
	if (result->parse != CVT_OK || !result->msg.has_error)
		return false;
	return retry_with_cookie(t, result, event) || retry_without_options(t, result, event) ||
	       retry_without_cookie(t, result, event);
}

bool exchange_retry_unanswered(struct exchange_turn *t, struct exchange_failure failure,
			       enum exchange_event *event)
{
	struct exchange *u = t->u;

	if (u->reply.got || u->takes_options || !exchange_may_try_base(u) ||
	    failure.err != ECONNRESET)
		return false;
	*event = exchange_retry_base(t, failure.err, failure.why);
	return true;
}

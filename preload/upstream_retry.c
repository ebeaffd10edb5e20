// SPDX-License-Identifier: MIT
/* One attempt more on the same socket: at most one for each cause (F-15), and within the time that
 * the exchange has anyway. */
#include "upstream_int.h"

#include "cookies.h"
#include "options.h"
#include "real.h"

#include <fcntl.h>

bool upstream_may_try(const struct upstream *u, enum upstream_try what)
{
	return !u->early && !(u->tried & what);
}

int upstream_send_syn_again(struct upstream *u, int fd)
{
	int flags = sys_fcntl(fd, F_GETFL, 0), r;

	upstream_take_back(u, fd);
	upstream_go_on(u, UPSTREAM_OPENING);
	r = upstream_send_syn(u, fd, flags >= 0 && flags & O_NONBLOCK, NULL);
	return r == -EINTR ? 0 : r;
}

/* Of what is only tried because nothing comes the log's usual level says no more than how it ends. */
static bool is_guess(const struct upstream *u, enum upstream_try what)
{
	return what == UPSTREAM_TRIED_INFO || what == UPSTREAM_TRIED_AGAIN ||
	       (what == UPSTREAM_TRIED_BASE && u->first_err == ETIMEDOUT);
}

enum upstream_step upstream_retry(struct upstream_turn *t, enum upstream_try what, const char *why)
{
	int r;

	t->u->tried |= (uint8_t)what;
	report_line(&t->report, is_guess(t->u, what) ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, "retrying",
		    why, 0);
	r = upstream_send_syn_again(t->u, t->fd);
	if (r == 0)
		return STEP_DONE;
	report_failed(&t->report, t->u, NULL, -r);
	return upstream_give_up(t, (struct upstream_failure){ .err = -r, .why = why });
}

/* --------------------------------------------------------------- after an answer */

bool upstream_may_try_base(const struct upstream *u)
{
	return u->has_options && upstream_may_try(u, UPSTREAM_TRIED_BASE);
}

enum upstream_step upstream_retry_base(struct upstream_turn *t, int err, const char *why)
{
	t->u->first_err = err;
	t->u->first_why = why;
	if (t->u->tried & UPSTREAM_TRIED_NO_DATA) /* that was not it */
		t->u->no_syn_data = false;
	return upstream_retry(t, UPSTREAM_TRIED_BASE, why);
}

/* Missing Cookie: the cookie that came along; or there is one in the message, behind options. */
static bool retry_with_cookie(struct upstream_turn *t, const struct hs_result *result,
			      enum upstream_step *step)
{
	struct cvt_span cookie = { result->msg.error.value.p + 1, result->msg.error.value.len - 1 };
	bool is_new;

	if (result->verdict != HS_COOKIE)
		return false;
	is_new = cookies_learn(t->u, cookie);
	if (is_new && upstream_may_try(t->u, UPSTREAM_TRIED_COOKIE))
		*step = upstream_retry(t, UPSTREAM_TRIED_COOKIE, "Missing Cookie");
	else if (t->u->sends_cookie && upstream_may_try_base(t->u))
		*step = upstream_retry_base(t, EACCES, "Missing Cookie");
	else
		return false;
	return true;
}

static bool retry_without_options(struct upstream_turn *t, const struct hs_result *result,
				  enum upstream_step *step)
{
	struct upstream *u = t->u;
	uint8_t code = result->msg.error.code;

	if (!u->has_options)
		return false;
	if (code == CVT_ERR_TCP_OPTION && options_refused(u->converter, result->msg.error.value) &&
	    upstream_may_try(u, UPSTREAM_TRIED_OPTIONS)) {
		*step = upstream_retry(t, UPSTREAM_TRIED_OPTIONS, "Unsupported TCP Option");
		return true;
	}
	if ((code != CVT_ERR_TCP_OPTION && code != CVT_ERR_MALFORMED &&
	     code != CVT_ERR_UNSUPPORTED) ||
	    !upstream_may_try_base(u))
		return false;
	*step = upstream_retry_base(t, result->err, cvt_err_name(code));
	return true;
}

/* Not Authorized, with a cookie that was learned; Unsupported Message, with any (PROTOCOL 2). */
static bool retry_without_cookie(struct upstream_turn *t, const struct hs_result *result,
				 enum upstream_step *step)
{
	struct upstream *u = t->u;
	uint8_t code = result->msg.error.code;
	bool configured = u->converter->convert_cookie.len > 0;

	if (!u->sends_cookie ||
	    !(code == CVT_ERR_UNSUPPORTED || (code == CVT_ERR_NOT_AUTHORIZED && !configured)))
		return false;
	if (!configured) {
		cookies_drop(u);
		report_refused_cookie(&t->report);
	}
	if (!upstream_may_try(u, UPSTREAM_TRIED_NO_COOKIE))
		return false;
	u->omits_cookie = code == CVT_ERR_UNSUPPORTED;
	*step = upstream_retry(t, UPSTREAM_TRIED_NO_COOKIE, cvt_err_name(code));
	return true;
}

bool upstream_retry_answered(struct upstream_turn *t, const struct hs_result *result,
			     enum upstream_step *step)
{
	if (result->parse != CVT_OK || !result->msg.has_error)
		return false;
	return retry_with_cookie(t, result, step) || retry_without_options(t, result, step) ||
	       retry_without_cookie(t, result, step);
}

bool upstream_may_be_too_long(const struct upstream *u)
{
	return !u->takes_options && upstream_may_try_base(u);
}

bool upstream_retry_unanswered(struct upstream_turn *t, struct upstream_failure failure,
			       enum upstream_step *step)
{
	struct upstream *u = t->u;

	if (u->reply.got || u->takes_options || !upstream_may_try_base(u) ||
	    failure.err != ECONNRESET)
		return false;
	*step = upstream_retry_base(t, failure.err, failure.why);
	return true;
}

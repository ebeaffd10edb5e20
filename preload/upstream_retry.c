// SPDX-License-Identifier: MIT
/* One attempt more on the same socket: at most one for each cause (F-15), and within the time that
 * the exchange has anyway. */
#include "upstream_int.h"

#include "cookies.h"
#include "options.h"
#include "real.h"

#include <fcntl.h>

static void retry(struct upstream *u, int fd)
{
	int r;

	upstream_take_back(u, fd);
	upstream_go_on(u, UPSTREAM_OPENING);
	r = sys_fcntl(fd, F_GETFL, 0);
	r = upstream_open(u, fd, r >= 0 && r & O_NONBLOCK, NULL);
	if (r < 0 && r != -EINTR)
		upstream_give_up(u, fd, HS_CONVERTER, -r, "once more", NULL);
}

void upstream_retry_with_cookie(struct upstream *u, int fd, const struct hs_result *result)
{
	struct cvt_span cookie = { result->msg.error.value.p + 1, result->msg.error.value.len - 1 };
	bool spent = u->cookie_tried || u->early;

	u->cookie_tried = true;
	if (!cookies_learn(u->converter, cookie) || spent)
		upstream_give_up(u, fd, HS_CONVERTER, EACCES, "Missing Cookie", result);
	else
		retry(u, fd);
}

bool upstream_retry_without_options(struct upstream *u, int fd, const struct hs_result *result)
{
	bool spent = u->options_tried || u->early;

	if (!result->msg.has_error || result->msg.error.code != CVT_ERR_TCP_OPTION)
		return false;
	u->options_tried = true;
	if (!options_refused(u->converter, result->msg.error.value) || spent)
		return false;
	u->asks_mptcp = u->asks_mptcp && !options_is_refused(u->converter, CVT_OPT_MPTCP);
	retry(u, fd);
	return true;
}

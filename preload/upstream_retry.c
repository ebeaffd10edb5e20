// SPDX-License-Identifier: MIT
/* One attempt more on the same socket: at most one for each cause (F-15), and within the time that
 * the exchange has anyway. */
#include "upstream_int.h"

#include "converters.h"
#include "cookies.h"
#include "options.h"
#include "real.h"
#include "route.h"
#include "shim.h"
#include "twin.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>

void upstream_begin_tries(struct upstream *u)
{
	u->cookie_tried = u->drop_tried = u->omits_cookie = false;
	u->options_tried = u->syn_tried = u->hold_tried = false;
}

static void retry(struct upstream *u, int fd, const char *why)
{
	int r;

	if (why)
		upstream_log_failed(u, "retrying", why, 0);
	upstream_take_back(u, fd);
	upstream_go_on(u, UPSTREAM_OPENING);
	r = sys_fcntl(fd, F_GETFL, 0);
	r = upstream_send_syn(u, fd, r >= 0 && r & O_NONBLOCK, NULL);
	if (r < 0 && r != -EINTR)
		upstream_give_up(u, fd, HS_CONVERTER, -r, why ? why : "no SYN could be sent", NULL);
}

void upstream_retry_with_cookie(struct upstream *u, int fd, const struct hs_result *result)
{
	struct cvt_span cookie = { result->msg.error.value.p + 1, result->msg.error.value.len - 1 };
	bool spent = u->cookie_tried || u->early;

	u->cookie_tried = true;
	if (!cookies_learn(u, cookie) || spent)
		upstream_give_up(u, fd, HS_CONVERTER, EACCES, "Missing Cookie", result);
	else
		retry(u, fd, "Missing Cookie");
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
	retry(u, fd, "Unsupported TCP Option");
	return true;
}

bool upstream_retry_without_cookie(struct upstream *u, int fd, const struct hs_result *result)
{
	uint8_t code = result->msg.error.code;
	bool configured = u->converter->convert_cookie.len > 0;
	bool spent = u->drop_tried || u->early;

	if (!u->sends_cookie || !result->msg.has_error ||
	    !(code == CVT_ERR_UNSUPPORTED || (code == CVT_ERR_NOT_AUTHORIZED && !configured)))
		return false;
	if (!configured) {
		cookies_drop(u);
		converters_refused_cookie(u);
	}
	if (spent)
		return false;
	u->drop_tried = true;
	u->omits_cookie = code == CVT_ERR_UNSUPPORTED;
	retry(u, fd, cvt_err_name(code));
	return true;
}

/* ------------------------------------------------------------- another converter */

#define MOVES_MOST 3

static bool is_other(const struct upstream *u, const struct addr *via)
{
	return addr_is_v4(via) == addr_is_v4(&u->via) &&
	       (via->port != u->via.port || !addr_equal_ip(via, &u->via));
}

bool upstream_has_elsewhere(const struct upstream *u)
{
	const struct config *config = shim_config();

	if (u->early || u->moves == MOVES_MOST)
		return false;
	for (size_t i = 0; i < config->n_converters; i++) {
		const struct config_converter *c = &config->converters[i];

		for (size_t k = 0; k < c->n_addrs; k++)
			if (is_other(u, &c->addrs[k]))
				return true;
	}
	return false;
}

bool upstream_retry_elsewhere(struct upstream *u, int fd, const char *why, int err)
{
	struct pol_verdict v;

	if (!upstream_has_elsewhere(u) || now_ns() >= u->deadline_ns)
		return false;
	/* the one that has failed is left alone by now */
	v = pol_decide_among(shim_config(), &u->server, u->family, route_lookup, converters_usable);
	if (v.action != POL_CONVERT || !is_other(u, &v.via))
		return false;
	upstream_log_failed(u, "next converter after", why, err);
	u->moves++;
	u->converter = v.converter;
	u->via = v.via;
	upstream_begin_tries(u);
	converters_advise(u);
	retry(u, fd, NULL);
	return true;
}

/* ------------------------------------------------------------- when nothing comes */

bool upstream_may_be_held(const struct upstream *u)
{
	return u->mptcp && !u->is_proven && !u->early && !u->hold_tried;
}

int64_t upstream_half_time_ns(const struct upstream *u)
{
	return u->attempt_ns / 2 + u->deadline_ns / 2;
}

/* A server that is mute looks the same; only an attempt that fares better tells (converters.h). */
static bool is_held(const struct upstream *u, int fd)
{
	struct tcp_info info = { .tcpi_options = 0 };
	socklen_t len = offsetof(struct tcp_info, tcpi_rto), size = sizeof(int);
	int is_mptcp = 0;

	return upstream_may_be_held(u) &&
	       sys_getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
	       info.tcpi_options & TCPI_OPT_SYN_DATA &&
	       sys_getsockopt(fd, IPPROTO_TCP, TCP_IS_MPTCP, &is_mptcp, &size) == 0 && is_mptcp;
}

void upstream_look(struct upstream *u, int fd)
{
	int64_t half_ns = upstream_half_time_ns(u);

	atomic_store(&u->look_ns, INT64_MAX);
	if (u->reply.got)
		return;
	if (!u->syn_tried && upstream_tcp_state(fd) == TCP_SYN_SENT) {
		u->syn_tried = true;
		retry(u, fd, "no answer to the SYN");
	} else if (now_ns() < half_ns) {
		if (upstream_may_be_held(u))
			atomic_store(&u->look_ns, half_ns);
	} else if (is_held(u, fd)) {
		u->hold_tried = u->no_syn_data = true;
		retry(u, fd, "no reply to the data in the SYN");
	}
}

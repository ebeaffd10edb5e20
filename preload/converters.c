// SPDX-License-Identifier: MIT
#include "converters.h"

#include "cookies.h"
#include "counts.h"
#include "options.h"
#include "route.h"
#include "shim.h"
#include "twin.h"

#include <netinet/tcp.h>
#include <stddef.h>

/* A connection that took so long may have sent its SYN again, without the data. Faster ones are not
 * asked once it is known that the path takes SYN data: that is a system call. */
#define SYN_AGAIN_NS 900000000

/* Without a state file health is this process's own, and then it is not worth asking for the route
 * which network this is. */
static void where(const struct addr *via, int64_t now_ms, struct health_key *key)
{
	if (*state_path())
		health_where(via, route_lookup, now_ms, key);
	else
		*key = (struct health_key){ .converter = *via };
}

/* P-30: from a network that takes the data out of SYNs a converter is not used. */
static bool is_stripped(const struct health_key *key, int64_t now_ms)
{
	struct health h;

	if (!shim_config()->strict)
		return false;
	health_find(key, now_ms, &h);
	return h.stripped;
}

enum pol_reason converters_allowed(const struct addr *via)
{
	int64_t now_ms = state_now_ms();
	struct health_key key;

	where(via, now_ms, &key);
	return is_stripped(&key, now_ms) ? POL_STRIPPED : POL_DEFAULT;
}

enum pol_reason converters_usable(const struct addr *via)
{
	int64_t now_ms = state_now_ms();
	struct health_key key;

	where(via, now_ms, &key);
	if (is_stripped(&key, now_ms))
		return POL_STRIPPED;
	return health_ask(&key, now_ms, shim_config()->timeout_ms) == HEALTH_LEAVE ?
		       POL_LEFT_ALONE :
		       POL_DEFAULT;
}

bool converters_lose_mptcp(const struct addr *via)
{
	int64_t now_ms = state_now_ms();
	struct health_key key;
	struct health h;

	where(via, now_ms, &key);
	health_find(&key, now_ms, &h);
	return h.way[HEALTH_MPTCP] == HEALTH_LOSES;
}

/* A converter that says nothing to the wrong dialect is convert-bootstrap's to find out: a reset or
 * silence may be its answer about a server as well (PROTOCOL 6). */
static enum cvt_dialect dialect_for(const struct config_converter *c, const struct health *h)
{
	if (!c->dialect_is_auto)
		return c->dialect;
	if (h->dialect)
		return (enum cvt_dialect)(h->dialect - 1);
	return c->dialect;
}

/* Data without a TFO cookie goes where that is configured, or known to work (D9a). None goes where it is
 * lost, nor with MPTCP where the reply to it is held back: that may be for ever, so it holds whatever is
 * configured. */
static void advise_on_syn_data(struct upstream *u, const struct health *h)
{
	bool is_auto = u->converter->fast_open == CONFIG_FO_AUTO;
	bool known = is_auto && h->way[HEALTH_BARE_DATA] == HEALTH_WORKS;
	bool holds = h->way[HEALTH_SYN_DATA] == HEALTH_HOLDS;
	uint8_t way;

	u->bare = known || u->converter->fast_open == CONFIG_FO_NO_COOKIE;
	u->syn_path = known ? HEALTH_BARE_DATA : HEALTH_SYN_DATA;
	way = h->way[u->syn_path];
	u->no_syn_data = (way == HEALTH_LOSES && is_auto) || (holds && u->mptcp);
	u->is_proven = way == HEALTH_WORKS;
	u->syn_data_lost = h->lost[u->syn_path];
	u->tells_over_tcp = !holds && (shim_config()->mptcp == CONFIG_MPTCP_OFF ||
				       !twin_has_mptcp() || h->way[HEALTH_MPTCP] == HEALTH_LOSES);
}

void converters_advise(struct upstream *u)
{
	static const uint8_t asked[] = { CVT_OPT_MPTCP, CVT_OPT_FAST_OPEN };
	const struct config_converter *c = u->converter;
	int64_t now_ms = state_now_ms();
	struct health h;

	where(&u->via, now_ms, &u->health);
	health_find(&u->health, now_ms, &h);
	u->started_ms = now_ms;
	u->dialect = dialect_for(c, &h);
	for (size_t i = 0; i < sizeof(asked); i++)
		if (!health_may_send(&h, asked[i]))
			options_refused(c, (struct cvt_span){ &asked[i], 1 });
	u->asks_mptcp = u->asks_mptcp && !options_is_refused(c, CVT_OPT_MPTCP);
	advise_on_syn_data(u, &h);
	u->rtt_us = h.rtt_us;
	if (h.convert_cookie_len && !cookies_for(u).len)
		cookies_learn(u, (struct cvt_span){ h.convert_cookie, h.convert_cookie_len });
}

static void report(const struct upstream *u, struct health_event e)
{
	e.started_ms = u->started_ms;
	e.retry_ms = shim_config()->retry_ms;
	health_report(&u->health, &e, state_now_ms());
}

void converters_replied(struct upstream *u, const struct hs_result *result)
{
	struct cvt_span value = result->msg.error.value;
	enum cvt_dialect dialect;

	if (result->parse != CVT_OK)
		return;
	if (u->converter->dialect_is_auto && hs_evidence(result, u->dialect, &dialect)) {
		u->dialect = dialect;
		report(u, (struct health_event){ .kind = HEALTH_SPEAKS, .dialect = dialect });
	}
	if (result->msg.has_error && result->msg.error.code == CVT_ERR_TCP_OPTION)
		report(u, (struct health_event){ .kind = HEALTH_REFUSES, .bytes = value });
	if (result->verdict == HS_COOKIE && value.len > 1)
		report(u, (struct health_event){ .kind = HEALTH_COOKIE,
						 .bytes = { value.p + 1, value.len - 1 } });
	if (result->verdict == HS_CONNECTED || result->verdict == HS_SERVER)
		report(u, (struct health_event){ .kind = HEALTH_ANSWERED });
	if (u->hold_tried)
		report(u, (struct health_event){ .kind = HEALTH_WAY,
						 .path = HEALTH_SYN_DATA,
						 .way = HEALTH_HOLDS });
}

void converters_refused_cookie(const struct upstream *u)
{
	report(u, (struct health_event){ .kind = HEALTH_COOKIE });
}

static bool is_mptcp(int fd)
{
	int is = 0;
	socklen_t len = sizeof(is);

	return sys_getsockopt(fd, IPPROTO_TCP, TCP_IS_MPTCP, &is, &len) == 0 && is;
}

/* What is going to be otherwise because of this. */
static void log_lost(const struct upstream *u, bool stripped)
{
	const char *what = NULL;

	if (stripped && shim_config()->strict)
		what = "it is not used from here any more (strict)";
	else if (u->syn_data_lost + 1 == HEALTH_LOST_MAX &&
		 u->converter->fast_open == CONFIG_FO_AUTO)
		what = "from here its message follows the SYN from now on";
	if (what)
		log_line(LOG_LEVEL_INFO, "converter %s: data in the SYN is lost: %s",
			 u->converter->name, what);
}

/* Was the SYN's data acknowledged by the SYN+ACK (LINUX-FACTS 1.9), and how long did that take? Returns
 * whether it was lost. */
static bool look_at_syn_data(const struct upstream *u, int fd, bool over_mptcp)
{
	/* tcpi_fastopen_client_fail, which libc's structure has not: two bits of the byte before
	 * tcpi_rto. 2: not acknowledged, 3: the SYN was sent again, without the data */
	union {
		struct tcp_info info;
		uint8_t bytes[sizeof(struct tcp_info)];
	} tcp = { .bytes = { 0 } };
	socklen_t len = sizeof(tcp);
	unsigned int fail;
	bool works;

	if (sys_getsockopt(fd, IPPROTO_TCP, TCP_INFO, &tcp, &len) < 0)
		return false;
	fail = tcp.bytes[offsetof(struct tcp_info, tcpi_rto) - 1] >> 1 & 3;
	works = fail < 2 && tcp.info.tcpi_options & TCPI_OPT_SYN_DATA;
	if (fail < 3)
		report(u, (struct health_event){ .kind = HEALTH_ANSWERED,
						 .rtt_us = tcp.info.tcpi_rtt });
	if (fail >= 2)
		log_lost(u, fail == 2);
	/* what works over TCP may be held back over MPTCP */
	if (fail >= 2 || (works && (over_mptcp || u->tells_over_tcp)))
		report(u, (struct health_event){ .kind = HEALTH_WAY,
						 .path = u->syn_path,
						 .way = works ? HEALTH_WORKS : HEALTH_LOSES,
						 .stripped = fail == 2 });
	return fail >= 2;
}

void converters_connected(struct upstream *u, int fd)
{
	bool slow = u->syn_tried || now_ns() - u->started_ns > SYN_AGAIN_NS;
	bool over_mptcp = u->mptcp && is_mptcp(fd), data_is_lost = false;

	counts_add(COUNTS_CONVERTED, state_now_ms());
	if (u->syn_data &&
	    (!u->is_proven || slow || shim_config()->strict || u->mptcp != over_mptcp))
		data_is_lost = look_at_syn_data(u, fd, over_mptcp);
	/* Did the path take MP_CAPABLE there and back? Without the SYN's data it does not matter if it
	 * did: the connection is one of TCP in any case (LINUX-FACTS 2b.2). */
	if (u->mptcp && !data_is_lost)
		report(u, (struct health_event){ .kind = HEALTH_WAY,
						 .path = HEALTH_MPTCP,
						 .way = over_mptcp ? HEALTH_WORKS : HEALTH_LOSES });
}

/* Errors 64 and 65 may name a delay. */
static int delay_of(const struct hs_result *result)
{
	if (result->parse != CVT_OK || !result->msg.has_error ||
	    (result->msg.error.code != CVT_ERR_RESOURCE &&
	     result->msg.error.code != CVT_ERR_NETWORK))
		return HEALTH_NO_DELAY;
	return health_delay_s(result->msg.error.value);
}

/* It works, and wants to be asked otherwise: what is known now, so that the next one will be. */
static bool only_wants_more(const struct hs_result *result)
{
	return result && result->parse == CVT_OK && result->msg.has_error &&
	       (result->msg.error.code == CVT_ERR_TCP_OPTION ||
		result->msg.error.code == CVT_ERR_MISSING_COOKIE);
}

void converters_failed(const struct upstream *u, const struct hs_result *result, int err)
{
	counts_add(COUNTS_FAILED, state_now_ms());
	/* the draft's converter says by a reset that the server has refused, too (PROTOCOL 2) */
	if (!result && err == ECONNREFUSED && u->dialect == CVT_DIALECT_DRAFT02)
		return;
	if (!only_wants_more(result))
		report(u, (struct health_event){ .kind = HEALTH_FAILED,
						 .delay_s = result ? delay_of(result) :
								     HEALTH_NO_DELAY });
}

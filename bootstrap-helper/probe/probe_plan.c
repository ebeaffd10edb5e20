// SPDX-License-Identifier: MIT
#include "probe.h"

#include <errno.h>
#include <string.h>

/* A later connection has the time that the first took, and this. */
#define LATER_MS     2500 /* more than a lost SYN takes */
#define LATER_FACTOR 4
#define LEAST_US     5000

static void take_cookie(struct probe *p, struct cvt_span cookie)
{
	memcpy(p->convert_cookie, cookie.p, cookie.len);
	p->convert_cookie_len = (uint16_t)cookie.len;
}

void probe_begin(struct probe_plan *plan, const struct probe_request *q, struct probe *p)
{
	const struct config_converter *c = q->converter;
	const struct health *known = q->known;

	*p = (struct probe){ .verdict = PROBE_MUTE, .delay_s = HEALTH_NO_DELAY };
	*plan = (struct probe_plan){ .q = q, .p = p, .dialect = c->dialect };
	if (c->dialect_is_auto && known && known->dialect)
		plan->dialect = (enum cvt_dialect)(known->dialect - 1);
	p->dialect = plan->dialect;
	plan->cookie_is_configured = c->convert_cookie.len > 0;
	if (plan->cookie_is_configured)
		take_cookie(p, c->convert_cookie);
	else if (known && known->convert_cookie_len)
		take_cookie(p,
			    (struct cvt_span){ known->convert_cookie, known->convert_cookie_len });
	/* silence would be what is expected */
	plan->plain = q->mptcp && known && known->way[HEALTH_SYN_DATA] == HEALTH_HOLDS;
}

bool probe_is_open(const struct probe *p, const struct health *known)
{
	return p->verdict == PROBE_MUTE && !p->has_offers && !known->has_offers &&
	       known->failures == 0;
}

/* ------------------------------------------------------------------ what is next */

static bool is_fast_open_auto(const struct probe_plan *plan)
{
	return plan->q->converter->fast_open == CONFIG_FO_AUTO;
}

static enum probe_syn syn_for(const struct probe_plan *plan)
{
	if (plan->q->converter->fast_open == CONFIG_FO_NO_COOKIE || plan->bare)
		return PROBE_SYN_BARE;
	return plan->plain ? PROBE_SYN_PLAIN : PROBE_SYN_ASKS;
}

/* Draft-02 or the hybrid? The bytes of a Connect are the same; cookies and errors are not. */
static bool is_ambiguous(const struct probe_plan *plan)
{
	const struct probe *p = plan->p;

	return plan->q->converter->dialect_is_auto && p->has_dialect &&
	       p->sign == HS_SIGN_ZERO_WORD && !plan->decided && p->connections < 2;
}

/* Of data without a cookie, which nobody has asked for, one answer is enough. */
static bool wants_syn_data(const struct probe_plan *plan)
{
	const struct probe *p = plan->p;
	unsigned int most = plan->bare ? 1 : HEALTH_LOST_MAX;

	if (p->tfo_cookie == PROBE_TFO_OFF ||
	    (p->tfo_cookie == PROBE_TFO_NONE && plan->q->converter->fast_open == CONFIG_FO_COOKIE))
		return false;
	if (p->syn_data == PROBE_SYN_ACKED)
		return !plan->answered && !p->holds;
	return p->syn_data_lost < most;
}

/* Over MPTCP the reply to SYN data has come a round trip after the SYN+ACK. Once that may be anybody's being busy; if
 * it is so again, is it the kernel of the converter (LINUX-FACTS 2b.3), or is it slow? Of less nobody would notice. */
static bool wants_comparison(const struct probe_plan *plan)
{
	const struct probe *p = plan->p;

	return !plan->compared && plan->timed && p->handshake_us >= LEAST_US &&
	       plan->late_us >= p->handshake_us / 4 * 3;
}

static unsigned int time_for(const struct probe_plan *plan)
{
	const struct probe *p = plan->p;
	uint64_t ms = LATER_MS + LATER_FACTOR * ((uint64_t)p->handshake_us + p->reply_us) / 1000;

	if (p->connections == 0 || ms > plan->q->timeout_ms || (!p->reply_us && !plan->bare))
		return plan->q->timeout_ms;
	return (unsigned int)ms;
}

bool probe_next(struct probe_plan *plan, struct probe_step *step)
{
	struct probe *p = plan->p;

	if (plan->over || p->connections >= PROBE_MOST)
		return false;
	*step = (struct probe_step){ .dialect = plan->dialect };
	if (p->connections > 0 && !plan->again) {
		if (is_ambiguous(plan))
			step->unknown_tlv = true;
		else if (wants_comparison(plan) && !plan->doubted)
			plan->doubted = true;
		else if (wants_comparison(plan))
			step->tcp = plan->compared = true;
		else if (!wants_syn_data(plan))
			return false;
	}
	/* no TFO option has come back: does it take data without a cookie? (RFC 8803, as D9a) */
	if (p->tfo_cookie == PROBE_TFO_NONE && is_fast_open_auto(plan))
		plan->bare = true;
	step->syn = syn_for(plan);
	step->with_cookie = p->convert_cookie_len && plan->dialect != CVT_DIALECT_DRAFT02;
	step->timeout_ms = time_for(plan);
	plan->again = plan->plain = false;
	plan->decided |= step->unknown_tlv;
	plan->cookie_sent = step->with_cookie;
	return true;
}

/* --------------------------------------------------------- what the connection was */

static void learn_syn(struct probe *p, const struct probe_step *step, const struct probe_seen *seen)
{
	if (seen->fast_open_off)
		p->tfo_cookie = PROBE_TFO_OFF;
	else if (step->syn == PROBE_SYN_ASKS)
		p->tfo_cookie = seen->tfo_cookie ? PROBE_TFO_HELD : PROBE_TFO_NONE;
	if (seen->syn_data) {
		p->syn_data = seen->syn_data_acked ? PROBE_SYN_ACKED :
			      seen->syn_again	   ? PROBE_SYN_LOST :
						     PROBE_SYN_NOT_ACKED;
		p->syn_data_bare = step->syn == PROBE_SYN_BARE;
		p->syn_data_lost = seen->syn_data_acked ? 0 : p->syn_data_lost + 1;
	}
	if (seen->handshake_us && (!p->handshake_us || seen->handshake_us < p->handshake_us))
		p->handshake_us = seen->handshake_us;
}

/* SYN data that is refused makes an MPTCP connection fall back, whatever the path takes
 * (LINUX-FACTS 2b.2). */
static void learn_mptcp(struct probe *p, const struct probe_seen *seen)
{
	if (seen->is_mptcp) {
		p->mptcp = PROBE_MPTCP_WORKS;
	} else if (p->mptcp != PROBE_MPTCP_WORKS && !seen->syn_again &&
		   (!seen->syn_data || seen->syn_data_acked)) {
		p->mptcp = PROBE_MPTCP_FALLBACK;
		p->mptcp_lost++;
	}
}

static void end(struct probe_plan *plan, enum probe_verdict verdict, int err)
{
	plan->p->verdict = verdict;
	plan->p->err = err;
	plan->over = true;
}

/* ----------------------------------------------------------------- there is no reply */

/* The other header word: a converter may say nothing to the wrong one, or reset (PROTOCOL 6). The
 * draft wants its Bootstrap after the handshake, and a reset may have been its answer to a SYN. */
static bool try_other_dialect(struct probe_plan *plan)
{
	if (!plan->q->converter->dialect_is_auto || plan->other_tried || plan->p->has_dialect)
		return false;
	plan->other_tried = true;
	plan->dialect = plan->dialect == CVT_DIALECT_RFC8803 ? CVT_DIALECT_DRAFT02 :
							       CVT_DIALECT_RFC8803;
	plan->again = plan->plain = true;
	return true;
}

/* A converter of the RFC may leave SYNs alone that have no Convert message in them (S-14). */
static bool try_bare(struct probe_plan *plan, const struct probe_seen *seen)
{
	if (seen->err != ETIMEDOUT || seen->syn_data || seen->fast_open_off || plan->bare ||
	    !is_fast_open_auto(plan) || plan->p->connections > 1)
		return false;
	plan->bare = plan->again = true;
	return true;
}

static void learn_no_connection(struct probe_plan *plan, const struct probe_seen *seen)
{
	struct probe *p = plan->p;

	if (p->verdict == PROBE_WORKS) { /* before, without data in the SYN */
		p->syn_data_lost += seen->syn_data;
		p->syn_data = seen->syn_data ? PROBE_SYN_LOST : p->syn_data;
		plan->over = !seen->syn_data;
		return;
	}
	if (try_bare(plan, seen) ||
	    (seen->err == ECONNREFUSED && seen->syn_data && try_other_dialect(plan)))
		return;
	end(plan, PROBE_UNREACHABLE, seen->err);
}

static void learn_no_reply(struct probe_plan *plan, const struct probe_step *step,
			   const struct probe_seen *seen)
{
	struct probe *p = plan->p;
	bool held = seen->err == ETIMEDOUT && seen->is_mptcp && seen->syn_data_acked;

	if (step->unknown_tlv) /* so it takes that */
		return;
	if (held && plan->replied) {
		p->holds = true;
		return;
	}
	if (try_other_dialect(plan)) {
		plan->maybe_held = held;
		return;
	}
	if (plan->maybe_held) { /* back to the first one, but without data in the SYN */
		plan->maybe_held = false;
		plan->dialect = plan->q->known && plan->q->known->dialect ?
					(enum cvt_dialect)(plan->q->known->dialect - 1) :
					plan->q->converter->dialect;
		plan->again = plan->plain = true;
		return;
	}
	if (p->has_dialect && !plan->replied) { /* to the other dialect it has said an Error */
		p->no_info = true;
		end(plan, PROBE_WORKS, 0);
		return;
	}
	end(plan, PROBE_MUTE, seen->err);
}

/* --------------------------------------------------------------------- the reply */

static bool has_zero_word(enum cvt_dialect d)
{
	return d != CVT_DIALECT_RFC8803;
}

/* A sign that both dialects with a zero word can give does not overrule a better one. */
static void learn_dialect(struct probe_plan *plan, const struct probe_step *step,
			  const struct hs_result *r)
{
	struct probe *p = plan->p;
	enum hs_sign sign = hs_sign(r);
	enum cvt_dialect found;

	if (sign == HS_SIGN_ZERO_WORD && p->has_dialect && has_zero_word(p->dialect))
		return;
	if (!hs_evidence(r, step->dialect, &found))
		return;
	if (sign == HS_SIGN_ZERO_WORD && has_zero_word(step->dialect))
		found = step->dialect;
	p->has_dialect = true;
	p->dialect = found;
	p->sign = sign;
	if (plan->q->converter->dialect_is_auto)
		plan->dialect = found;
}

static void learn_offers(struct probe *p, struct cvt_span kinds)
{
	p->has_offers = true;
	p->n_offers = 0;
	for (size_t i = 0; i < kinds.len && p->n_offers < sizeof(p->offers); i++)
		if (kinds.p[i] != CVT_OPT_END)
			p->offers[p->n_offers++] = kinds.p[i];
}

/* The wire has whole words, what is configured may be shorter (PROTOCOL 1.4). */
static bool is_the_cookie(const struct probe *p, struct cvt_span cookie)
{
	uint8_t whole[CONFIG_COOKIE_MAX] = { 0 };

	if (cookie.len != (p->convert_cookie_len + 3U) / 4 * 4 || cookie.len > sizeof(whole))
		return false;
	memcpy(whole, p->convert_cookie, p->convert_cookie_len);
	return memcmp(whole, cookie.p, cookie.len) == 0;
}

/* Missing Cookie: its value is a zero byte, then the cookie (P-27). */
static void learn_cookie(struct probe_plan *plan, struct cvt_span value)
{
	struct cvt_span cookie = { value.p + 1, value.len - 1 };
	struct probe *p = plan->p;

	if (value.len > 1 && plan->cookie_sent && is_the_cookie(p, cookie)) {
		p->no_info = true; /* it looks for a cookie behind a Connect, and only there */
		return;
	}
	if (value.len <= 1 || cookie.len > sizeof(p->convert_cookie) || plan->cookie_taken ||
	    plan->cookie_is_configured) {
		end(plan, PROBE_REFUSES, EACCES);
		return;
	}
	take_cookie(p, cookie);
	p->cookie_is_new = true;
	plan->again = plan->cookie_taken = true;
}

/* A cookie that was learned may have grown old. */
static void learn_not_authorized(struct probe_plan *plan)
{
	struct probe *p = plan->p;

	p->cookie_refused = plan->cookie_sent && p->error_code == CVT_ERR_NOT_AUTHORIZED;
	if (!plan->cookie_sent || plan->cookie_is_configured || plan->cookie_dropped) {
		end(plan, PROBE_REFUSES, EACCES);
		return;
	}
	plan->cookie_dropped = true;
	memset(p->convert_cookie, 0, sizeof(p->convert_cookie));
	p->convert_cookie_len = 0;
	p->cookie_is_new = true;
	plan->again = true;
}

/* Does this error (as hs_result has it) say no more than that Info, or what it is taken for, is not served? One that refuses
 * the version, us, or everything for now says it of Connects too. */
static bool is_about_info(uint8_t error)
{
	return error == CVT_ERR_MALFORMED || error == CVT_ERR_UNSUPPORTED || error >= CVT_ERR_RESET;
}

static void learn_error(struct probe_plan *plan, const struct probe_step *step,
			const struct hs_result *r)
{
	struct probe *p = plan->p;
	uint8_t code = r->msg.error.code;

	if (step->unknown_tlv && (r->error == CVT_ERR_UNSUPPORTED || r->error == CVT_ERR_MALFORMED))
		return; /* that was the question */
	p->has_error = true;
	p->error_code = code;
	switch (r->error) {
	case CVT_ERR_MISSING_COOKIE:
		learn_cookie(plan, r->msg.error.value);
		return;
	case CVT_ERR_NOT_AUTHORIZED:
		learn_not_authorized(plan);
		return;
	case CVT_ERR_RESOURCE:
	case CVT_ERR_NETWORK:
		p->delay_s = health_delay_s(code, r->msg.error.value);
		break;
	default: /* it wants to be asked in its own dialect */
		if (plan->dialect != step->dialect) {
			plan->again = true;
			plan->plain = plan->maybe_held;
			plan->maybe_held = false;
			return;
		}
		p->no_info = is_about_info(r->error) && plan->replied;
		if (p->no_info)
			return;
	}
	end(plan, PROBE_REFUSES, hs_errno(code, r->msg.error.value, true));
}

/* The reply to SYN data, after the SYN+ACK. */
static uint32_t late(const struct probe_seen *seen)
{
	return seen->reply_us > seen->handshake_us ? seen->reply_us - seen->handshake_us : 0;
}

/* Of a connection over TCP, which is asked for nothing else. */
static void learn_held(struct probe_plan *plan, const struct probe_seen *seen)
{
	uint32_t over_tcp = late(seen);

	if (seen->err == 0 && seen->syn_data_acked &&
	    plan->late_us >= over_tcp + plan->p->handshake_us / 2)
		plan->p->held_us = plan->late_us - over_tcp;
}

static void learn_reply(struct probe_plan *plan, const struct probe_step *step,
			const struct probe_seen *seen)
{
	const struct hs_result *r = &seen->result;
	struct probe *p = plan->p;

	if (r->parse != CVT_OK) {
		p->parse = r->parse;
		end(plan, PROBE_STRANGE, EPROTO);
		return;
	}
	if (seen->reply_us && (!p->reply_us || seen->reply_us < p->reply_us))
		p->reply_us = seen->reply_us;
	p->verdict = PROBE_WORKS;
	plan->answered |= seen->syn_data_acked;
	if (seen->is_mptcp && seen->syn_data_acked &&
	    (!plan->timed || late(seen) < plan->late_us)) {
		plan->timed = true;
		plan->late_us = late(seen);
	}
	learn_dialect(plan, step, r);
	plan->replied |= has_zero_word(p->dialect) == has_zero_word(step->dialect);
	if (r->msg.supported.p)
		learn_offers(p, r->msg.supported);
	if (r->msg.has_error)
		learn_error(plan, step, r);
	else
		p->has_error = p->no_info = false;
}

void probe_learn(struct probe_plan *plan, const struct probe_step *step,
		 const struct probe_seen *seen)
{
	struct probe *p = plan->p;
	bool was_settled = p->has_dialect && !step->unknown_tlv;

	p->connections++;
	if (step->tcp) {
		if (seen->err == ECANCELED)
			end(plan, PROBE_STOPPED, 0);
		learn_held(plan, seen);
		return;
	}
	if (!was_settled)
		p->probes = p->connections;
	if (seen->connected)
		learn_syn(p, step, seen);
	if (seen->mptcp_off)
		p->mptcp = PROBE_MPTCP_OFF;
	else if (plan->q->mptcp && seen->connected)
		learn_mptcp(p, seen);
	if (seen->err == ECANCELED)
		end(plan, PROBE_STOPPED, 0);
	else if (seen->err == 0)
		learn_reply(plan, step, seen);
	else if (seen->connected)
		learn_no_reply(plan, step, seen);
	else
		learn_no_connection(plan, seen);
}

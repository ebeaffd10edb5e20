// SPDX-License-Identifier: MIT
#include "probe.h"

struct record {
	const struct probe_request *q;
	const struct probe *p;
	const struct health_key *key;
};

static void tell(const struct record *r, struct health_event e)
{
	health_report(r->key, &e, state_now_ms());
}

static void tell_way(const struct record *r, enum health_path path, enum health_way way)
{
	tell(r, (struct health_event){ .kind = HEALTH_WAY, .path = path, .way = way });
}

static void tell_lost(const struct record *r, enum health_path path, unsigned int times)
{
	for (unsigned int i = 0; i < times && i < HEALTH_LOST_MAX; i++)
		tell(r, (struct health_event){ .kind = HEALTH_WAY,
					       .path = path,
					       .way = HEALTH_LOSES,
					       .stripped = r->p->syn_data == PROBE_SYN_NOT_ACKED });
}

/* Data without a cookie, where that is not the setting, is another matter than data with one: it
 * was only tried because there is none. */
static void tell_syn_data(const struct record *r)
{
	bool bare = r->p->syn_data_bare && r->q->converter->fast_open == CONFIG_FO_AUTO;
	enum health_way works = r->p->mptcp == PROBE_MPTCP_WORKS ? HEALTH_WORKS : HEALTH_PASSES;

	if (r->p->holds)
		tell_way(r, HEALTH_SYN_DATA, HEALTH_HOLDS);
	else if (!bare && r->p->syn_data == PROBE_SYN_ACKED)
		tell_way(r, HEALTH_SYN_DATA, works);
	if (!bare)
		tell_lost(r, HEALTH_SYN_DATA, r->p->syn_data_lost);
	else if (r->p->syn_data == PROBE_SYN_ACKED)
		tell_way(r, HEALTH_BARE_DATA, works);
	else
		tell_lost(r, HEALTH_BARE_DATA, HEALTH_LOST_MAX);
	if (!bare && r->p->tfo_cookie == PROBE_TFO_HELD) /* nothing is known of it any more */
		tell_way(r, HEALTH_BARE_DATA, HEALTH_UNTRIED);
}

static void tell_mptcp(const struct record *r)
{
	if (r->p->mptcp == PROBE_MPTCP_WORKS)
		tell_way(r, HEALTH_MPTCP, HEALTH_WORKS);
	else if (r->p->mptcp == PROBE_MPTCP_FALLBACK)
		tell_lost(r, HEALTH_MPTCP, r->p->mptcp_lost);
}

static void tell_all(const struct record *r)
{
	const struct probe *p = r->p;

	tell(r, (struct health_event){ .kind = HEALTH_SEEN });
	if (p->has_dialect && r->q->converter->dialect_is_auto)
		tell(r, (struct health_event){ .kind = HEALTH_SPEAKS, .dialect = p->dialect });
	if (p->has_offers)
		tell(r, (struct health_event){ .kind = HEALTH_OFFERS,
					       .bytes = { p->offers, p->n_offers } });
	if (p->cookie_is_new)
		tell(r, (struct health_event){
				.kind = HEALTH_COOKIE,
				.bytes = { p->convert_cookie, p->convert_cookie_len } });
	tell_syn_data(r);
	tell_mptcp(r);
}

/* Would a Connect have met the same? */
static bool fails_connects(const struct probe *p)
{
	uint8_t error = hs_error_as(p->error_code);

	return p->verdict == PROBE_UNREACHABLE ||
	       (p->verdict == PROBE_REFUSES &&
		(error == CVT_ERR_RESOURCE || error == CVT_ERR_NETWORK));
}

bool probe_is_due(int64_t due_ms, int64_t before_ms, int64_t now_ms)
{
	return now_ms >= due_ms || now_ms < before_ms;
}

bool probe_wants_patience(const struct health *known, int64_t now_ms)
{
	return known && known->asked && now_ms < known->alone_until_ms;
}

bool probe_record(const struct probe_request *q, const struct probe *p,
		  const struct health_key *key, unsigned int retry_ms, int64_t started_ms)
{
	const struct record r = { q, p, key };

	if (p->verdict == PROBE_STOPPED)
		return false;
	if (p->has_dialect)
		tell_all(&r);
	/* of a Connect Info says nothing: whoever has asked for patience has it (D13, P-29) */
	if (p->verdict == PROBE_WORKS && !probe_wants_patience(q->known, state_now_ms()))
		tell(&r, (struct health_event){ .kind = HEALTH_ANSWERED,
						.info = true,
						.started_ms = started_ms,
						.rtt_us = p->handshake_us });
	else if (fails_connects(p))
		tell(&r, (struct health_event){ .kind = HEALTH_FAILED,
						.started_ms = started_ms,
						.delay_s = p->delay_s,
						.retry_ms = retry_ms });
	return p->has_dialect || fails_connects(p);
}

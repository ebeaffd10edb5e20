// SPDX-License-Identifier: MIT
#include "map.h"

#include <string.h>

#define FIRST_WAIT_MS	3000 /* IRT and MRT of 8.1.1 */
#define LONGEST_WAIT_MS 1024000
#define RENEWALS_GAP_MS 4000 /* 11.2.1 */
#define HURRY_GAP_MS	1000
#define LIFETIME_MAX_S	86400 /* 15 */
#define ERROR_S		30    /* of one that says 0, as miniupnpd's do; the shorter of 7.4 */
#define ERROR_MAX_S	1800
#define RENEWALS_MAX	20 /* halves, of which the last are shorter than the gap */

/* 0 to n, as chance has it. */
static int64_t part_of(int64_t n, uint32_t chance)
{
	return (int64_t)((uint64_t)n * chance >> 32);
}

void mapping_begin(struct mapping *m, const struct addr *client, int64_t now_ms)
{
	struct mapping fresh = { .client = *client,
				 .lifetime_s = m->lifetime_s,
				 .is_anothers = m->is_anothers,
				 .external = m->external,
				 .due_ms = now_ms,
				 .is_unsure = true,
				 .result = MAPPING_NO_ANSWER };

	memcpy(fresh.nonce, m->nonce, sizeof(fresh.nonce));
	*m = fresh;
}

void mapping_pause(struct mapping *m)
{
	m->until_ms = 0;
	m->due_ms = INT64_MAX;
}

void mapping_hurry(struct mapping *m, int64_t now_ms, int64_t delay_ms)
{
	int64_t at = now_ms + delay_ms, soonest = m->sent_ms + HURRY_GAP_MS;

	if (!m->until_ms || m->ends || m->is_unsure)
		return;
	m->is_unsure = true;
	m->wait_ms = 0;
	m->due_ms = at > soonest ? at : soonest;
}

void mapping_end(struct mapping *m, int64_t now_ms)
{
	bool may_be = !m->is_anothers && (m->until_ms || (m->unanswered && m->due_ms != INT64_MAX));

	m->ends = true;
	m->wait_ms = 0;
	m->has_ended = !may_be;
	m->due_ms = may_be ? now_ms : INT64_MAX;
}

/* When to renew, n requests after it was granted: with 1/2, 1/4, 1/8 ... of its time left, or up to a
 * quarter of that later. */
static int64_t renewal_ms(const struct mapping *m, unsigned int n, uint32_t chance)
{
	int64_t left_ms = (m->until_ms - m->granted_ms) >> (n + 1);

	return m->until_ms - left_ms + part_of(left_ms / 4, chance);
}

/* However short a mapping is; and of one that has ended before it could be renewed. */
static int64_t not_too_soon(const struct mapping *m, int64_t at_ms)
{
	int64_t soonest_ms = m->sent_ms + RENEWALS_GAP_MS;

	return at_ms > soonest_ms ? at_ms : soonest_ms;
}

static int64_t next_renewal_ms(struct mapping *m, uint32_t chance)
{
	m->renewals += m->renewals < RENEWALS_MAX;
	return not_too_soon(m, renewal_ms(m, m->renewals, chance));
}

/* 8.1.1: twice as long each time, and a tenth more or less */
static int64_t next_try_ms(struct mapping *m, int64_t now_ms, uint32_t chance)
{
	int64_t wait_ms = m->wait_ms ? 2 * m->wait_ms : FIRST_WAIT_MS;

	if (wait_ms > LONGEST_WAIT_MS)
		wait_ms = LONGEST_WAIT_MS;
	m->wait_ms = wait_ms - wait_ms / 10 + part_of(wait_ms / 5, chance);
	return now_ms + m->wait_ms;
}

size_t mapping_ask(struct mapping *m, int64_t now_ms, uint32_t chance,
		   uint8_t out[static PCP_MAP_LEN + PCP_OPTION_LEN])
{
	struct pcp_request q = { .opcode = PCP_MAP,
				 .lifetime_s = m->ends ? 0 : m->lifetime_s,
				 .client = m->client,
				 .map = { .protocol = PCP_TCP,
					  .internal_port = m->client.port,
					  .external = pcp_any(&m->client) } };

	memcpy(q.map.nonce, m->nonce, sizeof(q.map.nonce));
	if (!m->ends && m->external.port)
		q.map.external = m->external;
	else if (!m->ends)
		q.map.external.port = m->client.port;
	m->sent_ms = now_ms;
	m->unanswered++;
	m->due_ms = m->is_unsure || m->ends ? next_try_ms(m, now_ms, chance) :
					      next_renewal_ms(m, chance);
	return pcp_write_request(out, &q);
}

/* 11.4: an answer's mapping is known by these. What a server of another version repeats of the request
 * is its own affair (miniupnpd leaves the ports out). */
static bool is_ours(const struct mapping *m, const struct pcp_response *r)
{
	if (r->result == PCP_UNSUPP_VERSION)
		return true;
	return r->opcode == PCP_MAP && r->has_map && r->map.protocol == PCP_TCP &&
	       r->map.internal_port == m->client.port &&
	       memcmp(r->map.nonce, m->nonce, sizeof(m->nonce)) == 0;
}

static enum mapping_event refused(struct mapping *m, const struct pcp_response *r, int64_t now_ms)
{
	uint32_t s = r->lifetime_s ? r->lifetime_s : ERROR_S;
	int64_t wait_ms = (int64_t)(s < ERROR_MAX_S ? s : ERROR_MAX_S) * 1000;

	m->is_unsure = true; /* what was there stays until its time is over */
	m->wait_ms = 0;
	m->due_ms = now_ms + (wait_ms > FIRST_WAIT_MS ? wait_ms : FIRST_WAIT_MS);
	return MAPPING_REFUSED;
}

static enum mapping_event granted(struct mapping *m, const struct pcp_response *r, int64_t now_ms,
				  uint32_t chance)
{
	const struct addr *e = &r->map.external;
	bool is_new = !m->until_ms;
	bool moved = e->port != m->external.port || !addr_equal_ip(e, &m->external);
	uint32_t s = r->lifetime_s < LIFETIME_MAX_S ? r->lifetime_s : LIFETIME_MAX_S;

	m->external = *e;
	m->granted_ms = now_ms;
	m->until_ms = now_ms + (int64_t)s * 1000;
	m->renewals = 0;
	m->is_unsure = false;
	m->wait_ms = 0;
	m->due_ms = not_too_soon(m, renewal_ms(m, 0, chance));
	return is_new ? MAPPING_MADE : moved ? MAPPING_MOVED : MAPPING_RENEWED;
}

enum mapping_event mapping_answer(struct mapping *m, const struct pcp_response *r, int64_t now_ms,
				  uint32_t chance)
{
	bool grants = !r->result && r->lifetime_s;

	/* a success that neither grants nor was to end it is a late one, or none at all */
	if (!is_ours(m, r) || m->has_ended || !m->unanswered || (!r->result && m->ends == grants) ||
	    (grants && !r->map.external.port))
		return MAPPING_NOTHING;
	m->result = r->result;
	m->answered_ms = now_ms;
	m->unanswered = 0;
	if (m->ends) {
		m->has_ended = true;
		m->until_ms = 0;
		m->due_ms = INT64_MAX;
		return MAPPING_ENDED;
	}
	return grants ? granted(m, r, now_ms, chance) : refused(m, r, now_ms);
}

enum mapping_event mapping_expire(struct mapping *m, int64_t now_ms)
{
	if (!m->until_ms || now_ms < m->until_ms)
		return MAPPING_NOTHING;
	m->until_ms = 0;
	if (!m->is_unsure) {
		m->is_unsure = true;
		m->wait_ms = 0;
		m->due_ms = not_too_soon(m, now_ms);
	}
	return MAPPING_LOST;
}

int64_t mapping_next_ms(const struct mapping *m)
{
	return m->until_ms && m->until_ms < m->due_ms ? m->until_ms : m->due_ms;
}

// SPDX-License-Identifier: MIT
/* When a mapping is asked for and renewed, and which answers count (RFC 6887, 8.1.1, 11.2.1, 11.4, 15). */
#include "map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define HOUR_S 3600
#define START  1000000 /* ms */
#define ALWAYS UINT32_MAX

static struct mapping begun(void)
{
	struct mapping m = { .nonce = { 1, 2, 3 }, .lifetime_s = HOUR_S };
	struct addr client;

	addr_parse(&client, "10.1.0.1");
	client.port = 8080;
	mapping_begin(&m, &client, START);
	return m;
}

static struct pcp_request ask(struct mapping *m, int64_t now_ms, uint32_t chance)
{
	uint8_t out[PCP_MAP_LEN + PCP_OPTION_LEN];
	struct pcp_request q;

	assert_int_equal(pcp_read_request(&q, out, mapping_ask(m, now_ms, chance, out)),
			 PCP_SUCCESS);
	assert_memory_equal(q.map.nonce, m->nonce, PCP_NONCE_LEN);
	assert_int_equal(q.map.protocol, PCP_TCP);
	assert_int_equal(q.map.internal_port, 8080);
	return q;
}

static struct pcp_response answer(const struct mapping *m, uint8_t result, uint32_t lifetime_s)
{
	struct pcp_response r = { .version = PCP_VERSION,
				  .opcode = PCP_MAP,
				  .result = result,
				  .lifetime_s = lifetime_s,
				  .has_map = true,
				  .map = { .protocol = PCP_TCP, .internal_port = 8080 } };

	memcpy(r.map.nonce, m->nonce, sizeof(r.map.nonce));
	addr_parse(&r.map.external, "203.0.113.9");
	r.map.external.port = 8081;
	return r;
}

static struct mapping made(uint32_t lifetime_s, uint32_t chance)
{
	struct mapping m = begun();
	struct pcp_response r = answer(&m, PCP_SUCCESS, lifetime_s);

	ask(&m, START, 0);
	assert_int_equal(mapping_answer(&m, &r, START, chance), MAPPING_MADE);
	return m;
}

/* 8.1.1 */
static void repeated(void **state)
{
	static const uint32_t chances[] = { 0, ALWAYS };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct mapping m = begun();
		int64_t wait_ms = 3000, last_ms = 0;

		assert_int_equal(m.due_ms, START);
		for (unsigned int n = 0; n < 20; n++) {
			int64_t least = wait_ms - wait_ms / 10, most = wait_ms + wait_ms / 10;
			int64_t now_ms = m.due_ms;

			ask(&m, now_ms, chances[i]);
			assert_in_range(m.due_ms - now_ms, least - 1, most + 1);
			assert_true(chances[i] ? m.due_ms - now_ms >= wait_ms :
						 m.due_ms - now_ms <= wait_ms);
			last_ms = m.due_ms - now_ms;
			wait_ms = 2 * last_ms > 1024000 ? 1024000 : 2 * last_ms;
		}
		assert_in_range(last_ms, 921600, 1126400);
		assert_int_equal(m.unanswered, 20);
	}
}

static void what_is_suggested(void **state)
{
	struct mapping m = begun();
	struct pcp_request q = ask(&m, START, 0);
	struct addr any = pcp_any(&m.client);
	struct pcp_response r = answer(&m, PCP_SUCCESS, HOUR_S);

	(void)state;
	assert_int_equal(q.map.external.port, 8080);
	assert_true(addr_equal_ip(&q.map.external, &any));
	assert_int_equal(q.lifetime_s, HOUR_S);
	mapping_answer(&m, &r, START, 0);
	q = ask(&m, m.due_ms, 0); /* what it has */
	assert_int_equal(q.map.external.port, 8081);
	assert_true(addr_equal_ip(&q.map.external, &r.map.external));
	mapping_begin(&m, &m.client, START + 1); /* and what it had */
	q = ask(&m, START + 1, 0);
	assert_int_equal(q.map.external.port, 8081);
}

/* 11.2.1: at 1/2 to 5/8, 3/4 to 13/16 ... of it, and never within four seconds */
static void renewed(void **state)
{
	static const struct {
		uint32_t chance;
		int64_t at_s[4];
	} cases[] = { { 0, { 1800, 2700, 3150, 3375 } }, { ALWAYS, { 2250, 2925, 3262, 3431 } } };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct mapping m = made(HOUR_S, cases[i].chance);
		struct pcp_response r = answer(&m, PCP_SUCCESS, HOUR_S);
		int64_t last_ms = 0;

		for (size_t n = 0; n < 4; n++) {
			assert_in_range((m.due_ms - START) / 1000, cases[i].at_s[n] - 1,
					cases[i].at_s[n]);
			ask(&m, m.due_ms, cases[i].chance);
		}
		while (m.due_ms < m.until_ms) {
			last_ms = m.due_ms;
			ask(&m, last_ms, cases[i].chance);
			assert_true(m.due_ms - last_ms >= 4000);
		}
		assert_int_equal(mapping_next_ms(&m), m.until_ms);
		assert_int_equal(mapping_answer(&m, &r, last_ms + 5, 0), MAPPING_RENEWED);
		assert_int_equal(m.until_ms, last_ms + 5 + HOUR_S * 1000);
		assert_int_equal(m.due_ms, last_ms + 5 + HOUR_S * 500);
	}
}

static void short_ones(void **state)
{
	struct mapping m = made(8, 0);

	(void)state;
	assert_int_equal(m.due_ms, START + 4000);
	ask(&m, START + 4000, 0);
	assert_int_equal(m.due_ms, START + 8000);
	m = made(1, 0);
	assert_int_equal(m.due_ms, START + 4000);
	m = made(UINT32_MAX, 0); /* a day */
	assert_int_equal(m.until_ms, START + 86400000LL);
}

/* 11.2.1: however short they are, and whether one ends before it may be renewed */
static void never_within_four_seconds(void **state)
{
	static const uint32_t chances[] = { 0, ALWAYS };

	(void)state;
	for (uint32_t s = 1; s <= 12; s++)
		for (size_t i = 0; i < 2; i++) {
			struct mapping m = made(s, chances[i]);
			struct pcp_response r = answer(&m, PCP_SUCCESS, s);

			for (int n = 0; n < 20; n++) {
				int64_t before_ms = m.sent_ms, now_ms;

				while ((now_ms = mapping_next_ms(&m)) < m.due_ms)
					assert_int_equal(mapping_expire(&m, now_ms), MAPPING_LOST);
				assert_true(now_ms - before_ms >= 4000);
				assert_true(now_ms - before_ms <= 4000 + s * 1000);
				mapping_expire(&m, now_ms);
				ask(&m, now_ms, chances[i]);
				mapping_answer(&m, &r, now_ms, chances[i]);
			}
		}
}

static void moved(void **state)
{
	struct mapping m = made(HOUR_S, 0);
	struct pcp_response r = answer(&m, PCP_SUCCESS, HOUR_S);

	(void)state;
	r.map.external.port = 9;
	ask(&m, m.due_ms, 0);
	assert_int_equal(mapping_answer(&m, &r, START, 0), MAPPING_MOVED);
	assert_int_equal(m.external.port, 9);
}

static void lost(void **state)
{
	struct mapping m = made(10, 0);
	int64_t end_ms = m.until_ms;
	struct pcp_response r = answer(&m, PCP_SUCCESS, 10);

	(void)state;
	ask(&m, START + 5000, 0);
	assert_int_equal(mapping_expire(&m, end_ms - 1), MAPPING_NOTHING);
	assert_int_equal(mapping_expire(&m, end_ms), MAPPING_LOST);
	assert_int_equal(mapping_expire(&m, end_ms), MAPPING_NOTHING);
	assert_int_equal(m.due_ms, end_ms);
	ask(&m, end_ms, 0);
	assert_int_equal(m.due_ms, end_ms + 2700);
	assert_int_equal(mapping_answer(&m, &r, end_ms + 1, 0), MAPPING_MADE);
}

/* The host has slept, or the process was stopped: until after a renewal, until after its end. */
static void slept(void **state)
{
	struct mapping m = made(HOUR_S, 0);
	int64_t late_ms = m.until_ms - 1000, end_ms = m.until_ms + 36000000;

	(void)state;
	assert_int_equal(mapping_expire(&m, late_ms), MAPPING_NOTHING);
	assert_true(mapping_next_ms(&m) <= late_ms);
	ask(&m, late_ms, 0);
	assert_int_equal(m.due_ms, late_ms + 4000); /* not all that it has slept through */
	m = made(HOUR_S, 0);
	assert_int_equal(mapping_expire(&m, end_ms), MAPPING_LOST);
	assert_int_equal(m.due_ms, end_ms);
	ask(&m, end_ms, 0);
	assert_int_equal(m.due_ms, end_ms + 2700);
}

/* 8.5, 14.1.3 */
static void hurried(void **state)
{
	struct mapping m = begun();
	struct pcp_response r = answer(&m, PCP_SUCCESS, HOUR_S);

	(void)state;
	mapping_hurry(&m, START + 500, 0); /* is asked for anyway */
	assert_int_equal(m.due_ms, START);
	m = made(HOUR_S, 0);
	mapping_hurry(&m, START + 100, 0);
	assert_int_equal(m.due_ms, START + 1000); /* not as fast as a server that makes fun of us */
	m = made(HOUR_S, 0);
	mapping_hurry(&m, START + 5000, 3000);
	assert_int_equal(m.due_ms, START + 8000);
	mapping_hurry(&m, START + 6000, 4000); /* the same once more */
	assert_int_equal(m.due_ms, START + 8000);
	ask(&m, START + 8000, 0);
	assert_int_equal(m.due_ms, START + 10700); /* and until there is an answer */
	assert_int_equal(mapping_answer(&m, &r, START + 9000, 0), MAPPING_RENEWED);
	assert_int_equal(m.due_ms, START + 9000 + HOUR_S * 500);
}

static void refused(void **state)
{
	static const struct {
		uint32_t lifetime_s;
		int64_t wait_s;
	} cases[] = { { 0, 30 }, { 1, 3 }, { 30, 30 }, { 1800, 1800 }, { UINT32_MAX, 1800 } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct mapping m = begun();
		struct pcp_response r = answer(&m, PCP_NO_RESOURCES, cases[i].lifetime_s);

		ask(&m, START, 0);
		assert_int_equal(mapping_answer(&m, &r, START, 0), MAPPING_REFUSED);
		assert_int_equal(m.result, PCP_NO_RESOURCES);
		assert_int_equal(m.due_ms, START + cases[i].wait_s * 1000);
		assert_int_equal(m.until_ms, 0);
		ask(&m, m.due_ms, 0); /* the waits begin anew */
		assert_int_equal(m.due_ms - m.sent_ms, 2700);
	}
}

/* What was there is there until its time is over. */
static void refused_a_renewal(void **state)
{
	struct mapping m = made(HOUR_S, 0);
	struct pcp_response r = answer(&m, PCP_NOT_AUTHORIZED, 1800);
	int64_t end_ms = m.until_ms, due_ms;

	(void)state;
	ask(&m, m.due_ms, 0);
	assert_int_equal(mapping_answer(&m, &r, START + 1801000, 0), MAPPING_REFUSED);
	due_ms = m.due_ms;
	assert_int_equal(m.until_ms, end_ms);
	assert_int_equal(mapping_next_ms(&m), end_ms);
	assert_int_equal(mapping_expire(&m, end_ms), MAPPING_LOST);
	assert_int_equal(m.due_ms, due_ms); /* no sooner than it was told */
}

static void whose_answers_do_not_count(void **state)
{
	struct mapping m = begun();
	struct pcp_response good = answer(&m, PCP_SUCCESS, HOUR_S), r;

	(void)state;
	assert_int_equal(mapping_answer(&m, &good, START, 0), MAPPING_NOTHING); /* none was asked */
	ask(&m, START, 0);
	for (int i = 0; i < 6; i++) {
		r = good;
		r.map.nonce[11] ^= i == 0;
		r.map.protocol ^= i == 1;
		r.map.internal_port ^= i == 2;
		r.opcode = i == 3 ? PCP_PEER : r.opcode;
		r.map.external.port = i == 4 ? 0 : r.map.external.port;
		r.lifetime_s = i == 5 ? 0 : r.lifetime_s;
		assert_int_equal(mapping_answer(&m, &r, START, 0), MAPPING_NOTHING);
	}
	r = answer(&m, PCP_MALFORMED_REQUEST, 0);
	r.has_map = false; /* whose it is cannot be known */
	assert_int_equal(mapping_answer(&m, &r, START, 0), MAPPING_NOTHING);
	r.result = PCP_UNSUPP_VERSION; /* that of all */
	assert_int_equal(mapping_answer(&m, &r, START, 0), MAPPING_REFUSED);
	assert_int_equal(m.result, PCP_UNSUPP_VERSION);
}

/* 15.1 */
static void ended(void **state)
{
	struct mapping m = made(HOUR_S, 0);
	struct pcp_response r = answer(&m, PCP_SUCCESS, HOUR_S);
	struct pcp_request q;

	(void)state;
	mapping_end(&m, START + 10);
	assert_int_equal(m.due_ms, START + 10);
	q = ask(&m, START + 10, 0);
	assert_int_equal(q.lifetime_s, 0);
	assert_int_equal(q.map.external.port, 0);
	assert_int_equal(m.due_ms, START + 2710);
	assert_int_equal(mapping_answer(&m, &r, START, 0), MAPPING_NOTHING); /* of a renewal */
	r.lifetime_s = 0;
	r.map.external.port = 0;
	assert_int_equal(mapping_answer(&m, &r, START, 0), MAPPING_ENDED);
	assert_true(m.has_ended);
	assert_int_equal(mapping_next_ms(&m), INT64_MAX);
	assert_int_equal(mapping_answer(&m, &r, START, 0), MAPPING_NOTHING);
}

static void nothing_to_end(void **state)
{
	struct mapping m = begun();
	struct pcp_response r = answer(&m, PCP_NOT_AUTHORIZED, 30);

	(void)state;
	mapping_end(&m, START);
	assert_true(m.has_ended);
	m = begun();
	m.is_anothers = true;
	ask(&m, START, 0);
	mapping_end(&m, START);
	assert_true(m.has_ended);
	assert_int_equal(m.due_ms, INT64_MAX);
	m = begun();
	ask(&m, START, 0); /* may have been granted by now */
	mapping_end(&m, START);
	assert_false(m.has_ended);
	assert_int_equal(mapping_answer(&m, &r, START, 0), MAPPING_ENDED);
	m = begun();
	ask(&m, START, 0);
	mapping_answer(&m, &r, START, 0);
	mapping_end(&m, START);
	assert_true(m.has_ended);
	m = made(HOUR_S, 0);
	mapping_pause(&m); /* the way is gone */
	assert_int_equal(mapping_next_ms(&m), INT64_MAX);
	mapping_end(&m, START);
	assert_true(m.has_ended);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(repeated),
		cmocka_unit_test(what_is_suggested),
		cmocka_unit_test(renewed),
		cmocka_unit_test(short_ones),
		cmocka_unit_test(never_within_four_seconds),
		cmocka_unit_test(moved),
		cmocka_unit_test(lost),
		cmocka_unit_test(slept),
		cmocka_unit_test(hurried),
		cmocka_unit_test(refused),
		cmocka_unit_test(refused_a_renewal),
		cmocka_unit_test(whose_answers_do_not_count),
		cmocka_unit_test(ended),
		cmocka_unit_test(nothing_to_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

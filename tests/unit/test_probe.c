// SPDX-License-Identifier: MIT
/* Which connection of a probe is next, and what the last one meant: against converters that are a
 * few lines long, of every dialect, strictness and Fast Open that there may be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "probe.h"

enum wrong_word { LENIENT, ERROR, RESET, SILENCE };
enum tfo { COOKIES, BARE, NO_TFO };
enum unknown { UNKNOWN_ERROR, UNKNOWN_SKIPPED, UNKNOWN_SILENCE };

struct fake {
	enum cvt_dialect dialect;
	enum wrong_word wrong_word;
	uint8_t supported_type;
	enum tfo tfo;
	enum unknown unknown;
	bool wants_cookie, forgetful, mptcp, holds; /* forgetful: of what it has given out */
	bool wants_data;			    /* leaves a SYN alone that has none (S-14) */
	unsigned int late;	    /* so many replies it holds as long as the third ACK takes */
	bool is_dead;		    /* no SYN is answered */
	bool no_info;		    /* has nothing to say to Info */
	bool cookie_behind_connect; /* looks for a cookie nowhere else */
	bool adds_unknown;	    /* a TLV of a later draft, behind what it supports */
	int always;		    /* this Error instead of a success; -1: none */
	unsigned int lost;	    /* SYNs with data are, so many of them */
	/* what it has given out */
	bool tfo_cookie;
	unsigned int cookie;
	/* the client's kernel */
	bool fast_open_off, no_mptcp;
	/* what was sent to it */
	unsigned int n, with_unknown, with_cookie;
	struct hs hs;
};

static struct fake fake;
static struct config_converter converter;
static struct health known;
static struct probe_request q;
static struct probe p;

static int start(void **state)
{
	(void)state;
	fake = (struct fake){ .supported_type = CVT_TLV_SUPPORTED, .cookie = 1, .always = -1 };
	converter = (struct config_converter){ .dialect_is_auto = true };
	known = (struct health){ 0 };
	q = (struct probe_request){
		.converter = &converter, .known = &known, .timeout_ms = 5000, .stop_fd = -1
	};
	return 0;
}

/* ------------------------------------------------------------------ such a converter */

static struct cvt_span the_cookie(void)
{
	static uint8_t bytes[8];

	memset(bytes, (int)fake.cookie, sizeof(bytes));
	return (struct cvt_span){ bytes, sizeof(bytes) };
}

static void put_error(struct cvt_writer *w, uint8_t code, struct cvt_span value)
{
	cvt_put_error(w, (enum cvt_err)code, value);
}

static void put_missing_cookie(struct cvt_writer *w)
{
	uint8_t value[9] = { 0 };

	memcpy(value + 1, the_cookie().p, 8);
	put_error(w, CVT_ERR_MISSING_COOKIE, (struct cvt_span){ value, sizeof(value) });
	fake.cookie += fake.forgetful;
}

static bool cookie_is_right(struct cvt_span sent)
{
	return sent.len == 8 && memcmp(sent.p, the_cookie().p, 8) == 0;
}

/* What it says to a message. 0, or why it says nothing. */
static int answer(struct cvt_writer *w, struct cvt_span asked)
{
	static const uint8_t kinds[] = { 30, 34 };
	bool magic = asked.p[2] != 0, mine = magic == (fake.dialect == CVT_DIALECT_RFC8803);
	uint8_t own[CVT_MSG_MAX];
	struct cvt_msg m;

	cvt_begin(w, fake.dialect);
	memcpy(own, asked.p, asked.len);
	own[2] = fake.dialect == CVT_DIALECT_RFC8803 ? 0x22 : 0;
	own[3] = fake.dialect == CVT_DIALECT_RFC8803 ? 0x63 : 0;
	if (!mine && fake.wrong_word == SILENCE)
		return ETIMEDOUT;
	if (!mine && fake.wrong_word == RESET)
		return ECONNRESET;
	if (!mine && fake.wrong_word == ERROR) {
		cvt_put_error_echo(w, CVT_ERR_MALFORMED, asked);
		return 0;
	}
	if (cvt_parse(&m, (struct cvt_span){ own, asked.len }, fake.dialect, CVT_TO_CONVERTER) !=
	    CVT_OK) {
		fake.with_unknown++;
		if (fake.unknown == UNKNOWN_SILENCE)
			return ETIMEDOUT;
		if (fake.unknown == UNKNOWN_ERROR) {
			cvt_put_error_echo(w, CVT_ERR_UNSUPPORTED, asked);
			return 0;
		}
	} else if (fake.always >= 0) {
		put_error(w, (uint8_t)fake.always, (struct cvt_span){ (const uint8_t *)"\x3c", 1 });
		return 0;
	}
	if (fake.no_info)
		return ETIMEDOUT;
	fake.with_cookie += m.convert_cookie.p != NULL;
	if (fake.wants_cookie && (!m.convert_cookie.p || fake.cookie_behind_connect))
		put_missing_cookie(w);
	else if (fake.wants_cookie && !cookie_is_right(m.convert_cookie))
		put_error(w, CVT_ERR_NOT_AUTHORIZED, (struct cvt_span){ NULL, 0 });
	else
		cvt_put_list(w, fake.supported_type, (struct cvt_span){ kinds, 2 });
	if (fake.adds_unknown)
		cvt_put_unknown(w, PROBE_UNKNOWN_TLV);
	return 0;
}

/* As probe.c writes it. */
static struct cvt_span request(struct cvt_writer *w, const struct probe_step *step)
{
	cvt_begin(w, step->dialect);
	if (step->with_cookie)
		cvt_put_list(w, CVT_TLV_COOKIE,
			     (struct cvt_span){ p.convert_cookie, p.convert_cookie_len });
	cvt_put_info(w);
	if (step->unknown_tlv)
		cvt_put_unknown(w, PROBE_UNKNOWN_TLV);
	assert_true(cvt_finish(w) > 0);
	return (struct cvt_span){ w->bytes, w->len };
}

static void send_syn(const struct probe_step *step, struct probe_seen *seen)
{
	bool has_cookie = fake.tfo_cookie && step->syn == PROBE_SYN_ASKS;

	seen->fast_open_off = fake.fast_open_off && step->syn != PROBE_SYN_PLAIN;
	seen->syn_data = !seen->fast_open_off && (has_cookie || step->syn == PROBE_SYN_BARE);
	seen->connected = !fake.is_dead && (seen->syn_data || !fake.wants_data);
	if (seen->syn_data && fake.lost > 0) {
		fake.lost--;
		seen->syn_again = true;
		seen->connected = !fake.wants_data;
	} else if (seen->syn_data) {
		seen->syn_data_acked = fake.tfo == BARE || (fake.tfo == COOKIES && has_cookie);
	}
	if (seen->connected && step->syn == PROBE_SYN_ASKS && fake.tfo == COOKIES &&
	    !fake.fast_open_off)
		fake.tfo_cookie = true;
	seen->tfo_cookie = fake.tfo_cookie;
	seen->mptcp_off = q.mptcp && !step->tcp && fake.no_mptcp;
	seen->is_mptcp = q.mptcp && !step->tcp && fake.mptcp && !fake.no_mptcp &&
			 (!seen->syn_data || seen->syn_data_acked);
	seen->handshake_us = seen->connected ? 20000 : 0;
}

static void attempt(const struct probe_step *step, struct probe_seen *seen)
{
	struct cvt_writer asked, said;
	struct cvt_span message = request(&asked, step);

	send_syn(step, seen);
	seen->err = seen->connected ? answer(&said, message) : ETIMEDOUT;
	if (fake.holds && seen->is_mptcp && seen->syn_data_acked)
		seen->err = ETIMEDOUT;
	if (seen->err)
		return;
	assert_true(cvt_finish(&said) > 0);
	hs_start(&fake.hs, step->dialect, true);
	for (size_t at = 0; at < said.len;) {
		size_t n = hs_want(&fake.hs);

		memcpy(hs_room(&fake.hs), said.bytes + at, n);
		at += n;
		hs_took(&fake.hs, n, true, &seen->result);
	}
	seen->reply_us = seen->syn_data_acked && !(seen->is_mptcp && fake.late && fake.late--) ?
				 21000 :
				 41000;
}

static void probe(void)
{
	struct probe_plan plan;
	struct probe_step step;

	fake.n = fake.with_unknown = fake.with_cookie = 0;
	probe_begin(&plan, &q, &p);
	while (probe_next(&plan, &step)) {
		struct probe_seen seen = { 0 };

		assert_true(fake.n++ < PROBE_MOST);
		assert_in_range(step.timeout_ms, 1, q.timeout_ms);
		attempt(&step, &seen);
		probe_learn(&plan, &step, &seen);
	}
	assert_int_equal(p.connections, fake.n);
}

/* ----------------------------------------------------------------------- what is found */

static void assert_found(void)
{
	char what[160];

	snprintf(what, sizeof(what),
		 "dialect %d wrong word %d type %d tfo %d cookie %d: %d by %d, %u", fake.dialect,
		 fake.wrong_word, fake.supported_type, fake.tfo, fake.wants_cookie, p.dialect,
		 p.sign, p.probes);
	if (p.verdict != PROBE_WORKS || !p.has_dialect || p.dialect != fake.dialect || p.probes > 2)
		fail_msg("%s", what);
	assert_true(p.has_offers);
	assert_int_equal(p.n_offers, 2);
	assert_int_equal(p.offers[1], 34);
	assert_int_equal(p.convert_cookie_len, fake.wants_cookie ? 8 : 0);
	if (fake.wants_cookie)
		assert_memory_equal(p.convert_cookie, the_cookie().p, 8);
	assert_int_equal(p.syn_data, fake.tfo == NO_TFO ? PROBE_SYN_NOT_ACKED : PROBE_SYN_ACKED);
	assert_int_equal(p.tfo_cookie, fake.tfo == COOKIES ? PROBE_TFO_HELD : PROBE_TFO_NONE);
	assert_int_equal(p.mptcp, PROBE_MPTCP_WORKS);
	assert_false(p.holds);
}

static const struct {
	enum cvt_dialect dialect;
	uint8_t supported_type;
} kinds_of_converters[] = {
	{ CVT_DIALECT_RFC8803, 21 },
	{ CVT_DIALECT_DRAFT02, 21 },
	{ CVT_DIALECT_DRAFT02, 22 },
	{ CVT_DIALECT_HYBRID, 21 },
};

static void each_kind(enum wrong_word wrong_word, void (*check)(void))
{
	for (size_t i = 0; i < sizeof(kinds_of_converters) / sizeof(kinds_of_converters[0]); i++)
		for (int tfo = COOKIES; tfo <= NO_TFO; tfo++)
			for (int cookie = 0; cookie < 2; cookie++) {
				start(NULL);
				q.mptcp = fake.mptcp = true;
				fake.dialect = kinds_of_converters[i].dialect;
				fake.supported_type = kinds_of_converters[i].supported_type;
				fake.wrong_word = wrong_word;
				fake.tfo = (enum tfo)tfo;
				fake.wants_cookie = cookie && fake.dialect != CVT_DIALECT_DRAFT02;
				check();
			}
}

static void probe_and_check(void)
{
	probe();
	assert_found();
	assert_true(p.connections <= 3);
}

static void found_by_two(void **state)
{
	(void)state;
	each_kind(LENIENT, probe_and_check);
	each_kind(ERROR, probe_and_check);
}

/* It says nothing to the other header word: then draft-02 and the hybrid look the same, unless the
 * one gives out cookies or the other has 22; either way the same bytes are sent. */
static void probe_and_check_quiet(void)
{
	probe();
	if (fake.dialect == CVT_DIALECT_HYBRID && !fake.wants_cookie) {
		assert_int_equal(p.dialect, CVT_DIALECT_DRAFT02);
		assert_int_equal(p.sign, HS_SIGN_ZERO_WORD);
		assert_int_equal(p.probes, 2);
		assert_int_equal(p.verdict, PROBE_WORKS);
	} else {
		assert_found();
	}
}

static void found_in_spite_of_silence(void **state)
{
	(void)state;
	each_kind(SILENCE, probe_and_check_quiet);
	each_kind(RESET, probe_and_check_quiet);
}

/* Every dialect to every other one, as the state file would have it. */
static void change_and_check(void)
{
	for (unsigned int before = 1; before <= 3; before++) {
		known.dialect = (uint8_t)before;
		fake.tfo_cookie = fake.tfo == COOKIES;
		probe();
		assert_found();
	}
}

static void another_dialect_is_noticed(void **state)
{
	(void)state;
	each_kind(LENIENT, change_and_check);
	each_kind(ERROR, change_and_check);
}

static void what_is_known_needs_one(void **state)
{
	(void)state;
	fake.tfo_cookie = q.mptcp = fake.mptcp = true;
	known.dialect = 1 + CVT_DIALECT_RFC8803;
	probe();
	assert_found();
	assert_int_equal(p.connections, 1);
	assert_int_equal(p.sign, HS_SIGN_MAGIC);
}

static void the_setting_wins(void **state)
{
	(void)state;
	converter.dialect_is_auto = false;
	converter.dialect = CVT_DIALECT_DRAFT02;
	known.dialect = 1 + CVT_DIALECT_RFC8803;
	fake.dialect = CVT_DIALECT_DRAFT02;
	fake.wrong_word = ERROR;
	probe();
	assert_int_equal(p.verdict, PROBE_WORKS);
	assert_int_equal(p.dialect, CVT_DIALECT_DRAFT02);
	assert_int_equal(fake.with_unknown, 0);
	/* and it is said what there is instead */
	fake.dialect = CVT_DIALECT_RFC8803;
	probe();
	assert_int_equal(p.verdict, PROBE_REFUSES);
	assert_int_equal(p.error_code, CVT_ERR_MALFORMED);
	assert_int_equal(p.dialect, CVT_DIALECT_RFC8803);
	assert_int_equal(p.connections, 1);
}

/* An unknown TLV is skipped, or is the end of it: then it stays what the rest has shown. */
static void the_question_is_not_answered(void **state)
{
	(void)state;
	fake.dialect = CVT_DIALECT_HYBRID;
	fake.unknown = UNKNOWN_SKIPPED;
	probe();
	assert_int_equal(p.verdict, PROBE_WORKS);
	assert_int_equal(p.dialect, CVT_DIALECT_HYBRID);
	fake.unknown = UNKNOWN_SILENCE;
	fake.mptcp = q.mptcp = true;
	fake.tfo_cookie = false;
	probe();
	assert_int_equal(p.verdict, PROBE_WORKS);
	assert_int_equal(p.dialect, CVT_DIALECT_HYBRID);
	assert_false(p.holds); /* silence has another reason, and the next connection shows it */
	assert_int_equal(p.syn_data, PROBE_SYN_ACKED);
	assert_int_equal(fake.with_unknown, 1);
}

/* ------------------------------------------------------------------------- the SYN */

static void a_syn_without_data_is_ignored(void **state)
{
	(void)state;
	fake.wants_data = true;
	fake.tfo = BARE;
	probe();
	assert_int_equal(p.verdict, PROBE_WORKS);
	assert_int_equal(p.syn_data, PROBE_SYN_ACKED);
	assert_true(p.syn_data_bare);
	assert_int_equal(p.tfo_cookie, PROBE_TFO_UNKNOWN);
	assert_int_equal(p.connections, 2);
}

static void nobody_is_there(void **state)
{
	(void)state;
	fake.is_dead = true;
	probe();
	assert_int_equal(p.verdict, PROBE_UNREACHABLE);
	assert_int_equal(p.err, ETIMEDOUT);
	assert_true(p.connections <= 2);
	assert_false(p.has_dialect);
	converter.fast_open = CONFIG_FO_COOKIE;
	probe();
	assert_int_equal(p.connections, 1);
}

static void syn_data_that_is_lost(void **state)
{
	(void)state;
	fake.lost = 100;
	probe();
	assert_int_equal(p.verdict, PROBE_WORKS);
	assert_int_equal(p.syn_data, PROBE_SYN_LOST);
	assert_int_equal(p.syn_data_lost, HEALTH_LOST_MAX);
	assert_int_equal(p.connections, 1 + HEALTH_LOST_MAX);
	/* once is an accident */
	fake.lost = 1;
	probe();
	assert_int_equal(p.syn_data, PROBE_SYN_ACKED);
	assert_int_equal(p.syn_data_lost, 0);
	/* and nothing is asked for where nothing is given */
	start(NULL);
	fake.tfo = NO_TFO;
	converter.fast_open = CONFIG_FO_COOKIE;
	probe();
	assert_int_equal(p.syn_data, PROBE_SYN_UNTRIED);
	assert_int_equal(p.tfo_cookie, PROBE_TFO_NONE);
	assert_int_equal(p.connections, 1);
	start(NULL);
	converter.fast_open = CONFIG_FO_NO_COOKIE;
	fake.tfo = BARE;
	probe();
	assert_int_equal(p.syn_data, PROBE_SYN_ACKED);
	assert_int_equal(p.connections, 1);
	start(NULL);
	fake.fast_open_off = true;
	probe();
	assert_int_equal(p.verdict, PROBE_WORKS);
	assert_int_equal(p.tfo_cookie, PROBE_TFO_OFF);
	assert_int_equal(p.connections, 1);
}

/* SYN data that is refused makes MPTCP fall back, and says nothing of MPTCP. */
static void mptcp(void **state)
{
	(void)state;
	q.mptcp = fake.mptcp = true;
	fake.tfo = NO_TFO;
	fake.tfo_cookie = true;
	probe();
	assert_int_equal(p.mptcp, PROBE_MPTCP_UNTRIED);
	assert_int_equal(p.syn_data_lost, HEALTH_LOST_MAX);
	fake.tfo_cookie = false;
	probe();
	assert_int_equal(p.mptcp, PROBE_MPTCP_WORKS);
	fake.mptcp = false;
	probe();
	assert_int_equal(p.mptcp, PROBE_MPTCP_FALLBACK);
	assert_int_equal(p.mptcp_lost, 1);
	fake.no_mptcp = true;
	probe();
	assert_int_equal(p.mptcp, PROBE_MPTCP_OFF);
	q.mptcp = false;
	probe();
	assert_int_equal(p.mptcp, PROBE_MPTCP_UNTRIED);
}

static void replies_that_are_held_back(void **state)
{
	(void)state;
	q.mptcp = fake.mptcp = fake.holds = true;
	probe();
	assert_int_equal(p.verdict, PROBE_WORKS);
	assert_true(p.holds);
	assert_int_equal(p.connections, 2);
	/* the first connection has data in its SYN already, and silence may be for the dialect */
	for (int wrong = ERROR; wrong <= SILENCE; wrong++) {
		fake.tfo_cookie = true;
		fake.wrong_word = (enum wrong_word)wrong;
		probe();
		assert_int_equal(p.verdict, PROBE_WORKS);
		assert_int_equal(p.dialect, CVT_DIALECT_RFC8803);
		assert_true(p.holds);
	}
	known.way[HEALTH_SYN_DATA] = HEALTH_HOLDS;
	probe();
	assert_true(p.holds);
	assert_int_equal(p.connections, 2);
	fake.holds = false;
	probe();
	assert_false(p.holds);
	assert_int_equal(p.syn_data, PROBE_SYN_ACKED);
	fake.holds = true;
	q.mptcp = false;
	known.way[HEALTH_SYN_DATA] = HEALTH_UNTRIED;
	probe();
	assert_false(p.holds);
}

static void replies_that_come_a_round_trip_late(void **state)
{
	(void)state;
	q.mptcp = fake.mptcp = true;
	fake.late = 100;
	fake.tfo = COOKIES;
	probe();
	assert_int_equal(p.verdict, PROBE_WORKS);
	assert_int_equal(p.mptcp, PROBE_MPTCP_WORKS);
	assert_false(p.holds);
	assert_int_equal(p.held_us, 20000);
	assert_int_equal(p.connections, 4); /* the last one over TCP */
	fake.late = 0;
	probe();
	assert_int_equal(p.held_us, 0);
	assert_int_equal(p.connections, 1);
	fake.late = 1; /* somebody was slow, once */
	probe();
	assert_int_equal(p.held_us, 0);
	assert_int_equal(p.connections, 2);
	fake.late = 100;
	q.mptcp = false;
	probe();
	assert_int_equal(p.held_us, 0);
	assert_int_equal(p.connections, 1);
}

/* --------------------------------------------------------------------------- cookies */

static void cookies(void **state)
{
	(void)state;
	fake.wants_cookie = true;
	probe();
	assert_true(p.cookie_is_new);
	assert_int_equal(fake.with_cookie, 1);
	/* it is sent at once from then on */
	known.convert_cookie_len = 8;
	memcpy(known.convert_cookie, p.convert_cookie, 8);
	probe();
	assert_false(p.cookie_is_new);
	assert_int_equal(p.connections, 1);
	/* until it is another one: dropped, asked for, used */
	fake.cookie = 2;
	probe();
	assert_int_equal(p.verdict, PROBE_WORKS);
	assert_true(p.cookie_is_new && p.cookie_refused);
	assert_memory_equal(p.convert_cookie, the_cookie().p, 8);
	assert_int_equal(p.connections, 3);
	assert_int_equal(p.probes, 1);
	/* the administrator's own is nobody's to drop (F-03) */
	converter.convert_cookie = (struct cvt_span){ (const uint8_t *)"given...", 8 };
	probe();
	assert_int_equal(p.verdict, PROBE_REFUSES);
	assert_int_equal(p.error_code, CVT_ERR_NOT_AUTHORIZED);
	assert_true(p.cookie_refused);
	assert_false(p.cookie_is_new);
	assert_int_equal(p.connections, 1);
}

/* For a reason that nobody knows, and which may be the cookie, that we have learned: once more without (PROTOCOL 2). */
static void refused_with_a_cookie(void **state)
{
	(void)state;
	memcpy(known.convert_cookie, the_cookie().p, 8);
	known.convert_cookie_len = 8;
	fake.always = 40;
	probe();
	assert_int_equal(p.verdict, PROBE_REFUSES);
	assert_int_equal(p.error_code, 40);
	assert_int_equal(p.err, EACCES);
	assert_true(!p.cookie_refused && p.cookie_is_new);
	assert_int_equal(p.convert_cookie_len, 0);
	assert_int_equal(p.connections, 2);
}

/* One that does not understand its own cookies. */
static void a_cookie_for_ever(void **state)
{
	(void)state;
	fake.always = CVT_ERR_MISSING_COOKIE;
	probe();
	assert_int_equal(p.verdict, PROBE_REFUSES);
	fake.always = CVT_ERR_NOT_AUTHORIZED;
	known.convert_cookie_len = 8;
	probe();
	assert_int_equal(p.verdict, PROBE_REFUSES);
	assert_int_equal(p.convert_cookie_len, 0);
	assert_int_equal(p.connections, 2);
	fake.always = -1;
	fake.wants_cookie = fake.forgetful = true;
	probe();
	assert_int_equal(p.verdict, PROBE_REFUSES);
	assert_int_equal(p.connections, 3);
}

static void errors(void **state)
{
	(void)state;
	fake.always = CVT_ERR_RESOURCE;
	probe();
	assert_int_equal(p.verdict, PROBE_REFUSES);
	assert_int_equal(p.delay_s, 60);
	assert_int_equal(p.err, ENOBUFS);
	for (int code = 0; code < 256; code++) {
		bool of_info = (code >= 1 && code < 32 && code != 3) || code >= 96;
		int delay_s = code == 64 || code == 65 ? 60 :
			      code > 65 && code < 96   ? 0 :
							 HEALTH_NO_DELAY;

		start(NULL);
		fake.always = code;
		fake.dialect = (enum cvt_dialect)(code % 3);
		probe();
		assert_int_equal(p.verdict, of_info ? PROBE_WORKS : PROBE_REFUSES);
		assert_int_equal(p.no_info, of_info);
		assert_int_equal(p.error_code, code);
		assert_int_equal(p.delay_s, delay_s);
		assert_true(p.connections <= 3);
	}
}

/* A TLV of a later draft is skipped (RFC 8803, 4.2), whatever was known of the converter. */
static void reply_with_an_unknown_tlv(void **state)
{
	static const enum cvt_dialect dialects[] = { CVT_DIALECT_RFC8803, CVT_DIALECT_HYBRID };

	(void)state;
	for (int i = 0; i < 4; i++) {
		start(NULL);
		fake.dialect = dialects[i / 2];
		fake.adds_unknown = true;
		known.dialect = i % 2 ? (uint8_t)(1 + fake.dialect) : 0;
		probe();
		if (p.verdict != PROBE_WORKS || p.n_offers != 2 || p.dialect != fake.dialect)
			fail_msg("dialect %d, known %d: %d, %zu offers, dialect %d", fake.dialect,
				 known.dialect, p.verdict, (size_t)p.n_offers, p.dialect);
	}
}

/* ------------------------------------------------------- converters that do not serve Info */

/* An Error is an answer (PROTOCOL 6): all else is found out as ever. */
static void info_gets_an_error(void **state)
{
	(void)state;
	for (int dialect = CVT_DIALECT_RFC8803; dialect <= CVT_DIALECT_HYBRID; dialect++) {
		start(NULL);
		q.mptcp = fake.mptcp = true;
		fake.dialect = (enum cvt_dialect)dialect;
		fake.wrong_word = ERROR;
		fake.always = CVT_ERR_UNSUPPORTED;
		probe();
		assert_int_equal(p.verdict, PROBE_WORKS);
		assert_true(p.no_info && p.has_dialect && !p.has_offers);
		assert_int_equal(p.dialect, dialect);
		assert_int_equal(p.syn_data, PROBE_SYN_ACKED);
		assert_int_equal(p.mptcp, PROBE_MPTCP_WORKS);
		assert_true(p.connections <= 3);
	}
	/* and when it serves it again, nothing is left of that */
	fake.always = -1;
	probe();
	assert_int_equal(p.verdict, PROBE_WORKS);
	assert_false(p.no_info || p.has_error);
}

/* Silence says nothing, unless Connects have failed or Info was served before. */
static void info_gets_no_answer(void **state)
{
	(void)state;
	fake.no_info = true;
	fake.wrong_word = SILENCE;
	probe();
	assert_int_equal(p.verdict, PROBE_MUTE);
	assert_int_equal(p.connections, 2);
	assert_true(probe_is_open(&p, &known));
	known.failures = 1;
	assert_false(probe_is_open(&p, &known));
	known = (struct health){ .has_offers = 1 };
	assert_false(probe_is_open(&p, &known));
	known.has_offers = 0;
	p.verdict = PROBE_STRANGE;
	assert_false(probe_is_open(&p, &known));
	/* of two header words it answers the other one: silence is not for the data in the SYN then */
	q.mptcp = fake.mptcp = true;
	fake.wrong_word = ERROR;
	for (int dialect = CVT_DIALECT_RFC8803; dialect <= CVT_DIALECT_DRAFT02; dialect++) {
		fake.dialect = (enum cvt_dialect)dialect;
		fake.tfo_cookie = true;
		probe();
		assert_int_equal(p.verdict, PROBE_WORKS);
		assert_true(p.no_info && !p.holds);
		assert_int_equal(p.dialect, dialect);
		assert_true(p.connections <= 3);
	}
}

/* It gives its cookie and does not find it where an Info has it. */
static void a_cookie_that_is_not_looked_for(void **state)
{
	(void)state;
	fake.wants_cookie = fake.cookie_behind_connect = true;
	probe();
	assert_int_equal(p.verdict, PROBE_WORKS);
	assert_true(p.no_info && p.cookie_is_new && !p.cookie_refused);
	assert_memory_equal(p.convert_cookie, the_cookie().p, 8);
	assert_int_equal(p.syn_data, PROBE_SYN_ACKED);
	/* the same one from the configuration, shorter than the wire has it */
	fake.cookie = 0;
	converter.convert_cookie = (struct cvt_span){ (const uint8_t *)"\0\0\0\0\0", 5 };
	probe();
	assert_int_equal(p.verdict, PROBE_WORKS);
	assert_true(p.no_info && !p.cookie_is_new);
	converter.convert_cookie.p = (const uint8_t *)"\0\0\0\0\1";
	probe();
	assert_int_equal(p.verdict, PROBE_REFUSES);
	/* one that has grown old is replaced, once */
	converter.convert_cookie.len = 0;
	fake.cookie = 2;
	known.convert_cookie_len = 8;
	probe();
	assert_int_equal(p.verdict, PROBE_WORKS);
	assert_memory_equal(p.convert_cookie, the_cookie().p, 8);
	fake.forgetful = true;
	probe();
	assert_int_equal(p.verdict, PROBE_REFUSES);
	assert_int_equal(p.connections, 2);
}

/* ------------------------------------------------------------------- told to all programs */

/* An answer to Info ends the time that programs leave it alone, unless it has asked for that. */
static void an_answer_and_patience(void **state)
{
	const struct health_key key = { .converter.port = 5124, .network = 7 };

	(void)state;
	state_setup(NULL);
	for (int asked = 0; asked <= 1; asked++) {
		int64_t now = state_now_ms();
		struct health_event failed = { .kind = HEALTH_FAILED,
					       .started_ms = now - 20,
					       .delay_s = asked ? 60 : HEALTH_NO_DELAY,
					       .retry_ms = 60000 };

		health_clear_table();
		health_report(&key, &failed, now - 10);
		health_find(&key, now, &known);
		assert_int_equal(known.failures, 1);
		probe();
		assert_int_equal(p.verdict, PROBE_WORKS);
		assert_true(probe_record(&q, &p, &key, 60000, now));
		health_find(&key, now, &known);
		assert_int_equal(known.failures, asked);
		assert_int_equal(known.alone_until_ms > now, asked);
		assert_int_equal(known.dialect, 1 + CVT_DIALECT_RFC8803);
	}
	/* now that is over */
	known.alone_until_ms = state_now_ms();
	assert_true(probe_record(&q, &p, &key, 60000, known.alone_until_ms));
	health_find(&key, state_now_ms(), &known);
	assert_int_equal(known.failures, 0);
}

/* In an hour by a clock that is then set back by a day. */
static void a_clock_that_is_set_back(void **state)
{
	const int64_t hour = 3600 * 1000, now = 1000 * hour;

	(void)state;
	assert_true(probe_is_due(0, 0, now));
	assert_false(probe_is_due(now + hour, now, now));
	assert_false(probe_is_due(now + hour, now, now + hour - 1));
	assert_true(probe_is_due(now + hour, now, now + hour));
	assert_true(probe_is_due(now + hour, now, now - 24 * hour));
	assert_false(probe_is_due(INT64_MAX, now, now + 24 * hour));
}

/* Whatever the connections show, it ends, and what it says is possible. */
static void anything(void **state)
{
	uint32_t seed = 1;

	(void)state;
	for (int round = 0; round < 200000; round++) {
		struct probe_plan plan;
		struct probe_step step;
		unsigned int n = 0;

		start(NULL);
		converter.fast_open = (enum config_fast_open)(round % 3);
		converter.dialect_is_auto = round % 5;
		q.mptcp = round % 2;
		known.dialect = (uint8_t)(round % 4);
		known.way[HEALTH_SYN_DATA] = (uint8_t)(round / 7 % 4);
		probe_begin(&plan, &q, &p);
		while (probe_next(&plan, &step)) {
			static const int errs[] = { 0, ETIMEDOUT, ECONNREFUSED, ECONNRESET };
			struct probe_seen seen = { 0 };

			assert_true(n++ < PROBE_MOST);
			seed = seed * 1664525 + 1013904223;
			fake = (struct fake){ .dialect = (enum cvt_dialect)(seed >> 30) % 3,
					      .supported_type = 21,
					      .wrong_word = (enum wrong_word)(seed >> 28 & 3),
					      .tfo = (enum tfo)((seed >> 26 & 3) % 3),
					      .unknown = (enum unknown)((seed >> 24 & 3) % 3),
					      .wants_cookie = seed >> 23 & 1,
					      .mptcp = seed >> 22 & 1,
					      .holds = seed >> 21 & 1,
					      .is_dead = seed >> 20 & 1,
					      .no_info = !(seed >> 8 & 7),
					      .cookie_behind_connect = !(seed >> 5 & 7),
					      .always = seed >> 19 & 1 ? (int)(seed & 255) : -1,
					      .tfo_cookie = seed >> 18 & 1,
					      .lost = seed >> 17 & 1,
					      .cookie = seed >> 16 & 1 };
			attempt(&step, &seen);
			if (seed >> 12 & 1 && seen.err == 0)
				seen.err = errs[seed >> 10 & 3];
			probe_learn(&plan, &step, &seen);
		}
		assert_true(n > 0 && n == p.connections);
		assert_true(p.verdict != PROBE_WORKS || p.has_dialect);
		assert_true(p.probes <= p.connections);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(found_by_two, start),
		cmocka_unit_test_setup(found_in_spite_of_silence, start),
		cmocka_unit_test_setup(another_dialect_is_noticed, start),
		cmocka_unit_test_setup(what_is_known_needs_one, start),
		cmocka_unit_test_setup(the_setting_wins, start),
		cmocka_unit_test_setup(the_question_is_not_answered, start),
		cmocka_unit_test_setup(a_syn_without_data_is_ignored, start),
		cmocka_unit_test_setup(nobody_is_there, start),
		cmocka_unit_test_setup(syn_data_that_is_lost, start),
		cmocka_unit_test_setup(mptcp, start),
		cmocka_unit_test_setup(replies_that_are_held_back, start),
		cmocka_unit_test_setup(replies_that_come_a_round_trip_late, start),
		cmocka_unit_test_setup(cookies, start),
		cmocka_unit_test_setup(a_cookie_for_ever, start),
		cmocka_unit_test_setup(refused_with_a_cookie, start),
		cmocka_unit_test_setup(errors, start),
		cmocka_unit_test_setup(reply_with_an_unknown_tlv, start),
		cmocka_unit_test_setup(info_gets_an_error, start),
		cmocka_unit_test_setup(info_gets_no_answer, start),
		cmocka_unit_test_setup(a_cookie_that_is_not_looked_for, start),
		cmocka_unit_test_setup(an_answer_and_patience, start),
		cmocka_unit_test_setup(a_clock_that_is_set_back, start),
		cmocka_unit_test_setup(anything, start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

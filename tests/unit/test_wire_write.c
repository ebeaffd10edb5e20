// SPDX-License-Identifier: MIT
/*
 * Writing: the examples of PROTOCOL 1.5 come out byte for byte, the writer's limits, and what
 * is written is what is read, for random messages of all sizes.
 */
#include "reference.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct cvt_span span(const uint8_t *p, size_t n)
{
	return (struct cvt_span){ p, n };
}

static const struct cvt_span nothing;
static const uint8_t some_bytes[2 * CVT_MSG_MAX]; /* zero */
static const uint8_t target[16] = { [10] = 0xff, [11] = 0xff, 192, 0, 2, 1 };

/* ----------------------------------------------------------------- examples */

static void put_target(struct cvt_writer *w, const struct vector *v, struct cvt_span opts)
{
	uint8_t ip[16] = { [10] = 0xff, [11] = 0xff };

	if (inet_pton(AF_INET, v->target, ip + 12) != 1)
		assert_int_equal(inet_pton(AF_INET6, v->target, ip), 1);
	cvt_put_connect(w, ip, v->port, opts);
}

static int write_vector(struct cvt_writer *w, const struct vector *v, enum cvt_dialect dialect)
{
	uint8_t bytes[CVT_MSG_MAX];

	cvt_begin(w, dialect);
	if (v->target)
		put_target(w, v, span(bytes, unhex(v->opts, bytes)));
	if (v->cookie)
		cvt_put_list(w, CVT_TLV_COOKIE, span(bytes, unhex(v->cookie, bytes)));
	if (v->info)
		cvt_put_info(w);
	if (v->ext_tcp_header)
		cvt_put_list(w, CVT_TLV_EXT_TCP_HEADER,
			     span(bytes, unhex(v->ext_tcp_header, bytes)));
	if (v->supported)
		cvt_put_list(w, v->supported_type, span(bytes, unhex(v->supported, bytes)));
	if (v->echo)
		cvt_put_error_echo(w, (enum cvt_err)v->error, span(bytes, unhex(v->echo, bytes)));
	else if (v->has_error)
		cvt_put_error(w, (enum cvt_err)v->error, span(bytes, unhex(v->value, bytes)));
	return cvt_finish(w);
}

/* PROTOCOL 1.5; P-01, P-03, P-08, P-18 */
static void examples_come_out_byte_for_byte(void **state)
{
	(void)state;
	EACH_VECTOR (v) {
		uint8_t want[CVT_MSG_MAX];
		size_t n = vector_bytes(v, want);
		struct cvt_writer w;

		assert_int_equal(write_vector(&w, v, v->dialect), n);
		assert_memory_equal(w.bytes, want, n);
	}
}

/* PROTOCOL 1.6 */
static void hybrid_has_the_drafts_header_word_and_the_rfcs_layout(void **state)
{
	(void)state;
	EACH_VECTOR (v) {
		uint8_t want[CVT_MSG_MAX];
		size_t n = vector_bytes(v, want);
		struct cvt_writer w;

		if (v->dialect != CVT_DIALECT_RFC8803)
			continue;
		want[2] = want[3] = 0;
		assert_int_equal(write_vector(&w, v, CVT_DIALECT_HYBRID), n);
		assert_memory_equal(w.bytes, want, n);
	}
}

/* ------------------------------------------------------------------- limits */

/* The n-th of the TLVs that can be written, with a body of no account. */
static void put_nth(struct cvt_writer *w, int n)
{
	switch (n) {
	case 0:
		cvt_put_info(w);
		break;
	case 1:
		cvt_put_connect(w, target, 443, nothing);
		break;
	case 2:
		cvt_put_list(w, CVT_TLV_EXT_TCP_HEADER, nothing);
		break;
	case 3:
		cvt_put_list(w, CVT_TLV_SUPPORTED, nothing);
		break;
	case 4:
		cvt_put_list(w, CVT_TLV_COOKIE, nothing);
		break;
	case 5:
		cvt_put_error(w, CVT_ERR_RESET, nothing);
		break;
	}
}

/* P-09: "MUST send a TLV type at most once per connection" */
static void no_tlv_is_written_twice(void **state)
{
	struct cvt_writer w;

	(void)state;
	for (int n = 0; n < 6; n++) {
		cvt_begin(&w, CVT_DIALECT_RFC8803);
		for (int other = 0; other < 6; other++)
			put_nth(&w, other);
		assert_true(cvt_finish(&w) > 0);
		put_nth(&w, n);
		assert_int_equal(cvt_finish(&w), -EINVAL);
	}
	/* the two Errors are one type, and so are the two ways to write type 22 */
	cvt_begin(&w, CVT_DIALECT_RFC8803);
	cvt_put_error(&w, CVT_ERR_RESET, nothing);
	cvt_put_error_echo(&w, CVT_ERR_MALFORMED, nothing);
	assert_int_equal(cvt_finish(&w), -EINVAL);
	cvt_begin(&w, CVT_DIALECT_DRAFT02);
	cvt_put_list(&w, CVT_TLV_COOKIE, nothing);
	cvt_put_list(&w, CVT_TLV_COOKIE, nothing);
	assert_int_equal(cvt_finish(&w), -EINVAL);
}

/* The same for all 255 types, whatever was written between. */
static void every_two_types(void **state)
{
	struct cvt_writer w;

	(void)state;
	for (unsigned int a = 1; a < 256; a++) {
		for (unsigned int b = 1; b < 256; b++) {
			cvt_begin(&w, CVT_DIALECT_RFC8803);
			cvt_put_list(&w, (uint8_t)a, nothing);
			cvt_put_list(&w, (uint8_t)b, nothing);
			assert_int_equal(cvt_finish(&w), a == b ? -EINVAL : 12);
			cvt_put_list(&w, (uint8_t)a, nothing);
			assert_int_equal(cvt_finish(&w), -EINVAL);
		}
	}
}

static void a_refusal_is_remembered(void **state)
{
	struct cvt_writer w;

	(void)state;
	cvt_begin(&w, CVT_DIALECT_RFC8803);
	cvt_put_info(&w);
	cvt_put_info(&w);
	cvt_put_list(&w, CVT_TLV_COOKIE, nothing); /* would be fine by itself */
	assert_int_equal(cvt_finish(&w), -EINVAL);
	assert_int_equal(cvt_finish(&w), -EINVAL);
	assert_int_equal(w.len, 8); /* nothing was written behind the refusal */
	cvt_begin(&w, CVT_DIALECT_RFC8803);
	assert_int_equal(cvt_finish(&w), 4); /* R6 */
}

/* The reason is the first one, wherever in the message it comes up. */
static void reasons_are_told_apart(void **state)
{
	struct cvt_writer w;

	(void)state;
	/* too long for any message, although little is written yet */
	cvt_begin(&w, CVT_DIALECT_RFC8803);
	cvt_put_list(&w, CVT_TLV_COOKIE, span(some_bytes, 1013));
	assert_int_equal(cvt_finish(&w), -EMSGSIZE);
	/* twice, although the message is nearly full */
	cvt_begin(&w, CVT_DIALECT_RFC8803);
	cvt_put_info(&w);
	cvt_put_list(&w, CVT_TLV_COOKIE, span(some_bytes, 1008));
	assert_int_equal(w.len, 1020);
	cvt_put_info(&w);
	assert_int_equal(cvt_finish(&w), -EINVAL);
	cvt_put_error(&w, CVT_ERR_RESET, nothing);
	assert_int_equal(cvt_finish(&w), -EINVAL);
}

/* PROTOCOL 1.1: 1020 bytes; 1.4: "largest cookie beside a Base Connect: 992 bytes" */
static void greatest_sizes(void **state)
{
	static const struct {
		size_t opts, cookie;
		int want;
	} sizes[] = {
		{ 0, 992, 1020 },	{ 0, 993, -EMSGSIZE }, { 4, 988, 1020 },
		{ 4, 989, -EMSGSIZE },	{ 1, 988, 1020 },      { 40, 952, 1020 },
		{ 40, 953, -EMSGSIZE }, { 0, 989, 1020 },      { 0, 988, 1016 },
		{ 992, 0, 1020 },	{ 993, 0, -EMSGSIZE },
	};
	struct cvt_writer w;

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		cvt_begin(&w, CVT_DIALECT_RFC8803);
		cvt_put_connect(&w, target, 443, span(some_bytes, sizes[i].opts));
		cvt_put_list(&w, CVT_TLV_COOKIE, span(some_bytes, sizes[i].cookie));
		assert_int_equal(cvt_finish(&w), sizes[i].want);
	}
	/* Connect alone: 996 option bytes */
	cvt_begin(&w, CVT_DIALECT_RFC8803);
	cvt_put_connect(&w, target, 443, span(some_bytes, 996));
	assert_int_equal(cvt_finish(&w), 1020);
	assert_int_equal(w.bytes[1], 255);
	assert_int_equal(w.bytes[5], 254);
	cvt_begin(&w, CVT_DIALECT_RFC8803);
	cvt_put_connect(&w, target, 443, span(some_bytes, 997));
	assert_int_equal(cvt_finish(&w), -EMSGSIZE);
	/* Error: 1013 bytes of Value */
	cvt_begin(&w, CVT_DIALECT_RFC8803);
	cvt_put_error(&w, CVT_ERR_VERSION, span(some_bytes, 1013));
	assert_int_equal(cvt_finish(&w), 1020);
	cvt_begin(&w, CVT_DIALECT_RFC8803);
	cvt_put_error(&w, CVT_ERR_VERSION, span(some_bytes, 1014));
	assert_int_equal(cvt_finish(&w), -EMSGSIZE);
}

/* PROTOCOL 1.4: "a configured cookie of 5 bytes goes out as 8" */
static void cookies_go_out_as_whole_words(void **state)
{
	static const uint8_t cookie[8] = { 1, 2, 3, 4, 5, 0, 0, 0 };

	(void)state;
	for (size_t n = 0; n <= 5; n++) {
		struct cvt_writer w;
		struct cvt_msg m;
		size_t words = (n + 3) / 4;
		uint8_t want[8] = { 0 };

		memcpy(want, cookie, n);
		cvt_begin(&w, CVT_DIALECT_RFC8803);
		cvt_put_list(&w, CVT_TLV_COOKIE, span(cookie, n));
		assert_int_equal(cvt_finish(&w), 8 + 4 * words);
		assert_int_equal(w.bytes[5], 1 + words);
		assert_int_equal(cvt_parse(&m, span(w.bytes, 8 + 4 * words), CVT_DIALECT_RFC8803,
					   CVT_TO_CONVERTER),
				 CVT_OK);
		assert_int_equal(m.convert_cookie.len, 4 * words);
		assert_memory_equal(m.convert_cookie.p, want, 4 * words);
	}
}

/* PROTOCOL 1.4: draft-02 echoes at offset 3, the RFC puts a zero there; what does not fit is
 * cut off. `before` bytes of other TLVs stand in front. */
static void check_echo(enum cvt_dialect dialect, size_t len, size_t before)
{
	size_t gap = dialect == CVT_DIALECT_DRAFT02 ? 0 : 1;
	size_t room = 1020 - 4 - before - 3 - gap, fits = len < room ? len : room;
	uint8_t message[CVT_MSG_MAX + 100];
	struct cvt_writer w;
	struct cvt_msg m;
	int n;

	for (size_t i = 0; i < sizeof(message); i++)
		message[i] = (uint8_t)(i % 251 + 1);
	cvt_begin(&w, dialect);
	if (before)
		cvt_put_list(&w, CVT_TLV_SUPPORTED, span(some_bytes, before - 4));
	cvt_put_error_echo(&w, CVT_ERR_MALFORMED, span(message, len));
	n = cvt_finish(&w);
	assert_int_equal(n, 4 + before + (3 + gap + fits + 3) / 4 * 4);
	assert_int_equal(cvt_parse(&m, span(w.bytes, (size_t)n), dialect, CVT_TO_CLIENT), CVT_OK);
	assert_int_equal(m.error.code, 1);
	if (gap)
		assert_int_equal(m.error.value.p[0], 0);
	assert_memory_equal(m.error.value.p + gap, message, fits);
	for (size_t i = gap + fits; i < m.error.value.len; i++)
		assert_int_equal(m.error.value.p[i], 0);
}

static void echoes(void **state)
{
	(void)state;
	for (int d = 0; d < 3; d++) {
		for (size_t len = 0; len < CVT_MSG_MAX + 100; len++) {
			if (d == CVT_DIALECT_DRAFT02 && len == 0)
				continue; /* no bytes to tell from padding */
			check_echo((enum cvt_dialect)d, len, 0);
			check_echo((enum cvt_dialect)d, len, 8);
			check_echo((enum cvt_dialect)d, len, 1008);
		}
	}
}

/* No room for even one word: refused like any other TLV. */
static void echo_without_room(void **state)
{
	static const size_t before[] = { 1016, 1012 };

	(void)state;
	for (int d = 0; d < 3; d++) {
		for (size_t i = 0; i < 2; i++) {
			struct cvt_writer w;

			cvt_begin(&w, (enum cvt_dialect)d);
			cvt_put_list(&w, CVT_TLV_SUPPORTED, span(some_bytes, before[i] - 4));
			assert_int_equal(cvt_finish(&w), 4 + before[i]);
			cvt_put_error_echo(&w, CVT_ERR_MALFORMED, span(some_bytes, 100));
			assert_int_equal(cvt_finish(&w), i ? 1020 : -EMSGSIZE);
		}
	}
}

/* -------------------------------------------------------------- round trips */

static uint64_t seed;

static uint32_t random_below(uint32_t n) /* xorshift64*, the same numbers in every run */
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return (uint32_t)((seed * 0x2545f4914f6cdd1dULL) >> 32) % n;
}

struct body { /* a TLV to be written; type 0: none */
	uint8_t type, code;
	uint16_t port;
	uint8_t addr[16];
	uint8_t bytes[CVT_MSG_MAX];
	size_t n;
};

#define MOST_BODIES 5

static void random_body(struct body *b, uint8_t type, size_t room)
{
	size_t head = type == CVT_TLV_CONNECT ? 20 : type == CVT_TLV_ERROR ? 3 : 4;

	memset(b, 0, sizeof(*b));
	if (room < head || (type == CVT_TLV_INFO && room < 4))
		return;
	b->type = type;
	/* short, long, or all that is left */
	switch (random_below(3)) {
	case 0:
		b->n = random_below((uint32_t)(room - head < 16 ? room - head : 16) + 1);
		break;
	case 1:
		b->n = random_below((uint32_t)(room - head) + 1);
		break;
	case 2:
		b->n = room - head;
		break;
	}
	if (type == CVT_TLV_INFO)
		b->n = 0;
	for (size_t i = 0; i < b->n; i++)
		b->bytes[i] = (uint8_t)random_below(256);
	for (size_t i = 0; i < 16; i++)
		b->addr[i] = (uint8_t)random_below(256);
	b->port = (uint16_t)random_below(65536);
	b->code = (uint8_t)random_below(256);
}

static void put_body(struct cvt_writer *w, const struct body *b)
{
	struct cvt_span bytes = { b->bytes, b->n };

	switch (b->type) {
	case 0:
		break;
	case CVT_TLV_INFO:
		cvt_put_info(w);
		break;
	case CVT_TLV_CONNECT:
		cvt_put_connect(w, b->addr, b->port, bytes);
		break;
	case CVT_TLV_EXT_TCP_HEADER:
		cvt_put_list(w, CVT_TLV_EXT_TCP_HEADER, bytes);
		break;
	case CVT_TLV_COOKIE:
		if (w->dialect != CVT_DIALECT_DRAFT02) {
			cvt_put_list(w, CVT_TLV_COOKIE, bytes);
			break;
		}
		cvt_put_list(w, b->type, bytes);
		break;
	case CVT_TLV_ERROR:
		cvt_put_error(w, (enum cvt_err)b->code, bytes);
		break;
	default: /* Supported, and one from the private range */
		cvt_put_list(w, b->type, bytes);
		break;
	}
}

static void assert_padded(struct cvt_span got, const struct body *b, size_t word_offset)
{
	assert_non_null(got.p);
	assert_int_equal(got.len, (word_offset + (b->n ? b->n : word_offset == 3) + 3) / 4 * 4 -
					  word_offset);
	assert_memory_equal(got.p, b->bytes, got.len); /* bytes[] is zero behind n */
}

static void assert_read_back(const struct cvt_msg *m, const struct body *b, bool draft)
{
	switch (b->type) {
	case 0:
		break;
	case CVT_TLV_INFO:
		assert_true(m->has_info);
		break;
	case CVT_TLV_CONNECT:
		assert_true(m->has_connect);
		assert_int_equal(m->connect.port, b->port);
		assert_memory_equal(m->connect.addr, b->addr, 16);
		assert_padded(m->connect.opts, b, 0);
		break;
	case CVT_TLV_EXT_TCP_HEADER:
		assert_padded(m->ext_tcp_header, b, 0);
		break;
	case CVT_TLV_SUPPORTED:
		assert_padded(m->supported, b, 0);
		assert_false(m->supported_as_22);
		break;
	case CVT_TLV_COOKIE:
		assert_padded(draft ? m->supported : m->convert_cookie, b, 0);
		assert_int_equal(m->supported_as_22, draft);
		break;
	case CVT_TLV_ERROR:
		assert_true(m->has_error);
		assert_int_equal(m->error.code, b->code);
		assert_padded(m->error.value, b, 3);
		break;
	default:
		assert_int_equal(m->unknown_type, b->type);
		break;
	}
}

/* Which TLVs a side may send, ended by 0. */
static const uint8_t *types_of(enum cvt_dialect dialect, enum cvt_direction direction)
{
	static const uint8_t rfc_up[] = { 10, 22, 1, 30, 0 }, draft_up[] = { 10, 1, 30, 0 };
	static const uint8_t rfc_down[] = { 20, 21, 30, 200, 0 };
	static const uint8_t draft_down[] = { 20, 21, 30, 0 }, draft_down_22[] = { 20, 22, 30, 0 };

	if (direction == CVT_TO_CONVERTER)
		return dialect == CVT_DIALECT_DRAFT02 ? draft_up : rfc_up;
	if (dialect != CVT_DIALECT_DRAFT02)
		return rfc_down;
	return random_below(2) ? draft_down : draft_down_22;
}

static size_t random_bodies(struct body bodies[MOST_BODIES], const uint8_t *types)
{
	size_t n = 0, room = CVT_MSG_MAX - CVT_HEADER_LEN;

	for (; *types; types++) {
		struct body b;
		size_t at, head;

		if (random_below(3) == 0)
			continue;
		random_body(&b, *types, room);
		head = b.type == CVT_TLV_CONNECT ? 20 : b.type == CVT_TLV_ERROR ? 3 : 4;
		if (b.type)
			room -= (head + b.n + 3) / 4 * 4;
		/* anywhere between the others */
		at = random_below((uint32_t)n + 1);
		bodies[n] = bodies[at];
		bodies[at] = b;
		n++;
	}
	return n;
}

static size_t one_round_trip(enum cvt_dialect dialect, enum cvt_direction direction)
{
	static struct body bodies[MOST_BODIES];
	size_t n = random_bodies(bodies, types_of(dialect, direction));
	struct cvt_writer w;
	struct cvt_msg m;
	const char *differs;
	enum cvt_verdict verdict;
	int len;

	cvt_begin(&w, dialect);
	for (size_t i = 0; i < n; i++)
		put_body(&w, &bodies[i]);
	len = cvt_finish(&w);
	assert_in_range(len, 4, CVT_MSG_MAX);
	assert_int_equal(len, 4 * w.bytes[1]);
	verdict = cvt_parse(&m, span(w.bytes, (size_t)len), dialect, direction);
	assert_int_equal(verdict, CVT_OK);
	for (size_t i = 0; i < n; i++)
		assert_read_back(&m, &bodies[i], dialect == CVT_DIALECT_DRAFT02);
	differs = ref_disagrees(w.bytes, (size_t)len, dialect, direction, verdict, &m);
	if (differs)
		fail_msg("reference: %s", differs);
	return (size_t)len;
}

static void what_is_written_is_what_is_read(void **state)
{
	bool seen[CVT_MSG_MAX + 1] = { false };
	size_t sizes = 0;

	(void)state;
	seed = 8803;
	for (int i = 0; i < 60000; i++)
		seen[one_round_trip((enum cvt_dialect)(i % 3), (enum cvt_direction)(i / 3 % 2))] =
			true;
	for (size_t n = 4; n <= CVT_MSG_MAX; n += 4)
		sizes += seen[n];
	print_message("# %zu of 255 sizes\n", sizes);
	assert_int_equal(sizes, 255);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(examples_come_out_byte_for_byte),
		cmocka_unit_test(hybrid_has_the_drafts_header_word_and_the_rfcs_layout),
		cmocka_unit_test(no_tlv_is_written_twice),
		cmocka_unit_test(every_two_types),
		cmocka_unit_test(a_refusal_is_remembered),
		cmocka_unit_test(reasons_are_told_apart),
		cmocka_unit_test(greatest_sizes),
		cmocka_unit_test(cookies_go_out_as_whole_words),
		cmocka_unit_test(echoes),
		cmocka_unit_test(echo_without_room),
		cmocka_unit_test(what_is_written_is_what_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: MIT
/*
 * Reading: the examples of PROTOCOL 1.5, everything that can be cut off or changed in them,
 * and hand-made bad messages. Writing: the same come out byte for byte, the
 * writer's limits, and what is written is what is read, for random messages of all sizes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "reference.h"

static struct cvt_span span(const uint8_t *p, size_t n)
{
	return (struct cvt_span){ p, n };
}

/* A copy that ends where the message ends, so that AddressSanitizer sees a read behind it. */
static uint8_t *exact_copy(const uint8_t *bytes, size_t n)
{
	uint8_t *copy = test_malloc(n ? n : 1);

	memcpy(copy, bytes, n);
	return copy;
}

static enum cvt_verdict parse_hex(const char *hex, enum cvt_dialect dialect,
				  enum cvt_direction direction)
{
	uint8_t bytes[CVT_MSG_MAX];
	size_t n = unhex(hex, bytes);
	uint8_t *copy = exact_copy(bytes, n);
	enum cvt_verdict verdict;
	struct cvt_msg m;
	const char *differs;

	verdict = cvt_parse(&m, span(copy, n), dialect, direction);
	differs = ref_disagrees(copy, n, dialect, direction, verdict, &m);
	if (differs)
		fail_msg("%s: reference: %s", hex, differs);
	test_free(copy);
	return verdict;
}

/* ----------------------------------------------------------------- examples */

/* The span holds `hex` and zero padding to the end of its word. */
static void assert_holds(struct cvt_span got, const char *hex, size_t word_offset)
{
	uint8_t want[CVT_MSG_MAX] = { 0 };
	size_t n = unhex(hex, want);

	if (!hex) {
		assert_null(got.p);
		assert_int_equal(got.len, 0);
		return;
	}
	assert_non_null(got.p);
	assert_int_equal(got.len, (word_offset + n + 3) / 4 * 4 - word_offset);
	assert_memory_equal(got.p, want, got.len);
}

static void assert_connect(const struct cvt_msg *m, const struct vector *v)
{
	uint8_t ip[16] = { [10] = 0xff, [11] = 0xff };

	if (!strchr(v->target, ':'))
		assert_int_equal(inet_pton(AF_INET, v->target, ip + 12), 1);
	else
		assert_int_equal(inet_pton(AF_INET6, v->target, ip), 1);
	assert_memory_equal(m->connect.addr, ip, 16);
	assert_int_equal(m->connect.port, v->port);
	assert_holds(m->connect.opts, v->opts ? v->opts : "", 0);
}

static void assert_error(const struct cvt_msg *m, const struct vector *v)
{
	assert_int_equal(m->error.code, v->error);
	/* code and value share a word; at least one byte of value is there */
	if (!v->echo)
		assert_holds(m->error.value, v->value ? v->value : "00", 3);
	else if (v->dialect == CVT_DIALECT_DRAFT02)
		assert_holds(m->error.value, v->echo, 3);
	else
		assert_holds(span(m->error.value.p + 1, m->error.value.len - 1), v->echo, 0);
}

static void assert_meaning(const struct cvt_msg *m, const struct vector *v, size_t n)
{
	assert_int_equal(m->header.len, n);
	assert_int_equal(m->has_info, v->info);
	assert_int_equal(m->has_connect, v->target != NULL);
	if (v->target)
		assert_connect(m, v);
	assert_holds(m->convert_cookie, v->cookie, 0);
	assert_holds(m->ext_tcp_header, v->ext_tcp_header, 0);
	assert_holds(m->supported, v->supported, 0);
	assert_int_equal(m->supported_as_22, v->supported_type == 22);
	assert_int_equal(m->has_error, v->has_error);
	if (v->has_error)
		assert_error(m, v);
	assert_int_equal(m->unknown_type, 0);
}

/* PROTOCOL 1.5; P-08, P-18 */
static void examples_mean_what_the_document_says(void **state)
{
	(void)state;
	EACH_VECTOR (v) {
		uint8_t bytes[CVT_MSG_MAX];
		size_t n = vector_bytes(v, bytes);
		struct cvt_msg m;

		assert_int_equal(cvt_parse(&m, span(bytes, n), v->dialect, v->direction), CVT_OK);
		assert_meaning(&m, v, n);
	}
}

/* PROTOCOL 1.6: the hybrid is the RFC's messages behind the draft's header word. */
static void hybrid_is_the_rfc_behind_a_zero_word(void **state)
{
	(void)state;
	EACH_VECTOR (v) {
		uint8_t bytes[CVT_MSG_MAX];
		size_t n = vector_bytes(v, bytes);
		struct cvt_msg m;

		if (v->dialect != CVT_DIALECT_RFC8803)
			continue;
		assert_int_equal(cvt_parse(&m, span(bytes, n), CVT_DIALECT_HYBRID, v->direction),
				 CVT_BAD_MAGIC);
		bytes[2] = bytes[3] = 0;
		assert_int_equal(cvt_parse(&m, span(bytes, n), CVT_DIALECT_HYBRID, v->direction),
				 CVT_OK);
		assert_meaning(&m, v, n);
		assert_int_equal(cvt_parse(&m, span(bytes, n), CVT_DIALECT_RFC8803, v->direction),
				 CVT_BAD_MAGIC);
	}
}

/* PROTOCOL 1.1: "user data starts at 4*TL with no other delimiter" */
static void bytes_behind_the_message_are_not_looked_at(void **state)
{
	(void)state;
	EACH_VECTOR (v) {
		uint8_t bytes[2 * CVT_MSG_MAX];
		size_t n = vector_bytes(v, bytes);
		struct cvt_msg m;

		memset(bytes + n, 0xa5, sizeof(bytes) - n);
		assert_int_equal(
			cvt_parse(&m, span(bytes, sizeof(bytes)), v->dialect, v->direction),
			CVT_OK);
		assert_meaning(&m, v, n);
	}
}

/* ------------------------------------------------------ cut off and changed */

static void every_truncation_is_seen(void **state)
{
	(void)state;
	EACH_VECTOR (v) {
		uint8_t bytes[CVT_MSG_MAX];
		size_t n = vector_bytes(v, bytes);

		for (size_t cut = 0; cut < n; cut++) {
			uint8_t *copy = exact_copy(bytes, cut);
			struct cvt_msg m;

			assert_int_equal(cvt_parse(&m, span(copy, cut), v->dialect, v->direction),
					 CVT_TRUNCATED);
			test_free(copy);
		}
	}
}

struct tally {
	unsigned long accepted, refused;
};

/* One changed message, read in every dialect and direction. */
static void judge_mutant(const uint8_t *bytes, size_t n, const struct vector *v, struct tally *t)
{
	for (int d = 0; d < 3; d++) {
		for (int way = 0; way < 2; way++) {
			enum cvt_dialect dialect = (enum cvt_dialect)d;
			enum cvt_direction direction = (enum cvt_direction)way;
			struct cvt_msg m;
			enum cvt_verdict verdict = cvt_parse(&m, span(bytes, n), dialect,
							     direction);
			const char *differs = ref_disagrees(bytes, n, dialect, direction, verdict,
							    &m);

			if (differs)
				fail_msg("%s: dialect %d way %d %s: %s", v->name, d, way,
					 cvt_verdict_name(verdict), differs);
			if (dialect != v->dialect || direction != v->direction)
				continue;
			if (verdict == CVT_OK)
				t->accepted++;
			else
				t->refused++;
		}
	}
}

/* `tail` more bytes follow the message in the stream: a greater Total Length takes them in. */
static void mutate_all(size_t tail, struct tally *t)
{
	EACH_VECTOR (v) {
		uint8_t bytes[2 * CVT_MSG_MAX];
		size_t n = vector_bytes(v, bytes);
		uint8_t *copy;

		for (size_t i = 0; i < tail; i++) /* plausible TLVs: 30 with 1 word, and so on */
			bytes[n + i] = (uint8_t) "\x1e\x01\x21\0\xc8\x02\x07\x07\1\2\3\4"[i % 12];
		copy = exact_copy(bytes, n + tail);
		for (size_t at = 0; at < n; at++) {
			for (unsigned int x = 1; x < 256; x++) {
				copy[at] = (uint8_t)(bytes[at] ^ x);
				judge_mutant(copy, n + tail, v, t);
			}
			copy[at] = bytes[at];
		}
		test_free(copy);
	}
}

/* No change of one byte makes a message be taken for what it does not say. */
static void every_changed_byte_is_judged_as_the_reference_does(void **state)
{
	struct tally alone = { 0 }, with_data = { 0 };
	unsigned long bytes = 0;

	(void)state;
	EACH_VECTOR (v) {
		uint8_t out[CVT_MSG_MAX];

		bytes += vector_bytes(v, out);
	}
	mutate_all(0, &alone);
	mutate_all(CVT_MSG_MAX, &with_data);
	print_message("# %lu accepted and %lu refused alone, %lu and %lu with data behind\n",
		      alone.accepted, alone.refused, with_data.accepted, with_data.refused);
	assert_true(alone.accepted > 0 && alone.refused > 0);
	assert_true(with_data.accepted > alone.accepted && with_data.refused > 0);
	assert_int_equal(alone.accepted + alone.refused, 255 * bytes);
	assert_int_equal(with_data.accepted + with_data.refused, 255 * bytes);
}

/* ------------------------------------------------------------ bad by hand */

struct bad {
	const char *hex;
	enum cvt_dialect dialect;
	enum cvt_direction direction;
	enum cvt_verdict want;
};

#define RFC   CVT_DIALECT_RFC8803
#define DRAFT CVT_DIALECT_DRAFT02
#define MIX   CVT_DIALECT_HYBRID
#define UP    CVT_TO_CONVERTER
#define DOWN  CVT_TO_CLIENT

static void judge_each(const struct bad *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		enum cvt_verdict got = parse_hex(cases[i].hex, cases[i].dialect,
						 cases[i].direction);

		if (got != cases[i].want)
			fail_msg("%s: %s, not %s", cases[i].hex, cvt_verdict_name(got),
				 cvt_verdict_name(cases[i].want));
	}
}

#define JUDGE_EACH(cases) judge_each(cases, sizeof(cases) / sizeof((cases)[0]))

static void header_faults(void **state)
{
	static const struct bad cases[] = {
		/* P-02, P-13: version 1 and no other */
		{ "00012263", RFC, DOWN, CVT_BAD_VERSION },
		{ "02012263", RFC, DOWN, CVT_BAD_VERSION },
		{ "ff012263", RFC, DOWN, CVT_BAD_VERSION },
		{ "00010000", DRAFT, DOWN, CVT_BAD_VERSION },
		{ "02020000 1e010001", MIX, DOWN, CVT_BAD_VERSION },
		/* P-03, A-08: each dialect has its own bytes 2 and 3 */
		{ "01012264", RFC, DOWN, CVT_BAD_MAGIC },
		{ "01012363", RFC, DOWN, CVT_BAD_MAGIC },
		{ "01016322", RFC, DOWN, CVT_BAD_MAGIC },
		{ "01010000", RFC, DOWN, CVT_BAD_MAGIC },
		{ "01012263", DRAFT, DOWN, CVT_BAD_MAGIC },
		{ "01012263", MIX, DOWN, CVT_BAD_MAGIC },
		{ "01010001", DRAFT, DOWN, CVT_BAD_MAGIC },
		{ "01010100", MIX, UP, CVT_BAD_MAGIC },
		/* P-04 */
		{ "01002263", RFC, DOWN, CVT_BAD_TOTAL_LENGTH },
		{ "01000000", DRAFT, DOWN, CVT_BAD_TOTAL_LENGTH },
		{ "01000000 01010000", MIX, UP, CVT_BAD_TOTAL_LENGTH },
	};

	(void)state;
	JUDGE_EACH(cases);
}

static void framing_faults(void **state)
{
	static const struct bad cases[] = {
		/* PROTOCOL 1.2: "0 is always malformed (a parser would loop)" */
		{ "01022263 1e000000", RFC, DOWN, CVT_TLV_ZERO_LENGTH },
		{ "01020000 15000000", DRAFT, DOWN, CVT_TLV_ZERO_LENGTH },
		{ "01032263 c8010000 c9000000", RFC, DOWN, CVT_TLV_ZERO_LENGTH },
		{ "01022263 00000000", RFC, UP, CVT_TLV_ZERO_LENGTH },
		/* P-05: exactly, not about */
		{ "01022263 1e022000", RFC, DOWN, CVT_TLV_OVERRUN },
		{ "01022263 1eff2000", RFC, DOWN, CVT_TLV_OVERRUN },
		{ "01032263 14010000 1e020000", RFC, DOWN, CVT_TLV_OVERRUN },
		{ "01020000 1e020101", DRAFT, DOWN, CVT_TLV_OVERRUN },
		{ "01022263 00020000", RFC, DOWN, CVT_TLV_OVERRUN },
		/* the end of the last TLV leaves a word that is a TLV of length 0 */
		{ "01032263 1e010000 00000000", RFC, DOWN, CVT_TLV_ZERO_LENGTH },
		/* P-11, S-11 */
		{ "01022263 00010000", RFC, DOWN, CVT_TLV_TYPE_ZERO },
		{ "01022263 00010000", RFC, UP, CVT_TLV_TYPE_ZERO },
		{ "01020000 00010000", DRAFT, DOWN, CVT_TLV_TYPE_ZERO },
		{ "01032263 15010000 00010000", RFC, DOWN, CVT_TLV_TYPE_ZERO },
	};

	(void)state;
	JUDGE_EACH(cases);
}

/* P-10, S-11: every type, known or not, in every dialect */
static void duplicates(void **state)
{
	static const struct bad cases[] = {
		{ "01032263 01010000 01010000", RFC, UP, CVT_TLV_DUPLICATE },
		{ "01032263 14010000 14010000", RFC, DOWN, CVT_TLV_DUPLICATE },
		{ "01042263 15010000 14010000 15010000", RFC, DOWN, CVT_TLV_DUPLICATE },
		{ "01032263 16010000 16010000", RFC, UP, CVT_TLV_DUPLICATE },
		{ "01032263 1e010000 1e012000", RFC, DOWN, CVT_TLV_DUPLICATE },
		{ "01032263 c8010000 c8010000", RFC, DOWN, CVT_TLV_DUPLICATE },
		{ "01030000 1e010000 1e012000", DRAFT, DOWN, CVT_TLV_DUPLICATE },
		{ "01030000 1e010000 1e012000", MIX, DOWN, CVT_TLV_DUPLICATE },
		/* PROTOCOL 1.3: 21 and 22 are one TLV in the draft, "both present = duplicate" */
		{ "01030000 15010000 16010000", DRAFT, DOWN, CVT_TLV_DUPLICATE },
		{ "01030000 16010000 15010000", DRAFT, DOWN, CVT_TLV_DUPLICATE },
		{ "01030000 16010000 16010000", DRAFT, DOWN, CVT_TLV_DUPLICATE },
		/* and two in the others, where the Cookie only goes up */
		{ "01030000 15010000 16010000", MIX, DOWN, CVT_TLV_WRONG_DIRECTION },
	};

	(void)state;
	JUDGE_EACH(cases);
}

static void wrong_directions(void **state)
{
	static const struct bad cases[] = {
		{ "01022263 01010000", RFC, DOWN, CVT_TLV_WRONG_DIRECTION },
		{ "01020000 01010000", DRAFT, DOWN, CVT_TLV_WRONG_DIRECTION },
		/* P-35: only for incoming connections, which are out of the shim's scope (4.8) */
		{ "01062263 0a0501bb 00000000 00000000 0000ffff c0000201", RFC, DOWN,
		  CVT_TLV_WRONG_DIRECTION },
		{ "01022263 14010000", RFC, UP, CVT_TLV_WRONG_DIRECTION },
		{ "01020000 14010000", DRAFT, UP, CVT_TLV_WRONG_DIRECTION },
		{ "01022263 15010000", RFC, UP, CVT_TLV_WRONG_DIRECTION },
		{ "01022263 16010000", RFC, DOWN, CVT_TLV_WRONG_DIRECTION },
		/* "never send 22 in draft-02" */
		{ "01020000 16010000", DRAFT, UP, CVT_TLV_WRONG_DIRECTION },
		/* an Error may in theory go up */
		{ "01022263 1e010000", RFC, UP, CVT_OK },
	};

	(void)state;
	JUDGE_EACH(cases);
}

static void impossible_lengths(void **state)
{
	static const struct bad cases[] = {
		{ "01032263 01020000 00000000", RFC, UP, CVT_TLV_BAD_LENGTH },
		{ "01022263 0a010050", RFC, UP, CVT_TLV_BAD_LENGTH },
		{ "01052263 0a040050 20010db8 00000000 00000000", RFC, UP, CVT_TLV_BAD_LENGTH },
		{ "01020000 0a010050", DRAFT, UP, CVT_TLV_BAD_LENGTH },
		/* the shortest of the others is one word: an empty list is a list */
		{ "01022263 14010000", RFC, DOWN, CVT_OK },
		{ "01022263 15010000", RFC, DOWN, CVT_OK },
		{ "01022263 16010000", RFC, UP, CVT_OK },
		{ "01022263 1e010000", RFC, DOWN, CVT_OK },
	};

	(void)state;
	JUDGE_EACH(cases);
}

/* */
static void unknown_types(void **state)
{
	for (unsigned int type = 1; type < 256; type++) {
		bool known = type == 1 || type == 10 || (type >= 20 && type <= 22) || type == 30;
		uint8_t rfc[] = { 1, 3, 0x22, 0x63, (uint8_t)type, 1, 0, 0, 0x1e, 1, 32, 0 };
		struct cvt_msg m;

		if (known)
			continue;
		/* a client of the RFC skips it by its Length and reads on */
		assert_int_equal(cvt_parse(&m, span(rfc, sizeof(rfc)), RFC, DOWN), CVT_OK);
		assert_int_equal(m.unknown_type, type);
		assert_true(m.has_error && m.error.code == 32);
		/* a converter must refuse it (S-13) */
		assert_int_equal(cvt_parse(&m, span(rfc, sizeof(rfc)), RFC, UP), CVT_TLV_UNKNOWN);
		assert_int_equal(m.unknown_type, type);
		rfc[2] = rfc[3] = 0;
		assert_int_equal(cvt_parse(&m, span(rfc, sizeof(rfc)), MIX, DOWN), CVT_OK);
		assert_int_equal(cvt_parse(&m, span(rfc, sizeof(rfc)), MIX, UP), CVT_TLV_UNKNOWN);
		/* and in the draft both (P-12) */
		assert_int_equal(cvt_parse(&m, span(rfc, sizeof(rfc)), DRAFT, DOWN),
				 CVT_TLV_UNKNOWN);
		assert_int_equal(cvt_parse(&m, span(rfc, sizeof(rfc)), DRAFT, UP), CVT_TLV_UNKNOWN);
	}
	(void)state;
}

/* P-10 holds for unknown types as well, and no type is taken for another one. */
static void every_two_unknown_types(void **state)
{
	static const uint8_t known[] = { 1, 10, 20, 21, 22, 30 };
	uint8_t bytes[] = { 1, 4, 0x22, 0x63, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0 };
	struct cvt_msg m;

	(void)state;
	for (unsigned int a = 1; a < 256; a++) {
		for (unsigned int b = 1; b < 256; b++) {
			if (a == b || memchr(known, (int)a, 6) || memchr(known, (int)b, 6))
				continue;
			bytes[4] = (uint8_t)a;
			bytes[8] = (uint8_t)b;
			bytes[12] = CVT_TLV_SUPPORTED;
			assert_int_equal(cvt_parse(&m, span(bytes, 16), RFC, DOWN), CVT_OK);
			bytes[12] = (uint8_t)a;
			assert_int_equal(cvt_parse(&m, span(bytes, 16), RFC, DOWN),
					 CVT_TLV_DUPLICATE);
		}
	}
}

/* P-17: Unassigned is ignored on receipt; F-16: an unknown error code is a good message. */
static void unassigned_fields_and_unknown_codes(void **state)
{
	uint8_t bytes[] = { 1,	  4, 0x22, 0x63, 0x14, 1, 0xff, 0xff,
			    0x15, 1, 0xee, 0xee, 0x1e, 1, 0,	0 };
	struct cvt_msg m;

	(void)state;
	for (unsigned int code = 0; code < 256; code++) {
		bytes[14] = (uint8_t)code;
		assert_int_equal(cvt_parse(&m, span(bytes, sizeof(bytes)), RFC, DOWN), CVT_OK);
		assert_int_equal(m.error.code, code);
		assert_int_equal(m.ext_tcp_header.len, 0);
		assert_int_equal(m.supported.len, 0);
		assert_non_null(m.ext_tcp_header.p);
	}
}

/* PROTOCOL 1.2: "TLV order is unspecified. Parse any order." */
static void any_order(void **state)
{
	static const struct bad cases[] = {
		{ "01092263 16030000 deadbeef 01020304 0a0501bb 00000000 00000000 0000ffff "
		  "c0000201",
		  RFC, UP, CVT_OK },
		{ "01072263 01010000 0a0501bb 00000000 00000000 0000ffff c0000201", RFC, UP,
		  CVT_OK },
		{ "01072263 0a0501bb 00000000 00000000 0000ffff c0000201 01010000", RFC, UP,
		  CVT_OK },
		{ "01042263 1e010100 14010000 15010000", RFC, DOWN, CVT_OK },
	};

	(void)state;
	JUDGE_EACH(cases);
}

/* The greatest message: 255 words, one TLV of 254 (PROTOCOL 1.1, 1.2). */
static void greatest_message(void **state)
{
	uint8_t bytes[CVT_MSG_MAX] = { 1, 255, 0x22, 0x63, 0x1e, 254, 1 };
	struct cvt_msg m;

	(void)state;
	assert_int_equal(cvt_parse(&m, span(bytes, sizeof(bytes)), RFC, DOWN), CVT_OK);
	assert_int_equal(m.header.len, 1020);
	assert_int_equal(m.error.value.len, 1013);
	bytes[5] = 253; /* leaves one word, which is a TLV of length 0 */
	assert_int_equal(cvt_parse(&m, span(bytes, sizeof(bytes)), RFC, DOWN), CVT_TLV_ZERO_LENGTH);
	bytes[5] = 255;
	assert_int_equal(cvt_parse(&m, span(bytes, sizeof(bytes)), RFC, DOWN), CVT_TLV_OVERRUN);
}

/* Section 6: a caller that is not sure of the dialect accepts both words, and no third. */
static void header_takes_the_words_it_is_told(void **state)
{
	(void)state;
	for (unsigned int accept = 0; accept < 4; accept++) {
		for (unsigned int word = 0; word < 0x10000; word++) {
			uint8_t bytes[] = { 1, 7, (uint8_t)(word >> 8), (uint8_t)word };
			bool good = (word == 0 && accept & 1U << CVT_WORD_ZERO) ||
				    (word == 0x2263 && accept & 1U << CVT_WORD_MAGIC);
			struct cvt_header h;
			enum cvt_verdict verdict = cvt_parse_header(&h, bytes, accept);

			assert_int_equal(verdict, good ? CVT_OK : CVT_BAD_MAGIC);
			if (good)
				assert_true(h.len == 28 &&
					    (h.word == CVT_WORD_MAGIC) == (word != 0));
		}
	}
}

/* -------------------------------------------------------------- TCP options */

static void assert_walk(const uint8_t *p, size_t n)
{
	uint8_t kinds[REF_OPTS_MAX];
	struct ref_range values[REF_OPTS_MAX];
	size_t count = ref_options(p, n, kinds, values), pos = 0, i = 0;
	struct cvt_opt opt;

	while (cvt_next_opt(span(p, n), &pos, &opt)) {
		assert_true(i < count);
		assert_int_equal(opt.kind, kinds[i]);
		assert_int_equal(opt.value.len, values[i].len);
		if (opt.kind != 1)
			assert_ptr_equal(opt.value.p, p + values[i].at);
		i++;
		assert_true(pos <= n);
	}
	assert_int_equal(i, count);
	/* the end is the end, however often one asks */
	assert_false(cvt_next_opt(span(p, n), &pos, &opt));
}

/* PROTOCOL 1.4: Connect ("0 in kind position means padding"), Extended TCP Header */
static void option_lists_by_hand(void **state)
{
	static const struct {
		const char *hex;
		size_t count;
	} lists[] = {
		{ "", 0 },
		{ "00", 0 },
		{ "0000 1e02", 0 },
		{ "01", 1 },
		{ "010101", 3 },
		{ "1e", 0 },
		{ "1e00", 0 },
		{ "1e01", 0 },
		{ "1e01 1e02", 0 },
		{ "1e02", 1 },
		{ "1e03", 0 },
		{ "1e03 ff", 1 },
		{ "1e04 ff", 0 },
		{ "1eff", 0 },
		{ "1e02 220a", 1 },
		{ "1e02 2202 00", 2 },
		{ "01 1e02 01 22", 3 },
		{ "020405b4 00 1e02", 1 },
		{ "020405b4 0402 080a0000000100000002 01 030307", 5 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		uint8_t bytes[64];
		size_t n = unhex(lists[i].hex, bytes), pos = 0, count = 0;
		uint8_t *copy = exact_copy(bytes, n);
		struct cvt_opt opt;

		while (cvt_next_opt(span(copy, n), &pos, &opt))
			count++;
		if (count != lists[i].count)
			fail_msg("%s: %zu options", lists[i].hex, count);
		assert_walk(copy, n);
		test_free(copy);
	}
}

/* All lists of up to six bytes over an alphabet of the bytes that mean something. */
static void every_short_option_list(void **state)
{
	static const uint8_t alphabet[] = { 0, 1, 2, 3, 4, 30, 255 };
	const size_t k = sizeof(alphabet);
	size_t lists = 1;

	(void)state;
	for (size_t n = 0; n <= 6; n++, lists *= k) {
		uint8_t *list = test_malloc(n ? n : 1);

		for (size_t which = 0; which < lists; which++) {
			for (size_t i = 0, rest = which; i < n; i++, rest /= k)
				list[i] = alphabet[rest % k];
			assert_walk(list, n);
		}
		test_free(list);
	}
}

/* PROTOCOL 4.3: "kind 30 with subtype nibble 0 (MP_CAPABLE), of version 1 or later" */
static void mp_capable(void **state)
{
	static const struct {
		const char *hex;
		bool has;
	} lists[] = {
		{ "1e0c01011122334455667788", true }, /* R7 */
		{ "1e0401ff", true },
		{ "1e0302", true },
		{ "1e030f", true },
		{ "1e0400ff", false }, /* version 0, which Linux does not speak */
		{ "1e0c00011122334455667788", false },
		{ "1e0300 1e0301", true },
		{ "1e02", false },	   /* no subtype */
		{ "1e0310", false },	   /* MP_JOIN */
		{ "1e03f0", false },	   /* MP_TCPRST is 8, f is private */
		{ "1e0310 1e0301", true }, /* the second one is */
		{ "01 0402 1e0301", true },
		{ "00 1e0301", false },	  /* behind the end of the list */
		{ "0201 1e0301", false }, /* behind an option that does not fit */
		{ "1e0401", false },	  /* crosses the end */
		{ "1f0301", false },
		{ "020405b4 0402 080a0000000100000002 01 030307", false }, /* D6 */
		{ "", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		uint8_t bytes[64];
		size_t n = unhex(lists[i].hex, bytes);

		if (cvt_has_mp_capable(span(bytes, n)) != lists[i].has)
			fail_msg("%s", lists[i].hex);
	}
	assert_false(cvt_has_mp_capable(span(NULL, 0)));
}

/* -------------------------------------------------------------------- names */

static void names(void **state)
{
	static const struct {
		uint8_t code;
		const char *name;
	} registered[] = { /* PROTOCOL 2 */
			   { 0, "Unsupported Version" }, { 1, "Malformed Message" },
			   { 2, "Unsupported Message" }, { 3, "Missing Cookie" },
			   { 32, "Not Authorized" },	 { 33, "Unsupported TCP Option" },
			   { 64, "Resource Exceeded" },	 { 65, "Network Failure" },
			   { 96, "Connection Reset" },	 { 97, "Destination Unreachable" }
	};

	(void)state;
	for (unsigned int code = 0; code < 256; code++) {
		const char *want = "unassigned error";

		for (size_t i = 0; i < sizeof(registered) / sizeof(registered[0]); i++)
			if (registered[i].code == code)
				want = registered[i].name;
		assert_string_equal(cvt_err_name((uint8_t)code), want);
	}
	for (int a = CVT_OK; a <= CVT_TLV_UNKNOWN; a++) {
		assert_true(strlen(cvt_verdict_name((enum cvt_verdict)a)) > 1);
		for (int b = CVT_OK; b < a; b++)
			assert_string_not_equal(cvt_verdict_name((enum cvt_verdict)a),
						cvt_verdict_name((enum cvt_verdict)b));
	}
	assert_string_equal(cvt_verdict_name((enum cvt_verdict)99), "?");
}

/* ------------------------------------------------------------------------------------- written */

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
		cmocka_unit_test(examples_mean_what_the_document_says),
		cmocka_unit_test(hybrid_is_the_rfc_behind_a_zero_word),
		cmocka_unit_test(bytes_behind_the_message_are_not_looked_at),
		cmocka_unit_test(every_truncation_is_seen),
		cmocka_unit_test(every_changed_byte_is_judged_as_the_reference_does),
		cmocka_unit_test(header_faults),
		cmocka_unit_test(framing_faults),
		cmocka_unit_test(duplicates),
		cmocka_unit_test(wrong_directions),
		cmocka_unit_test(impossible_lengths),
		cmocka_unit_test(unknown_types),
		cmocka_unit_test(every_two_unknown_types),
		cmocka_unit_test(unassigned_fields_and_unknown_codes),
		cmocka_unit_test(any_order),
		cmocka_unit_test(greatest_message),
		cmocka_unit_test(header_takes_the_words_it_is_told),
		cmocka_unit_test(option_lists_by_hand),
		cmocka_unit_test(every_short_option_list),
		cmocka_unit_test(mp_capable),
		cmocka_unit_test(names),
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

// SPDX-License-Identifier: MIT
/*
 * Reading: the examples of PROTOCOL 1.5, everything that can be cut off or changed in them,
 * and hand-made bad messages. Writing is in test_wire_write.c.
 */
#include "reference.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

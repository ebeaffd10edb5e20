// SPDX-License-Identifier: MIT
/*
 * The handshake machine: any way of cutting a reply gives one verdict, not one byte behind the
 * reply is asked for, and every error code means what PROTOCOL 2 says.
 */
#include "handshake.h"
#include "reference.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define RFC   CVT_DIALECT_RFC8803
#define DRAFT CVT_DIALECT_DRAFT02
#define MIX   CVT_DIALECT_HYBRID

/* A reply and, behind it, the first bytes of the server's stream. */
struct stream {
	uint8_t bytes[CVT_MSG_MAX + 64];
	size_t reply, all;
};

static struct stream stream_of(const uint8_t *reply, size_t n)
{
	struct stream s = { .reply = n, .all = n + 64 };

	memcpy(s.bytes, reply, n);
	memset(s.bytes + n, 0x55, 64);
	return s;
}

struct setting {
	enum cvt_dialect dialect;
	bool any_word, target_v4;
};

/*
 * Plays the stream to the machine. The bytes come in pieces that end where is_cut[] says, and
 * a read gives what is asked for or what has come, whichever is less. Says how many bytes were
 * asked for altogether.
 */
static enum hs_verdict play(const struct stream *s, const bool *is_cut, struct setting set,
			    struct hs *hs, struct hs_result *r, size_t *asked)
{
	enum hs_verdict verdict = HS_MORE;
	size_t at = 0;

	hs_start(hs, set.dialect, set.any_word);
	while (verdict == HS_MORE) {
		size_t want = hs_want(hs), n = 0;

		assert_true(want > 0);
		assert_true(hs_room(hs) == hs->buf + at && at + want <= sizeof(hs->buf));
		*asked = at + want;
		while (n < want && at + n < s->all && (n == 0 || !is_cut[at + n]))
			n++;
		assert_true(n > 0);
		memcpy(hs_room(hs), s->bytes + at, n);
		at += n;
		verdict = hs_took(hs, n, set.target_v4, r);
	}
	assert_int_equal(*asked, at);
	return verdict;
}

/* What a verdict says, without the machine's own addresses. */
static void assert_same(const struct hs_result *a, const struct hs_result *b, const struct hs *hs_a,
			const struct hs *hs_b)
{
	assert_int_equal(a->verdict, b->verdict);
	assert_int_equal(a->err, b->err);
	assert_int_equal(a->parse, b->parse);
	assert_int_equal(a->msg.has_error, b->msg.has_error);
	assert_int_equal(a->msg.error.code, b->msg.error.code);
	assert_int_equal(a->msg.error.value.len, b->msg.error.value.len);
	assert_int_equal(a->msg.supported.len, b->msg.supported.len);
	assert_int_equal(a->msg.ext_tcp_header.len, b->msg.ext_tcp_header.len);
	if (a->msg.ext_tcp_header.p)
		assert_int_equal(a->msg.ext_tcp_header.p - hs_a->buf,
				 b->msg.ext_tcp_header.p - hs_b->buf);
	assert_memory_equal(hs_a->buf, hs_b->buf, hs_a->got);
	assert_int_equal(hs_a->got, hs_b->got);
}

struct split_test {
	const struct stream *s;
	struct setting set;
	size_t want_asked;
	struct hs hs;
	struct hs_result whole;
	unsigned long patterns;
};

static void try_cuts(struct split_test *t, const bool *is_cut)
{
	struct hs_result r;
	struct hs hs;
	size_t asked;

	play(t->s, is_cut, t->set, &hs, &r, &asked);
	assert_int_equal(asked, t->want_asked);
	assert_same(&r, &t->whole, &hs, &t->hs);
	t->patterns++;
}

#define ALL_PATTERNS_UP_TO 16 /* bytes; longer replies get no, one, two and all cuts */

static void split_in_every_way(const struct stream *s, struct setting set, size_t want_asked,
			       enum hs_verdict want, unsigned long *patterns)
{
	bool is_cut[CVT_MSG_MAX + 64] = { false };
	struct split_test t = { .s = s, .set = set, .want_asked = want_asked };
	size_t asked, n = s->reply;

	assert_int_equal(play(s, is_cut, set, &t.hs, &t.whole, &asked), want);
	assert_int_equal(t.whole.verdict, want);
	assert_int_equal(asked, want_asked);
	if (n <= ALL_PATTERNS_UP_TO) {
		for (unsigned long p = 0; p < 1UL << (n - 1); p++) {
			for (size_t i = 1; i < n; i++)
				is_cut[i] = p >> (i - 1) & 1;
			/* with and without the server's data in the last piece */
			is_cut[n] = false;
			try_cuts(&t, is_cut);
			is_cut[n] = true;
			try_cuts(&t, is_cut);
		}
		*patterns += t.patterns;
		return;
	}
	for (size_t a = 1; a <= n; a++) {
		for (size_t b = a; b <= n; b++) {
			is_cut[a] = is_cut[b] = true;
			try_cuts(&t, is_cut);
			is_cut[a] = is_cut[b] = false;
		}
	}
	for (size_t i = 1; i < n + 64; i++)
		is_cut[i] = true;
	try_cuts(&t, is_cut);
	*patterns += t.patterns;
}

static enum hs_verdict verdict_of(const struct vector *v)
{
	static const struct {
		const char *name;
		enum hs_verdict verdict;
	} not_connected[] = {
		{ "D7", HS_SERVER },	 { "D8", HS_CONVERTER },  { "R8", HS_CONVERTER },
		{ "R9", HS_CONVERTER },	 { "R10", HS_CONVERTER }, { "R11", HS_COOKIE },
		{ "R12", HS_CONVERTER }, { "R13", HS_CONVERTER }, { "R14", HS_CONVERTER },
		{ "R15", HS_CONVERTER }, { "R16", HS_SERVER },
	};

	for (size_t i = 0; i < sizeof(not_connected) / sizeof(not_connected[0]); i++)
		if (strcmp(not_connected[i].name, v->name) == 0)
			return not_connected[i].verdict;
	return HS_CONNECTED;
}

/* D6, F-16: split invariance, and exactly 4*TL bytes are asked for. */
static void every_split_of_every_reply(void **state)
{
	unsigned long patterns = 0;

	(void)state;
	EACH_VECTOR (v) {
		uint8_t bytes[CVT_MSG_MAX];
		size_t n = vector_bytes(v, bytes);
		struct stream s = stream_of(bytes, n);
		struct setting set = { v->dialect, false, true };

		if (v->direction != CVT_TO_CLIENT)
			continue;
		split_in_every_way(&s, set, 4UL * bytes[1], verdict_of(v), &patterns);
	}
	print_message("# %lu ways\n", patterns);
}

/* Replies that are none: refused at the same byte in any split. */
static void every_split_of_bad_replies(void **state)
{
	static const struct {
		const char *hex;
		enum cvt_dialect dialect;
		enum cvt_verdict parse;
		size_t asked; /* 4: the header alone gives it away */
	} bad[] = {
		{ "00012263", RFC, CVT_BAD_VERSION, 4 },
		{ "02022263 1e010000", RFC, CVT_BAD_VERSION, 4 },
		{ "48545450 2f312e31 20343030", RFC, CVT_BAD_VERSION, 4 }, /* "HTTP/1.1 400" */
		{ "01022264 1e010000", RFC, CVT_BAD_MAGIC, 4 },
		{ "01020000 1e010000", RFC, CVT_BAD_MAGIC, 4 },
		{ "01022263 1e010000", DRAFT, CVT_BAD_MAGIC, 4 },
		{ "01022263 1e010000", MIX, CVT_BAD_MAGIC, 4 },
		{ "01002263", RFC, CVT_BAD_TOTAL_LENGTH, 4 }, /* P-04 */
		{ "01000000 1e010000", DRAFT, CVT_BAD_TOTAL_LENGTH, 4 },
		{ "01022263 1e000000", RFC, CVT_TLV_ZERO_LENGTH, 8 },
		{ "01022263 1e020000", RFC, CVT_TLV_OVERRUN, 8 },	      /* P-05 */
		{ "01022263 00010000", RFC, CVT_TLV_TYPE_ZERO, 8 },	      /* P-11 */
		{ "01032263 14010000 14010000", RFC, CVT_TLV_DUPLICATE, 12 }, /* P-10 */
		{ "01030000 15010000 16010000", DRAFT, CVT_TLV_DUPLICATE, 12 },
		{ "01022263 01010000", RFC, CVT_TLV_WRONG_DIRECTION, 8 },
		{ "01020000 c8010000", DRAFT, CVT_TLV_UNKNOWN, 8 }, /* */
	};
	unsigned long patterns = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint8_t bytes[CVT_MSG_MAX];
		struct stream s = stream_of(bytes, unhex(bad[i].hex, bytes));
		struct setting set = { bad[i].dialect, false, false };
		bool no_cut[CVT_MSG_MAX + 64] = { false };
		struct hs_result r;
		struct hs hs;
		size_t asked;

		split_in_every_way(&s, set, bad[i].asked, HS_CONVERTER, &patterns);
		play(&s, no_cut, set, &hs, &r, &asked);
		assert_int_equal(r.parse, bad[i].parse);
		assert_int_equal(r.err, EPROTO);
	}
}

/* The longest reply there can be, byte by byte and at once. */
static void greatest_reply(void **state)
{
	uint8_t bytes[CVT_MSG_MAX] = { 1, 255, 0x22, 0x63, 0x14, 254 };
	struct stream s = stream_of(bytes, sizeof(bytes));
	bool is_cut[CVT_MSG_MAX + 64] = { false };
	struct setting set = { RFC, false, false };
	struct hs_result r;
	struct hs hs;
	size_t asked;

	(void)state;
	for (int all_cut = 0; all_cut < 2; all_cut++) {
		memset(is_cut, all_cut, sizeof(is_cut));
		assert_int_equal(play(&s, is_cut, set, &hs, &r, &asked), HS_CONNECTED);
		assert_int_equal(asked, 1020);
		assert_int_equal(r.msg.ext_tcp_header.len, 1012);
		assert_int_equal(hs_want(&hs), 0);
	}
}

/* Every shorter reply leaves the machine waiting: EOF there is the caller's to judge. */
static void every_truncation_waits(void **state)
{
	(void)state;
	EACH_VECTOR (v) {
		uint8_t bytes[CVT_MSG_MAX];
		size_t n = vector_bytes(v, bytes);
		struct hs_result r;
		struct hs hs;

		if (v->direction != CVT_TO_CLIENT)
			continue;
		hs_start(&hs, v->dialect, false);
		for (size_t i = 0; i < n; i++) {
			assert_int_equal(hs_want(&hs), i < 4 ? 4 - i : n - i);
			*hs_room(&hs) = bytes[i];
			assert_int_equal(hs_took(&hs, 1, false, &r) == HS_MORE, i + 1 < n);
		}
	}
}

/* -------------------------------------------------------------- error codes */

static struct hs_result reply(const char *hex, struct setting set)
{
	static struct hs hs;
	uint8_t bytes[CVT_MSG_MAX];
	struct stream s = stream_of(bytes, unhex(hex, bytes));
	bool no_cut[CVT_MSG_MAX + 64] = { false };
	struct hs_result r = { 0 };
	size_t asked;

	play(&s, no_cut, set, &hs, &r, &asked);
	return r;
}

static struct hs_result error_reply(unsigned int code, const uint8_t *value, size_t n,
				    struct setting set)
{
	static struct hs hs;
	bool no_cut[CVT_MSG_MAX + 64] = { false };
	struct hs_result r;
	struct cvt_writer w;
	struct stream s;
	size_t asked;

	cvt_begin(&w, set.dialect);
	cvt_put_error(&w, (enum cvt_err)code, (struct cvt_span){ value, n });
	s = stream_of(w.bytes, (size_t)cvt_finish(&w));
	play(&s, no_cut, set, &hs, &r, &asked);
	return r;
}

/*
 * PROTOCOL 2, the table "errno if surfaced / direct fallback sensible?" and the line on unknown
 * codes: "0-31 as 1, 32-63 as 32, 64-95 as 65 with default delay, 96-127 EHOSTUNREACH without
 * fallback, >=128 EPROTO". No fallback is HS_SERVER. Error 97 is in the tables below; error 3
 * stands here without a cookie, and does not exist in draft-02.
 */
static const struct meaning {
	unsigned int first, last;
	int rfc_errno, draft_errno;
	enum hs_verdict verdict;
	unsigned int as; /* 0: itself */
} meanings[] = {
	{ 0, 0, EPROTO, EPROTO, HS_CONVERTER, 0 }, /* Unsupported Version */
	{ 1, 1, EPROTO, EPROTO, HS_CONVERTER, 0 }, /* Malformed Message */
	{ 2, 2, EPROTO, EPROTO, HS_CONVERTER, 0 }, /* Unsupported Message */
	{ 3, 3, EACCES, EPROTO, HS_CONVERTER, 0 }, /* Missing Cookie */
	{ 4, 31, EPROTO, EPROTO, HS_CONVERTER, 1 },
	{ 32, 32, EACCES, EACCES, HS_CONVERTER, 0 }, /* Not Authorized */
	{ 33, 33, EPROTO, EPROTO, HS_CONVERTER, 0 }, /* Unsupported TCP Option */
	{ 34, 63, EACCES, EACCES, HS_CONVERTER, 32 },
	{ 64, 64, ENOBUFS, ENOBUFS, HS_CONVERTER, 0 },	       /* Resource Exceeded */
	{ 65, 65, ENETUNREACH, ENETUNREACH, HS_CONVERTER, 0 }, /* Network Failure */
	{ 66, 95, ENETUNREACH, ENETUNREACH, HS_CONVERTER, 65 },
	{ 96, 96, ECONNREFUSED, ECONNREFUSED, HS_SERVER, 0 }, /* Connection Reset */
	{ 98, 127, EHOSTUNREACH, EHOSTUNREACH, HS_SERVER, 97 },
	{ 128, 255, EPROTO, EPROTO, HS_CONVERTER, 0 },
};

static const struct meaning *meaning_of(unsigned int code)
{
	for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++)
		if (code >= meanings[i].first && code <= meanings[i].last)
			return &meanings[i];
	return NULL;
}

static void every_error_code(void **state)
{
	static const uint8_t zero[8];

	(void)state;
	for (unsigned int code = 0; code < 256; code++) {
		const struct meaning *m = meaning_of(code);

		if (!m) {
			assert_int_equal(code, 97);
			continue;
		}
		for (unsigned int i = 0; i < 12; i++) {
			struct setting set = { (enum cvt_dialect)(i % 3), i >= 6, i & 1 };
			struct hs_result r = error_reply(code, zero, i % 2, set);
			/* "auto" begins with the RFC; nobody begins with the draft, unsure */
			bool draft = set.dialect == DRAFT;

			assert_int_equal(r.parse, CVT_OK);
			assert_int_equal(r.err, draft ? m->draft_errno : m->rfc_errno);
			assert_int_equal(r.verdict, m->verdict);
			assert_true(r.msg.has_error);
			assert_int_equal(r.msg.error.code, code);
			assert_int_equal(r.error, draft && code == 3 ? 1 : m->as ? m->as : code);
		}
	}
}

/* PROTOCOL 2: "What a direct Linux connect() reports per code. Use the same, EHOSTUNREACH for
 * 4 and unknown." */
static int icmp_v4(unsigned int code)
{
	switch (code) {
	case 0:
	case 6:
	case 9:
	case 11:
		return ENETUNREACH;
	case 2:
		return ENOPROTOOPT;
	case 3:
		return ECONNREFUSED;
	case 5:
		return EOPNOTSUPP;
	case 7:
		return EHOSTDOWN;
	case 8:
		return ENONET;
	default: /* 1, 10, 12 to 15 too */
		return EHOSTUNREACH;
	}
}

static int icmp_v6(unsigned int code)
{
	switch (code) {
	case 0:
		return ENETUNREACH;
	case 1:
	case 5:
	case 6:
		return EACCES;
	case 4:
		return ECONNREFUSED;
	case 7:
		return EPROTO;
	default: /* 2 and 3 too */
		return EHOSTUNREACH;
	}
}

static void every_icmp_code(void **state)
{
	(void)state;
	for (unsigned int icmp = 0; icmp < 256; icmp++) {
		for (int d = 0; d < 3; d++) {
			uint8_t value[5] = { (uint8_t)icmp };
			struct setting v4 = { (enum cvt_dialect)d, false, true };
			struct setting v6 = { (enum cvt_dialect)d, false, false };
			struct hs_result a = error_reply(97, value, 1, v4);
			struct hs_result b = error_reply(97, value, 5, v6);

			assert_int_equal(a.verdict, HS_SERVER);
			assert_int_equal(a.err, icmp_v4(icmp));
			assert_int_equal(b.verdict, HS_SERVER);
			assert_int_equal(b.err, icmp_v6(icmp));
		}
	}
	/* no Value at all cannot come from the wire, but the function is public */
	assert_int_equal(hs_errno(97, (struct cvt_span){ NULL, 0 }, true), EHOSTUNREACH);
}

/* ---------------------------------------------------------- Missing Cookie */

/* P-27, and "treat an oversize cookie as a converter fault" (PROTOCOL 1.4) */
static void missing_cookie(void **state)
{
	static const uint8_t value[1013] = { 0, 0xde, 0xad, 0xbe, 0xef, 1, 2, 3, 4 };
	struct setting rfc = { RFC, false, false }, mix = { MIX, false, false };
	struct setting draft = { DRAFT, false, false };
	struct hs_result r;

	(void)state;
	for (size_t words = 0; words <= 253; words++) {
		size_t n = 1 + 4 * words;
		bool usable = words > 0 && words <= 248; /* 992 bytes fit beside a Base Connect */

		r = error_reply(3, value, n, rfc);
		assert_int_equal(r.verdict, usable ? HS_COOKIE : HS_CONVERTER);
		assert_int_equal(r.err, EACCES);
		assert_int_equal(r.msg.error.value.len, n);
		assert_memory_equal(r.msg.error.value.p, value, n);
		r = error_reply(3, value, n, mix);
		assert_int_equal(r.verdict, usable ? HS_COOKIE : HS_CONVERTER);
		/* "not defined" in the draft, and type 22 is "never sent in draft-02" */
		r = error_reply(3, value, n, draft);
		assert_int_equal(r.verdict, HS_CONVERTER);
		assert_int_equal(r.err, EPROTO);
	}
	/* section 6: a zero word and Error 3 is the hybrid, so "auto" takes the cookie */
	r = reply("01040000 1e030300 deadbeef 01020304", (struct setting){ RFC, true, false });
	assert_int_equal(r.verdict, HS_COOKIE);
}

/* --------------------------------------------------------------- dialects */

#define ERROR_96     "1e016000"
#define EXT	     "14020000 020405b4"
#define ERROR_FIRST  ERROR_96 " " EXT
#define UNKNOWN_TYPE "c8010000"

/* "draft: Error + Extended TCP Header -> warn and continue; Error alone -> fatal"; P-25 */
static void error_beside_extended_header(void **state)
{
	struct setting rfc = { RFC, false, true }, draft = { DRAFT, false, true };
	struct setting mix = { MIX, false, true }, any = { RFC, true, true };
	struct hs_result r;

	(void)state;
	r = reply("01040000 " EXT ERROR_96, draft);
	assert_int_equal(r.verdict, HS_CONNECTED);
	assert_int_equal(r.err, 0);
	assert_true(r.msg.has_error && r.msg.ext_tcp_header.p); /* for the warning */
	assert_int_equal(r.error, 96);
	assert_int_equal(reply("01040000 " ERROR_FIRST, draft).verdict, HS_CONNECTED);
	assert_int_equal(reply("01020000 " ERROR_96, draft).verdict, HS_SERVER);
	/* an empty Extended TCP Header is one */
	assert_int_equal(reply("01030000 14010000" ERROR_96, draft).verdict, HS_CONNECTED);
	/* beside a Supported list there is no sign of a connection */
	assert_int_equal(reply("01030000 15010000" ERROR_96, draft).verdict, HS_SERVER);
	assert_int_equal(reply("01042263 " EXT ERROR_96, rfc).verdict, HS_SERVER);
	assert_int_equal(reply("01042263 " ERROR_FIRST, any).verdict, HS_SERVER);
	assert_int_equal(reply("01040000 " EXT ERROR_96, mix).verdict, HS_SERVER);
	/* unsure, and a zero word came: the draft's rule */
	assert_int_equal(reply("01040000 " EXT ERROR_96, any).verdict, HS_CONNECTED);
}

/* "unknown non-zero TLV: draft -> reset; rfc skip by Length" */
static void unknown_tlv(void **state)
{
	struct setting rfc = { RFC, false, true }, draft = { DRAFT, false, true };
	struct setting mix = { MIX, false, true }, any = { RFC, true, true };
	enum cvt_dialect shown = DRAFT;
	struct hs_result r;

	(void)state;
	r = reply("01022263 " UNKNOWN_TYPE, rfc);
	assert_int_equal(r.verdict, HS_CONNECTED);
	assert_int_equal(r.msg.unknown_type, 0xc8);
	assert_int_equal(reply("01032263 " UNKNOWN_TYPE ERROR_96, rfc).verdict, HS_SERVER);
	assert_int_equal(reply("01020000 " UNKNOWN_TYPE, mix).verdict, HS_CONNECTED);
	r = reply("01020000 " UNKNOWN_TYPE, draft);
	assert_int_equal(r.verdict, HS_CONVERTER);
	assert_int_equal(r.parse, CVT_TLV_UNKNOWN);
	assert_int_equal(r.err, EPROTO);
	assert_int_equal(reply("01022263 " UNKNOWN_TYPE, any).verdict, HS_CONNECTED);
	/* unsure, and the draft was not spoken: that is the hybrid, all of it */
	r = reply("01020000 " UNKNOWN_TYPE, any);
	assert_int_equal(r.verdict, HS_CONNECTED);
	assert_true(hs_evidence(&r, RFC, &shown));
	assert_int_equal(shown, MIX);
	assert_int_equal(reply("01050000 " UNKNOWN_TYPE EXT ERROR_96, any).verdict, HS_SERVER);
	assert_int_equal(reply("01030000 " UNKNOWN_TYPE "16010000", any).parse,
			 CVT_TLV_WRONG_DIRECTION);
	any.dialect = DRAFT;
	assert_int_equal(reply("01020000 " UNKNOWN_TYPE, any).parse, CVT_TLV_UNKNOWN);
}

/* A-05, P-24: "header only, or with Extended TCP Header: accept both" */
static void base_connect_success(void **state)
{
	static const char *const good[] = { "01012263", "01022263 14010000", "01032263 " EXT,
					    "01042263 15010000" EXT, "01022263 15010000" };

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct hs_result r = reply(good[i], (struct setting){ RFC, false, true });

		assert_int_equal(r.verdict, HS_CONNECTED);
		assert_int_equal(r.err, 0);
		assert_int_equal(r.parse, CVT_OK);
	}
}

/* Section 6: with dialect = auto either header word is a converter's, any other is nobody's. */
static void pinned_and_any_word(void **state)
{
	(void)state;
	for (int i = 0; i < 6; i++) {
		struct setting set = { (enum cvt_dialect)(i / 2), i % 2, true };
		bool magic = set.dialect == RFC || set.any_word;
		bool zero = set.dialect != RFC || set.any_word;

		assert_int_equal(reply("01012263", set).verdict,
				 magic ? HS_CONNECTED : HS_CONVERTER);
		assert_int_equal(reply("01010000", set).verdict,
				 zero ? HS_CONNECTED : HS_CONVERTER);
		assert_int_equal(reply("01016322", set).verdict, HS_CONVERTER);
		assert_int_equal(reply("01010001", set).verdict, HS_CONVERTER);
		/* the word that came decides how the rest is read: 22 is a list in the draft, whatever
		 * else a zero word was taken for before */
		assert_int_equal(reply("01022263 16010000", set).parse,
				 magic ? CVT_TLV_WRONG_DIRECTION : CVT_BAD_MAGIC);
		assert_int_equal(reply("01020000 16010000", set).parse,
				 !zero				     ? CVT_BAD_MAGIC :
				 set.dialect == MIX && !set.any_word ? CVT_TLV_WRONG_DIRECTION :
								       CVT_OK);
	}
}

/* Section 6: a list in type 22 is draft-02, and no other sign says more; beside what the draft has not it
 * is nobody's. */
static void list_in_type_22(void **state)
{
	static const char list[] = "01030000 16020000 1e220000";

	(void)state;
	for (int dialect = 0; dialect < 3; dialect++) {
		struct setting set = { (enum cvt_dialect)dialect, true, true };
		struct hs_result r = reply(list, set);
		enum cvt_dialect shown = 99;

		assert_int_equal(r.verdict, HS_CONNECTED);
		assert_true(r.msg.supported_as_22 && r.msg.supported.len == 4);
		assert_true(hs_evidence(&r, set.dialect, &shown));
		assert_int_equal(shown, DRAFT);
		/* A-01, as the draft has it */
		assert_int_equal(reply("01050000 16010000" EXT ERROR_96, set).verdict,
				 HS_CONNECTED);
		assert_int_equal(reply("01030000 16010000" UNKNOWN_TYPE, set).verdict,
				 HS_CONVERTER);
		assert_int_equal(reply("01030000 16010000 01010000", set).verdict, HS_CONVERTER);
	}
	assert_int_equal(reply(list, (struct setting){ MIX, false, true }).verdict, HS_CONVERTER);
}

/* A machine is used again for the next attempt (P-27). */
static void started_again(void **state)
{
	struct hs_result r;
	struct hs hs;

	(void)state;
	hs_start(&hs, RFC, false);
	memcpy(hs_room(&hs), "\1\2", 2);
	assert_int_equal(hs_took(&hs, 2, true, &r), HS_MORE);
	hs_start(&hs, DRAFT, false);
	assert_int_equal(hs_want(&hs), 4);
	memcpy(hs_room(&hs), "\1\1\0\0", 4);
	assert_int_equal(hs_took(&hs, 4, true, &r), HS_CONNECTED);
	assert_int_equal(hs_want(&hs), 0);
}

/* PROTOCOL 6, the table, with the bytes of PROTOCOL 1.5. */
static void evidence_of_the_dialect(void **state)
{
	static const struct {
		const char *reply; /* hexadecimal */
		enum cvt_dialect spoken, shown;
	} cases[] = {
		{ "01012263", RFC, RFC },
		{ "01012263", DRAFT, RFC },
		{ "010222631e012000", MIX, RFC },
		{ "010400001e03030000adbeef01020304", RFC, MIX }, /* Missing Cookie */
		{ "010400001e03030000adbeef01020304", DRAFT, MIX },
		{ "010300001e02211e22000000", DRAFT, MIX },	    /* two kinds */
		{ "010200001e01211e", DRAFT, DRAFT },		    /* one */
		{ "010400001e0301000102000001010000", DRAFT, MIX }, /* echo, aligned */
		{ "010400001e0301010200000101000000", RFC, DRAFT }, /* echo, not aligned */
		{ "01030000160200001e220000", RFC, DRAFT },	    /* Supported as 22 */
		{ "01030000160200001e220000", MIX, DRAFT },
		{ "01010000", DRAFT, DRAFT },
		{ "01010000", RFC, MIX },
		{ "01010000", MIX, MIX },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *hex = cases[i].reply;
		enum hs_verdict verdict = HS_MORE;
		enum cvt_dialect shown = 99;
		struct hs_result r = { .parse = CVT_TRUNCATED };
		struct hs hs;

		hs_start(&hs, cases[i].spoken, true);
		for (; *hex; hex += 2) {
			unsigned int byte;

			assert_int_equal(sscanf(hex, "%2x", &byte), 1);
			*hs_room(&hs) = (uint8_t)byte;
			verdict = hs_took(&hs, 1, true, &r);
		}
		assert_int_not_equal(verdict, HS_MORE);
		assert_int_equal(r.parse, CVT_OK);
		assert_true(hs_evidence(&r, cases[i].spoken, &shown));
		if (shown != cases[i].shown)
			fail_msg("case %zu: %d, not %d", i, shown, cases[i].shown);
	}
}

static void no_evidence(void **state)
{
	enum cvt_dialect dialect;
	struct hs_result r = { .parse = CVT_OK };
	struct hs hs;

	(void)state;
	hs_start(&hs, RFC, true);
	memcpy(hs_room(&hs), "HTTP", 4);
	assert_int_equal(hs_took(&hs, 4, true, &r), HS_CONVERTER);
	assert_false(hs_evidence(&r, RFC, &dialect));
}

/* The head of an incoming connection, byte by byte: HS_MORE to its last byte, and then the verdict. */
static void play_incoming(const uint8_t *bytes, size_t n, enum hs_verdict verdict,
			  struct hs_result *r, struct hs *hs)
{
	hs_start_incoming(hs, RFC, false);
	for (size_t at = 0; at < n; at++) {
		enum hs_verdict now;

		assert_true(hs_want(hs) > 0);
		*hs_room(hs) = bytes[at];
		now = hs_took(hs, 1, false, r);
		assert_int_equal(now, at + 1 < n ? HS_MORE : verdict);
	}
}

static void incoming(void **state)
{
	/* P-35; 198.51.100.7 port 4711, with MPTCP asked for, and a TLV of the future behind it */
	uint8_t whole[] = { 1, 8, 0x22, 0x63, 10,  6,  0x12, 0x67, 0,  0, 0, 0, 0,  0, 0, 0,
			    0, 0, 0xff, 0xff, 198, 51, 100,  7,	   30, 2, 0, 0, 99, 1, 0, 0 };
	static const struct {
		const char *what;
		size_t at;
		uint8_t value;
		enum cvt_verdict parse;
	} bad[] = {
		{ "port 0", 6, 0, CVT_OK },
		{ "loopback", 20, 127, CVT_OK },
		{ "multicast", 20, 224, CVT_OK },
		{ "no host", 20, 0, CVT_OK },
		{ "no TLV", 5, 0, CVT_TLV_ZERO_LENGTH },
		{ "too long", 5, 9, CVT_TLV_OVERRUN },
		{ "an Info TLV", 4, 1, CVT_TLV_WRONG_DIRECTION },
		{ "a reply", 4, 21, CVT_TLV_WRONG_DIRECTION },
		{ "an Error TLV", 28, 30, CVT_TLV_WRONG_DIRECTION },
		{ "two of them", 28, 10, CVT_TLV_DUPLICATE },
	};
	struct hs_result r;
	struct hs hs;

	(void)state;
	play_incoming(whole, sizeof(whole), HS_CONNECTED, &r, &hs);
	assert_true(r.msg.has_connect && r.msg.connect.port == 4711);
	assert_memory_equal(r.msg.connect.addr, whole + 8, 16);
	assert_int_equal(r.msg.unknown_type, 99);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint8_t other[sizeof(whole)];

		memcpy(other, whole, sizeof(whole));
		other[bad[i].at] = bad[i].value;
		if (bad[i].at == 6)
			other[7] = 0;
		play_incoming(other, sizeof(other), HS_CONVERTER, &r, &hs);
		if (r.parse != bad[i].parse)
			fail_msg("%s: %s", bad[i].what, cvt_verdict_name(r.parse));
	}
}

/* What decides whether bytes are taken at all: the first of them that no message has. */
static void beginnings(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
		bool rfc, zero, any;
	} cases[] = {
		{ "\1", 1, true, true, true },
		{ "\1\6", 2, true, true, true },
		{ "\1\6\x22", 3, true, false, true },
		{ "\1\6\0", 3, false, true, true },
		{ "\1\6\x22\x63", 4, true, false, true },
		{ "\1\6\0\0", 4, false, true, true },
		{ "\1\0\x22\x63", 4, true, false, true },
		{ "\2", 1, false, false, false },
		{ "GET ", 4, false, false, false },
		{ "\1\6\x22\x64", 4, false, false, false },
		{ "\0", 1, false, false, false },
	};
	struct hs hs;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct cvt_span b = { (const uint8_t *)cases[i].bytes, cases[i].n };

		hs_start_incoming(&hs, RFC, false);
		assert_int_equal(hs_may_begin(&hs, b), cases[i].rfc);
		hs_start_incoming(&hs, DRAFT, false);
		assert_int_equal(hs_may_begin(&hs, b), cases[i].zero);
		hs_start_incoming(&hs, RFC, true);
		assert_int_equal(hs_may_begin(&hs, b), cases[i].any);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_split_of_every_reply),
		cmocka_unit_test(every_split_of_bad_replies),
		cmocka_unit_test(greatest_reply),
		cmocka_unit_test(every_truncation_waits),
		cmocka_unit_test(every_error_code),
		cmocka_unit_test(every_icmp_code),
		cmocka_unit_test(missing_cookie),
		cmocka_unit_test(error_beside_extended_header),
		cmocka_unit_test(unknown_tlv),
		cmocka_unit_test(base_connect_success),
		cmocka_unit_test(pinned_and_any_word),
		cmocka_unit_test(list_in_type_22),
		cmocka_unit_test(started_again),
		cmocka_unit_test(evidence_of_the_dialect),
		cmocka_unit_test(no_evidence),
		cmocka_unit_test(incoming),
		cmocka_unit_test(beginnings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

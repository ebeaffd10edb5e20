// SPDX-License-Identifier: MIT
/*
 * The handshake machine. Input: one byte of settings, four that seed the cuts, then what the
 * converter sends. Asserted: any cut gives the same result, nothing behind the reply is asked
 * for, the machine ends, and its verdict is the message's.
 */
#include "fuzz.h"
#include "handshake.h"

#include <errno.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
	enum hs_verdict verdict; /* HS_MORE: the bytes ended first */
	size_t taken;
	struct hs hs;
	struct hs_result result;
};

struct setting {
	enum cvt_dialect dialect;
	bool any_word, target_v4;
};

static uint32_t next_random(uint32_t *seed) /* xorshift32, never 0 */
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	return *seed;
}

/* Feeds pieces of random size, or all that is asked for if seed is 0. */
static void feed(struct outcome *o, const uint8_t *bytes, size_t n, struct setting set,
		 uint32_t seed)
{
	memset(o, 0, sizeof(*o));
	hs_start(&o->hs, set.dialect, set.any_word);
	while (o->verdict == HS_MORE && o->taken < n) {
		size_t want = hs_want(&o->hs), piece = n - o->taken;

		CHECK(want > 0);
		CHECK(o->taken + want <= (o->taken < 4 ? 4 : 4UL * bytes[1]));
		CHECK(hs_room(&o->hs) == o->hs.buf + o->taken);
		if (piece > want)
			piece = want;
		if (seed)
			piece = 1 + next_random(&seed) % piece;
		memcpy(hs_room(&o->hs), bytes + o->taken, piece);
		o->taken += piece;
		o->verdict = hs_took(&o->hs, piece, set.target_v4, &o->result);
	}
}

static void check_same(const struct outcome *a, const struct outcome *b)
{
	CHECK(a->verdict == b->verdict && a->taken == b->taken);
	CHECK(a->hs.got == b->hs.got && memcmp(a->hs.buf, b->hs.buf, a->hs.got) == 0);
	if (a->verdict == HS_MORE)
		return;
	CHECK(a->result.verdict == b->result.verdict);
	CHECK(a->result.err == b->result.err && a->result.parse == b->result.parse);
	CHECK(a->result.msg.has_error == b->result.msg.has_error);
	CHECK(a->result.msg.error.code == b->result.msg.error.code);
	CHECK(a->result.msg.error.value.len == b->result.msg.error.value.len);
	CHECK(a->result.msg.ext_tcp_header.len == b->result.msg.ext_tcp_header.len);
}

/* The result says one thing only, and one that the message can mean. */
static void check_sense(const struct outcome *o, const uint8_t *bytes)
{
	const struct hs_result *r = &o->result;

	CHECK(r->verdict == o->verdict);
	CHECK((r->err == 0) == (r->verdict == HS_CONNECTED));
	/* programs poll on these: never the errno of a finished failure (PROTOCOL 2) */
	CHECK(r->err != EAGAIN && r->err != EINPROGRESS && r->err != EINTR && r->err >= 0);
	if (r->parse != CVT_OK) {
		CHECK(r->verdict == HS_CONVERTER && r->err == EPROTO);
		return;
	}
	CHECK(o->taken == 4UL * bytes[1]);
	CHECK(r->verdict == HS_CONNECTED || r->msg.has_error);
	if (r->msg.has_error && r->verdict == HS_CONNECTED) /* */
		CHECK(r->msg.ext_tcp_header.p && bytes[2] == 0);
	if (r->verdict == HS_SERVER)
		CHECK(r->msg.error.code >= 96 && r->msg.error.code < 128);
	if (r->verdict == HS_COOKIE)
		CHECK(r->msg.error.code == 3 && r->msg.error.value.len > 4 &&
		      r->msg.error.value.len <= 993);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct outcome whole, pieces, bytewise;
	struct setting set;
	uint32_t seed;

	if (size < 5)
		return 0;
	set = (struct setting){ (enum cvt_dialect)(data[0] % 3), data[0] & 0x80, data[0] & 0x40 };
	memcpy(&seed, data + 1, 4);
	data += 5;
	size -= 5;
	feed(&whole, data, size, set, 0);
	feed(&pieces, data, size, set, seed | 1);
	check_same(&whole, &pieces);
	/* byte by byte: each of the machine's questions is answered with one byte */
	memset(&bytewise, 0, sizeof(bytewise));
	hs_start(&bytewise.hs, set.dialect, set.any_word);
	while (bytewise.verdict == HS_MORE && bytewise.taken < size) {
		*hs_room(&bytewise.hs) = data[bytewise.taken++];
		bytewise.verdict = hs_took(&bytewise.hs, 1, set.target_v4, &bytewise.result);
	}
	check_same(&whole, &bytewise);
	if (whole.verdict != HS_MORE)
		check_sense(&whole, data);
	else
		CHECK(whole.taken == size);
	return 0;
}

// SPDX-License-Identifier: MIT
/*
 * The message at the head of an incoming connection. Input: one byte of settings, four that seed the
 * cuts, then what comes from the converter. Asserted: what may not begin a message is none, whatever
 * follows; any cut gives the same result; nothing behind the message is asked for; and what is taken
 * for one names a host somewhere else, in bytes that say the same when they are written again.
 */
#include "addr.h"
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

static uint32_t next_random(uint32_t *seed) /* xorshift32, never 0 */
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	return *seed;
}

/* Pieces of random size, or all that is asked for if seed is 0. */
static void feed(struct outcome *o, struct cvt_span bytes, uint8_t settings, uint32_t seed)
{
	memset(o, 0, sizeof(*o));
	hs_start_incoming(&o->hs, (enum cvt_dialect)(settings % 3), settings & 0x80);
	while (o->verdict == HS_MORE && o->taken < bytes.len) {
		size_t want = hs_want(&o->hs), piece = bytes.len - o->taken;

		CHECK(want > 0);
		CHECK(o->taken + want <= (o->taken < 4 ? 4 : 4UL * bytes.p[1]));
		if (piece > want)
			piece = want;
		if (seed)
			piece = 1 + next_random(&seed) % piece;
		memcpy(hs_room(&o->hs), bytes.p + o->taken, piece);
		o->taken += piece;
		o->verdict = hs_took(&o->hs, piece, false, &o->result);
	}
}

/* A Connect TLV alone has one way to be written. */
static void check_written(const struct outcome *o, const uint8_t *bytes)
{
	const struct cvt_msg *m = &o->result.msg;
	struct cvt_writer w;
	int len;

	if (m->connect.opts.len || o->taken != CVT_HEADER_LEN + CVT_CONNECT_LEN)
		return;
	cvt_begin(&w, bytes[2] ? CVT_DIALECT_RFC8803 : CVT_DIALECT_DRAFT02);
	cvt_put_connect(&w, m->connect.addr, m->connect.port, m->connect.opts);
	len = cvt_finish(&w);
	CHECK(len == (int)o->taken && memcmp(w.bytes, bytes, o->taken) == 0);
}

static void check_sense(const struct outcome *o, const uint8_t *bytes)
{
	const struct cvt_msg *m = &o->result.msg;
	struct addr remote = { .port = m->connect.port };

	CHECK(o->verdict == o->result.verdict);
	if (o->verdict != HS_CONNECTED) {
		CHECK(o->verdict == HS_CONVERTER && o->result.err == EPROTO);
		return;
	}
	memcpy(remote.ip, m->connect.addr, sizeof(remote.ip));
	CHECK(o->taken == 4UL * bytes[1] && o->result.err == 0 && o->result.parse == CVT_OK);
	CHECK(m->has_connect && !m->has_error && !m->has_info && !m->convert_cookie.p);
	CHECK(remote.port && addr_classify(&remote) == ADDR_GLOBAL);
	check_written(o, bytes);
}

/* Every beginning of what may begin a message may, and what ends as one might from its first byte on. */
static void check_begin(const struct outcome *o, struct cvt_span bytes)
{
	size_t most = bytes.len < CVT_HEADER_LEN ? bytes.len : CVT_HEADER_LEN;
	struct hs hs = o->hs;
	bool before = true;

	for (size_t n = 1; n <= most; n++) {
		bool now = hs_may_begin(&hs, (struct cvt_span){ bytes.p, n });

		CHECK(before || !now);
		before = now;
	}
	CHECK(before || o->verdict != HS_CONNECTED);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct outcome whole, pieces;
	struct cvt_span bytes;
	uint32_t seed;

	if (size < 5)
		return 0;
	memcpy(&seed, data + 1, 4);
	bytes = (struct cvt_span){ data + 5, size - 5 };
	feed(&whole, bytes, data[0], 0);
	feed(&pieces, bytes, data[0], seed | 1);
	CHECK(whole.verdict == pieces.verdict && whole.taken == pieces.taken);
	CHECK(whole.result.parse == pieces.result.parse);
	CHECK(memcmp(whole.hs.buf, pieces.hs.buf, whole.hs.got) == 0);
	if (whole.verdict != HS_MORE)
		check_sense(&whole, bytes.p);
	else
		CHECK(whole.taken == bytes.len);
	check_begin(&whole, bytes);
	return 0;
}

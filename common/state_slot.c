// SPDX-License-Identifier: MIT
#include "state_file.h"

#include <string.h>

#define CLOCK_STEP_MS 60000 /* by how much another process's clock may be ahead of now */

static const struct state_shape shapes[] = {
	[STATE_SERVER] = { 64, STATE_SERVER_KEY, STATE_SERVER_VALUE, 1, 1, 2048 },
	[STATE_CONVERTER] = { STATE_BLOCK, STATE_CONVERTER_KEY, STATE_CONVERTER_VALUE, 4, 1 + 2048,
			      128 / 4 },
};

_Static_assert(STATE_SLOT_KEY + STATE_SERVER_KEY + STATE_SERVER_VALUE == 64, "a server's slot");
_Static_assert(STATE_SLOT_KEY + STATE_CONVERTER_KEY + STATE_CONVERTER_VALUE == STATE_BLOCK,
	       "a converter's slot");

const struct state_shape *state_shape(enum state_kind kind)
{
	return &shapes[kind];
}

static uint64_t rotate(uint64_t x, unsigned int by)
{
	return x << by | x >> (64 - by);
}

static void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[2] += v[3];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] = rotate(v[0], 32);
	v[2] += v[1];
	v[0] += v[3];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] = rotate(v[2], 32);
}

/* SipHash-1-3, of whose 64 bits accident meets none; `salt` keeps kinds and versions apart. No
 * protection against somebody who means it: who can write to the file is its owner. */
static uint64_t sip(uint64_t salt, const uint8_t *bytes, size_t len)
{
	uint64_t v[4] = { 0x736f6d6570736575 ^ salt, 0x646f72616e646f6d ^ STATE_VERSION,
			  0x6c7967656e657261 ^ salt, 0x7465646279746573 ^ STATE_VERSION };
	uint64_t word, last = (uint64_t)len << 56;
	size_t i;

	for (i = 0; i + 8 <= len; i += 8) {
		memcpy(&word, bytes + i, 8);
		v[3] ^= word;
		sip_round(v);
		v[0] ^= word;
	}
	for (unsigned int k = 0; i + k < len; k++)
		last |= (uint64_t)bytes[i + k] << 8 * k;
	v[3] ^= last;
	sip_round(v);
	v[0] ^= last;
	v[2] ^= 0xff;
	for (int k = 0; k < 3; k++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint32_t state_bucket(enum state_kind kind, const void *key)
{
	const struct state_shape *s = &shapes[kind];

	return s->first_block +
	       (uint32_t)(sip(kind, key, s->key_len) % s->n_buckets) * s->bucket_blocks;
}

void state_header(uint8_t header[static STATE_HEADER_LEN])
{
	static const char magic[STATE_MAGIC_LEN] = "CONVERT-STATE";

	memset(header, 0, STATE_HEADER_LEN);
	memcpy(header, magic, sizeof(magic));
	header[16] = STATE_VERSION;
}

static uint64_t sum(enum state_kind kind, const uint8_t *slot)
{
	const size_t behind = sizeof(uint64_t);

	return sip(0x5107 + (uint64_t)kind, slot + behind, shapes[kind].slot_len - behind);
}

bool state_slot_is_whole(enum state_kind kind, const uint8_t *slot, struct state_times *times)
{
	uint64_t was;

	memcpy(&was, slot, 8);
	memcpy(&times->written_ms, slot + 8, 8);
	memcpy(&times->until_ms, slot + 16, 8);
	return was == sum(kind, slot);
}

bool state_times_hold(const struct state_times *times, int64_t now_ms)
{
	return times->until_ms > now_ms && times->written_ms >= 0 &&
	       (times->until_ms == STATE_FOREVER || times->written_ms <= now_ms + CLOCK_STEP_MS);
}

bool state_slot_has_key(enum state_kind kind, const uint8_t *slot, const void *key)
{
	return memcmp(slot + STATE_SLOT_KEY, key, shapes[kind].key_len) == 0;
}

void state_slot_seal(enum state_kind kind, uint8_t *slot, const void *key,
		     const struct state_times *times)
{
	uint64_t now_is;

	memcpy(slot + 8, &times->written_ms, 8);
	memcpy(slot + 16, &times->until_ms, 8);
	memcpy(slot + STATE_SLOT_KEY, key, shapes[kind].key_len);
	now_is = sum(kind, slot);
	memcpy(slot, &now_is, 8);
}

uint8_t *state_slot_value(enum state_kind kind, uint8_t *slot)
{
	return slot + STATE_SLOT_KEY + shapes[kind].key_len;
}

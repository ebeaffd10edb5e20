/* SPDX-License-Identifier: MIT */
/*
 * state_slot.h - the state file's bytes: which bucket is a key's, which slots are whole.
 *
 * Promises: pure functions over bytes in memory, any bytes; nothing is found that was not sealed
 * under the same kind, key and version. For state.c, its tests and its fuzzer.
 */
#ifndef CVT_STATE_SLOT_H
#define CVT_STATE_SLOT_H

#include "state.h"

#define STATE_VERSION	 1 /* of the layout; the checksums of another one do not match */
#define STATE_HEADER_LEN 64
#define STATE_MAGIC_LEN	 14 /* at its beginning, of every version */

/* A slot: checksum, written_ms, until_ms, key, value; integers in the host's order. */
#define STATE_SLOT_KEY 24

struct state_shape {
	uint16_t slot_len, key_len, value_len;
	uint16_t bucket_blocks; /* blocks of a bucket, one behind the other */
	uint32_t first_block, n_buckets;
};

const struct state_shape *state_shape(enum state_kind kind);
/* The first block of the key's bucket. */
uint32_t state_bucket(enum state_kind kind, const void *key);

/* "CONVERT-STATE" and the version, the rest zero. */
void state_header(uint8_t header[static STATE_HEADER_LEN]);

/* Is the slot whole? Then its times are filled in. */
bool state_slot_is_whole(enum state_kind kind, const uint8_t *slot, struct state_times *times);
/* Neither expired, nor written before 1970, nor more than a minute from now: the clock has been set
 * back, and then nobody knows how old it is. Of what has no expiry nobody need know. */
bool state_times_hold(const struct state_times *times, int64_t now_ms);
bool state_slot_has_key(enum state_kind kind, const uint8_t *slot, const void *key);
/* The value is in place; fills in everything else. */
void state_slot_seal(enum state_kind kind, uint8_t *slot, const void *key,
		     const struct state_times *times);
uint8_t *state_slot_value(enum state_kind kind, uint8_t *slot);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * reference.h - a second reader of Convert messages, for tests and fuzzers only.
 *
 * Written from PROTOCOL.md 1.1 to 1.4 in another manner than common/wire.c: over 32-bit words,
 * with the table of 1.3 as its only knowledge, and it goes on after a fault to find them all.
 * It shares no code with common/, only the words (enum cvt_verdict, struct cvt_msg) that an
 * opinion has to be compared in.
 */
#ifndef REFERENCE_H
#define REFERENCE_H

#include "wire.h"

struct ref_range { /* bytes of the message; at 0: not there */
	size_t at, len;
};

struct ref {
	uint32_t faults; /* bit (1 << enum cvt_verdict); 0: a good message */
	size_t len;	 /* of the message in bytes */
	bool magic;
	struct ref_range tlv[256]; /* by type: the whole TLV */
	bool supported_as_22;
	uint8_t unknown; /* the last type that PROTOCOL 1.3 does not have */
};

struct ref ref_read(const uint8_t *bytes, size_t n, enum cvt_dialect dialect,
		    enum cvt_direction direction);
/* Judges a whole parse: the reason of a refusal must be one that the message gives. */
const char *ref_disagrees(const uint8_t *bytes, size_t n, enum cvt_dialect dialect,
			  enum cvt_direction direction, enum cvt_verdict verdict,
			  const struct cvt_msg *m);

#define REF_OPTS_MAX 1020
/* Walks TCP options. Fills kinds[] and, for each, where its value is; returns how many. */
size_t ref_options(const uint8_t *p, size_t n, uint8_t kinds[REF_OPTS_MAX],
		   struct ref_range values[REF_OPTS_MAX]);

#endif

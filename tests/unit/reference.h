/* SPDX-License-Identifier: MIT */
/*
 * reference.h - a second reader of Convert messages, and the document's own examples, for tests and fuzzers only.
 *
 * The reader is written from PROTOCOL 1.1 to 1.4 (docs/protocol.md) in another manner than common/wire.c: over 32-bit
 * words, with the table of 1.3 as its only knowledge, and it goes on after a fault to find them all. It shares no code
 * with common/, only the words (enum cvt_verdict, struct cvt_msg) that an opinion has to be compared in.
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

/*
 * The examples of PROTOCOL 1.5 with what the document says of each.
 *
 * The bytes and the meanings are copied from the document, never from what our code made of
 * them. Lists and values are written without their padding.
 */
struct vector {
	const char *name, *hex; /* blanks in the hex mean nothing */
	enum cvt_dialect dialect;
	enum cvt_direction direction;
	bool info;
	const char *target; /* Connect: address in text, NULL: no Connect TLV */
	uint16_t port;
	const char *opts; /* of the Connect TLV */
	const char *cookie;
	const char *ext_tcp_header;
	const char *supported;
	uint8_t supported_type; /* 21 or 22 */
	bool has_error;
	uint8_t error;
	const char *value; /* of the Error TLV, from byte 3 on */
	const char *echo;  /* or the message that it echoes */
};

#define N_VECTORS 24
extern const struct vector vectors[N_VECTORS];

#define EACH_VECTOR(v) for (const struct vector *v = vectors; v < vectors + N_VECTORS; v++)

/* Both return the number of bytes; out takes CVT_MSG_MAX of them. NULL is no bytes. */
size_t unhex(const char *hex, uint8_t *out);
size_t vector_bytes(const struct vector *v, uint8_t *out);

#endif

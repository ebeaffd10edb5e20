/* SPDX-License-Identifier: MIT */
/*
 * vectors.h - the examples of PROTOCOL.md 1.5 with what the document says of each.
 *
 * The bytes and the meanings are copied from the document, never from what our code made of
 * them. Lists and values are written without their padding.
 */
#ifndef VECTORS_H
#define VECTORS_H

#include "wire.h"

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

/* SPDX-License-Identifier: MIT */
/*
 * segment.h - one TCP segment in an IPv4 or IPv6 packet.
 *
 * Promises: pure; every length is tested before it is used. Fragments and IPv6 extension headers
 * are not understood: no SYN has them.
 */
#ifndef LAB_SEGMENT_H
#define LAB_SEGMENT_H

#include <stdbool.h>

#include "addr.h"
#include "wire.h"

struct segment {
	struct addr from, to;
	uint32_t seq;
	uint8_t flags; /* byte 13 of the TCP header */
	struct cvt_span opts, payload;
};

#define SEGMENT_SYN 0x02
#define SEGMENT_ACK 0x10

/* False: not a TCP segment, or cut short. */
bool segment_parse(struct segment *s, struct cvt_span packet);

#define SEGMENT_RST_MAX (20 + CVT_MSG_MAX)
/* The TCP header and payload of a RST from `from` to `to` that acknowledges everything before
 * `ack`. Returns its length. */
size_t segment_build_rst(uint8_t out[static SEGMENT_RST_MAX], const struct addr *from,
			 const struct addr *to, uint32_t ack, struct cvt_span payload);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * segment.h - a TCP segment inside a frame that has its virtio header (PACKET_VNET_HDR) before it:
 * found, changed, and its lengths and checksums set right again. IPv4 and IPv6, without fragments,
 * VLAN tags and IPv6 extension headers. Pure.
 */
#ifndef LAB_SEGMENT_H
#define LAB_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	SEGMENT_FAST_OPEN = 34, /* kinds of TCP options */
	SEGMENT_MPTCP = 30,
	SEGMENT_FAST_OPEN_EXPERIMENT = 0xf989, /* RFC 7413, 4.1.1: in kind 253 or 254 */
};

struct segment {
	uint8_t *frame;
	size_t ip, tcp, data, end; /* where they begin in it; end: behind the data */
	bool is_v6;
};

/* False: there is no whole TCP segment in it. */
bool segment_find(struct segment *s, uint8_t *frame, size_t len);
bool segment_is_syn(const struct segment *s);
bool segment_is_syn_ack(const struct segment *s);
bool segment_has_port(const struct segment *s, uint16_t port);
bool segment_has_option(const struct segment *s, uint8_t kind);
/* NOPs in its place. False: there was none. */
bool segment_strip_option(struct segment *s, uint8_t kind);
/* The same of an experiment's option (RFC 6994). */
bool segment_strip_experiment(struct segment *s, uint16_t id);
/* Takes the data away. False: there was none. */
bool segment_strip_data(struct segment *s);
/* After changes. A checksum that the virtio header leaves to the interface stays left to it. */
void segment_mend(struct segment *s);
/* "10.1.0.1:40000 > 10.1.0.2:5124", "[fd01::1]:40000 > ..." */
#define SEGMENT_TEXT_MAX 112
void segment_text(const struct segment *s, char text[static SEGMENT_TEXT_MAX]);

#endif

// SPDX-License-Identifier: MIT
#include "converter.h"

#include <netinet/in.h>
#include <string.h>

#define IP4_HEADER  20
#define IP6_HEADER  40
#define TCP_HEADER  20
#define TCP_RST_ACK 0x14

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v);
}

static void set_v4(struct addr *a, const uint8_t *four)
{
	memset(a->ip, 0, 10);
	a->ip[10] = a->ip[11] = 0xff;
	memcpy(a->ip + 12, four, 4);
}

/* Where the TCP header starts, 0 if there is none; *end: where the packet ends. */
static size_t ip_header(struct segment *s, struct cvt_span packet, size_t *end)
{
	const uint8_t *p = packet.p;
	size_t len;

	if (packet.len >= IP4_HEADER && p[0] >> 4 == 4) {
		len = (size_t)(p[0] & 15) * 4;
		*end = get16(p + 2);
		if (len < IP4_HEADER || p[9] != IPPROTO_TCP || (get16(p + 6) & 0x3fff))
			return 0;
		set_v4(&s->from, p + 12);
		set_v4(&s->to, p + 16);
		return len;
	}
	if (packet.len >= IP6_HEADER && p[0] >> 4 == 6 && p[6] == IPPROTO_TCP) {
		*end = IP6_HEADER + (size_t)get16(p + 4);
		memcpy(s->from.ip, p + 8, 16);
		memcpy(s->to.ip, p + 24, 16);
		return IP6_HEADER;
	}
	return 0;
}

bool segment_parse(struct segment *s, struct cvt_span packet)
{
	size_t end = 0, at = ip_header(s, packet, &end), data;
	const uint8_t *tcp = packet.p + at;

	if (at == 0 || end > packet.len || end < at + TCP_HEADER)
		return false;
	data = (size_t)(tcp[12] >> 4) * 4;
	if (data < TCP_HEADER || data > end - at)
		return false;
	s->from.port = get16(tcp);
	s->to.port = get16(tcp + 2);
	s->seq = (uint32_t)get16(tcp + 4) << 16 | get16(tcp + 6);
	s->flags = tcp[13];
	s->opts = (struct cvt_span){ tcp + TCP_HEADER, data - TCP_HEADER };
	s->payload = (struct cvt_span){ tcp + data, end - at - data };
	return true;
}

/* Of an even number of bytes: Convert messages are whole words. */
static uint32_t sum(const uint8_t *p, size_t len)
{
	uint32_t total = 0;

	for (size_t i = 0; i + 1 < len; i += 2)
		total += get16(p + i);
	return total;
}

/* RFC 9293, 3.1. A v4-mapped prefix would count in, so only the address itself is taken. */
static uint16_t checksum(const struct addr *from, const struct addr *to, const uint8_t *tcp,
			 size_t len)
{
	size_t skip = addr_is_v4(from) ? 12 : 0;
	uint32_t total = sum(from->ip + skip, 16 - skip) + sum(to->ip + skip, 16 - skip) +
			 IPPROTO_TCP + (uint32_t)len + sum(tcp, len);

	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	return (uint16_t)~total;
}

size_t segment_build_rst(uint8_t out[static SEGMENT_RST_MAX], const struct addr *from,
			 const struct addr *to, uint32_t ack, struct cvt_span payload)
{
	size_t len = TCP_HEADER + payload.len;

	memset(out, 0, TCP_HEADER);
	put16(out, from->port);
	put16(out + 2, to->port);
	put32(out + 8, ack);
	out[12] = TCP_HEADER / 4 << 4;
	out[13] = TCP_RST_ACK;
	if (payload.len)
		memcpy(out + TCP_HEADER, payload.p, payload.len);
	put16(out + 16, checksum(from, to, out, len));
	return len;
}

// SPDX-License-Identifier: MIT
#include "segment.h"

#include <arpa/inet.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#define VIRTIO sizeof(struct virtio_net_hdr)

enum { IPV4_HEADER = 20, IPV6_HEADER = 40, TCP_HEADER = 20, TCP_CHECKSUM = 16 };
enum { END, NOP };
enum { FIN = 1, SYN = 2, RST = 4, ACK = 16 };

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void put16(uint8_t *p, size_t value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

/* Where the segment begins, by the IP header; 0: none. */
static size_t find_ipv4(struct segment *s, size_t len)
{
	const uint8_t *ip = s->frame + s->ip;
	size_t header;

	if (s->ip + IPV4_HEADER > len)
		return 0;
	header = 4U * (ip[0] & 15);
	s->end = s->ip + get16(ip + 2);
	if (ip[0] >> 4 != 4 || header < IPV4_HEADER || ip[9] != IPPROTO_TCP ||
	    (get16(ip + 6) & 0x3fff) != 0)
		return 0;
	return s->ip + header;
}

static size_t find_ipv6(struct segment *s, size_t len)
{
	const uint8_t *ip = s->frame + s->ip;

	if (s->ip + IPV6_HEADER > len || ip[0] >> 4 != 6 || ip[6] != IPPROTO_TCP)
		return 0;
	s->end = s->ip + IPV6_HEADER + get16(ip + 4);
	return s->ip + IPV6_HEADER;
}

bool segment_find(struct segment *s, uint8_t *frame, size_t len)
{
	size_t type = VIRTIO + ETH_HLEN - 2;

	*s = (struct segment){ .frame = frame, .ip = VIRTIO + ETH_HLEN };
	if (len < s->ip)
		return false;
	s->is_v6 = get16(frame + type) == ETH_P_IPV6;
	if (!s->is_v6 && get16(frame + type) != ETH_P_IP)
		return false;
	s->tcp = s->is_v6 ? find_ipv6(s, len) : find_ipv4(s, len);
	if (s->tcp == 0 || s->end > len || s->tcp + TCP_HEADER > s->end)
		return false;
	s->data = s->tcp + 4U * (frame[s->tcp + 12] >> 4);
	return s->data >= s->tcp + TCP_HEADER && s->data <= s->end;
}

static unsigned int flags(const struct segment *s)
{
	return s->frame[s->tcp + 13] & (FIN | SYN | RST | ACK);
}

bool segment_is_syn(const struct segment *s)
{
	return flags(s) == SYN;
}

bool segment_is_syn_ack(const struct segment *s)
{
	return flags(s) == (SYN | ACK);
}

bool segment_has_port(const struct segment *s, uint16_t port)
{
	return get16(s->frame + s->tcp) == port || get16(s->frame + s->tcp + 2) == port;
}

/* RFC 6994: the kinds for experiments are told apart by two bytes behind the length. */
static bool is_experiment(const uint8_t *option, uint16_t id)
{
	return (option[0] == 253 || option[0] == 254) && option[1] >= 4 && get16(option + 2) == id;
}

/* The option, or NULL. One that does not fit ends the list, as it does for the kernel. id: of an
 * experiment, instead of a kind. */
static uint8_t *find_option(const struct segment *s, uint8_t kind, uint16_t id)
{
	size_t at = s->tcp + TCP_HEADER;

	while (at < s->data && s->frame[at] != END) {
		uint8_t *option = s->frame + at;

		if (option[0] == NOP) {
			at++;
			continue;
		}
		if (at + 2 > s->data || option[1] < 2 || at + option[1] > s->data)
			return NULL;
		if (id ? is_experiment(option, id) : option[0] == kind)
			return option;
		at += option[1];
	}
	return NULL;
}

static bool strip(struct segment *s, uint8_t kind, uint16_t id)
{
	uint8_t *option;
	bool found = false;

	while ((option = find_option(s, kind, id))) {
		memset(option, NOP, option[1]);
		found = true;
	}
	return found;
}

bool segment_has_option(const struct segment *s, uint8_t kind)
{
	return find_option(s, kind, 0) != NULL;
}

bool segment_strip_option(struct segment *s, uint8_t kind)
{
	return strip(s, kind, 0);
}

bool segment_strip_experiment(struct segment *s, uint16_t id)
{
	return strip(s, 0, id);
}

bool segment_strip_data(struct segment *s)
{
	bool found = s->end > s->data;

	s->end = s->data;
	return found;
}

/* RFC 1071 */
static uint32_t sum(const uint8_t *p, size_t len, uint32_t n)
{
	for (; len > 1; p += 2, len -= 2)
		n += get16(p);
	if (len)
		n += (uint32_t)*p << 8;
	while (n >> 16)
		n = (n & 0xffff) + (n >> 16);
	return n;
}

static uint32_t pseudo_header(const struct segment *s)
{
	const uint8_t *ip = s->frame + s->ip;
	uint32_t n = sum(s->is_v6 ? ip + 8 : ip + 12, s->is_v6 ? 32 : 8, IPPROTO_TCP);

	return sum(NULL, 0, n + (uint32_t)(s->end - s->tcp));
}

static void mend_ip(struct segment *s)
{
	uint8_t *ip = s->frame + s->ip;

	if (s->is_v6) {
		put16(ip + 4, s->end - s->tcp);
		return;
	}
	put16(ip + 2, s->end - s->ip);
	put16(ip + 10, 0);
	put16(ip + 10, ~sum(ip, s->tcp - s->ip, 0));
}

void segment_mend(struct segment *s)
{
	uint8_t *tcp = s->frame + s->tcp;
	uint32_t n;

	mend_ip(s);
	n = pseudo_header(s);
	put16(tcp + TCP_CHECKSUM, 0);
	if (s->frame[0] & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		put16(tcp + TCP_CHECKSUM, n);
	else
		put16(tcp + TCP_CHECKSUM, ~sum(tcp, s->end - s->tcp, n));
}

void segment_text(const struct segment *s, char text[static SEGMENT_TEXT_MAX])
{
	const uint8_t *ip = s->frame + s->ip, *tcp = s->frame + s->tcp;
	char from[INET6_ADDRSTRLEN], to[INET6_ADDRSTRLEN];

	inet_ntop(s->is_v6 ? AF_INET6 : AF_INET, ip + (s->is_v6 ? 8 : 12), from, sizeof(from));
	inet_ntop(s->is_v6 ? AF_INET6 : AF_INET, ip + (s->is_v6 ? 24 : 16), to, sizeof(to));
	snprintf(text, SEGMENT_TEXT_MAX, s->is_v6 ? "[%s]:%d > [%s]:%d" : "%s:%d > %s:%d", from,
		 get16(tcp), to, get16(tcp + 2));
}

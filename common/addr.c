// SPDX-License-Identifier: MIT
#include "addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>

static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

/* The kernel takes an IPv6 address without the scope id that came later (RFC 2133). */
#define SIN6_LEN_SHORT ((socklen_t)offsetof(struct sockaddr_in6, sin6_scope_id))

static void set_v4(struct addr *a, const void *four_bytes)
{
	memcpy(a->ip, mapped, sizeof(mapped));
	memcpy(a->ip + sizeof(mapped), four_bytes, 4);
}

bool addr_from_bytes(struct addr *a, const void *bytes, size_t len)
{
	*a = (struct addr){ .port = 0 };
	if (len == 4)
		set_v4(a, bytes);
	else if (len == sizeof(a->ip))
		memcpy(a->ip, bytes, len);
	return len == 4 || len == sizeof(a->ip);
}

int addr_from_sockaddr(struct addr *a, const struct sockaddr *sa, socklen_t len)
{
	struct sockaddr_in in;
	struct sockaddr_in6 in6 = { 0 };

	if (len < (socklen_t)sizeof(sa->sa_family))
		return -EINVAL;
	switch (sa->sa_family) {
	case AF_INET:
		if (len < (socklen_t)sizeof(in))
			return -EINVAL;
		memcpy(&in, sa, sizeof(in));
		set_v4(a, &in.sin_addr);
		a->port = ntohs(in.sin_port);
		return 0;
	case AF_INET6:
		if (len < SIN6_LEN_SHORT)
			return -EINVAL;
		memcpy(&in6, sa, SIN6_LEN_SHORT);
		memcpy(a->ip, &in6.sin6_addr, 16);
		a->port = ntohs(in6.sin6_port);
		return 0;
	}
	return -EAFNOSUPPORT;
}

socklen_t addr_to_sockaddr(const struct addr *a, int family, struct sockaddr_storage *out)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(a->port) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(a->port) };

	if (family == AF_INET) {
		memcpy(&in.sin_addr, a->ip + sizeof(mapped), 4);
		memcpy(out, &in, sizeof(in));
		return sizeof(in);
	}
	memcpy(&in6.sin6_addr, a->ip, 16);
	memcpy(out, &in6, sizeof(in6));
	return sizeof(in6);
}

/* As inet_pton() reads it, which takes three times as long. What follows, or NULL. */
static const char *parse_v4(struct addr *a, const char *text)
{
	uint8_t four[4];

	for (int i = 0; i < 4; i++, text++) {
		const char *start = text;
		unsigned int n = 0;

		for (; *text >= '0' && *text <= '9'; text++)
			n = n * 10 + (unsigned int)(*text - '0');
		if (text == start || text > start + 3 || n > 255 ||
		    (*start == '0' && text > start + 1) || (i < 3 && *text != '.'))
			return NULL;
		four[i] = (uint8_t)n;
	}
	set_v4(a, four);
	return text - 1;
}

int addr_parse(struct addr *a, const char *text)
{
	const char *end = parse_v4(a, text);

	if (end && !*end)
		return 0;
	return inet_pton(AF_INET6, text, a->ip) == 1 ? 0 : -EINVAL;
}

/* A decimal number of at most three digits, or -1. */
static int small_number(const char *s)
{
	const char *start = s;
	int n = 0;

	for (; *s >= '0' && *s <= '9' && s < start + 3; s++)
		n = n * 10 + (*s - '0');
	return *s || s == start ? -1 : n;
}

/* Clears the bits behind the first `len`; says whether any was set. */
static bool clear_host_bits(uint8_t ip[16], unsigned int len)
{
	bool any = false;

	for (unsigned int i = len / 8; i < 16; i++) {
		uint8_t keep = i == len / 8 ? (uint8_t)(0xff00U >> len % 8) : 0;

		any |= (ip[i] & (uint8_t)~keep) != 0;
		ip[i] &= keep;
	}
	return any;
}

int addr_parse_prefix(struct addr_prefix *p, const char *text)
{
	char ip[INET6_ADDRSTRLEN];
	struct addr a;
	const char *end = parse_v4(&a, text);
	int bits, most = end ? 32 : 128;
	size_t n;

	if (!end) {
		n = strcspn(text, "/");
		if (n >= sizeof(ip))
			return -EINVAL;
		memcpy(ip, text, n);
		ip[n] = '\0';
		if (inet_pton(AF_INET6, ip, a.ip) != 1)
			return -EINVAL;
		end = text + n;
	}
	bits = !*end ? most : *end == '/' ? small_number(end + 1) : -1;
	if (bits < 0 || bits > most)
		return -EINVAL;
	memcpy(p->ip, a.ip, 16);
	p->len = (uint8_t)(bits + 128 - most);
	return clear_host_bits(p->ip, p->len) ? -EDOM : 0;
}

static char *put_number(char *at, unsigned int n, unsigned int base)
{
	char digits[6];
	size_t d = sizeof(digits);

	do
		digits[--d] = "0123456789abcdef"[n % base];
	while (n /= base);
	memcpy(at, digits + d, sizeof(digits) - d);
	return at + sizeof(digits) - d;
}

static unsigned int group_at(const uint8_t ip[16], int i)
{
	return (unsigned int)(ip[2 * i] << 8 | ip[2 * i + 1]);
}

/* The first of the longest runs of groups that are 0 (RFC 5952, 4.2); its length, 0: none of two. */
static int longest_run(const uint8_t ip[16], int *first)
{
	int best = 1, n = 0;

	for (int i = 0; i < 8; i++) {
		n = group_at(ip, i) ? 0 : n + 1;
		if (n > best) {
			best = n;
			*first = i + 1 - n;
		}
	}
	return best > 1 ? best : 0;
}

static char *put_v6(char *at, const uint8_t ip[16])
{
	int first = -1, run = longest_run(ip, &first);

	for (int i = 0; i < 8; i++) {
		if (run && i == first) {
			*at++ = ':';
			i += run - 1;
			if (i == 7)
				*at++ = ':';
			continue;
		}
		if (i)
			*at++ = ':';
		at = put_number(at, group_at(ip, i), 16);
	}
	return at;
}

/* Not by inet_ntop(), which needs the stack of a printf(). */
void addr_format(const struct addr *a, char out[static ADDR_TEXT_MAX])
{
	const uint8_t *v4 = a->ip + sizeof(mapped);
	char *at = out;

	if (addr_is_v4(a)) {
		for (int i = 0; i < 4; i++) {
			at = put_number(at, v4[i], 10);
			*at++ = i < 3 ? '.' : ':';
		}
	} else {
		*at++ = '[';
		at = put_v6(at, a->ip);
		*at++ = ']';
		*at++ = ':';
	}
	at = put_number(at, a->port, 10);
	*at = '\0';
}

bool addr_is_v4(const struct addr *a)
{
	return memcmp(a->ip, mapped, sizeof(mapped)) == 0;
}

/* FNV-1a, and mixed */
uint32_t addr_hash(const struct addr *a)
{
	uint32_t h = 0x811c9dc5;

	for (size_t i = 0; i < sizeof(a->ip); i++)
		h = (h ^ a->ip[i]) * 0x01000193;
	h = (h ^ h >> 16) * 0x85ebca6b;
	h = (h ^ h >> 13) * 0xc2b2ae35;
	return h ^ h >> 16;
}

bool addr_equal(const struct addr *a, const struct addr *b)
{
	return a->port == b->port && addr_equal_ip(a, b);
}

bool addr_equal_ip(const struct addr *a, const struct addr *b)
{
	return memcmp(a->ip, b->ip, 16) == 0;
}

bool addr_in_prefix(const uint8_t ip[16], const struct addr_prefix *p)
{
	unsigned int whole = p->len / 8, rest = p->len % 8;

	if (memcmp(ip, p->ip, whole) != 0)
		return false;
	return rest == 0 || (ip[whole] ^ p->ip[whole]) >> (8 - rest) == 0;
}

bool addr_prefix_within(const struct addr_prefix *inner, const struct addr_prefix *outer)
{
	return inner->len >= outer->len && addr_in_prefix(inner->ip, outer);
}

static enum addr_class classify_v4(const uint8_t ip[static 4])
{
	if (ip[0] == 127)
		return ADDR_LOOPBACK;
	if (ip[0] == 0)
		return ADDR_UNSPECIFIED;
	if (ip[0] == 169 && ip[1] == 254)
		return ADDR_LINK_LOCAL;
	if (ip[0] >= 224 && ip[0] <= 239)
		return ADDR_MULTICAST;
	if (memcmp(ip, "\xff\xff\xff\xff", 4) == 0)
		return ADDR_BROADCAST;
	return ADDR_GLOBAL;
}

bool addr_is_private(const struct addr *a)
{
	const uint8_t *ip = a->ip + sizeof(mapped);

	return addr_is_v4(a) && (ip[0] == 10 || (ip[0] == 172 && (ip[1] & 0xf0) == 16) ||
				 (ip[0] == 192 && ip[1] == 168) ||
				 (ip[0] == 100 && (ip[1] & 0xc0) == 64) || ip[0] >= 240);
}

const struct addr *addr_out_of_nat64(const struct addr *a, struct addr *room)
{
	static const uint8_t well_known[12] = { 0x00, 0x64, 0xff, 0x9b };

	if (memcmp(a->ip, well_known, sizeof(well_known)) != 0)
		return a;
	*room = *a;
	memcpy(room->ip, mapped, sizeof(mapped));
	return room;
}

enum addr_class addr_classify(const struct addr *a)
{
	static const uint8_t zero[15];

	if (addr_is_v4(a))
		return classify_v4(a->ip + sizeof(mapped));
	if (a->ip[0] == 0xff)
		return ADDR_MULTICAST;
	if (a->ip[0] == 0xfe && (a->ip[1] & 0xc0) == 0x80)
		return ADDR_LINK_LOCAL;
	if (memcmp(a->ip, zero, 15) == 0 && a->ip[15] <= 1)
		return a->ip[15] ? ADDR_LOOPBACK : ADDR_UNSPECIFIED;
	return ADDR_GLOBAL;
}

/* SPDX-License-Identifier: MIT */
/*
 * addr.h - one shape for every address: 16 bytes, IPv4 as v4-mapped, as the Connect TLV has it.
 *
 * Promises: pure functions; never resolves a name, never allocates.
 */
#ifndef CVT_ADDR_H
#define CVT_ADDR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct addr {
	uint8_t ip[16]; /* network order; IPv4 as ::ffff:a.b.c.d (RFC 8803, 4.2.5) */
	uint16_t port;	/* host order */
};

struct addr_prefix {
	uint8_t ip[16]; /* the bits behind len are zero */
	uint8_t len;	/* 0..128 in the IPv6 shape: an IPv4 /8 has 104 */
};

/* What kind of destination an address is: all but ADDR_GLOBAL are never put into a
 * Connect TLV by default (P-19, PROTOCOL 4.10). */
enum addr_class {
	ADDR_GLOBAL,
	ADDR_LOOPBACK,
	ADDR_LINK_LOCAL,
	ADDR_MULTICAST,
	ADDR_UNSPECIFIED, /* all of 0.0.0.0/8, and :: */
	ADDR_BROADCAST,	  /* 255.255.255.255 */
};

/* "[2001:db8:...]:65535" and the final zero */
#define ADDR_TEXT_MAX 56

/* bytes: 4 or 16 of an address in network byte order. False, and :: for *a, if it is neither. The port is 0. */
bool addr_from_bytes(struct addr *a, const void *bytes, size_t len);
/* -EAFNOSUPPORT: neither AF_INET nor AF_INET6. -EINVAL: len is too short for the family. */
int addr_from_sockaddr(struct addr *a, const struct sockaddr *sa, socklen_t len);
/* family AF_INET (only if addr_is_v4) or AF_INET6 (IPv4 stays mapped). Returns the length. */
socklen_t addr_to_sockaddr(const struct addr *a, int family, struct sockaddr_storage *out);
/* Numeric IPv4 or IPv6 text, without port; port is left alone. -EINVAL if it is neither. */
int addr_parse(struct addr *a, const char *text);
/* "192.0.2.0/24", "2001:db8::/32", or an address alone. -EINVAL: not an address or a length
 * that does not fit it; -EDOM: bits are set behind the prefix length. */
int addr_parse_prefix(struct addr_prefix *p, const char *text);
/* "192.0.2.1:443" or "[2001:db8::1]:443" */
void addr_format(const struct addr *a, char out[static ADDR_TEXT_MAX]);

bool addr_is_v4(const struct addr *a);
/* Of the address alone; every bit counts. */
uint32_t addr_hash(const struct addr *a);
bool addr_equal(const struct addr *a, const struct addr *b); /* the port, too */
bool addr_equal_ip(const struct addr *a, const struct addr *b);
bool addr_in_prefix(const uint8_t ip[16], const struct addr_prefix *p);
/* Is every address of `inner` in `outer`? */
bool addr_prefix_within(const struct addr_prefix *inner, const struct addr_prefix *outer);
enum addr_class addr_classify(const struct addr *a);
/* An IPv4 address of one network among many (RFC 1918, RFC 6598), or of none. */
bool addr_is_private(const struct addr *a);
/* Whom NAT64 would reach by it: the IPv4 address within the prefix that is the same everywhere (RFC 6052), mapped,
 * in room; of all other addresses a itself. */
const struct addr *addr_out_of_nat64(const struct addr *a, struct addr *room);
static inline const struct addr *addr_behind_nat64(const struct addr *a, struct addr *room)
{
	return a->ip[1] == 0x64 ? addr_out_of_nat64(a, room) : a; /* most are none */
}

#endif

// SPDX-License-Identifier: MIT
/* Addresses: one shape for both families, and what may never be put into a Connect TLV. */
#include "addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include <cmocka.h>

static struct addr parsed(const char *text)
{
	struct addr a = { .port = 4711 };

	if (addr_parse(&a, text) != 0)
		fail_msg("%s is an address", text);
	assert_int_equal(a.port, 4711); /* "port is left alone" */
	return a;
}

/* ----------------------------------------------------------- sockaddr and back */

/* P-18: IPv4 is v4-mapped */
static void from_sockaddr_in(void **state)
{
	static const uint8_t want[16] = { [10] = 0xff, [11] = 0xff, 192, 0, 2, 1 };
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(443) };
	struct sockaddr_storage longer = { 0 };
	struct addr a;

	(void)state;
	in.sin_addr.s_addr = htonl(0xc0000201);
	assert_int_equal(addr_from_sockaddr(&a, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_memory_equal(a.ip, want, 16);
	assert_int_equal(a.port, 443);
	/* programs pass sizeof(struct sockaddr_storage), and the kernel takes it */
	memcpy(&longer, &in, sizeof(in));
	assert_int_equal(addr_from_sockaddr(&a, (struct sockaddr *)&longer, sizeof(longer)), 0);
	assert_memory_equal(a.ip, want, 16);
	for (socklen_t len = 0; len < sizeof(in); len++)
		assert_int_equal(addr_from_sockaddr(&a, (struct sockaddr *)&in, len), -EINVAL);
}

/* The kernel takes 24 bytes: an IPv6 address without scope id (RFC 2133). */
static void from_sockaddr_in6(void **state)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6,
				    .sin6_port = htons(65535),
				    .sin6_flowinfo = 7,
				    .sin6_scope_id = 3 };
	struct addr a;

	(void)state;
	assert_int_equal(inet_pton(AF_INET6, "2001:db8::1", &in6.sin6_addr), 1);
	for (socklen_t len = 0; len <= sizeof(in6); len++) {
		/* no byte behind len may be read: AddressSanitizer looks at it */
		struct sockaddr *copy = test_malloc(len ? len : 1);
		int r;

		memcpy(copy, &in6, len);
		memset(&a, 0xee, sizeof(a));
		r = addr_from_sockaddr(&a, copy, len);
		assert_int_equal(r, len < 24 ? -EINVAL : 0);
		if (r == 0) {
			assert_memory_equal(a.ip, &in6.sin6_addr, 16);
			assert_int_equal(a.port, 65535);
		}
		test_free(copy);
	}
}

static void from_bytes(void **state)
{
	static const uint8_t v6[16] = { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 },
			     v4[4] = { 192, 0, 2, 1 }, none[16];
	struct addr a = { .port = 1 }, want = parsed("192.0.2.1");

	(void)state;
	assert_true(addr_from_bytes(&a, v4, 4));
	assert_memory_equal(a.ip, want.ip, 16);
	assert_int_equal(a.port, 0);
	assert_true(addr_from_bytes(&a, v6, 16));
	assert_memory_equal(a.ip, v6, 16);
	for (size_t len = 0; len < 16; len += len == 3 ? 2 : 1) {
		assert_false(addr_from_bytes(&a, v6, len));
		assert_memory_equal(a.ip, none, 16);
	}
}

static void other_families(void **state)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX, .sun_path = "/x" };
	struct sockaddr unspec = { .sa_family = AF_UNSPEC };
	struct addr a;

	(void)state;
	assert_int_equal(addr_from_sockaddr(&a, (struct sockaddr *)&un, sizeof(un)), -EAFNOSUPPORT);
	assert_int_equal(addr_from_sockaddr(&a, &unspec, sizeof(unspec)), -EAFNOSUPPORT);
	assert_int_equal(addr_from_sockaddr(&a, &unspec, 2), -EAFNOSUPPORT);
	assert_int_equal(addr_from_sockaddr(&a, &unspec, 1), -EINVAL);
}

static void to_sockaddr(void **state)
{
	static const char *const texts[] = { "192.0.2.1", "2001:db8::1", "0.0.0.0", "::", "::1" };

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct addr a = parsed(texts[i]), b;
		struct sockaddr_storage ss;
		socklen_t len;

		memset(&ss, 0xee, sizeof(ss));
		len = addr_to_sockaddr(&a, AF_INET6, &ss);
		assert_int_equal(len, sizeof(struct sockaddr_in6));
		assert_int_equal(ss.ss_family, AF_INET6);
		assert_int_equal(((struct sockaddr_in6 *)&ss)->sin6_flowinfo, 0);
		assert_int_equal(((struct sockaddr_in6 *)&ss)->sin6_scope_id, 0);
		assert_int_equal(addr_from_sockaddr(&b, (struct sockaddr *)&ss, len), 0);
		assert_true(addr_equal_ip(&a, &b) && a.port == b.port);
		if (!addr_is_v4(&a))
			continue;
		len = addr_to_sockaddr(&a, AF_INET, &ss);
		assert_int_equal(len, sizeof(struct sockaddr_in));
		assert_int_equal(ss.ss_family, AF_INET);
		assert_int_equal(addr_from_sockaddr(&b, (struct sockaddr *)&ss, len), 0);
		assert_true(addr_equal_ip(&a, &b) && a.port == b.port);
	}
}

/* --------------------------------------------------------------------- text */

static void texts_that_are_none(void **state)
{
	static const char *const texts[] = {
		"",	      "1",	     "1.2.3",	     "1.2.3.4.5",   "256.1.1.1",
		" 1.2.3.4",   "1.2.3.4 ",    "1.2.3.4:80",   "[::1]",	    "::1%lo",
		"fe80::1%2",  "2001:db8:::", "1::2::3",	     "example.org", "0x7f.1",
		"1.2.3.4/32", "12345::",     "::ffff:1.2.3", "localhost",   "-1.2.3.4",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct addr a;

		if (addr_parse(&a, texts[i]) != -EINVAL)
			fail_msg("\"%s\" is no address", texts[i]);
	}
}

static void formats(void **state)
{
	static const struct {
		const char *in;
		uint16_t port;
		const char *out;
	} cases[] = {
		{ "192.0.2.1", 443, "192.0.2.1:443" },
		{ "0.0.0.0", 0, "0.0.0.0:0" },
		{ "255.255.255.255", 65535, "255.255.255.255:65535" },
		{ "::ffff:192.0.2.1", 80, "192.0.2.1:80" },
		{ "2001:db8::1", 443, "[2001:db8::1]:443" },
		{ "::", 1, "[::]:1" },
		{ "2001:0db8:1111:2222:3333:4444:5555:6666", 65535,
		  "[2001:db8:1111:2222:3333:4444:5555:6666]:65535" },
		/* the longest that inet_ntop() writes */
		{ "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535,
		  "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct addr a = parsed(cases[i].in);
		char out[ADDR_TEXT_MAX];

		a.port = cases[i].port;
		addr_format(&a, out);
		assert_string_equal(out, cases[i].out);
	}
}

/* ------------------------------------------------------------------- random */

static uint64_t seed;

static uint32_t random_bits(void)
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return (uint32_t)((seed * 0x2545f4914f6cdd1dULL) >> 32);
}

/* Addresses with runs of zeros and ones, so that prefixes meet and texts are shortened. */
static struct addr random_addr(void)
{
	static const uint8_t bytes[] = { 0, 0, 0, 0xff, 0xff, 1, 0x80, 0xfe };
	struct addr a = { .port = (uint16_t)random_bits() };

	for (size_t i = 0; i < 16; i++)
		a.ip[i] = random_bits() % 4 ? bytes[random_bits() % 8] : (uint8_t)random_bits();
	if (random_bits() % 2)
		memcpy(a.ip, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12);
	return a;
}

static void what_is_formatted_is_parsed(void **state)
{
	(void)state;
	seed = 1;
	for (int i = 0; i < 20000; i++) {
		struct addr a = random_addr(), b = { .port = 1 };
		char text[ADDR_TEXT_MAX], *ip = text, *colon;

		addr_format(&a, text);
		assert_true(strlen(text) < ADDR_TEXT_MAX);
		colon = strrchr(text, ':');
		assert_non_null(colon);
		*colon = '\0';
		assert_int_equal(strtoul(colon + 1, NULL, 10), a.port);
		assert_int_equal(addr_is_v4(&a), text[0] != '[');
		if (*ip == '[') {
			assert_int_equal(colon[-1], ']');
			colon[-1] = '\0';
			ip++;
		}
		assert_int_equal(addr_parse(&b, ip), 0);
		assert_true(addr_equal_ip(&a, &b));
	}
}

/* ----------------------------------------------------------------- prefixes */

static void prefixes_by_hand(void **state)
{
	static const struct {
		const char *text;
		int result, len; /* len in the IPv6 shape */
	} cases[] = {
		{ "192.0.2.0/24", 0, 120 },
		{ "192.0.2.1", 0, 128 },
		{ "192.0.2.1/32", 0, 128 },
		{ "0.0.0.0/0", 0, 96 },
		{ "10.0.0.0/8", 0, 104 },
		{ "::/0", 0, 0 },
		{ "2001:db8::/32", 0, 32 },
		{ "2001:db8::1", 0, 128 },
		{ "::1/128", 0, 128 },
		{ "fe80::/10", 0, 10 },
		/* written in the IPv6 shape, so the length counts from the first bit */
		{ "::ffff:192.0.2.0/120", 0, 120 },
		{ "::ffff:0.0.0.0/96", 0, 96 },
		{ "::ffff:192.0.2.0/24", -EDOM, 0 },
		{ "192.0.2.1/24", -EDOM, 0 },
		{ "192.0.2.0/23", 0, 119 },
		{ "192.0.3.0/23", -EDOM, 0 },
		{ "2001:db8::1/64", -EDOM, 0 },
		{ "128.0.0.0/0", -EDOM, 0 },
		{ "8000::/0", -EDOM, 0 },
		{ "192.0.2.0/33", -EINVAL, 0 },
		{ "2001:db8::/129", -EINVAL, 0 },
		{ "192.0.2.0/", -EINVAL, 0 },
		{ "192.0.2.0/-1", -EINVAL, 0 },
		{ "192.0.2.0/+8", -EINVAL, 0 },
		{ "192.0.2.0/ 8", -EINVAL, 0 },
		{ "192.0.2.0/8 ", -EINVAL, 0 },
		{ "192.0.2.0/1000", -EINVAL, 0 },
		{ "192.0.2.0/4294967320", -EINVAL, 0 },
		{ "192.0.2.0/255.255.255.0", -EINVAL, 0 },
		{ "192.0.2.0/24/24", -EINVAL, 0 },
		{ "::/0a", -EINVAL, 0 },
		{ "::/:", -EINVAL, 0 },
		{ "/24", -EINVAL, 0 },
		{ "", -EINVAL, 0 },
		{ "192.0.2/24", -EINVAL, 0 },
		{ "example.org/24", -EINVAL, 0 },
		/* longer than any address text: by one, and by much */
		{ "0000:0000:0000:0000:0000:ffff:255.255.255.255./128", -EINVAL, 0 },
		{ "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000/64", -EINVAL, 0 },
		{ "0000:0000:0000:0000:0000:ffff:255.255.255.255/128", 0, 128 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct addr_prefix p;
		int r = addr_parse_prefix(&p, cases[i].text);

		if (r != cases[i].result || (r == 0 && p.len != cases[i].len))
			fail_msg("\"%s\": %d, length %d", cases[i].text, r, r ? -1 : p.len);
	}
}

static bool bit(const uint8_t ip[16], unsigned int n)
{
	return ip[n / 8] >> (7 - n % 8) & 1;
}

/* The definition, bit by bit. */
static unsigned int common_bits(const uint8_t a[16], const uint8_t b[16])
{
	unsigned int n = 0;

	while (n < 128 && bit(a, n) == bit(b, n))
		n++;
	return n;
}

static struct addr_prefix random_prefix(struct addr *inside)
{
	struct addr_prefix p = { .len = (uint8_t)(random_bits() % 129) };

	*inside = random_addr();
	for (unsigned int n = 0; n < p.len; n++)
		if (bit(inside->ip, n))
			p.ip[n / 8] |= (uint8_t)(0x80 >> n % 8);
	return p;
}

static void prefixes_are_what_their_bits_say(void **state)
{
	unsigned int in = 0, within = 0;

	(void)state;
	seed = 2;
	for (int i = 0; i < 200000; i++) {
		struct addr a, b;
		struct addr_prefix p = random_prefix(&a), q = random_prefix(&b);
		bool want;

		assert_true(addr_in_prefix(a.ip, &p));
		want = common_bits(b.ip, p.ip) >= p.len;
		assert_int_equal(addr_in_prefix(b.ip, &p), want);
		in += want;
		/* q is within p: it is as long, and all that p fixes is the same in q */
		want = q.len >= p.len && common_bits(q.ip, p.ip) >= p.len;
		assert_int_equal(addr_prefix_within(&q, &p), want);
		within += want;
		assert_true(addr_prefix_within(&p, &p));
	}
	print_message("# %u addresses inside, %u prefixes within\n", in, within);
	assert_true(in > 1000 && within > 1000);
}

/* Every length of prefix, with the last bit inside and the first one outside flipped. */
static void every_prefix_length(void **state)
{
	(void)state;
	seed = 3;
	for (unsigned int len = 0; len <= 128; len++) {
		struct addr a = random_addr();
		char text[ADDR_TEXT_MAX + 8], ip[INET6_ADDRSTRLEN];
		struct addr_prefix p;

		for (unsigned int n = len; n < 128; n++)
			a.ip[n / 8] &= (uint8_t) ~(0x80 >> n % 8);
		inet_ntop(AF_INET6, a.ip, ip, sizeof(ip));
		snprintf(text, sizeof(text), "%s/%u", ip, len);
		assert_int_equal(addr_parse_prefix(&p, text), 0);
		assert_int_equal(p.len, len);
		assert_memory_equal(p.ip, a.ip, 16);
		assert_true(addr_in_prefix(a.ip, &p));
		if (len < 128) {
			a.ip[len / 8] ^= (uint8_t)(0x80 >> len % 8);
			assert_true(addr_in_prefix(a.ip, &p));
			inet_ntop(AF_INET6, a.ip, ip, sizeof(ip));
			snprintf(text, sizeof(text), "%s/%u", ip, len);
			assert_int_equal(addr_parse_prefix(&p, text), -EDOM);
		}
		if (len > 0) {
			a.ip[(len - 1) / 8] ^= (uint8_t)(0x80 >> (len - 1) % 8);
			assert_false(addr_in_prefix(a.ip, &p));
		}
	}
}

/* ------------------------------------------------------------------ classes */

/* P-19, PROTOCOL 4.10 */
static void classes(void **state)
{
	static const struct {
		const char *text;
		enum addr_class want;
	} cases[] = {
		{ "127.0.0.1", ADDR_LOOPBACK },
		{ "127.255.255.255", ADDR_LOOPBACK },
		{ "126.255.255.255", ADDR_GLOBAL },
		{ "128.0.0.0", ADDR_GLOBAL },
		{ "::1", ADDR_LOOPBACK },
		{ "::ffff:127.0.0.1", ADDR_LOOPBACK }, /* "also when v4-mapped" */
		{ "0.0.0.0", ADDR_UNSPECIFIED },
		{ "0.255.255.255", ADDR_UNSPECIFIED }, /* Linux: this host, like 0.0.0.0 */
		{ "1.0.0.0", ADDR_GLOBAL },
		{ "::", ADDR_UNSPECIFIED },
		{ "::ffff:0.0.0.0", ADDR_UNSPECIFIED },
		{ "::2", ADDR_GLOBAL },
		{ "1::", ADDR_GLOBAL },
		{ "0:0:0:0:0:0:1:0", ADDR_GLOBAL },
		{ "169.254.0.0", ADDR_LINK_LOCAL },
		{ "169.254.255.255", ADDR_LINK_LOCAL },
		{ "169.253.255.255", ADDR_GLOBAL },
		{ "169.255.0.0", ADDR_GLOBAL },
		{ "fe80::", ADDR_LINK_LOCAL },
		{ "fe80::1", ADDR_LINK_LOCAL },
		{ "febf:ffff::1", ADDR_LINK_LOCAL }, /* all of fe80::/10 */
		{ "fe7f:ffff::1", ADDR_GLOBAL },
		{ "fec0::1", ADDR_GLOBAL },
		{ "fd00::1", ADDR_GLOBAL },
		{ "224.0.0.0", ADDR_MULTICAST },
		{ "239.255.255.255", ADDR_MULTICAST },
		{ "223.255.255.255", ADDR_GLOBAL },
		{ "240.0.0.0", ADDR_GLOBAL },
		{ "ff00::", ADDR_MULTICAST },
		{ "ff02::1", ADDR_MULTICAST },
		{ "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ADDR_MULTICAST },
		{ "feff::1", ADDR_GLOBAL },
		{ "::ffff:224.0.0.1", ADDR_MULTICAST },
		{ "255.255.255.255", ADDR_BROADCAST },
		{ "255.255.255.254", ADDR_GLOBAL },
		{ "::ffff:255.255.255.255", ADDR_BROADCAST },
		{ "192.0.2.1", ADDR_GLOBAL },
		{ "10.0.0.1", ADDR_GLOBAL },
		{ "2001:db8::1", ADDR_GLOBAL },
		{ "64:ff9b::7f00:1", ADDR_GLOBAL },
		{ "::127.0.0.1", ADDR_GLOBAL }, /* v4-compatible is not v4-mapped */
		{ "::fffe:127.0.0.1", ADDR_GLOBAL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct addr a = parsed(cases[i].text);

		if (addr_classify(&a) != cases[i].want)
			fail_msg("%s: %d, not %d", cases[i].text, (int)addr_classify(&a),
				 (int)cases[i].want);
	}
}

static void private_or_not(void **state)
{
	static const char *const private[] = { "10.0.0.0",	  "10.255.255.255", "172.16.0.0",
					       "172.31.255.255",  "192.168.0.1",    "100.64.0.0",
					       "100.127.255.255", "240.0.0.1" };
	static const char *const others[] = { "9.255.255.255",	  "11.0.0.0",	 "172.15.255.255",
					      "172.32.0.0",	  "192.167.1.1", "100.63.255.255",
					      "100.128.0.0",	  "2001:db8::1", "::10.0.0.1",
					      "64:ff9b::10.0.0.1" };

	(void)state;
	for (size_t i = 0; i < sizeof(private) / sizeof(private[0]); i++) {
		struct addr a = parsed(private[i]);

		assert_true(addr_is_private(&a));
	}
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		struct addr a = parsed(others[i]);

		assert_false(addr_is_private(&a));
	}
}

static void behind_nat64(void **state)
{
	static const char *const cases[][2] = {
		{ "64:ff9b::192.0.2.33", "192.0.2.33" },
		{ "64:ff9b::", "0.0.0.0" },
		{ "64:ff9b:1::192.0.2.33", NULL }, /* one network's own (RFC 8215) */
		{ "64:ff9b::1:192.0.2.33", NULL },
		{ "192.0.2.33", NULL },
		{ "2001:db8::1", NULL },
		{ "::", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct addr a = parsed(cases[i][0]), room,
			    want = parsed(cases[i][cases[i][1] ? 1 : 0]);

		a.port = want.port = 443;
		assert_true(addr_equal(addr_behind_nat64(&a, &room), &want));
	}
}

static void v4_or_not(void **state)
{
	struct addr a = parsed("1.2.3.4"), b = parsed("::ffff:1.2.3.4"), c = parsed("::1.2.3.4");

	(void)state;
	assert_true(addr_is_v4(&a));
	assert_true(addr_is_v4(&b));
	assert_false(addr_is_v4(&c));
	a.port = 1; /* the port is not part of it */
	assert_true(addr_equal_ip(&a, &b));
	assert_false(addr_equal_ip(&a, &c));
	for (unsigned int n = 0; n < 128; n++) {
		struct addr d = b;

		d.ip[n / 8] ^= (uint8_t)(0x80 >> n % 8);
		assert_int_equal(addr_is_v4(&d), n >= 96);
		assert_false(addr_equal_ip(&d, &b));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(from_sockaddr_in),
		cmocka_unit_test(from_sockaddr_in6),
		cmocka_unit_test(from_bytes),
		cmocka_unit_test(other_families),
		cmocka_unit_test(to_sockaddr),
		cmocka_unit_test(texts_that_are_none),
		cmocka_unit_test(formats),
		cmocka_unit_test(what_is_formatted_is_parsed),
		cmocka_unit_test(prefixes_by_hand),
		cmocka_unit_test(prefixes_are_what_their_bits_say),
		cmocka_unit_test(every_prefix_length),
		cmocka_unit_test(classes),
		cmocka_unit_test(private_or_not),
		cmocka_unit_test(behind_nat64),
		cmocka_unit_test(v4_or_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

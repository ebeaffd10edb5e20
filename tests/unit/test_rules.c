// SPDX-License-Identifier: MIT
/* The grammar of rules, and the index against a linear search over thousands of random sets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rules.h"

static struct config_error err;

static struct addr address(const char *ip, unsigned int port)
{
	struct addr a = { .port = (uint16_t)port };

	assert_int_equal(addr_parse(&a, ip), 0);
	return a;
}

static void assert_prefix(const struct addr_prefix *p, const char *text)
{
	struct addr_prefix expected;

	assert_int_equal(addr_parse_prefix(&expected, text), 0);
	assert_int_equal(p->len, expected.len);
	assert_memory_equal(p->ip, expected.ip, 16);
}

/* The rules' texts end with NULL; the program is curl; lines count from 1. */
static struct config_rules *rules_of(const char *const texts[])
{
	struct config_rules *rules = config_rules_new(false);

	for (unsigned int i = 0; texts[i]; i++) {
		if (config_rules_add(rules, texts[i], i + 1, "curl", &err) < 0)
			fail_msg("%s: %s", texts[i], err.what);
	}
	assert_int_equal(config_rules_finish(rules), 0);
	return rules;
}

/* The line of the rule that decides, 0 if none does. */
static unsigned int line_for(const struct config_rules *rules, const char *ip, unsigned int port)
{
	struct addr dst = address(ip, port);
	struct config_rule_match match;

	if (!config_rules_find(rules, &dst, &match))
		return 0;
	assert_int_equal(match.index, match.line - 1);
	return match.line;
}

static void no_rules(void **state)
{
	struct config_rules *rules = rules_of((const char *[]){ NULL });

	(void)state;
	assert_int_equal(config_rules_count(rules), 0);
	assert_int_equal(line_for(rules, "192.0.2.1", 80), 0);
	config_rules_free(rules);
	config_rules_free(NULL);
}

static void first_match_decides(void **state)
{
	struct config_rules *rules = rules_of((const char *[]){
		"direct to 10.1.0.0/16", "convert to 10.0.0.0/8", "direct to 10.1.2.0/24",
		"direct port 22", "convert to 192.0.2.1", "direct", "convert", NULL });

	(void)state;
	assert_int_equal(line_for(rules, "10.1.2.3", 80), 1);
	assert_int_equal(line_for(rules, "10.2.0.0", 22), 2);
	assert_int_equal(line_for(rules, "192.0.2.1", 22), 4);
	assert_int_equal(line_for(rules, "192.0.2.1", 23), 5);
	assert_int_equal(line_for(rules, "192.0.2.2", 23), 6);
	assert_int_equal(line_for(rules, "2001:db8::1", 1), 6);
	config_rules_free(rules);
}

static void words_in_any_order(void **state)
{
	static const char *const texts[] = {
		"convert to 10.0.0.0/8 port 80 app curl",
		"app curl port 80 to 10.0.0.0/8 convert",
		"port 80 convert app curl to 10.0.0.0/8",
		"\tapp\tcurl convert  port 80\tto 10.0.0.0/8",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct config_rules *rules = rules_of((const char *[]){ texts[i], NULL });

		assert_int_equal(line_for(rules, "10.0.0.1", 80), 1);
		assert_int_equal(line_for(rules, "10.0.0.1", 81), 0);
		assert_int_equal(line_for(rules, "11.0.0.1", 80), 0);
		config_rules_free(rules);
	}
}

static void lists(void **state)
{
	struct config_rules *rules = rules_of(
		(const char *[]){ "direct to 10.0.0.0/8,192.0.2.0/24 , 2001:db8::/32,198.51.100.7 "
				  "port 80,8000-8080, 443",
				  "convert port 1,65535 app wget,curl", NULL });

	(void)state;
	assert_int_equal(line_for(rules, "10.9.9.9", 80), 1);
	assert_int_equal(line_for(rules, "192.0.2.255", 8000), 1);
	assert_int_equal(line_for(rules, "2001:db8:1::", 8080), 1);
	assert_int_equal(line_for(rules, "198.51.100.7", 443), 1);
	assert_int_equal(line_for(rules, "198.51.100.7", 8081), 0);
	assert_int_equal(line_for(rules, "198.51.100.7", 7999), 0);
	assert_int_equal(line_for(rules, "198.51.100.8", 443), 0);
	assert_int_equal(line_for(rules, "198.51.100.7", 1), 2);
	assert_int_equal(line_for(rules, "198.51.100.7", 65535), 2);
	config_rules_free(rules);
}

static void programs(void **state)
{
	struct config_rules *rules = rules_of(
		(const char *[]){ "direct app wget", "direct app curl2,cur", "direct app Curl",
				  "convert app git,curl", NULL });
	struct addr dst = address("192.0.2.1", 80);
	struct config_rule_match match;

	(void)state;
	assert_int_equal(config_rules_count(rules), 4);
	assert_true(config_rules_find(rules, &dst, &match));
	assert_int_equal(match.index, 3);
	assert_int_equal(match.line, 4);
	assert_true(match.converts);
	assert_false(match.has_to);
	config_rules_free(rules);
	rules = config_rules_new(false);
	assert_int_equal(config_rules_add(rules, "direct app curl", 1, NULL, &err), 0);
	assert_int_equal(config_rules_finish(rules), 0);
	assert_int_equal(line_for(rules, "192.0.2.1", 80), 0);
	config_rules_free(rules);
}

/* By either of its names, of the rule and of the program. */
static void login_shells(void **state)
{
	static const char *const texts[] = { "direct app bash", "direct app -bash" };
	static const char *const names[] = { "bash", "-bash" };

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct config_rules *rules = config_rules_new(false);

		assert_int_equal(config_rules_add(rules, texts[i / 2], 1, names[i % 2], &err), 0);
		assert_int_equal(config_rules_finish(rules), 0);
		assert_int_equal(line_for(rules, "192.0.2.1", 80), 1);
		config_rules_free(rules);
	}
}

/* IPv4 is v4-mapped inside; people who write ::/0 mean IPv6. */
static void families_are_apart(void **state)
{
	struct config_rules *rules = rules_of((const char *[]){
		"direct to ::/0", "direct to ::/96", "convert to 0.0.0.0/0", "direct", NULL });

	(void)state;
	assert_int_equal(line_for(rules, "2001:db8::1", 80), 1);
	assert_int_equal(line_for(rules, "::1", 80), 1);
	assert_int_equal(line_for(rules, "192.0.2.1", 80), 3);
	assert_int_equal(line_for(rules, "::ffff:192.0.2.1", 80), 3);
	config_rules_free(rules);
	rules = rules_of(
		(const char *[]){ "direct to ::/64", "direct to ::ffff:192.0.2.0/120", NULL });
	assert_int_equal(line_for(rules, "192.0.2.1", 80), 2);
	assert_int_equal(line_for(rules, "192.0.3.1", 80), 0);
	config_rules_free(rules);
}

static void reports_the_prefix(void **state)
{
	struct config_rules *rules = rules_of(
		(const char *[]){ "direct to 10.0.0.0/8 port 22",
				  "convert to 0.0.0.0/0,127.0.0.0/8,127.0.0.1,10.1.0.0/16", NULL });
	struct config_rule_match match;
	struct addr dst = address("127.0.0.1", 80);

	(void)state;
	assert_true(config_rules_find(rules, &dst, &match));
	assert_true(match.has_to);
	assert_prefix(&match.to, "127.0.0.1/32");
	dst = address("127.0.0.2", 80);
	assert_true(config_rules_find(rules, &dst, &match));
	assert_prefix(&match.to, "127.0.0.0/8");
	dst = address("128.0.0.2", 80);
	assert_true(config_rules_find(rules, &dst, &match));
	assert_prefix(&match.to, "0.0.0.0/0");
	dst = address("10.1.0.2", 22);
	assert_true(config_rules_find(rules, &dst, &match));
	assert_prefix(&match.to, "10.0.0.0/8");
	config_rules_free(rules);
}

static void mistakes(void **state)
{
	static const struct {
		const char *text, *what;
	} rows[] = {
		{ "to 10.0.0.0/8", "expected direct or convert" },
		{ "port 80", "expected direct or convert" },
		{ "direct convert", "one of direct and convert, once" },
		{ "direct direct", "one of direct and convert, once" },
		{ "direct port", "port : expected ports" },
		{ "direct port 80,", "port : expected ports" },
		{ "direct port ,80", "port : expected ports" },
		{ "direct port 80,,81", "port : expected ports" },
		{ "direct port 0", "port 0: expected ports" },
		{ "direct port 65536", "port 65536: expected ports" },
		{ "direct port 80-", "port 80-: expected ports" },
		{ "direct port -80", "port -80: expected ports" },
		{ "direct port 81-80", "port 81-80: expected ports" },
		{ "direct port 80-81-82", "port 80-81-82: expected ports" },
		{ "direct port 80-81-", "port 80-81-: expected ports" },
		{ "direct port 80 - 81", "\"-\": expected direct, convert" },
		{ "direct port http", "port http: expected ports" },
		{ "direct port 80:90", "port 80:90: expected ports" },
		{ "direct port 80 81", "\"81\": expected direct, convert" },
		{ "direct port 80 port 81", "a second \"port\"" },
		{ "direct port +80", "port +80: expected ports" },
		{ "direct port 00000000000080", "expected ports" },
		{ "direct to", "to : expected numeric prefixes" },
		{ "direct to port 80", "to port: expected numeric" },
		{ "direct to example.org", "to example.org: expected numeric" },
		{ "direct to 10.0.0.1/8", "to 10.0.0.1/8: expected no bits behind" },
		{ "direct to 10.0.0.0/33", "to 10.0.0.0/33: expected numeric" },
		{ "direct to 10.0.0.0/", "expected numeric" },
		{ "direct to 10.0.0.0/8,x", "to x: expected numeric" },
		{ "direct to 10.0.0.0/8,", "to : expected numeric" },
		{ "direct to 10.0.0.0/8 to 11.0.0.0/8", "a second \"to\"" },
		{ "direct app", "app : expected program names" },
		{ "direct app /usr/bin/curl", "app /usr/bin/curl: expected program names without" },
		{ "direct app curl app wget", "a second \"app\"" },
		{ "direct app wget port 0",
		  "port 0: expected ports" }, /* not ours, still checked */
		{ "direct, convert", "\"\": expected direct, convert" },
		{ "Direct", "\"Direct\": expected direct, convert" },
		{ "direct app 0123456789012345678901234567890123456789012345678901234567890123",
		  "expected program names" },
		{ "", "expected direct or convert" },
	};
	struct config_rules *rules = config_rules_new(false);

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int ret = config_rules_add(rules, rows[i].text, 7, "curl", &err);

		if (ret != -EINVAL || err.line != 7 || !strstr(err.what, rows[i].what))
			fail_msg("%s: expected \"%s\", got %d %s", rows[i].text, rows[i].what, ret,
				 ret ? err.what : "");
	}
	config_rules_free(rules);
}

/* ---- the index against a linear search ---- */

#define RULES_MAX 60
#define PARTS_MAX 3

struct plain { /* a rule as the oracle sees it */
	bool converts;
	unsigned int n_to, n_ports; /* 0: any */
	struct addr_prefix to[PARTS_MAX];
	uint16_t first[PARTS_MAX], last[PARTS_MAX];
};

static uint64_t seed = 0x853c49e6748fea9b;

static unsigned int below(unsigned int n) /* xorshift64 */
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned int)((seed >> 16) % n);
}

/* Few distinct bits, so that prefixes nest, repeat and hold the addresses that are asked for. */
static struct addr random_address(void)
{
	struct addr a = address(below(2) ? "10.0.0.0" : "2001:db8::", 1 + below(65535));

	if (below(20) == 0)
		a = address("::", 80);
	for (unsigned int i = 0; i < 4; i++) {
		if (below(2))
			a.ip[12 + i] ^= (uint8_t)(below(4) << below(7));
	}
	if (!addr_is_v4(&a) && below(2))
		a.ip[4 + below(8)] ^= (uint8_t)(1U << below(8));
	if (below(3) == 0) /* ports that meet the edges of ranges */
		a.port = (uint16_t)(100 + below(12));
	return a;
}

static struct addr_prefix random_prefix(void)
{
	struct addr a = random_address();
	struct addr_prefix p = { .len = (uint8_t)below(129) };

	if (addr_is_v4(&a))
		p.len = (uint8_t)(96 + below(33));
	for (unsigned int bit = 0; bit < p.len; bit++)
		p.ip[bit / 8] |= (uint8_t)(a.ip[bit / 8] & 0x80U >> bit % 8);
	return p;
}

static void random_rule(struct plain *r)
{
	*r = (struct plain){ .converts = below(2),
			     .n_to = below(PARTS_MAX + 1),
			     .n_ports = below(PARTS_MAX + 1) };
	for (unsigned int i = 0; i < r->n_to; i++)
		r->to[i] = random_prefix();
	for (unsigned int i = 0; i < r->n_ports; i++) {
		unsigned int a = below(2) ? 100 + below(10) : 1 + below(65535);
		unsigned int b = below(2) ? a : a + below(65536 - a);

		r->first[i] = (uint16_t)a;
		r->last[i] = (uint16_t)b;
	}
}

static void print_prefix(char *out, size_t size, const struct addr_prefix *p)
{
	struct addr a = { 0 };
	char text[ADDR_TEXT_MAX];
	bool v4;

	memcpy(a.ip, p->ip, 16);
	v4 = addr_is_v4(&a);
	addr_format(&a, text);
	*strrchr(text, v4 ? ':' : ']') = '\0';
	snprintf(out, size, "%s/%d", text + !v4, p->len - (v4 ? 96 : 0));
}

/* Two forms of the same list: "a,b" and "a , b". */
static void print_rule(char *out, size_t size, const struct plain *r)
{
	const char *comma = below(2) ? "," : " , ";
	char prefix[ADDR_TEXT_MAX + 4];
	size_t n = 0;

	for (unsigned int i = 0; i < r->n_to; i++) {
		print_prefix(prefix, sizeof(prefix), &r->to[i]);
		n += (size_t)snprintf(out + n, size - n, "%s%s", i ? comma : " to ", prefix);
	}
	for (unsigned int i = 0; i < r->n_ports; i++) {
		n += (size_t)snprintf(out + n, size - n, "%s%u", i ? comma : " port ", r->first[i]);
		if (r->last[i] != r->first[i])
			n += (size_t)snprintf(out + n, size - n, "-%u", r->last[i]);
	}
	snprintf(out + n, size - n, "%s", r->converts ? " convert" : " direct");
}

/* An IPv4 destination is only in prefixes that are IPv4 as a whole. Bit by bit, on purpose. */
static bool holds(const struct addr_prefix *p, const struct addr *a)
{
	if (addr_is_v4(a) && p->len < 96)
		return false;
	for (unsigned int bit = 0; bit < p->len; bit++) {
		if (((p->ip[bit / 8] ^ a->ip[bit / 8]) & 0x80U >> bit % 8) != 0)
			return false;
	}
	return true;
}

/* longest: the longest prefix of the rule that holds a, when it has any. */
static bool plain_matches(const struct plain *r, const struct addr *a, struct addr_prefix *longest)
{
	bool to = r->n_to == 0, port = r->n_ports == 0, found = false;

	for (unsigned int i = 0; i < r->n_to; i++) {
		if (!holds(&r->to[i], a))
			continue;
		if (!found || r->to[i].len > longest->len)
			*longest = r->to[i];
		to = found = true;
	}
	for (unsigned int i = 0; i < r->n_ports; i++)
		port |= a->port >= r->first[i] && a->port <= r->last[i];
	return to && port;
}

static void compare(const struct config_rules *rules, const struct plain *plain, unsigned int n)
{
	struct addr a = random_address();
	struct addr_prefix longest = { 0 };
	struct config_rule_match match;
	bool found = config_rules_find(rules, &a, &match);
	unsigned int i = 0;

	while (i < n && !plain_matches(&plain[i], &a, &longest))
		i++;
	assert_int_equal(found, i < n);
	if (!found)
		return;
	assert_int_equal(match.index, i);
	assert_int_equal(match.line, i + 10);
	assert_int_equal(match.converts, plain[i].converts);
	assert_int_equal(match.has_to, plain[i].n_to > 0);
	if (!match.has_to)
		return;
	assert_int_equal(match.to.len, longest.len);
	assert_memory_equal(match.to.ip, longest.ip, 16);
}

static void same_as_linear(void **state)
{
	static struct plain plain[RULES_MAX];
	char text[512];

	(void)state;
	for (unsigned int round = 0; round < 4000; round++) {
		struct config_rules *rules = config_rules_new(false);
		unsigned int n = below(RULES_MAX + 1);

		for (unsigned int i = 0; i < n; i++) {
			random_rule(&plain[i]);
			if (below(8)) /* else: matches too much for the others to be seen */
				plain[i].n_to += plain[i].n_to == 0;
			if (plain[i].n_to == 1)
				plain[i].to[0] = random_prefix();
			print_rule(text, sizeof(text), &plain[i]);
			if (config_rules_add(rules, text, i + 10, "curl", &err) < 0)
				fail_msg("%s: %s", text, err.what);
		}
		assert_int_equal(config_rules_finish(rules), 0);
		for (unsigned int k = 0; k < 100; k++)
			compare(rules, plain, n);
		config_rules_free(rules);
	}
}

/* One prefix with many port ranges on top of one another. */
static void many_ports(void **state)
{
	static struct plain plain[2000];
	char text[64];
	struct config_rules *rules = config_rules_new(false);

	(void)state;
	for (unsigned int i = 0; i < 2000; i++) {
		unsigned int first = 1 + below(65000), last = first + below(400);

		plain[i] = (struct plain){ .n_ports = 1,
					   .first = { (uint16_t)first },
					   .last = { (uint16_t)last } };
		snprintf(text, sizeof(text), "direct port %u-%u", first, last);
		assert_int_equal(config_rules_add(rules, text, i + 10, "curl", &err), 0);
	}
	assert_int_equal(config_rules_finish(rules), 0);
	for (unsigned int k = 0; k < 20000; k++)
		compare(rules, plain, 2000);
	config_rules_free(rules);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_rules),	      cmocka_unit_test(first_match_decides),
		cmocka_unit_test(words_in_any_order), cmocka_unit_test(lists),
		cmocka_unit_test(programs),	      cmocka_unit_test(login_shells),
		cmocka_unit_test(families_are_apart), cmocka_unit_test(reports_the_prefix),
		cmocka_unit_test(mistakes),	      cmocka_unit_test(same_as_linear),
		cmocka_unit_test(many_ports),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

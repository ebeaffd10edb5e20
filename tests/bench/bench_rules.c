// SPDX-License-Identifier: MIT
/* What a look-up in the rules costs, beside a linear search through the same ones.
 * bench_rules [MOST]: sets of 10, 100, ... MOST rules, 100000 if not given. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "rules.h"

#define DESTINATIONS 4096 /* asked for in turn, so that they are not all in the cache */

struct plain { /* one prefix, one range */
	struct addr_prefix to;
	uint16_t first, last;
};

enum kind { DISTINCT_PREFIXES, PORTS_ONLY, SAME_PREFIX };

static const char *const kind_names[] = {
	[DISTINCT_PREFIXES] = "distinct prefixes",
	[PORTS_ONLY] = "ports only",
	[SAME_PREFIX] = "same prefix, many ports",
};

static struct addr destinations[DESTINATIONS];
static uint64_t seed = 88172645463325252;

static unsigned int below(unsigned int n) /* xorshift64 */
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned int)((seed >> 16) % n);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void die(const char *what)
{
	fprintf(stderr, "bench_rules: %s\n", what);
	exit(1);
}

/* Rule i, as text. Those of a set differ in their prefix (10.0.0.0/24 on) or in their ports. */
static void rule_text(enum kind kind, unsigned int i, char *out, size_t size)
{
	unsigned int net = i % 0x10000, first = 1 + below(65000), last = first + below(20);

	if (kind == DISTINCT_PREFIXES)
		snprintf(out, size, "direct to %u.%u.%u.0/24 port 1-65535", 10 + i / 0x10000,
			 net / 256, net % 256);
	else if (kind == PORTS_ONLY)
		snprintf(out, size, "direct port %u-%u", first, last);
	else
		snprintf(out, size, "direct to 10.0.0.0/8 port %u-%u", first, last);
}

static void plain_of(const char *text, struct plain *p)
{
	const char *to = strstr(text, "to "), *port = strstr(text, "port ");
	unsigned int first, last;
	char prefix[64];

	*p = (struct plain){ 0 };
	if (to && (sscanf(to, "to %63s", prefix) != 1 || addr_parse_prefix(&p->to, prefix) < 0))
		die(text);
	if (sscanf(port, "port %u-%u", &first, &last) != 2)
		die(text);
	p->first = (uint16_t)first;
	p->last = (uint16_t)last;
}

static void choose_destinations(void)
{
	for (size_t i = 0; i < DESTINATIONS; i++) {
		struct addr *a = &destinations[i];

		addr_parse(a, "10.0.0.0");
		a->ip[12] = (uint8_t)(10 + below(3));
		a->ip[13] = (uint8_t)below(256);
		a->ip[14] = (uint8_t)below(256);
		a->ip[15] = (uint8_t)below(256);
		a->port = (uint16_t)(1 + below(65535));
	}
}

static size_t find_linear(const struct plain *plain, size_t n, const struct addr *a)
{
	for (size_t i = 0; i < n; i++) {
		if (a->port >= plain[i].first && a->port <= plain[i].last &&
		    addr_in_prefix(a->ip, &plain[i].to))
			return i;
	}
	return n;
}

static double time_linear(const struct plain *plain, size_t n, unsigned int rounds, size_t *found)
{
	double start = now();

	for (unsigned int i = 0; i < rounds; i++)
		*found += find_linear(plain, n, &destinations[i % DESTINATIONS]) < n;
	return (now() - start) / rounds;
}

static double time_index(const struct config_rules *rules, unsigned int rounds, size_t *found)
{
	struct config_rule_match match;
	double start = now();

	for (unsigned int i = 0; i < rounds; i++)
		*found += config_rules_find(rules, &destinations[i % DESTINATIONS], &match);
	return (now() - start) / rounds;
}

static struct config_rules *load(enum kind kind, unsigned int n, struct plain *plain, double *ns)
{
	struct config_rules *rules = config_rules_new(false);
	struct config_error err;
	char text[80];
	double start;

	*ns = 0;
	for (unsigned int i = 0; i < n; i++) {
		rule_text(kind, i, text, sizeof(text));
		plain_of(text, &plain[i]);
		start = now();
		if (!rules || config_rules_add(rules, text, i + 1, "bench", &err) < 0)
			die(text);
		*ns += now() - start;
	}
	start = now();
	if (config_rules_finish(rules) < 0)
		die("out of memory");
	*ns += now() - start;
	return rules;
}

static void bench(enum kind kind, unsigned int n)
{
	unsigned int slow_rounds = n > 1000 ? 4 * DESTINATIONS : 100 * DESTINATIONS;
	struct plain *plain = calloc(n, sizeof(*plain));
	struct config_rules *rules;
	double load_ns, index_ns, linear_ns;
	size_t by_index = 0, by_linear = 0;

	if (!plain)
		die("out of memory");
	rules = load(kind, n, plain, &load_ns);
	time_index(rules, DESTINATIONS, &by_index); /* warms up */
	by_index = 0;
	index_ns = time_index(rules, 4 * 100 * DESTINATIONS, &by_index);
	linear_ns = time_linear(plain, n, slow_rounds, &by_linear);
	if (by_index / (400 * DESTINATIONS / slow_rounds) != by_linear)
		die("the two do not agree");
	printf("%-24s %7u %9.1f %9.1f %11.2f   %3.0f%%\n", kind_names[kind], n, index_ns, linear_ns,
	       load_ns / 1e6, 100.0 * (double)by_linear / slow_rounds);
	config_rules_free(rules);
	free(plain);
}

int main(int argc, char **argv)
{
	unsigned int most = argc > 1 ? (unsigned int)strtoul(argv[1], NULL, 10) : 100000;

	choose_destinations();
	printf("%-24s %7s %9s %9s %11s   %s\n", "kind", "rules", "ns/find", "linear", "load in ms",
	       "found");
	for (enum kind kind = DISTINCT_PREFIXES; kind <= SAME_PREFIX; kind++) {
		for (unsigned int n = 10; n <= most; n *= 10)
			bench(kind, n);
	}
	return 0;
}

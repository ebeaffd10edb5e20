// SPDX-License-Identifier: MIT
/*
 * What look-ups cost.
 * bench_lookups rules [MOST]: in sets of 10, 100, ... MOST rules, 100000 if not given, beside a linear search through
 * the same ones.
 * bench_lookups servers [MOST]: of what is known of a server, with 100, 1000, ... MOST servers known, 1000000 if not
 * given: from the table in the process, and from the file, with how long and how large that is.
 * bench_lookups servers N FILE writes a state file with N servers.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "rules.h"
#include "servers.h"

static uint64_t seed = 88172645463325252;

static unsigned int below(unsigned int n) /* xorshift64 */
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned int)((seed >> 16) % n);
}

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* ---- rules */

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
static void die(const char *what)
{
	fprintf(stderr, "bench_lookups: %s\n", what);
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
	double start = now_ns();

	for (unsigned int i = 0; i < rounds; i++)
		*found += find_linear(plain, n, &destinations[i % DESTINATIONS]) < n;
	return (now_ns() - start) / rounds;
}

static double time_index(const struct config_rules *rules, unsigned int rounds, size_t *found)
{
	struct config_rule_match match;
	double start = now_ns();

	for (unsigned int i = 0; i < rounds; i++)
		*found += config_rules_find(rules, &destinations[i % DESTINATIONS], &match);
	return (now_ns() - start) / rounds;
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
		start = now_ns();
		if (!rules || config_rules_add(rules, text, i + 1, "bench", &err) < 0)
			die(text);
		*ns += now_ns() - start;
	}
	start = now_ns();
	if (config_rules_finish(rules) < 0)
		die("out of memory");
	*ns += now_ns() - start;
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

static int bench_rules(unsigned int most)
{
	choose_destinations();
	printf("%-24s %7s %9s %9s %11s   %s\n", "kind", "rules", "ns/find", "linear", "load in ms",
	       "found");
	for (enum kind kind = DISTINCT_PREFIXES; kind <= SAME_PREFIX; kind++) {
		for (unsigned int n = 10; n <= most; n *= 10)
			bench(kind, n);
	}
	return 0;
}

/* ---- servers */

#define ROUNDS 20000

static char file[] = "/tmp/bench_lookups.XXXXXX";
static struct addr server(unsigned int i)
{
	return (struct addr){ .ip = { [0] = 0x20,
				      [1] = 0x01,
				      [13] = (uint8_t)(i >> 16),
				      [14] = (uint8_t)(i >> 8),
				      [15] = (uint8_t)i },
			      .port = 443 };
}

static int compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Others may be running; the mean would tell of them. */
static double median(double *ns, size_t n)
{
	qsort(ns, n, sizeof(*ns), compare);
	return ns[n / 2];
}

/* One server, again and again. */
static double time_table(int64_t now)
{
	enum { BATCHES = 101, EACH = 10000 };
	const struct addr a = server(0);
	double ns[BATCHES];
	size_t known = 0;

	for (size_t b = 0; b < BATCHES; b++) {
		double start = now_ns();

		for (size_t i = 0; i < EACH; i++)
			known += servers_lookup(&a, now) != SERVERS_UNKNOWN;
		ns[b] = (now_ns() - start) / EACH;
	}
	if (known % (BATCHES * (size_t)EACH) != 0)
		exit(1);
	return median(ns, BATCHES);
}

/* Any of the n; each look-up as if it were the first of its process. */
static double time_file(unsigned int n, int64_t now, unsigned int *known)
{
	static double ns[ROUNDS];

	for (unsigned int i = 0; i < ROUNDS; i++) {
		const struct addr a = server(below(n));
		double start;

		servers_clear_table();
		start = now_ns();
		*known += servers_lookup(&a, now) == SERVERS_MPTCP;
		ns[i] = now_ns() - start;
	}
	return median(ns, ROUNDS);
}

/* The last ROUNDS of them are timed, or all. */
static double learn(unsigned int from, unsigned int to, int64_t now)
{
	const struct cvt_span no_cookie = { NULL, 0 };
	static double ns[ROUNDS];

	for (unsigned int i = from; i < to; i++) {
		const struct addr a = server(i);
		double start = now_ns();

		servers_learn(&a, true, no_cookie, now + i / 1000);
		ns[(i - from) % ROUNDS] = now_ns() - start;
	}
	return median(ns, to - from < ROUNDS ? to - from : ROUNDS);
}

/* written_to: NULL, or where they are only to be written. */
static int bench_servers(unsigned int most, const char *written_to)
{
	unsigned int had = 0;
	int64_t now = state_now_ms();
	int fd;

	if (written_to) {
		state_setup(written_to);
		learn(0, most, now);
		return 0;
	}
	fd = mkstemp(file);
	if (fd < 0)
		return 1;
	close(fd);
	state_setup(file);
	printf("%9s %10s %10s %8s %10s %10s %10s\n", "servers", "bytes", "on disk", "known",
	       "ns/table", "ns/file", "ns/learn");
	for (unsigned int n = 100; n <= most; n *= 10) {
		double learn_ns = learn(had, n, now), table_ns, file_ns;
		unsigned int known = 0;
		struct stat st;

		had = n;
		file_ns = time_file(n, now + n / 1000, &known);
		table_ns = time_table(now + n / 1000);
		if (stat(file, &st) < 0)
			return 1;
		printf("%9u %10lld %10lld %7.1f%% %10.1f %10.0f %10.0f\n", n, (long long)st.st_size,
		       (long long)st.st_blocks * 512, 100.0 * known / ROUNDS, table_ns, file_ns,
		       learn_ns);
	}
	unlink(file);
	return 0;
}

int main(int argc, char **argv)
{
	unsigned int most = argc > 2 ? (unsigned int)strtoul(argv[2], NULL, 10) : 0;

	if (argc > 1 && strcmp(argv[1], "rules") == 0)
		return bench_rules(most ? most : 100000);
	if (argc > 1 && strcmp(argv[1], "servers") == 0)
		return bench_servers(most ? most : 1000000, argc > 3 ? argv[3] : NULL);
	return 2;
}

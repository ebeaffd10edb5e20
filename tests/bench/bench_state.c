// SPDX-License-Identifier: MIT
/* What it costs to ask what is known of a server, with more and more servers known: from the table
 * in the process, and from the file, with how long and how large that is.
 * bench_state [MOST]: 100, 1000, ... MOST servers, 1000000 if not given.
 * bench_state N FILE writes a state file with N servers. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "servers.h"

#define ROUNDS 20000

static char file[] = "/tmp/bench_state.XXXXXX";
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

int main(int argc, char **argv)
{
	unsigned int most = argc > 1 ? (unsigned int)strtoul(argv[1], NULL, 10) : 1000000;
	unsigned int had = 0;
	int64_t now = state_now_ms();
	int fd;

	if (argc > 2) {
		state_setup(argv[2]);
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

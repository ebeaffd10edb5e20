// SPDX-License-Identifier: MIT
/* What is known of servers: what news means, the table in the process, the file behind it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "servers.h"
#include "help.h"

#define SECOND 1000LL
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)

static int64_t now;

static const struct cvt_span no_cookie;

static struct addr server(unsigned int i)
{
	struct addr a = { .port = 443 };

	addr_parse(&a, "198.18.0.0");
	a.ip[13] = (uint8_t)(18 + (i >> 16));
	a.ip[14] = (uint8_t)(i >> 8);
	a.ip[15] = (uint8_t)i;
	return a;
}

static int start(void **state)
{
	(void)state;
	now = state_now_ms();
	unlink(state_file);
	state_setup(state_file);
	servers_clear_table();
	return 0;
}

static int start_without_file(void **state)
{
	start(state);
	state_setup(NULL);
	return 0;
}

/* Another process, or this one later. */
static void elsewhere(void)
{
	servers_clear_table();
}

static void learn(const struct addr *a, bool mptcp)
{
	errno = 123;
	servers_learn(a, mptcp, no_cookie, now);
	assert_int_equal(errno, 123);
}

static enum servers_verdict lookup(const struct addr *a)
{
	enum servers_verdict v;

	errno = 123;
	v = servers_lookup(a, now);
	assert_int_equal(errno, 123);
	return v;
}

/* ----------------------------------------------------------------- what news means */

static void nothing_is_known_at_first(void **state)
{
	const struct addr a = server(1);
	struct servers_entry e;

	(void)state;
	assert_int_equal(lookup(&a), SERVERS_UNKNOWN);
	assert_false(servers_find(&a, now, &e));
	assert_int_equal(access(state_file, F_OK), -1); /* a look-up makes no file */
}

static void learned_and_remembered(void **state)
{
	const struct addr a = server(1), b = server(2);
	struct addr other_port = a;

	(void)state;
	other_port.port = 80;
	learn(&a, true);
	learn(&b, false);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(lookup(&a), SERVERS_MPTCP);
		assert_int_equal(lookup(&b), SERVERS_TCP);
		assert_int_equal(lookup(&other_port), SERVERS_UNKNOWN);
		if (*state_path())
			elsewhere();
	}
}

static void expires(void **state)
{
	const struct addr a = server(1);

	(void)state;
	learn(&a, true);
	now += SERVERS_KEEP_MS - 1;
	assert_int_equal(lookup(&a), SERVERS_MPTCP);
	now += 1;
	assert_int_equal(lookup(&a), SERVERS_UNKNOWN);
	elsewhere();
	assert_int_equal(lookup(&a), SERVERS_UNKNOWN);
}

static void cookies(void **state)
{
	static const uint8_t bytes[17] = "0123456789abcdef";
	const struct cvt_span longest = { bytes, 16 }, too_long = { bytes, 17 },
			      other = { bytes, 4 };
	const struct addr a = server(1);
	struct servers_entry e;

	(void)state;
	servers_learn(&a, false, too_long, now);
	assert_true(servers_find(&a, now, &e));
	assert_int_equal(e.tfo_cookie_len, 0);
	servers_learn(&a, false, longest, now);
	learn(&a, true); /* no cookie this time: the one that is known stays */
	assert_true(servers_find(&a, now, &e));
	assert_int_equal(e.verdict, SERVERS_MPTCP);
	assert_int_equal(e.tfo_cookie_len, 16);
	assert_memory_equal(e.tfo_cookie, bytes, 16);
	servers_learn(&a, true, other, now);
	assert_true(servers_find(&a, now, &e));
	assert_int_equal(e.tfo_cookie_len, 4);
	now += SERVERS_RENEW_MS - 1; /* the same again is no news */
	servers_learn(&a, true, other, now);
	assert_true(servers_find(&a, now, &e));
	assert_int_equal(now - e.learned_ms, SERVERS_RENEW_MS - 1);
	now += 1; /* but then it is, or it would expire */
	servers_learn(&a, true, other, now);
	assert_true(servers_find(&a, now, &e));
	assert_int_equal(e.learned_ms, now);
}

static void check_one_shown(const struct servers_entry *e, void *arg)
{
	assert_int_equal(servers_verdict_of(e, now), *(enum servers_verdict *)arg);
}

/* `status` says what programs take it for. */
static void check_shown(enum servers_verdict verdict)
{
	servers_each(now, check_one_shown, &verdict);
}

/* A converter that says MPTCP of a server that does not show it to us is believed again after a
 * while, and after each time it was wrong for longer. */
static void withdrawn(void **state)
{
	const struct addr a = server(1);

	(void)state;
	for (int64_t hold = SERVERS_HOLD_MS; hold < SERVERS_KEEP_MS; hold *= 2) {
		learn(&a, true);
		assert_int_equal(lookup(&a), SERVERS_MPTCP);
		servers_withdraw(&a, now);
		assert_int_equal(lookup(&a), SERVERS_TCP);
		if (*state_path())
			elsewhere();
		now += hold - 1;
		learn(&a, true);
		assert_int_equal(lookup(&a), SERVERS_TCP);
		check_shown(SERVERS_TCP);
		now += 1;
		assert_int_equal(lookup(&a), SERVERS_UNKNOWN); /* else the converter is not asked */
		check_shown(SERVERS_UNKNOWN);
	}
	learn(&a, true);
	assert_int_equal(lookup(&a), SERVERS_MPTCP);
	servers_withdraw(&a, now);
	if (*state_path())
		elsewhere();
	now += SERVERS_KEEP_MS - 1; /* the longest is a day, and then nothing is known of it */
	learn(&a, true);
	assert_int_equal(lookup(&a), SERVERS_TCP);
	now += 1;
	assert_int_equal(lookup(&a), SERVERS_UNKNOWN);
	learn(&a, true);
	servers_withdraw(&a, now);
	learn(&a, false); /* the server has really lost it, and then has it again */
	learn(&a, true);
	assert_int_equal(lookup(&a), SERVERS_MPTCP);
}

/* For a day at most, however often. */
static void withdrawn_for_ever(void **state)
{
	const struct addr a = server(1);

	(void)state;
	for (int i = 0; i < 300; i++) {
		learn(&a, true);
		servers_withdraw(&a, now);
		now += SERVERS_KEEP_MS;
	}
	learn(&a, true);
	assert_int_equal(lookup(&a), SERVERS_MPTCP);
}

static void pinned(void **state)
{
	const struct addr a = server(1), b = server(2);
	bool has_file = *state_path();

	(void)state;
	assert_int_equal(servers_pin(&a, SERVERS_MPTCP, now), has_file ? 0 : -ENOENT);
	assert_int_equal(servers_pin(&b, SERVERS_TCP, now), has_file ? 0 : -ENOENT);
	learn(&a, false);
	servers_withdraw(&a, now);
	learn(&b, true);
	now += 100 * SERVERS_KEEP_MS;
	assert_int_equal(lookup(&a), SERVERS_MPTCP);
	assert_int_equal(lookup(&b), SERVERS_TCP);
	assert_int_equal(servers_forget(&a, now), 0);
	assert_int_equal(lookup(&a), SERVERS_UNKNOWN);
	learn(&a, false);
	assert_int_equal(lookup(&a), SERVERS_TCP);
}

/* The table holds more than one server for each of its rows would need, and never too many. */
static void the_table_is_bounded(void **state)
{
	unsigned int known = 0;

	(void)state;
	for (unsigned int i = 0; i < 20 * SERVERS_TABLE; i++) {
		const struct addr a = server(i);

		learn(&a, true);
		assert_int_equal(lookup(&a), SERVERS_MPTCP);
	}
	for (unsigned int i = 20 * SERVERS_TABLE; i-- > 0;) { /* the other way round */
		const struct addr a = server(i);

		known += lookup(&a) == SERVERS_MPTCP;
	}
	assert_in_range(known, SERVERS_TABLE / 2, SERVERS_TABLE);
}

/* What is used stays. */
static void the_least_used_goes(void **state)
{
	const struct addr used = server(0);

	(void)state;
	learn(&used, true);
	for (unsigned int i = 1; i < 20 * SERVERS_TABLE; i++) {
		const struct addr a = server(i);

		learn(&a, false);
		assert_int_equal(lookup(&used), SERVERS_MPTCP);
	}
}

/* --------------------------------------------------------------------- several processes */

static void in_child(void (*what)(const struct addr *), const struct addr *a)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		what(a);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void learn_mptcp(const struct addr *a)
{
	servers_learn(a, true, no_cookie, now);
}

static void do_withdraw(const struct addr *a)
{
	servers_withdraw(a, now);
}

static void do_forget(const struct addr *a)
{
	servers_forget(a, now);
}

/* News of others arrives with the next comparison, not before. */
static void news_of_others(void **state)
{
	const struct addr a = server(1);

	(void)state;
	assert_int_equal(lookup(&a), SERVERS_UNKNOWN);
	in_child(learn_mptcp, &a);
	now += SERVERS_REREAD_MS - 1;
	assert_int_equal(lookup(&a), SERVERS_UNKNOWN);
	now += 1;
	assert_int_equal(lookup(&a), SERVERS_MPTCP);
	in_child(do_withdraw, &a);
	assert_int_equal(lookup(&a), SERVERS_MPTCP);
	now += SERVERS_REREAD_MS;
	assert_int_equal(lookup(&a), SERVERS_TCP);
	in_child(do_forget, &a);
	now += SERVERS_REREAD_MS;
	assert_int_equal(lookup(&a), SERVERS_UNKNOWN);
}

static void count(const struct servers_entry *e, void *arg)
{
	unsigned int *seen = arg;

	assert_int_equal(e->server.port, 443);
	assert_true(e->server.ip[15] < 100);
	assert_int_equal(e->verdict, e->server.ip[15] % 2 ? SERVERS_MPTCP : SERVERS_TCP);
	assert_int_equal(e->learned_ms, now);
	seen[e->server.ip[15]]++;
}

static void all_of_them(void **state)
{
	unsigned int seen[100] = { 0 };

	(void)state;
	for (unsigned int i = 0; i < 100; i++) {
		const struct addr a = server(i);

		learn(&a, i % 2);
	}
	servers_each(now, count, seen);
	for (unsigned int i = 0; i < 100; i++)
		assert_int_equal(seen[i], 1);
}

static bool write_nonsense(void *value, struct state_times *times, bool found, void *arg)
{
	uint8_t *bytes = value;
	const uint8_t *what = arg;

	(void)found;
	memset(bytes, 0, STATE_SERVER_VALUE);
	bytes[what[0]] = what[1];
	times->until_ms = now + HOUR;
	return true;
}

/* A slot that is whole, and that no version of this code has written. */
static void nonsense(void **state)
{
	static uint8_t rows[][2] = { { 0, 3 }, { 1, 2 }, { 2, 200 }, { 3, 17 }, { 3, 255 } };
	const struct addr a = server(1);
	uint8_t key[STATE_SERVER_KEY];

	(void)state;
	memcpy(key, a.ip, 16);
	key[16] = 443 >> 8;
	key[17] = 443 & 0xff;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(state_update(STATE_SERVER, key, now, write_nonsense, rows[i]), 0);
		elsewhere();
		assert_int_equal(lookup(&a), SERVERS_UNKNOWN);
		learn(&a, true);
		elsewhere();
		assert_int_equal(lookup(&a), SERVERS_MPTCP);
	}
}

static void a_child_knows_what_its_parent_did(void **state)
{
	const struct addr a = server(1);
	int status;
	pid_t pid;

	(void)state;
	learn(&a, true);
	pid = fork();
	if (pid == 0) {
		servers_in_child();
		_exit(servers_lookup(&a, now) == SERVERS_MPTCP ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* What could not be written is kept in the process. */
static void a_file_that_cannot_be_written(void **state)
{
	const struct addr a = server(1);

	(void)state;
	state_setup("/proc/nothing/state");
	learn(&a, true);
	now += 10 * SERVERS_REREAD_MS;
	assert_int_equal(lookup(&a), SERVERS_MPTCP);
}

static void told_elsewhere(const struct addr *a, bool pinned)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		elsewhere();
		if (pinned)
			servers_pin(a, SERVERS_MPTCP, now);
		else
			servers_learn(a, true, no_cookie, now);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* Nor is it overruled by what the file has said before, but by what is written there later. */
static void a_file_that_can_only_be_read(void **state)
{
	const struct addr a = server(1);

	(void)state;
	learn(&a, true);
	now += SECOND;
	assert_true(state_dir_may_write(false));
	servers_withdraw(&a, now);
	assert_true(state_dir_may_write(true));
	for (int i = 0; i < 3; i++) {
		now += SERVERS_REREAD_MS;
		assert_int_equal(lookup(&a), SERVERS_TCP);
	}
	now += SERVERS_RENEW_MS;
	told_elsewhere(&a, false);
	assert_int_equal(lookup(&a), SERVERS_MPTCP);
}

/* But what a person has said holds, and so does the file where the clock was set back. */
static void a_file_that_is_believed(void **state)
{
	const struct addr a = server(1), b = server(2);

	(void)state;
	learn(&a, true);
	learn(&b, true);
	elsewhere();
	assert_int_equal(lookup(&a), SERVERS_MPTCP);
	told_elsewhere(&a, true);
	now += SECOND;
	assert_true(state_dir_may_write(false));
	servers_withdraw(&a, now);
	now += HOUR;
	servers_withdraw(&b, now);
	now -= HOUR;
	assert_true(state_dir_may_write(true));
	assert_int_equal(lookup(&b), SERVERS_MPTCP);
	now += SERVERS_REREAD_MS;
	assert_int_equal(lookup(&a), SERVERS_MPTCP);
}

/* What it could not be told meanwhile is in what it is told next. */
static void a_file_that_is_behind(void **state)
{
	const struct addr a = server(1);
	struct servers_entry e;

	(void)state;
	learn(&a, true);
	now += SECOND;
	assert_true(state_dir_may_write(false));
	servers_withdraw(&a, now);
	assert_true(state_dir_may_write(true));
	now += SERVERS_HOLD_MS;
	learn(&a, true);
	elsewhere();
	assert_int_equal(lookup(&a), SERVERS_MPTCP);
	assert_true(servers_find(&a, now, &e));
	assert_int_equal(e.withdrawals, 1);
}

/* ------------------------------------------------------------------------------- threads */

struct hammering {
	unsigned int seed, wrong;
};

/* Nobody was using the table when the parent forked: it holds. */
static void a_child_goes_on(void **state)
{
	const struct addr a = server(1);

	(void)state;
	learn(&a, true);
	servers_in_child();
	assert_int_equal(lookup(&a), SERVERS_MPTCP);
}

static void *hammer(void *arg)
{
	struct hammering *h = arg;

	for (unsigned int i = 0; i < 20000; i++) {
		unsigned int which = (i * 7919 + h->seed) % (2 * SERVERS_TABLE);
		const struct addr a = server(which);
		const bool mptcp = which % 2;
		enum servers_verdict v = servers_lookup(&a, now);

		if (v == SERVERS_UNKNOWN)
			servers_learn(&a, mptcp, no_cookie, now);
		else
			h->wrong += v != (mptcp ? SERVERS_MPTCP : SERVERS_TCP);
	}
	return NULL;
}

static void threads(void **state)
{
	struct hammering h[4] = { { 1, 0 }, { 22, 0 }, { 333, 0 }, { 4444, 0 } };
	pthread_t t[4];

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, hammer, &h[i]), 0);
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], NULL);
		assert_int_equal(h[i].wrong, 0);
	}
}

static atomic_bool over;

static void *hammer_on(void *arg)
{
	while (!over)
		hammer(arg);
	return NULL;
}

/* A child is forked while another thread is just changing the table: its own lock is free. */
static void forks_among_threads(void **state)
{
	struct hammering h = { 1, 0 };
	const struct addr a = server(1000000);
	pthread_t t;
	int status, failed = 0;

	(void)state;
	over = false;
	assert_int_equal(pthread_create(&t, NULL, hammer_on, &h), 0);
	for (int i = 0; i < 300; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			servers_in_child();
			servers_learn(&a, true, no_cookie, now);
			_exit(servers_lookup(&a, now) != SERVERS_MPTCP);
		}
		waitpid(pid, &status, 0);
		failed += status != 0;
	}
	over = true;
	pthread_join(t, NULL);
	assert_int_equal(failed, 0);
	assert_int_equal(h.wrong, 0);
}

static volatile unsigned int handled;

static void handler(int signal)
{
	const unsigned int which = handled++ % (2 * SERVERS_TABLE);
	const struct addr a = server(which);

	(void)signal;
	servers_lookup(&a, now);
	servers_learn(&a, which % 2, no_cookie, now);
}

/* A handler finds the table free, or a miss; it never waits for whom it has interrupted. */
static void signals(void **state)
{
	const struct sigaction act = { .sa_handler = handler, .sa_flags = SA_RESTART };
	const struct itimerval often = { { 0, 50 }, { 0, 50 } }, never = { { 0, 0 }, { 0, 0 } };
	struct hammering h = { 1, 0 };

	(void)state;
	handled = 0;
	assert_int_equal(sigaction(SIGALRM, &act, NULL), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
	while (handled < 1000)
		hammer(&h);
	setitimer(ITIMER_REAL, &never, NULL);
	assert_int_equal(h.wrong, 0);
}

#define BOTH(test)                                          \
	cmocka_unit_test_setup_teardown(test, start, NULL), \
		cmocka_unit_test_setup_teardown(test, start_without_file, NULL)
#define WITH_FILE(test)	   cmocka_unit_test_setup_teardown(test, start, NULL)
#define WITHOUT_FILE(test) cmocka_unit_test_setup_teardown(test, start_without_file, NULL)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(nothing_is_known_at_first),
		BOTH(learned_and_remembered),
		BOTH(expires),
		BOTH(cookies),
		BOTH(withdrawn),
		BOTH(withdrawn_for_ever),
		BOTH(pinned),
		WITH_FILE(all_of_them),
		WITH_FILE(nonsense),
		WITHOUT_FILE(the_table_is_bounded),
		WITHOUT_FILE(the_least_used_goes),
		WITH_FILE(news_of_others),
		BOTH(a_child_knows_what_its_parent_did),
		BOTH(a_child_goes_on),
		WITH_FILE(a_file_that_cannot_be_written),
		WITH_FILE(a_file_that_can_only_be_read),
		WITH_FILE(a_file_that_is_believed),
		WITH_FILE(a_file_that_is_behind),
		BOTH(threads),
		BOTH(forks_among_threads),
		BOTH(signals),
	};

	return cmocka_run_group_tests(tests, state_dir_make, state_dir_remove);
}

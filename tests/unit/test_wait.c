// SPDX-License-Identifier: MIT
/* Moments and limits: what nanoseconds cannot count, what the kernel would refuse, and a ppoll() behind
 * ours that has another idea of time. */
#include "clock.h"

#include <stdint.h>
#include <time.h>

static int64_t clock_now = 1000000000000000; /* time passes by waiting alone */

static int64_t own_clock_ns(clockid_t clock)
{
	(void)clock;
	return clock_now;
}

#define clock_ns own_clock_ns
#include "wait.c" /* NOLINT(bugprone-suspicious-include) */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

struct real real;
bool real_waits_are_libcs;

void real_init(void)
{
	real.ppoll = ppoll;
}

static void test_end(void **state)
{
	const int64_t second = 1000000000;
	int64_t now = now_ns(), none = wait_end(0, 0), some = wait_end(3, 7);

	(void)state;
	assert_in_range(none, now, now_ns());
	assert_in_range(some - 3 * second - 7, now, now_ns());
	/* 292 years */
	assert_int_equal(wait_end(INT64_MAX / second, 0), WAIT_FOREVER);
	assert_int_equal(wait_end(INT64_MAX / second, second - 1), WAIT_FOREVER);
	assert_int_equal(wait_end(INT64_MAX / second + 1, 0), WAIT_FOREVER);
	assert_int_equal(wait_end(3 * (INT64_MAX / second), 0), WAIT_FOREVER);
	assert_int_equal(wait_end(INT64_MAX, INT64_MAX), WAIT_FOREVER);
	assert_true(wait_end(INT64_MAX / second / 2, 0) < WAIT_FOREVER);
}

static void test_until(void **state)
{
	const struct timespec bad[] = {
		{ -1, 0 },
		{ 0, -1 },
		{ 0, 1000000000 },
		{ INT64_MIN, 0 },
		{ INT64_MAX, 1000000000 },
	};
	const struct timespec longest = { INT64_MAX, 999999999 }, none = { 0, 0 };
	int64_t until_ns, now = now_ns();

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(wait_until(&bad[i], &until_ns));
	assert_true(wait_until(&longest, &until_ns));
	assert_int_equal(until_ns, WAIT_FOREVER);
	assert_true(wait_until(NULL, &until_ns));
	assert_int_equal(until_ns, WAIT_FOREVER);
	assert_true(wait_until(&none, &until_ns));
	assert_in_range(until_ns, now, now_ns());
}

static int asked;
static int64_t stretch; /* a wait takes as many hundredths of what it was asked for */

static int stretching(struct pollfd *fds, nfds_t n, const struct timespec *t, const sigset_t *mask)
{
	(void)fds;
	(void)n;
	(void)mask;
	assert_int_equal(t->tv_sec, 0);
	assert_in_range(t->tv_nsec, 0, PART_NS); /* so nobody stretches it far */
	clock_now += t->tv_nsec * stretch / 100 + 1000;
	asked++;
	return 0;
}

/* Five times as long, or a fifth: over when it is time by the kernel's clock. */
static void test_stretched(void **state)
{
	const int64_t length = 200000000;

	(void)state;
	real.ppoll = stretching;
	real_waits_are_libcs = false;
	for (stretch = 20; stretch <= 500; stretch = stretch * 5) {
		int64_t begun = now_ns();

		asked = 0;
		assert_int_equal(wait_one(-1, POLLIN, begun + length), 0);
		assert_in_range(clock_now, begun + length, begun + length + PART_NS * 5);
		assert_true(asked > 1);
	}
}

/* What a program asks for is counted as its ppoll() counts. */
static void test_counted(void **state)
{
	struct timespec left;

	(void)state;
	real_waits_are_libcs = false;
	for (stretch = 20; stretch <= 500; stretch = stretch * 5) {
		int64_t begun = now_ns(), until_ns = begun + 200000000;

		for (asked = 0; now_ns() < until_ns;) {
			int64_t part_ns = wait_part(until_ns);

			stretching(NULL, 0, wait_left(part_ns, &left), NULL);
			wait_count(&until_ns, part_ns);
		}
		assert_int_equal(asked, 10);
		assert_true(clock_now >= begun + 200000000 * stretch / 100);
	}
}

static void test_libcs(void **state)
{
	int64_t until_ns = 5;

	(void)state;
	real_waits_are_libcs = true;
	wait_count(&until_ns, 3);
	assert_int_equal(until_ns, 5);
	real_waits_are_libcs = false;
	wait_count(&until_ns, 0); /* it was a look, not a wait */
	assert_int_equal(until_ns, 5);
	until_ns = WAIT_FOREVER;
	wait_count(&until_ns, 3);
	assert_int_equal(until_ns, WAIT_FOREVER);
}

static void test_parts(void **state)
{
	int64_t now = now_ns();

	(void)state;
	real_waits_are_libcs = true;
	assert_int_equal(wait_part(WAIT_FOREVER), WAIT_FOREVER);
	assert_int_equal(wait_part(now - 5), now - 5);
	real_waits_are_libcs = false;
	assert_int_equal(wait_part(WAIT_FOREVER), now + PART_NS);
	assert_int_equal(wait_part(now - 5), 0);
	assert_int_equal(wait_part(now), 0);
	assert_int_equal(wait_part(0), 0);
	assert_int_equal(wait_part(now + 5), now + 5);
	assert_int_equal(wait_part(now + PART_NS + 1), now + PART_NS);
}

/* As the kernel is told, past libc, which hides its own. No handler is ever called. */
static void handle(int sig, unsigned long flags)
{
	struct {
		uintptr_t handler;
		unsigned long flags;
		uintptr_t restorer;
		unsigned char mask[_NSIG / 8];
	} action = { .handler = 4096, .flags = flags };

	if (!flags)
		action.handler = 0;
	assert_int_equal(syscall(SYS_rt_sigaction, sig, &action, NULL, sizeof(action.mask)), 0);
}

/* A handler of libc's own for threads that are cancelled, without SA_RESTART, is nobody's wish. */
static void test_restarts(void **state)
{
	const int others[] = { SIGUSR1, SIGRTMIN, SIGRTMAX }, own[] = { 32, 33 };

	(void)state;
	assert_true(wait_restarts_all());
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		handle(others[i], SA_RESTART);
		assert_true(wait_restarts_all());
		handle(others[i], SA_SIGINFO);
		assert_false(wait_restarts_all());
		handle(others[i], 0);
	}
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
		handle(own[i], SA_SIGINFO);
		assert_true(wait_restarts_all());
		handle(own[i], 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_end),	  cmocka_unit_test(test_until),
		cmocka_unit_test(test_stretched), cmocka_unit_test(test_counted),
		cmocka_unit_test(test_libcs),	  cmocka_unit_test(test_parts),
		cmocka_unit_test(test_restarts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

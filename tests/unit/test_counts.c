// SPDX-License-Identifier: MIT
/* How many connections went which way, added up over processes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "counts.h"
#include "state.h"
#include "help.h"

static int64_t now;

static int start(void **state)
{
	(void)state;
	now = state_now_ms();
	unlink(state_file);
	state_setup(state_file);
	counts_in_child();
	return 0;
}

static void add(enum counts_what what)
{
	errno = 123;
	counts_add(what, now);
	assert_int_equal(errno, 123);
}

static void assert_counts(uint64_t converted, uint64_t bypassed, uint64_t direct, uint64_t failed)
{
	struct counts c;
	bool found = counts_read(&c, now);

	assert_int_equal(found, converted + bypassed + direct + failed > 0);
	assert_int_equal(c.n[COUNTS_CONVERTED], converted);
	assert_int_equal(c.n[COUNTS_BYPASSED], bypassed);
	assert_int_equal(c.n[COUNTS_DIRECT], direct);
	assert_int_equal(c.n[COUNTS_FAILED], failed);
}

static void the_first_at_once_then_together(void **state)
{
	(void)state;
	add(COUNTS_DIRECT);
	assert_counts(0, 0, 0, 0);
	assert_int_equal(access(state_file, F_OK), -1);
	add(COUNTS_CONVERTED);
	assert_counts(1, 0, 1, 0);
	for (int i = 0; i < 100; i++) {
		add(COUNTS_CONVERTED);
		add(COUNTS_BYPASSED);
		add(COUNTS_FAILED);
		add(COUNTS_DIRECT);
	}
	assert_counts(1, 0, 1, 0);
	now += COUNTS_FLUSH_MS;
	add(COUNTS_DIRECT);
	assert_counts(1, 0, 1, 0);
	add(COUNTS_BYPASSED);
	assert_counts(101, 101, 102, 100);
}

/* Children that exit add all they have counted, and nothing of their parent's. */
static void at_the_end_of_a_process(void **state)
{
	struct counts c;
	int status;

	(void)state;
	add(COUNTS_CONVERTED);
	add(COUNTS_CONVERTED); /* not added yet */
	for (int i = 0; i < 10; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			counts_in_child();
			for (int k = 0; k < 10; k++)
				counts_add(k % 2 ? COUNTS_DIRECT : COUNTS_FAILED, now);
			exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
	}
	assert_counts(1, 0, 50, 50);
	assert_true(counts_read(&c, now));
	assert_int_equal(c.since_ms, now);
}

/* One that puts itself into a sandbox has added all until then, and makes no call that might end it. */
static void before_a_filter(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	add(COUNTS_CONVERTED);
	pid = fork();
	if (pid == 0) {
		counts_in_child();
		counts_add(COUNTS_DIRECT, now);
		counts_before_filter();
		counts_filtered();
		counts_add(COUNTS_DIRECT, now);
		exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_counts(1, 0, 1, 0);
}

static void kept_for_later_if_it_cannot_be_written(void **state)
{
	(void)state;
	state_setup("/proc/nothing/state");
	add(COUNTS_CONVERTED);
	state_setup(state_file);
	now += COUNTS_FLUSH_MS;
	add(COUNTS_CONVERTED);
	assert_counts(2, 0, 0, 0);
}

static void *count(void *arg)
{
	(void)arg;
	for (int i = 0; i < 10000; i++)
		counts_add(COUNTS_CONVERTED, now);
	return NULL;
}

static void threads(void **state)
{
	pthread_t t[4];

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, count, NULL), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	now += COUNTS_FLUSH_MS;
	add(COUNTS_CONVERTED);
	assert_counts(40001, 0, 0, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(the_first_at_once_then_together, start),
		cmocka_unit_test_setup(at_the_end_of_a_process, start),
		cmocka_unit_test_setup(before_a_filter, start),
		cmocka_unit_test_setup(kept_for_later_if_it_cannot_be_written, start),
		cmocka_unit_test_setup(threads, start),
	};

	return cmocka_run_group_tests(tests, state_dir_make, state_dir_remove);
}

// SPDX-License-Identifier: MIT
/* What is due is found when it is, whoever else is adding, looking, or has left in the middle. */
#include "due.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <cmocka.h>

#define MS	1000000LL
#define LATE	65536  /* by as much at most */
#define NUMBERS 200000 /* beyond what has a place of its own */
#define ADDERS	2
#define TIMES	5000 /* of each of them */
#define HOUR	(3600000LL * MS)

static _Atomic int64_t due[NUMBERS]; /* 0: never */
static int64_t now;
static _Atomic unsigned long looks;

/* Those that are due are over. */
static int64_t look(int fd)
{
	int64_t at_ns = atomic_load(&due[fd]);

	looks++;
	if (at_ns && at_ns <= now)
		atomic_store(&due[fd], at_ns = 0);
	return at_ns ? at_ns : INT64_MAX;
}

static void add(int fd, int64_t at_ns)
{
	atomic_store(&due[fd], at_ns);
	due_at(fd, at_ns);
}

static void sweep(int64_t at_ns)
{
	now = at_ns;
	due_each(at_ns + LATE, NUMBERS - 1, look);
}

static int64_t soonest(void)
{
	int64_t least = INT64_MAX;

	for (int fd = 0; fd < NUMBERS; fd++)
		if (due[fd] && due[fd] < least)
			least = due[fd];
	return least;
}

static void test_order(void **state)
{
	int64_t at;

	(void)state;
	srand(1);
	for (int i = 0; i < 500; i++)
		add(rand() % NUMBERS, 1 + rand() % 100000 * MS);
	for (int64_t last = 0; (at = due_next()) != INT64_MAX; last = at) {
		assert_true(at >= last && at <= soonest() + LATE);
		sweep(at);
	}
	assert_int_equal(soonest(), INT64_MAX);
}

/* More often than is counted; at 0 is what shall be looked at at once. */
static void test_often(void **state)
{
	(void)state;
	for (int i = 0; i < 70000; i++)
		add(1, 0);
	assert_true(due_next() <= LATE);
	sweep(MS);
	assert_int_equal(due_next(), INT64_MAX);
}

/* No more than those of the same places, however many there are. */
static void test_looks(void **state)
{
	(void)state;
	for (int fd = 0; fd < NUMBERS; fd++)
		add(fd, (1 + fd) * MS);
	looks = 0;
	for (int fd = 0; fd < 1000; fd++) {
		assert_in_range(due_next(), due[fd], due[fd] + LATE);
		sweep(due[fd]);
		assert_int_equal(due[fd], 0);
	}
	assert_in_range(looks, 1000, 1000 * 16 * (NUMBERS / 65536 + 1));
	sweep(HOUR);
	assert_int_equal(due_next(), INT64_MAX);
}

static jmp_buf out;

static int64_t leave(int fd)
{
	(void)fd;
	longjmp(out, 1);
}

static void test_left(void **state)
{
	(void)state;
	add(70, 5 * MS);
	add(700, 7 * MS);
	if (!setjmp(out))
		due_each(9 * MS, NUMBERS - 1, leave);
	assert_in_range(due_next(), 5 * MS, 5 * MS + LATE);
	sweep(5 * MS);
	assert_in_range(due_next(), 7 * MS, 7 * MS + LATE);
	sweep(9 * MS);
	assert_int_equal(due_next(), INT64_MAX);
}

static _Atomic int missed, running;

/* Whoever has added something and would wait now is not told to wait for longer. */
static void *adder(void *first)
{
	unsigned int seed = (unsigned int)(uintptr_t)first;

	for (int i = 0; i < TIMES; i++) {
		int fd = rand_r(&seed) % 5000 * ADDERS + (int)(uintptr_t)first;
		int64_t at_ns = HOUR - rand_r(&seed) % 1000 * MS;

		add(fd, at_ns);
		sched_yield();
		missed += due_next() > at_ns + LATE;
		atomic_store(&due[fd], 0);
	}
	running--;
	return NULL;
}

static void *sweeper(void *unused)
{
	while (running)
		due_each(HOUR + LATE, NUMBERS - 1, look);
	return unused;
}

static void test_threads(void **state)
{
	pthread_t threads[ADDERS + 2];

	(void)state;
	now = 0; /* nothing is over */
	running = ADDERS;
	for (uintptr_t i = 0; i < ADDERS + 2; i++)
		assert_int_equal(
			/* NOLINTNEXTLINE(performance-no-int-to-ptr) its number */
			pthread_create(&threads[i], NULL, i < ADDERS ? adder : sweeper, (void *)i),
			0);
	for (int i = 0; i < ADDERS + 2; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(missed, 0);
	sweep(HOUR);
	assert_int_equal(due_next(), INT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),	cmocka_unit_test(test_often),
		cmocka_unit_test(test_looks),	cmocka_unit_test(test_left),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

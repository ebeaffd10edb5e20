// SPDX-License-Identifier: MIT
/* The lock of an exchange, which processes share and which is nobody else's business: who has it, and when
 * somebody else may. */
#include "slots.c" /* NOLINT(bugprone-suspicious-include) */

#include <setjmp.h>
#include <sys/resource.h>
#include <stdarg.h>

#include <cmocka.h>

#define SOMEBODY 4711u

static struct exchange *u;
static bool left; /* by siglongjmp() */

/* wait.h's */
bool wait_is_left(uintptr_t at, int64_t since)
{
	(void)at;
	(void)since;
	return left;
}

static int set_up(void **state)
{
	(void)state;
	u = exchange_new(1);
	return u ? 0 : -1;
}

static uint64_t held_since(int64_t ms_ago)
{
	return (uint64_t)SOMEBODY << 32 | (uint32_t)(tick_ns() / 1000000 - ms_ago);
}

static void test_one_at_a_time(void **state)
{
	(void)state;
	assert_true(exchange_try_lock(u));
	assert_true(exchange_is_interrupted());
	assert_false(exchange_try_lock(u)); /* a signal handler */
	exchange_unlock(u);
	assert_false(exchange_is_interrupted());
	assert_int_equal(atomic_load(&u->lock), 0);
}

static void test_left_inside(void **state)
{
	(void)state;
	assert_true(exchange_try_lock(u));
	left = true; /* and the handler's frame with it */
	assert_false(exchange_is_interrupted());
	assert_false(exchange_try_lock(u)); /* it may be another process's in a second only */
	left = false;
	assert_false(exchange_is_interrupted());
	atomic_fetch_sub(&u->lock, 1000);
	assert_true(exchange_try_lock(u));
	exchange_unlock(u);
	assert_int_equal(atomic_load(&u->lock), 0);
}

static void test_somebody_has_it(void **state)
{
	(void)state;
	atomic_store(&u->lock, held_since(LOCK_STALE_MS / 2));
	assert_false(exchange_try_lock(u));
}

/* Its holder took it after we had looked at the clock, as may be where processes share a processor. */
static void test_somebody_took_it_just_now(void **state)
{
	(void)state;
	atomic_store(&u->lock, held_since(-20));
	assert_false(exchange_try_lock(u));
}

static void test_its_holder_is_gone(void **state)
{
	(void)state;
	atomic_store(&u->lock, held_since(LOCK_STALE_MS + 1));
	assert_true(exchange_try_lock(u));
	exchange_unlock(u);
	assert_int_equal(atomic_load(&u->lock), 0);
}

/* The clock of 32 bits goes round in 49.7 days. */
static void test_its_holder_is_gone_for_long(void **state)
{
	const int64_t day_ms = 86400000;

	(void)state;
	for (int64_t days = 1; days <= 49; days++) {
		atomic_store(&u->lock, held_since(days * day_ms));
		assert_true(exchange_try_lock(u));
		exchange_unlock(u);
	}
}

/* Who was away for too long does not let go of what somebody else has by now. */
static void test_overruled(void **state)
{
	uint64_t theirs = held_since(0);

	(void)state;
	assert_true(exchange_try_lock(u));
	atomic_store(&u->lock, theirs);
	exchange_unlock(u);
	assert_int_equal(atomic_load(&u->lock), theirs);
	assert_false(exchange_is_interrupted());
}

/* Nothing of the exchange that had the slot before. */
static void test_used_again(void **state)
{
	unsigned char *from = (unsigned char *)&u->started_ns;
	size_t len = (size_t)((unsigned char *)&u->request - from);

	(void)state;
	memset(from, 0xa5, len);
	atomic_store(&u->watch.state, EXCHANGE_FREE);
	atomic_store(&((struct shared *)atomic_load(&shared))->next_slot, exchange_index(u));
	assert_ptr_equal(exchange_new(2), u);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(from[i], 0);
	assert_int_equal(u->sock_cookie, 2);
	assert_int_equal(exchange_phase(u), EXCHANGE_OPENING);
}

/* What a forked process has written where it can is not to be believed. */
static void test_index_that_cannot_be(void **state)
{
	static const uint32_t not_mapped[] = { SLOTS_FIRST, SLOTS_FORKED - 1, SLOTS_FORKED,
					       SLOTS - 1 };
	static const uint32_t none[] = { SLOTS, SLOTS + 1, INT32_MAX, UINT32_MAX };

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		assert_null(exchange_at(not_mapped[i]));
		assert_null(exchange_at(none[i]));
	}
}

/* All are found by their index, wherever they are mapped; without memory there are no more. */
static void test_window(void **state)
{
	const struct rlimit none = { 1, RLIM_INFINITY };
	struct rlimit before;
	uint32_t n = 0;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
	assert_int_equal(setrlimit(RLIMIT_AS, &none), 0);
	for (; (u = exchange_new(1)); n++)
		assert_true(exchange_index(u) < SLOTS_FIRST);
	assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
	assert_in_range(n, SLOTS_FIRST / 2, SLOTS_FIRST);
	for (; (u = exchange_new(1)); n++)
		assert_ptr_equal(exchange_at(exchange_index(u)), u);
	assert_in_range(n, SLOTS - SLOTS_FIRST, SLOTS);
	exchange_at(SLOTS - 1)->watch.state = EXCHANGE_FREE;
	u = exchange_new(1);
	assert_int_equal(exchange_index(u), SLOTS - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_one_at_a_time, set_up),
		cmocka_unit_test_setup(test_left_inside, set_up),
		cmocka_unit_test_setup(test_somebody_has_it, set_up),
		cmocka_unit_test_setup(test_somebody_took_it_just_now, set_up),
		cmocka_unit_test_setup(test_its_holder_is_gone, set_up),
		cmocka_unit_test_setup(test_its_holder_is_gone_for_long, set_up),
		cmocka_unit_test_setup(test_overruled, set_up),
		cmocka_unit_test_setup(test_used_again, set_up),
		cmocka_unit_test(test_index_that_cannot_be),
		cmocka_unit_test(test_window),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

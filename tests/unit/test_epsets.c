// SPDX-License-Identifier: MIT
/* The table of registrations when it is full: who has found no room is not followed, and for no longer than
 * the number lives; what has gone unseen makes room. */
#define EPSET_MAX 256
/* NOLINTBEGIN(bugprone-suspicious-include) */
#include "epsets_table.c"
#include "epsets.c"
#include "epsets_calls.c"
/* NOLINTEND(bugprone-suspicious-include) */

#include <setjmp.h>
#include <sys/resource.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct epoll_event event = { .events = EPOLLIN };
static int sets[EPSET_MAX];

/* what the table asks others for */
_Atomic uint16_t mark_words[MARK_MAX];

bool proc_is_armed(int epfd, int fd)
{
	(void)epfd;
	(void)fd;
	return true;
}

static bool proc_tells;

bool proc_each_set(int fd, proc_set_is *is)
{
	if (proc_tells)
		is(sets[3], fd, &event);
	return proc_tells;
}

bool wait_is_left(uintptr_t at, int64_t since)
{
	(void)at;
	(void)since;
	return false;
}

bool wait_patiently(struct patience *patience)
{
	(void)patience;
	return true;
}

static void forget(int fd)
{
	while (epset_first(fd))
		epset_drop(epset_at(epset_first(fd)));
	epset_set_head(fd, 0);
}

static int set_up(void **state)
{
	(void)state;
	for (int i = 0; i < EPSET_MAX; i++) /* numbers that are open: any will do */
		if ((sets[i] = fcntl(2, F_DUPFD, 10)) < 0)
			return -1;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	for (int i = 0; i < EPSET_MAX; i++)
		close(sets[i]);
	forget(1);
	forget(2);
	return 0;
}

static void fill(void)
{
	for (int i = 0; i < EPSET_MAX - 1; i++)
		assert_true(epset_follow(sets[i], EPOLL_CTL_ADD, 1, &event));
}

static void test_full_and_empty_again(void **state)
{
	(void)state;
	fill();
	assert_false(epset_follow(sets[0], EPOLL_CTL_ADD, 2, &event));
	assert_true(epset_is_lost(2));
	assert_false(epset_has(2));
	assert_false(epset_is_lost(1));
	for (int i = 0; i < EPSET_MAX - 1; i++)
		assert_true(epset_follow(sets[i], EPOLL_CTL_DEL, 1, NULL));
	assert_false(epset_has(1));
	/* it may be in a set that nobody knows; the next socket under its number is in none */
	assert_true(epset_is_lost(2));
	forget(2);
	assert_true(epset_follow(sets[0], EPOLL_CTL_ADD, 2, &event));
	assert_true(epset_has(2));
}

static void test_lost_with_all_its_sets(void **state)
{
	(void)state;
	assert_true(epset_follow(sets[1], EPOLL_CTL_ADD, 2, &event));
	for (int i = 0; i < EPSET_MAX - 2; i++)
		assert_true(epset_follow(sets[i], EPOLL_CTL_ADD, 1, &event));
	assert_false(epset_follow(sets[2], EPOLL_CTL_ADD, 2, &event));
	assert_true(epset_is_lost(2));
	assert_true(epset_follow(sets[EPSET_MAX - 1], EPOLL_CTL_ADD, 1, &event)); /* its room */
}

static void test_not_followed_for_a_while(void **state)
{
	(void)state;
	assert_true(epset_follow(sets[1], EPOLL_CTL_ADD, 2, &event));
	proc_tells = true;
	epset_follow_again(2);
	assert_null(epset_find(sets[1], 2));
	assert_non_null(epset_find(sets[3], 2));
	proc_tells = false;
	epset_follow_again(2);
	assert_true(epset_is_lost(2));
}

static void test_sets_closed_unseen(void **state)
{
	(void)state;
	fill();
	for (int i = 0; i < EPSET_MAX; i += 2)
		syscall(SYS_close, sets[i]);
	for (int i = 1; i < EPSET_MAX; i += 2)
		assert_true(epset_follow(sets[i], EPOLL_CTL_ADD, 2, &event));
	for (int i = 1; i < EPSET_MAX - 1; i += 2)
		assert_non_null(epset_find(sets[i], 1));
}

/* A number whose heads have no page yet, and nobody gives one. */
static void test_out_of_memory(void **state)
{
	const struct rlimit none = { 1, RLIM_INFINITY };
	const int far = MARK_MAX - 1, near = 1;
	struct rlimit before;

	(void)state;
	assert_true(epset_follow(sets[0], EPOLL_CTL_ADD, near, &event));
	assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
	assert_int_equal(setrlimit(RLIMIT_AS, &none), 0);
	assert_false(epset_follow(sets[1], EPOLL_CTL_ADD, far, &event));
	assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
	assert_true(epset_is_lost(far));
	assert_false(epset_has(far));
	assert_true(epset_has(near));
	assert_false(epset_is_lost(near));
	/* BREAK: memory is there again; another number of the same page, then the first one once more */
	assert_false(epset_follow(sets[2], EPOLL_CTL_ADD, far - 1, &event) && 0);
	assert_true(epset_is_lost(far));	/* still: what was registered is unknown */
	for (int i = 1; i < EPSET_MAX - 1; i++) /* its room is not lost */
		assert_true(epset_follow(sets[i], EPOLL_CTL_ADD, near, &event));
}

/* A set with a pending number in it, of which another socket is about to take the place. */
struct exchanged {
	int set, number, other;
	struct watch watch;
};

static int set_up_exchanged(void **state)
{
	static struct exchanged x;
	struct epoll_event wanted = { .events = EPOLLOUT, .data.u64 = 7 };

	x = (struct exchanged){ .set = epoll_create1(0),
				.number = socket(AF_INET, SOCK_STREAM, 0),
				.other = socket(AF_INET, SOCK_STREAM, 0),
				.watch = { .state = EPOLLIN } };
	*state = &x;
	epset_ctl(x.set, EPOLL_CTL_ADD, x.number, &wanted);
	epset_follow(x.set, EPOLL_CTL_ADD, x.number, &wanted);
	epset_swap(x.number, &x.watch);
	return epset_lift(x.number, true) ? 0 : -1;
}

static int tear_down_exchanged(void **state)
{
	struct exchanged *x = *state;

	forget(x->number);
	close(x->set);
	close(x->number);
	return close(x->other);
}

static void replace(struct exchanged *x)
{
	assert_int_equal(dup3(x->other, x->number, 0), x->number);
	epset_settle(x->number);
	x->watch.state = 0;
	epset_put_back(x->number, &x->watch, false);
}

static void assert_word(const struct exchanged *x, int word)
{
	struct epoll_event e = { .events = 0 };
	int n = epoll_wait(x->set, &e, 1, 0);

	assert_int_equal(n, word ? 1 : 0);
	assert_int_equal(e.data.u64, word);
}

static void test_modified_while_lifted(void **state)
{
	struct epoll_event wanted = { .events = EPOLLOUT, .data.u64 = 8 };
	struct exchanged *x = *state;

	assert_int_equal(epset_ctl_swapped(EPOLL_CTL_ADD, x->set, x->number, &wanted, &x->watch),
			 -EEXIST);
	assert_int_equal(epset_ctl_swapped(EPOLL_CTL_MOD, x->set, x->number, &wanted, &x->watch),
			 0);
	replace(x);
	assert_word(x, 8);
}

/* What the exchange waits for has changed, which another thread sees. */
static void test_swapped_while_lifted(void **state)
{
	struct exchanged *x = *state;

	x->watch.state = EPOLLOUT;
	epset_swap(x->number, &x->watch);
	replace(x);
	assert_word(x, 7);
}

static void test_taken_out_while_lifted(void **state)
{
	struct exchanged *x = *state;

	assert_int_equal(epset_ctl_swapped(EPOLL_CTL_DEL, x->set, x->number, NULL, &x->watch), 0);
	assert_null(epset_find(x->set, x->number));
	replace(x);
	assert_word(x, 0);
	/* of others the kernel says what there is */
	assert_int_equal(epset_ctl_swapped(EPOLL_CTL_DEL, x->set, x->number, NULL, &x->watch), 1);
}

/* The number has its twin, and the exchange has not begun to wait for it. */
static void test_taken_out_before_the_swap(void **state)
{
	struct exchanged *x = *state;

	x->watch.state = 0;
	epset_put_back(x->number, &x->watch, false);
	x->watch = (struct watch){ .state = EPOLLIN };
	assert_true(epset_lift(x->number, false));
	assert_int_equal(dup3(x->other, x->number, 0), x->number);
	assert_int_equal(epset_ctl_swapped(EPOLL_CTL_DEL, x->set, x->number, NULL, &x->watch), 0);
	epset_swap(x->number, &x->watch);
	x->watch.state = 0;
	epset_put_back(x->number, &x->watch, false);
	assert_word(x, 0);
}

/* By another number of the set than it was entered by: there is one of it. */
static void test_changed_by_a_copy_of_the_set(void **state)
{
	struct epoll_event wanted = { .events = EPOLLOUT, .data.u64 = 9 };
	struct exchanged *x = *state;
	int copy = dup(x->set);

	x->watch.state = 0;
	epset_put_back(x->number, &x->watch, false);
	assert_int_equal(epset_ctl(copy, EPOLL_CTL_MOD, x->number, &wanted), 0);
	assert_true(epset_follow(copy, EPOLL_CTL_MOD, x->number, &wanted));
	assert_null(epset_find(x->set, x->number));
	x->watch = (struct watch){ .state = EPOLLIN };
	epset_swap(x->number, &x->watch);
	x->watch.state = 0;
	epset_put_back(x->number, &x->watch, false);
	assert_word(x, 9);
	assert_int_equal(epset_ctl(x->set, EPOLL_CTL_DEL, x->number, NULL), 0);
	assert_true(epset_follow(x->set, EPOLL_CTL_DEL, x->number, NULL));
	assert_null(epset_find(copy, x->number));
	close(copy);
}

#define EXCHANGED(test) cmocka_unit_test_setup_teardown(test, set_up_exchanged, tear_down_exchanged)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_full_and_empty_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_lost_with_all_its_sets, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_not_followed_for_a_while, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_sets_closed_unseen, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_out_of_memory, set_up, tear_down),
		EXCHANGED(test_modified_while_lifted),
		EXCHANGED(test_swapped_while_lifted),
		EXCHANGED(test_taken_out_while_lifted),
		EXCHANGED(test_taken_out_before_the_swap),
		EXCHANGED(test_changed_by_a_copy_of_the_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

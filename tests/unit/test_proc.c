// SPDX-License-Identifier: MIT
/* What /proc tells of this process's epoll sets, and when it does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc.h"

static int set, watched, seen;
static struct epoll_event seen_event;

static int set_up(void **state)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLONESHOT,
				     .data.u64 = 0xfedcba9876543210 };
	int ends[2];

	(void)state;
	seen = 0;
	set = epoll_create1(0);
	if (pipe(ends) < 0)
		return -1;
	watched = ends[0];
	close(ends[1]);
	return epoll_ctl(set, EPOLL_CTL_ADD, watched, &event);
}

static int tear_down(void **state)
{
	(void)state;
	close(watched);
	return close(set);
}

static void see(int epfd, int fd, const struct epoll_event *event)
{
	assert_int_equal(epfd, set);
	assert_int_equal(fd, watched);
	seen_event = *event;
	seen++;
}

static void test_what_a_set_has(void **state)
{
	(void)state;
	assert_true(proc_each_set(watched, see));
	assert_int_equal(seen, 1);
	assert_int_equal(seen_event.events, EPOLLIN | EPOLLERR | EPOLLHUP | EPOLLONESHOT);
	assert_int_equal(seen_event.data.u64, 0xfedcba9876543210);
	assert_true(proc_each_set(set, see)); /* which is in none */
	assert_int_equal(seen, 1);
}

/* Of other descriptors it has lines that look like it: "eventfd-count:", and "ticks:". */
static void test_what_others_have(void **state)
{
	const struct itimerspec soon = { .it_value.tv_nsec = 1 };
	int count = eventfd((unsigned int)watched, 0), timer = timerfd_create(CLOCK_MONOTONIC, 0);
	struct pollfd expired = { .fd = timer, .events = POLLIN };

	(void)state;
	assert_true(count >= 0 && timer >= 0);
	assert_int_equal(timerfd_settime(timer, 0, &soon, NULL), 0);
	assert_int_equal(poll(&expired, 1, 1000), 1);
	assert_true(proc_each_set(watched, see));
	assert_int_equal(seen, 1);
	assert_true(proc_each_set(1, see)); /* so often it has expired */
	assert_int_equal(seen, 1);
	close(timer);
	close(count);
}

static void test_armed(void **state)
{
	struct epoll_event event;

	(void)state;
	assert_true(proc_is_armed(set, watched));
	assert_int_equal(epoll_wait(set, &event, 1, 0), 1); /* the other end is closed */
	assert_false(proc_is_armed(set, watched));
}

/* The folder itself may be opened, and no file in it. */
static void test_one_descriptor_left(void **state)
{
	struct rlimit before, little;
	int next = dup(set);

	(void)state;
	close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	little = before;
	little.rlim_cur = (rlim_t)next + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &little), 0);
	assert_false(proc_each_set(watched, see));
	little.rlim_cur = (rlim_t)next;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &little), 0);
	assert_false(proc_each_set(watched, see));
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_true(proc_each_set(watched, see));
	assert_int_equal(seen, 1);
}

/* ThreadSanitizer does not let it be joined. */
static bool is_there(void)
{
	FILE *f = fopen("/proc/self/stat", "re");
	char state = 'Z';

	if (f && fscanf(f, "%*d %*s %c", &state) != 1)
		state = 'Z';
	if (f)
		fclose(f);
	return state != 'Z';
}

static void *look_alone(void *none)
{
	(void)none;
	while (is_there())
		usleep(1000);
	_exit(proc_each_set(watched, see) && seen == 1 ? 0 : 1);
}

/* What /proc/self shows is the first thread's. */
static void test_without_the_first_thread(void **state)
{
	pthread_t other;
	int status;
	pid_t child;

	(void)state;
	child = fork();
	if (child == 0) {
		pthread_create(&other, NULL, look_alone, NULL);
		pthread_exit(NULL);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_what_a_set_has, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_others_have, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_armed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_one_descriptor_left, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_without_the_first_thread, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: MIT
/* The lowest storey: what stands behind ours, moments and limits of waiting, and what /proc tells. */
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
#include "real.c" /* NOLINT(bugprone-suspicious-include) */
#include "wait.c" /* NOLINT(bugprone-suspicious-include) */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc.h"

/* ---------------- libc's functions behind ours: found without dlsym(), and what dlsym() finds */

void *__real_dlsym(void *restrict handle, const char *restrict name);
void *__wrap_dlsym(void *restrict handle, const char *restrict name);

static unsigned int asked;

/* A sanitizer asks, too, before there is anything that it could count in. */
#if defined(__has_attribute)
#if __has_attribute(disable_sanitizer_instrumentation)
__attribute__((disable_sanitizer_instrumentation))
#endif
#endif
void *
__wrap_dlsym(void *restrict handle, const char *restrict name)
{
	asked++;
	return __real_dlsym(handle, name);
}

static uint32_t hash_of(const char *name)
{
	uint32_t hash = 5381;

	for (; *name; name++)
		hash = hash * 33 + (unsigned char)*name;
	return hash;
}

static const struct link_map *libc_map(void)
{
	const struct link_map *map = dlopen(NULL, RTLD_NOW);

	while (!strstr(map->l_name, "/libc.so.6"))
		map = map->l_next;
	return map;
}

static void test_names(void **state)
{
	struct real found = { 0 };
	void **pointers = (void **)&found;
	const char *name = names;

	(void)state;
	asked = 0; /* a sanitizer that is linked in has asked for hundreds */
	find_all(pointers);
#ifdef DLFO_STRUCT_HAS_EH_DBASE
	assert_int_equal(asked, 0);
#endif
	real_init();
	for (int i = 0; i < NAMES; i++, name += strlen(name) + 1) {
		void *next = __real_dlsym(RTLD_NEXT, name);

		assert_ptr_equal(((void **)&real)[i], next);
#ifdef DLFO_STRUCT_HAS_EH_DBASE
		assert_ptr_equal(pointers[i], next);
#endif
	}
	assert_string_equal(name, "");
	assert_ptr_equal(*(void **)&real_syscall, __real_dlsym(RTLD_NEXT, "syscall"));
}

/* Its tables. */
static struct object opened(const struct link_map *map)
{
	struct object o;

	if (!open_object(&o, map))
		abort();
	return o;
}

/* All functions that libc has, in whatever versions. */
static void test_libc(void **state)
{
	const struct link_map *map = libc_map();
	unsigned int functions = 0, old = 0;
	void *handle = dlopen(map->l_name, RTLD_NOW | RTLD_NOLOAD);
	uint32_t i, last = 0;
	struct object o;

	(void)state;
	o = opened(map);
	for (i = 0; i < o.hash[0]; i++) {
		uint32_t begin = ((const uint32_t *)((const ElfW(Addr) *)(o.hash + 4) +
						     o.hash[2]))[i];

		last = begin > last ? begin : last;
	}
	for (i = o.hash[1]; i <= last; i++) {
		const char *name = o.strings + o.symbols[i].st_name;
		char other[256];

		if (ELF64_ST_TYPE(o.symbols[i].st_info) != STT_FUNC)
			continue;
		old += !is_default(&o, i);
		functions++;
		assert_ptr_equal(look_up(&o, name, hash_of(name)), __real_dlsym(handle, name));
		snprintf(other, sizeof(other), "%s~", name);
		assert_null(look_up(&o, other, hash_of(other)));
		assert_null(look_up(&o, other, hash_of(name))); /* the hash alone says nothing */
	}
	assert_in_range(functions, 1000, 100000);
	assert_in_range(old, 10, functions);
}

/* What is there by an indirect function is the loader's to find out. */
static void test_indirect(void **state)
{
	struct object o;

	(void)state;
	o = opened(libc_map());
	asked = 0;
	assert_ptr_equal(look_up(&o, "strlen", hash_of("strlen")),
			 __real_dlsym(RTLD_NEXT, "strlen"));
#if defined(__x86_64__) || defined(__i386__)
	assert_int_equal(asked, 1);
#endif
}

/* ---------------- waiting: what nanoseconds cannot count, what the kernel would refuse, and a ppoll() behind
 * ours that has another idea of time */

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

static int asked_ppoll;
static int64_t stretch; /* a wait takes as many hundredths of what it was asked_ppoll for */

static int stretching(struct pollfd *fds, nfds_t n, const struct timespec *t, const sigset_t *mask)
{
	(void)fds;
	(void)n;
	(void)mask;
	assert_int_equal(t->tv_sec, 0);
	assert_in_range(t->tv_nsec, 0, PART_NS); /* so nobody stretches it far */
	clock_now += t->tv_nsec * stretch / 100 + 1000;
	asked_ppoll++;
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

		asked_ppoll = 0;
		assert_int_equal(wait_one(-1, POLLIN, begun + length), 0);
		assert_in_range(clock_now, begun + length, begun + length + PART_NS * 5);
		assert_true(asked_ppoll > 1);
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

		for (asked_ppoll = 0; now_ns() < until_ns;) {
			int64_t part_ns = wait_part(until_ns);

			stretching(NULL, 0, wait_left(part_ns, &left), NULL);
			wait_count(&until_ns, part_ns);
		}
		assert_int_equal(asked_ppoll, 10);
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

/* ---------------- /proc: what it tells of this process's epoll sets, and when it does not */

static int set, watched, seen;
static struct epoll_event seen_event;

static int make_set(void **state)
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

static int close_set(void **state)
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
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_libc),
		cmocka_unit_test(test_indirect),
		cmocka_unit_test(test_end),
		cmocka_unit_test(test_until),
		cmocka_unit_test(test_stretched),
		cmocka_unit_test(test_counted),
		cmocka_unit_test(test_libcs),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_restarts),
		cmocka_unit_test_setup_teardown(test_what_a_set_has, make_set, close_set),
		cmocka_unit_test_setup_teardown(test_what_others_have, make_set, close_set),
		cmocka_unit_test_setup_teardown(test_armed, make_set, close_set),
		cmocka_unit_test_setup_teardown(test_one_descriptor_left, make_set, close_set),
		cmocka_unit_test_setup_teardown(test_without_the_first_thread, make_set, close_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

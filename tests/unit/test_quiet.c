// SPDX-License-Identifier: MIT
/* A write that raises a signal, which nobody shall notice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "quiet.h"

static volatile sig_atomic_t raised;

static void on_signal(int signal_number)
{
	(void)signal_number;
	raised++;
}

static bool is_waiting(int signal_number)
{
	sigset_t waiting;

	assert_int_equal(sigpending(&waiting), 0);
	return sigismember(&waiting, signal_number);
}

static bool is_blocked(int signal_number)
{
	sigset_t blocked;

	assert_int_equal(sigprocmask(SIG_BLOCK, NULL, &blocked), 0);
	return sigismember(&blocked, signal_number);
}

static void block(int how, int signal_number)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, signal_number);
	assert_int_equal(sigprocmask(how, &set, NULL), 0);
}

static int set_handlers(void **state)
{
	(void)state;
	raised = 0;
	signal(SIGPIPE, on_signal);
	signal(SIGXFSZ, on_signal);
	return 0;
}

static int pipe_without_reader(void)
{
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	close(ends[0]);
	return ends[1];
}

static void nobody_reads(void **state)
{
	int fd = pipe_without_reader();

	(void)state;
	errno = 0;
	assert_int_equal(quiet_write(fd, "x", 1, QUIET_AT_END), -1);
	assert_int_equal(errno, EPIPE);
	assert_false(is_waiting(SIGPIPE) || is_blocked(SIGPIPE));
	assert_int_equal(raised, 0);
	close(fd);
}

static void the_program_has_one_waiting(void **state)
{
	int fd = pipe_without_reader();

	(void)state;
	block(SIG_BLOCK, SIGPIPE);
	raise(SIGPIPE);
	assert_int_equal(quiet_write(fd, "x", 1, QUIET_AT_END), -1);
	assert_int_equal(errno, EPIPE);
	assert_true(is_waiting(SIGPIPE) && is_blocked(SIGPIPE));
	assert_int_equal(raised, 0);
	block(SIG_UNBLOCK, SIGPIPE);
	assert_int_equal(raised, 1);
	close(fd);
}

static void the_program_blocks_it(void **state)
{
	int fd = pipe_without_reader();

	(void)state;
	block(SIG_BLOCK, SIGPIPE);
	assert_int_equal(quiet_write(fd, "x", 1, QUIET_AT_END), -1);
	assert_false(is_waiting(SIGPIPE));
	assert_true(is_blocked(SIGPIPE));
	block(SIG_UNBLOCK, SIGPIPE);
	assert_int_equal(raised, 0);
	close(fd);
}

static void over_the_limit(void **state)
{
	char name[] = "/tmp/test_quiet.XXXXXX", got[3] = { 0 };
	struct rlimit before, limit;
	int fd = mkstemp(name);

	(void)state;
	assert_true(fd >= 0);
	unlink(name);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	limit = (struct rlimit){ 8, before.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_int_equal(quiet_write(fd, "ab", 2, 6), 2);
	assert_int_equal(quiet_write(fd, "cd", 2, 8), -1);
	assert_int_equal(errno, EFBIG);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_false(is_waiting(SIGXFSZ) || is_blocked(SIGXFSZ));
	assert_int_equal(raised, 0);
	assert_int_equal(pread(fd, got, sizeof(got), 6), 2);
	assert_memory_equal(got, "ab", 2);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(nobody_reads, set_handlers),
		cmocka_unit_test_setup(the_program_has_one_waiting, set_handlers),
		cmocka_unit_test_setup(the_program_blocks_it, set_handlers),
		cmocka_unit_test_setup(over_the_limit, set_handlers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

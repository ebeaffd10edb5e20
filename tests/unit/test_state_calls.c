// SPDX-License-Identifier: MIT
/*
 * The system calls of the state: how many it costs to know things, counted by ptrace(2) as strace does
 * it; and what is known when one fails.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "counts.h"
#include "health.h"
#include "help.h"
#include "servers.h"

enum { SERVERS = 100, ROUNDS = 100 };

static int64_t now;
static struct health_key key;

static struct addr server(unsigned int i)
{
	return (struct addr){ .ip = { [0] = 0x20, [1] = 0x01, [15] = (uint8_t)i }, .port = 443 };
}

/* The system calls that a process makes in `what`; -1: it cannot be traced. */
static long calls_of(void (*what)(void))
{
	int status;
	long stops = 0;
	pid_t pid = fork();

	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
			_exit(77);
		raise(SIGSTOP);
		what();
		raise(SIGSTOP);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFSTOPPED(status))
		return -1;
	ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
	for (;;) {
		ptrace(PTRACE_SYSCALL, pid, NULL, NULL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSTOPPED(status));
		if (WSTOPSIG(status) == SIGSTOP)
			break;
		stops += WSTOPSIG(status) == (SIGTRAP | 0x80);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return stops / 2; /* going in and coming out */
}

static void nothing(void)
{
}

/* Without those of raise(). */
static long count(const char *name, void (*what)(void))
{
	static long others = -1;
	long n;

	if (IS_SANITIZED) {
		print_message("skipped: this build makes system calls of its own\n");
		skip();
	}
	if (others < 0)
		others = calls_of(nothing);
	if (others < 0) {
		print_message("skipped: ptrace is not allowed\n");
		skip();
	}
	n = calls_of(what) - others;
	print_message("# %s: %ld\n", name, n);
	return n;
}

static int start(void **state)
{
	const struct cvt_span no_cookie = { NULL, 0 };

	(void)state;
	unlink(state_file);
	state_setup(state_file);
	now = state_now_ms();
	key = (struct health_key){ .converter = server(0), .network = 1 };
	for (unsigned int i = 0; i < SERVERS; i++) {
		const struct addr a = server(i);

		servers_learn(&a, i % 2, no_cookie, now);
	}
	servers_clear_table();
	health_clear_table();
	counts_in_child();
	return 0;
}

/* ------------------------------------------------------------------------------- servers */

static void look_up(unsigned int rounds, unsigned int n)
{
	for (unsigned int r = 0; r < rounds; r++) {
		for (unsigned int i = 0; i < n; i++) {
			const struct addr a = server(i);

			servers_lookup(&a, now);
		}
	}
}

static void first_look(void)
{
	look_up(1, 1);
}

static void look_again(void)
{
	look_up(ROUNDS, SERVERS);
}

static void look_for_unknown(void)
{
	const struct addr a = server(255);

	for (unsigned int r = 0; r < ROUNDS; r++)
		servers_lookup(&a, now);
}

/* For half an hour, each server once a second. */
static void look_for_long(void)
{
	for (unsigned int second = 0; second < 1800; second++) {
		look_up(1, SERVERS);
		now += 1000;
	}
}

static void learn_the_same(void)
{
	const struct cvt_span no_cookie = { NULL, 0 };

	look_up(1, SERVERS);
	for (unsigned int r = 0; r < ROUNDS; r++) {
		for (unsigned int i = 0; i < SERVERS; i++) {
			const struct addr a = server(i);

			servers_learn(&a, i % 2, no_cookie, now + r);
		}
	}
}

static void learn_something(void)
{
	const struct cvt_span no_cookie = { NULL, 0 };
	const struct addr a = server(200);

	servers_learn(&a, true, no_cookie, now);
}

static void servers(void **state)
{
	const long uid = geteuid() != 0; /* whose is the file? root's is anybody's */
	long one;

	(void)state;
	one = count("a server's first look-up", first_look);
	assert_int_equal(one, 4 + uid);
	assert_int_equal(count("100 servers, 10,000 look-ups", look_again), SERVERS * one);
	assert_int_equal(count("an unknown server, 100 look-ups", look_for_unknown), one);
	assert_int_equal(count("100 servers, 180,000 look-ups in half an hour", look_for_long),
			 SERVERS * one * 1800 / (SERVERS_REREAD_MS / 1000));
	assert_int_equal(count("100 servers, the same news 10,000 times", learn_the_same),
			 SERVERS * one);
	assert_int_equal(count("news, with the look-up before", learn_something), 14 + 2 * uid);
	unlink(state_file);
	assert_int_equal(count("no state_file, 100 look-ups", look_for_unknown), 1);
	state_setup(NULL);
	assert_int_equal(count("no state, 10,000 look-ups", look_again), 0);
}

/* ---------------------------------------------------------------- health and counts */

static bool no_route(const struct addr *to, const struct pol_binding *by, struct pol_route *route)
{
	(void)to;
	(void)by;
	(void)route;
	return false;
}

static void ask(void)
{
	const struct health_event e = { .kind = HEALTH_ANSWERED };
	struct health_key where;

	for (unsigned int r = 0; r < ROUNDS; r++) {
		health_where(&key.converter, no_route, now, &where);
		health_ask(&key, now, 1000, false);
		health_report(&key, &e, now);
	}
}

static void fail_together(void)
{
	struct health_event e = { .kind = HEALTH_FAILED,
				  .delay_s = HEALTH_NO_DELAY,
				  .retry_ms = 60000 };

	for (unsigned int r = 0; r < ROUNDS; r++) {
		e.started_ms = now - r;
		health_report(&key, &e, now + r % 2);
	}
}

static void converters(void **state)
{
	const long uid = geteuid() != 0;

	(void)state;
	assert_int_equal(count("a converter that works, 100 connections", ask), 7 + uid);
	assert_int_equal(count("a converter that fails, 100 connections at once", fail_together),
			 7 + uid + 13 + uid);
}

static void count_direct(void)
{
	for (unsigned int r = 0; r < ROUNDS; r++)
		counts_add(COUNTS_DIRECT, now);
}

static void count_converted(void)
{
	for (unsigned int r = 0; r < ROUNDS; r++)
		counts_add(COUNTS_CONVERTED, now + r);
}

static void counted(void **state)
{
	long uid = geteuid() != 0;

	(void)state;
	assert_int_equal(count("100 direct connections counted", count_direct), 0);
	assert_in_range(count("100 converted connections counted", count_converted), 1, 13 + uid);
}

/* ------------------------------------------------------------------------------- faults */
/*
 * Each system call that the state makes fails with each errno, by a seccomp filter in a child: as
 * under a sandbox, on a file system without locks, on a disk that has gone. A miss or a lost write,
 * and nothing else: no signal, no errno, no descriptor left, and what is found is right.
 */

static const struct call {
	long number;
	const char *name;
	bool closes; /* a close() that fails would leave the descriptor, here but not in Linux */
} calls[] = {
	{ SYS_openat, "openat", false },	 { SYS_mkdirat, "mkdirat", false },
	{ SYS_newfstatat, "newfstatat", false },
#ifdef SYS_fstat
	{ SYS_fstat, "fstat", false },
#endif
	{ SYS_pread64, "pread64", false },	 { SYS_pwrite64, "pwrite64", false },
	{ SYS_fcntl, "fcntl", false },		 { SYS_rt_sigprocmask, "rt_sigprocmask", false },
	{ SYS_ftruncate, "ftruncate", false },	 { SYS_close, "close", true },
};

static const int errors[] = { EPERM,  ENOSYS, EINTR,  EIO,   EAGAIN, ENOMEM, EACCES,
			      ENOSPC, EDQUOT, EMFILE, EROFS, EBADF,  EINVAL, ENOLCK };

enum { RIGHT, WRONG_ERRNO, WRONG_VALUE, DESCRIPTOR, NO_FILTER };

static bool refuse(long number, int err)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)err),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* Everything that can be done with the state. What is odd speaks MPTCP, before and after. */
static int use(void)
{
	const struct cvt_span no_cookie = { NULL, 0 };
	const struct health_event speaks = { .kind = HEALTH_SPEAKS, .dialect = CVT_DIALECT_HYBRID },
				  failed = { .kind = HEALTH_FAILED,
					     .started_ms = now,
					     .delay_s = HEALTH_NO_DELAY,
					     .retry_ms = 1000 };
	const struct health_key other = { .converter = server(1), .network = 1 };
	struct health h;
	int verdict = RIGHT;

	errno = 77;
	for (unsigned int i = 0; i < 8; i++) {
		const struct addr a = server(i);
		enum servers_verdict v = servers_lookup(&a, now);

		if (v != SERVERS_UNKNOWN && v != (i % 2 ? SERVERS_MPTCP : SERVERS_TCP))
			verdict = WRONG_VALUE;
		servers_learn(&a, i % 2, no_cookie, now);
		/* the process knows what it has learned, wherever it could not be written */
		if (servers_lookup(&a, now) != (i % 2 ? SERVERS_MPTCP : SERVERS_TCP))
			verdict = WRONG_VALUE;
		servers_clear_table();
		v = servers_lookup(&a, now);
		if (v != SERVERS_UNKNOWN && v != (i % 2 ? SERVERS_MPTCP : SERVERS_TCP))
			verdict = WRONG_VALUE;
	}
	health_report(&other, &speaks, now);
	health_report(&other, &failed, now);
	health_find(&other, now, &h);
	if (h.dialect != 1 + CVT_DIALECT_HYBRID || h.failures != 1 ||
	    health_ask(&other, now, 1000, false) != HEALTH_LEAVE ||
	    health_ask(&other, now + 1000, 1000, false) != HEALTH_PROBE ||
	    health_ask(&other, now + 1000, 1000, false) != HEALTH_LEAVE)
		verdict = WRONG_VALUE;
	counts_add(COUNTS_CONVERTED, now);
	state_clear();
	return errno == 77 ? verdict : WRONG_ERRNO;
}

static int lowest_free(void)
{
	int fd = (int)syscall(SYS_dup, STDIN_FILENO);

	return fd;
}

static int child(const struct call *call, int err)
{
	int before = lowest_free(), verdict;

	if (!refuse(call->number, err))
		return NO_FILTER;
	verdict = use();
	if (verdict == RIGHT && !call->closes && lowest_free() != before + 1)
		return DESCRIPTOR;
	return verdict;
}

static void each_call_fails(void **state)
{
	unsigned int n = 0;
	int status;

	(void)state;
	now = state_now_ms();
	for (size_t c = 0; c < sizeof(calls) / sizeof(calls[0]); c++) {
		for (size_t e = 0; e < 2 * sizeof(errors) / sizeof(errors[0]); e++) {
			const int err = errors[e / 2];
			const bool has_file = e % 2;
			pid_t pid;

			/* a lock's own word: another process is the one that tries */
			if (calls[c].number == SYS_fcntl && err == EAGAIN)
				continue;
			unlink(state_file);
			state_setup(state_file);
			servers_clear_table();
			if (has_file)
				use();
			servers_clear_table();
			health_clear_table();
			counts_in_child();
			n++;
			pid = fork();
			if (pid == 0)
				_exit(child(&calls[c], err));
			assert_int_equal(waitpid(pid, &status, 0), pid);
			if (WIFEXITED(status) && WEXITSTATUS(status) == NO_FILTER) {
				print_message("skipped: no seccomp filters here\n");
				skip();
			}
			if (status != 0)
				fail_msg("%s fails with %s%s: %s %d", calls[c].name, strerror(err),
					 has_file ? "" : ", no file yet",
					 WIFEXITED(status) ? "wrong in way" : "signal",
					 WIFEXITED(status) ? WEXITSTATUS(status) :
							     WTERMSIG(status));
		}
	}
	print_message("# %u faults\n", n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(servers, start),
		cmocka_unit_test_setup(converters, start),
		cmocka_unit_test_setup(counted, start),
		cmocka_unit_test(each_call_fails),
	};

	return cmocka_run_group_tests(tests, state_dir_make, state_dir_remove);
}

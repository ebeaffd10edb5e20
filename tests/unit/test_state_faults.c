// SPDX-License-Identifier: MIT
/*
 * Each system call that the state makes fails with each errno, by a seccomp filter in a child: as
 * under a sandbox, on a file system without locks, on a disk that has gone. A miss or a lost write,
 * and nothing else: no signal, no errno, no descriptor left, and what is found is right.
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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "counts.h"
#include "health.h"
#include "servers.h"
#include "state.h"
#include "state_dir.h"

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

static struct addr server(unsigned int i)
{
	return (struct addr){ .ip = { [0] = 0x20, [1] = 0x01, [15] = (uint8_t)i }, .port = 443 };
}

/* Everything that can be done with the state. What is odd speaks MPTCP, before and after. */
static int use(int64_t now)
{
	const struct cvt_span no_cookie = { NULL, 0 };
	const struct health_event speaks = { .kind = HEALTH_SPEAKS, .dialect = CVT_DIALECT_HYBRID },
				  failed = { .kind = HEALTH_FAILED,
					     .started_ms = now,
					     .delay_s = HEALTH_NO_DELAY,
					     .retry_ms = 1000 };
	struct health_key key = { .converter = server(1), .network = 1 };
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
	health_report(&key, &speaks, now);
	health_report(&key, &failed, now);
	health_find(&key, now, &h);
	if (h.dialect != 1 + CVT_DIALECT_HYBRID || h.failures != 1 ||
	    health_ask(&key, now, 1000, false) != HEALTH_LEAVE ||
	    health_ask(&key, now + 1000, 1000, false) != HEALTH_PROBE ||
	    health_ask(&key, now + 1000, 1000, false) != HEALTH_LEAVE)
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

static int child(const struct call *call, int err, int64_t now)
{
	int before = lowest_free(), verdict;

	if (!refuse(call->number, err))
		return NO_FILTER;
	verdict = use(now);
	if (verdict == RIGHT && !call->closes && lowest_free() != before + 1)
		return DESCRIPTOR;
	return verdict;
}

static void each_call_fails(void **state)
{
	const int64_t now = state_now_ms();
	unsigned int n = 0;
	int status;

	(void)state;
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
				use(now);
			servers_clear_table();
			health_clear_table();
			counts_in_child();
			n++;
			pid = fork();
			if (pid == 0)
				_exit(child(&calls[c], err, now));
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
		cmocka_unit_test(each_call_fails),
	};

	return cmocka_run_group_tests(tests, state_dir_make, state_dir_remove);
}

// SPDX-License-Identifier: MIT
#include "quiet.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

long quiet_write(int fd, const void *bytes, size_t len, long at)
{
	const struct timespec at_once = { 0 };
	const size_t set_size = _NSIG / 8; /* the kernel's, libc's sigset_t is longer */
	sigset_t ours, before, waiting;
	long n;
	int err;

	sigemptyset(&ours);
	sigaddset(&ours, SIGPIPE);
	sigaddset(&ours, SIGXFSZ);
	sigemptyset(&waiting);
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, &ours, &before, set_size);
	if (sigismember(&before, SIGPIPE) || sigismember(&before, SIGXFSZ))
		syscall(SYS_rt_sigpending, &waiting, set_size);
	n = at == QUIET_AT_END ? syscall(SYS_write, fd, bytes, len) :
				 syscall(SYS_pwrite64, fd, bytes, len, at, 0L);
	err = errno;
	if (n < 0 && (err == EPIPE || err == EFBIG)) {
		int raised = err == EPIPE ? SIGPIPE : SIGXFSZ;

		sigdelset(&ours, raised == SIGPIPE ? SIGXFSZ : SIGPIPE);
		if (!sigismember(&waiting, raised))
			syscall(SYS_rt_sigtimedwait, &ours, NULL, &at_once, set_size);
	}
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, set_size);
	errno = err;
	return n;
}

// SPDX-License-Identifier: MIT
#include "wait.h"

#include "memory.h"
#include "real.h"

#include <limits.h>

#define SLICE_FIRST_NS 10000000
#define SLICE_MOST_NS  640000000
#define PART_NS	       20000000

struct timespec *wait_left(int64_t until_ns, struct timespec *left)
{
	int64_t ns;

	if (until_ns == WAIT_FOREVER)
		return NULL;
	ns = until_ns - now_ns();
	if (ns < 0)
		ns = 0;
	left->tv_sec = ns / 1000000000;
	left->tv_nsec = (long)(ns % 1000000000);
	return left;
}

int wait_left_ms(int64_t until_ns)
{
	struct timespec left;
	int64_t ms = -1;

	if (wait_left(until_ns, &left))
		ms = (int64_t)left.tv_sec * 1000 + (left.tv_nsec + 999999) / 1000000;
	return ms > INT_MAX ? INT_MAX : (int)ms;
}

int64_t wait_part(int64_t until_ns)
{
	int64_t now;

	if (real_waits_are_libcs)
		return until_ns;
	now = now_ns();
	return until_ns <= now ? 0 : until_ns - now > PART_NS ? now + PART_NS : until_ns;
}

void wait_count(int64_t *until_ns, int64_t part_ns)
{
	if (!real_waits_are_libcs && *until_ns != WAIT_FOREVER && part_ns > 0)
		*until_ns += now_ns() - part_ns;
}

int64_t wait_end(int64_t seconds, int64_t ns)
{
	int64_t length, end;

	if (__builtin_mul_overflow(seconds, (int64_t)1000000000, &length) ||
	    __builtin_add_overflow(length, ns, &length) ||
	    __builtin_add_overflow(now_ns(), length, &end))
		return WAIT_FOREVER;
	return end;
}

bool wait_until(const struct timespec *limit, int64_t *until_ns)
{
	*until_ns = WAIT_FOREVER;
	if (!limit)
		return true;
	if (memory_is_absurd(limit) || limit->tv_sec < 0 || limit->tv_nsec < 0 ||
	    limit->tv_nsec >= 1000000000)
		return false;
	*until_ns = wait_end(limit->tv_sec, limit->tv_nsec);
	return true;
}

int64_t wait_slice(int64_t until_ns, int64_t *slice_ns)
{
	int64_t next;

	*slice_ns = *slice_ns ? *slice_ns * 2 : SLICE_FIRST_NS;
	if (*slice_ns > SLICE_MOST_NS)
		*slice_ns = SLICE_MOST_NS;
	next = now_ns() + *slice_ns;
	return next < until_ns ? next : until_ns;
}

#define FRAME_ROOM 1024 /* what looks as if it were outside, so near, may be its own callee */

bool wait_is_left(uintptr_t frame, int64_t since_ns)
{
	stack_t own;

	if (tick_ns() - since_ns >= 1000000000)
		return true;
	return (uintptr_t)__builtin_frame_address(0) > frame + FRAME_ROOM &&
	       sys_result(syscall(SYS_sigaltstack, NULL, &own)) == 0 &&
	       !(own.ss_flags & SS_ONSTACK);
}

bool wait_patiently(struct patience *patience)
{
	int64_t now = now_ns();

	if (!patience->since_ns)
		patience->since_ns = now;
	syscall(SYS_sched_yield);
	return ++patience->times < 1000 || now - patience->since_ns < 2000000000;
}

int wait_one(int fd, short events, int64_t until_ns)
{
	struct pollfd p = { .fd = fd, .events = events };
	struct timespec left;
	int r;

	do
		r = REAL(ppoll)(&p, 1, wait_left(wait_part(until_ns), &left), NULL);
	while (r == 0 && now_ns() < until_ns);
	return r < 0 ? -errno : r;
}

/* What a program's own mistake raises is not what has interrupted a wait; and handlers for it
 * (Python's faulthandler, sanitizers) often lack SA_RESTART. Nor does what libc has for itself count: glibc up to
 * 2.35 cancels threads by one without SA_RESTART, once a program has asked for pthread_cancel(); musl's third
 * has SA_RESTART. */
static bool is_apart(int sig)
{
	return sig == SIGSEGV || sig == SIGBUS || sig == SIGFPE || sig == SIGILL ||
	       sig == SIGTRAP || sig == SIGABRT || sig == SIGSYS || sig == 32 || sig == 33;
}

bool wait_restarts_all(void)
{
	/* the kernel's own layout: libc's sigaction() hides two signals of its own */
	struct {
		void *handler;
		unsigned long flags;
		void *restorer;
		unsigned char mask[_NSIG / 8]; /* 8 bytes, whatever a long is */
	} action;

	for (int sig = 1; sig <= 64; sig++) {
		if (is_apart(sig) ||
		    syscall(SYS_rt_sigaction, sig, NULL, &action, sizeof(action.mask)) < 0)
			continue;
		if (action.handler == (void *)SIG_DFL || action.handler == (void *)SIG_IGN)
			continue;
		if (!(action.flags & SA_RESTART))
			return false;
	}
	return true;
}

// SPDX-License-Identifier: MIT
#undef _FORTIFY_SOURCE /* this file defines what its headers call */
#include "real.h"

#include <pthread.h>
#include <string.h>
#include <sys/auxv.h>

#pragma weak __register_atfork
#pragma weak pthread_atfork
#pragma weak __chk_fail

int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *dso);
void __chk_fail(void) __attribute__((noreturn));
/* What a program has of the C runtime's start, and the library is linked without. */
INTERNAL extern void *__dso_handle;
__attribute__((weak)) void *__dso_handle = &__dso_handle;
INTERNAL void *__memcpy_chk(void *restrict to, const void *restrict from, size_t n, size_t room);

/* glibc's pthread_atfork() is no name of libc's, but a piece of every program and library. */
AT_START void libc_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void))
{
	if (__register_atfork)
		__register_atfork(prepare, parent, child, __dso_handle);
	else
		pthread_atfork(prepare, parent, child);
}

void libc_overflow(void)
{
	if (__chk_fail)
		__chk_fail();
	__builtin_trap();
}

/* For the library's own fortified code. */
void *__memcpy_chk(void *restrict to, const void *restrict from, size_t n, size_t room)
{
	if (n > room)
		libc_overflow();
	return memcpy(to, from, n);
}

#if defined(__aarch64__) || defined(__arm__)
/* glibc has this one in its loader, which musl's programs do not have: our own, with libc's value.
 * On other machines it is in the thread's own memory. */
INTERNAL uintptr_t __stack_chk_guard;

__attribute__((constructor(101))) static void set_guard(void)
{
	memcpy(&__stack_chk_guard, (const void *)getauxval(AT_RANDOM), sizeof(__stack_chk_guard));
	__stack_chk_guard &= ~(uintptr_t)0xff;
}
#endif

#ifdef __aarch64__ /* of libgcc's atomics */
INTERNAL unsigned long __getauxval(unsigned long type);
unsigned long __getauxval(unsigned long type)
{
	return getauxval(type);
}
#endif

/* ------------------------------------------------------------------ what musl lacks */

static int by_close_range(unsigned int first, unsigned int last, int flags)
{
	return (int)syscall(SYS_close_range, first, last, flags);
}

static void by_closefrom(int first)
{
	syscall(SYS_close_range, first < 0 ? 0 : first, ~0U, 0);
}

static int by_execveat(int fd, const char *path, char *const argv[], char *const envp[], int flags)
{
	return (int)syscall(SYS_execveat, fd, path, argv, envp, flags);
}

static int by_epoll_pwait2(int epfd, struct epoll_event *events, int max,
			   const struct timespec *timeout, const sigset_t *mask)
{
	return (int)syscall(SYS_epoll_pwait2, epfd, events, max, timeout, mask, (long)_NSIG / 8);
}

static ssize_t by_preadv2(int fd, const struct iovec *iov, int n, off_t offset, int flags)
{
	return syscall(SYS_preadv2, fd, iov, n, (long)offset, (long)(offset >> 32), flags);
}

static ssize_t by_pwritev2(int fd, const struct iovec *iov, int n, off_t offset, int flags)
{
	return syscall(SYS_pwritev2, fd, iov, n, (long)offset, (long)(offset >> 32), flags);
}

AT_START void libc_complete(struct real *r)
{
#define COMPLETE(name) \
	if (!r->name)  \
		r->name = by_##name;
	COMPLETE(close_range)
	COMPLETE(closefrom)
	COMPLETE(execveat)
	COMPLETE(epoll_pwait2)
	COMPLETE(preadv2)
	COMPLETE(pwritev2)
#undef COMPLETE
}

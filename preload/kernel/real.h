/* SPDX-License-Identifier: MIT */
/*
 * real.h - the functions that ours stand in front of, and system calls without libc.
 *
 * real.NAME is the next definition of NAME behind ours (libc's, or another preloaded library's). What runs under
 * one of our locks uses sys_*() instead: libc's functions are cancellation points (D5a).
 */
#ifndef CVT_REAL_H
#define CVT_REAL_H

#include "libc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* Marks a definition that the library exports. */
#define INTERPOSE __attribute__((visibility("default")))
/* What is reached on the way through to libc, without the detour by the global offset table. */
#define INTERNAL __attribute__((visibility("hidden")))
/* What each process runs or reads at its start: code at the front of the library, which the loader reads anyway,
 * data in the page that it writes to. Anywhere else it is a page fault more, a twentieth of what we add to a start. */
#define AT_START __attribute__((section(".text.startup")))
#define WRITTEN	 __attribute__((section(".data")))
/* Of an object that is seen by others when it is filled in, by a mark or a claim: atomic_store() waits for all
 * that has been stored before. */
#define FILL(object, value) atomic_store_explicit(&(object), value, memory_order_relaxed)
/* Kept out of that way. */
#define SLOW __attribute__((noinline, cold))

/* Fortified programs call these; no header declares them to others. */
int __vdprintf_chk(int fd, int flag, const char *restrict format, va_list args)
	__attribute__((format(printf, 3, 0)));

/* clang-format off */
#define REAL_NAMES(X) \
	X(socket) X(socketpair) X(bind) X(connect) X(listen) X(accept) X(accept4) X(getpeername) \
	X(getsockname) X(getsockopt) X(setsockopt) X(poll) X(epoll_ctl) X(epoll_wait) \
	X(epoll_pwait) X(close) X(close_range) X(closefrom) X(execve) X(execv) X(execvp) \
	X(execvpe) X(fexecve) X(execveat) X(fdopen) X(vdprintf) X(__vdprintf_chk) X(posix_spawn) \
	X(posix_spawnp) X(posix_spawn_file_actions_adddup2) X(shutdown) X(ioctl) X(prctl) \
	X(read) X(readv) X(recv) X(recvfrom) X(write) X(writev) X(send) X(sendto) X(sendmsg) \
	X(sendmmsg) X(splice) X(dup) X(dup2) X(dup3) X(syscall)
/* and the second name */
#define REAL_WIDE_NAMES(X) \
	X(ppoll, "__ppoll64") X(select, "__select64") X(pselect, "__pselect64") \
	X(epoll_pwait2, "__epoll_pwait2_time64") X(recvmsg, "__recvmsg64") X(recvmmsg, "__recvmmsg64") \
	X(preadv2, "preadv64v2") X(pwritev2, "pwritev64v2") X(sendfile, "sendfile64") X(fcntl, "fcntl64")
/* clang-format on */

struct real {
#define REAL_POINTER(name, ...) __typeof__(name) *name;
	REAL_NAMES(REAL_POINTER)
	REAL_WIDE_NAMES(REAL_POINTER)
#undef REAL_POINTER
};

extern struct real real INTERNAL;
/* libc's syscall(), for syscall.c; known from the first call on. */
extern long (*real_syscall)(long number, long a, long b, long c, long d, long e, long f) INTERNAL;

/* Are the waits behind ours libc's own? Else they may count time in a way of their own (libfaketime).
 * Where libc cannot say (before glibc 2.35), they are taken for others'. */
extern bool real_waits_are_libcs INTERNAL;

/* What the libc behind us lacks is the kernel's call. */
void libc_complete(struct real *r);

/* Called by the constructor, and by whatever is called before it. Safe to repeat. */
void real_init(void);

#define REAL(name) (__builtin_expect(!real.name, 0) ? (real_init(), real.name) : real.name)

/* The way back: what a call of ours returns to the program, whose errno is untouched on success. */
static inline int libc_result(int r, int saved_errno)
{
	errno = r < 0 ? -r : saved_errno;
	return r < 0 ? -1 : r;
}

#include "real_narrow.h"
#include "sys.h"

#endif

/* SPDX-License-Identifier: MIT */
/*
 * real.h - the functions that ours stand in front of, and system calls without libc.
 *
 * real.NAME is the next definition of NAME behind ours (libc's, or another preloaded
 * library's). What runs under one of our locks uses sys_*() instead: libc's functions are
 * cancellation points (D5a).
 */
#ifndef CVT_REAL_H
#define CVT_REAL_H

/* A library for 32 bits would hand programs with a 64-bit time_t, which call select() and recvmsg() by
 * other names, the converter's reply as data (CASES 2.2). None is better until those are interposed. */
#if !defined(__LP64__) && !defined(CONVERT_32_BITS_UNFINISHED)
#error "not right for 32 bits: programs with a 64-bit time_t are not served (docs/cases.md 2.2)"
#endif

#include "clock.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* Marks a definition that the library exports. */
#define INTERPOSE __attribute__((visibility("default")))
/* What is reached on the way through to libc, without the detour by the global offset table. */
#define INTERNAL __attribute__((visibility("hidden")))
/* Kept out of that way. */
#define SLOW __attribute__((noinline, cold))

struct real {
	int (*socket)(int, int, int);
	int (*socketpair)(int, int, int, int[2]);
	int (*bind)(int, const struct sockaddr *, socklen_t);
	int (*connect)(int, const struct sockaddr *, socklen_t);
	int (*accept)(int, struct sockaddr *, socklen_t *);
	int (*accept4)(int, struct sockaddr *, socklen_t *, int);
	int (*getpeername)(int, struct sockaddr *, socklen_t *);
	int (*getsockname)(int, struct sockaddr *, socklen_t *);
	int (*getsockopt)(int, int, int, void *, socklen_t *);
	int (*setsockopt)(int, int, int, const void *, socklen_t);
	int (*poll)(struct pollfd *, nfds_t, int);
	int (*ppoll)(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *);
	int (*select)(int, fd_set *, fd_set *, fd_set *, struct timeval *);
	int (*pselect)(int, fd_set *, fd_set *, fd_set *, const struct timespec *,
		       const sigset_t *);
	int (*epoll_ctl)(int, int, int, struct epoll_event *);
	int (*epoll_wait)(int, struct epoll_event *, int, int);
	int (*epoll_pwait)(int, struct epoll_event *, int, int, const sigset_t *);
	int (*epoll_pwait2)(int, struct epoll_event *, int, const struct timespec *,
			    const sigset_t *);
	int (*close)(int);
	int (*close_range)(unsigned int, unsigned int, int);
	void (*closefrom)(int);
	int (*execve)(const char *, char *const[], char *const[]);
	int (*execv)(const char *, char *const[]);
	int (*execvp)(const char *, char *const[]);
	int (*execvpe)(const char *, char *const[], char *const[]);
	int (*fexecve)(int, char *const[], char *const[]);
	FILE *(*fdopen)(int, const char *);
	int (*vdprintf)(int, const char *, va_list);
	int (*__vdprintf_chk)(int, int, const char *, va_list);
	int (*posix_spawn)(pid_t *, const char *, const posix_spawn_file_actions_t *,
			   const posix_spawnattr_t *, char *const[], char *const[]);
	int (*posix_spawnp)(pid_t *, const char *, const posix_spawn_file_actions_t *,
			    const posix_spawnattr_t *, char *const[], char *const[]);
	int (*shutdown)(int, int);
	int (*ioctl)(int, unsigned long, ...);
	ssize_t (*read)(int, void *, size_t);
	ssize_t (*readv)(int, const struct iovec *, int);
	ssize_t (*preadv2)(int, const struct iovec *, int, off_t, int);
	ssize_t (*preadv64v2)(int, const struct iovec *, int, off64_t, int);
	ssize_t (*pwritev2)(int, const struct iovec *, int, off_t, int);
	ssize_t (*pwritev64v2)(int, const struct iovec *, int, off64_t, int);
	ssize_t (*recv)(int, void *, size_t, int);
	ssize_t (*recvfrom)(int, void *, size_t, int, struct sockaddr *, socklen_t *);
	ssize_t (*recvmsg)(int, struct msghdr *, int);
	int (*recvmmsg)(int, struct mmsghdr *, unsigned int, int, struct timespec *);
	ssize_t (*write)(int, const void *, size_t);
	ssize_t (*writev)(int, const struct iovec *, int);
	ssize_t (*send)(int, const void *, size_t, int);
	ssize_t (*sendto)(int, const void *, size_t, int, const struct sockaddr *, socklen_t);
	ssize_t (*sendmsg)(int, const struct msghdr *, int);
	int (*sendmmsg)(int, struct mmsghdr *, unsigned int, int);
	ssize_t (*sendfile)(int, int, off_t *, size_t);
	ssize_t (*sendfile64)(int, int, off64_t *, size_t);
	ssize_t (*splice)(int, off64_t *, int, off64_t *, size_t, unsigned int);
	int (*dup)(int);
	int (*dup2)(int, int);
	int (*dup3)(int, int, int);
	int (*fcntl)(int, int, ...);
	int (*fcntl64)(int, int, ...);
};

extern struct real real INTERNAL;

/* libc's syscall(), for syscall.c; known from the first call on. */
extern long (*real_syscall)(long number, long a, long b, long c, long d, long e, long f) INTERNAL;

/* Are the waits behind ours libc's own? Else they may count time in a way of their own (libfaketime).
 * Where libc cannot say (before glibc 2.35), they are taken for others'. */
extern bool real_waits_are_libcs INTERNAL;

/* Called by the constructor, and by whatever is called before it. Safe to repeat. */
void real_init(void);

#define REAL(name) (__builtin_expect(!real.name, 0) ? (real_init(), real.name) : real.name)

/* System calls that return a negative errno and leave errno to the caller's save and restore. */
static inline long sys_result(long r)
{
	return r < 0 ? -errno : r;
}

/* The way back: what a call of ours returns to the program, whose errno is untouched on success. */
static inline int libc_result(int r, int saved_errno)
{
	errno = r < 0 ? -r : saved_errno;
	return r < 0 ? -1 : r;
}

static inline int sys_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	return (int)sys_result(syscall(SYS_getsockopt, fd, level, name, value, len));
}

static inline int sys_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	return (int)sys_result(syscall(SYS_setsockopt, fd, level, name, value, len));
}

static inline int sys_connect(int fd, const struct sockaddr *sa, socklen_t len)
{
	return (int)sys_result(syscall(SYS_connect, fd, sa, len));
}

static inline long sys_sendto(int fd, const void *p, size_t n, int flags, const struct sockaddr *sa,
			      socklen_t len)
{
	return sys_result(syscall(SYS_sendto, fd, p, n, flags, sa, len));
}

static inline long sys_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	return sys_result(syscall(SYS_sendmsg, fd, msg, flags));
}

static inline long sys_recv(int fd, void *p, size_t n, int flags)
{
	return sys_result(syscall(SYS_recvfrom, fd, p, n, flags, NULL, NULL));
}

static inline int sys_fcntl(int fd, int command, long arg)
{
	return (int)sys_result(syscall(SYS_fcntl, fd, command, arg));
}

static inline int sys_getsockname(int fd, struct sockaddr *sa, socklen_t *len)
{
	return (int)sys_result(syscall(SYS_getsockname, fd, sa, len));
}

static inline int sys_shutdown(int fd, int how)
{
	return (int)sys_result(syscall(SYS_shutdown, fd, how));
}

static inline int64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

#endif

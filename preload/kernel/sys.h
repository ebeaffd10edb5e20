/* SPDX-License-Identifier: MIT */
/*
 * sys.h - system calls without libc: for what runs under a lock, as libc's are cancellation points (D5a);
 * and the time in nanoseconds.
 */
#ifndef CVT_SYS_H
#define CVT_SYS_H

#include "clock.h"

#include <errno.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* System calls that return a negative errno and leave errno to the caller's save and restore. */
static inline long sys_result(long r)
{
	return r < 0 ? -errno : r;
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

static inline long sys_send(int fd, const void *p, size_t n, int flags)
{
	return sys_result(syscall(SYS_sendto, fd, p, n, flags, NULL, 0));
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

/* The same as of the kernel's last tick, 10 ms ago at most: where a second is meant. It never asks the machine's
 * counter, which takes a microsecond where that is not the processor's own. */
static inline int64_t tick_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC_COARSE);
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * narrow.h - what programs with a 32-bit time_t and off_t call, where those are libc's first ones.
 *
 * Elsewhere there is one function, with the types of the machine.
 */
#ifndef CVT_NARROW_H
#define CVT_NARROW_H

#include "real.h"

#include <linux/time_types.h>

#if NARROW
typedef struct __kernel_old_timespec narrow_timespec;
typedef struct __kernel_old_timeval narrow_timeval;
typedef __kernel_long_t narrow_off_t;

int narrow_select(int n, fd_set *reads, fd_set *writes, fd_set *excepts,
		  narrow_timeval *timeout) __asm__("select");
ssize_t narrow_recvmsg(int fd, struct msghdr *msg, int flags) __asm__("recvmsg");
int narrow_recvmmsg(int fd, struct mmsghdr *msgs, unsigned int n, int flags,
		    narrow_timespec *timeout) __asm__("recvmmsg");
ssize_t narrow_sendfile(int out, int in, narrow_off_t *offset, size_t n) __asm__("sendfile");
int narrow_fcntl(int fd, int command, ...) __asm__("fcntl");

#define REAL_NARROW(name) (real_narrow.name ? real_narrow.name : (real_init(), real_narrow.name))
#else
#define narrow_select	select
#define narrow_recvmmsg recvmmsg
#define narrow_sendfile sendfile
#define narrow_fcntl	fcntl
#endif

#endif

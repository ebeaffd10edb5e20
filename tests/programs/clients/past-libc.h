/* SPDX-License-Identifier: MIT */
/*
 * past-libc.h - read before a client (gcc -include), whose calls it turns into syscall(). Not
 * connect(): past libc that is direct.
 */
#ifndef TEST_PAST_LIBC_H
#define TEST_PAST_LIBC_H

#include <fcntl.h>
#include <linux/time_types.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static inline int past_int(long r)
{
	return (int)r;
}

#define MASK_SIZE 8L /* the kernel's sigset_t */

/* On machines of 32 bits there are two of each. */
#ifdef __USE_TIME_BITS64
#define PAST_LIBC(name, wide) SYS_##wide
#else
#define PAST_LIBC(name, wide) SYS_##name
#endif

static inline int past_pselect(int n, fd_set *in, fd_set *out, fd_set *except,
			       const struct timespec *limit, const sigset_t *mask)
{
	struct timespec left = limit ? *limit : (struct timespec){ 0 };
	struct {
		const sigset_t *mask;
		size_t size;
	} signals = { mask, MASK_SIZE };

	return past_int(syscall(PAST_LIBC(pselect6, pselect6_time64), n, in, out, except,
				limit ? &left : NULL, &signals));
}

static inline int past_ppoll(struct pollfd *fds, nfds_t n, const struct timespec *limit,
			     const sigset_t *mask)
{
	struct timespec left = limit ? *limit : (struct timespec){ 0 };

	return past_int(syscall(PAST_LIBC(ppoll, ppoll_time64), fds, n, limit ? &left : NULL, mask,
				MASK_SIZE));
}

static inline int past_epoll_pwait2(int epfd, struct epoll_event *events, int n,
				    const struct timespec *limit, const sigset_t *mask)
{
	struct __kernel_timespec left = { 0 }; /* there is one */

	if (limit)
		left = (struct __kernel_timespec){ limit->tv_sec, limit->tv_nsec };
	return past_int(
		syscall(SYS_epoll_pwait2, epfd, events, n, limit ? &left : NULL, mask, MASK_SIZE));
}

#define read(fd, p, n)		    syscall(SYS_read, fd, p, n)
#define readv(fd, v, n)		    syscall(SYS_readv, fd, v, n)
#define recv(fd, p, n, f)	    syscall(SYS_recvfrom, fd, p, n, f, NULL, NULL)
#define recvfrom(fd, p, n, f, a, l) syscall(SYS_recvfrom, fd, p, n, f, a, l)
#define recvmsg(fd, m, f)	    syscall(SYS_recvmsg, fd, m, f)
#define recvmmsg(fd, m, n, f, t) \
	past_int(syscall(PAST_LIBC(recvmmsg, recvmmsg_time64), fd, m, n, f, t))
#define write(fd, p, n)		      syscall(SYS_write, fd, p, n)
#define writev(fd, v, n)	      syscall(SYS_writev, fd, v, n)
#define preadv2(fd, v, n, at, f)      syscall(SYS_preadv2, fd, v, n, (long)(at), -1L, f)
#define pwritev2(fd, v, n, at, f)     syscall(SYS_pwritev2, fd, v, n, (long)(at), -1L, f)
#define send(fd, p, n, f)	      syscall(SYS_sendto, fd, p, n, f, NULL, 0L)
#define sendto(fd, p, n, f, a, l)     syscall(SYS_sendto, fd, p, n, f, a, l)
#define sendmsg(fd, m, f)	      syscall(SYS_sendmsg, fd, m, f)
#define sendmmsg(fd, m, n, f)	      past_int(syscall(SYS_sendmmsg, fd, m, n, f))
#define sendfile(out, in, o, n)	      syscall(PAST_LIBC(sendfile, sendfile64), out, in, o, n)
#define splice(in, io, out, oo, n, f) syscall(SYS_splice, in, io, out, oo, n, f)
#define ppoll(fds, n, t, m)	      past_ppoll(fds, n, t, m)
#define pselect(n, i, o, e, t, m)     past_pselect(n, i, o, e, t, m)
#define epoll_ctl(ep, op, fd, e)      past_int(syscall(SYS_epoll_ctl, ep, op, fd, e))
#define epoll_pwait(ep, e, n, t, m)   past_int(syscall(SYS_epoll_pwait, ep, e, n, t, m, MASK_SIZE))
#define epoll_pwait2(ep, e, n, t, m)  past_epoll_pwait2(ep, e, n, t, m)
#define dup(fd)			      past_int(syscall(SYS_dup, fd))
#define dup3(fd, to, f)		      past_int(syscall(SYS_dup3, fd, to, f))
#define close(fd)		      past_int(syscall(SYS_close, fd))
#define bind(fd, a, l)		      past_int(syscall(SYS_bind, fd, a, l))
#define shutdown(fd, how)	      past_int(syscall(SYS_shutdown, fd, how))
#define getsockname(fd, a, l)	      past_int(syscall(SYS_getsockname, fd, a, l))
#define getpeername(fd, a, l)	      past_int(syscall(SYS_getpeername, fd, a, l))
#define getsockopt(fd, l, o, v, n)    past_int(syscall(SYS_getsockopt, fd, l, o, v, n))
#define setsockopt(fd, l, o, v, n)    past_int(syscall(SYS_setsockopt, fd, l, o, v, n))
#ifdef SYS_poll
#define poll(fds, n, t) past_int(syscall(SYS_poll, fds, n, t))
#ifndef SYS__newselect
#define select(n, i, o, e, t) past_int(syscall(SYS_select, n, i, o, e, t))
#elif !defined(__USE_TIME_BITS64) /* it has no other one */
#define select(n, i, o, e, t) past_int(syscall(SYS__newselect, n, i, o, e, t))
#endif
#define epoll_wait(ep, e, n, t) past_int(syscall(SYS_epoll_wait, ep, e, n, t))
#define dup2(fd, to)		past_int(syscall(SYS_dup2, fd, to))
#endif

#endif

// SPDX-License-Identifier: MIT
/*
 * The waits and offsets of programs with a 32-bit time_t and off_t. While nothing is unsettled they are
 * libc's own, else ours with longer arguments, which is how libc does it.
 */
#undef _FORTIFY_SOURCE
#include "narrow.h"

#if NARROW
#include "marks.h"
#include "memory.h"

int narrow_ppoll(struct pollfd *fds, nfds_t n, const narrow_timespec *timeout,
		 const sigset_t *mask) __asm__("ppoll");
int narrow_ppoll_chk(struct pollfd *fds, nfds_t n, const narrow_timespec *timeout,
		     const sigset_t *mask, size_t fds_len) __asm__("__ppoll_chk");
int narrow_pselect(int n, fd_set *reads, fd_set *writes, fd_set *excepts,
		   const narrow_timespec *timeout, const sigset_t *mask) __asm__("pselect");
int narrow_epoll_pwait2(int epfd, struct epoll_event *events, int max,
			const narrow_timespec *timeout,
			const sigset_t *mask) __asm__("epoll_pwait2");
ssize_t narrow_preadv2(int fd, const struct iovec *iov, int n, narrow_off_t offset,
		       int flags) __asm__("preadv2");
ssize_t narrow_pwritev2(int fd, const struct iovec *iov, int n, narrow_off_t offset,
			int flags) __asm__("pwritev2");

/* What is no pointer stays none. */
static const struct timespec *wide(const narrow_timespec *timeout, struct timespec *room)
{
	if (!timeout || memory_is_absurd(timeout))
		return (const struct timespec *)timeout;
	*room = (struct timespec){ .tv_sec = timeout->tv_sec, .tv_nsec = timeout->tv_nsec };
	return room;
}

INTERPOSE int narrow_ppoll(struct pollfd *fds, nfds_t n, const narrow_timespec *timeout,
			   const sigset_t *mask)
{
	struct timespec room;

	if (!mark_any_unsettled())
		return REAL_NARROW(ppoll)(fds, n, timeout, mask);
	return ppoll(fds, n, wide(timeout, &room), mask);
}

INTERPOSE int narrow_ppoll_chk(struct pollfd *fds, nfds_t n, const narrow_timespec *timeout,
			       const sigset_t *mask, size_t fds_len)
{
	if (fds_len / sizeof(*fds) < n)
		libc_overflow();
	return narrow_ppoll(fds, n, timeout, mask);
}

INTERPOSE int narrow_select(int n, fd_set *reads, fd_set *writes, fd_set *excepts,
			    narrow_timeval *timeout)
{
	struct timeval room;
	int r;

	if (!mark_any_unsettled())
		return REAL_NARROW(select)(n, reads, writes, excepts, timeout);
	if (!timeout || memory_is_absurd(timeout))
		return select(n, reads, writes, excepts, (struct timeval *)timeout);
	room = (struct timeval){ .tv_sec = timeout->tv_sec, .tv_usec = timeout->tv_usec };
	r = select(n, reads, writes, excepts, &room);
	/* never more than it was */
	*timeout = (narrow_timeval){ (__kernel_long_t)room.tv_sec, (__kernel_long_t)room.tv_usec };
	return r;
}

ALSO("__select", narrow_select, "select"); /* libc's public alias */

INTERPOSE int narrow_pselect(int n, fd_set *reads, fd_set *writes, fd_set *excepts,
			     const narrow_timespec *timeout, const sigset_t *mask)
{
	struct timespec room;

	if (!mark_any_unsettled())
		return REAL_NARROW(pselect)(n, reads, writes, excepts, timeout, mask);
	return pselect(n, reads, writes, excepts, wide(timeout, &room), mask);
}

INTERPOSE int narrow_epoll_pwait2(int epfd, struct epoll_event *events, int max,
				  const narrow_timespec *timeout, const sigset_t *mask)
{
	struct timespec room;

	return epoll_pwait2(epfd, events, max, wide(timeout, &room), mask);
}

INTERPOSE ssize_t narrow_preadv2(int fd, const struct iovec *iov, int n, narrow_off_t offset,
				 int flags)
{
	return preadv2(fd, iov, n, offset, flags);
}

INTERPOSE ssize_t narrow_pwritev2(int fd, const struct iovec *iov, int n, narrow_off_t offset,
				  int flags)
{
	return pwritev2(fd, iov, n, offset, flags);
}

INTERPOSE ssize_t narrow_sendfile(int out, int in, narrow_off_t *offset, size_t n)
{
	off_t at = 0;
	ssize_t r;

	if (!mark_is_unsettled(mark_get(out)) && !mark_is_unsettled(mark_get(in)))
		return REAL_NARROW(sendfile)(out, in, offset, n);
	if (!offset || memory_is_absurd(offset))
		return sendfile(out, in, (off_t *)offset, n);
	at = *offset;
	if (at >= INT32_MAX) { /* as the kernel: no offset that such a program could hold */
		errno = EOVERFLOW;
		return -1;
	}
	if (at >= 0 && n > (size_t)(INT32_MAX - at))
		n = (size_t)(INT32_MAX - at);
	r = sendfile(out, in, &at, n);
	*offset = (narrow_off_t)at;
	return r;
}
#endif

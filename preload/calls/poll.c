// SPDX-License-Identifier: MIT
#undef _FORTIFY_SOURCE /* this file defines what <bits/poll2.h> wraps */
#include "accept.h"
#include "memory.h"
#include "pollset.h"
#include "real.h"
#include "wait.h"

int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t fds_len);
#if NARROW
#define PPOLL_CHK __ppoll64_chk /* from glibc 2.37 on */
#else
#define PPOLL_CHK __ppoll_chk
#endif
int PPOLL_CHK(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask,
	      size_t fds_len);

/* libc's header says that poll() only writes the array. */
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

static bool needs_us(const struct pollfd *fds, nfds_t n)
{
	/* the kernel refuses an array that is longer than the limit of descriptors before it reads it */
	if (n > MARK_MAX || !memory_was_array(fds, n, sizeof(*fds)))
		return false;
	for (nfds_t i = 0; i < n; i++)
		if (held_or_unsettled(fds[i].fd))
			return true;
	return false;
}

SLOW static int poll_unsettled(struct pollfd *fds, nfds_t n, int timeout)
{
	int saved_errno = errno;
	int64_t until_ns = WAIT_FOREVER;

	if (!needs_us(fds, n))
		return REAL(poll)(fds, n, timeout);
	if (timeout >= 0)
		until_ns = now_ns() + (int64_t)timeout * 1000000;
	return libc_result(pollset_wait(fds, n, until_ns, NULL), saved_errno);
}

SLOW static int ppoll_unsettled(struct pollfd *fds, nfds_t n, const struct timespec *timeout,
				const sigset_t *mask)
{
	int saved_errno = errno;
	int64_t until_ns;

	/* a bad time limit is the kernel's to refuse */
	if (!needs_us(fds, n) || !wait_until(timeout, &until_ns))
		return REAL(ppoll)(fds, n, timeout, mask);
	return libc_result(pollset_wait(fds, n, until_ns, mask), saved_errno);
}

INTERPOSE int poll(struct pollfd *fds, nfds_t n, int timeout)
{
	return mark_any_unsettled() ? poll_unsettled(fds, n, timeout) : real.poll(fds, n, timeout);
}

INTERPOSE int ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout,
		    const sigset_t *mask)
{
	return mark_any_unsettled() ? ppoll_unsettled(fds, n, timeout, mask) :
				      real.ppoll(fds, n, timeout, mask);
}

ALSO("__poll", poll, "poll"); /* libc's public alias */

/* What programs call that were compiled with _FORTIFY_SOURCE. */
INTERPOSE int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t fds_len)
{
	if (fds_len / sizeof(*fds) < n)
		libc_overflow();
	return poll(fds, n, timeout);
}

INTERPOSE int PPOLL_CHK(struct pollfd *fds, nfds_t n, const struct timespec *timeout,
			const sigset_t *mask, size_t fds_len)
{
	if (fds_len / sizeof(*fds) < n)
		libc_overflow();
	return ppoll(fds, n, timeout, mask);
}

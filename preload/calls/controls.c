// SPDX-License-Identifier: MIT
/* Calls that are about the connection and carry no data: shutdown() and ioctl(); and prctl(). */
#include "advance.h"
#include "counts.h"
#include "accept.h"
#include "handover.h"
#include "notes.h"
#include "shim.h"
#include "sock.h"
#include "twin.h"

#include <linux/sockios.h>

/* On an unfinished connect the kernel's shutdown() is a disconnect (TRAPS 2.16). */
INTERPOSE int shutdown(int fd, int how)
{
	int saved_errno = errno, r;
	struct conn *c;
	bool is_listener;

	/* an accepted one is connected: what is to be shut down is what the remote host has begun */
	if (mark_get(fd) == MARK_PENDING && (c = conn_find(fd)) && conn_is_incoming(c))
		handover_finish_uncancelled(fd);
	if (how < SHUT_RD || how > SHUT_RDWR || mark_get(fd) != MARK_PENDING ||
	    !(c = conn_find(fd)) || conn_advance(fd, c) != MARK_PENDING) {
		errno = saved_errno;
		/* an unconnected socket keeps it, and could not read a reply any more; a listener does not */
		is_listener = shim_is_listening() && mark_is_fresh(mark_get(fd)) &&
			      sock_int(fd, SOL_SOCKET, SO_ACCEPTCONN, 0);
		if (!is_listener)
			mark_rule_out(fd);
		r = REAL(shutdown)(fd, how);
		if (r == 0 && !is_listener)
			note_shut(fd, how);
		if (r == 0 && how != SHUT_WR && held_any()) { /* a listener's */
			held_drop(fd, fd);
			errno = saved_errno;
		}
		return r;
	}
	conn_abandon(fd, c);
	conn_reset(fd, c);
	errno = saved_errno;
	return 0;
}

/* What is queued either way is between us and the converter: of an unfinished connect the kernel says
 * 0, and of a refused one that its SYN was never acknowledged. */
static bool counts_queue(unsigned long request)
{
	return request == FIONREAD || request == SIOCOUTQ || request == SIOCOUTQNSD;
}

static bool is_unfinished(enum mark mark)
{
	return mark == MARK_PENDING || mark_has_failed(mark);
}

SLOW static int ioctl_queue(int fd, unsigned long request, int *count)
{
	int saved_errno = errno, r;
	struct conn *c = conn_find(fd);
	enum mark mark = mark_get(fd);

	if (c && mark == MARK_PENDING)
		mark = conn_advance(fd, c);
	errno = saved_errno;
	r = REAL(ioctl)(fd, (libc_request)request, count);
	if (!c || !is_unfinished(mark))
		return twin_ioctl(fd, request, count, r);
	if (r == 0)
		*count = mark != MARK_PENDING && request == SIOCOUTQ;
	return r;
}

/* The third argument is an int, a pointer or missing; as a pointer it passes through on every
 * ABI that Linux has. */
INTERPOSE int ioctl(int fd, libc_request number, ...)
{
	unsigned long request = (unsigned int)number; /* what the kernel takes of it */
	va_list args;
	void *arg;
	int r;

	va_start(args, number);
	arg = va_arg(args, void *);
	va_end(args);
	if (counts_queue(request) && is_unfinished(mark_get(fd)))
		return ioctl_queue(fd, request, arg);
	r = REAL(ioctl)(fd, number, arg);
	if (mark_is_fresh(mark_get(fd)) || twin_may_be(fd)) /* it may get a twin, or be one */
		r = twin_ioctl(fd, request, arg, r);
	if (request == FIOASYNC && r == 0 && *(int *)arg)
		handover_to_signals(fd);
	return r;
}

#if NARROW
ALSO("ioctl", ioctl, "__ioctl_time64");
#endif

/* libc's own makes an ioctl() that does not come by here. */
INTERPOSE int sockatmark(int fd)
{
	int at_mark;

	return ioctl(fd, SIOCATMARK, &at_mark) < 0 ? -1 : at_mark;
}

/* The end of the process shall not be its death: a filter of seccomp's may know none of our calls. */
INTERPOSE int prctl(int option, ...)
{
	unsigned long a[4];
	va_list args;
	int r;

	va_start(args, option);
	for (int i = 0; i < 4; i++)
		a[i] = va_arg(args, unsigned long);
	va_end(args);
	if (option == PR_SET_SECCOMP)
		counts_before_filter();
	r = REAL(prctl)(option, a[0], a[1], a[2], a[3]);
	if (option == PR_SET_SECCOMP && r >= 0)
		counts_filtered();
	return r;
}

#if NARROW
ALSO("prctl", prctl, "__prctl_time64");
#endif

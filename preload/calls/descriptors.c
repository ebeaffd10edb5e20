// SPDX-License-Identifier: MIT
/* Calls that make, duplicate and close descriptor numbers: they keep the marks. */
#undef _FORTIFY_SOURCE /* <bits/fcntl2.h> wraps what this file defines */
#include "begin.h"
#include "advance.h"
#include "handover.h"
#include "accept.h"
#include "narrow.h"
#include "notes.h"
#include "proc.h"
#include "real.h"
#include "record.h"
#include "shim.h"
#include "twin.h"

#include <linux/close_range.h>
#include <netinet/in.h>
#include <sys/resource.h>

/* The type carries flags: SOCK_STREAM alone is not how most programs call it. */
static bool is_tcp(int domain, int type, int protocol)
{
	return (domain == AF_INET || domain == AF_INET6) &&
	       (type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) == SOCK_STREAM &&
	       (protocol == 0 || protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP);
}

INTERPOSE int socket(int domain, int type, int protocol)
{
	int fd = REAL(socket)(domain, type, protocol);
	bool tcp;

	if (fd < 0)
		return fd;
	tcp = is_tcp(domain, type, protocol);
	if (tcp) /* now, as a program may soon be in a chroot or behind a seccomp filter */
		shim_config();
	if (tcp && shim_is_active())
		conn_own();
	if (conn_begin_number(fd, tcp ? MARK_TCP : MARK_OTHER) && tcp)
		note_begin(fd, domain, type, protocol == IPPROTO_MPTCP);
	return fd;
}

INTERPOSE int socketpair(int domain, int type, int protocol, int fds[2])
{
	int r = REAL(socketpair)(domain, type, protocol, fds);

	if (r == 0) {
		conn_begin_number(fds[0], MARK_OTHER);
		conn_begin_number(fds[1], MARK_OTHER);
	}
	return r;
}

INTERPOSE int close(int fd)
{
	enum mark mark = mark_get(fd);

	if (mark_is_watched(mark))
		conn_check_direct(fd);
	else if (mark == MARK_UP && log_is_on(LOG_LEVEL_DEBUG))
		conn_log_close(fd);
	/* that one stays: socket(), accept() and dup() clear it when the number comes back, and the socket cookie
	 * tells where it came back unseen */
	if (mark != MARK_UNKNOWN && mark != MARK_UP)
		conn_forget(fd);
	if (held_any())
		held_drop(fd, fd);
	mark_closing(fd);
	return REAL(close)(fd);
}

/* Another thread may be, or soon be, at the next step of its connection. */
static bool may_be_used(enum mark mark)
{
	return mark_is_unsettled(mark) || mark_is_fresh(mark) || mark == MARK_OPENING;
}

/* Only what would be waited for, or may be just being connected, is worth the walk; the rest is found out
 * when it is used. */
static void forget_range(unsigned int first, unsigned int last)
{
	if (held_any() && first < MARK_MAX)
		held_drop((int)first, last < MARK_MAX ? (int)last : MARK_MAX);
	if (last > (unsigned int)conn_highest())
		last = (unsigned int)conn_highest();
	for (unsigned int fd = first; fd <= last; fd++)
		if (may_be_used(mark_get((int)fd)))
			conn_forget((int)fd);
}

/* Are there threads that keep what is closed? */
static bool will_stand_apart(int flags)
{
	return flags & (int)CLOSE_RANGE_UNSHARE && (shim_is_active() || shim_is_listening()) &&
	       !proc_is_alone();
}

INTERPOSE int close_range(unsigned int first, unsigned int last, int flags)
{
	bool apart = will_stand_apart(flags);
	int r;

	if (flags & (int)CLOSE_RANGE_CLOEXEC)
		note_cloexec(-1);
	else if (first <= last && !apart && !(flags & ~(int)CLOSE_RANGE_UNSHARE))
		forget_range(first, last);
	if (apart) /* what stays open is in two tables, as after a fork */
		note_shared();
	r = REAL(close_range)(first, last, flags);
	if (r == 0 && apart)
		conn_stand_apart();
	return r;
}

INTERPOSE void closefrom(int first)
{
	forget_range(first < 0 ? 0 : (unsigned int)first, MARK_MAX);
	REAL(closefrom)(first);
}

static int copied(int fd, int newfd)
{
	if (newfd >= 0 && newfd != fd && conn_copy(fd, newfd))
		note_copy(fd, newfd);
	return newfd;
}

static void share(int fd)
{
	if (mark_get(fd) == MARK_PENDING)
		handover_duplicated(fd);
	conn_share(fd);
}

INTERPOSE int dup(int fd)
{
	share(fd);
	return copied(fd, REAL(dup)(fd));
}

/* What is open there stays so when a limit is lowered. */
static bool is_beyond_limit(int fd)
{
	uint64_t limit[2] = { UINT64_MAX }; /* struct rlimit64 */
	int saved_errno = errno;

	syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, limit);
	errno = saved_errno;
	return (uint64_t)fd >= limit[0];
}

/* Of a socket that nobody is to convert, or that the kernel was told to connect, nothing is lost. */
static bool is_direct(int fd, enum mark mark)
{
	return mark_is_fresh(mark) && mark != MARK_FELL_BACK &&
	       (!shim_is_active() || note_is_connected(fd));
}

/* newfd is about to be closed, unless fd is none. */
static void make_room(int fd, int newfd)
{
	enum mark mark = mark_get(newfd);
	bool is_used = may_be_used(mark);

	if (fd != newfd && is_direct(newfd, mark)) /* and the kernel is not asked */
		is_used = !mark_is_fresh(conn_share(newfd));
	if (fd == newfd || !(is_used || held_any()) || sys_fcntl(fd, F_GETFD, 0) < 0 ||
	    is_beyond_limit(newfd))
		return;
	if (is_used) /* and nobody connects what it is to become */
		conn_begin_number(newfd, MARK_OTHER);
	held_drop(newfd, newfd);
}

INTERPOSE int dup2(int fd, int newfd)
{
	if (fd != newfd)
		share(fd);
	make_room(fd, newfd);
	return copied(fd, REAL(dup2)(fd, newfd));
}

INTERPOSE int dup3(int fd, int newfd, int flags)
{
	if (fd != newfd)
		share(fd);
	if (!(flags & ~O_CLOEXEC))
		make_room(fd, newfd);
	return copied(fd, REAL(dup3)(fd, newfd, flags));
}

static bool is_dup(int command)
{
	return command == F_DUPFD || command == F_DUPFD_CLOEXEC;
}

/* fcntl() has returned r: a copy, its flags, and what no other socket could be given, are noted. */
static int told(int fd, int command, long arg, int r)
{
	if (is_dup(command))
		return copied(fd, r);
	if (r < 0)
		return r;
	if (command == F_SETOWN || command == F_SETOWN_EX || command == F_SETSIG ||
	    (command == F_SETFL && arg & O_ASYNC))
		note_spoil(fd, "its owner for signals");
	if (command == F_SETFL && mark_is_fresh(mark_get(fd)))
		note_nonblocking(fd, arg & O_NONBLOCK);
	else if (command == F_SETFD)
		note_cloexec(fd);
	if (command == F_SETFL && arg & O_ASYNC)
		handover_to_signals(fd);
	return r;
}

/* The third argument is an int, a pointer or missing; as a pointer all three pass through
 * unchanged on every ABI that Linux has. */
INTERPOSE int fcntl(int fd, int command, ...)
{
	va_list args;
	void *arg;

	va_start(args, command);
	arg = va_arg(args, void *);
	va_end(args);
	if (is_dup(command))
		share(fd);
	return told(fd, command, (long)arg, REAL(fcntl)(fd, command, arg));
}

#if NARROW /* locks of files are described in two ways */
INTERPOSE int narrow_fcntl(int fd, int command, ...)
{
	va_list args;
	void *arg;

	va_start(args, command);
	arg = va_arg(args, void *);
	va_end(args);
	if (is_dup(command))
		share(fd);
	return told(fd, command, (long)arg, REAL_NARROW(fcntl)(fd, command, arg));
}

ALSO("fcntl64", fcntl, "__fcntl_time64");
#else
ALSO_LARGE(fcntl, "fcntl64");
#endif

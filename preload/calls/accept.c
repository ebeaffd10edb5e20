// SPDX-License-Identifier: MIT
/* listen() and what accepts: where a rule says so, a converter's connection is its remote host's. */
#include "accept.h"
#include "advance.h"
#include "both_ends.h"
#include "memory.h"
#include "real.h"
#include "shim.h"
#include "sock.h"
#include "wait.h"

#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

/* The process has not opened it, and so has not read the configuration either. */
SLOW static void meet_listener(int fd)
{
	int saved_errno = errno;

	if (sock_tcp_state(fd) == TCP_LISTEN)
		shim_config();
	else
		mark_change(fd, MARK_UNKNOWN, MARK_OTHER);
	errno = saved_errno;
}

static bool may_be_converters(int fd)
{
	if (!shim_is_listening() && __builtin_expect(!shim_has_read(), 0) &&
	    mark_get(fd) == MARK_UNKNOWN)
		meet_listener(fd);
	return shim_is_listening();
}

INTERPOSE int listen(int fd, int backlog)
{
	int saved_errno = errno;

	if (shim_is_listening())
		accept_listen(fd);
	errno = saved_errno;
	return REAL(listen)(fd, backlog);
}

/* The kernel, too, has no name any more to tell of a connection that was reset. */
static int aborted(int fd)
{
	conn_forget(fd);
	syscall(SYS_close, fd);
	return -ECONNABORTED;
}

static void close_accepted(void *fd)
{
	aborted(*(int *)fd);
}

/* Who asks for the name has it when it is known: a listener that waits, waits for it. */
static void await_name(int listener, int fd)
{
	struct conn *c = conn_peek(fd);
	struct libc_cleanup cleanup;

	if (!c || sock_is_nonblocking(listener))
		return;
	libc_cleanup_push(&cleanup, close_accepted, &fd);
	conn_wait(fd, c, sock_time_limit(listener, SO_RCVTIMEO));
	libc_cleanup_pop(&cleanup, 0);
}

/* 0 or a negative errno. name: where the program wants the peer's; NULL: it does not. */
static int name_peer(int listener, int fd, int family, struct sockaddr *name, socklen_t room,
		     socklen_t *len)
{
	struct addr peer = { .port = 0 };

	if (!name)
		return 0;
	if (accept_name(fd, &peer) == ACCEPT_UNKNOWN)
		await_name(listener, fd);
	if (accept_name(fd, &peer) == ACCEPT_GONE)
		return aborted(fd);
	if (mark_has_record(mark_get(fd)))
		conn_show_name(&peer, family, name, room, len);
	return 0;
}

struct accepting {
	struct sockaddr *name; /* the program's, or NULL */
	socklen_t *len, room;
	struct sockaddr_storage own; /* else */
	socklen_t own_len;
};

static bool peer_of(const struct accepting *a, int fd, int *family, struct addr *peer)
{
	const struct sockaddr *sa = a->name ? a->name : (const struct sockaddr *)&a->own;
	socklen_t len = a->name ? *a->len : a->own_len;
	struct sockaddr_storage whole;

	if (a->name && len > a->room) { /* cut, so that even its family need not be there */
		len = sizeof(whole);
		sa = (const struct sockaddr *)&whole;
		if (sys_result(syscall(SYS_getpeername, fd, &whole, &len)) < 0)
			return false;
	}
	if (len < (socklen_t)sizeof(sa->sa_family))
		return false;
	*family = sa->sa_family;
	return addr_from_sockaddr(peer, sa, len) == 0;
}

/* flags: accept4()'s, or -1 */
SLOW static int accept_converters(int listener, struct sockaddr *name, socklen_t *len, int flags)
{
	struct accepting a = { .name = name, .len = len, .own_len = sizeof(a.own) };
	struct sockaddr *sa = name ? name : (struct sockaddr *)&a.own;
	int saved_errno = errno, fd, family, r = 0;
	struct addr peer;

	a.room = name && !memory_is_absurd(len) ? *len : 0;
	if (!name)
		len = &a.own_len;
	fd = flags < 0 ? REAL(accept)(listener, sa, len) : REAL(accept4)(listener, sa, len, flags);
	if (fd < 0)
		return fd;
	if (conn_begin_number(fd, MARK_UNKNOWN) && peer_of(&a, fd, &family, &peer) &&
	    accept_begin(listener, fd, &peer, family, flags < 0 ? 0 : flags))
		r = name_peer(listener, fd, family, name, a.room, len);
	return libc_result(r < 0 ? r : fd, saved_errno);
}

INTERPOSE int accept(int fd, __SOCKADDR_ARG addr, socklen_t *restrict len)
{
	int newfd;

	if (mark_any_unsettled() && !both_ends_in_order(fd))
		return -1;
	if (may_be_converters(fd))
		return accept_converters(fd, addr.__sockaddr__, len, -1);
	newfd = REAL(accept)(fd, addr.__sockaddr__, len);
	if (newfd >= 0)
		conn_begin_number(newfd, MARK_UNKNOWN);
	return newfd;
}

INTERPOSE int accept4(int fd, __SOCKADDR_ARG addr, socklen_t *restrict len, int flags)
{
	int newfd;

	if (mark_any_unsettled() && !both_ends_in_order(fd))
		return -1;
	if (may_be_converters(fd))
		return accept_converters(fd, addr.__sockaddr__, len, flags & INT_MAX);
	newfd = REAL(accept4)(fd, addr.__sockaddr__, len, flags);
	if (newfd >= 0)
		conn_begin_number(newfd, MARK_UNKNOWN);
	return newfd;
}

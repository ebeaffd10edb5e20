// SPDX-License-Identifier: MIT
/* listen() and what accepts: where a rule says so, a converter's connection is its remote host's. */
#include "accept.h"
#include "memory.h"
#include "pollset.h"
#include "real.h"
#include "shim.h"
#include "sock.h"
#include "wait.h"

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

/* A listener that is shut down keeps its port, and nobody else has that who may have its number by now. */
static bool has_port_of(int listener, int fd)
{
	struct addr its, ours;

	return sock_addr(listener, SYS_getsockname, &its) &&
	       sock_addr(fd, SYS_getsockname, &ours) && its.port == ours.port;
}

/* As long as accept() may: until the listener is shut down, too. That its number is closed, and perhaps another's
 * by then, ends no accept(). word: mark_look() of that number, from before it was asked for a connection. */
static int wait_for_name(int listener, uint16_t word, int fd)
{
	struct pollfd both[] = { { .fd = fd, .events = POLLOUT }, { .fd = listener } };
	int64_t until_ns = sock_time_limit(listener, SO_RCVTIMEO);
	uint64_t cookie = sock_cookie(listener);
	bool is_listeners;
	int r;

	if (mark_look(listener) != word && !has_port_of(listener, fd))
		cookie = 0; /* of somebody else */
	do {
		r = pollset_wait(both, 2, until_ns, NULL);
		is_listeners = r > 0 && !both[0].revents;
		if (is_listeners && (!cookie || sock_cookie(listener) != cookie))
			both[1].fd = -1;
	} while ((is_listeners && both[1].fd < 0) ||
		 (r == -EINTR && until_ns == WAIT_FOREVER && wait_restarts_all()));
	if (is_listeners) {
		aborted(fd);
		return -EINVAL;
	}
	return r == 0 ? -EAGAIN : r == -EINTR ? r : 0;
}

/* A listener that waits, waits for the name, too. Where it does not, or not any longer, the connection is held,
 * and has not been accepted yet: a negative errno; it may be the next one. */
static int await_name(int listener, uint16_t word, int fd)
{
	struct libc_cleanup cleanup;
	int r = -EAGAIN;

	if (!sock_is_nonblocking(listener)) {
		libc_cleanup_push(&cleanup, close_accepted, &fd);
		r = wait_for_name(listener, word, fd);
		libc_cleanup_pop(&cleanup, 0);
	}
	return r == -EINVAL || ((r == -EAGAIN || r == -EINTR) && held_put(listener, fd)) ? r : 0;
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

/* flags: accept4()'s, or -1. The number of a connection that is a converter's is known to us then. */
static int accept_one(int listener, struct accepting *a, int flags, int *family, bool *is_ours)
{
	struct sockaddr *sa = a->name ? a->name : (struct sockaddr *)&a->own;
	socklen_t *len = a->name ? a->len : &a->own_len;
	struct addr peer;
	int fd;

	if (a->name && !memory_is_absurd(a->len))
		*a->len = a->room;
	fd = flags < 0 ? REAL(accept)(listener, sa, len) : REAL(accept4)(listener, sa, len, flags);
	*is_ours = fd >= 0 && conn_begin_number(fd, MARK_UNKNOWN) &&
		   peer_of(a, fd, family, &peer) && accept_begin(listener, fd, &peer, *family);
	return fd;
}

static int show_peer(int fd, const struct accepting *a, const struct addr *peer, bool was_held)
{
	const struct conn *c = conn_peek(fd);

	if (c) {
		sock_show_name(peer, c->family, a->name, a->room, a->len);
	} else if (was_held) { /* no converter's after all, and nothing is there yet */
		*a->len = a->room;
		if (syscall(SYS_getpeername, fd, a->name, a->len) < 0)
			return aborted(fd);
	}
	return fd;
}

SLOW static int accept_converters(int listener, struct sockaddr *name, socklen_t *len, int flags)
{
	struct accepting a = { .name = name, .len = len, .own_len = sizeof(a.own) };
	bool is_named = name && !memory_is_absurd(len), was_held, is_ours = true;
	int saved_errno = errno, fd, family = 0, r = 0;
	uint16_t word = mark_look(listener);
	struct addr peer = { .port = 0 };
	enum accept_name known;

	a.room = is_named ? *len : 0;
	do {
		fd = (is_named || !name) && held_any() ?
			     held_take(listener, !sock_is_nonblocking(listener),
				       flags < 0 ? 0 : flags) :
			     -1;
		was_held = fd >= 0;
		if (!was_held)
			fd = accept_one(listener, &a, flags, &family, &is_ours);
		if (!is_ours || !name) {
			errno = fd < 0 ? errno : saved_errno;
			return fd;
		}
		known = accept_name(fd, &peer);
		r = known == ACCEPT_UNKNOWN ? await_name(listener, word, fd) : 0;
	} while (r < 0 && sock_is_nonblocking(listener));
	if (r == 0 && known == ACCEPT_UNKNOWN)
		known = accept_name(fd, &peer);
	if (r == 0)
		r = known == ACCEPT_GONE ? aborted(fd) : show_peer(fd, &a, &peer, was_held);
	return libc_result(r, saved_errno);
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
	bool is_good = !(flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)); /* else the kernel says EINVAL */
	int newfd;

	if (is_good && mark_any_unsettled() && !both_ends_in_order(fd))
		return -1;
	if (is_good && may_be_converters(fd))
		return accept_converters(fd, addr.__sockaddr__, len, flags);
	newfd = REAL(accept4)(fd, addr.__sockaddr__, len, flags);
	if (newfd >= 0)
		conn_begin_number(newfd, MARK_UNKNOWN);
	return newfd;
}

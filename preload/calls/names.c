// SPDX-License-Identifier: MIT
/* getpeername(), getsockname(), bind(), getsockopt() and setsockopt(): what a program asks of a socket, and says of it. */
#include "accept.h"
#include "advance.h"
#include "begin.h"
#include "handover.h"
#include "passed.h"
#include "record.h"
#include "memory.h"
#include "notes.h"
#include "real.h"
#include "sock.h"
#include "twin.h"

#include <limits.h>
#include <string.h>

/* libc's answer, in the program's family. */
static int peer_natively(int fd, struct sockaddr *name, socklen_t *len)
{
	int saved_errno = errno;

	if (mark_is_watched(mark_get(fd)))
		conn_check_direct(fd);
	if (!memory_is_absurd(name) && !memory_is_absurd(len) && twin_is_foreign(fd))
		return libc_result(twin_name(SYS_getpeername, fd, name, len), saved_errno);
	errno = saved_errno;
	return REAL(getpeername)(fd, name, len);
}

INTERPOSE int getpeername(int fd, __SOCKADDR_ARG addr, socklen_t *restrict len)
{
	int saved_errno = errno;
	enum mark mark = passed_is(fd) ? MARK_UP : mark_get(fd);
	struct addr peer = { .port = 0 };
	struct conn *c;
	socklen_t room;

	if (!mark_has_record(mark) || !(c = conn_find(fd))) {
		errno = saved_errno;
		return peer_natively(fd, addr.__sockaddr__, len);
	}
	if (mark == MARK_PENDING)
		mark = conn_advance(fd, c);
	if (mark == MARK_PENDING && !conn_is_incoming(c)) {
		errno = ENOTCONN;
		return -1;
	}
	if (mark == MARK_PENDING && !sock_is_nonblocking(fd)) {
		handover_finish_uncancelled(fd);
		mark = mark_get(fd);
	}
	/* the kernel checks the arguments, and knows whether the connection is still there */
	room = memory_is_absurd(len) ? 0 : *len;
	errno = saved_errno;
	if (REAL(getpeername)(fd, addr.__sockaddr__, len) < 0)
		return -1;
	if (mark == MARK_PENDING)
		accept_name(fd, &peer);
	else if (mark == MARK_UP)
		peer = c->server;
	if (mark == MARK_PENDING || mark == MARK_UP)
		sock_show_name(&peer, c->family, addr.__sockaddr__, room, len);
	return 0;
}

/* The address that a failed attempt had, as long as the failure lasts. */
static void failed_name(int fd, struct sockaddr *out, socklen_t room, socklen_t *len)
{
	struct conn *c = conn_find(fd);
	struct addr local = { .port = 0 };

	if (c)
		local = conn_local(c);
	if (local.port)
		sock_show_name(&local, c->family, out, room, len);
}

INTERPOSE int getsockname(int fd, __SOCKADDR_ARG addr, socklen_t *restrict len)
{
	bool failed = mark_has_failed(mark_get(fd)) && !memory_is_absurd(len);
	socklen_t room = failed ? *len : 0;
	struct sockaddr *name = addr.__sockaddr__;
	int saved_errno = errno, r;

	if (!memory_is_absurd(name) && !memory_is_absurd(len) && twin_is_foreign(fd))
		r = libc_result(twin_name(SYS_getsockname, fd, name, len), saved_errno);
	else
		r = REAL(getsockname)(fd, name, len);
	if (r < 0)
		return -1;
	if (failed)
		failed_name(fd, name, room, len);
	errno = saved_errno;
	return 0;
}

static int option_natively(int fd, int level, int name, void *value, socklen_t *len)
{
	if (mark_is_watched(mark_get(fd)))
		conn_check_direct(fd);
	if (twin_may_be(fd) && !memory_is_absurd(value) && !memory_is_absurd(len))
		return twin_getsockopt(fd, level, name, value, len);
	return REAL(getsockopt)(fd, level, name, value, len);
}

/* SO_PEERNAME, unlike getpeername(), tells whom the socket was connected to, whatever came of it.
 * The kernel checks the arguments; of a failed attempt it has forgotten the peer. */
static int peer_option(int fd, struct conn *c, void *value, socklen_t *len)
{
	struct sockaddr_storage name;
	socklen_t whole = addr_to_sockaddr(&c->server, c->family, &name);
	int r = REAL(getsockopt)(fd, SOL_SOCKET, SO_PEERNAME, value, len);

	if (r < 0 && (errno != ENOTCONN || !mark_has_failed(mark_get(fd)) || *len > whole ||
		      memory_is_absurd(value)))
		return -1;
	memcpy(value, &name, *len < whole ? *len : whole);
	return 0;
}

/* What getsockopt() says of a connection that is not settled: its state, and the options below. */
static enum mark option_state(int fd, struct conn *c)
{
	enum mark mark = mark_get(fd);

	return mark == MARK_PENDING ? conn_advance(fd, c) : mark;
}

/* An unfinished connect, whatever the kernel's state is: it is the first byte. */
static int state_option(int fd, struct conn *c, void *value, socklen_t *len)
{
	bool pending = option_state(fd, c) == MARK_PENDING;
	int r = option_natively(fd, IPPROTO_TCP, TCP_INFO, value, len);

	if (r == 0 && pending && *len > 0)
		*(uint8_t *)value = conn_is_incoming(c) ? TCP_ESTABLISHED : TCP_SYN_SENT;
	return r;
}

static int number_option(int fd, struct conn *c, int name, void *value, socklen_t *len)
{
	enum mark mark = option_state(fd, c);
	const struct exchange *u = conn_exchange(c);
	int answer = name == SO_RCVLOWAT && mark == MARK_PENDING && u ? u->rcvlowat : 0;

	if (!mark_is_unsettled(mark) || (name == SO_RCVLOWAT && !answer))
		return option_natively(fd, SOL_SOCKET, name, value, len);
	/* the kernel checks the arguments, with an option that is a number, too */
	if (REAL(getsockopt)(fd, SOL_SOCKET, SO_TYPE, value, len) < 0)
		return -1;
	if (name == SO_ERROR && mark == MARK_FAILED && !(answer = conn_take_error(fd, c)))
		return option_natively(fd, SOL_SOCKET, name, value, len);
	memcpy(value, &answer, *len < sizeof(answer) ? *len : sizeof(answer));
	return 0;
}

/* On a connection of ours the converter's option is not the program's. */
static int cookie_option(int fd, const struct conn *c, void *value, socklen_t *len)
{
	int r = option_natively(fd, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, value, len);

	if (r == 0 && c->no_cookie && !mark_has_failed(mark_get(fd)))
		memset(value, 0, *len);
	return r;
}

struct zerocopy { /* as the kernel has it; libc's is older */
	uint64_t address;
	uint32_t length, unmapped, queued;
	int32_t err;
	uint64_t buffer;
	int32_t room;
	uint32_t more[5];
};

/* Reads, and more than what is mapped only into a buffer that it is given: an unfinished connect has
 * nothing, and the reply that may be there is shorter than what could be mapped. */
static int zerocopy_option(int fd, struct conn *c, void *value, socklen_t *len)
{
	struct zerocopy z = { 0 };
	socklen_t room = memory_is_absurd(len) ? 0 : *len;
	int r;

	if (option_state(fd, c) != MARK_PENDING || memory_is_absurd(value) || (int)room < 0)
		return option_natively(fd, IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE, value, len);
	if (room > sizeof(z))
		room = sizeof(z);
	memcpy(&z, value, room);
	z.room = 0;
	r = option_natively(fd, IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE, &z, &room);
	if (r < 0)
		return r;
	z.unmapped = z.queued = 0;
	z.err = 0;
	memcpy(value, &z, room);
	*len = room;
	return 0;
}

SLOW static int connection_option(int fd, int level, int name, void *value, socklen_t *len)
{
	int saved_errno = errno, r;
	struct conn *c = conn_find(fd);

	if (!c)
		r = option_natively(fd, level, name, value, len);
	else if (level == IPPROTO_TCP && name == TCP_FASTOPEN_NO_COOKIE)
		r = cookie_option(fd, c, value, len);
	else if (level == IPPROTO_TCP && name == TCP_ZEROCOPY_RECEIVE)
		r = zerocopy_option(fd, c, value, len);
	else if (level == IPPROTO_TCP)
		r = state_option(fd, c, value, len);
	else if (name == SO_PEERNAME)
		r = peer_option(fd, c, value, len);
	else
		r = number_option(fd, c, name, value, len);
	if (r == 0)
		errno = saved_errno;
	return r;
}

static bool is_about_connection(enum mark mark, int level, int name)
{
	if (level == SOL_SOCKET)
		return name == SO_PEERNAME ||
		       (mark_is_unsettled(mark) && (name == SO_ERROR || name == SO_RCVLOWAT));
	return level == IPPROTO_TCP &&
	       (name == TCP_FASTOPEN_NO_COOKIE ||
		(mark_is_unsettled(mark) && (name == TCP_INFO || name == TCP_ZEROCOPY_RECEIVE)));
}

INTERPOSE int getsockopt(int fd, int level, int name, void *restrict value, socklen_t *restrict len)
{
	enum mark mark = mark_get(fd);

	if (level == SOL_SOCKET && name == SO_PEERNAME && passed_is(fd))
		mark = MARK_UP;
	if (mark_has_record(mark) && is_about_connection(mark, level, name))
		return connection_option(fd, level, name, value, len);
	return option_natively(fd, level, name, value, len);
}

/* While the reply is awaited the program's value only waits to be set. */
static bool set_rcvlowat(int fd, const int *value)
{
	int saved_errno = errno;
	struct conn *c = memory_is_absurd(value) ? NULL : conn_find(fd);
	bool pending = c && conn_advance(fd, c) == MARK_PENDING;
	struct exchange *u = pending ? conn_exchange(c) : NULL;

	if (u) /* as the kernel reads it: negative is the most there is, 0 is 1 */
		u->rcvlowat = *value < 0 ? INT_MAX : *value ? *value : 1;
	errno = saved_errno;
	return pending;
}

/* A protocol upon the connection (kernel TLS). There is none yet: ENOTCONN, but for a name that the kernel does not know.
 * That of the converter's would take it, and could not be taken back for a direct one. */
SLOW static bool refuses_ulp(int fd, const void *value, socklen_t len)
{
	int saved_errno = errno, r;
	struct conn *c = conn_find(fd);
	bool pending = c && !conn_is_incoming(c) && conn_advance(fd, c) == MARK_PENDING;

	errno = saved_errno;
	if (!pending)
		return false;
	r = sock_try_option(IPPROTO_TCP, TCP_ULP, value, len);
	errno = r < 0 ? -r : ENOTCONN;
	return true;
}

INTERPOSE int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	int r;

	/* so that connect() need not ask about a socket on which none of them was ever set */
	if ((level == SOL_SOCKET &&
	     (name == SO_SNDTIMEO_OLD || name == SO_SNDTIMEO_NEW || name == SO_RCVLOWAT)) ||
	    (level == IPPROTO_TCP && name == TCP_FASTOPEN_CONNECT))
		mark_change(fd, MARK_TCP, MARK_TCP_SET);
	if (level == SOL_SOCKET && name == SO_RCVLOWAT && mark_get(fd) == MARK_PENDING &&
	    (int)len >= (int)sizeof(int) && set_rcvlowat(fd, value))
		return 0;
	if (level == IPPROTO_TCP && name == TCP_ULP && mark_get(fd) == MARK_PENDING &&
	    refuses_ulp(fd, value, len))
		return -1;
	if (twin_may_be(fd))
		return twin_setsockopt(fd, level, name, value, len);
	r = REAL(setsockopt)(fd, level, name, value, len);
	if (r == 0 && mark_is_unfinished(mark_get(fd)))
		note_option(fd, level, name, value, len);
	return r;
}

INTERPOSE int bind(int fd, __CONST_SOCKADDR_ARG addr, socklen_t len)
{
	struct sockaddr_storage room;
	const struct sockaddr *sa = twin_address(fd, addr.__sockaddr__, &len, &room);
	int r = REAL(bind)(fd, sa, len);

	if (r == 0 && mark_is_fresh(mark_get(fd)))
		note_bound(fd, sa, len);
	return r;
}

#if NARROW
ALSO("getsockopt", getsockopt, "__getsockopt64");
ALSO("setsockopt", setsockopt, "__setsockopt64");
#endif

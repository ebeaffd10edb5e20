// SPDX-License-Identifier: MIT
/* What a program can ask about a socket: its peer, its pending error, its time limits. */
#include "conn.h"
#include "noted.h"
#include "real.h"
#include "twin.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

/* room: the size of the program's buffer. The length reported is the true one, even if the
 * address was cut (getpeername(2)). */
static void fill_name(const struct addr *a, int family, struct sockaddr *out, socklen_t room,
		      socklen_t *len)
{
	struct sockaddr_storage name;
	socklen_t whole = addr_to_sockaddr(a, family, &name);

	memcpy(out, &name, room < whole ? room : whole);
	*len = whole;
}

/* libc's answer, in the program's family. */
static int peer_natively(int fd, struct sockaddr *name, socklen_t *len)
{
	int saved_errno = errno;

	if (fdt_get(fd) == FDT_BYPASS)
		conn_check_bypass(fd);
	if (name && len && twin_is_foreign(fd))
		return libc_result(twin_name(SYS_getpeername, fd, name, len), saved_errno);
	errno = saved_errno;
	return REAL(getpeername)(fd, name, len);
}

INTERPOSE int getpeername(int fd, __SOCKADDR_ARG addr, socklen_t *restrict len)
{
	enum fdt_mark mark = fdt_get(fd);
	int saved_errno = errno;
	struct conn *c;
	socklen_t room;

	if (!fdt_has_record(mark) || !len || !(c = conn_find(fd))) {
		errno = saved_errno;
		return peer_natively(fd, addr.__sockaddr__, len);
	}
	if (mark == FDT_PENDING)
		mark = conn_advance(fd, c);
	if (mark == FDT_PENDING) {
		errno = ENOTCONN;
		return -1;
	}
	/* the kernel checks the arguments, and knows whether the connection is still there */
	room = *len;
	errno = saved_errno;
	if (REAL(getpeername)(fd, addr.__sockaddr__, len) < 0)
		return -1;
	if (mark == FDT_UP)
		fill_name(&c->server, c->family, addr.__sockaddr__, room, len);
	return 0;
}

/* The address that a failed attempt had, as long as the failure lasts. */
static void failed_name(int fd, struct sockaddr *out, socklen_t room, socklen_t *len)
{
	enum fdt_mark mark = fdt_get(fd);
	struct conn *c = mark == FDT_FAILED || mark == FDT_FAILED_TOLD ? conn_find(fd) : NULL;
	struct upstream *u = c ? conn_exchange(c) : NULL;

	if (!u || !u->local.port)
		return;
	fill_name(&u->local, c->family, out, room, len);
}

INTERPOSE int getsockname(int fd, __SOCKADDR_ARG addr, socklen_t *restrict len)
{
	socklen_t room = fdt_has_record(fdt_get(fd)) && len ? *len : 0;
	struct sockaddr *name = addr.__sockaddr__;
	int saved_errno = errno, r;

	if (name && len && twin_is_foreign(fd))
		r = libc_result(twin_name(SYS_getsockname, fd, name, len), saved_errno);
	else
		r = REAL(getsockname)(fd, name, len);
	if (r < 0)
		return -1;
	if (room)
		failed_name(fd, name, room, len);
	errno = saved_errno;
	return 0;
}

/* What getsockopt() says of a connection that is not settled. 0: libc shall answer. */
static int unsettled_option(int fd, int name, void *value, socklen_t *len)
{
	struct conn *c = conn_find(fd);
	enum fdt_mark mark = fdt_get(fd);
	int err = 0;

	if (!c)
		return 0;
	if (mark == FDT_PENDING)
		mark = conn_advance(fd, c);
	if (mark != FDT_PENDING && mark != FDT_FAILED)
		return 0;
	if (name == SO_RCVLOWAT && mark == FDT_PENDING)
		err = conn_rcvlowat(c);
	if (name == SO_RCVLOWAT && err == 0)
		return 0;
	if (name == TCP_INFO) /* an unfinished connect, whatever the kernel's state is */
		return mark == FDT_PENDING ? TCP_SYN_SENT : 0;
	if (name == SO_ERROR && mark == FDT_FAILED)
		err = conn_take_error(fd, c);
	if (*len > sizeof(err))
		*len = sizeof(err);
	memcpy(value, &err, *len);
	return -1;
}

static bool is_about_state(int level, int name, const socklen_t *len)
{
	if (level == SOL_SOCKET && (name == SO_ERROR || name == SO_RCVLOWAT))
		return (int)*len > 0;
	return level == IPPROTO_TCP && name == TCP_INFO && *len > 0;
}

INTERPOSE int getsockopt(int fd, int level, int name, void *restrict value, socklen_t *restrict len)
{
	int saved_errno = errno, answer = 0, r;

	if (level == SOL_SOCKET && name == SO_PEERNAME && value && fdt_has_record(fdt_get(fd)))
		return getpeername(fd, value, len);
	if (fdt_is_unsettled(fdt_get(fd)) && value && len && is_about_state(level, name, len))
		answer = unsettled_option(fd, name, value, len);
	errno = saved_errno;
	if (answer < 0)
		return 0;
	if (fdt_get(fd) == FDT_BYPASS)
		conn_check_bypass(fd);
	errno = saved_errno;
	if (noted_has_twin(fd) && value && len)
		return twin_getsockopt(fd, level, name, value, len);
	r = REAL(getsockopt)(fd, level, name, value, len);
	if (r == 0 && answer > 0) /* tcpi_state is the first byte */
		*(uint8_t *)value = (uint8_t)answer;
	return r;
}

/* While the reply is awaited the program's value only waits to be set. */
static bool set_rcvlowat(int fd, const int *value)
{
	int saved_errno = errno;
	struct conn *c = value ? conn_find(fd) : NULL;
	bool pending = c && conn_advance(fd, c) == FDT_PENDING;

	if (pending)
		conn_keep_rcvlowat(c, *value);
	errno = saved_errno;
	return pending;
}

INTERPOSE int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	int r;

	/* so that connect() need not ask about a socket on which none of them was ever set */
	if ((level == SOL_SOCKET && (name == SO_SNDTIMEO || name == SO_RCVLOWAT)) ||
	    (level == IPPROTO_TCP && name == TCP_FASTOPEN_CONNECT))
		fdt_change(fd, FDT_TCP, FDT_TCP_SET);
	if (level == SOL_SOCKET && name == SO_RCVLOWAT && fdt_get(fd) == FDT_PENDING &&
	    len >= (socklen_t)sizeof(int) && set_rcvlowat(fd, value))
		return 0;
	if (noted_has_twin(fd))
		return twin_setsockopt(fd, level, name, value, len);
	r = REAL(setsockopt)(fd, level, name, value, len);
	if (r == 0 && fdt_is_fresh(fdt_get(fd)))
		noted_option(fd, level, name, value, len);
	return r;
}

INTERPOSE int bind(int fd, __CONST_SOCKADDR_ARG addr, socklen_t len)
{
	struct sockaddr_storage room;
	const struct sockaddr *sa = twin_address(fd, addr.__sockaddr__, &len, &room);
	int r = REAL(bind)(fd, sa, len);

	if (r == 0 && fdt_is_fresh(fdt_get(fd)))
		noted_bound(fd);
	return r;
}

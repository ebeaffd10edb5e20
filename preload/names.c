// SPDX-License-Identifier: MIT
/* What a program can ask about a socket: its peer, its pending error, its time limits. */
#include "conn.h"
#include "real.h"

#include <string.h>

/* room: the size of the program's buffer. The length reported is the true one, even if the
 * address was cut (getpeername(2)). */
static void fill_peer(const struct conn *c, struct sockaddr *out, socklen_t room, socklen_t *len)
{
	struct sockaddr_storage peer;
	socklen_t whole = addr_to_sockaddr(&c->server, c->family, &peer);

	memcpy(out, &peer, room < whole ? room : whole);
	*len = whole;
}

INTERPOSE int getpeername(int fd, __SOCKADDR_ARG addr, socklen_t *restrict len)
{
	enum fdt_mark mark = fdt_get(fd);
	int saved_errno = errno;
	struct conn *c;
	socklen_t room;

	if (!fdt_has_record(mark) || !len || !(c = conn_find(fd))) {
		errno = saved_errno;
		return REAL(getpeername)(fd, addr.__sockaddr__, len);
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
		fill_peer(c, addr.__sockaddr__, room, len);
	return 0;
}

/* SO_ERROR of a connection that is not settled: 0 while pending, the outcome's errno once. */
static bool unsettled_error(int fd, int *err)
{
	struct conn *c = conn_find(fd);
	enum fdt_mark mark = fdt_get(fd);

	if (!c)
		return false;
	if (mark == FDT_PENDING)
		mark = conn_advance(fd, c);
	*err = mark == FDT_FAILED ? conn_take_error(fd, c) : 0;
	return mark == FDT_PENDING || mark == FDT_FAILED;
}

INTERPOSE int getsockopt(int fd, int level, int name, void *restrict value, socklen_t *restrict len)
{
	int saved_errno = errno, err;

	if (level != SOL_SOCKET || name != SO_ERROR || !fdt_is_unsettled(fdt_get(fd)) || !value ||
	    !len || *len < (socklen_t)sizeof(err) || !unsettled_error(fd, &err)) {
		errno = saved_errno;
		return REAL(getsockopt)(fd, level, name, value, len);
	}
	memcpy(value, &err, sizeof(err));
	*len = sizeof(err);
	errno = saved_errno;
	return 0;
}

INTERPOSE int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	/* so that connect() need not ask for the time limit of a socket that never had one */
	if (level == SOL_SOCKET && name == SO_SNDTIMEO)
		fdt_change(fd, FDT_TCP, FDT_TCP_TIMED);
	return REAL(setsockopt)(fd, level, name, value, len);
}

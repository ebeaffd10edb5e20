// SPDX-License-Identifier: MIT
#include "begin.h"
#include "memory.h"
#include "notes.h"
#include "twin.h"

/* Is the attempt, after this connect(), still the same one? */
static bool goes_on(int r)
{
	return r == 0 || r == -EINPROGRESS || r == -EALREADY || r == -EISCONN || r == -EINTR;
}

static int connect_natively(int fd, const struct sockaddr *sa, socklen_t len)
{
	struct sockaddr_storage room;
	int r;

	note_connected(fd);
	sa = twin_address(fd, sa, &len, &room);
	r = REAL(connect)(fd, sa, len) < 0 ? -errno : 0;
	if (!goes_on(r))
		note_attempt_over(fd);
	if ((r == 0 || r == -EISCONN) && mark_is_watched(mark_get(fd)))
		conn_check_direct(fd);
	return r;
}

INTERPOSE int connect(int fd, __CONST_SOCKADDR_ARG addr, socklen_t len)
{
	const struct sockaddr *sa = addr.__sockaddr__;
	int saved_errno = errno, r;

	/* what the kernel refuses before it looks at the socket */
	if (memory_is_absurd(sa) || len < (socklen_t)sizeof(sa->sa_family) ||
	    len > sizeof(struct sockaddr_storage))
		return REAL(connect)(fd, sa, len);
	if (!mark_has_record(mark_get(fd)) && sa->sa_family != AF_INET &&
	    sa->sa_family != AF_INET6) {
		note_attempt_over(fd); /* AF_UNSPEC */
		return REAL(connect)(fd, sa, len);
	}
	if (mark_has_record(mark_get(fd)) && memory_settles_address(sa, len))
		return REAL(connect)(fd, sa, len);
	r = conn_connect(fd, sa, len, NULL);
	if (r == CONN_NATIVELY)
		r = connect_natively(fd, sa, len);
	return libc_result(r, saved_errno);
}

/* libc's public alias. */
ALSO("__connect", connect, "connect");

// SPDX-License-Identifier: MIT
#include "fastopen.h"

#include "begin.h"
#include "sock.h"
#include "twin.h"
#include "wait.h"

#include <limits.h>

enum fastopen {
	FASTOPEN_DONE,	    /* *result is a count, or a negative errno */
	FASTOPEN_NATIVELY,  /* libc's call shall go on as it is */
	FASTOPEN_CONNECTED, /* the same, without MSG_FASTOPEN: nothing was sent, it is connected */
};

/* ------------------------------------------------------------------ after the SYN */

/* A blocking send goes on when the connection is up. */
static ssize_t send_rest(int fd, const struct msghdr *msg, int flags, size_t taken)
{
	struct iovec first;
	struct msghdr rest = { .msg_iov = &first, .msg_iovlen = 1 };
	size_t i = 0, skip = taken, n_pieces = libc_pieces(msg);
	ssize_t n;

	while (i < n_pieces && skip >= msg->msg_iov[i].iov_len)
		skip -= msg->msg_iov[i++].iov_len;
	if (i == n_pieces)
		return (ssize_t)taken;
	flags = (flags & ~MSG_FASTOPEN) | MSG_NOSIGNAL; /* what was taken is what is told */
	first.iov_base = (char *)msg->msg_iov[i].iov_base + skip;
	first.iov_len = msg->msg_iov[i++].iov_len - skip;
	n = REAL(sendmsg)(fd, &rest, i < n_pieces ? flags | MSG_MORE : flags);
	if (n < 0)
		return (ssize_t)taken;
	taken += (size_t)n;
	if ((size_t)n < first.iov_len || i == n_pieces)
		return (ssize_t)taken;
	rest.msg_iov = msg->msg_iov + i;
	rest.msg_iovlen = (libc_count)(n_pieces - i);
	n = REAL(sendmsg)(fd, &rest, flags);
	return (ssize_t)taken + (n > 0 ? n : 0);
}

/* connecting: what conn_connect() or conn_wait_for_outcome() has said. */
static enum fastopen conclude(int fd, const struct exchange_early *early, int connecting,
			      ssize_t *result)
{
	int err;

	*result = connecting;
	if (!early->taken)
		return connecting == 0		   ? FASTOPEN_CONNECTED :
		       connecting == CONN_NATIVELY ? FASTOPEN_NATIVELY :
						     FASTOPEN_DONE;
	if (connecting == CONN_NATIVELY) { /* its failure was left to the kernel */
		err = sock_int(fd, SOL_SOCKET, SO_ERROR, 0);
		*result = err ? -err : -ECONNRESET;
	} else if (connecting == 0) {
		*result = send_rest(fd, early->msg, early->flags, early->taken);
	} else if (connecting == -EINPROGRESS || connecting == -EINTR) {
		*result = (ssize_t)early->taken; /* they are queued */
	}
	return FASTOPEN_DONE;
}

/* ------------------------------------------------------------ TCP_FASTOPEN_CONNECT */

bool fastopen_is_deferred(int fd)
{
	const struct exchange *u = conn_exchange(conn_pending(fd));

	return u && exchange_is_deferred(u);
}

/* Sends the deferred SYN, and waits if the write may. What conn_connect() would return; -EALREADY:
 * another write has come first. */
static int start(int fd, struct exchange *u, struct exchange_early *early)
{
	bool nonblocking = early->flags & MSG_DONTWAIT || sock_is_nonblocking(fd);
	int64_t limit_ns = nonblocking ? 0 : sock_time_limit(fd, SO_SNDTIMEO);
	bool fall_back = u->fall_back;
	int r = conn_start(fd, u, nonblocking, early);

	if (r < 0 && r != -EINTR)
		return r != -EALREADY && fall_back ? CONN_NATIVELY : r;
	if (nonblocking)
		return -EINPROGRESS;
	if (r == -EINTR && (limit_ns != WAIT_FOREVER || !wait_restarts_all()))
		return r;
	return conn_wait_for_outcome(fd, u, limit_ns, EINPROGRESS);
}

/* The connect() that has been put off until now is the kernel's after all. */
static int connect_natively(int fd, const struct addr *server, int family)
{
	struct sockaddr_storage name, room;
	socklen_t len = addr_to_sockaddr(server, family, &name);
	const struct sockaddr *sa = (struct sockaddr *)&name;
	int r = conn_natively(fd, sa, len);

	if (r < 0)
		return r;
	note_connected(fd);
	sa = twin_address(fd, sa, &len, &room);
	return REAL(connect)(fd, sa, len) < 0 && errno != EINPROGRESS ? -errno : 0;
}

static int first_write(int fd, struct exchange_early *early)
{
	struct conn *c = conn_find(fd);
	struct exchange *u = conn_exchange(c);
	struct addr server;
	int family, r;

	if (!u)
		return -EALREADY;
	server = c->server;
	family = c->family;
	r = start(fd, u, early);
	return r == CONN_NATIVELY && !early->taken ? connect_natively(fd, &server, family) : r;
}

static enum fastopen by_first_write(int fd, const struct msghdr *msg, int flags, ssize_t *result)
{
	struct exchange_early early = { .msg = msg, .flags = flags & ~MSG_FASTOPEN };
	int r = first_write(fd, &early);

	return r == -EALREADY ? FASTOPEN_NATIVELY : conclude(fd, &early, r, result);
}

int fastopen_start(int fd, int flags)
{
	struct exchange_early nothing = { .flags = flags };
	int r = first_write(fd, &nothing);

	return r == -EALREADY ? 0 : r == -EINPROGRESS ? -EAGAIN : r;
}

/* -------------------------------------------------------------------- MSG_FASTOPEN */

/* Is Fast Open switched off in the kernel? Then the flag is refused on every socket. The option is
 * refused anyway once a socket is connecting, but for that reason first; not so by MPTCP, instead of
 * which a new socket is asked. */
static bool is_switched_off(int fd)
{
	int off = 0, r = sys_setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &off, sizeof(off));

	if (r == -EINVAL && twin_is(fd))
		r = sock_try_option(IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &off, sizeof(off));
	return r == -EOPNOTSUPP;
}

/* What the kernel says of the call before it looks at the connection. Natively the address of one
 * that is there already does not matter. */
static int refusal(int fd, const struct msghdr *msg)
{
	const struct sockaddr *sa = msg->msg_name;

	if (libc_pieces(msg) > IOV_MAX)
		return EMSGSIZE;
	if (!mark_has_record(mark_get(fd)))
		return 0;
	if (is_switched_off(fd))
		return EOPNOTSUPP;
	if (!sa)
		return 0;
	if (msg->msg_namelen < sizeof(sa->sa_family))
		return EINVAL;
	return sa->sa_family == AF_UNSPEC ? EOPNOTSUPP : 0;
}

static bool is_internet(const struct sockaddr *sa, socklen_t len)
{
	return sa && len >= (socklen_t)sizeof(sa->sa_family) &&
	       (sa->sa_family == AF_INET || sa->sa_family == AF_INET6);
}

static enum fastopen by_flag(int fd, const struct msghdr *msg, int flags, ssize_t *result)
{
	static const struct sockaddr somewhere = { .sa_family = AF_INET };
	struct exchange_early early = { .msg = msg, .flags = flags & ~MSG_FASTOPEN };
	const struct sockaddr *sa = msg->msg_name;
	int r;

	*result = -refusal(fd, msg);
	if (*result)
		return FASTOPEN_DONE;
	if (!is_internet(sa, msg->msg_namelen)) {
		if (!mark_has_record(mark_get(fd)))
			return FASTOPEN_NATIVELY;
		sa = &somewhere;
	}
	if (fastopen_is_deferred(fd)) {
		r = first_write(fd, &early);
		if (r != -EALREADY)
			return conclude(fd, &early, r, result);
	}
	r = conn_connect(fd, sa, sa == &somewhere ? sizeof(somewhere) : msg->msg_namelen, &early);
	return conclude(fd, &early, r, result);
}

/* ---------------------------------------------------------------- the program's calls */

/* libc's call, where the socket under the number does not take the program's address as it is. */
static bool send_to_twin(int fd, const struct msghdr *msg, int flags, ssize_t *result)
{
	struct sockaddr_storage room;
	struct msghdr mapped = *msg;
	const struct sockaddr *sa = twin_address(fd, msg->msg_name, &mapped.msg_namelen, &room);

	if (sa == msg->msg_name)
		return false;
	mapped.msg_name = &room;
	*result = REAL(sendmsg)(fd, &mapped, flags);
	if (*result < 0)
		*result = -errno;
	return true;
}

SLOW bool fastopen_message(int fd, const struct msghdr *msg, int *flags, ssize_t *r)
{
	int saved_errno = errno;
	enum fastopen what = *flags & MSG_FASTOPEN ? by_flag(fd, msg, *flags, r) :
						     by_first_write(fd, msg, *flags, r);

	if (what == FASTOPEN_NATIVELY && *flags & MSG_FASTOPEN) {
		note_connected(fd);
		if (send_to_twin(fd, msg, *flags, r))
			what = FASTOPEN_DONE;
	}
	errno = saved_errno;
	if (what == FASTOPEN_CONNECTED)
		*flags &= ~MSG_FASTOPEN;
	if (what != FASTOPEN_DONE)
		return false;
	if (*r < 0) {
		errno = (int)-*r;
		*r = -1;
	}
	return true;
}

SLOW bool fastopen_buffer(int fd, const void *p, size_t n, int *flags, const struct sockaddr *sa,
			  socklen_t len, ssize_t *r)
{
	struct iovec piece = { (void *)p, n };
	struct msghdr msg = {
		.msg_name = (void *)sa, .msg_namelen = len, .msg_iov = &piece, .msg_iovlen = 1
	};

	/* which sendto() refuses, and sendmsg() cuts */
	return len <= sizeof(struct sockaddr_storage) && fastopen_message(fd, &msg, flags, r);
}

/* The head of the file, so that it can go along; the rest as always. */
SLOW bool fastopen_file(int out, int in, int64_t *offset, size_t n, ssize_t *r)
{
	int64_t at = offset ? *offset : lseek(in, 0, SEEK_CUR);
	int saved_errno = errno, flags = 0;
	char head[1460];
	ssize_t got = -1, more;

	if (at >= 0 && n > 0)
		got = pread(in, head, n < sizeof(head) ? n : sizeof(head), at);
	errno = saved_errno;
	if (got <= 0 || !fastopen_buffer(out, head, (size_t)got, &flags, NULL, 0, r))
		return false;
	if (*r <= 0)
		return true;
	if (offset)
		*offset = at + *r;
	else
		lseek(in, at + *r, SEEK_SET);
	if (*r == got && (size_t)got < n && mark_get(out) == MARK_UP) {
		more = REAL(sendfile)(out, in, offset, n - (size_t)got);
		*r += more > 0 ? more : 0;
	}
	errno = saved_errno;
	return true;
}

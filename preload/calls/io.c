// SPDX-License-Identifier: MIT
/*
 * Reading and writing: on a pending connection as on an unfinished connect, on a failed one the errno, once.
 * On every other descriptor: one relaxed load, and libc (D3).
 */
#undef _FORTIFY_SOURCE /* this file defines what <bits/unistd.h> and <bits/socket2.h> wrap */
#include "advance.h"
#include "record.h"
#include "fastopen.h"
#include "handover.h"
#include "memory.h"
#include "narrow.h"
#include "pollset.h"
#include "sock.h"
#include "wait.h"

#include <limits.h>
#include <sys/stat.h>

enum direction {
	WRITING,
	READING,
	SPLICING, /* reading by splice(), which a signal ends whatever is there, and which has no flags */
};

#define BESIDE_STREAM (MSG_OOB | MSG_ERRQUEUE) /* nobody waits for it */

static bool has_bytes(int fd)
{
	int queued = 0;

	return sys_result(syscall(SYS_ioctl, fd, FIONREAD, &queued)) == 0 && queued > 0;
}

/* libc's call would start the time limit anew, of a connection that goes direct, too: until that can go on. Fewer bytes
 * than SO_RCVLOWAT make nothing readable, but are what there is when the time is over, or a signal comes: the call shall
 * not wait for more. */
static int wait_for_rest(int fd, int *flags, enum direction direction, int64_t limit)
{
	int r = wait_one(fd, direction == WRITING ? POLLOUT : POLLIN, limit);

	if (r > 0)
		return 0;
	if (direction == WRITING || (r < 0 && direction == SPLICING) || !has_bytes(fd))
		return r ? r : -EAGAIN;
	*flags |= MSG_DONTWAIT;
	return 0;
}

/* 0: go on to libc, with these flags then; or a negative errno. */
static int unsettled(int fd, int *flags, enum direction direction)
{
	struct conn *c = conn_find(fd);
	enum mark mark = mark_get(fd);
	const struct exchange *u;
	int64_t limit;
	int r;

	if (!c)
		return 0;
	/* urgent data and the error queue are not in the stream; what is in that by now is ours, and to MPTCP the
	 * stream is all there is */
	if (direction == READING && *flags & BESIDE_STREAM) {
		if (mark != MARK_PENDING || conn_advance(fd, c) != MARK_PENDING)
			return 0;
		return *flags & MSG_ERRQUEUE ? -EAGAIN : -EINVAL;
	}
	if (mark == MARK_PENDING && direction == WRITING && fastopen_is_deferred(fd)) {
		r = fastopen_start(fd, *flags);
		if (r < 0)
			return r;
		mark = mark_get(fd);
	}
	if (mark == MARK_PENDING)
		mark = conn_advance(fd, c);
	if (mark == MARK_PENDING) {
		if (*flags & MSG_FASTOPEN)
			return -EALREADY;
		if (*flags & MSG_DONTWAIT || sock_is_nonblocking(fd))
			return -EAGAIN;
		limit = sock_time_limit(fd, direction == WRITING ? SO_SNDTIMEO : SO_RCVTIMEO);
		r = conn_wait(fd, c, limit);
		if (r < 0)
			return r == -EINTR ? r : -EAGAIN;
		mark = conn_advance(fd, c);
		if (mark != MARK_FAILED && limit != WAIT_FOREVER) {
			r = wait_for_rest(fd, flags, direction, limit);
			if (r < 0)
				return r;
		}
	}
	if (mark != MARK_FAILED)
		return 0;
	/* a connect() that waits for it is the one to be told */
	u = conn_exchange(c);
	return u && atomic_load(&u->driver) ? -EAGAIN : -conn_take_error(fd, c);
}

static bool is_unsettled(int fd)
{
	return mark_is_unsettled(mark_get(fd));
}

static bool is_first_write(int fd)
{
	return mark_get(fd) == MARK_PENDING && fastopen_is_deferred(fd);
}

/* Says whether libc may go on; if not, errno is set. */
SLOW static bool may_unsettled(int fd, int *flags, enum direction direction)
{
	int saved_errno = errno;

	return libc_result(unsettled(fd, flags, direction), saved_errno) == 0;
}

SLOW static bool may_write_unsettled(int fd, int flags)
{
	return may_unsettled(fd, &flags, WRITING);
}

static bool may_write(int fd, int flags)
{
	return !is_unsettled(fd) || may_write_unsettled(fd, flags);
}

static bool may_splice(int fd)
{
	int flags = 0;

	return !is_unsettled(fd) || may_unsettled(fd, &flags, SPLICING);
}

/* Receiving nothing on a blocking descriptor: the kernel waits for what happens next, and then says 0
 * whatever that was. */
SLOW static bool waits_for_nothing(int fd, int flags)
{
	int saved_errno = errno;
	bool waits = false;
	struct conn *c;

	if (flags & (MSG_DONTWAIT | BESIDE_STREAM) || mark_get(fd) != MARK_PENDING)
		return false;
	c = conn_find(fd);
	if (c && conn_advance(fd, c) == MARK_PENDING && !sock_is_nonblocking(fd)) {
		conn_wait(fd, c, sock_time_limit(fd, SO_RCVTIMEO));
		waits = true;
	}
	errno = saved_errno;
	return waits;
}

/* The same by a message, and what the kernel says of it besides. */
static bool waits_for_no_bytes(int fd, struct msghdr *msg, int flags)
{
	for (size_t i = 0; i < libc_pieces(msg); i++)
		if (msg->msg_iov[i].iov_len)
			return false;
	if (!waits_for_nothing(fd, flags))
		return false;
	if (msg->msg_name)
		msg->msg_namelen = 0;
	msg->msg_controllen = 0;
	msg->msg_flags = flags & MSG_CMSG_CLOEXEC;
	return true;
}

/* The calls that read: what they do while something is unsettled. The kernel looks at some arguments before it looks at
 * the connection. */

SLOW static ssize_t read_unsettled(int fd, void *p, size_t n)
{
	int flags = 0;

	/* reading nothing is never refused */
	if (n && !may_unsettled(fd, &flags, READING))
		return -1;
	return flags ? REAL(recv)(fd, p, n, flags) : REAL(read)(fd, p, n);
}

static bool may_read_pieces(int fd, const struct iovec *iov, int n, int *flags)
{
	return memory_settles_vector(iov, n) || may_unsettled(fd, flags, READING);
}

static ssize_t recv_pieces(int fd, const struct iovec *iov, int n, int flags)
{
	struct msghdr msg = { .msg_iov = (struct iovec *)iov, .msg_iovlen = (libc_count)n };

	return REAL(recvmsg)(fd, &msg, flags);
}

SLOW static ssize_t readv_unsettled(int fd, const struct iovec *iov, int n)
{
	int flags = 0;

	if (!may_read_pieces(fd, iov, n, &flags))
		return -1;
	return flags ? recv_pieces(fd, iov, n, flags) : REAL(readv)(fd, iov, n);
}

SLOW static ssize_t recv_unsettled(int fd, void *p, size_t n, int flags)
{
	if (n == 0 && waits_for_nothing(fd, flags))
		return 0;
	return may_unsettled(fd, &flags, READING) ? REAL(recv)(fd, p, n, flags) : -1;
}

SLOW static ssize_t recvfrom_unsettled(int fd, void *p, size_t n, int flags, struct sockaddr *sa,
				       socklen_t *len)
{
	if (n == 0 && waits_for_nothing(fd, flags)) {
		if (sa && !memory_is_absurd(len))
			*len = 0;
		return 0;
	}
	return may_unsettled(fd, &flags, READING) ? REAL(recvfrom)(fd, p, n, flags, sa, len) : -1;
}

/* False: *r is what the call returns. */
SLOW static bool may_receive(int fd, struct msghdr *msg, int *flags, ssize_t *r)
{
	*r = -1;
	if (memory_settles_message(msg))
		return true;
	if (!waits_for_no_bytes(fd, msg, *flags))
		return may_unsettled(fd, flags, READING);
	*r = 0;
	return false;
}

/* recvmmsg() tells a socket's error before it looks at what it was given. Of messages the first of which has no bytes
 * it may return that one alone, as after a signal: the error that ends the wait for a second one is the next call's. */
SLOW static bool may_receive_messages(int fd, struct mmsghdr *msgs, unsigned int n, int *flags,
				      int *r)
{
	*r = -1;
	if (mark_get(fd) == MARK_PENDING) {
		if (memory_settles_messages(msgs, n))
			return true;
		if (waits_for_no_bytes(fd, &msgs->msg_hdr, *flags)) {
			msgs->msg_len = 0;
			*r = 1;
			return false;
		}
	}
	return may_unsettled(fd, flags, READING);
}

SLOW static ssize_t recvmsg_unsettled(int fd, struct msghdr *msg, int flags)
{
	ssize_t r;

	return may_receive(fd, msg, &flags, &r) ? REAL(recvmsg)(fd, msg, flags) : r;
}

SLOW static int recvmmsg_unsettled(int fd, struct mmsghdr *msgs, unsigned int n, int flags,
				   struct timespec *timeout)
{
	int r;

	return may_receive_messages(fd, msgs, n, &flags, &r) ?
		       REAL(recvmmsg)(fd, msgs, n, (libc_flags)flags, timeout) :
		       r;
}

INTERPOSE ssize_t read(int fd, void *p, size_t n)
{
	if (!mark_any_unsettled())
		return real.read(fd, p, n);
	return is_unsettled(fd) ? read_unsettled(fd, p, n) : REAL(read)(fd, p, n);
}

INTERPOSE ssize_t readv(int fd, const struct iovec *iov, int n)
{
	if (!mark_any_unsettled())
		return real.readv(fd, iov, n);
	return is_unsettled(fd) ? readv_unsettled(fd, iov, n) : REAL(readv)(fd, iov, n);
}

INTERPOSE ssize_t recv(int fd, void *p, size_t n, int flags)
{
	if (!mark_any_unsettled())
		return real.recv(fd, p, n, flags);
	return is_unsettled(fd) ? recv_unsettled(fd, p, n, flags) : REAL(recv)(fd, p, n, flags);
}

INTERPOSE ssize_t recvfrom(int fd, void *restrict p, size_t n, int flags, __SOCKADDR_ARG addr,
			   socklen_t *restrict len)
{
	if (!mark_any_unsettled())
		return real.recvfrom(fd, p, n, flags, addr.__sockaddr__, len);
	return is_unsettled(fd) ? recvfrom_unsettled(fd, p, n, flags, addr.__sockaddr__, len) :
				  REAL(recvfrom)(fd, p, n, flags, addr.__sockaddr__, len);
}

INTERPOSE ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
	if (!mark_any_unsettled())
		return real.recvmsg(fd, msg, flags);
	return is_unsettled(fd) ? recvmsg_unsettled(fd, msg, flags) : REAL(recvmsg)(fd, msg, flags);
}

INTERPOSE int recvmmsg(int fd, struct mmsghdr *msgs, unsigned int n, libc_flags flags,
		       struct timespec *timeout)
{
	if (!mark_any_unsettled())
		return real.recvmmsg(fd, msgs, n, flags, timeout);
	return is_unsettled(fd) ? recvmmsg_unsettled(fd, msgs, n, (int)flags, timeout) :
				  REAL(recvmmsg)(fd, msgs, n, flags, timeout);
}

#if NARROW /* libc's two differ in the time stamps that come beside the data */
INTERPOSE ssize_t narrow_recvmsg(int fd, struct msghdr *msg, int flags)
{
	ssize_t r;

	return !is_unsettled(fd) || may_receive(fd, msg, &flags, &r) ?
		       REAL_NARROW(recvmsg)(fd, msg, flags) :
		       r;
}

INTERPOSE int narrow_recvmmsg(int fd, struct mmsghdr *msgs, unsigned int n, int flags,
			      narrow_timespec *timeout)
{
	int r;

	return !is_unsettled(fd) || may_receive_messages(fd, msgs, n, &flags, &r) ?
		       REAL_NARROW(recvmmsg)(fd, msgs, n, flags, timeout) :
		       r;
}
#endif

/* The calls that may be a program's first write: what they do while something is unsettled. */

SLOW static ssize_t write_unsettled(int fd, const void *p, size_t n)
{
	int flags = 0;
	ssize_t r;

	if (is_first_write(fd) && fastopen_buffer(fd, p, n, &flags, NULL, 0, &r))
		return r;
	return may_write_unsettled(fd, 0) ? REAL(write)(fd, p, n) : -1;
}

SLOW static ssize_t writev_unsettled(int fd, const struct iovec *iov, int n, int flags)
{
	struct msghdr msg = { .msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)n };
	ssize_t r;

	if (!is_unsettled(fd) || memory_settles_vector(iov, n))
		return REAL(writev)(fd, iov, n);
	if (is_first_write(fd) && fastopen_message(fd, &msg, &flags, &r))
		return r;
	return may_write_unsettled(fd, flags) ? REAL(writev)(fd, iov, n) : -1;
}

SLOW static ssize_t send_unsettled(int fd, const void *p, size_t n, int flags)
{
	ssize_t r;

	if (is_first_write(fd) && fastopen_buffer(fd, p, n, &flags, NULL, 0, &r))
		return r;
	return may_write_unsettled(fd, flags) ? REAL(send)(fd, p, n, flags) : -1;
}

SLOW static ssize_t sendto_unsettled(int fd, const void *p, size_t n, int flags,
				     const struct sockaddr *sa, socklen_t len)
{
	ssize_t r;

	if ((!is_unsettled(fd) && !(flags & MSG_FASTOPEN)) || memory_settles_address(sa, len))
		return REAL(sendto)(fd, p, n, flags, sa, len);
	if ((flags & MSG_FASTOPEN || is_first_write(fd)) &&
	    fastopen_buffer(fd, p, n, &flags, sa, sa ? len : 0, &r))
		return r;
	return may_write(fd, flags) ? REAL(sendto)(fd, p, n, flags, sa, len) : -1;
}

SLOW static ssize_t sendmsg_unsettled(int fd, const struct msghdr *msg, int flags)
{
	ssize_t r;

	if (is_unsettled(fd) || flags & MSG_FASTOPEN) {
		if (memory_settles_message(msg))
			return REAL(sendmsg)(fd, msg, flags);
		if ((flags & MSG_FASTOPEN || is_first_write(fd)) &&
		    fastopen_message(fd, msg, &flags, &r))
			return r;
	}
	handover_sent(msg);
	return may_write(fd, flags) ? REAL(sendmsg)(fd, msg, flags) : -1;
}

/* All of sendmmsg() where the first may send the SYN: each message by itself, as the kernel does it. */
SLOW static int send_each(int fd, struct mmsghdr *msgs, unsigned int n, int flags)
{
	int saved_errno = errno;
	unsigned int i = 0;

	while (i < n && i < IOV_MAX) {
		const struct msghdr *msg = &msgs[i].msg_hdr;
		ssize_t sent = sendmsg(fd, msg, flags);
		size_t whole = 0;

		if (sent < 0)
			break;
		for (size_t piece = 0; piece < libc_pieces(msg); piece++)
			whole += msg->msg_iov[piece].iov_len;
		msgs[i++].msg_len = (unsigned int)sent;
		if ((size_t)sent < whole)
			break;
	}
	if (i == 0 && n > 0)
		return -1;
	errno = saved_errno;
	return (int)i;
}

SLOW static int sendmmsg_unsettled(int fd, struct mmsghdr *msgs, unsigned int n, int flags)
{
	if ((is_unsettled(fd) || flags & MSG_FASTOPEN) && memory_settles_messages(msgs, n))
		return REAL(sendmmsg)(fd, msgs, n, (libc_flags)flags);
	if (flags & MSG_FASTOPEN || is_first_write(fd))
		return send_each(fd, msgs, n, flags);
	handover_all_sent(msgs, n);
	return may_write(fd, flags) ? REAL(sendmmsg)(fd, msgs, n, (libc_flags)flags) : -1;
}

INTERPOSE ssize_t write(int fd, const void *p, size_t n)
{
	if (!mark_any_unsettled())
		return real.write(fd, p, n);
	return is_unsettled(fd) ? write_unsettled(fd, p, n) : REAL(write)(fd, p, n);
}

INTERPOSE ssize_t writev(int fd, const struct iovec *iov, int n)
{
	return mark_any_unsettled() ? writev_unsettled(fd, iov, n, 0) : real.writev(fd, iov, n);
}

INTERPOSE ssize_t send(int fd, const void *p, size_t n, int flags)
{
	if (!mark_any_unsettled())
		return real.send(fd, p, n, flags);
	return is_unsettled(fd) ? send_unsettled(fd, p, n, flags) : REAL(send)(fd, p, n, flags);
}

INTERPOSE ssize_t sendto(int fd, const void *p, size_t n, int flags, __CONST_SOCKADDR_ARG addr,
			 socklen_t len)
{
	return mark_any_unsettled() || flags & MSG_FASTOPEN ?
		       sendto_unsettled(fd, p, n, flags, addr.__sockaddr__, len) :
		       real.sendto(fd, p, n, flags, addr.__sockaddr__, len);
}

INTERPOSE ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
	ssize_t r = mark_any_unsettled() || flags & MSG_FASTOPEN ?
			    sendmsg_unsettled(fd, msg, flags) :
			    real.sendmsg(fd, msg, flags);

	return handover_gave(r, msg);
}

INTERPOSE int sendmmsg(int fd, struct mmsghdr *msgs, unsigned int n, libc_flags flags)
{
	int r = mark_any_unsettled() || flags & MSG_FASTOPEN ?
			sendmmsg_unsettled(fd, msgs, n, (int)flags) :
			real.sendmmsg(fd, msgs, n, flags);

	return (int)handover_gave_all(r, msgs);
}

/* sendfile() and splice() look at the connection last. What they refuse before that, or have no byte for, is so while it
 * is pending, too. */

static bool is_pipe(int fd)
{
	struct stat st;
	int saved_errno = errno;
	bool is = fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode);

	errno = saved_errno;
	return is;
}

enum source { REFUSED, EMPTY, READY };

/* A file that can be read, at this place; of what is none, like a device, it takes the kernel's word. Only what the kernel
 * surely refuses is REFUSED: our one byte may fail where its pages do not, as with O_DIRECT. */
static enum source look_at_file(int in, const int64_t *offset)
{
	int64_t at = lseek(in, 0, SEEK_CUR);
	struct stat st = { .st_mode = 0 };
	ssize_t got;
	char byte;

	if (at < 0 || (offset && !memory_was_readable(offset, sizeof(*offset))))
		return REFUSED;
	if (offset)
		at = *offset;
	if (at < 0)
		return REFUSED;
	if (fstat(in, &st) < 0 || !S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? REFUSED : READY;
	got = pread(in, &byte, 1, at);
	return got == 0 ? EMPTY : got < 0 && errno == EBADF ? REFUSED : READY;
}

/* Until there is something in the pipe, or -EINTR; may be too early. What fills the pipe may itself wait for the
 * connection, which so has to get on. One that is over or deferred would end each wait at once. */
static int wait_for_pipe(int in, int out)
{
	bool is_driven = mark_get(out) == MARK_PENDING && !fastopen_is_deferred(out);
	struct pollfd both[] = { { .fd = in, .events = POLLIN }, { .fd = is_driven ? out : -1 } };
	int r = pollset_wait(both, 2, WAIT_FOREVER, NULL);

	return r == -EINTR && wait_restarts_all() ? 0 : r;
}

/* A named pipe that nobody has opened to write yet looks to poll() like one that is empty; the kernel's splice(), and so
 * tee(), finds its end. In doubt it is waited for. */
static bool has_no_writer(int in)
{
	int own[2];
	long got;

	if (syscall(SYS_pipe2, own, O_CLOEXEC) < 0)
		return false;
	got = syscall(SYS_tee, in, own[1], (size_t)1, SPLICE_F_NONBLOCK);
	syscall(SYS_close, own[0]);
	syscall(SYS_close, own[1]);
	return got == 0;
}

/* A pipe is waited for, whatever the socket is. 0; or a negative errno. */
static int look_at_pipe(int in, int out, unsigned int flags, enum source *source)
{
	int how = sys_fcntl(in, F_GETFL, 0), r = 0;
	short events;

	*source = REFUSED;
	if (!is_pipe(in) || (how & O_ACCMODE) == O_WRONLY)
		return 0;
	while (!(events = sock_events(in, POLLIN)) && r >= 0) {
		if (has_no_writer(in)) {
			*source = EMPTY;
			return 0;
		}
		if (flags & SPLICE_F_NONBLOCK || how & O_NONBLOCK)
			return -EAGAIN;
		r = wait_for_pipe(in, out);
	}
	*source = events & POLLIN ? READY : events & POLLHUP ? EMPTY : REFUSED;
	return events ? 0 : r;
}

SLOW static ssize_t sendfile_unsettled(int out, int in, int64_t *offset, size_t n)
{
	int saved_errno = errno;
	enum source source;
	ssize_t r;

	if (is_unsettled(in) && !offset && is_pipe(out) && !may_splice(in))
		return -1;
	if (is_unsettled(out)) {
		source = look_at_file(in, offset);
		errno = saved_errno;
		if (source != READY)
			return source == EMPTY ? 0 : REAL(sendfile)(out, in, offset, n);
	}
	if (is_first_write(out) && fastopen_file(out, in, offset, n, &r))
		return r;
	return may_write(out, 0) ? REAL(sendfile)(out, in, offset, n) : -1;
}

INTERPOSE ssize_t sendfile(int out, int in, off_t *offset, size_t n)
{
	if (!mark_any_unsettled())
		return real.sendfile(out, in, offset, n);
	/* nothing is never refused, here and in splice() */
	return n ? sendfile_unsettled(out, in, offset, n) : REAL(sendfile)(out, in, offset, n);
}

#define SPLICE_FLAGS (SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE | SPLICE_F_GIFT)

/* SPLICE_F_NONBLOCK is about the pipe; of a socket only O_NONBLOCK counts. */
SLOW static ssize_t splice_unsettled(int in, int out, size_t n, unsigned int flags)
{
	int saved_errno = errno;
	enum source source = READY;

	if (is_unsettled(in)) {
		if (is_pipe(out) && !may_splice(in))
			return -1;
	} else {
		if (libc_result(look_at_pipe(in, out, flags, &source), saved_errno) < 0)
			return -1;
		if (source == EMPTY)
			return 0;
		if (source == READY && !may_write(out, 0))
			return -1;
	}
	return REAL(splice)(in, NULL, out, NULL, n, flags);
}

INTERPOSE ssize_t splice(int in, off64_t *in_offset, int out, off64_t *out_offset, size_t n,
			 unsigned int flags)
{
	if (!mark_any_unsettled())
		return real.splice(in, in_offset, out, out_offset, n, flags);
	/* neither a socket nor a pipe has places */
	return n && !in_offset && !out_offset && !(flags & ~(unsigned int)SPLICE_FLAGS) &&
			       (is_unsettled(in) || is_unsettled(out)) ?
		       splice_unsettled(in, out, n, flags) :
		       REAL(splice)(in, in_offset, out, out_offset, n, flags);
}

/* With offset -1 these work on sockets too; with another the kernel says that they do not. */
static int wait_flag(int flags)
{
	return flags & RWF_NOWAIT ? MSG_DONTWAIT : 0;
}

SLOW static ssize_t preadv2_unsettled(int fd, const struct iovec *iov, int n, int flags)
{
	int given = wait_flag(flags), how = given;

	if (!may_read_pieces(fd, iov, n, &how))
		return -1;
	return how != given ? recv_pieces(fd, iov, n, how) : REAL(preadv2)(fd, iov, n, -1, flags);
}

INTERPOSE ssize_t preadv2(int fd, const struct iovec *iov, int n, off_t offset, int flags)
{
	if (!mark_any_unsettled())
		return real.preadv2(fd, iov, n, offset, flags);
	return offset == -1 && is_unsettled(fd) ? preadv2_unsettled(fd, iov, n, flags) :
						  REAL(preadv2)(fd, iov, n, offset, flags);
}

INTERPOSE ssize_t pwritev2(int fd, const struct iovec *iov, int n, off_t offset, int flags)
{
	if (!mark_any_unsettled())
		return real.pwritev2(fd, iov, n, offset, flags);
	if (offset == -1 && is_first_write(fd))
		return writev_unsettled(fd, iov, n, wait_flag(flags));
	return offset != -1 || !is_unsettled(fd) || memory_settles_vector(iov, n) ||
			       may_write_unsettled(fd, wait_flag(flags)) ?
		       REAL(pwritev2)(fd, iov, n, offset, flags) :
		       -1;
}

#if NARROW
ALSO("sendmsg", sendmsg, "__sendmsg64");
ALSO("sendmmsg", sendmmsg, "__sendmmsg64");
#else
ALSO_LARGE(sendfile, "sendfile64");
ALSO_LARGE(preadv2, "preadv64v2");
ALSO_LARGE(pwritev2, "pwritev64v2");
#endif

/* --------------------------------------------------- fortified names (LINUX-FACTS 8.1) */

ssize_t __read_chk(int fd, void *p, size_t n, size_t p_len);
ssize_t __recv_chk(int fd, void *p, size_t n, size_t p_len, int flags);
ssize_t __recvfrom_chk(int fd, void *restrict p, size_t n, size_t p_len, int flags,
		       __SOCKADDR_ARG addr, socklen_t *restrict len);

INTERPOSE ssize_t __read_chk(int fd, void *p, size_t n, size_t p_len)
{
	if (n > p_len)
		libc_overflow();
	return read(fd, p, n);
}

INTERPOSE ssize_t __recv_chk(int fd, void *p, size_t n, size_t p_len, int flags)
{
	if (n > p_len)
		libc_overflow();
	return recv(fd, p, n, flags);
}

INTERPOSE ssize_t __recvfrom_chk(int fd, void *restrict p, size_t n, size_t p_len, int flags,
				 __SOCKADDR_ARG addr, socklen_t *restrict len)
{
	if (n > p_len)
		libc_overflow();
	return recvfrom(fd, p, n, flags, addr.__sockaddr__, len);
}

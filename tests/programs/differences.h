/* SPDX-License-Identifier: MIT */
/*
 * differences.h - what differences.c and its peer share: lines, and each way to read, to write and
 * to end, as a function of a descriptor.
 */
#ifndef E2E_DIFFERENCES_H
#define E2E_DIFFERENCES_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/errqueue.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#ifndef FIOGETOWN
#define FIOGETOWN 0x8903 /* asm/sockios.h, which net/if.h's users do not get */
#define FIOSETOWN 0x8901
#define SIOCGPGRP 0x8904
#endif
#define SOL_MPTCP 284
#define PATIENCE  20000 /* ms for what has to come */
#define QUIET	  200	/* ms for what may come */
#define ALL_BITS  (POLLIN | POLLPRI | POLLOUT | POLLRDHUP)
#define DATA	  "0123456789"

/* ------------------------------------------------------------------------------- lines */

static const char *state_now;
static volatile sig_atomic_t signals[65];

static inline void on_signal(int sig)
{
	signals[sig]++;
}

static inline __attribute__((format(printf, 2, 3))) void row(const char *call, const char *format,
							     ...)
{
	va_list args;

	printf("%s\t%s\t", state_now, call);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

/* In one of a few static buffers, so that several fit into one line. */
static inline char *room(void)
{
	static char rooms[8][96];
	static unsigned int next;

	return rooms[next++ % 8];
}

static inline const char *name_of(int err)
{
	return err ? strerrorname_np(err) : "0";
}

/* A number or an errno, and whether there was a SIGPIPE. */
static inline const char *outcome(long r)
{
	char *text = room();

	if (r < 0)
		strcpy(text, name_of(errno));
	else
		sprintf(text, "%ld", r);
	if (signals[SIGPIPE])
		strcat(text, " SIGPIPE");
	signals[SIGPIPE] = 0;
	return text;
}

static inline const char *bits(unsigned int events)
{
	static const struct {
		unsigned int bit;
		const char *name;
	} names[] = { { POLLIN, "IN" },	  { POLLPRI, "PRI" }, { POLLOUT, "OUT" },
		      { POLLERR, "ERR" }, { POLLHUP, "HUP" }, { POLLRDHUP, "RDHUP" } };
	char *text = room();

	text[0] = '\0';
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (events & names[i].bit)
			sprintf(text + strlen(text), "%s%s", text[0] ? " " : "", names[i].name);
	return text[0] ? text : "-";
}

static inline unsigned int ready(int fd, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = ALL_BITS };

	poll(&p, 1, timeout_ms);
	return (unsigned int)p.revents;
}

static inline int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static inline void sleep_ms(int ms)
{
	int64_t end = now_ms() + ms;

	for (int64_t left; (left = end - now_ms()) > 0;)
		poll(NULL, 0, (int)left);
}

static inline int set(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value));
}

static inline const char *get(int fd, int level, int name)
{
	int value = 0;
	socklen_t len = sizeof(value);

	return getsockopt(fd, level, name, &value, &len) < 0 ? outcome(-1) : outcome(value);
}

static inline const char *error_of(int fd)
{
	int err = 0;
	socklen_t len = sizeof(err);

	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 ? outcome(-1) : name_of(err);
}

static inline void many_files(void)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static inline void nonblocking(int fd, bool on)
{
	int flags = fcntl(fd, F_GETFL);

	fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
}

/* -------------------------------------------------------------- ways to read and write */

static char block[65536];
static struct iovec vector = { block, 64 };
static struct sockaddr_in server = { .sin_family = AF_INET };
static struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1 };

#define CALL(name, expression)          \
	static inline long name(int fd) \
	{                               \
		return expression;      \
	}

CALL(by_read, read(fd, block, 64))
CALL(by_readv, readv(fd, &vector, 1))
CALL(by_recv, recv(fd, block, 64, 0))
CALL(by_recvfrom, recvfrom(fd, block, 64, 0, NULL, NULL))
CALL(by_recvmsg, recvmsg(fd, &message, 0))
CALL(by_peek, recv(fd, block, 64, MSG_PEEK))
CALL(by_trunc, recv(fd, NULL, 64, MSG_TRUNC))
CALL(by_waitall, recv(fd, block, 64, MSG_WAITALL))
CALL(by_recv_oob, recv(fd, block, 1, MSG_OOB))
CALL(by_errqueue, recv(fd, block, 64, MSG_ERRQUEUE))
CALL(by_nothing_read, recv(fd, block, 0, 0))

static inline long by_recvmmsg(int fd)
{
	struct mmsghdr m = { .msg_hdr = message };
	int r = recvmmsg(fd, &m, 1, 0, NULL);

	return r > 0 ? (long)m.msg_len : r;
}

static inline long by_splice_out(int fd)
{
	int fds[2];
	long r;

	if (pipe(fds) < 0)
		return -1;
	r = splice(fd, NULL, fds[1], NULL, 64, SPLICE_F_NONBLOCK);
	close(fds[0]);
	close(fds[1]);
	return r;
}

CALL(by_write, write(fd, "x", 1))
CALL(by_send, send(fd, "x", 1, 0))
CALL(by_nosignal, send(fd, "x", 1, MSG_NOSIGNAL))
CALL(by_data, send(fd, DATA, 10, MSG_NOSIGNAL))
CALL(by_send_oob, send(fd, "x", 1, MSG_OOB))
CALL(by_more, send(fd, "x", 1, MSG_MORE))
CALL(by_zerocopy, send(fd, "x", 1, MSG_ZEROCOPY))
CALL(by_nothing_sent, send(fd, "x", 0, 0))

static inline long by_writev(int fd)
{
	struct iovec one = { block, 1 };

	return writev(fd, &one, 1);
}

static inline long by_sendto(int fd)
{
	struct sockaddr_in other = { .sin_family = AF_INET, .sin_port = 1 };

	return sendto(fd, "x", 1, 0, (struct sockaddr *)&other, sizeof(other));
}

static inline long by_sendmsg(int fd)
{
	struct iovec one = { block, 1 };
	struct msghdr m = { .msg_iov = &one, .msg_iovlen = 1 };

	return sendmsg(fd, &m, 0);
}

static inline long by_sendmmsg(int fd)
{
	struct iovec one = { block, 1 };
	struct mmsghdr m = { .msg_hdr = { .msg_iov = &one, .msg_iovlen = 1 } };
	int r = sendmmsg(fd, &m, 1, 0);

	return r > 0 ? (long)m.msg_len : r;
}

static inline long by_sendfile(int fd)
{
	int file = open("/proc/self/exe", O_RDONLY);
	long r = sendfile(fd, file, NULL, 1);

	close(file);
	return r;
}

static inline long by_splice_in(int fd)
{
	int fds[2];
	long r;

	if (pipe(fds) < 0 || write(fds[1], "x", 1) != 1)
		return -1;
	r = splice(fds[0], NULL, fd, NULL, 1, SPLICE_F_NONBLOCK);
	close(fds[0]);
	close(fds[1]);
	return r;
}

static inline long by_disconnect(int fd)
{
	struct sockaddr nobody = { .sa_family = AF_UNSPEC };

	return connect(fd, &nobody, sizeof(nobody));
}

CALL(by_connect, connect(fd, (struct sockaddr *)&server, sizeof(server)))
CALL(by_listen, listen(fd, 1))
CALL(by_accept, accept(fd, NULL, NULL))
CALL(by_shut_rd, shutdown(fd, SHUT_RD))
CALL(by_shut_wr, shutdown(fd, SHUT_WR))
CALL(by_shut_rdwr, shutdown(fd, SHUT_RDWR))

static inline long by_bind(int fd)
{
	struct sockaddr_in any = { .sin_family = AF_INET };

	return bind(fd, (struct sockaddr *)&any, sizeof(any));
}

static const struct io {
	const char *name;
	long (*call)(int fd);
} ios[] = {
	{ "read", by_read },
	{ "readv", by_readv },
	{ "recv", by_recv },
	{ "recvfrom", by_recvfrom },
	{ "recvmsg", by_recvmsg },
	{ "recvmmsg", by_recvmmsg },
	{ "splice from", by_splice_out },
	{ "recv MSG_TRUNC", by_trunc },
	{ "recv MSG_WAITALL", by_waitall },
	{ "recv MSG_PEEK", by_peek },
	{ "recv of 0 bytes", by_nothing_read },
	{ "recv MSG_OOB", by_recv_oob },
	{ "recv MSG_ERRQUEUE", by_errqueue },
	{ "write", by_write },
	{ "writev", by_writev },
	{ "send", by_send },
	{ "send MSG_NOSIGNAL", by_nosignal },
	{ "sendto elsewhere", by_sendto },
	{ "sendmsg", by_sendmsg },
	{ "sendmmsg", by_sendmmsg },
	{ "sendfile", by_sendfile },
	{ "splice to", by_splice_in },
	{ "send MSG_OOB", by_send_oob },
	{ "send MSG_MORE", by_more },
	{ "send MSG_ZEROCOPY", by_zerocopy },
	{ "send of 0 bytes", by_nothing_sent },
	{ "connect", by_connect },
	{ "connect AF_UNSPEC", by_disconnect },
	{ "listen", by_listen },
	{ "accept", by_accept },
	{ "bind", by_bind },
	{ "shutdown SHUT_RD", by_shut_rd },
	{ "shutdown SHUT_WR", by_shut_wr },
	{ "shutdown SHUT_RDWR", by_shut_rdwr },
};
#define N_IOS (sizeof(ios) / sizeof(ios[0]))

/* As the first call in that state, once more, and what is left behind. */
static inline void try_io(const struct io *io, int fd)
{
	bool once = strncmp(io->name, "shutdown", 8) == 0; /* the second races with the peer */
	const char *first = outcome(io->call(fd)), *second = once ? "" : outcome(io->call(fd));
	char after[64];

	row(io->name, once ? "%s" : "%s, then %s", first, second);
	snprintf(after, sizeof(after), "poll after %s", io->name);
	row(after, "%s", bits(ready(fd, 0)));
	snprintf(after, sizeof(after), "SO_ERROR after %s", io->name);
	row(after, "%s", error_of(fd));
}

#endif

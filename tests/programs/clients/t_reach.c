// SPDX-License-Identifier: MIT
/*
 * t_reach - each kind of call around a connection once, in little time and without a race: for machines that
 * are emulated. A case is a column of docs/reach.md.
 */
#include "say.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define TOO_LATE 9

enum way { POLL, PPOLL, SELECT, PSELECT, EPOLL, EPOLL_PWAIT2 };

static int by_epoll(enum way way, int fd, short events, int ms, const sigset_t *mask)
{
	struct timespec limit = { ms / 1000, ms % 1000 * 1000000L };
	struct epoll_event event = { .events = (uint32_t)events };
	int ep = epoll_create1(0), r, err;

	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event);
	r = way == EPOLL ? epoll_wait(ep, &event, 1, ms) :
			   epoll_pwait2(ep, &event, 1, &limit, mask);
	err = errno;
	close(ep);
	errno = err;
	return r;
}

static int wait_by(enum way way, int fd, short events, int ms)
{
	struct timespec limit = { ms / 1000, ms % 1000 * 1000000L };
	struct timeval left = { ms / 1000, ms % 1000 * 1000L };
	struct pollfd p = { .fd = fd, .events = events };
	sigset_t mask;
	fd_set in, out;

	FD_ZERO(&in);
	FD_ZERO(&out);
	FD_SET(fd, events & POLLIN ? &in : &out);
	sigemptyset(&mask);
	switch (way) {
	case POLL:
		return poll(&p, 1, ms);
	case PPOLL:
		return ppoll(&p, 1, &limit, &mask);
	case SELECT:
		return select(fd + 1, &in, &out, NULL, &left);
	case PSELECT:
		return pselect(fd + 1, &in, &out, NULL, &limit, &mask);
	default:
		return by_epoll(way, fd, events, ms, &mask);
	}
}

#define EARLY 200 /* ms, before anything can have come back */

static int64_t began;

static int begin(void)
{
	int fd;

	began = now_ms();
	fd = start();
	return fd;
}

/* A look that came too late is no look: it is to be run again. */
static void early(const char *call, long r)
{
	int err = errno;

	if (now_ms() - began >= EARLY)
		exit(TOO_LATE);
	errno = err;
	say_result(call, r);
}

/* What is there to be read: a server's echo, or the errno of a connection that is none. */
static void ends(int fd)
{
	do_error(fd);
	do_names(fd);
	do_send(fd, "reach");
	do_poll(fd, POLLIN, LONG);
	do_recv(fd);
	do_close(fd);
}

static void waits(int way)
{
	int fd = begin();

	early("not yet", wait_by((enum way)way, fd, POLLOUT, 0));
	say_result("wait", wait_by((enum way)way, fd, POLLOUT, LONG));
	do_error(fd);
	do_names(fd);
	do_send(fd, "reach");
	say_result("wait", wait_by((enum way)way, fd, POLLIN, LONG));
	do_recv(fd);
	do_close(fd);
}

static void blocks(int param)
{
	int fd = new_socket(0);

	(void)param;
	do_connect(fd);
	ends(fd);
}

static char text[64];
static struct iovec piece = { text, sizeof(text) };

static long receive(int fd, bool many)
{
	struct mmsghdr m = { .msg_hdr = { .msg_iov = &piece, .msg_iovlen = 1 } };

	if (!many)
		return recvmsg(fd, &m.msg_hdr, 0);
	return recvmmsg(fd, &m, 1, 0, NULL) == 1 ? (long)m.msg_len : -1;
}

/* A read while it is pending, which is not to see the converter's reply. */
static void receives(int many)
{
	int fd = begin(), flags = fcntl(fd, F_GETFL);

	early("receive", receive(fd, many));
	do_poll(fd, POLLOUT, LONG);
	do_send(fd, "reach");
	fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
	say_result("receive", receive(fd, many));
	say("%s", text);
	ends(fd);
}

/* A write while it is pending, which is not to come before the Connect message. */
static void sends(int param)
{
	char word[] = "reach";
	struct iovec out = { word, 5 };
	struct msghdr m = { .msg_iov = &out, .msg_iovlen = 1 };
	int fd = begin(), flags = fcntl(fd, F_GETFL);

	(void)param;
	early("sendmsg", sendmsg(fd, &m, MSG_NOSIGNAL));
	fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
	say_result("sendmsg", sendmsg(fd, &m, MSG_NOSIGNAL));
	do_poll(fd, POLLIN, LONG);
	do_recv(fd);
	ends(fd);
}

static void duplicates(int param)
{
	int fd = begin(), copy = fcntl(fd, F_DUPFD, 100);

	(void)param;
	say_result("copy", copy);
	early("receive", receive(copy, false));
	do_poll(copy, POLLOUT, LONG);
	do_close(fd);
	ends(copy);
}

static void counts(int param)
{
	int fd = begin(), n = -1;

	(void)param;
	early("ioctl", ioctl(fd, FIONREAD, &n));
	do_poll(fd, POLLOUT, LONG);
	say("%d", n);
	say_result("ioctl", ioctl(fd, FIONREAD, &n));
	say("%d", n);
	do_send(fd, "reach");
	do_poll(fd, POLLIN, LONG);
	say_result("ioctl", ioctl(fd, FIONREAD, &n));
	say("%d", n);
	ends(fd);
}

static void limits(int param)
{
	struct timeval limit = { 0, 300000 }, got = { 0, 0 };
	socklen_t len = sizeof(got);
	int fd = new_socket(0);
	int64_t since;

	(void)param;
	say_result("setsockopt", setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)));
	do_connect(fd);
	say_result("getsockopt", getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &got, &len));
	say("%u bytes: %s", len, got.tv_sec == 0 && got.tv_usec >= 296000 ? "0.3 s" : "another");
	since = now_ms();
	say_result("recv", recv(fd, text, sizeof(text), 0));
	since = now_ms() - since;
	say("%s", since < 250 ? "at once" : since < 3000 ? "waited" : "too long");
	ends(fd);
}

int main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		{ "blocking", blocks, 0 },
		{ "poll", waits, POLL },
		{ "ppoll", waits, PPOLL },
		{ "select", waits, SELECT },
		{ "pselect", waits, PSELECT },
		{ "epoll", waits, EPOLL },
		{ "epoll_pwait2", waits, EPOLL_PWAIT2 },
		{ "recvmsg", receives, false },
		{ "recvmmsg", receives, true },
		{ "sendmsg", sends, 0 },
		{ "F_DUPFD", duplicates, 0 },
		{ "FIONREAD", counts, 0 },
		{ "SO_RCVTIMEO", limits, 0 },
	};

	return say_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}

// SPDX-License-Identifier: MIT
/*
 * t_fastopen - programs that use Fast Open themselves: MSG_FASTOPEN with every call that has flags,
 * and TCP_FASTOPEN_CONNECT. The kernel is set to send SYN data without a cookie, so that nothing
 * depends on whether a server was met before.
 */
#include "say.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

static char data[2000];

static long send_by(int call, int fd, size_t n, int flags)
{
	struct iovec iov[2] = { { data, n / 2 }, { data + n / 2, n - n / 2 } };
	struct mmsghdr m = { .msg_hdr = { .msg_name = &target.sa,
					  .msg_namelen = target.len,
					  .msg_iov = iov,
					  .msg_iovlen = 2 } };
	long r;

	if (call == 0)
		return sendto(fd, data, n, flags, (struct sockaddr *)&target.sa, target.len);
	if (call == 1)
		return sendmsg(fd, &m.msg_hdr, flags);
	r = sendmmsg(fd, &m, 1, flags);
	return r == 1 ? (long)m.msg_len : r;
}

static void limits(int fd)
{
	struct timeval limit = { .tv_sec = 1, .tv_usec = 500000 };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

/* What comes back is what was sent, so much and no more. */
static void come_back(int fd, size_t n)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char back[4096];
	size_t got = 0;
	ssize_t r = 1;

	while (got < n && poll(&p, 1, 1500) == 1 &&
	       (r = recv(fd, back + got, sizeof(back) - got, MSG_DONTWAIT)) > 0)
		got += (size_t)r;
	say("back: %zu of %zu, %s, then %s", got, n,
	    memcmp(back, data, got) == 0 ? "the same" : "OTHERS",
	    r < 0 ? say_errno(errno) :
	    r	  ? "nothing" :
		    "end");
}

static void fill(void)
{
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)('a' + i % 26);
}

static void
with_flag(int param) /* call, and 10: blocking, 100: a large one, 1000: nothing at all */
{
	size_t n = param / 1000 ? 0 : param / 100 % 10 ? 1900 : 100, queued = 0;
	int fd = new_socket(param / 10 % 10 ? 0 : SOCK_NONBLOCK);
	long r;

	fill();
	limits(fd);
	r = send_by(param % 10, fd, n, MSG_FASTOPEN | MSG_NOSIGNAL);
	/* of a large one as much is taken as fits into the SYN, which is less beside a Connect TLV */
	if (r > 0 && r < (long)n)
		say("send: a part");
	else
		say_result("send", r);
	queued += r > 0 ? (size_t)r : 0;
	say_result("send again",
		   send_by(param % 10, fd, 5, MSG_FASTOPEN | MSG_NOSIGNAL | MSG_DONTWAIT));
	do_poll(fd, POLLOUT, 1500);
	do_error(fd);
	do_names(fd);
	do_connect(fd);
	if (queued < n) {
		r = send(fd, data + queued, n - queued, MSG_NOSIGNAL);
		say("the rest: %s", r == (long)(n - queued) ? "all" : say_errno(errno));
	}
	come_back(fd, n);
}

static void by_connect(int flags)
{
	int fd = new_socket(flags), on = 1;

	fill();
	limits(fd);
	say_result("TCP_FASTOPEN_CONNECT",
		   setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof(on)));
	do_connect(fd);
	do_poll(fd, POLLOUT | POLLIN, 0);
	do_names(fd);
	do_error(fd);
	say_result("write", write(fd, data, 100));
	do_poll(fd, POLLOUT, 1500);
	do_error(fd);
	do_names(fd);
	do_connect(fd);
	come_back(fd, 100);
}

static void read_first(int flags) /* nothing has been sent when the program reads */
{
	int fd = new_socket(flags), on = 1;

	limits(fd);
	setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof(on));
	do_connect(fd);
	do_recv(fd);
	do_poll(fd, POLLIN, 20);
	do_send(fd, "hello");
	do_poll(fd, POLLIN, 1500);
	do_recv(fd);
	do_error(fd);
}

static void by_epoll(int mode)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | (uint32_t)mode, .data.u64 = 3 };
	int ep = epoll_create1(0), fd = new_socket(SOCK_NONBLOCK), r;

	fill();
	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event);
	say_result("send", send_by(0, fd, 100, MSG_FASTOPEN | MSG_NOSIGNAL));
	r = epoll_wait(ep, &event, 1, 0);
	say("epoll_wait: %d", r);
	r = epoll_wait(ep, &event, 1, 1500);
	say("epoll_wait: %d %s", r, r > 0 ? say_events(event.events & ~(unsigned)EPOLLIN) : "");
	do_error(fd);
	come_back(fd, 100);
}

static void on_connected(int call) /* then the flag has no meaning */
{
	int fd = start();

	fill();
	do_poll(fd, POLLOUT, 1500);
	do_error(fd);
	say_result("send", send_by(call, fd, 100, MSG_FASTOPEN | MSG_NOSIGNAL));
	do_names(fd);
	come_back(fd, 100);
}

static void on_pending(int call)
{
	int fd = start();

	fill();
	say_result("send", send_by(call, fd, 100, MSG_FASTOPEN | MSG_NOSIGNAL));
	do_poll(fd, POLLOUT, 1500);
	do_error(fd);
}

static void on_blocking(int call) /* here the kernel knows that connect() is over */
{
	int fd = new_socket(0);

	fill();
	limits(fd);
	do_connect(fd);
	say_result("send", send_by(call, fd, 100, MSG_FASTOPEN | MSG_NOSIGNAL));
	say_result("send again", send_by(call, fd, 100, MSG_FASTOPEN | MSG_NOSIGNAL));
	do_names(fd);
}

static void dontwait(int call) /* on a blocking descriptor */
{
	int fd = new_socket(0);

	fill();
	limits(fd);
	say_result("send", send_by(call, fd, 100, MSG_FASTOPEN | MSG_NOSIGNAL | MSG_DONTWAIT));
	do_names(fd);
	say_result("again", send_by(call, fd, 100, MSG_FASTOPEN | MSG_NOSIGNAL));
	do_poll(fd, POLLOUT, 1500);
	do_error(fd);
	do_connect(fd);
}

static void limited(int ms)
{
	struct timeval limit = { .tv_usec = ms * 1000 };
	int fd = new_socket(0);

	fill();
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	say_result("send", send_by(0, fd, 100, MSG_FASTOPEN | MSG_NOSIGNAL));
	say_result("again", send_by(0, fd, 100, MSG_FASTOPEN | MSG_NOSIGNAL));
	limits(fd);
	do_poll(fd, POLLOUT, 1500);
	do_error(fd);
	do_names(fd);
}

static void after_failure(int flags)
{
	int fd = new_socket(flags);

	fill();
	limits(fd);
	for (int i = 0; i < 3; i++) {
		say_result("send", send_by(0, fd, 100, MSG_FASTOPEN | MSG_NOSIGNAL));
		do_poll(fd, POLLOUT, 1500);
		if (i != 1)
			do_error(fd);
	}
	do_connect(fd);
	do_names(fd);
}

static void in_pieces(int flags) /* more than can go along */
{
	struct iovec iov[300];
	struct msghdr m = {
		.msg_name = &target.sa, .msg_namelen = target.len, .msg_iov = iov, .msg_iovlen = 300
	};
	int fd = new_socket(flags);
	size_t n;
	long r;

	fill();
	limits(fd);
	for (size_t i = 0; i < 300; i++)
		iov[i] = (struct iovec){ data + 3 * i, 3 };
	r = sendmsg(fd, &m, MSG_FASTOPEN | MSG_NOSIGNAL);
	if (flags && r > 0)
		say("send: a part");
	else
		say_result("send", r);
	n = r > 0 ? (size_t)r : 0;
	do_poll(fd, POLLOUT, 1500);
	do_error(fd);
	r = send(fd, data + n, 900 - n, MSG_NOSIGNAL);
	say("the rest: %s", r == 900 - (long)n ? "all" : say_errno(errno));
	come_back(fd, 900);
}

static void several(int flags) /* messages of one sendmmsg() */
{
	struct iovec iov[3] = { { data, 100 }, { data + 100, 100 }, { data + 200, 100 } };
	struct mmsghdr m[3] = { 0 };
	int fd = new_socket(flags), r;

	fill();
	limits(fd);
	for (int i = 0; i < 3; i++)
		m[i].msg_hdr = (struct msghdr){ .msg_name = &target.sa,
						.msg_namelen = target.len,
						.msg_iov = &iov[i],
						.msg_iovlen = 1 };
	r = sendmmsg(fd, m, 3, MSG_FASTOPEN | MSG_NOSIGNAL);
	say_result("sendmmsg", r);
	say("%u %u %u", m[0].msg_len, m[1].msg_len, m[2].msg_len);
	do_poll(fd, POLLOUT, 1500);
	do_error(fd);
	come_back(fd, r > 0 ? m[0].msg_len : 0);
}

static void faulty(int flags)
{
	char *volatile nowhere = (char *)8;
	int fd = new_socket(flags);

	limits(fd);
	say_result("sendto", sendto(fd, nowhere, 100, MSG_FASTOPEN | MSG_NOSIGNAL,
				    (struct sockaddr *)&target.sa, target.len));
	do_poll(fd, POLLOUT, 1500);
	do_error(fd);
	do_names(fd);
}

static void special(int flag) /* flags that ask for something else, too */
{
	int fd = new_socket(SOCK_NONBLOCK), on = 1;

	fill();
	limits(fd);
	setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof(on));
	say_result("send", send_by(1, fd, 100, MSG_FASTOPEN | MSG_NOSIGNAL | flag));
	do_poll(fd, POLLOUT, 1500);
	do_error(fd);
	do_names(fd);
}

static void without_address(int call)
{
	struct msghdr m = { .msg_iov = &(struct iovec){ data, 10 }, .msg_iovlen = 1 };
	int fd = new_socket(SOCK_NONBLOCK);

	(void)call;
	say_result("send", send(fd, data, 10, MSG_FASTOPEN | MSG_NOSIGNAL));
	say_result("sendmsg", sendmsg(fd, &m, MSG_FASTOPEN | MSG_NOSIGNAL));
	say_result("sendto", sendto(fd, data, 10, MSG_FASTOPEN | MSG_NOSIGNAL,
				    (struct sockaddr *)&target.sa, 4));
	do_poll(fd, POLLOUT, 0);
	do_names(fd);
}

int main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		{ "sendto", with_flag, 0 },
		{ "sendmsg", with_flag, 1 },
		{ "sendmmsg", with_flag, 2 },
		{ "sendto-blocking", with_flag, 10 },
		{ "sendmsg-blocking", with_flag, 11 },
		{ "sendmmsg-blocking", with_flag, 12 },
		{ "sendto-large", with_flag, 100 },
		{ "sendmsg-large", with_flag, 101 },
		{ "sendto-large-blocking", with_flag, 110 },
		{ "sendto-nothing", with_flag, 1000 },
		{ "sendto-nothing-blocking", with_flag, 1010 },
		{ "connect", by_connect, SOCK_NONBLOCK },
		{ "connect-blocking", by_connect, 0 },
		{ "read_first", read_first, SOCK_NONBLOCK },
		{ "epoll", by_epoll, 0 },
		{ "epoll-et", by_epoll, (int)EPOLLET },
		{ "on_connected", on_connected, 0 },
		{ "on_connected-sendmsg", on_connected, 1 },
		{ "on_pending", on_pending, 0 },
		{ "on_pending-sendmsg", on_pending, 1 },
		{ "on_blocking", on_blocking, 0 },
		{ "on_blocking-sendmsg", on_blocking, 1 },
		{ "dontwait", dontwait, 0 },
		{ "dontwait-sendmsg", dontwait, 1 },
		{ "limited", limited, 20 },
		{ "after_failure", after_failure, SOCK_NONBLOCK },
		{ "after_failure-blocking", after_failure, 0 },
		{ "in_pieces", in_pieces, SOCK_NONBLOCK },
		{ "in_pieces-blocking", in_pieces, 0 },
		{ "several", several, SOCK_NONBLOCK },
		{ "several-blocking", several, 0 },
		{ "faulty", faulty, SOCK_NONBLOCK },
		{ "faulty-blocking", faulty, 0 },
		{ "more", special, MSG_MORE },
		{ "without_address", without_address, 0 },
	};

	return say_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}

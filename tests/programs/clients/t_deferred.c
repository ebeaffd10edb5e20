// SPDX-License-Identifier: MIT
/*
 * t_deferred - TCP_FASTOPEN_CONNECT: where SYN data may be sent, connect() returns 0 without a packet
 * and the first write sends the SYN. Everything that a program can do before that write, every call
 * that can be it, and what follows. Elsewhere the same calls on a connect() that is under way.
 */
#include "say.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAIT 1500 /* ms: until everything but a mute server has answered */

static char data[20000];

static void limit_sends(int fd, int ms)
{
	struct timeval limit = { ms / 1000, ms % 1000 * 1000L };

	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
}

static int unconnected(int flags)
{
	int fd = new_socket(flags), on = 1;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)('a' + i % 26);
	limit_sends(fd, WAIT);
	say_result("TCP_FASTOPEN_CONNECT",
		   setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof(on)));
	return fd;
}

static int deferred(int flags)
{
	int fd = unconnected(flags);

	do_connect(fd);
	return fd;
}

/* What was sent comes back: so much, and the same. */
static void come_back(int fd, size_t n)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	static char back[sizeof(data)];
	size_t got = 0;
	ssize_t r = 1;

	while (got < n && poll(&p, 1, WAIT) == 1 &&
	       (r = recv(fd, back + got, sizeof(back) - got, MSG_DONTWAIT)) > 0)
		got += (size_t)r;
	say("back: %zu of %zu, %s, then %s", got, n,
	    memcmp(back, data, got) == 0 ? "the same" : "OTHERS",
	    r < 0 ? say_errno(errno) :
	    r	  ? "nothing" :
		    "end");
}

/* From the first write to the end. */
static void go_on(int fd)
{
	do_poll(fd, POLLIN | POLLOUT, 0);
	say_result("write", write(fd, data, 50));
	do_poll(fd, POLLOUT, WAIT);
	do_error(fd);
	do_names(fd);
	do_connect(fd);
	come_back(fd, 50);
}

/* ------------------------------------------------------------------ the first write */

enum call { WRITE, WRITEV, SEND, SENDTO, BY_FLAG, SENDMSG, SENDMMSG, PWRITEV2, SENDFILE, SPLICE };

static long from_file(int fd, size_t n)
{
	FILE *file = tmpfile();
	long r;

	fwrite(data, 1, n, file);
	fflush(file);
	r = sendfile(fd, fileno(file), &(off_t){ 0 }, n);
	fclose(file);
	return r;
}

static long from_pipe(int fd, size_t n)
{
	int ends[2];

	if (pipe(ends) < 0 || write(ends[1], data, n) < 0)
		return -1;
	return splice(ends[0], NULL, fd, NULL, n, 0);
}

static long write_by(enum call call, int fd, size_t n)
{
	struct iovec iov[2] = { { data, n / 3 }, { data + n / 3, n - n / 3 } };
	struct mmsghdr m = { .msg_hdr = { .msg_iov = iov, .msg_iovlen = 2 } };
	struct sockaddr *to = (struct sockaddr *)&target.sa;
	long r;

	switch (call) {
	case WRITE:
		return write(fd, data, n);
	case WRITEV:
		return writev(fd, iov, 2);
	case SEND:
		return send(fd, data, n, MSG_NOSIGNAL);
	case SENDTO:
		return sendto(fd, data, n, MSG_NOSIGNAL, to, target.len);
	case BY_FLAG:
		return sendto(fd, data, n, MSG_NOSIGNAL | MSG_FASTOPEN, to, target.len);
	case SENDMSG:
		return sendmsg(fd, &m.msg_hdr, MSG_NOSIGNAL);
	case SENDMMSG:
		r = sendmmsg(fd, &m, 1, MSG_NOSIGNAL);
		return r == 1 ? (long)m.msg_len : r;
	case PWRITEV2:
		return pwritev2(fd, iov, 2, -1, 0);
	case SENDFILE:
		return from_file(fd, n);
	case SPLICE:
		return from_pipe(fd, n);
	}
	return -1;
}

static void first(int param) /* call, 10: blocking, 100: large, 1000: nothing */
{
	size_t n = param / 1000 ? 0 : param / 100 % 10 ? sizeof(data) : 100;
	int fd = deferred(param / 10 % 10 ? 0 : SOCK_NONBLOCK);
	long r = write_by((enum call)(param % 10), fd, n);

	/* as much as fits into the SYN, which is less beside a Connect TLV */
	if (r > 0 && r < (long)n)
		say("first: a part");
	else
		say_result("first", r);
	do_poll(fd, POLLOUT, WAIT);
	do_error(fd);
	do_names(fd);
	if (r >= 0 && (size_t)r < n)
		say("rest: %s",
		    send(fd, data + r, n - (size_t)r, MSG_NOSIGNAL) > 0 ? "some" : "none");
	do_connect(fd);
	come_back(fd, r > 0 && (size_t)r == n ? n : 0);
}

static void faulty(int flags)
{
	char *volatile nowhere = (char *)8;
	int fd = deferred(flags);

	say_result("write", write(fd, nowhere, 100));
	do_poll(fd, POLLOUT, WAIT);
	do_error(fd);
	do_names(fd);
}

static void limited(int ms)
{
	int fd = deferred(0);

	limit_sends(fd, ms);
	say_result("write", write(fd, data, 100));
	limit_sends(fd, WAIT);
	do_poll(fd, POLLOUT, WAIT);
	do_error(fd);
}

static void again(int flags) /* after a failure */
{
	int fd = deferred(flags);

	for (int i = 0; i < 3; i++) {
		say_result("write", write(fd, data, 50));
		do_poll(fd, POLLOUT, WAIT);
		do_error(fd);
		do_connect(fd);
	}
	do_names(fd);
}

/* ------------------------------------------------------------------- before it */

static void look(int flags)
{
	int fd = deferred(flags), n = -1, on = -1;
	socklen_t len = sizeof(struct tcp_info);
	struct tcp_info info = { .tcpi_state = 0 };

	getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len);
	say("state: %d", info.tcpi_state);
	say_result("FIONREAD", ioctl(fd, FIONREAD, &n));
	say("%d bytes", n);
	len = sizeof(on);
	getsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, &len);
	say("option: %d", on);
	on = 1;
	say_result("TCP_FASTOPEN_CONNECT",
		   setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof(on)));
	do_recv(fd);
	do_names(fd);
	do_error(fd);
	if (flags)
		do_connect(fd);
	go_on(fd);
}

static void read_blocking(int ms)
{
	int fd = deferred(0);
	char byte;

	limit_sends(fd, ms);
	say_result("recv", recv(fd, &byte, 1, 0));
	limit_sends(fd, WAIT);
	go_on(fd);
}

static void by_select(int flags)
{
	struct timeval soon = { 0 };
	int fd = deferred(flags);
	fd_set readable, writable;

	FD_ZERO(&readable);
	FD_ZERO(&writable);
	FD_SET(fd, &readable);
	FD_SET(fd, &writable);
	say_result("select", select(fd + 1, &readable, &writable, NULL, &soon));
	say("%d %d", !!FD_ISSET(fd, &readable), !!FD_ISSET(fd, &writable));
	go_on(fd);
}

static void shut(int how)
{
	int fd = deferred(SOCK_NONBLOCK);

	say_result("shutdown", shutdown(fd, how));
	do_poll(fd, POLLIN | POLLOUT, 0);
	do_names(fd);
	do_error(fd);
	do_send(fd, "x");
	do_recv(fd);
	do_connect(fd);
}

static void taken_back(int flags)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	int fd = deferred(flags);

	say_result("disconnect", connect(fd, &none, sizeof(none)));
	do_poll(fd, POLLIN | POLLOUT, 0);
	do_names(fd);
	do_connect(fd);
	go_on(fd);
}

static void closed(int how) /* the number is used again */
{
	int fd = deferred(SOCK_NONBLOCK), next;

	if (how == 0)
		do_close(fd);
	else if (how == 1)
		dup2(open("/dev/null", O_RDWR), fd);
	else
		syscall(SYS_close, fd);
	say_result("write", write(fd, data, 10));
	next = new_socket(SOCK_NONBLOCK);
	do_connect(next);
	do_poll(next, POLLOUT, WAIT);
	do_error(next);
	say_result("write", write(next, data, 10));
	come_back(next, 10);
}

static void beside(int flags) /* another connection meanwhile */
{
	int fd = deferred(flags), other = start();

	do_poll(other, POLLOUT, WAIT);
	do_error(other);
	do_send(other, "hello");
	do_poll(other, POLLIN, WAIT);
	do_recv(other);
	do_poll(fd, POLLOUT, WAIT);
	go_on(fd);
}

static void switched_off(int flags)
{
	int fd = unconnected(flags), off = 0;

	say_result("off", setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &off, sizeof(off)));
	do_connect(fd);
	do_poll(fd, POLLOUT, WAIT);
	do_error(fd);
	do_send(fd, "hello");
	do_poll(fd, POLLIN, WAIT);
	do_recv(fd);
}

/* -------------------------------------------------------------------- epoll */

static void say_epoll(int ep, int timeout_ms)
{
	struct epoll_event event;
	int r = epoll_wait(ep, &event, 1, timeout_ms);

	say("epoll_wait: %d %s", r, r > 0 ? say_events(event.events) : "");
	if (r > 0 && event.data.u64 != 3)
		say("data: %llx", (unsigned long long)event.data.u64);
}

static void by_epoll(int mode) /* added after the connect; 1: before it */
{
	struct epoll_event event = { .events = EPOLLOUT | ((uint32_t)mode & ~1U), .data.u64 = 3 };
	int ep = epoll_create1(0), fd = unconnected(SOCK_NONBLOCK);

	if (mode & 1)
		epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event);
	do_connect(fd);
	if (!(mode & 1))
		epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event);
	say_epoll(ep, 0);
	say_epoll(ep, 0);
	if (mode & (int)EPOLLONESHOT)
		epoll_ctl(ep, EPOLL_CTL_MOD, fd, &event);
	say_result("write", write(fd, data, 50));
	say_epoll(ep, 0);
	say_epoll(ep, WAIT);
	do_error(fd);
	come_back(fd, 50);
	say_epoll(ep, 0);
}

/* --------------------------------------------------- duplicates, threads, processes */

static void duplicated(int when) /* 0: after the connect; 1: before; 2: and the first closed */
{
	int fd = unconnected(SOCK_NONBLOCK), other = -1;

	if (when == 1)
		other = dup(fd);
	do_connect(fd);
	if (when != 1)
		other = dup(fd);
	if (when == 2)
		do_close(fd);
	do_poll(other, POLLIN | POLLOUT, 0);
	say_result("write", write(other, data, 50));
	if (when != 2)
		do_poll(fd, POLLIN, 0);
	do_poll(other, POLLOUT, WAIT);
	do_error(other);
	do_names(other);
	come_back(when == 2 ? other : fd, 50);
}

static void forked(int who) /* writes: 0 the child, 1 the parent; the other one waits */
{
	int fd = deferred(SOCK_NONBLOCK), tell[2], status;
	bool writes;
	pid_t child;

	if (pipe(tell) < 0)
		return;
	child = fork();
	writes = (child == 0) == (who == 0);
	if (writes) {
		say_result("write", write(fd, data, 50));
		if (write(tell[1], "x", 1) != 1)
			return;
	} else if (read(tell[0], &(char){ 0 }, 1) == 1) {
		do_poll(fd, POLLIN, 0);
		do_poll(fd, POLLOUT, WAIT);
		do_names(fd);
		come_back(fd, 50);
	}
	if (child == 0)
		exit(0);
	waitpid(child, &status, 0);
}

static void *poll_it(void *fd)
{
	do_poll(*(int *)fd, POLLIN, 2 * WAIT);
	do_recv(*(int *)fd);
	return NULL;
}

static void *read_it(void *fd)
{
	char bytes[100];
	ssize_t n = recv(*(int *)fd, bytes, sizeof(bytes), 0);

	/* of an errno there is one, for this thread or for the other */
	say("recv: %s", n <= 0				    ? "nothing" :
			memcmp(bytes, data, (size_t)n) == 0 ? "what was sent" :
							      "OTHERS");
	return NULL;
}

static void threads(int reads) /* one waits for what the other has not sent yet */
{
	int fd = deferred(reads ? 0 : SOCK_NONBLOCK);
	pthread_t thread;
	ssize_t r;

	limit_sends(fd, 2 * WAIT);
	pthread_create(&thread, NULL, reads ? read_it : poll_it, &fd);
	sleep_ms(50);
	r = write(fd, data, 50);
	pthread_join(thread, NULL);
	say("write: %zd", r);
	do_error(fd);
}

static void *nothing(void *arg)
{
	return arg;
}

static void dropped(int times) /* without a write, by a program that has had threads */
{
	pthread_t thread;
	int on = 1, fd, r = 0;

	pthread_create(&thread, NULL, nothing, NULL);
	pthread_join(thread, NULL);
	for (int i = 0; i < times && r == 0; i++) {
		fd = new_socket(SOCK_NONBLOCK);
		setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof(on));
		r = connect(fd, (struct sockaddr *)&target.sa, target.len);
		close(fd);
	}
	say_result("connects", r);
	fd = deferred(SOCK_NONBLOCK);
	go_on(fd);
}

int main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		{ "first-write", first, WRITE },
		{ "first-writev", first, WRITEV },
		{ "first-send", first, SEND },
		{ "first-sendto", first, SENDTO },
		{ "first-by_flag", first, BY_FLAG },
		{ "first-sendmsg", first, SENDMSG },
		{ "first-sendmmsg", first, SENDMMSG },
		{ "first-nothing", first, 1000 + WRITE },
		{ "first-nothing-send", first, 1000 + SEND },
		{ "first-large", first, 100 + WRITE },
		{ "first-blocking-write", first, 10 + WRITE },
		{ "first-blocking-writev", first, 10 + WRITEV },
		{ "first-blocking-send", first, 10 + SEND },
		{ "first-blocking-sendto", first, 10 + SENDTO },
		{ "first-blocking-sendmsg", first, 10 + SENDMSG },
		{ "first-blocking-sendmmsg", first, 10 + SENDMMSG },
		{ "first-blocking-pwritev2", first, 10 + PWRITEV2 },
		{ "first-blocking-sendfile", first, 10 + SENDFILE },
		{ "first-blocking-splice", first, 10 + SPLICE },
		{ "first-blocking-nothing", first, 1010 + WRITE },
		{ "first-blocking-nothing-send", first, 1010 + SEND },
		{ "first-blocking-large", first, 110 + WRITE },
		{ "first-blocking-large-writev", first, 110 + WRITEV },
		{ "first-blocking-large-sendmsg", first, 110 + SENDMSG },
		{ "faulty", faulty, SOCK_NONBLOCK },
		{ "faulty-blocking", faulty, 0 },
		{ "limited", limited, 20 },
		{ "again", again, SOCK_NONBLOCK },
		{ "again-blocking", again, 0 },
		{ "look", look, SOCK_NONBLOCK },
		{ "look-blocking", look, 0 },
		{ "read", read_blocking, 20 },
		{ "select", by_select, SOCK_NONBLOCK },
		{ "select-blocking", by_select, 0 },
		{ "shutdown-read", shut, SHUT_RD },
		{ "shutdown-write", shut, SHUT_WR },
		{ "shutdown-both", shut, SHUT_RDWR },
		{ "taken_back", taken_back, SOCK_NONBLOCK },
		{ "taken_back-blocking", taken_back, 0 },
		{ "closed", closed, 0 },
		{ "closed-dup2", closed, 1 },
		{ "closed-raw", closed, 2 },
		{ "beside", beside, SOCK_NONBLOCK },
		{ "beside-blocking", beside, 0 },
		{ "switched_off", switched_off, SOCK_NONBLOCK },
		{ "switched_off-blocking", switched_off, 0 },
		{ "epoll", by_epoll, 0 },
		{ "epoll-et", by_epoll, (int)EPOLLET },
		{ "epoll-oneshot", by_epoll, (int)EPOLLONESHOT },
		{ "epoll-before", by_epoll, 1 },
		{ "epoll-et-before", by_epoll, 1 | (int)EPOLLET },
		{ "epoll-oneshot-before", by_epoll, 1 | (int)EPOLLONESHOT },
		{ "dup", duplicated, 0 },
		{ "dup-before", duplicated, 1 },
		{ "dup-closed", duplicated, 2 },
		{ "fork", forked, 0 },
		{ "fork-parent", forked, 1 },
		{ "dropped", dropped, 20000 },
		{ "thread-poll", threads, 0 },
		{ "thread-read", threads, 1 },
	};

	return say_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}

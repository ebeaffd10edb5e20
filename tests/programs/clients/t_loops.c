// SPDX-License-Identifier: MIT
/*
 * t_loops N [ADDRESS PORT] - each of the calls that busy programs make N times, on descriptors that
 * are no business of the shim's; with an address, after a connection to there was begun, which it
 * gives half a second to come up. What it costs is counted from outside, for each loop_NAME() by
 * itself.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int zero, sink, pair[2], ep;
static volatile size_t one = 1; /* not constant */
static char byte;

__attribute__((noinline)) void loop_read(int n);
__attribute__((noinline)) void loop_write(int n);
__attribute__((noinline)) void loop_send(int n);
__attribute__((noinline)) void loop_recv(int n);
__attribute__((noinline)) void loop_poll(int n);
__attribute__((noinline)) void loop_select(int n);
__attribute__((noinline)) void loop_epoll_wait(int n);
__attribute__((noinline)) void loop_syscall(int n);
__attribute__((noinline)) void loop_none(void);

static _Noreturn void bad(const char *what)
{
	perror(what);
	exit(1);
}

void loop_read(int n)
{
	while (n--)
		if (read(zero, &byte, one) != 1)
			bad("read");
}

void loop_write(int n)
{
	while (n--)
		if (write(sink, &byte, one) != 1)
			bad("write");
}

void loop_send(int n)
{
	while (n--)
		if (send(pair[0], &byte, 0, 0) != 0)
			bad("send");
}

void loop_recv(int n)
{
	while (n--)
		if (recv(pair[0], &byte, one, MSG_PEEK) != 1)
			bad("recv");
}

void loop_poll(int n)
{
	struct pollfd p = { .fd = pair[0], .events = POLLIN };

	while (n--)
		if (poll(&p, one, 0) != 1)
			bad("poll");
}

void loop_select(int n)
{
	struct timeval none = { 0, 0 };
	fd_set set;

	FD_ZERO(&set);
	FD_SET(pair[0], &set);
	while (n--)
		if (select(pair[0] + 1, &set, NULL, NULL, &none) != 1)
			bad("select");
}

void loop_epoll_wait(int n)
{
	struct epoll_event event;

	while (n--)
		if (epoll_wait(ep, &event, 1, 0) != 1)
			bad("epoll_wait");
}

void loop_syscall(int n) /* by which many programs wait for each other (futex) */
{
	while (n--)
		if (syscall(SYS_getppid) < 0)
			bad("getppid");
}

void loop_none(void) /* where the last one's count ends */
{
	sink = -1;
}

static void begin_connecting(const char *ip, const char *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((in_port_t)atoi(port)) };
	struct pollfd p = { .events = POLLOUT };

	inet_pton(AF_INET, ip, &a.sin_addr);
	p.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (connect(p.fd, (struct sockaddr *)&a, sizeof(a)) == 0 || errno != EINPROGRESS)
		bad("connect");
	puts(poll(&p, 1, 500) ? "up" : "pending");
}

int main(int argc, char **argv)
{
	struct epoll_event event = { .events = EPOLLIN };
	int n = argc > 1 ? atoi(argv[1]) : 0;

	/* a socket, so that the shim is awake: it reads its configuration with the first one */
	if (socket(AF_INET, SOCK_STREAM, 0) < 0)
		bad("socket");
	zero = open("/dev/zero", O_RDONLY);
	sink = open("/dev/null", O_WRONLY);
	ep = epoll_create1(0);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0 || send(pair[1], "x", 1, 0) != 1)
		bad("socketpair");
	epoll_ctl(ep, EPOLL_CTL_ADD, pair[0], &event);
	if (argc > 3)
		begin_connecting(argv[2], argv[3]);
	loop_read(n);
	loop_write(n);
	loop_send(n);
	loop_recv(n);
	loop_poll(n);
	loop_select(n);
	loop_epoll_wait(n);
	loop_syscall(n);
	loop_none();
	return 0;
}

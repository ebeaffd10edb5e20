// SPDX-License-Identifier: MIT
/*
 * loop - an event loop of one thread that opens N connections at once, and asks an HTTP server for PATH by
 * each: loop ADDRESS PORT PATH N. "N answers, longest call US us", or what went wrong, a line each. loop clock MS
 * reads the clock and calls nothing: the longest time between two readings is the machine's own.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct sockaddr_in server = { .sin_family = AF_INET };
static char request[256];
static int64_t longest_ns, began_ns;
static int set, answers, failures;

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void begin_call(void)
{
	began_ns = now_ns();
}

static void end_call(void)
{
	int64_t took_ns = now_ns() - began_ns;

	if (took_ns > longest_ns)
		longest_ns = took_ns;
}

static void fail(int fd, const char *what, int err)
{
	printf("%s: %s\n", what, err ? strerrorname_np(err) : "wrong");
	failures++;
	close(fd);
}

static void watch(int fd, int how, uint32_t events)
{
	struct epoll_event e = { .events = events, .data.fd = fd };

	epoll_ctl(set, how, fd, &e);
}

static void open_one(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), r;

	begin_call();
	r = connect(fd, (struct sockaddr *)&server, sizeof(server));
	end_call();
	if (r < 0 && errno != EINPROGRESS)
		fail(fd, "connect", errno);
	else
		watch(fd, EPOLL_CTL_ADD, EPOLLOUT);
}

static void connected(int fd)
{
	struct sockaddr_in peer = { 0 };
	socklen_t len = sizeof(int), size = sizeof(peer);
	int err = 0;

	begin_call();
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len);
	end_call();
	begin_call();
	if (!err && getpeername(fd, (struct sockaddr *)&peer, &size) < 0)
		err = errno;
	end_call();
	if (err || peer.sin_addr.s_addr != server.sin_addr.s_addr)
		fail(fd, "peer", err);
	else if (write(fd, request, strlen(request)) < 0)
		fail(fd, "write", errno);
	else
		watch(fd, EPOLL_CTL_MOD, EPOLLIN);
}

static void readable(int fd)
{
	char text[65536];
	ssize_t n = read(fd, text, sizeof(text));

	if (n < 0 && errno == EAGAIN)
		return;
	if (n < 12 || memcmp(text + 8, " 200", 4) != 0) {
		fail(fd, "answer", n < 0 ? errno : 0);
		return;
	}
	answers++;
	close(fd);
}

static int read_clock(int64_t until_ns)
{
	int n = 0;

	for (begin_call(); began_ns < until_ns; n++) {
		end_call();
		begin_call();
	}
	printf("%d readings, longest call %lld us\n", n, (long long)longest_ns / 1000);
	return 0;
}

int main(int argc, char **argv)
{
	int n = argc == 5 ? atoi(argv[4]) : 0, k = 1;
	struct epoll_event events[64];

	if (argc == 3 && strcmp(argv[1], "clock") == 0)
		return read_clock(now_ns() + 1000000LL * atoi(argv[2]));
	if (!n || inet_pton(AF_INET, argv[1], &server.sin_addr) != 1)
		return 2;
	server.sin_port = htons((in_port_t)atoi(argv[2]));
	snprintf(request, sizeof(request), "GET %s HTTP/1.0\r\n\r\n", argv[3]);
	set = epoll_create1(0);
	for (int i = 0; i < n; i++)
		open_one();
	while (answers + failures < n && k > 0) {
		k = epoll_wait(set, events, 64, 10000);
		for (int i = 0; i < k; i++) {
			if (events[i].events & EPOLLIN)
				readable(events[i].data.fd);
			else
				connected(events[i].data.fd);
		}
	}
	printf("%d answers, longest call %lld us\n", answers, (long long)longest_ns / 1000);
	return answers != n;
}

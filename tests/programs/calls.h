/* SPDX-License-Identifier: MIT */
/*
 * calls.h - what the transcript programs share: the calls that a program can make around a
 * connection, each as one line of output, and the choice of the case.
 *
 * Nothing is printed that differs between two plain runs: no port numbers, no exact times.
 */
#ifndef E2E_CALLS_H
#define E2E_CALLS_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LONG 8000 /* ms: longer than any connect in the tests may take */

static struct sockaddr_storage server;
static socklen_t server_len;

static inline void set_server(const char *ip, const char *port)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&server;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&server;

	server_len = sizeof(*in);
	server.ss_family = AF_INET;
	in->sin_port = htons((in_port_t)atoi(port)); /* at the same place in both */
	if (inet_pton(AF_INET, ip, &in->sin_addr) == 1)
		return;
	server_len = sizeof(*in6);
	server.ss_family = AF_INET6;
	if (inet_pton(AF_INET6, ip, &in6->sin6_addr) != 1) {
		fprintf(stderr, "transcript: %s is no address\n", ip);
		exit(2);
	}
}

/* ----------------------------------------------------------------- the calls, as lines */

static inline void result(const char *call, long r)
{
	int err = errno;

	if (r < 0)
		printf("%s: %s\n", call, strerrorname_np(err));
	else
		printf("%s: %ld\n", call, r);
	fflush(stdout);
}

static inline int new_socket(int flags)
{
	int fd = socket(server.ss_family, SOCK_STREAM | flags, 0);

	if (fd < 0) {
		perror("socket");
		exit(1);
	}
	return fd;
}

static inline void do_connect(int fd)
{
	result("connect", connect(fd, (struct sockaddr *)&server, server_len));
}

static inline void do_disconnect(int fd)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };

	result("connect to nobody", connect(fd, &none, sizeof(none)));
}

static inline const char *events_text(short events)
{
	static char text[64];
	static const struct {
		short bit;
		const char *name;
	} names[] = { { POLLIN, "IN" },	   { POLLPRI, "PRI" }, { POLLOUT, "OUT" },
		      { POLLERR, "ERR" },  { POLLHUP, "HUP" }, { POLLRDHUP, "RDHUP" },
		      { POLLNVAL, "NVAL" } };

	text[0] = '\0';
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (events & names[i].bit)
			sprintf(text + strlen(text), "%s%s", text[0] ? "|" : "", names[i].name);
	return text[0] ? text : "-";
}

static inline void do_poll(int fd, short events, int timeout)
{
	struct pollfd p = { .fd = fd, .events = events };
	char asked[64];
	int r;

	strcpy(asked, events_text(events));
	r = poll(&p, 1, timeout);
	if (r < 0)
		result("poll", r);
	else
		printf("poll %s: %d %s\n", asked, r, events_text(p.revents));
}

static inline void do_error(int fd)
{
	int err = -1;
	socklen_t len = sizeof(err);
	int r = getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len);

	if (r < 0)
		result("SO_ERROR", r);
	else
		printf("SO_ERROR: %s\n", err ? strerrorname_np(err) : "0");
}

static inline void address(const char *call, int r, const struct sockaddr_storage *a, socklen_t len,
			   bool with_port)
{
	char text[INET6_ADDRSTRLEN] = "?";
	const void *ip = &((const struct sockaddr_in *)a)->sin_addr;

	if (r < 0) {
		result(call, r);
		return;
	}
	if (a->ss_family == AF_INET6)
		ip = &((const struct sockaddr_in6 *)a)->sin6_addr;
	inet_ntop(a->ss_family, ip, text, sizeof(text));
	printf("%s: family %d length %u %s port %d\n", call, a->ss_family, len, text,
	       with_port ? ntohs(((const struct sockaddr_in *)a)->sin_port) :
			   ((const struct sockaddr_in *)a)->sin_port != 0);
}

static inline void do_names(int fd)
{
	struct sockaddr_storage a;
	socklen_t len = sizeof(a);
	int r;

	memset(&a, 0, sizeof(a));
	r = getpeername(fd, (struct sockaddr *)&a, &len);

	address("getpeername", r, &a, len, true);
	len = sizeof(a);
	r = getsockname(fd, (struct sockaddr *)&a, &len);
	address("getsockname", r, &a, len, false);
}

static inline void do_send(int fd)
{
	static const char request[] = "GET /small HTTP/1.0\r\n\r\n";

	result("send", send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL | MSG_DONTWAIT));
}

static inline void do_recv(int fd)
{
	char byte;

	result("recv", recv(fd, &byte, 1, MSG_DONTWAIT));
}

static inline void do_flags(int fd)
{
	printf("flags: %s\n", fcntl(fd, F_GETFL) & O_NONBLOCK ? "non-blocking" : "blocking");
}

/* The whole answer of the web server, to its last line. */
static inline void exchange(int fd)
{
	char text[4096];
	size_t got = 0;
	ssize_t n;

	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	do_send(fd);
	while (got < sizeof(text) - 1 && (n = recv(fd, text + got, sizeof(text) - 1 - got, 0)) > 0)
		got += (size_t)n;
	text[got] = '\0';
	printf("answer begins %.15s, ends %s", text, got > 17 ? text + got - 17 : "early\n");
}

static inline int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ------------------------------------------------------------------- how a case goes on */

/* Everything that can be asked, in an order that tells much of the state. */
static inline void look(int fd)
{
	do_poll(fd, POLLIN | POLLOUT | POLLPRI | POLLRDHUP, 0);
	do_names(fd);
	do_error(fd);
	do_flags(fd);
	do_send(fd);
	do_recv(fd);
	do_connect(fd);
	do_connect(fd);
	do_poll(fd, POLLIN | POLLOUT | POLLPRI | POLLRDHUP, 0);
	do_error(fd);
}

static inline void pending(int fd)
{
	do_poll(fd, POLLIN | POLLOUT | POLLPRI | POLLRDHUP, 0);
	do_poll(fd, 0, 0);
	do_error(fd);
	do_names(fd);
	do_send(fd);
	do_recv(fd);
	do_connect(fd);
	do_poll(fd, POLLOUT, 0);
	do_flags(fd);
}

static inline int start(void)
{
	int fd = new_socket(SOCK_NONBLOCK);

	do_connect(fd);
	return fd;
}

static inline int started_and_done(void)
{
	int fd = start();

	do_poll(fd, POLLOUT, LONG);
	return fd;
}

/* ------------------------------------------------------------------------------- table */

struct test_case {
	const char *name;
	void (*run)(void);
};

#define CASE(name)                 \
	{                          \
#name, case_##name \
	}

static inline int run_case(int argc, char **argv, const struct test_case *cases, size_t n)
{
	if (argc == 2 && strcmp(argv[1], "list") == 0) {
		for (size_t i = 0; i < n; i++)
			puts(cases[i].name);
		return 0;
	}
	if (argc != 4) {
		fprintf(stderr, "usage: %s list | CASE ADDRESS PORT\n", argv[0]);
		return 2;
	}
	set_server(argv[2], argv[3]);
	for (size_t i = 0; i < n; i++) {
		if (strcmp(cases[i].name, argv[1]) != 0)
			continue;
		cases[i].run();
		return 0;
	}
	fprintf(stderr, "%s: no case %s\n", argv[0], argv[1]);
	return 2;
}

#endif

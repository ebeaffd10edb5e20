// SPDX-License-Identifier: MIT
/*
 * shim-client - makes connections to one port after the other, as programs do in turn, and says what
 * came of each: shim-client ADDRESS FIRST N; lines "PORT MS connected LENGTH HASH ERRNO", with what
 * ended the stream (0: its end), or "PORT MS failed ERRNO". At last the numbers of its descriptors.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LIMIT_MS 2000 /* what takes longer hangs */

enum how { BLOCKING, POLL, SELECT, EPOLL, HOWS };

static struct sockaddr_in server;

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int wait_epoll(int fd, short events)
{
	struct epoll_event event = { .events = (uint32_t)events };
	int epfd = epoll_create1(EPOLL_CLOEXEC), n = -1;

	if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event) == 0)
		n = epoll_wait(epfd, &event, 1, LIMIT_MS);
	close(epfd);
	return n;
}

static int wait_select(int fd, short events)
{
	struct timeval limit = { .tv_sec = LIMIT_MS / 1000 };
	fd_set set;

	FD_ZERO(&set);
	FD_SET(fd, &set);
	return select(fd + 1, events == POLLIN ? &set : NULL, events == POLLOUT ? &set : NULL, NULL,
		      &limit);
}

static bool is_there(int fd, enum how how, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	switch (how) {
	case SELECT:
		return wait_select(fd, events) == 1;
	case EPOLL:
		return wait_epoll(fd, events) == 1;
	default:
		return poll(&p, 1, LIMIT_MS) == 1;
	}
}

/* 0 or an errno. */
static int connect_one(int fd, enum how how)
{
	int err = 0;
	socklen_t len = sizeof(err);

	if (connect(fd, (struct sockaddr *)&server, sizeof(server)) == 0)
		return 0;
	if (how == BLOCKING || errno != EINPROGRESS)
		return errno;
	if (!is_there(fd, how, POLLOUT))
		return ETIME;
	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 ? errno : err;
}

static void read_all(int fd, enum how how, int64_t started_ms)
{
	static uint8_t bytes[2000];
	uint32_t hash = 2166136261;
	size_t len = 0;
	ssize_t n;
	int err = 0;

	do {
		n = -1;
		err = ETIME;
		if (is_there(fd, how, POLLIN)) {
			n = recv(fd, bytes, 1 + len % sizeof(bytes), 0);
			err = n < 0 ? errno : 0;
		}
		for (ssize_t i = 0; i < n; i++)
			hash = (hash ^ bytes[i]) * 16777619;
		len += n > 0 ? (size_t)n : 0;
	} while (n > 0);
	printf("%u %d connected %zu %08x %d\n", ntohs(server.sin_port),
	       (int)(now_ms() - started_ms), len, hash, err);
}

static void one(enum how how)
{
	int fd = socket(AF_INET, SOCK_STREAM | (how == BLOCKING ? 0 : SOCK_NONBLOCK), 0), err;
	int64_t started_ms = now_ms();

	if (fd < 0) {
		perror("socket");
		exit(1);
	}
	err = connect_one(fd, how);
	if (err)
		printf("%u %d failed %d\n", ntohs(server.sin_port), (int)(now_ms() - started_ms),
		       err);
	else
		read_all(fd, how, started_ms);
	close(fd);
}

int main(int argc, char **argv)
{
	int first, n;

	if (argc != 4 || inet_pton(AF_INET, argv[1], &server.sin_addr) != 1) {
		fprintf(stderr, "usage: shim-client ADDRESS FIRST N\n");
		return 2;
	}
	server.sin_family = AF_INET;
	first = atoi(argv[2]);
	n = atoi(argv[3]);
	for (int port = first; port < first + n; port++) {
		server.sin_port = htons((in_port_t)port);
		one((enum how)(port % HOWS));
	}
	for (int fd = 0; fd < 256; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			printf("open %d\n", fd);
	return 0;
}

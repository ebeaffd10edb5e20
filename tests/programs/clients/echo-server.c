// SPDX-License-Identifier: MIT
/*
 * echo-server PORT - what the clients' servers do, on six ports from PORT on, IPv4 and IPv6:
 *   +0 echo          +1 greets at once ("welcome"), then echo
 *   +2 greets in two pieces, 50 ms apart, then echo
 *   +3 greets and closes                +4 resets at once
 *   +5 reads and says nothing
 * Closes when the client does. One thread, thousands of connections.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#ifndef TCP_FASTOPEN_NO_COOKIE
#define TCP_FASTOPEN_NO_COOKIE 34
#endif

enum role { ECHO, GREET, PIECES, BYE, RESET, SILENT, N_ROLES };

#define MAX_FDS 65536

/* What epoll hands back: the descriptor, what it is, and for a timer whose it is. */
#define WORD(kind, role, fd) ((uint64_t)(kind) << 40 | (uint64_t)(role) << 32 | (uint32_t)(fd))
enum kind { LISTENER, CONNECTION, TIMER };

static int ep;
static int timer_of[MAX_FDS]; /* connection -> its timer, 0 for none */
static int owner_of[MAX_FDS];

static void watch(int fd, enum kind kind, enum role role)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = WORD(kind, role, fd) };

	if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event) < 0)
		perror("epoll_ctl");
}

static void end(int fd)
{
	if (timer_of[fd])
		close(timer_of[fd]);
	timer_of[fd] = 0;
	close(fd);
}

static void in_two_pieces(int fd)
{
	struct itimerspec soon = { .it_value.tv_nsec = 50000000 };
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);

	send(fd, "wel", 3, MSG_NOSIGNAL);
	if (timer < 0 || timer >= MAX_FDS)
		return;
	timer_of[fd] = timer;
	owner_of[timer] = fd;
	timerfd_settime(timer, 0, &soon, NULL);
	watch(timer, TIMER, PIECES);
}

static void serve_listener(int listener, enum role role)
{
	struct linger none = { .l_onoff = 1 };
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (fd >= MAX_FDS) {
		close(fd);
		return;
	}
	watch(fd, CONNECTION, role);
	if (role == GREET || role == BYE)
		send(fd, "welcome", 7, MSG_NOSIGNAL);
	if (role == PIECES)
		in_two_pieces(fd);
	if (role == RESET)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
	if (role == RESET || role == BYE)
		end(fd);
}

static void serve_connection(int fd, enum role role)
{
	static char block[65536];
	ssize_t n = recv(fd, block, sizeof(block), 0), sent = 0, r;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	while (role != SILENT && sent < n) {
		r = send(fd, block + sent, (size_t)(n - sent), MSG_NOSIGNAL);
		if (r < 0 && errno != EAGAIN)
			break;
		if (r > 0)
			sent += r;
		else
			usleep(100); /* clients read what they have sent */
	}
	if (n <= 0)
		end(fd);
}

static void serve_timer(int timer)
{
	int fd = owner_of[timer];

	send(fd, "come", 4, MSG_NOSIGNAL);
	close(timer);
	timer_of[fd] = 0;
}

static void listen_on(int port, enum role role)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons((in_port_t)port) };
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1, queue = 4096;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN, &queue, sizeof(queue));
	setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0 || listen(fd, 4096) < 0) {
		perror("echo-server");
		exit(1);
	}
	watch(fd, LISTENER, role);
}

int main(int argc, char **argv)
{
	struct rlimit limit = { MAX_FDS, MAX_FDS };
	struct epoll_event events[64];

	if (argc != 2)
		return 2;
	setrlimit(RLIMIT_NOFILE, &limit);
	ep = epoll_create1(0);
	for (int role = ECHO; role < N_ROLES; role++)
		listen_on(atoi(argv[1]) + role, (enum role)role);
	for (;;) {
		int n = epoll_wait(ep, events, 64, -1);

		for (int i = 0; i < n; i++) {
			int fd = (int)(events[i].data.u64 & 0xffffffff);
			enum role role = (enum role)(events[i].data.u64 >> 32 & 0xff);
			enum kind kind = (enum kind)(events[i].data.u64 >> 40);

			if (kind == LISTENER)
				serve_listener(fd, role);
			else if (kind == CONNECTION)
				serve_connection(fd, role);
			else
				serve_timer(fd);
		}
	}
}

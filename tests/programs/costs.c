// SPDX-License-Identifier: MIT
/*
 * costs - makes connections, or exchanges bytes on one, so that strace can count what they cost:
 * costs HOW N ADDRESS PORT [MAPPINGS]. A getppid(), which nothing else here calls, stands before each of
 * them and behind the last. The process has so many mappings more than it needs.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

static struct sockaddr_in server;

static int open_socket(int flags)
{
	int fd = socket(AF_INET, SOCK_STREAM | flags, 0);

	if (fd < 0) {
		perror("socket");
		exit(1);
	}
	return fd;
}

static void check_error(int fd)
{
	int err = -1;
	socklen_t len = sizeof(err);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 || err) {
		fprintf(stderr, "connect: %s\n", strerror(err));
		exit(1);
	}
}

static int connect_blocking(void)
{
	int fd = open_socket(0);

	if (connect(fd, (struct sockaddr *)&server, sizeof(server)) < 0) {
		perror("connect");
		exit(1);
	}
	return fd;
}

/* Which is no connection. */
static int connect_udp(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (connect(fd, (struct sockaddr *)&server, sizeof(server)) < 0) {
		perror("connect");
		exit(1);
	}
	return fd;
}

static int connect_pending(void)
{
	int fd = open_socket(SOCK_NONBLOCK);

	if (connect(fd, (struct sockaddr *)&server, sizeof(server)) == 0) {
		fprintf(stderr, "connect: did not wait\n");
		exit(1);
	}
	return fd;
}

static int connect_poll(void)
{
	static struct pollfd p = { .events = POLLOUT }; /* always in one page */

	p.fd = connect_pending();
	poll(&p, 1, 10000);
	check_error(p.fd);
	return p.fd;
}

static int connect_select(void)
{
	int fd = connect_pending();
	fd_set out;

	FD_ZERO(&out);
	FD_SET(fd, &out);
	select(fd + 1, NULL, &out, NULL, NULL);
	check_error(fd);
	return fd;
}

static int connect_epoll(void)
{
	static int ep = -1;
	static struct epoll_event event;
	int fd = connect_pending();

	if (ep < 0)
		ep = epoll_create1(0);
	event = (struct epoll_event){ .events = EPOLLOUT };
	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event);
	epoll_wait(ep, &event, 1, 10000);
	check_error(fd);
	return fd;
}

static void expect(ssize_t n, ssize_t wanted)
{
	if (n != wanted) {
		perror("exchange");
		exit(1);
	}
}

/* Six pairs of calls that send and receive; redis answers PING with 7 bytes. */
static void exchange(int fd)
{
	static char ping[] = "PING\r\n", pong[7];
	struct iovec out = { ping, 6 }, in = { pong, 7 };
	struct msghdr out_message = { .msg_iov = &out, .msg_iovlen = 1 };
	struct msghdr in_message = { .msg_iov = &in, .msg_iovlen = 1 };
	struct pollfd p = { .fd = fd, .events = POLLIN };

	expect(write(fd, ping, 6), 6);
	expect(poll(&p, 1, -1), 1);
	expect(read(fd, pong, 7), 7);
	expect(send(fd, ping, 6, 0), 6);
	expect(recv(fd, pong, 7, MSG_WAITALL), 7);
	expect(sendto(fd, ping, 6, 0, NULL, 0), 6);
	expect(recvfrom(fd, pong, 7, MSG_WAITALL, NULL, NULL), 7);
	expect(writev(fd, &out, 1), 6);
	expect(ppoll(&p, 1, NULL, NULL), 1);
	expect(readv(fd, &in, 1), 7);
	expect(sendmsg(fd, &out_message, 0), 6);
	expect(recvmsg(fd, &in_message, MSG_WAITALL), 7);
}

int main(int argc, char **argv)
{
	int n, fd;

	if (argc != 5 && argc != 6) {
		fprintf(stderr, "usage: costs blocking|poll|select|epoll|udp|io N ADDRESS PORT"
				" [MAPPINGS]\n");
		return 2;
	}
	n = atoi(argv[2]);
	server.sin_family = AF_INET;
	server.sin_port = htons((in_port_t)atoi(argv[4]));
	inet_pton(AF_INET, argv[3], &server.sin_addr);
	for (int i = argc == 6 ? atoi(argv[5]) : 0; i > 0;
	     i--) /* neighbours that are alike are one */
		(void)mmap(NULL, 4096, i % 2 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
			   -1, 0);
	if (strcmp(argv[1], "io") == 0) {
		fd = connect_blocking();
		while (n-- > 0) {
			getppid();
			exchange(fd);
		}
		getppid();
		return 0;
	}
	while (n-- > 0) {
		getppid();
		switch (argv[1][0]) {
		case 'b':
			fd = connect_blocking();
			break;
		case 'p':
			fd = connect_poll();
			break;
		case 's':
			fd = connect_select();
			break;
		case 'u':
			fd = connect_udp();
			break;
		default:
			fd = connect_epoll();
		}
		close(fd);
	}
	getppid();
	return 0;
}

// SPDX-License-Identifier: MIT
/*
 * bare-client - a client that speaks Convert by itself, with nothing of the project's in it: what
 * the shim is compared with. Without -c it is a plain client, which the shim may convert.
 *
 *   bare-client [-mxw] [-c CONVERTER:PORT] get SERVER PORT PATH    HTTP's body on stdout
 *   bare-client [-mxw] [-c CONVERTER:PORT] bulk SERVER PORT PATH   reads it and says how long
 *   bare-client [-mxw] [-c CONVERTER:PORT] rate SERVER PORT COUNT  connections, an echo on each
 *
 * -m: on Multipath TCP sockets. -x: the Connect TLV asks for the server's MPTCP option too. -w: one
 * connection before, to that server, which does nothing and does not count. IPv4.
 * bulk and rate print "AMOUNT SECONDS SUBFLOWS": bytes or connections, and how many subflows the
 * last connection had at its end; -1 if it was plain TCP.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MPTCP	   262
#define SOL_MPTCP  284
#define MPTCP_INFO 1

static struct {
	int protocol;
	bool converted, extended, warm;
	struct sockaddr_in converter, server;
} how;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static struct sockaddr_in address(const char *ip, const char *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((in_port_t)atoi(port)) };

	if (inet_pton(AF_INET, ip, &a.sin_addr) != 1) {
		fprintf(stderr, "bare-client: %s: no IPv4 address\n", ip);
		exit(2);
	}
	return a;
}

static void read_exactly(int fd, uint8_t *bytes, size_t len)
{
	ssize_t n = len ? recv(fd, bytes, len, MSG_WAITALL) : 0; /* TCP would wait for a byte */

	if (n < 0)
		fail("bare-client: recv");
	if ((size_t)n != len) {
		fprintf(stderr, "bare-client: %zd bytes of %zu, then the end\n", n, len);
		exit(1);
	}
}

/* RFC 8803, 4.2.5: header, Connect TLV, and with -x the MPTCP option without content. */
static size_t connect_message(uint8_t m[static 28])
{
	size_t words = how.extended ? 7 : 6;

	memset(m, 0, 28);
	memcpy(m, (uint8_t[]){ 1, (uint8_t)words, 0x22, 0x63, 10, (uint8_t)(words - 1) }, 6);
	memcpy(m + 6, &how.server.sin_port, 2);
	memset(m + 18, 0xff, 2);
	memcpy(m + 20, &how.server.sin_addr, 4);
	if (how.extended)
		memcpy(m + 24, (uint8_t[]){ 30, 2 }, 2);
	return 4 * words;
}

/* The SYN carries the message if the kernel has the converter's cookie; else it asks for one. */
static void connect_by_converter(int fd)
{
	uint8_t message[28], reply[1020];
	size_t len = connect_message(message);
	struct pollfd writable = { fd, POLLOUT, 0 };
	ssize_t n = sendto(fd, message, len, MSG_FASTOPEN | MSG_DONTWAIT | MSG_NOSIGNAL,
			   (struct sockaddr *)&how.converter, sizeof(how.converter));

	if (n < 0 && errno == EINPROGRESS) {
		poll(&writable, 1, -1);
		n = send(fd, message, len, MSG_NOSIGNAL);
	}
	if (n != (ssize_t)len)
		fail("bare-client: converter");
	read_exactly(fd, reply, 4);
	if (reply[0] != 1 || reply[1] == 0) {
		fprintf(stderr, "bare-client: no Convert message\n");
		exit(1);
	}
	read_exactly(fd, reply + 4, 4 * (size_t)reply[1] - 4);
	if (reply[1] > 1 && reply[4] == 30) {
		fprintf(stderr, "bare-client: Error %d\n", reply[6]);
		exit(1);
	}
}

static int open_connection(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, how.protocol);

	if (fd < 0)
		fail("bare-client: socket");
	if (how.converted)
		connect_by_converter(fd);
	else if (connect(fd, (struct sockaddr *)&how.server, sizeof(how.server)) < 0)
		fail("bare-client: connect");
	return fd;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Beside the first one; -1 on a TCP connection. */
static int subflows(int fd)
{
	uint8_t info[128] = { 0 };
	socklen_t len = sizeof(info);

	return getsockopt(fd, SOL_MPTCP, MPTCP_INFO, info, &len) < 0 ? -1 : info[0] + 1;
}

/* HTTP/1.0: the body ends with the connection. Its length; *flows as it was before the end. */
static size_t get(int fd, const char *path, bool print, int *flows)
{
	static char block[1 << 18];
	size_t total = 0, have = 0;
	char *body = NULL;
	ssize_t n;

	n = snprintf(block, sizeof(block), "GET %s HTTP/1.0\r\n\r\n", path);
	if (send(fd, block, (size_t)n, MSG_NOSIGNAL) != n)
		fail("bare-client: send");
	while (!body) {
		n = recv(fd, block + have, sizeof(block) - have - 1, 0);
		if (n <= 0)
			fail("bare-client: no HTTP header");
		have += (size_t)n;
		block[have] = '\0';
		body = strstr(block, "\r\n\r\n");
	}
	if (strncmp(block, "HTTP/1.1 200", 12) != 0) {
		fprintf(stderr, "bare-client: %.40s\n", block);
		exit(1);
	}
	body += 4;
	n = (ssize_t)have - (body - block);
	memmove(block, body, (size_t)n);
	do {
		total += (size_t)n;
		if (print && fwrite(block, 1, (size_t)n, stdout) != (size_t)n)
			fail("bare-client: stdout");
		*flows = subflows(fd);
	} while ((n = recv(fd, block, sizeof(block), 0)) > 0);
	if (n < 0)
		fail("bare-client: recv");
	return total;
}

static void rate(unsigned int count)
{
	double start = now();
	int flows = 0;

	for (unsigned int i = 0; i < count; i++) {
		uint8_t byte = 'x';
		int fd = open_connection();

		if (send(fd, &byte, 1, MSG_NOSIGNAL) != 1)
			fail("bare-client: send");
		read_exactly(fd, &byte, 1);
		flows = subflows(fd);
		close(fd);
	}
	printf("%u %.6f %d\n", count, now() - start, flows);
}

static int usage(void)
{
	fprintf(stderr, "usage: bare-client [-mxw] [-c CONVERTER:PORT] "
			"get|bulk|rate SERVER PORT PATH|COUNT\n");
	return 2;
}

static bool read_options(int argc, char **argv)
{
	char *colon;

	for (int c; (c = getopt(argc, argv, "mc:xw")) != -1;) {
		switch (c) {
		case 'm':
			how.protocol = MPTCP;
			break;
		case 'c':
			colon = strchr(optarg, ':');
			if (!colon)
				return false;
			*colon = '\0';
			how.converted = true;
			how.converter = address(optarg, colon + 1);
			break;
		case 'x':
			how.extended = true;
			break;
		case 'w':
			how.warm = true;
			break;
		default:
			return false;
		}
	}
	return argc - optind == 4;
}

int main(int argc, char **argv)
{
	const char *what;
	double start;
	size_t total;
	int fd, flows;

	if (!read_options(argc, argv))
		return usage();
	argv += optind;
	what = argv[0];
	how.server = address(argv[1], argv[2]);
	if (how.warm)
		close(open_connection());
	if (!strcmp(what, "rate")) {
		rate((unsigned int)atoi(argv[3]));
		return 0;
	}
	if (strcmp(what, "get") != 0 && strcmp(what, "bulk") != 0)
		return usage();
	start = now();
	fd = open_connection();
	total = get(fd, argv[3], *what == 'g', &flows);
	if (*what == 'b')
		printf("%zu %.6f %d\n", total, now() - start, flows);
	return fflush(stdout) ? 1 : 0;
}

// SPDX-License-Identifier: MIT
/*
 * shim-converter - answers every request with something made by a seed: a Convert message, changed
 * or not, cut anywhere, with pauses, followed by bytes, and an end: shim-converter SEED ADDRESS PORT
 *
 * The port that the client asks for is the number of its case: what is sent depends on that and the
 * seed alone. For each request a line: "NUMBER good|bad fin|rst|silence LENGTH HASH", with what
 * follows the message, by the same second reader of messages that the unit tests have (reference.h).
 */
#include "fuzz.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define REQUEST_MAX 1020

static const char *const end_names[] = { "fin", "rst", "silence" };

static uint64_t seed;

static void report(unsigned int number, const struct reply *r)
{
	char line[100];
	size_t message;
	bool good = reply_meaning(r, &message) == MEANS_CONNECTED;
	int n = good ? snprintf(line, sizeof(line), "%u good %s %zu %08x\n", number,
				end_names[r->end], r->len - message,
				reply_hash(r->bytes + message, r->len - message)) :
		       snprintf(line, sizeof(line), "%u bad %s 0 0\n", number, end_names[r->end]);

	if (write(STDOUT_FILENO, line, (size_t)n) != n)
		exit(1);
}

/* ------------------------------------------------------------------------- sending */

static void pause_ms(size_t ms)
{
	const struct timespec t = { .tv_nsec = (long)ms * 1000000 };

	nanosleep(&t, NULL);
}

static void send_pieces(int fd, const struct reply *r)
{
	const size_t most = reply_in_percent(40) ? r->len + 1 :
			    reply_in_percent(30) ? 1 :
						   1 + reply_below(40);
	size_t sent = 0;

	if (reply_in_percent(20))
		pause_ms(reply_below(10));
	while (sent < r->len) {
		size_t n = 1 + reply_below(most);

		if (sent > 100 && most < 40) /* enough of small ones */
			n = r->len - sent;
		if (n > r->len - sent)
			n = r->len - sent;
		if (send(fd, r->bytes + sent, n, MSG_NOSIGNAL) != (ssize_t)n)
			return;
		sent += n;
		if (reply_in_percent(10))
			pause_ms(reply_below(4));
	}
}

static bool read_exactly(int fd, uint8_t *bytes, size_t n)
{
	return recv(fd, bytes, n, MSG_WAITALL) == (ssize_t)n;
}

static void serve(int fd)
{
	static struct reply r;
	uint8_t request[REQUEST_MAX];
	const int on = 1;
	unsigned int number;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (!read_exactly(fd, request, 4) || request[1] < 6 ||
	    !read_exactly(fd, request + 4, 4 * (size_t)request[1] - 4))
		return;
	number = (unsigned int)request[6] << 8 | request[7]; /* Connect's port */
	reply_seed(seed + ((uint64_t)number << 32));
	reply_make(&r);
	report(number, &r);
	send_pieces(fd, &r);
	reply_finish(fd, r.end);
}

static int listener(const char *address, const char *port, int protocol)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((in_port_t)atoi(port)) };
	int fd = socket(AF_INET, SOCK_STREAM, protocol), on = 1, queue = 100;

	if (fd < 0 || inet_pton(AF_INET, address, &in.sin_addr) != 1 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(fd, (struct sockaddr *)&in, sizeof(in)) < 0 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN, &queue, sizeof(queue)) < 0 ||
	    listen(fd, 100) < 0) {
		perror("shim-converter");
		exit(1);
	}
	return fd;
}

int main(int argc, char **argv)
{
	int fd;

	if (argc != 4) {
		fprintf(stderr, "usage: shim-converter SEED ADDRESS PORT\n");
		return 2;
	}
	seed = strtoull(argv[1], NULL, 10);
	signal(SIGCHLD, SIG_IGN);
	fd = listener(argv[2], argv[3], IPPROTO_MPTCP);
	for (;;) {
		int connection = accept(fd, NULL, NULL);

		if (connection >= 0 && fork() == 0) {
			serve(connection);
			_exit(0);
		}
		close(connection);
	}
}

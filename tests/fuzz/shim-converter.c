// SPDX-License-Identifier: MIT
/*
 * shim-converter - answers every request with something made by a seed: a Convert message, changed
 * or not, cut anywhere, with pauses, followed by bytes, and an end: shim-converter SEED ADDRESS PORT
 *
 * The port that the client asks for is the number of its case: what is sent depends on that and the
 * seed alone. For each request a line: "NUMBER good|bad fin|rst|silence LENGTH HASH", with what
 * follows the message, by the same second reader of messages that the unit tests have (reference.h).
 */
#include "reference.h"

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

#define MESSAGE_MAX 1020
#define DATA_MAX    3000

enum end { END_FIN, END_RST, END_SILENCE };
static const char *const end_names[] = { "fin", "rst", "silence" };

struct reply {
	uint8_t bytes[MESSAGE_MAX + 64 + DATA_MAX];
	size_t len;
	enum end end;
};

static uint64_t seed;

static size_t below(size_t n) /* splitmix64 */
{
	uint64_t z = seed += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return (size_t)((z ^ z >> 31) % n);
}

static bool in_percent(size_t percent)
{
	return below(100) < percent;
}

/* ----------------------------------------------------------------------- a message */

static void put(struct reply *r, uint8_t byte)
{
	r->bytes[r->len++] = byte;
}

static void put_random(struct reply *r, size_t n)
{
	while (n-- > 0)
		put(r, (uint8_t)below(256));
}

/* Options of a SYN+ACK, of which the client looks for MP_CAPABLE. */
static void put_options(struct reply *r, size_t words)
{
	size_t left = words * 4;

	while (left >= 12 && in_percent(70)) {
		uint8_t len = (uint8_t)(2 + below(10));

		put(r, in_percent(50) ? 30 : (uint8_t)below(256));
		put(r, in_percent(90) ? len : (uint8_t)below(256));
		put_random(r, len - 2U);
		left -= len;
	}
	while (left-- > 0)
		put(r, in_percent(80) ? 0 : 1);
}

static void put_tlv(struct reply *r)
{
	static const uint8_t types[] = { 20, 20, 20, 30, 30, 21, 22, 1, 10, 0, 99, 200 };
	static const uint8_t codes[] = { 0, 1, 2, 3, 32, 33, 64, 65, 96, 96, 97, 97, 31, 95, 128 };
	uint8_t type = types[below(sizeof(types))], words = (uint8_t)(1 + below(5));

	if (type == 10)
		words = 5;
	put(r, type);
	put(r, words);
	if (type == 30)
		put(r, codes[below(sizeof(codes))]);
	else
		put(r, 0);
	put(r, in_percent(80) ? 0 : (uint8_t)below(256));
	if (type == 20)
		put_options(r, words - 1U);
	else
		put_random(r, 4 * (words - 1U));
}

static void make_message(struct reply *r)
{
	put(r, 1);
	put(r, 0);
	put(r, 0x22);
	put(r, 0x63);
	if (in_percent(60))
		put_tlv(r);
	while (in_percent(15))
		put_tlv(r);
	r->bytes[1] = (uint8_t)(r->len / 4);
}

/* One byte, a length, a piece too many or too few. */
static void change_message(struct reply *r)
{
	size_t at = below(r->len), n = 1 + below(8);

	switch (below(6)) {
	case 0:
		r->bytes[at] ^= (uint8_t)(1U << below(8));
		break;
	case 1:
		r->bytes[at] = (uint8_t)below(256);
		break;
	case 2:
		r->bytes[1] = (uint8_t)(r->bytes[1] + below(5) - 2);
		break;
	case 3:
		if (r->len > 5)
			r->bytes[5] = (uint8_t)(r->bytes[5] + below(5) - 2);
		break;
	case 4:
		if (r->len > n + 1)
			r->len -= n;
		break;
	case 5:
		put_random(r, n);
		break;
	}
}

static void make_reply(struct reply *r)
{
	r->len = 0;
	make_message(r);
	for (size_t changes = in_percent(50) ? 0 : 1 + below(3); changes > 0; changes--)
		change_message(r);
	if (in_percent(70))
		put_random(r, below(DATA_MAX));
	if (in_percent(10)) /* the end comes somewhere */
		r->len = below(r->len + 1);
	r->end = in_percent(90) ? END_FIN : in_percent(70) ? END_RST : END_SILENCE;
}

/* ----------------------------------------------------------------------- what it is */

static uint32_t hash(const uint8_t *bytes, size_t n) /* FNV-1a */
{
	uint32_t h = 2166136261;

	for (size_t i = 0; i < n; i++)
		h = (h ^ bytes[i]) * 16777619;
	return h;
}

/* Does this reply say that the server has accepted? */
static bool is_good(const struct reply *r, size_t *message)
{
	const struct ref ref = ref_read(r->bytes, r->len, CVT_DIALECT_RFC8803, CVT_TO_CLIENT);

	*message = ref.len;
	return ref.faults == 0 && ref.tlv[CVT_TLV_ERROR].len == 0;
}

static void report(unsigned int number, const struct reply *r)
{
	char line[100];
	size_t message;
	bool good = is_good(r, &message);
	int n = good ? snprintf(line, sizeof(line), "%u good %s %zu %08x\n", number,
				end_names[r->end], r->len - message,
				hash(r->bytes + message, r->len - message)) :
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
	const size_t most = in_percent(40) ? r->len + 1 : in_percent(30) ? 1 : 1 + below(40);
	size_t sent = 0;

	if (in_percent(20))
		pause_ms(below(10));
	while (sent < r->len) {
		size_t n = 1 + below(most);

		if (sent > 100 && most < 40) /* enough of small ones */
			n = r->len - sent;
		if (n > r->len - sent)
			n = r->len - sent;
		if (send(fd, r->bytes + sent, n, MSG_NOSIGNAL) != (ssize_t)n)
			return;
		sent += n;
		if (in_percent(10))
			pause_ms(below(4));
	}
}

static bool read_exactly(int fd, uint8_t *bytes, size_t n)
{
	return recv(fd, bytes, n, MSG_WAITALL) == (ssize_t)n;
}

/* Waits for the client to go first, so that nothing that it has sent makes our FIN a RST. */
static void finish(int fd, enum end end)
{
	const struct linger at_once = { .l_onoff = 1 };
	char rest[512];

	if (end == END_RST)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	if (end == END_FIN)
		shutdown(fd, SHUT_WR);
	if (end != END_RST)
		while (recv(fd, rest, sizeof(rest), 0) > 0)
			;
	close(fd);
}

static void serve(int fd)
{
	static struct reply r;
	uint8_t request[MESSAGE_MAX];
	const int on = 1;
	unsigned int number;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (!read_exactly(fd, request, 4) || request[1] < 6 ||
	    !read_exactly(fd, request + 4, 4 * (size_t)request[1] - 4))
		return;
	number = (unsigned int)request[6] << 8 | request[7]; /* Connect's port */
	seed += (uint64_t)number << 32;
	make_reply(&r);
	report(number, &r);
	send_pieces(fd, &r);
	finish(fd, r.end);
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

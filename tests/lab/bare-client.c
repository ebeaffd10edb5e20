// SPDX-License-Identifier: MIT
/*
 * bare-client - a client that speaks Convert by itself, with nothing of the project's in it: what
 * the shim is compared with. Without -c it is a plain client, which the shim may convert.
 *
 *   bare-client [-mtx] [-c CONVERTER:PORT] get SERVER PORT PATH   HTTP's body on stdout
 *   bare-client [-mtx] [-c CONVERTER:PORT] [-h MUTE:COUNT] turns SERVER PORT HOW
 *
 * -m: on Multipath TCP sockets. -t: what has to be done if the socket is somebody else's: it is asked whether it
 * is unconnected, and what its cookie is; with -m another one takes its place; a reply is waited for with a limit.
 * -x: the Connect TLV asks for the server's MPTCP option too. IPv4.
 *
 * turns reads numbers, a line for each turn, and makes so many connections one after the other, with
 * an echo on each; HOW it waits is blocking, poll or epoll. The last one stays open until the next turn.
 * It answers with "WALL CPU SUBFLOWS MEMORY": nanoseconds, the second of its own processor time
 * (getrusage); how many subflows the last connection has, -1 on plain TCP. -h: before that COUNT
 * connections to a server that does not answer, pending in the same epoll set all the time; MEMORY is
 * by how many kB they made it grow (PSS).
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
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MPTCP	   262
#define SOL_MPTCP  284
#define MPTCP_INFO 1
#define LIMIT_MS   30000

enum wait { BLOCKING, POLL, EPOLL };

static struct {
	int protocol;
	bool converted, extended, not_own;
	enum wait wait;
	struct sockaddr_in converter, server;
	struct in_addr mute;
	unsigned int pending;
} how;
static int epfd;

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

/* A blocking one's next call waits by itself. */
static void await(int fd, uint32_t events, int epoll_operation)
{
	struct epoll_event event = { .events = events };
	struct pollfd p = { fd, (short)events, 0 };

	if (how.wait == POLL)
		poll(&p, 1, -1);
	if (how.wait != EPOLL)
		return;
	if (epoll_operation)
		epoll_ctl(epfd, epoll_operation, fd, &event);
	epoll_wait(epfd, &event, 1, -1);
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
static void call_converter(int fd)
{
	uint8_t message[28];
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
}

static void read_reply(int fd)
{
	uint8_t reply[1020];

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

/* Of a socket that is not of one's own making. */
static void ask(int fd)
{
	uint64_t cookie;
	uint8_t state;
	socklen_t len = sizeof(state);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &state, &len) < 0 || state != TCP_CLOSE)
		fail("bare-client: TCP_INFO");
	len = sizeof(cookie);
	if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) < 0)
		fail("bare-client: SO_COOKIE");
}

static int open_socket(int protocol)
{
	int fd = socket(AF_INET, SOCK_STREAM | (how.wait == BLOCKING ? 0 : SOCK_NONBLOCK),
			protocol);

	if (fd < 0)
		fail("bare-client: socket");
	return fd;
}

/* Returns what has to be waited for. */
static uint32_t begin(int *fd)
{
	int twin;

	*fd = open_socket(how.not_own ? 0 : how.protocol);
	if (how.not_own)
		ask(*fd);
	if (how.not_own && how.protocol) {
		twin = open_socket(how.protocol);
		if (dup2(twin, *fd) < 0)
			fail("bare-client: dup2");
		close(twin);
	}
	if (how.converted) {
		call_converter(*fd);
		return EPOLLIN;
	}
	if (connect(*fd, (struct sockaddr *)&how.server, sizeof(how.server)) == 0)
		return 0;
	if (errno != EINPROGRESS)
		fail("bare-client: connect");
	return EPOLLOUT;
}

static void finish(int fd)
{
	struct pollfd readable = { fd, POLLIN, 0 };
	int err = 0;
	socklen_t len = sizeof(err);

	if (how.converted) {
		if (how.not_own && how.wait == BLOCKING)
			poll(&readable, 1, LIMIT_MS);
		read_reply(fd);
	} else if (how.wait != BLOCKING) {
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len);
	}
	errno = err;
	if (err)
		fail("bare-client: connect");
}

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t cpu_ns(void)
{
	struct rusage used;

	getrusage(RUSAGE_SELF, &used);
	return 1000 * (1000000 * (int64_t)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
		       used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

/* Beside the first one; -1 on a TCP connection. */
static int subflows(int fd)
{
	uint8_t info[128] = { 0 };
	socklen_t len = sizeof(info);

	return getsockopt(fd, SOL_MPTCP, MPTCP_INFO, info, &len) < 0 ? -1 : info[0] + 1;
}

/* HTTP/1.0: the body ends with the connection. */
static void get(int fd, const char *path)
{
	static char block[1 << 18];
	size_t have = 0;
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
		if (fwrite(block, 1, (size_t)n, stdout) != (size_t)n)
			fail("bare-client: stdout");
	} while ((n = recv(fd, block, sizeof(block), 0)) > 0);
	if (n < 0)
		fail("bare-client: recv");
}

/* ------------------------------------------------------------------------------- in turns */

static void one_echo(int fd, bool is_known)
{
	uint8_t byte = 'x';

	if (send(fd, &byte, 1, MSG_NOSIGNAL) != 1)
		fail("bare-client: send");
	/* whoever was told to wait for a reply waits for the same of the echo */
	await(fd, EPOLLIN, !is_known ? EPOLL_CTL_ADD : how.converted ? 0 : EPOLL_CTL_MOD);
	read_exactly(fd, &byte, 1);
}

static int one_by_one(unsigned int count, int last)
{
	for (unsigned int i = 0; i < count; i++) {
		uint32_t events;

		if (last >= 0)
			close(last);
		events = begin(&last);
		if (events)
			await(last, events, EPOLL_CTL_ADD);
		finish(last);
		one_echo(last, events != 0);
	}
	return last;
}

static long memory_kb(void)
{
	FILE *f = fopen("/proc/self/smaps_rollup", "re");
	char line[200];
	long kb = -1;

	while (f && fgets(line, sizeof(line), f) && kb < 0)
		sscanf(line, "Pss: %ld", &kb);
	if (f)
		fclose(f);
	return kb;
}

static void hold_pending(void)
{
	struct in_addr server = how.server.sin_addr;
	int fd;

	how.server.sin_addr = how.mute;
	for (unsigned int i = 0; i < how.pending; i++) {
		struct epoll_event event = { .events = begin(&fd) };

		if (!event.events || epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event) < 0)
			fail("bare-client: pending");
	}
	how.server.sin_addr = server;
}

static int turns(void)
{
	long kb = memory_kb();
	int last = -1;
	char line[32];

	hold_pending();
	kb = memory_kb() - kb;
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin)) {
		unsigned int count = (unsigned int)atoi(line);
		int64_t wall = now_ns(), cpu = cpu_ns();

		last = one_by_one(count, last);
		wall = now_ns() - wall;
		cpu = cpu_ns() - cpu;
		printf("%lld %lld %d %ld\n", (long long)wall, (long long)cpu, subflows(last), kb);
	}
	return 0;
}

static bool read_how(const char *word)
{
	static const char *const words[] = { "blocking", "poll", "epoll" };

	for (how.wait = BLOCKING; how.wait <= EPOLL; how.wait++)
		if (strcmp(word, words[how.wait]) == 0)
			return true;
	return false;
}

static int usage(void)
{
	fprintf(stderr, "usage: bare-client [-mtx] [-c CONVERTER:PORT] [-h MUTE:COUNT] get|turns "
			"SERVER PORT PATH|blocking|poll|epoll\n");
	return 2;
}

static bool read_options(int argc, char **argv)
{
	struct sockaddr_in mute;
	char *colon;

	for (int c; (c = getopt(argc, argv, "mc:h:tx")) != -1;) {
		switch (c) {
		case 'm':
			how.protocol = MPTCP;
			break;
		case 'c':
		case 'h':
			colon = strchr(optarg, ':');
			if (!colon)
				return false;
			*colon++ = '\0';
			if (c == 'c') {
				how.converted = true;
				how.converter = address(optarg, colon);
				break;
			}
			mute = address(optarg, "0");
			how.mute = mute.sin_addr;
			how.pending = (unsigned int)atoi(colon);
			break;
		case 't':
			how.not_own = true;
			break;
		case 'x':
			how.extended = true;
			break;
		default:
			return false;
		}
	}
	return argc - optind == 4;
}

int main(int argc, char **argv)
{
	struct rlimit files;
	int fd;

	if (!read_options(argc, argv))
		return usage();
	argv += optind;
	how.server = address(argv[1], argv[2]);
	if (!strcmp(argv[0], "turns") && read_how(argv[3])) {
		getrlimit(RLIMIT_NOFILE, &files);
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
		epfd = epoll_create1(EPOLL_CLOEXEC);
		return turns();
	}
	if (strcmp(argv[0], "get") != 0)
		return usage();
	begin(&fd);
	finish(fd);
	get(fd, argv[3]);
	return fflush(stdout) ? 1 : 0;
}

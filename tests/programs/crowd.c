// SPDX-License-Identifier: MIT
/*
 * crowd - many programs that connect at the same time, for test_blame.py and test_crowd.py.
 *
 *     crowd [OPTION...] TARGET...
 *
 *  -n N    so many programs (1)
 *  -t MS   for so long (1000), and a round each at least
 *  -r N    each is executed anew after N rounds (1)
 *  -c N    connections of one round at the same time (1: blocking, poll and epoll take turns)
 *  -p MS   about so long between two rounds (100)
 *  -w MS   the program's own patience, for each connection (20000)
 *
 * TARGET is NAME=ADDRESS[+HOSTS]:PORT[+PORTS]; one of all of them is taken at random each time.
 * For each connection there is a line: NAME, when it began (ms of CLOCK_MONOTONIC), what came of it
 * ("connected", an errno's name, "patience", or "torn" if no whole answer came), after how many ms
 * of waiting, and whom an HTTP server at /who said that it saw, or -.
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
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define AT_ONCE_MAX 1000
#define TARGETS_MAX 16

struct target {
	char name[100]; /* and behind it what else the argument said */
	struct in_addr first;
	unsigned int hosts, port, ports;
};

struct settings {
	unsigned int programs, time_ms, rounds, at_once, pause_ms, patience_ms;
	struct target targets[TARGETS_MAX];
	unsigned int n_targets;
	uint64_t servers; /* of all targets */
};

struct attempt {
	const char *name;
	struct sockaddr_in to;
	int64_t began_us;
	int fd;
};

static struct settings set = { .programs = 1,
			       .time_ms = 1000,
			       .rounds = 1,
			       .at_once = 1,
			       .pause_ms = 100,
			       .patience_ms = 20000 };

static int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* ------------------------------------------------------------------------ one connection */

static void choose(struct attempt *a)
{
	uint64_t n = (uint64_t)random() << 16 ^ (uint64_t)random();
	const struct target *t = set.targets;

	if (set.servers) /* as there are */
		n %= set.servers;
	while (n >= (uint64_t)t->hosts * t->ports) {
		n -= (uint64_t)t->hosts * t->ports;
		t++;
	}
	a->name = t->name;
	a->to = (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)(t->port + n % t->ports)),
		.sin_addr.s_addr = htonl(ntohl(t->first.s_addr) + (uint32_t)(n / t->ports)),
	};
}

static void limit(int fd, int option)
{
	struct timeval patience = { set.patience_ms / 1000, set.patience_ms % 1000 * 1000 };

	setsockopt(fd, SOL_SOCKET, option, &patience, sizeof(patience));
}

/* Whom the server saw. False: its answer is not whole. */
static bool ask(int fd, char *saw, size_t room)
{
	static const char request[] = "GET /who HTTP/1.0\r\n\r\n";
	char answer[2000], *body;
	size_t have = 0;
	ssize_t n = send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL);

	if (n != (ssize_t)sizeof(request) - 1)
		return false;
	while ((n = recv(fd, answer + have, sizeof(answer) - 1 - have, 0)) > 0)
		have += (size_t)n;
	answer[have] = '\0';
	body = strstr(answer, "\r\n\r\n");
	if (n < 0 || !body || !strchr(body + 4, '\n'))
		return false;
	snprintf(saw, room, "%.*s", (int)strcspn(body + 4, "\r\n"), body + 4);
	return true;
}

/* One line, by one write(): the programs share the file. */
static void say(const struct attempt *a, const char *outcome, int64_t us, const char *saw)
{
	char line[200];
	int n = snprintf(line, sizeof(line), "%s %lld %s %lld %s\n", a->name,
			 (long long)(a->began_us / 1000), outcome, (long long)(us / 1000), saw);

	if (write(STDOUT_FILENO, line, (size_t)n) != n)
		_exit(3);
}

static void end(struct attempt *a, int err)
{
	int64_t us = now_us() - a->began_us;
	char saw[64] = "-";
	bool whole;

	if (err) {
		say(a, err == EINPROGRESS ? "patience" : strerrorname_np(err), us, saw);
	} else {
		fcntl(a->fd, F_SETFL, 0);
		limit(a->fd, SO_RCVTIMEO);
		whole = ask(a->fd, saw, sizeof(saw));
		say(a, whole ? "connected" : "torn", us, saw);
	}
	close(a->fd);
	a->fd = -1;
}

/* Returns whether it has begun and is not over. */
static bool begin(struct attempt *a, bool blocking)
{
	int flags = SOCK_STREAM | SOCK_CLOEXEC | (blocking ? 0 : SOCK_NONBLOCK), r;

	choose(a);
	a->fd = socket(AF_INET, flags, 0);
	if (a->fd < 0)
		exit(4);
	limit(a->fd, SO_SNDTIMEO);
	a->began_us = now_us();
	r = connect(a->fd, (struct sockaddr *)&a->to, sizeof(a->to)) < 0 ? errno : 0;
	if (r == EINPROGRESS && !blocking)
		return true;
	end(a, r);
	return false;
}

/* ------------------------------------------------------------------------------ a round */

static void look(struct attempt *a)
{
	int err = -1;
	socklen_t len = sizeof(err);

	end(a, getsockopt(a->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 ? errno : err);
}

static int remaining_ms(const struct attempt *a)
{
	int64_t ms = (a->began_us - now_us()) / 1000 + set.patience_ms;

	return ms < 0 ? 0 : (int)ms;
}

/* The first to have begun is the first to be given up; those behind it a moment later. */
static void wait_by_poll(struct attempt *all, unsigned int n)
{
	static struct pollfd fds[AT_ONCE_MAX];
	unsigned int left = n;

	for (unsigned int i = 0; i < n; i++)
		left -= all[i].fd < 0;
	while (left) {
		int r;

		for (unsigned int i = 0; i < n; i++)
			fds[i] = (struct pollfd){ .fd = all[i].fd, .events = POLLOUT };
		r = poll(fds, n, remaining_ms(&all[n - 1]));
		for (unsigned int i = 0; i < n; i++) {
			if (all[i].fd < 0 || (r > 0 && !fds[i].revents))
				continue;
			left--;
			if (r > 0)
				look(&all[i]);
			else
				end(&all[i], EINPROGRESS);
		}
	}
}

static void wait_by_epoll(struct attempt *all, unsigned int n)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event;
	unsigned int left = 0;

	for (unsigned int i = 0; i < n; i++) {
		event = (struct epoll_event){ .events = EPOLLOUT, .data.u32 = i };
		if (all[i].fd >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, all[i].fd, &event) == 0)
			left++;
	}
	for (; left; left--) {
		if (epoll_wait(epoll, &event, 1, remaining_ms(&all[n - 1])) != 1)
			break;
		look(&all[event.data.u32]);
	}
	for (unsigned int i = 0; i < n; i++)
		if (all[i].fd >= 0)
			end(&all[i], EINPROGRESS);
	close(epoll);
}

static void one_round(unsigned int turn)
{
	static struct attempt all[AT_ONCE_MAX];
	bool blocking = set.at_once == 1 && turn % 3 == 0;

	for (unsigned int i = 0; i < set.at_once; i++)
		begin(&all[i], blocking);
	if (!blocking && turn % 2)
		wait_by_poll(all, set.at_once);
	else if (!blocking)
		wait_by_epoll(all, set.at_once);
}

/* --------------------------------------------------------------------------- the programs */

static void pause_ms(unsigned int ms)
{
	usleep(1000 * (ms / 2 + (unsigned int)random() % (ms + 1)));
}

static void set_number(const char *name, long long number)
{
	char text[32];

	snprintf(text, sizeof(text), "%lld", number);
	setenv(name, text, 1);
}

static int64_t number(const char *name)
{
	const char *text = getenv(name);

	return text ? atoll(text) : 0;
}

/* A program, until it is executed anew: CROWD_TURN is its first round, CROWD_UNTIL when to end, CROWD_AGAIN whether
 * it has had rounds before. */
static int program(char **argv)
{
	unsigned int turn = (unsigned int)number("CROWD_TURN");
	int64_t until_us = number("CROWD_UNTIL"), again = number("CROWD_AGAIN");

	srandom((unsigned int)getpid() * 7919 + turn);
	for (unsigned int i = 0; i < set.rounds; i++, turn++) {
		pause_ms(set.pause_ms);
		if ((again || i) && now_us() >= until_us)
			return 0;
		one_round(turn);
	}
	set_number("CROWD_TURN", turn);
	set_number("CROWD_AGAIN", 1);
	execv("/proc/self/exe", argv);
	return 5;
}

static int crowd(char **argv)
{
	int failed = 0, status;

	set_number("CROWD_UNTIL", now_us() + set.time_ms * 1000LL);
	for (unsigned int i = 0; i < set.programs; i++) {
		set_number("CROWD_TURN", i);
		if (fork() == 0) {
			execv("/proc/self/exe", argv);
			_exit(5);
		}
	}
	while (wait(&status) > 0)
		failed |= status;
	return failed != 0;
}

/* -------------------------------------------------------------------------- its arguments */

/* A copy is taken apart: argv is for the next one, too. */
static bool read_target(const char *arg)
{
	struct target *t = &set.targets[set.n_targets];
	char *address, *port, *plus;

	snprintf(t->name, sizeof(t->name), "%s", arg);
	address = strchr(t->name, '=');
	port = strrchr(t->name, ':');
	if (!address || !port || port < address || set.n_targets == TARGETS_MAX - 1)
		return false;
	*address++ = *port++ = '\0';
	plus = strchr(address, '+');
	if (plus)
		*plus++ = '\0';
	t->hosts = plus ? (unsigned int)atoi(plus) : 1;
	t->port = (unsigned int)atoi(port);
	plus = strchr(port, '+');
	t->ports = plus ? (unsigned int)atoi(plus + 1) : 1;
	set.servers += (uint64_t)t->hosts * t->ports;
	set.n_targets++;
	return t->hosts && t->ports && inet_pton(AF_INET, address, &t->first) == 1;
}

static bool read_options(int argc, char **argv)
{
	unsigned int *const numbers[] = { &set.programs, &set.time_ms,	&set.rounds,
					  &set.at_once,	 &set.pause_ms, &set.patience_ms };
	static const char letters[] = "ntrcpw";
	int c;

	while ((c = getopt(argc, argv, "n:t:r:c:p:w:")) != -1) {
		if (c == '?')
			return false;
		*numbers[strchr(letters, c) - letters] = (unsigned int)atoi(optarg);
	}
	for (int i = optind; i < argc; i++)
		if (!read_target(argv[i]))
			return false;
	return set.servers && set.at_once && set.at_once <= AT_ONCE_MAX && set.rounds;
}

int main(int argc, char **argv)
{
	if (!read_options(argc, argv)) {
		fprintf(stderr, "usage: crowd [-n PROGRAMS] [-t MS] [-r ROUNDS] [-c AT_ONCE] "
				"[-p PAUSE_MS] [-w PATIENCE_MS] NAME=ADDRESS[+N]:PORT[+N]...\n");
		return 2;
	}
	return getenv("CROWD_TURN") ? program(argv) : crowd(argv);
}

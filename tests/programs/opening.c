// SPDX-License-Identifier: MIT
/*
 * opening - what happens to a connect() while it is being made:
 *
 *     opening CASE ROUNDS ADDRESS PORT [FAILING]
 *
 * CASE: close, close_range, closefrom, dup2, dup3: by another thread, at any moment; "dup": it takes another
 * number for the same socket; "handler": by a signal handler; "jump": a handler leaves by siglongjmp(). "first",
 * "first-thread": it so leaves the first socket() of all, after ROUNDS milliseconds, and the same thread goes on, or
 * another one. "late-close", "late-pair", "late-dup2": once, ROUNDS
 * milliseconds after connect(), while another thread polls it; is what then has the number still there in the
 * end? "late-handler": by a signal handler, by dup2(). "late-connect": the same while the other thread waits in connect(), and what then has the number connects
 * to the address FAILING. Prints how often the number was not what it has to be
 * afterwards, how many descriptors are left over, and whether the process still gets connections. FAILING: a
 * port where the rounds, which then wait for what comes of them, get none.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

static struct sockaddr_in to, round_to;
static int within_us = 400, most_spins = 40000; /* of the beginning something happens */
static atomic_int turn, fd_now;
static const char *how;
static int null;
static atomic_int copy = -1;
static sigjmp_buf out;

static void spin(int n)
{
	for (volatile int i = 0; i < n; i++)
		;
}

static void take_away(int fd)
{
	if (strcmp(how, "close") == 0)
		close(fd);
	else if (strcmp(how, "close_range") == 0)
		close_range((unsigned int)fd, (unsigned int)fd, 0);
	else if (strcmp(how, "closefrom") == 0)
		closefrom(fd);
	else if (strcmp(how, "dup") == 0)
		atomic_store(&copy, dup(fd));
	else if (strcmp(how, "dup2") == 0)
		dup2(null, fd);
	else
		dup3(null, fd, O_CLOEXEC);
}

static void *other(void *arg)
{
	int rounds = *(int *)arg;

	for (int i = 1; i <= rounds; i++) {
		while (atomic_load(&turn) != i)
			; /* to be there before connect() has looked at the number, too */
		spin(rand() % (i % 2 ? most_spins : 400));
		take_away(atomic_load(&fd_now));
		atomic_store(&turn, -i);
	}
	return NULL;
}

static int make(int type)
{
	return socket(AF_INET, type, 0);
}

static bool is_right(int fd)
{
	struct stat st, its;
	int other;

	if (strcmp(how, "dup") == 0) {
		other = atomic_load(&copy);
		if (fstat(fd, &st) < 0 || fstat(other, &its) < 0)
			return false;
		close(other);
		return st.st_ino == its.st_ino;
	}
	if (fstat(fd, &st) < 0)
		return strncmp(how, "dup", 3) != 0;
	return strncmp(how, "dup", 3) == 0 && S_ISCHR(st.st_mode);
}

static void by_thread(int rounds)
{
	pthread_t thread;
	int wrong = 0;

	pthread_create(&thread, NULL, other, &rounds);
	for (int i = 1; i <= rounds; i++) {
		struct pollfd p = { .fd = make(SOCK_STREAM | SOCK_NONBLOCK), .events = POLLOUT };
		int fd = p.fd;

		atomic_store(&fd_now, fd);
		atomic_store(&turn, i);
		(void)!connect(fd, (struct sockaddr *)&round_to, sizeof(round_to));
		if (round_to.sin_port != to.sin_port)
			poll(&p, 1, 50);
		while (atomic_load(&turn) != -i)
			sched_yield();
		wrong += !is_right(fd);
		close(fd);
	}
	pthread_join(thread, NULL);
	printf("wrong: %d\n", wrong);
}

/* --------------------------------------------------------------------------- its end */

static void *poll_it(void *fd)
{
	struct pollfd p = { .fd = *(int *)fd, .events = POLLOUT };

	poll(&p, 1, 5000);
	return NULL;
}

static int late(int ms)
{
	int fd = make(SOCK_STREAM | SOCK_NONBLOCK), pair[2] = { -1, -1 };
	pthread_t thread;
	bool is_there;

	signal(SIGPIPE, SIG_IGN);
	(void)!connect(fd, (struct sockaddr *)&to, sizeof(to));
	pthread_create(&thread, NULL, poll_it, &fd);
	poll(NULL, 0, ms);
	if (strcmp(how, "late-dup2") == 0)
		dup2(null, fd);
	else
		close(fd);
	if (strcmp(how, "late-close") == 0)
		fd = open("/dev/null", O_RDONLY);
	else if (strcmp(how, "late-pair") == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0)
		fd = pair[0];
	pthread_join(thread, NULL);
	is_there = fcntl(fd, F_GETFD) >= 0 && (pair[0] < 0 || write(fd, "x", 1) == 1);
	printf("%s\n", is_there ? "still there" : "gone");
	return 0;
}

struct waiting {
	int fd, r, err;
};

static void *connect_it(void *arg)
{
	struct waiting *w = arg;

	w->r = connect(w->fd, (struct sockaddr *)&to, sizeof(to));
	w->err = errno;
	return NULL;
}

/* The next one with the number is refused, or connected, before connect() has noticed. */
static int late_connect(int ms, const char *address)
{
	struct waiting w = { .fd = make(SOCK_STREAM) };
	struct pollfd p = { .events = POLLOUT };
	struct sockaddr_in next = to;
	socklen_t len = sizeof(int);
	pthread_t thread;
	int err = -1;

	inet_pton(AF_INET, address, &next.sin_addr);
	pthread_create(&thread, NULL, connect_it, &w);
	poll(NULL, 0, ms);
	close(w.fd);
	p.fd = make(SOCK_STREAM | SOCK_NONBLOCK);
	(void)!connect(p.fd, (struct sockaddr *)&next, sizeof(next));
	poll(&p, 1, 5000);
	pthread_join(thread, NULL);
	printf("%s: %s\n", p.fd == w.fd ? "the same number" : "another number",
	       w.r < 0 ? strerrorname_np(w.err) : "connected");
	if (connect(p.fd, (struct sockaddr *)&next, sizeof(next)) < 0)
		err = errno;
	else if (getsockopt(p.fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
		err = -1;
	printf("the next one: %s\n", err ? strerrorname_np(err) : "connected");
	return 0;
}

/* ---------------------------------------------------------------------------- signals */

static void closes(int sig)
{
	(void)sig;
	close(atomic_load(&fd_now));
}

static void jumps(int sig)
{
	(void)sig;
	siglongjmp(out, 1);
}

static void alarm_us(long us)
{
	struct itimerval t = { .it_value.tv_usec = us };

	setitimer(ITIMER_REAL, &t, NULL);
}

static void handle(void (*handler)(int))
{
	struct sigaction action = { .sa_handler = handler, .sa_flags = SA_RESTART };

	sigaction(SIGALRM, &action, NULL);
}

static void by_handler(int rounds)
{
	int wrong = 0;

	handle(closes);
	for (int i = 0; i < rounds; i++) {
		int fd = make(SOCK_STREAM | (i & 1 ? SOCK_NONBLOCK : 0)), r;

		atomic_store(&fd_now, fd);
		alarm_us(1 + rand() % within_us);
		r = connect(fd, (struct sockaddr *)&round_to, sizeof(round_to));
		if (r < 0 && errno != EBADF && errno != EINPROGRESS &&
		    (errno != ECONNREFUSED || round_to.sin_port == to.sin_port)) {
			printf("connect: %s\n", strerrorname_np(errno));
			wrong++;
		}
		while (fcntl(fd, F_GETFD) >= 0)
			poll(NULL, 0, 1);
		wrong += !is_right(fd);
	}
	printf("wrong: %d\n", wrong);
}

static void replaces(int sig)
{
	(void)sig;
	dup2(null, atomic_load(&fd_now));
}

/* To a listener of this process. */
static int connection_to_itself(void)
{
	int listener = make(SOCK_STREAM), fd = make(SOCK_STREAM);
	struct sockaddr_in own;
	socklen_t len = sizeof(own);

	listen(listener, 1);
	getsockname(listener, (struct sockaddr *)&own, &len);
	inet_pton(AF_INET, "127.0.0.1", &own.sin_addr);
	return connect(fd, (struct sockaddr *)&own, sizeof(own)) < 0 ? -1 : fd;
}

/* Once, ms after its beginning. On the way to an IPv6 server it is another connection that takes the number. */
static int replaced(int ms, const char *address)
{
	struct sockaddr_in6 to6 = { .sin6_family = AF_INET6, .sin6_port = to.sin_port };
	bool v6 = inet_pton(AF_INET6, address, &to6.sin6_addr) == 1;
	const struct sockaddr *sa = v6 ? (struct sockaddr *)&to6 : (struct sockaddr *)&to;
	struct pollfd p = { .events = POLLOUT };

	if (v6)
		null = connection_to_itself();
	p.fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	handle(replaces);
	atomic_store(&fd_now, p.fd);
	alarm_us(ms * 1000L);
	(void)!connect(p.fd, sa, v6 ? sizeof(to6) : sizeof(to));
	poll(&p, 1, 1000);
	how = "dup2";
	printf("%s\n", (v6 ? send(p.fd, "x", 1, MSG_NOSIGNAL) == 1 : is_right(p.fd)) ?
			       "still there" :
			       "gone");
	return 0;
}

static void by_jump(int rounds)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLET };
	volatile int epfd = epoll_create1(0);

	handle(jumps);
	for (volatile int i = 0; i < rounds; i++) {
		volatile int fd = make(SOCK_STREAM | SOCK_NONBLOCK);

		if (sigsetjmp(out, 1) == 0) {
			alarm_us(1 + rand() % 400);
			epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event);
			(void)!connect(fd, (struct sockaddr *)&to, sizeof(to));
			epoll_ctl(epfd, EPOLL_CTL_MOD, fd, &event);
			epoll_wait(epfd, &event, 1, 1);
			for (;;)
				pause();
		}
		alarm_us(0);
		close(fd);
	}
	signal(SIGALRM, SIG_DFL);
	/* until then a frame that was left may look like one that is only interrupted */
	poll(NULL, 0, 1100);
}

/* The signal comes after so many milliseconds. */
static void by_first(int ms)
{
	handle(jumps);
	if (sigsetjmp(out, 1) == 0) {
		alarm_us(ms * 1000L);
		socket(AF_INET, SOCK_STREAM, 0);
		printf("the signal is late\n");
	}
	signal(SIGALRM, SIG_DFL);
	if (strcmp(how, "first") == 0)
		poll(NULL, 0, 1100); /* as above */
}

/* ------------------------------------------------------------------------ afterwards */

static void *works(void *arg)
{
	const struct epoll_event wanted = { .events = EPOLLIN | EPOLLOUT | EPOLLET };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), epfd = epoll_create1(0), r;
	struct epoll_event event = wanted;
	char byte;

	(void)arg;
	epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event);
	(void)!connect(fd, (struct sockaddr *)&to, sizeof(to));
	do
		r = epoll_wait(epfd, &event, 1, 5000);
	while (r == 1 && event.events & EPOLLHUP);
	r = r == 1 && send(fd, "x", 1, 0) == 1;
	close(fd);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	if (r && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 && send(fd, "x", 1, 0) == 1 &&
	    recv(fd, &byte, 1, 0) == 1 && byte == 'x')
		printf("works\n");
	else
		printf("does not: %s\n", strerrorname_np(errno));
	close(fd);
	return NULL;
}

static void works_in_a_thread(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, works, NULL) == 0)
		pthread_join(thread, NULL);
}

static int count_open(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

int main(int argc, char **argv)
{
	int rounds = argc == 5 || argc == 6 ? atoi(argv[2]) : 0, open_before;

	if (!rounds)
		return 2;
	how = argv[1];
	null = open("/dev/null", O_RDONLY);
	to = (struct sockaddr_in){ .sin_family = AF_INET,
				   .sin_port = htons((in_port_t)atoi(argv[4])) };
	inet_pton(AF_INET, argv[3], &to.sin_addr);
	if (strcmp(how, "late-handler") == 0)
		return replaced(rounds, argv[3]);
	if (strcmp(how, "late-connect") == 0 && argc == 6)
		return late_connect(rounds, argv[5]);
	if (strncmp(how, "late-", 5) == 0)
		return late(rounds);
	round_to = to;
	if (argc == 6) {
		round_to.sin_port = htons((in_port_t)atoi(argv[5]));
		within_us = 2000;
		most_spins = 1500000;
	}
	open_before = count_open();
	if (strcmp(how, "handler") == 0)
		by_handler(rounds);
	else if (strcmp(how, "jump") == 0)
		by_jump(rounds);
	else if (strncmp(how, "first", 5) == 0)
		by_first(rounds);
	else
		by_thread(rounds);
	if (count_open() != open_before && strcmp(how, "jump") != 0 &&
	    strncmp(how, "first", 5) != 0)
		printf("left over: %d\n", count_open() - open_before);
	if (strcmp(how, "first-thread") != 0)
		works(NULL);
	works_in_a_thread();
	return 0;
}

// SPDX-License-Identifier: MIT
/*
 * t_storm - one thing that is difficult, again and again, with every byte checked. Each case ends
 * with a line that says how often; anything wrong is a line of its own and exit 1. TARGET echoes;
 * GOOD's port is one that is closed.
 */
#include "say.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sched.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static _Noreturn void bad(const char *what, long number)
{
	say("WRONG: %s (%ld) errno %s", what, number, say_errno(errno));
	_exit(1);
}

static int begin_connect(int flags)
{
	int fd = new_socket(flags);
	int r = connect(fd, (struct sockaddr *)&target.sa, target.len);

	if (r < 0 && errno != EINPROGRESS && errno != EINTR)
		bad("connect", r);
	return fd;
}

static void wait_until_connected(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	int err = 0, r;
	socklen_t len = sizeof(err);

	do {
		r = poll(&p, 1, LONG);
	} while (r < 0 && errno == EINTR);
	if (r != 1 || p.revents != POLLOUT)
		bad("poll", r == 1 ? p.revents : r);
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 || err)
		bad("SO_ERROR", err);
}

static void send_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t r = send(fd, p, n, MSG_NOSIGNAL);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			bad("send", r);
		p += r;
		n -= (size_t)r;
	}
}

static void recv_all(int fd, char *p, size_t n)
{
	while (n) {
		ssize_t r = recv(fd, p, n, 0);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			bad("recv", r);
		p += r;
		n -= (size_t)r;
	}
}

/* Our bytes come back, nothing before and nothing after. */
static void echo(int fd, unsigned int seed, size_t n)
{
	char out[512], in[512];

	for (size_t i = 0; i < n; i++)
		out[i] = (char)(seed * 2654435761u >> 24 ^ i * 37);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	send_all(fd, out, n);
	recv_all(fd, in, n);
	if (memcmp(out, in, n) != 0)
		bad("bytes differ", (long)seed);
	if (recv(fd, in, 1, MSG_DONTWAIT) != -1 || errno != EAGAIN)
		bad("bytes too many", (long)seed);
}

static void finish(int fd, unsigned int seed)
{
	wait_until_connected(fd);
	echo(fd, seed, 1 + seed % 500);
	close(fd);
}

/* -------------------------------------------------------------------- handler */

#define VICTIMS 8

static struct victim {
	int fd, written, uses;
} victims[VICTIMS];
static int current = -1; /* what the main program is busy with */
static volatile int handler_runs;
static volatile int handler_bad;

/* What a victim has echoed must be what was written: nothing of a Convert reply. */
static void end_victim(struct victim *v)
{
	char text[64];
	ssize_t n = recv(v->fd, text, sizeof(text), MSG_DONTWAIT);

	for (ssize_t i = 0; i < n; i++)
		handler_bad |= text[i] != 'v';
	handler_bad |= n > v->written;
	close(v->fd);
	v->fd = -1;
}

static void use_victim(struct victim *v)
{
	int r;

	if (v->fd < 0) {
		v->fd = socket(target.sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
		v->written = v->uses = 0;
		r = connect(v->fd, (struct sockaddr *)&target.sa, target.len);
		handler_bad |= r == 0 || errno != EINPROGRESS ? 2 : 0;
	} else if (v->written < 3) {
		v->written += write(v->fd, "v", 1) == 1;
	}
	if (v->written >= 3 || ++v->uses > 12)
		end_victim(v);
}

static void on_alarm(int sig)
{
	int saved_errno = errno, fd = current;
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLOUT };
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);
	char byte;

	(void)sig;
	handler_runs++;
	if (fd >= 0) {
		poll(&p, 1, 0);
		recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK);
		send(fd, "", 0, MSG_DONTWAIT | MSG_NOSIGNAL);
		getpeername(fd, (struct sockaddr *)&peer, &len);
		connect(fd, (struct sockaddr *)&target.sa, target.len);
	}
	use_victim(&victims[handler_runs % VICTIMS]);
	errno = saved_errno;
}

static void on_fault(int sig)
{
	_exit(sig);
}

static void every_us(int us, int flags)
{
	struct sigaction action = { .sa_handler = on_alarm, .sa_flags = flags };
	struct itimerval when = { { 0, us }, { 0, us } };

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &when, NULL);
}

static int ways_to_connect(int i, int flags)
{
	struct epoll_event event = { .events = EPOLLOUT };
	int fd, ep, r;

	if (i % 3 == 0) { /* blocking; EINTR only without SA_RESTART, and it goes on by itself */
		fd = current = new_socket(0);
		r = connect(fd, (struct sockaddr *)&target.sa, target.len);
		if (r < 0 && errno != EISCONN && (errno != EINTR || flags & SA_RESTART))
			bad("blocking connect", i);
		return fd;
	}
	fd = begin_connect(SOCK_NONBLOCK);
	current = fd;
	if (i % 3 == 1)
		return fd;
	ep = epoll_create1(0);
	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event);
	do {
		r = epoll_wait(ep, &event, 1, LONG);
	} while (r < 0 && errno == EINTR);
	if (r != 1)
		bad("epoll_wait", r);
	close(ep);
	return fd;
}

/* A signal handler that itself uses pending connections: the one that was interrupted and its own
 * (TRAPS 2.7). flags: SA_RESTART or not. */
static void storm_handler(int flags)
{
	int rounds = 0;
	int64_t end = now_ms() + 2500;
	struct sigaction fault = { .sa_handler = on_fault };

	for (int i = 0; i < VICTIMS; i++)
		victims[i].fd = -1;
	sigaction(SIGSEGV, &fault, NULL); /* Python's faulthandler and others do that */
	every_us(300, flags);
	for (; now_ms() < end; rounds++) {
		int fd = ways_to_connect(rounds, flags);

		wait_until_connected(fd);
		echo(fd, (unsigned int)rounds, 1 + (size_t)rounds % 500);
		current = -1;
		close(fd);
		if (handler_bad)
			bad("handler", handler_bad);
	}
	say("handler: %s", rounds > 20 && handler_runs > 500 ? "enough" : "too few");
	say("%d connections, %d handler runs", rounds, handler_runs);
}

/* ------------------------------------------------------- handler, many epoll sets */

#define SETS 64

static void until_connected(int sig)
{
	struct pollfd p = { .fd = current, .events = POLLOUT };
	int saved_errno = errno;

	(void)sig;
	/* where only the interrupted frame can go on it is EINTR */
	for (int tries = 0; tries < 4 && poll(&p, 1, 20) != 1; tries++)
		;
	handler_runs++;
	errno = saved_errno;
}

static void connect_in_sets(const int sets[], int after_us)
{
	struct epoll_event event = { .events = EPOLLOUT };
	struct itimerval when = { { 0, 0 }, { 0, after_us } }, never = { 0 };
	int fd = new_socket(SOCK_NONBLOCK);

	current = fd;
	for (int i = 0; i < SETS; i++) {
		event.data.fd = sets[i];
		if (epoll_ctl(sets[i], EPOLL_CTL_ADD, fd, &event) < 0)
			bad("epoll_ctl", i);
	}
	setitimer(ITIMER_REAL, &when, NULL);
	if (connect(fd, (struct sockaddr *)&target.sa, target.len) == 0 || errno != EINPROGRESS)
		bad("connect", after_us);
	setitimer(ITIMER_REAL, &never, NULL);
	for (int i = 0; i < SETS; i++) {
		int r = epoll_wait(sets[i], &event, 1, LONG);

		if (r != 1 || event.events != EPOLLOUT || event.data.fd != sets[i])
			bad("epoll_wait", r == 1 ? (long)event.events : r);
	}
	echo(fd, (unsigned int)after_us, 20);
	close(fd);
}

/* A signal handler that waits until the connection is up, while the interrupted frame is at its
 * registrations. */
static void storm_sets(int n)
{
	struct sigaction action = { .sa_handler = until_connected };
	int sets[SETS];

	sigaction(SIGALRM, &action, NULL);
	for (int i = 0; i < SETS; i++)
		sets[i] = epoll_create1(0);
	for (int i = 0; i < n || (handler_runs <= 10 && i < 20 * n);
	     i++) /* a fast machine is soon through */
		connect_in_sets(sets, 20 + i * 7 % 600);
	say("handler: %s", handler_runs > 10 ? "enough" : "too few");
	say("%d connections, %d handler runs", n, handler_runs);
}

/* --------------------------------------------------------------------- cancel */

struct cancelled {
	int way;
	int fd;
	atomic_int inside;
};

/* close() could be cancelled itself. */
static void close_it(void *fd)
{
	syscall(SYS_close, (int)(intptr_t)fd);
}

#define BYSTANDERS 300 /* more than we would keep on the stack */

static int bystanders[2]; /* a pipe that stays empty; its copies have the numbers behind it */

static void poll_many(int fd)
{
	struct pollfd many[BYSTANDERS + 1] = { { .fd = fd, .events = POLLOUT } };

	for (int i = 1; i <= BYSTANDERS; i++)
		many[i] = (struct pollfd){ .fd = bystanders[0], .events = POLLIN };
	poll(many, BYSTANDERS + 1, LONG);
}

static void select_many(int fd)
{
	struct timeval limit = { LONG / 1000, 0 };
	fd_set in, out;

	FD_ZERO(&in);
	FD_ZERO(&out);
	FD_SET(fd, &out);
	for (int i = 0; i < BYSTANDERS; i++)
		FD_SET(bystanders[1] + 1 + i, &in);
	select((fd > bystanders[1] ? fd : bystanders[1]) + 1 + BYSTANDERS, &in, &out, NULL, &limit);
}

static void *wait_to_be_cancelled(void *arg)
{
	struct cancelled *c = arg;
	struct epoll_event event = { .events = EPOLLOUT };
	struct pollfd p = { .fd = c->fd, .events = POLLOUT };
	char byte;
	int ep;

	c->inside = 1;
	if (c->way == 0) {
		connect(c->fd, (struct sockaddr *)&target.sa, target.len);
		return NULL;
	}
	fcntl(c->fd, F_SETFL, O_NONBLOCK);
	connect(c->fd, (struct sockaddr *)&target.sa, target.len);
	switch (c->way) {
	case 1:
		poll(&p, 1, LONG);
		break;
	case 2:
		ep = epoll_create1(0);
		pthread_cleanup_push(close_it, (void *)(intptr_t)ep);
		epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &event);
		epoll_wait(ep, &event, 1, LONG);
		pthread_cleanup_pop(1);
		break;
	case 3:
		poll_many(c->fd);
		break;
	case 4:
		select_many(c->fd);
		break;
	default:
		fcntl(c->fd, F_SETFL, 0);
		recv(c->fd, &byte, 1, 0);
	}
	return NULL;
}

static int count_fds(bool show)
{
	char path[32], what[128];
	ssize_t len;
	int n = 0;

	for (int fd = 0; fd < 4096; fd++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		len = readlink(path, what, sizeof(what));
		n += len > 0;
		if (show && len > 0)
			say("%d: %.*s", fd, (int)len, what);
	}
	return n;
}

static long mapped_kb(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	long pages = 0;

	if (!file || fscanf(file, "%ld", &pages) != 1)
		bad("statm", pages);
	fclose(file);
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void make_bystanders(void)
{
	if (pipe(bystanders) < 0)
		bad("pipe", 0);
	for (int i = 0; i < BYSTANDERS; i++)
		if (dup(bystanders[0]) != bystanders[1] + 1 + i)
			bad("dup", i);
}

/* So many at once as are hardly left behind: what is mapped for more than a few connections is mapped then. */
static void begin_many(void)
{
	int fds[100];

	for (int i = 0; i < 100; i++)
		fds[i] = begin_connect(SOCK_NONBLOCK);
	for (int i = 0; i < 100; i++)
		finish(fds[i], (unsigned int)i);
}

/* Threads that are cancelled in the midst of it (TRAPS 2.8). */
static void storm_cancel(int n)
{
	int before, cancelled = 0;
	long warm_kb = 0, more_kb;

	begin_many();
	make_bystanders();
	before = count_fds(false);
	for (int i = 0; i < n; i++) {
		struct cancelled c = { .way = i % 6, .fd = new_socket(0) };
		pthread_t thread;
		void *result;

		pthread_create(&thread, NULL, wait_to_be_cancelled, &c);
		while (!c.inside)
			sched_yield();
		if (i % 8)
			usleep((unsigned int)(i * 7919 % 1000));
		pthread_cancel(thread);
		pthread_join(thread, &result);
		cancelled += result == PTHREAD_CANCELED;
		if (i % 50 == 0) /* what was left by the cancelled thread still works */
			close(dup(c.fd));
		close(c.fd);
		if (i == n / 4)
			warm_kb = mapped_kb();
		if (i % 100 == 99)
			finish(begin_connect(i % 200 == 99 ? 0 : SOCK_NONBLOCK), (unsigned int)i);
	}
	say("descriptors: %s", count_fds(false) == before ? "as before" : "more");
	if (count_fds(false) != before)
		count_fds(true);
	more_kb = mapped_kb() - warm_kb;
	say("mappings: %s", more_kb < n / 4 ? "as before" : "more");
	say("cancelled: %s", cancelled > n / 8 ? "enough" : "too few");
	say("%d of %d cancelled, %ld kB more", cancelled, n, more_kb);
}

/* Calls that are no cancellation points stay none, though our part of them waits or reads. */
struct later {
	bool waits; /* by syscall(), for the connection */
	int fd, waited;
};

static _Noreturn void *be_cancelled_later(void *arg)
{
	struct later *later = arg;
	struct timespec limit = { .tv_sec = 5 };
	struct pollfd p = { .events = POLLOUT };
	char *argv[] = { (char *)(intptr_t) "true", NULL };
	pid_t child = -1;

	pthread_cancel(pthread_self());
	later->fd = socket(target.sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	connect(later->fd, (struct sockaddr *)&target.sa, target.len);
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
	p.fd = later->fd;
	if (later->waits)
		later->waited = (int)syscall(SYS_ppoll, &p, 1, &limit, NULL, sizeof(uint64_t));
	if (posix_spawn(&child, "/bin/true", NULL, NULL, argv, environ) != 0)
		bad("posix_spawn", child);
	waitpid(child, NULL, 0);
	bad("waitpid is a cancellation point", child);
}

static void storm_cancel_first(int n)
{
	pthread_t thread;
	void *result;

	for (int i = 0; i < n; i++) {
		struct later later = { .waits = i % 2, .fd = -1 };

		pthread_create(&thread, NULL, be_cancelled_later, &later);
		pthread_join(thread, &result);
		if (result != PTHREAD_CANCELED || later.fd < 0)
			bad("cancelled", later.fd);
		if (later.waited != later.waits)
			bad("ppoll by syscall()", later.waited);
		if (wait(NULL) < 0)
			bad("no child", i);
		finish(later.fd, (unsigned int)i);
	}
	say("%d connections", n);
}

/* A thread that may be cancelled at any moment is so in a system call by its number, too. */
static void *wait_by_number(void *arg)
{
	_Atomic bool *inside = arg;
	struct epoll_event event;
	int epfd = epoll_create1(0);

	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	atomic_store(inside, true);
	syscall(SYS_epoll_pwait, epfd, &event, 1, -1, NULL, 8);
	return NULL;
}

static void storm_cancel_number(int n)
{
	for (int i = 0; i < n; i++) {
		int fd = begin_connect(SOCK_NONBLOCK);
		_Atomic bool inside = false;
		struct timespec limit;
		pthread_t thread;
		void *result;

		if (i % 2)
			wait_until_connected(fd);
		pthread_create(&thread, NULL, wait_by_number, &inside);
		while (!atomic_load(&inside))
			sched_yield();
		usleep(5000);
		pthread_cancel(thread);
		clock_gettime(CLOCK_REALTIME, &limit);
		limit.tv_sec += 5;
		if (pthread_timedjoin_np(thread, &result, &limit) != 0 ||
		    result != PTHREAD_CANCELED)
			bad("not cancelled", i);
		finish(fd, (unsigned int)i);
	}
	say("%d threads", n);
}

/* ------------------------------------------------- closed while connect() waits */

static struct {
	int listener, client, waiting; /* client is connected, and not accepted yet */
} closed;

static void prepare_closed(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof(a);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	closed.listener = socket(AF_INET, SOCK_STREAM, 0);
	closed.client = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(closed.listener, (struct sockaddr *)&a, len) < 0 ||
	    listen(closed.listener, 1) < 0 ||
	    getsockname(closed.listener, (struct sockaddr *)&a, &len) < 0 ||
	    connect(closed.client, (struct sockaddr *)&a, len) < 0)
		bad("own connection", closed.listener);
	closed.waiting = new_socket(0);
}

/* The number becomes another connection, on which a byte is waiting. */
static void close_and_accept(int sig)
{
	int saved_errno = errno;

	(void)sig;
	close(closed.waiting);
	if (accept(closed.listener, NULL, NULL) != closed.waiting)
		bad("accept", closed.waiting);
	if (send(closed.client, "x", 1, 0) != 1)
		bad("send", closed.waiting);
	handler_runs++;
	errno = saved_errno;
}

static void *wait_in_connect(void *arg)
{
	(void)arg;
	connect(closed.waiting, (struct sockaddr *)&target.sa, target.len);
	return NULL;
}

/* Nobody but its owner has read from it, or reset it. */
static void check_closed(void)
{
	char byte = 0;

	if (recv(closed.waiting, &byte, 1, 0) != 1 || byte != 'x')
		bad("a byte is missing", byte);
	if (send(closed.waiting, "y", 1, MSG_NOSIGNAL) != 1 ||
	    recv(closed.client, &byte, 1, 0) != 1 || byte != 'y')
		bad("another's connection was reset", byte);
	close(closed.listener);
	close(closed.client);
	close(closed.waiting);
}

static void storm_closed(int n)
{
	struct sigaction action = { .sa_handler = close_and_accept, .sa_flags = SA_RESTART };
	struct itimerval when = { { 0, 0 }, { 0, 20000 } };
	pthread_t thread;

	sigaction(SIGALRM, &action, NULL);
	for (int i = 0; i < n; i++) { /* by a signal handler, while there is one thread */
		prepare_closed();
		setitimer(ITIMER_REAL, &when, NULL);
		wait_in_connect(NULL);
		while (handler_runs <= i)
			usleep(1000);
		check_closed();
	}
	for (int i = 0; i < n; i++) { /* by another thread */
		prepare_closed();
		pthread_create(&thread, NULL, wait_in_connect, NULL);
		usleep(20000);
		close_and_accept(0);
		pthread_join(thread, NULL);
		check_closed();
	}
	say("%d connections", 2 * n);
}

/* ------------------------------------------------------------- vfork, spawn, fork */

static void in_vfork(int fd, int way)
{
	pid_t child = vfork();

	if (child == 0) { /* it runs in our memory */
		if (way == 0)
			close(fd);
		else if (way == 1)
			dup2(STDERR_FILENO, fd);
		else if (way == 2)
			close_range(3, ~0u, 0);
		else
			closefrom(3);
		execl("/bin/true", "true", (char *)NULL);
		_exit(127);
	}
	waitpid(child, NULL, 0);
}

static void by_spawn(int fd, int way)
{
	posix_spawn_file_actions_t actions;
	char *argv[] = { (char *)(intptr_t) "true", NULL };
	pid_t child;

	posix_spawn_file_actions_init(&actions);
	if (way == 0)
		posix_spawn_file_actions_addclose(&actions, fd);
	else if (way == 1)
		posix_spawn_file_actions_adddup2(&actions, fd, STDIN_FILENO);
	else
		posix_spawn_file_actions_addclosefrom_np(&actions, 3);
	if (posix_spawn(&child, "/bin/true", &actions, NULL, argv, environ) != 0)
		bad("posix_spawn", way);
	waitpid(child, NULL, 0);
	posix_spawn_file_actions_destroy(&actions);
}

/* Children that close the descriptor in our own memory (TRAPS 2.5). */
static void storm_vfork(int n)
{
	for (int i = 0; i < n; i++) {
		int fd = begin_connect(SOCK_NONBLOCK);
		struct pollfd p = { .fd = fd, .events = POLLOUT };

		switch (i % 8) {
		case 7:
			if (system("true") != 0)
				bad("system", i);
			break;
		case 6:
		case 5:
		case 4:
			by_spawn(fd, i % 8 - 4);
			break;
		default:
			in_vfork(fd, i % 8);
		}
		poll(&p, 1, 0);
		finish(fd, (unsigned int)i);
	}
	say("%d connections", n);
}

static int outcome_by(int fd, int way)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	struct epoll_event event = { .events = EPOLLOUT };
	struct timeval limit = { LONG / 1000, 0 };
	fd_set out;
	int ep, r;

	FD_ZERO(&out);
	FD_SET(fd, &out);
	if (way == 0) {
		r = poll(&p, 1, LONG);
	} else if (way == 1) {
		r = select(fd + 1, NULL, &out, NULL, &limit);
	} else if (way == 2) {
		ep = epoll_create1(0);
		epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event);
		r = epoll_wait(ep, &event, 1, LONG);
		close(ep);
	} else { /* blocking: a write waits for the connection */
		fcntl(fd, F_SETFL, 0);
		r = send(fd, "", 0, MSG_NOSIGNAL) == 0 ? 1 : -1;
	}
	return r;
}

/* Two processes wait for one connection; both get it, its reply is read once, and then one of
 * them goes on with the stream (TRAPS 2.6). */
static void storm_fork(int n)
{
	for (int i = 0; i < n; i++) {
		int fd = begin_connect(SOCK_NONBLOCK), status = -1, err = -1;
		socklen_t len = sizeof(err);
		pid_t child = fork();

		if (child == 0) {
			int r = outcome_by(fd, i % 4);

			if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 || err || r != 1)
				bad("child", i * 1000 + r);
			if (i % 8 >= 4) /* this time the child goes on */
				echo(fd, (unsigned int)i, 1 + (size_t)i % 500);
			_exit(0);
		}
		if (outcome_by(fd, i / 4 % 4) != 1)
			bad("parent", i);
		if (i % 8 < 4)
			echo(fd, (unsigned int)i, 1 + (size_t)i % 500);
		if (waitpid(child, &status, 0) != child || status)
			bad("child's status", status);
		if (i % 8 >= 4)
			echo(fd, (unsigned int)i, 20);
		close(fd);
	}
	say("%d connections", n);
}

/* A child that brings the connection to its end, but has closed the set that it is registered in. */
static void storm_fork_set(int n)
{
	for (int i = 0; i < n; i++) {
		int fd = begin_connect(SOCK_NONBLOCK), ep = epoll_create1(0), status = -1;
		struct epoll_event event = { .events = EPOLLOUT | (i % 2 ? EPOLLET : 0) };
		pid_t child;

		if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event) < 0)
			bad("epoll_ctl", i);
		child = fork();
		if (child == 0) {
			close(ep);
			wait_until_connected(fd);
			_exit(0);
		}
		if (waitpid(child, &status, 0) != child || status)
			bad("child's status", status);
		if (epoll_wait(ep, &event, 1, LONG) != 1 || event.events != EPOLLOUT)
			bad("epoll_wait", (long)event.events);
		close(ep);
		finish(fd, (unsigned int)i);
	}
	say("%d connections", n);
}

static atomic_bool enough_forks;

static void *connect_on_and_on(void *arg)
{
	atomic_int *connected = arg;

	while (!enough_forks) {
		finish(begin_connect(*connected % 2 ? 0 : SOCK_NONBLOCK), 7);
		++*connected;
	}
	return NULL;
}

/* Children that close what other threads were connecting at that moment. */
static void storm_fork_closing(int n)
{
	pthread_t threads[8];
	atomic_int connected = 0;
	int status;

	for (int i = 0; i < 8; i++)
		pthread_create(&threads[i], NULL, connect_on_and_on, &connected);
	for (int i = 0; i < n; i++) {
		pid_t child = fork();

		if (child == 0) {
			alarm(LONG / 1000);
			for (int fd = 3; fd < 30; fd++)
				close(fd);
			_exit(0);
		}
		if (waitpid(child, &status, 0) != child || status)
			bad("child's status", status);
	}
	enough_forks = true;
	for (int i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	say("%d forks, %d connections", n, connected);
}

/* ------------------------------------------------------------------- raw close */

static void other_socket(int fd)
{
	int again = begin_connect(SOCK_NONBLOCK);

	if (again != fd)
		bad("number", again);
	finish(again, (unsigned int)fd);
}

static void other_pipe(int fd)
{
	int fds[2];
	char byte = 0;
	struct pollfd p = { .fd = fd, .events = POLLIN };

	if (pipe(fds) < 0 || fds[0] != fd)
		bad("number", fds[0]);
	if (poll(&p, 1, 0) != 0 || write(fds[1], "x", 1) != 1)
		bad("empty pipe", p.revents);
	if (poll(&p, 1, 0) != 1 || p.revents != POLLIN || read(fd, &byte, 1) != 1 || byte != 'x')
		bad("pipe", p.revents);
	close(fds[0]);
	close(fds[1]);
}

static void other_file(int fd)
{
	char text[8] = "";
	int again = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	if (again != fd)
		bad("number", again);
	if (read(again, text, 4) != 4 || memcmp(text, "\177ELF", 4) != 0)
		bad("file", text[0]);
	close(again);
}

static void other_pair(int fd)
{
	int fds[2];
	char byte = 0;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0 || fds[0] != fd)
		bad("number", fds[0]);
	if (recv(fd, &byte, 1, MSG_DONTWAIT) >= 0 || errno != EAGAIN ||
	    send(fds[1], "y", 1, 0) != 1 || recv(fd, &byte, 1, 0) != 1 || byte != 'y')
		bad("socketpair", byte);
	close(fds[0]);
	close(fds[1]);
}

static void other_listener(int fd)
{
	struct sockaddr_storage a = { .ss_family = AF_INET };
	socklen_t len = sizeof(a);
	int listener = socket(AF_INET, SOCK_STREAM, 0), fds[2];
	struct pollfd p = { .fd = listener, .events = POLLIN };

	((struct sockaddr_in *)&a)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (listener != fd ||
	    bind(listener, (struct sockaddr *)&a, sizeof(struct sockaddr_in)) < 0 ||
	    listen(listener, 1) < 0 || getsockname(fd, (struct sockaddr *)&a, &len) < 0)
		bad("listener", listener);
	fds[0] = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(fds[0], (struct sockaddr *)&a, len) < 0 || poll(&p, 1, LONG) != 1)
		bad("own connection", p.revents);
	fds[1] = accept(listener, NULL, NULL);
	if (fds[1] < 0 || send(fds[1], "z", 1, 0) != 1 || recv(fds[0], &fds[1], 1, 0) != 1)
		bad("own connection", fds[1]);
	closefrom(fd);
}

/* The number of a pending connection is closed behind libc's back and becomes something else
 * (TRAPS 2.3, 2.4). */
static void storm_rawclose(int n)
{
	static void (*const others[])(int) = { other_socket, other_pipe, other_file, other_pair,
					       other_listener };
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT };
	int ep = epoll_create1(0);

	for (int i = 0; i < n; i++) {
		int fd = begin_connect(SOCK_NONBLOCK);

		if (i % 2)
			epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event);
		if (i % 3)
			usleep((unsigned int)(i * 7919 % 3000));
		if (i % 7 == 0)
			finish(dup(fd), (unsigned int)i);
		syscall(SYS_close, fd);
		others[i % 5](fd);
		if (epoll_wait(ep, &event, 1, 0) != 0)
			bad("an event of a closed descriptor", (long)event.events);
	}
	finish(begin_connect(0), 1);
	say("%d connections", n);
}

/* ------------------------------------------------------------------------ many */

/* Very many at a time in one process and one epoll set (5,000 pending connections). */
static void storm_many(int n)
{
	struct rlimit limit = { (rlim_t)n + 100, (rlim_t)n + 100 };
	struct epoll_event events[64], event = { .events = EPOLLOUT };
	int ep = epoll_create1(0), up = 0, err;
	char *seen = calloc((size_t)n + 200, 1);
	socklen_t len = sizeof(err);

	if (setrlimit(RLIMIT_NOFILE, &limit) < 0 || !seen)
		bad("setrlimit", n);
	for (int i = 0; i < n; i++) {
		event.data.fd = begin_connect(SOCK_NONBLOCK);
		if (epoll_ctl(ep, EPOLL_CTL_ADD, event.data.fd, &event) < 0)
			bad("epoll_ctl", i);
	}
	while (up < n) {
		int got = epoll_wait(ep, events, 64, 15000);

		if (got <= 0)
			bad("epoll_wait, so many up", up);
		for (int i = 0; i < got; i++, up++) {
			int fd = events[i].data.fd;

			if (events[i].events != EPOLLOUT || fd < 0 || fd >= n + 100 || seen[fd]++)
				bad("event", (long)events[i].events);
			epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL);
			if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 || err)
				bad("SO_ERROR", err);
			echo(fd, (unsigned int)fd, 16);
		}
	}
	free(seen);
	say("%d connections", n);
}

int main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		{ "handler", storm_handler, 0 },
		{ "handler-restart", storm_handler, SA_RESTART },
		{ "sets", storm_sets, 300 },
		{ "cancel", storm_cancel, 2000 },
		{ "cancel-first", storm_cancel_first, 40 },
		{ "cancel-number", storm_cancel_number, 40 },
		{ "closed", storm_closed, 4 },
		{ "fork-closing", storm_fork_closing, 600 },
		{ "fork-set", storm_fork_set, 40 },
		{ "vfork", storm_vfork, 240 },
		{ "fork", storm_fork, 240 },
		{ "rawclose", storm_rawclose, 400 },
		{ "many", storm_many, 5000 },
	};

	return say_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}

// SPDX-License-Identifier: MIT
/*
 * t_random - 64 threads that connect, duplicate, close and use descriptor numbers again at random,
 * with forks and signals between them. Every byte that is echoed is compared; at the end no
 * descriptor and no memory may be left over.
 *
 * TARGET echoes, GOOD's port is a closed one. SECONDS and SEED are taken from the environment.
 */
#include "say.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS	 64
#define OWN_BASE 600 /* numbers from here on are reserved, one for each thread: for dup2() */

static atomic_long n_ops, n_bytes, n_early, n_refused, n_forks, n_signals, n_dups, n_dropped;
static atomic_bool stop;
static unsigned int seed;

struct worker {
	int index;
	uint64_t state;
	_Atomic int busy_with; /* for the signal handler: a descriptor of this thread, or -1 */
	atomic_bool refused;   /* I/O would take the error away */
};

static struct worker workers[THREADS];
static __thread struct worker *me;

static _Noreturn void bad(const char *what, long number)
{
	say("WRONG: %s (%ld) errno %s, thread %d after %ld operations", what, number,
	    say_errno(errno), me ? me->index : -1, (long)n_ops);
	_exit(1);
}

static unsigned int any(unsigned int n) /* xorshift */
{
	me->state ^= me->state << 13;
	me->state ^= me->state >> 7;
	me->state ^= me->state << 17;
	return (unsigned int)(me->state >> 33) % n;
}

/* ------------------------------------------------------------------ connections */

/* Behind libc's back, but for ThreadSanitizer, which follows descriptors by close(). */
static void close_raw(int fd)
{
#ifdef __SANITIZE_THREAD__
	close(fd);
#else
	syscall(SYS_close, fd);
#endif
}

static int open_socket(int flags)
{
	int fd = socket(target.sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

	if (fd < 0)
		bad("socket", fd);
	return fd;
}

static int begin(const struct target *t, bool *blocking)
{
	int fd, r;

	*blocking = any(2);
	fd = open_socket(*blocking ? 0 : SOCK_NONBLOCK);
	me->busy_with = fd;
	r = connect(fd, (const struct sockaddr *)&t->sa, t->len);
	if (r < 0 && errno != EINPROGRESS && errno != ECONNREFUSED)
		bad("connect", r);
	if (r < 0 && errno == ECONNREFUSED && t == &target)
		bad("refused", r);
	*blocking = r == 0;
	return fd;
}

static int wait_poll(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	int r;

	do {
		r = poll(&p, 1, LONG);
	} while (r < 0 && errno == EINTR);
	return r;
}

static int wait_select(int fd)
{
	struct timeval limit = { LONG / 1000, 0 };
	fd_set out;
	int r;

	if (fd >= FD_SETSIZE)
		return wait_poll(fd);
	do {
		FD_ZERO(&out);
		FD_SET(fd, &out);
		r = select(fd + 1, NULL, &out, NULL, &limit);
	} while (r < 0 && errno == EINTR);
	return r;
}

static int wait_epoll(int fd, uint32_t mode)
{
	struct epoll_event event = { .events = EPOLLOUT | mode, .data.fd = fd };
	int ep = epoll_create1(EPOLL_CLOEXEC), r;

	if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event) < 0)
		bad("epoll_ctl", fd);
	event.data.fd = -1;
	do {
		r = epoll_wait(ep, &event, 1, LONG);
	} while (r < 0 && errno == EINTR);
	if (r == 1 && event.data.fd != fd)
		bad("data word", event.data.fd);
	close(ep);
	return r;
}

static int wait_any(int fd)
{
	switch (any(6)) {
	case 0:
		return wait_select(fd);
	case 1:
		return wait_epoll(fd, 0);
	case 2:
		return wait_epoll(fd, EPOLLET);
	case 3:
		return wait_epoll(fd, EPOLLONESHOT);
	case 4: /* a blocking write of nothing waits, too */
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
		return send(fd, "", 0, MSG_NOSIGNAL) == 0 ? 1 : -1;
	default:
		return wait_poll(fd);
	}
}

/* Duplicates of it may take its place while it is pending. */
static int change_number(int fd)
{
	int own = OWN_BASE + me->index, other;

	switch (fd == own ? 7 : any(8)) {
	case 0:
		other = dup(fd);
		break;
	case 1:
		other = fcntl(fd, F_DUPFD_CLOEXEC, 100 + (int)any(100));
		break;
	case 2:
		other = dup2(fd, own);
		break;
	default:
		return fd;
	}
	if (other < 0)
		bad("dup", fd);
	me->busy_with = other;
	if (any(3))
		close(fd);
	else
		close_raw(fd);
	n_dups++;
	return other;
}

#define ECHO_MOST 4096

static void fill(char *out, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = (char)any(256);
}

/* Some of out may have been sent already. */
static void echo_rest(int fd, const char *out, size_t n, size_t sent)
{
	char in[ECHO_MOST];
	size_t got = 0;

	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	while (got < n) {
		ssize_t r = 0;

		if (sent < n)
			r = send(fd, out + sent, n - sent, MSG_NOSIGNAL);
		if (r < 0 && errno != EINTR)
			bad("send", (long)sent);
		sent += r > 0 ? (size_t)r : 0;
		r = read(fd, in + got, n - got);
		if (r == 0 || (r < 0 && errno != EINTR))
			bad("read", r);
		got += r > 0 ? (size_t)r : 0;
	}
	if (memcmp(in, out, n) != 0)
		bad("bytes differ", (long)n);
	if (recv(fd, in, 1, MSG_DONTWAIT) != -1 || errno != EAGAIN)
		bad("too many bytes", (long)n);
	n_bytes += (long)n;
}

static void echo(int fd, size_t n)
{
	char out[ECHO_MOST];

	fill(out, n);
	echo_rest(fd, out, n, 0);
}

static void end(int fd)
{
	me->busy_with = -1;
	if (any(4) == 0)
		close_raw(fd);
	else
		close(fd);
}

/* ------------------------------------------------------------------- operations */

static void op_connect(void)
{
	bool up;
	int fd = begin(&target, &up), err = -1;
	socklen_t len = sizeof(err);

	fd = change_number(fd);
	if (!up && wait_any(fd) != 1)
		bad("no outcome", fd);
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 || err)
		bad("SO_ERROR", err);
	fd = change_number(fd);
	echo(fd, 1 + any(4096));
	end(fd);
}

/* With MSG_FASTOPEN, where Fast Open is not switched off; how many bytes were taken. */
static size_t send_with_syn(int fd, const char *out, size_t n)
{
	const struct sockaddr *to = (const struct sockaddr *)&target.sa;
	ssize_t r = sendto(fd, out, n, MSG_FASTOPEN | MSG_NOSIGNAL, to, target.len);

	if (r < 0 && errno == EOPNOTSUPP)
		r = connect(fd, to, target.len);
	if (r < 0 && errno != EINPROGRESS && errno != EALREADY)
		bad("MSG_FASTOPEN", r);
	return r > 0 ? (size_t)r : 0;
}

/* With TCP_FASTOPEN_CONNECT. A signal handler may come between, and send the SYN. */
static size_t send_after_connect(int *fd, const char *out, size_t n)
{
	int on = 1, r;
	ssize_t sent;

	setsockopt(*fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof(on));
	r = connect(*fd, (const struct sockaddr *)&target.sa, target.len);
	if (r < 0 && errno != EINPROGRESS)
		bad("deferred connect", r);
	*fd = change_number(*fd);
	if (any(2))
		usleep(any(2000));
	sent = send(*fd, out, n, MSG_NOSIGNAL);
	if (sent < 0 && errno != EINPROGRESS && errno != EAGAIN)
		bad("first write", sent);
	return sent > 0 ? (size_t)sent : 0;
}

static void op_fastopen(void)
{
	char out[ECHO_MOST];
	size_t n = 1 + any(sizeof(out)), sent;
	int fd = open_socket(SOCK_NONBLOCK), err = -1;
	socklen_t len = sizeof(err);

	me->busy_with = fd;
	fill(out, n);
	sent = any(2) ? send_with_syn(fd, out, n) : send_after_connect(&fd, out, n);
	fd = change_number(fd);
	if (wait_any(fd) != 1)
		bad("no outcome of Fast Open", fd);
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 || err)
		bad("SO_ERROR of Fast Open", err);
	n_early += (long)sent;
	echo_rest(fd, out, n, sent);
	end(fd);
}

static void op_refused(void)
{
	int fd, err = -1;
	socklen_t len = sizeof(err);
	bool up;

	me->refused = true;
	fd = begin(&good, &up);

	if (up)
		bad("connected to a closed port", fd);
	if (fcntl(fd, F_GETFL) & O_NONBLOCK) {
		if (wait_poll(fd) != 1)
			bad("no outcome of a refused one", fd);
		if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 || err != ECONNREFUSED)
			bad("SO_ERROR of a refused one", err);
	}
	n_refused++;
	end(fd);
	me->refused = false;
}

static void op_drop(void) /* closed while it is pending */
{
	bool up;
	int fd = begin(&target, &up);

	if (any(2))
		usleep(any(2000));
	n_dropped++;
	end(fd);
}

static void op_pipe(void)
{
	int fds[2];
	char out[16], in[16];

	if (pipe2(fds, O_CLOEXEC) < 0)
		bad("pipe", 0);
	snprintf(out, sizeof(out), "%d %u", me->index, any(100000));
	if (write(fds[1], out, sizeof(out)) != sizeof(out))
		bad("pipe write", fds[1]);
	if (wait_poll(fds[1]) != 1 || read(fds[0], in, sizeof(in)) != sizeof(in) ||
	    memcmp(in, out, sizeof(in)) != 0)
		bad("pipe", fds[0]);
	end(fds[0]);
	end(fds[1]);
}

static void op_file(void)
{
	char text[4];
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	if (read(fd, text, sizeof(text)) != 4 || memcmp(text, "\177ELF", 4) != 0)
		bad("file", fd);
	end(fd);
}

static void op_pair(void)
{
	int fds[2];
	char byte = 'a', back = 0;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		bad("socketpair", 0);
	if (send(fds[0], &byte, 1, 0) != 1 || recv(fds[1], &back, 1, 0) != 1 || back != byte)
		bad("socketpair", fds[0]);
	end(fds[0]);
	end(fds[1]);
}

/* The child of a threaded program: it inherits a pending connection, goes on with it or does not
 * care, and makes one of its own. */
static void op_fork(void)
{
	bool up, both = any(2);
	int fd = begin(&target, &up), status = -1;
	pid_t child = fork();

	if (child == 0) {
		me->busy_with = -1;
		if (both && !up && wait_poll(fd) != 1)
			bad("no outcome in the child", fd);
		close(fd);
		op_connect();
		_exit(0);
	}
	if (child < 0)
		bad("fork", child);
	if (!up && wait_poll(fd) != 1)
		bad("no outcome beside a child", fd);
	echo(fd, 1 + any(1000));
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			bad("waitpid", child);
	if (status)
		bad("child", status);
	n_forks++;
	end(fd);
}

static void *work(void *arg)
{
	static void (*const others[])(void) = { op_pipe, op_file, op_pair };

	me = arg;
	while (!stop) {
		unsigned int which = any(100);

		if (which < 40)
			op_connect();
		else if (which < 50)
			op_fastopen();
		else if (which < 60)
			op_refused();
		else if (which < 70)
			op_drop();
		else if (which < 72)
			op_fork();
		else
			others[which % 3]();
		n_ops++;
	}
	return NULL;
}

/* --------------------------------------------------------------------- around it */

static void on_signal(int sig)
{
	int saved_errno = errno, fd = me ? me->busy_with : -1;
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLOUT };
	char byte;

	(void)sig;
	n_signals++;
	if (fd >= 0)
		poll(&p, 1, 0);
	if (fd >= 0 && !me->refused) {
		recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK);
		send(fd, "", 0, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
	errno = saved_errno;
}

static long resident_kb(void)
{
	char line[128];
	long kb = 0;
	FILE *file = fopen("/proc/self/status", "r");

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "VmRSS: %ld", &kb) == 1)
			break;
	if (file)
		fclose(file);
	return kb;
}

static int count_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 2048; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void reserve_numbers(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int i = 0; i < THREADS; i++)
		dup2(fd, OWN_BASE + i);
	close(fd);
}

static void storm(pthread_t threads[], int seconds, long *warm_kb)
{
	int64_t began = now_ms(), end = began + seconds * 1000;

	for (int i = 0; now_ms() < end; i++) {
		usleep(1000);
		pthread_kill(threads[i % THREADS], SIGUSR1);
		if (!*warm_kb && now_ms() > began + seconds * 300)
			*warm_kb = resident_kb();
	}
}

static void random_storm(int param)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	const char *text = getenv("SECONDS");
	pthread_t threads[THREADS];
	long warm_kb = 0, end_kb;
	int fds;

	(void)param;
	seed = getenv("SEED") ? (unsigned int)atoi(getenv("SEED")) : (unsigned int)now_ms();
	sigaction(SIGUSR1, &action, NULL);
	reserve_numbers();
	fds = count_fds();
	for (int i = 0; i < THREADS; i++) {
		workers[i].index = i;
		workers[i].state = ((uint64_t)seed * THREADS + (uint64_t)i + 1) *
				   0x9e3779b97f4a7c15U;
		workers[i].busy_with = -1;
		pthread_create(&threads[i], NULL, work, &workers[i]);
	}
	storm(threads, text ? atoi(text) : 10, &warm_kb);
	stop = true;
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	/* those that were taken by dup2() and closed; the rest is as it was */
	reserve_numbers();
	end_kb = resident_kb();
	say("descriptors: %s", count_fds() == fds ? "as before" : "more");
	say("memory: %s", end_kb - warm_kb < 4096 ? "as before" : "more");
	say("seed %u: %ld operations, %ld bytes, %ld of them in a SYN, %ld refused, %ld dropped, "
	    "%ld duplicates, %ld "
	    "forks, "
	    "%ld signals, %ld + %ld kB",
	    seed, (long)n_ops, (long)n_bytes, (long)n_early, (long)n_refused, (long)n_dropped,
	    (long)n_dups, (long)n_forks, (long)n_signals, warm_kb, end_kb - warm_kb);
}

int main(int argc, char **argv)
{
	static const struct test_case cases[] = { { "random", random_storm, 0 } };

	return say_main(argc, argv, cases, 1);
}

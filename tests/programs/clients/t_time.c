// SPDX-License-Identifier: MIT
/*
 * t_time - time limits and signals of every wait, with a connection pending in it: never back too
 * early, never more than 50 ms late, the mask for as long as the call says, EINTR when a handler ran.
 * TARGET may be mute; then every limit passes. wait cases are for strace: who waits makes no calls.
 */
#include "say.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/time.h>
#include <unistd.h>

enum call { POLL, PPOLL, SELECT, PSELECT, EPOLL_WAIT, EPOLL_PWAIT, EPOLL_PWAIT2, N_CALLS };

static const char *const names[] = { "poll",	   "ppoll",	  "select",	 "pselect",
				     "epoll_wait", "epoll_pwait", "epoll_pwait2" };

static int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* One wait for `events` on fd, us < 0: for ever. What select() leaves in its limit goes to *left. */
static int wait_by(int call, int fd, short events, int64_t us, const sigset_t *mask, int64_t *left)
{
	struct pollfd p = { .fd = fd, .events = events };
	struct timeval tv = { (time_t)(us / 1000000), (suseconds_t)(us % 1000000) };
	struct timespec ts = { tv.tv_sec, (long)tv.tv_usec * 1000 }, *limit = us < 0 ? NULL : &ts;
	int ms = us < 0 ? -1 : (int)(us / 1000), ep = -1, r, err;
	struct epoll_event event = { .events = (unsigned short)events };
	fd_set in, out;

	FD_ZERO(&in);
	FD_ZERO(&out);
	FD_SET(fd, events & POLLIN ? &in : &out);
	if (call >= EPOLL_WAIT) {
		ep = epoll_create1(0);
		epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event);
	}
	switch (call) {
	case POLL:
		r = poll(&p, 1, ms);
		break;
	case PPOLL:
		r = ppoll(&p, 1, limit, mask);
		break;
	case SELECT:
		r = select(fd + 1, &in, &out, NULL, us < 0 ? NULL : &tv);
		break;
	case PSELECT:
		r = pselect(fd + 1, &in, &out, NULL, limit, mask);
		break;
	case EPOLL_WAIT:
		r = epoll_wait(ep, &event, 1, ms);
		break;
	case EPOLL_PWAIT:
		r = epoll_pwait(ep, &event, 1, ms, mask);
		break;
	default:
		r = epoll_pwait2(ep, &event, 1, limit, mask);
	}
	err = errno;
	if (call >= EPOLL_WAIT)
		close(ep);
	if (left)
		*left = tv.tv_sec * 1000000 + tv.tv_usec;
	errno = err;
	return r;
}

static bool has_mask(int call)
{
	return call == PPOLL || call == PSELECT || call >= EPOLL_PWAIT;
}

/* ------------------------------------------------------------------------- limits */

static void *sleep_beside(void *us)
{
	int64_t began = now_us(), wanted = *(int64_t *)us;

	usleep((useconds_t)wanted);
	*(int64_t *)us = now_us() - began - wanted;
	return NULL;
}

struct limit_seen {
	int r;
	int64_t took, late, left;
};

/* Late is what is later than a plain sleep beside it was: the machine is shared. */
static void wait_limited(int call, int fd, int64_t us, short events, struct limit_seen *seen)
{
	int64_t beside = us, began;
	pthread_t thread;

	pthread_create(&thread, NULL, sleep_beside, &beside);
	began = now_us();
	seen->r = wait_by(call, fd, events, us, NULL, &seen->left);
	seen->took = now_us() - began;
	pthread_join(thread, NULL);
	seen->late = seen->took - us - (beside > 0 ? beside : 0);
}

static void limit_case(int call, int64_t us, short events)
{
	struct limit_seen seen;
	int tries = 0, fd;

	/* once more if the machine was so busy that the outcome was there first */
	do {
		fd = new_socket(SOCK_NONBLOCK);
		connect(fd, (struct sockaddr *)&target.sa, target.len);
		wait_limited(call, fd, us, events, &seen);
	} while (++tries < 3 &&
		 ((seen.r == 0 && seen.late > 50000) || (seen.r != 0 && us < 100000)));
	say("%s: %d%s", names[call], seen.r, seen.r < 0 ? say_errno(errno) : "");
	if (seen.r == 0 && seen.took < us)
		say("too early: %lld of %lld us", (long long)seen.took, (long long)us);
	if (seen.r == 0 && seen.late > 50000)
		say("late by %lld us, %d times", (long long)seen.late, tries);
	if (call == SELECT)
		say("left: %s", seen.left ? "some" : "none");
}

static void short_limit(int call) /* while it is pending in every case */
{
	limit_case(call, 40000, POLLOUT);
}

static void tiny_limit(int call)
{
	limit_case(call, call == POLL || call == EPOLL_WAIT || call == EPOLL_PWAIT ? 1000 : 700,
		   POLLOUT);
}

static void long_limit(int call) /* what is waited for does not come: the server is silent */
{
	limit_case(call, 1300000, POLLIN);
}

static void time_left(int call) /* select() says how much of its limit was left */
{
	int fd = start(), r;
	int64_t left = -1, began = now_us(), took;

	r = wait_by(call, fd, POLLOUT, 3000000, NULL, &left);
	took = now_us() - began;
	say("%s: %d", names[call], r);
	if (r == 0)
		say("left: %lld", (long long)left);
	else
		say("left and taken: %s", llabs(left + took - 3000000) < 20000 ? "3 s" : "wrong");
}

static void zero_limit(int call) /* again and again instead of waiting */
{
	int fd = start(), r = 0;
	int64_t end = now_us() + 2000000;

	while (r == 0 && now_us() < end) {
		r = wait_by(call, fd, POLLOUT, 0, NULL, NULL);
		usleep(1000);
	}
	say("%s: %d", names[call], r);
	do_error(fd);
	do_names(fd);
}

static void odd_limit(int param) /* select() takes more than a million microseconds */
{
	struct timeval tv = { -1, 0 };
	int fd = start();
	fd_set out;

	(void)param;
	FD_ZERO(&out);
	FD_SET(fd, &out);
	say_result("select", select(fd + 1, NULL, &out, NULL, &tv));
	tv.tv_sec = 0;
	tv.tv_usec = 1200000;
	say_result("select", select(fd + 1, NULL, &out, NULL, &tv));
}

static void bad_limit(int call)
{
	struct timespec bad[3] = { { -1, 0 }, { 0, -1 }, { 0, 1000000000 } };
	struct epoll_event event = { .events = EPOLLOUT };
	struct pollfd p = { .events = POLLOUT };
	int ep = epoll_create1(0);
	fd_set out;

	p.fd = start();
	epoll_ctl(ep, EPOLL_CTL_ADD, p.fd, &event);
	for (size_t i = 0; i < 3; i++) {
		FD_ZERO(&out);
		FD_SET(p.fd, &out);
		if (call == PPOLL)
			say_result("ppoll", ppoll(&p, 1, &bad[i], NULL));
		if (call == PSELECT)
			say_result("pselect", pselect(p.fd + 1, NULL, &out, NULL, &bad[i], NULL));
		if (call == EPOLL_PWAIT2)
			say_result("epoll_pwait2", epoll_pwait2(ep, &event, 1, &bad[i], NULL));
	}
}

/* ------------------------------------------- beside what is ready for a moment only */

static int wait_for_any(int call, const int *fds, int n, int ms)
{
	struct timeval tv = { ms / 1000, ms % 1000 * 1000 };
	struct timespec ts = { tv.tv_sec, (long)tv.tv_usec * 1000 };
	struct pollfd p[3];
	int most = 0;
	fd_set in;

	FD_ZERO(&in);
	for (int i = 0; i < n; i++) {
		p[i] = (struct pollfd){ .fd = fds[i], .events = POLLIN };
		FD_SET(fds[i], &in);
		most = fds[i] > most ? fds[i] : most;
	}
	switch (call) {
	case POLL:
		return poll(p, (nfds_t)n, ms);
	case PPOLL:
		return ppoll(p, (nfds_t)n, &ts, NULL);
	case SELECT:
		return select(most + 1, &in, NULL, NULL, &tv);
	default:
		return pselect(most + 1, &in, NULL, NULL, &ts, NULL);
	}
}

/* In a set, which is ready with what ends the connecting, and then not any more. */
static void connect_in(int ep, int fd, const struct target *to)
{
	struct epoll_event event = { .events = EPOLLIN };

	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event);
	say_result("connect", connect(fd, (const struct sockaddr *)&to->sa, to->len));
}

/* The number and the set. That wakes for what the number is not ready for (t_matrix.c), so both are asked. */
static void nested_limit(int call)
{
	int fds[2] = { epoll_create1(0), new_socket(SOCK_NONBLOCK) }, wakes = 0, r;
	struct epoll_event event;
	int64_t end;

	connect_in(fds[0], fds[1], &target);
	end = now_ms() + 1300;
	do
		r = wait_for_any(call, fds, 2, end > now_ms() ? (int)(end - now_ms()) : 0);
	while (r > 0 && epoll_wait(fds[0], &event, 1, 0) == 0 && ++wakes < 60);
	say("%s: %d%s", names[call], r, wakes == 60 ? ", all the time" : "");
	if (r == 0 && now_ms() < end)
		say("too early");
}

/* ------------------------------------------------------------------------ signals */

static volatile sig_atomic_t handled;

static void on_signal(int sig)
{
	(void)sig;
	handled++;
}

static void handle(int sig, int flags)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = flags };

	sigaction(sig, &action, NULL);
}

static void alarm_in(int ms)
{
	struct itimerval when = { .it_value = { ms / 1000, ms % 1000 * 1000 } };

	setitimer(ITIMER_REAL, &when, NULL);
}

/* Again and again, as the first may come before we wait. */
static void alarm_every(int ms)
{
	struct itimerval when = { .it_interval = { ms / 1000, ms % 1000 * 1000 },
				  .it_value = { ms / 1000, ms % 1000 * 1000 } };

	setitimer(ITIMER_REAL, &when, NULL);
}

static void finish(int fd)
{
	do_poll(fd, POLLOUT, 1500);
	do_error(fd);
	do_names(fd);
}

/* A handler ends the wait, with SA_RESTART too; the connection goes on. On a busy machine the
 * outcome may be faster than we are: then once more. */
static void interrupted(int call, int flags)
{
	int fd = new_socket(SOCK_NONBLOCK), r = 0, err = 0;

	handle(SIGALRM, flags);
	for (int tries = 0; tries < 3; tries++) {
		close(fd);
		fd = new_socket(SOCK_NONBLOCK);
		handled = 0;
		connect(fd, (struct sockaddr *)&target.sa, target.len);
		alarm_every(30);
		r = wait_by(call, fd, POLLOUT, -1, NULL, NULL);
		err = errno;
		alarm_every(0);
		if (r < 0)
			break;
	}
	errno = err;
	say_result(names[call], r);
	say("handled: %s", handled ? "yes" : "no");
	finish(fd);
}

static void interrupted_plainly(int call)
{
	interrupted(call, 0);
}

static void interrupted_restart(int call)
{
	interrupted(call, SA_RESTART);
}

static void ignored(int call) /* a signal without a handler interrupts nothing */
{
	int fd = start(), r;

	signal(SIGALRM, SIG_IGN);
	alarm_in(30);
	r = wait_by(call, fd, POLLOUT, 1500000, NULL, NULL);
	say_result(names[call], r);
	finish(fd);
}

/* The mask lets a signal in that is blocked otherwise, and that is there already. */
static void let_in(int call)
{
	int fd = start(), r;
	sigset_t block, open;

	if (!has_mask(call))
		return;
	handle(SIGUSR1, 0);
	sigemptyset(&open);
	sigemptyset(&block);
	sigaddset(&block, SIGUSR1);
	sigprocmask(SIG_BLOCK, &block, NULL);
	raise(SIGUSR1);
	say("handled: %d", handled);
	r = wait_by(call, fd, POLLOUT, 1500000, &open, NULL);
	say_result(names[call], r);
	say("handled: %d", handled);
	raise(SIGUSR1);
	r = wait_by(call, fd, POLLOUT, 1500000, NULL, NULL);
	say_result(names[call], r);
	say("handled: %d", handled);
	finish(fd);
}

/* The mask keeps a signal out until the call is over. */
static void keep_out(int call)
{
	int fd = start(), r;
	sigset_t block;

	if (!has_mask(call))
		return;
	handle(SIGALRM, 0);
	sigemptyset(&block);
	sigaddset(&block, SIGALRM);
	alarm_in(30);
	r = wait_by(call, fd, POLLOUT, 1300000, &block, NULL);
	say_result(names[call], r);
	say("handled: %d", handled);
	finish(fd);
}

/* While one thread waits, the handler runs in another one: nobody is interrupted. */
static void *wait_long(void *fd)
{
	sigset_t block;

	sigemptyset(&block);
	sigaddset(&block, SIGALRM);
	pthread_sigmask(SIG_BLOCK, &block, NULL);
	do_poll(*(int *)fd, POLLOUT, 1500);
	return NULL;
}

static void elsewhere(int param)
{
	int fd = start();
	sigset_t alarms, before;
	pthread_t thread;

	(void)param;
	handle(SIGALRM, 0);
	/* to this thread, and not before it waits */
	sigemptyset(&alarms);
	sigaddset(&alarms, SIGALRM);
	pthread_sigmask(SIG_BLOCK, &alarms, &before);
	pthread_create(&thread, NULL, wait_long, &fd);
	alarm_in(30);
	sigsuspend(&before);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	say("handled: %d", handled);
	pthread_join(thread, NULL);
	do_error(fd);
}

static bool is_mute(void) /* another address than the good one's */
{
	const struct sockaddr_in *a = (const void *)&target.sa, *b = (const void *)&good.sa;

	return a->sin_addr.s_addr != b->sin_addr.s_addr;
}

static void blocking_io(int flags) /* of a blocking write on a pending one */
{
	int fd = start();

	fcntl(fd, F_SETFL, 0);
	handle(SIGALRM, flags);
	alarm_in(30);
	if (flags && is_mute())
		return; /* it would wait for ever */
	say_result("write", write(fd, "x", 1));
	say("handled: %d", handled);
	do_error(fd);
	do_names(fd);
}

/* With SO_SNDTIMEO neither connect() nor a write is ever restarted (signal(7)). */
static void blocking_io_limit(int flags)
{
	struct timeval limit = { .tv_sec = 2 };
	int fd = start();

	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	fcntl(fd, F_SETFL, 0);
	handle(SIGALRM, flags);
	alarm_in(30);
	say_result("write", write(fd, "x", 1));
	say("handled: %d", handled);
	finish(fd);
}

static void connect_limit(int flags)
{
	struct timeval limit = { .tv_sec = 2 };
	int fd = new_socket(0);

	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	handle(SIGALRM, flags);
	alarm_in(30);
	do_connect(fd);
	say("handled: %d", handled);
	finish(fd);
}

/* ----------------------------------------------------------------- for strace: 2 s */

static void wait_long_by(int call)
{
	int fd = start();

	say_result(names[call], wait_by(call, fd, POLLOUT, 8000000, NULL, NULL));
}

static void *idle(void *arg)
{
	pause();
	return arg;
}

static void beside_thread(int call) /* the same in a program with threads */
{
	pthread_t thread;

	pthread_create(&thread, NULL, idle, NULL);
	wait_long_by(call);
}

/* Beside one that is never connected, and one that is, with its set. */
static void wait_nested(int call)
{
	int fds[3] = { epoll_create1(0), new_socket(SOCK_NONBLOCK), start() };

	connect_in(fds[0], fds[1], &good);
	say_result(names[call], wait_for_any(call, fds, 3, 3000));
}

static void wait_in_connect(int param)
{
	(void)param;
	do_connect(new_socket(0));
}

static void wait_in_read(int param)
{
	int fd = start();
	struct timeval limit = { .tv_sec = 2 };

	(void)param;
	fcntl(fd, F_SETFL, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	say_result("read", read(fd, (char[8]){ 0 }, 8));
}

static struct test_case cases[128];
static size_t n_cases;

static void add(const char *name, const char *more, void (*run)(int), int param)
{
	struct test_case *c = &cases[n_cases++];

	snprintf(c->name, sizeof(c->name), "%s-%s", name, more);
	c->run = run;
	c->param = param;
}

int main(int argc, char **argv)
{
	for (int i = 0; i < N_CALLS; i++) {
		add("limit_short", names[i], short_limit, i);
		add("limit_tiny", names[i], tiny_limit, i);
		add("limit_long", names[i], long_limit, i);
		add("limit_zero", names[i], zero_limit, i);
		add("limit_bad", names[i], bad_limit, i);
		add("signal_plain", names[i], interrupted_plainly, i);
		add("signal_restart", names[i], interrupted_restart, i);
		add("signal_ignored", names[i], ignored, i);
		add("signal_let_in", names[i], let_in, i);
		add("signal_keep_out", names[i], keep_out, i);
		add("wait", names[i], wait_long_by, i);
		add("thread_wait", names[i], beside_thread, i);
	}
	for (int i = POLL; i <= PSELECT; i++) {
		add("limit_nested", names[i], nested_limit, i);
		add("wait_nested", names[i], wait_nested, i);
	}
	add("limit_odd", "select", odd_limit, 0);
	add("limit_left", "select", time_left, SELECT);
	add("signal_elsewhere", "poll", elsewhere, 0);
	add("signal_plain", "write", blocking_io, 0);
	add("signal_restart", "write", blocking_io, SA_RESTART);
	add("signal_plain", "write_limit", blocking_io_limit, 0);
	add("signal_restart", "write_limit", blocking_io_limit, SA_RESTART);
	add("signal_plain", "connect_limit", connect_limit, 0);
	add("signal_restart", "connect_limit", connect_limit, SA_RESTART);
	add("wait", "connect", wait_in_connect, 0);
	add("wait", "read", wait_in_read, 0);
	return say_main(argc, argv, cases, n_cases);
}

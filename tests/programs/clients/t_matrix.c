// SPDX-License-Identifier: MIT
/*
 * t_matrix - every way to wait for a connection: the call, the moment and the kind of the
 * registration, the mask, and who else waits. One case for each combination that makes sense.
 */
#include "say.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/wait.h>
#include <unistd.h>

#define IN_OUT (POLLIN | POLLOUT)
#define WORD   0x123456789abcdef0ULL
#define FDS    2048 /* select's sets are larger than FD_SETSIZE */

enum call { POLL, PPOLL, SELECT, PSELECT, EPOLL_WAIT, EPOLL_PWAIT, EPOLL_PWAIT2 };

static const char *const call_names[] = { "poll",	"ppoll",       "select",      "pselect",
					  "epoll_wait", "epoll_pwait", "epoll_pwait2" };

enum how {
	ALONE,
	THREAD,	   /* another thread is in the wait before connect() or the registration */
	BLOCKING,  /* the same, and connect() is a blocking one */
	NESTED,	   /* the epoll set is in another one */
	NESTED_ET, /* the same, edge-triggered */
	POLLED,	   /* the epoll set is in a poll set */
	HIGH,	   /* descriptors above 1024 */
	CHILD,	   /* a forked child waits with what it inherited */
	BOTH,	   /* parent and child */
	BESIDE,	   /* beside a ready pipe */
};

static const char *const how_names[] = { "",	    "-thread", "-blocking", "-nested", "-nested_et",
					 "-polled", "-high",   "-child",    "-both",   "-beside" };

/* when it is registered; LOOK: before connect(), and waited once even before that */
enum when { AFTER, BEFORE, LOOK };

static const char *const when_names[] = { "-after", "-before", "-look" };

struct combo {
	enum call call;
	enum when when;
	uint32_t mode;
	short mask;
	enum how how;
};

struct waiter {
	struct combo combo;
	int fd, ep, outer, pipe;
};

/* ------------------------------------------------------------------ one wait */

struct seen {
	int r, err;
	struct {
		unsigned int events;
		uint64_t data;
	} what[4];
	const char *how;
};

static void say_seen(const struct seen *seen)
{
	char line[256] = "";
	size_t used = 0;

	if (seen->r < 0) {
		say("%s: %s", seen->how, say_errno(seen->err));
		return;
	}
	for (int i = 0; i < seen->r && i < 4; i++)
		used += (size_t)snprintf(line + used, sizeof(line) - used, " %s %llx,",
					 say_events(seen->what[i].events),
					 (unsigned long long)seen->what[i].data);
	say("%s: %d%s", seen->how, seen->r, line);
}

static void wait_poll(const struct waiter *w, int timeout, struct seen *seen)
{
	struct pollfd p[3] = { { .fd = w->pipe, .events = POLLIN },
			       { .fd = w->fd, .events = w->combo.mask },
			       { .fd = -1 } };
	struct timespec limit = { timeout / 1000, timeout % 1000 * 1000000L };
	volatile nfds_t n = 3;

	seen->r = w->combo.call == POLL ? poll(p, n, timeout) : ppoll(p, n, &limit, NULL);
	seen->err = errno;
	if (seen->r <= 0)
		return;
	seen->r = 0;
	for (size_t i = 0; i < 2; i++) {
		if (!p[i].revents)
			continue;
		seen->what[seen->r].events = (unsigned short)p[i].revents;
		seen->what[seen->r++].data = i;
	}
}

union set {
	fd_set as_set;
	unsigned char bytes[FDS / 8];
};

static void put(union set *set, int fd)
{
	if (fd >= 0)
		set->bytes[fd / 8] |= (unsigned char)(1 << fd % 8);
}

static bool has(const union set *set, int fd)
{
	return fd >= 0 && set->bytes[fd / 8] & 1 << fd % 8;
}

static void wait_select(const struct waiter *w, int timeout, struct seen *seen)
{
	union set in = { .bytes = { 0 } }, out = { .bytes = { 0 } }, except = { .bytes = { 0 } };
	struct timespec limit = { timeout / 1000, timeout % 1000 * 1000000L };
	struct timeval us = { timeout / 1000, timeout % 1000 * 1000 };
	int n = (w->fd > w->pipe ? w->fd : w->pipe) + 1;
	int r;

	put(&in, w->pipe);
	put(&in, w->combo.mask & POLLIN ? w->fd : -1);
	put(&out, w->combo.mask & POLLOUT ? w->fd : -1);
	put(&except, w->fd);
	if (w->combo.call == SELECT)
		r = select(n, &in.as_set, &out.as_set, &except.as_set, &us);
	else
		r = pselect(n, &in.as_set, &out.as_set, &except.as_set, &limit, NULL);
	seen->err = errno;
	seen->r = r > 0 ? 1 : r;
	if (r <= 0)
		return;
	seen->what[0].data = (uint64_t)r * 10 + has(&in, w->pipe);
	seen->what[0].events = (has(&in, w->fd) ? POLLIN : 0u) | (has(&out, w->fd) ? POLLOUT : 0u) |
			       (has(&except, w->fd) ? POLLPRI : 0u);
}

static void wait_epoll(const struct waiter *w, int timeout, struct seen *seen)
{
	struct timespec limit = { timeout / 1000, timeout % 1000 * 1000000L };
	struct epoll_event events[4];
	sigset_t none;

	sigemptyset(&none);
	if (w->combo.call == EPOLL_WAIT)
		seen->r = epoll_wait(w->ep, events, 4, timeout);
	else if (w->combo.call == EPOLL_PWAIT)
		seen->r = epoll_pwait(w->ep, events, 4, timeout, &none);
	else
		seen->r = epoll_pwait2(w->ep, events, 4, &limit, NULL);
	seen->err = errno;
	for (int i = 0; i < seen->r; i++) {
		seen->what[i].events = events[i].events;
		seen->what[i].data = events[i].data.u64;
	}
}

static int wait_outside(const struct waiter *w, int timeout)
{
	struct epoll_event event = { 0 };
	struct pollfd p = { .fd = w->ep, .events = POLLIN };

	if (w->combo.how == POLLED)
		return poll(&p, 1, timeout);
	return epoll_wait(w->outer, &event, 1, timeout);
}

/* The set around the epoll set, then the set itself without waiting. A set around another one
 * wakes for the shim's own events too; what is in the inner set is what counts. So it is asked
 * again as a program would, but it must not wake all the time. */
static void wait_around(const struct waiter *w, int timeout, struct seen *seen)
{
	int64_t end = now_ms() + timeout;
	int r, wakes = 0;

	do {
		int left = (int)(end - now_ms());

		r = wait_outside(w, left > 0 ? left : 0);
		if (r > 0)
			wait_epoll(w, 0, seen);
		else
			seen->how = "around";
	} while (r > 0 && seen->r == 0 && ++wakes < 60);
	if (wakes == 60)
		seen->how = "busy loop";
	if (r <= 0) {
		seen->r = r;
		seen->err = errno;
	}
}

static void wait_quietly(const struct waiter *w, int timeout, struct seen *seen)
{
	*seen = (struct seen){ .how = call_names[w->combo.call] };
	if (w->combo.call <= PPOLL)
		wait_poll(w, timeout, seen);
	else if (w->combo.call <= PSELECT)
		wait_select(w, timeout, seen);
	else if (w->combo.how == NESTED || w->combo.how == NESTED_ET || w->combo.how == POLLED)
		wait_around(w, timeout, seen);
	else
		wait_epoll(w, timeout, seen);
}

static void wait_once(const struct waiter *w, int timeout)
{
	struct seen seen;

	wait_quietly(w, timeout, &seen);
	say_seen(&seen);
}

/* ---------------------------------------------------------------- the scenes */

static bool is_connected(int fd)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);

	return getpeername(fd, (struct sockaddr *)&peer, &len) == 0;
}

static void enter(const struct waiter *w, int op)
{
	struct epoll_event event = { .events = w->combo.mode | (unsigned short)w->combo.mask,
				     .data.u64 = WORD };

	if (w->combo.call >= EPOLL_WAIT)
		say_result("epoll_ctl", epoll_ctl(w->ep, op, w->fd, &event));
}

static void fill_numbers(void)
{
	struct rlimit limit = { FDS, FDS };

	setrlimit(RLIMIT_NOFILE, &limit);
	while (dup(STDOUT_FILENO) < 1100)
		;
}

static void set_up(struct waiter *w)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = 1 };
	int fds[2];

	w->ep = w->outer = w->pipe = -1;
	if (w->combo.how == HIGH)
		fill_numbers();
	if (w->combo.call >= EPOLL_WAIT)
		w->ep = epoll_create1(EPOLL_CLOEXEC);
	if (w->combo.how == NESTED || w->combo.how == NESTED_ET) {
		event.events |= w->combo.how == NESTED_ET ? EPOLLET : 0u;
		w->outer = epoll_create1(EPOLL_CLOEXEC);
		epoll_ctl(w->outer, EPOLL_CTL_ADD, w->ep, &event);
	}
	if (w->combo.how == BESIDE && pipe(fds) == 0 && write(fds[1], "x", 1) == 1) {
		w->pipe = fds[0];
		if (w->ep >= 0)
			epoll_ctl(w->ep, EPOLL_CTL_ADD, w->pipe, &event);
	}
	w->fd = new_socket(w->combo.how == BLOCKING ? 0 : SOCK_NONBLOCK);
}

static void *wait_in_thread(void *arg)
{
	struct waiter *w = arg;
	struct seen *seen = malloc(sizeof(*seen));

	if (seen)
		wait_quietly(w, LONG, seen);
	return seen;
}

static void connect_while_thread_waits(struct waiter *w)
{
	pthread_t thread;
	void *seen;

	pthread_create(&thread, NULL, wait_in_thread, w);
	sleep_ms(30); /* it is inside by now */
	do_connect(w->fd);
	if (w->combo.when == AFTER)
		enter(w, EPOLL_CTL_ADD);
	pthread_join(thread, &seen);
	if (seen && (w->combo.how == THREAD || is_connected(w->fd))) {
		say_seen(seen);
	} else if (seen) { /* a race between two threads: who looks first at the failure */
		say("woken: %s", ((struct seen *)seen)->r > 0 ? "yes" : "no");
		wait_quietly(w, 0, seen);
	}
	free(seen);
}

static void wait_in_child(struct waiter *w)
{
	struct seen mine;
	pid_t child = fork();
	int status = -1;

	if (child == 0) {
		wait_once(w, LONG);
		if (w->combo.how == BOTH)
			sleep_ms(200); /* the parent has seen it too */
		wait_once(w, 0);
		do_error(w->fd);
		do_names(w->fd);
		_exit(0);
	}
	if (w->combo.how == BOTH)
		wait_quietly(w, LONG, &mine);
	waitpid(child, &status, 0);
	say("child: %d", status);
	if (w->combo.how == BOTH)
		say_seen(&mine);
}

/* A failure wakes waiters twice, for the error and for the state, so an edge-triggered wait sees
 * one event or two: a race in plain runs, too. How many edges a set sees that is around another one
 * is not promised at all. */
static void drop_second_edge(const struct waiter *w)
{
	struct seen edge;

	if (!(w->combo.mode & EPOLLET) && w->combo.how != NESTED_ET)
		return;
	sleep_ms(10);
	if (w->combo.how == NESTED_ET || !is_connected(w->fd))
		wait_quietly(w, 0, &edge);
}

/* Until the outcome has been seen by whatever the mask lets see. */
static void wait_for_outcome(struct waiter *w)
{
	char byte;

	wait_once(w, 0);
	if (w->combo.how == CHILD || w->combo.how == BOTH) {
		wait_in_child(w);
		return;
	}
	if (w->combo.how == BESIDE) {
		wait_once(w, LONG); /* the pipe */
		if (read(w->pipe, &byte, 1) != 1)
			return;
	}
	if (!(w->combo.mask & POLLOUT)) { /* nothing to see but errors */
		wait_once(w, 1200);
		drop_second_edge(w);
		do_poll(w->fd, POLLOUT, LONG);
	}
	wait_once(w, w->combo.mask & POLLOUT ? LONG : 0);
}

static void talk(struct waiter *w)
{
	do_send(w->fd, "hello");
	do_poll(w->fd, POLLIN, LONG);
	wait_once(w, 0);
	wait_once(w, 0);
	do_recv(w->fd);
	wait_once(w, 0);
	enter(w, EPOLL_CTL_MOD);
	wait_once(w, 0);
	say_result("shutdown", shutdown(w->fd, SHUT_WR));
	do_poll(w->fd, POLLRDHUP, LONG);
	sleep_ms(20); /* the server's FIN and the end of ours are two events */
	wait_once(w, 0);
	wait_once(w, 0);
}

static void try_again(struct waiter *w)
{
	do_recv(w->fd);
	wait_once(w, 0);
	enter(w, EPOLL_CTL_MOD);
	wait_once(w, 0);
	do_connect(w->fd);
	wait_once(w, 0);
	do_connect(w->fd);
	wait_once(w, 0);
	do_poll(w->fd, POLLOUT, LONG);
	sleep_ms(10);
	wait_once(w, 0);
	do_error(w->fd);
	wait_once(w, 0);
}

static void play(struct combo combo)
{
	struct waiter w = { .combo = combo };

	set_up(&w);
	if (combo.when != AFTER)
		enter(&w, EPOLL_CTL_ADD);
	if (combo.when == LOOK)
		wait_once(&w, 0);
	if (combo.how == THREAD || combo.how == BLOCKING) {
		connect_while_thread_waits(&w);
	} else {
		do_connect(w.fd);
		if (combo.when == AFTER)
			enter(&w, EPOLL_CTL_ADD);
		if (combo.when == LOOK && combo.mode & EPOLLONESHOT)
			enter(&w, EPOLL_CTL_MOD); /* armed again, while it is pending */
		wait_for_outcome(&w);
	}
	drop_second_edge(&w);
	wait_once(&w, 0);
	do_error(w.fd);
	do_names(w.fd);
	wait_once(&w, 0);
	enter(&w, EPOLL_CTL_MOD);
	wait_once(&w, 0);
	if (is_connected(w.fd))
		talk(&w);
	else
		try_again(&w);
	if (w.ep >= 0)
		say_result("epoll_ctl", epoll_ctl(w.ep, EPOLL_CTL_DEL, w.fd, NULL));
	do_close(w.fd);
}

/* -------------------------------------------------------------------- the table */

static struct combo combos[512];
static struct test_case cases[512];
static size_t n_cases;

static void play_case(int param)
{
	play(combos[param]);
}

static void add(struct combo c)
{
	struct test_case *t = &cases[n_cases];
	bool epoll = c.call >= EPOLL_WAIT;

	snprintf(t->name, sizeof(t->name), "%s%s%s%s%s%s-%s%s%s", call_names[c.call],
		 epoll ? when_names[c.when] : "", c.mode & EPOLLET ? "-et" : "",
		 c.mode & EPOLLONESHOT ? "-oneshot" : "",
		 c.mode & EPOLLEXCLUSIVE ? "-exclusive" : "", how_names[c.how],
		 c.mask & POLLIN ? "in" : "", c.mask & POLLOUT ? "out" : "",
		 c.mask & POLLRDHUP ? "rdhup" : "");
	t->run = play_case;
	t->param = (int)n_cases;
	combos[n_cases++] = c;
}

static void add_epoll(void)
{
	static const uint32_t modes[] = { 0,
					  EPOLLET,
					  EPOLLONESHOT,
					  EPOLLET | EPOLLONESHOT,
					  EPOLLEXCLUSIVE,
					  EPOLLET | EPOLLEXCLUSIVE };
	static const enum how others[] = { NESTED, NESTED_ET, POLLED, CHILD, BOTH, BESIDE };

	for (size_t m = 0; m < sizeof(modes) / sizeof(modes[0]); m++) {
		struct combo c = { .call = EPOLL_WAIT, .mode = modes[m] };
		bool exclusive = modes[m] & EPOLLEXCLUSIVE, et = modes[m] & EPOLLET;

		for (int when = AFTER; when <= LOOK; when++) {
			c.when = (enum when)when;
			for (int k = 0; k < 3; k++) {
				c.mask = k == 0 ? IN_OUT : k == 1 ? POLLOUT : POLLIN;
				c.mask = (short)(c.mask | (exclusive ? 0 : POLLRDHUP));
				add(c);
			}
		}
		c.mask = IN_OUT;
		for (size_t i = 0; !exclusive && i < sizeof(others) / sizeof(others[0]); i++) {
			if (modes[m] && others[i] == BOTH) /* one of them gets the event */
				continue;
			c.how = others[i];
			c.when = AFTER;
			add(c);
			c.when = LOOK;
			add(c);
		}
		c.how = THREAD;
		c.when = AFTER;
		add(c);
		c.when = LOOK; /* only an edge-triggered one waits although there was a HUP */
		if (et && !(modes[m] & EPOLLONESHOT)) {
			add(c);
			c.how = BLOCKING;
			add(c);
		}
	}
}

static void fill_table(void)
{
	for (int call = POLL; call <= EPOLL_PWAIT2; call++) {
		struct combo c = { .call = (enum call)call, .mask = IN_OUT };

		for (int how = ALONE; how <= BESIDE; how++) {
			c.how = (enum how)how;
			if (how == THREAD || how == BLOCKING ||
			    (how == BESIDE && call == EPOLL_WAIT) ||
			    (how >= NESTED && how <= POLLED) ||
			    (how == ALONE && call == EPOLL_WAIT))
				continue; /* senseless, or in add_epoll() */
			if (call == EPOLL_WAIT && (how == CHILD || how == BOTH))
				continue;
			add(c);
		}
		if (call == EPOLL_WAIT)
			continue;
		c.how = ALONE;
		c.mask = POLLIN;
		add(c);
		c.mask = POLLOUT;
		add(c);
	}
	add_epoll();
}

int main(int argc, char **argv)
{
	fill_table();
	return say_main(argc, argv, cases, n_cases);
}

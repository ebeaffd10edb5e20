// SPDX-License-Identifier: MIT
/*
 * transcript - what a program sees of its connections, one line for each call: transcript CASE
 * ADDRESS PORT. The tests run it with and without the shim and compare the output line by line,
 * so nothing is printed that differs between two plain runs (port numbers, exact times).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LONG 8000 /* ms: longer than any connect in the tests may take */

static struct sockaddr_storage server;
static socklen_t server_len;

static void set_server(const char *ip, const char *port)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&server;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&server;

	server_len = sizeof(*in);
	server.ss_family = AF_INET;
	in->sin_port = htons((in_port_t)atoi(port)); /* at the same place in both */
	if (inet_pton(AF_INET, ip, &in->sin_addr) == 1)
		return;
	server_len = sizeof(*in6);
	server.ss_family = AF_INET6;
	if (inet_pton(AF_INET6, ip, &in6->sin6_addr) != 1) {
		fprintf(stderr, "transcript: %s is no address\n", ip);
		exit(2);
	}
}

/* ----------------------------------------------------------------- the calls, as lines */

static void result(const char *call, long r)
{
	int err = errno;

	if (r < 0)
		printf("%s: %s\n", call, strerrorname_np(err));
	else
		printf("%s: %ld\n", call, r);
	fflush(stdout);
}

static int new_socket(int flags)
{
	int fd = socket(server.ss_family, SOCK_STREAM | flags, 0);

	if (fd < 0) {
		perror("socket");
		exit(1);
	}
	return fd;
}

static void do_connect(int fd)
{
	result("connect", connect(fd, (struct sockaddr *)&server, server_len));
}

static void do_disconnect(int fd)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };

	result("connect to nobody", connect(fd, &none, sizeof(none)));
}

static const char *events_text(short events)
{
	static char text[64];
	static const struct {
		short bit;
		const char *name;
	} names[] = { { POLLIN, "IN" },	   { POLLPRI, "PRI" }, { POLLOUT, "OUT" },
		      { POLLERR, "ERR" },  { POLLHUP, "HUP" }, { POLLRDHUP, "RDHUP" },
		      { POLLNVAL, "NVAL" } };

	text[0] = '\0';
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (events & names[i].bit)
			sprintf(text + strlen(text), "%s%s", text[0] ? "|" : "", names[i].name);
	return text[0] ? text : "-";
}

static void do_poll(int fd, short events, int timeout)
{
	struct pollfd p = { .fd = fd, .events = events };
	char asked[64];
	int r;

	strcpy(asked, events_text(events));
	r = poll(&p, 1, timeout);
	if (r < 0)
		result("poll", r);
	else
		printf("poll %s: %d %s\n", asked, r, events_text(p.revents));
}

static void do_error(int fd)
{
	int err = -1;
	socklen_t len = sizeof(err);
	int r = getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len);

	if (r < 0)
		result("SO_ERROR", r);
	else
		printf("SO_ERROR: %s\n", err ? strerrorname_np(err) : "0");
}

static void address(const char *call, int r, const struct sockaddr_storage *a, socklen_t len,
		    bool with_port)
{
	char text[INET6_ADDRSTRLEN] = "?";
	const void *ip = &((const struct sockaddr_in *)a)->sin_addr;

	if (r < 0) {
		result(call, r);
		return;
	}
	if (a->ss_family == AF_INET6)
		ip = &((const struct sockaddr_in6 *)a)->sin6_addr;
	inet_ntop(a->ss_family, ip, text, sizeof(text));
	printf("%s: family %d length %u %s port %d\n", call, a->ss_family, len, text,
	       with_port ? ntohs(((const struct sockaddr_in *)a)->sin_port) :
			   ((const struct sockaddr_in *)a)->sin_port != 0);
}

static void do_names(int fd)
{
	struct sockaddr_storage a = { 0 };
	socklen_t len = sizeof(a);
	int r = getpeername(fd, (struct sockaddr *)&a, &len);

	address("getpeername", r, &a, len, true);
	len = sizeof(a);
	r = getsockname(fd, (struct sockaddr *)&a, &len);
	address("getsockname", r, &a, len, false);
}

static void do_send(int fd)
{
	static const char request[] = "GET /small HTTP/1.0\r\n\r\n";

	result("send", send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL | MSG_DONTWAIT));
}

static void do_recv(int fd)
{
	char byte;

	result("recv", recv(fd, &byte, 1, MSG_DONTWAIT));
}

static void do_flags(int fd)
{
	printf("flags: %s\n", fcntl(fd, F_GETFL) & O_NONBLOCK ? "non-blocking" : "blocking");
}

/* The whole answer of the web server, to its last line. */
static void exchange(int fd)
{
	char text[4096];
	size_t got = 0;
	ssize_t n;

	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	do_send(fd);
	while (got < sizeof(text) - 1 && (n = recv(fd, text + got, sizeof(text) - 1 - got, 0)) > 0)
		got += (size_t)n;
	text[got] = '\0';
	printf("answer begins %.15s, ends %s", text, got > 17 ? text + got - 17 : "early\n");
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ------------------------------------------------------------------- how a case goes on */

/* Everything that can be asked, in an order that tells much of the state. */
static void look(int fd)
{
	do_poll(fd, POLLIN | POLLOUT | POLLPRI | POLLRDHUP, 0);
	do_names(fd);
	do_error(fd);
	do_flags(fd);
	do_send(fd);
	do_recv(fd);
	do_connect(fd);
	do_connect(fd);
	do_poll(fd, POLLIN | POLLOUT | POLLPRI | POLLRDHUP, 0);
	do_error(fd);
}

static void pending(int fd)
{
	do_poll(fd, POLLIN | POLLOUT | POLLPRI | POLLRDHUP, 0);
	do_poll(fd, 0, 0);
	do_error(fd);
	do_names(fd);
	do_send(fd);
	do_recv(fd);
	do_connect(fd);
	do_poll(fd, POLLOUT, 0);
	do_flags(fd);
}

static int start(void)
{
	int fd = new_socket(SOCK_NONBLOCK);

	do_connect(fd);
	return fd;
}

static int started_and_done(void)
{
	int fd = start();

	do_poll(fd, POLLOUT, LONG);
	return fd;
}

/* ------------------------------------------------------------------------------ cases */

static void case_blocking(void)
{
	int fd = new_socket(0);

	do_connect(fd);
	look(fd);
}

static void case_blocking_exchange(void)
{
	int fd = new_socket(0);

	do_connect(fd);
	do_names(fd);
	exchange(fd);
}

static void case_blocking_again(void) /* a second attempt on the same socket */
{
	int fd = new_socket(0);

	do_connect(fd);
	do_connect(fd);
	do_connect(fd);
	do_error(fd);
}

static void case_blocking_other(void) /* after a failure the same socket serves for port 80 */
{
	int fd = new_socket(0);

	do_connect(fd);
	set_server(server.ss_family == AF_INET ? "10.2.0.2" : "fd02::2", "80");
	do_connect(fd);
	do_names(fd);
	exchange(fd);
}

static void case_poll_other(void) /* the same after SO_ERROR has told */
{
	int fd = started_and_done();

	do_error(fd);
	do_connect(fd);
	set_server(server.ss_family == AF_INET ? "10.2.0.2" : "fd02::2", "80");
	do_connect(fd);
	do_poll(fd, POLLOUT, LONG);
	do_error(fd);
	do_names(fd);
	exchange(fd);
}

static void case_poll(void)
{
	int fd = start();

	pending(fd);
	do_poll(fd, POLLIN | POLLOUT | POLLPRI | POLLRDHUP, LONG);
	look(fd);
}

static void case_poll_exchange(void)
{
	int fd = started_and_done();

	do_error(fd);
	do_names(fd);
	exchange(fd);
}

static void case_poll_error_first(void)
{
	int fd = started_and_done();

	do_error(fd);
	do_error(fd);
	look(fd);
}

static void case_poll_connect_first(void)
{
	int fd = started_and_done();

	do_connect(fd);
	do_connect(fd);
	do_connect(fd);
	look(fd);
}

static void case_poll_recv_first(void)
{
	int fd = started_and_done();

	do_recv(fd);
	do_recv(fd);
	look(fd);
}

static void case_poll_send_first(void)
{
	int fd = started_and_done();

	do_send(fd);
	do_send(fd);
	do_error(fd);
	do_connect(fd);
}

static void case_poll_peername_first(void)
{
	int fd = started_and_done();

	do_names(fd);
	look(fd);
}

static void case_poll_in(void) /* waits for data that the server only sends when asked */
{
	int fd = start();

	do_poll(fd, POLLIN, 300);
	do_poll(fd, POLLIN | POLLOUT, LONG);
	do_error(fd);
}

static void case_poll_nothing(void) /* no events asked for: only errors show */
{
	int fd = start();

	do_poll(fd, 0, 400);
	do_poll(fd, POLLPRI, 0);
	do_error(fd);
}

static void case_poll_without(void) /* connect() again and again instead of waiting */
{
	int fd = start();
	int64_t end = now_ms() + LONG;
	int r;

	while ((r = connect(fd, (struct sockaddr *)&server, server_len)) < 0 && errno == EALREADY &&
	       now_ms() < end)
		usleep(2000);
	result("connect in the end", r);
	look(fd);
}

static void case_error_without(void) /* SO_ERROR again and again, then writability */
{
	int fd = start();
	int64_t end = now_ms() + 300;
	int err = 0;
	socklen_t len = sizeof(err);

	while (!err && now_ms() < end) {
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len);
		usleep(2000);
	}
	printf("SO_ERROR in the end: %s\n", err ? strerrorname_np(err) : "0");
	do_poll(fd, POLLIN | POLLOUT | POLLRDHUP, LONG);
	look(fd);
}

static void case_poll_other_ready(void) /* a ready pipe beside a pending connection */
{
	int fds[2], fd = start();
	struct pollfd p[3] = { { .fd = fd, .events = POLLOUT },
			       { .events = POLLIN },
			       { .fd = -1 } };
	int r;

	if (pipe(fds) < 0 || write(fds[1], "x", 1) != 1)
		return;
	p[1].fd = fds[0];
	r = poll(p, 3, LONG);
	printf("poll: %d, %s", r, events_text(p[0].revents));
	printf(", %s\n", events_text(p[1].revents));
	p[1].fd = -1;
	r = poll(p, 3, LONG);
	printf("poll: %d, %s\n", r, events_text(p[0].revents));
	do_error(fd);
}

static void case_poll_timeouts(void) /* short waits, as programs with their own timers make */
{
	int fd = start(), r, n = 0;
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	while ((r = poll(&p, 1, 10)) == 0 && n++ < LONG / 10)
		;
	printf("poll: %d %s after several waits: %s\n", r, events_text(p.revents),
	       n > 0 ? "yes" : "no");
	do_error(fd);
}

static void case_poll_dup(void)
{
	int fd = new_socket(SOCK_NONBLOCK), copy, other;

	copy = dup(fd);
	do_connect(fd);
	other = fcntl(fd, F_DUPFD_CLOEXEC, 100);
	do_poll(other, POLLOUT, 0);
	do_poll(copy, POLLOUT, LONG);
	do_error(other);
	do_names(copy);
	close(fd);
	look(copy);
}

static void case_close_pending(void) /* the number comes back as something else */
{
	int fd = start(), again, fds[2];

	close(fd);
	again = new_socket(SOCK_NONBLOCK);
	printf("same number: %s\n", again == fd ? "yes" : "no");
	do_poll(again, POLLOUT, 0);
	do_names(again);
	close(again);
	if (pipe(fds) < 0)
		return;
	do_poll(fds[1], POLLOUT, 0);
	do_error(fds[1]);
}

static void case_shutdown_pending(void)
{
	int fd = start();

	result("shutdown", shutdown(fd, SHUT_RDWR));
	look(fd);
}

static void case_disconnect_pending(void)
{
	int fd = start();

	do_disconnect(fd);
	do_poll(fd, POLLIN | POLLOUT | POLLRDHUP, 0);
	do_error(fd);
	do_names(fd);
	do_connect(fd);
	do_poll(fd, POLLOUT, LONG);
	do_error(fd);
}

static void case_disconnect_connected(void)
{
	int fd = started_and_done();

	do_disconnect(fd);
	do_poll(fd, POLLIN | POLLOUT | POLLRDHUP, 0);
	do_names(fd);
	do_connect(fd);
	do_poll(fd, POLLOUT, LONG);
	do_error(fd);
}

static void case_bound(void)
{
	struct sockaddr_storage a = { .ss_family = server.ss_family };
	socklen_t len = sizeof(a);
	int fd = new_socket(SOCK_NONBLOCK);
	in_port_t port;

	result("bind", bind(fd, (struct sockaddr *)&a, server_len));
	getsockname(fd, (struct sockaddr *)&a, &len);
	port = ((struct sockaddr_in *)&a)->sin_port;
	do_connect(fd);
	do_poll(fd, POLLOUT, LONG);
	do_error(fd);
	len = sizeof(a);
	getsockname(fd, (struct sockaddr *)&a, &len);
	printf("port kept: %s\n", port == ((struct sockaddr_in *)&a)->sin_port ? "yes" : "no");
	do_names(fd);
}

static void case_fork_pending(void) /* parent and child wait for one connection */
{
	int fd = start();
	pid_t child;

	fflush(stdout);
	child = fork();
	if (child == 0) {
		char *text = NULL;
		size_t len;

		stdout = open_memstream(&text, &len);
		do_poll(fd, POLLOUT, LONG);
		do_error(fd);
		do_names(fd);
		fflush(stdout);
		if (write(STDOUT_FILENO, text, len) < 0)
			_exit(1);
		_exit(0);
	}
	waitpid(child, NULL, 0);
	do_poll(fd, POLLOUT, LONG);
	do_names(fd);
}

static void case_vfork_pending(void) /* the child closes what it does not need, and execs */
{
	int fd = start();
	pid_t child = vfork();

	if (child == 0) {
		close(fd);
		execl("/bin/true", "true", (char *)NULL);
		_exit(1);
	}
	waitpid(child, NULL, 0);
	do_poll(fd, POLLOUT, LONG);
	do_error(fd);
	do_names(fd);
	exchange(fd);
}

/* -------------------------------------------------------------------- signals, threads */

static volatile sig_atomic_t signals;
static int handler_fd = -1;

static void on_signal(int sig)
{
	struct pollfd p = { .fd = handler_fd, .events = POLLOUT };
	int saved_errno = errno;

	(void)sig;
	signals++;
	if (handler_fd >= 0)
		poll(&p, 1, 0);
	errno = saved_errno;
}

static void alarm_in(int first_ms, int then_ms, int flags)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = flags };
	struct itimerval when = { { then_ms / 1000, then_ms % 1000 * 1000 },
				  { first_ms / 1000, first_ms % 1000 * 1000 } };

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &when, NULL);
}

static void case_signal(void) /* EINTR; the connection goes on by itself */
{
	int fd = new_socket(0);

	alarm_in(40, 0, 0);
	do_connect(fd);
	printf("signals: %d\n", signals);
	do_names(fd);
	do_connect(fd);
	do_connect(fd);
	look(fd);
}

static void case_signal_then_poll(void)
{
	int fd = new_socket(0);

	alarm_in(40, 0, 0);
	do_connect(fd);
	do_poll(fd, POLLOUT, LONG);
	do_error(fd);
	do_names(fd);
	look(fd);
}

static void case_signal_restart(void)
{
	int fd = new_socket(0);

	alarm_in(40, 0, SA_RESTART);
	do_connect(fd);
	printf("signals: %d\n", signals);
	look(fd);
}

static void case_signal_storm(void) /* a handler that itself asks about the connection */
{
	int fd = new_socket(0);

	handler_fd = fd;
	alarm_in(1, 1, SA_RESTART);
	do_connect(fd);
	alarm_in(0, 0, SA_RESTART);
	printf("signals: %s\n", signals ? "yes" : "no");
	look(fd);
}

static void case_signal_poll(void) /* poll() is never restarted */
{
	int fd = start();

	alarm_in(40, 0, SA_RESTART);
	do_poll(fd, POLLOUT, LONG);
	do_poll(fd, POLLOUT, LONG);
	do_error(fd);
}

static void case_sndtimeo(void)
{
	struct timeval limit = { .tv_usec = 400000 };
	int fd = new_socket(0);
	int64_t began;

	result("SO_SNDTIMEO", setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)));
	for (int i = 0; i < 2; i++) {
		began = now_ms();
		do_connect(fd);
		began = now_ms() - began;
		printf("waited: %s\n", began < 350 ? "no" : began < 600 ? "0.4 s" : "longer");
	}
	do_poll(fd, POLLOUT, 0);
	do_error(fd);
	do_names(fd);
	limit.tv_usec = 0;
	socklen_t len = sizeof(limit);
	getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, &len);
	printf("SO_SNDTIMEO: %d ms\n", (int)(limit.tv_usec / 10000 * 10));
}

struct threaded {
	int fd;
	int r, err;
};

static void *connect_in_thread(void *arg)
{
	struct threaded *t = arg;

	t->r = connect(t->fd, (struct sockaddr *)&server, server_len);
	t->err = errno;
	return NULL;
}

static void case_cancel(void)
{
	struct threaded t = { .fd = new_socket(0), .r = 1 };
	pthread_t thread;
	void *value;

	pthread_create(&thread, NULL, connect_in_thread, &t);
	usleep(100000);
	pthread_cancel(thread);
	pthread_join(thread, &value);
	printf("cancelled: %s\n", value == PTHREAD_CANCELED ? "yes" : "no");
	do_poll(t.fd, POLLOUT, 0);
	result("close", close(t.fd));
	/* and nothing of it is left in the way */
	set_server("10.2.0.2", "80");
	t.fd = new_socket(0);
	do_connect(t.fd);
	exchange(t.fd);
}

static void case_threads(void) /* one thread connects, another one waits for it by poll() */
{
	struct threaded t = { .fd = new_socket(0), .r = 1 };
	pthread_t thread;

	pthread_create(&thread, NULL, connect_in_thread, &t);
	usleep(10000);
	do_poll(t.fd, POLLOUT, LONG);
	pthread_join(thread, NULL);
	errno = t.err;
	result("connect", t.r);
	do_names(t.fd);
}

static void case_close_in_thread(void) /* close() does not end a connect() that waits */
{
	struct threaded t = { .fd = new_socket(0), .r = 1 };
	pthread_t thread;

	pthread_create(&thread, NULL, connect_in_thread, &t);
	usleep(10000);
	result("shutdown", shutdown(t.fd, SHUT_RDWR));
	pthread_join(thread, NULL);
	errno = t.err;
	result("connect", t.r);
}

/* ------------------------------------------------------------- select, epoll, other I/O */

static void do_select(int fd, int timeout_ms)
{
	struct timeval timeout = { timeout_ms / 1000, timeout_ms % 1000 * 1000 };
	fd_set in, out, except;
	int r;

	FD_ZERO(&in);
	FD_SET(fd, &in);
	out = except = in;
	r = select(fd + 1, &in, &out, &except, &timeout);
	if (r < 0)
		result("select", r);
	else
		printf("select: %d%s%s%s\n", r, FD_ISSET(fd, &in) ? " in" : "",
		       FD_ISSET(fd, &out) ? " out" : "", FD_ISSET(fd, &except) ? " except" : "");
}

static void case_select(void)
{
	int fd = start();

	do_select(fd, 0);
	do_select(fd, LONG);
	look(fd);
	do_select(fd, 0);
}

static void do_epoll(int ep, int timeout)
{
	struct epoll_event event = { 0 };
	int r = epoll_wait(ep, &event, 1, timeout);

	if (r <= 0)
		result("epoll_wait", r);
	else
		printf("epoll_wait: %d %s data %llx\n", r, events_text((short)event.events),
		       (unsigned long long)event.data.u64);
}

static void epoll_case(bool before, uint32_t more)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | more,
				     .data.u64 = 0x123456789abcdef0 };
	int ep = epoll_create1(0), fd = new_socket(SOCK_NONBLOCK);

	if (before)
		result("epoll_ctl", epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event));
	if (before)
		do_epoll(ep, 0); /* an unconnected socket: OUT|HUP */
	do_connect(fd);
	if (!before)
		result("epoll_ctl", epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event));
	do_epoll(ep, 0);
	do_epoll(ep, LONG);
	do_epoll(ep, 0);
	do_error(fd);
	do_names(fd);
	do_epoll(ep, 0);
	exchange(fd);
	do_epoll(ep, 100);
	result("epoll_ctl", epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL));
}

static void case_epoll_level(void)
{
	epoll_case(false, 0);
}

static void case_epoll_level_before(void)
{
	epoll_case(true, 0);
}

static void case_epoll_edge(void)
{
	epoll_case(false, EPOLLET);
}

static void case_epoll_edge_before(void)
{
	epoll_case(true, EPOLLET);
}

static void case_epoll_oneshot(void)
{
	epoll_case(false, EPOLLONESHOT);
}

static void case_io_pending(void) /* every way to read or write, while it is too early */
{
	char byte = 'x';
	struct iovec iov = { &byte, 1 };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
	int fd = start();

	result("read", read(fd, &byte, 1));
	result("readv", readv(fd, &iov, 1));
	result("recvfrom", recvfrom(fd, &byte, 1, 0, NULL, NULL));
	result("recvmsg", recvmsg(fd, &message, 0));
	result("recv peek", recv(fd, &byte, 1, MSG_PEEK));
	result("write", write(fd, &byte, 1));
	result("writev", writev(fd, &iov, 1));
	result("sendto", sendto(fd, &byte, 1, MSG_NOSIGNAL, NULL, 0));
	result("sendmsg", sendmsg(fd, &message, MSG_NOSIGNAL));
	do_poll(fd, POLLOUT, LONG);
	do_error(fd);
	exchange(fd);
}

/* ------------------------------------------------------------------------------- table */

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
#define CASE(name)                 \
	{                          \
#name, case_##name \
	}
	CASE(blocking),
	CASE(blocking_exchange),
	CASE(blocking_again),
	CASE(blocking_other),
	CASE(poll),
	CASE(poll_exchange),
	CASE(poll_other),
	CASE(poll_error_first),
	CASE(poll_connect_first),
	CASE(poll_recv_first),
	CASE(poll_send_first),
	CASE(poll_peername_first),
	CASE(poll_in),
	CASE(poll_nothing),
	CASE(poll_without),
	CASE(poll_other_ready),
	CASE(poll_timeouts),
	CASE(poll_dup),
	CASE(error_without),
	CASE(close_pending),
	CASE(shutdown_pending),
	CASE(disconnect_pending),
	CASE(disconnect_connected),
	CASE(bound),
	CASE(fork_pending),
	CASE(vfork_pending),
	CASE(signal),
	CASE(signal_then_poll),
	CASE(signal_restart),
	CASE(signal_storm),
	CASE(signal_poll),
	CASE(sndtimeo),
	CASE(cancel),
	CASE(threads),
	CASE(close_in_thread),
	CASE(select),
	CASE(epoll_level),
	CASE(epoll_level_before),
	CASE(epoll_edge),
	CASE(epoll_edge_before),
	CASE(epoll_oneshot),
	CASE(io_pending),
};

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "list") == 0) {
		for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
			puts(cases[i].name);
		return 0;
	}
	if (argc != 4) {
		fprintf(stderr, "usage: transcript list | transcript CASE ADDRESS PORT\n");
		return 2;
	}
	set_server(argv[2], argv[3]);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (strcmp(cases[i].name, argv[1]) != 0)
			continue;
		cases[i].run();
		return 0;
	}
	fprintf(stderr, "transcript: no case %s\n", argv[1]);
	return 2;
}

// SPDX-License-Identifier: MIT
/*
 * transcript - what a program sees of its connections, one line for each call: transcript CASE
 * ADDRESS PORT. The tests run it with and without the shim and compare the lines.
 */
#include "calls.h"

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

	do_poll(fd, 0, 600);
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
	int64_t end = now_ms() + 600;
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
	struct sockaddr_storage a;
	socklen_t len = sizeof(a);
	int fd = new_socket(SOCK_NONBLOCK);
	in_port_t port;

	memset(&a, 0, sizeof(a));
	a.ss_family = server.ss_family;
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

static const struct test_case cases[] = {
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
	return run_case(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}

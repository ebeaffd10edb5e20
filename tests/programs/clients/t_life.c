// SPDX-License-Identifier: MIT
/*
 * t_life - what happens to a descriptor whose connection is pending: duplicates, closing in every
 * way, the number used again by something else, exec, descriptors sent to others.
 */
#include "say.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static struct test_case cases[];

/* All that tells what a descriptor is. */
static void look(int fd)
{
	do_poll(fd, POLLIN | POLLOUT | POLLRDHUP, 0);
	do_error(fd);
	do_names(fd);
	do_send(fd, "x");
	do_recv(fd);
}

/* Still pending? Then its outcome, and bytes there and back. */
static void follow(int fd)
{
	do_poll(fd, POLLIN | POLLOUT | POLLRDHUP, 0);
	do_names(fd);
	do_poll(fd, POLLOUT, LONG);
	do_error(fd);
	do_names(fd);
	do_send(fd, "hello");
	do_poll(fd, POLLIN, LONG);
	do_recv(fd);
	do_error(fd);
}

/* ------------------------------------------------------------------- duplicates */

enum way { DUP, DUP2, DUP3, F_DUP, F_DUP_CLOEXEC };

static int duplicate(int fd, int way)
{
	switch (way) {
	case DUP:
		return dup(fd);
	case DUP2:
		return dup2(fd, 50);
	case DUP3:
		return dup3(fd, 51, O_CLOEXEC);
	case F_DUP:
		return fcntl(fd, F_DUPFD, 60);
	default:
		return fcntl(fd, F_DUPFD_CLOEXEC, 60);
	}
}

static void copy_stays(int way)
{
	int fd = start(), copy = (int)say_result("copy", duplicate(fd, way));

	do_close(fd);
	look(fd);
	follow(copy);
}

static void original_stays(int way)
{
	int fd = start(), copy = duplicate(fd, way);

	do_close(copy);
	look(copy);
	follow(fd);
}

static void both_stay(int way)
{
	int fd = start(), copy = duplicate(fd, way), r;
	struct pollfd p[2] = { { .fd = copy, .events = POLLOUT }, { .fd = fd, .events = POLLOUT } };

	r = poll(p, 2, LONG);
	say("poll: %d %s %s", r, say_events((unsigned short)p[0].revents),
	    say_events((unsigned short)p[1].revents));
	do_names(fd);
	do_names(copy);
	do_connect(copy); /* of one file: told once */
	do_connect(fd);
	follow(copy);
	look(fd);
}

static void copy_of_connected(int way)
{
	int fd = start(), copy;

	do_poll(fd, POLLOUT, LONG);
	copy = duplicate(fd, way);
	do_close(fd);
	follow(copy);
}

static void before_connect(int way)
{
	int fd = new_socket(SOCK_NONBLOCK), copy = duplicate(fd, way);

	do_connect(fd);
	do_poll(copy, POLLOUT, 0);
	do_close(fd);
	follow(copy);
}

static void cookie_option(int fd)
{
	int value = -1;
	socklen_t len = sizeof(value);

	getsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, &value, &len);
	say("TCP_FASTOPEN_NO_COOKIE: %d", value);
}

/* What nobody has set, through either number. */
static void option_of_copy(int connected)
{
	int fd = start(), copy;

	if (connected)
		do_poll(fd, POLLOUT, LONG);
	copy = dup(fd);
	cookie_option(copy);
	do_poll(copy, POLLOUT, LONG);
	cookie_option(copy);
	cookie_option(fd);
}

/* ------------------------------------------- taken back by the program */

static void disconnect(int fd)
{
	struct sockaddr nobody = { .sa_family = AF_UNSPEC };

	say_result("disconnect", connect(fd, &nobody, sizeof(nobody)));
}

static void option_of_taken_back(int way)
{
	int fd = start();

	if (way == 1)
		do_poll(fd, POLLOUT, LONG);
	if (way == 2)
		say("shutdown: %d", shutdown(fd, SHUT_RDWR) == 0 || errno == ENOTCONN);
	else
		disconnect(fd);
	cookie_option(fd);
}

/* The program's own, after a failure and before the connect() that tells it. */
static void option_between(int told)
{
	int fd = start(), one = 1;

	do_poll(fd, POLLOUT, LONG);
	if (told)
		do_error(fd);
	say_result("setsockopt",
		   setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, &one, sizeof(one)));
	do_connect(fd);
	cookie_option(fd);
}

/* To another port, while there is a second number. */
static void elsewhere_with_copy(int param)
{
	struct sockaddr_storage other = good.sa;
	struct sockaddr_in *in = (struct sockaddr_in *)&other;
	int fd = start(), copy;

	(void)param;
	do_poll(fd, POLLOUT, LONG);
	copy = dup(fd);
	disconnect(fd);
	do_names(copy);
	in->sin_port = htons((uint16_t)(ntohs(in->sin_port) + 1));
	say_result("connect", connect(fd, (struct sockaddr *)&other, good.len));
	do_poll(fd, POLLOUT, LONG);
	do_names(copy);
	do_names(fd);
	do_poll(copy, POLLIN, LONG);
	do_recv(copy);
	do_connect(copy);
}

/* ------------------------------------------- the number means something else then */

static void close_by(int fd, int way)
{
	switch (way) {
	case 0:
		close(fd);
		break;
	case 1:
		close_range((unsigned int)fd, (unsigned int)fd, 0);
		break;
	case 2:
		closefrom(fd);
		break;
	case 3:
		fclose(fdopen(fd, "r+"));
		break;
	case 4:
		syscall(SYS_close, fd);
		break;
	default:
		syscall(SYS_close_range, fd, fd, 0);
	}
}

static void be_pipe(int fd)
{
	int fds[2];

	if (pipe(fds) < 0)
		return;
	say("same number: %s", fds[0] == fd ? "yes" : "no");
	look(fds[0]);
	look(fds[1]);
	say_result("write", write(fds[1], "pipe", 4));
	do_poll(fds[0], POLLIN, 0);
	say_result("read", read(fds[0], (char[8]){ 0 }, 8));
}

static void be_file(int fd)
{
	int again = open("/dev/zero", O_RDWR);

	say("same number: %s", again == fd ? "yes" : "no");
	look(again);
	say_result("read", read(again, (char[8]){ 1 }, 8));
	say_result("write", write(again, "file", 4));
}

static void be_udp(int fd)
{
	int again = socket(AF_INET, SOCK_DGRAM, 0);

	say("same number: %s", again == fd ? "yes" : "no");
	look(again);
	say_result("connect", connect(again, (struct sockaddr *)&good.sa, good.len));
	do_names(again);
}

static void be_tcp(int fd)
{
	int again = new_socket(SOCK_NONBLOCK);

	say("same number: %s", again == fd ? "yes" : "no");
	do_poll(again, POLLIN | POLLOUT, 0);
	do_names(again);
	do_connect(again);
	follow(again);
}

/* A connection of its own over the loopback, its accepting end under the number. */
static void be_accepted(int fd)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int listener = fcntl(socket(AF_INET, SOCK_STREAM, 0), F_DUPFD, 70), other, again;

	syscall(SYS_close, fd);
	bind(listener, (struct sockaddr *)&a, len);
	listen(listener, 1);
	getsockname(listener, (struct sockaddr *)&a, &len);
	other = fcntl(socket(AF_INET, SOCK_STREAM, 0), F_DUPFD, 80);
	syscall(SYS_close, fd);
	say_result("connect", connect(other, (struct sockaddr *)&a, len));
	again = accept(listener, NULL, NULL);
	say("same number: %s", again == fd ? "yes" : "no");
	do_poll(again, POLLIN | POLLOUT, 0);
	do_send(again, "hello");
	do_recv(other);
	do_send(other, "back");
	do_poll(again, POLLIN | POLLOUT, LONG);
	do_recv(again);
	say_result("connect", connect(again, (struct sockaddr *)&target.sa, target.len));
	do_error(again);
}

static void (*const others[])(int) = { be_pipe, be_file, be_udp, be_tcp, be_accepted };

/* param: how it is closed, and what the number becomes */
static void used_again(int param)
{
	int fd = start();

	close_by(fd, param % 10);
	look(fd);
	others[param / 10](fd);
}

static void taken_by_dup2(int raw)
{
	int fd = start(), file = open("/dev/zero", O_RDWR);

	if (raw)
		say("dup2: %d", syscall(SYS_dup2, file, fd) == fd);
	else
		say("dup2: %d", dup2(file, fd) == fd);
	look(fd);
	say_result("read", read(fd, (char[8]){ 1 }, 8));
	say_result("write", write(fd, "file", 4));
	do_close(fd);
	do_connect(fd);
}

/* An epoll registration lives as long as the file, so a duplicate keeps it alive. */
static void epoll_of_copy(int mode)
{
	struct epoll_event event = { .events = EPOLLOUT | (uint32_t)mode, .data.u64 = 5 };
	int ep = epoll_create1(0), fd = new_socket(SOCK_NONBLOCK), copy, r;

	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event);
	do_connect(fd);
	copy = dup(fd);
	do_close(fd);
	say_result("epoll_wait", epoll_wait(ep, &event, 1, 0));
	r = epoll_wait(ep, &event, 1, LONG);
	say("epoll_wait: %d %s %d", r, say_events(event.events), (int)event.data.u64);
	follow(copy);
	do_close(copy);
	say_result("epoll_wait", epoll_wait(ep, &event, 1, 0));
}

static void epoll_of_closed(int way)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT };
	int ep = epoll_create1(0), fd = new_socket(SOCK_NONBLOCK);

	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event);
	do_connect(fd);
	close_by(fd, way);
	say_result("epoll_wait", epoll_wait(ep, &event, 1, 300));
	be_tcp(fd);
	say_result("epoll_wait", epoll_wait(ep, &event, 1, 0));
}

/* --------------------------------------------------------------- exec, SCM_RIGHTS */

static int inherited = -1; /* in a program that was started by one of ours */

static void arguments(char *name, char *fd_text, char *argv[8])
{
	static char ports[2][8];
	static char ip[2][INET6_ADDRSTRLEN];
	const struct target *targets[2] = { &target, &good };

	argv[0] = name;
	argv[1] = name;
	for (int i = 0; i < 2; i++) {
		const struct sockaddr_in *in = (const void *)&targets[i]->sa;

		inet_ntop(AF_INET, &in->sin_addr, ip[i], sizeof(ip[i]));
		snprintf(ports[i], sizeof(ports[i]), "%d", ntohs(in->sin_port));
		argv[2 + 2 * i] = ip[i];
		argv[3 + 2 * i] = ports[i];
	}
	argv[6] = NULL;
	setenv("INHERITED", fd_text, 1);
}

static void after_exec(int param)
{
	(void)param;
	inherited = atoi(getenv("INHERITED"));
	follow(inherited);
}

static void exec_with(int fd)
{
	char name[] = "=after_exec", text[16], *argv[8];

	snprintf(text, sizeof(text), "%d", fd);
	arguments(name, text, argv);
	execv("/proc/self/exe", argv);
	say("execv: %s", say_errno(errno));
}

static void exec_pending(int param)
{
	(void)param;
	exec_with(start());
}

static void exec_connected(int param)
{
	int fd = start();

	(void)param;
	do_poll(fd, POLLOUT, LONG);
	do_error(fd);
	exec_with(fd);
}

static void spawn_pending(int param)
{
	char name[] = "=after_exec", text[16], *argv[8];
	int fd = start(), status = -1;
	pid_t child;

	(void)param;
	snprintf(text, sizeof(text), "%d", fd);
	arguments(name, text, argv);
	if (posix_spawn(&child, "/proc/self/exe", NULL, NULL, argv, environ) != 0)
		return;
	waitpid(child, &status, 0);
	say("child: %d", status);
	do_poll(fd, POLLOUT, LONG);
	do_names(fd);
	do_send(fd, "again");
	do_poll(fd, POLLIN, LONG);
	do_recv(fd);
}

enum sending { SENDMSG, SENDMMSG, RAW_SENDMSG, RAW_SENDMMSG };

static void send_fd_by(int over, int fd, int way)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { (char[]){ 'f' }, 1 };
	struct mmsghdr m = { .msg_hdr = { .msg_iov = &iov,
					  .msg_iovlen = 1,
					  .msg_control = control,
					  .msg_controllen = sizeof(control) } };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m.msg_hdr);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	if (way == SENDMSG)
		say_result("sendmsg", sendmsg(over, &m.msg_hdr, 0));
	else if (way == SENDMMSG)
		say_result("sendmmsg", sendmmsg(over, &m, 1, 0));
	else if (way == RAW_SENDMSG)
		say_result("sendmsg", syscall(SYS_sendmsg, over, &m.msg_hdr, 0));
	else
		say_result("sendmmsg", syscall(SYS_sendmmsg, over, &m, 1, 0));
}

static void send_fd(int over, int fd)
{
	send_fd_by(over, fd, SENDMSG);
}

static int receive_fd(int over)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 }, byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = control,
			    .msg_controllen = sizeof(control) };
	int fd = -1;

	if (recvmsg(over, &m, 0) == 1 && CMSG_FIRSTHDR(&m))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(int));
	return fd;
}

static void sent_to_itself(int connected)
{
	int fds[2], fd, got;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
		return;
	fd = start();
	if (connected)
		do_poll(fd, POLLOUT, LONG);
	send_fd(fds[0], fd);
	do_close(fd);
	got = receive_fd(fds[1]);
	say("a descriptor: %s", got >= 0 ? "yes" : "no");
	follow(got);
}

static void sent_to_child(int connected)
{
	int fds[2], fd, status;
	pid_t child;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
		return;
	child = fork();
	if (child == 0) { /* it has never seen the socket */
		fd = receive_fd(fds[1]);
		sleep_ms(20); /* the parent has said its lines */
		follow(fd);
		_exit(0);
	}
	fd = start();
	if (connected)
		do_poll(fd, POLLOUT, LONG);
	send_fd(fds[0], fd);
	do_close(fd);
	waitpid(child, &status, 0);
	say("child: %d", status);
}

static void await_word(int over)
{
	char byte;

	if (read(over, &byte, 1) != 1)
		_exit(2);
}

static void tell_word(int over)
{
	if (write(over, "w", 1) != 1)
		_exit(2);
}

/* Before its connect(): what one process does to the socket is done to the other's. */
static void sent_fresh(int way)
{
	int fds[2], fd, status, idle = 77, value = 0;
	socklen_t len = sizeof(value);
	pid_t child;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
		return;
	child = fork();
	if (child == 0) {
		fd = receive_fd(fds[1]);
		setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
		tell_word(fds[1]);
		await_word(fds[1]);
		follow(fd);
		_exit(0);
	}
	fd = new_socket(SOCK_NONBLOCK);
	send_fd_by(fds[0], fd, way);
	await_word(fds[0]);
	do_connect(fd);
	do_poll(fd, POLLOUT, LONG);
	tell_word(fds[0]);
	waitpid(child, &status, 0);
	say("child: %d", status);
	getsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &value, &len);
	say("TCP_KEEPIDLE: %d", value);
}

/* -------------------------------------------- a vfork child tidies up (case 2.4) */

enum tidying {
	CLOSE,
	RANGE,
	FROM,
	DUP2_OVER,
	DUP3_OVER,
	RAW_CLOSE,
	CLOSE_AND_DUP,
	CLOSE_AND_SOCKET
};

static void tidy(int fd, int way)
{
	switch (way) {
	case CLOSE:
		close(fd);
		break;
	case RANGE:
		close_range(3, ~0U, 0);
		break;
	case FROM:
		closefrom(3);
		break;
	case DUP2_OVER:
		dup2(2, fd);
		break;
	case DUP3_OVER:
		dup3(2, fd, O_CLOEXEC);
		break;
	case RAW_CLOSE:
		syscall(SYS_close, fd);
		break;
	case CLOSE_AND_DUP:
		close(fd);
		say_result("dup", dup(2) < 0 ? -1 : 0);
		break;
	case CLOSE_AND_SOCKET:
		close(fd);
		socket(AF_INET, SOCK_STREAM, 0);
		break;
	}
}

enum stage { BEFORE = 0, MEANWHILE = 10, AFTER = 20 };

/* The child has this memory, and descriptors of its own. */
static void vforked(int what)
{
	int epfd = epoll_create1(0), fd = new_socket(SOCK_NONBLOCK), status, one = 1, value = 0;
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.u64 = 7 };
	socklen_t len = sizeof(value);
	pid_t child;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (what / 10 * 10 == BEFORE)
		epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event);
	else
		do_connect(fd);
	if (what / 10 * 10 == AFTER)
		do_poll(fd, POLLOUT, LONG);
	child = vfork();
	if (child == 0) {
		tidy(fd, what % 10);
		_exit(0);
	}
	waitpid(child, &status, 0);
	if (what / 10 * 10 == BEFORE) {
		say("before: %d", epoll_wait(epfd, &event, 1, 0));
		do_connect(fd);
		say("then: %d", epoll_wait(epfd, &event, 1, LONG));
		say("%s, %d", say_events(event.events), (int)event.data.u64);
	}
	do_poll(fd, POLLOUT, LONG);
	follow(fd);
	getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &len);
	say("TCP_NODELAY: %d", value);
}

/* -------------------------------------------------------------------- the table */

#define AGAIN(name, what)                                                                         \
	{ "again-close-" name, used_again, what }, { "again-range-" name, used_again, what + 1 }, \
		{ "again-closefrom-" name, used_again, what + 2 },                                \
		{ "again-fclose-" name, used_again, what + 3 },                                   \
		{ "again-rawclose-" name, used_again, what + 4 },                                 \
	{                                                                                         \
		"again-rawrange-" name, used_again, what + 5                                      \
	}

#define COPY(name, way)                                                                           \
	{ "copy_stays-" name, copy_stays, way }, { "original_stays-" name, original_stays, way }, \
		{ "both_stay-" name, both_stay, way },                                            \
		{ "copy_of_connected-" name, copy_of_connected, way },                            \
	{                                                                                         \
		"before_connect-" name, before_connect, way                                       \
	}

#define VFORK(name, way)                                                 \
	{ "vfork-before-" name, vforked, BEFORE + (way) },               \
		{ "vfork-meanwhile-" name, vforked, MEANWHILE + (way) }, \
	{                                                                \
		"vfork-after-" name, vforked, AFTER + (way)              \
	}

static struct test_case cases[] = {
	COPY("dup", DUP),
	COPY("dup2", DUP2),
	COPY("dup3", DUP3),
	COPY("fcntl", F_DUP),
	COPY("fcntl_cloexec", F_DUP_CLOEXEC),
	{ "option_of_copy", option_of_copy, 0 },
	{ "option_of_copy-connected", option_of_copy, 1 },
	{ "option_of_taken_back-pending", option_of_taken_back, 0 },
	{ "option_of_taken_back-connected", option_of_taken_back, 1 },
	{ "option_of_taken_back-shut", option_of_taken_back, 2 },
	{ "option_between", option_between, 0 },
	{ "option_between-told", option_between, 1 },
	{ "elsewhere_with_copy", elsewhere_with_copy, 0 },
	AGAIN("pipe", 0),
	AGAIN("file", 10),
	AGAIN("udp", 20),
	AGAIN("tcp", 30),
	AGAIN("accepted", 40),
	{ "taken_by_dup2", taken_by_dup2, 0 },
	{ "taken_by_raw_dup2", taken_by_dup2, 1 },
	{ "epoll_of_copy", epoll_of_copy, 0 },
	{ "epoll_of_copy-et", epoll_of_copy, (int)EPOLLET },
	{ "epoll_of_closed", epoll_of_closed, 0 },
	{ "epoll_of_closed-fclose", epoll_of_closed, 3 },
	{ "epoll_of_closed-raw", epoll_of_closed, 4 },
	VFORK("close", CLOSE),
	VFORK("range", RANGE),
	VFORK("from", FROM),
	VFORK("dup2", DUP2_OVER),
	VFORK("dup3", DUP3_OVER),
	VFORK("raw", RAW_CLOSE),
	VFORK("close_and_dup", CLOSE_AND_DUP),
	{ "vfork-before-close_and_socket", vforked, BEFORE + CLOSE_AND_SOCKET },
	{ "vfork-meanwhile-close_and_socket", vforked, MEANWHILE + CLOSE_AND_SOCKET },
	{ "hand-exec_pending", exec_pending, 0 },
	{ "hand-exec_connected", exec_connected, 0 },
	{ "hand-spawn_pending", spawn_pending, 0 },
	{ "hand-sent_to_itself", sent_to_itself, 0 },
	{ "hand-sent_to_itself-connected", sent_to_itself, 1 },
	{ "hand-sent_to_child", sent_to_child, 0 },
	{ "hand-sent_to_child-connected", sent_to_child, 1 },
	{ "hand-sent_fresh", sent_fresh, SENDMSG },
	{ "hand-sent_fresh-sendmmsg", sent_fresh, SENDMMSG },
	{ "hand-sent_fresh-raw", sent_fresh, RAW_SENDMSG },
	{ "hand-sent_fresh-raw_sendmmsg", sent_fresh, RAW_SENDMMSG },
	/* the other half of the exec ones, not by itself */
	{ "after_exec", after_exec, 0 },
};

int main(int argc, char **argv)
{
	size_t n = sizeof(cases) / sizeof(cases[0]);

	return say_main(argc, argv, cases, getenv("INHERITED") ? n : n - 1);
}

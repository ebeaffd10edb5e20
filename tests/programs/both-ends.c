// SPDX-License-Identifier: MIT
/*
 * both-ends - a program that is client and server of its own connections:
 *
 *     both-ends CASE ADDRESS [AWAY PORT]
 *
 * It listens on ADDRESS, connects there without waiting and calls accept(). Prints what it then
 * sees of the client's end. AWAY PORT: a server that is another program's.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static struct sockaddr_in self, away;

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static const char *name(int err)
{
	return err ? strerrorname_np(err) : "0";
}

static int listen_at(struct sockaddr_in *address, int backlog, int flags)
{
	int fd = socket(AF_INET, SOCK_STREAM | flags, 0), on = 1;
	socklen_t len = sizeof(*address);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(fd, (struct sockaddr *)address, len) < 0 || listen(fd, backlog) < 0 ||
	    getsockname(fd, (struct sockaddr *)address, &len) < 0) {
		perror("listen");
		exit(3);
	}
	return fd;
}

static int begin(const struct sockaddr_in *server)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	int r = connect(fd, (const struct sockaddr *)server, sizeof(*server));

	printf("connect: %s\n", name(r < 0 ? errno : 0));
	return fd;
}

static int take(int listener)
{
	long began = now_ms();
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK), err = errno;

	printf("accept: %s\n", name(fd < 0 ? err : 0));
	fprintf(stderr, "%ld ms\n", now_ms() - began);
	return fd;
}

/* Is it connected? */
static bool is_writable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	return poll(&p, 1, 0) == 1 && p.revents == POLLOUT;
}

static void one(const char *which)
{
	int listener = listen_at(&self, 8, 0), client = begin(&self), server = take(listener);
	struct sockaddr_in peer = { 0 };
	socklen_t len = sizeof(peer);
	char text[8] = "";

	printf("writable: %d\n", is_writable(client));
	printf("getpeername: %d, ours: %d\n", getpeername(client, (struct sockaddr *)&peer, &len),
	       memcmp(&peer, &self, sizeof(peer)) == 0);
	printf("send: %zd\n", send(client, which, 3, MSG_NOSIGNAL));
	poll(&(struct pollfd){ .fd = server, .events = POLLIN }, 1, 5000);
	printf("recv: %zd %s\n", recv(server, text, sizeof(text) - 1, 0), text);
}

/* As many as one can, or more than the queue holds: after the nth accept() n are connected. */
static void several(int backlog, int number)
{
	int listener = listen_at(&self, backlog, 0), clients[5];

	for (int i = 0; i < number; i++)
		clients[i] = begin(&self);
	for (int n = 1; n <= number; n++) {
		int connected = 0;

		take(listener);
		for (int i = 0; i < number; i++)
			connected += is_writable(clients[i]);
		printf("enough: %d\n", connected >= n);
	}
}

static void on_alarm(int sig)
{
	static const char text[] = "signal\n";

	(void)sig;
	if (write(STDOUT_FILENO, text, sizeof(text) - 1) < 0)
		_exit(3);
}

static void interrupted(int flags)
{
	struct sigaction action = { .sa_handler = on_alarm, .sa_flags = flags };
	struct itimerval soon = { .it_value.tv_usec = 100000 };
	int listener = listen_at(&self, 8, 0), client;

	setvbuf(stdout, NULL, _IONBF, 0);
	client = begin(&self);
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &soon, NULL);
	take(listener);
	printf("writable: %d\n", is_writable(client));
}

static void limited(void)
{
	struct timeval limit = { .tv_usec = 200000 };
	int listener = listen_at(&self, 8, 0);

	setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	begin(&self);
	take(listener);
}

/* Never waits: the listener is non-blocking. */
static void nonblocking(void)
{
	int listener = listen_at(&self, 8, SOCK_NONBLOCK);

	begin(&self);
	take(listener);
}

/* What goes elsewhere is not waited for, and asked about once. */
static void elsewhere(void)
{
	struct sockaddr_in loopback = { .sin_family = AF_INET,
					.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int listener = listen_at(&loopback, 30, 0), client = begin(&away);

	for (int i = 0; i < 20; i++)
		begin(&loopback);
	for (int i = 0; i < 20; i++)
		take(listener);
	printf("writable: %d\n", is_writable(client));
}

/* A policy that lets nobody do this from now on. */
static void refuse(long call)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = 4, .filter = code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0) {
		perror("seccomp");
		exit(3);
	}
}

/* It listens at all addresses, at the port of what it connects to: itself, or elsewhere. */
static void wildcard(bool is_elsewhere, long refused)
{
	struct sockaddr_in any = { .sin_family = AF_INET }, loopback = any;
	int listener, client;

	any.sin_port = is_elsewhere ? away.sin_port : 0;
	listener = listen_at(&any, 8, 0);
	self.sin_port = loopback.sin_port = any.sin_port;
	loopback.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	client = begin(is_elsewhere ? &away : &self);
	if (is_elsewhere)
		begin(&loopback);
	if (refused >= 0)
		refuse(refused);
	take(listener);
	printf("writable: %d\n", is_writable(client));
}

/* The same, with as many connections to elsewhere. */
static void wildcard_many(void)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = away.sin_port },
			   loopback = any;
	int listener = listen_at(&any, 8, 0);

	loopback.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	begin(&loopback);
	for (int i = 0; i < 20; i++)
		begin(&away);
	take(listener);
}

static void *connect_and_wait(void *unused)
{
	int client = begin(&self);

	poll(&(struct pollfd){ .fd = client, .events = POLLOUT }, 1, 5000);
	return unused;
}

/* Another thread's conversion is that thread's. */
static void thread(void)
{
	int listener = listen_at(&self, 8, 0);
	pthread_t other;

	pthread_create(&other, NULL, connect_and_wait, NULL);
	take(listener);
	pthread_join(other, NULL);
}

int main(int argc, char **argv)
{
	const char *which = argv[1];

	if (argc < 3 || inet_pton(AF_INET, argv[2], &self.sin_addr) != 1)
		return 2;
	self.sin_family = away.sin_family = AF_INET;
	if (argc > 4 && inet_pton(AF_INET, argv[3], &away.sin_addr) == 1)
		away.sin_port = htons((in_port_t)atoi(argv[4]));
	alarm(15);
	if (strcmp(which, "one") == 0)
		one(which);
	else if (strcmp(which, "several") == 0)
		several(8, 5);
	else if (strcmp(which, "crowded") == 0)
		several(0, 2);
	else if (strcmp(which, "EINTR") == 0)
		interrupted(0);
	else if (strcmp(which, "SA_RESTART") == 0)
		interrupted(SA_RESTART);
	else if (strcmp(which, "limited") == 0)
		limited();
	else if (strcmp(which, "nonblocking") == 0)
		nonblocking();
	else if (strcmp(which, "elsewhere") == 0)
		elsewhere();
	else if (strcmp(which, "wildcard") == 0)
		wildcard(false, -1);
	else if (strcmp(which, "wildcard-socket") == 0)
		wildcard(false, SYS_socket);
	else if (strcmp(which, "wildcard-bind") == 0)
		wildcard(false, SYS_bind);
	else if (strcmp(which, "wildcard-elsewhere") == 0)
		wildcard(true, -1);
	else if (strcmp(which, "wildcard-many") == 0)
		wildcard_many();
	else if (strcmp(which, "thread") == 0)
		thread();
	else
		return 2;
	return 0;
}

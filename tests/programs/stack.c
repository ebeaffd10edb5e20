// SPDX-License-Identifier: MIT
/*
 * stack - how deep the stack gets in each call that the library interposes:
 * stack ADDRESS PORT WAIT_MS; lines of a name and how many bytes, the same name several times.
 *
 * Each call is made on a stack of its own that was painted before: before the connection, while it
 * is being made, once the converter's reply is there or WAIT_MS are over, and when it is made; in a
 * process of its own without a state file, so that everything that happens is news to the library.
 *
 * stack -t ADDRESS PORT: connects in a thread with the smallest stack that there may be.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#define ROOM  65536
#define PAINT 0x5a

static unsigned char stack[ROOM] __attribute__((aligned(64)));
static ucontext_t here, there;
static struct sockaddr_in server;
static int fd = -1, epfd, null, wait_ms;

/* What the calls are given; not on the stack that is measured. */
static char buffer[4096];
static struct sockaddr_storage name;
static socklen_t name_len;
static int number;
static struct iovec iov[2] = { { buffer, 10 }, { buffer + 10, 10 } };
static struct msghdr message;
static struct mmsghdr messages[2];
static struct pollfd pollfd;
static fd_set set;
static struct epoll_event event;
static struct timespec none;
static struct timeval no_time;
static char none_such[] = "none";
static char *no_arguments[] = { none_such, NULL };
static const char no_program[] = "/nonexistent";

/* ------------------------------------------------------------------------- the calls */

static void c_socket(void)
{
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
}

static void c_socketpair(void)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0) {
		close(pair[0]);
		close(pair[1]);
	}
}

static void c_bind(void)
{
	if (bind(fd, (struct sockaddr *)&name, sizeof(struct sockaddr_in)) < 0)
		number = -1;
}

static void c_connect(void)
{
	if (connect(fd, (struct sockaddr *)&server, sizeof(server)) < 0)
		number = -1;
}

static void c_accept(void)
{
	number = accept(fd, NULL, NULL);
}

static void c_accept4(void)
{
	number = accept4(fd, NULL, NULL, 0);
}

static void c_getpeername(void)
{
	getpeername(fd, (struct sockaddr *)&name, &name_len);
}

static void c_getsockname(void)
{
	getsockname(fd, (struct sockaddr *)&name, &name_len);
}

static void c_getsockopt(void)
{
	name_len = sizeof(number);
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &name_len);
}

static void c_setsockopt(void)
{
	number = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &number, sizeof(number));
}

static void c_poll(void)
{
	poll(&pollfd, 1, 0);
}

static void c_ppoll(void)
{
	ppoll(&pollfd, 1, &none, NULL);
}

static void c_select(void)
{
	select(fd + 1, NULL, &set, NULL, &no_time);
}

static void c_pselect(void)
{
	pselect(fd + 1, NULL, &set, NULL, &none, NULL);
}

static void c_epoll_ctl(void)
{
	if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event) < 0)
		epoll_ctl(epfd, EPOLL_CTL_MOD, fd, &event);
}

static void c_epoll_wait(void)
{
	epoll_wait(epfd, &event, 1, 0);
}

static void c_epoll_pwait(void)
{
	epoll_pwait(epfd, &event, 1, 0, NULL);
}

static void c_epoll_pwait2(void)
{
	epoll_pwait2(epfd, &event, 1, &none, NULL);
}

static void c_close(void)
{
	close(fd);
	fd = -1;
}

static void c_close_range(void)
{
	close_range((unsigned int)fd, (unsigned int)fd, 0);
	fd = -1;
}

static void c_closefrom(void)
{
	closefrom(fd);
	fd = -1;
}

static void c_execv(void)
{
	execv(no_program, no_arguments);
}

static void c_execve(void)
{
	execve(no_program, no_arguments, environ);
}

static void c_execvp(void)
{
	execvp(no_program, no_arguments);
}

static void c_execvpe(void)
{
	execvpe(no_program, no_arguments, environ);
}

static void c_execl(void)
{
	execl(no_program, "none", "a", "b", NULL);
}

static void c_execlp(void)
{
	execlp(no_program, "none", "a", "b", NULL);
}

static void c_execle(void)
{
	execle(no_program, "none", "a", "b", NULL, environ);
}

static void c_fexecve(void)
{
	fexecve(null, no_arguments, environ);
}

static void c_execveat(void)
{
	execveat(AT_FDCWD, no_program, no_arguments, environ, 0);
}

static void c_posix_spawn(void)
{
	pid_t pid;

	posix_spawn(&pid, no_program, NULL, NULL, no_arguments, environ);
}

static void c_posix_spawnp(void)
{
	pid_t pid;

	posix_spawnp(&pid, no_program, NULL, NULL, no_arguments, environ);
}

static void c_adddup2(void)
{
	posix_spawn_file_actions_t actions;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, fd, 0);
	posix_spawn_file_actions_destroy(&actions);
}

static void c_fdopen(void)
{
	if (!fdopen(fd, "r"))
		number = -1;
}

__attribute__((format(printf, 1, 2))) static void print(const char *format, ...)
{
	va_list more;

	va_start(more, format);
	vdprintf(fd, format, more);
	va_end(more);
}

static void c_vdprintf(void)
{
	print("%s", "words\n");
}

static void c_dprintf(void)
{
	dprintf(fd, "%s", "words\n");
}

static void c_shutdown(void)
{
	shutdown(fd, SHUT_WR);
}

static void c_ioctl(void)
{
	ioctl(fd, FIONREAD, &number);
}

static void c_prctl(void)
{
	prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL);
}

static void c_sockatmark(void)
{
	sockatmark(fd);
}

static void c_read(void)
{
	if (read(fd, buffer, 10) < 0)
		number = -1;
}

static void c_readv(void)
{
	if (readv(fd, iov, 2) < 0)
		number = -1;
}

static void c_preadv2(void)
{
	if (preadv2(fd, iov, 2, -1, 0) < 0)
		number = -1;
}

static void c_pwritev2(void)
{
	if (pwritev2(fd, iov, 2, -1, 0) < 0)
		number = -1;
}

static void c_recv(void)
{
	recv(fd, buffer, 10, 0);
}

static void c_recvfrom(void)
{
	name_len = sizeof(name);
	recvfrom(fd, buffer, 10, 0, (struct sockaddr *)&name, &name_len);
}

static void c_recvmsg(void)
{
	if (recvmsg(fd, &message, 0) < 0)
		number = -1;
}

static void c_recvmmsg(void)
{
	recvmmsg(fd, messages, 2, 0, &none);
}

static void c_write(void)
{
	if (write(fd, buffer, 10) < 0)
		number = -1;
}

static void c_writev(void)
{
	if (writev(fd, iov, 2) < 0)
		number = -1;
}

static void c_send(void)
{
	send(fd, buffer, 10, 0);
}

static void c_sendto(void)
{
	sendto(fd, buffer, 10, 0, NULL, 0);
}

static void c_sendmsg(void)
{
	sendmsg(fd, &message, 0);
}

static void c_sendmmsg(void)
{
	sendmmsg(fd, messages, 2, 0);
}

static void c_sendfile(void)
{
	if (sendfile(fd, null, NULL, 10) < 0)
		number = -1;
}

static void c_splice(void)
{
	splice(fd, NULL, null, NULL, 10, SPLICE_F_NONBLOCK);
}

/* The number that a duplicate gets is closed at once, unmeasured. */
static void close_raw(int other)
{
	if (other >= 0)
		close(other);
}

static void c_dup(void)
{
	number = dup(fd);
}

static void c_dup2(void)
{
	number = dup2(fd, 100);
}

static void c_dup3(void)
{
	number = dup3(fd, 101, O_CLOEXEC);
}

static void c_fcntl(void)
{
	number = fcntl(fd, F_DUPFD, 50);
}

/* Fast Open by the program itself: these make the connection. */
static void c_sendto_connects(void)
{
	sendto(fd, buffer, 10, MSG_FASTOPEN | MSG_NOSIGNAL, (struct sockaddr *)&server,
	       sizeof(server));
}

static void c_sendmsg_connects(void)
{
	message.msg_name = &server;
	message.msg_namelen = sizeof(server);
	sendmsg(fd, &message, MSG_FASTOPEN | MSG_NOSIGNAL);
	message.msg_name = NULL;
	message.msg_namelen = 0;
}

static void c_sendmmsg_connects(void)
{
	messages[0].msg_hdr.msg_name = &server;
	messages[0].msg_hdr.msg_namelen = sizeof(server);
	sendmmsg(fd, messages, 2, MSG_FASTOPEN | MSG_NOSIGNAL);
	messages[0].msg_hdr.msg_name = NULL;
	messages[0].msg_hdr.msg_namelen = 0;
}

struct call {
	const char *name;
	void (*make)(void);
	size_t most;
};

#define CALL(name)                 \
	{                          \
#name, c_##name, 0 \
	}
static struct call calls[] = {
	CALL(socketpair),  CALL(bind),	      CALL(accept),	 CALL(accept4),
	CALL(getpeername), CALL(getsockname), CALL(getsockopt),	 CALL(setsockopt),
	CALL(poll),	   CALL(ppoll),	      CALL(select),	 CALL(pselect),
	CALL(epoll_ctl),   CALL(epoll_wait),  CALL(epoll_pwait), CALL(epoll_pwait2),
	CALL(close_range), CALL(closefrom),   CALL(execv),	 CALL(execve),
	CALL(execvp),	   CALL(execvpe),     CALL(execl),	 CALL(execlp),
	CALL(execle),	   CALL(fexecve),     CALL(posix_spawn), CALL(posix_spawnp),
	CALL(fdopen),	   CALL(vdprintf),    CALL(dprintf),	 CALL(shutdown),
	CALL(ioctl),	   CALL(sockatmark),  CALL(read),	 CALL(readv),
	CALL(preadv2),	   CALL(pwritev2),    CALL(recv),	 CALL(recvfrom),
	CALL(recvmsg),	   CALL(recvmmsg),    CALL(write),	 CALL(writev),
	CALL(send),	   CALL(sendto),      CALL(sendmsg),	 CALL(sendmmsg),
	CALL(sendfile),	   CALL(splice),      CALL(dup),	 CALL(dup2),
	CALL(dup3),	   CALL(fcntl),	      CALL(prctl),	 CALL(connect),
	CALL(close),	   CALL(adddup2),     CALL(execveat),
};
static struct call first_calls[] = {
	CALL(socket),
	CALL(sendto_connects),
	CALL(sendmsg_connects),
	CALL(sendmmsg_connects),
};
#define N_CALLS	 (sizeof(calls) / sizeof(calls[0]))
#define N_FIRST	 (sizeof(first_calls) / sizeof(first_calls[0]))
#define N_ROUNDS (N_CALLS + N_FIRST + 1)

/* ----------------------------------------------------------------------- measuring */

/* A stack grows downwards: the lowest byte that is not as it was painted. */
static void measure(struct call *c)
{
	size_t untouched = 0;

	memset(stack, PAINT, sizeof(stack));
	getcontext(&there);
	there.uc_stack.ss_sp = stack;
	there.uc_stack.ss_size = sizeof(stack);
	there.uc_link = &here;
	makecontext(&there, c->make, 0);
	swapcontext(&here, &there);
	while (untouched < ROOM && stack[untouched] == PAINT)
		untouched++;
	if (ROOM - untouched > c->most)
		c->most = ROOM - untouched;
}

static struct call *call_named(const char *wanted)
{
	for (size_t i = 0; i < N_CALLS; i++)
		if (strcmp(calls[i].name, wanted) == 0)
			return &calls[i];
	abort();
}

static void prepare_arguments(void)
{
	pollfd = (struct pollfd){ .fd = fd, .events = POLLOUT };
	FD_ZERO(&set);
	if (fd >= 0)
		FD_SET(fd, &set);
	event = (struct epoll_event){ .events = EPOLLOUT };
	name_len = sizeof(name);
	number = -1;
	no_time = (struct timeval){ 0 };
	memset(&name, 0, sizeof(name));
}

/* Until there is something to read, or for WAIT_MS; past libc, so that nothing happens yet. */
static void let_it_come(void)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct timespec limit = { .tv_nsec = wait_ms * 1000000L };

	syscall(SYS_ppoll, &p, 1, &limit, NULL, 0);
}

static void measure_here(struct call *c)
{
	prepare_arguments();
	measure(c);
	if (strncmp(c->name, "dup", 3) == 0 || strcmp(c->name, "fcntl") == 0)
		close_raw(number);
}

static void new_socket(bool prepared)
{
	measure(&first_calls[0]);
	if (fd < 0) {
		perror("socket");
		exit(1);
	}
	if (!prepared)
		return;
	measure_here(call_named("bind"));
	measure_here(call_named("setsockopt"));
	measure_here(call_named("epoll_ctl"));
}

static void finish(void)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	if (fd < 0)
		return;
	poll(&p, 1, 2000);
	measure_here(call_named("close"));
}

static void round_of(struct call *c, bool prepared)
{
	new_socket(prepared);
	measure_here(c); /* before the connection */
	finish();
	new_socket(prepared);
	measure_here(call_named("connect"));
	measure_here(c); /* nothing has come yet */
	if (fd >= 0)
		let_it_come();
	if (fd >= 0)
		measure_here(c); /* what has come is worked on */
	if (fd >= 0) {
		poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, 2000);
		measure_here(c);
	}
	finish();
}

static void round_blocking(void)
{
	new_socket(true);
	fcntl(fd, F_SETFL, 0);
	measure_here(call_named("connect"));
	finish();
}

static void report(const struct call *some, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (some[i].most)
			printf("%s %zu\n", some[i].name, some[i].most);
}

/* n: of the call, then the first calls, then a blocking connect(). */
static void run_round(size_t n)
{
	epfd = epoll_create1(0);
	null = open("/dev/zero", O_RDWR);
	message = (struct msghdr){ .msg_iov = iov, .msg_iovlen = 2 };
	messages[0].msg_hdr = messages[1].msg_hdr = message;
	if (n < N_CALLS) {
		round_of(&calls[n], n % 2);
	} else if (n < N_ROUNDS - 1) {
		new_socket(n % 2);
		measure_here(&first_calls[n - N_CALLS]);
		finish();
	} else {
		round_blocking();
	}
	report(calls, N_CALLS);
	report(first_calls, N_FIRST);
}

static int run_all(char **argv)
{
	const char *state = getenv("CONVERT_STATE");
	char n_text[16], *arguments[] = { argv[0], argv[1], argv[2], argv[3], n_text, NULL };
	int failed = 0, status;

	for (size_t n = 0; n < N_ROUNDS; n++) {
		snprintf(n_text, sizeof(n_text), "%zu", n);
		if (state)
			unlink(state);
		if (fork() == 0) {
			execv("/proc/self/exe", arguments);
			_exit(127);
		}
		if (wait(&status) < 0 || status) {
			fprintf(stderr, "round %zu: status %d\n", n, status);
			failed = 1;
		}
	}
	return failed;
}

static void *in_thread(void *connected)
{
	bool *ok = connected;

	fd = socket(AF_INET, SOCK_STREAM, 0);
	*ok = connect(fd, (struct sockaddr *)&server, sizeof(server)) == 0;
	getpeername(fd, (struct sockaddr *)&name, &name_len);
	close(fd);
	return NULL;
}

static int run_thread(void)
{
	pthread_attr_t attributes;
	pthread_t thread;
	bool connected = false;

	pthread_attr_init(&attributes);
	if (pthread_attr_setstacksize(&attributes, (size_t)PTHREAD_STACK_MIN) ||
	    pthread_create(&thread, &attributes, in_thread, &connected) ||
	    pthread_join(thread, NULL))
		return 1;
	printf("%s\n", connected ? "connected" : "not connected");
	return 0;
}

int main(int argc, char **argv)
{
	bool thread = argc > 1 && strcmp(argv[1], "-t") == 0;

	argv += thread;
	argc -= thread;
	server = (struct sockaddr_in){ .sin_family = AF_INET };
	if (argc < 3 + !thread || inet_pton(AF_INET, argv[1], &server.sin_addr) != 1) {
		fprintf(stderr, "usage: stack ADDRESS PORT WAIT_MS, or stack -t ADDRESS PORT\n");
		return 2;
	}
	server.sin_port = htons((in_port_t)atoi(argv[2]));
	if (thread)
		return run_thread();
	if (argc < 5)
		return run_all(argv);
	wait_ms = atoi(argv[3]);
	signal(SIGPIPE, SIG_IGN);
	run_round((size_t)atoi(argv[4]));
	return 0;
}

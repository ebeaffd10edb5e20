// SPDX-License-Identifier: MIT
/*
 * transcript-signals - the same with signals, time limits, threads and child processes.
 */
#include "calls.h"

#include <spawn.h>

/* ---------------------------------------------------------------------------- children */

static void case_fork_pending(void) /* parent and child wait for one connection */
{
	int fd = start();
	pid_t child;

	fflush(stdout);
	child = fork();
	if (child == 0) {
		static char lines[8192]; /* in one write(), not between the parent's */

		setvbuf(stdout, lines, _IOFBF, sizeof(lines));
		do_poll(fd, POLLOUT, LONG);
		do_error(fd);
		do_names(fd);
		_exit(fflush(stdout) != 0);
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

static long mapped_pages(void)
{
	long pages = -1;
	FILE *f = fopen("/proc/self/statm", "r");

	if (!f || fscanf(f, "%ld", &pages) != 1)
		perror("/proc/self/statm");
	if (f)
		fclose(f);
	return pages;
}

/* What its exec needed of the memory that it shares with us is not left to us. */
static void case_vfork_memory(void)
{
	long before = mapped_pages();

	for (int i = 0; i < 30; i++) {
		pid_t child = vfork();

		if (child == 0) {
			if (i % 3 == 0)
				execl("/bin/true", "true", (char *)NULL);
			else if (i % 3 == 1)
				execlp("true", "true", (char *)NULL);
			else
				execle("/bin/true", "true", (char *)NULL, environ);
			_exit(1);
		}
		waitpid(child, NULL, 0);
	}
	printf("%s\n", mapped_pages() - before < 10 ? "nothing is left" : "memory is left");
	do_connect(new_socket(0));
}

#define INHERITED 9

/* The program that goes on with a connection which was pending when it was started. */
static void case_inherited(void)
{
	do_poll(INHERITED, POLLOUT, LONG);
	do_error(INHERITED);
	do_flags(INHERITED);
	exchange(INHERITED);
}

static char *const *inherited_argv(void)
{
	static char ip[INET6_ADDRSTRLEN], program[] = "transcript-signals", name[] = "inherited",
					  port[] = "80";
	static char *argv[] = { program, name, ip, port, NULL };

	inet_ntop(AF_INET, &((struct sockaddr_in *)&server)->sin_addr, ip, sizeof(ip));
	return argv;
}

static void case_exec_pending(void)
{
	dup2(start(), INHERITED);
	execv("/proc/self/exe", inherited_argv());
}

static void case_execl_pending(void)
{
	char *const *argv = inherited_argv();

	dup2(start(), INHERITED);
	execl("/proc/self/exe", argv[0], argv[1], argv[2], argv[3], (char *)NULL);
}

static void case_spawn_pending(void)
{
	char *const *argv = inherited_argv();
	pid_t child;
	int r;

	dup2(start(), INHERITED);
	fflush(stdout);
	r = posix_spawn(&child, "/proc/self/exe", NULL, NULL, argv, environ);
	waitpid(child, NULL, 0); /* two processes write: the child's lines first */
	result("posix_spawn", r);
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

static void case_signal_again(void) /* EINTR, and again, until it is told what became of it */
{
	int fd = new_socket(0), r;

	alarm_in(5, 5, 0);
	do
		r = connect(fd, (struct sockaddr *)&server, server_len);
	while (r < 0 && errno == EINTR);
	result("connect", r);
	alarm_in(0, 0, 0);
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
		printf("waited: %s\n", began < 350 ? "no" : began < 750 ? "0.4 s" : "longer");
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

/* Until the other thread's SYN is out, and a moment more, so that it waits. */
static void wait_for_syn(int fd)
{
	struct tcp_info info = { .tcpi_state = TCP_CLOSE };
	socklen_t len = sizeof(info);

	while (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
	       info.tcpi_state == TCP_CLOSE)
		usleep(1000);
	usleep(10000);
}

static void case_cancel(void)
{
	struct threaded t = { .fd = new_socket(0), .r = 1 };
	pthread_t thread;
	void *value;

	pthread_create(&thread, NULL, connect_in_thread, &t);
	wait_for_syn(t.fd);
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
	wait_for_syn(t.fd);
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
	wait_for_syn(t.fd);
	result("shutdown", shutdown(t.fd, SHUT_RDWR));
	pthread_join(thread, NULL);
	errno = t.err;
	result("connect", t.r);
}

/* ------------------------------------------------------------------------------- table */

static const struct test_case cases[] = {
	CASE(fork_pending),   CASE(vfork_pending), CASE(exec_pending), CASE(execl_pending),
	CASE(spawn_pending),  CASE(inherited),	   CASE(signal),       CASE(signal_then_poll),
	CASE(signal_restart), CASE(signal_storm),  CASE(signal_poll),  CASE(signal_again),
	CASE(sndtimeo),	      CASE(cancel),	   CASE(threads),      CASE(close_in_thread),
	CASE(vfork_memory),
};

int main(int argc, char **argv)
{
	return run_case(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}

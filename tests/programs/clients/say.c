// SPDX-License-Identifier: MIT
#include "say.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

struct target target, good;

/* ----------------------------------------------------------------------- lines */

void say(const char *format, ...)
{
	char line[512];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(line, sizeof(line) - 1, format, args);
	va_end(args);
	if (n > (int)sizeof(line) - 2)
		n = (int)sizeof(line) - 2;
	line[n] = '\n';
	/* one write, not stdio: children and threads write lines too */
	if (write(STDOUT_FILENO, line, (size_t)n + 1) < 0)
		_exit(3);
}

const char *say_errno(int err)
{
	const char *name = err ? strerrorname_np(err) : "0";

	return name ? name : "unknown errno";
}

long say_result(const char *call, long r)
{
	int err = errno;

	if (r < 0)
		say("%s: %s", call, say_errno(err));
	else
		say("%s: %ld", call, r);
	return r;
}

/* No call touches errno when it succeeds; each of those below begins with errno 0. */
static void check_errno(const char *call, long r)
{
	if (r >= 0 && errno)
		say("%s succeeded and set errno to %s", call, say_errno(errno));
}

const char *say_events(unsigned int events)
{
	static __thread char texts[4][64];
	static __thread unsigned int next;
	char *text = texts[next++ % 4];
	static const struct {
		unsigned int bit;
		const char *name;
	} names[] = { { POLLIN, "IN" },	   { POLLPRI, "PRI" }, { POLLOUT, "OUT" },
		      { POLLERR, "ERR" },  { POLLHUP, "HUP" }, { POLLRDHUP, "RDHUP" },
		      { POLLNVAL, "NVAL" } };

	text[0] = '\0';
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!(events & names[i].bit))
			continue;
		if (text[0])
			strcat(text, "|");
		strcat(text, names[i].name);
	}
	return text[0] ? text : "-";
}

/* ----------------------------------------------------------------------- calls */

int new_socket(int flags)
{
	int fd = socket(target.sa.ss_family, SOCK_STREAM | flags, 0);

	if (fd < 0) {
		perror("socket");
		exit(3);
	}
	return fd;
}

int do_connect(int fd)
{
	int r;

	errno = 0;
	r = connect(fd, (struct sockaddr *)&target.sa, target.len);
	check_errno("connect", r);
	return (int)say_result("connect", r);
}

int start(void)
{
	int fd = new_socket(SOCK_NONBLOCK);

	do_connect(fd);
	return fd;
}

void do_poll(int fd, short events, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = events };
	int r;

	errno = 0;
	r = poll(&p, 1, timeout_ms);
	check_errno("poll", r);
	if (r < 0)
		say_result("poll", r);
	else
		say("poll %s: %d %s", say_events((unsigned short)events), r,
		    say_events((unsigned short)p.revents));
}

void do_error(int fd)
{
	int err = -1;
	socklen_t len = sizeof(err);
	int r;

	errno = 0;
	r = getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len);
	check_errno("SO_ERROR", r);
	if (r < 0)
		say_result("SO_ERROR", r);
	else
		say("SO_ERROR: %s", say_errno(err));
}

static void say_address(const char *call, int r, struct sockaddr_storage *a, socklen_t len,
			bool with_port)
{
	char text[INET6_ADDRSTRLEN] = "?";
	const struct sockaddr_in *in = (const void *)a;
	const struct sockaddr_in6 *in6 = (const void *)a;
	int port = ntohs(in->sin_port); /* at the same place in both */

	if (r < 0) {
		say_result(call, r);
		return;
	}
	if (a->ss_family == AF_INET6)
		inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text));
	else if (a->ss_family == AF_INET)
		inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
	say("%s: family %d length %u %s port %d", call, a->ss_family, len, text,
	    with_port ? port : port != 0);
}

void do_names(int fd)
{
	struct sockaddr_storage a = { 0 };
	socklen_t len = sizeof(a);
	int r;

	errno = 0;
	r = getpeername(fd, (struct sockaddr *)&a, &len);
	check_errno("getpeername", r);
	say_address("getpeername", r, &a, len, true);
	memset(&a, 0, sizeof(a));
	len = sizeof(a);
	r = getsockname(fd, (struct sockaddr *)&a, &len);
	say_address("getsockname", r, &a, len, false);
}

void do_send(int fd, const char *text)
{
	long r;

	errno = 0;
	r = send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
	check_errno("send", r);
	say_result("send", r);
}

void do_recv(int fd)
{
	char text[65];
	volatile size_t room = sizeof(text) - 1; /* not constant: recv() is __recv_chk() then */
	ssize_t n;

	errno = 0;
	n = recv(fd, text, room, MSG_DONTWAIT);
	check_errno("recv", n);
	if (n <= 0) {
		say_result("recv", n);
		return;
	}
	text[n] = '\0';
	say("recv: %zd '%s'", n, text);
}

void do_close(int fd)
{
	int r;

	errno = 0;
	r = close(fd);
	check_errno("close", r);
	say_result("close", r);
}

void sleep_ms(int ms)
{
	struct timespec left = { ms / 1000, ms % 1000 * 1000000L };

	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}

int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---------------------------------------------------------- cases as processes */

struct job {
	const struct test_case *c;
	pid_t pid;
	int out;
	int64_t end_ms;
	bool done;
	int status;
};

static void start_job(struct job *job, char **argv, int limit_s)
{
	char name[80];
	char *args[] = { argv[0], name, argv[1], argv[2], argv[3], argv[4], NULL };
	posix_spawn_file_actions_t actions;

	snprintf(name, sizeof(name), "=%s", job->c->name);
	job->out = memfd_create("lines", MFD_CLOEXEC);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, job->out, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, job->out, STDERR_FILENO);
	if (posix_spawn(&job->pid, "/proc/self/exe", &actions, NULL, args, environ) != 0)
		exit(3);
	posix_spawn_file_actions_destroy(&actions);
	job->end_ms = now_ms() + limit_s * 1000;
}

static void show_job(const struct job *job)
{
	char block[4096];
	ssize_t n;

	say("== %s", job->c->name);
	for (off_t at = 0; (n = pread(job->out, block, sizeof(block), at)) > 0; at += n)
		if (write(STDOUT_FILENO, block, (size_t)n) != n)
			exit(3);
	if (WIFSIGNALED(job->status))
		say("killed by signal %d", WTERMSIG(job->status));
	else if (WEXITSTATUS(job->status))
		say("exit %d", WEXITSTATUS(job->status));
	close(job->out);
}

static bool job_is_over(struct job *job)
{
	pid_t r = waitpid(job->pid, &job->status, WNOHANG);

	if (r == 0 && now_ms() > job->end_ms) {
		kill(job->pid, SIGKILL);
		r = waitpid(job->pid, &job->status, 0);
	}
	job->done = r != 0;
	return job->done;
}

static int run_jobs(struct job *jobs, size_t n, char **argv, size_t at_once, int limit_s)
{
	size_t begun = 0, shown = 0, over = 0;
	int bad = 0;

	while (shown < n) {
		/* one at a time: a case that has to wait for a processor sees other things */
		if (begun < n && begun - over < at_once)
			start_job(&jobs[begun++], argv, limit_s);
		for (size_t i = shown; i < begun; i++)
			if (!jobs[i].done && job_is_over(&jobs[i]))
				over++;
		for (; shown < begun && jobs[shown].done; shown++) {
			show_job(&jobs[shown]);
			bad |= jobs[shown].status;
		}
		sleep_ms(4);
	}
	return bad ? 1 : 0;
}

static int run_matching(const struct test_case *cases, size_t n, char **argv, size_t at_once,
			int limit_s)
{
	struct job *jobs = calloc(n, sizeof(*jobs));
	size_t n_jobs = 0;
	int r;

	for (size_t i = 0; jobs && i < n; i++)
		if (fnmatch(argv[0], cases[i].name, 0) == 0)
			jobs[n_jobs++].c = &cases[i];
	if (n_jobs == 0) {
		fprintf(stderr, "no case %s\n", argv[0]);
		return 2;
	}
	r = run_jobs(jobs, n_jobs, argv, at_once, limit_s);
	free(jobs);
	return r;
}

static int run_one(const struct test_case *cases, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(cases[i].name, name) != 0)
			continue;
		cases[i].run(cases[i].param);
		return 0;
	}
	return 2;
}

static bool read_target(struct target *t, const char *ip, const char *port)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&t->sa;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&t->sa;

	t->len = sizeof(*in);
	t->sa.ss_family = AF_INET;
	in->sin_port = htons((in_port_t)atoi(port)); /* at the same place in both */
	if (inet_pton(AF_INET, ip, &in->sin_addr) == 1)
		return true;
	t->len = sizeof(*in6);
	t->sa.ss_family = AF_INET6;
	return inet_pton(AF_INET6, ip, &in6->sin6_addr) == 1;
}

int say_main(int argc, char **argv, const struct test_case *cases, size_t n)
{
	size_t at_once = 8;
	int limit_s = 20, option;

	while ((option = getopt(argc, argv, "+j:l:")) > 0) {
		if (option == 'j')
			at_once = (size_t)atoi(optarg);
		else
			limit_s = atoi(optarg);
	}
	argv += optind;
	argc -= optind;
	if (argc == 1 && strcmp(argv[0], "list") == 0) {
		for (size_t i = 0; i < n; i++)
			puts(cases[i].name);
		return 0;
	}
	if (argc != 5 || !read_target(&target, argv[1], argv[2]) ||
	    !read_target(&good, argv[3], argv[4])) {
		fprintf(stderr,
			"usage: list | [-j JOBS] [-l SECONDS] PATTERN TARGET PORT GOOD PORT\n");
		return 2;
	}
	if (argv[0][0] == '=')
		return run_one(cases, n, argv[0] + 1);
	return run_matching(cases, n, argv, at_once, limit_s);
}

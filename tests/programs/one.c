// SPDX-License-Identifier: MIT
/*
 * one - makes one connection, asks an HTTP server for PATH and says how that went:
 * one [OPTION...] HOW ADDRESS PORT PATH; HOW: blocking, poll, select, epoll or epoll_pwait (without a mask).
 *
 * "connect: ERRNO" if it fails, else "LENGTH bytes, hash HASH"; then "descriptors: BEFORE AFTER".
 * Its own system calls are few and always the same.
 *
 *  -f EPERM|ENOSYS|kill  a seccomp filter: what calls get that a plain run of this does not make
 *  -a NAME               what the filter lets through, too; repeatable
 *  -r                    the filter is set by syscall()
 *  -n                    RLIMIT_NOFILE leaves room for the socket only
 *  -m                    RLIMIT_AS leaves no room for any mapping
 *  -l                    all that after a first socket(), for which files may be read
 *  -b                    all that after two such connections, in place of one behind it
 *  -d                    another connection, which dup2() puts in the place of the first, that was connected
 *  -x                    ends by exit()
 *  -t                    with another thread
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LONG_MS 3000

static struct sockaddr_in server;

static void say(const char *text)
{
	if (syscall(SYS_write, STDOUT_FILENO, text, strlen(text)) < 0)
		_exit(3);
}

static int fail(const char *what, int err)
{
	char text[100];

	snprintf(text, sizeof(text), "%s: %s\n", what, strerrorname_np(err));
	say(text);
	return -1;
}

/* ------------------------------------------------------------------------- connecting */

static int wait_poll(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, LONG_MS);
}

static int wait_select(int fd, short events)
{
	struct timeval limit = { .tv_sec = LONG_MS / 1000 };
	fd_set set;

	FD_ZERO(&set);
	FD_SET(fd, &set);
	return select(fd + 1, events == POLLIN ? &set : NULL, events == POLLIN ? NULL : &set, NULL,
		      &limit);
}

static int wait_in_set(int fd, short events, bool by_pwait)
{
	struct epoll_event event = { .events = (uint32_t)events };
	int epfd = epoll_create1(0), r, err;

	if (epfd < 0)
		return -1;
	r = epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event);
	if (r == 0)
		r = by_pwait ? epoll_pwait(epfd, &event, 1, LONG_MS, NULL) :
			       epoll_wait(epfd, &event, 1, LONG_MS);
	err = r == 0 ? ETIME : errno;
	close(epfd);
	errno = err;
	return r;
}

static int wait_epoll(int fd, short events)
{
	return wait_in_set(fd, events, false);
}

static int wait_epoll_pwait(int fd, short events)
{
	return wait_in_set(fd, events, true);
}

/* How it is waited for; NULL: not at all. */
static int (*wait_for)(int fd, short events);

static bool choose(const char *how)
{
	if (strcmp(how, "poll") == 0)
		wait_for = wait_poll;
	else if (strcmp(how, "select") == 0)
		wait_for = wait_select;
	else if (strcmp(how, "epoll") == 0)
		wait_for = wait_epoll;
	else if (strcmp(how, "epoll_pwait") == 0)
		wait_for = wait_epoll_pwait;
	else
		return strcmp(how, "blocking") == 0;
	return true;
}

/* Until it is writable, then its error. */
static int outcome_of(int fd)
{
	int err = 0;
	socklen_t len = sizeof(err);

	if (wait_for(fd, POLLOUT) != 1)
		return fail("wait", errno);
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
		return fail("SO_ERROR", errno);
	return err ? fail("connect", err) : 0;
}

static int connected(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | (wait_for ? SOCK_NONBLOCK : 0), 0), r;

	if (fd < 0)
		return fail("socket", errno);
	r = connect(fd, (struct sockaddr *)&server, sizeof(server));
	if (r < 0 && errno == EINPROGRESS && wait_for)
		r = outcome_of(fd);
	else if (r < 0)
		r = fail("connect", errno);
	if (r == 0)
		return fd;
	close(fd);
	return -1;
}

/* ------------------------------------------------------------------------- the bytes */

static uint32_t hash_more(uint32_t hash, const char *bytes, size_t n) /* FNV-1a */
{
	for (size_t i = 0; i < n; i++)
		hash = (hash ^ (uint8_t)bytes[i]) * 16777619;
	return hash;
}

/* The length of the headers, 0: not whole yet. */
static size_t behind_headers(const char *bytes, size_t n)
{
	const char *end = memmem(bytes, n, "\r\n\r\n", 4);

	return end ? (size_t)(end - bytes) + 4 : 0;
}

static int exchange(int fd, const char *path)
{
	static char bytes[65536];
	size_t got = 0, headers = 0, len = 0;
	uint32_t hash = 2166136261;
	char text[300];
	ssize_t n;
	int wanted = snprintf(text, sizeof(text), "GET %s HTTP/1.0\r\n\r\n", path);

	if (send(fd, text, (size_t)wanted, MSG_NOSIGNAL) != wanted)
		return fail("send", errno);
	for (;;) {
		if (wait_for && wait_for(fd, POLLIN) != 1)
			return fail("wait", errno);
		n = recv(fd, bytes + got, sizeof(bytes) - got, 0);
		if (n <= 0)
			break;
		got += (size_t)n;
		if (!headers)
			headers = behind_headers(bytes, got);
		if (headers && strncmp(bytes, "HTTP/1.1 200 ", 13) != 0 && !len)
			return fail("first bytes", EPROTO);
		if (headers) {
			size_t from = len ? 0 : headers;

			hash = hash_more(hash, bytes + from, got - from);
			len += got - from;
			got = 0;
		}
	}
	if (n < 0)
		return fail("recv", errno);
	snprintf(text, sizeof(text), "%zu bytes, hash %08x\n", len, hash);
	say(text);
	return 0;
}

/* -------------------------------------------------------------------------- what is left */

static int count_descriptors(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += syscall(SYS_fcntl, fd, F_GETFD) >= 0;
	return n;
}

/* ---------------------------------------------------------------------------- hard times */

/* What a plain run of this makes from here on, and what the loader has made before: a filter that
 * came with the program must have allowed that. Then the names for -a. */
static const struct call {
	const char *name; /* NULL: always allowed */
	int number;
} calls[] = {
	{ NULL, SYS_socket },
	{ NULL, SYS_connect },
	{ NULL, SYS_poll },
	{ NULL, SYS_select },
	{ NULL, SYS_epoll_create1 },
	{ NULL, SYS_epoll_ctl },
	{ NULL, SYS_epoll_wait },
	{ NULL, SYS_getsockopt },
	{ NULL, SYS_sendto },
	{ NULL, SYS_recvfrom },
	{ NULL, SYS_close },
	{ NULL, SYS_dup2 },
	{ NULL, SYS_write },
	{ NULL, SYS_fcntl },
	{ NULL, SYS_exit_group },
	{ NULL, SYS_openat },
	{ NULL, SYS_read },
	{ NULL, SYS_fstat },
	{ NULL, SYS_newfstatat },
	{ NULL, SYS_mmap },
	{ NULL, SYS_munmap },
	{ NULL, SYS_brk },
	{ "bind", SYS_bind },
	{ "clock_gettime", SYS_clock_gettime },
	{ "dup3", SYS_dup3 },
	{ "epoll_pwait", SYS_epoll_pwait },
	{ "fchmod", SYS_fchmod },
	{ "fchmodat", SYS_fchmodat },
	{ "ftruncate", SYS_ftruncate },
	{ "futex", SYS_futex },
	{ "getdents64", SYS_getdents64 },
	{ "geteuid", SYS_geteuid },
	{ "getpeername", SYS_getpeername },
	{ "getpid", SYS_getpid },
	{ "getppid", SYS_getppid },
	{ "getsockname", SYS_getsockname },
	{ "ioctl", SYS_ioctl },
	{ "kcmp", SYS_kcmp },
	{ "madvise", SYS_madvise },
	{ "mkdirat", SYS_mkdirat },
	{ "mprotect", SYS_mprotect },
	{ "nanosleep", SYS_nanosleep },
	{ "pipe2", SYS_pipe2 },
	{ "ppoll", SYS_ppoll },
	{ "pread64", SYS_pread64 },
	{ "pselect6", SYS_pselect6 },
	{ "prlimit64", SYS_prlimit64 },
	{ "pwrite64", SYS_pwrite64 },
	{ "rt_sigaction", SYS_rt_sigaction },
	{ "rt_sigpending", SYS_rt_sigpending },
	{ "rt_sigprocmask", SYS_rt_sigprocmask },
	{ "rt_sigtimedwait", SYS_rt_sigtimedwait },
	{ "sched_yield", SYS_sched_yield },
	{ "sendmsg", SYS_sendmsg },
	{ "setsockopt", SYS_setsockopt },
	{ "shutdown", SYS_shutdown },
	{ "sigaltstack", SYS_sigaltstack },
	{ "tee", SYS_tee },
};
#define N_CALLS (sizeof(calls) / sizeof(calls[0]))

static bool allowed[N_CALLS];

static bool allow(const char *name)
{
	for (size_t i = 0; i < N_CALLS; i++)
		if (calls[i].name && strcmp(calls[i].name, name) == 0)
			return allowed[i] = true;
	fprintf(stderr, "one: no call %s\n", name);
	return false;
}

static bool by_number;

static int set_program(const struct sock_fprog *program)
{
	if (by_number)
		return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, program);
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program);
}

/* Who waits by one of two calls knows nothing of the other. */
static bool is_allowed(size_t i)
{
	if (wait_for == wait_epoll_pwait && calls[i].number == SYS_epoll_wait)
		return false;
	return !calls[i].name || allowed[i] ||
	       (wait_for == wait_epoll_pwait && calls[i].number == SYS_epoll_pwait);
}

static void filter(uint32_t otherwise)
{
	struct sock_filter code[2 * N_CALLS + 2] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	};
	struct sock_fprog program = { .len = 1, .filter = code };

	for (size_t i = 0; i < N_CALLS; i++) {
		if (!is_allowed(i))
			continue;
		code[program.len++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
								   (uint32_t)calls[i].number, 0, 1);
		code[program.len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K,
								   SECCOMP_RET_ALLOW);
	}
	code[program.len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, otherwise);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || set_program(&program) < 0) {
		perror("seccomp");
		exit(3);
	}
}

static void set_filter(const char *what)
{
	if (strcmp(what, "kill") == 0)
		filter(SECCOMP_RET_KILL_PROCESS);
	else
		filter(SECCOMP_RET_ERRNO | (strcmp(what, "ENOSYS") == 0 ? ENOSYS : EPERM));
}

static void limit(__rlimit_resource_t what, rlim_t most)
{
	const struct rlimit r = { most, most };

	if (setrlimit(what, &r) < 0) {
		perror("setrlimit");
		exit(3);
	}
}

static void *sleep_for_ever(void *nothing)
{
	for (;;)
		pause();
	return nothing;
}

static void start_thread(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, sleep_for_ever, NULL) != 0)
		exit(3);
}

static int usage(void)
{
	fprintf(stderr,
		"usage: one [-f EPERM|ENOSYS|kill] [-a NAME] [-r] [-n] [-m] [-l] [-t] [-b] [-d] "
		"[-x] HOW ADDRESS PORT PATH\n");
	return 2;
}

static bool again;

/* Another connection under the number, as programs reconnect whose others know the number. */
static bool replace(int fd)
{
	int other = connected();
	bool good = other >= 0 && dup2(other, fd) == fd;

	if (other >= 0)
		close(other);
	return good;
}

static bool once(const char *path)
{
	int fd = connected();
	bool good = fd >= 0 && (!again || replace(fd)) && exchange(fd, path) == 0;

	if (fd >= 0)
		close(fd);
	return good;
}

int main(int argc, char **argv)
{
	const char *filter_with = NULL;
	bool few_descriptors = false, no_memory = false, late = false, first = false, exits = false;
	bool threaded = false;
	bool good = true;
	int option, before;
	char text[100];

	while ((option = getopt(argc, argv, "f:a:rnmltbdx")) != -1) {
		if (option == 'f')
			filter_with = optarg;
		by_number |= option == 'r';
		few_descriptors |= option == 'n';
		no_memory |= option == 'm';
		late |= option == 'l';
		first |= option == 'b';
		again |= option == 'd';
		exits |= option == 'x';
		threaded |= option == 't';
		if (option == '?' || (option == 'a' && !allow(optarg)))
			return usage();
	}
	argv += optind;
	server.sin_family = AF_INET;
	if (argc - optind != 4 || !choose(argv[0]) ||
	    inet_pton(AF_INET, argv[1], &server.sin_addr) != 1)
		return usage();
	server.sin_port = htons((in_port_t)atoi(argv[2]));
	if (late)
		close(socket(AF_INET, SOCK_STREAM, 0));
	if (threaded)
		start_thread();
	before = count_descriptors();
	for (int i = 0; first && good && i < 2; i++)
		good = once(argv[3]);
	if (few_descriptors) /* and one for epoll */
		limit(RLIMIT_NOFILE,
		      (rlim_t)before + 1 +
			      (wait_for == wait_epoll || wait_for == wait_epoll_pwait));
	if (no_memory)
		limit(RLIMIT_AS, 1);
	if (filter_with)
		set_filter(filter_with);
	if (!first)
		good = once(argv[3]);
	snprintf(text, sizeof(text), "descriptors: %d %d\n", before, count_descriptors());
	say(text);
	if (exits)
		exit(!good);
	_exit(!good);
}

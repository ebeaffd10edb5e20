// SPDX-License-Identifier: MIT
/*
 * t_errno - errno on success. Every name that the shim exports is called once on descriptors that
 * are not its business, with a value in errno that no call sets: while nothing was ever converted,
 * while a connection is pending, while one is up, and after one was refused. "t_errno names" lists
 * the names, which the test compares with the library's.
 */
#include "say.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define SENTINEL 4711

extern char **environ;

/* glibc's other names for the same things */
int __connect(int fd, const struct sockaddr *sa, socklen_t len);
int __poll(struct pollfd *fds, nfds_t n, int timeout);
int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t room);
int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask,
		size_t room);
int __select(int n, fd_set *in, fd_set *out, fd_set *except, struct timeval *timeout);
ssize_t __read_chk(int fd, void *p, size_t n, size_t room);
ssize_t __recv_chk(int fd, void *p, size_t n, size_t room, int flags);
ssize_t __recvfrom_chk(int fd, void *p, size_t n, size_t room, int flags, struct sockaddr *from,
		       socklen_t *len);

static int pipe_fds[2], pair[2], listener, file, ep, udp;
static struct sockaddr_in here = { .sin_family = AF_INET };
static char text[16];
static struct iovec iov = { text, 1 };
static struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
static struct epoll_event event = { .events = EPOLLIN };
static struct timespec no_time;
static struct timeval no_time_us;
static socklen_t len;

static void set_up(void)
{
	socklen_t here_len = sizeof(here);

	if (pipe(pipe_fds) < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		exit(3);
	here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	bind(listener, (struct sockaddr *)&here, sizeof(here));
	listen(listener, 8);
	getsockname(listener, (struct sockaddr *)&here, &here_len);
	udp = socket(AF_INET, SOCK_DGRAM, 0);
	file = memfd_create("file", 0);
	if (write(file, "0123456789abcdef", 16) != 16 || lseek(file, 0, SEEK_SET) != 0)
		exit(3);
	ep = epoll_create1(0);
	for (int i = 0; i < 32; i++)
		if (write(pipe_fds[1], "x", 1) != 1 || send(pair[0], "y", 1, 0) != 1 ||
		    send(pair[1], "y", 1, 0) != 1)
			exit(3);
}

/* A native connection, so that accept() has something to accept. */
static void knock(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connect(fd, (struct sockaddr *)&here, sizeof(here)) < 0)
		exit(3);
}

static fd_set readable(void)
{
	fd_set set;

	FD_ZERO(&set);
	FD_SET(pipe_fds[0], &set);
	return set;
}

static int in_child(int (*run)(char *argv[]))
{
	char name[] = "true", *argv[] = { name, NULL };
	int status = -1;
	pid_t child = fork();

	if (child == 0) {
		errno = SENTINEL;
		run(argv);
		_exit(errno == SENTINEL ? 101 : 102);
	}
	waitpid(child, &status, 0);
	errno = SENTINEL; /* the child says whether it has run */
	return status;
}

/* ------------------------------------------------------- one function for each name */

#define PLAIN(name, expression)      \
	static long e_##name(void)   \
	{                            \
		errno = SENTINEL;    \
		return (expression); \
	}
#define PREPARED(name, preparation, expression) \
	static long e_##name(void)              \
	{                                       \
		preparation;                    \
		errno = SENTINEL;               \
		return (expression);            \
	}
#define POLLED struct pollfd p = { .fd = pipe_fds[0], .events = POLLIN }
#define SET    fd_set set = readable()
#define FRESH  int fd = socket(AF_INET, SOCK_STREAM, 0)
#define EXEC(name, expression)             \
	static int r_##name(char *argv[])  \
	{                                  \
		(void)argv;                \
		return expression;         \
	}                                  \
	static long e_##name(void)         \
	{                                  \
		return in_child(r_##name); \
	}

PLAIN(socket, socket(AF_INET, SOCK_STREAM, 0))
PREPARED(socketpair, int fds[2], socketpair(AF_UNIX, SOCK_STREAM, 0, fds))
PREPARED(connect, FRESH, connect(fd, (struct sockaddr *)&here, sizeof(here)))
PREPARED(__connect, FRESH, __connect(fd, (struct sockaddr *)&here, sizeof(here)))
PREPARED(accept, knock(), accept(listener, NULL, NULL))
PREPARED(accept4, knock(), accept4(listener, NULL, NULL, SOCK_NONBLOCK))
PLAIN(listen, listen(listener, 8))
PREPARED(poll, POLLED, poll(&p, 1, 0))
PREPARED(__poll, POLLED, __poll(&p, 1, 0))
PREPARED(__poll_chk, POLLED, __poll_chk(&p, 1, 0, sizeof(p)))
PREPARED(ppoll, POLLED, ppoll(&p, 1, &no_time, NULL))
PREPARED(__ppoll_chk, POLLED, __ppoll_chk(&p, 1, &no_time, NULL, sizeof(p)))
PREPARED(select, SET, select(pipe_fds[0] + 1, &set, NULL, NULL, &no_time_us))
PREPARED(__select, SET, __select(pipe_fds[0] + 1, &set, NULL, NULL, &no_time_us))
PREPARED(pselect, SET, pselect(pipe_fds[0] + 1, &set, NULL, NULL, &no_time, NULL))
PREPARED(epoll_ctl, epoll_ctl(ep, EPOLL_CTL_DEL, pipe_fds[0], NULL),
	 epoll_ctl(ep, EPOLL_CTL_ADD, pipe_fds[0], &event))
PLAIN(epoll_wait, epoll_wait(ep, &event, 1, 0))
PLAIN(epoll_pwait, epoll_pwait(ep, &event, 1, 0, NULL))
PLAIN(epoll_pwait2, epoll_pwait2(ep, &event, 1, &no_time, NULL))
PLAIN(read, read(pipe_fds[0], text, 1))
PLAIN(__read_chk, __read_chk(pipe_fds[0], text, 1, sizeof(text)))
PLAIN(readv, readv(pipe_fds[0], &iov, 1))
PLAIN(preadv2, preadv2(file, &iov, 1, 0, 0))
PLAIN(preadv64v2, preadv64v2(file, &iov, 1, 0, 0))
PLAIN(recv, recv(pair[0], text, 1, 0))
PLAIN(__recv_chk, __recv_chk(pair[0], text, 1, sizeof(text), 0))
PLAIN(recvfrom, recvfrom(pair[0], text, 1, 0, NULL, NULL))
PLAIN(__recvfrom_chk, __recvfrom_chk(pair[0], text, 1, sizeof(text), 0, NULL, NULL))
PLAIN(recvmsg, recvmsg(pair[0], &message, 0))
PREPARED(recvmmsg, struct mmsghdr many = { .msg_hdr = message },
	 recvmmsg(pair[0], &many, 1, 0, NULL))
PLAIN(write, write(pipe_fds[1], "x", 1))
PLAIN(writev, writev(pipe_fds[1], &iov, 1))
PLAIN(pwritev2, pwritev2(file, &iov, 1, 0, 0))
PLAIN(pwritev64v2, pwritev64v2(file, &iov, 1, 0, 0))
PLAIN(send, send(pair[1], "x", 1, 0))
PLAIN(sendto, sendto(pair[1], "x", 1, 0, NULL, 0))
PLAIN(sendmsg, sendmsg(pair[1], &message, 0))
PREPARED(sendmmsg, struct mmsghdr many = { .msg_hdr = message }, sendmmsg(pair[1], &many, 1, 0))
PLAIN(sendfile, sendfile(pair[1], file, NULL, 1))
PLAIN(sendfile64, sendfile64(pair[1], file, NULL, 1))
PLAIN(splice, splice(pipe_fds[0], NULL, pair[1], NULL, 1, 0))
PREPARED(shutdown, int fds[2]; socketpair(AF_UNIX, SOCK_STREAM, 0, fds), shutdown(fds[0], SHUT_WR))
PREPARED(ioctl, int n, ioctl(pair[0], FIONREAD, &n))
PREPARED(bind, FRESH; struct sockaddr_in any = { .sin_family = AF_INET },
		      bind(fd, (struct sockaddr *)&any, sizeof(any)))
PLAIN(prctl, prctl(PR_GET_DUMPABLE))
PREPARED(sockatmark, FRESH, sockatmark(fd))
PREPARED(getpeername, len = 0, getpeername(pair[0], (struct sockaddr *)text, &len))
PREPARED(getsockname, len = 0, getsockname(pair[0], (struct sockaddr *)text, &len))
PREPARED(getsockopt, len = 4, getsockopt(pair[0], SOL_SOCKET, SO_ERROR, text, &len))
PLAIN(setsockopt, setsockopt(udp, SOL_SOCKET, SO_SNDTIMEO, &(struct timeval){ 1, 0 }, 16))
PREPARED(close, int fd = open("/dev/null", O_RDONLY), close(fd))
PREPARED(close_range, int fd = open("/dev/null", O_RDONLY),
	 close_range((unsigned int)fd, (unsigned int)fd, 0))
PREPARED(closefrom, int fd = fcntl(udp, F_DUPFD, 900), (closefrom(fd), 0))
PLAIN(syscall, syscall(SYS_read, pipe_fds[0], text, 1))
PLAIN(dup, dup(udp) > 0)
PLAIN(dup2, dup2(udp, 800))
PLAIN(dup3, dup3(udp, 801, O_CLOEXEC))
PLAIN(fcntl, fcntl(udp, F_DUPFD, 802))
int __dprintf_chk(int fd, int flag, const char *restrict format, ...)
	__attribute__((format(printf, 3, 4)));
int __vdprintf_chk(int fd, int flag, const char *restrict format, va_list args)
	__attribute__((format(printf, 3, 0)));

static int printed(int (*print)(int, const char *, va_list), ...)
{
	va_list args;
	int r;

	va_start(args, print);
	r = print(pipe_fds[1], "%d", args);
	va_end(args);
	return r;
}
__attribute__((format(printf, 2, 0))) static int checked(int fd, const char *format, va_list args)
{
	return __vdprintf_chk(fd, 1, format, args);
}
PLAIN(dprintf, (dprintf)(pipe_fds[1], "x"))
PLAIN(__dprintf_chk, __dprintf_chk(pipe_fds[1], 1, "x"))
PLAIN(vdprintf, printed(vdprintf, 1))
PLAIN(__vdprintf_chk, printed(checked, 1))
PREPARED(fdopen, int fd = dup(udp), fclose(fdopen(fd, "r")))
PREPARED(fcntl64, int (*f)(int, int, ...) = fcntl64, f(udp, F_GETFL))
EXEC(execl, execl("/bin/true", "true", (char *)NULL))
EXEC(execle, execle("/bin/true", "true", (char *)NULL, environ))
EXEC(execlp, execlp("true", "true", (char *)NULL))
EXEC(execv, execv("/bin/true", argv))
EXEC(execve, execve("/bin/true", argv, environ))
EXEC(execvp, execvp("true", argv))
EXEC(execvpe, execvpe("true", argv, environ))
EXEC(fexecve, fexecve(open("/bin/true", O_RDONLY | O_CLOEXEC), argv, environ))
EXEC(execveat, execveat(AT_FDCWD, "/bin/true", argv, environ, 0))

static long spawned(int (*spawn)(pid_t *, const char *, const posix_spawn_file_actions_t *,
				 const posix_spawnattr_t *, char *const[], char *const[]),
		    const char *path)
{
	char name[] = "true", *argv[] = { name, NULL };
	pid_t child;
	int status, r, err;

	errno = SENTINEL;
	r = spawn(&child, path, NULL, NULL, argv, environ);
	err = errno;
	waitpid(child, &status, 0);
	errno = err;
	return r * 1000 + status;
}

static long e_posix_spawn(void)
{
	return spawned(posix_spawn, "/bin/true");
}

static long e_posix_spawnp(void)
{
	return spawned(posix_spawnp, "true");
}

static long e_adddup2(void)
{
	posix_spawn_file_actions_t actions;
	long r, err;

	posix_spawn_file_actions_init(&actions);
	errno = SENTINEL;
	r = posix_spawn_file_actions_adddup2(&actions, udp, 0) +
	    1000 * posix_spawn_file_actions_adddup2(&actions, -1, 0);
	err = errno;
	posix_spawn_file_actions_destroy(&actions);
	errno = (int)err;
	return r;
}

#define NAME(name)              \
	{                       \
#name, e_##name \
	}

static const struct {
	const char *name;
	long (*run)(void);
} names[] = {
	/* clang-format off */
	NAME(__connect),    NAME(__dprintf_chk), NAME(__vdprintf_chk), NAME(dprintf),
	NAME(vdprintf),	    NAME(__poll),	 NAME(__poll_chk),     NAME(__ppoll_chk),
	NAME(__read_chk),   NAME(__recv_chk),	 NAME(__recvfrom_chk), NAME(__select),
	NAME(accept),	    NAME(accept4),	 NAME(bind),	       NAME(close),
	NAME(close_range),  NAME(closefrom),	 NAME(connect),	       NAME(dup),
	NAME(dup2),	    NAME(dup3),		 NAME(epoll_ctl),      NAME(epoll_pwait),
	NAME(epoll_pwait2), NAME(epoll_wait),	 NAME(execl),	       NAME(execle),
	NAME(execlp),	    NAME(execv),	 NAME(execve),	       NAME(execvp),
	NAME(execvpe),	    NAME(fcntl),	 NAME(fcntl64),	       NAME(fdopen),
	NAME(fexecve),	    NAME(getpeername),	 NAME(getsockname),    NAME(getsockopt),
	NAME(ioctl),	    NAME(listen),	 NAME(poll),	       NAME(posix_spawn),
	NAME(posix_spawnp), NAME(prctl), NAME(ppoll),	 NAME(preadv2),	       NAME(preadv64v2),
	NAME(pselect),	    NAME(pwritev2),	 NAME(pwritev64v2),    NAME(read),
	NAME(readv),	    NAME(recv),		 NAME(recvfrom),       NAME(recvmmsg),
	NAME(recvmsg),	    NAME(select),	 NAME(send),	       NAME(sendfile),
	NAME(sendfile64),   NAME(sendmmsg),	 NAME(sendmsg),	       NAME(sendto),
	NAME(setsockopt),   NAME(shutdown),	 NAME(sockatmark),     NAME(socket),
	NAME(socketpair),   NAME(splice),	 NAME(syscall),	       NAME(write),
	NAME(writev),	    NAME(execveat),
	{ "posix_spawn_file_actions_adddup2", e_adddup2 },
	/* clang-format on */
};

#define N_NAMES (sizeof(names) / sizeof(names[0]))

static void call_all(void)
{
	for (size_t i = 0; i < N_NAMES; i++) {
		long r = names[i].run();
		int err = errno;

		/* a number of a descriptor says nothing */
		say("%s: %s, errno %s", names[i].name,
		    r < 0  ? "-1" :
		    r == 0 ? "0" :
			     "more",
		    err == SENTINEL ? "kept" : say_errno(err));
	}
}

enum when { IDLE, WHILE_PENDING, WHILE_UP, AFTERWARDS };

static void foreign(int when)
{
	int fd = -1;

	if (when == WHILE_PENDING)
		fd = start();
	set_up();
	if (when == WHILE_UP || when == AFTERWARDS) {
		fd = start();
		do_poll(fd, POLLOUT, LONG);
		do_error(fd);
	}
	if (when == AFTERWARDS) {
		do_close(fd);
		fd = -1;
	}
	call_all();
	if (fd >= 0) { /* and it did it no harm */
		do_poll(fd, POLLOUT, LONG);
		do_error(fd);
		do_names(fd);
	}
}

int main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		{ "foreign-idle", foreign, IDLE },
		{ "foreign-pending", foreign, WHILE_PENDING },
		{ "foreign-up", foreign, WHILE_UP },
		{ "foreign-afterwards", foreign, AFTERWARDS },
	};

	if (argc == 2 && strcmp(argv[1], "names") == 0) {
		for (size_t i = 0; i < N_NAMES; i++)
			puts(names[i].name);
		return 0;
	}
	return say_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}

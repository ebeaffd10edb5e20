// SPDX-License-Identifier: MIT
/*
 * numbers - system calls by their numbers, as a program makes them with syscall():
 *
 *     numbers WAY now|late ADDRESS PORT
 *
 * connects without waiting, to a server that greets, and reads or writes at once, or half a second
 * later, in a way that few programs know. Prints what the call returned and what it got, and then what
 * there is to be read as always. "numbers inherited N" is what one of the ways goes on with.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char bytes[256];
static struct iovec iov = { bytes, sizeof(bytes) };
static char letter[] = "x";

static void pause_ms(int ms)
{
	struct timespec left = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };

	nanosleep(&left, NULL);
}

static void got(const char *what, long r)
{
	printf("%s: ", what);
	if (r < 0)
		printf("%s\n", strerrorname_np(errno));
	else
		printf("%ld \"%.*s\"\n", r, (int)r, bytes);
}

static void wrote(const char *what, long r)
{
	printf("%s: %s\n", what, r < 0 ? strerrorname_np(errno) : r ? "some" : "0");
}

/* What there is by now, and until nothing comes any more. */
static void rest(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	ssize_t n;

	printf("then:");
	while (poll(&p, 1, 500) > 0) {
		n = read(fd, bytes, sizeof(bytes));
		printf(" \"%.*s\"", n > 0 ? (int)n : 0, bytes);
		if (n <= 0)
			break;
	}
	printf("\n");
}

/* ------------------------------------------------------------------------------ the ways */

static void by_preadv2(int fd)
{
	got("preadv2", syscall(SYS_preadv2, fd, &iov, 1L, -1L, -1L, 0L));
	got("preadv2 at 0", syscall(SYS_preadv2, fd, &iov, 1L, 0L, 0L, 0L));
	got("preadv2 at -2", syscall(SYS_preadv2, fd, &iov, 1L, -2L, -1L, 0L));
	got("preadv2, do not wait", syscall(SYS_preadv2, fd, &iov, 1L, -1L, -1L, RWF_NOWAIT));
}

static void by_pread(int fd)
{
	got("pread64", syscall(SYS_pread64, fd, bytes, sizeof(bytes), 0L, 0L));
	got("preadv", syscall(SYS_preadv, fd, &iov, 1L, 0L, 0L));
	got("pread64 at -1", syscall(SYS_pread64, fd, bytes, sizeof(bytes), -1L, -1L));
	wrote("pwrite64", syscall(SYS_pwrite64, fd, "x", 1L, 0L, 0L));
	wrote("pwritev", syscall(SYS_pwritev, fd, &iov, 1L, 0L, 0L));
}

static void by_pwritev2(int fd)
{
	struct iovec x = { letter, 1 };

	wrote("pwritev2", syscall(SYS_pwritev2, fd, &x, 1L, -1L, -1L, 0L));
	wrote("pwritev2 at 0", syscall(SYS_pwritev2, fd, &x, 1L, 0L, 0L, 0L));
}

static void to_pipe(int fd, bool raw)
{
	int fds[2];
	long r;

	if (pipe2(fds, O_NONBLOCK) < 0)
		exit(2);
	r = raw ? syscall(SYS_sendfile, fds[1], fd, NULL, 100L) :
		  syscall(SYS_splice, fd, NULL, fds[1], NULL, 100L, 0L);
	if (r > 0)
		r = read(fds[0], bytes, sizeof(bytes));
	got(raw ? "sendfile to a pipe" : "splice", r);
	wrote("tee", syscall(SYS_tee, fd, fds[1], 100L, 0L));
	wrote("vmsplice", syscall(SYS_vmsplice, fd, &iov, 1L, 0L));
}

static void by_sendfile(int fd)
{
	to_pipe(fd, true);
}

static void by_splice(int fd)
{
	to_pipe(fd, false);
}

static void to_file(int fd)
{
	int file = memfd_create("file", 0);

	wrote("sendfile to a file", syscall(SYS_sendfile, file, fd, NULL, 100L));
	wrote("copy_file_range", syscall(SYS_copy_file_range, fd, NULL, file, NULL, 100L, 0L));
	wrote("copy_file_range", syscall(SYS_copy_file_range, file, NULL, fd, NULL, 100L, 0L));
	printf("the file has %ld bytes\n", (long)lseek(file, 0, SEEK_END));
}

static void submit(int fd, int opcode, const char *what)
{
	struct iocb block = { .aio_fildes = (uint32_t)fd,
			      .aio_lio_opcode = (uint16_t)opcode,
			      .aio_buf = (uintptr_t)bytes,
			      .aio_nbytes = opcode == IOCB_CMD_PWRITE ? 1 : sizeof(bytes) };
	struct iocb *blocks[] = { &block };
	struct timespec limit = { .tv_sec = 2 };
	struct io_event done = { .res = 0 };
	aio_context_t ctx = 0;

	if (opcode == IOCB_CMD_POLL)
		block.aio_buf = POLLOUT, block.aio_nbytes = 0;
	if (syscall(SYS_io_setup, 1, &ctx) < 0) {
		printf("io_setup: %s\n", strerrorname_np(errno));
		exit(0);
	}
	wrote("io_submit", syscall(SYS_io_submit, ctx, 1L, blocks) < 0 ? -1 : 0);
	wrote("io_getevents", syscall(SYS_io_getevents, ctx, 1L, 1L, &done, &limit));
	if (opcode == IOCB_CMD_PREAD && done.res > 0)
		got(what, (long)done.res);
	else
		printf("%s: %ld\n", what, (long)done.res);
}

static void by_aio_read(int fd)
{
	submit(fd, IOCB_CMD_PREAD, "read");
}

static void by_aio_write(int fd)
{
	submit(fd, IOCB_CMD_PWRITE, "write");
}

static void by_aio_poll(int fd)
{
	submit(fd, IOCB_CMD_POLL, "poll");
}

static void by_pidfd(int fd)
{
	int self = (int)syscall(SYS_pidfd_open, getpid(), 0L);
	int other = (int)syscall(SYS_pidfd_getfd, self, fd, 0L);

	got("pidfd_getfd and read", read(other, bytes, sizeof(bytes)));
}

static int received(int from)
{
	char room[CMSG_SPACE(sizeof(int))], byte;
	struct iovec one = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &one,
			      .msg_iovlen = 1,
			      .msg_control = room,
			      .msg_controllen = sizeof(room) };
	int fd = -1;

	if (recvmsg(from, &msg, 0) == 1 && CMSG_FIRSTHDR(&msg))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

static void give(int fd, bool several)
{
	char room[CMSG_SPACE(sizeof(int))] = "";
	struct iovec one = { letter, 1 };
	struct mmsghdr msg = { .msg_hdr = { .msg_iov = &one,
					    .msg_iovlen = 1,
					    .msg_control = room,
					    .msg_controllen = sizeof(room) } };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg.msg_hdr);
	int pair[2];

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		exit(2);
	wrote("send", several ? syscall(SYS_sendmmsg, pair[0], &msg, 1L, 0L) :
				syscall(SYS_sendmsg, pair[0], &msg.msg_hdr, 0L));
	got("what was given away", read(received(pair[1]), bytes, sizeof(bytes)));
}

static void by_sendmsg(int fd)
{
	give(fd, false);
}

static void by_sendmmsg(int fd)
{
	give(fd, true);
}

static void by_sendmmsg_of_libc(int fd)
{
	char room[CMSG_SPACE(sizeof(int))] = "";
	struct iovec one = { letter, 1 };
	struct mmsghdr msgs[2] = { { .msg_hdr = { .msg_iov = &one, .msg_iovlen = 1 } } };
	struct cmsghdr *c;
	int pair[2];

	msgs[1] = msgs[0];
	msgs[1].msg_hdr.msg_control = room;
	msgs[1].msg_hdr.msg_controllen = sizeof(room);
	c = CMSG_FIRSTHDR(&msgs[1].msg_hdr);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) < 0 || sendmmsg(pair[0], msgs, 2, 0) != 2)
		exit(2);
	received(pair[1]);
	got("what was given away", read(received(pair[1]), bytes, sizeof(bytes)));
}

static void by_exec(int fd, int number)
{
	char text[16], me[] = "numbers", how[] = "inherited", *argv[] = { me, how, text, NULL };

	snprintf(text, sizeof(text), "%d", fd);
	fflush(stdout);
	if (number == SYS_execve)
		syscall(SYS_execve, "/proc/self/exe", argv, environ);
	else
		syscall(SYS_execveat, AT_FDCWD, "/proc/self/exe", argv, environ, 0L);
	exit(2);
}

static void by_execve(int fd)
{
	by_exec(fd, SYS_execve);
}

static void by_execveat(int fd)
{
	by_exec(fd, SYS_execveat);
}

/* A vfork child is its parent's thread, as far as libc knows. */
static void by_execve_of_vfork(int fd)
{
	char me[] = "true", *argv[] = { me, NULL };
	int state = -1;
	pid_t child;

	fcntl(fd, F_SETFD, FD_CLOEXEC);
	child = vfork();
	if (child == 0) {
		syscall(SYS_execve, "/bin/true", argv, environ);
		_exit(1);
	}
	waitpid(child, NULL, 0);
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state);
	printf("%s be cancelled\n", state == PTHREAD_CANCEL_ENABLE ? "may" : "may not");
}

static void by_close_range(int fd)
{
	wrote("close_range", syscall(SYS_close_range, fd, fd, 0L));
	got("read", read(fd, bytes, sizeof(bytes)));
}

struct zerocopy { /* the kernel's, of which libc has the beginning */
	uint64_t address;
	uint32_t length, unmapped, queued;
	int32_t err;
	uint64_t buffer;
	int32_t room;
	uint32_t more[5];
};

static void by_zerocopy(int fd)
{
	struct zerocopy z = { .length = 4096, .buffer = (uintptr_t)bytes, .room = sizeof(bytes) };
	socklen_t len = sizeof(z);
	void *at = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	int r;

	z.address = (uintptr_t)at;
	if (at == MAP_FAILED)
		printf("mmap: %s\n", strerrorname_np(errno));
	r = getsockopt(fd, IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE, &z, &len);
	got("TCP_ZEROCOPY_RECEIVE", r < 0 ? r : z.room);
	printf("%u bytes, %u left, %u queued, error %d\n", z.length, z.unmapped, z.queued, z.err);
	z = (struct zerocopy){ .address = z.address, .length = 4096 };
	len = 16;
	wrote("as libc knows it", getsockopt(fd, IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE, &z, &len));
	printf("%u bytes, %u left\n", z.length, z.unmapped);
}

static const struct way {
	const char *name;
	void (*go)(int fd);
} ways[] = {
	{ "preadv2", by_preadv2 },
	{ "pread", by_pread },
	{ "pwritev2", by_pwritev2 },
	{ "sendfile", by_sendfile },
	{ "splice", by_splice },
	{ "file", to_file },
	{ "zerocopy", by_zerocopy },
	/* only late: these wait for what the kernel would say at once */
	{ "aio-read", by_aio_read },
	{ "aio-write", by_aio_write },
	{ "aio-poll", by_aio_poll },
	{ "pidfd", by_pidfd },
	{ "sendmsg", by_sendmsg },
	{ "sendmmsg", by_sendmmsg },
	{ "sendmmsg-libc", by_sendmmsg_of_libc },
	{ "execve", by_execve },
	{ "execveat", by_execveat },
	{ "execve-vfork", by_execve_of_vfork },
	{ "close_range", by_close_range },
};

static int go(const char *name, int late, const struct sockaddr_in *to)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	if (connect(fd, (const struct sockaddr *)to, sizeof(*to)) == 0 || errno != EINPROGRESS)
		return 2;
	if (late)
		pause_ms(500);
	for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++)
		if (strcmp(ways[i].name, name) == 0)
			ways[i].go(fd);
	rest(fd);
	return 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = { .sin_family = AF_INET };

	if (argc == 2 && strcmp(argv[1], "list") == 0)
		for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++)
			printf("%s\n", ways[i].name);
	if (argc == 3 && strcmp(argv[1], "inherited") == 0) {
		got("inherited", read(atoi(argv[2]), bytes, sizeof(bytes)));
		rest(atoi(argv[2]));
	}
	if (argc < 5)
		return 0;
	to.sin_port = htons((in_port_t)atoi(argv[4]));
	inet_pton(AF_INET, argv[3], &to.sin_addr);
	return go(argv[1], strcmp(argv[2], "late") == 0, &to);
}

// SPDX-License-Identifier: MIT
/*
 * limits - programs that the library does not see, or does not see all of:
 *
 *     limits WHEN-CALLS ADDRESS PORT
 *
 * against an echo server. CALLS: libc, raw (by syscall()), code (system calls by the program's own
 * instructions), ring (io_uring), stdio, dprintf. WHEN
 * they begin: "own", with the connect(); after libc's "blocking" connect(); after a non-blocking one
 * that was "polled" for; or at once, while it is "pending", or put off until something is written
 * (TCP_FASTOPEN_CONNECT: "deferred"); stdio also before it ("early"). Each
 * sends the numbers 0, 1, 2 ... as 4 bytes each and reads them back, until one is wrong. Prints how
 * many bytes came back as they were sent, and what went wrong. Built statically, too.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define AMOUNT	200000 /* bytes there and back */
#define AT_ONCE 10000  /* of them under way */

static struct sockaddr_in server;

static long raw(long number, long a, long b, long c, long d, long e, long f)
{
	long r = syscall(number, a, b, c, d, e, f);

	return r < 0 ? -errno : r;
}

static void ended(const char *what, long err)
{
	printf("%s: %s\n", what, err < 0 ? strerrorname_np((int)-err) : "0");
	exit(0);
}

static void pause_ms(int ms)
{
	struct timespec left = { .tv_nsec = ms * 1000000L };

	nanosleep(&left, NULL);
}

/* ----------------------------------------------------------------- raw system calls */

static long raw_connect(int fd)
{
	return raw(SYS_connect, fd, (long)&server, sizeof(server), 0, 0, 0);
}

static long raw_write(int fd, const void *p, size_t n)
{
	return raw(SYS_write, fd, (long)p, (long)n, 0, 0, 0);
}

static long raw_read(int fd, void *p, size_t n)
{
	return raw(SYS_read, fd, (long)p, (long)n, 0, 0, 0);
}

/* What is written in machine code comes by nobody. */
static long code(long number, long a, long b, long c)
{
#if defined(__x86_64__)
	long r;

	__asm__ volatile("syscall"
			 : "=a"(r)
			 : "a"(number), "D"(a), "S"(b), "d"(c)
			 : "rcx", "r11", "memory");
	return r;
#elif defined(__aarch64__)
	register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b,
			 x2 __asm__("x2") = c;

	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
	return x0;
#else
	return syscall(number, a, b, c); /* not what is meant, where nobody has written it */
#endif
}

static long code_connect(int fd)
{
	return code(SYS_connect, fd, (long)&server, sizeof(server));
}

static long code_write(int fd, const void *p, size_t n)
{
	return code(SYS_write, fd, (long)p, (long)n);
}

static long code_read(int fd, void *p, size_t n)
{
	return code(SYS_read, fd, (long)p, (long)n);
}

/* ------------------------------------------------------------------------ io_uring */

static struct {
	int fd;
	uint32_t *sq_tail, *sq_mask, *sq_array, *cq_head, *cq_tail, *cq_mask;
	struct io_uring_sqe *entries;
	struct io_uring_cqe *results;
} ring;

#ifdef AS_LIBURING /* which has this, and does not go by libc */
int io_uring_queue_init_params(unsigned int entries, struct io_uring_params *p);
int io_uring_queue_init_params(unsigned int entries, struct io_uring_params *p)
{
	return (int)code(SYS_io_uring_setup, entries, (long)p, 0);
}
#else
static int io_uring_queue_init_params(unsigned int entries, struct io_uring_params *p)
{
	return (int)raw(SYS_io_uring_setup, entries, (long)p, 0, 0, 0, 0);
}
#endif

static void open_ring(void)
{
	struct io_uring_params p = { 0 };
	char *sq, *cq;
	long fd = io_uring_queue_init_params(8, &p);

	if (fd < 0)
		ended("io_uring_setup", fd);
	ring.fd = (int)fd;
	sq = mmap(NULL, p.sq_off.array + p.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED,
		  ring.fd, IORING_OFF_SQ_RING);
	cq = mmap(NULL, p.cq_off.cqes + p.cq_entries * sizeof(*ring.results),
		  PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd, IORING_OFF_CQ_RING);
	ring.entries = mmap(NULL, p.sq_entries * sizeof(*ring.entries), PROT_READ | PROT_WRITE,
			    MAP_SHARED, ring.fd, IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || ring.entries == MAP_FAILED)
		ended("mmap", -errno);
	ring.sq_tail = (uint32_t *)(void *)(sq + p.sq_off.tail);
	ring.sq_mask = (uint32_t *)(void *)(sq + p.sq_off.ring_mask);
	ring.sq_array = (uint32_t *)(void *)(sq + p.sq_off.array);
	ring.cq_head = (uint32_t *)(void *)(cq + p.cq_off.head);
	ring.cq_tail = (uint32_t *)(void *)(cq + p.cq_off.tail);
	ring.cq_mask = (uint32_t *)(void *)(cq + p.cq_off.ring_mask);
	ring.results = (struct io_uring_cqe *)(void *)(cq + p.cq_off.cqes);
}

/* One operation at a time. */
static long submit(struct io_uring_sqe entry)
{
	uint32_t tail = *ring.sq_tail, index = tail & *ring.sq_mask, head;
	long r;

	ring.entries[index] = entry;
	ring.sq_array[index] = index;
	__atomic_store_n(ring.sq_tail, tail + 1, __ATOMIC_RELEASE);
	r = raw(SYS_io_uring_enter, ring.fd, 1, 1, IORING_ENTER_GETEVENTS, 0, 0);
	if (r < 0)
		return r;
	head = *ring.cq_head;
	if (head == __atomic_load_n(ring.cq_tail, __ATOMIC_ACQUIRE))
		return -ETIME;
	r = ring.results[head & *ring.cq_mask].res;
	__atomic_store_n(ring.cq_head, head + 1, __ATOMIC_RELEASE);
	return r;
}

static long ring_connect(int fd)
{
	return submit((struct io_uring_sqe){ .opcode = IORING_OP_CONNECT,
					     .fd = fd,
					     .addr = (uintptr_t)&server,
					     .off = sizeof(server) });
}

static long ring_write(int fd, const void *p, size_t n)
{
	return submit((struct io_uring_sqe){
		.opcode = IORING_OP_SEND, .fd = fd, .addr = (uintptr_t)p, .len = (uint32_t)n });
}

static long ring_read(int fd, void *p, size_t n)
{
	return submit((struct io_uring_sqe){
		.opcode = IORING_OP_RECV, .fd = fd, .addr = (uintptr_t)p, .len = (uint32_t)n });
}

/* ----------------------------------------------------------------------------- libc */

static long libc_connect(int fd)
{
	return connect(fd, (struct sockaddr *)&server, sizeof(server)) < 0 ? -errno : 0;
}

static long libc_poll(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };
	int r = poll(&p, 1, 5000);

	return r < 0 ? -errno : r;
}

static long libc_write(int fd, const void *p, size_t n)
{
	ssize_t r = write(fd, p, n);

	return r < 0 ? -errno : r;
}

static long libc_read(int fd, void *p, size_t n)
{
	ssize_t r = read(fd, p, n);

	return r < 0 ? -errno : r;
}

/* stdio, each on a FILE of its own, made as soon as the connection is begun. */
static FILE *in, *out;

static void open_files(int fd)
{
	in = fdopen(fd, "r");
	out = fdopen(dup(fd), "w");
	if (!in || !out)
		ended("fdopen", -errno);
	setvbuf(in, NULL, _IONBF, 0);
	setvbuf(out, NULL, _IONBF, 0);
}

static long file_read(int fd, void *p, size_t n)
{
	size_t got;

	(void)fd;
	errno = 0;
	clearerr(in);
	got = fread(p, 1, n < 4 ? n : 4, in);
	return got ? (long)got : -errno;
}

static long file_write(int fd, const void *p, size_t n)
{
	size_t done;

	(void)fd;
	clearerr(out);
	errno = 0;
	done = fwrite(p, 1, n, out);
	return done ? (long)done : -errno;
}

/* The text is whatever it is: four bytes a call. */
static long print_write(int fd, const void *p, size_t n)
{
	const char *c = p;
	int r = dprintf(fd, "%c%c%c%c", c[0], c[1], c[2], c[3]);

	(void)n;
	return r < 0 ? -errno : r;
}

/* ---------------------------------------------------------------------------- cases */

struct calls {
	const char *name;
	long (*connect)(int fd);
	long (*write)(int fd, const void *p, size_t n);
	long (*read)(int fd, void *p, size_t n);
};

static const struct calls all_calls[] = {
	{ "libc", libc_connect, libc_write, libc_read },
	{ "raw", raw_connect, raw_write, raw_read },
	{ "code", code_connect, code_write, code_read },
	{ "ring", ring_connect, ring_write, ring_read },
	{ "stdio", libc_connect, file_write, file_read },
	{ "dprintf", libc_connect, print_write, libc_read },
};

/* Is it one that passes, or over? Nothing to do but to try again: then a little later. */
static bool goes_on(long r)
{
	if (r == -EAGAIN || r == -ENOTCONN)
		pause_ms(1);
	return r > 0 || r == -EAGAIN || r == -ENOTCONN;
}

static void exchange(int fd, const struct calls *calls)
{
	static uint32_t sent[AMOUNT / 4], got[AMOUNT / 4];
	size_t out_n = 0, in_n = 0, good = 0;
	long r = 1;

	for (uint32_t i = 0; i < AMOUNT / 4; i++)
		sent[i] = i;
	while (good == in_n && in_n < AMOUNT && goes_on(r)) {
		if (out_n < AMOUNT && out_n - in_n < AT_ONCE) {
			r = calls->write(fd, (char *)sent + out_n, AT_ONCE / 10);
			out_n += r > 0 ? (size_t)r : 0;
		} else {
			r = calls->read(fd, (char *)got + in_n, AMOUNT - in_n);
			in_n += r > 0 ? (size_t)r : 0;
		}
		while (good < in_n && ((char *)sent)[good] == ((char *)got)[good])
			good++;
	}
	printf("%zu bytes came back, %zu of them right\n", in_n, good);
	ended("at last", r < 0 ? r : 0);
}

/* Connects, and returns when the program may believe to be connected; or at once. */
static int open_connection(const char *when, const struct calls *calls)
{
	bool blocking = strcmp(when, "blocking") == 0 || strcmp(when, "own") == 0;
	int fd = socket(AF_INET, SOCK_STREAM | (blocking ? 0 : SOCK_NONBLOCK), 0), err = 0;
	socklen_t len = sizeof(err);
	long r;

	if (strcmp(when, "early") == 0)
		open_files(fd);
	if (strcmp(when, "deferred") == 0 &&
	    setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &(int){ 1 }, sizeof(int)) < 0)
		ended("TCP_FASTOPEN_CONNECT", -errno);
	r = strcmp(when, "own") == 0 ? calls->connect(fd) : libc_connect(fd);
	if (r < 0 && r != -EINPROGRESS)
		ended("connect", r);
	if (strcmp(when, "polled") != 0)
		return fd;
	r = libc_poll(fd, POLLOUT);
	if (r <= 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 || err)
		ended("SO_ERROR", -err);
	return fd;
}

int main(int argc, char **argv)
{
	const char *how = argc == 4 ? strchr(argv[1], '-') : NULL;
	int fd;

	if (!how || inet_pton(AF_INET, argv[2], &server.sin_addr) != 1)
		return 2;
	server.sin_family = AF_INET;
	server.sin_port = htons((in_port_t)atoi(argv[3]));
	argv[1][how - argv[1]] = '\0';
	for (size_t i = 0; i < sizeof(all_calls) / sizeof(all_calls[0]); i++) {
		const struct calls *calls = &all_calls[i];

		if (strcmp(how + 1, calls->name) != 0)
			continue;
		if (calls->write == ring_write)
			open_ring();
		fd = open_connection(argv[1], calls);
		if (calls->write == file_write && !in)
			open_files(fd);
		exchange(fd, calls);
	}
	return 2;
}

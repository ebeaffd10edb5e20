// SPDX-License-Identifier: MIT
/*
 * t_io - every way to read or write on a connection that is pending: without waiting (nb-), on a
 * blocking descriptor (wait-), with MSG_DONTWAIT on a blocking one (dontwait-); and time limits,
 * SO_RCVLOWAT, MSG_PEEK, MSG_WAITALL.
 */
#include "say.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

/* echo-server's ports, from the target's */
enum role { ECHO, GREET, PIECES, BYE, RESET, SILENT };

/* ms; a server that is not there (another address than the good one's) is not waited for so long */
static int patience = 2500;

static void choose(enum role role)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&target.sa;

	in->sin_port = htons((in_port_t)(ntohs(in->sin_port) + role));
	if (in->sin_addr.s_addr != ((struct sockaddr_in *)&good.sa)->sin_addr.s_addr)
		patience = 500;
}

/* ------------------------------------------------------------------- the calls */

static char text[64];
static volatile size_t five = 5; /* not a constant, so that read() is __read_chk() */
static struct iovec iov[2] = { { text, 2 }, { text + 2, 3 } };
static struct msghdr message = { .msg_iov = iov, .msg_iovlen = 2 };

static long c_read(int fd, int flags)
{
	(void)flags;
	return read(fd, text, five);
}

static long c_read_nothing(int fd, int flags)
{
	(void)flags;
	return read(fd, text, 0);
}

static long c_readv(int fd, int flags)
{
	(void)flags;
	return readv(fd, iov, 2);
}

static long c_preadv2(int fd, int flags)
{
	(void)flags;
	return preadv2(fd, iov, 2, -1, 0);
}

static long c_recv(int fd, int flags)
{
	return recv(fd, text, five, flags);
}

static long c_recv_nothing(int fd, int flags)
{
	return recv(fd, text, 0, flags);
}

static long c_recvfrom(int fd, int flags)
{
	struct sockaddr_storage from = { .ss_family = AF_UNIX };
	socklen_t len = sizeof(from);
	long n = recvfrom(fd, text, five, flags, (struct sockaddr *)&from, &len);
	int err = errno;

	if (n >= 0)
		say("from: length %u family %d", len, from.ss_family);
	errno = err;
	return n;
}

static long c_recvmsg(int fd, int flags)
{
	return recvmsg(fd, &message, flags);
}

static long c_recvmmsg(int fd, int flags)
{
	struct mmsghdr many[2] = { { .msg_hdr = message }, { .msg_hdr = message } };
	long n = recvmmsg(fd, many, 1, flags, NULL);

	return n > 0 ? n * 100 + (long)many[0].msg_len : n;
}

/* What is told beside a count of nothing. */
static void say_about(const struct msghdr *m)
{
	int err = errno;

	say("name: %u control: %zu flags: %x", m->msg_namelen, (size_t)m->msg_controllen,
	    (unsigned int)m->msg_flags);
	errno = err;
}

static long c_recvmsg_nothing(int fd, int flags)
{
	struct sockaddr_storage from;
	char control[64];
	struct iovec nothing[2] = { { text, 0 }, { NULL, 0 } };
	struct msghdr m = { .msg_name = &from,
			    .msg_namelen = sizeof(from),
			    .msg_iov = nothing,
			    .msg_iovlen = 2,
			    .msg_control = control,
			    .msg_controllen = sizeof(control),
			    .msg_flags = MSG_EOR };
	long n = recvmsg(fd, &m, flags | MSG_CMSG_CLOEXEC);

	say_about(&m);
	return n;
}

static long c_recvmmsg_nothing(int fd, int flags)
{
	struct mmsghdr m = { .msg_hdr = { .msg_namelen = 7, .msg_flags = MSG_EOR }, .msg_len = 7 };
	long n = recvmmsg(fd, &m, 1, flags, NULL);

	say_about(&m.msg_hdr);
	return n > 0 ? n * 100 + (long)m.msg_len : n;
}

static long c_peek(int fd, int flags)
{
	return recv(fd, text, five, flags | MSG_PEEK);
}

static long c_waitall(int fd, int flags)
{
	return recv(fd, text, five, flags | MSG_WAITALL);
}

static long c_trunc(int fd, int flags)
{
	return recv(fd, NULL, five, flags | MSG_TRUNC);
}

static long c_splice_in(int fd, int flags)
{
	static int fds[2] = { -1, -1 };
	long n;

	if (fds[0] < 0 && pipe(fds) < 0)
		return -1;
	n = splice(fd, NULL, fds[1], NULL, five, flags ? SPLICE_F_NONBLOCK : 0);
	return n > 0 ? read(fds[0], text, sizeof(text)) : n;
}

static long c_write(int fd, int flags)
{
	(void)flags;
	return write(fd, "write", 5);
}

static long c_write_nothing(int fd, int flags)
{
	(void)flags;
	return write(fd, "", 0);
}

static struct iovec out[2] = { { (char[]){ 'o', 'u' }, 2 }, { (char[]){ 't', 'i', 't' }, 3 } };
static struct msghdr out_message = { .msg_iov = out, .msg_iovlen = 2 };

static long c_writev(int fd, int flags)
{
	(void)flags;
	return writev(fd, out, 2);
}

static long c_pwritev2(int fd, int flags)
{
	(void)flags;
	return pwritev2(fd, out, 2, -1, 0);
}

static long c_send(int fd, int flags)
{
	return send(fd, "send!", 5, flags | MSG_NOSIGNAL);
}

static long c_send_nothing(int fd, int flags)
{
	return send(fd, "", 0, flags | MSG_NOSIGNAL);
}

static long c_sendto(int fd, int flags)
{
	return sendto(fd, "to...", 5, flags | MSG_NOSIGNAL, NULL, 0);
}

static long c_sendto_address(int fd, int flags) /* on TCP an address has no meaning */
{
	return sendto(fd, "addr!", 5, flags | MSG_NOSIGNAL, (struct sockaddr *)&good.sa, good.len);
}

static long c_sendmsg(int fd, int flags)
{
	return sendmsg(fd, &out_message, flags | MSG_NOSIGNAL);
}

static long c_sendmmsg(int fd, int flags)
{
	struct mmsghdr many[2] = { { .msg_hdr = out_message }, { .msg_hdr = out_message } };
	long n = sendmmsg(fd, many, 2, flags | MSG_NOSIGNAL);

	return n > 0 ? n * 100 + (long)many[0].msg_len : n;
}

static int some_file(void)
{
	static int file = -1;

	if (file < 0) {
		file = memfd_create("file", 0);
		if (write(file, "0123456789", 10) != 10)
			return -1;
	}
	return file;
}

static long send_from(int fd, off_t from)
{
	long n = sendfile(fd, some_file(), &from, 5);
	int err = errno;

	say("offset: %ld", (long)from);
	errno = err;
	return n;
}

static long c_sendfile(int fd, int flags)
{
	(void)flags;
	return send_from(fd, 2);
}

static long c_sendfile64(int fd, int flags)
{
	off64_t from = 3;

	(void)flags;
	return sendfile64(fd, some_file(), &from, 5);
}

/* Is read into pages only, where the file system keeps to that. -1: it does not. */
static int direct_file(void)
{
	static _Alignas(4096) char page[4096];
	static int file = -1;
	char byte;

	if (file >= 0)
		return file;
	file = open("/var/tmp", O_TMPFILE | O_RDWR | O_DIRECT, 0600);
	memset(page, 'd', sizeof(page));
	if (file >= 0 && (pwrite(file, page, sizeof(page), 0) != (long)sizeof(page) ||
			  pread(file, &byte, 1, 0) >= 0)) {
		close(file);
		file = -1;
	}
	return file;
}

static long c_sendfile_direct(int fd, int flags)
{
	int file = direct_file();
	off_t from = 0;

	(void)flags;
	if (file < 0)
		file = some_file(); /* so this is not seen here */
	return sendfile(fd, file, &from, 4096);
}

static long c_splice_out(int fd, int flags)
{
	static int fds[2] = { -1, -1 };

	if (fds[0] < 0 && (pipe(fds) < 0 || write(fds[1], "splicesplicesplice", 18) != 18))
		return -1;
	return splice(fds[0], NULL, fd, NULL, 5, flags ? SPLICE_F_NONBLOCK : 0);
}

/* Nothing to move: the kernel does not look at the connection. */
static long c_splice_nothing(int fd, int flags)
{
	static int fds[2] = { -1, -1 };
	long in;

	(void)flags;
	if (fds[0] < 0 && pipe(fds) < 0)
		return -1;
	in = splice(fd, NULL, fds[1], NULL, 0, 0);
	return in ? in : splice(fds[0], NULL, fd, NULL, 0, 0);
}

static long c_sendfile_nothing(int fd, int flags)
{
	(void)flags;
	return sendfile(fd, some_file(), NULL, 0);
}

/* Nothing is left to be moved, or nothing can be: the kernel has not come to the connection yet. */
static long c_sendfile_end(int fd, int flags)
{
	(void)flags;
	return send_from(fd, 10);
}

static void say_sendfile(const char *of, int fd, int in, off_t *offset)
{
	char name[64];

	snprintf(name, sizeof(name), "sendfile of %s", of);
	say_result(name, sendfile(fd, in, offset, 5));
}

static long c_sendfile_bad(int fd, int flags)
{
	int fds[2] = { -1, -1 }, folder = open("/", O_RDONLY), other = new_socket(0);
	off_t before = -1, from = 0;

	(void)flags;
	if (pipe(fds) < 0 || write(fds[1], "12345", 5) != 5)
		return -1;
	say_sendfile("a pipe", fd, fds[0], NULL);
	say_sendfile("a pipe from its begin", fd, fds[0], &from);
	say_sendfile("what can only be written to", fd, fds[1], NULL);
	say_sendfile("a folder", fd, folder, NULL);
	say_sendfile("a socket", fd, other, NULL);
	say_sendfile("itself", fd, fd, NULL);
	say_sendfile("what is before the file", fd, some_file(), &before);
	say_sendfile("an offset that is nowhere", fd, some_file(), (off_t *)-4096);
	close(fds[0]);
	close(fds[1]);
	close(folder);
	close(other);
	return sendfile(fd, -1, NULL, 5);
}

static long c_splice_end(int fd, int flags)
{
	int fds[2] = { -1, -1 };
	long n;

	if (pipe(fds) < 0 || close(fds[1]) < 0)
		return -1;
	n = splice(fds[0], NULL, fd, NULL, 5, flags ? SPLICE_F_NONBLOCK : 0);
	close(fds[0]);
	return n;
}

/* Nobody has ever opened it to write: its end, too. */
static long c_splice_fifo(int fd, int flags)
{
	char name[64];
	int fifo;
	long n;

	snprintf(name, sizeof(name), "/var/tmp/t_io-%d", getpid());
	if (mkfifo(name, 0600) < 0)
		return -1;
	fifo = open(name, O_RDONLY | O_NONBLOCK);
	unlink(name);
	n = splice(fifo, NULL, fd, NULL, 5, flags ? SPLICE_F_NONBLOCK : 0);
	close(fifo);
	return n;
}

static long c_splice_bad(int fd, int flags)
{
	int fds[2] = { -1, -1 };
	off64_t from = 0;

	(void)flags;
	if (pipe(fds) < 0 || write(fds[1], "12345", 5) != 5)
		return -1;
	say_result("splice of a file", splice(some_file(), NULL, fd, NULL, 5, 0));
	say_result("splice into a file", splice(fd, NULL, some_file(), NULL, 5, 0));
	say_result("splice of itself", splice(fd, NULL, fd, NULL, 5, 0));
	say_result("splice of what can only be written to", splice(fds[1], NULL, fd, NULL, 5, 0));
	say_result("splice of a place in a pipe", splice(fds[0], &from, fd, NULL, 5, 0));
	say_result("splice to a place", splice(fds[0], NULL, fd, &from, 5, 0));
	say_result("splice from a place", splice(fd, &from, fds[1], NULL, 5, 0));
	say_result("splice with strange flags", splice(fds[0], NULL, fd, NULL, 5, 1 << 20));
	close(fds[0]);
	close(fds[1]);
	return splice(-1, NULL, fd, NULL, 5, 0);
}

static long c_fionread(int fd, int flags)
{
	int n = -1;
	long r = ioctl(fd, FIONREAD, &n);

	(void)flags;
	return r < 0 ? r : n;
}

static const struct {
	const char *name;
	long (*run)(int fd, int flags);
	enum { READS, WRITES } kind;
	bool has_flags; /* so that MSG_DONTWAIT can be given */
} calls[] = {
	{ "read", c_read, READS, false },
	{ "read_nothing", c_read_nothing, READS, false },
	{ "readv", c_readv, READS, false },
	{ "preadv2", c_preadv2, READS, false },
	{ "recv", c_recv, READS, true },
	{ "recv_nothing", c_recv_nothing, READS, true },
	{ "recvfrom", c_recvfrom, READS, true },
	{ "recvmsg", c_recvmsg, READS, true },
	{ "recvmmsg", c_recvmmsg, READS, true },
	{ "peek", c_peek, READS, true },
	{ "trunc", c_trunc, READS, true },
	{ "splice_in", c_splice_in, READS, true },
	{ "fionread", c_fionread, READS, false },
	{ "write", c_write, WRITES, false },
	{ "write_nothing", c_write_nothing, WRITES, false },
	{ "writev", c_writev, WRITES, false },
	{ "pwritev2", c_pwritev2, WRITES, false },
	{ "send", c_send, WRITES, true },
	{ "send_nothing", c_send_nothing, WRITES, true },
	{ "sendto", c_sendto, WRITES, true },
	{ "sendto_address", c_sendto_address, WRITES, true },
	{ "sendmsg", c_sendmsg, WRITES, true },
	{ "sendmmsg", c_sendmmsg, WRITES, true },
	{ "sendfile", c_sendfile, WRITES, false },
	{ "sendfile64", c_sendfile64, WRITES, false },
	{ "splice_out", c_splice_out, WRITES, true },
	{ "splice_nothing", c_splice_nothing, WRITES, false },
	{ "sendfile_nothing", c_sendfile_nothing, WRITES, false },
	{ "sendfile_end", c_sendfile_end, WRITES, false },
	{ "sendfile_bad", c_sendfile_bad, WRITES, false },
	{ "splice_end", c_splice_end, WRITES, true },
	{ "splice_fifo", c_splice_fifo, WRITES, true },
	{ "splice_bad", c_splice_bad, WRITES, false },
	{ "sendfile_direct", c_sendfile_direct, WRITES, false },
	{ "waitall", c_waitall, READS, true },
	{ "recvmsg_nothing", c_recvmsg_nothing, READS, true },
	{ "recvmmsg_nothing", c_recvmmsg_nothing, READS, true },
};

#define N_CALLS (sizeof(calls) / sizeof(calls[0]))

static size_t owed; /* by an echo */

/* n < 0: a failure; else how many bytes, and for a read which ones. */
static long call(int which, int fd, int flags)
{
	long n;

	memset(text, 0, sizeof(text));
	n = calls[which].run(fd, flags);
	say_result(calls[which].name, n);
	if (n > 0 && calls[which].kind == WRITES)
		owed += (size_t)n;
	if (n > 0 && calls[which].kind == READS && text[0])
		say("bytes: '%s'", text);
	return n;
}

/* ------------------------------------------------------------------ what remains */

static void limits(int fd, int ms)
{
	struct timeval limit = { ms / 1000, ms % 1000 * 1000 };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

static void block(int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
}

/* All that the server has sent and still sends within a moment, or the error. What it owes may take longer. */
static void rest(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	char all[256];
	size_t got = 0;
	ssize_t n = 0;

	poll(&p, 1, patience); /* still pending? */
	p.events = POLLIN;
	while (got < sizeof(all) - 1 && poll(&p, 1, got < owed ? patience : 400) == 1) {
		n = recv(fd, all + got, sizeof(all) - 1 - got, MSG_DONTWAIT);
		if (n <= 0)
			break;
		got += (size_t)n;
	}
	all[got] = '\0';
	say("rest: %zu '%s', then %s", got, all, n < 0 ? say_errno(errno) : n ? "nothing" : "end");
}

/* Waits for the outcome, and for what the server says by itself: with a converter that may come
 * together with the outcome, as the server accepts before the client completes. */
static void settle(int fd, int which)
{
	do_poll(fd, POLLOUT, patience);
	if (calls[which].kind == READS)
		sleep_ms(250);
}

static void without_waiting(int which)
{
	int fd;

	choose(calls[which].kind == READS ? GREET : ECHO);
	fd = start();
	call(which, fd, 0);
	call(which, fd, MSG_DONTWAIT);
	settle(fd, which);
	call(which, fd, 0);
	call(which, fd, 0);
	do_error(fd);
	call(which, fd, MSG_DONTWAIT);
	do_error(fd);
	do_names(fd);
	rest(fd);
}

/* From whom there is something to read; but a server that speaks first may do so before the client has
 * completed, which recv() of nothing would tell. */
static enum role role_for(int which)
{
	long (*run)(int fd, int flags) = calls[which].run;

	if (run == c_recv_nothing || run == c_recvmsg_nothing || run == c_recvmmsg_nothing)
		return ECHO;
	return calls[which].kind == READS ? GREET : ECHO;
}

static void waiting(int which)
{
	int fd;

	choose(role_for(which));
	fd = start();
	limits(fd, patience);
	block(fd);
	call(which, fd, 0);
	do_error(fd);
	call(which, fd, calls[which].kind == READS ? MSG_DONTWAIT : 0);
	do_names(fd);
	do_poll(fd, POLLOUT, patience);
	rest(fd);
}

static void dontwait(int which)
{
	int fd;

	choose(calls[which].kind == READS ? GREET : ECHO);
	fd = start();
	limits(fd, patience);
	block(fd);
	call(which, fd, MSG_DONTWAIT);
	settle(fd, which);
	call(which, fd, MSG_DONTWAIT);
	rest(fd);
}

/* ----------------------------------------------------------------- single cases */

static const char *about(int64_t began, int ms)
{
	static char late[32];
	int64_t took = now_ms() - began;

	if (took < ms - 1)
		return "too early";
	if (took <= ms + 50)
		return "in time";
	snprintf(late, sizeof(late), "%d ms late", (int)(took - ms));
	return late;
}

static void rcvtimeo(int ms)
{
	int64_t began;
	int fd;

	choose(ECHO);
	fd = start();
	limits(fd, ms);
	block(fd);
	began = now_ms();
	call(4, fd, 0);
	say("%s", about(began, ms));
	do_poll(fd, POLLOUT, patience);
	do_error(fd);
	rest(fd);
}

static void sndtimeo(int ms)
{
	int64_t began;
	int fd;

	choose(ECHO);
	fd = start();
	limits(fd, ms);
	block(fd);
	began = now_ms();
	call(17, fd, 0);
	say("%s", about(began, ms));
	do_poll(fd, POLLOUT, patience);
	do_error(fd);
	rest(fd);
}

static int lowat(int fd, int value)
{
	socklen_t len = sizeof(value);

	if (value)
		say_result("set SO_RCVLOWAT", setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &value, len));
	value = -1;
	getsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &value, &len);
	say("SO_RCVLOWAT: %d", value);
	return value;
}

static void rcvlowat(int before)
{
	int fd;

	choose(PIECES);
	fd = new_socket(SOCK_NONBLOCK);
	if (before)
		lowat(fd, 5);
	do_connect(fd);
	lowat(fd, 0);
	if (!before)
		lowat(fd, 5);
	do_poll(fd, POLLOUT, patience);
	lowat(fd, 0);
	do_poll(fd, POLLIN, patience); /* at the second piece */
	call(12, fd, 0);
	lowat(fd, 100);
	do_poll(fd, POLLIN, 100);
	rest(fd);
	do_recv(fd);
}

static void on_alarm(int sig)
{
	(void)sig;
}

/* Fewer bytes come than are waited for, and are what there is when the time is over, or a signal comes. Not twice the
 * time. */
static void fewer(int which, int ms, int alarm_ms)
{
	struct itimerval when = { .it_value = { alarm_ms / 1000, alarm_ms % 1000 * 1000 } };
	struct sigaction action = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
	int64_t began = now_ms(), took;
	int fd;

	choose(GREET);
	fd = start();
	if (calls[which].run != c_waitall)
		lowat(fd, 8);
	limits(fd, ms);
	block(fd);
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &when, NULL);
	call(which, fd, 0);
	took = now_ms() - began;
	if (alarm_ms)
		ms = alarm_ms;
	say("%s", took < ms ? "too early" : took < ms + 600 ? "in time" : "too late");
	rest(fd);
}

static void rcvlowat_limit(int which)
{
	five = 50;
	iov[1].iov_len = 48;
	fewer(which, 1500, 0);
}

static void rcvlowat_signal(int which)
{
	five = 50;
	iov[1].iov_len = 48;
	fewer(which, 3000, 1500);
}

static void waitall_limit(int which)
{
	five = 50;
	fewer(which, 1500, 0);
}

/* There is room for five, but nobody is waked by so few. */
static void rcvlowat_room(int which)
{
	fewer(which, 1500, 0);
}

static void rcvlowat_blocking(int before)
{
	int fd;

	(void)before;
	choose(PIECES);
	fd = new_socket(0);
	lowat(fd, 7);
	limits(fd, patience);
	do_connect(fd);
	lowat(fd, 0);
	call(4, fd, 0);
	rest(fd);
}

static void waitall(int flags)
{
	char all[8] = "";
	int fd;

	choose(PIECES);
	fd = start();
	limits(fd, patience);
	block(fd);
	say_result("recv", recv(fd, all, 7, MSG_WAITALL | flags));
	say("bytes: '%s'", all);
	do_error(fd);
	rest(fd);
}

static void *write_late(void *fd)
{
	sleep_ms(1200); /* later than a late reply */
	if (write(*(int *)fd, "12345", 5) != 5)
		return fd;
	return NULL;
}

/* The pipe is waited for, whatever the socket is; and meanwhile nobody else makes the connection. */
static void splice_late(int flags)
{
	int fds[2], fd;
	pthread_t thread;
	int64_t began;
	int err;
	long n;

	choose(ECHO);
	fd = start();
	if (pipe(fds) < 0)
		return;
	pthread_create(&thread, NULL, write_late, &fds[1]);
	began = now_ms();
	n = splice(fds[0], NULL, fd, NULL, 5, (unsigned int)flags);
	err = errno;
	say("splice: %s", now_ms() - began < 500 ? "at once" : "when there was something");
	errno = err;
	say_result("splice", n);
	owed += n > 0 ? (size_t)n : 0;
	pthread_join(thread, NULL);
}

static void wait_in(int role) /* until the server says something by itself */
{
	int fd;
	struct pollfd p = { .events = POLLIN | POLLRDHUP };

	choose((enum role)role);
	fd = p.fd = start();
	say("events: %d", poll(&p, 1, patience));
	sleep_ms(100); /* data and the end of them come as two packets */
	do_poll(fd, POLLIN | POLLRDHUP, 0);
	do_error(fd);
	do_names(fd);
	rest(fd);
	sleep_ms(100);
	do_poll(fd, POLLIN | POLLOUT | POLLRDHUP, 0);
}

static void wait_in_epoll(int mode)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLRDHUP | (uint32_t)mode,
				     .data.u32 = 7 };
	int ep = epoll_create1(0), fd, r;

	choose(GREET);
	fd = start();
	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event);
	r = epoll_wait(ep, &event, 1, patience);
	say("epoll_wait: %d %s", r, r > 0 ? say_events(event.events) : "");
	call(4, fd, 0);
	say_result("epoll_wait", epoll_wait(ep, &event, 1, 0));
	rest(fd);
}

struct reader {
	int fd;
	long r;
	int err;
};

static void *read_in_thread(void *arg)
{
	struct reader *r = arg;

	r->r = recv(r->fd, text, five, 0);
	r->err = errno;
	return NULL;
}

static void two_threads(int role) /* one waits for data, the other for the connection */
{
	struct pollfd p = { .events = POLLOUT };
	struct reader r = { 0 };
	pthread_t thread;

	choose((enum role)role);
	r.fd = start();
	limits(r.fd, patience);
	block(r.fd);
	pthread_create(&thread, NULL, read_in_thread, &r);
	sleep_ms(20);
	p.fd = r.fd; /* ERR is there or not: who is first takes the error */
	say("poll: %d %s", poll(&p, 1, patience), say_events(p.revents & ~POLLERR & 0xffff));
	pthread_join(thread, NULL);
	errno = r.err;
	say_result("recv", r.r);
	rest(r.fd);
}

static void shutdown_pending(int how)
{
	int fd;

	choose(GREET);
	fd = start();
	say_result("shutdown", shutdown(fd, how));
	do_poll(fd, POLLIN | POLLOUT | POLLRDHUP, 0);
	do_error(fd);
	do_names(fd);
	call(4, fd, 0);
	call(17, fd, 0);
	say_result("shutdown", shutdown(fd, how));
	do_poll(fd, POLLIN | POLLOUT | POLLRDHUP, 300);
	do_connect(fd);
	do_poll(fd, POLLOUT, patience);
	do_error(fd);
	rest(fd);
}

static void shutdown_connected(int how)
{
	int fd;

	choose(ECHO);
	fd = start();
	do_poll(fd, POLLOUT, patience);
	do_error(fd);
	say_result("shutdown", shutdown(fd, how));
	do_poll(fd, POLLIN | POLLOUT | POLLRDHUP, 0);
	call(17, fd, 0);
	call(4, fd, 0);
	sleep_ms(250);
	do_poll(fd, POLLIN | POLLOUT | POLLRDHUP, 0);
	do_names(fd);
	rest(fd);
}

static void after_reset(int first)
{
	struct pollfd p = { .events = POLLRDHUP };
	int fd;

	choose(RESET);
	fd = p.fd = start();
	do_poll(fd, POLLOUT, patience);
	poll(&p, 1, patience); /* has a long way, past a converter that is at something else */
	call(first, fd, MSG_DONTWAIT);
	do_poll(fd, POLLIN | POLLOUT | POLLRDHUP, 0);
	do_error(fd);
	call(4, fd, MSG_DONTWAIT);
	call(17, fd, MSG_DONTWAIT);
	do_names(fd);
}

/* -------------------------------------------------------------------- the table */

static struct test_case cases[256];
static size_t n_cases;

static void add(const char *prefix, const char *name, void (*run)(int), int param)
{
	struct test_case *c = &cases[n_cases++];

	snprintf(c->name, sizeof(c->name), "%s%s", prefix, name);
	c->run = run;
	c->param = param;
}

int main(int argc, char **argv)
{
	for (int i = 0; i < (int)N_CALLS; i++) {
		add("nb-", calls[i].name, without_waiting, i);
		add("wait-", calls[i].name, waiting, i);
		if (calls[i].has_flags)
			add("dontwait-", calls[i].name, dontwait, i);
	}
	add("rcvtimeo", "-short", rcvtimeo, 60);
	add("rcvtimeo", "-long", rcvtimeo, 1200);
	add("sndtimeo", "-short", sndtimeo, 60);
	add("rcvlowat", "-before", rcvlowat, 1);
	add("rcvlowat", "-pending", rcvlowat, 0);
	add("rcvlowat", "-blocking", rcvlowat_blocking, 0);
	for (int i = 0; i < (int)N_CALLS; i++) {
		long (*run)(int fd, int flags) = calls[i].run;

		if (calls[i].kind != READS || strstr(calls[i].name, "nothing") || run == c_fionread)
			continue;
		if (run == c_waitall) {
			add("waitall", "-limit", waitall_limit, i);
			continue;
		}
		add("rcvlowat_limit-", calls[i].name, rcvlowat_limit, i);
		if (run != c_read && run != c_recv && run != c_splice_in)
			continue;
		add("rcvlowat_signal-", calls[i].name, rcvlowat_signal, i);
		add("rcvlowat_room-", calls[i].name, rcvlowat_room, i);
	}
	add("waitall", "", waitall, 0);
	add("waitall", "-peek", waitall, MSG_PEEK);
	add("splice_late", "", splice_late, 0);
	add("splice_late", "-nonblock", splice_late, SPLICE_F_NONBLOCK);
	add("wait_in", "-greet", wait_in, GREET);
	add("wait_in", "-pieces", wait_in, PIECES);
	add("wait_in", "-bye", wait_in, BYE);
	add("wait_in", "-reset", wait_in, RESET);
	add("wait_in", "-silent", wait_in, SILENT);
	add("wait_in", "-epoll", wait_in_epoll, 0);
	add("wait_in", "-epoll_et", wait_in_epoll, (int)EPOLLET);
	add("two_threads", "-greet", two_threads, GREET);
	add("two_threads", "-silent", two_threads, SILENT);
	for (int how = SHUT_RD; how <= SHUT_RDWR; how++) {
		add("shutdown_pending-", (const char *[]){ "rd", "wr", "rdwr" }[how],
		    shutdown_pending, how);
		add("shutdown_connected-", (const char *[]){ "rd", "wr", "rdwr" }[how],
		    shutdown_connected, how);
	}
	add("reset", "-read", after_reset, 4);
	add("reset", "-write", after_reset, 17);
	return say_main(argc, argv, cases, n_cases);
}

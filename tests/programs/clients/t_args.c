// SPDX-License-Identifier: MIT
/*
 * t_args - arguments that programs should not give, and what they may ask at any time: addresses,
 * lengths, descriptors that are something else, options before, while and after connecting.
 */
#include "say.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

/* What a compiler shall not see through. */
static void *volatile nowhere = (void *)8;
static void *volatile nothing = NULL;
static volatile int minus = -1, too_many = 1025;

enum state { FRESH, PENDING, DONE };

static int in_state(int state)
{
	int fd = new_socket(SOCK_NONBLOCK);

	if (state != FRESH)
		do_connect(fd);
	if (state == DONE)
		do_poll(fd, POLLOUT, 1500);
	return fd;
}

static int try(int fd, const void *address, socklen_t len)
{
	return (int)say_result("connect", connect(fd, address, len));
}

/* -------------------------------------------------------------------- addresses */

static void lengths(int state)
{
	static const socklen_t some[] = { 0, 1, 2, 3, 8, 15, 16, 17, 28, 128, 129, 4096 };
	int fd = in_state(state);

	for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++) {
		char big[4200] = "";
		int other = state == FRESH ? in_state(FRESH) : fd;

		memcpy(big, &target.sa, target.len);
		say("length %u", some[i]);
		try(other, big, some[i]);
	}
	try(fd, &target.sa, (socklen_t)minus);
	do_poll(fd, POLLOUT, 0);
}

static void pointers(int state)
{
	int fd = in_state(state);

	try(fd, nothing, 0);
	try(fd, nothing, target.len);
	do_poll(fd, POLLOUT, 0);
	do_connect(fd);
	do_poll(fd, POLLOUT, 1500);
	do_error(fd);
}

static void families(int state)
{
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons(1) };
	struct sockaddr_un local = { .sun_family = AF_UNIX, .sun_path = "/nowhere" };
	struct sockaddr_storage odd = target.sa;
	int fd = in_state(state);

	try(fd, &six, sizeof(six));
	try(fd, &six, 24);
	try(fd, &local, sizeof(local));
	odd.ss_family = 77;
	try(fd, &odd, target.len);
	odd.ss_family = AF_UNSPEC;
	try(fd, &odd, 1);
	do_poll(fd, POLLOUT, 0);
	try(fd, &odd, sizeof(sa_family_t));
	do_poll(fd, POLLOUT, 0);
	do_error(fd);
	do_names(fd);
	do_connect(fd);
	do_poll(fd, POLLOUT, 1500);
	do_error(fd);
	do_names(fd);
}

/* A socket of the other family: IPv6 ones reach IPv4 by mapped addresses. */
static void mapped(int only_v6)
{
	struct sockaddr_in6 a = { .sin6_family = AF_INET6 };
	const struct sockaddr_in *in = (const void *)&target.sa;
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);

	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only_v6, sizeof(only_v6));
	a.sin6_port = in->sin_port;
	a.sin6_addr.s6_addr[10] = a.sin6_addr.s6_addr[11] = 0xff;
	memcpy(&a.sin6_addr.s6_addr[12], &in->sin_addr, 4);
	try(fd, &a, sizeof(a));
	do_poll(fd, POLLOUT, 0);
	do_names(fd);
	do_poll(fd, POLLOUT, 1500);
	do_error(fd);
	do_names(fd);
	do_send(fd, "hello");
	do_poll(fd, POLLIN, 1500);
	do_recv(fd);
	/* IPv4's own address on an IPv6 socket */
	fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);
	do_connect(fd);
	do_poll(fd, POLLOUT, 300);
	do_error(fd);
}

static void places(int flags) /* that nobody should convert, or nobody can reach */
{
	static const char *const some[] = { "0.0.0.0",	 "127.0.0.1", "255.255.255.255",
					    "224.0.0.1", "10.1.0.1",  "10.1.0.255" };
	struct sockaddr_in a = { .sin_family = AF_INET };

	for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++) {
		int fd = new_socket(flags);

		say("to %s", some[i]);
		a.sin_port = htons(1);
		inet_pton(AF_INET, some[i], &a.sin_addr);
		if (try(fd, &a, sizeof(a)) < 0 && errno == EINPROGRESS) {
			do_poll(fd, POLLOUT, 500);
			do_error(fd);
		}
		do_names(fd);
		close(fd);
	}
}

static void port_zero(int flags)
{
	struct sockaddr_in a;
	int fd = new_socket(flags);

	memcpy(&a, &good.sa, sizeof(a));
	a.sin_port = 0;
	try(fd, &a, sizeof(a));
	do_poll(fd, POLLOUT, 1500);
	do_error(fd);
	do_names(fd);
}

static void tail(int flags) /* sin_zero and what is behind the address have no meaning */
{
	struct sockaddr_storage a;
	int fd = new_socket(flags);

	memset(&a, 0x5a, sizeof(a));
	memcpy(&a, &target.sa, 8);
	try(fd, &a, sizeof(a));
	do_poll(fd, POLLOUT, 1500);
	do_error(fd);
	do_names(fd);
}

/* ------------------------------------------------------ what is no TCP socket */

static void foreign(int param)
{
	struct sockaddr_un local = { .sun_family = AF_UNIX, .sun_path = "/nowhere" };
	int fds[2], udp = socket(AF_INET, SOCK_DGRAM, 0),
		    local_fd = socket(AF_UNIX, SOCK_STREAM, 0);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	(void)param;
	if (pipe(fds) < 0)
		return;
	do_connect(-1);
	do_connect(999);
	do_connect(1 << 20);
	do_connect(0x7fffffff);
	do_connect(fds[0]);
	do_connect(open("/dev/null", O_RDWR));
	do_connect(udp);
	do_names(udp);
	do_connect(udp);
	try(local_fd, &local, sizeof(local));
	do_connect(local_fd);
	listen(listener, 1);
	do_connect(listener);
	do_names(listener);
	do_poll(listener, POLLIN | POLLOUT, 0);
	do_connect(socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP));
}

static void path_only(int param) /* O_PATH: a descriptor that can do next to nothing */
{
	int fd = open("/dev/null", O_PATH);

	(void)param;
	do_connect(fd);
	do_poll(fd, POLLIN, 0);
	do_names(fd);
	say_result("read", read(fd, (char[4]){ 0 }, 4));
}

/* ------------------------------------------------------------ calls on a socket */

static void names(int state)
{
	static const socklen_t some[] = { 0, 1, 2, 8, 15, 16, 17, 100 };
	int fd = in_state(state);
	socklen_t len;

	for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++) {
		unsigned char a[128];
		int r, written = 0;

		memset(a, 0xee, sizeof(a));
		len = some[i];
		r = getpeername(fd, (struct sockaddr *)a, &len);
		while (written < 128 && a[written] != 0xee)
			written++;
		say_result("getpeername", r);
		say("room %u: length %u, written %d", some[i], len, written);
	}
	len = 16;
	say_result("no address", getpeername(fd, nothing, &len));
	say_result("no length", getpeername(fd, (struct sockaddr *)&(char[16]){ 0 }, nothing));
	len = (socklen_t)minus;
	say_result("minus", getpeername(fd, (struct sockaddr *)&(char[16]){ 0 }, &len));
}

static void socket_calls(int state)
{
	struct sockaddr_in any = { .sin_family = AF_INET };
	int fd = in_state(state), n = -1;

	if (state != FRESH)
		say_result("bind", bind(fd, (struct sockaddr *)&any, sizeof(any)));
	say_result("accept", accept(fd, NULL, NULL));
	if (state == PENDING)
		say_result("listen", listen(fd, 1));
	say_result("shutdown 7", shutdown(fd, 7));
	say_result("shutdown -1", shutdown(fd, minus));
	say_result("sockatmark", sockatmark(fd));
	say_result("SIOCOUTQ", ioctl(fd, TIOCOUTQ, &n));
	say("queued: %d", n);
	say_result("FIONREAD", ioctl(fd, FIONREAD, &n));
	n = 1;
	say_result("FIONBIO", ioctl(fd, FIONBIO, &n));
	say("flags: %s", fcntl(fd, F_GETFL) & O_NONBLOCK ? "non-blocking" : "blocking");
	say_result("F_SETOWN", fcntl(fd, F_SETOWN, getpid()));
	say("owner: %d", fcntl(fd, F_GETOWN) == getpid());
	say("close-on-exec: %d", fcntl(fd, F_GETFD));
	say_result("F_SETFD", fcntl(fd, F_SETFD, FD_CLOEXEC));
	say("close-on-exec: %d", fcntl(fd, F_GETFD));
	say_result("lseek", (long)lseek(fd, 0, SEEK_CUR));
	say_result("pread", pread(fd, &n, 1, 0));
	say_result("fsync", fsync(fd));
	say("a tty: %d", isatty(fd));
	say_result("bad fcntl", fcntl(fd, 4711));
	say_result("bad F_DUPFD", fcntl(fd, F_DUPFD, minus));
	say_result("dup2", dup2(fd, minus));
	say_result("dup3", dup3(fd, fd, 0));
	say("dup2 to itself: %d", dup2(fd, fd) == fd);
	do_poll(fd, POLLOUT, state == FRESH ? 0 : 1500);
	do_error(fd);
}

static void bad_buffers(int state)
{
	struct msghdr m = { .msg_iov = nowhere, .msg_iovlen = 1 };
	struct iovec iov[2] = { { nowhere, 1 }, { NULL, 0 } };
	int fd = in_state(state);

	say_result("read", read(fd, nowhere, 1));
	say_result("recv", recv(fd, nothing, 1, MSG_DONTWAIT));
	say_result("recvmsg", recvmsg(fd, nothing, MSG_DONTWAIT));
	say_result("recvmsg", recvmsg(fd, &m, MSG_DONTWAIT));
	say_result("readv", readv(fd, iov, minus));
	say_result("readv", readv(fd, iov, too_many));
	say_result("readv", readv(fd, nowhere, 1));
	say_result("writev", writev(fd, nowhere, 1));
	say_result("sendmsg", sendmsg(fd, nothing, MSG_DONTWAIT | MSG_NOSIGNAL));
	say_result("sendto", sendto(fd, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL, nowhere, 16));
	say_result("sendto", sendto(fd, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL, nowhere, 4096));
	say_result("recv, flags", recv(fd, iov, 1, MSG_DONTWAIT | MSG_ERRQUEUE));
	say_result("recv, OOB", recv(fd, iov, 1, MSG_DONTWAIT | MSG_OOB));
	say_result("sendmmsg", sendmmsg(fd, nowhere, 1, MSG_DONTWAIT | MSG_NOSIGNAL));
	say_result("sendmmsg, none", sendmmsg(fd, nothing, 0, MSG_DONTWAIT | MSG_NOSIGNAL));
	say_result("recvmmsg", recvmmsg(fd, nowhere, 1, MSG_DONTWAIT, NULL));
	do_poll(fd, POLLOUT, state == FRESH ? 0 : 1500);
	do_error(fd);
}

/* Not NULL, and no memory: EFAULT. */
static void bad_pointers(int state)
{
	char a[16];
	socklen_t len = sizeof(a);
	int fd = in_state(state);

	try(fd, nowhere, 0);
	try(fd, nowhere, target.len);
	say_result("getpeername", getpeername(fd, nowhere, &len));
	say_result("getpeername", getpeername(fd, (struct sockaddr *)a, nowhere));
	say_result("SO_ERROR", getsockopt(fd, SOL_SOCKET, SO_ERROR, nowhere, &len));
	say_result("SO_ERROR", getsockopt(fd, SOL_SOCKET, SO_ERROR, a, nowhere));
	say_result("FIONREAD", ioctl(fd, FIONREAD, nowhere));
	say_result("poll", poll(nowhere, 1, 0));
	say_result("poll", poll(nowhere, 0x0fffffff, 0));
	say_result("select", select(fd + 1, nowhere, NULL, NULL, NULL));
	say_result("epoll_wait", epoll_wait(epoll_create1(0), nowhere, 1, 0));
}

/* An address like any other, but nothing is there any more. */
static void unmapped(int state)
{
	size_t page = 4096;
	char *p = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void *volatile gone = p + page, *volatile half = p + page - 8;
	struct msghdr m = { .msg_iov = gone, .msg_iovlen = 1 };
	int fd = in_state(state);

	munmap(gone, page);
	if (state == PENDING) {
		try(fd, gone, target.len);
		try(fd, half, target.len);
	}
	say_result("readv", readv(fd, gone, 1));
	say_result("readv", readv(fd, half, 1));
	say_result("recvmsg", recvmsg(fd, gone, MSG_DONTWAIT));
	say_result("recvmsg", recvmsg(fd, half, MSG_DONTWAIT));
	say_result("recvmsg", recvmsg(fd, &m, MSG_DONTWAIT));
	say_result("recvmmsg", recvmmsg(fd, gone, 1, MSG_DONTWAIT, NULL));
	say_result("writev", writev(fd, gone, 1));
	say_result("sendmsg", sendmsg(fd, gone, MSG_DONTWAIT | MSG_NOSIGNAL));
	say_result("sendmsg", sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL));
	say_result("sendmmsg", sendmmsg(fd, gone, 1, MSG_DONTWAIT | MSG_NOSIGNAL));
	say_result("sendto", sendto(fd, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL, gone, target.len));
	do_poll(fd, POLLOUT, 1500);
	do_error(fd);
}

/* --------------------------------------------------------------- sets of descriptors */

static void poll_sets(int state)
{
	int fd = in_state(state), fds[2], r;
	struct pollfd p[6] = { { .fd = fd, .events = POLLOUT }, { .fd = -5, .events = POLLIN },
			       { .fd = 999, .events = POLLIN }, { .fd = fd, .events = POLLIN },
			       { .fd = -fd, .events = 0 },	{ .events = POLLOUT } };
	struct pollfd *many = calloc(300, sizeof(*many));

	if (pipe(fds) < 0 || !many)
		return;
	p[5].fd = fds[1];
	for (size_t i = 0; i < 6; i++)
		p[i].revents = 0x55;
	r = poll(p, 6, 0);
	for (size_t i = 0; i < 6; i++)
		say("%d: %s of %s", r, say_events((unsigned short)p[i].revents),
		    say_events((unsigned short)p[i].events));
	p[2].fd = p[5].fd = -1;
	r = poll(p, 6, 1500);
	for (size_t i = 0; i < 6; i++)
		say("%d: %s %d", r, say_events((unsigned short)p[i].revents), p[i].fd < 0);
	for (int i = 0; i < 300; i++) {
		many[i].fd = i == 250 ? fds[1] : i % 2 ? fd : -1;
		many[i].events = POLLOUT;
	}
	r = poll(many, 300, 0);
	say("%d: %s %s", r, say_events((unsigned short)many[1].revents),
	    say_events((unsigned short)many[250].revents));
	say_result("poll, none", poll(NULL, 0, 10));
	free(many);
}

static void select_sets(int state)
{
	int fd = in_state(state), r;
	struct timeval tv = { 0, 0 };
	fd_set in, out, except;

	for (int i = 0; i < 8; i++) {
		FD_ZERO(&in);
		FD_ZERO(&out);
		FD_ZERO(&except);
		if (i & 1)
			FD_SET(fd, &in);
		if (i & 2)
			FD_SET(fd, &out);
		if (i & 4)
			FD_SET(fd, &except);
		tv.tv_sec = i == 7 && state; /* longer than any outcome takes */
		tv.tv_usec = i == 7 && state ? 500000 : 1000;
		r = select(fd + 1, i & 1 ? &in : NULL, i & 2 ? &out : NULL, i & 4 ? &except : NULL,
			   &tv);
		say("select %d: %d %d%d%d", i, r, FD_ISSET(fd, &in), FD_ISSET(fd, &out),
		    FD_ISSET(fd, &except));
	}
	FD_SET(fd, &out);
	say_result("select below", select(fd, NULL, &out, NULL, &tv));
	FD_SET(fd, &out);
	FD_SET(20, &out);
	say_result("select closed", select(21, NULL, &out, NULL, &tv));
	say("sets: %d %d", FD_ISSET(fd, &out), FD_ISSET(20, &out));
	FD_ZERO(&out);
	FD_SET(fd, &out);
	FD_SET(999, &out);
	say_result("select beyond", select(1000, NULL, &out, NULL, &tv));
	say_result("select minus", select(minus, NULL, &out, NULL, &tv));
	say_result("select nothing", select(0, NULL, NULL, NULL, &tv));
}

static void again_and_again(int flags) /* second connects in all stages */
{
	struct sockaddr_storage other = good.sa;
	int fd = new_socket(flags);

	do_connect(fd);
	try(fd, &other, good.len);
	do_poll(fd, POLLOUT, 1500);
	try(fd, &other, good.len);
	try(fd, &other, good.len);
	do_poll(fd, POLLOUT, 1500);
	do_error(fd);
	do_names(fd);
	do_connect(fd);
	do_connect(fd);
}

/* connect() with an address of two bytes fails before the kernel has looked at the socket, as where a security module
 * looks at addresses (SELinux, Landlock). */
static void guard(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_connect, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 2, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = { sizeof(code) / sizeof(code[0]), code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) < 0)
		say("no filter: %s", strerrorname_np(errno));
}

enum after { RESET, RESET_ASKED, SHUT, SHUT_BOTH, GUARDED };

/* The first second connect() comes when the connection is over: reset by the server, or shut down. */
static void again_late(int after)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&target.sa;
	int fd;

	if (after & GUARDED)
		guard();
	after &= ~GUARDED;
	if (after <= RESET_ASKED) /* by echo-server's fifth port */
		in->sin_port = htons((in_port_t)(ntohs(in->sin_port) + 4));
	else
		target = good;
	fd = start();
	do_poll(fd, POLLOUT, 1500);
	if (after <= RESET_ASKED)
		do_poll(fd, 0, 1500);
	else
		say_result("shutdown", shutdown(fd, after == SHUT ? SHUT_WR : SHUT_RDWR));
	if (after == RESET_ASKED)
		do_error(fd);
	try(fd, &good.sa, good.len);
	try(fd, &good.sa, good.len);
	do_poll(fd, POLLOUT, 1500);
	do_error(fd);
	do_names(fd);
	try(fd, &good.sa, good.len);
	do_send(fd, "hello");
	do_poll(fd, POLLIN, 1500);
	do_recv(fd);
}

static void bound(int how)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	int fd = new_socket(SOCK_NONBLOCK), one = 1;

	inet_pton(AF_INET, "10.1.0.1", &a.sin_addr);
	if (how == 1)
		a.sin_port = htons((in_port_t)(20000 + getpid() % 10000));
	if (how == 2)
		setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
	if (how == 3)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (how == 4)
		inet_pton(AF_INET, "127.0.0.1", &a.sin_addr);
	say_result("bind", bind(fd, (struct sockaddr *)&a, sizeof(a)));
	do_names(fd);
	do_connect(fd);
	do_names(fd);
	do_poll(fd, POLLOUT, 1500);
	do_error(fd);
	do_names(fd);
	say_result("bind", bind(fd, (struct sockaddr *)&a, sizeof(a)));
}

static void listen_after(int param)
{
	int fd = in_state(DONE);

	(void)param;
	say_result("listen", listen(fd, 1));
	do_poll(fd, POLLIN | POLLOUT, 0);
}

/* ------------------------------------------------------------------- a server's calls */

#define OWN_ACCEPT (-1) /* accept(), not accept4() */

static struct sockaddr_in here;

static int new_listener(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	socklen_t len = sizeof(here);

	here = (struct sockaddr_in){ .sin_family = AF_INET };
	here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	say_result("bind", bind(fd, (struct sockaddr *)&here, sizeof(here)));
	say_result("listen", listen(fd, 1));
	getsockname(fd, (struct sockaddr *)&here, &len);
	return fd;
}

/* Somebody has connected when this is called. */
static int accept_in(int listener, void *name, socklen_t *len, int flags)
{
	int fd;

	errno = 0;
	fd = flags == OWN_ACCEPT ? accept(listener, name, len) :
				   accept4(listener, name, len, flags);
	say("accept: %s", fd >= 0 ? "a number" : say_errno(errno));
	return fd;
}

static int knock(int listener)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	say_result("connect", connect(fd, (struct sockaddr *)&here, sizeof(here)));
	do_poll(listener, POLLIN, 1500);
	return fd;
}

static void accepted(int caller, int fd)
{
	int protocol = 0;
	socklen_t len = sizeof(protocol);

	say("flags: %d %d", fcntl(fd, F_GETFL) & O_NONBLOCK, fcntl(fd, F_GETFD));
	say_result("SO_PROTOCOL", getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len));
	say("protocol %d", protocol);
	do_send(caller, "hello");
	do_poll(fd, POLLIN, 1500);
	do_poll(fd, POLLIN | POLLOUT | POLLRDHUP, 0);
	do_recv(fd);
	do_send(fd, "hello yourself");
	do_poll(caller, POLLIN, 1500);
	do_recv(caller);
	do_close(caller);
	do_poll(fd, POLLIN | POLLRDHUP, 1500);
	do_recv(fd);
	do_close(fd);
}

static void accepting(int flags)
{
	static const socklen_t some[] = { 0, 1, 2, 8, 15, 16, 17, 100 };
	int listener = new_listener(), caller;
	socklen_t len;

	accept_in(listener, NULL, NULL, flags);
	for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++) {
		unsigned char a[128];
		int fd, written = sizeof(a);

		memset(a, 0xee, sizeof(a));
		len = some[i];
		caller = knock(listener);
		fd = accept_in(listener, a, &len, flags);
		while (written > 0 && a[written - 1] == 0xee) /* a port may be that, too */
			written--;
		say("room %u: length %u, written %d", some[i], len, written);
		accepted(caller, fd);
	}
	caller = knock(listener);
	len = 16;
	accepted(caller, accept_in(listener, nothing, &len, flags));
}

static void badly(int flags)
{
	int listener = new_listener(), fds[2];
	socklen_t len = (socklen_t)minus;
	char name[16];

	knock(listener);
	accept_in(listener, name, nothing, flags);
	knock(listener);
	accept_in(listener, name, nowhere, flags);
	knock(listener);
	accept_in(listener, name, &len, flags);
	do_poll(listener, POLLIN, 0);
	say_result("accept4", accept4(listener, NULL, NULL, 77));
	accept_in(minus, NULL, NULL, flags);
	accept_in(999, NULL, NULL, flags);
	accept_in(socket(AF_INET, SOCK_DGRAM, 0), NULL, NULL, flags);
	accept_in(socket(AF_INET, SOCK_STREAM, 0), NULL, NULL, flags);
	if (pipe(fds) == 0)
		accept_in(fds[0], NULL, NULL, flags);
	say_result("listen", listen(minus, 1));
	say_result("listen", listen(fds[0], 1));
	say_result("listen", listen(socket(AF_INET, SOCK_DGRAM, 0), 1));
	say_result("listen", listen(listener, 8));
	say_result("listen", listen(listener, minus));
	do_names(listener);
	do_error(listener);
	say_result("shutdown", shutdown(listener, SHUT_RD));
	do_poll(listener, POLLIN | POLLOUT | POLLRDHUP, 0);
	accept_in(listener, NULL, NULL, flags);
	say_result("listen", listen(listener, 1));
	do_close(listener);
}

static void linger(int seconds)
{
	struct linger l = { 1, seconds };
	int64_t began = now_ms();
	int fd = in_state(PENDING);

	say_result("SO_LINGER", setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)));
	do_close(fd);
	fd = in_state(PENDING);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	do_poll(fd, POLLOUT, 1500);
	do_send(fd, "hello");
	do_close(fd);
	say("took long: %s", now_ms() - began > 5000 ? "yes" : "no");
}

int main(int argc, char **argv)
{
#define STATES(name, run)                                                 \
	{ name "-fresh", run, FRESH }, { name "-pending", run, PENDING }, \
	{                                                                 \
		name "-done", run, DONE                                   \
	}
	static const struct test_case cases[] = {
		STATES("lengths", lengths),
		STATES("pointers", pointers),
		STATES("families", families),
		STATES("names", names),
		STATES("socket_calls", socket_calls),
		STATES("bad_buffers", bad_buffers),
		STATES("bad_pointers", bad_pointers),
		{ "unmapped-pending", unmapped, PENDING },
		{ "unmapped-done", unmapped, DONE },
		STATES("poll_sets", poll_sets),
		STATES("select_sets", select_sets),
		{ "mapped", mapped, 0 },
		{ "mapped-v6only", mapped, 1 },
		{ "places", places, SOCK_NONBLOCK },
		{ "port_zero", port_zero, SOCK_NONBLOCK },
		{ "tail", tail, SOCK_NONBLOCK },
		{ "foreign", foreign, 0 },
		{ "path_only", path_only, 0 },
		{ "again_and_again", again_and_again, SOCK_NONBLOCK },
		{ "again_late-reset", again_late, RESET },
		{ "again_late-asked", again_late, RESET_ASKED },
		{ "again_late-reset-guarded", again_late, RESET | GUARDED },
		{ "again_late-asked-guarded", again_late, RESET_ASKED | GUARDED },
		{ "again_late-shut", again_late, SHUT },
		{ "again_late-shut_both", again_late, SHUT_BOTH },
		{ "bound", bound, 0 },
		{ "bound-port", bound, 1 },
		{ "bound-late", bound, 2 },
		{ "bound-reuse", bound, 3 },
		{ "bound-loopback", bound, 4 },
		{ "listen_after", listen_after, 0 },
		{ "accepting-own", accepting, OWN_ACCEPT },
		{ "accepting", accepting, 0 },
		{ "accepting-nonblock", accepting, SOCK_NONBLOCK | SOCK_CLOEXEC },
		{ "badly-own", badly, OWN_ACCEPT },
		{ "badly", badly, SOCK_CLOEXEC },
		{ "linger-0", linger, 0 },
		{ "linger-2", linger, 2 },
	};

	return say_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}

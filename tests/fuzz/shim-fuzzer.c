// SPDX-License-Identifier: MIT
/*
 * The whole library, in the program that it works for: linked before libc, as if preloaded. Input: how
 * the program connects and reads (8 bytes, struct plan), then what the converter sends.
 *
 * A thread is the converter and the server. Asserted: the program is connected if and only if the
 * reply says so, and then gets exactly the bytes behind it; what the server has refused fails, with an
 * errno that a direct connection can give; whatever else comes, the connection is made directly. No
 * descriptor is left behind. A wait that takes LIMIT_MS has hung.
 *
 * It runs in a network namespace of its own, where 192.0.2.1 is the server and 192.0.2.2 the converter.
 */
#include "fuzz.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* libFuzzer's, where there is one */
__attribute__((weak)) size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned int seed);

#define SERVER	  "192.0.2.1"
#define CONVERTER "192.0.2.2"
#define PORT	  5124
#define LIMIT_MS  20000

static const uint8_t greeting[] = "direct"; /* what the server says to whoever comes directly */

enum how { BLOCKING, POLL, SELECT, EPOLL, EPOLL_ET, READ, HOWS };

enum { N_STEPS = 4 };
struct plan {
	uint8_t how;
	uint8_t reading;
	uint8_t end;
	uint8_t most; /* bytes in one piece; 0: all at once */
	uint8_t steps[N_STEPS];
};

/* ----------------------------------------------------------------- a place to run in */

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	must(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), path);
	close(fd);
}

static void add_address(const char *address)
{
	char command[100];

	snprintf(command, sizeof(command), "ip addr add %s/32 dev lo", address);
	must(system(command) == 0, command); /* NOLINT(cert-env33-c) */
}

static void make_network(void)
{
	if (unshare(CLONE_NEWNET) < 0) {
		char map[40];

		snprintf(map, sizeof(map), "0 %u 1", (unsigned int)geteuid());
		must(unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0, "a network namespace");
		write_file("/proc/self/uid_map", map);
	}
	must(system("ip link set lo up") == 0, "ip"); /* NOLINT(cert-env33-c) */
	add_address(SERVER);
	add_address(CONVERTER);
	write_file("/proc/sys/net/ipv4/tcp_fastopen", "515"); /* data without a cookie is taken */
	write_file("/proc/sys/net/ipv4/tcp_max_tw_buckets", "100");
}

static const char *policy(void)
{
	const char *chosen = getenv("FUZZ_POLICY");

	return chosen ? chosen : "mptcp = off";
}

static bool is_mptcp(void)
{
	return strstr(policy(), "mptcp = on") != NULL;
}

static int make_config(void)
{
	int fd = memfd_create("convert.conf", 0);

	must(fd >= 0 && fchmod(fd, 0600) == 0, "memfd_create");
	dprintf(fd,
		"[converter fuzz]\naddress = " CONVERTER "\nport = %d\ndialect = rfc8803\n"
		"fast-open = no-cookie\n[policy]\nbypass = never\nfallback = direct\n"
		"timeout = 30s\n%s\n",
		PORT, policy());
	return fd;
}

/* Before main(), once more as the program that the library finds its configuration for. */
__attribute__((constructor)) static void enter(void)
{
	char path[40], *argv[100] = { NULL }, line[4096];
	size_t n = 0, len;
	int fd;

	if (getenv("CONVERT_CONF"))
		return;
	make_network();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", make_config());
	setenv("CONVERT_CONF", path, 1);
	setenv("CONVERT_STATE", "none", 1);
	fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
	len = (size_t)read(fd, line, sizeof(line) - 1);
	must(fd >= 0 && len < sizeof(line) - 1, "/proc/self/cmdline");
	line[len] = '\0';
	for (char *word = line; word < line + len && n < 99; word += strlen(word) + 1)
		argv[n++] = word;
	execv("/proc/self/exe", argv);
	must(false, "execv");
}

/* The clock of what is learned about converters: a day and more later with each input, so that none has
 * to do with what the one before has made of the converter's name. */
static _Atomic time_t days_s;

/* NOLINTNEXTLINE(bugprone-reserved-identifier) the name that ld's --wrap wants */
__attribute__((visibility("default"))) int64_t __wrap_clock_ns(clockid_t clock);

/* NOLINTNEXTLINE(bugprone-reserved-identifier) */
int64_t __wrap_clock_ns(clockid_t clock)
{
	struct timespec t = { 0 };

	clock_gettime(clock, &t);
	if (clock == CLOCK_REALTIME_COARSE)
		t.tv_sec += days_s;
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ------------------------------------------------------------ the converter, the server */

static struct {
	pthread_mutex_t lock;
	struct reply reply;
	size_t most;
} now = { .lock = PTHREAD_MUTEX_INITIALIZER };

static int listen_at(const char *address)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, is_mptcp() ? IPPROTO_MPTCP : 0);
	int queue = 100;

	inet_pton(AF_INET, address, &in.sin_addr);
	must(fd >= 0 && bind(fd, (struct sockaddr *)&in, sizeof(in)) == 0 &&
		     setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN, &queue, sizeof(queue)) == 0 &&
		     listen(fd, 100) == 0,
	     "a listener");
	return fd;
}

static bool read_request(int fd)
{
	uint8_t request[MESSAGE_MAX];

	return recv(fd, request, 4, MSG_WAITALL) == 4 && request[1] >= 6 &&
	       recv(fd, request + 4, 4U * request[1] - 4, MSG_WAITALL) ==
		       (ssize_t)(4U * request[1] - 4);
}

/* The first pieces arrive one by one; after them it makes no difference. */
static void send_pieces(int fd, const struct reply *r, size_t most)
{
	const struct timespec moment = { .tv_nsec = 20000 };
	size_t sent = 0;

	for (int pieces = 0; sent < r->len; pieces++) {
		size_t n = r->len - sent;

		if (most && n > most && pieces < 12)
			n = most;
		if (send(fd, r->bytes + sent, n, MSG_NOSIGNAL) != (ssize_t)n)
			return;
		sent += n;
		if (most)
			nanosleep(&moment, NULL);
	}
}

/* What an MPTCP socket sends before the handshake's third packet is here never leaves (Linux 6.18, when
 * there was data in the SYN), and neither does its end. */
static void await_third_packet(int fd)
{
	const struct timespec moment = { .tv_nsec = 20000 };
	struct tcp_info info = { .tcpi_state = TCP_SYN_RECV };
	socklen_t len = sizeof(info);

	for (int tries = 0; tries < 100000 && info.tcpi_state == TCP_SYN_RECV; tries++) {
		if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
			return;
		if (info.tcpi_state == TCP_SYN_RECV)
			nanosleep(&moment, NULL);
	}
}

static void convert(int fd)
{
	static struct reply r;
	const int on = 1;
	size_t most;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (!read_request(fd)) {
		close(fd);
		return;
	}
	pthread_mutex_lock(&now.lock);
	r = now.reply;
	most = now.most;
	pthread_mutex_unlock(&now.lock);
	if (is_mptcp())
		await_third_packet(fd);
	send_pieces(fd, &r, most);
	reply_finish(fd, r.end);
}

static _Noreturn void *serve(void *arg)
{
	const int *listeners = arg;
	struct pollfd p[2] = { { .fd = listeners[0], .events = POLLIN },
			       { .fd = listeners[1], .events = POLLIN } };

	for (;;) {
		int fd;

		poll(p, 2, -1);
		if (p[0].revents && (fd = accept(p[0].fd, NULL, NULL)) >= 0)
			convert(fd);
		if (p[1].revents && (fd = accept(p[1].fd, NULL, NULL)) >= 0) {
			send(fd, greeting, sizeof(greeting), MSG_NOSIGNAL);
			reply_finish(fd, END_FIN);
		}
	}
}

static void start_serving(void)
{
	static int listeners[2];
	static pthread_t thread;

	if (listeners[0])
		return;
	listeners[0] = listen_at(CONVERTER);
	listeners[1] = listen_at(SERVER);
	must(pthread_create(&thread, NULL, serve, listeners) == 0, "pthread_create");
}

/* --------------------------------------------------------------------- the program */

struct seen {
	int fd;
	bool connected;
	int err;  /* why not; 0: nobody has said */
	int last; /* what has ended the stream: 0, or an errno */
	size_t len;
	uint8_t bytes[sizeof(((struct reply *)0)->bytes)];
};

static bool wait_epoll(int fd, uint32_t events)
{
	struct epoll_event event = { .events = events };
	int epfd = epoll_create1(EPOLL_CLOEXEC), n = -1;

	if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event) == 0)
		n = epoll_wait(epfd, &event, 1, LIMIT_MS);
	close(epfd);
	return n == 1;
}

static bool wait_select(int fd, bool out)
{
	struct timeval limit = { .tv_sec = LIMIT_MS / 1000 };
	fd_set set;

	FD_ZERO(&set);
	FD_SET(fd, &set);
	return select(fd + 1, out ? NULL : &set, out ? &set : NULL, NULL, &limit) == 1;
}

static void wait_for(int fd, enum how how, bool out)
{
	struct pollfd p = { .fd = fd, .events = out ? POLLOUT : POLLIN };
	const uint32_t events = out ? EPOLLOUT : EPOLLIN;

	switch (how) {
	case SELECT:
		CHECK(wait_select(fd, out));
		break;
	case EPOLL:
		CHECK(wait_epoll(fd, events));
		break;
	case EPOLL_ET:
		CHECK(wait_epoll(fd, events | EPOLLET));
		break;
	default:
		CHECK(poll(&p, 1, LIMIT_MS) == 1);
	}
}

static void say_error(struct seen *s, int err)
{
	if (s->connected)
		s->last = err;
	else
		s->err = err;
}

/* One read of at most max bytes. False: none were there, or it was the end. */
static bool read_some(struct seen *s, uint8_t way, size_t max)
{
	size_t room = sizeof(s->bytes) - s->len;
	uint8_t *to = s->bytes + s->len, peeked[8];
	struct iovec iov[2] = { { to, 1 }, { to + 1, max - 1 } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	ssize_t n, first;

	if (room < max)
		return false;
	switch (way % 5) {
	case 0:
		n = read(s->fd, to, max);
		break;
	case 1:
		n = recv(s->fd, to, max, 0);
		break;
	case 2:
		n = readv(s->fd, iov, 2);
		break;
	case 3:
		n = recvmsg(s->fd, &msg, 0);
		break;
	default:
		first = recv(s->fd, peeked, sizeof(peeked), MSG_PEEK);
		n = first < 0 ? first : recv(s->fd, to, max, 0);
		if (first > 0)
			CHECK(n > 0 && memcmp(peeked, to, (size_t)(n < first ? n : first)) == 0);
	}
	if (n < 0) {
		if (errno != EAGAIN)
			say_error(s, errno);
		return false;
	}
	s->connected = true;
	s->len += (size_t)n;
	return n > 0;
}

/* What programs do in the meantime. */
static void step(struct seen *s, uint8_t what)
{
	struct pollfd p = { .fd = s->fd, .events = POLLIN | POLLOUT };
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT };
	struct sockaddr_in name = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	socklen_t len = sizeof(name);
	const int on = 1;
	int n, other;

	switch (what % 14) {
	case 1:
		poll(&p, 1, 0);
		break;
	case 2:
		if (getpeername(s->fd, (struct sockaddr *)&name, &len) == 0)
			CHECK(name.sin_addr.s_addr == inet_addr(SERVER));
		break;
	case 3:
		CHECK(getsockname(s->fd, (struct sockaddr *)&name, &len) == 0);
		break;
	case 4:
		close(dup(s->fd));
		break;
	case 5:
		other = epoll_create1(EPOLL_CLOEXEC);
		CHECK(epoll_ctl(other, EPOLL_CTL_ADD, s->fd, &event) == 0);
		epoll_wait(other, &event, 1, 0);
		close(other);
		break;
	case 6:
		read_some(s, (uint8_t)(what / 14), 1 + what / 14U);
		break;
	case 7:
		ioctl(s->fd, FIONREAD, &n);
		break;
	case 8:
		CHECK(setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0);
		break;
	case 9:
		other = s->fd == 100 ? 101 : 100; /* where the other thread opens nothing */
		CHECK(dup2(s->fd, other) == other && close(s->fd) == 0);
		s->fd = other;
		break;
	case 10:
		inet_pton(AF_INET, SERVER, &name.sin_addr);
		if (connect(s->fd, (struct sockaddr *)&name, sizeof(name)) == 0 || errno == EISCONN)
			s->connected = true;
		else if (errno != EALREADY)
			say_error(s, errno);
		break;
	case 11:
		n = fcntl(s->fd, F_GETFL);
		CHECK(fcntl(s->fd, F_SETFL, n & ~O_NONBLOCK) == 0 &&
		      fcntl(s->fd, F_SETFL, n | O_NONBLOCK) == 0);
		break;
	case 12:
		sched_yield();
		break;
	case 13:
		if (send(s->fd, "", 0, MSG_NOSIGNAL) < 0 && errno != EAGAIN)
			say_error(s, errno);
		break;
	default:
		break;
	}
}

static void begin(struct seen *s, enum how how)
{
	struct sockaddr_in server = { .sin_family = AF_INET, .sin_port = htons(PORT) };

	inet_pton(AF_INET, SERVER, &server.sin_addr);
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | (how == BLOCKING ? 0 : SOCK_NONBLOCK),
		       0);
	CHECK(s->fd >= 0);
	if (connect(s->fd, (struct sockaddr *)&server, sizeof(server)) == 0)
		s->connected = true;
	else if (how == BLOCKING || errno != EINPROGRESS)
		s->err = errno;
}

static void end_connecting(struct seen *s, enum how how)
{
	int err = 0;
	socklen_t len = sizeof(err);

	if (s->connected || s->err)
		return;
	if (how == READ) { /* and asks nobody whether it is connected */
		wait_for(s->fd, POLL, false);
		return;
	}
	wait_for(s->fd, how, true);
	CHECK(getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &err, &len) == 0);
	s->err = err;
	s->connected = err == 0;
}

/* To the end of the stream, or as much as must come where no end does. */
static void read_all(struct seen *s, enum how how, uint8_t way, size_t enough)
{
	size_t max = way / 5 < 25 ? 1U + way / 5U : 2000;

	while (s->len < enough) {
		wait_for(s->fd, how, false);
		if (!read_some(s, way, s->len > 100 ? 2000 : max))
			break;
	}
}

/* ------------------------------------------------------------------------- the judge */

static bool is_sane(int err)
{
	static const int sane[] = { ECONNRESET,	 ETIMEDOUT,    ECONNREFUSED, EACCES,
				    ENETUNREACH, EHOSTUNREACH, ENOPROTOOPT,  EHOSTDOWN,
				    ENONET,	 EOPNOTSUPP,   ENOBUFS };

	for (size_t i = 0; i < sizeof(sane) / sizeof(sane[0]); i++)
		if (err == sane[i])
			return true;
	return false;
}

static bool begins_as(const struct seen *s, const uint8_t *bytes, size_t n)
{
	return s->len <= n && memcmp(s->bytes, bytes, s->len) == 0;
}

static void judge(const struct seen *s, const struct reply *r)
{
	size_t message;
	const enum meaning meaning = reply_meaning(r, &message);
	const uint8_t *data = r->bytes + message;
	const bool converted = meaning == MEANS_CONNECTED && begins_as(s, data, r->len - message);
	const bool direct = meaning != MEANS_CONNECTED && begins_as(s, greeting, sizeof(greeting));

	if (!s->connected) {
		CHECK(is_sane(s->err));
		CHECK(meaning == MEANS_SERVER_ERROR || r->end == END_RST);
	} else if (r->end == END_RST) { /* which may overtake the reply */
		CHECK(begins_as(s, greeting, sizeof(greeting)) || converted);
	} else {
		CHECK(meaning != MEANS_SERVER_ERROR);
		CHECK(converted || direct);
		CHECK(s->last == 0);
		CHECK(s->len == (converted ? r->len - message : sizeof(greeting)));
	}
}

static int count_sockets_and_sets(void)
{
	DIR *dir = opendir("/proc/self/fd");
	char path[300], what[20];
	int n = 0;

	CHECK(dir);
	for (const struct dirent *e; (e = readdir(dir));) {
		snprintf(path, sizeof(path), "/proc/self/fd/%s", e->d_name);
		if (readlink(path, what, sizeof(what)) < (ssize_t)sizeof("socket:"))
			continue;
		n += memcmp(what, "socket:", 7) == 0 || memcmp(what, "anon_inode:[even", 16) == 0;
	}
	closedir(dir);
	return n;
}

/* None is left by a hundred inputs. The other thread has one or none at the moment. */
static void check_descriptors(void)
{
	static unsigned long inputs;
	static int least;
	int n;

	if (inputs++ % 100 != 0)
		return;
	n = count_sockets_and_sets();
	if (least == 0 || n < least)
		least = n;
	CHECK(n <= least + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct seen s;
	static struct reply r;
	const struct linger at_once = { .l_onoff = 1 };
	struct plan plan;
	enum how how;
	size_t message, enough = SIZE_MAX;

	if (size < sizeof(plan) || size - sizeof(plan) > sizeof(r.bytes))
		return 0;
	memcpy(&plan, data, sizeof(plan));
	r.len = size - sizeof(plan);
	memcpy(r.bytes, data + sizeof(plan), r.len);
	r.end = plan.end % 16 == 0 ? END_RST : plan.end % 16 == 1 ? END_SILENCE : END_FIN;
	how = (enum how)(plan.how % HOWS);
	if (r.end == END_SILENCE) {
		if (reply_meaning(&r, &message) == MEANS_CONNECTED)
			enough = r.len - message;
		else
			enough = 0; /* nothing need ever come of it */
	}
	start_serving();
	pthread_mutex_lock(&now.lock);
	now.reply = r;
	now.most = plan.most % 64;
	pthread_mutex_unlock(&now.lock);

	memset(&s, 0, offsetof(struct seen, bytes));
	days_s += 25 * 3600L;
	if (enough == 0 && (how == BLOCKING || how == READ)) /* would wait for ever */
		how = POLL;
	begin(&s, how);
	for (size_t i = 0; how != BLOCKING && i < N_STEPS && !s.err && !s.last; i++)
		step(&s, plan.steps[i]);
	if (!(r.end == END_SILENCE && reply_meaning(&r, &message) != MEANS_CONNECTED)) {
		end_connecting(&s, how);
		if (!s.err && !s.last)
			read_all(&s, how, plan.reading, enough);
		judge(&s, &r);
	}
	setsockopt(s.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	CHECK(close(s.fd) == 0);
	check_descriptors();
	return 0;
}

/* A reply that a converter might send, made anew or changed; or any bytes, with a length that is
 * right more often than not. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned int seed)
{
	static struct reply r;
	const size_t head = sizeof(struct plan);

	reply_seed(seed);
	if (size < head || most < head + MESSAGE_MAX || reply_in_percent(30))
		return LLVMFuzzerMutate(data, size, most);
	r.len = size - head;
	memcpy(r.bytes, data + head, r.len);
	if (reply_in_percent(30)) {
		r.len = 0;
		reply_make_message(&r);
	} else if (r.len >= 6) {
		reply_change_message(&r);
	}
	if (r.len >= 4 && reply_in_percent(60))
		r.bytes[1] = (uint8_t)(r.len / 4 < 255 ? r.len / 4 : 255);
	if (reply_in_percent(30))
		for (size_t i = 0; i < head; i++)
			data[i] = reply_in_percent(50) ? data[i] : (uint8_t)reply_below(256);
	if (r.len > most - head)
		r.len = most - head;
	memcpy(data + head, r.bytes, r.len);
	return head + r.len;
}

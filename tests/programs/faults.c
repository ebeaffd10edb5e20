// SPDX-License-Identifier: MIT
/*
 * faults - a program that fetches two pages and says what came of it, for test_faults.py.
 *
 *     faults fetch WAY ADDRESS PORT           one connection: "OUTCOME MS SAW SUM"
 *     faults beside WAY ADDRESS PORT MUTE MS  the same when a call to MUTE has waited for MS already;
 *                                             the server is called all the while
 *     faults many N JOBS ADDRESS PORT SUM     N connections, each by a process of its own, JOBS at a time
 *     faults same N ADDRESS PORT SUM          N connections of one process
 *
 * WAY is how the connection is waited for: blocking, poll or epoll; the other two take turns. OUTCOME
 * is an errno's name or "connected", MS the time until then; SAW is whom the server saw and SUM the
 * Adler-32 of /page. The other two print how often each outcome was seen, the longest time, and
 * "same" what the process has gained meanwhile.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LIMIT_MS 20000 /* longer than anything here may take */

/* Whom one connects to. */
struct server {
	struct sockaddr_storage name;
	socklen_t len;
};

static const char request[] = "GET /who HTTP/1.1\r\nHost: lab\r\n\r\nGET /page HTTP/1.0\r\n\r\n";
static struct server server, mute;

/* What became of one connection. */
struct outcome {
	int err;      /* of connecting, or 0 */
	int transfer; /* of the transfer; -1: it ended too early */
	int ms;	      /* until it was connected, or was not */
	int whole_ms; /* until everything was there */
	char saw[64];
	unsigned int sum;
};

static int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static unsigned int adler32(unsigned int sum, const unsigned char *p, size_t n)
{
	unsigned int a = sum & 0xffff, b = sum >> 16;

	for (size_t i = 0; i < n; i++) {
		a = (a + p[i]) % 65521;
		b = (b + a) % 65521;
	}
	return b << 16 | a;
}

/* ------------------------------------------------------------------------ connecting */

static int wait_by_poll(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	return poll(&p, 1, LIMIT_MS) == 1 ? 0 : EAGAIN;
}

static int wait_by_epoll(int fd)
{
	struct epoll_event event = { .events = EPOLLOUT };
	int set = epoll_create1(EPOLL_CLOEXEC), n;

	epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
	do /* which also ends when the program was stopped meanwhile */
		n = epoll_wait(set, &event, 1, LIMIT_MS);
	while (n < 0 && errno == EINTR);
	close(set);
	return n == 1 ? 0 : EAGAIN;
}

static int connect_by(const char *way, int fd, const struct server *to)
{
	bool blocking = way[0] == 'b';
	int err = -1;
	socklen_t len = sizeof(err);

	if (connect(fd, (const struct sockaddr *)&to->name, to->len) == 0)
		return 0;
	if (blocking || errno != EINPROGRESS)
		return errno;
	err = way[0] == 'e' ? wait_by_epoll(fd) : wait_by_poll(fd);
	if (err)
		return err;
	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 ? errno : err;
}

/* ----------------------------------------------------------------------- the transfer */

static int receive(int fd, char *p, size_t room, size_t *have)
{
	for (*have = 0; *have < room;) {
		struct pollfd wait = { .fd = fd, .events = POLLIN };
		ssize_t n = recv(fd, p + *have, room - *have, 0);

		if (n == 0)
			return 0;
		if (n > 0)
			*have += (size_t)n;
		else if (errno != EAGAIN)
			return errno;
		else if (poll(&wait, 1, LIMIT_MS) != 1)
			return EAGAIN;
	}
	return EMSGSIZE;
}

/* The body behind the header that begins at p, or NULL; *size: its length as the header has it. */
static char *body(char *p, size_t *size)
{
	char *length = p ? strcasestr(p, "Content-Length:") : NULL;
	char *end = p ? strstr(p, "\r\n\r\n") : NULL;

	if (!length || !end || length > end)
		return NULL;
	*size = strtoul(length + 15, NULL, 10);
	return end + 4;
}

static void judge(char *answer, size_t have, struct outcome *o)
{
	size_t who_len = 0, page_len = 0;
	char *who = body(answer, &who_len);
	char *page = who && who + who_len < answer + have ? body(who + who_len, &page_len) : NULL;

	if (!who || !page || page + page_len != answer + have) {
		o->transfer = -1;
		return;
	}
	snprintf(o->saw, sizeof(o->saw), "%.*s", (int)strcspn(who, "\r\n"), who);
	o->sum = adler32(1, (unsigned char *)page, page_len);
}

#define ANSWER_MAX (1 << 19)

static void transfer(int fd, struct outcome *o)
{
	static char answer[ANSWER_MAX + 1];
	size_t have = 0;

	if (send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) != (ssize_t)sizeof(request) - 1) {
		o->transfer = errno;
		return;
	}
	o->transfer = receive(fd, answer, ANSWER_MAX, &have);
	answer[have] = '\0';
	if (!o->transfer)
		judge(answer, have, o);
}

static void one(const char *way, struct outcome *o)
{
	int flags = way[0] == 'b' ? 0 : SOCK_NONBLOCK;
	int fd = socket(server.name.ss_family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
	int64_t start = now_us();

	memset(o, 0, sizeof(*o));
	o->err = fd < 0 ? errno : connect_by(way, fd, &server);
	o->ms = (int)((now_us() - start) / 1000);
	if (!o->err)
		transfer(fd, o);
	o->whole_ms = (int)((now_us() - start) / 1000);
	if (fd >= 0)
		close(fd);
}

/* ---------------------------------------------------------------------- many of them */

#define KINDS 200

/* In memory that the children share. */
struct totals {
	unsigned int good, torn, wrong; /* torn: it was connected, and then cut */
	unsigned int refused[KINDS];	/* by errno */
	int slowest_ms;
};

static void count(struct totals *t, const struct outcome *o, unsigned int sum)
{
	int slowest = __atomic_load_n(&t->slowest_ms, __ATOMIC_RELAXED);

	while (o->whole_ms > slowest &&
	       !__atomic_compare_exchange_n(&t->slowest_ms, &slowest, o->whole_ms, false,
					    __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
	if (o->err)
		__atomic_fetch_add(&t->refused[o->err % KINDS], 1, __ATOMIC_RELAXED);
	else if (o->transfer == -1 || o->transfer == ECONNRESET || o->transfer == EPIPE)
		__atomic_fetch_add(&t->torn, 1, __ATOMIC_RELAXED);
	else if (o->transfer || o->sum != sum)
		__atomic_fetch_add(&t->wrong, 1, __ATOMIC_RELAXED);
	else
		__atomic_fetch_add(&t->good, 1, __ATOMIC_RELAXED);
}

static void show(const struct totals *t)
{
	printf("good %u\ntorn %u\nwrong %u\nslowest %d\n", t->good, t->torn, t->wrong,
	       t->slowest_ms);
	for (int i = 0; i < KINDS; i++)
		if (t->refused[i])
			printf("%s %u\n", strerrorname_np(i), t->refused[i]);
}

static const char *way_of(unsigned int i)
{
	static const char *const ways[] = { "blocking", "poll", "epoll" };

	return ways[i % 3];
}

/* Returns 1 if a child has ended otherwise than it should. */
static unsigned int reap(unsigned int *running)
{
	int status;

	if (wait(&status) < 0)
		exit(1);
	--*running;
	return status != 0;
}

static void many(unsigned int n, unsigned int jobs, unsigned int sum)
{
	struct totals *t = mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned int running = 0, crashed = 0;
	struct outcome o;

	if (t == MAP_FAILED)
		exit(1);
	for (unsigned int i = 0; i < n; i++, running++) {
		if (running == jobs)
			crashed += reap(&running);
		if (fork() == 0) {
			alarm(2 * LIMIT_MS / 1000);
			one(way_of(i), &o);
			count(t, &o, sum);
			_exit(0);
		}
	}
	while (running)
		crashed += reap(&running);
	show(t);
	printf("crashed %u\n", crashed);
}

static unsigned int open_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned int n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

static unsigned long memory_kb(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	unsigned long pages = 0, resident = 0;

	if (!f || fscanf(f, "%lu %lu", &pages, &resident) != 2)
		exit(1);
	fclose(f);
	return resident * 4;
}

static void same(unsigned int n, unsigned int sum)
{
	unsigned int descriptors = open_descriptors();
	struct totals t = { 0 };
	unsigned long kb = 0;
	struct outcome o;

	for (unsigned int i = 0; i < n; i++) {
		if (i == n / 4)
			kb = memory_kb();
		one(way_of(i), &o);
		count(&t, &o, sum);
	}
	show(&t);
	printf("descriptors %d\nkilobytes %ld\n", (int)(open_descriptors() - descriptors),
	       (long)(memory_kb() - kb));
}

/* ------------------------------------------------------------------------------- main */

static int usage(void)
{
	fprintf(stderr, "usage: faults fetch WAY ADDRESS PORT | beside WAY ADDRESS PORT MUTE MS | "
			"many N JOBS ADDRESS PORT SUM | same N ADDRESS PORT SUM\n");
	return 2;
}

static void set_server(struct server *s, const char *address, const char *port)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&s->name;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&s->name;
	uint16_t number = htons((uint16_t)atoi(port));

	s->name.ss_family = strchr(address, ':') ? AF_INET6 : AF_INET;
	s->len = s->name.ss_family == AF_INET ? sizeof(*in) : sizeof(*in6);
	if (s->name.ss_family == AF_INET)
		in->sin_port = number;
	else
		in6->sin6_port = number;
	inet_pton(s->name.ss_family, address,
		  s->name.ss_family == AF_INET ? (void *)&in->sin_addr : (void *)&in6->sin6_addr);
}

static void fetch(const char *way)
{
	struct outcome o;

	one(way, &o);
	printf("%s %d %s %u\n",
	       o.err		? strerrorname_np(o.err) :
	       o.transfer == -1 ? "short" :
	       o.transfer	? strerrorname_np(o.transfer) :
				  "connected",
	       o.ms, o.saw[0] ? o.saw : "-", o.sum);
}

/* Until the program ends. */
static void *call_mute(void *way)
{
	int flags = ((const char *)way)[0] == 'b' ? 0 : SOCK_NONBLOCK;
	int fd = socket(mute.name.ss_family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

	if (connect_by(way, fd, &mute) == 0)
		exit(3);
	close(fd);
	return NULL;
}

static void beside(char *way, int ms)
{
	int64_t until = now_us() + 1000 * (int64_t)ms;
	struct outcome o;
	pthread_t thread;

	if (pthread_create(&thread, NULL, call_mute, way))
		exit(4);
	while (now_us() < until) {
		one(way, &o);
		usleep(50000);
	}
	fetch(way);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 5 && strcmp(argv[1], "fetch") == 0) {
		set_server(&server, argv[3], argv[4]);
		fetch(argv[2]);
	} else if (argc == 7 && strcmp(argv[1], "beside") == 0) {
		set_server(&server, argv[3], argv[4]);
		set_server(&mute, argv[5], argv[4]);
		beside(argv[2], atoi(argv[6]));
	} else if (argc == 7 && strcmp(argv[1], "many") == 0) {
		set_server(&server, argv[4], argv[5]);
		many((unsigned int)atoi(argv[2]), (unsigned int)atoi(argv[3]),
		     (unsigned int)strtoul(argv[6], NULL, 10));
	} else if (argc == 6 && strcmp(argv[1], "same") == 0) {
		set_server(&server, argv[3], argv[4]);
		same((unsigned int)atoi(argv[2]), (unsigned int)strtoul(argv[5], NULL, 10));
	} else {
		return usage();
	}
	return 0;
}

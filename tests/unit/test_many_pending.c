// SPDX-License-Identifier: MIT
/*
 * What the library does for one of many pending connections: how many of them it looks at, for each whose time
 * is over, each wait, each accept(). The whole library is linked with this program, which is a client to it;
 * the converter is mute, and the clock is the test's.
 */
#include "marks.h"
#include "real.h"
#include "slots.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cmocka.h>

#define FEW	100
#define MANY	5000
#define MS	1000000LL
#define CONVERT 5124
#define PORT	7000

int64_t __wrap_clock_ns(clockid_t id);
struct exchange *__wrap_exchange_at(uint32_t index);
struct exchange *__real_exchange_at(uint32_t index);

static int64_t now = 1000000 * MS;
static unsigned long visits;
static int epfd;
static int server, elsewhere; /* listeners */
static char config[] = "/tmp/test_many_pending.XXXXXX";

int64_t __wrap_clock_ns(clockid_t id)
{
	(void)id;
	return now;
}

struct exchange *__wrap_exchange_at(uint32_t index)
{
	visits++;
	return __real_exchange_at(index);
}

/* Of this process alone: 127.64 and so on for the converter, 127.128 for the server. */
static struct sockaddr_in address(uint32_t net, uint16_t port)
{
	uint32_t host = (uint32_t)getpid() & 0x3fffff;

	return (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_port = htons(port),
				     .sin_addr.s_addr = htonl(0x7f000000 | net << 16 | host) };
}

static int listener(uint32_t net, uint16_t port)
{
	struct sockaddr_in a = address(net, port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	assert_return_code(bind(fd, (struct sockaddr *)&a, sizeof(a)), errno);
	assert_return_code(listen(fd, MANY), errno);
	return fd;
}

/* Before the library looks at the environment. */
__attribute__((constructor(101))) static void configure(void)
{
	struct sockaddr_in converter = address(64, 0);
	FILE *f = fdopen(mkstemp(config), "w");

	if (!f)
		exit(1);
	fprintf(f,
		"[converter mute]\naddress = %s\nport = %d\nfast-open = no-cookie\n[policy]\n"
		"rule = convert to 127.128.0.0/9\nmptcp = off\nbypass = never\nfallback = none\n"
		"timeout = 30s\n[state]\nfile = none\n",
		inet_ntoa(converter.sin_addr), CONVERT);
	fclose(f);
	setenv("CONVERT_CONF", config, 1);
}

static void begin_one(void)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT };
	struct sockaddr_in to = address(128, PORT);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	event.data.fd = fd;
	assert_return_code(fd, errno);
	assert_return_code(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event), errno);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), -1);
	assert_int_equal(errno, EINPROGRESS);
	now += MS;
}

static void begin(int n)
{
	epfd = epoll_create1(0);
	assert_return_code(epfd, errno);
	while (n-- > 0)
		begin_one();
}

/* Waits for n of them to be over, each at a time of its own. */
static void expire(int n)
{
	struct epoll_event events[64];

	for (int64_t until = now + 60000 * MS; n > 0 && now < until; now += MS)
		for (int r; (r = epoll_wait(epfd, events, 64, 0)) > 0; n -= r)
			for (int i = 0; i < r; i++)
				close(events[i].data.fd);
	assert_int_equal(n, 0);
	close(epfd);
	now += 600000 * MS; /* the converter is tried again */
}

static unsigned long of_each_expiry(int n)
{
	visits = 0;
	begin(n);
	expire(n);
	return visits / (unsigned long)n;
}

static unsigned long of_each_wait(int n)
{
	struct epoll_event event;
	unsigned long found;

	begin(n);
	visits = 0;
	for (int i = 0; i < 100; i++)
		assert_int_equal(epoll_wait(epfd, &event, 1, 0), 0);
	found = visits / 100;
	expire(n);
	return found;
}

/* Of the last conversion it is not known yet that it does not go there. */
static unsigned long of_each_accept(int n)
{
	unsigned long found = 0;

	begin(n);
	for (int i = 0; i < 100; i++) {
		begin_one();
		visits = 0;
		assert_int_equal(accept(i % 2 ? server : elsewhere, NULL, NULL), -1);
		assert_int_equal(errno, EAGAIN);
		found += visits;
	}
	expire(n + 100);
	return found / 100;
}

static void compare(const char *what, unsigned long (*of_each)(int))
{
	unsigned long few = of_each(FEW), many = of_each(MANY);

	print_message("%s: %lu numbers looked at with %d pending, %lu with %d\n", what, few, FEW,
		      many, MANY);
	/* two blocks of neighbours more */
	assert_in_range(many, 0, few + few * 3 / 10 + 64);
}

static void test_expiry(void **state)
{
	(void)state;
	compare("expiry", of_each_expiry);
}

static void test_wait(void **state)
{
	(void)state;
	compare("wait", of_each_wait);
}

static void test_accept(void **state)
{
	(void)state;
	compare("accept", of_each_accept);
}

/* What is begun after a fork is this process's alone. */
static void test_wait_forked(void **state)
{
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		_exit(0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	compare("wait, forked", of_each_wait);
}

/* It is seen by the first wait after it, however short, in a set of which the child knows nothing. */
static void test_ended_by_child(void **state)
{
	struct epoll_event event = { .events = EPOLLIN };
	int go[2], fd, status, own = epoll_create1(0);
	int64_t until = now + 60000 * MS;
	pid_t pid;
	char byte;

	(void)state;
	begin(1);
	fd = epfd + 1;
	assert_return_code(pipe(go), errno);
	pid = fork();
	if (pid == 0) {
		if (read(go[0], &byte, 1) != 1)
			_exit(2);
		while (now < until && epoll_wait(epfd, &event, 1, 0) == 0)
			now += MS;
		_exit(now < until ? 0 : 1);
	}
	assert_return_code(epoll_ctl(own, EPOLL_CTL_ADD, fd, &event), errno);
	assert_int_equal(epoll_wait(own, &event, 1, 0), 0);
	assert_int_equal(write(go[1], "", 1), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(epoll_wait(own, &event, 1, 0), 1);
	assert_true(event.events & EPOLLHUP);
}

/* A number that is no socket, so that nothing but its mark is looked at. */
#define NO_SOCKET 100000
static atomic_bool done;

static void *shut_down(void *arg)
{
	(void)arg;
	while (!done)
		shutdown(NO_SOCKET, SHUT_WR);
	return NULL;
}

static void *open_stream(void *arg)
{
	(void)arg;
	while (!done)
		if (fdopen(NO_SOCKET, "r"))
			abort();
	return NULL;
}

/* What connect() has just made of a fresh number stays, whatever another thread has seen before. */
static void stays_up(void *(*call)(void *))
{
	pthread_t thread;
	int lost = 0;

	done = false;
	assert_int_equal(pthread_create(&thread, NULL, call, NULL), 0);
	for (int i = 0; i < 200000; i++) {
		mark_set(NO_SOCKET, MARK_TCP);
		for (volatile int n = i % 100; n > 0; n--)
			;
		if (!mark_change(NO_SOCKET, MARK_TCP, MARK_UP))
			continue; /* the other one was first */
		for (volatile int n = 100; n > 0; n--)
			;
		lost += mark_get(NO_SOCKET) != MARK_UP;
	}
	done = true;
	pthread_join(thread, NULL);
	mark_set(NO_SOCKET, MARK_UNKNOWN);
	assert_int_equal(lost, 0);
}

static void test_shutdown_beside_connect(void **state)
{
	(void)state;
	stays_up(shut_down);
}

static void test_fdopen_beside_connect(void **state)
{
	(void)state;
	stays_up(open_stream);
}

static int set_up(void **state)
{
	struct rlimit files;

	(void)state;
	listener(64, CONVERT);
	server = listener(128, PORT);
	elsewhere = listener(128, PORT + 1);
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	return setrlimit(RLIMIT_NOFILE, &files) < 0 || files.rlim_max < MANY + 200 ? -1 : 0;
}

static int tear_down(void **state)
{
	(void)state;
	return unlink(config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wait),
		cmocka_unit_test(test_accept),
		cmocka_unit_test(test_expiry),
		cmocka_unit_test(test_wait_forked),
		cmocka_unit_test(test_ended_by_child),
		cmocka_unit_test(test_shutdown_beside_connect),
		cmocka_unit_test(test_fdopen_beside_connect),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}

// SPDX-License-Identifier: MIT
/*
 * sets - how far the kernel looks at the sets of select() and the array of poll():
 *
 *     sets NUMBER ADDRESS PORT
 *
 * with a connection to ADDRESS that does not get through, and NUMBER as the highest descriptor. Each
 * set stands before memory that nobody may touch, with one word more for each try until the call does
 * not say EFAULT. Prints what every call returned and left in the sets.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROOM	  (1 << 18) /* bytes before the guard */
#define WORD_BITS (8 * (int)sizeof(unsigned long))

static unsigned char *ends[3]; /* of what may be touched, one for each set */
static int pending, ready, highest;

static void guards(void)
{
	for (int i = 0; i < 3; i++) {
		unsigned char *p = mmap(NULL, ROOM + 65536, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
					-1, 0);

		if (p == MAP_FAILED || mprotect(p, ROOM, PROT_READ | PROT_WRITE) < 0)
			exit(2);
		ends[i] = p + ROOM;
	}
}

static const char *said(int r)
{
	static char text[32];

	if (r < 0)
		return strerrorname_np(errno);
	snprintf(text, sizeof(text), "%d", r);
	return text;
}

/* ------------------------------------------------------------------------------- select */

struct tried {
	int n, words; /* of each set */
	int extra;    /* one more number in the second one, or -1 */
};

static unsigned long *set_of(int which, int words)
{
	return (unsigned long *)(void *)ends[which] - words;
}

static void put(unsigned long *set, int words, int fd)
{
	if (fd >= 0 && fd / WORD_BITS < words)
		set[fd / WORD_BITS] |= 1UL << fd % WORD_BITS;
}

static int try(const struct tried *t)
{
	struct timeval at_once = { 0 };
	unsigned long *set[3];

	for (int i = 0; i < 3; i++) {
		set[i] = set_of(i, t->words);
		memset(set[i], 0, (size_t)t->words * sizeof(**set));
	}
	put(set[0], t->words, pending);
	put(set[1], t->words, pending);
	put(set[1], t->words, ready);
	put(set[1], t->words, t->extra);
	put(set[2], t->words, pending);
	return select(t->n, (fd_set *)(void *)set[0], (fd_set *)(void *)set[1],
		      (fd_set *)(void *)set[2], &at_once);
}

static void show(const struct tried *t, int r)
{
	printf("n %d, %d words, and %d: %s:", t->n, t->words, t->extra, said(r));
	for (int i = 0; i < 3; i++)
		for (int word = 0; word < t->words; word++)
			if (set_of(i, t->words)[word])
				printf(" %d:%d:%lx", i, word, set_of(i, t->words)[word]);
	printf("\n");
}

/* With as little room as the kernel needs, and more. */
static void select_of(int n)
{
	struct tried t = { .n = n, .extra = -1 };
	int extra[6], r;

	while ((r = try(&t)) < 0 && errno == EFAULT && t.words < ROOM / (int)sizeof(long))
		t.words = t.words < 512 ? t.words + 1 : t.words * 2;
	show(&t, r);
	/* open, closed, and what may or may not be beyond */
	extra[0] = highest;
	extra[1] = highest - 1;
	extra[2] = t.words * WORD_BITS - 1;
	extra[3] = n - 1;
	extra[4] = n;
	extra[5] = n + WORD_BITS;
	for (int more = 0; more < 3; more++) {
		for (size_t i = 0; i < sizeof(extra) / sizeof(*extra); i++) {
			t.extra = extra[i];
			show(&t, try(&t));
		}
		t.words = more ? ROOM / (int)sizeof(long) : t.words + 1;
	}
}

static void pselect_of(int n) /* one set for all three, and time that passes */
{
	struct timespec limit = { .tv_nsec = 1000000 };
	unsigned long *set = set_of(0, ROOM / (int)sizeof(long));
	void *volatile same = set;
	int r;

	memset(set, 0, ROOM);
	put(set, ROOM, pending);
	put(set, ROOM, ready);
	r = pselect(n, same, same, same, &limit, NULL);
	printf("pselect %d: %s, pending %d, ready %d\n", n, said(r),
	       set[pending / WORD_BITS] & 1UL << pending % WORD_BITS ? 1 : 0,
	       set[ready / WORD_BITS] & 1UL << ready % WORD_BITS ? 1 : 0);
}

static void no_memory(int n)
{
	struct timeval at_once = { 0 };
	fd_set *gone = (fd_set *)(void *)ends[0];
	unsigned long *set = set_of(1, ROOM / (int)sizeof(long));

	memset(set, 0, ROOM);
	put(set, ROOM, pending);
	printf("select %d: %s\n", n, said(select(n, NULL, (fd_set *)(void *)set, gone, &at_once)));
	put(set, ROOM, pending);
	printf("select %d: %s\n", n,
	       said(select(n, (fd_set *)(void *)set, (fd_set *)(void *)(ends[0] - 3), NULL,
			   &at_once)));
}

/* ------------------------------------------------------------------------ poll and epoll */

static void poll_of(nfds_t n, size_t room)
{
	struct pollfd *fds = (struct pollfd *)(void *)ends[0] - room;
	int r;

	for (size_t i = 0; i < room; i++)
		fds[i] = (struct pollfd){ .fd = i % 2 ? pending : ready, .events = POLLOUT };
	r = poll(fds, n, 0);
	printf("poll %lu of %zu: %s, %d\n", (unsigned long)n, room, said(r), fds[0].revents);
}

static void epoll_of(int max, size_t room)
{
	struct epoll_event *events = (struct epoll_event *)(void *)ends[0] - room;
	struct epoll_event event = { .events = EPOLLOUT };
	int epfd = epoll_create1(0);

	epoll_ctl(epfd, EPOLL_CTL_ADD, pending, &event);
	epoll_ctl(epfd, EPOLL_CTL_ADD, ready, &event);
	printf("epoll_wait %d of %zu: %s\n", max, room, said(epoll_wait(epfd, events, max, 0)));
	printf("EPOLL_CTL_MOD: %s\n",
	       said(epoll_ctl(epfd, EPOLL_CTL_MOD, pending, (void *)ends[0])));
	close(epfd);
}

/* ---------------------------------------------------------------------------------- all */

static void every_call(void)
{
	static const int some[] = { -1,	     0,	      1,       63,	64,	   65,	  127,
				    128,     255,     256,     257,	511,	   1023,  1024,
				    1025,    4096,    19999,   20000,	65535,	   65536, 65537,
				    1048575, 1048576, 1048577, 1 << 21, 0x7fffffff };

	for (size_t i = 0; i < sizeof(some) / sizeof(*some); i++)
		select_of(some[i]);
	pselect_of(highest + 1);
	pselect_of(1 << 20);
	no_memory(highest + 1);
	no_memory(1 << 20);
	poll_of(0, 1);
	poll_of(2, 2);
	poll_of(3, 2);
	poll_of(600, 600);
	poll_of(1200, 600);
	poll_of(1 << 20, 600);
	poll_of(0x7fffffff, 600);
	poll_of((nfds_t)-1, 600);
	epoll_of(1, 0);
	epoll_of(2, 2);
	epoll_of(1 << 20, 2);
	epoll_of(0, 0);
	epoll_of(0x7fffffff, 2);
}

/* By nobody's function. */
static void close_unseen(int fd)
{
#ifdef __x86_64__
	long r;

	__asm__ volatile("syscall" : "=a"(r) : "0"(SYS_close), "D"(fd) : "rcx", "r11", "memory");
#else
	close(fd);
#endif
}

/* A number that was pending, and that a child has no room for. */
static void in_child(void)
{
	int far = fcntl(pending, F_DUPFD, 5000), status;

	if (far < 0)
		exit(2);
	close_unseen(far);
	fflush(stdout);
	if (fork() == 0) {
		select_of(1 << 20);
		fflush(stdout);
		_exit(0);
	}
	wait(&status);
	printf("child: %d\n", status);
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	struct rlimit limit;
	int fds[2];

	if (argc != 4 || pipe(fds) < 0 || getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 2;
	limit.rlim_cur = limit.rlim_max < 20000 ? limit.rlim_max : 20000;
	setrlimit(RLIMIT_NOFILE, &limit);
	ready = fds[1];
	highest = atoi(argv[1]);
	if (highest > ready && dup2(ready, highest) < 0)
		return 2;
	guards();
	to.sin_port = htons((in_port_t)atoi(argv[3]));
	inet_pton(AF_INET, argv[2], &to.sin_addr);
	pending = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (connect(pending, (struct sockaddr *)&to, sizeof(to)) == 0 || errno != EINPROGRESS)
		return 2;
	every_call();
	in_child();
	return 0;
}

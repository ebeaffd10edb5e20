// SPDX-License-Identifier: MIT
/*
 * select and pselect. While none of the descriptors is unsettled they are libc's; otherwise the
 * sets become a poll set, with the kernel's own table of what select means in terms of poll.
 */
#undef _FORTIFY_SOURCE
#include "accept.h"
#include "record.h"
#include "memory.h"
#include "pollset.h"
#include "real.h"
#include "wait.h"

#include <string.h>

#define SETS 3

/* What may be read, written, and is urgent; NULL: not asked. */
struct sets {
	fd_set *each[SETS];
};

/* What each is in terms of poll. */
static const struct meaning {
	short asked, answer;
} meanings[SETS] = {
	{ POLLIN | POLLRDNORM | POLLRDBAND, POLLRDNORM | POLLRDBAND | POLLIN | POLLHUP | POLLERR },
	{ POLLOUT | POLLWRNORM | POLLWRBAND, POLLWRBAND | POLLWRNORM | POLLOUT | POLLERR },
	{ POLLPRI, POLLPRI },
};

#define WORD_BITS (8 * (int)sizeof(unsigned long))

/* Programs make sets larger than FD_SETSIZE by hand; FD_ISSET would refuse those. */
static unsigned long *words_of(fd_set *set)
{
	return (unsigned long *)(void *)set;
}

/* How many words the kernel takes and gives for n numbers. */
static size_t words_for(int n)
{
	return ((size_t)n + WORD_BITS - 1) / WORD_BITS;
}

static unsigned long bit_of(int fd)
{
	return 1UL << fd % WORD_BITS;
}

static bool has(fd_set *set, int fd)
{
	return set && words_of(set)[fd / WORD_BITS] & bit_of(fd);
}

static short asked(const struct sets *sets, int fd)
{
	short events = 0;

	for (int i = 0; i < SETS; i++)
		if (has(sets->each[i], fd))
			events |= meanings[i].asked;
	return events;
}

/* Words of all three, as they will be copied by the kernel, or refused. */
static bool are_readable(const struct sets *sets, size_t first, size_t n)
{
	for (int i = 0; i < SETS; i++)
		if (sets->each[i] && !memory_was_readable(words_of(sets->each[i]) + first,
							  n * sizeof(unsigned long)))
			return false;
	return true;
}

/* Reads no more of the sets than where a number of ours stands, which the kernel reads too. */
static bool needs_us(const struct sets *sets, int n)
{
	for (int fd = 0; fd < n && fd <= conn_highest(); fd++) {
		if (!held_or_unsettled(fd))
			continue;
		if (!are_readable(sets, (size_t)fd / WORD_BITS, 1))
			return false;
		if (asked(sets, fd))
			return true;
	}
	return false;
}

/* ------------------------------------------------- how far the kernel looks at the sets */

/* The kernel does not look at words behind the last that the process has room for in its table of
 * descriptors, whatever n is. Nothing says how large that is, but where it stops reading: at least
 * `least` words, at most `most`. room ends where nothing can be read. */
static size_t ask_reach(int n, unsigned long *room_end, size_t least, size_t most)
{
	while (least < most) {
		size_t some = least + (most - least + 1) / 2;
		struct timespec now = { 0 };

		if (sys_result(syscall(SYS_pselect6, n, room_end - (some - 1), NULL, NULL, &now,
				       NULL)) == -EFAULT)
			least = some;
		else
			most = some - 1;
	}
	return least;
}

#define GUARD 65536 /* the largest page that Linux has */

static int reach(int n)
{
	size_t least = 1, most = words_for(n), size;
	unsigned char *room;

	/* no table is smaller than a word, and none has less room than what is open needs */
	if (most <= least || sys_fcntl(n - 1, F_GETFD, 0) >= 0)
		return n;
	size = (most * sizeof(unsigned long) + GUARD - 1) / GUARD * GUARD;
	room = mmap(NULL, size + GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		    0);
	if (room == MAP_FAILED)
		return n;
	least = mprotect(room, size, PROT_READ | PROT_WRITE) < 0 ?
			most :
			ask_reach(n, (unsigned long *)(void *)(room + size), least, most);
	munmap(room, size + GUARD);
	return least < most ? (int)least * WORD_BITS : n;
}

/* --------------------------------------------------------- from sets to poll, and back */

/* The next number from fd on that is in any of the sets; n: none. */
static int next_asked(const struct sets *sets, int fd, int n)
{
	for (; fd < n; fd = (fd / WORD_BITS + 1) * WORD_BITS) {
		size_t at = (size_t)fd / WORD_BITS;
		unsigned long word = 0;

		for (int i = 0; i < SETS; i++)
			word |= sets->each[i] ? words_of(sets->each[i])[at] : 0;
		word &= ~0UL << fd % WORD_BITS;
		if (word) {
			fd = (int)at * WORD_BITS + __builtin_ctzl(word);
			return fd < n ? fd : n;
		}
	}
	return n;
}

static nfds_t count_asked(const struct sets *sets, int n)
{
	nfds_t count = 0;

	for (int fd = next_asked(sets, 0, n); fd < n; fd = next_asked(sets, fd + 1, n))
		count++;
	return count;
}

/* Does it belong into the answer's set i? */
static bool is_in(const struct pollfd *p, int i)
{
	return p->fd >= 0 && p->events & meanings[i].asked && p->revents & meanings[i].answer;
}

/* POLLHUP and POLLERR end every poll, but not a select that did not ask for what they mean: such
 * descriptors are left out of the next round. */
static bool is_ready(struct pollfd *fds, nfds_t count)
{
	bool ready = false;

	for (nfds_t i = 0; i < count; i++) {
		struct pollfd *p = &fds[i];

		if (p->fd < 0 || !p->revents)
			continue;
		if (p->revents & POLLNVAL || is_in(p, 0) || is_in(p, 1) || is_in(p, 2))
			ready = true;
		else
			p->fd = -1 - p->fd; /* negative numbers are what poll ignores */
	}
	return ready;
}

static int fill_set(fd_set *set, int i, int n, const struct pollfd *fds, nfds_t count)
{
	int ready = 0;

	if (!set)
		return 0;
	memset(set, 0, words_for(n) * sizeof(unsigned long));
	for (const struct pollfd *p = fds; p < fds + count; p++)
		if (is_in(p, i)) {
			words_of(set)[p->fd / WORD_BITS] |= bit_of(p->fd);
			ready++;
		}
	return ready;
}

/* The program's sets become the answer, in the kernel's order: two may be one. */
static int fill_sets(const struct sets *sets, int n, const struct pollfd *fds, nfds_t count)
{
	int ready = 0;

	for (nfds_t i = 0; i < count; i++)
		if (fds[i].fd >= 0 && fds[i].revents & POLLNVAL)
			return -EBADF;
	for (int i = 0; i < SETS; i++)
		ready += fill_set(sets->each[i], i, n, fds, count);
	return ready;
}

static int wait_on(const struct sets *sets, int n, const struct pollset_room *room,
		   int64_t until_ns, const sigset_t *mask)
{
	struct pollfd *fds = room->fds;
	nfds_t i = 0;
	int r;

	for (int fd = next_asked(sets, 0, n); fd < n && i < room->n;
	     fd = next_asked(sets, fd + 1, n))
		fds[i++] = (struct pollfd){ .fd = fd, .events = asked(sets, fd) };
	do {
		r = pollset_wait(fds, i, until_ns, mask);
		if (r < 0)
			return r;
	} while (r > 0 && !is_ready(fds, i));
	return fill_sets(sets, n, fds, i);
}

static int wait_in_room(const struct sets *sets, int n, int64_t until_ns, const sigset_t *mask)
{
	struct pollset_room room;
	struct libc_cleanup cleanup;
	int r;

	if (!pollset_room(&room, count_asked(sets, n)))
		return -ENOMEM;
	libc_cleanup_push(&cleanup, pollset_release, &room);
	r = wait_on(sets, n, &room, until_ns, mask);
	libc_cleanup_pop(&cleanup, 1);
	return r;
}

static int wait_on_sets(const struct sets *sets, int n, int64_t until_ns, const sigset_t *mask)
{
	n = reach(n);
	return are_readable(sets, 0, words_for(n)) ? wait_in_room(sets, n, until_ns, mask) :
						     -EFAULT;
}

SLOW static int pselect_unsettled(int n, fd_set *reads, fd_set *writes, fd_set *excepts,
				  const struct timespec *timeout, const sigset_t *mask)
{
	const struct sets sets = { { reads, writes, excepts } };
	int saved_errno = errno;
	int64_t until_ns;

	if (!needs_us(&sets, n) || !wait_until(timeout, &until_ns))
		return REAL(pselect)(n, reads, writes, excepts, timeout, mask);
	return libc_result(wait_on_sets(&sets, n, until_ns, mask), saved_errno);
}

INTERPOSE int pselect(int n, fd_set *restrict reads, fd_set *restrict writes,
		      fd_set *restrict excepts, const struct timespec *restrict timeout,
		      const sigset_t *restrict mask)
{
	if (mark_any_unsettled())
		return pselect_unsettled(n, reads, writes, excepts, timeout, mask);
	return real.pselect(n, reads, writes, excepts, timeout, mask);
}

/* Linux writes the time that is left into the program's limit (select(2)), to which musl gives a copy. */
static void put_left(int64_t until_ns, struct timeval *timeout)
{
	struct timespec left = { 0 };

	if (!timeout || libc_is_musl() || !wait_left(until_ns, &left))
		return;
	timeout->tv_sec = left.tv_sec;
	timeout->tv_usec = left.tv_nsec / 1000;
}

/* As libc reads it: a million microseconds and more are taken, and what overflows is for ever. False:
 * it is refused. */
static bool end_of(const struct timeval *timeout, int64_t *until_ns)
{
	int64_t seconds;

	*until_ns = WAIT_FOREVER;
	if (!timeout)
		return true;
	if (timeout->tv_sec < 0 || timeout->tv_usec < 0)
		return false;
	if (!__builtin_add_overflow(timeout->tv_sec, timeout->tv_usec / 1000000, &seconds))
		*until_ns = wait_end(seconds, timeout->tv_usec % 1000000 * 1000);
	return true;
}

SLOW static int select_unsettled(int n, fd_set *reads, fd_set *writes, fd_set *excepts,
				 struct timeval *timeout)
{
	const struct sets sets = { { reads, writes, excepts } };
	int saved_errno = errno, r;
	int64_t until_ns;

	if ((timeout && memory_is_absurd(timeout)) || !needs_us(&sets, n) ||
	    !end_of(timeout, &until_ns))
		return REAL(select)(n, reads, writes, excepts, timeout);
	r = wait_on_sets(&sets, n, until_ns, NULL);
	put_left(until_ns, timeout);
	return libc_result(r, saved_errno);
}

INTERPOSE int select(int n, fd_set *restrict reads, fd_set *restrict writes,
		     fd_set *restrict excepts, struct timeval *restrict timeout)
{
	if (mark_any_unsettled())
		return select_unsettled(n, reads, writes, excepts, timeout);
	return real.select(n, reads, writes, excepts, timeout);
}

#if !NARROW /* libc's public alias */
ALSO("__select", select, "select");
#endif

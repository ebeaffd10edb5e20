// SPDX-License-Identifier: MIT
/*
 * select and pselect. While none of the descriptors is unsettled they are libc's; otherwise the
 * sets become a poll set, with the kernel's own table of what select means in terms of poll.
 */
#undef _FORTIFY_SOURCE
#include "conn.h"
#include "memory.h"
#include "pollset.h"
#include "real.h"
#include "wait.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/time.h>

#define SELECT_READ   (POLLRDNORM | POLLRDBAND | POLLIN | POLLHUP | POLLERR)
#define SELECT_WRITE  (POLLWRBAND | POLLWRNORM | POLLOUT | POLLERR)
#define SELECT_EXCEPT POLLPRI

struct sets {
	fd_set *read, *write, *except;
};

/* Programs make sets larger than FD_SETSIZE by hand; FD_ISSET would refuse those. */
static unsigned long *word_of(fd_set *set, int fd)
{
	return (unsigned long *)(void *)set + fd / (8 * (int)sizeof(unsigned long));
}

static unsigned long bit_of(int fd)
{
	return 1UL << fd % (8 * (int)sizeof(unsigned long));
}

static bool has(fd_set *set, int fd)
{
	return set && fd >= 0 && (*word_of(set, fd) & bit_of(fd));
}

static short asked(const struct sets *sets, int fd)
{
	short events = 0;

	if (has(sets->read, fd))
		events |= POLLIN | POLLRDNORM | POLLRDBAND;
	if (has(sets->write, fd))
		events |= POLLOUT | POLLWRNORM | POLLWRBAND;
	if (has(sets->except, fd))
		events |= POLLPRI;
	return events;
}

static bool is_asked(const struct sets *sets, int fd)
{
	return has(sets->read, fd) || has(sets->write, fd) || has(sets->except, fd);
}

static bool is_absurd(const void *p)
{
	return p && memory_is_absurd(p);
}

static bool needs_us(const struct sets *sets, int n)
{
	if (is_absurd(sets->read) || is_absurd(sets->write) || is_absurd(sets->except))
		return false;
	for (int fd = 0; fd < n; fd++)
		if (fdt_is_unsettled(fdt_get(fd)) && is_asked(sets, fd))
			return true;
	return false;
}

static nfds_t count_asked(const struct sets *sets, int n)
{
	nfds_t count = 0;

	for (int fd = 0; fd < n; fd++)
		count += is_asked(sets, fd);
	return count;
}

struct answer {
	bool read, write, except;
};

static struct answer answer_for(const struct sets *sets, int fd, short events)
{
	return (struct answer){
		.read = has(sets->read, fd) && events & SELECT_READ,
		.write = has(sets->write, fd) && events & SELECT_WRITE,
		.except = has(sets->except, fd) && events & SELECT_EXCEPT,
	};
}

/* POLLHUP and POLLERR end every poll, but not a select that did not ask for what they mean: such
 * descriptors are left out of the next round. Negative numbers are what poll ignores. */
static int left_out(int fd)
{
	return -1 - fd;
}

/* select() says EBADF of a number that is closed, but does not even look at those behind the last
 * that the process has room for. Only the kernel knows which. */
static bool is_beyond(int fd)
{
	size_t size = (size_t)fd / 8 + sizeof(unsigned long);
	struct timespec now = { 0 };
	fd_set *set = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	long r;

	if (set == MAP_FAILED)
		return false;
	*word_of(set, fd) |= bit_of(fd);
	r = sys_result(syscall(SYS_pselect6, fd + 1, set, NULL, NULL, &now, NULL));
	munmap(set, size);
	return r == 0;
}

static bool is_ready(const struct sets *sets, struct pollfd *fds, nfds_t count)
{
	bool ready = false;

	for (nfds_t i = 0; i < count; i++) {
		struct answer a = answer_for(sets, fds[i].fd, fds[i].revents);

		if (fds[i].fd < 0 || !fds[i].revents)
			continue;
		if (fds[i].revents & POLLNVAL ? !is_beyond(fds[i].fd) :
						a.read || a.write || a.except)
			ready = true;
		else
			fds[i].fd = left_out(fds[i].fd);
	}
	return ready;
}

static int keep(fd_set *set, int fd, bool ready)
{
	if (!ready && set)
		*word_of(set, fd) &= ~bit_of(fd);
	return ready;
}

/* The program's sets become the answer. */
static int fill_sets(const struct sets *sets, const struct pollfd *fds, nfds_t count)
{
	int ready = 0;

	for (nfds_t i = 0; i < count; i++)
		if (fds[i].fd >= 0 && fds[i].revents & POLLNVAL)
			return -EBADF;
	for (nfds_t i = 0; i < count; i++) {
		int fd = fds[i].fd < 0 ? left_out(fds[i].fd) : fds[i].fd;
		struct answer a = answer_for(sets, fd, fds[i].fd < 0 ? 0 : fds[i].revents);

		ready += keep(sets->read, fd, a.read);
		ready += keep(sets->write, fd, a.write);
		ready += keep(sets->except, fd, a.except);
	}
	return ready;
}

static int wait_on(const struct sets *sets, int n, const struct pollset_room *room,
		   int64_t until_ns, const sigset_t *mask)
{
	struct pollfd *fds = room->fds;
	nfds_t i = 0;
	int r;

	for (int fd = 0; fd < n && i < room->n; fd++)
		if (is_asked(sets, fd))
			fds[i++] = (struct pollfd){ .fd = fd, .events = asked(sets, fd) };
	do {
		r = pollset_wait(fds, i, until_ns, mask);
		if (r < 0)
			return r;
	} while (r > 0 && !is_ready(sets, fds, i));
	return fill_sets(sets, fds, i);
}

static int wait_on_sets(const struct sets *sets, int n, int64_t until_ns, const sigset_t *mask)
{
	struct pollset_room room;
	int r;

	if (!pollset_room(&room, count_asked(sets, n)))
		return -ENOMEM;
	pthread_cleanup_push(pollset_release, &room);
	r = wait_on(sets, n, &room, until_ns, mask);
	pthread_cleanup_pop(1);
	return r;
}

SLOW static int pselect_unsettled(const struct sets *sets, int n, const struct timespec *timeout,
				  const sigset_t *mask)
{
	int saved_errno = errno;
	int64_t until_ns;

	if (!needs_us(sets, n) || !wait_until(timeout, &until_ns))
		return REAL(pselect)(n, sets->read, sets->write, sets->except, timeout, mask);
	return libc_result(wait_on_sets(sets, n, until_ns, mask), saved_errno);
}

INTERPOSE int pselect(int n, fd_set *restrict reads, fd_set *restrict writes,
		      fd_set *restrict excepts, const struct timespec *restrict timeout,
		      const sigset_t *restrict mask)
{
	if (fdt_any_unsettled())
		return pselect_unsettled(&(struct sets){ reads, writes, excepts }, n, timeout,
					 mask);
	return real.pselect(n, reads, writes, excepts, timeout, mask);
}

/* Linux writes the time that is left into the program's limit (select(2)). */
static void put_left(int64_t until_ns, struct timeval *timeout)
{
	struct timespec left = { 0 };

	if (!timeout || !wait_left(until_ns, &left))
		return;
	timeout->tv_sec = left.tv_sec;
	timeout->tv_usec = left.tv_nsec / 1000;
}

SLOW static int select_unsettled(const struct sets *sets, int n, struct timeval *timeout)
{
	struct timespec limit = { 0 };
	int saved_errno = errno, r;
	int64_t until_ns = 0;
	bool ok = !is_absurd(timeout) && needs_us(sets, n);

	if (ok && timeout) { /* the kernel takes more than a million microseconds */
		limit.tv_sec = timeout->tv_sec + timeout->tv_usec / 1000000;
		limit.tv_nsec = timeout->tv_usec % 1000000 * 1000;
	}
	if (!ok || !wait_until(timeout ? &limit : NULL, &until_ns))
		return REAL(select)(n, sets->read, sets->write, sets->except, timeout);
	r = wait_on_sets(sets, n, until_ns, NULL);
	put_left(until_ns, timeout);
	return libc_result(r, saved_errno);
}

INTERPOSE int select(int n, fd_set *restrict reads, fd_set *restrict writes,
		     fd_set *restrict excepts, struct timeval *restrict timeout)
{
	if (fdt_any_unsettled())
		return select_unsettled(&(struct sets){ reads, writes, excepts }, n, timeout);
	return real.select(n, reads, writes, excepts, timeout);
}

/* libc's public alias. */
int __select(int n, fd_set *restrict reads, fd_set *restrict writes, fd_set *restrict excepts,
	     struct timeval *restrict timeout);
INTERPOSE int __select(int n, fd_set *restrict reads, fd_set *restrict writes,
		       fd_set *restrict excepts, struct timeval *restrict timeout)
{
	return select(n, reads, writes, excepts, timeout);
}

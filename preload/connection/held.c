// SPDX-License-Identifier: MIT
#include "accept.h"

#include "advance.h"
#include "epsets.h"
#include "notes.h"
#include "sock.h"

#define HELD_MOST 64

static struct held {
	_Atomic int fd; /* plus one; 0: free, -1: being filled in, or emptied */
	_Atomic int listener;
	/* the program may have closed a number that it has not been told of, or the listener unseen */
	_Atomic uint64_t cookie, listener_cookie;
	_Atomic bool told;	  /* to who asks for edges, once */
	struct epset_guest guest; /* of the listener's sets */
} all[HELD_MOST];
_Atomic int held_number;

/* They count as unsettled, so that waits come by here (marks.h). */
static void count(int change)
{
	atomic_fetch_add(&held_number, change);
	atomic_fetch_add(&mark_unsettled, change);
}

/* The number of it, which is nobody else's then. -1: it has been taken, or is not there any more, or is our
 * parent's, as this is a vfork child that closes what it has inherited. */
static int take(struct held *h)
{
	int fd = atomic_load(&h->fd);
	uint64_t cookie = atomic_load(&h->cookie);
	bool is_there;

	if (fd <= 0 || !conn_is_owner() || !atomic_compare_exchange_strong(&h->fd, &fd, -1))
		return -1;
	count(-1);
	fd--;
	is_there = sock_cookie(fd) == cookie;
	epset_guest_leave(&h->guest, is_there);
	atomic_store(&h->fd, 0);
	return is_there ? fd : -1;
}

static void drop(struct held *h)
{
	int fd = take(h);

	if (fd < 0)
		return;
	conn_forget(fd);
	syscall(SYS_close, fd);
}

/* One whose listener was closed unseen is nobody's, whoever has the number now. */
static bool is_of(struct held *h, int listener)
{
	if (atomic_load(&h->fd) <= 0 || atomic_load(&h->listener) != listener)
		return false;
	if (sock_cookie(listener) == atomic_load(&h->listener_cookie))
		return true;
	drop(h);
	return false;
}

static bool try_put(int listener, int fd)
{
	for (struct held *h = all; h < all + HELD_MOST; h++) {
		int free = 0;

		if (!atomic_compare_exchange_strong(&h->fd, &free, -1))
			continue;
		atomic_store(&h->listener, listener);
		atomic_store(&h->listener_cookie, sock_cookie(listener));
		atomic_store(&h->told, false);
		atomic_store(&h->cookie, sock_cookie(fd));
		sys_fcntl(fd, F_SETFD, FD_CLOEXEC);
		conn_raise_highest(listener);
		count(1);
		atomic_store(&h->guest.fd, fd + 1);
		atomic_store(&h->fd, fd + 1);
		epset_guest_enter(&h->guest, listener);
		return true;
	}
	return false;
}

/* Of one that was made unseen, as a service manager makes it, nobody has followed the registrations yet; what is
 * believed of its number is of an earlier socket. Where /proc cannot be looked at, the next time it may. */
static void follow(int listener)
{
	enum mark mark = mark_get(listener);

	/* of several threads one does it */
	if (mark != MARK_UNKNOWN && !conn_begin_number(listener, MARK_UNKNOWN))
		return;
	if (!mark_change(listener, MARK_UNKNOWN, MARK_TCP_COPIED))
		return;
	note_end(listener);
	epset_follow_again(listener);
	if (epset_is_lost(listener))
		conn_begin_number(listener, MARK_UNKNOWN);
	else
		held_registered(listener); /* what another thread has held meanwhile */
}

/* Who waits for it must come by here. */
static bool is_followed(int listener)
{
	if (listener >= MARK_MAX)
		return false;
	conn_await_opening(listener); /* by another listen() */
	if (!mark_is_fresh(mark_get(listener)))
		follow(listener);
	return mark_is_fresh(mark_get(listener)) && !epset_is_lost(listener);
}

bool held_put(int listener, int fd)
{
	if (!is_followed(listener))
		return false;
	if (try_put(listener, fd))
		return true;
	for (struct held *h = all; h < all + HELD_MOST; h++)
		is_of(h, atomic_load(&h->listener));
	return try_put(listener, fd);
}

static bool is_ready(const struct held *h)
{
	int fd = atomic_load(&h->fd) - 1;
	struct conn *c = mark_get(fd) == MARK_PENDING ? conn_find(fd) : NULL;

	return !c || conn_advance(fd, c) != MARK_PENDING;
}

struct held *held_of(int listener)
{
	for (struct held *h = all; h < all + HELD_MOST; h++)
		if (is_of(h, listener))
			return h;
	return NULL;
}

/* Those that have failed nobody has ever seen. */
struct held *held_ready(int listener)
{
	for (struct held *h = all; h < all + HELD_MOST; h++) {
		int fd = atomic_load(&h->fd) - 1;

		if (!is_of(h, listener) || !is_ready(h))
			continue;
		if (!mark_has_failed(mark_get(fd)))
			return h;
		drop(h);
	}
	return NULL;
}

bool held_is(int fd)
{
	for (const struct held *h = all; h < all + HELD_MOST; h++)
		if (atomic_load(&h->fd) == fd + 1)
			return true;
	return false;
}

int held_take(int listener, bool waits, int flags)
{
	struct held *h;
	int fd = -1;

	while (fd < 0 && ((h = held_ready(listener)) || (waits && (h = held_of(listener)))))
		fd = take(h);
	if (fd >= 0) { /* until now it had those of the call that has held it */
		sys_fcntl(fd, F_SETFL, flags & SOCK_NONBLOCK ? O_NONBLOCK : 0);
		sys_fcntl(fd, F_SETFD, flags & SOCK_CLOEXEC ? FD_CLOEXEC : 0);
	}
	return fd;
}

static bool is_among(const struct epoll_event *events, int n, uint64_t data)
{
	for (int i = 0; i < n; i++)
		if (events[i].data.u64 == data && events[i].events & EPOLLIN)
			return true;
	return false;
}

int held_events(int epfd, struct epoll_event *events, int n, int most)
{
	for (struct held *h = all; h < all + HELD_MOST && n < most; h++) {
		int listener = atomic_load(&h->listener);
		struct epoll_event wanted;
		struct held *first;

		if (!is_of(h, listener) || !epset_asked(epfd, listener, &wanted) ||
		    !(wanted.events & EPOLLIN) || is_among(events, n, wanted.data.u64) ||
		    !(first = held_ready(listener)) ||
		    (atomic_exchange(&first->told, true) && wanted.events & EPOLLET) ||
		    !epset_fire(epfd, listener))
			continue;
		events[n].data = wanted.data;
		events[n++].events = EPOLLIN;
	}
	return n;
}

void held_drop(int first, int last)
{
	for (struct held *h = all; h < all + HELD_MOST; h++) {
		int listener = atomic_load(&h->listener);

		if (listener >= first && listener <= last)
			drop(h);
	}
}

void held_registered(int listener)
{
	for (struct held *h = all; h < all + HELD_MOST; h++)
		if (is_of(h, listener))
			epset_guest_enter(&h->guest, listener);
}

void held_in_child(void)
{
	for (struct held *h = all; h < all + HELD_MOST; h++) {
		int fd = take(h);

		if (fd < 0)
			continue;
		mark_set(fd, MARK_UNKNOWN);
		syscall(SYS_close, fd);
	}
}

// SPDX-License-Identifier: MIT
/*
 * A pending connection is watched for what its exchange needs, and shown to the program only
 * when the exchange is over.
 */
#include "pollset.h"

#include "advance.h"
#include "accept.h"
#include "memory.h"
#include "record.h"
#include "real.h"
#include "wait.h"

#define READABLE (POLLIN | POLLRDNORM)

struct wait_set {
	struct pollfd *asked;  /* the program's, of which finish() writes the answer */
	struct pollfd *native; /* ours: what is waited for, and what came of it */
	bool *is_ours;	       /* this one is watched for its exchange, not for the program */
	nfds_t n;
	nfds_t n_pending;  /* how many are watched for us */
	nfds_t n_deferred; /* how many would be, but for their first write */
	int64_t due_ns;	   /* the nearest of theirs, at which one has to be looked after */
};

/* Fills the native set from the program's; counts what is pending. verify: compare cookies
 * first (a system call for each pending one), as the first look at a number must. */
static void fill(struct wait_set *set, bool verify)
{
	set->n_pending = set->n_deferred = 0;
	set->due_ns = WAIT_FOREVER;
	for (nfds_t i = 0; i < set->n; i++) {
		struct pollfd *p = &set->native[i];
		struct exchange *u;
		struct conn *c;

		*p = set->asked[i];
		p->revents = 0;
		set->is_ours[i] = false;
		if (held_any() && held_of(p->fd)) {
			int64_t look_ns = now_ns() + HELD_LOOK_NS;

			set->n_pending++;
			set->due_ns = look_ns < set->due_ns ? look_ns : set->due_ns;
		}
		if (mark_get(p->fd) != MARK_PENDING)
			continue;
		c = verify ? conn_find(p->fd) : conn_peek(p->fd);
		u = conn_exchange(c);
		if (!u || !exchange_is_pending(u)) {
			if (c)
				conn_advance(p->fd, c);
			continue;
		}
		if (exchange_is_deferred(u)) {
			set->n_deferred++;
			continue;
		}
		p->events = exchange_wants(u);
		set->is_ours[i] = true;
		set->n_pending++;
		if (exchange_due_ns(u) < set->due_ns)
			set->due_ns = exchange_due_ns(u);
	}
}

/* Shown as the kernel had it, as nothing was sent; but then another thread has sent it. */
static bool has_begun(struct pollfd *p)
{
	const struct exchange *u = p->revents ? conn_exchange(conn_pending(p->fd)) : NULL;

	if (!u || exchange_is_deferred(u))
		return false;
	p->revents = 0;
	return true;
}

/* After a native wait: serves the pending ones and takes them out of the result. Returns how
 * many of them are over now. */
static int serve(struct wait_set *set)
{
	int64_t now = now_ns();
	int over = 0;

	for (nfds_t i = 0; i < set->n; i++) {
		struct pollfd *p = &set->native[i];
		enum mark mark = MARK_PENDING;
		short events = p->revents;
		bool due = events || now >= set->due_ns;
		struct exchange *u;
		struct conn *c;

		if (!set->is_ours[i]) {
			over += set->n_deferred && has_begun(p);
			if (held_any() && p->events & READABLE && held_ready(p->fd))
				p->revents |= p->events & READABLE;
			continue;
		}
		p->revents = 0;
		/* with threads, the number may have been closed and made anew meanwhile */
		c = due && conn_is_shared() ? conn_find(p->fd) : conn_peek(p->fd);
		u = conn_exchange(c);
		if (!u || mark_get(p->fd) != MARK_PENDING) {
			over++;
			continue;
		}
		if (due || !exchange_is_pending(u))
			mark = conn_advance_after(p->fd, c, events & POLLERR);
		over += mark != MARK_PENDING;
	}
	return over;
}

/* A failed conversion shows what a refused connect shows. The kernel's own error, which POLLERR
 * would come from, may have been used up by reading it. */
static int finish(struct wait_set *set)
{
	int ready = 0;

	for (nfds_t i = 0; i < set->n; i++) {
		struct pollfd *p = &set->asked[i];
		short events = set->native[i].revents;
		bool failed = events && mark_get(p->fd) == MARK_FAILED;
		struct conn *c = failed ? conn_find(p->fd) : NULL;

		if (c && atomic_load(conn_untold(c)))
			events |= POLLERR | POLLHUP;
		p->revents = events;
		ready += events != 0;
	}
	return ready;
}

static int count_ready(const struct wait_set *set)
{
	int ready = 0;

	for (nfds_t i = 0; i < set->n; i++)
		ready += set->native[i].revents != 0;
	return ready;
}

/* Somebody else's functions need not agree: libfaketime's ppoll() counts less than a second as it is,
 * its poll() and select() do not. */
static int wait_natively(const struct wait_set *set, int64_t until_ns, const sigset_t *mask)
{
	struct timespec left;

	if (!mask && !real_waits_are_libcs)
		return REAL(poll)(set->native, set->n, wait_left_ms(until_ns));
	return REAL(ppoll)(set->native, set->n, wait_left(until_ns, &left), mask);
}

static int wait_in(struct wait_set *set, int64_t until_ns, const sigset_t *mask)
{
	bool look = false; /* only, as somebody else's are ready already */
	int64_t slice_ns = 0;
	int r;

	fill(set, true);
	for (;;) {
		int64_t until = look		       ? 0 :
				!set->n_pending	       ? until_ns :
				set->due_ns < until_ns ? set->due_ns :
							 until_ns;

		if (set->n_pending && until && (conn_is_shared() || exchange_is_interrupted()))
			until = wait_slice(until, &slice_ns);
		if (set->n_pending && until)
			until = wait_part(until);
		r = wait_natively(set, until, mask);
		if (r < 0)
			return -errno;
		if (r == 0 && look && now_ns() < until_ns) {
			look = false; /* not any more: our word in an epoll set, or taken by another process */
			continue;
		}
		if (!set->n_pending && !set->n_deferred)
			return finish(set);
		look = false;
		if (r == 0)
			wait_count(&until_ns, until);
		if (serve(set) == 0) { /* nothing of ours has changed for the program */
			if (count_ready(set) || now_ns() >= until_ns)
				return finish(set);
			if (exchange_is_interrupted())
				return -EINTR; /* only the interrupted frame can go on */
		} else { /* ask again for what the program wants of those that are over */
			look = count_ready(set) || now_ns() >= until_ns;
		}
		fill(set, false);
	}
}

struct pollfd *pollset_room(struct pollset_room *room, nfds_t n)
{
	room->n = n;
	room->fds = n <= POLLSET_ON_STACK ? room->on_stack :
					    memory_map(n * sizeof(*room->fds), MAP_PRIVATE);
	return room->fds;
}

void pollset_release(void *set_room)
{
	const struct pollset_room *room = set_room;

	if (room->fds != room->on_stack)
		munmap(room->fds, room->n * sizeof(*room->fds));
}

int pollset_wait(struct pollfd *fds, nfds_t n, int64_t until_ns, const sigset_t *mask)
{
	struct pollset_room room;
	/* the flags stand behind the descriptors, eight to the room of one */
	nfds_t whole = n + (n + sizeof(*fds) - 1) / sizeof(*fds);
	struct wait_set set = { .asked = fds, .native = pollset_room(&room, whole), .n = n };
	struct libc_cleanup cleanup;
	int r;

	if (!set.native)
		return -ENOMEM;
	set.is_ours = (bool *)(set.native + n);
	conn_sweep(0);
	libc_cleanup_push(&cleanup, pollset_release, &room);
	r = wait_in(&set, until_ns, mask);
	libc_cleanup_pop(&cleanup, 1);
	return r;
}

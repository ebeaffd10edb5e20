// SPDX-License-Identifier: MIT
#include "epsets_int.h"

#include "fdinfo.h"

#include <linux/kcmp.h>

_Atomic bool epset_swapped;

/* ------------------------------------------------------------------ our words */

/* 44 bits that no program's data word has but by accident, and the index. */
#define INDEX ((uint64_t)(1 << EPSET_BITS) - 1)

static uint64_t word_base(void)
{
	static _Atomic uint64_t base;
	uint64_t b = atomic_load_explicit(&base, memory_order_relaxed), none = 0;

	if (b)
		return b;
	b = ((uint64_t)now_ns() ^ (uint64_t)(uintptr_t)&base) * 0x9e3779b97f4a7c15ULL;
	b = (b ^ b >> 29) | 1ULL << 63;
	b &= ~INDEX;
	return atomic_compare_exchange_strong(&base, &none, b) ? b : none;
}

static int native_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	return (int)sys_result(syscall(SYS_epoll_ctl, epfd, op, fd, event));
}

/* ---------------------------------------------------------- exchange and put back */

static struct epoll_event ours(const struct reg *r, uint32_t wants)
{
	return (struct epoll_event){
		.events = wants | (r->wanted.events & EPOLLWAKEUP),
		.data.u64 = word_base() | r->index,
	};
}

/* An EPOLLEXCLUSIVE registration cannot be modified, only made anew (TRAPS 2.12). */
static int change(struct reg *r, struct epoll_event *event)
{
	int err;

	if (r->lifted) {
		r->lifted = false;
		return native_ctl(r->epfd, EPOLL_CTL_ADD, r->fd, event);
	}
	if (!(r->wanted.events & EPOLLEXCLUSIVE)) {
		err = native_ctl(r->epfd, EPOLL_CTL_MOD, r->fd, event);
		if (err == 0 || err == -ENOENT || err == -EBADF)
			return err;
	}
	native_ctl(r->epfd, EPOLL_CTL_DEL, r->fd, event);
	return native_ctl(r->epfd, EPOLL_CTL_ADD, r->fd, event);
}

/* The kernel is to have our mask and word from now on. */
static struct epoll_event take(struct reg *r, struct exchange *u)
{
	uint32_t wants = (uint32_t)exchange_wants(u), n;

	if (!r->native) {
		n = atomic_fetch_add(&u->n_swapped, 1);
		r->bit = n < 32 ? (uint32_t)1 << n : 0;
	}
	r->exchange = u;
	r->native = wants;
	atomic_store(&epset_swapped, true);
	return ours(r, wants);
}

int epset_add_swapped(int epfd, int fd, const struct epoll_event *event, struct exchange *u)
{
	struct epoll_event native;
	struct reg *r;
	bool known;
	int err;

	if (!epset_lock())
		return -ENOSPC;
	r = epset_find(epfd, fd);
	known = r != NULL;
	if (!r)
		r = epset_enter(epfd, fd, event);
	if (!r) {
		epset_unlock();
		return -ENOSPC;
	}
	native = take(r, u);
	err = native_ctl(epfd, EPOLL_CTL_ADD, fd, &native);
	if (err == 0)
		r->wanted = *event; /* a known one had gone unseen */
	else if (!known)
		epset_drop(r);
	epset_unlock();
	return err;
}

/* The set was duplicated: what was known of fd under its other numbers is this. */
static void drop_copies(const struct reg *r)
{
	long self = syscall(SYS_getpid);
	uint32_t next;

	for (uint32_t i = epset_first(r->fd); i; i = next) {
		next = epset_at(i)->next;
		/* 1, 2: another set; not allowed to ask, or closed: nothing is lost with it */
		if (epset_at(i) != r && sys_result(syscall(SYS_kcmp, self, self, KCMP_FILE,
							   epset_at(i)->epfd, r->epfd)) <= 0)
			epset_drop(epset_at(i));
	}
}

int epset_change(int epfd, int fd, const struct epoll_event *event, struct exchange *u)
{
	struct epoll_event native;
	struct reg *r;
	bool known;
	int err;

	if (!epset_lock())
		return 1;
	r = epset_find(epfd, fd);
	known = r != NULL;
	if (r && r->wanted.events & EPOLLEXCLUSIVE) { /* as we have entered it, it is not */
		epset_unlock();
		return -EINVAL;
	}
	if (!r)
		r = epset_enter(epfd, fd, event);
	if (!r) {
		epset_unlock();
		return -ENOSPC;
	}
	r->wanted = *event;
	r->oneshot = ARMED;
	native = take(r, u);
	err = change(r, &native);
	if (err < 0) /* the set was closed, or fd taken out, unseen */
		epset_drop(r);
	else if (!known)
		drop_copies(r);
	epset_unlock();
	return err;
}

/* An event of r has come from the set epfd. The set may have been duplicated, and the number that r
 * was entered by be something else by now. (Or r is not what it was for: of another process.) */
static void follow_set(struct reg *r, int epfd)
{
	struct epoll_event native = ours(r, r->native);

	if (r->epfd != epfd && !epset_find(epfd, r->fd) &&
	    native_ctl(epfd, EPOLL_CTL_MOD, r->fd, &native) == 0)
		r->epfd = epfd;
}

bool epset_is_ours(const struct epoll_event *event, int epfd, int *fd)
{
	uint64_t word = event->data.u64;
	struct reg *r;

	if ((word & ~INDEX) != word_base())
		return false;
	*fd = -1;
	if (epset_lock()) {
		r = epset_at((uint32_t)(word & INDEX));
		if (r && r->used && r->native) {
			*fd = r->fd;
			follow_set(r, epfd);
		}
		epset_unlock();
	}
	return true;
}

/* A one-shot registration that has fired cannot be put back as it was: the kernel always adds
 * EPOLLERR and EPOLLHUP. But it needs no exchange, being silent. */
static bool is_silent(struct reg *r)
{
	if (r->native || !(r->wanted.events & EPOLLONESHOT))
		return false;
	if (r->oneshot == ASK)
		r->oneshot = fdinfo_is_armed(r->epfd, r->fd) ? ARMED : FIRED;
	return r->oneshot == FIRED;
}

static void exchange(struct reg *r, struct exchange *u)
{
	struct epoll_event native;

	if (r->native == (uint32_t)exchange_wants(u) || is_silent(r))
		return;
	native = take(r, u);
	if (change(r, &native) < 0) /* the set was closed, or fd taken out, unseen */
		epset_drop(r);
}

void epset_swap(int fd, struct exchange *u)
{
	uint32_t next;

	if (!epset_heads[fd] || exchange_is_deferred(u) || !epset_lock())
		return;
	/* whoever ends the exchange puts back after that: only while it is pending may we */
	for (uint32_t i = epset_first(fd); i && exchange_is_pending(u); i = next) {
		next = epset_at(i)->next;
		exchange(epset_at(i), u);
	}
	epset_unlock();
}

/* Of the processes that share the set one does it: the first. But a forked child may know of a set
 * that it does not have, as other threads go on while its descriptors and then its memory are copied:
 * it does not claim what it has not done. */
static bool put_back(struct reg *r, struct exchange *u)
{
	uint32_t bit = u ? r->bit : 0;
	bool ok;

	r->native = 0;
	r->oneshot = ASK;
	if (r->process == epset_process)
		return (bit && atomic_fetch_or(&u->put_back, bit) & bit) ||
		       change(r, &r->wanted) == 0;
	if (bit && atomic_load(&u->put_back) & bit)
		return true;
	ok = change(r, &r->wanted) == 0;
	if (ok && bit)
		atomic_fetch_or(&u->put_back, bit);
	return ok;
}

void epset_catch_up(void)
{
	for (uint32_t i = 1; i < epset_touched; i++) {
		struct reg *r = epset_at(i);

		if (!r->used || !r->native)
			continue;
		if (mark_get(r->fd) == MARK_PENDING && exchange_is_pending(r->exchange))
			exchange(r, r->exchange);
		else if (!put_back(r, r->exchange) || mark_get(r->fd) == MARK_UP)
			epset_drop(r);
	}
}

void epset_put_back(int fd, struct exchange *u, bool forget)
{
	uint32_t next;

	if (!epset_heads[fd] || !epset_lock())
		return;
	for (uint32_t i = epset_first(fd); i; i = next) {
		struct reg *r = epset_at(i);

		next = r->next;
		if (u && r->exchange != u) /* of a socket that has the number now */
			continue;
		if ((r->native && !put_back(r, u)) || forget)
			epset_drop(r);
	}
	epset_unlock();
}

static void settle(int fd)
{
	uint32_t next;

	for (uint32_t i = epset_first(fd); i; i = next) {
		next = epset_at(i)->next;
		if (epset_at(i)->lifted && !epset_at(i)->native &&
		    change(epset_at(i), &epset_at(i)->wanted) < 0)
			epset_drop(epset_at(i));
	}
}

void epset_settle(int fd)
{
	if (!epset_heads[fd] || !epset_lock())
		return;
	settle(fd);
	epset_unlock();
}

/* A one-shot registration that has fired could not be entered again as it was; one of a set that was
 * closed under this number, or that a parent process entered, cannot be taken out. */
static bool lift(struct reg *r, bool exchanged)
{
	if ((r->native && !exchanged) || r->process != epset_process || is_silent(r) ||
	    native_ctl(r->epfd, EPOLL_CTL_DEL, r->fd, &r->wanted) < 0)
		return false;
	r->lifted = true;
	return true;
}

static bool lift_all(int fd, bool exchanged)
{
	bool ok = true;

	if (!epset_heads[fd])
		return true;
	if (!epset_lock())
		return false;
	for (uint32_t i = epset_first(fd); i && ok; i = epset_at(i)->next)
		ok = lift(epset_at(i), exchanged);
	if (!ok)
		settle(fd);
	epset_unlock();
	return ok;
}

bool epset_lift(int fd)
{
	return lift_all(fd, false);
}

bool epset_lift_swapped(int fd)
{
	return lift_all(fd, true);
}

void epset_forget(int fd)
{
	if (!epset_heads[fd] || !epset_lock())
		return;
	while (epset_first(fd)) {
		struct reg *r = epset_at(epset_first(fd));

		/* a duplicate may keep the registration alive; one that a forked child inherited is
		 * its parent's business */
		if (r->native && r->process == epset_process)
			change(r, &r->wanted);
		epset_drop(r);
	}
	epset_heads[fd] = 0;
	epset_unlock();
}

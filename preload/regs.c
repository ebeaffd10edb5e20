// SPDX-License-Identifier: MIT
#include "regs.h"

#include "fdinfo.h"
#include "fdt.h"
#include "real.h"

#include <linux/kcmp.h>
#include <sched.h>

struct reg {
	int epfd, fd;
	struct epoll_event wanted; /* the program's */
	uint32_t native;  /* the mask that the kernel has from us, 0: the program's is in place */
	uint32_t process; /* generation of processes that entered it */
	struct upstream *exchange;	    /* that it was last exchanged for */
	uint32_t bit;			    /* in the exchange's put_back, 0 for none */
	enum { ASK, ARMED, FIRED } oneshot; /* an EPOLLONESHOT one that fired is silent until MOD */
	uint16_t next;			    /* of the same fd, or of the free list; 0 ends */
	bool lifted;			    /* taken out, to be entered again with another socket */
	bool used;
};

/* Index 0 is not used. Pages are touched only as far as entries were ever needed. */
static struct reg regs[REGS_MAX];
static _Atomic uint16_t heads[FDT_MAX]; /* fd -> its first registration */
static uint16_t free_list;
static uint32_t n_touched = 1;
static uint32_t process;
_Atomic bool regs_exchanged;
static _Atomic bool table_was_full;

/* The thread that holds the table: an address of its own. A signal handler that has interrupted
 * its own thread inside does not get it: its epoll_ctl() then goes unfollowed, and what it would have
 * exchanged or put back is left over for the frame that it has interrupted. */
static _Atomic uintptr_t holder;
static __thread char me __attribute__((tls_model("initial-exec")));
static __thread volatile bool left_over __attribute__((tls_model("initial-exec")));

static bool lock(void)
{
	uintptr_t nobody = 0;

	while (!atomic_compare_exchange_weak_explicit(&holder, &nobody, (uintptr_t)&me,
						      memory_order_acquire, memory_order_relaxed)) {
		if (nobody == (uintptr_t)&me) {
			left_over = true;
			return false;
		}
		nobody = 0;
		sched_yield();
	}
	return true;
}

static void catch_up(void);

static void unlock(void)
{
	do {
		while (left_over)
			catch_up();
		atomic_store_explicit(&holder, 0, memory_order_release);
	} while (left_over && lock());
}

void regs_in_child(void)
{
	atomic_store(&holder, 0);
	process++;
}

/* ------------------------------------------------------------------ our words */

/* 48 bits that no program's data word has but by accident, and the index. */
static uint64_t word_base(void)
{
	static _Atomic uint64_t base;
	uint64_t b = atomic_load_explicit(&base, memory_order_relaxed), none = 0;

	if (b)
		return b;
	b = ((uint64_t)now_ns() ^ (uint64_t)(uintptr_t)&me) * 0x9e3779b97f4a7c15ULL;
	b = (b ^ b >> 29) | 1ULL << 63;
	b &= ~(uint64_t)0xffff;
	return atomic_compare_exchange_strong(&base, &none, b) ? b : none;
}

static int native_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	return (int)sys_result(syscall(SYS_epoll_ctl, epfd, op, fd, event));
}

/* ------------------------------------------------------------------- the table */

static struct reg *find(int epfd, int fd)
{
	for (uint16_t i = heads[fd]; i; i = regs[i].next)
		if (regs[i].epfd == epfd)
			return &regs[i];
	return NULL;
}

static struct reg *enter(int epfd, int fd, const struct epoll_event *event)
{
	uint32_t i = free_list;

	if (i)
		free_list = regs[i].next;
	else if (n_touched < REGS_MAX)
		i = n_touched++;
	else
		return NULL;
	regs[i] = (struct reg){ .epfd = epfd,
				.fd = fd,
				.wanted = *event,
				.process = process,
				.next = heads[fd],
				.used = true };
	heads[fd] = (uint16_t)i;
	return &regs[i];
}

static void drop(struct reg *r)
{
	uint16_t index = (uint16_t)(r - regs), before = 0;

	for (uint16_t i = heads[r->fd]; i != index; i = regs[i].next)
		before = i;
	if (before)
		regs[before].next = r->next;
	else
		heads[r->fd] = r->next;
	*r = (struct reg){ .next = free_list };
	free_list = index;
}

static bool follow(int epfd, int op, int fd, const struct epoll_event *event)
{
	struct reg *r = find(epfd, fd);

	if (op == EPOLL_CTL_DEL) {
		if (r)
			drop(r);
		return true;
	}
	if (!r)
		return enter(epfd, fd, event) != NULL;
	r->wanted = *event;
	r->oneshot = ASK; /* it may fire before the connect() */
	return true;
}

bool regs_follow(int epfd, int op, int fd, const struct epoll_event *event)
{
	bool ok;

	if (fd < 0 || fd >= FDT_MAX)
		return true;
	if (op == EPOLL_CTL_DEL && !heads[fd])
		return true;
	if (!lock())
		return false;
	ok = follow(epfd, op, fd, event);
	unlock();
	if (!ok)
		atomic_store(&table_was_full, true);
	return ok;
}

bool regs_has(int fd)
{
	return heads[fd];
}

bool regs_is_lost(int fd)
{
	return atomic_load(&table_was_full) && !heads[fd];
}

/* ---------------------------------------------------------- exchange and put back */

static struct epoll_event ours(const struct reg *r, uint32_t wants)
{
	return (struct epoll_event){
		.events = wants | (r->wanted.events & EPOLLWAKEUP),
		.data.u64 = word_base() | (uint64_t)(r - regs),
	};
}

/* An EPOLLEXCLUSIVE registration cannot be modified, only made anew (TRAPS 2.12). */
static int change(struct reg *r, struct epoll_event *event)
{
	if (r->lifted) {
		r->lifted = false;
		return native_ctl(r->epfd, EPOLL_CTL_ADD, r->fd, event);
	}
	if (!(r->wanted.events & EPOLLEXCLUSIVE))
		return native_ctl(r->epfd, EPOLL_CTL_MOD, r->fd, event);
	native_ctl(r->epfd, EPOLL_CTL_DEL, r->fd, event);
	return native_ctl(r->epfd, EPOLL_CTL_ADD, r->fd, event);
}

/* The kernel is to have our mask and word from now on. */
static struct epoll_event take(struct reg *r, struct upstream *u)
{
	uint32_t wants = (uint32_t)upstream_wants(u), n;

	if (!r->native) {
		n = atomic_fetch_add(&u->n_exchanged, 1);
		r->bit = n < 32 ? (uint32_t)1 << n : 0;
	}
	r->exchange = u;
	r->native = wants;
	atomic_store(&regs_exchanged, true);
	return ours(r, wants);
}

int regs_add_exchanged(int epfd, int fd, const struct epoll_event *event, struct upstream *u)
{
	struct epoll_event native;
	struct reg *r;
	bool known;
	int err;

	if (!lock())
		return -ENOSPC;
	r = find(epfd, fd);
	known = r != NULL;
	if (!r)
		r = enter(epfd, fd, event);
	if (!r) {
		unlock();
		return -ENOSPC;
	}
	native = take(r, u);
	err = native_ctl(epfd, EPOLL_CTL_ADD, fd, &native);
	if (err == 0)
		r->wanted = *event; /* a known one had gone unseen */
	else if (!known)
		drop(r);
	unlock();
	return err;
}

/* The set was duplicated: what was known of fd under its other numbers is this. */
static void drop_copies(const struct reg *r)
{
	long self = syscall(SYS_getpid);
	uint16_t next;

	for (uint16_t i = heads[r->fd]; i; i = next) {
		next = regs[i].next;
		/* 1, 2: another set; not allowed to ask, or closed: nothing is lost with it */
		if (&regs[i] != r && sys_result(syscall(SYS_kcmp, self, self, KCMP_FILE,
							regs[i].epfd, r->epfd)) <= 0)
			drop(&regs[i]);
	}
}

int regs_change(int epfd, int fd, const struct epoll_event *event, struct upstream *u)
{
	struct epoll_event native;
	struct reg *r;
	bool known;
	int err;

	if (!lock())
		return 1;
	r = find(epfd, fd);
	known = r != NULL;
	if (r && r->wanted.events & EPOLLEXCLUSIVE) { /* as we have entered it, it is not */
		unlock();
		return -EINVAL;
	}
	if (!r)
		r = enter(epfd, fd, event);
	if (!r) {
		unlock();
		return -ENOSPC;
	}
	r->wanted = *event;
	r->oneshot = ARMED;
	native = take(r, u);
	err = change(r, &native);
	if (err < 0) /* the set was closed, or fd taken out, unseen */
		drop(r);
	else if (!known)
		drop_copies(r);
	unlock();
	return err;
}

/* An event of r has come from the set epfd. The set may have been duplicated, and the number that r
 * was entered by be something else by now. (Or r is not what it was for: of another process.) */
static void follow_set(struct reg *r, int epfd)
{
	struct epoll_event native = ours(r, r->native);

	if (r->epfd != epfd && !find(epfd, r->fd) &&
	    native_ctl(epfd, EPOLL_CTL_MOD, r->fd, &native) == 0)
		r->epfd = epfd;
}

bool regs_is_ours(const struct epoll_event *event, int epfd, int *fd)
{
	uint64_t word = event->data.u64;
	struct reg *r = &regs[word & 0xffff];

	if ((word & ~(uint64_t)0xffff) != word_base())
		return false;
	*fd = -1;
	if (lock()) {
		if (r->used && r->native) {
			*fd = r->fd;
			follow_set(r, epfd);
		}
		unlock();
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

static void exchange(struct reg *r, struct upstream *u)
{
	struct epoll_event native;

	if (r->native == (uint32_t)upstream_wants(u) || is_silent(r))
		return;
	native = take(r, u);
	if (change(r, &native) < 0) /* the set was closed, or fd taken out, unseen */
		drop(r);
}

void regs_exchange(int fd, struct upstream *u)
{
	uint16_t next;

	if (!heads[fd] || upstream_is_deferred(u) || !lock())
		return;
	/* whoever ends the exchange puts back after that: only while it is pending may we */
	for (uint16_t i = heads[fd]; i && upstream_is_pending(u); i = next) {
		next = regs[i].next;
		exchange(&regs[i], u);
	}
	unlock();
}

/* Of the processes that share the set one does it: the first. But a forked child may know of a set
 * that it does not have, as other threads go on while its descriptors and then its memory are copied:
 * it does not claim what it has not done. */
static bool put_back(struct reg *r, struct upstream *u)
{
	uint32_t bit = u ? r->bit : 0;
	bool ok;

	r->native = 0;
	r->oneshot = ASK;
	if (r->process == process)
		return (bit && atomic_fetch_or(&u->put_back, bit) & bit) ||
		       change(r, &r->wanted) == 0;
	if (bit && atomic_load(&u->put_back) & bit)
		return true;
	ok = change(r, &r->wanted) == 0;
	if (ok && bit)
		atomic_fetch_or(&u->put_back, bit);
	return ok;
}

/* What signal handlers could not do while this thread held the table. */
static void catch_up(void)
{
	left_over = false;
	for (uint32_t i = 1; i < n_touched; i++) {
		struct reg *r = &regs[i];

		if (!r->used || !r->native)
			continue;
		if (fdt_get(r->fd) == FDT_PENDING && upstream_is_pending(r->exchange))
			exchange(r, r->exchange);
		else if (!put_back(r, r->exchange) || fdt_get(r->fd) == FDT_UP)
			drop(r);
	}
}

void regs_put_back(int fd, struct upstream *u, bool forget)
{
	uint16_t next;

	if (!heads[fd] || !lock())
		return;
	for (uint16_t i = heads[fd]; i; i = next) {
		struct reg *r = &regs[i];

		next = r->next;
		if (u && r->exchange != u) /* of a socket that has the number now */
			continue;
		if ((r->native && !put_back(r, u)) || forget)
			drop(r);
	}
	unlock();
}

static void settle(int fd)
{
	uint16_t next;

	for (uint16_t i = heads[fd]; i; i = next) {
		next = regs[i].next;
		if (regs[i].lifted && !regs[i].native && change(&regs[i], &regs[i].wanted) < 0)
			drop(&regs[i]);
	}
}

void regs_settle(int fd)
{
	if (!heads[fd] || !lock())
		return;
	settle(fd);
	unlock();
}

/* A one-shot registration that has fired could not be entered again as it was; one of a set that was
 * closed under this number, or that a parent process entered, cannot be taken out. */
static bool lift(struct reg *r, bool exchanged)
{
	if ((r->native && !exchanged) || r->process != process || is_silent(r) ||
	    native_ctl(r->epfd, EPOLL_CTL_DEL, r->fd, &r->wanted) < 0)
		return false;
	r->lifted = true;
	return true;
}

static bool lift_all(int fd, bool exchanged)
{
	bool ok = true;

	if (!heads[fd])
		return true;
	if (!lock())
		return false;
	for (uint16_t i = heads[fd]; i && ok; i = regs[i].next)
		ok = lift(&regs[i], exchanged);
	if (!ok)
		settle(fd);
	unlock();
	return ok;
}

bool regs_lift(int fd)
{
	return lift_all(fd, false);
}

bool regs_lift_exchanged(int fd)
{
	return lift_all(fd, true);
}

void regs_forget(int fd)
{
	if (!heads[fd] || !lock())
		return;
	while (heads[fd]) {
		struct reg *r = &regs[heads[fd]];

		/* a duplicate may keep the registration alive; one that a forked child inherited is
		 * its parent's business */
		if (r->native && r->process == process)
			change(r, &r->wanted);
		drop(r);
	}
	unlock();
}

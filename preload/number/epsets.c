// SPDX-License-Identifier: MIT
/* Registrations that are swapped for ours and back (end.c says when), and the lock around all of them. */
#include "epsets_int.h"

#include "proc.h"
#include "wait.h"

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

bool epset_is_word(uint64_t word, uint32_t *index)
{
	*index = (uint32_t)(word & INDEX);
	return (word & ~INDEX) == word_base();
}

/* -------------------------------------------------------------------------- the lock */

/* The thread that holds the table: an address of its own. A signal handler that has interrupted
 * its own thread inside does not get it: its epoll_ctl() then goes unfollowed, and what it would have
 * exchanged or put back is left over for the frame that it has interrupted. */
static _Atomic uintptr_t holder;
static __thread char me __attribute__((tls_model("initial-exec")));
static __thread volatile bool left_over __attribute__((tls_model("initial-exec")));
/* Where it has taken it, and when: it may have left by siglongjmp(). */
static __thread uintptr_t frame __attribute__((tls_model("initial-exec")));
static __thread int64_t since_ns __attribute__((tls_model("initial-exec")));

static void catch_up(void);

bool epset_lock(void)
{
	uintptr_t nobody = 0;
	struct patience patience = { 0 };

	while (!atomic_compare_exchange_weak_explicit(&holder, &nobody, (uintptr_t)&me,
						      memory_order_acquire, memory_order_relaxed)) {
		if (nobody == (uintptr_t)&me && !wait_is_left(frame, since_ns)) {
			left_over = true;
			return false;
		}
		/* one that never comes back has left the lists whole, whatever it was at */
		if ((nobody == (uintptr_t)&me || !wait_patiently(&patience)) &&
		    atomic_compare_exchange_strong(&holder, &nobody, (uintptr_t)&me))
			break;
		nobody = 0;
	}
	frame = (uintptr_t)__builtin_frame_address(0);
	since_ns = tick_ns();
	return true;
}

void epset_unlock(void)
{
	uintptr_t nobody;

	do {
		while (left_over) {
			left_over = false;
			catch_up();
		}
		nobody = (uintptr_t)&me; /* it has not been overruled */
		atomic_compare_exchange_strong_explicit(&holder, &nobody, 0, memory_order_release,
							memory_order_relaxed);
	} while (left_over && epset_lock());
}

void epset_before_fork(void)
{
	atomic_fetch_add(&epset_forks, 1);
}

void epset_in_child(void)
{
	atomic_store(&holder, 0);
	epset_process++;
}

/* ---------------------------------------------------------- swap and put back */

struct epoll_event epset_ours(const struct reg *r, uint32_t wants)
{
	return (struct epoll_event){
		.events = wants | (r->wanted.events & EPOLLWAKEUP),
		.data.u64 = word_base() | r->index,
	};
}

/* An EPOLLEXCLUSIVE registration cannot be modified, only made anew (TRAPS 2.12). */
int epset_modify(struct reg *r, struct epoll_event *event)
{
	int err;

	if (r->lifted) {
		r->lifted = false;
		return epset_ctl(r->epfd, EPOLL_CTL_ADD, r->fd, event);
	}
	if (!(r->wanted.events & EPOLLEXCLUSIVE)) {
		err = epset_ctl(r->epfd, EPOLL_CTL_MOD, r->fd, event);
		if (err == 0 || err == -ENOENT || err == -EBADF)
			return err;
	}
	epset_ctl(r->epfd, EPOLL_CTL_DEL, r->fd, event);
	return epset_ctl(r->epfd, EPOLL_CTL_ADD, r->fd, event);
}

/* The kernel is to have our mask and word from now on. */
struct epoll_event epset_take(struct reg *r, struct watch *w)
{
	uint32_t wants = watch_wants(w), n;

	if (!wants) /* it has just ended: whoever sees that puts back */
		wants = EPOLLIN;
	if (!r->native || r->watch != w) {
		n = atomic_fetch_add(&w->n_swapped, 1);
		r->bit = n < 32 ? (uint32_t)1 << n : 0;
	}
	r->watch = w;
	r->native = wants;
	atomic_store(&epset_swapped, true);
	return epset_ours(r, wants);
}

/* A one-shot registration that has fired cannot be put back as it was: the kernel always adds
 * EPOLLERR and EPOLLHUP. But it needs no exchange, being silent. */
bool epset_is_silent(struct reg *r)
{
	if (r->native || !(r->wanted.events & EPOLLONESHOT))
		return false;
	if (r->oneshot == ASK)
		r->oneshot = proc_is_armed(r->epfd, r->fd) ? ARMED : FIRED;
	return r->oneshot == FIRED;
}

static void swap(struct reg *r, struct watch *w)
{
	struct epoll_event native;

	/* lifted: another socket is to come in the place of the one for which it is swapped */
	if ((r->native == watch_wants(w) && r->watch == w) || (r->native && r->lifted) ||
	    epset_is_silent(r))
		return;
	native = epset_take(r, w);
	if (epset_modify(r, &native) < 0) /* the set was closed, or fd taken out, unseen */
		epset_drop(r);
}

void epset_swap(int fd, struct watch *w)
{
	uint32_t next;

	if (!epset_head(fd) || !watch_wants(w) || !epset_lock())
		return;
	/* whoever ends it puts back after that: only while it is pending may we */
	for (uint32_t i = epset_first(fd); i && watch_wants(w); i = next) {
		next = epset_at(i)->next;
		swap(epset_at(i), w);
	}
	epset_unlock();
}

/* Of the processes that share the set one does it: the first. But a forked child may know of a set
 * that it does not have, as other threads go on while its descriptors and then its memory are copied:
 * it does not claim what it has not done. */
static bool put_back(struct reg *r, struct watch *w)
{
	uint32_t bit = w ? r->bit : 0;
	bool ok;

	r->native = 0;
	r->oneshot = ASK;
	if (r->process == epset_process)
		return (bit && atomic_fetch_or(&w->put_back, bit) & bit) ||
		       epset_modify(r, &r->wanted) == 0;
	if (bit && atomic_load(&w->put_back) & bit)
		return true;
	ok = epset_modify(r, &r->wanted) == 0;
	if (ok && bit)
		atomic_fetch_or(&w->put_back, bit);
	return ok;
}

static void catch_up(void)
{
	for (uint32_t i = 1; i < epset_touched; i++) {
		struct reg *r = epset_at(i);

		if (!r->used || !r->native)
			continue;
		if (mark_get(r->fd) == MARK_PENDING && watch_wants(r->watch))
			swap(r, r->watch);
		else if (!put_back(r, r->watch) || mark_get(r->fd) == MARK_UP)
			epset_drop(r);
	}
}

void epset_put_back(int fd, struct watch *w, bool forget)
{
	uint32_t next;

	if (!epset_head(fd) || !epset_lock())
		return;
	for (uint32_t i = epset_first(fd); i; i = next) {
		struct reg *r = epset_at(i);

		next = r->next;
		if (w && r->watch != w) /* of a socket that has the number now */
			continue;
		if ((r->native && !put_back(r, w)) || forget)
			epset_drop(r);
	}
	epset_unlock();
}

void epset_show(int fd, struct watch *w)
{
	if (!epset_head(fd) || !epset_lock())
		return;
	for (uint32_t i = epset_first(fd); i; i = epset_at(i)->next) {
		struct reg *r = epset_at(i);

		if (r->native && !r->lifted && r->watch == w && r->bit &&
		    !(atomic_load(&w->put_back) & r->bit) && epset_modify(r, &r->wanted) == 0)
			atomic_fetch_or(&w->put_back, r->bit);
	}
	epset_unlock();
}

static void settle(int fd)
{
	uint32_t next;

	for (uint32_t i = epset_first(fd); i; i = next) {
		next = epset_at(i)->next;
		if (epset_at(i)->lifted && !epset_at(i)->native &&
		    epset_modify(epset_at(i), &epset_at(i)->wanted) < 0)
			epset_drop(epset_at(i));
	}
}

void epset_settle(int fd)
{
	if (!epset_head(fd) || !epset_lock())
		return;
	settle(fd);
	epset_unlock();
}

/* A one-shot registration that has fired could not be entered again as it was; one of a set that was
 * closed under this number, or that a parent process entered, cannot be taken out. */
static bool lift(struct reg *r, bool swapped)
{
	if ((r->native && !swapped) || r->process != epset_process || epset_is_silent(r) ||
	    epset_ctl(r->epfd, EPOLL_CTL_DEL, r->fd, &r->wanted) < 0)
		return false;
	r->lifted = true;
	return true;
}

bool epset_lift(int fd, bool swapped)
{
	bool ok = true;

	if (!epset_head(fd))
		return true;
	if (!epset_lock())
		return false;
	for (uint32_t i = epset_first(fd); i && ok; i = epset_at(i)->next)
		ok = lift(epset_at(i), swapped);
	if (!ok)
		settle(fd);
	epset_unlock();
	return ok;
}

void epset_forget(int fd)
{
	if (!epset_head(fd) || !epset_lock())
		return;
	while (epset_first(fd)) {
		struct reg *r = epset_at(epset_first(fd));

		/* a duplicate may keep the registration alive; one that a forked child inherited is
		 * its parent's business */
		if (r->native && r->process == epset_process)
			epset_modify(r, &r->wanted);
		epset_drop(r);
	}
	epset_set_head(fd, 0);
	epset_unlock();
}

// SPDX-License-Identifier: MIT
/* What the program's own calls do to the registrations: epoll_ctl(), and the events of a wait. */
#include "epsets_int.h"

#include "proc.h"

#include <linux/kcmp.h>

/* The set epfd was duplicated: what was known of fd under its other numbers is r, or gone (NULL). swapped: they would
 * be put back over it, so those go that the kernel does not compare, too. */
static void drop_copies(int fd, int epfd, const struct reg *r, bool swapped)
{
	long self = syscall(SYS_getpid), same;
	uint32_t next;

	for (uint32_t i = epset_first(fd); i; i = next) {
		next = epset_at(i)->next;
		if (epset_at(i) == r)
			continue;
		/* 1, 2: another set; not allowed to ask, or closed: nothing is lost with it */
		same = sys_result(
			syscall(SYS_kcmp, self, self, KCMP_FILE, epset_at(i)->epfd, epfd));
		if (same == 0 || (swapped && same < 0))
			epset_drop(epset_at(i));
	}
}

static bool follow(int epfd, int op, int fd, const struct epoll_event *event)
{
	struct reg *r = epset_find(epfd, fd);

	if (op == EPOLL_CTL_DEL) {
		if (r)
			epset_drop(r);
		else
			drop_copies(fd, epfd, NULL, false);
		return true;
	}
	if (!r && (r = epset_enter(epfd, fd, event))) {
		if (op == EPOLL_CTL_MOD) /* by another number than it was entered by */
			drop_copies(fd, epfd, r, false);
		return true;
	}
	if (!r) {
		if (!mark_has_record(mark_get(fd)))
			epset_lose(fd);
		return false;
	}
	r->wanted = *event;
	r->oneshot = ASK; /* it may fire before the connect() */
	return true;
}

bool epset_follow(int epfd, int op, int fd, const struct epoll_event *event)
{
	bool ok;

	if (fd < 0 || fd >= MARK_MAX)
		return true;
	if (op == EPOLL_CTL_DEL && !epset_head(fd))
		return true;
	if (!epset_lock())
		return false;
	ok = follow(epfd, op, fd, event);
	epset_unlock();
	return ok;
}

/* Older than any fork, for all that is known. */
static void follow_one(int epfd, int fd, const struct epoll_event *event)
{
	struct reg *r;

	if (!epset_follow(epfd, EPOLL_CTL_ADD, fd, event) || !epset_lock())
		return;
	r = epset_find(epfd, fd);
	if (r)
		r->forks = 0;
	epset_unlock();
}

void epset_follow_again(int fd)
{
	epset_forget(fd);
	if (proc_each_set(fd, follow_one) || !epset_lock())
		return;
	epset_lose(fd);
	epset_unlock();
}

bool epset_asked(int epfd, int fd, struct epoll_event *event)
{
	struct reg *r;

	if (!epset_has(fd) || !epset_lock())
		return false;
	r = epset_find(epfd, fd);
	if (r && r->oneshot == ARMED)
		r->oneshot = ASK; /* the kernel may have told it since */
	if (r && epset_is_silent(r))
		r = NULL;
	if (r)
		*event = r->wanted;
	epset_unlock();
	return r;
}

bool epset_fire(int epfd, int fd)
{
	struct epoll_event silent;
	struct reg *r;

	if (!epset_lock())
		return false;
	r = epset_find(epfd, fd);
	if (r && r->wanted.events & EPOLLONESHOT && !epset_is_silent(r)) {
		silent = (struct epoll_event){ .events = EPOLLONESHOT, .data = r->wanted.data };
		epset_modify(r, &silent);
		r->oneshot = FIRED;
	} else if (r && r->oneshot == FIRED) {
		r = NULL;
	}
	epset_unlock();
	return r;
}

static int add(struct reg *r, const struct epoll_event *event, struct watch *w, bool is_new)
{
	struct epoll_event native = epset_take(r, w);
	int err = epset_ctl(r->epfd, EPOLL_CTL_ADD, r->fd, &native);

	if (err == 0)
		r->wanted = *event; /* a known one had gone unseen */
	else if (is_new)
		epset_drop(r);
	return err;
}

static int change(struct reg *r, const struct epoll_event *event, struct watch *w, bool is_new)
{
	struct epoll_event native;
	int err;

	if (!is_new && r->wanted.events & EPOLLEXCLUSIVE) /* as we have entered it, it is not */
		return -EINVAL;
	r->wanted = *event;
	r->oneshot = ARMED;
	native = epset_take(r, w);
	err = epset_modify(r, &native);
	if (err < 0) /* the set was closed, or fd taken out, unseen */
		epset_drop(r);
	else if (is_new)
		drop_copies(r->fd, r->epfd, r, true);
	return err;
}

/* What is lifted while it is swapped belongs to no socket just now: whoever ends the connection enters it, as it is
 * then, when it is put back. */
static int ctl_lifted(int op, struct reg *r, const struct epoll_event *event)
{
	if (op == EPOLL_CTL_ADD)
		return -EEXIST;
	if (op == EPOLL_CTL_DEL)
		epset_drop(r);
	else if (r->wanted.events & EPOLLEXCLUSIVE)
		return -EINVAL;
	else
		r->wanted = *event;
	return 0;
}

/* Under the lock: a twin that is given back meanwhile would have it entered again. */
static int take_out(struct reg *r)
{
	int err = epset_ctl(r->epfd, EPOLL_CTL_DEL, r->fd, NULL);

	if (err == 0)
		epset_drop(r);
	return err;
}

static int ctl_new(int op, int epfd, int fd, const struct epoll_event *event, struct watch *w)
{
	struct reg *r = epset_enter(epfd, fd, event);

	if (!r)
		return -ENOSPC;
	return op == EPOLL_CTL_ADD ? add(r, event, w, true) : change(r, event, w, true);
}

int epset_ctl_swapped(int op, int epfd, int fd, const struct epoll_event *event, struct watch *w)
{
	int err;
	struct reg *r;

	if (!epset_lock())
		return op == EPOLL_CTL_ADD ? -ENOSPC : 1;
	r = epset_find(epfd, fd);
	if (r && r->lifted) /* swapped or just about to be */
		err = ctl_lifted(op, r, event);
	else if (op == EPOLL_CTL_DEL)
		err = r ? take_out(r) : 1;
	else if (!r)
		err = ctl_new(op, epfd, fd, event, w);
	else
		err = op == EPOLL_CTL_ADD ? add(r, event, w, false) : change(r, event, w, false);
	epset_unlock();
	return err;
}

/* An event of r has come from the set epfd. The set may have been duplicated, and the number that r
 * was entered by be something else by now. (Or r is not what it was for: of another process.) */
static void follow_set(struct reg *r, int epfd)
{
	struct epoll_event native = epset_ours(r, r->native);

	if (r->epfd != epfd && !epset_find(epfd, r->fd) &&
	    epset_ctl(epfd, EPOLL_CTL_MOD, r->fd, &native) == 0)
		r->epfd = epfd;
}

bool epset_is_ours(const struct epoll_event *event, int epfd, int *fd)
{
	struct reg *r;
	uint32_t index;

	if (!epset_is_word(event->data.u64, &index))
		return false;
	*fd = -1;
	if (epset_lock()) {
		r = epset_at(index);
		if (r && r->used && r->native) {
			*fd = r->fd;
			follow_set(r, epfd);
		}
		epset_unlock();
	}
	return true;
}

/* ---------------------------------------------------------------------------- guests */

void epset_guest_enter(struct epset_guest *g, int host)
{
	/* of no registration, so nothing is looked for behind the word */
	struct epoll_event event = epset_ours(&(struct reg){ .used = false },
					      EPOLLIN | EPOLLOUT | EPOLLET);
	int fd;

	if (!epset_has(host) || !epset_lock())
		return;
	fd = atomic_load(&g->fd) - 1;
	for (uint32_t i = epset_first(host); i && fd >= 0; i = epset_at(i)->next) {
		const struct reg *r = epset_at(i);

		if (r->forks != atomic_load(&epset_forks) ||
		    g->n == (int)(sizeof(g->sets) / sizeof(g->sets[0])))
			continue;
		atomic_store(&epset_swapped, true);
		if (epset_ctl(r->epfd, EPOLL_CTL_ADD, fd, &event) == 0)
			g->sets[g->n++] = r->epfd;
	}
	epset_unlock();
}

void epset_guest_leave(struct epset_guest *g, bool is_there)
{
	bool locked =
		epset_lock(); /* else it is held by the frame that this handler has interrupted */
	int fd = atomic_exchange(&g->fd, 0) - 1;

	for (; g->n; g->n--)
		if (is_there)
			epset_ctl(g->sets[g->n - 1], EPOLL_CTL_DEL, fd, NULL);
	if (locked)
		epset_unlock();
}

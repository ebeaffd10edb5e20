// SPDX-License-Identifier: MIT
/* epoll_ctl and the waits: what registrations there are, and events that are for us. */
#include "advance.h"
#include "record.h"
#include "memory.h"
#include "notes.h"
#include "real.h"
#include "epsets.h"
#include "accept.h"
#include "shim.h"
#include "wait.h"

/* ------------------------------------------------------------------- epoll_ctl */

static int ctl_followed(int epfd, int op, int fd, struct epoll_event *event)
{
	int r = REAL(epoll_ctl)(epfd, op, fd, event) < 0 ? -errno : 0;

	if (r == 0)
		epset_follow(epfd, op, fd, event);
	if (r == 0 && op != EPOLL_CTL_DEL && held_any())
		held_registered(fd);
	return r;
}

/* What the kernel does not let EPOLLEXCLUSIVE be combined with (epoll_ctl(2)): EPOLL_CTL_MOD, and events. */
static bool is_refused(int op, uint32_t events)
{
	return events & EPOLLEXCLUSIVE &&
	       (op == EPOLL_CTL_MOD ||
		events & ~(uint32_t)(EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP |
				     EPOLLET | EPOLLEXCLUSIVE));
}

static int ctl_pending(int epfd, int op, int fd, struct epoll_event *event)
{
	struct conn *c = conn_find(fd);
	struct exchange *u = conn_exchange(c);
	int r;

	if (!u || !exchange_is_pending(u) || exchange_is_deferred(u)) {
		if (c)
			conn_advance(fd, c);
		r = ctl_followed(epfd, op, fd, event);
		if (u && exchange_is_pending(u)) /* if another thread has begun it meanwhile */
			epset_swap(fd, &u->watch);
		return r;
	}
	r = 1;
	if (op == EPOLL_CTL_DEL ||
	    ((op == EPOLL_CTL_ADD || op == EPOLL_CTL_MOD) &&
	     memory_was_readable(event, sizeof(*event)) && !is_refused(op, event->events)))
		r = epset_ctl_swapped(op, epfd, fd, event, &u->watch);
	if (r > 0)
		return ctl_followed(epfd, op, fd, event);
	if (!exchange_is_pending(u)) /* ended by another thread meanwhile */
		epset_put_back(fd, &u->watch, false);
	return r;
}

/* Of a thread with a table of its own: what is known of the number is of another one's socket, and of its sets, unless
 * the connection is in both. */
SLOW static bool is_of_another(int fd, enum mark mark)
{
	int saved_errno = errno;
	bool is_here = mark == MARK_PENDING && conn_find(fd);

	errno = saved_errno;
	return !is_here;
}

INTERPOSE int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	enum mark mark = mark_get(fd);
	int saved_errno = errno, r;

	if (mark == MARK_OPENING && conn_await_opening(fd)) /* it may be getting a twin */
		mark = mark_get(fd);
	if (mark == MARK_UP && note_has_twin(fd))
		note_spoil(fd, "an epoll set holds it");
	if (!mark_is_unfinished(mark) || (memory_is_absurd(event) && op != EPOLL_CTL_DEL))
		return REAL(epoll_ctl)(epfd, op, fd, event);
	if (mark_is_apart && is_of_another(fd, mark))
		return REAL(epoll_ctl)(epfd, op, fd, event);
	if (mark == MARK_PENDING)
		r = ctl_pending(epfd, op, fd, event);
	else
		r = ctl_followed(epfd, op, fd, event);
	return libc_result(r, saved_errno);
}

/* ------------------------------------------------------------------- the waits */

/* The program's own call, as a seccomp filter may know no other. */
enum waiting { WAIT, PWAIT, PWAIT2 };

struct epoll_wait {
	int epfd;
	struct epoll_event *events;
	int max;
	int64_t until_ns;
	const sigset_t *mask;
	enum waiting call;
};

/* Takes our events out and serves them. Returns how many are left for the program. */
static int filter(const struct epoll_wait *w, int n, bool *served)
{
	struct epoll_event *events = w->events;
	int kept = 0, fd;

	for (int i = 0; i < n; i++) {
		struct conn *c;

		if (!epset_is_ours(&events[i], w->epfd, &fd)) {
			events[kept++] = events[i];
			continue;
		}
		*served = true;
		c = fd >= 0 && mark_get(fd) == MARK_PENDING ? conn_find(fd) : NULL;
		if (c)
			conn_advance_after(fd, c, events[i].events & EPOLLERR);
		else if (fd >= 0 && mark_get(fd) != MARK_OPENING)
			/* another thread has ended it and is about to do this */
			epset_put_back(fd, NULL, false);
	}
	return kept;
}

static int natively_ms(const struct epoll_wait *w, int timeout)
{
	return w->call == PWAIT ? REAL(epoll_pwait)(w->epfd, w->events, w->max, timeout, w->mask) :
				  REAL(epoll_wait)(w->epfd, w->events, w->max, timeout);
}

static int wait_natively(struct epoll_wait *w, int64_t until_ns)
{
	struct timespec left;
	int r;

	if (w->call == PWAIT2) /* nanoseconds */
		r = REAL(epoll_pwait2)(w->epfd, w->events, w->max, wait_left(until_ns, &left),
				       w->mask);
	else
		r = natively_ms(w, wait_left_ms(until_ns));
	if (r == 0)
		wait_count(&w->until_ns, until_ns);
	return r < 0 ? -errno : r;
}

/* Until when to wait natively: the program's limit; the nearest deadline; and where the frame that we have
 * interrupted must go on first, the next look. */
static int64_t next_look(const struct epoll_wait *w, int64_t *slice_ns)
{
	int64_t until = w->until_ns, check = conn_next_check();

	if (held_any() && now_ns() + HELD_LOOK_NS < check)
		check = now_ns() + HELD_LOOK_NS;
	if (check < until)
		until = check;
	if (check != INT64_MAX && exchange_is_interrupted())
		until = wait_slice(until, slice_ns);
	return check == INT64_MAX ? until : wait_part(until);
}

/* n events came from a wait that may have begun before anything was converted. */
static int wait_filtered(struct epoll_wait *w, int n)
{
	int64_t slice_ns = 0;

	for (;;) {
		bool served = false, last;

		n = n > 0 ? filter(w, n, &served) : n;
		if (n >= 0 && held_any())
			n = held_events(w->epfd, w->events, n, w->max);
		if (n != 0)
			return n;
		/* with no time left look once more: what was just put back may be ready, and what another
		 * process has ended is the program's to see */
		last = now_ns() >= w->until_ns;
		served |= conn_sweep(last && conn_is_forked() ? CONN_LOOK_NS : 0);
		if (last && !served)
			return 0;
		if (served && exchange_is_interrupted())
			return -EINTR; /* only the interrupted frame can go on */
		n = wait_natively(w, last ? 0 : next_look(w, &slice_ns));
		if (n == 0 && last)
			return 0;
	}
}

static int wait_unsettled(struct epoll_wait *w)
{
	int64_t slice_ns = 0;

	conn_sweep(0); /* there may be events all the time */
	return wait_filtered(w, wait_natively(w, next_look(w, &slice_ns)));
}

/* Did a wait that went straight to libc come back with something of ours? */
static bool has_ours(const struct epoll_wait *w, int n)
{
	int fd;

	for (int i = 0; i < n && epset_ever_swapped(); i++)
		if (epset_is_ours(&w->events[i], w->epfd, &fd))
			return true;
	return false;
}

static int after_native(struct epoll_wait *w, int n)
{
	int saved_errno = errno;

	return has_ours(w, n) ? libc_result(wait_filtered(w, n), saved_errno) : n;
}

/* What another thread begins meanwhile has a time to be looked at, of which no event may tell: `timeout` at the
 * soonest. So often a wait that is longer looks up; but not more than once a second. Before the first socket, when
 * nobody knows whether there will be something, ever less often. */
static int64_t look_ns(unsigned int looks)
{
	unsigned int ms;

	if (!shim_has_read())
		return 1000000000LL << (looks < 6 ? looks : 6);
	ms = shim_config()->timeout_ms;
	return shim_is_active() || shim_is_listening() ? (ms > 1000 ? ms : 1000) * 1000000LL :
							 WAIT_FOREVER;
}

static bool is_longer(int64_t until_ns)
{
	return until_ns == WAIT_FOREVER ? look_ns(0) != WAIT_FOREVER :
					  until_ns - now_ns() > look_ns(0);
}

static int wait_looking_up(struct epoll_wait *w)
{
	int64_t until_ns;
	int n;

	for (unsigned int looks = 0;; looks++) {
		if (mark_any_unsettled() && (epset_ever_swapped() || held_any()))
			return wait_unsettled(w);
		if (__builtin_add_overflow(now_ns(), look_ns(looks), &until_ns) ||
		    until_ns > w->until_ns)
			until_ns = w->until_ns;
		n = wait_natively(w, until_ns);
		if (n != 0 || now_ns() >= w->until_ns)
			return has_ours(w, n) ? wait_filtered(w, n) : n;
	}
}

#define TICK_MOST_NS 10000000

/* When a native wait of this many ms that begins now is over, or a little later: the coarse clock, which
 * is never a system call, is behind by up to a tick. */
static int64_t until_ms(int timeout)
{
	if (timeout < 0)
		return WAIT_FOREVER;
	if (timeout == 0)
		return 0;
	return tick_ns() + TICK_MOST_NS + (int64_t)timeout * 1000000;
}

static int64_t until_exactly(int timeout)
{
	return timeout < 0 ? WAIT_FOREVER : now_ns() + (int64_t)timeout * 1000000;
}

/* Something is pending, or another thread may begin a conversion while this one waits. */
SLOW static int wait_ms(int epfd, struct epoll_event *events, int max, int timeout,
			const sigset_t *mask, enum waiting call)
{
	struct epoll_wait w = {
		.epfd = epfd, .events = events, .max = max, .mask = mask, .call = call
	};
	int saved_errno = errno, n;
	bool active = shim_is_active();

	if (mark_any_unsettled() && (epset_ever_swapped() || held_any())) {
		w.until_ns = until_exactly(timeout);
		return libc_result(wait_unsettled(&w), saved_errno);
	}
	if (timeout < 0 || timeout >= 1000) { /* no look is sooner */
		w.until_ns = until_exactly(timeout);
		if (is_longer(w.until_ns))
			return libc_result(wait_looking_up(&w), saved_errno);
	}
	if (active)
		w.until_ns = until_ms(timeout);
	n = natively_ms(&w, timeout);
	if (!active && epset_ever_swapped()) /* the configuration was read during the wait */
		w.until_ns = until_ms(timeout);
	return after_native(&w, n);
}

/* Alone and with nothing pending, nothing can begin before the wait is over. */
static inline bool is_quiet(void)
{
	return __builtin_expect(libc_is_single_threaded(), 1) && !mark_any_unsettled();
}

INTERPOSE int epoll_wait(int epfd, struct epoll_event *events, int max, int timeout)
{
	if (is_quiet())
		return real.epoll_wait(epfd, events, max, timeout);
	return wait_ms(epfd, events, max, timeout, NULL, WAIT);
}

INTERPOSE int epoll_pwait(int epfd, struct epoll_event *events, int max, int timeout,
			  const sigset_t *mask)
{
	if (is_quiet())
		return real.epoll_pwait(epfd, events, max, timeout, mask);
	return wait_ms(epfd, events, max, timeout, mask, PWAIT);
}

INTERPOSE int epoll_pwait2(int epfd, struct epoll_event *events, int max,
			   const struct timespec *timeout, const sigset_t *mask)
{
	struct epoll_wait w = {
		.epfd = epfd, .events = events, .max = max, .mask = mask, .call = PWAIT2
	};
	int saved_errno = errno, n;

	if (is_quiet() || !wait_until(timeout, &w.until_ns))
		return REAL(epoll_pwait2)(epfd, events, max, timeout, mask);
	if (mark_any_unsettled() && (epset_ever_swapped() || held_any()))
		return libc_result(wait_unsettled(&w), saved_errno);
	if (is_longer(w.until_ns))
		return libc_result(wait_looking_up(&w), saved_errno);
	n = REAL(epoll_pwait2)(epfd, events, max, timeout, mask);
	return after_native(&w, n);
}

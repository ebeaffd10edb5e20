// SPDX-License-Identifier: MIT
/* How a conversion goes on and ends: driving it, waiting for it, and what is told of it. */
#include "advance.h"
#include "due.h"
#include "sock.h"
#include "epsets.h"
#include "report.h"
#include "wait.h"

static void at_its_due(int fd, struct exchange *u)
{
	due_at(fd, exchange_due_ns(u));
}

void conn_set_due(int fd, struct exchange *u)
{
	conn_each_number(fd, u, at_its_due);
}

static enum mark settle(int fd, struct exchange *u)
{
	return u ? conn_settle(fd, u) : conn_settle_lost(fd);
}

/* A step of the exchange, and its end if that is due, which nobody waits for with its lock. */
static void step(int fd, uint16_t word, struct exchange *u, bool broken)
{
	enum exchange_event event;
	int err = 0;

	exchange_enter();
	event = exchange_advance(u, fd, word, broken, &err);
	end_by(fd, u, event, err);
	exchange_leave();
}

/* Whoever drives it may be late himself. */
static bool may_step(const struct exchange *u)
{
	uint32_t driver = atomic_load(&u->driver);

	return !driver || driver == exchange_thread() || now_ns() >= atomic_load(&u->deadline_ns);
}

static void swap(int fd, struct exchange *u)
{
	epset_swap(fd, &u->watch);
}

enum mark conn_advance_after(int fd, struct conn *c, bool broken)
{
	uint16_t word = mark_look(fd); /* first: another thread may be closing the number */
	struct exchange *u = conn_exchange(c);
	int64_t due_ns;

	/* settled, or closed since the caller has seen the number to be c's; another pending one has its own record
	 * there */
	if (mark_in(word) != MARK_PENDING)
		return mark_in(word);
	if (!u || !exchange_is_pending(u))
		return settle(fd, u);
	due_ns = exchange_due_ns(u);
	if (may_step(u))
		step(fd, word, u, broken);
	if (!exchange_is_pending(u))
		return settle(fd, u);
	if (mark_look(fd) != word) /* closed meanwhile: what is registered there is another's */
		return mark_get(fd);
	/* a message that was owed has gone out, and now there is a reply to be missed */
	if (exchange_due_ns(u) < due_ns)
		conn_set_due(fd, u);
	if (atomic_load(&u->copied)) /* by the clock alone, the others may hear of nothing else */
		conn_each_number(fd, u, swap);
	else
		swap(fd, u);
	return MARK_PENDING;
}

int conn_wait(int fd, struct conn *c, int64_t limit_ns)
{
	struct exchange *u = conn_exchange(c);
	int64_t slice_ns = 0;
	bool unsure = false, due;

	if (exchange_is_interrupted())
		return -EDEADLK;
	while (u && conn_exchange(c) == u && exchange_is_pending(u)) {
		int64_t due_ns = exchange_due_ns(u), until = limit_ns < due_ns ? limit_ns : due_ns;
		int r;

		/* who drives reads the reply; others may miss that it was read */
		if (conn_is_shared() && atomic_load(&u->driver) != exchange_thread())
			until = wait_slice(until, &slice_ns);
		r = wait_one(fd, exchange_wants(u), until);
		if (r < 0 && (limit_ns != WAIT_FOREVER || !wait_restarts_all()))
			return r;
		/* another thread, or a signal handler, may have closed the number and made it anew */
		unsure |= r < 0 || conn_is_shared() || mark_get(fd) != MARK_PENDING;
		due = r > 0 || now_ns() >= due_ns;
		if (due && unsure && conn_find(fd) != c && exchange_is_pending(u))
			return -EBADF;
		if (due)
			conn_advance(fd, c);
		/* somebody is at it, and until he is done a wait is over at once */
		if (exchange_phase(u) == EXCHANGE_OPENING)
			syscall(SYS_sched_yield);
		if (exchange_is_pending(u) && now_ns() >= limit_ns)
			return -ETIMEDOUT;
	}
	return 0;
}

/* A vfork child's, for the program that it is about to become: the exchange alone. What stands in the memory that it
 * runs in is its parent's, who may have sets that the child has closed: he finds the end of it as after a fork. Nor does
 * another socket take the place of this one, as the number would have it in the child. */
static void finish_for_parent(int fd, struct conn *c, struct exchange *u)
{
	int64_t slice_ns = 0;

	c->copied = true;
	atomic_store(&u->copied, true);
	while (mark_get(fd) == MARK_PENDING && conn_exchange(c) == u && exchange_is_pending(u) &&
	       !exchange_is_interrupted()) {
		if (may_step(u))
			step(fd, mark_look(fd), u, false);
		if (exchange_phase(u) == EXCHANGE_OPENING)
			syscall(SYS_sched_yield);
		else if (exchange_is_pending(u))
			wait_one(fd, exchange_wants(u), wait_slice(exchange_due_ns(u), &slice_ns));
	}
	if (!exchange_is_pending(u))
		epset_show(fd, &u->watch);
	due_at(fd, 0);
}

void conn_finish(int fd)
{
	struct conn *c = mark_get(fd) == MARK_PENDING ? conn_find(fd) : NULL;
	struct exchange *u = conn_exchange(c);
	int r = 0;

	if (c && !conn_is_owner()) {
		if (u)
			finish_for_parent(fd, c, u);
		return;
	}
	while (c && conn_advance(fd, c) == MARK_PENDING && r != -EDEADLK && r != -EBADF)
		r = conn_wait(fd, c, WAIT_FOREVER);
}

static int64_t next_due(void)
{
	return mark_any_unsettled() ? due_next() : INT64_MAX;
}

int64_t conn_next_check(void)
{
	int64_t next_ns = next_due(), soon_ns;

	if (!mark_is_apart || next_ns == INT64_MAX)
		return next_ns;
	soon_ns = now_ns() + CONN_LOOK_NS; /* another thread may have to look at what is due */
	return next_ns < soon_ns ? soon_ns : next_ns;
}

/* When to look at the number again. Whose time has not come yet costs no system call. */
static int64_t look_after(int fd)
{
	struct conn *c = conn_pending(fd);
	struct exchange *u = conn_exchange(c);
	int64_t now, due_ns = u ? exchange_due_ns(u) : 0;

	if (!c)
		return INT64_MAX;
	now = now_ns();
	if (!u || !exchange_is_pending(u) || now >= due_ns) {
		if (conn_find(fd) && mark_get(fd) == MARK_PENDING)
			conn_advance(fd, c);
		if (mark_get(fd) != MARK_PENDING)
			return INT64_MAX;
		/* begun anew, or somebody is at it; or it is the parent's, and this its vfork child */
		u = conn_exchange(c);
		due_ns = u ? exchange_due_ns(u) : 0;
	} else if (!c->inherited) {
		return due_ns;
	}
	now += CONN_LOOK_NS;
	return c->inherited || due_ns < now ? now : due_ns;
}

bool conn_sweep(int64_t ahead_ns)
{
	int64_t next_ns = next_due(), at_ns;

	if (next_ns == INT64_MAX)
		return false;
	at_ns = now_ns() + ahead_ns;
	if (at_ns < next_ns)
		return false;
	/* a thread with a table of its own: at those that are in both, and what is due stays so for the others */
	for (int fd = 0; mark_is_apart && fd <= conn_highest(); fd++)
		look_after(fd);
	if (!mark_is_apart)
		due_each(at_ns, conn_highest(), look_after);
	return true;
}

/* It has been told, whichever number it was. */
static void forget_errors(struct conn *c)
{
	atomic_store(&c->err, 0);
	for (int fd = 0; atomic_load(&c->copied) && fd <= conn_highest(); fd++) {
		struct conn *other = conn_peek(fd);

		if (other && other->sock_cookie == c->sock_cookie)
			atomic_store(&other->err, 0);
	}
}

int conn_take_error(int fd, struct conn *c)
{
	int err = atomic_exchange(conn_untold(c), 0);

	forget_errors(c);
	if (mark_change(fd, MARK_FAILED, MARK_FAILED_TOLD) && err)
		/* our disconnect left an error of its own, which would be a second one */
		sock_int(fd, SOL_SOCKET, SO_ERROR, 0);
	return err;
}

bool conn_tell(struct conn *c)
{
	struct exchange *u = conn_exchange(c);
	bool before = atomic_exchange(&c->told, true);

	return u ? atomic_exchange(&u->told, true) : before;
}

bool conn_is_incoming(const struct conn *c)
{
	struct exchange *u = conn_exchange(c);

	return u && u->incoming;
}

void conn_abandon(int fd, struct conn *c)
{
	struct exchange *u = conn_exchange(c);
	struct patience patience = { 0 };

	/* another thread is just ending it, or at its SYN */
	while (u && exchange_phase(u) == EXCHANGE_OPENING && !exchange_is_interrupted() &&
	       wait_patiently(&patience))
		;
	if (u && exchange_is_pending(u)) {
		exchange_given_up(u, fd);
		exchange_end(u, fd, EXCHANGE_ABANDONED);
		report_abandoned(u);
	}
	settle(fd, u);
}

// SPDX-License-Identifier: MIT
#include "advance.h"

#include "epsets.h"
#include "sock.h"
#include "traces.h"
#include "twin.h"

/* What a socket that takes the twin's place has to know. */
static struct twin_record record_of(struct conn *c)
{
	struct exchange *u = conn_exchange(c);

	return (struct twin_record){ .copied = u && atomic_load(&u->copied),
				     .new_cookie = c ? &c->new_cookie : NULL };
}

/* A signal handler may have closed the number in the middle of this, or another thread taken the connection back. */
static bool is_still(int fd, const struct exchange *u)
{
	return (mark_get(fd) == MARK_PENDING || mark_get(fd) == MARK_OPENING) &&
	       exchange_is_pending(u);
}

/* TCP's readiness, errors once, no peer (D5; TRAPS 2.1: shutdown() says ENOTCONN and takes effect). */
void end_refused(int fd, struct conn *c, struct exchange *u, int err)
{
	/* disconnecting forgets it, a refused connect keeps it */
	sock_addr(fd, SYS_getsockname, &u->local);
	exchange_take_back(u, fd);
	twin_give_back(fd, record_of(c), true, &u->local);
	if (is_still(fd, u))
		sys_shutdown(fd, SHUT_RDWR);
	atomic_store(&u->err, err);
	exchange_end(u, fd, EXCHANGE_REFUSED);
}

int end_connect(int fd, const struct exchange *u)
{
	struct sockaddr_storage server;
	socklen_t len = addr_to_sockaddr(&u->server, u->family, &server);
	/* a blocking descriptor here is one whose connect() was interrupted by a signal */
	int r = sock_connect(fd, (struct sockaddr *)&server, len, sock_is_nonblocking(fd));

	return r == -EINPROGRESS || r == -EINTR ? 0 : r;
}

/* TCP that was connected by IPv4 sends an IPv4 SYN for whatever IPv6 server comes next (LINUX-FACTS 3.14). */
static bool is_one_way(int fd, const struct exchange *u)
{
	return u->family == AF_INET6 && !addr_is_v4(&u->server) &&
	       (addr_is_v4(&u->via) || note_is_stuck(fd));
}

static void go_direct(int fd, struct conn *c, struct exchange *u)
{
	uint32_t driver = atomic_load(&u->driver);
	int r = 0;

	exchange_take_back(u, fd);
	if (twin_give_back(fd, record_of(c), true, NULL)) {
		u->family = note_at(fd)->family;
	} else if (is_one_way(fd, u) && is_still(fd, u)) { /* duplicated meanwhile, or by a fork */
		end_refused(fd, c, u, EHOSTUNREACH);
		return;
	} else {
		traces_bind_again(fd);
	}
	/* its blocking connect() goes on by itself, or does this when it leaves */
	if (!driver ||
	    !atomic_compare_exchange_strong(&u->driver, &driver, driver | EXCHANGE_HANDED_OVER))
		r = is_still(fd, u) ? end_connect(fd, u) : 0;
	traces_number_anew(fd);
	if (r < 0)
		end_refused(fd, c, u, -r);
	else
		exchange_end(u, fd, EXCHANGE_DIRECT);
}

void end_by(int fd, struct exchange *u, enum exchange_event event, int err)
{
	struct conn *c;

	if (event == EXCHANGE_GOES_ON || exchange_phase(u) != EXCHANGE_OPENING)
		return;
	atomic_thread_fence(memory_order_seq_cst); /* conn_forget() has one */
	c = conn_peek(fd);
	if (!c || conn_exchange(c) != u || !conn_is_of(fd, c)) {
		/* closed meanwhile; other numbers, if there are any, end it when its time is over */
		if (!atomic_load(&u->copied) && !conn_is_forked())
			exchange_go_on(u, EXCHANGE_ABANDONED);
	} else if (event == EXCHANGE_IS_REFUSED) {
		end_refused(fd, c, u, err);
	} else {
		go_direct(fd, c, u);
	}
}

void end_withdrawn(int fd, struct conn *c)
{
	epset_settle(fd); /* lifted for the twin, if nothing came after it */
	twin_give_back(fd, record_of(c), false, NULL);
}

void end_disconnected(int fd, struct conn *c)
{
	sock_disconnect(fd);
	if (c->no_cookie)
		sock_set_int(fd, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, 0);
	twin_give_back(fd, record_of(c), true, NULL);
}

/* The other numbers of what is unconnected now: no record says what it becomes. */
static void reset_others(int fd, uint64_t cookie)
{
	for (int other = 0; other <= conn_highest(); other++) {
		const struct conn *o = other == fd ? NULL : conn_peek(other);

		if (!o || o->sock_cookie != cookie)
			continue;
		mark_change(other, MARK_UP, MARK_OTHER);
		mark_change(other, MARK_FAILED, MARK_TCP_COPIED);
		mark_change(other, MARK_FAILED_TOLD, MARK_TCP_COPIED);
	}
}

void conn_reset(int fd, struct conn *c)
{
	uint64_t cookie = atomic_load(&c->copied) ? c->sock_cookie : 0;
	enum mark to = MARK_TCP_COPIED;
	uint16_t word;

	/* a thread that its connection is taken away from may close the number at once: it waits, as the
	 * program's socket is to get it back */
	for (;;) {
		if (!conn_await_opening(fd))
			return;
		exchange_enter();
		word = mark_look(fd);
		if (mark_in(word) != MARK_OPENING && mark_change_seen(fd, word, MARK_OPENING))
			break;
		exchange_leave();
	}
	if (!conn_is_of(fd, c)) {
		to = mark_in(word);
	} else {
		/* ours was undone then: what is set now is the program's */
		if (mark_has_failed(mark_in(word)))
			c->no_cookie = false;
		end_disconnected(fd, c);
		if (cookie)
			reset_others(fd, cookie);
	}
	mark_change(fd, MARK_OPENING, to);
	exchange_leave();
}

/* One number of the exchange u. It may be closed and made anew by another thread at any moment. */
void conn_settle_number(int fd, enum mark mark, struct exchange *u)
{
	uint16_t word = mark_look(fd);
	struct conn *c = mark_in(word) == MARK_PENDING ? conn_peek(fd) : NULL;

	if (!c || conn_exchange(c) != u)
		return;
	if (u && mark == MARK_FAILED) {
		atomic_store(&c->err, atomic_load(&u->err));
		conn_keep_local(c, &u->local);
	}
	if (u && u->incoming && mark == MARK_UP) /* nobody has looked there before that */
		c->server = u->server;
	if (!mark_change_seen(fd, word, mark))
		return;
	if (mark == MARK_UP && epset_has(fd) && note_has_twin(fd))
		note_spoil(fd, "an epoll set holds it");
	/* all but a connected one may be connected again */
	epset_put_back(fd, u ? &u->watch : NULL, mark == MARK_UP);
}

/* The exchange is over: what the program may now see of it. */
enum mark conn_settle(int fd, struct exchange *u)
{
	enum mark mark = MARK_TCP_COPIED; /* the mark that takes nothing for granted */

	switch (exchange_phase(u)) {
	case EXCHANGE_CONNECTED:
		mark = MARK_UP;
		break;
	case EXCHANGE_REFUSED:
		mark = MARK_FAILED;
		break;
	case EXCHANGE_DIRECT:
		if (u->is_in_doubt)
			mark = MARK_FELL_BACK;
		break;
	default:
		break;
	}
	conn_settle_number(fd, mark, u);
	if (atomic_load(&u->copied))
		for (int other = 0; other <= conn_highest(); other++)
			conn_settle_number(other, mark, u);
	if (!exchange_is_pending(u))
		atomic_store(&u->settled, true);
	return mark_get(fd);
}

// SPDX-License-Identifier: MIT
/* All of connect() but its system call: whether to convert, by which converter, and the wait for it. */
#include "advance.h"
#include "begin.h"
#include "converters.h"
#include "epsets.h"
#include "counts.h"
#include "text.h"
#include "sock.h"
#include "shim.h"
#include "proc.h"
#include "twin.h"
#include "wait.h"

/* What the functions here return beside 0 and a negative errno: CONN_NATIVELY, or that the socket
 * is not as it was any more. */
#define LOOK_AGAIN  2
#define WAIT_FOR_IT 3 /* the exchange has begun, and connect() is one that waits */

/* Where the kernel looks at the address it is none: for questions about the socket. */
static const struct sockaddr nowhere = { .sa_family = AF_INET };

/* What is left of SO_SNDTIMEO for a connect() that has waited for a converter before: libc's would start
 * it anew. */
static int connect_within(int fd, const struct sockaddr *sa, socklen_t len, int64_t limit_ns)
{
	struct sockaddr_storage room;
	int r;

	sa = twin_address(fd, sa, &len, &room);
	r = sock_connect(fd, sa, len, false);
	if (r != -EINPROGRESS && r != -EALREADY)
		return r;
	r = wait_one(fd, POLLOUT, limit_ns);
	if (r <= 0)
		return r ? r : -EINPROGRESS;
	r = sys_connect(fd, sa, len);
	if (r == 0 && mark_is_watched(mark_get(fd)))
		conn_check_direct(fd);
	return r;
}

SLOW static void log_verdict(enum log_event what, const struct addr *server,
			     const struct pol_verdict *verdict)
{
	bool is_rule = verdict->reason == POL_RULE;

	log_tell(verdict->reason == POL_OFF && what == LOG_DIRECT ? LOG_LEVEL_RECEIPT :
								    LOG_LEVEL_INFO,
		 what, "{server:%p}: {why:%s}{line: in line %d}", server,
		 is_rule ? "rule" : pol_reason_text(verdict->reason),
		 is_rule ? (int)verdict->rule_line : -1);
}

/* ------------------------------------------------------------------ blocking */

struct driven {
	int fd;
	const struct conn *conn;
	struct exchange *exchange;
};

/* Returns whether another thread has fallen back, and left it to this one to connect. */
static bool let_go(struct exchange *u)
{
	uint32_t me = exchange_thread(), handed_over = me | EXCHANGE_HANDED_OVER;

	return !atomic_compare_exchange_strong(&u->driver, &me, 0) &&
	       atomic_compare_exchange_strong(&u->driver, &handed_over, 0);
}

/* This connect() returns, or its thread ends, before it is over. */
static void leave(void *driven)
{
	struct driven *d = driven;

	if (let_go(d->exchange) && conn_is_of(d->fd, d->conn))
		end_connect(d->fd, d->exchange);
}

/* By another thread or a signal handler: shutdown(), connect(AF_UNSPEC) or close(). */
static int taken_back(int fd)
{
	return sys_fcntl(fd, F_GETFD, 0) < 0 ? -EBADF : -ECONNRESET;
}

/* The program may try again at once on the same socket (TRAPS 2.2). */
static int refused(int fd, struct conn *c)
{
	int err = conn_take_error(fd, c);

	conn_tell(c);
	conn_reset(fd, c);
	return err ? -err : -ECONNABORTED;
}

/* ... and the program has been told, by a connect() of another thread's. */
static bool was_refused(const struct exchange *u, uint64_t cookie)
{
	return exchange_phase(u) == EXCHANGE_REFUSED && atomic_load(&u->sock_cookie) == cookie;
}

/* The exchange is over: what the waiting connect() returns. Another thread may have closed the number, and what
 * has become of the next connection there, with another cookie, is for that one's owner (-EBADF). The exchange says
 * less: its slot may have been used again. */
static int outcome(int fd, struct conn *c, const struct exchange *u, uint64_t cookie)
{
	switch (conn_advance(fd, c)) {
	case MARK_PENDING: /* ended and begun again by another thread */
		return -EALREADY;
	case MARK_UP:
		if (c->sock_cookie != cookie)
			return -EBADF;
		conn_tell(c);
		return 0;
	case MARK_FAILED:
	case MARK_FAILED_TOLD:
		return c->sock_cookie == cookie && conn_is_of(fd, c) ? refused(fd, c) : -EBADF;
	default:
		if (exchange_phase(u) == EXCHANGE_ABANDONED)
			return taken_back(fd);
		if (was_refused(u, cookie))
			return conn_is_of(fd, c) ? -ECONNABORTED : -EBADF;
		/* fallback: nothing of ours is left on this socket, if it still has the number */
		return conn_is_of(fd, c) ? CONN_NATIVELY : -EBADF;
	}
}

int conn_wait_for_outcome(int fd, struct exchange *u, int64_t limit_ns, int on_limit)
{
	struct conn *c = conn_peek(fd);
	struct driven driven = { fd, c, u };
	struct libc_cleanup cleanup;
	uint64_t cookie;
	int r;

	if (!c) /* ended already, by another thread or a signal handler: the kernel knows the rest */
		return exchange_phase(u) == EXCHANGE_ABANDONED ? taken_back(fd) :
		       was_refused(u, sock_cookie(fd))	       ? -ECONNABORTED :
								 CONN_NATIVELY;
	cookie = c->sock_cookie;
	libc_cleanup_push(&cleanup, leave, &driven);
	r = conn_wait(fd, c, limit_ns);
	libc_cleanup_pop(&cleanup, r < 0);
	if (r == 0)
		let_go(u);
	else
		return r == -ETIMEDOUT ? -on_limit : r == -EDEADLK ? -EALREADY : r;
	return outcome(fd, c, u, cookie);
}

static int wait_within(int fd, struct exchange *u, const struct sockaddr *sa, socklen_t len,
		       int64_t limit_ns, int on_limit)
{
	int r = conn_wait_for_outcome(fd, u, limit_ns, on_limit);

	return r == CONN_NATIVELY && limit_ns != WAIT_FOREVER ?
		       connect_within(fd, sa, len, limit_ns) :
		       r;
}

/* ------------------------------------------------------- the first connect() */

/* A ring's event, or a signal, is there when the converter's kernel answers, and no other may come: so the outcome is to be
 * there, too. Of one that falls back that is the server's. */
static void finish_if_told_once(int fd, const struct conn_request *request)
{
	if (!request->by_signal && !proc_has_uring())
		return;
	conn_finish(fd);
	if (request->by_signal && sock_tcp_state(fd) == TCP_SYN_SENT)
		wait_one(fd, POLLOUT, now_ns() + (int64_t)request->config->timeout_ms * 1000000);
}

/* The exchange has begun: what connect() does now. */
static int begun(int fd, struct conn_request *request)
{
	if (exchange_phase(request->exchange) == EXCHANGE_DEFERRED) {
		let_go(request->exchange);
		return 0;
	}
	if (request->nonblocking) {
		finish_if_told_once(fd, request);
		return -EINPROGRESS;
	}
	if (request->interrupted && (request->until_ns != WAIT_FOREVER || !wait_restarts_all())) {
		let_go(request->exchange);
		return -EINTR;
	}
	return WAIT_FOR_IT;
}

SLOW static void log_unreachable(const struct conn_request *request)
{
	bool is_direct = request->config->fallback == CONFIG_FALLBACK_DIRECT;

	log_tell(LOG_LEVEL_ERROR, is_direct ? LOG_DIRECT : LOG_FAILED,
		 "{server:%p}: converter {converter:%p} ({name:%s}) {why:%s}: {error:%s}{reason:: "
		 "%s}",
		 &request->server, &request->verdict.via, request->verdict.converter->name,
		 "cannot be reached", errno_name(request->err),
		 /* by the socket as it is; any other errno is the kernel's, of a SYN */
		 request->err == EAFNOSUPPORT ? request->why : NULL);
}

static int begin(int fd, struct conn_request *request, struct converters_choice *choice)
{
	request->choice = choice;
	if (conn_begin(fd, request))
		return begun(fd, request);
	if (!request->exchange)
		converters_unchoose(&request->verdict.via, choice);
	if (!(request->early &&
	      request->err == EOPNOTSUPP)) /* the kernel says so to the call, too */
		log_unreachable(request);
	return request->config->fallback == CONFIG_FALLBACK_NONE ? -request->err : CONN_NATIVELY;
}

/* ------------------------------------------------------------------- the bypass */

/* Known to speak MPTCP, and may be reached directly from where a converter could be used, too? */
static bool is_bypassed(struct conn_request *request, struct pol_verdict rule)
{
	struct converters_choice any = { .by = &request->by, .despite = true };

	if (request->config->mptcp == CONFIG_MPTCP_OFF)
		return false;
	request->known = servers_lookup(&request->server, state_now_ms());
	return request->config->bypass && request->known == SERVERS_MPTCP &&
	       converters_choose(&request->server, request->family, rule, &any).action ==
		       POL_CONVERT;
}

SLOW static int bypassed(const struct conn_request *request)
{
	counts_add(COUNTS_BYPASSED, state_now_ms());
	log_tell(LOG_LEVEL_INFO, LOG_BYPASS, "{server:%p}: {why:%s}%s{reason:%s}", &request->server,
		 "the server speaks MPTCP",
		 !request->why	? "" :
		 request->mptcp ? ": " :
				  "; TCP: ",
		 request->why);
	/* without a twin nothing has been sent yet */
	if (!request->mptcp || !request->nonblocking || request->early)
		return CONN_NATIVELY;
	return request->at_once ? 0 : -EINPROGRESS;
}

/* Would the kernel refuse this address on the program's socket, if not on a twin? */
static bool is_unfit(int fd, const struct conn_request *request)
{
	const struct note *n = note_at(fd);

	if (n && n->family && n->family != request->family)
		return true;
	return request->family == AF_INET6 &&
	       ((addr_is_v4(&request->server) && twin_own_is_only_v6(fd)) ||
		twin_own_is_bound_elsewhere(fd, &request->server));
}

/* Where nothing but the converter will do, one that has failed is asked all the same. */
static struct pol_verdict choose(const struct conn_request *request, struct pol_verdict rule,
				 struct converters_choice *choice)
{
	struct pol_verdict v = converters_choose(&request->server, request->family, rule, choice);

	if (v.reason == POL_LEFT_ALONE && request->config->fallback == CONFIG_FALLBACK_NONE) {
		choice->despite = true;
		v = converters_choose(&request->server, request->family, rule, choice);
	}
	return v;
}

/* The program wants nothing beyond the host's own links, and a converter would be the way there. Of a socket that
 * may have other numbers, or was made elsewhere, the note may not know. */
static bool stays_on_link(int fd)
{
	const struct note *n = note_at(fd);

	if (note_obstacle(n) || atomic_load(&n->copied))
		return sock_int(fd, SOL_SOCKET, SO_DONTROUTE, 0);
	return note_is_on(n, SOL_SOCKET, SO_DONTROUTE);
}

/* A rule wants the socket, which is ours until we let go of it, to be converted. */
static int convert(int fd, struct conn_request *request, struct pol_verdict rule)
{
	struct converters_choice choice = { .by = &request->by };
	bool on_link = stays_on_link(fd);

	if (is_unfit(fd, request)) {
		conn_unclaim(fd, request);
		return CONN_NATIVELY;
	}
	bound_to(fd, &request->by);
	if (!on_link && is_bypassed(request, rule) && conn_bypass(fd, request))
		return bypassed(request);
	if (on_link)
		request->verdict.reason = POL_ON_LINK;
	else
		request->verdict = choose(request, rule, &choice);
	if (request->verdict.action == POL_CONVERT)
		return begin(fd, request, &choice);
	conn_unclaim(fd, request);
	if (shim_is_strict || (request->verdict.reason == POL_STRIPPED &&
			       request->config->fallback == CONFIG_FALLBACK_NONE)) {
		log_verdict(LOG_FAILED, &request->server, &request->verdict);
		return -ENETUNREACH;
	}
	log_verdict(LOG_DIRECT, &request->server, &request->verdict);
	return CONN_NATIVELY;
}

/* Of a number that we have not seen made the kernel knows what it is; and for what is no TCP socket that
 * is about to connect not even the configuration is read. */
static bool may_be_ours(int fd)
{
	enum mark mark = mark_get(fd);

	if (mark == MARK_UNKNOWN && (shim_is_active() || !shim_has_read()))
		return sock_tcp_state(fd) == TCP_CLOSE;
	return mark != MARK_OTHER;
}

/* Nobody has looked at the socket yet. The log has said so once, or is not to say anything. */
static int switched_off(int fd, const struct conn_request *request)
{
	const struct pol_verdict off = { .reason = POL_OFF };

	if (log_is_on(LOG_LEVEL_INFO) && !shim_is_strict && sock_tcp_state(fd) == TCP_CLOSE)
		log_verdict(LOG_DIRECT, &request->server, &off);
	return CONN_NATIVELY;
}

/* The kernel has not been heard: what its connect() would have said, and the socket as that leaves it. */
static int forget_last(int fd, int err)
{
	sock_disconnect(fd);
	return err ? -err : -ECONNABORTED;
}

/* Where a security module looks at the address first (SELinux, Landlock). SO_ERROR would be gone by being asked for, and
 * what a disconnect leaves there is the program's to see: that leaves no local address. */
static int ask_guarded(int fd)
{
	struct addr local;
	int err = sock_addr(fd, SYS_getsockname, &local) &&
				  addr_classify(&local) != ADDR_UNSPECIFIED ?
			  sock_int(fd, SOL_SOCKET, SO_ERROR, 0) :
			  0;

	return err ? forget_last(fd, err) : LOOK_AGAIN;
}

/* Of an attempt before this one, which the kernel has made and which failed late, it tells once, and only if it has
 * nothing left to tell is this a new one: then it finds that this address is none. fd is in no state but CLOSE. */
static int ask_of_last(int fd)
{
	int r = sys_connect(fd, &nowhere, sizeof(nowhere.sa_family));

	return r == -EINVAL ? ask_guarded(fd) : r;
}

/* Has the kernel been told to connect it before, by this number or perhaps another one, or unseen? */
static bool was_connecting(int fd, enum mark mark)
{
	return mark == MARK_UNKNOWN || mark_may_have_copies(mark) ||
	       (mark_is_fresh(mark) && note_is_connected(fd));
}

static int convert_claimed(int fd, struct conn_request *request, struct pol_verdict rule)
{
	int r = was_connecting(fd, request->mark) ? ask_of_last(fd) : LOOK_AGAIN;

	if (r == LOOK_AGAIN)
		return convert(fd, request, rule);
	note_attempt_over(fd);
	conn_unclaim(fd, request);
	return r;
}

static int try_to_convert(int fd, struct conn_request *request)
{
	const struct config *config;
	struct pol_verdict rule;

	if (!may_be_ours(fd))
		return CONN_NATIVELY;
	config = request->config = shim_config();
	if (addr_from_sockaddr(&request->server, request->to, request->to_len) < 0)
		return CONN_NATIVELY;
	if (config->n_converters == 0)
		return switched_off(fd, request);
	rule = pol_rule(config, &request->server);
	if (rule.action == POL_DIRECT && !note_ruled(fd))
		return CONN_NATIVELY;
	if (rule.action == POL_DIRECT) {
		/* The others are nobody's decision, and to loopback mostly. And a program that is kept out of
		 * all this, as it may be killed for a call of ours, makes none at its end. */
		if (rule.reason == POL_RULE && shim_is_active())
			counts_add(COUNTS_DIRECT, 0);
		log_verdict(LOG_DIRECT, &request->server, &rule);
		return CONN_NATIVELY;
	}
	if (conn_stands_apart()) /* what is known of the number is of another thread's */
		return shim_is_strict && sock_tcp_state(fd) == TCP_CLOSE ? -ENETUNREACH :
									   CONN_NATIVELY;
	switch (conn_claim(fd, request)) {
	case CONN_CLAIMED:
		return convert_claimed(fd, request, rule);
	case CONN_BUSY:
		return conn_await_opening(fd) ? LOOK_AGAIN : -EALREADY;
	default:
		return CONN_NATIVELY;
	}
}

/* What a wait has to know. */
struct begun {
	struct exchange *exchange;
	int64_t until_ns;
};

/* Not inlined: nothing of its room is needed while connect() waits, and that needs much. */
__attribute__((noinline)) static int begin_first(int fd, const struct sockaddr *sa, socklen_t len,
						 struct exchange_early *early, struct begun *begun)
{
	struct conn_request request = {
		.early = early, .to = sa, .to_len = len, .family = sa->sa_family
	};
	int r = try_to_convert(fd, &request);

	*begun = (struct begun){ request.exchange, request.until_ns };
	return r;
}

static int first_connect(int fd, const struct sockaddr *sa, socklen_t len,
			 struct exchange_early *early)
{
	struct begun begun;
	int r = begin_first(fd, sa, len, early, &begun);

	return r == WAIT_FOR_IT ?
		       wait_within(fd, begun.exchange, sa, len, begun.until_ns, EINPROGRESS) :
		       r;
}

/* --------------------------------------------- connect() on a socket with a record */

/* While the connection is pending: EALREADY, or for a blocking descriptor the wait for it. */
static int connect_pending(int fd, struct conn *c, const struct sockaddr *sa, socklen_t len,
			   const struct exchange_early *early)
{
	struct exchange *u = conn_exchange(c);
	uint32_t nobody = 0;

	if (u && exchange_phase(u) == EXCHANGE_DEFERRED) /* nothing has happened yet */
		return CONN_NATIVELY;
	if (!u || (early && early->flags & MSG_DONTWAIT) || sock_is_nonblocking(fd))
		return -EALREADY;
	atomic_compare_exchange_strong(&u->driver, &nobody, exchange_thread());
	return wait_within(fd, u, sa, len, sock_time_limit(fd, SO_SNDTIMEO), EALREADY);
}

/* The program takes the connection back, or has heard of its end: the number may be connected again, if there are no
 * others, whose registrations stay. */
static void take_back(int fd, struct conn *c)
{
	bool was_up = mark_get(fd) == MARK_UP, copied = atomic_load(&c->copied);

	note_attempt_over(fd);
	conn_reset(fd, c);
	if (was_up && copied)
		mark_rule_out(fd);
	else if (was_up)
		epset_follow_again(fd);
}

/* Has the kernel said so to us, so that it does not say it again? Not of what the program has shut down. */
static bool is_owed(int fd, const struct conn *c)
{
	const struct exchange *u = conn_exchange(c);
	int state = u && u->is_complete ? sock_tcp_state(fd) : TCP_CLOSE;

	return state == TCP_CLOSE_WAIT ||
	       (state == TCP_ESTABLISHED && !(sock_events(fd, POLLRDHUP) & POLLRDHUP));
}

/* The first one after a connect() that did not wait: what the kernel says to it (1.3) is 0, or the error that has ended
 * the connection since, and EISCONN to who has shut it down. */
static int connect_connected(int fd, struct conn *c)
{
	int r = sys_connect(fd, &nowhere, sizeof(nowhere.sa_family));
	struct addr peer;

	if (r == -EISCONN && is_owed(fd, c))
		return 0;
	if (r == 0 || r == -EISCONN)
		return r;
	/* a security module looks at the address before the kernel looks at the connection, which is as it was */
	if (sock_addr(fd, SYS_getpeername, &peer))
		return r == -EINVAL ? 0 : r;
	if (r == -EINVAL)
		r = forget_last(fd, sock_int(fd, SOL_SOCKET, SO_ERROR, 0));
	take_back(fd, c);
	return r;
}

static int connect_again(int fd, const struct sockaddr *sa, socklen_t len,
			 const struct exchange_early *early)
{
	struct conn *c = conn_find(fd);
	bool told;
	enum mark mark;
	int err;

	if (!c) /* a vfork child, which has to leave the mark, goes direct */
		return mark_has_record(mark_get(fd)) ? CONN_NATIVELY : LOOK_AGAIN;
	if (sa->sa_family == AF_UNSPEC) {
		conn_abandon(fd, c);
		take_back(fd, c);
		return 0;
	}
	mark = mark_get(fd) == MARK_PENDING ? conn_advance(fd, c) : mark_get(fd);
	switch (mark) {
	case MARK_PENDING:
		return connect_pending(fd, c, sa, len, early);
	case MARK_UP:
		return conn_tell(c) ? -EISCONN : connect_connected(fd, c);
	case MARK_FAILED:
	case MARK_FAILED_TOLD: /* natively ECONNABORTED if SO_ERROR has told it (TRAPS 2.2) */
		told = conn_tell(c);
		err = refused(fd, c);
		return told ? LOOK_AGAIN : err; /* through a duplicate: this is a new attempt */
	default:
		return CONN_NATIVELY;
	}
}

/* connect() on a socket that was connected past the converter. The twin stays under the number (take_twin()). */
static int connect_bypassed(int fd)
{
	const struct note *n = note_at(fd);
	int r;

	/* the other numbers of one that was duplicated since are not known */
	if ((n && atomic_load(&n->copied)) || sock_tcp_state(fd) != TCP_CLOSE)
		return CONN_NATIVELY;
	r = ask_of_last(fd);
	if (r != LOOK_AGAIN)
		return r;
	if (mark_change(fd, MARK_BYPASS, MARK_TCP_COPIED))
		epset_follow_again(fd);
	return LOOK_AGAIN;
}

/* Whatever has led there, a TCP socket's way to a server is direct by a rule or not at all; the kernel
 * says what is wrong with the rest. */
SLOW static int natively_if_ruled(int fd, const struct sockaddr *sa, socklen_t len)
{
	struct pol_verdict rule = { .reason = POL_OFF };
	struct conn_request request = { .family = sa->sa_family };
	const struct config *config;

	if (sock_tcp_state(fd) != TCP_CLOSE || addr_from_sockaddr(&request.server, sa, len) < 0 ||
	    is_unfit(fd, &request))
		return CONN_NATIVELY;
	config = shim_config();
	if (config->n_converters > 0) {
		rule = pol_rule(config, &request.server);
		if (rule.action == POL_DIRECT)
			return CONN_NATIVELY;
		rule.reason = POL_NOT_OURS;
	}
	log_verdict(LOG_FAILED, &request.server, &rule);
	return -ENETUNREACH;
}

/* Would the kernel send an IPv4 SYN to where a twin has been, that could not be given back, and hear of no answer? */
SLOW static bool is_stuck(int fd, const struct sockaddr *sa, socklen_t len)
{
	struct addr server;

	return addr_from_sockaddr(&server, sa, len) == 0 && !addr_is_v4(&server) && twin_is(fd) &&
	       sock_tcp_state(fd) == TCP_CLOSE;
}

int conn_natively(int fd, const struct sockaddr *sa, socklen_t len)
{
	if (note_is_stuck(fd) && is_stuck(fd, sa, len))
		return -EHOSTUNREACH;
	return __builtin_expect(shim_is_strict, 0) ? natively_if_ruled(fd, sa, len) : CONN_NATIVELY;
}

int conn_connect(int fd, const struct sockaddr *sa, socklen_t len, struct exchange_early *early)
{
	enum mark mark = mark_get(fd);
	int r;

	if (mark == MARK_FELL_BACK) /* before it is another attempt that is looked at */
		conn_check_direct(fd);
	do {
		mark = mark_get(fd);
		r = mark_has_record(mark) ? connect_again(fd, sa, len, early) :
		    mark == MARK_BYPASS	  ? connect_bypassed(fd) :
					    first_connect(fd, sa, len, early);
	} while (r == LOOK_AGAIN);
	return r == CONN_NATIVELY ? conn_natively(fd, sa, len) : r;
}

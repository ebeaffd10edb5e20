// SPDX-License-Identifier: MIT
/* How a conversion begins: what must be known of the socket, and the SYN. */
#include "accept.h"
#include "advance.h"
#include "begin.h"
#include "due.h"
#include "sock.h"
#include "converters.h"
#include "epsets.h"
#include "report.h"
#include "shim.h"
#include "paths.h"
#include "proc.h"
#include "twin.h"

#include <string.h>

int conn_lower_rcvlowat(int fd)
{
	int wanted = sock_int(fd, SOL_SOCKET, SO_RCVLOWAT, 1);

	if (wanted <= 1)
		return 0;
	sock_set_int(fd, SOL_SOCKET, SO_RCVLOWAT, 1);
	return wanted;
}

/* By a converter that takes over from the one that has failed. */
static bool may_need_no_cookie(const struct config *config)
{
	bool has_several = config->n_converters > 1 ||
			   (config->n_converters == 1 && config->converters[0].n_addrs > 1);

	for (size_t i = 0; i < config->n_converters; i++)
		if (config->converters[i].fast_open == CONFIG_FO_NO_COOKIE ||
		    (config->converters[i].fast_open == CONFIG_FO_AUTO && has_several))
			return true;
	return false;
}

/* Will TCP_FASTOPEN_NO_COOKIE be set by us? */
static bool is_no_cookie_ours(int fd, const struct exchange *u, const struct config *config)
{
	const struct note *n = note_at(fd);
	struct note_option option;
	int off = 0;

	if (!u->bare && !may_need_no_cookie(config))
		return false;
	if (n && !note_obstacle(n))
		return !note_find(n, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, &option) ||
		       !memcmp(option.value, &off, sizeof(off));
	return !sock_int(fd, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, 0);
}

static struct exchange *new_exchange(struct conn *c, const struct conn_request *request,
				     int64_t now)
{
	struct exchange *u = exchange_new(c->sock_cookie);

	if (!u)
		return NULL;
	u->started_ns = now;
	u->limit_ns = now + (int64_t)request->config->timeout_ms * 1000000;
	u->server = request->server;
	u->family = request->socket_family;
	u->by = request->by;
	u->why = request->why;
	u->mptcp = request->mptcp;
	converters_take(u, request->verdict.converter);
	u->via = request->verdict.via;
	u->asks_mptcp = u->mptcp && request->config->mptcp != CONFIG_MPTCP_OFF &&
			request->config->bypass && request->known != SERVERS_TCP;
	FILL(u->is_probe, request->choice->is_probe);
	converters_advise(u);
	u->fall_back = request->config->fallback == CONFIG_FALLBACK_DIRECT;
	exchange_begin_tries(u);
	return u;
}

/* By the flag or by the option; then the cookie that the server has given goes along (P-23). */
static void use_fast_open(struct exchange *u)
{
	struct servers_entry known;

	if (!u->fast_open || !servers_find(&u->server, state_now_ms(), &known))
		return;
	u->tfo_cookie_len = known.tfo_cookie_len;
	memcpy(u->tfo_cookie, known.tfo_cookie, known.tfo_cookie_len);
}

/* The other numbers of a socket that was duplicated before its connect(). The record of fd is another's as
 * soon as somebody closes it. */
static void copy_to_others(int fd, struct exchange *u)
{
	uint64_t cookie = atomic_load(&u->sock_cookie);

	for (int other = 0; other <= conn_highest(); other++)
		if (other != fd && mark_may_have_copies(mark_get(other)) &&
		    sock_cookie(other) == cookie) {
			conn_copy_record(fd, other, MARK_PENDING);
			if (mark_get(other) == MARK_PENDING)
				epset_swap(other, &u->watch);
		}
}

/* The registrations of a number: exchanged, or the program's again as nothing happens yet. */
static void swap(int fd, struct exchange *u)
{
	epset_swap(fd, &u->watch);
}

static void put_back(int fd, struct exchange *u)
{
	epset_put_back(fd, &u->watch, false);
}

/* From here on everybody sees the connection as pending; then the SYN goes out (TRAPS 2.11). */
static int go(int fd, struct conn_request *request)
{
	struct exchange *u = request->exchange;
	int r;

	conn_raise_highest(fd);
	mark_set(fd, MARK_PENDING);
	request->word = mark_look(fd);
	both_ends_begun(u);
	due_at(fd, u->deadline_ns);
	swap(fd, u);
	if (mark_may_have_copies(request->mark))
		copy_to_others(fd, u);
	r = exchange_open(u, fd, request->nonblocking, request->early);
	conn_set_due(fd, u);
	if (exchange_is_deferred(u))
		conn_each_number(fd, u, put_back);
	else if (exchange_is_pending(u) && mark_look(fd) == request->word) /* else it was closed */
		swap(fd, u);
	return r;
}

/* Nothing could be sent, and the exchange is over: the number is what it was, of which `to` is the mark. Whoever
 * closes it from here on waits; if it has been closed, what is there now is not ours. */
static void withdraw(int fd, uint16_t word, struct exchange *u, bool disconnect, enum mark to)
{
	struct conn *c = conn_peek(fd);

	if (mark_in(word) != MARK_PENDING || !mark_change_seen(fd, word, MARK_OPENING))
		return;
	if (disconnect)
		note_disconnect(fd, note_at(fd));
	end_withdrawn(fd, c);
	epset_put_back(fd, &u->watch, false);
	mark_change(fd, MARK_OPENING, atomic_load(&u->copied) ? MARK_TCP_COPIED : to);
}

/* connect() has returned 0 by now, and is not there to say it. Whoever has taken the connection back has said so. */
SLOW static void tell_unsent(int fd, const struct exchange *u, int err)
{
	struct report r;

	if (exchange_phase(u) != EXCHANGE_DIRECT)
		return;
	report_begin(&r, u, fd);
	report_line(&r, u, LOG_LEVEL_ERROR, u->fall_back ? LOG_FALLS_BACK : LOG_FAILED,
		    "no SYN could be sent", err);
	report_tell_lines(&r);
}

int conn_start(int fd, struct exchange *u, bool nonblocking, struct exchange_early *early)
{
	uint32_t deferred = EXCHANGE_DEFERRED;
	uint16_t word;
	int r;

	exchange_enter();
	word = mark_look(fd);
	if (!atomic_compare_exchange_strong(&u->watch.state, &deferred, EXCHANGE_OPENING)) {
		exchange_leave();
		return -EALREADY;
	}
	u->started_ns = now_ns();
	u->started_ms = state_now_ms();
	u->limit_ns = u->started_ns + (int64_t)shim_config()->timeout_ms * 1000000;
	exchange_begin_tries(u);
	conn_set_due(fd, u);
	if (!nonblocking)
		atomic_store(&u->driver, exchange_thread());
	conn_each_number(fd, u, swap);
	r = exchange_open(u, fd, nonblocking, early);
	conn_set_due(fd, u);
	if (r == -EINTR) /* perhaps nobody waits now */
		atomic_store(&u->driver, 0);
	if (exchange_is_pending(u)) {
		if (mark_look(fd) == word) /* else it was closed */
			conn_each_number(fd, u, swap);
	} else if (r < 0 && r != -EINTR) {
		tell_unsent(fd, u, -r);
		withdraw(fd, word, u, true, MARK_TCP_COPIED);
		conn_settle(fd, u);
	}
	exchange_leave();
	return r;
}

static bool prepare(int fd, struct conn_request *request, int64_t now)
{
	struct conn *c = conn_at(fd, true);
	struct exchange *u;

	request->err = ENOBUFS;
	if (!c)
		return false;
	/* Whoever closes it by libc's calls changes the word. If it was done past them since the twin was
	 * put there, the record is nobody's, and not by mistake the next one's. */
	conn_fill(c, request->sock_cookie ? request->sock_cookie : sock_cookie(fd),
		  &request->server, (uint8_t)request->family);
	c->began_ns = now;
	if (!c->sock_cookie || mark_look(fd) != request->word ||
	    !(u = new_exchange(c, request, now)))
		return false;
	FILL(c->exchange, exchange_index(u));
	c->no_cookie = u->no_cookie = is_no_cookie_ours(fd, u, request->config);
	request->exchange = u;
	request->nonblocking |= request->early && request->early->flags & MSG_DONTWAIT;
	request->until_ns = INT64_MAX;
	u->fast_open = request->early;
	if (request->mark != MARK_TCP) { /* somebody may have set what matters to us */
		u->rcvlowat = conn_lower_rcvlowat(fd);
		/* does the program want its first write to send the SYN? A ring's would pass us by, and one that
		 * hears of it by a signal would not wait */
		bool defers = !request->early && sock_int(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 0);

		u->may_defer = defers && !request->by_signal && !proc_has_uring();
		u->fast_open |= defers;
		if (!request->nonblocking)
			request->until_ns = sock_time_limit(fd, SO_SNDTIMEO);
	}
	use_fast_open(u);
	if (!request->nonblocking)
		FILL(u->driver, exchange_thread());
	return true;
}

/* The family that a socket must have to reach the converter, and whether fd as it is does not, or not without a twin to
 * be given back. */
static int family_needed(int fd, const struct conn_request *request, struct twin_wish *wish)
{
	bool v4 = addr_is_v4(&request->verdict.via);

	/* an IPv6 socket on its way to an IPv4 server takes both, or is_unfit() had said so */
	wish->one_way = request->family == AF_INET6 && v4 && !addr_is_v4(&request->server);
	wish->must = request->family == AF_INET ? !v4 : wish->one_way && twin_own_is_only_v6(fd);
	return wish->must ? AF_INET6 : request->family;
}

/* A number whose socket was made unseen says nothing. */
static bool is_own_mptcp(int fd, enum mark mark)
{
	const struct note *n = mark_is_fresh(mark) ? note_at(fd) : NULL;

	return n && n->is_mptcp;
}

/* For the way to `to`, by a converter or not. What takes system calls is asked last. */
static bool gains_by_mptcp(int fd, struct conn_request *request, struct twin_wish *wish,
			   const struct addr *to, bool is_lost)
{
	const struct paths_socket spare = { twin_open_spare, wish };
	struct multipath_facts facts = {
		.setting = request->config->mptcp,
		.is_own = is_own_mptcp(fd, request->mark),
		.is_bound = note_names_network(note_at(fd)),
		.is_watched = note_watches_path(fd),
		.is_lost = is_lost,
	};
	enum multipath verdict = multipath(&facts);

	if (verdict == MULTIPATH_UNCLEAR) { /* a kernel without MPTCP is the twin's to say */
		facts.paths = twin_has_mptcp() ?
				      paths_to(to, converters_route, state_now_ms(), &spare) :
				      PATHS_SEVERAL;
		verdict = multipath(&facts);
	}
	request->why = multipath_text(verdict);
	if (!multipath_is(verdict))
		twin_close_spare(wish);
	return multipath_is(verdict);
}

/* False: there is none, and without one the converter cannot be reached, or there is no way back from it. */
static bool take_twin(int fd, struct conn_request *request)
{
	struct twin_wish wish = { .mark = request->mark,
				  .nonblocking = request->nonblocking,
				  .word = request->word };
	bool is_lost;

	request->socket_family = request->family;
	/* neither it nor another socket with the same address gets there */
	if (request->family == AF_INET6 && twin_own_is_bound_elsewhere(fd, &request->verdict.via)) {
		request->why = TWIN_BOUND;
		return false;
	}
	if (twin_is(fd)) { /* of an attempt before this one */
		request->socket_family = sock_int(fd, SOL_SOCKET, SO_DOMAIN, request->family);
		request->mptcp = sock_int(fd, SOL_SOCKET, SO_PROTOCOL, 0) == IPPROTO_MPTCP;
		return true;
	}
	wish.family = family_needed(fd, request, &wish);
	is_lost = request->config->mptcp == CONFIG_MPTCP_AUTO &&
		  converters_lose_mptcp(&request->verdict.via, &request->by);
	wish.mptcp = gains_by_mptcp(fd, request, &wish, &request->verdict.via, is_lost);
	request->mptcp = is_own_mptcp(fd, request->mark);
	if ((!wish.mptcp || request->mptcp) && !wish.must && !wish.one_way)
		return true;
	if (twin_take_place(fd, &wish) == 0) {
		request->socket_family = wish.family;
		request->mptcp = wish.mptcp;
		request->sock_cookie = wish.cookie;
		if (wish.obstacle) /* to MPTCP */
			request->why = wish.obstacle;
		return true;
	}
	request->why = wish.obstacle;
	return !wish.must && !(wish.one_way && request->config->fallback == CONFIG_FALLBACK_DIRECT);
}

/* For an IPv6 socket to an IPv6 server that can have no twin for an IPv4 converter: one that has IPv6. */
static bool choose_v6(struct conn_request *request)
{
	const struct pol_verdict rule = { .action = POL_CONVERT };
	struct pol_verdict v;

	if (request->family != AF_INET6 || !addr_is_v4(&request->verdict.via) ||
	    addr_is_v4(&request->server))
		return false;
	converters_unchoose(&request->verdict.via, request->choice);
	request->choice->only_v6 = true;
	v = converters_choose(&request->server, request->family, rule, request->choice);
	if (v.action == POL_CONVERT)
		request->verdict = v;
	return v.action == POL_CONVERT;
}

enum conn_claim conn_claim(int fd, struct conn_request *request)
{
	enum mark mark = mark_get(fd);
	int flags;

	if (fd < 0 || fd >= MARK_MAX || mark == MARK_OTHER ||
	    mark_is_apart) /* what is known of the number is of another thread's */
		return CONN_NOT_OURS;
	conn_own();
	conn_sweep(0);
	if (mark_has_record(mark) || mark == MARK_OPENING)
		return CONN_BUSY;
	exchange_enter();
	conn_raise_highest(fd); /* for a child that is forked meanwhile */
	if (!mark_change(fd, mark, MARK_OPENING)) {
		exchange_leave();
		return CONN_BUSY;
	}
	request->mark = mark;
	request->word = mark_look(fd);
	if (mark ==
	    MARK_UNKNOWN) /* what is noted is of another socket, and shall not be believed */
		note_end(fd);
	/* a bare MSG_FASTOPEN on a connected socket is a plain send, which would put the Connect TLV into
	 * somebody's stream (TRAPS 2.3); the same question fails on everything that is not TCP */
	flags = sock_tcp_state(fd) == TCP_CLOSE ? note_flags(fd, mark) : -1;
	request->nonblocking = flags & O_NONBLOCK;
	request->by_signal = flags & O_ASYNC;
	if (flags >= 0)
		return CONN_CLAIMED;
	conn_unclaim(fd, request);
	return CONN_NOT_OURS;
}

void conn_unclaim(int fd, const struct conn_request *request)
{
	mark_change_seen(fd, request->word, request->mark);
	exchange_leave();
}

static bool unreachable(int fd, struct conn_request *request)
{
	if (sys_fcntl(fd, F_GETFD, 0) < 0) /* closed meanwhile, by a signal handler */
		request->err = EBADF;
	if (request->exchange)
		report_abandoned(request->exchange);
	conn_unclaim(fd, request);
	return false;
}

bool conn_begin(int fd, struct conn_request *request)
{
	int r;

	request->mptcp = false;
	request->exchange = NULL;
	request->err = EAFNOSUPPORT;
	if (epset_is_lost(fd) ||
	    !(take_twin(fd, request) || (choose_v6(request) && take_twin(fd, request))) ||
	    !prepare(fd, request, now_ns())) {
		end_withdrawn(fd, NULL);
		return unreachable(fd, request);
	}
	r = go(fd, request);
	request->interrupted = r == -EINTR;
	if (r == 0 || r == -EINTR) {
		exchange_leave();
		return true;
	}
	request->err = -r;
	/* the last one that was tried, whose errno this is */
	request->verdict.via = request->exchange->via;
	request->verdict.converter = converters_of(request->exchange);
	withdraw(fd, request->word, request->exchange, false, request->mark);
	conn_settle(fd, request->exchange); /* the other numbers of the socket too */
	return unreachable(fd, request);
}

bool conn_bypass(int fd, struct conn_request *request)
{
	struct twin_wish wish = { .family = request->family,
				  .mptcp = true,
				  .mark = request->mark,
				  .nonblocking = request->nonblocking,
				  .word = request->word };

	if (!mark_is_fresh(request->mark))
		return false;
	if (!gains_by_mptcp(fd, request, &wish, &request->server, false)) {
		conn_unclaim(fd, request);
		return true;
	}
	if (request->nonblocking && !request->early) {
		wish.to = request->to;
		wish.to_len = request->to_len;
	}
	if (epset_is_lost(fd)) {
		twin_close_spare(&wish);
		return false;
	}
	if (twin_take_place(fd, &wish) < 0)
		return false;
	request->mptcp = true;
	request->at_once = wish.at_once;
	epset_settle(fd); /* first: of a number with that mark the kernel is asked */
	mark_set(fd, MARK_BYPASS);
	exchange_leave();
	return true;
}

/* The server that was silent behind the converter answers us. */
static void check_fallback(int fd)
{
	struct conn *c = conn_at(fd, false);
	struct exchange *u = conn_exchange(c);
	int state = sock_tcp_state(fd);

	if (state == TCP_SYN_SENT)
		return;
	if (u && state != TCP_CLOSE && conn_is_of(fd, c))
		report_well_without(u);
	mark_change(fd, MARK_FELL_BACK, MARK_TCP_COPIED);
}

void conn_check_direct(int fd)
{
	int saved_errno = errno;
	struct addr server;

	if (mark_get(fd) != MARK_BYPASS)
		check_fallback(fd);
	else if (twin_became_tcp(fd) && sock_addr(fd, SYS_getpeername, &server))
		servers_withdraw(&server, state_now_ms());
	errno = saved_errno;
}

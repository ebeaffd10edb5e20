// SPDX-License-Identifier: MIT
/* How an exchange goes on: the rest of the message, the reply, what the reply means, and what its absence
 * does. */
#include "exchange_int.h"
#include "marks.h"
#include "notes.h"
#include "sock.h"
#include "traces.h"

/* ------------------------------------------------------------------------- the reply */

static enum exchange_event finish(struct exchange_turn *t, const struct hs_result *result)
{
	struct exchange *u = t->u;
	enum exchange_event event;

	report_received(&t->report, u, result);
	if (exchange_asks_info(u) && result->parse == CVT_OK) {
		report_dialect(&t->report, u, result);
		return exchange_is_there(t);
	}
	report_replied(&t->report, u, result);
	if (result->verdict == HS_CONNECTED) {
		report_connected(&t->report, u, t->fd);
		traces_forget_errors(t->fd);
		if (!u->early)
			traces_number_anew(t->fd);
		exchange_end(u, t->fd, EXCHANGE_CONNECTED);
		return EXCHANGE_GOES_ON;
	}
	if (result->verdict != HS_SERVER) {
		if (exchange_retry_answered(t, result, &event))
			return event;
		report_failed(&t->report, u, result, result->err);
	}
	return exchange_give_up(t, (struct exchange_failure){
					   .is_servers = result->verdict == HS_SERVER,
					   .err = result->err,
					   .why = result->parse != CVT_OK ?
							  cvt_verdict_name(result->parse) :
							  cvt_err_name(result->msg.error.code) });
}

/* n: what recv() has said, 0 or an error. */
static enum exchange_event broke_off(struct exchange_turn *t, long n)
{
	struct exchange_failure failure = { .err = n ? (int)-n : ECONNRESET,
					    .why = n ? "no reply" :
						       "closed before the reply was whole" };
	enum exchange_event event;

	if (exchange_asks_info(t->u) && (n == 0 || n == -ECONNRESET))
		return exchange_is_there(t);
	if (exchange_retry_unanswered(t, failure, &event))
		return event;
	report_failed(&t->report, t->u, NULL, failure.err);
	return exchange_give_up(t, failure);
}

static enum exchange_event read_reply(struct exchange_turn *t)
{
	struct exchange *u = t->u;
	struct addr behind;
	bool v4 = addr_is_v4(addr_behind_nat64(&u->server, &behind)); /* as in the message */
	struct hs_result result;

	while (exchange_phase(u) == EXCHANGE_REPLY) {
		long n = exchange_recv(u, t->fd);

		if (n == -EAGAIN || n == -EINTR || !exchange_is_pending(u))
			break;
		if (n <= 0)
			return broke_off(t, n);
		if (hs_took(&u->reply, (size_t)n, v4, &result) != HS_MORE)
			return finish(t, &result);
	}
	return EXCHANGE_GOES_ON;
}

/* ----------------------------------------------------------------------- the message */

/* For how long could it have been sent already? A program that has not looked for longer than it takes to
 * answer has not used up the converter's time. */
#define UNWATCHED_NS 250000000

static int64_t unwatched_ns(const struct exchange *u, int fd)
{
	if (u->sent || now_ns() - u->attempt_ns < UNWATCHED_NS)
		return 0;
	return (int64_t)sock_tcp(fd).info.tcpi_last_ack_recv * 1000000; /* the SYN+ACK */
}

static enum exchange_event send_owed(struct exchange_turn *t)
{
	struct exchange *u = t->u;
	int64_t credit_ns = unwatched_ns(u, t->fd);
	long n = exchange_send(u, t->fd);

	if (n == -EAGAIN || n == -EINTR || !exchange_is_pending(u))
		return EXCHANGE_GOES_ON;
	if (n < 0) {
		report_failed(&t->report, u, NULL, (int)-n);
		return exchange_give_up(
			t, (struct exchange_failure){ .err = (int)-n,
						      .why = "no connection to the converter" });
	}
	u->sent = (uint16_t)(u->sent + n);
	atomic_fetch_add(&u->deadline_ns, credit_ns);
	atomic_fetch_add(&u->limit_ns, credit_ns);
	if (u->sent < u->request.len)
		return EXCHANGE_GOES_ON;
	if (traces_is_corked(note_at(t->fd)))
		traces_push(t->fd);
	exchange_request_taken(u);
	return EXCHANGE_GOES_ON;
}

/* ---------------------------------------------------------------------------- a turn */

/* Has the connection to the converter failed with nothing left to read, and is that failure what
 * the program shall see? Then the kernel shows it better than we could: reading the error would
 * use it up, and epoll would not report it (EPOLLERR). Not behind a FIN, where a reset is EPIPE. */
static bool leave_to_kernel(const struct exchange *u, int fd)
{
	uint64_t got = exchange_phase(u) == EXCHANGE_REPLY ? u->reply.got : 0;
	int unread = 1;

	return !u->fall_back && !u->mptcp && !exchange_has_elsewhere(u) &&
	       !exchange_may_be_too_long(u) && !u->first_err && !(u->tried & EXCHANGE_TRIED_INFO) &&
	       sock_tcp_state(fd) == TCP_CLOSE &&
	       sys_result(syscall(SYS_ioctl, fd, FIONREAD, &unread)) == 0 && unread == 0 &&
	       sock_tcp(fd).received <= got;
}

/* Which errno it is nobody has read: it may be the reset, by which the draft's converter speaks of the
 * server. */
static enum exchange_event left_to_kernel(struct exchange_turn *t)
{
	/* has the converter taken the SYN? An RST is no answer that is timed; told after the connection's end, too, but
	 * not of one that was sent twice: nobody knows which the answer is to */
	const char *why = sock_tcp(t->fd).info.tcpi_rtt ? "no reply" :
							  "no connection to the converter";

	report_line(&t->report, t->u, LOG_LEVEL_ERROR, LOG_FAILED, why, 0);
	report_failed(&t->report, t->u, NULL, ECONNREFUSED);
	traces_forget_errors(t->fd);
	exchange_undo_no_cookie(t->u, t->fd);
	exchange_end(t->u, t->fd, EXCHANGE_DIRECT);
	return EXCHANGE_GOES_ON;
}

/* What has arrived counts, however late it is. (Not inlined: its room is not needed when the turn is
 * told of, which needs much.) */
__attribute__((noinline)) static enum exchange_event look_at_socket(struct exchange_turn *t,
								    bool broken)
{
	enum exchange_phase phase = exchange_phase(t->u);
	enum exchange_event event;

	if (phase != EXCHANGE_OWED && phase != EXCHANGE_REPLY)
		return EXCHANGE_GOES_ON;
	if (t->u->incoming)
		return exchange_read_incoming(t);
	if (broken && leave_to_kernel(t->u, t->fd))
		return left_to_kernel(t);
	event = phase == EXCHANGE_OWED ? send_owed(t) : read_reply(t);
	/* POLLERR, by which every wait for the rest would be over at once */
	if (event == EXCHANGE_GOES_ON && exchange_is_pending(t->u))
		traces_forget_errors(t->fd);
	return event;
}

static enum exchange_event look_at_clock(struct exchange_turn *t)
{
	struct exchange *u = t->u;
	enum exchange_phase phase = exchange_phase(u);
	int64_t now = now_ns(), deadline_ns = atomic_load(&u->deadline_ns);

	if (phase == EXCHANGE_OPENING) /* whoever was at it has died */
		return now < deadline_ns + 1000000000 ? EXCHANGE_GOES_ON : exchange_time_out(t);
	if (phase != EXCHANGE_OWED && phase != EXCHANGE_REPLY)
		return EXCHANGE_GOES_ON;
	if (now >= deadline_ns)
		return exchange_time_out(t);
	return phase == EXCHANGE_REPLY && !u->incoming && now >= atomic_load(&u->look_ns) ?
		       exchange_look(t) :
		       EXCHANGE_GOES_ON;
}

/* Whoever opens it, without the lock, is the only one who may read what he writes. */
static bool is_being_opened(const struct exchange *u)
{
	enum exchange_phase phase = exchange_phase(u);

	return phase == EXCHANGE_DEFERRED ||
	       (phase == EXCHANGE_OPENING && now_ns() < atomic_load(&u->deadline_ns) + 1000000000);
}

/* Member by member: the room for what may be told is half a KiB, which nobody has to wipe. */
static void begin_turn(struct exchange_turn *t, struct exchange *u, int fd,
		       enum exchange_phase before)
{
	t->u = u;
	t->fd = fd;
	t->before = before;
	t->failure = (struct exchange_failure){ .err = 0 };
	report_begin(&t->report, u, fd);
}

enum exchange_event exchange_advance(struct exchange *u, int fd, uint16_t word, bool broken,
				     int *err)
{
	struct exchange_turn t;
	enum exchange_event event;

	if (!exchange_try_lock(u))
		return EXCHANGE_GOES_ON;
	atomic_thread_fence(memory_order_seq_cst); /* conn_forget() has one */
	if (is_being_opened(u) || mark_look(fd) != word) {
		exchange_unlock(u);
		return EXCHANGE_GOES_ON;
	}
	begin_turn(&t, u, fd, EXCHANGE_FREE);
	event = look_at_socket(&t, broken);
	if (event == EXCHANGE_GOES_ON)
		event = look_at_clock(&t);
	exchange_unlock(u);
	if (event == EXCHANGE_ELSEWHERE)
		event = exchange_go_elsewhere(&t);
	report_tell(&t.report, u);
	if (event != EXCHANGE_GOES_ON) /* telling may have taken long */
		exchange_hold(u);
	*err = t.failure.err;
	return event;
}

int exchange_open(struct exchange *u, int fd, bool nonblocking, struct exchange_early *early)
{
	struct exchange_turn t;
	int r;

	begin_turn(&t, u, fd, EXCHANGE_OPENING);
	r = exchange_send_syn(&t, nonblocking, early);
	if (r >= 0 || r == -EINTR) {
		report_tell_lines(&t.report);
		return r;
	}
	t.failure = (struct exchange_failure){ .err = -r, .why = "no SYN could be sent" };
	r = (!early || r != -EOPNOTSUPP) && exchange_try_elsewhere(&t) ? 0 : -t.failure.err;
	if (r < 0) {
		report_nothing(&t.report, u);
		exchange_undo_no_cookie(u, fd);
		exchange_end(u, fd, EXCHANGE_DIRECT);
	}
	report_tell(&t.report, u);
	return r;
}

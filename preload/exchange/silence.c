// SPDX-License-Identifier: MIT
/* Nothing comes: what may help, whether anybody is there at all, and in the end whose fault it was. */
#include "exchange_int.h"

#include "sock.h"

/* A server that is mute looks the same; only an attempt that fares better tells (report.h). */
static bool is_held(const struct exchange *u, int fd)
{
	return exchange_may_be_held(u) && sock_has_syn_data(fd) && sock_is_mptcp(fd);
}

/* What speaks for the converter must be newer than half of its part of the time. */
static int64_t evidence_ns(const struct exchange *u)
{
	return u->part_ns / 2 + atomic_load(&u->deadline_ns) / 2;
}

/* By this exchange or another one: has it had the time to answer? */
static bool was_asked(const struct exchange *u, int64_t since_ns)
{
	int64_t asked_ns = report_asked_ns(u);

	return u->tried & EXCHANGE_TRIED_INFO ||
	       (asked_ns >= since_ns && asked_ns + exchange_ask_window_ns(u) <= now_ns());
}

static struct blame_facts facts(const struct exchange *u, const struct tcp_info *info,
				int64_t since_ns)
{
	bool has_sent = exchange_phase(u) == EXCHANGE_REPLY;

	return (struct blame_facts){
		.has_syn_ack = info->tcpi_state != TCP_SYN_SENT && info->tcpi_state != TCP_CLOSE,
		.has_sent = has_sent,
		.has_ack = has_sent && info->tcpi_unacked == 0,
		.has_begun = has_sent && u->reply.got,
		.is_alive = u->tried & EXCHANGE_TRIED_AGAIN || report_is_alive(u, since_ns),
		.was_asked = was_asked(u, since_ns),
	};
}

static enum exchange_event ask(struct exchange_turn *t)
{
	return exchange_retry(t, EXCHANGE_TRIED_INFO, "no reply; is the converter there?");
}

enum exchange_event exchange_is_there(struct exchange_turn *t)
{
	report_alive(&t->report, t->u);
	return exchange_retry(t, EXCHANGE_TRIED_AGAIN, "it is there, the server is silent");
}

static bool is_to_ask(const struct exchange *u, int fd, bool soon)
{
	int64_t since_ns = soon ? u->part_ns : evidence_ns(u);
	struct tcp_info info = sock_tcp(fd).info;
	struct blame_facts f = facts(u, &info, since_ns);

	return blame(&f) == BLAME_UNCLEAR && !(soon && f.has_syn_ack) &&
	       report_may_ask(u, since_ns);
}

enum exchange_event exchange_look(struct exchange_turn *t)
{
	struct exchange *u = t->u;
	int64_t now = now_ns(), deadline_ns = atomic_load(&u->deadline_ns);

	exchange_look_at(u, now);
	if (u->reply.got)
		return EXCHANGE_GOES_ON;
	if (exchange_may_be_lost(u) && sock_tcp_state(t->fd) == TCP_SYN_SENT)
		return exchange_retry(t, EXCHANGE_TRIED_SYN, "no answer to the SYN");
	if (exchange_may_ask(u) && now >= deadline_ns - exchange_ask_window_ns(u))
		return is_to_ask(u, t->fd, false) ? ask(t) : EXCHANGE_GOES_ON;
	if (exchange_may_ask_soon(u) && now >= exchange_ask_soon_ns(u) && is_to_ask(u, t->fd, true))
		return ask(t);
	if (now < exchange_half_ns(u))
		return EXCHANGE_GOES_ON;
	if (is_held(u, t->fd)) {
		u->no_syn_data = true;
		return exchange_retry(t, EXCHANGE_TRIED_NO_DATA, "no reply to the data in the SYN");
	}
	if (exchange_may_be_too_long(u) && sock_tcp_state(t->fd) == TCP_ESTABLISHED)
		return exchange_retry_base(t, ETIMEDOUT, "no reply to a Connect TLV with options");
	return EXCHANGE_GOES_ON;
}

/* ------------------------------------------------------------------- out of time */

static enum exchange_event out_of_time(struct exchange_turn *t, enum blame b)
{
	struct exchange *u = t->u;

	if (blame_counts(b)) {
		report_failed(&t->report, u, NULL, ETIMEDOUT);
		t->report.unclear = u->unclear;
	}
	u->first_err = 0;
	u->is_in_doubt = b == BLAME_SERVER;
	t->failure = (struct exchange_failure){ .err = ETIMEDOUT, .why = blame_text(b) };
	return exchange_give_up_for_good(t);
}

/* The others may have the rest of the time. That this one was at fault is told when another has
 * fared better. */
static enum exchange_event move_on(struct exchange_turn *t, enum blame b, bool is_unheard)
{
	t->u->unheard |= (uint8_t)((is_unheard ? 1U : 0U) << t->u->moves);
	t->before = exchange_phase(t->u);
	t->failure = (struct exchange_failure){ .err = ETIMEDOUT, .why = blame_text(b) };
	exchange_hold(t->u);
	return EXCHANGE_ELSEWHERE;
}

/* Nobody looked when it was time to ask: until there is an answer, or none. But a program that has been
 * waiting does not wait longer for that; it is nobody's fault then, and the next one will ask. */
#define LATE_NS 50000000

static enum exchange_event ask_late(struct exchange_turn *t)
{
	struct exchange *u = t->u;
	bool is_ours;
	int64_t until_ns;

	if (now_ns() < atomic_load(&u->deadline_ns) + LATE_NS)
		return out_of_time(t, BLAME_NOBODY);
	is_ours = report_may_ask(u, evidence_ns(u));
	until_ns = report_asked_ns(u) + exchange_ask_window_ns(u);
	atomic_store(&u->limit_ns, until_ns);
	atomic_store(&u->deadline_ns, until_ns);
	return is_ours ? ask(t) : EXCHANGE_GOES_ON;
}

enum exchange_event exchange_time_out(struct exchange_turn *t)
{
	struct exchange *u = t->u;
	struct tcp_info info = sock_tcp(t->fd).info;
	struct blame_facts f = facts(u, &info, evidence_ns(u));
	enum blame b = blame(&f);
	int64_t deadline_ns = atomic_load(&u->deadline_ns);
	bool is_last = deadline_ns >= atomic_load(&u->limit_ns);

	if (u->incoming)
		return exchange_refuse(t, "no message in time");
	if (!is_last) /* time in which nobody has looked is not that of the others */
		atomic_fetch_add(&u->limit_ns, now_ns() - deadline_ns);
	if (exchange_phase(u) == EXCHANGE_OPENING)
		return out_of_time(t, BLAME_NOBODY);
	if (!is_last && b == BLAME_SERVER) {
		u->stays = true;
		atomic_store(&u->deadline_ns, atomic_load(&u->limit_ns));
		exchange_look_at(u, now_ns());
		return EXCHANGE_GOES_ON;
	}
	if (!is_last && exchange_has_elsewhere(u))
		return move_on(t, b, !f.has_syn_ack);
	if (b == BLAME_UNCLEAR && exchange_may_try(u, EXCHANGE_TRIED_INFO))
		return ask_late(t);
	return out_of_time(t, b);
}

/* ---------------------------------------------------------- the program does not wait */

/* Not even a SYN+ACK, by two SYNs, and the time that the answer to one takes is over; nor has anybody else
 * been answered meanwhile. */
static bool is_unheard(const struct exchange *u, int fd)
{
	struct tcp_info info = sock_tcp(fd).info;
	struct blame_facts f = facts(u, &info, u->part_ns);

	return info.tcpi_state == TCP_SYN_SENT && blame_counts(blame(&f)) &&
	       (u->tried & EXCHANGE_TRIED_SYN || info.tcpi_retransmits);
}

/* Without its answer; others shall not take that for silence. */
static void leave_question(const struct exchange *u)
{
	if (u->tried & EXCHANGE_TRIED_INFO && !(u->tried & EXCHANGE_TRIED_AGAIN) &&
	    report_asked_ns(u) + exchange_ask_window_ns(u) > now_ns())
		report_not_asked(u);
}

void exchange_given_up(struct exchange *u, int fd)
{
	struct report r;
	bool is_late = false, is_told = false, is_its;

	if (!exchange_try_lock(u)) /* somebody is at it, who writes what would be read here */
		return;
	if (exchange_phase(u) == EXCHANGE_OWED || exchange_phase(u) == EXCHANGE_REPLY) {
		is_late = exchange_is_overdue(u);
		is_told = is_late || log_is_on(LOG_LEVEL_INFO);
		leave_question(u);
	}
	if (is_told) {
		/* else the number is another socket's by now */
		is_its = sock_cookie(fd) == atomic_load(&u->sock_cookie);
		report_begin(&r, u, is_its ? fd : -1);
		r.unclear = u->unclear & u->unheard;
		if (is_late && r.fd >= 0 && is_unheard(u, r.fd))
			report_failed(&r, u, NULL, ETIMEDOUT);
		report_line(&r, u, LOG_LEVEL_INFO, LOG_GIVEN_UP, "by the program", 0);
	}
	exchange_unlock(u);
	if (is_told)
		report_tell(&r, u);
}

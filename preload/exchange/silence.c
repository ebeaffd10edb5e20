// SPDX-License-Identifier: MIT
/* Nothing comes: what may help, whether anybody is there at all, and in the end whose fault it was. */
#include "exchange_int.h"

#include "sock.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>

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
static bool was_asked(const struct exchange *u)
{
	int64_t asked_ns = report_asked_ns(u);

	return u->tried & EXCHANGE_TRIED_INFO ||
	       (asked_ns >= evidence_ns(u) && asked_ns + exchange_ask_window_ns(u) <= now_ns());
}

static struct blame_facts facts(const struct exchange *u, int fd)
{
	struct tcp_info info = { .tcpi_state = 0 };
	socklen_t len = offsetof(struct tcp_info, tcpi_sacked);
	bool has_sent = exchange_phase(u) == EXCHANGE_REPLY;

	sys_getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len);
	return (struct blame_facts){
		.has_syn_ack = info.tcpi_state != TCP_SYN_SENT && info.tcpi_state != TCP_CLOSE,
		.has_sent = has_sent,
		.has_ack = has_sent && info.tcpi_unacked == 0,
		.has_begun = has_sent && u->reply.got,
		.is_alive = u->tried & EXCHANGE_TRIED_AGAIN || report_is_alive(u, evidence_ns(u)),
		.was_asked = was_asked(u),
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

static bool is_to_ask(const struct exchange *u, int fd)
{
	struct blame_facts f = facts(u, fd);

	return blame(&f) == BLAME_UNCLEAR && report_may_ask(u, evidence_ns(u));
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
		return is_to_ask(u, t->fd) ? ask(t) : EXCHANGE_GOES_ON;
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
		report_unclear(&t->report, u);
	}
	u->first_err = 0;
	u->is_in_doubt = b == BLAME_SERVER;
	t->failure = (struct exchange_failure){ .err = ETIMEDOUT, .why = blame_text(b) };
	return exchange_give_up_for_good(t);
}

/* The others may have the rest of the time. That this one was at fault is told when another has
 * fared better. */
static enum exchange_event move_on(struct exchange_turn *t, enum blame b)
{
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
	struct blame_facts f = facts(u, t->fd);
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
		return move_on(t, b);
	if (b == BLAME_UNCLEAR && exchange_may_try(u, EXCHANGE_TRIED_INFO))
		return ask_late(t);
	return out_of_time(t, b);
}

// SPDX-License-Identifier: MIT
/* Nothing comes: what may help, whether anybody is there at all, and in the end whose fault it was. */
#include "exchange_int.h"

#include "real.h"
#include "shim.h"
#include "twin.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>

/* May the reply be held back, as data in the SYN has not been seen to work with MPTCP (LINUX-FACTS
 * 2b.3)? */
static bool may_be_held(const struct exchange *u)
{
	return u->syn_data && u->mptcp && !u->is_proven &&
	       exchange_may_try(u, EXCHANGE_TRIED_NO_DATA);
}

/* A server that is mute looks the same; only an attempt that fares better tells (report.h). */
static bool is_held(const struct exchange *u, int fd)
{
	struct tcp_info info = { .tcpi_options = 0 };
	socklen_t len = offsetof(struct tcp_info, tcpi_rto), size = sizeof(int);
	int is_mptcp = 0;

	return may_be_held(u) && sys_getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
	       info.tcpi_options & TCPI_OPT_SYN_DATA &&
	       sys_getsockopt(fd, IPPROTO_TCP, TCP_IS_MPTCP, &is_mptcp, &size) == 0 && is_mptcp;
}

#define PATIENCE_LEAST_NS 250000000
#define PATIENCE_MOST_NS  900000000

int64_t exchange_patience_ns(const struct exchange *u)
{
	int64_t ns = u->rtt_us ? 3000LL * u->rtt_us : PATIENCE_MOST_NS;

	return ns < PATIENCE_LEAST_NS ? PATIENCE_LEAST_NS :
	       ns > PATIENCE_MOST_NS  ? PATIENCE_MOST_NS :
					ns;
}

/* Half of this attempt's time. */
static int64_t half_ns(const struct exchange *u)
{
	return u->attempt_ns / 2 + atomic_load(&u->deadline_ns) / 2;
}

/* The last part of the time is for asking whether the converter is there at all (blame.h). */
static int64_t ask_window_ns(const struct exchange *u)
{
	int64_t most = (int64_t)shim_config()->timeout_ms * 1000000 / 4;
	int64_t ns = exchange_patience_ns(u);

	return ns < most ? ns : most;
}

static bool may_ask(const struct exchange *u)
{
	return exchange_may_try(u, EXCHANGE_TRIED_INFO) && !exchange_has_elsewhere(u);
}

static int64_t sooner(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* The kernel sends a lost SYN again after a second and without the data, which is no answer to a
 * converter that ignores such SYNs (PROTOCOL L4). So ours comes first. */
static bool may_be_lost(const struct exchange *u)
{
	return u->syn_data && exchange_may_try(u, EXCHANGE_TRIED_SYN);
}

/* What is there to look for, and when? */
static void look_at(struct exchange *u, int64_t now)
{
	int64_t look_ns = INT64_MAX, ask_ns = atomic_load(&u->deadline_ns) - ask_window_ns(u);
	int64_t lost_ns = u->attempt_ns + exchange_patience_ns(u), half = half_ns(u);

	if (may_be_lost(u) && now < sooner(lost_ns, half))
		look_ns = sooner(lost_ns, half);
	if ((may_be_held(u) || exchange_may_be_too_long(u)) && now < half)
		look_ns = sooner(look_ns, half);
	if (may_ask(u) && now < ask_ns)
		look_ns = sooner(look_ns, ask_ns);
	atomic_store(&u->look_ns, look_ns);
}

void exchange_look_later(struct exchange *u)
{
	u->attempt_ns = now_ns();
	look_at(u, u->attempt_ns);
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
	       (asked_ns >= evidence_ns(u) && asked_ns + ask_window_ns(u) <= now_ns());
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

static enum exchange_step ask(struct exchange_turn *t)
{
	return exchange_retry(t, EXCHANGE_TRIED_INFO, "no reply; is the converter there?");
}

enum exchange_step exchange_is_there(struct exchange_turn *t)
{
	report_alive(&t->report, t->u);
	return exchange_retry(t, EXCHANGE_TRIED_AGAIN, "it is there, the server is silent");
}

static bool is_to_ask(const struct exchange *u, int fd)
{
	struct blame_facts f = facts(u, fd);

	return blame(&f) == BLAME_UNCLEAR && report_may_ask(u, evidence_ns(u));
}

enum exchange_step exchange_look(struct exchange_turn *t)
{
	struct exchange *u = t->u;
	int64_t now = now_ns(), deadline_ns = atomic_load(&u->deadline_ns);

	look_at(u, now);
	if (u->reply.got)
		return STEP_DONE;
	if (may_be_lost(u) && exchange_tcp_state(t->fd) == TCP_SYN_SENT)
		return exchange_retry(t, EXCHANGE_TRIED_SYN, "no answer to the SYN");
	if (may_ask(u) && now >= deadline_ns - ask_window_ns(u))
		return is_to_ask(u, t->fd) ? ask(t) : STEP_DONE;
	if (now < half_ns(u))
		return STEP_DONE;
	if (is_held(u, t->fd)) {
		u->no_syn_data = true;
		return exchange_retry(t, EXCHANGE_TRIED_NO_DATA, "no reply to the data in the SYN");
	}
	if (exchange_may_be_too_long(u) && exchange_tcp_state(t->fd) == TCP_ESTABLISHED)
		return exchange_retry_base(t, ETIMEDOUT, "no reply to a Connect TLV with options");
	return STEP_DONE;
}

/* ------------------------------------------------------------------- out of time */

static enum exchange_step out_of_time(struct exchange_turn *t, enum blame b)
{
	struct exchange *u = t->u;

	if (b != BLAME_SERVER && b != BLAME_NOBODY) {
		report_failed(&t->report, u, NULL, ETIMEDOUT);
		report_unclear(&t->report, u);
	}
	u->first_err = 0;
	u->is_in_doubt = b == BLAME_SERVER;
	t->failure = (struct exchange_failure){ .err = ETIMEDOUT, .why = blame_text(b) };
	exchange_give_up_for_good(t);
	return STEP_DONE;
}

/* The others may have the rest of the time. That this one was at fault is told when another has
 * fared better. */
static enum exchange_step move_on(struct exchange_turn *t, enum blame b)
{
	t->before = exchange_phase(t->u);
	t->failure = (struct exchange_failure){ .err = ETIMEDOUT, .why = blame_text(b) };
	exchange_go_on(t->u, EXCHANGE_OPENING);
	return STEP_ELSEWHERE;
}

/* Nobody looked when it was time to ask: until there is an answer, or none. But a program that has been
 * waiting does not wait longer for that; it is nobody's fault then, and the next one will ask. */
#define LATE_NS 50000000

static enum exchange_step ask_late(struct exchange_turn *t)
{
	struct exchange *u = t->u;
	bool is_ours;
	int64_t until_ns;

	if (now_ns() < atomic_load(&u->deadline_ns) + LATE_NS)
		return out_of_time(t, BLAME_NOBODY);
	is_ours = report_may_ask(u, evidence_ns(u));
	until_ns = report_asked_ns(u) + ask_window_ns(u);
	atomic_store(&u->limit_ns, until_ns);
	atomic_store(&u->deadline_ns, until_ns);
	return is_ours ? ask(t) : STEP_DONE;
}

enum exchange_step exchange_time_out(struct exchange_turn *t)
{
	struct exchange *u = t->u;
	struct blame_facts f = facts(u, t->fd);
	enum blame b = blame(&f);
	int64_t deadline_ns = atomic_load(&u->deadline_ns);
	bool is_last = deadline_ns >= atomic_load(&u->limit_ns);

	if (!is_last) /* time in which nobody has looked is not that of the others */
		atomic_fetch_add(&u->limit_ns, now_ns() - deadline_ns);
	if (exchange_phase(u) == EXCHANGE_OPENING)
		return out_of_time(t, BLAME_NOBODY);
	if (!is_last && b == BLAME_SERVER) {
		u->stays = true;
		atomic_store(&u->deadline_ns, atomic_load(&u->limit_ns));
		look_at(u, now_ns());
		return STEP_DONE;
	}
	if (!is_last && exchange_has_elsewhere(u))
		return move_on(t, b);
	if (b == BLAME_UNCLEAR && exchange_may_try(u, EXCHANGE_TRIED_INFO))
		return ask_late(t);
	return out_of_time(t, b);
}

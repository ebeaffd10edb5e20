// SPDX-License-Identifier: MIT
#include "report.h"

#include "converters.h"
#include "counts.h"
#include "message.h"
#include "sock.h"
#include "shim.h"

#include <stddef.h>
#include <string.h>

/* A connection that took so long may have sent its SYN again, without the data. Faster ones are not
 * asked once it is known that the path takes SYN data: that is a system call. */
#define SYN_AGAIN_NS   900000000
#define MPTCP_AGAIN_NS 1000000000

void report_begin(struct report *r, const struct exchange *u, int fd)
{
	r->fd = fd;
	r->protocol = NULL;
	r->rtt_us = -1;
	r->lost_syn_data = false;
	r->converter = atomic_load_explicit(&u->converter, memory_order_relaxed);
	r->health = u->health;
	r->server = u->server;
	r->started_ns = u->started_ns;
	r->started_ms = u->started_ms;
	r->n_events = r->n_lines = r->unclear = 0;
	r->converted = r->failed = r->learned = false;
}

static void add(struct report *r, struct report_event e)
{
	if (r->n_events < REPORT_EVENTS)
		r->events[r->n_events++] = e;
}

/* ------------------------------------------------------------------ who is there */

/* In this process, when each converter has last answered anything; who asks it whether it is there.
 * Two that share a row only cost a question more. */
#define ALIVE_ROWS 32

static struct alive {
	_Atomic uint64_t whom;
	_Atomic int64_t answered_ns, asked_ns, converted_ns, mptcp_ns;
} rows[ALIVE_ROWS];

static uint64_t hash_of(const struct health_key *key)
{
	uint64_t h = key->network ^ key->converter.port, words[2];

	memcpy(words, key->converter.ip, sizeof(words));
	for (size_t i = 0; i < 2; i++) {
		h = (h ^ words[i]) * 0x9e3779b97f4a7c15;
		h ^= h >> 32;
	}
	return h | 1;
}

/* NULL: another converter has it. */
static struct alive *row_of(const struct exchange *u, bool take)
{
	uint64_t whom = hash_of(&u->health);
	struct alive *row = &rows[(whom >> 7) % ALIVE_ROWS];

	if (atomic_load(&row->whom) == whom)
		return row;
	if (!take)
		return NULL;
	atomic_store(&row->answered_ns, 0);
	atomic_store(&row->asked_ns, 0);
	atomic_store(&row->converted_ns, 0);
	atomic_store(&row->mptcp_ns, 0);
	atomic_store(&row->whom, whom);
	return row;
}

bool report_is_alive(const struct exchange *u, int64_t since_ns)
{
	const struct alive *row = row_of(u, false);

	return row && atomic_load(&row->answered_ns) >= since_ns;
}

int64_t report_asked_ns(const struct exchange *u)
{
	const struct alive *row = row_of(u, false);

	return row ? atomic_load(&row->asked_ns) : INT64_MIN;
}

bool report_may_ask(const struct exchange *u, int64_t since_ns)
{
	struct alive *row = row_of(u, true);
	int64_t before = atomic_load(&row->asked_ns);

	return before < since_ns &&
	       atomic_compare_exchange_strong(&row->asked_ns, &before, now_ns());
}

void report_not_asked(const struct exchange *u)
{
	struct alive *row = row_of(u, false);

	if (row)
		atomic_store(&row->asked_ns, 0);
}

void report_alive(struct report *r, const struct exchange *u)
{
	atomic_store(&row_of(u, true)->answered_ns, now_ns());
	add(r, (struct report_event){ .kind = HEALTH_ANSWERED, .what = true });
}

/* The same to a Connect TLV. */
static void report_answered(struct report *r, const struct exchange *u)
{
	struct alive *row = row_of(u, true);
	int64_t now = now_ns();

	atomic_store(&row->answered_ns, now);
	atomic_store(&row->converted_ns, now);
	add(r, (struct report_event){ .kind = HEALTH_ANSWERED });
}

/* ------------------------------------------------------------------- what a reply says */

/* The Extended TCP Header tells what the server answered to MP_CAPABLE, if that was asked. */
static void learn(struct report *r, const struct exchange *u, struct cvt_span options)
{
	struct cvt_opt option;
	size_t at = 0;

	if (!u->has_options || !memchr(u->asked, CVT_OPT_MPTCP, u->n_asked) || !options.p)
		return;
	r->learned = true;
	r->mptcp = cvt_has_mp_capable(options);
	r->tfo_cookie_len = 0;
	while (cvt_next_opt(options, &at, &option))
		if (option.kind == CVT_OPT_FAST_OPEN && option.value.len <= SERVERS_COOKIE_MAX) {
			memcpy(r->tfo_cookie, option.value.p, option.value.len);
			r->tfo_cookie_len = (uint8_t)option.value.len;
		}
}

/* What was tried last has been answered: so it was that. Not where the first message got nothing but
 * silence, and the answer explains it: a server that is not there is found out late. */
static void learn_tries(struct report *r, const struct exchange *u, enum hs_verdict verdict)
{
	bool explains = verdict == HS_SERVER, base = u->tried & EXCHANGE_TRIED_BASE;
	bool refuses = base && !(explains && u->first_err == ETIMEDOUT);

	for (unsigned int i = 0; refuses && i < u->n_asked; i++)
		add(r, (struct report_event){ .kind = HEALTH_REFUSES, .what = u->asked[i] });
	if (u->tried & EXCHANGE_TRIED_NO_DATA && !base && !explains)
		add(r, (struct report_event){
			       .kind = HEALTH_WAY, .what = HEALTH_SYN_DATA, .way = HEALTH_HOLDS });
	if (u->has_options && !u->takes_options)
		add(r, (struct report_event){ .kind = HEALTH_TAKES });
}

/* Of the kinds that an error 33 names those that it can be about. */
static void learn_refused(struct report *r, const struct exchange *u, struct cvt_span kinds)
{
	for (unsigned int i = 0; i < u->n_asked; i++)
		if (kinds.len && memchr(kinds.p, u->asked[i], kinds.len))
			add(r,
			    (struct report_event){ .kind = HEALTH_REFUSES, .what = u->asked[i] });
}

void report_dialect(struct report *r, struct exchange *u, const struct hs_result *result)
{
	enum cvt_dialect dialect;

	if (!converters_of(u)->dialect_is_auto || !hs_evidence(result, u->dialect, &dialect))
		return;
	u->dialect = dialect;
	add(r, (struct report_event){ .kind = HEALTH_SPEAKS, .what = (uint8_t)dialect });
}

void report_replied(struct report *r, struct exchange *u, const struct hs_result *result)
{
	struct cvt_span value = result->msg.error.value;

	if (result->parse != CVT_OK)
		return;
	report_dialect(r, u, result);
	if (result->msg.has_error && result->error == CVT_ERR_TCP_OPTION)
		learn_refused(r, u, value);
	if (result->verdict == HS_COOKIE && !converters_of(u)->convert_cookie.len)
		add(r, (struct report_event){ .kind = HEALTH_COOKIE, .what = true });
	if (result->verdict != HS_CONNECTED && result->verdict != HS_SERVER)
		return;
	report_answered(r, u);
	r->unclear = u->unclear;
	learn_tries(r, u, result->verdict);
	learn(r, u, result->msg.ext_tcp_header);
}

void report_refused_cookie(struct report *r)
{
	add(r, (struct report_event){ .kind = HEALTH_COOKIE, .what = false });
}

/* ------------------------------------------------------------------ what the path does */

/* tcpi_fastopen_client_fail, which libc's structure has not: two bits of the byte before
 * tcpi_rto. 2: not acknowledged, 3: the SYN was sent again, without the data */
static unsigned int why_syn_data_failed(const union sock_tcp *tcp)
{
	return tcp->bytes[offsetof(struct tcp_info, tcpi_rto) - 1] >> 1 & 3;
}

static bool syn_data_works(const union sock_tcp *tcp)
{
	return why_syn_data_failed(tcp) < 2 && tcp->info.tcpi_options & TCPI_OPT_SYN_DATA;
}

/* Was the SYN's data acknowledged by the SYN+ACK (LINUX-FACTS 1.9), and how long did that take? Returns
 * whether it was lost. */
static bool look_at_syn_data(struct report *r, const struct exchange *u, int fd, bool over_mptcp)
{
	const union sock_tcp tcp = sock_tcp(fd);
	unsigned int fail = why_syn_data_failed(&tcp);
	bool works = syn_data_works(&tcp);

	if (!tcp.info.tcpi_state)
		return false;
	if (fail < 3)
		add(r, (struct report_event){ .kind = HEALTH_ANSWERED,
					      .number = (int32_t)tcp.info.tcpi_rtt });
	/* what works over TCP may be held back over MPTCP */
	if (fail >= 2 || works)
		add(r, (struct report_event){ .kind = HEALTH_WAY,
					      .what = (uint8_t)u->syn_path,
					      .way = !works	? HEALTH_LOSES :
						     over_mptcp ? HEALTH_WORKS :
								  HEALTH_PASSES,
					      .stripped = fail == 2,
					      .number = u->syn_data_lost });
	return fail >= 2;
}

/* Seen to be MPTCP less than a second ago, and nobody reads what this one is: it is not worth a system
 * call. If the path has stopped taking it, that is found out a second late. */
static bool is_mptcp(const struct exchange *u, int fd, bool *asked)
{
	struct alive *row = row_of(u, true);
	int64_t now = tick_ns();
	bool is;

	*asked = u->mptcp &&
		 (log_is_on(LOG_LEVEL_INFO) || now - atomic_load(&row->mptcp_ns) >= MPTCP_AGAIN_NS);
	if (!*asked)
		return u->mptcp;
	is = sock_is_mptcp(fd);
	atomic_store(&row->mptcp_ns, is ? now : 0);
	return is;
}

SLOW static void describe(struct report *r, const struct exchange *u, bool over_mptcp,
			  enum log_event event)
{
	const union sock_tcp tcp = sock_tcp(r->fd);

	if (tcp.info.tcpi_rtt)
		r->rtt_us = (int)tcp.info.tcpi_rtt;
	r->lost_syn_data = tcp.info.tcpi_state && u->syn_data && !syn_data_works(&tcp);
	r->protocol = over_mptcp ? "MPTCP" : "TCP";
	report_line(r, u, LOG_LEVEL_INFO, event, "connected", 0);
	if (over_mptcp == u->mptcp && r->n_lines)
		r->lines[r->n_lines - 1].reason = u->why;
}

void report_connected(struct report *r, struct exchange *u, int fd)
{
	bool slow = u->tried & EXCHANGE_TRIED_SYN || now_ns() - u->started_ns > SYN_AGAIN_NS;
	bool asked, over_mptcp = is_mptcp(u, fd, &asked), data_is_lost = false;

	r->converted = true;
	if (u->syn_data &&
	    (!u->is_proven || slow || shim_config()->strict || u->mptcp != over_mptcp))
		data_is_lost = look_at_syn_data(r, u, fd, over_mptcp);
	/* Did the path take MP_CAPABLE there and back? Without the SYN's data it does not matter if it
	 * did: the connection is one of TCP in any case (LINUX-FACTS 2b.2). */
	if (asked && !data_is_lost)
		add(r, (struct report_event){ .kind = HEALTH_WAY,
					      .what = HEALTH_MPTCP,
					      .way = over_mptcp ? HEALTH_WORKS : HEALTH_LOSES });
	if (log_is_on(LOG_LEVEL_INFO))
		describe(r, u, over_mptcp, LOG_CONVERTED);
}

void report_accepted(struct report *r, struct exchange *u)
{
	if (!log_is_on(LOG_LEVEL_INFO))
		return;
	u->syn_data = sock_has_syn_data(r->fd);
	describe(r, u, u->mptcp && sock_is_mptcp(r->fd), LOG_ACCEPTED);
}

/* ------------------------------------------------------------------------- failures */

static int delay_of(const struct hs_result *result)
{
	if (!result || result->parse != CVT_OK || !result->msg.has_error)
		return HEALTH_NO_DELAY;
	return health_delay_s(result->msg.error.code, result->msg.error.value);
}

/* It works, and wants to be asked otherwise: what is known now, so that the next one will be. Not if it
 * says so of a message that is as it would have it: the next one would be the same. */
static bool only_wants_more(const struct exchange *u, const struct hs_result *result)
{
	const unsigned int tried = EXCHANGE_TRIED_COOKIE | EXCHANGE_TRIED_NO_COOKIE;

	if (!result || result->parse != CVT_OK || !result->msg.has_error)
		return false;
	if (result->error == CVT_ERR_TCP_OPTION)
		return options_asked(u, result->msg.error.value);
	return result->verdict == HS_COOKIE && !u->sent_cookie && !(u->tried & tried) &&
	       cookies_len(u);
}

void report_failed(struct report *r, const struct exchange *u, const struct hs_result *result,
		   int err)
{
	r->failed = true;
	/* the draft's converter says by a reset that the server has refused, too (PROTOCOL 2) */
	if (only_wants_more(u, result) ||
	    (!result && err == ECONNREFUSED && u->dialect == CVT_DIALECT_DRAFT02))
		return;
	add(r, (struct report_event){ .kind = HEALTH_FAILED, .number = delay_of(result) });
}

void report_nothing(struct report *r, struct exchange *u)
{
	if (u->is_probe &&
	    atomic_exchange(&u->is_probe, false)) /* who closes it may be another thread */
		add(r, (struct report_event){ .kind = HEALTH_UNPROBED });
}

void report_abandoned(struct exchange *u)
{
	struct report r;

	if (!u->is_probe)
		return;
	report_begin(&r, u, -1);
	report_nothing(&r, u);
	report_tell(&r, u);
}

/* Of one that has answered others' Connects meanwhile no more is known than that this server does not hear it. */
void report_well_without(struct exchange *u)
{
	const struct alive *row = row_of(u, false);
	struct report r;

	report_begin(&r, u, -1);
	if (!row || atomic_load(&row->converted_ns) < u->part_ns) {
		r.failed = true;
		add(&r, (struct report_event){
				.kind = HEALTH_FAILED, .what = true, .number = HEALTH_NO_DELAY });
	}
	report_line(&r, u, LOG_LEVEL_INFO, LOG_ANSWERS, "the converter was silent about it", 0);
	report_tell(&r, u);
}

/* -------------------------------------------------------------------------- telling */

/* What follows is at the bottom of deep stacks: each of it has the frame to itself. */

/* What is going to be otherwise because of this. */
SLOW static void log_lost(const struct report *r, const struct report_event *e)
{
	const char *what = NULL;

	if (e->stripped && shim_config()->strict)
		what = "it is not used from here any more (strict)";
	else if (e->number + 1 == HEALTH_LOST_MAX &&
		 converters_at(r->converter)->fast_open == CONFIG_FO_AUTO)
		what = "from here its message follows the SYN from now on";
	if (what)
		log_line(LOG_LEVEL_INFO, "converter %s: data in the SYN is lost: %s",
			 converters_at(r->converter)->name, what);
}

SLOW static void tell_cookie(const struct report *r, struct health_event *e,
			     const struct exchange *u, int64_t now_ms)
{
	uint8_t room[HEALTH_COOKIE_MAX];
	size_t len = cookies_len(u);

	if (len <= sizeof(room) && cookies_copy(u, room, len))
		e->bytes = (struct cvt_span){ room, len };
	health_report(&r->health, e, now_ms);
	e->bytes = (struct cvt_span){ NULL, 0 };
}

/* May it be believed for a day? */
static bool is_lasting(const struct health_event *e)
{
	return e->kind == HEALTH_REFUSES ||
	       (e->kind == HEALTH_WAY && (e->way == HEALTH_LOSES || e->way == HEALTH_HOLDS));
}

/* If it will be, from now on, it is told of the network alone where the route goes now: the one that was found a
 * while ago may be another one (HEALTH_ROUTE_MS). What is lost once is only counted. */
SLOW static bool is_of_another(const struct report *r, const struct exchange *u,
			       const struct health_event *e, int64_t now_ms)
{
	struct health_key key = r->health;
	struct health h;
	uint8_t way, stripped;

	health_find(&key, now_ms, &h);
	way = e->kind == HEALTH_WAY ? h.way[e->path] : 0;
	stripped = h.stripped;
	if (!health_apply(&h, e, now_ms) ||
	    (e->kind == HEALTH_WAY && h.way[e->path] == way && h.stripped == stripped))
		return false;
	return !converters_is_still_in(&key, &u->by);
}

SLOW static void tell_event(const struct report *r, const struct report_event *short_e,
			    const struct exchange *u, int64_t now_ms)
{
	struct health_event e = {
		.kind = (enum health_event_kind)short_e->kind,
		.started_ms = r->started_ms,
		.retry_ms = shim_config()->retry_ms,
		.delay_s = short_e->number,
		.dialect = (enum cvt_dialect)short_e->what,
		.path = (enum health_path)short_e->what,
		.way = (enum health_way)short_e->way,
		.stripped = short_e->stripped,
		.info = short_e->what,
	};

	if (e.kind == HEALTH_COOKIE && short_e->what) {
		tell_cookie(r, &e, u, now_ms);
		return;
	}
	if (e.kind == HEALTH_ANSWERED)
		e.rtt_us = (uint32_t)short_e->number;
	else if (e.kind == HEALTH_REFUSES)
		e.bytes = (struct cvt_span){ &short_e->what, 1 };
	if (is_lasting(&e) && is_of_another(r, u, &e, now_ms))
		return;
	if (e.kind == HEALTH_WAY && e.way == HEALTH_LOSES && e.path != HEALTH_MPTCP)
		log_lost(r, short_e);
	health_report(&r->health, &e, now_ms);
}

SLOW static void tell_unclear(const struct exchange *u, unsigned int i, int64_t now_ms)
{
	const struct health_event e = { .kind = HEALTH_FAILED,
					.started_ms = u->left_ms[i],
					.retry_ms = shim_config()->retry_ms,
					.delay_s = HEALTH_NO_DELAY };

	health_report(&u->left[i], &e, now_ms);
}

void report_tell(struct report *r, const struct exchange *u)
{
	int64_t now_ms = state_now_ms();

	for (unsigned int i = 0; i < r->n_events; i++)
		tell_event(r, &r->events[i], u, now_ms);
	for (unsigned int i = 0; i < EXCHANGE_MOVES; i++)
		if (r->unclear >> i & 1)
			tell_unclear(u, i, now_ms);
	if (r->converted)
		counts_add(COUNTS_CONVERTED, now_ms);
	if (r->failed)
		counts_add(COUNTS_FAILED, now_ms);
	if (r->learned)
		servers_learn(&r->server, r->mptcp,
			      (struct cvt_span){ r->tfo_cookie, r->tfo_cookie_len }, now_ms);
	report_tell_lines(r);
	report_begin(r, u, r->fd);
}

// SPDX-License-Identifier: MIT
/*
 * The exchange as a machine: every event that a step returns, every retry, every phase, over a socketpair
 * whose other end is the converter. The kernel's part in Fast Open and TCP_INFO, and the clock, are the
 * test's, so nothing waits. What the converter has read is what is judged.
 */
#include "step.h"

#include "converters.h"
#include "exchange_int.h"
#include "message.h"
#include "shim.h"
#include "twin.h"
#include "wait.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include <cmocka.h>

#define MS     1000000LL
#define STREAM "the server's own bytes"

/* ------------------------------------------------------------------------ the kernel */

static struct {
	int ours, theirs;
	int syn_err;  /* of a SYN with data: 0 or an errno */
	size_t room;  /* bytes of it that are taken */
	bool is_full; /* nothing more is taken */
	int state;    /* of TCP */
	unsigned int unacked, retransmits;
	bool has_mptcp, has_syn_data;
	int64_t now_ns;
	uint64_t cookie, network;
	int syns, connects, resets, looks;
} kernel;

int64_t __wrap_clock_ns(clockid_t id);
/* As libc's: of the arguments that a call has not, nothing is done with the values. */
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f);
long __real_syscall(long number, ...);

int64_t __wrap_clock_ns(clockid_t id)
{
	(void)id;
	return kernel.now_ns;
}

static long failed(int err)
{
	errno = err;
	return -1;
}

static long send_syn(const struct msghdr *msg)
{
	size_t n = msg->msg_iov[0].iov_len;

	kernel.syns++;
	if (kernel.syn_err)
		return failed(kernel.syn_err);
	return send(kernel.ours, msg->msg_iov[0].iov_base, n < kernel.room ? n : kernel.room, 0);
}

static long connect_it(const struct sockaddr *to)
{
	char gone[2048];

	if (to->sa_family != AF_UNSPEC) {
		kernel.connects++;
		return failed(EINPROGRESS);
	}
	kernel.resets++;
	while (recv(kernel.ours, gone, sizeof(gone), MSG_DONTWAIT) > 0)
		;
	return 0;
}

static long tell_option(int level, int name, void *value, socklen_t *len)
{
	union {
		struct tcp_info info; /* libc's, which ends before the kernel's */
		uint8_t bytes[256];
		int is;
	} answer = { .bytes = { 0 } };

	if (level == SOL_SOCKET && name == SO_COOKIE) {
		memcpy(value, &kernel.cookie, *len);
		return 0;
	}
	if (level != IPPROTO_TCP)
		return failed(ENOPROTOOPT);
	if (name == TCP_INFO)
		answer.info = (struct tcp_info){ .tcpi_state = (uint8_t)kernel.state,
						 .tcpi_unacked = kernel.unacked,
						 .tcpi_retransmits = (uint8_t)kernel.retransmits,
						 .tcpi_options = kernel.has_syn_data ?
									 TCPI_OPT_SYN_DATA :
									 0 };
	else
		answer.is = kernel.has_mptcp;
	if (*len > sizeof(answer))
		*len = sizeof(answer);
	memcpy(value, &answer, *len);
	return 0;
}

/* NOLINTBEGIN(performance-no-int-to-ptr) a system call has numbers */
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f)
{
	switch (number) {
	case SYS_sendmsg:
		return send_syn((const struct msghdr *)b);
	case SYS_connect:
		return connect_it((const struct sockaddr *)b);
	case SYS_sendto:
		return kernel.is_full ? failed(EAGAIN) :
					send(kernel.ours, (void *)b,
					     (size_t)c < kernel.room ? (size_t)c : kernel.room, 0);
	case SYS_getsockopt:
		return tell_option((int)b, (int)c, (void *)d, (socklen_t *)e);
	case SYS_setsockopt:
		return 0;
	default:
		return __real_syscall(number, a, b, c, d, e, f);
	}
}
/* NOLINTEND(performance-no-int-to-ptr) */

/* --------------------------------------------------------------------- those around it */

static struct addr places[4]; /* of converters; each test has new ones */
/* Each test has one of its own, as it is remembered which options it refuses. */
static struct config_converter converters[96], *converter = converters;
static struct config config = { .n_converters = 1,
				.mptcp = CONFIG_MPTCP_ON,
				.timeout_ms = 4000,
				.retry_ms = 60000 };

_Atomic(const struct config *) shim_found = &config;

const struct config *shim_read(void)
{
	return &config;
}

/* The next one in the order of the configuration, as long as there is one. */
struct pol_verdict converters_choose(const struct addr *dst, int socket_family,
				     struct pol_verdict rule, struct converters_choice *choice)
{
	unsigned int next = choice->after->moves + 1U;

	(void)dst;
	(void)socket_family;
	if (next >= converter->n_addrs)
		return (struct pol_verdict){ .action = POL_DIRECT };
	rule.converter = converter;
	rule.via = places[next];
	return rule;
}

void converters_advise(struct exchange *u)
{
	u->health = (struct health_key){ .converter = u->via };
	u->dialect = CVT_DIALECT_RFC8803;
	u->takes_options = u->no_syn_data = u->bare = false;
	u->rtt_us = 20000;
	u->started_ms = kernel.now_ns / MS;
}

bool converters_is_still_in(struct health_key *key, const struct pol_binding *by)
{
	uint64_t before = key->network;

	(void)by;
	kernel.looks++;
	key->network = kernel.network;
	return kernel.network == before;
}

bool twin_has_mptcp(void)
{
	return true;
}

int64_t wait_end(int64_t seconds, int64_t ns)
{
	return kernel.now_ns + seconds * 1000 * MS + ns;
}

bool wait_is_left(uintptr_t frame, int64_t since_ns)
{
	(void)frame;
	(void)since_ns;
	return false;
}

/* ---------------------------------------------------------------------- the converter */

struct seen {
	int n; /* messages: Connect or Info TLVs */
	bool has_options, has_cookie, is_info;
};

/* What has come since it last looked. */
static struct seen read_all(void)
{
	struct seen seen = { 0 };
	uint8_t bytes[4096];
	struct cvt_header h;
	struct cvt_msg m;
	ssize_t n = recv(kernel.theirs, bytes, sizeof(bytes), MSG_DONTWAIT);

	for (size_t at = 0; n > 0 && at < (size_t)n; at += h.len, seen.n++) {
		assert_int_equal(cvt_parse_header(&h, bytes + at, 1U << CVT_WORD_MAGIC), CVT_OK);
		assert_int_equal(cvt_parse(&m, (struct cvt_span){ bytes + at, (size_t)n - at },
					   CVT_DIALECT_RFC8803, CVT_TO_CONVERTER),
				 CVT_OK);
		seen.has_options = m.connect.opts.len > 0;
		seen.has_cookie = m.convert_cookie.p;
		seen.is_info = m.has_info;
	}
	return seen;
}

static void say(const void *bytes, size_t n)
{
	assert_int_equal(send(kernel.theirs, bytes, n, 0), n);
}

static void answer(struct cvt_writer *w)
{
	int n = cvt_finish(w);

	assert_true(n > 0);
	say(w->bytes, (size_t)n);
}

static void accept_it(void)
{
	struct cvt_writer w;

	cvt_begin(&w, CVT_DIALECT_RFC8803);
	cvt_put_list(&w, CVT_TLV_EXT_TCP_HEADER, (struct cvt_span){ NULL, 0 });
	answer(&w);
}

static void refuse_it(enum cvt_err code, const char *value, size_t n)
{
	struct cvt_writer w;

	cvt_begin(&w, CVT_DIALECT_RFC8803);
	cvt_put_error(&w, code, (struct cvt_span){ (const uint8_t *)value, n });
	answer(&w);
}

static void tell_of_itself(void)
{
	static const uint8_t kinds[] = { 30, 34 };
	struct cvt_writer w;

	cvt_begin(&w, CVT_DIALECT_RFC8803);
	cvt_put_list(&w, CVT_TLV_SUPPORTED, (struct cvt_span){ kinds, sizeof(kinds) });
	answer(&w);
}

/* ------------------------------------------------------------------------ the exchange */

static struct exchange *u;
static int told; /* errno of the last event */

static enum exchange_event step(void)
{
	told = 0;
	return exchange_advance(u, kernel.ours, mark_look(kernel.ours), false, &told);
}

static enum exchange_event step_after(int64_t ms)
{
	kernel.now_ns += ms * MS;
	return step();
}

static int set_up(void **state)
{
	static uint16_t port = 1000;
	int pair[2];

	(void)state;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) < 0)
		return -1;
	memset(&kernel, 0, sizeof(kernel));
	kernel.ours = pair[0];
	kernel.theirs = pair[1];
	kernel.room = SIZE_MAX;
	kernel.state = TCP_ESTABLISHED;
	kernel.now_ns = 1000000 * MS * port;
	*++converter = (struct config_converter){ .name = "lab", .addrs = places, .n_addrs = 1 };
	config.converters = converter;
	for (size_t i = 0; i < 4; i++) {
		places[i] = (struct addr){ .ip = { [10] = 0xff, 0xff, 10, 0, 0, 1 } };
		places[i].port = ++port;
	}
	u = exchange_new(port);
	kernel.cookie = port;
	u->server = (struct addr){ .ip = { [10] = 0xff, 0xff, 192, 0, 2, 1 }, .port = 80 };
	u->family = AF_INET;
	u->via = places[0];
	u->started_ns = kernel.now_ns;
	u->limit_ns = kernel.now_ns + 4000 * MS;
	u->asks_mptcp = u->mptcp = true;
	converters_advise(u);
	exchange_begin_tries(u);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	close(kernel.ours);
	close(kernel.theirs);
	return 0;
}

static void open_it(void)
{
	assert_int_equal(exchange_open(u, kernel.ours, true, NULL), 0);
}

/* Opened with the message in the SYN, which the converter has read. */
static void open_and_read(void)
{
	struct seen seen;

	open_it();
	assert_int_equal(exchange_phase(u), EXCHANGE_REPLY);
	assert_int_equal(exchange_wants(u), POLLIN);
	seen = read_all();
	assert_int_equal(seen.n, 1);
	assert_true(seen.has_options);
}

static void assert_over(enum exchange_phase phase)
{
	assert_int_equal(exchange_phase(u), phase);
	assert_false(exchange_is_pending(u));
	assert_int_equal(watch_wants(&u->watch), 0);
}

static void assert_refused(enum exchange_event event, int err)
{
	assert_int_equal(event, EXCHANGE_IS_REFUSED);
	assert_int_equal(told, err);
	/* until somebody has carried it out nobody else does anything */
	assert_int_equal(exchange_phase(u), EXCHANGE_OPENING);
	assert_int_equal(step(), EXCHANGE_GOES_ON);
}

/* What health has of the converter that was tried last. */
static struct health known(void)
{
	struct health h;

	health_find(&u->health, kernel.now_ns / MS, &h);
	return h;
}

static void assert_stream_is_whole(void)
{
	char bytes[64] = "";

	assert_int_equal(recv(kernel.ours, bytes, sizeof(bytes), MSG_DONTWAIT), sizeof(STREAM));
	assert_string_equal(bytes, STREAM);
}

/* ----------------------------------------------------------------------------- the way */

static void test_connected(void **state)
{
	(void)state;
	open_and_read();
	assert_int_equal(step(), EXCHANGE_GOES_ON); /* nothing has come yet */
	accept_it();
	say(STREAM, sizeof(STREAM));
	assert_int_equal(step(), EXCHANGE_GOES_ON);
	assert_over(EXCHANGE_CONNECTED);
	assert_int_equal(kernel.resets, 0);
	assert_stream_is_whole();
}

static void test_connected_byte_by_byte(void **state)
{
	struct cvt_writer w;
	int n;

	(void)state;
	open_and_read();
	cvt_begin(&w, CVT_DIALECT_RFC8803);
	cvt_put_list(&w, CVT_TLV_EXT_TCP_HEADER, (struct cvt_span){ NULL, 0 });
	n = cvt_finish(&w);
	for (int i = 0; i < n; i++) {
		assert_true(exchange_is_pending(u));
		say(w.bytes + i, 1);
		assert_int_equal(step_after(1), EXCHANGE_GOES_ON);
	}
	assert_over(EXCHANGE_CONNECTED);
}

/* No Fast Open cookie yet; none at all; a message longer than the path takes at once. */
static void test_owed(void **state)
{
	static const int errs[] = { EINPROGRESS, EOPNOTSUPP, 0 };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		if (i > 0)
			set_up(NULL);
		kernel.syn_err = errs[i];
		kernel.room = 10;
		open_it();
		assert_int_equal(kernel.connects, errs[i] == EOPNOTSUPP);
		assert_int_equal(exchange_phase(u), EXCHANGE_OWED);
		assert_int_equal(exchange_wants(u), POLLOUT);
		kernel.is_full = true;
		assert_int_equal(step(), EXCHANGE_GOES_ON);
		kernel.is_full = false;
		while (exchange_phase(u) == EXCHANGE_OWED) /* ten bytes at a time */
			assert_int_equal(step(), EXCHANGE_GOES_ON);
		assert_int_equal(read_all().n, 1);
		accept_it();
		step();
		assert_over(EXCHANGE_CONNECTED);
		if (i < 2)
			tear_down(NULL);
	}
}

static void test_deferred(void **state)
{
	(void)state;
	u->may_defer = true;
	kernel.state = TCP_CLOSE; /* the kernel has sent a SYN: not deferred */
	open_it();
	assert_int_equal(exchange_phase(u), EXCHANGE_OWED);
	assert_int_equal(kernel.connects, 1);
}

static void test_taken_back(void **state)
{
	(void)state;
	open_and_read();
	atomic_store(&u->watch.state, EXCHANGE_ABANDONED);
	accept_it();
	assert_int_equal(step_after(10000), EXCHANGE_GOES_ON);
	assert_over(EXCHANGE_ABANDONED);
}

/* ... while it is being ended: the end that was first stays. */
static void test_taken_back_at_the_end(void **state)
{
	(void)state;
	open_and_read();
	refuse_it(CVT_ERR_RESOURCE, "", 1);
	assert_refused(step(), ENOBUFS);
	exchange_end(u, kernel.ours, EXCHANGE_ABANDONED);
	exchange_end(u, kernel.ours, EXCHANGE_REFUSED);
	assert_over(EXCHANGE_ABANDONED);
	assert_false(exchange_go_on(u, EXCHANGE_OPENING));
	assert_over(EXCHANGE_ABANDONED);
}

/* However late the one is who ends it: others leave it to him for a second more. */
static void test_late_end(void **state)
{
	(void)state;
	open_and_read();
	refuse_it(CVT_ERR_RESOURCE, "", 1);
	assert_int_equal(step_after(60000), EXCHANGE_IS_REFUSED);
	assert_int_equal(step_after(900), EXCHANGE_GOES_ON);
	assert_int_equal(step_after(200), EXCHANGE_IS_REFUSED);
}

static void test_somebody_else_is_at_it(void **state)
{
	(void)state;
	open_and_read();
	accept_it();
	assert_true(exchange_try_lock(u));
	assert_int_equal(step(), EXCHANGE_GOES_ON);
	assert_int_equal(exchange_phase(u), EXCHANGE_REPLY);
	exchange_unlock(u);
	step();
	assert_over(EXCHANGE_CONNECTED);
}

/* ------------------------------------------------------------------------- the answers */

/* What each error is for the program, where there is no fallback; who has one gets that, but for what
 * the server has said. */
static void test_errors(void **state)
{
	static const struct {
		enum cvt_err code;
		int err;
		bool is_servers;
	} rows[] = {
		{ CVT_ERR_VERSION, EPROTO, false },    { CVT_ERR_NOT_AUTHORIZED, EACCES, false },
		{ CVT_ERR_RESOURCE, ENOBUFS, false },  { CVT_ERR_NETWORK, ENETUNREACH, false },
		{ CVT_ERR_RESET, ECONNREFUSED, true }, { CVT_ERR_UNREACHABLE, EHOSTUNREACH, true },
	};

	(void)state;
	for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
		size_t row = i / 2;

		if (i > 0) {
			tear_down(NULL);
			set_up(NULL);
		}
		u->fall_back = i & 1;
		open_and_read();
		refuse_it(rows[row].code, "\1", 1);
		if (u->fall_back && !rows[row].is_servers)
			assert_int_equal(step(), EXCHANGE_FALLS_BACK);
		else
			assert_refused(step(), rows[row].err);
		assert_int_equal(kernel.syns, 1);
	}
}

/* Behind NAT64 it is an IPv4 address, of which the converter has ICMP's codes. */
static void test_errors_behind_nat64(void **state)
{
	static const struct {
		const char *code;
		int err;
	} rows[] = { { "\1", EHOSTUNREACH }, { "\3", ECONNREFUSED } };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (i > 0) {
			tear_down(NULL);
			set_up(NULL);
		}
		u->server = (struct addr){ .ip = { 0, 0x64, 0xff, 0x9b, [12] = 198, 51, 100, 7 },
					   .port = 80 };
		open_and_read();
		refuse_it(CVT_ERR_UNREACHABLE, rows[i].code, 1);
		assert_refused(step(), rows[i].err);
	}
}

static void test_no_convert_message(void **state)
{
	(void)state;
	open_and_read();
	say("HTTP/1.1 400 Bad Request", 24);
	assert_refused(step(), EPROTO);
}

/* The cookie that came along goes along, once. */
static void test_missing_cookie(void **state)
{
	struct seen seen;

	(void)state;
	open_and_read();
	refuse_it(CVT_ERR_MISSING_COOKIE, "\0biscuit", 8);
	assert_int_equal(step(), EXCHANGE_GOES_ON);
	seen = read_all();
	assert_true(seen.n == 1 && seen.has_cookie && seen.has_options);
	assert_int_equal(kernel.resets, 1);
	refuse_it(CVT_ERR_MISSING_COOKIE, "\0another", 8); /* behind options? */
	assert_int_equal(step(), EXCHANGE_GOES_ON);
	seen = read_all();
	assert_true(seen.n == 1 && seen.has_cookie && !seen.has_options);
	refuse_it(CVT_ERR_MISSING_COOKIE, "\0another", 8);
	assert_refused(step(), EACCES);
	assert_int_equal(known().failures, 1);
}

/* Nothing that could be sent next time is another answer to it: then it has failed, and is left alone. */
static void test_missing_cookie_for_ever(void **state)
{
	static const char too_long[1001];
	static const struct cvt_span secret = { (const uint8_t *)"secret", 6 };

	(void)state;
	open_and_read();
	refuse_it(CVT_ERR_MISSING_COOKIE, "", 1);
	assert_refused(step(), EACCES);
	assert_int_equal(known().failures, 1);
	tear_down(NULL);
	set_up(NULL);
	open_and_read();
	refuse_it(CVT_ERR_MISSING_COOKIE, too_long, sizeof(too_long));
	assert_refused(step(), EACCES);
	assert_int_equal(known().failures, 1);
	for (int is_learned = 0; is_learned < 2; is_learned++) {
		tear_down(NULL);
		set_up(NULL);
		if (is_learned)
			cookies_learn(u, secret);
		else
			converter->convert_cookie = secret;
		open_and_read();
		refuse_it(CVT_ERR_MISSING_COOKIE, "\0secret", 7);
		assert_int_equal(step(), EXCHANGE_GOES_ON); /* behind options? */
		assert_true(read_all().has_cookie);
		refuse_it(CVT_ERR_MISSING_COOKIE, "\0secret", 7);
		assert_refused(step(), EACCES);
		assert_int_equal(known().failures, 1);
	}
}

/* There is no way back for what has been sent with the program's data; the next one knows. */
static void test_wants_more_too_late(void **state)
{
	(void)state;
	open_and_read();
	u->early = true;
	refuse_it(CVT_ERR_MISSING_COOKIE, "\0biscuit", 8);
	assert_refused(step(), EACCES);
	assert_int_equal(known().failures, 0);
	tear_down(NULL);
	set_up(NULL);
	open_and_read();
	u->early = true;
	refuse_it(CVT_ERR_TCP_OPTION, "\36", 1);
	assert_refused(step(), EPROTO);
	assert_int_equal(known().failures, 0);
	tear_down(NULL);
	set_up(NULL);
	open_and_read();
	u->early = true;
	refuse_it(CVT_ERR_TCP_OPTION, "\5", 1); /* none that it was asked for */
	assert_refused(step(), EPROTO);
	assert_int_equal(known().failures, 1);
}

static void test_options_that_are_refused(void **state)
{
	static const char kinds[] = { 30, 34, 0 };
	struct seen seen;

	(void)state;
	open_and_read();
	refuse_it(CVT_ERR_TCP_OPTION, kinds, 3);
	assert_int_equal(step(), EXCHANGE_GOES_ON);
	seen = read_all();
	assert_true(seen.n == 1 && !seen.has_options);
	refuse_it(CVT_ERR_TCP_OPTION, kinds, 3);
	assert_refused(step(), EPROTO);
	assert_int_equal(kernel.syns, 2);
	assert_int_equal(known().failures, 1);
}

/* However many kinds a converter names that nobody sends, there is room for those of another one. */
static void test_kinds_that_nobody_sends(void **state)
{
	uint8_t kinds[256];
	struct seen seen;

	(void)state;
	for (size_t i = 0; i < sizeof(kinds); i++)
		kinds[i] = (uint8_t)(i == CVT_OPT_MPTCP || i == CVT_OPT_FAST_OPEN ? 0 : i);
	open_and_read();
	refuse_it(CVT_ERR_TCP_OPTION, (const char *)kinds, sizeof(kinds));
	assert_int_equal(step(), EXCHANGE_GOES_ON);
	assert_int_equal(u->tried, EXCHANGE_TRIED_BASE); /* as it is about none of ours */
	tear_down(NULL);
	set_up(NULL);
	open_and_read();
	refuse_it(CVT_ERR_TCP_OPTION, "\36", 1);
	assert_int_equal(step(), EXCHANGE_GOES_ON);
	assert_int_equal(u->tried, EXCHANGE_TRIED_OPTIONS);
	seen = read_all();
	assert_true(seen.n == 1 && !seen.has_options);
	accept_it();
	step();
	assert_over(EXCHANGE_CONNECTED);
}

/* Error 1, error 2, an end before the reply: once more, without any options; then what was said first. */
static void test_base(void **state)
{
	static const enum cvt_err codes[] = { CVT_ERR_MALFORMED, CVT_ERR_UNSUPPORTED };
	struct seen seen;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		if (i > 0) {
			tear_down(NULL);
			set_up(NULL);
		}
		open_and_read();
		refuse_it(codes[i], "", 1);
		assert_int_equal(step(), EXCHANGE_GOES_ON);
		seen = read_all();
		assert_true(seen.n == 1 && !seen.has_options);
		refuse_it(CVT_ERR_NOT_AUTHORIZED, "", 1);
		assert_int_equal(step(), EXCHANGE_IS_REFUSED);
		assert_int_equal(told, u->first_err);
	}
}

static void test_end_before_the_reply(void **state)
{
	(void)state;
	open_and_read();
	shutdown(kernel.theirs, SHUT_WR);
	assert_int_equal(step(), EXCHANGE_GOES_ON); /* without options */
	assert_false(read_all().has_options);
	assert_refused(step(), ECONNRESET);
}

static void test_end_within_the_reply(void **state)
{
	(void)state;
	open_and_read();
	say("\1\1", 2);
	shutdown(kernel.theirs, SHUT_WR);
	assert_refused(step(), ECONNRESET);
	assert_int_equal(kernel.syns, 1);
}

/* Whatever a forked child has written where the converter stands, one of the configuration is asked. */
static void test_converter_that_cannot_be(void **state)
{
	(void)state;
	open_and_read();
	memset(&u->converter, 0x5a, sizeof(u->converter));
	say("\1\1\x22\x63", 4);
	assert_int_equal(step(), EXCHANGE_GOES_ON);
	assert_int_equal(exchange_phase(u), EXCHANGE_CONNECTED);
}

static void test_moves_that_cannot_be(void **state)
{
	static struct addr many[UINT8_MAX + 2];

	(void)state;
	converter->addrs = many;
	converter->n_addrs = UINT8_MAX + 2;
	for (size_t i = 0; i < converter->n_addrs; i++)
		many[i] = places[0];
	for (unsigned int moves = 0; moves <= UINT8_MAX; moves++) {
		u->moves = (uint8_t)moves;
		assert_int_equal(exchange_has_elsewhere(u), moves < EXCHANGE_MOVES);
	}
}

/* The memory is shared with forked children, who may be less trusted by now: nothing outside of the buffers
 * is written to, or sent, whatever the numbers are. */
static void test_numbers_that_cannot_be(void **state)
{
	static const uint16_t bad[][2] = {
		{ 0, UINT16_MAX }, { 0, CVT_MSG_MAX + 1 }, { 8, 4 }, { 4000, 4004 }
	};
	struct hs before;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (i > 0) {
			tear_down(NULL);
			set_up(NULL);
		}
		u->asks_mptcp = false;
		open_it();
		u->reply.got = bad[i][0];
		u->reply.whole = bad[i][1];
		before = u->reply;
		say(STREAM, sizeof(STREAM));
		assert_refused(step(), EPROTO);
		assert_memory_equal(&u->reply, &before, sizeof(before));
	}
	tear_down(NULL);
	set_up(NULL);
	kernel.syn_err = EINPROGRESS;
	open_it();
	u->request.len = UINT16_MAX;
	assert_refused(step(), EPROTO);
	assert_int_equal(read_all().n, 0);
}

/* Nothing was left to read when the connection to it failed: the kernel shows it better. */
static void test_left_to_the_kernel(void **state)
{
	int err;

	(void)state;
	kernel.syn_err = EINPROGRESS;
	kernel.is_full = true;
	open_it();
	kernel.state = TCP_CLOSE;
	assert_int_equal(exchange_advance(u, kernel.ours, mark_look(kernel.ours), true, &err),
			 EXCHANGE_GOES_ON);
	assert_int_equal(exchange_phase(u),
			 EXCHANGE_OWED); /* MPTCP's socket would show it otherwise */
	u->mptcp = false;
	u->has_options = false;
	/* not while somebody sends the next SYN on it */
	atomic_store(&u->watch.state, EXCHANGE_OPENING);
	assert_int_equal(exchange_advance(u, kernel.ours, mark_look(kernel.ours), true, &err),
			 EXCHANGE_GOES_ON);
	assert_int_equal(exchange_phase(u), EXCHANGE_OPENING);
	atomic_store(&u->watch.state, EXCHANGE_OWED);
	assert_int_equal(exchange_advance(u, kernel.ours, mark_look(kernel.ours), true, &err),
			 EXCHANGE_GOES_ON);
	assert_over(EXCHANGE_DIRECT);
	assert_int_equal(known().failures, 1);
}

/* The draft's converter says so of a server that has refused, whoever finds it: a read or the kernel. */
static void test_reset_of_the_draft(void **state)
{
	int err;

	(void)state;
	kernel.syn_err = EINPROGRESS;
	kernel.is_full = true;
	u->dialect = CVT_DIALECT_DRAFT02;
	u->mptcp = u->asks_mptcp = false;
	open_it();
	kernel.state = TCP_CLOSE;
	assert_int_equal(exchange_advance(u, kernel.ours, mark_look(kernel.ours), true, &err),
			 EXCHANGE_GOES_ON);
	assert_over(EXCHANGE_DIRECT);
	assert_int_equal(known().failures, 0);
}

/* Another thread has closed the number since it was looked at, and perhaps made it anew: what comes there is
 * somebody else's. */
static void test_number_of_somebody_else(void **state)
{
	uint16_t word;

	(void)state;
	open_and_read();
	mark_set(kernel.ours, MARK_PENDING);
	word = mark_look(kernel.ours);
	accept_it();
	mark_set(kernel.ours, MARK_UNKNOWN);
	mark_set(kernel.ours, MARK_PENDING);
	assert_int_equal(exchange_advance(u, kernel.ours, word, false, &told), EXCHANGE_GOES_ON);
	assert_int_equal(exchange_phase(u), EXCHANGE_REPLY);
	assert_int_equal(atomic_load(&u->lock), 0);
	assert_int_equal(u->reply.got, 0);
	step();
	assert_over(EXCHANGE_CONNECTED);
	mark_set(kernel.ours, MARK_UNKNOWN);
}

/* ------------------------------------------------------------------------- the silence */

/* Steps every 10 ms until something other than waiting comes of it; how long that was. */
static int64_t wait_for(enum exchange_event *event)
{
	int64_t began = kernel.now_ns;

	do
		*event = step_after(10);
	while (*event == EXCHANGE_GOES_ON && exchange_is_pending(u) &&
	       kernel.now_ns < began + 10000 * MS);
	return (kernel.now_ns - began) / MS;
}

static void test_lost_syn(void **state)
{
	(void)state;
	open_and_read();
	kernel.state = TCP_SYN_SENT;
	assert_int_equal(step_after(200), EXCHANGE_GOES_ON);
	assert_int_equal(kernel.syns, 1);
	assert_int_equal(step_after(100), EXCHANGE_GOES_ON); /* the least patience is over */
	assert_int_equal(kernel.syns, 2);
	assert_int_equal(read_all().n, 1);
	accept_it();
	step();
	assert_over(EXCHANGE_CONNECTED);
}

static void test_reply_that_is_held_back(void **state)
{
	(void)state;
	kernel.has_mptcp = kernel.has_syn_data = true;
	open_and_read();
	assert_int_equal(step_after(2100), EXCHANGE_GOES_ON);
	assert_int_equal(kernel.connects, 1); /* the SYN by itself, the message behind it */
	assert_int_equal(step(), EXCHANGE_GOES_ON);
	assert_int_equal(read_all().n, 1);
	accept_it();
	step();
	assert_over(EXCHANGE_CONNECTED);
	assert_int_equal(known().way[HEALTH_SYN_DATA], HEALTH_HOLDS);
}

static void test_options_that_are_not_answered(void **state)
{
	struct seen seen;
	struct health h;

	(void)state;
	open_and_read();
	assert_int_equal(step_after(2100), EXCHANGE_GOES_ON);
	seen = read_all();
	assert_true(seen.n == 1 && !seen.has_options);
	accept_it();
	step();
	assert_over(EXCHANGE_CONNECTED);
	h = known();
	assert_false(health_may_send(&h, CVT_OPT_MPTCP));
}

/* What was left out at half time is not why the first message was not answered, if the server is at fault. */
static void test_slow_server_that_is_not_there(void **state)
{
	static const enum cvt_err codes[] = { CVT_ERR_RESET, CVT_ERR_UNREACHABLE };
	struct health h;

	(void)state;
	for (unsigned int i = 0; i < 4; i++) {
		if (i > 0) {
			tear_down(NULL);
			set_up(NULL);
		}
		kernel.has_mptcp = kernel.has_syn_data = i & 1;
		open_and_read();
		step_after(2100);
		assert_int_equal(u->tried, i & 1 ? EXCHANGE_TRIED_NO_DATA : EXCHANGE_TRIED_BASE);
		step();
		assert_int_equal(read_all().n, 1);
		refuse_it(codes[i / 2], "\1", 1);
		assert_int_equal(step(), EXCHANGE_IS_REFUSED);
		h = known();
		assert_true(health_may_send(&h, CVT_OPT_MPTCP));
		assert_int_equal(h.way[HEALTH_SYN_DATA], HEALTH_UNTRIED);
	}
}

/* ... but for what it has said itself to the whole message. */
static void test_base_to_a_server_that_refuses(void **state)
{
	struct health h;

	(void)state;
	open_and_read();
	refuse_it(CVT_ERR_UNSUPPORTED, "", 1);
	assert_int_equal(step(), EXCHANGE_GOES_ON);
	read_all();
	refuse_it(CVT_ERR_RESET, "", 1);
	assert_refused(step(), ECONNREFUSED);
	h = known();
	assert_false(health_may_send(&h, CVT_OPT_MPTCP));
}

/* Asked in the last part of its time whether it is there, it says so: then it was the server, and who
 * falls back is in doubt about that. */
static void test_mute_server(void **state)
{
	enum exchange_event event;

	(void)state;
	u->fall_back = u->takes_options = true;
	open_and_read();
	for (int64_t ms = 0; ms < 4000 && kernel.syns == 1; ms += 10)
		assert_int_equal(step_after(10), EXCHANGE_GOES_ON);
	assert_true(read_all().is_info);
	tell_of_itself();
	assert_int_equal(step_after(20), EXCHANGE_GOES_ON);
	assert_false(read_all().is_info); /* once more for the server, with the time that is left */
	wait_for(&event);
	assert_int_equal(event, EXCHANGE_FALLS_BACK);
	assert_int_equal(told, ETIMEDOUT);
	assert_true(u->is_in_doubt);
	assert_in_range(kernel.now_ns - u->started_ns, 3900 * MS, 4200 * MS);
}

static void test_dead_converter(void **state)
{
	enum exchange_event event;

	(void)state;
	u->takes_options = true;
	kernel.state = TCP_SYN_SENT;
	open_and_read();
	assert_in_range(wait_for(&event), 3900, 4200);
	assert_refused(event, ETIMEDOUT);
	assert_false(u->is_in_doubt);
}

/* Nobody looks for an hour: what has come by then counts, and the clock after that. */
static void test_looked_at_late(void **state)
{
	(void)state;
	open_and_read();
	accept_it();
	assert_int_equal(step_after(3600000), EXCHANGE_GOES_ON);
	assert_over(EXCHANGE_CONNECTED);
}

/* Whoever was at it has been killed: the next one to look ends it, a second after its time. */
static void test_holder_that_died(void **state)
{
	(void)state;
	open_and_read();
	atomic_store(&u->watch.state, EXCHANGE_OPENING);
	assert_int_equal(step_after(4500), EXCHANGE_GOES_ON);
	assert_int_equal(step_after(600), EXCHANGE_IS_REFUSED);
}

/* -------------------------------------------------------------------- another network */

/* What was found there is not written down of the one that it was taken for. */
static void test_options_that_are_refused_elsewhere(void **state)
{
	static const char kinds[] = { 30 };
	const struct health_key here = u->health;
	struct health h;

	(void)state;
	kernel.network = 2;
	open_and_read();
	refuse_it(CVT_ERR_TCP_OPTION, kinds, 1);
	assert_int_equal(step(), EXCHANGE_GOES_ON);
	assert_int_equal(kernel.looks, 1);
	health_find(&here, kernel.now_ns / MS, &h);
	assert_true(health_may_send(&h, CVT_OPT_MPTCP));
	assert_false(read_all().has_options); /* for this one it counts */
}

/* A cookie is learned, shown and dropped where it belongs. */
static void test_cookie_of_another_network(void **state)
{
	static const struct cvt_span ours = { (const uint8_t *)"biscuit", 7 };
	const struct health_key here = u->health;
	struct health h;

	(void)state;
	assert_true(cookies_learn(u, ours));
	open_it();
	assert_true(read_all().has_cookie);
	kernel.network = 2;
	refuse_it(CVT_ERR_NOT_AUTHORIZED, "", 0);
	assert_int_equal(step(), EXCHANGE_GOES_ON);
	assert_false(read_all().has_cookie);
	refuse_it(CVT_ERR_MISSING_COOKIE, "\0another", 8);
	assert_int_equal(step(), EXCHANGE_GOES_ON);
	assert_true(read_all().has_cookie);
	assert_int_equal(u->health.network, 2);
	health_find(&u->health, kernel.now_ns / MS, &h);
	assert_int_equal(h.convert_cookie_len, 8);
	health_find(&here, kernel.now_ns / MS, &h);
	assert_int_equal(h.convert_cookie_len, 0);
	u->health = here;
	assert_int_equal(cookies_len(u), ours.len);
}

/* ------------------------------------------------------- a program that does not wait */

static uint32_t failures_of(const struct health_key *key)
{
	struct health h;

	health_find(key, kernel.now_ns / MS, &h);
	return h.failures;
}

/* No SYN+ACK to two SYNs, a quarter of a second after the second one: that is told. */
static void test_given_up(void **state)
{
	(void)state;
	kernel.state = TCP_SYN_SENT;
	open_and_read();
	assert_int_equal(step_after(260), EXCHANGE_GOES_ON);
	assert_int_equal(kernel.syns, 2);
	exchange_given_up(u, kernel.ours);
	assert_int_equal(failures_of(&u->health), 0);
	assert_int_equal(step_after(250), EXCHANGE_GOES_ON);
	kernel.cookie++; /* the number is another one's */
	exchange_given_up(u, kernel.ours);
	assert_int_equal(failures_of(&u->health), 0);
	kernel.cookie--;
	exchange_given_up(u, kernel.ours);
	assert_int_equal(failures_of(&u->health), 1);
}

/* The message waits for the SYN+ACK: the kernel has sent the SYN again. */
static void test_given_up_owed(void **state)
{
	(void)state;
	kernel.state = TCP_SYN_SENT;
	kernel.syn_err = EINPROGRESS;
	kernel.is_full = true;
	open_it();
	assert_int_equal(step_after(990), EXCHANGE_GOES_ON);
	exchange_given_up(u, kernel.ours);
	assert_int_equal(failures_of(&u->health), 0);
	kernel.retransmits = 1;
	exchange_given_up(u, kernel.ours);
	assert_int_equal(failures_of(&u->health), 1);
}

static void test_given_up_by_a_mute_server(void **state)
{
	(void)state;
	open_and_read();
	assert_int_equal(step_after(1500), EXCHANGE_GOES_ON);
	exchange_given_up(u, kernel.ours);
	assert_int_equal(failures_of(&u->health), 0);
}

/* One that has failed is asked before the program may have given up, and if it answers it was the server. */
static void test_given_up_by_who_tries(void **state)
{
	const struct health_event e = { .kind = HEALTH_FAILED,
					.retry_ms = 60000,
					.delay_s = HEALTH_NO_DELAY };

	(void)state;
	health_report(&u->health, &e, kernel.now_ns / MS);
	u->is_probe = true;
	kernel.state = TCP_SYN_SENT;
	open_and_read();
	assert_int_equal(step_after(260), EXCHANGE_GOES_ON);
	assert_false(read_all().is_info);
	assert_int_equal(step_after(250), EXCHANGE_GOES_ON);
	assert_true(read_all().is_info);
	tell_of_itself();
	assert_int_equal(step_after(10), EXCHANGE_GOES_ON);
	assert_int_equal(failures_of(&u->health), 0);
	assert_false(read_all().is_info);
	assert_int_equal(step_after(1000), EXCHANGE_GOES_ON);
	exchange_given_up(u, kernel.ours);
	assert_int_equal(failures_of(&u->health), 0);
}

/* Of two the first has had all of its time. */
static void test_given_up_by_the_second(void **state)
{
	const struct health_key first = u->health;

	(void)state;
	converter->n_addrs = 2;
	exchange_begin_tries(u);
	kernel.state = TCP_SYN_SENT;
	open_and_read();
	while (u->moves == 0)
		assert_int_equal(step_after(10), EXCHANGE_GOES_ON);
	exchange_given_up(u, kernel.ours);
	assert_int_equal(failures_of(&first), 1);
	assert_int_equal(failures_of(&u->health), 0);
}

/* --------------------------------------------------------------------------- the others */

static void test_silent_first(void **state)
{
	(void)state;
	converter->n_addrs = 2;
	exchange_begin_tries(u);
	kernel.state = TCP_SYN_SENT;
	open_and_read();
	while (u->moves == 0) {
		assert_int_equal(step_after(10), EXCHANGE_GOES_ON);
		assert_true(kernel.now_ns < u->started_ns + 2500 * MS); /* half of the time */
	}
	assert_int_equal(u->via.port, places[1].port);
	assert_true(read_all().n > 0);
	accept_it();
	assert_int_equal(step(), EXCHANGE_GOES_ON);
	assert_over(EXCHANGE_CONNECTED);
}

/* ... and is blamed for the time that it had: what has failed before that ended is no news by it. */
static void test_silent_first_beside_another(void **state)
{
	const struct health_event e = { .kind = HEALTH_FAILED,
					.retry_ms = 60000,
					.delay_s = HEALTH_NO_DELAY };
	const struct health_key first = u->health;
	struct health h;

	(void)state;
	converter->n_addrs = 2;
	exchange_begin_tries(u);
	kernel.state = TCP_SYN_SENT;
	open_and_read();
	assert_int_equal(step_after(500), EXCHANGE_GOES_ON);
	health_report(&first, &e, kernel.now_ns / MS);
	while (u->moves == 0)
		assert_int_equal(step_after(10), EXCHANGE_GOES_ON);
	read_all();
	accept_it();
	assert_int_equal(step(), EXCHANGE_GOES_ON);
	assert_over(EXCHANGE_CONNECTED);
	health_find(&first, kernel.now_ns / MS, &h);
	assert_int_equal(h.failures, 1);
}

static void test_all_refuse(void **state)
{
	(void)state;
	converter->n_addrs = 3;
	exchange_begin_tries(u);
	for (unsigned int i = 0; i < 3; i++) {
		if (i == 0)
			open_it();
		assert_int_equal(u->moves, i);
		read_all();
		refuse_it(CVT_ERR_RESOURCE, "", 1);
		if (i < 2)
			assert_int_equal(step(), EXCHANGE_GOES_ON);
	}
	assert_refused(step(), ENOBUFS);
	assert_int_equal(kernel.syns, 3);
}

/* What the server has said no other converter is asked again. */
static void test_server_that_refuses(void **state)
{
	(void)state;
	converter->n_addrs = 2;
	exchange_begin_tries(u);
	open_and_read();
	refuse_it(CVT_ERR_RESET, "", 1);
	assert_refused(step(), ECONNREFUSED);
	assert_int_equal(u->moves, 0);
}

static void test_no_way_to_any(void **state)
{
	(void)state;
	converter->n_addrs = 2;
	exchange_begin_tries(u);
	kernel.syn_err = ENETUNREACH;
	assert_int_equal(exchange_open(u, kernel.ours, true, NULL), -ENETUNREACH);
	assert_int_equal(kernel.syns, 2);
	assert_over(EXCHANGE_DIRECT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_connected),
		TEST(test_connected_byte_by_byte),
		TEST(test_owed),
		TEST(test_deferred),
		TEST(test_taken_back),
		TEST(test_taken_back_at_the_end),
		TEST(test_late_end),
		TEST(test_somebody_else_is_at_it),
		TEST(test_errors),
		TEST(test_errors_behind_nat64),
		TEST(test_no_convert_message),
		TEST(test_missing_cookie),
		TEST(test_missing_cookie_for_ever),
		TEST(test_wants_more_too_late),
		TEST(test_options_that_are_refused),
		TEST(test_kinds_that_nobody_sends),
		TEST(test_base),
		TEST(test_end_before_the_reply),
		TEST(test_end_within_the_reply),
		TEST(test_converter_that_cannot_be),
		TEST(test_moves_that_cannot_be),
		TEST(test_numbers_that_cannot_be),
		TEST(test_left_to_the_kernel),
		TEST(test_reset_of_the_draft),
		TEST(test_number_of_somebody_else),
		TEST(test_lost_syn),
		TEST(test_reply_that_is_held_back),
		TEST(test_options_that_are_not_answered),
		TEST(test_slow_server_that_is_not_there),
		TEST(test_base_to_a_server_that_refuses),
		TEST(test_mute_server),
		TEST(test_dead_converter),
		TEST(test_looked_at_late),
		TEST(test_holder_that_died),
		TEST(test_options_that_are_refused_elsewhere),
		TEST(test_cookie_of_another_network),
		TEST(test_given_up),
		TEST(test_given_up_owed),
		TEST(test_given_up_by_a_mute_server),
		TEST(test_given_up_by_who_tries),
		TEST(test_given_up_by_the_second),
		TEST(test_silent_first),
		TEST(test_silent_first_beside_another),
		TEST(test_all_refuse),
		TEST(test_server_that_refuses),
		TEST(test_no_way_to_any),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

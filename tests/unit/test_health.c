// SPDX-License-Identifier: MIT
/* What is known of converters: what events mean, one probe at a time, the file behind it; and whose
 * fault a silence is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "health.h"
#include "help.h"

#define RETRY 60000

static int64_t now;
static struct health h;
static struct health_key key;

static int start(void **state)
{
	(void)state;
	now = state_now_ms();
	memset(&h, 0, sizeof(h));
	unlink(state_file);
	state_setup(state_file);
	health_clear_table();
	key = (struct health_key){ .converter.port = 5124, .network = 7 };
	return addr_parse(&key.converter, "192.0.2.1");
}

static int start_without_file(void **state)
{
	start(state);
	state_setup(NULL);
	return 0;
}

static struct health_event failure(void)
{
	return (struct health_event){ .kind = HEALTH_FAILED,
				      .started_ms = now,
				      .delay_s = HEALTH_NO_DELAY,
				      .retry_ms = RETRY };
}

static struct health_event of_bytes(enum health_event_kind kind, const char *bytes, size_t len)
{
	return (struct health_event){ .kind = kind, .bytes = { (const uint8_t *)bytes, len } };
}

static bool apply(struct health_event e)
{
	bool changed = health_apply(&h, &e, now);

	assert_true(health_is_sane(&h));
	return changed;
}

/* ------------------------------------------------------------------ what events mean */

static void used_at_first(void **state)
{
	(void)state;
	assert_int_equal(health_advise(&h, now), HEALTH_USE);
	assert_true(health_may_send(&h, 30));
}

/* 1, 2, 4, ... seconds, up to `retry`; and once it answers, from the start. */
static void left_alone_for_a_growing_time(void **state)
{
	(void)state;
	for (int round = 0; round < 2; round++) {
		int64_t wait = HEALTH_FIRST_MS;

		for (int i = 0; i < 40; i++) {
			assert_true(apply(failure()));
			assert_int_equal(health_advise(&h, now), HEALTH_LEAVE);
			now += wait - 1;
			assert_int_equal(health_advise(&h, now), HEALTH_LEAVE);
			now += 1;
			assert_int_equal(health_advise(&h, now), HEALTH_PROBE);
			wait = 2 * wait < RETRY ? 2 * wait : RETRY;
		}
		assert_true(apply((struct health_event){ .kind = HEALTH_ANSWERED }));
		assert_int_equal(health_advise(&h, now), HEALTH_USE);
		assert_false(apply((struct health_event){ .kind = HEALTH_ANSWERED }));
	}
}

/* A hundred connections that time out together are one failure. */
static void failures_of_one_moment(void **state)
{
	struct health_event e = failure();

	(void)state;
	now += 5000;
	assert_true(apply(e));
	for (int i = 0; i < 100; i++) {
		now += 10;
		e.started_ms += 40; /* all before the first had failed */
		assert_false(apply(e));
	}
	assert_int_equal(h.failures, 1);
	now += 5000;
	assert_true(apply(failure()));
	assert_int_equal(h.failures, 2);
}

static void announced_delays(void **state)
{
	static const struct {
		int said_s;
		int64_t ms;
	} rows[] = {
		{ 0, HEALTH_DELAY_MS },	   { 1, 1000 },
		{ 255, 255000 },	   { 600, 600000 },
		{ 601, HEALTH_DELAY_MAX }, { INT32_MAX, HEALTH_DELAY_MAX },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct health_event e = failure();

		e.delay_s = rows[i].said_s;
		assert_true(apply(e));
		now += rows[i].ms - 1;
		assert_int_equal(health_advise(&h, now), HEALTH_LEAVE);
		now += 1;
		assert_int_equal(health_advise(&h, now), HEALTH_PROBE);
		apply((struct health_event){ .kind = HEALTH_ANSWERED });
	}
}

static struct health_event patience(int64_t started_ms, int delay_s)
{
	struct health_event e = failure();

	e.started_ms = started_ms;
	e.delay_s = delay_s;
	return e;
}

/* However often it has failed before, nobody goes there earlier. After that a failure is one as any other. */
static void patience_after_failures(void **state)
{
	(void)state;
	for (int i = 0; i < 5; i++) {
		assert_true(apply(failure()));
		now += RETRY;
	}
	assert_true(apply(patience(now, 0)));
	now += HEALTH_DELAY_MS - 1;
	assert_false(health_may_again(&h, now));
	now += 1;
	assert_true(apply(failure()));
	now += HEALTH_FIRST_MS;
	assert_int_equal(health_advise(&h, now), HEALTH_LEAVE);
	assert_true(health_may_again(&h, now));
}

/* One that began before it asked may well be answered afterwards, or fail. */
static void patience_and_what_began_before(void **state)
{
	const int64_t began = now;
	const struct health_event ok = { .kind = HEALTH_ANSWERED,
					 .started_ms = began,
					 .rtt_us = 20000 };
	struct health_event e = failure();

	(void)state;
	now += 100;
	assert_true(apply(patience(began, 30)));
	assert_true(apply(ok)); /* the round trip is news */
	assert_int_equal(h.rtt_us, 20000);
	assert_false(apply(ok));
	e.started_ms = began;
	assert_false(apply(e));
	now += 29999;
	assert_int_equal(health_advise(&h, now), HEALTH_LEAVE);
	now += 1;
	assert_int_equal(health_advise(&h, now), HEALTH_PROBE);
	assert_true(apply(ok));
	assert_int_equal(health_advise(&h, now), HEALTH_USE);
	assert_true(apply(patience(now, 30)));
	now += 1;
	assert_true(apply((struct health_event){ .kind = HEALTH_ANSWERED, .started_ms = now }));
	assert_int_equal(health_advise(&h, now), HEALTH_USE);
}

/* It answers Info and no Connect: what Info says is not that this is over, and it is left alone for longer. */
static void mute_behind_info(void **state)
{
	struct health_event mute = failure();
	struct health_event info = { .kind = HEALTH_ANSWERED, .info = true };

	(void)state;
	mute.info = true;
	assert_true(apply(mute));
	now += HEALTH_FIRST_MS;
	assert_int_equal(health_advise(&h, now), HEALTH_PROBE);
	info.started_ms = mute.started_ms = now;
	assert_false(apply(info));
	assert_true(apply(mute));
	assert_int_equal(h.failures, 2);
	now += 2 * HEALTH_FIRST_MS - 1;
	assert_int_equal(health_advise(&h, now), HEALTH_LEAVE);
	assert_true(apply((struct health_event){ .kind = HEALTH_ANSWERED, .started_ms = now }));
	assert_int_equal(health_advise(&h, now), HEALTH_USE);
	assert_true(apply(failure())); /* of one that answered nothing the same is good news */
	info.started_ms = now += 1;
	assert_true(apply(info));
	assert_int_equal(health_advise(&h, now), HEALTH_USE);
}

/* It is asked for by the second of two that began together, and the first has failed otherwise. */
static void patience_of_the_same_moment(void **state)
{
	struct health_event e = failure();
	const int64_t began = now;

	(void)state;
	now += 100;
	assert_true(apply(e));
	now += 10;
	assert_true(apply(patience(began, 30)));
	assert_int_equal(h.failures, 1);
	for (int i = 0; i < 99; i++) { /* all that they say is that it is meant */
		now += 10;
		assert_false(apply(patience(began, 30)));
	}
	now += 30000 - 99 * 10 - 1;
	assert_int_equal(health_advise(&h, now), HEALTH_LEAVE);
	assert_false(health_may_again(&h, now));
	now += 1;
	assert_int_equal(health_advise(&h, now), HEALTH_PROBE);
}

static void what_it_speaks(void **state)
{
	struct health_event e = { .kind = HEALTH_SPEAKS, .dialect = CVT_DIALECT_RFC8803 };

	(void)state;
	assert_int_equal(h.dialect, 0);
	assert_true(apply(e));
	assert_false(apply(e));
	e.dialect = CVT_DIALECT_HYBRID;
	assert_true(apply(e));
	assert_int_equal(h.dialect, 1 + CVT_DIALECT_HYBRID);
}

static void what_may_be_sent(void **state)
{
	(void)state;
	assert_true(apply(of_bytes(HEALTH_REFUSES, "\x1e\0\0", 3)));
	assert_false(apply(of_bytes(HEALTH_REFUSES, "\x1e", 1)));
	assert_false(health_may_send(&h, 30));
	assert_true(health_may_send(&h, 34));
	/* an empty list: it offers nothing */
	assert_true(apply(of_bytes(HEALTH_OFFERS, NULL, 0)));
	assert_false(health_may_send(&h, 34));
	assert_true(apply(of_bytes(HEALTH_OFFERS, "\x04\x1e\x22\0", 4)));
	assert_false(apply(of_bytes(HEALTH_OFFERS, "\x1e\x22\x04\0\0\0\0\0", 8)));
	assert_true(health_may_send(&h, 30));
	assert_true(health_may_send(&h, 34));
	assert_false(health_may_send(&h, 8));
	assert_false(health_has_kind(h.offers, 0));
	assert_true(apply(of_bytes(HEALTH_REFUSES, "\xff", 1)));
	assert_false(health_may_send(&h, 255));
}

/* It is known for as long as all that is learned. */
static void options_that_it_takes(void **state)
{
	(void)state;
	assert_true(apply((struct health_event){ .kind = HEALTH_TAKES }));
	assert_false(apply((struct health_event){ .kind = HEALTH_TAKES }));
	assert_int_equal(h.takes_options, 1);
	now += HEALTH_KEEP_MS;
	health_age(&h, now);
	assert_int_equal(h.takes_options, 0);
}

static void shares_of_the_time(void **state)
{
	(void)state;
	assert_int_equal(health_share_ns(6000, 0, 0), 6000);
	assert_int_equal(health_share_ns(6000, 1, 0), 3000);
	assert_int_equal(health_share_ns(6000, 2, 0), 2000);
	assert_int_equal(health_share_ns(6000000, 2, 500), 2000000);
	assert_int_equal(health_share_ns(6000000, 2, 1000),
			 3000000); /* three round trips of 1 ms */
	assert_int_equal(health_share_ns(6000000, 2, 3000), 6000000); /* more than there is */
	assert_int_equal(health_share_ns(0, 3, 1000), 0);
	assert_int_equal(health_share_ns(-5, 0, 1000), -5); /* it is over */
	assert_int_equal(health_share_ns(INT64_MAX / 4, 3, UINT32_MAX), INT64_MAX / 16);
}

static void cookies(void **state)
{
	char bytes[HEALTH_COOKIE_MAX + 1];

	(void)state;
	memset(bytes, 'c', sizeof(bytes));
	assert_false(apply(of_bytes(HEALTH_COOKIE, NULL, 0)));
	assert_true(apply(of_bytes(HEALTH_COOKIE, bytes, HEALTH_COOKIE_MAX)));
	assert_false(apply(of_bytes(HEALTH_COOKIE, bytes, HEALTH_COOKIE_MAX)));
	assert_int_equal(h.convert_cookie_len, HEALTH_COOKIE_MAX);
	assert_memory_equal(h.convert_cookie, bytes, HEALTH_COOKIE_MAX);
	assert_true(apply(of_bytes(HEALTH_COOKIE, bytes, 8)));
	assert_int_equal(h.convert_cookie[8], 0);
	assert_true(apply(of_bytes(HEALTH_COOKIE, bytes, sizeof(bytes)))); /* too long: none */
	assert_int_equal(h.convert_cookie_len, 0);
	assert_int_equal(h.convert_cookie[0], 0);
}

static bool goes(enum health_path path, enum health_way way)
{
	return apply((struct health_event){ .kind = HEALTH_WAY, .path = path, .way = way });
}

static void what_the_path_loses(void **state)
{
	(void)state;
	for (int i = 1; i < HEALTH_LOST_MAX; i++)
		assert_true(goes(HEALTH_SYN_DATA, HEALTH_LOSES));
	assert_int_equal(h.way[HEALTH_SYN_DATA], HEALTH_UNTRIED);
	assert_true(goes(HEALTH_SYN_DATA, HEALTH_WORKS)); /* and the count starts again */
	assert_false(goes(HEALTH_SYN_DATA, HEALTH_WORKS));
	for (int i = 1; i < HEALTH_LOST_MAX; i++)
		assert_true(goes(HEALTH_SYN_DATA, HEALTH_LOSES));
	assert_int_equal(h.way[HEALTH_SYN_DATA], HEALTH_WORKS);
	assert_true(goes(HEALTH_SYN_DATA, HEALTH_LOSES));
	assert_int_equal(h.way[HEALTH_SYN_DATA], HEALTH_LOSES);
	assert_false(goes(HEALTH_SYN_DATA, HEALTH_LOSES));
	assert_int_equal(h.way[HEALTH_MPTCP], HEALTH_UNTRIED);
	assert_int_equal(h.way[HEALTH_BARE_DATA], HEALTH_UNTRIED);
	assert_true(goes(HEALTH_BARE_DATA, HEALTH_WORKS));
	assert_true(goes(HEALTH_MPTCP, HEALTH_WORKS));
	assert_true(goes(HEALTH_SYN_DATA, HEALTH_HOLDS));
	assert_int_equal(h.way[HEALTH_SYN_DATA], HEALTH_HOLDS);
}

/* What has worked over TCP tells less than what was seen over MPTCP, and more than nothing. */
static void what_passes_over_tcp(void **state)
{
	(void)state;
	assert_true(goes(HEALTH_SYN_DATA, HEALTH_PASSES));
	assert_false(goes(HEALTH_SYN_DATA, HEALTH_PASSES));
	assert_true(health_is_sane(&h));
	for (int way = HEALTH_WORKS; way <= HEALTH_HOLDS; way += HEALTH_HOLDS - HEALTH_WORKS) {
		assert_true(goes(HEALTH_SYN_DATA, (enum health_way)way));
		assert_false(goes(HEALTH_SYN_DATA, HEALTH_PASSES));
		assert_int_equal(h.way[HEALTH_SYN_DATA], way);
	}
	for (int i = 0; i < HEALTH_LOST_MAX; i++)
		assert_true(goes(HEALTH_SYN_DATA, HEALTH_LOSES));
	assert_true(goes(HEALTH_SYN_DATA, HEALTH_PASSES));
	assert_int_equal(h.way[HEALTH_SYN_DATA], HEALTH_PASSES);
}

/* As may stand in an exchange, which processes share. */
static void what_is_no_path(void **state)
{
	struct health before;

	(void)state;
	assert_true(goes(HEALTH_MPTCP, HEALTH_WORKS));
	before = h;
	for (unsigned int path = HEALTH_N_PATHS; path < UINT8_MAX; path += 4) {
		assert_false(goes((enum health_path)path, HEALTH_WORKS));
		assert_false(goes((enum health_path)path, HEALTH_LOSES));
		assert_memory_equal(&h, &before, sizeof(h));
	}
}

/* A SYN+ACK that leaves the data out says so at once, a SYN that was sent again does not. */
static void what_the_path_strips(void **state)
{
	struct health_event e = { .kind = HEALTH_WAY,
				  .path = HEALTH_SYN_DATA,
				  .way = HEALTH_LOSES };

	(void)state;
	assert_true(apply(e));
	assert_int_equal(h.stripped, 0);
	e.stripped = true;
	assert_true(apply(e));
	assert_int_equal(h.stripped, 1);
	assert_true(goes(HEALTH_MPTCP, HEALTH_WORKS)); /* another matter */
	assert_int_equal(h.stripped, 1);
	assert_true(goes(HEALTH_SYN_DATA, HEALTH_WORKS));
	assert_int_equal(h.stripped, 0);
	e.path = HEALTH_MPTCP;
	assert_true(apply(e));
	assert_int_equal(h.stripped, 0);
	h.stripped = 2;
	assert_false(health_is_sane(&h));
}

static void the_time_of_the_handshake(void **state)
{
	struct health_event e = { .kind = HEALTH_ANSWERED, .rtt_us = 20000 };
	unsigned int writes = 0;

	(void)state;
	assert_true(apply(e));
	assert_int_equal(h.rtt_us, 20000);
	e.rtt_us = 39999;
	assert_false(apply(e)); /* not worth a write */
	e.rtt_us = 10001;
	assert_false(apply(e));
	e.rtt_us = 0;
	assert_false(apply(e));
	assert_int_equal(h.rtt_us, 20000);
	for (unsigned int i = 0; i < 1000; i++) { /* a path that changes its mind */
		e.rtt_us = i % 2 ? 20000 : 60000;
		writes += apply(e);
	}
	assert_in_range(writes, 1, 2);
	for (int i = 0; i < 100; i++) {
		e.rtt_us = UINT32_MAX;
		apply(e);
	}
	assert_true(h.rtt_us >= UINT32_MAX / 2 - 1);
	for (int i = 0; i < 100; i++) {
		e.rtt_us = 1;
		apply(e);
	}
	assert_in_range(h.rtt_us, 1, 3);
}

/* All but the failures, which have their own time. */
static void forgotten_after_a_day(void **state)
{
	(void)state;
	apply((struct health_event){ .kind = HEALTH_SPEAKS, .dialect = CVT_DIALECT_HYBRID });
	now += HEALTH_KEEP_MS - 1;
	apply(of_bytes(HEALTH_COOKIE, "cookie", 6));
	apply(of_bytes(HEALTH_REFUSES, "\x1e", 1));
	apply(failure());
	assert_int_equal(h.dialect, 1 + CVT_DIALECT_HYBRID);
	now += 1;
	health_age(&h, now);
	assert_int_equal(h.dialect, 0);
	assert_int_equal(h.convert_cookie_len, 0);
	assert_true(health_may_send(&h, 30));
	assert_int_equal(h.failures, 1);
	assert_int_equal(health_advise(&h, now), HEALTH_LEAVE);
}

/* Unless the helper has seen in the meantime that it is still so. */
static void seen_again(void **state)
{
	(void)state;
	apply((struct health_event){ .kind = HEALTH_SPEAKS, .dialect = CVT_DIALECT_HYBRID });
	now += HEALTH_KEEP_MS - 1;
	assert_true(apply((struct health_event){ .kind = HEALTH_SEEN }));
	now += HEALTH_KEEP_MS - 1;
	health_age(&h, now);
	assert_int_equal(h.dialect, 1 + CVT_DIALECT_HYBRID);
	now += 1;
	health_age(&h, now);
	assert_int_equal(h.dialect, 0);
}

/* Nothing is left alone until a moment that only a wrong clock has known. */
static void a_clock_that_was_wrong(void **state)
{
	(void)state;
	now += 1000 * HEALTH_KEEP_MS;
	apply((struct health_event){ .kind = HEALTH_SPEAKS, .dialect = CVT_DIALECT_HYBRID });
	apply(failure());
	now -= 1000 * HEALTH_KEEP_MS;
	health_age(&h, now);
	assert_int_equal(health_advise(&h, now), HEALTH_PROBE);
	assert_int_equal(h.dialect, 0);
	assert_true(apply(failure()));
	assert_int_equal(h.failures, 2);
}

/* ---------------------------------------------------------------------- the network */

static unsigned int asked;
static struct pol_route answer;
static bool has_route;

static bool route(const struct addr *to, const struct pol_binding *by, struct pol_route *r)
{
	(void)to;
	assert_null(by);
	asked++;
	*r = answer;
	return has_route;
}

static uint64_t network(const char *source, const char *interface)
{
	struct pol_route r = { 0 };

	assert_int_equal(addr_parse(&r.source, source), 0);
	snprintf(r.interface, sizeof(r.interface), "%s", interface);
	return health_network(&r);
}

static void networks(void **state)
{
	(void)state;
	assert_int_equal(network("10.0.0.1", "eth0"), network("10.0.0.1", "eth0"));
	assert_int_not_equal(network("10.0.0.1", "eth0"), network("10.0.0.2", "eth0"));
	assert_int_not_equal(network("10.0.0.1", "eth0"), network("10.0.0.1", "eth1"));
	/* an address for privacy changes every day, its network does not */
	assert_int_equal(network("2001:db8::1", "eth0"), network("2001:db8::ffff:1", "eth0"));
	assert_int_not_equal(network("2001:db8::1", "eth0"), network("2001:db8:0:1::1", "eth0"));
	assert_int_not_equal(network("::ffff:10.0.0.1", "a"), 0);
}

static void the_route_is_asked_for_once_in_a_while(void **state)
{
	struct health_key k;
	struct addr other = key.converter;

	(void)state;
	asked = 0;
	has_route = true;
	addr_parse(&answer.source, "10.0.0.1");
	snprintf(answer.interface, sizeof(answer.interface), "eth0");
	for (int i = 0; i < 100; i++) {
		health_where(&key.converter, route, now + i, &k);
		assert_int_equal(k.network, health_network(&answer));
		assert_int_equal(k.converter.port, 5124);
	}
	assert_int_equal(asked, 1);
	has_route = false;
	for (unsigned int i = 0; i < 2; i++) { /* not for ten seconds */
		health_where(&key.converter, route, now + HEALTH_ROUTE_MS, &k);
		assert_int_equal(k.network, 0);
	}
	assert_int_equal(asked, 3);
	has_route = true;
	asked = 1;
	health_where(&key.converter, route, now + HEALTH_ROUTE_MS, &k);
	assert_int_equal(k.network, health_network(&answer));
	for (uint16_t port = 1; port <= 10 * HEALTH_TABLE; port++) {
		other.port = port;
		health_where(&other, route, now + HEALTH_ROUTE_MS, &k);
		health_where(&key.converter, route, now + HEALTH_ROUTE_MS, &k);
	}
	assert_int_equal(asked, 2 + 10 * HEALTH_TABLE);
	health_where(&other, NULL, now, &k);
	assert_int_equal(k.network, 0);
}

static void the_route_is_asked_for_now(void **state)
{
	struct health_key k;

	(void)state;
	has_route = true;
	for (unsigned int i = 0; i < 2; i++) {
		snprintf(answer.interface, sizeof(answer.interface), "eth%u", i);
		health_where_now(&key.converter, route, now, &k);
		assert_int_equal(k.network, health_network(&answer));
		health_where(&key.converter, NULL, now, &k);
		assert_int_equal(k.network, health_network(&answer));
	}
}

/* ------------------------------------------------------------- the table and the file */

static void report(struct health_event e)
{
	errno = 123;
	health_report(&key, &e, now);
	assert_int_equal(errno, 123);
}

static void find(void)
{
	errno = 123;
	health_find(&key, now, &h);
	assert_int_equal(errno, 123);
}

static void told_to_others(void **state)
{
	struct health_key other = key;

	(void)state;
	report((struct health_event){ .kind = HEALTH_SPEAKS, .dialect = CVT_DIALECT_DRAFT02 });
	report(of_bytes(HEALTH_COOKIE, "12345678", 8));
	if (*state_path())
		health_clear_table();
	find();
	assert_int_equal(h.dialect, 1 + CVT_DIALECT_DRAFT02);
	assert_int_equal(h.convert_cookie_len, 8);
	other.network++;
	health_find(&other, now, &h);
	assert_int_equal(h.dialect, 0); /* in another network it may be another one */
	assert_int_equal(h.convert_cookie_len, 0);
}

static void one_probe_at_a_time(void **state)
{
	(void)state;
	assert_int_equal(health_ask(&key, now, 500, false), HEALTH_USE);
	report(failure());
	assert_int_equal(health_ask(&key, now, 500, false), HEALTH_LEAVE);
	now += HEALTH_FIRST_MS;
	assert_int_equal(health_ask(&key, now, 500, false), HEALTH_PROBE);
	assert_int_equal(health_ask(&key, now, 500, false), HEALTH_LEAVE);
	now += 499;
	assert_int_equal(health_ask(&key, now, 500, false), HEALTH_LEAVE);
	now += 1; /* that one has not come back */
	assert_int_equal(health_ask(&key, now, 500, false), HEALTH_PROBE);
	find();
	assert_int_equal(h.prober, getpid());
	report((struct health_event){ .kind = HEALTH_ANSWERED });
	assert_int_equal(health_ask(&key, now, 500, false), HEALTH_USE);
}

/* The attempt has ended without telling anything: the next one asks, at once. */
static void a_probe_that_tells_nothing(void **state)
{
	(void)state;
	report(failure());
	now += HEALTH_FIRST_MS;
	assert_int_equal(health_ask(&key, now, 500, false), HEALTH_PROBE);
	assert_int_equal(health_ask(&key, now, 500, false), HEALTH_LEAVE);
	report((struct health_event){ .kind = HEALTH_UNPROBED });
	find();
	assert_int_equal(h.prober, 0);
	assert_int_equal(h.failures, 1);
	assert_int_equal(health_ask(&key, now, 500, false), HEALTH_PROBE);
}

/* Where there is no other it is tried again after its first second, by one, but not if it has asked for
 * patience; and that it fails once more in that time is no news. */
static void tried_again_although_left_alone(void **state)
{
	(void)state;
	report(failure());
	now += HEALTH_FIRST_MS;
	report(failure());
	now += HEALTH_FIRST_MS - 1;
	assert_int_equal(health_ask(&key, now, 500, true), HEALTH_LEAVE);
	now += 1;
	assert_int_equal(health_ask(&key, now, 500, false), HEALTH_LEAVE);
	assert_int_equal(health_ask(&key, now, 500, true), HEALTH_PROBE);
	assert_int_equal(health_ask(&key, now, 500, true), HEALTH_LEAVE);
	report(failure());
	find();
	assert_int_equal(h.failures, 2);
	now += HEALTH_FIRST_MS;
	report((struct health_event){
		.kind = HEALTH_FAILED, .started_ms = now, .delay_s = 60, .retry_ms = 60000 });
	now += HEALTH_FIRST_MS;
	assert_int_equal(health_ask(&key, now, 500, true), HEALTH_LEAVE);
}

/* Sixteen processes ask at once, again and again: each time at most one is told to try, and over
 * all at least one is. */
static void one_probe_among_processes(void **state)
{
	enum { N = 16, ROUNDS = 50 };
	int pipes[2], probes = 0, status;
	pid_t pids[N];
	char byte;

	(void)state;
	for (int round = 0; round < ROUNDS; round++) {
		int went = 0;

		report(failure());
		now += RETRY;
		assert_int_equal(pipe(pipes), 0);
		for (int i = 0; i < N; i++) {
			pids[i] = fork();
			if (pids[i] == 0) {
				close(pipes[1]);
				if (read(pipes[0], &byte, 1) != 0) /* until all are there */
					_exit(2);
				health_clear_table();
				_exit(health_ask(&key, now, 5000, false) == HEALTH_PROBE);
			}
		}
		close(pipes[0]);
		close(pipes[1]);
		for (int i = 0; i < N; i++) {
			assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
			assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 2);
			went += WEXITSTATUS(status);
		}
		assert_in_range(went, 0, 1);
		probes += went;
		health_clear_table();
	}
	assert_true(probes > 0);
}

static void record_key(uint8_t bytes[STATE_CONVERTER_KEY])
{
	memcpy(bytes, key.converter.ip, 16);
	bytes[16] = 5124 >> 8;
	bytes[17] = 5124 & 0xff;
	memcpy(bytes + 18, &key.network, 8);
}

/* Holds the record's lock until the test has asked. */
static bool hold(void *value, struct state_times *times, bool found, void *arg)
{
	const int *to_and_from = arg;
	char byte = found;

	(void)value;
	(void)times;
	if (write(to_and_from[0], &byte, 1) != 1 || read(to_and_from[1], &byte, 1) != 0)
		_exit(2);
	return false;
}

/* Another process is at its record, perhaps to try it: that one goes first, whoever asks meanwhile. */
static void asked_while_another_writes(void **state)
{
	uint8_t bytes[STATE_CONVERTER_KEY];
	int there[2], back[2], status;
	char byte;
	pid_t pid;

	(void)state;
	report(failure());
	now += RETRY;
	record_key(bytes);
	assert_int_equal(pipe(there), 0);
	assert_int_equal(pipe(back), 0);
	pid = fork();
	if (pid == 0) {
		close(back[1]);
		state_update(STATE_CONVERTER, bytes, now, hold, (int[]){ there[1], back[0] });
		_exit(0);
	}
	assert_int_equal(read(there[0], &byte, 1), 1);
	assert_int_equal(byte, true);
	assert_int_equal(health_ask(&key, now, 500, false), HEALTH_LEAVE);
	for (int i = 0; i < 2; i++) {
		close(there[i]);
		close(back[i]);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(health_ask(&key, now, 500, false), HEALTH_PROBE);
}

static void *ask(void *arg)
{
	*(enum health_advice *)arg = health_ask(&key, now, 5000, false);
	return NULL;
}

static void one_probe_among_threads(void **state)
{
	enum { N = 8, ROUNDS = 100 };
	enum health_advice advice[N];
	pthread_t t[N];
	int probes = 0;

	(void)state;
	for (int round = 0; round < ROUNDS; round++) {
		int went = 0;

		report(failure());
		now += RETRY;
		for (int i = 0; i < N; i++)
			assert_int_equal(pthread_create(&t[i], NULL, ask, &advice[i]), 0);
		for (int i = 0; i < N; i++) {
			pthread_join(t[i], NULL);
			went += advice[i] == HEALTH_PROBE;
		}
		assert_in_range(went, 0, 1);
		probes += went;
	}
	assert_true(probes > 0);
}

/* What could not be written stays known here, and gets there with the next news. */
static void a_file_that_comes_later(void **state)
{
	(void)state;
	state_setup("/proc/nothing/state");
	report((struct health_event){ .kind = HEALTH_SPEAKS, .dialect = CVT_DIALECT_HYBRID });
	report(failure());
	now += 10 * HEALTH_REREAD_MS;
	find();
	assert_int_equal(h.dialect, 1 + CVT_DIALECT_HYBRID);
	state_setup(state_file);
	assert_int_equal(health_ask(&key, now, 500, false), HEALTH_PROBE);
	health_clear_table();
	find();
	assert_int_equal(h.dialect, 1 + CVT_DIALECT_HYBRID);
	assert_int_equal(h.failures, 1);
	assert_int_equal(health_ask(&key, now, 500, false), HEALTH_LEAVE);
	/* but what somebody has taken out of the file stays out */
	state_clear();
	now += HEALTH_REREAD_MS;
	assert_int_equal(health_ask(&key, now, 500, false), HEALTH_USE);
	find();
	assert_int_equal(h.dialect, 0);
}

/* What another process has to say, who knows what the file has. */
static void report_elsewhere(struct health_event e)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		health_clear_table();
		health_report(&key, &e, now);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void report_unwritten(struct health_event e)
{
	assert_true(state_dir_may_write(false));
	report(e);
	assert_true(state_dir_may_write(true));
}

static enum health_advice ask_unwritten(void)
{
	enum health_advice advice;

	assert_true(state_dir_may_write(false));
	advice = health_ask(&key, now, 500, false);
	assert_true(state_dir_may_write(true));
	return advice;
}

/* The file says that it is well, and nobody may write there otherwise: what this process knows since is not
 * overruled by that, but by what others write later. */
static void a_file_that_can_only_be_read(void **state)
{
	const struct health_event speaks = { .kind = HEALTH_SPEAKS, .dialect = CVT_DIALECT_HYBRID };

	(void)state;
	report((struct health_event){ .kind = HEALTH_SPEAKS, .dialect = CVT_DIALECT_DRAFT02 });
	now += HEALTH_REREAD_MS / 2;
	report_unwritten(failure());
	now += HEALTH_LEFT_MS;
	assert_int_equal(ask_unwritten(), HEALTH_LEAVE);
	now += HEALTH_FIRST_MS - HEALTH_LEFT_MS;
	assert_int_equal(ask_unwritten(), HEALTH_PROBE);
	assert_int_equal(ask_unwritten(), HEALTH_LEAVE);
	report_unwritten(failure());
	now += HEALTH_FIRST_MS;
	assert_int_equal(ask_unwritten(), HEALTH_LEAVE);
	now += 10 * HEALTH_REREAD_MS;
	find();
	assert_int_equal(h.failures, 2);
	assert_int_equal(h.dialect, 1 + CVT_DIALECT_DRAFT02);
	report_unwritten((struct health_event){ .kind = HEALTH_ANSWERED });
	now += HEALTH_REREAD_MS;
	assert_int_equal(ask_unwritten(), HEALTH_USE);
	report_unwritten(failure());
	now += HEALTH_LEFT_MS;
	report_elsewhere(speaks);
	assert_int_equal(ask_unwritten(), HEALTH_USE);
	find();
	assert_int_equal(h.dialect, 1 + CVT_DIALECT_HYBRID);
}

/* That another process is just writing is no reason to believe one's own for longer. */
static void a_file_that_others_write(void **state)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	struct health_event patience = failure();
	int fd;

	(void)state;
	patience.delay_s = 300;
	report((struct health_event){ .kind = HEALTH_SPEAKS, .dialect = CVT_DIALECT_DRAFT02 });
	now += HEALTH_REREAD_MS / 2;
	fd = open(state_path(), O_RDWR);
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
	report((struct health_event){ .kind = HEALTH_TAKES });
	close(fd);
	report_elsewhere(patience);
	now += HEALTH_REREAD_MS;
	find();
	assert_int_equal(h.asked, 1);
	report((struct health_event){ .kind = HEALTH_SPEAKS, .dialect = CVT_DIALECT_HYBRID });
	health_clear_table();
	find();
	assert_int_equal(h.asked, 1);
}

/* And when it can be written again, it gets there with the next news. */
static void a_file_that_can_be_written_again(void **state)
{
	(void)state;
	report((struct health_event){ .kind = HEALTH_SPEAKS, .dialect = CVT_DIALECT_DRAFT02 });
	now += HEALTH_REREAD_MS / 2;
	report_unwritten(failure());
	now += HEALTH_FIRST_MS;
	assert_int_equal(health_ask(&key, now, 500, false), HEALTH_PROBE);
	health_clear_table();
	assert_int_equal(health_ask(&key, now, 500, false), HEALTH_LEAVE);
	find();
	assert_int_equal(h.failures, 1);
	assert_int_equal(h.dialect, 1 + CVT_DIALECT_DRAFT02);
}

/* A clock that was set back makes nothing last: the file is believed. */
static void ahead_of_the_file_by_a_wrong_clock(void **state)
{
	(void)state;
	report((struct health_event){ .kind = HEALTH_SPEAKS });
	now += HEALTH_KEEP_MS / 2;
	report_unwritten(failure());
	now -= HEALTH_KEEP_MS / 2;
	find();
	assert_int_equal(h.failures, 0);
}

static bool write_nonsense(void *value, struct state_times *times, bool found, void *arg)
{
	(void)found;
	memcpy(value, arg, sizeof(struct health));
	times->until_ms = now + 1000;
	return true;
}

/* A slot that is whole, and that no version of this code has written. */
static void nonsense(void **state)
{
	struct health rows[] = {
		{ .learned_ms = INT64_MIN },
		{ .failed_ms = -1 },
		{ .alone_until_ms = -1 },
		{ .probe_until_ms = INT64_MIN },
		{ .failures = UINT32_MAX },
		{ .convert_cookie_len = HEALTH_COOKIE_MAX + 1 },
		{ .dialect = 4 },
		{ .has_offers = 2 },
		{ .way = { HEALTH_PASSES + 1 } },
		{ .lost = { 0, 255 } },
		{ .asked = 2 },
		{ .mute = 2 },
	};
	uint8_t bytes[STATE_CONVERTER_KEY];

	(void)state;
	record_key(bytes);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		static const struct health none;

		assert_false(health_is_sane(&rows[i]));
		assert_int_equal(
			state_update(STATE_CONVERTER, bytes, now, write_nonsense, &rows[i]), 0);
		health_clear_table();
		find();
		assert_memory_equal(&h, &none, sizeof(h));
		assert_int_equal(health_ask(&key, now, 500, false), HEALTH_USE);
		report((struct health_event){ .kind = HEALTH_SPEAKS });
		health_clear_table();
		find();
		assert_int_equal(h.dialect, 1);
	}
}

static void count(const struct health_key *k, const struct health *record, void *arg)
{
	unsigned int *n = arg;

	assert_int_equal(k->converter.port, 5124);
	assert_true(record->dialect > 0);
	(*n)++;
}

static void all_of_them(void **state)
{
	unsigned int n = 0;

	(void)state;
	for (int i = 0; i < 10; i++) {
		key.network++;
		report((struct health_event){ .kind = HEALTH_SPEAKS });
	}
	health_each(now, count, &n);
	assert_int_equal(n, 10);
}

/* Nobody was using the tables when the parent forked: they hold. */
static void a_child_goes_on(void **state)
{
	(void)state;
	report(failure());
	health_in_child();
	assert_int_equal(health_ask(&key, now, 1000, false), HEALTH_LEAVE);
	health_where(&key.converter, NULL, now, &key);
	report((struct health_event){ .kind = HEALTH_ANSWERED });
	assert_int_equal(health_ask(&key, now, 1000, false), HEALTH_USE);
}

static enum blame blame_of(const char *facts)
{
	struct blame_facts f = {
		.has_syn_ack = strchr(facts, 'e'), /* established */
		.has_sent = strchr(facts, 's'),
		.has_ack = strchr(facts, 'a'),
		.has_begun = strchr(facts, 'b'),
		.is_alive = strchr(facts, 'l'),
		.was_asked = strchr(facts, 'q'),
	};

	return blame(&f);
}

static void whose_fault_it_is(void **state)
{
	(void)state;
	/* the converter has the message, and answers others or a question, or not */
	assert_int_equal(blame_of("esal"), BLAME_SERVER);
	assert_int_equal(blame_of("esalq"), BLAME_SERVER);
	assert_int_equal(blame_of("esa"), BLAME_UNCLEAR);
	assert_int_equal(blame_of("esaq"), BLAME_CONVERTER);
	/* the message went with a SYN to which nothing has come: held, or lost */
	assert_int_equal(blame_of("sl"), BLAME_SERVER);
	assert_int_equal(blame_of("s"), BLAME_UNCLEAR);
	assert_int_equal(blame_of("sq"), BLAME_PATH);
	/* an empty SYN needs no server to be answered */
	assert_int_equal(blame_of(""), BLAME_PATH);
	assert_int_equal(blame_of("l"), BLAME_NOBODY);
	/* the message does not get there */
	assert_int_equal(blame_of("es"), BLAME_PATH);
	assert_int_equal(blame_of("esq"), BLAME_PATH);
	assert_int_equal(blame_of("esl"), BLAME_NOBODY);
	/* nobody has sent it */
	assert_int_equal(blame_of("e"), BLAME_NOBODY);
	assert_int_equal(blame_of("eq"), BLAME_NOBODY);
	/* half a reply */
	assert_int_equal(blame_of("esab"), BLAME_CONVERTER);
	assert_int_equal(blame_of("esabl"), BLAME_CONVERTER);
}

static void texts_of_faults(void **state)
{
	(void)state;
	for (int b = BLAME_NOBODY; b <= BLAME_UNCLEAR; b++)
		assert_non_null(strstr(blame_text((enum blame)b), "no reply in time"));
	assert_non_null(strstr(blame_text(BLAME_SERVER), "server"));
}

#define PURE(test)	   cmocka_unit_test_setup(test, start)
#define WITH_FILE(test)	   cmocka_unit_test_setup(test, start)
#define WITHOUT_FILE(test) cmocka_unit_test_setup(test, start_without_file)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PURE(used_at_first),
		PURE(left_alone_for_a_growing_time),
		PURE(failures_of_one_moment),
		PURE(announced_delays),
		PURE(patience_after_failures),
		PURE(patience_and_what_began_before),
		PURE(patience_of_the_same_moment),
		PURE(mute_behind_info),
		PURE(what_it_speaks),
		PURE(what_may_be_sent),
		PURE(options_that_it_takes),
		PURE(shares_of_the_time),
		PURE(cookies),
		PURE(what_the_path_loses),
		PURE(what_passes_over_tcp),
		PURE(what_is_no_path),
		PURE(what_the_path_strips),
		PURE(the_time_of_the_handshake),
		PURE(forgotten_after_a_day),
		PURE(seen_again),
		PURE(a_clock_that_was_wrong),
		PURE(networks),
		PURE(the_route_is_asked_for_once_in_a_while),
		PURE(the_route_is_asked_for_now),
		cmocka_unit_test(whose_fault_it_is),
		cmocka_unit_test(texts_of_faults),
		WITH_FILE(told_to_others),
		WITHOUT_FILE(told_to_others),
		WITH_FILE(one_probe_at_a_time),
		WITHOUT_FILE(one_probe_at_a_time),
		WITH_FILE(tried_again_although_left_alone),
		WITHOUT_FILE(tried_again_although_left_alone),
		WITH_FILE(a_probe_that_tells_nothing),
		WITHOUT_FILE(a_probe_that_tells_nothing),
		WITH_FILE(one_probe_among_processes),
		WITH_FILE(asked_while_another_writes),
		WITH_FILE(one_probe_among_threads),
		WITHOUT_FILE(one_probe_among_threads),
		WITH_FILE(a_file_that_comes_later),
		WITH_FILE(a_file_that_can_only_be_read),
		WITH_FILE(a_file_that_others_write),
		WITH_FILE(a_file_that_can_be_written_again),
		WITH_FILE(ahead_of_the_file_by_a_wrong_clock),
		WITH_FILE(nonsense),
		WITH_FILE(all_of_them),
		WITHOUT_FILE(a_child_goes_on),
	};

	return cmocka_run_group_tests(tests, state_dir_make, state_dir_remove);
}

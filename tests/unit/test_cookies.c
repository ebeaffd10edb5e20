// SPDX-License-Identifier: MIT
/* Whoever has just learned a cookie has one to send, however many threads learn one at once; in another
 * network nobody has. */
#include "message.h"

#include "converters.h"
#include "paths.h"
#include "shim.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define THREADS 8
#define ROUNDS	3000

static struct config_converter converter;
static pthread_barrier_t barrier;
static bool is_each_its_own; /* cookie, or are they all the same? */
struct outcome;
static void (*each)(struct outcome *o, unsigned int round);

/* Their lengths differ, too. */
static size_t cookie_of(unsigned int round, unsigned int thread, uint8_t *room)
{
	size_t len = is_each_its_own ? 8 + 8 * thread : 16;

	memset(room, (int)(round + 1), len);
	room[0] = is_each_its_own ? (uint8_t)thread : 0;
	return len;
}

static bool is_one_of_them(unsigned int round, const uint8_t *cookie, size_t len)
{
	uint8_t room[CONFIG_COOKIE_MAX];

	for (unsigned int i = 0; i < THREADS; i++)
		if (cookie_of(round, i, room) == len && memcmp(room, cookie, len) == 0)
			return true;
	return false;
}

/* What has gone wrong, of so many rounds. */
struct outcome {
	unsigned int thread, not_learned, not_sent, wrong;
};

static struct exchange with_converter(unsigned int round)
{
	struct exchange u = { .converter = 0 };

	memcpy(u.health.converter.ip, &round, sizeof(round)); /* each is another one */
	u.health.converter.port = 1;
	return u;
}

/* As the message is written. */
static size_t send_one(const struct exchange *u, uint8_t *room)
{
	size_t len;

	do
		len = cookies_len(u);
	while (len && !cookies_copy(u, room, len));
	return len;
}

static void learn(struct outcome *o, unsigned int round)
{
	struct exchange u = with_converter(round);
	uint8_t room[CONFIG_COOKIE_MAX];
	struct cvt_span cookie = { room, cookie_of(round, o->thread, room) };

	o->not_learned += !cookies_learn(&u, cookie);
	cookie.len = send_one(&u, room);
	o->not_sent += !cookie.len;
	o->wrong += cookie.len && !is_one_of_them(round, room, cookie.len);
}

/* All have sent the same; it is refused, the first one learns another, and the others let it go. */
static void refuse(struct outcome *o, unsigned int round)
{
	struct exchange u = with_converter(round);
	uint8_t room[CONFIG_COOKIE_MAX];
	struct cvt_span old = { room, 8 };

	memset(room, 0xff, old.len);
	if (o->thread == 0)
		cookies_learn(&u, old);
	u.sent_cookie = cookies_mark(old);
	pthread_barrier_wait(&barrier);
	if (o->thread)
		cookies_drop(&u);
	else
		learn(o, round);
}

static void *learner(void *arg)
{
	for (unsigned int i = 0; i < ROUNDS; i++) {
		pthread_barrier_wait(&barrier);
		each(arg, i + 1);
		pthread_barrier_wait(&barrier);
	}
	return NULL;
}

static void all_at_once(void)
{
	struct outcome all[THREADS] = { 0 };
	pthread_t threads[THREADS];

	pthread_barrier_init(&barrier, NULL, THREADS);
	for (unsigned int i = 0; i < THREADS; i++) {
		all[i].thread = i;
		assert_int_equal(pthread_create(&threads[i], NULL, learner, &all[i]), 0);
	}
	for (unsigned int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&barrier);
	for (unsigned int i = 0; i < THREADS; i++) {
		assert_int_equal(all[i].not_learned, 0);
		assert_int_equal(all[i].not_sent, 0);
		assert_int_equal(all[i].wrong, 0);
	}
}

static void test_the_same(void **state)
{
	(void)state;
	each = learn;
	is_each_its_own = false;
	all_at_once();
}

static void test_each_its_own(void **state)
{
	(void)state;
	each = learn;
	is_each_its_own = true;
	all_at_once();
}

static void test_refused(void **state)
{
	(void)state;
	each = refuse;
	is_each_its_own = true;
	all_at_once();
}

/* ---------------------------------------------------------------- from another network */

static int64_t now_ms = 1000000;
static struct pol_route route = { .interface = "wlan0" };
static unsigned int routes_asked;

int64_t __wrap_clock_ns(clockid_t id);
bool __wrap_route_lookup(const struct addr *to, const struct pol_binding *by,
			 struct pol_route *found);

int64_t __wrap_clock_ns(clockid_t id)
{
	(void)id;
	return now_ms * 1000000;
}

bool __wrap_route_lookup(const struct addr *to, const struct pol_binding *by,
			 struct pol_route *found)
{
	(void)to;
	routes_asked++;
	*found = route;
	if (by && by->interface)
		strcpy(found->interface, "wwan0");
	return true;
}

static const struct config config = { .converters = &converter,
				      .n_converters = 1,
				      .timeout_ms = 4000,
				      .retry_ms = 60000 };
_Atomic(const struct config *) shim_found = &config;

const struct config *shim_read(void)
{
	return &config;
}

/* As the next connection is begun. */
static size_t len_for_the_next(struct exchange *u)
{
	struct pol_verdict rule = { .action = POL_DIRECT };
	struct converters_choice choice = { .by = &u->by };

	converters_choose(&u->via, AF_INET, rule, &choice);
	converters_advise(u);
	return cookies_len(u);
}

/* F-02, where there is no state file, too; and the route is asked for once in ten seconds. */
static void test_another_network(void **state)
{
	struct addr via = { .ip = { [10] = 0xff, 0xff, 192, 0, 2, 1 }, .port = 5124 };
	struct exchange u = { .via = via };
	const struct cvt_span cookie = { (const uint8_t *)"biscuit", 7 };

	(void)state;
	assert_false(state_is_kept());
	assert_int_equal(len_for_the_next(&u), 0);
	assert_true(cookies_learn(&u, cookie));
	for (int i = 0; i < 10; i++)
		assert_int_equal(len_for_the_next(&u), cookie.len);
	strcpy(route.interface, "wwan0");
	now_ms += HEALTH_ROUTE_MS;
	assert_int_equal(len_for_the_next(&u), 0);
	strcpy(route.interface, "wlan0");
	now_ms += HEALTH_ROUTE_MS;
	assert_int_equal(len_for_the_next(&u), cookie.len);
	assert_int_equal(routes_asked, 3);
}

/* A socket that is bound to a device is in that one's network, whatever the default is. */
static void test_bound_to_another_network(void **state)
{
	struct addr via = { .ip = { [10] = 0xff, 0xff, 192, 0, 2, 2 }, .port = 5124 };
	struct exchange u = { .via = via }, bound = u;
	const struct cvt_span cookie = { (const uint8_t *)"biscuit", 7 };

	(void)state;
	bound.by.interface = 7;
	strcpy(route.interface, "wlan0");
	for (int i = 0; i < 2; i++) {
		assert_int_equal(len_for_the_next(&u), i ? cookie.len : 0);
		assert_int_equal(len_for_the_next(&bound), 0);
		assert_int_not_equal(u.health.network, bound.health.network);
		assert_true(i || cookies_learn(&u, cookie));
	}
	strcpy(route.interface, "wwan0"); /* the default is that network now */
	now_ms += HEALTH_ROUTE_MS;
	assert_int_equal(len_for_the_next(&u), 0);
	assert_int_equal(u.health.network, bound.health.network);
}

/* Nor does one whose packets do not get as far tell others anything, on the same way. */
static void test_few_hops(void **state)
{
	struct addr via = { .ip = { [10] = 0xff, 0xff, 192, 0, 2, 3 }, .port = 5124 };
	struct exchange u = { .via = via }, near = u;
	const struct cvt_span cookie = { (const uint8_t *)"biscuit", 7 };

	(void)state;
	near.by.few_hops = true;
	assert_int_equal(len_for_the_next(&near), 0);
	assert_true(cookies_learn(&near, cookie));
	assert_int_equal(len_for_the_next(&near), cookie.len);
	assert_int_equal(len_for_the_next(&u), 0);
	assert_int_not_equal(u.health.network, near.health.network);
	assert_true(converters_is_still_in(&near.health, &near.by));
	assert_false(converters_is_still_in(&near.health, &u.by));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_same),
		cmocka_unit_test(test_each_its_own),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_another_network),
		cmocka_unit_test(test_bound_to_another_network),
		cmocka_unit_test(test_few_hops),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: MIT
#include "paths.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* o: the program's own socket; b: bound; w: watched; l: lost. Then 1, 2 or t (tunnel), or nothing yet. */
static enum multipath of(enum config_mptcp setting, const char *facts)
{
	struct multipath_facts f = {
		.setting = setting,
		.is_own = strchr(facts, 'o'),
		.is_bound = strchr(facts, 'b'),
		.is_watched = strchr(facts, 'w'),
		.is_lost = strchr(facts, 'l'),
		.paths = strchr(facts, '1') ? PATHS_ONE :
			 strchr(facts, '2') ? PATHS_SEVERAL :
			 strchr(facts, 't') ? PATHS_AROUND :
					      PATHS_UNASKED,
	};

	return multipath(&f);
}

static void automatic(void **state)
{
	(void)state;
	assert_int_equal(of(CONFIG_MPTCP_AUTO, "2"), MULTIPATH_GAINS);
	assert_int_equal(of(CONFIG_MPTCP_AUTO, "1"), MULTIPATH_ONE);
	assert_int_equal(of(CONFIG_MPTCP_AUTO, "t"), MULTIPATH_AROUND);
	/* nobody is asked for nothing */
	assert_int_equal(of(CONFIG_MPTCP_AUTO, ""), MULTIPATH_UNCLEAR);
	assert_int_equal(of(CONFIG_MPTCP_AUTO, "b"), MULTIPATH_BOUND);
	assert_int_equal(of(CONFIG_MPTCP_AUTO, "l"), MULTIPATH_LOST);
	assert_int_equal(of(CONFIG_MPTCP_AUTO, "bl2"), MULTIPATH_BOUND);
	assert_int_equal(of(CONFIG_MPTCP_AUTO, "w2"), MULTIPATH_WATCHED);
	assert_int_equal(of(CONFIG_MPTCP_AUTO, "w"), MULTIPATH_WATCHED);
	assert_int_equal(of(CONFIG_MPTCP_ON, "w1"), MULTIPATH_ON);
	assert_int_equal(of(CONFIG_MPTCP_AUTO, "l2"), MULTIPATH_LOST);
}

static void said(void **state)
{
	static const char *const all[] = { "", "1", "2", "t", "l", "l2" };

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		assert_int_equal(of(CONFIG_MPTCP_ON, all[i]), MULTIPATH_ON);
		assert_int_equal(of(CONFIG_MPTCP_OFF, all[i]), MULTIPATH_OFF);
	}
	assert_int_equal(of(CONFIG_MPTCP_ON, "b1"), MULTIPATH_ON_BOUND);
	assert_int_equal(of(CONFIG_MPTCP_OFF, "b2"), MULTIPATH_OFF);
	for (int s = CONFIG_MPTCP_AUTO; s <= CONFIG_MPTCP_OFF; s++)
		assert_int_equal(of((enum config_mptcp)s, "obl1"), MULTIPATH_OWN);
}

static void texts(void **state)
{
	static const enum multipath yes[] = { MULTIPATH_GAINS, MULTIPATH_OWN, MULTIPATH_ON };
	static const enum multipath no[] = { MULTIPATH_BOUND, MULTIPATH_WATCHED, MULTIPATH_LOST,
					     MULTIPATH_ONE, MULTIPATH_AROUND };

	(void)state;
	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
		assert_true(multipath_is(yes[i]));
		assert_null(multipath_text(yes[i]));
	}
	for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
		assert_false(multipath_is(no[i]));
		assert_non_null(multipath_text(no[i]));
	}
	assert_true(multipath_is(MULTIPATH_ON_BOUND));
	assert_non_null(multipath_text(MULTIPATH_ON_BOUND));
	assert_false(multipath_is(MULTIPATH_OFF));
	assert_null(multipath_text(MULTIPATH_OFF));
}

/* -------------------------------------------------------------------------- endpoints */

static struct paths paths;
static struct pol_route first;

/* "198.51.100.7 wwan0", with a '-' in front if it makes no subflows. */
static enum paths_found beside(const char *text, bool is_tunnel)
{
	char words[256], *word, *rest = words;

	paths.n_endpoints = 0;
	strncpy(words, text, sizeof(words) - 1);
	while ((word = strsep(&rest, " ")) && word[0]) {
		struct paths_endpoint *e = &paths.endpoints[paths.n_endpoints++];

		*e = (struct paths_endpoint){ .makes_subflows = word[0] != '-' };
		assert_int_equal(addr_parse(&e->address, word + (word[0] == '-')), 0);
		word = strsep(&rest, " ");
		if (word && strcmp(word, "-") != 0)
			strncpy(e->interface, word, sizeof(e->interface) - 1);
	}
	return paths_beside(&paths, &first, is_tunnel);
}

static int start(void **state)
{
	(void)state;
	paths = (struct paths){ .subflows = 2 };
	first = (struct pol_route){ .interface = "eth0" };
	return addr_parse(&first.source, "192.0.2.7");
}

static void one_path(void **state)
{
	(void)state;
	assert_int_equal(beside("", false), PATHS_ONE);
	assert_int_equal(beside("192.0.2.7 eth0", false), PATHS_ONE);
	assert_int_equal(beside("192.0.2.7 -", false), PATHS_ONE);
	assert_int_equal(beside("192.0.2.7 eth0 2001:db8::7 eth0", false), PATHS_ONE);
	assert_int_equal(beside("2001:db8::7 wwan0", false), PATHS_ONE);
	assert_int_equal(beside("-198.51.100.7 wwan0", false), PATHS_ONE);
	addr_parse(&first.source, "2001:db8::7");
	assert_int_equal(beside("192.0.2.7 eth0 2001:db8::7 eth0", false), PATHS_ONE);
	assert_int_equal(beside("2001:db8::7 eth0 2001:db8::8 eth0 fd00::7 eth0", false),
			 PATHS_ONE);
	assert_int_equal(beside("198.51.100.7 wwan0", false), PATHS_ONE);
}

static void several(void **state)
{
	(void)state;
	assert_int_equal(beside("198.51.100.7 wwan0", false), PATHS_SEVERAL);
	assert_int_equal(beside("192.0.2.7 eth0 198.51.100.7 wwan0", false), PATHS_SEVERAL);
	assert_int_equal(beside("198.51.100.7 -", false), PATHS_SEVERAL);
	/* two providers' routers on one wire */
	assert_int_equal(beside("192.0.2.7 eth0 198.51.100.7 eth0", false), PATHS_SEVERAL);
	addr_parse(&first.source, "2001:db8::7");
	assert_int_equal(beside("2001:db8::7 eth0 2001:db8:1::7 wwan0", false), PATHS_SEVERAL);
	assert_int_equal(beside("2001:db8:1::7 -", false), PATHS_SEVERAL);
}

static void limits(void **state)
{
	(void)state;
	paths.accepted = 1; /* addresses that the converter tells of */
	assert_int_equal(beside("192.0.2.7 eth0", false), PATHS_SEVERAL);
	assert_int_equal(beside("192.0.2.7 eth0", true), PATHS_SEVERAL);
	paths.subflows = 0;
	assert_int_equal(beside("192.0.2.7 eth0", false), PATHS_ONE);
	assert_int_equal(beside("198.51.100.7 wwan0", false), PATHS_ONE);
}

static void tunnels(void **state)
{
	(void)state;
	strcpy(first.interface, "tun0");
	assert_int_equal(beside("198.51.100.7 wwan0", true), PATHS_AROUND);
	assert_int_equal(beside("192.0.2.7 tun0 198.51.100.7 wwan0", true), PATHS_SEVERAL);
	assert_int_equal(beside("", true), PATHS_ONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(automatic),
		cmocka_unit_test(said),
		cmocka_unit_test(texts),
		cmocka_unit_test_setup(one_path, start),
		cmocka_unit_test_setup(several, start),
		cmocka_unit_test_setup(limits, start),
		cmocka_unit_test_setup(tunnels, start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

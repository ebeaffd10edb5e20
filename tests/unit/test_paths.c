// SPDX-License-Identifier: MIT
/* Which way the kernel would send a packet, and whether Multipath TCP gains anything there. What the kernel answers it
 * answers in network namespaces of our own, one for routes and one for paths; skipped where none can be made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/mptcp.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "genl.h"
#include "paths.h"

/* -------------------------------------------------------------------------------------- routes */

static bool have_routes;

/* Two interfaces with an address each, a default route, and destinations that are refused. */
static const char two_interfaces[] =
	"exec >/dev/null 2>&1; set -e; ip link set lo up;"
	"ip link add wwan0 type veth peer name eth7;"
	"ip address add 10.20.0.5/16 dev wwan0; ip address add 10.20.0.6/16 dev wwan0;"
	"ip address add 2001:db8:20::5/64 dev wwan0 nodad; ip address add 172.16.0.5/12 dev eth7;"
	"ip link set wwan0 up; ip link set eth7 up;"
	"ip route add default via 172.16.0.1; ip route add 203.0.113.0/24 dev wwan0 src 10.20.0.6;"
	"ip route add unreachable 198.51.100.0/25; ip route add blackhole 198.51.100.128/25;"
	"ip -6 route add unreachable 2001:db8:99::/48";

/* What only a socket that says so is routed by. */
static const char rules[] =
	"exec >/dev/null 2>&1; set -e; ip route add default dev wwan0 table 3;"
	"ip address add 2001:db8:20::6/64 dev wwan0 nodad preferred_lft 0;"
	"ip route add default via 10.20.0.1 dev wwan0 metric 100;"
	"ip rule add from 10.20.0.6 lookup 3; ip rule add fwmark 9 lookup 3;"
	"ip -6 route add default via 2001:db8:20::1 dev wwan0 metric 100;"
	"ip -6 route add default dev wwan0 table 3; ip -6 rule add from 2001:db8:20::6 lookup 3";

static int enter_routes(void **state)
{
	int flags = geteuid() == 0 ? CLONE_NEWNET : CLONE_NEWUSER | CLONE_NEWNET;

	(void)state;
	have_routes = unshare(flags) == 0 && system(two_interfaces) == 0;
	return 0;
}

static int count_descriptors(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static bool look_up_by(const char *to, const struct pol_binding *by, struct pol_route *route)
{
	int descriptors = count_descriptors();
	struct addr a = { .port = 5124 };
	bool found;

	assert_int_equal(addr_parse(&a, to), 0);
	errno = 123;
	found = route_lookup(&a, by, route);
	assert_int_equal(errno, 123);
	assert_int_equal(count_descriptors(), descriptors);
	return found;
}

static bool look_up(const char *to, struct pol_route *route)
{
	return look_up_by(to, NULL, route);
}

static void assert_route_by(const char *to, const struct pol_binding *by, const char *source,
			    const char *interface)
{
	struct pol_route route;
	struct addr expected;

	if (!look_up_by(to, by, &route))
		fail_msg("%s: no route", to);
	assert_int_equal(addr_parse(&expected, source), 0);
	assert_memory_equal(route.source.ip, expected.ip, 16);
	assert_string_equal(route.interface, interface);
}

static void assert_route(const char *to, const char *source, const char *interface)
{
	assert_route_by(to, NULL, source, interface);
}

static void source_and_interface(void **state)
{
	(void)state;
	if (!have_routes)
		skip();
	assert_route("10.20.1.1", "10.20.0.5", "wwan0");
	assert_route("203.0.113.7", "10.20.0.6", "wwan0"); /* the route's own choice */
	assert_route("192.0.2.1", "172.16.0.5", "eth7");
	assert_route("2001:db8:20::9", "2001:db8:20::5", "wwan0");
	assert_route("127.0.0.1", "127.0.0.1", "lo");
	assert_route("::1", "::1", "lo");
	assert_route("10.20.0.5", "10.20.0.5", "lo"); /* our own address */
}

static struct pol_binding bound(const char *device, const char *source, uint32_t mark)
{
	struct pol_binding by = { .interface = device ? if_nametoindex(device) : 0, .mark = mark };

	if (source)
		assert_int_equal(addr_parse(&by.source, source), 0);
	return by;
}

/* As the kernel routes its packets. */
static void of_a_bound_socket(void **state)
{
	static const struct {
		const char *to, *device, *source;
		uint32_t mark;
		const char *leaves_with, *leaves_by;
	} rows[] = {
		{ "192.0.2.1", "wwan0", NULL, 0, "10.20.0.5", "wwan0" },
		{ "192.0.2.1", NULL, "10.20.0.6", 0, "10.20.0.6", "wwan0" }, /* by a rule */
		{ "192.0.2.1", NULL, "10.20.0.5", 0, "10.20.0.5", "eth7" },
		{ "192.0.2.1", "wwan0", "10.20.0.6", 0, "10.20.0.6", "wwan0" },
		{ "192.0.2.1", NULL, NULL, 9, "10.20.0.5", "wwan0" },
		{ "192.0.2.1", NULL, NULL, 8, "172.16.0.5", "eth7" },
		{ "192.0.2.1", NULL, "2001:db8:20::5", 0, "172.16.0.5",
		  "eth7" }, /* another family's */
		{ "2001:db8:1::1", "wwan0", NULL, 0, "2001:db8:20::5", "wwan0" },
		{ "2001:db8:1::1", NULL, "2001:db8:20::6", 0, "2001:db8:20::6", "wwan0" },
		{ "2001:db8:1::1", "wwan0", "2001:db8:20::6", 0, "2001:db8:20::6", "wwan0" },
	};
	struct pol_binding by;
	struct pol_route route;

	(void)state;
	if (!have_routes)
		skip();
	assert_int_equal(system(rules), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		by = bound(rows[i].device, rows[i].source, rows[i].mark);
		assert_route_by(rows[i].to, &by, rows[i].leaves_with, rows[i].leaves_by);
	}
	by = bound("lo", NULL, 0);
	assert_false(look_up_by("2001:db8:1::1", &by, &route));
	by = bound(NULL, "192.0.2.77", 0); /* not ours */
	assert_false(look_up_by("192.0.2.1", &by, &route));
	by = bound("eth7", "2001:db8:20::6", 0); /* where that address is not */
	assert_false(look_up_by("2001:db8:1::1", &by, &route));
}

static void no_route(void **state)
{
	struct pol_route route;

	(void)state;
	if (!have_routes)
		skip();
	assert_false(look_up("198.51.100.1", &route));
	assert_false(look_up("198.51.100.200", &route));
	assert_false(look_up("2001:db8:99::1", &route));
	assert_false(look_up("2001:db8:1::1", &route)); /* no default route */
}

/* ----------------------------------------------------------------------------- is it worth it? */

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

/* ------------------------------------------------------------ what the kernel answers */

static bool have_paths;

static const char two_paths[] =
	"exec >/dev/null 2>&1; set -e; ip link set lo up; ip link add wwan0 type veth peer name "
	"eth7;"
	"ip address add 10.20.0.5/16 dev wwan0; ip address add 172.16.0.5/12 dev eth7;"
	"ip address add 2001:db8:20::5/64 dev wwan0 nodad; ip link set wwan0 up; ip link set eth7 "
	"up;"
	"ip route add default via 172.16.0.1; ip mptcp limits set subflows 2 add_addr_accepted 0";

static int enter_paths(void **state)
{
	int flags = geteuid() == 0 ? CLONE_NEWNET : CLONE_NEWUSER | CLONE_NEWNET;

	(void)state;
	have_paths = unshare(flags) == 0 && system(two_paths) == 0;
	return 0;
}

static void run(const char *command)
{
	assert_int_equal(system(command), 0);
}

/* Each asks later than the one before, so that nothing is remembered. */
static enum paths_found to(const char *address)
{
	static int64_t now_ms = 1000000;
	struct addr a = { .port = 443 };
	enum paths_found found;

	assert_int_equal(addr_parse(&a, address), 0);
	now_ms += PATHS_MS;
	errno = 123;
	found = paths_to(&a, route_lookup, now_ms, NULL);
	assert_int_equal(errno, 123);
	/* and for a while it holds, without a question */
	assert_int_equal(paths_to(&a, NULL, now_ms + PATHS_MS - 1000, NULL), found);
	return found;
}

static void kernel_without_endpoints(void **state)
{
	(void)state;
	if (!have_paths)
		skip();
	assert_int_equal(to("192.0.2.1"), PATHS_ONE);
	run("ip mptcp limits set add_addr_accepted 2");
	assert_int_equal(to("192.0.2.1"), PATHS_SEVERAL);
	run("ip mptcp limits set subflows 0 add_addr_accepted 0");
	assert_int_equal(to("192.0.2.1"), PATHS_ONE);
	run("sysctl -qw net.mptcp.pm_type=1");
	assert_int_equal(to("192.0.2.1"), PATHS_SEVERAL);
	run("sysctl -qw net.mptcp.pm_type=0 net.mptcp.enabled=0");
	assert_int_equal(to("192.0.2.1"), PATHS_SEVERAL);
	run("sysctl -qw net.mptcp.enabled=1; ip mptcp limits set subflows 2");
}

static void kernel_with_endpoints(void **state)
{
	(void)state;
	if (!have_paths)
		skip();
	run("ip mptcp endpoint add 10.20.0.5 dev wwan0 subflow; ip mptcp endpoint add "
	    "2001:db8:20::5 subflow backup");
	assert_int_equal(to("192.0.2.1"), PATHS_SEVERAL);
	assert_int_equal(to("10.20.0.9"), PATHS_ONE);	       /* there it is the first */
	assert_int_equal(to("2001:db8:30::1"), PATHS_SEVERAL); /* no route: nobody can tell */

	paths_look(&paths);
	assert_int_equal(paths.err, 0);
	assert_int_equal(paths.subflows, 2);
	assert_int_equal(paths.accepted, 0);
	assert_int_equal(paths.n_endpoints, 2);
	assert_string_equal(paths.endpoints[0].interface, "wwan0");
	assert_true(paths.endpoints[0].makes_subflows && !paths.endpoints[0].is_backup);
	assert_string_equal(paths.endpoints[1].interface, "");
	assert_true(paths.endpoints[1].is_backup && !addr_is_v4(&paths.endpoints[1].address));
}

static void count_answers(const uint8_t *attributes, size_t len, void *arg)
{
	(void)attributes;
	(void)len;
	++*(int *)arg;
}

static void kernel_refuses(void **state)
{
	int fd = genl_open(), n = 0;
	struct genl_message m;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(genl_family(fd, "no such family"), 0);
	genl_begin(&m, GENL_ID_CTRL, 200, 1);
	assert_int_equal(genl_ask(fd, &m), -EOPNOTSUPP);
	genl_begin(&m, GENL_ID_CTRL, 200, 1);
	assert_int_equal(genl_dump(fd, &m, count_answers, &n), -EOPNOTSUPP);
	assert_int_equal(n, 0);
	genl_close(fd);
	genl_begin(&m, GENL_ID_CTRL, 200, 1);
	assert_int_equal(genl_ask(fd, &m), -EBADF);
	assert_int_equal(genl_dump(fd, &m, count_answers, &n), -EBADF);
}

/* What stands there cut off. */
static void attributes_cut(void **state)
{
	struct genl_message m;
	uint32_t value = 7;
	size_t len = 0;

	(void)state;
	genl_begin(&m, GENL_ID_CTRL, 1, 1);
	genl_put(&m, 3, &value, sizeof(value));
	genl_put(&m, 4, "abcde", 5);
	assert_memory_equal(genl_find_in(&m, 4, &len), "abcde", 5);
	assert_int_equal(len, 5);
	assert_null(genl_find_in(&m, 5, &len));
	assert_non_null(genl_find(m.attributes, 8, 3, &len));
	assert_null(genl_find(m.attributes, 7, 3, &len));
	assert_null(genl_find(m.attributes, 8 + 8, 4, &len));
	assert_non_null(genl_find(m.attributes, 8 + 9, 4, &len)); /* without its padding */
	assert_null(genl_find(m.attributes, 8 + 9, 5, &len));
}

int main(void)
{
	const struct CMUnitTest routes[] = {
		cmocka_unit_test(source_and_interface),
		cmocka_unit_test(no_route),
		cmocka_unit_test(of_a_bound_socket),
	};
	const struct CMUnitTest multipaths[] = {
		cmocka_unit_test(automatic),
		cmocka_unit_test(said),
		cmocka_unit_test(texts),
		cmocka_unit_test_setup(one_path, start),
		cmocka_unit_test_setup(several, start),
		cmocka_unit_test_setup(limits, start),
		cmocka_unit_test_setup(tunnels, start),
		cmocka_unit_test(kernel_without_endpoints),
		cmocka_unit_test(kernel_with_endpoints),
		cmocka_unit_test(kernel_refuses),
		cmocka_unit_test(attributes_cut),
	};
	int failed = 0;

	failed |= cmocka_run_group_tests(routes, enter_routes, NULL);
	failed |= cmocka_run_group_tests(multipaths, enter_paths, NULL);
	return failed;
}

// SPDX-License-Identifier: MIT
/* What the kernel answers in a network namespace of our own. Skipped where none can be made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "paths.h"

static bool have_network;

/* Two interfaces with an address each, a default route, and destinations that are refused. */
static const char network[] =
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

static int enter_namespace(void **state)
{
	int flags = geteuid() == 0 ? CLONE_NEWNET : CLONE_NEWUSER | CLONE_NEWNET;

	(void)state;
	have_network = unshare(flags) == 0 && system(network) == 0;
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
	if (!have_network)
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
	if (!have_network)
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
	if (!have_network)
		skip();
	assert_false(look_up("198.51.100.1", &route));
	assert_false(look_up("198.51.100.200", &route));
	assert_false(look_up("2001:db8:99::1", &route));
	assert_false(look_up("2001:db8:1::1", &route)); /* no default route */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(source_and_interface),
		cmocka_unit_test(no_route),
		cmocka_unit_test(of_a_bound_socket),
	};

	return cmocka_run_group_tests(tests, enter_namespace, NULL);
}

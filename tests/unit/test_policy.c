// SPDX-License-Identifier: MIT
/* Decisions: the exclusions that no rule lifts, those that one can, families and networks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "policy.h"
#include "rules.h"

static struct config config;

static void configure(const char *text)
{
	struct config_error err;

	if (config_parse(&config, "test", text, strlen(text), "curl", &err) < 0)
		fail_msg("%u: %s in\n%s", err.line, err.what, text);
}

static struct addr address(const char *ip, unsigned int port)
{
	struct addr a = { .port = (uint16_t)port };

	assert_int_equal(addr_parse(&a, ip), 0);
	return a;
}

static struct pol_verdict decide(const char *ip, unsigned int port)
{
	struct addr dst = address(ip, port);

	return pol_decide(&config, &dst, addr_is_v4(&dst) ? AF_INET : AF_INET6, NULL);
}

static void assert_direct(const char *ip, unsigned int port, enum pol_reason reason)
{
	struct pol_verdict v = decide(ip, port);

	if (v.action != POL_DIRECT || v.reason != reason || v.converter)
		fail_msg("%s port %u: expected \"%s\", got action %d, \"%s\"", ip, port,
			 pol_reason_text(reason), v.action, pol_reason_text(v.reason));
}

static void assert_via(struct pol_verdict v, enum pol_reason reason, const char *via)
{
	char text[ADDR_TEXT_MAX];

	assert_int_equal(v.action, POL_CONVERT);
	assert_int_equal(v.reason, reason);
	assert_non_null(v.converter);
	addr_format(&v.via, text);
	assert_string_equal(text, via);
}

#define BOTH "[converter a]\naddress = 192.0.2.1\naddress = 2001:db8::1\n"
#define VIA4 "192.0.2.1:5124"
#define VIA6 "[2001:db8::1]:5124"

static void default_is_convert(void **state)
{
	(void)state;
	configure(BOTH);
	assert_via(decide("198.51.100.1", 80), POL_DEFAULT, VIA4);
	assert_via(decide("2001:db8:1::1", 443), POL_DEFAULT, VIA6);
	assert_ptr_equal(decide("198.51.100.1", 80).converter, config.converters);
	config_free(&config);
}

static void without_converters(void **state)
{
	(void)state;
	configure("[policy]\nrule = convert\n");
	assert_direct("198.51.100.1", 80, POL_OFF);
	assert_direct("127.0.0.1", 80, POL_OFF);
	config_free(&config);
}

static void never_converted(void **state)
{
	/* the last one would be right for each, so nothing but the exclusion stops it */
	static const char *const policies[] = {
		BOTH,
		BOTH "[policy]\nrule = convert\n",
		BOTH "[policy]\nrule = convert to 0.0.0.0/0,::/0\n",
		BOTH "[policy]\nrule = convert to 224.0.0.1,ff02::1,0.0.0.0,0.1.2.3,::,"
		     "255.255.255.255,169.254.1.1\nrule = convert to fe80::1,192.0.2.1,2001:db8::1,"
		     "198.51.100.1\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
		configure(policies[i]);
		assert_direct("224.0.0.1", 80, POL_MULTICAST);
		assert_direct("ff02::1", 80, POL_MULTICAST);
		assert_direct("0.0.0.0", 80, POL_UNSPECIFIED);
		assert_direct("0.1.2.3", 80, POL_UNSPECIFIED);
		assert_direct("::", 80, POL_UNSPECIFIED);
		assert_direct("255.255.255.255", 80, POL_BROADCAST);
		assert_direct("169.254.1.1", 80, POL_LINK_LOCAL);
		assert_direct("fe80::1", 80, POL_LINK_LOCAL);
		assert_direct("::ffff:169.254.1.1", 80, POL_LINK_LOCAL);
		assert_direct("198.51.100.1", 0, POL_UNSPECIFIED);
		assert_direct("192.0.2.1", 5124, POL_IS_CONVERTER);
		assert_direct("2001:db8::1", 5124, POL_IS_CONVERTER);
		assert_direct("64:ff9b::192.0.2.1", 5124, POL_IS_CONVERTER);
		assert_direct("64:ff9b::127.0.0.1", 80, POL_LOOPBACK);
		assert_direct("64:ff9b::0.0.0.0", 80, POL_UNSPECIFIED);
		assert_direct("64:ff9b::224.0.0.1", 80, POL_MULTICAST);
		assert_direct("64:ff9b::169.254.1.1", 80, POL_LINK_LOCAL);
		assert_direct("64:ff9b::255.255.255.255", 80, POL_BROADCAST);
		assert_direct("64:ff9b::10.0.0.1", 80, POL_NAT64);
		config_free(&config);
	}
}

static void rules_decide(void **state)
{
	struct pol_verdict v;

	(void)state;
	configure(BOTH "[policy]\nrule = direct to 10.0.0.0/8\nrule = convert app curl port 80\n"
		       "rule = direct port 80-89\n");
	v = decide("10.1.1.1", 443);
	assert_int_equal(v.action, POL_DIRECT);
	assert_int_equal(v.reason, POL_RULE);
	assert_int_equal(v.rule_line, 5);
	v = decide("198.51.100.1", 80);
	assert_via(v, POL_RULE, VIA4);
	assert_int_equal(v.rule_line, 6);
	v = decide("198.51.100.1", 81);
	assert_int_equal(v.reason, POL_RULE);
	assert_int_equal(v.rule_line, 7);
	v = decide("198.51.100.1", 90);
	assert_via(v, POL_DEFAULT, VIA4);
	assert_int_equal(v.rule_line, 0);
	config_free(&config);
}

/* Only a rule that means loopback reaches it, not one that is merely wide enough. */
static void loopback(void **state)
{
	static const char *const not_meant[] = {
		"",
		"convert",
		"convert port 80",
		"convert to 0.0.0.0/0,::/0",
		"convert to 126.0.0.0/7",
		"convert to ::/127",
		"convert app curl",
		/* the first that matches decides, though the second means it */
		"convert port 80\nrule = convert to 127.0.0.0/8,::1",
	};
	static const char *const meant[] = {
		"convert to 127.0.0.0/8,::1",
		"convert to 127.0.0.1,::1/128 port 80",
		"convert to 0.0.0.0/0,::/0,127.0.0.0/30,::1",
	};
	char text[200];

	(void)state;
	for (size_t i = 0; i < sizeof(not_meant) / sizeof(not_meant[0]); i++) {
		snprintf(text, sizeof(text), BOTH "[policy]\n%s%s\n", i ? "rule = " : "",
			 not_meant[i]);
		configure(text);
		assert_direct("127.0.0.1", 80, POL_LOOPBACK);
		assert_direct("127.255.0.1", 80, POL_LOOPBACK);
		assert_direct("::1", 80, POL_LOOPBACK);
		config_free(&config);
	}
	for (size_t i = 0; i < sizeof(meant) / sizeof(meant[0]); i++) {
		snprintf(text, sizeof(text), BOTH "[policy]\nrule = %s\n", meant[i]);
		configure(text);
		assert_via(decide("127.0.0.1", 80), POL_RULE, VIA4);
		assert_via(decide("::1", 80), POL_RULE, VIA6);
		config_free(&config);
	}
	configure(BOTH "[policy]\nrule = direct to 127.0.0.0/8\n");
	assert_direct("127.0.0.1", 80, POL_RULE);
	config_free(&config);
}

/* Other services on a converter's host are reached directly, unless a rule names the host. */
static void converter_host(void **state)
{
	(void)state;
	configure(BOTH "[policy]\nrule = convert to 192.0.2.0/24,2001:db8::/32\n");
	assert_direct("192.0.2.1", 80, POL_IS_CONVERTER);
	assert_direct("2001:db8::1", 80, POL_IS_CONVERTER);
	assert_via(decide("192.0.2.2", 5124), POL_RULE, VIA4);
	config_free(&config);
	configure(BOTH "[policy]\nrule = convert to 192.0.2.1,2001:db8::1\n");
	assert_via(decide("192.0.2.1", 80), POL_RULE, VIA4);
	assert_via(decide("2001:db8::1", 80), POL_RULE, VIA6);
	assert_direct("192.0.2.1", 5124, POL_IS_CONVERTER);
	config_free(&config);
	configure(BOTH "[policy]\nrule = direct to 192.0.2.1\n");
	assert_direct("192.0.2.1", 80, POL_RULE);
	config_free(&config);
	configure("[converter t]\naddress = 127.0.0.1\n[policy]\nrule = convert to 127.0.0.0/8\n");
	assert_via(decide("127.0.0.1", 80), POL_RULE, "127.0.0.1:5124");
	assert_direct("127.0.0.1", 5124, POL_IS_CONVERTER);
	config_free(&config);
	configure("[converter t]\naddress = 127.0.0.1\n[converter u]\naddress = 192.0.2.9\nport = "
		  "1\n");
	assert_direct("127.0.0.1", 80, POL_LOOPBACK);
	assert_direct("192.0.2.9", 1, POL_IS_CONVERTER); /* of any converter */
	assert_direct("192.0.2.9", 5124, POL_IS_CONVERTER);
	config_free(&config);
}

static struct pol_verdict decide_family(const char *ip, int family)
{
	struct addr dst = address(ip, 80);

	return pol_decide(&config, &dst, family, NULL);
}

static void families(void **state)
{
	(void)state;
	configure(BOTH);
	assert_via(decide_family("198.51.100.1", AF_INET), POL_DEFAULT, VIA4);
	assert_via(decide_family("198.51.100.1", AF_INET6), POL_DEFAULT, VIA4);
	assert_via(decide_family("2001:db8:1::1", AF_INET6), POL_DEFAULT, VIA6);
	config_free(&config);

	configure("[converter a]\naddress = 192.0.2.1\n");
	assert_via(decide_family("198.51.100.1", AF_INET), POL_DEFAULT, VIA4);
	assert_via(decide_family("198.51.100.1", AF_INET6), POL_DEFAULT, VIA4);
	assert_via(decide_family("2001:db8:1::1", AF_INET6), POL_DEFAULT, VIA4);
	config_free(&config);

	configure("[converter a]\naddress = 2001:db8::1\n[policy]\nrule = convert port 80\n");
	assert_via(decide_family("198.51.100.1", AF_INET), POL_RULE, VIA6);
	assert_int_equal(decide_family("198.51.100.1", AF_INET).rule_line, 4);
	assert_via(decide_family("198.51.100.1", AF_INET6), POL_RULE, VIA6);
	assert_via(decide_family("2001:db8:1::1", AF_INET6), POL_RULE, VIA6);
	config_free(&config);

	/* the first converter that can, not the one whose family fits best */
	configure("[converter a]\naddress = 2001:db8::1\n[converter b]\naddress = 192.0.2.1\n");
	assert_via(decide_family("198.51.100.1", AF_INET), POL_DEFAULT, VIA4);
	assert_via(decide_family("198.51.100.1", AF_INET6), POL_DEFAULT, VIA6);
	config_free(&config);
}

/* What a rule speaks of is what the program sees, and by NAT64 a converter is itself. */
static void behind_nat64(void **state)
{
	(void)state;
	configure(
		"[converter a]\naddress = 64:ff9b::192.0.2.1\n[policy]\n"
		"rule = direct to 198.51.100.0/25\nrule = direct to 64:ff9b::198.51.100.128/121\n");
	assert_via(decide_family("64:ff9b::198.51.100.1", AF_INET6), POL_DEFAULT,
		   "[64:ff9b::c000:201]:5124");
	assert_direct("64:ff9b::198.51.100.129", 80, POL_RULE);
	assert_direct("64:ff9b::192.0.2.1", 5124, POL_IS_CONVERTER);
	assert_direct("192.0.2.1", 5124, POL_IS_CONVERTER);
	assert_direct("192.0.2.1", 80, POL_IS_CONVERTER);
	config_free(&config);
}

/* ---- networks ---- */

static struct {
	const char *source, *interface; /* NULL: no route */
	const char *only_to;		/* the others have no route; NULL: all have this one */
	unsigned int asked;
} network;

static bool fake_route(const struct addr *to, const struct pol_binding *by, struct pol_route *route)
{
	struct addr only = { 0 };

	network.asked++;
	assert_null(by);
	if (network.only_to) {
		only = address(network.only_to, 0);
		if (!addr_equal_ip(&only, to))
			return false;
	}
	if (!network.source)
		return false;
	*route = (struct pol_route){ .source = address(network.source, 0) };
	snprintf(route->interface, sizeof(route->interface), "%s", network.interface);
	return true;
}

static struct pol_verdict decide_at(const char *source, const char *interface)
{
	struct addr dst = address("198.51.100.1", 80);

	network.source = source;
	network.interface = interface;
	network.asked = 0;
	return pol_decide(&config, &dst, AF_INET, fake_route);
}

static void assert_outside(struct pol_verdict v)
{
	assert_int_equal(v.action, POL_DIRECT);
	assert_int_equal(v.reason, POL_OUTSIDE);
	assert_null(v.converter);
}

static void by_source(void **state)
{
	(void)state;
	configure(
		"[converter a]\naddress = 192.0.2.1\nfrom = 10.20.0.0/16\nfrom = 172.16.0.0/12\n");
	assert_via(decide_at("10.20.3.4", "eth0"), POL_DEFAULT, VIA4);
	assert_int_equal(network.asked, 1);
	assert_via(decide_at("172.17.0.1", "eth0"), POL_DEFAULT, VIA4);
	assert_outside(decide_at("10.21.0.1", "eth0"));
	assert_outside(decide_at(NULL, NULL));
	assert_outside(decide("198.51.100.1", 80)); /* nobody to ask */
	config_free(&config);
	configure("[converter a]\naddress = 192.0.2.1\nfrom = ::/0\n");
	assert_outside(decide_at("10.20.3.4", "eth0")); /* IPv6, says the user */
	config_free(&config);
}

static void by_interface(void **state)
{
	(void)state;
	configure("[converter a]\naddress = 192.0.2.1\ninterface = wwan0\ninterface = ppp0\n");
	assert_via(decide_at("10.20.3.4", "wwan0"), POL_DEFAULT, VIA4);
	assert_via(decide_at("10.20.3.4", "ppp0"), POL_DEFAULT, VIA4);
	assert_outside(decide_at("10.20.3.4", "wwan1"));
	assert_outside(decide_at("10.20.3.4", "wwan"));
	assert_outside(decide_at("10.20.3.4", ""));
	config_free(&config);
	configure("[converter a]\naddress = 192.0.2.1\ninterface = wwan0\nfrom = 10.0.0.0/8\n");
	assert_via(decide_at("10.20.3.4", "wwan0"), POL_DEFAULT, VIA4);
	assert_outside(decide_at("10.20.3.4", "eth0")); /* both must hold */
	assert_outside(decide_at("11.20.3.4", "wwan0"));
	config_free(&config);
}

/* The kernel is asked only when the answer matters, once for each address. */
static void asks_lazily(void **state)
{
	(void)state;
	configure(BOTH "[policy]\nrule = direct port 80\n");
	decide_at("10.0.0.1", "eth0");
	assert_int_equal(network.asked, 0);
	config_free(&config);
	configure(BOTH);
	assert_via(decide_at("10.0.0.1", "eth0"), POL_DEFAULT, VIA4);
	assert_int_equal(network.asked, 0);
	config_free(&config);
	configure("[converter a]\naddress = 192.0.2.1\nfrom = 10.0.0.0/8\n");
	assert_direct("127.0.0.1", 80, POL_LOOPBACK);
	assert_direct("192.0.2.1", 80, POL_IS_CONVERTER);
	assert_int_equal(network.asked, 0);
	config_free(&config);
}

static void next_converter(void **state)
{
	(void)state;
	configure("[converter x]\naddress=192.0.2.9\nfrom=10.1.0.0/16\n"
		  "[converter y]\naddress=192.0.2.8\naddress=192.0.2.7\ninterface=wwan0\n"
		  "[converter z]\naddress=2001:db8::9\n" BOTH);
	assert_via(decide_at("10.1.0.1", "eth0"), POL_DEFAULT, "192.0.2.9:5124");
	assert_int_equal(network.asked, 1);
	assert_via(decide_at("10.2.0.1", "wwan0"), POL_DEFAULT, "192.0.2.8:5124");
	assert_int_equal(network.asked, 2);
	assert_via(decide_at("10.2.0.1", "eth0"), POL_DEFAULT, VIA4);
	assert_int_equal(network.asked, 3);
	network.only_to = "192.0.2.7";
	assert_via(decide_at("10.1.0.1", "wwan0"), POL_DEFAULT, "192.0.2.7:5124");
	assert_int_equal(network.asked, 3);
	network.only_to = NULL;
	config_free(&config);
}

static enum pol_reason fake_usable(const struct addr *via, void *arg)
{
	const char *left_alone = arg;
	struct addr a = left_alone ? address(left_alone, 0) : (struct addr){ 0 };

	return left_alone && addr_equal_ip(&a, via) ? POL_LEFT_ALONE : POL_DEFAULT;
}

static struct pol_verdict decide_usable(const char *alone, int family)
{
	struct addr dst = address("198.51.100.1", 80);

	return pol_choose(&config, &dst, family, pol_rule(&config, &dst),
			  (struct pol_facts){ .usable = fake_usable, .arg = (void *)alone });
}

static enum pol_reason alone_or_stripped(const struct addr *via, void *arg)
{
	return fake_usable(via, arg) == POL_LEFT_ALONE ? POL_LEFT_ALONE : POL_STRIPPED;
}

/* What may be looked at again is what is said, whichever comes last. */
static void alone_and_stripped(void **state)
{
	static const char *const left[] = { "192.0.2.1", "192.0.2.2", "192.0.2.3" };
	struct addr dst = address("198.51.100.1", 80);
	struct pol_verdict v;

	(void)state;
	configure("[converter a]\naddress = 192.0.2.1\naddress = 192.0.2.2\n"
		  "[converter b]\naddress = 192.0.2.3\n");
	for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++) {
		v = pol_choose(
			&config, &dst, AF_INET, pol_rule(&config, &dst),
			(struct pol_facts){ .usable = alone_or_stripped, .arg = (void *)left[i] });
		assert_int_equal(v.reason, POL_LEFT_ALONE);
	}
	config_free(&config);
}

/* The next address, the next converter; IPv4 does not turn to IPv6 for it. */
static void what_is_left_alone(void **state)
{
	struct pol_verdict v;

	(void)state;
	configure("[converter a]\naddress = 192.0.2.1\naddress = 192.0.2.2\n"
		  "[converter b]\naddress = 192.0.2.3\n");
	assert_via(decide_usable(NULL, AF_INET), POL_DEFAULT, VIA4);
	assert_via(decide_usable("192.0.2.1", AF_INET), POL_DEFAULT, "192.0.2.2:5124");
	config_free(&config);
	configure(BOTH);
	assert_via(decide_usable("192.0.2.1", AF_INET6), POL_DEFAULT, VIA6);
	v = decide_usable("192.0.2.1", AF_INET);
	assert_int_equal(v.action, POL_DIRECT);
	assert_int_equal(v.reason, POL_LEFT_ALONE);
	config_free(&config);
}

/* ---------------------------------------------------------------------------- weights */

#define SERVERS 4000

static const char *alone[2]; /* addresses that are not to be used now */

static enum pol_reason not_alone(const struct addr *via, void *arg)
{
	(void)arg;
	for (size_t i = 0; i < 2 && alone[i]; i++) {
		struct addr a = address(alone[i], 0);

		if (addr_equal_ip(&a, via))
			return POL_LEFT_ALONE;
	}
	return POL_DEFAULT;
}

/* Which converter each of many servers gets, and how many each has got. */
static void hand_out(char names[SERVERS], unsigned int shares[3])
{
	memset(shares, 0, 3 * sizeof(*shares));
	for (unsigned int i = 0; i < SERVERS; i++) {
		struct addr dst = address("198.51.0.0", 80);
		struct pol_verdict v;

		dst.ip[14] = (uint8_t)(i >> 8);
		dst.ip[15] = (uint8_t)i;
		v = pol_choose(&config, &dst, AF_INET, pol_rule(&config, &dst),
			       (struct pol_facts){ .usable = not_alone });
		names[i] = v.converter ? v.converter->name[0] : '-';
		if (v.converter)
			shares[names[i] - 'a']++;
	}
}

static void by_weight(void **state)
{
	static char first[SERVERS], again[SERVERS];
	unsigned int shares[3], moved[3] = { 0 };

	(void)state;
	configure("[converter a]\naddress = 192.0.2.1\nweight = 3\n"
		  "[converter b]\naddress = 192.0.2.2\nweight = 1\n"
		  "[converter c]\naddress = 192.0.2.3\nweight = 4\n");
	hand_out(first, shares);
	assert_in_range(shares[0], SERVERS * 3 / 8 - 150, SERVERS * 3 / 8 + 150);
	assert_in_range(shares[1], SERVERS * 1 / 8 - 150, SERVERS * 1 / 8 + 150);
	hand_out(again, shares);
	assert_memory_equal(first, again, SERVERS);
	/* without the third its servers are shared, by weight again, and no other one moves */
	alone[0] = "192.0.2.3";
	hand_out(again, shares);
	for (unsigned int i = 0; i < SERVERS; i++) {
		if (first[i] == 'c')
			moved[again[i] - 'a']++;
		else
			assert_int_equal(again[i], first[i]);
	}
	assert_int_equal(moved[2], 0);
	assert_in_range(moved[0], moved[1] * 2, moved[1] * 4);
	alone[1] = "192.0.2.1";
	hand_out(again, shares);
	assert_int_equal(shares[1], SERVERS);
	alone[0] = alone[1] = NULL;
	config_free(&config);
}

/* The order of the file is kept between those that share and those that do not. */
static void weights_and_order(void **state)
{
	static char names[SERVERS];
	unsigned int shares[3];

	(void)state;
	configure("[converter a]\naddress = 192.0.2.1\n"
		  "[converter b]\naddress = 192.0.2.2\nweight = 1\n"
		  "[converter c]\naddress = 192.0.2.3\nweight = 1\n");
	hand_out(names, shares);
	assert_int_equal(shares[0], SERVERS);
	alone[0] = "192.0.2.1";
	hand_out(names, shares);
	assert_int_equal(shares[1] + shares[2], SERVERS);
	assert_in_range(shares[1], SERVERS / 2 - 200, SERVERS / 2 + 200);
	alone[0] = NULL;
	config_free(&config);
}

/* More than share one turn; and a server's ports go one way. */
static void very_many_weights(void **state)
{
	static char text[100 * 64];
	struct addr a = address("198.51.100.1", 80), b = address("198.51.100.1", 443);
	struct pol_verdict v;
	size_t at = 0;

	(void)state;
	for (int i = 0; i < 100; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at,
				       "[converter c%d]\naddress = 192.0.2.%d\nweight = %d\n", i,
				       i + 1, i % 2 ? 1 : 1000);
	configure(text);
	v = pol_decide(&config, &a, AF_INET, NULL);
	assert_in_range(v.converter - config.converters, 0, 63);
	assert_ptr_equal(pol_decide(&config, &b, AF_INET, NULL).converter, v.converter);
	config_free(&config);
}

static void every_reason_has_a_text(void **state)
{
	(void)state;
	for (int i = POL_DEFAULT; i <= POL_NAT64; i++) {
		assert_non_null(pol_reason_text((enum pol_reason)i));
		assert_true(strlen(pol_reason_text((enum pol_reason)i)) > 5);
	}
}

static bool on_lan(const struct addr *to, const struct pol_binding *by, struct pol_route *route)
{
	(void)to;
	(void)by;
	*route = (struct pol_route){ .source = address("10.9.9.9", 0), .interface = "lan0" };
	return true;
}

static const struct config_converter *accepted(const char *peer, const char *local,
					       unsigned int port)
{
	struct addr from = address(peer, 40000);
	const struct pol_binding to = { .source = address(local, port) };

	return pol_accept(&config, &from, &to, on_lan);
}

/* A converter's address, whatever its port; a listener that a rule speaks of, in this program; and both in
 * the converter's network, by our end's address and not by what the route would have it. */
static void incoming(void **state)
{
	(void)state;
	configure(BOTH "[incoming]\nrule = accept app curl,wget port 80,8000-8080\n");
	assert_ptr_equal(accepted("192.0.2.1", "10.0.0.1", 80), config.converters);
	assert_ptr_equal(accepted("2001:db8::1", "2001:db8::9", 8042), config.converters);
	assert_null(accepted("192.0.2.2", "10.0.0.1", 80));
	assert_null(accepted("192.0.2.1", "10.0.0.1", 81));
	config_free(&config);
	configure(BOTH "[incoming]\nrule = accept app nginx\n");
	assert_false(config_rules_are_any(config.incoming));
	assert_null(accepted("192.0.2.1", "10.0.0.1", 80));
	config_free(&config);
	configure(BOTH);
	assert_null(config.incoming);
	assert_null(accepted("192.0.2.1", "10.0.0.1", 80));
	config_free(&config);
	configure("[converter a]\naddress = 192.0.2.1\nfrom = 10.0.0.0/24\ninterface = lan0\n"
		  "[converter b]\naddress = 192.0.2.2\ninterface = wan0\n"
		  "[incoming]\nrule = accept\n");
	assert_ptr_equal(accepted("192.0.2.1", "10.0.0.1", 80), config.converters);
	assert_null(accepted("192.0.2.1", "10.0.1.1", 80));
	assert_null(accepted("192.0.2.2", "10.0.0.1", 80));
	{
		struct addr from = address("192.0.2.2", 40000);
		const struct pol_binding to = { .source = address("10.0.0.1", 80) };

		assert_null(pol_accept(&config, &from, &to,
				       NULL)); /* by which interface, nobody can tell */
		assert_true(pol_is_converter(&config, &from));
		assert_false(pol_is_converter(&config, &to.source));
	}
	config_free(&config);
	configure("[incoming]\nrule = accept\n");
	assert_null(accepted("192.0.2.1", "10.0.0.1", 80));
	config_free(&config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(default_is_convert),
		cmocka_unit_test(without_converters),
		cmocka_unit_test(never_converted),
		cmocka_unit_test(rules_decide),
		cmocka_unit_test(behind_nat64),
		cmocka_unit_test(loopback),
		cmocka_unit_test(converter_host),
		cmocka_unit_test(families),
		cmocka_unit_test(by_source),
		cmocka_unit_test(by_interface),
		cmocka_unit_test(asks_lazily),
		cmocka_unit_test(next_converter),
		cmocka_unit_test(what_is_left_alone),
		cmocka_unit_test(by_weight),
		cmocka_unit_test(alone_and_stripped),
		cmocka_unit_test(weights_and_order),
		cmocka_unit_test(incoming),
		cmocka_unit_test(very_many_weights),
		cmocka_unit_test(every_reason_has_a_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

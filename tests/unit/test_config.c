// SPDX-License-Identifier: MIT
/*
 * Every key, good and bad, and what a text may look like. And the example file: as it is, with everything in it
 * switched on, with any one line broken, and with random damage. Runs in the top directory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "policy.h"
#include "rules.h"

static struct config config;
static struct config_error err;

/* In a buffer of its own size, so that the sanitizer sees every byte too many that is read. */
static int parse_bytes(const char *text, size_t len)
{
	char *copy = malloc(len ? len : 1);
	int ret;

	assert_non_null(copy);
	memcpy(copy, text, len);
	ret = config_parse(&config, "test.conf", copy, len, "curl", &err);
	free(copy);
	return ret;
}

static int parse(const char *text)
{
	return parse_bytes(text, strlen(text));
}

static void parse_good(const char *text)
{
	if (parse(text) != 0)
		fail_msg("%u: %s in\n%s", err.line, err.what, text);
}

static void assert_empty(void)
{
	assert_int_equal(config.n_converters, 0);
	assert_null(config.converters);
	assert_null(config.rules);
	assert_null(config.state_file);
	assert_int_equal(config.timeout_ms, 5000);
	assert_int_equal(config.retry_ms, 60000);
	assert_int_equal(config.mptcp, CONFIG_MPTCP_AUTO);
	assert_true(config.bypass);
	assert_int_equal(config.fallback, CONFIG_FALLBACK_DIRECT);
}

static void assert_mistake(int ret, unsigned int line, const char *what, const char *text)
{
	if (ret >= 0 || err.line != line || !strstr(err.what, what))
		fail_msg("expected %u \"%s\", got %d %u \"%s\" in\n%s", line, what, ret, err.line,
			 ret < 0 ? err.what : "", text);
	assert_empty();
	config_free(&config);
}

static void assert_ip(const struct addr *a, const char *text)
{
	char got[ADDR_TEXT_MAX];

	addr_format(a, got);
	assert_string_equal(got, text);
}

static void assert_prefix(const struct addr_prefix *p, const char *text)
{
	struct addr_prefix expected;

	assert_int_equal(addr_parse_prefix(&expected, text), 0);
	assert_memory_equal(p->ip, expected.ip, 16);
	assert_int_equal(p->len, expected.len);
}

static void converter_keys(void **state)
{
	const struct config_converter *c;

	(void)state;
	parse_good("[log]\n[converter a]\naddress = 192.0.2.1\naddress=2001:db8::1\nport = 443\n"
		   "dialect = draft-02\nfast-open = no-cookie\ncookie = open sesame\n"
		   "from = 10.0.0.0/8\nfrom = 2001:db8::/32\ninterface = wwan0\ninterface = "
		   "eth0\nweight = 7\n");
	assert_int_equal(config.n_converters, 1);
	c = &config.converters[0];
	assert_string_equal(c->name, "a");
	assert_int_equal(c->line, 2);
	assert_int_equal(c->n_addrs, 2);
	assert_ip(&c->addrs[0], "192.0.2.1:443");
	assert_ip(&c->addrs[1], "[2001:db8::1]:443");
	assert_false(c->dialect_is_auto);
	assert_int_equal(c->dialect, CVT_DIALECT_DRAFT02);
	assert_int_equal(c->fast_open, CONFIG_FO_NO_COOKIE);
	assert_int_equal(c->convert_cookie.len, 11);
	assert_memory_equal(c->convert_cookie.p, "open sesame", 11);
	assert_int_equal(c->n_from, 2);
	assert_prefix(&c->from[0], "10.0.0.0/8");
	assert_prefix(&c->from[1], "2001:db8::/32");
	assert_int_equal(c->n_interfaces, 2);
	assert_string_equal(c->interfaces[0], "wwan0");
	assert_string_equal(c->interfaces[1], "eth0");
	assert_int_equal(c->weight, 7);
	config_free(&config);
}

static void converter_defaults(void **state)
{
	const struct config_converter *c;

	(void)state;
	parse_good("[converter a]\naddress = 192.0.2.1\n[converter b-2.x_Y]\nport=1\naddress=::1");
	assert_int_equal(config.n_converters, 2);
	c = config.converters;
	assert_ip(&c[0].addrs[0], "192.0.2.1:5124");
	assert_ip(&c[1].addrs[0], "[::1]:1");
	assert_string_equal(c[1].name, "b-2.x_Y");
	assert_true(c->dialect_is_auto);
	assert_int_equal(c->dialect, CVT_DIALECT_RFC8803);
	assert_int_equal(c->fast_open, CONFIG_FO_AUTO);
	assert_int_equal(c->convert_cookie.len, 0);
	assert_int_equal(c->n_from + c->n_interfaces, 0);
	assert_int_equal(c->weight, 0);
	config_free(&config);
}

static void every_word(void **state)
{
	static const struct {
		const char *text;
		enum cvt_dialect dialect;
		bool is_auto;
		enum config_fast_open fast_open;
	} rows[] = {
		{ "dialect=auto\nfast-open=auto", CVT_DIALECT_RFC8803, true, CONFIG_FO_AUTO },
		{ "dialect=rfc8803\nfast-open=cookie", CVT_DIALECT_RFC8803, false,
		  CONFIG_FO_COOKIE },
		{ "dialect=draft-02", CVT_DIALECT_DRAFT02, false, CONFIG_FO_AUTO },
		{ "dialect=hybrid", CVT_DIALECT_HYBRID, false, CONFIG_FO_AUTO },
	};
	char text[100];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(text, sizeof(text), "[converter a]\naddress=10.0.0.1\n%s\n", rows[i].text);
		parse_good(text);
		assert_int_equal(config.converters[0].dialect, rows[i].dialect);
		assert_int_equal(config.converters[0].dialect_is_auto, rows[i].is_auto);
		assert_int_equal(config.converters[0].fast_open, rows[i].fast_open);
		config_free(&config);
	}
}

static void policy_keys(void **state)
{
	(void)state;
	parse_good("[policy]\nrule = direct\nmptcp = on\nbypass = never\nfallback = none\n"
		   "timeout = 250ms\nrule = convert port 80\n[state]\nfile = /run/s\n"
		   "[log]\nfile = /var/log/l\nlevel = debug\n");
	assert_int_equal(config_rules_count(config.rules), 2);
	assert_int_equal(config.mptcp, CONFIG_MPTCP_ON);
	assert_false(config.bypass);
	assert_int_equal(config.fallback, CONFIG_FALLBACK_NONE);
	assert_int_equal(config.timeout_ms, 250);
	assert_string_equal(config.state_file, "/run/s");
	assert_string_equal(config.log_target, "/var/log/l");
	assert_int_equal(config.log_level, LOG_LEVEL_DEBUG);
	config_free(&config);
	parse_good("[policy]\nmptcp=off\nbypass=auto\nfallback=direct\n[log]\nlevel=error");
	assert_int_equal(config.mptcp, CONFIG_MPTCP_OFF);
	assert_true(config.bypass);
	assert_int_equal(config.fallback, CONFIG_FALLBACK_DIRECT);
	assert_int_equal(config.log_level, LOG_LEVEL_ERROR);
	assert_null(config.log_target);
	config_free(&config);
}

static void timeouts(void **state)
{
	static const struct {
		const char *value;
		unsigned int ms; /* 0: refused */
	} rows[] = {
		{ "1ms", 1 },
		{ "5s", 5000 },
		{ "500ms", 500 },
		{ "600s", 600000 },
		{ "600000ms", 600000 },
		{ "0ms", 0 },
		{ "0s", 0 },
		{ "601s", 0 },
		{ "600001ms", 0 },
		{ "5", 0 },
		{ "5 s", 0 },
		{ "s", 0 },
		{ "-5s", 0 },
		{ "5S", 0 },
		{ "5m", 0 },
		{ "5ss", 0 },
		{ "1.5s", 0 },
		{ "4294967297s", 0 },
		{ "99999999999999999999ms", 0 },
		{ "0x10s", 0 },
		{ "+5s", 0 },
	};
	char text[80];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(text, sizeof(text), "[policy]\ntimeout = %s\n", rows[i].value);
		if (rows[i].ms == 0) {
			assert_mistake(parse(text), 2, "timeout = ", text);
			continue;
		}
		parse_good(text);
		assert_int_equal(config.timeout_ms, rows[i].ms);
		config_free(&config);
	}
}

static void retries(void **state)
{
	static const char *const refused[] = { "999ms", "0s", "601s", "60", "1m", "600001ms" };
	char text[80];

	(void)state;
	parse_good("[policy]\nretry = 1000ms\n");
	assert_int_equal(config.retry_ms, 1000);
	config_free(&config);
	parse_good("[policy]\nretry = 600s\n");
	assert_int_equal(config.retry_ms, 600000);
	config_free(&config);
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		snprintf(text, sizeof(text), "[policy]\nretry = %s\n", refused[i]);
		assert_mistake(parse(text), 2, "retry = ", text);
	}
}

#define CONVERTER "[converter a]\naddress = 192.0.2.1\n"
#define TEN	  "0123456789"
#define HUNDRED	  TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN

static const struct {
	const char *text;
	unsigned int line;
	const char *what;
} mistakes[] = {
	/* sections */
	{ "address = 192.0.2.1\n", 1, "before any section" },
	{ "[converted a]\n", 1, "unknown section [converted a]" },
	{ "[Policy]\n", 1, "unknown section [Policy]" },
	{ "[]\n", 1, "unknown section []" },
	{ "[\n", 1, "expected ]" },
	{ "[policy\n", 1, "expected ]" },
	{ "[policy] x\n", 1, "expected ]" },
	{ "[policy x]\n", 1, "unknown section [policy x]" },
	{ "\n[policy]\n[log]\n[policy]\n", 4, "a second [policy]" },
	{ "[state]\n[state]\n", 2, "a second [state]" },
	{ "[log]\n\n[log]\n", 3, "a second [log]" },
	{ "[converter]\n", 1, "expected a name" },
	{ "[converter a b]\n", 1, "expected a name" },
	{ "[converter \xc3\xa4]\n", 1, "expected a name" },
	{ "[converter a@]\n", 1, "expected a name" },
	{ "[converter 01234567890123456789012345678901]\n", 1, "expected a name" },
	{ "[converter " HUNDRED "]\n", 1, "expected a name" },
	{ CONVERTER "[converter a]\naddress=10.0.0.1\n", 3, "a second [converter a]" },
	{ "\n[converter a]\nport = 1\n", 2, "[converter a] has no address" },
	{ "[converter a]\n[policy]\n", 1, "[converter a] has no address" },
	{ "[converter a]\n" CONVERTER, 1, "[converter a] has no address" },
	{ "[converter a]\nport = 1\n[nonsense]\n", 1, "[converter a] has no address" },
	/* keys */
	{ CONVERTER "adress = 192.0.2.2\n", 3, "unknown key \"adress\": expected address" },
	{ CONVERTER "timeout = 5s\n", 3, "unknown key \"timeout\"" },
	{ CONVERTER "fast_open = 5s\n", 3, "unknown key \"fast_open\"" },
	{ CONVERTER "00112233 = 5s\n", 3, "unknown key \"\"" }, /* may be a cookie */
	{ "[policy]\nPort = 1\n", 2, "unknown key \"Port\": expected rule" },
	{ "[state]\nlevel = info\n", 2, "unknown key \"level\": expected file" },
	{ "[log]\nlog = x\n", 2, "unknown key \"log\": expected target, level, format or receipt" },
	{ "[policy]\n= 5s\n", 2, "unknown key \"\"" },
	{ "[policy]\ntimeout =\n", 2, "timeout: expected a value" },
	{ "[policy]\ntimeout = ; 5s\n", 2, "timeout: expected a value" },
	{ "[policy]\ntimeout\n", 2, "expected [section], or a key" },
	{ "[policy]\ntimeout 5s\n", 2, "expected [section], or a key" },
	{ "[policy]\ntimeout ; = 5s\n", 2, "expected [section], or a key" },
	{ "[policy]\ntimeout = 5s\n  continued\n", 3, "expected [section], or a key" },
	{ "[policy]\ngarbage\n[nonsense]\n", 2, "expected [section], or a key" },
	{ "[policy]\ngarbage", 2, "expected [section], or a key" },
	{ "[policy]\ntimeout = 5s\n timeout = 6s\n", 3, "timeout is given twice" },
	{ CONVERTER "port = 1\nport = 1\n", 4, "port is given twice" },
	{ CONVERTER "dialect=auto\ndialect=auto\n", 4, "dialect is given twice" },
	{ CONVERTER "fast-open=auto\nfast-open=auto\n", 4, "fast-open is given twice" },
	{ CONVERTER "cookie=a\ncookie=a\n", 4, "cookie is given twice" },
	{ "[policy]\nmptcp=on\nmptcp=on\n", 3, "mptcp is given twice" },
	{ "[policy]\nbypass=auto\nbypass=auto\n", 3, "bypass is given twice" },
	{ "[policy]\nretry=5s\nretry=5s\n", 3, "retry is given twice" },
	{ "[policy]\nfallback=none\nfallback=none\n", 3, "fallback is given twice" },
	{ "[state]\nfile=/a\nfile=/b\n", 3, "file is given twice" },
	{ "[stat]\n[state]\nfile=/a\n[state]\nfile=/b\n", 1, "unknown section" },
	{ "[log]\nfile=/a\nlevel=info\nfile=/b\n", 4, "file is given twice" },
	{ "[log]\nlevel=info\nlevel=info\n", 3, "level is given twice" },
	/* values */
	{ "[converter a]\naddress = converter.example\n", 2, "names are not looked up" },
	{ "[converter a]\naddress = localhost\n", 2, "address = localhost: expected a numeric" },
	{ "[converter a]\naddress = 192.0.2.1:5124\n", 2, "the port is a key of its own" },
	{ "[converter a]\naddress = [2001:db8::1]:5124\n", 2, "the port is a key of its own" },
	{ "[converter a]\naddress = 192.0.2.1/32\n", 2, "address alone" },
	{ "[converter a]\naddress = 192.0.2.1 192.0.2.2\n", 2, "expected a numeric" },
	{ "[converter a]\naddress = 192.0.2\n", 2, "address alone" },
	{ "[converter a]\naddress = 192.0.2.256\n", 2, "address alone" },
	{ "[converter a]\naddress = 0.0.0.0\n", 2, "of one host" },
	{ "[converter a]\naddress = 0.0.0.1\n", 2, "of one host" },
	{ "[converter a]\naddress = ::\n", 2, "of one host" },
	{ "[converter a]\naddress = 224.0.0.1\n", 2, "of one host" },
	{ "[converter a]\naddress = ff02::1\n", 2, "of one host" },
	{ "[converter a]\naddress = 255.255.255.255\n", 2, "of one host" },
	{ "[converter a]\naddress = ::ffff:0.0.0.0\n", 2, "of one host" },
	{ "[converter a]\naddress = fe80::1\n", 2, "not link-local" },
	{ "[converter a]\naddress = fe80::1%eth0\n", 2,
	  "address = fe80::1%eth0: expected a numeric address without a scope (%)" },
	{ "[converter a]\naddress = fe80::1%2\n", 2, "without a scope (%)" },
	{ "[converter a]\naddress = [fe80::1%eth0]:5124\n", 2, "without a scope (%)" },
	{ "[converter a]\naddress = 192.0.2.1%eth0\n", 2, "without a scope (%)" },
	{ "[converter a]\naddress = 192.0.2.1:80\n", 2, "address alone (the port is a key" },
	{ CONVERTER "port = 0\n", 3, "port = 0: expected a port" },
	{ CONVERTER "port = 65536\n", 3, "port = 65536: expected a port" },
	{ CONVERTER "port = http\n", 3, "port = http: expected a port" },
	{ CONVERTER "port = -1\n", 3, "expected a port" },
	{ CONVERTER "port = 1 2\n", 3, "expected a port" },
	{ CONVERTER "port = 4294967297\n", 3, "expected a port" },
	{ CONVERTER "dialect = rfc\n", 3, "dialect = rfc: expected auto, rfc8803" },
	{ CONVERTER "fast-open = yes\n", 3, "fast-open = yes: expected auto, cookie" },
	{ CONVERTER "cookie = @relative\n", 3, "cookie: expected a file as @/path" },
	{ CONVERTER "cookie = @\n", 3, "cookie: expected a file as @/path" },
	{ CONVERTER "cookie = @/nonexistent/file\n", 3, "no such file" },
	{ CONVERTER "cookie = @/\n", 3, "a directory" },
	{ CONVERTER "cookie = @/dev/zero\n", 3, "not a regular file" },
	{ CONVERTER "from = 10.1.0.0/8\n", 3, "no bits behind the prefix length" },
	{ CONVERTER "from = 10.0.0.0/33\n", 3, "from = 10.0.0.0/33: expected a prefix" },
	{ CONVERTER "from = home\n", 3, "expected a prefix" },
	{ CONVERTER "from = 10.0.0.0/8, 11.0.0.0/8\n", 3, "expected a prefix" },
	{ CONVERTER "interface = 0123456789012345\n", 3, "one network interface" },
	{ CONVERTER "interface = eth0 eth1\n", 3, "one network interface" },
	{ CONVERTER "interface = eth0,wwan0\n", 3,
	  "interface = eth0,wwan0: expected the name of one network interface, each in" },
	{ CONVERTER "interface = eth0, wwan0\n", 3, "one network interface" },
	{ CONVERTER "interface = eth0,\n", 3, "one network interface" },
	{ CONVERTER "interface = ..\n", 3, "one network interface" },
	{ CONVERTER "interface = a/b\n", 3, "one network interface" },
	{ CONVERTER "weight = 0\n", 3, "weight = 0: expected a number from 1 to 1000" },
	{ CONVERTER "weight = 1001\n", 3, "expected a number from 1 to 1000" },
	{ CONVERTER "weight = half\n", 3, "expected a number from 1 to 1000" },
	{ "[policy]\nmptcp = yes\n", 2, "mptcp = yes: expected auto, on or off" },
	{ "[policy]\nbypass = on\n", 2, "bypass = on: expected auto or never" },
	{ "[policy]\nfallback = never\n", 2, "fallback = never: expected direct or none" },
	{ "[policy]\nstrict = 1\n", 2, "strict = 1: expected yes or no" },
	{ "[policy]\nrule = maybe port 80\n", 2, "\"maybe\": expected direct, convert" },
	{ "[state]\nfile = state\n", 2, "file = state: expected none, or a path" },
	{ "[state]\nfile = /a,/b\n", 2, "file = /a,/b: expected one of them" },
	{ "[state]\nfile = /a,none\n", 2, "expected one of them" },
	{ "[log]\ntarget = /a.log, stderr\n", 2, "target = /a.log, stderr: expected one of them" },
	{ "[log]\ntarget = /a.log,syslog\n", 2, "expected one of them" },
	{ "[log]\nfile = /a,\n", 2, "expected one of them" },
	{ "[log]\nfile = convert.log\n", 2, "expected stderr, or a path" },
	{ "[log]\nfile = /a\ntarget = /a\n", 3,
	  "target and file are the same: expected one of them" },
	{ "[log]\nlevel = off\n", 2, "level = off: expected error, info or debug" },
	/* the text itself */
	{ "[policy]\n\x01\n", 2, "a control character" },
	{ "[policy]\n# \x1b[31m\n", 2, "a control character" },
	{ "[policy]\ntimeout = 5s\x7f\n", 2, "a control character" },
	{ "[policy]\rtimeout = 5s\r", 1, "a control character" },
	{ "[policy]\r\ntimeout = 5s\r\r\n", 2, "a control character" },
	{ "[state]\nfile = /" HUNDRED HUNDRED "\n", 2, "line too long" },
	{ "[state]\n   file = /" HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN "12\n", 2,
	  "line too long" },
	{ "[state " HUNDRED HUNDRED "]\n", 1, "line too long" },
	{ "\xff\xfe[\n", 1, "expected [section]" },
};

static void every_mistake(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++)
		assert_mistake(parse(mistakes[i].text), mistakes[i].line, mistakes[i].what,
			       mistakes[i].text);
}

static void texts_that_are_fine(void **state)
{
	static const char *const texts[] = {
		"",
		"\n",
		"\r\n",
		"\n\n\n   \n\t\n",
		"# only\n; comments",
		"#" HUNDRED HUNDRED HUNDRED "\n",
		"[policy]",
		"\xef\xbb\xbf[policy]\ntimeout = 5s\n",
		"\xef\xbb\xbf",
		"\xef\xbb\xbf  # x",
		"[policy]\r\ntimeout = 5s\r\n",
		"  [policy]  # comment [x]\n\ttimeout=5s ; comment\n",
		"[ policy ]\ntimeout:5s\n",
		"[policy]\ntimeout = 5s\t#" HUNDRED HUNDRED HUNDRED "\n",
		"[state]\nfile = /a,b\n[log]\ntarget = /c,nonesuch d\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		parse_good(texts[i]);
		assert_int_equal(config.timeout_ms, 5000);
		config_free(&config);
	}
}

static void longest_line(void **state)
{
	static const char longest[] = "file = /" HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN "1";

	(void)state;
	assert_int_equal(strlen(longest), 199);
	parse_good("[state]\n   file = /" HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN
		   "1   ; more\n");
	assert_string_equal(config.state_file, longest + strlen("file = "));
	config_free(&config);
}

static void no_continued_lines(void **state)
{
	(void)state;
	parse_good("[policy]\nrule = direct port 22\n   rule = direct port 23\n\trule = convert\n");
	assert_int_equal(config_rules_count(config.rules), 3);
	config_free(&config);
}

static void zero_bytes(void **state)
{
	(void)state;
	assert_mistake(parse_bytes("[policy]\ntimeout = 5s\0\n", 23), 2, "a control character",
		       "NUL");
	assert_mistake(parse_bytes("\0", 1), 1, "a control character", "NUL");
	assert_mistake(parse_bytes("# \0\n", 4), 1, "a control character", "NUL");
}

static void comments_and_values(void **state)
{
	(void)state;
	parse_good("[converter a] ; c\naddress = 192.0.2.1 ; c\ncookie = a;b#c # d\n");
	assert_int_equal(config.converters[0].convert_cookie.len, 5);
	assert_memory_equal(config.converters[0].convert_cookie.p, "a;b#c", 5);
	config_free(&config);
	parse_good("[state]\nfile = /run/a b = c:d\n");
	assert_string_equal(config.state_file, "/run/a b = c:d");
	config_free(&config);
}

/* Where to log must be known for the mistake to be written somewhere. */
static void log_survives_a_mistake(void **state)
{
	static const char *const above[] = {
		CONVERTER "port = 0\n",		  "[converter a]\n", "[policy\n",
		"[polices]\ntimeout = 5s\n",	  "nonsense\n",	     "x\001\n",
		CONVERTER "[policy]\n[policy]\n",
	};
	char text[200];

	(void)state;
	assert_int_equal(parse("[log]\nfile = stderr\nlevel = debug\n" CONVERTER "port = 0\n"),
			 -EINVAL);
	assert_empty();
	assert_string_equal(config.log_target, "stderr");
	assert_int_equal(config.log_level, LOG_LEVEL_DEBUG);
	config_free(&config);
	for (size_t i = 0; i < sizeof(above) / sizeof(above[0]); i++) {
		snprintf(text, sizeof(text), "%s[log]\nfile = stderr\nlevel = debug\n", above[i]);
		assert_int_equal(parse(text), -EINVAL);
		assert_empty();
		assert_non_null(config.log_target);
		assert_string_equal(config.log_target, "stderr");
		assert_int_equal(config.log_level, LOG_LEVEL_DEBUG);
		config_free(&config);
	}
	assert_int_equal(parse("[log]\nfile = stderr\nlevel = loud\n[policy]\nx\n"), -EINVAL);
	assert_string_equal(err.what, "level = loud: expected error, info or debug");
	assert_int_equal(err.line, 3);
	assert_string_equal(config.log_target, "stderr");
	config_free(&config);
}

static void cookie_is_never_shown(void **state)
{
	static const char *const texts[] = {
		CONVERTER "cookie hunter2\n",
		CONVERTER "cookie = hunter2\nhunter2\n",
		CONVERTER "cookie = hunter2\ncookie = hunter2\n",
		CONVERTER "cookie = @hunter2\n",
		CONVERTER "cookie hunter2:\n",
		"cookie hunter2 = x\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		assert_int_equal(parse(texts[i]), -EINVAL);
		assert_null(strstr(err.what, "hunter2"));
		config_free(&config);
	}
}

/* A long value is cut, so that what was expected is always there. */
static void long_values_in_messages(void **state)
{
	(void)state;
	assert_mistake(parse("[policy]\ntimeout = " HUNDRED "\n"), 2,
		       "01234567...: expected a number", "long");
	assert_mistake(parse("[policy]\nrule = " HUNDRED "\n"), 2,
		       "...\": expected direct, convert, to, port or app", "long");
}

static void incoming_rules(void **state)
{
	static const char expected[] = "expected accept";

	(void)state;
	parse_good("[incoming]\nrule = accept\nrule = accept port 80,8000-8080 app nginx\n");
	assert_int_equal(config_rules_count(config.incoming), 2);
	config_free(&config);
	assert_mistake(parse("[incoming]\nrule = direct\n"), 2, expected, "direct");
	assert_mistake(parse("[incoming]\nrule = convert\n"), 2, expected, "convert");
	assert_mistake(parse("[incoming]\nrule = accept to 10.0.0.0/8\n"), 2, expected, "to");
	assert_mistake(parse("[incoming]\nrule = port 80\n"), 2, expected, "port alone");
	assert_mistake(parse("[incoming]\nrule = accept accept\n"), 2, "accept once", "twice");
	assert_mistake(parse("[incoming]\ntimeout = 5s\n"), 2, "expected rule", "timeout");
	assert_mistake(parse("[policy]\nrule = accept\n"), 2, "expected direct, convert", "accept");
}

/* Whoever opens ports does it for all programs. */
static void incoming_rules_of_all(void **state)
{
	static const char text[] =
		"[incoming]\nrule = accept app sshd\nrule = accept port 80 app nginx\n"
		"rule = accept port 90\nrule = accept app curl\n";
	const struct addr nginx = { .port = 80 }, all = { .port = 90 }, none = { .port = 81 };
	struct config_rule_match match;

	(void)state;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(
			config_parse(&config, "f", text, strlen(text), i ? "curl" : NULL, &err), 0);
		assert_true(config_rules_find(config.incoming, &nginx, &match));
		assert_int_equal(match.line, i ? 5 : 3);
		assert_true(config_rules_find(config.incoming, &all, &match));
		/* without a port: curl's own, and nobody's to open */
		assert_int_equal(config_rules_find(config.incoming, &none, &match), i);
		assert_int_equal(config_rules_count(config.incoming), 4);
		config_free(&config);
	}
}

static void incoming_pcp(void **state)
{
	struct addr want;

	(void)state;
	parse_good("[incoming]\nrule = accept\n");
	assert_int_equal(config.pcp.port, 0);
	config_free(&config);
	parse_good("[incoming]\npcp = 2001:db8::1\n");
	addr_parse(&want, "2001:db8::1");
	assert_true(addr_equal_ip(&config.pcp, &want));
	assert_int_equal(config.pcp.port, 5351);
	config_free(&config);
	assert_mistake(parse("[incoming]\npcp = router\n"), 2, "expected an address", "a name");
	assert_mistake(parse("[incoming]\npcp = 192.0.2.1:5351\n"), 2, "expected an address",
		       "port");
	assert_mistake(parse("[incoming]\npcp = ::1\npcp = ::1\n"), 3, "given twice", "twice");
}

/* ---------------------------------------------------------------------------- the example file */

#define TEXT_MAX 16384

struct text {
	char bytes[TEXT_MAX];
	size_t len;
};

static struct text example, enabled;

static int parse_example(const struct text *t)
{
	char *copy = malloc(t->len ? t->len : 1); /* of its own size, for the sanitizer */
	int ret;

	assert_non_null(copy);
	memcpy(copy, t->bytes, t->len);
	ret = config_parse(&config, "example", copy, t->len, "curl", &err);
	free(copy);
	return ret;
}

static void append(struct text *t, const char *bytes, size_t len)
{
	assert_true(t->len + len <= TEXT_MAX);
	memcpy(t->bytes + t->len, bytes, len);
	t->len += len;
}

static void append_text(struct text *t, const char *s)
{
	append(t, s, strlen(s));
}

/* The line at `at`, its newline included. */
static size_t line_len(const struct text *t, size_t at)
{
	const char *end = memchr(t->bytes + at, '\n', t->len - at);

	return end ? (size_t)(end - t->bytes) - at + 1 : t->len - at;
}

/* What the example's own first lines tell people to do: "#key" becomes "key". */
static void enable(const char *line, size_t len)
{
	static const char file_cookie[] = "#cookie = @";

	if (len >= sizeof(file_cookie) && memcmp(line, file_cookie, sizeof(file_cookie) - 1) == 0)
		append_text(&enabled, "cookie = hunter2\n"); /* that file is not there */
	else if (len > 2 && line[0] == '#' && line[1] != ' ')
		append(&enabled, line + 1, len - 1);
	else
		append(&enabled, line, len);
}

static int read_example(void **state)
{
	FILE *f = fopen("convert.conf.example", "r");

	(void)state;
	if (!f)
		return -1;
	example.len = fread(example.bytes, 1, TEXT_MAX, f);
	fclose(f);
	for (size_t at = 0, len; at < example.len; at += len) {
		len = line_len(&example, at);
		enable(example.bytes + at, len);
	}
	return example.len > 0 && example.len < TEXT_MAX ? 0 : -1;
}

static void as_it_is(void **state)
{
	(void)state;
	assert_int_equal(parse_example(&example), 0);
	assert_int_equal(config.n_converters, 0);
	assert_int_equal(config_rules_count(config.rules), 0);
	assert_null(config.state_file);
	assert_null(config.log_target);
	config_free(&config);
}

/* What is written behind the # is the default, where there is one. */
static void all_enabled(void **state)
{
	const struct config_converter *c;

	(void)state;
	if (parse_example(&enabled) != 0)
		fail_msg("%u: %s", err.line, err.what);
	assert_int_equal(config.n_converters, 2);
	c = config.converters;
	assert_int_equal(c[0].n_addrs, 2);
	assert_int_equal(c[0].addrs[0].port, CONFIG_DEFAULT_PORT);
	assert_true(c[0].dialect_is_auto);
	assert_int_equal(c[0].fast_open, CONFIG_FO_AUTO);
	assert_int_equal(c[0].n_from, 2);
	assert_int_equal(c[0].n_interfaces, 2);
	assert_int_equal(c[1].n_from, 1);
	assert_int_equal(c[0].weight, 3);
	assert_int_equal(c[1].weight, 1);
	assert_int_equal(config_rules_count(config.rules), 5);
	assert_int_equal(config.mptcp, CONFIG_MPTCP_AUTO);
	assert_true(config.bypass);
	assert_int_equal(config.fallback, CONFIG_FALLBACK_DIRECT);
	assert_false(config.strict);
	assert_int_equal(config.timeout_ms, 5000);
	assert_int_equal(config.retry_ms, 60000);
	assert_int_equal(config.log_level, LOG_LEVEL_INFO);
	config_free(&config);
}

/* A key that the parser has and the example does not is a key that nobody finds. */
static void names_every_key(void **state)
{
	static const char *const keys[] = {
		"[converter ", "address",  "port",   "dialect", "fast-open", "cookie",	 "from",
		"interface",   "[policy]", "rule",   "mptcp",	"bypass",    "fallback", "timeout",
		"retry",       "strict",   "weight", "[state]", "file",	     "[log]",	 "level",
	};
	char line[40];

	(void)state;
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		snprintf(line, sizeof(line), "\n#%s", keys[i]);
		assert_non_null(strstr(example.bytes, line));
	}
}

static void assert_does_nothing(unsigned int line, const char *how)
{
	struct addr dst = { .port = 443 };

	if (err.line != line)
		fail_msg("line %u, %s: reported as %u: %s", line, how, err.line, err.what);
	assert_string_equal(err.file, "example");
	assert_true(err.what[0] != '\0');
	assert_null(strstr(err.what, "hunter2"));
	assert_int_equal(config.n_converters, 0);
	assert_null(config.rules);
	assert_null(config.state_file);
	assert_int_equal(addr_parse(&dst, "198.51.100.99"), 0);
	assert_int_equal(pol_decide(&config, &dst, AF_INET, NULL).action, POL_DIRECT);
	assert_int_equal(pol_decide(&config, &dst, AF_INET, NULL).reason, POL_OFF);
}

/* Each takes a line without its newline and writes it broken. */
static void bad_key(struct text *t, const char *line, size_t len)
{
	append_text(t, "x");
	append(t, line, len);
}

static void capital_key(struct text *t, const char *line, size_t len)
{
	size_t at = t->len;

	append(t, line, len);
	t->bytes[at + (line[0] == '[')] &= (char)~0x20;
}

static void no_value(struct text *t, const char *line, size_t len)
{
	const char *equals = memchr(line, '=', len);

	append(t, line, equals ? (size_t)(equals - line) + 1 : len - 1);
}

static void no_equals(struct text *t, const char *line, size_t len)
{
	const char *equals = memchr(line, '=', len);

	append(t, line, equals ? (size_t)(equals - line) : len - 1);
	append_text(t, equals ? equals[1] == ' ' ? "hunter2" : "" : "");
}

static void bad_value(struct text *t, const char *line, size_t len)
{
	append(t, line, len);
	append_text(t, "\x08");
}

static void wrong_value(struct text *t, const char *line, size_t len)
{
	bool takes_any = memcmp(line, "cookie", 6) == 0; /* any text but a file that is missing */
	const char *equals = memchr(line, '=', len);

	append(t, line, equals ? (size_t)(equals - line) + 1 : 1);
	append_text(t, takes_any ? " @/nonexistent/file" : " ./ = [nonsense");
}

static void garbage(struct text *t, const char *line, size_t len)
{
	(void)line;
	(void)len;
	append_text(t, "\xf3\x9c%$!");
}

static void zero_byte(struct text *t, const char *line, size_t len)
{
	append(t, line, len);
	append(t, "", 1);
}

static void too_long(struct text *t, const char *line, size_t len)
{
	append(t, line, len);
	for (int i = 0; i < 200; i++)
		append_text(t, "x");
}

static const struct {
	const char *how;
	void (*breaks)(struct text *t, const char *line, size_t len);
} ways[] = {
	{ "bad key", bad_key },	    { "capital letter", capital_key },
	{ "no value", no_value },   { "no equals sign", no_equals },
	{ "bad value", bad_value }, { "wrong value", wrong_value },
	{ "garbage", garbage },	    { "zero byte", zero_byte },
	{ "too long", too_long },
};

static void break_line(size_t at, size_t len, unsigned int number, size_t way)
{
	static struct text broken;
	bool newline = enabled.bytes[at + len - 1] == '\n';

	broken.len = 0;
	append(&broken, enabled.bytes, at);
	ways[way].breaks(&broken, enabled.bytes + at, len - newline);
	append(&broken, "\n", newline);
	append(&broken, enabled.bytes + at + len, enabled.len - at - len);
	if (parse_example(&broken) == 0)
		fail_msg("line %u, %s: not noticed", number, ways[way].how);
	assert_does_nothing(number, ways[way].how);
	config_free(&config);
}

static void any_line_broken(void **state)
{
	unsigned int number = 0, tried = 0;

	(void)state;
	for (size_t at = 0, len; at < enabled.len; at += len) {
		len = line_len(&enabled, at);
		number++;
		if (strchr("#\n", enabled.bytes[at]))
			continue;
		for (size_t way = 0; way < sizeof(ways) / sizeof(ways[0]); way++, tried++)
			break_line(at, len, number, way);
	}
	assert_true(tried >= 25 * sizeof(ways) / sizeof(ways[0]));
}

/* ---- random damage ---- */

static uint64_t seed = 0x9e3779b97f4a7c15;

static size_t below(size_t n) /* xorshift64 */
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (size_t)(seed % n);
}

static void copy_range(struct text *t, size_t from, size_t len)
{
	char part[64];

	len = len < sizeof(part) ? len : sizeof(part);
	len = from + len <= t->len ? len : t->len - from;
	memcpy(part, t->bytes + from, len);
	if (t->len + len < TEXT_MAX)
		append(t, part, len);
}

static void damage(struct text *t)
{
	static const char tasty[] = "[]=:;#@/,-\n\r\t \0\xef\xbb\xbf"
				    "059";
	size_t at = below(t->len), n = 1 + below(20);

	switch (below(5)) {
	case 0:
		t->bytes[at] ^= (char)(1 << below(8));
		break;
	case 1:
		t->bytes[at] = tasty[below(sizeof(tasty) - 1)];
		break;
	case 2: /* cut out */
		n = at + n <= t->len ? n : t->len - at;
		memmove(t->bytes + at, t->bytes + at + n, t->len - at - n);
		t->len -= n;
		break;
	case 3:
		copy_range(t, at, n);
		break;
	case 4:
		t->len = at + 1;
		break;
	}
	if (t->len == 0)
		append_text(t, "\n");
}

static size_t count_lines(const struct text *t)
{
	size_t lines = 1;

	for (size_t i = 0; i < t->len; i++)
		lines += t->bytes[i] == '\n';
	return lines;
}

/* What holds for whatever was accepted. */
static void assert_sane(void)
{
	assert_true(config.timeout_ms >= 1 && config.timeout_ms <= 600000);
	assert_true(config.retry_ms >= 1000 && config.retry_ms <= 600000);
	assert_non_null(config.rules);
	for (size_t i = 0; i < config.n_converters; i++) {
		const struct config_converter *c = &config.converters[i];

		assert_true(c->n_addrs > 0);
		assert_true(c->addrs[0].port != 0);
		assert_true(c->convert_cookie.len <= CONFIG_COOKIE_MAX);
		assert_true(strlen(c->name) > 0 && strlen(c->name) < sizeof(c->name));
	}
}

static void random_damage(void **state)
{
	static struct text t;
	unsigned int accepted = 0;

	(void)state;
	for (unsigned int round = 0; round < 20000; round++) {
		t = enabled;
		for (size_t i = 1 + below(4); i > 0; i--)
			damage(&t);
		if (parse_example(&t) == 0) {
			accepted++;
			assert_sane();
		} else {
			assert_true(err.line <= count_lines(&t));
			assert_does_nothing(err.line, "damage");
		}
		config_free(&config);
	}
	/* both sides were tried */
	assert_in_range(accepted, 1000, 19000);
}

static void random_bytes(void **state)
{
	static struct text t;

	(void)state;
	for (unsigned int round = 0; round < 5000; round++) {
		t.len = below(400);
		for (size_t i = 0; i < t.len; i++)
			t.bytes[i] = (char)below(256);
		parse_example(&t);
		config_free(&config);
	}
}

static void ten_thousand_rules(void **state)
{
	const unsigned int n = 10000;
	size_t room = 64 * n, len = 0;
	char *text = malloc(room);
	struct addr dst = { .port = 80 };
	struct pol_verdict v;

	(void)state;
	assert_non_null(text);
	len += (size_t)snprintf(text, room, "[converter a]\naddress = 192.0.2.1\n[policy]\n");
	for (unsigned int i = 0; i < n; i++)
		len += (size_t)snprintf(text + len, room - len,
					"rule = direct to 10.%u.%u.0/24 port 80\n", i / 250,
					i % 250);
	assert_int_equal(config_parse(&config, "many", text, len, "curl", &err), 0);
	assert_int_equal(config_rules_count(config.rules), n);
	assert_int_equal(addr_parse(&dst, "10.39.249.7"), 0);
	v = pol_decide(&config, &dst, AF_INET, NULL);
	assert_int_equal(v.action, POL_DIRECT);
	assert_int_equal(v.rule_line, n + 3);
	dst.port = 81;
	assert_int_equal(pol_decide(&config, &dst, AF_INET, NULL).action, POL_CONVERT);
	config_free(&config);
	text[len - 5] = 'x'; /* "port" of the last one */
	assert_int_not_equal(config_parse(&config, "many", text, len, "curl", &err), 0);
	assert_int_equal(err.line, n + 3);
	config_free(&config);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(converter_keys),
		cmocka_unit_test(converter_defaults),
		cmocka_unit_test(every_word),
		cmocka_unit_test(policy_keys),
		cmocka_unit_test(timeouts),
		cmocka_unit_test(retries),
		cmocka_unit_test(every_mistake),
		cmocka_unit_test(texts_that_are_fine),
		cmocka_unit_test(longest_line),
		cmocka_unit_test(no_continued_lines),
		cmocka_unit_test(zero_bytes),
		cmocka_unit_test(comments_and_values),
		cmocka_unit_test(log_survives_a_mistake),
		cmocka_unit_test(cookie_is_never_shown),
		cmocka_unit_test(long_values_in_messages),
		cmocka_unit_test(incoming_rules),
		cmocka_unit_test(incoming_rules_of_all),
		cmocka_unit_test(incoming_pcp),
		cmocka_unit_test(as_it_is),
		cmocka_unit_test(all_enabled),
		cmocka_unit_test(names_every_key),
		cmocka_unit_test(any_line_broken),
		cmocka_unit_test(random_damage),
		cmocka_unit_test(random_bytes),
		cmocka_unit_test(ten_thousand_rules),
	};

	return cmocka_run_group_tests(tests, read_example, NULL);
}

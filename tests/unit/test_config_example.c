// SPDX-License-Identifier: MIT
/* The example file: as it is, with everything in it switched on, with any one line broken, and
 * with random damage. Runs in the top directory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "policy.h"
#include "rules.h"

#define TEXT_MAX 16384

struct text {
	char bytes[TEXT_MAX];
	size_t len;
};

static struct text example, enabled;
static struct config config;
static struct config_error err;

static int parse(const struct text *t)
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
	assert_int_equal(parse(&example), 0);
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
	if (parse(&enabled) != 0)
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
	if (parse(&broken) == 0)
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
		if (parse(&t) == 0) {
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
		parse(&t);
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
		cmocka_unit_test(as_it_is),	      cmocka_unit_test(all_enabled),
		cmocka_unit_test(names_every_key),    cmocka_unit_test(any_line_broken),
		cmocka_unit_test(random_damage),      cmocka_unit_test(random_bytes),
		cmocka_unit_test(ten_thousand_rules),
	};

	return cmocka_run_group_tests(tests, read_example, NULL);
}

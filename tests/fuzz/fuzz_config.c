// SPDX-License-Identifier: MIT
/*
 * The configuration's text. Input: the text. Asserted: a configuration or the first mistake, never
 * something in between; all of it within its bounds; what does not count in a text (how lines end,
 * white space around them, comments between them) changes nothing but the lines' numbers; and a
 * configuration that is written down is read as the same.
 */
#include "fuzz.h"
#include "config.h"
#include "rules_int.h"

#include <errno.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char program[] = "curl";

struct text {
	char *bytes;
	size_t len, room;
};

static void put_bytes(struct text *t, const char *bytes, size_t n)
{
	if (t->len + n > t->room) {
		t->room = 2 * (t->len + n) + 64;
		t->bytes = realloc(t->bytes, t->room);
		CHECK(t->bytes);
	}
	if (n)
		memcpy(t->bytes + t->len, bytes, n);
	t->len += n;
}

static void put(struct text *t, const char *words)
{
	put_bytes(t, words, strlen(words));
}

/* -------------------------------------------------------------------- within bounds */

static void check_mistake(const struct config *c, const struct config_error *e, int ret,
			  unsigned int n_lines)
{
	CHECK(ret == -EINVAL);
	CHECK(e->file && e->line >= 1 && e->line <= n_lines);
	CHECK(e->what[0] && memchr(e->what, '\0', sizeof(e->what)));
	for (const char *p = e->what; *p; p++)
		CHECK(*p < 0 || (*p >= ' ' && *p != 0x7f));
	CHECK(c->n_converters == 0 && !c->converters && !c->rules && !c->state_file);
}

static void check_converter(const struct config *c, size_t i)
{
	const struct config_converter *v = &c->converters[i];

	CHECK(v->name[0] && memchr(v->name, '\0', sizeof(v->name)));
	for (size_t k = 0; k < i; k++)
		CHECK(strcmp(c->converters[k].name, v->name) != 0 &&
		      c->converters[k].line < v->line);
	CHECK(v->n_addrs >= 1 && v->convert_cookie.len <= CONFIG_COOKIE_MAX);
	CHECK((v->convert_cookie.p != NULL) == (v->convert_cookie.len > 0));
	CHECK(v->dialect <= CVT_DIALECT_HYBRID && v->fast_open <= CONFIG_FO_NO_COOKIE);
	for (size_t k = 0; k < v->n_addrs; k++)
		CHECK(v->addrs[k].port && v->addrs[k].port == v->addrs[0].port);
	for (size_t k = 0; k < v->n_from; k++)
		CHECK(v->from[k].len <= 128);
	for (size_t k = 0; k < v->n_interfaces; k++)
		CHECK(v->interfaces[k][0] && memchr(v->interfaces[k], '\0', 16));
}

static void check_bounds(const struct config *c)
{
	for (size_t i = 0; i < c->n_converters; i++)
		check_converter(c, i);
	CHECK(c->rules && c->mptcp <= CONFIG_MPTCP_OFF && c->fallback <= CONFIG_FALLBACK_NONE);
	CHECK(c->timeout_ms >= 1 && c->timeout_ms <= 600000);
	CHECK(c->retry_ms >= 1000 && c->retry_ms <= 600000);
	CHECK(!c->state_file || c->state_file[0] == '/' ||
	      strcmp(c->state_file, CONFIG_NO_STATE) == 0);
	CHECK(!c->log_target || c->log_target[0] == '/' || strcmp(c->log_target, "stderr") == 0);
	CHECK(c->log_level >= LOG_LEVEL_ERROR && c->log_level <= LOG_LEVEL_DEBUG);
}

/* ------------------------------------------------------------------------ the same */

/* Line n of the first text is line n * factor - (factor - 1) of the second. */
static unsigned int moved(unsigned int line, unsigned int factor)
{
	return line ? line * factor - (factor - 1) : 0;
}

static bool is_same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static void check_same_converter(const struct config_converter *a, const struct config_converter *b)
{
	CHECK(strcmp(a->name, b->name) == 0);
	CHECK(a->n_addrs == b->n_addrs && a->n_from == b->n_from &&
	      a->n_interfaces == b->n_interfaces);
	for (size_t i = 0; i < a->n_addrs; i++)
		CHECK(addr_equal_ip(&a->addrs[i], &b->addrs[i]) &&
		      a->addrs[i].port == b->addrs[i].port);
	for (size_t i = 0; i < a->n_from; i++)
		CHECK(a->from[i].len == b->from[i].len &&
		      memcmp(a->from[i].ip, b->from[i].ip, 16) == 0);
	for (size_t i = 0; i < a->n_interfaces; i++)
		CHECK(strcmp(a->interfaces[i], b->interfaces[i]) == 0);
	CHECK(a->dialect_is_auto == b->dialect_is_auto && a->fast_open == b->fast_open);
	CHECK(a->dialect_is_auto || a->dialect == b->dialect);
	CHECK(a->convert_cookie.len == b->convert_cookie.len);
	CHECK(!a->convert_cookie.len ||
	      memcmp(a->convert_cookie.p, b->convert_cookie.p, a->convert_cookie.len) == 0);
}

static void check_same_settings(const struct config *a, const struct config *b)
{
	CHECK(a->n_converters == b->n_converters);
	for (size_t i = 0; i < a->n_converters; i++)
		check_same_converter(&a->converters[i], &b->converters[i]);
	CHECK(a->mptcp == b->mptcp && a->bypass == b->bypass && a->fallback == b->fallback);
	CHECK(a->timeout_ms == b->timeout_ms && a->retry_ms == b->retry_ms);
	CHECK(a->log_level == b->log_level);
	CHECK(is_same_text(a->state_file, b->state_file));
	CHECK(is_same_text(a->log_target, b->log_target));
}

static void check_same_rules(const struct config_rules *a, const struct config_rules *b,
			     unsigned int factor)
{
	CHECK(a->n_in_file == b->n_in_file && a->n_rules == b->n_rules &&
	      a->n_nodes == b->n_nodes && a->n_segments == b->n_segments);
	for (size_t i = 0; i < a->n_rules; i++)
		CHECK(moved(a->rules[i].line, factor) == b->rules[i].line &&
		      a->rules[i].index == b->rules[i].index &&
		      a->rules[i].converts == b->rules[i].converts &&
		      a->rules[i].has_to == b->rules[i].has_to);
	for (size_t i = 0; i < a->n_nodes; i++)
		CHECK(a->nodes[i].key.high == b->nodes[i].key.high &&
		      a->nodes[i].key.low == b->nodes[i].key.low &&
		      a->nodes[i].key.width == b->nodes[i].key.width &&
		      a->nodes[i].best == b->nodes[i].best);
	for (size_t i = 0; i < a->n_segments; i++)
		CHECK(a->segments[i].rule == b->segments[i].rule &&
		      a->segments[i].first_port == b->segments[i].first_port);
}

/* --------------------------------------------------------- what does not count in a text */

static const char byte_order_mark[] = "\xef\xbb\xbf";

struct dress { /* what every line gets */
	const char *before, *behind, *end;
	unsigned int factor;
};

static void dress_lines(struct text *out, const char *text, size_t len, const struct dress *d)
{
	size_t at = 0;

	if (len >= 3 && memcmp(text, byte_order_mark, 3) == 0) {
		put(out, byte_order_mark);
		at = 3;
	}
	while (at < len) {
		const char *line = text + at, *end = memchr(line, '\n', len - at);
		size_t n = end ? (size_t)(end - line) : len - at;

		at += n + (end != NULL);
		/* one of two is a control character */
		if (n && line[n - 1] == '\r' && (n == 1 || line[n - 2] != '\r'))
			n--;
		put(out, d->before);
		put_bytes(out, line, n);
		put(out, d->behind);
		put(out, d->end);
	}
}

static void check_dressed(const char *text, size_t len, const struct config *plain, int plain_ret,
			  const struct config_error *plain_err, const struct dress *d)
{
	struct text dressed = { 0 };
	struct config_error err;
	struct config c;
	int ret;

	dress_lines(&dressed, text, len, d);
	ret = config_parse(&c, "dressed", dressed.bytes, dressed.len, program, &err);
	CHECK(ret == plain_ret);
	if (ret) {
		CHECK(err.line == moved(plain_err->line, d->factor));
		CHECK(strcmp(err.what, plain_err->what) == 0);
	} else {
		check_same_settings(plain, &c);
		check_same_rules(plain->rules, c.rules, d->factor);
		for (size_t i = 0; i < c.n_converters; i++)
			CHECK(c.converters[i].line == moved(plain->converters[i].line, d->factor));
	}
	config_free(&c);
	free(dressed.bytes);
}

/* ------------------------------------------------------------------- written down again */

static void put_address(struct text *t, const char *key, const struct addr *a)
{
	char formatted[ADDR_TEXT_MAX], *start = formatted, *end;

	addr_format(a, formatted);
	end = strrchr(formatted, ':');
	CHECK(end);
	if (*start == '[') {
		start++;
		end--;
	}
	put(t, key);
	put_bytes(t, start, (size_t)(end - start));
}

static void put_number(struct text *t, const char *key, unsigned int n, const char *unit)
{
	char digits[16];

	snprintf(digits, sizeof(digits), "%u", n);
	put(t, key);
	put(t, digits);
	put(t, unit);
}

static void put_prefix(struct text *t, const struct addr_prefix *p)
{
	struct addr a = { 0 };
	bool v4;

	memcpy(a.ip, p->ip, 16);
	v4 = addr_is_v4(&a) && p->len >= 96;
	put_address(t, "from = ", &a);
	put_number(t, "/", v4 ? p->len - 96U : p->len, "\n");
}

/* Does it come back as it is? Not what looks like a file's name, a comment or an end of line. */
static bool can_be_written(struct cvt_span cookie)
{
	for (size_t i = 0; i < cookie.len; i++) {
		uint8_t c = cookie.p[i];

		if (c == '#' || c == ';')
			return false;
	}
	return cookie.len == 0 || cookie.p[0] != '@';
}

static void put_converter(struct text *t, const struct config_converter *v)
{
	static const char *const dialects[] = { "rfc8803", "draft-02", "hybrid" };
	static const char *const fast_opens[] = { "auto", "cookie", "no-cookie" };

	put(t, "[converter ");
	put(t, v->name);
	put_number(t, "]\nport = ", v->addrs[0].port, "\n");
	for (size_t i = 0; i < v->n_addrs; i++) {
		put_address(t, "address = ", &v->addrs[i]);
		put(t, "\n");
	}
	for (size_t i = 0; i < v->n_from; i++)
		put_prefix(t, &v->from[i]);
	for (size_t i = 0; i < v->n_interfaces; i++) {
		put(t, "interface="); /* a # behind a space would be a comment */
		put(t, v->interfaces[i]);
		put(t, "\n");
	}
	put(t, "dialect = ");
	put(t, v->dialect_is_auto ? "auto" : dialects[v->dialect]);
	put(t, "\nfast-open = ");
	put(t, fast_opens[v->fast_open]);
	if (v->convert_cookie.len) {
		put(t, "\ncookie = ");
		put_bytes(t, (const char *)v->convert_cookie.p, v->convert_cookie.len);
	}
	put(t, "\n");
}

static void put_settings(struct text *t, const struct config *c)
{
	static const char *const mptcp[] = { "auto", "on", "off" };
	static const char *const levels[] = { "off", "error", "info", "debug" };

	put(t, "[policy]\nmptcp = ");
	put(t, mptcp[c->mptcp]);
	put(t, c->bypass ? "\nbypass = auto" : "\nbypass = never");
	put(t, c->fallback == CONFIG_FALLBACK_NONE ? "\nfallback = none" : "\nfallback = direct");
	put_number(t, "\ntimeout = ", c->timeout_ms, "ms\n");
	put_number(t, "retry = ", c->retry_ms, "ms\n[log]\nlevel = ");
	put(t, levels[c->log_level]);
	if (c->log_target) {
		put(t, "\nfile = ");
		put(t, c->log_target);
	}
	if (c->state_file) {
		put(t, "\n[state]\nfile = ");
		put(t, c->state_file);
	}
	put(t, "\n");
}

/* The rules' text is not kept. */
static void check_written(const struct config *c)
{
	struct text t = { 0 };
	struct config_error err;
	struct config again;
	int ret;

	for (size_t i = 0; i < c->n_converters; i++)
		if (!can_be_written(c->converters[i].convert_cookie))
			return;
	for (size_t i = 0; i < c->n_converters; i++)
		put_converter(&t, &c->converters[i]);
	put_settings(&t, c);
	ret = config_parse(&again, "written", t.bytes, t.len, program, &err);
	if (ret < 0)
		fprintf(stderr, "line %u: %s\n", err.line, err.what);
	CHECK(ret == 0);
	check_same_settings(c, &again);
	config_free(&again);
	free(t.bytes);
}

/* ------------------------------------------------------------------------------------- */

static unsigned int count_lines(const char *text, size_t len)
{
	unsigned int n = 1;

	for (size_t i = 0; i < len; i++)
		n += text[i] == '\n';
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct dress dresses[] = {
		{ "", "", "\n", 1 },	 { "", "", "\r\n", 1 }, { " \t", "\t ", "\n", 1 },
		{ "", " # x", "\n", 1 }, { "", "", "\n\n", 2 }, { "", "", "\n  ; x = [\r\n", 2 },
	};
	const char *text = (const char *)data;
	struct config_error err;
	struct config c;
	int ret;

	if (memmem(data, size, "@/", 2)) /* a file of the host's, with what is in it */
		return 0;
	ret = config_parse(&c, "fuzz", text, size, program, &err);
	if (ret)
		check_mistake(&c, &err, ret, count_lines(text, size));
	else
		check_bounds(&c);
	for (size_t i = 0; i < sizeof(dresses) / sizeof(dresses[0]); i++)
		check_dressed(text, size, &c, ret, &err, &dresses[i]);
	if (ret == 0)
		check_written(&c);
	config_free(&c);
	return 0;
}

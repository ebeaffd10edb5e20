// SPDX-License-Identifier: MIT
#include "config_int.h"

#include <errno.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>

/*
 * inih splits keys from values. Its reader is ours, so that it never sees what it would
 * misread in silence: a line longer than its buffer (cut), a leading space (continues the key
 * above), a section name over 49 bytes (cut), a '#' behind a value (part of the value), and
 * a section without keys (never reported). What is given to it stands at the start of the
 * line, fits, and has no comment.
 */

struct line {
	const char *start;
	size_t len;
};

/* False: that is the end of it. */
static bool goes_on(struct config_parser *p, int err)
{
	if (!p->failed)
		p->failed = err;
	return !config_stops(p->err, p->failed);
}

/* The next line without its end (\n or \r\n). */
static struct line take_line(struct config_parser *p)
{
	struct line l = { .start = p->text + p->at };
	const char *end = memchr(l.start, '\n', p->len - p->at);

	l.len = end ? (size_t)(end - l.start) : p->len - p->at;
	p->at += l.len + (end != NULL);
	p->line++;
	if (l.len > 0 && l.start[l.len - 1] == '\r')
		l.len--;
	return l;
}

static bool has_control(const struct line *l)
{
	for (size_t i = 0; i < l->len; i++) {
		unsigned char c = (unsigned char)l->start[i];

		if ((c < ' ' && c != '\t') || c == 0x7f)
			return true;
	}
	return false;
}

/* A comment starts with ; or # at the start of a line or behind white space. */
static void strip(struct line *l)
{
	while (l->len > 0 && config_is_space(*l->start)) {
		l->start++;
		l->len--;
	}
	for (size_t i = 0; i < l->len; i++) {
		bool here = i == 0 || config_is_space(l->start[i - 1]);

		if (here && (l->start[i] == ';' || l->start[i] == '#'))
			l->len = i;
	}
	while (l->len > 0 && config_is_space(l->start[l->len - 1]))
		l->len--;
}

/* Every key that inih was given came back to the handler, unless it found no '=' or ':'.
 * Such a line is not quoted: it may hold a cookie. */
static bool is_key_lost(const struct config_parser *p)
{
	return p->key_line != 0;
}

static int read_line(struct config_parser *p, char *out, size_t size)
{
	struct line l = take_line(p);

	out[0] = '\0';
	if (has_control(&l))
		return config_mistake(p->err, p->line, "a control character: expected text", NULL);
	strip(&l);
	if (l.len >= size)
		return config_mistake(p->err, p->line,
				      "line too long: expected less than 200 characters", NULL);
	memcpy(out, l.start, l.len);
	out[l.len] = '\0';
	if (out[0] == '[') {
		int err = config_section_begin(p, out);

		out[0] = '\0'; /* what inih cannot do, it need not see */
		return err;
	}
	p->key_line = l.len ? p->line : 0;
	return 0;
}

static const char no_key[] = "expected [section], or a key and a value such as \"timeout = 5s\"";

static char *reader(char *out, int size, void *user)
{
	struct config_parser *p = user;

	if (!config_stops(p->err, p->failed) && is_key_lost(p)) {
		p->has_address = true;
		goes_on(p, config_mistake(p->err, p->key_line, no_key, NULL));
	}
	p->key_line = 0;
	if (config_stops(p->err, p->failed) || p->at == p->len)
		return NULL;
	return goes_on(p, read_line(p, out, (size_t)size)) ? out : NULL;
}

static int handler(void *user, const char *section, const char *key, const char *value)
{
	struct config_parser *p = user;

	(void)section; /* ours is not cut */
	p->key_line = 0;
	return goes_on(p, config_set_key(p, key, value));
}

static void skip_byte_order_mark(struct config_parser *p)
{
	if (p->len >= 3 && memcmp(p->text, "\xef\xbb\xbf", 3) == 0)
		p->at = 3;
}

static int parse(struct config_parser *p)
{
	p->config->rules = config_rules_new();
	if (!p->config->rules)
		return config_no_memory(p->err, 0);
	skip_byte_order_mark(p);
	if (ini_parse_stream(reader, p, handler, p) != 0 && !p->failed)
		return config_mistake(p->err, p->line, "cannot be parsed", NULL);
	if (config_stops(p->err, p->failed))
		return p->failed;
	goes_on(p, config_section_end(p));
	if (p->failed)
		return p->failed;
	return config_rules_finish(p->config->rules) ? config_no_memory(p->err, 0) : 0;
}

int config_parse_on(struct config *config, const char *file, const char *text, size_t len,
		    const char *program, struct config_error *err)
{
	struct config_parser p = {
		.config = config,
		.err = err,
		.program = program,
		.text = text,
		.len = len,
	};
	int ret;

	config_init(config);
	config->file = file;
	err->file = file;
	ret = parse(&p);
	if (ret)
		config_empty(config);
	return ret;
}

int config_parse(struct config *config, const char *file, const char *text, size_t len,
		 const char *program, struct config_error *err)
{
	*err = (struct config_error){ .file = file };
	return config_parse_on(config, file, text, len, program, err);
}

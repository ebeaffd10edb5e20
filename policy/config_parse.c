// SPDX-License-Identifier: MIT
#include "config_int.h"

#include <errno.h>
#include <string.h>

#define LINE_SIZE 200 /* without white space at its ends and a comment; and its end */

/* ----------------------------------------------------------------------- sections */

static const char *const section_names[] = {
	[CONFIG_SEC_CONVERTER] = "converter",
	[CONFIG_SEC_POLICY] = "policy",
	[CONFIG_SEC_INCOMING] = "incoming",
	[CONFIG_SEC_STATE] = "state",
	[CONFIG_SEC_LOG] = "log",
};

static const char section_list[] = "[converter NAME], [policy], [incoming], [state] or [log]";

static bool is_name(const char *name)
{
	for (; *name; name++) {
		char lower = (char)(*name | 0x20);

		if (!(lower >= 'a' && lower <= 'z') && !(*name >= '0' && *name <= '9') &&
		    !strchr("-_.", *name))
			return false;
	}
	return true;
}

static int begin_converter(struct config_parser *p, const char *name)
{
	struct config_converter *c = config_converter_add(p->config);
	size_t len = strlen(name);

	if (!c) {
		p->section = CONFIG_SEC_UNKNOWN;
		return config_no_memory(p->err, p->line);
	}
	c->line = p->line;
	p->port = CONFIG_DEFAULT_PORT;
	p->has_address = false;
	if (len == 0 || len >= sizeof(c->name) || !is_name(name))
		return config_mistake(p->err, p->line, "[converter ", name,
				      "]: expected a name of up to 31 letters, digits and -_.",
				      NULL);
	for (size_t i = 0; i < p->config->n_converters - 1; i++) {
		if (strcmp(p->config->converters[i].name, name) == 0)
			return config_mistake(p->err, p->line, "a second [converter ", name,
					      "]: expected another name", NULL);
	}
	memcpy(c->name, name, len + 1);
	return 0;
}

/* Cuts "[ converter  home ]" into "converter", where *header is then, and "home". Returns the second. */
static char *split_header(char **header)
{
	char *text = *header, *rest;
	size_t len = strlen(text);

	if (text[len - 1] != ']')
		return NULL;
	text[--len] = '\0';
	while (len > 1 && config_is_space(text[len - 1]))
		text[--len] = '\0';
	text++;
	while (config_is_space(*text))
		text++;
	*header = text;
	rest = text + strcspn(text, " \t");
	while (config_is_space(*rest))
		*rest++ = '\0';
	return rest;
}

static int end_section(struct config_parser *p)
{
	struct config_converter *c;

	if (p->section != CONFIG_SEC_CONVERTER)
		return 0;
	c = &p->config->converters[p->config->n_converters - 1];
	if (!p->has_address)
		return config_mistake(p->err, c->line, "[converter ", c->name,
				      "] has no address: expected \"address = ...\"", NULL);
	config_set_port(c, p->port);
	return 0;
}

static int begin_named(struct config_parser *p, char *header)
{
	const char *name = split_header(&header);
	bool again;
	unsigned int s;

	if (!name)
		return config_mistake(p->err, p->line, "expected ] at the end of a section's name",
				      NULL);
	for (s = CONFIG_SEC_CONVERTER; s <= CONFIG_SEC_LOG; s++) {
		if (strcmp(section_names[s], header) == 0)
			break;
	}
	if (s > CONFIG_SEC_LOG || (s != CONFIG_SEC_CONVERTER && *name))
		return config_mistake(p->err, p->line, "unknown section [", header,
				      *name ? " " : "", name, "]: expected ", section_list, NULL);
	again = s != CONFIG_SEC_CONVERTER && (p->sections_seen & (1U << s)) != 0;
	p->section = (enum config_section)s;
	p->sections_seen |= 1U << s;
	p->keys_seen = 0;
	if (again)
		return config_mistake(p->err, p->line, "a second [", header, "]: expected one",
				      NULL);
	return s == CONFIG_SEC_CONVERTER ? begin_converter(p, name) : 0;
}

static int begin_section(struct config_parser *p, char *header)
{
	int err = end_section(p), begun;

	if (config_stops(p->err, err))
		return err;
	p->section = CONFIG_SEC_UNKNOWN;
	begun = begin_named(p, header);
	return err ? err : begun;
}

/* -------------------------------------------------------------------------- lines */

/* What counts of a line of the text, and the end of its key; NULL: there is none. */
struct line {
	const char *start, *end, *key_end;
};

/* False: that is the end of it. */
static bool goes_on(struct config_parser *p, int err)
{
	if (!p->failed)
		p->failed = err;
	return !config_stops(p->err, p->failed);
}

/* What cannot be in the middle of a key or a value, as far as a look at it alone can tell. */
enum { CONTROL = 1, COMMENT };
static const uint8_t specials[256] = { [0 ... 8] = CONTROL,
				       [10 ... 31] = CONTROL,
				       [0x7f] = CONTROL,
				       ['#'] = COMMENT,
				       [';'] = COMMENT };

/* Eight that are surely none of these: in each byte of one of the terms the highest bit is set if it is below
 * a space, '#', ';' or 0x7f (or stands above such a one). */
static bool are_plain(const char *eight)
{
	const uint64_t ones = UINT64_MAX / 255;
	uint64_t n, hash, semicolon, delete;

	memcpy(&n, eight, sizeof(n));
	hash = n ^ ones * '#';
	semicolon = n ^ ones * ';';
	delete = n ^ ones * 0x7f;
	return !((((n - ones * ' ') & ~n) | ((hash - ones) & ~hash) |
		  ((semicolon - ones) & ~semicolon) | ((delete - ones) & ~delete)) &
		 ones << 7);
}

/* A comment starts with ; or # at the start of a line or behind white space. False: there is a control
 * character, be it in a comment. */
static bool divide(struct line *l, const char *start, const char *end)
{
	const char *comment = NULL, *key_end;

	for (const char *at = start; at < end; at++) {
		uint8_t special;

		while (end - at > 8 && are_plain(at))
			at += 8;
		special = specials[(uint8_t)*at];
		if (!special)
			continue;
		if (special == CONTROL)
			return false;
		if (!comment && (at == start || config_is_space(at[-1])))
			comment = at;
	}
	end = comment ? comment : end;
	while (start < end && config_is_space(*start))
		start++;
	while (start < end && config_is_space(end[-1]))
		end--;
	for (key_end = start; key_end < end && *key_end != '=' && *key_end != ':'; key_end++)
		;
	*l = (struct line){ start, end, key_end < end ? key_end : NULL };
	return true;
}

/* The next line without its end (\n or \r\n). */
static bool take_line(struct config_parser *p, struct line *l)
{
	const char *start = p->text + p->at, *end = memchr(start, '\n', p->len - p->at);

	p->at = end ? (size_t)(end - p->text) + 1 : p->len;
	end = end ? end : p->text + p->len;
	p->line++;
	return divide(l, start, end > start && end[-1] == '\r' ? end - 1 : end);
}

/* A line without a key is not quoted: it may hold a cookie. */
static int read_key(struct config_parser *p, const struct line *l, char *text)
{
	size_t len = l->key_end ? (size_t)(l->key_end - l->start) : 0;
	char *value = text + len + 1;

	if (!l->key_end) {
		p->has_address = true; /* which that line may have been to be */
		return config_mistake(p->err, p->line,
				      "expected [section], or a key and a value such as "
				      "\"timeout = 5s\"",
				      NULL);
	}
	while (len > 0 && config_is_space(text[len - 1]))
		len--;
	text[len] = '\0';
	while (config_is_space(*value))
		value++;
	return config_set_key(p, text, value);
}

static int read_line(struct config_parser *p)
{
	char text[LINE_SIZE];
	struct line l;
	size_t len;

	if (!take_line(p, &l))
		return config_mistake(p->err, p->line, "a control character: expected text", NULL);
	len = (size_t)(l.end - l.start);
	if (len == 0)
		return 0;
	if (len >= LINE_SIZE)
		return config_mistake(p->err, p->line,
				      "line too long: expected less than 200 characters", NULL);
	memcpy(text, l.start, len);
	text[len] = '\0';
	return text[0] == '[' ? begin_section(p, text) : read_key(p, &l, text);
}

static void skip_byte_order_mark(struct config_parser *p)
{
	if (p->len >= 3 && memcmp(p->text, "\xef\xbb\xbf", 3) == 0)
		p->at = 3;
}

static void ignore(const struct config_error *err, void *arg)
{
	(void)err;
	(void)arg;
}

/* From the line of the first mistake on nothing counts but where it is to be logged. */
static int find_log(struct config_parser *p, size_t at)
{
	struct config_error *err = p->err, aside = { .each = ignore, .leaves_cookies = true };

	p->err = &aside;
	p->at = at;
	while (p->at < p->len)
		read_line(p);
	p->err = err;
	return p->failed;
}

static int parse(struct config_parser *p)
{
	p->config->rules = config_rules_new(false);
	if (!p->config->rules || config_rules_expect(p->config->rules, p->len) < 0)
		return config_no_memory(p->err, 0);
	skip_byte_order_mark(p);
	for (size_t at = p->at; at < p->len; at = p->at)
		if (!goes_on(p, read_line(p)))
			return find_log(p, at);
	goes_on(p, end_section(p));
	if (p->failed)
		return p->failed;
	if (config_rules_finish(p->config->rules) ||
	    (p->config->incoming && config_rules_finish(p->config->incoming)))
		return config_no_memory(p->err, 0);
	return 0;
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

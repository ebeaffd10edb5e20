// SPDX-License-Identifier: MIT
#include "fetch.h"

#include "text.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define BLANK " \t\r"

struct span {
	const char *p;
	size_t len;
};

/* Where a reader of lines is, and the last that has a path. */
struct reader {
	const char *at, *end;
	unsigned int line;
	struct span section, key, value;
};

static struct span trim(struct span s)
{
	while (s.len > 0 && strchr(BLANK, s.p[0])) {
		s.p++;
		s.len--;
	}
	while (s.len > 0 && strchr(BLANK, s.p[s.len - 1]))
		s.len--;
	return s;
}

static bool is_same(struct span a, struct span b)
{
	return a.len == b.len && memcmp(a.p, b.p, a.len) == 0;
}

static bool is_word(struct span s, const char *word)
{
	return s.len == strlen(word) && memcmp(s.p, word, s.len) == 0;
}

static struct span take_line(struct reader *r)
{
	const char *newline = memchr(r->at, '\n', (size_t)(r->end - r->at));
	const char *end = newline ? newline : r->end;
	struct span l = { r->at, (size_t)(end - r->at) };

	r->at = newline ? newline + 1 : r->end;
	r->line++;
	for (size_t i = 0; i < l.len; i++) {
		if ((l.p[i] == '#' || l.p[i] == ';') && (i == 0 || strchr(BLANK, l.p[i - 1])))
			l.len = i;
	}
	return trim(l);
}

/* "[converter home]" -> "converter": its name does not matter. */
static struct span section_of(struct span l)
{
	struct span s = trim((struct span){ l.p + 1, l.len - 1 });

	for (size_t i = 0; i < s.len; i++)
		if (strchr(BLANK "]", s.p[i]))
			s.len = i;
	return s;
}

/* A cookie is a path if there is a @ before it, all else if it begins with a slash. */
static bool is_path(const struct reader *r)
{
	if (r->value.len == 0)
		return false;
	return r->value.p[0] == '@' || (r->value.p[0] == '/' && !is_word(r->key, "cookie"));
}

/* Goes on to the next line with a path. */
static bool next_path(struct reader *r)
{
	while (r->at < r->end) {
		struct span l = take_line(r);
		size_t n = 0;

		if (l.len > 0 && l.p[0] == '[')
			r->section = section_of(l);
		while (n < l.len && l.p[n] != '=' && l.p[n] != ':')
			n++;
		if (n == l.len || l.p[0] == '[')
			continue;
		r->key = trim((struct span){ l.p, n });
		r->value = trim((struct span){ l.p + n + 1, l.len - n - 1 });
		if (is_path(r))
			return true;
	}
	return false;
}

static struct reader start(const char *text, size_t len)
{
	const bool has_mark = len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0;

	return (struct reader){ .at = len ? text + (has_mark ? 3 : 0) : "",
				.end = len ? text + len : "",
				.section = { "", 0 } };
}

static bool has_path(const char *text, size_t len, const struct reader *path)
{
	struct reader r = start(text, len);

	while (next_path(&r)) {
		if (is_same(r.section, path->section) && is_same(r.key, path->key) &&
		    is_same(r.value, path->value))
			return true;
	}
	return false;
}

struct fetch_path fetch_new_path(const char *old, size_t old_len, const char *new, size_t new_len)
{
	struct fetch_path found = { .line = 0 };
	struct reader r = start(new, new_len);

	while (next_path(&r)) {
		if (has_path(old, old_len, &r))
			continue;
		found.line = r.line;
		snprintf(found.text, sizeof(found.text), "%.*s = %.*s", (int)r.key.len, r.key.p,
			 (int)r.value.len, r.value.p);
		control_hide(found.text); /* the parser, which takes none, comes later */
		break;
	}
	return found;
}

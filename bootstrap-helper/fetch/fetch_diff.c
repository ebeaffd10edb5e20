// SPDX-License-Identifier: MIT
#include "fetch.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CONTEXT	  3
#define TABLE_MAX 4000000 /* cells; beyond, what lies between the common ends is all changed */

struct line {
	const char *p;
	size_t len; /* with its newline */
};

struct lines {
	struct line *v;
	size_t n;
};

/* A line of the diff: ' ' of both, '-' of the old, '+' of the new. */
struct step {
	char op;
	size_t old, new; /* how many lines of each come before */
};

struct script {
	struct step *v;
	size_t n;
};

/* ----------------------------------------------------------------------------- what is hidden */

static const char hidden[] = "(not shown)";

static size_t find_word(const char *p, size_t len, const char *word)
{
	const size_t n = strlen(word);

	for (size_t i = 0; i + n <= len; i++)
		if (strncasecmp(p + i, word, n) == 0)
			return i;
	return len;
}

/* Where the comment starts, as the parser has it; len: there is none. */
static size_t find_comment(const char *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((p[i] == '#' || p[i] == ';') && (i == 0 || isblank((unsigned char)p[i - 1])))
			return i;
	return len;
}

static size_t skip(const char *p, size_t len, size_t at, const char *set)
{
	while (at < len && strchr(set, p[at]))
		at++;
	return at;
}

/* How much of "cookie = ..." may be shown: the name of its file may. at: behind the word. */
static size_t show_cookie(const char *p, size_t len, size_t at)
{
	size_t value = skip(p, len, at, " \t");

	if (value == len)
		return len;
	if (p[value] != '=' && p[value] != ':')
		return at;
	value = skip(p, len, value + 1, " \t");
	if (value == len || p[value] != '@')
		return value;
	while (value < len && !isspace((unsigned char)p[value]))
		value++;
	return value;
}

/* In a text that the parser does not take: no value, and nothing that has no key. */
static size_t show_unsound(const char *p, size_t len)
{
	const size_t start = skip(p, len, 0, " \t\r");
	size_t equals = start;

	if (start == len || p[start] == '[')
		return len;
	while (equals < len && p[equals] != '=' && p[equals] != ':')
		equals++;
	return equals < len ? skip(p, len, equals + 1, " \t") : 0;
}

/* How many bytes of a line without its comment may be shown. */
static size_t show_key(const char *p, size_t len, bool is_sound)
{
	const size_t word = find_word(p, len, "cookie");

	if (!is_sound)
		return show_unsound(p, len);
	return word < len ? show_cookie(p, len, word + strlen("cookie")) : len;
}

static void put_text(FILE *out, const char *p, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		const unsigned char c = (unsigned char)p[i];
		/* U+0080 to U+009F are control characters as well */
		const bool is_c1 = c == 0xc2 && i + 1 < len && (p[i + 1] & 0xe0) == 0x80;

		putc((c < ' ' && c != '\t') || c == 0x7f || is_c1 ? '?' : c, out);
		i += is_c1;
	}
}

static void put_line(FILE *out, char op, struct line l, bool is_sound)
{
	const bool ends = l.len > 0 && l.p[l.len - 1] == '\n';
	const bool is_windows = l.len > 1 && ends && l.p[l.len - 2] == '\r';
	const size_t len = l.len - ends - is_windows, comment = find_comment(l.p, len);
	const bool is_comment_shown = find_word(l.p + comment, len - comment, "cookie") ==
				      len - comment;
	const size_t key = show_key(l.p, comment, is_sound);

	putc(op, out);
	put_text(out, l.p, key);
	if (key < comment)
		fputs(hidden, out);
	else if (is_comment_shown)
		put_text(out, l.p + comment, len - comment);
	else
		fprintf(out, "%.1s %s", l.p + comment, hidden);
	fputs(ends ? "\n" : "\n\\ No newline at end of file\n", out);
}

/* -------------------------------------------------------------------------- what has changed */

static int split(struct lines *lines, const struct fetch_text *text)
{
	const char *p = text->len ? text->bytes : "", *end = p + text->len;
	size_t n = 0;

	for (const char *c = p; c < end; c++)
		n += *c == '\n' || c + 1 == end;
	*lines = (struct lines){ .v = reallocarray(NULL, n + 1, sizeof(*lines->v)) };
	if (!lines->v)
		return -ENOMEM;
	while (p < end) {
		const char *newline = memchr(p, '\n', (size_t)(end - p));
		const char *next = newline ? newline + 1 : end;

		lines->v[lines->n++] = (struct line){ p, (size_t)(next - p) };
		p = next;
	}
	return 0;
}

static bool is_same(struct line a, struct line b)
{
	return a.len == b.len && memcmp(a.p, b.p, a.len) == 0;
}

static void add(struct script *s, char op, size_t *old, size_t *new)
{
	s->v[s->n++] = (struct step){ op, *old, *new };
	*old += op != '+';
	*new += op != '-';
}

/*
 * The longest common subsequence of n lines at a and m lines at b: common[i * (m + 1) + j] is its
 * length from a[i] and b[j] on. NULL: too large a table, or no memory.
 */
static uint16_t *compare(const struct line *a, size_t n, const struct line *b, size_t m)
{
	uint16_t *common;

	if (n + 1 > TABLE_MAX / (m + 1)) /* their product may be more than a size_t holds */
		return NULL;
	common = calloc((n + 1) * (m + 1), sizeof(*common));
	if (!common)
		return NULL;
	for (size_t i = n; i-- > 0;) {
		uint16_t *row = common + i * (m + 1), *below = row + m + 1;

		for (size_t j = m; j-- > 0;) {
			if (is_same(a[i], b[j]))
				row[j] = (uint16_t)(below[j + 1] + 1);
			else
				row[j] = below[j] > row[j + 1] ? below[j] : row[j + 1];
		}
	}
	return common;
}

/* What lies between the common ends: n lines at old, m at new. */
static void script_middle(struct script *s, const struct lines *a, const struct lines *b,
			  size_t *old, size_t *new, size_t n, size_t m)
{
	const size_t old_end = *old + n, new_end = *new + m, first_old = *old, first_new = *new;
	uint16_t *common = compare(a->v + *old, n, b->v + *new, m);

	while (common && *old < old_end && *new < new_end) {
		const uint16_t *here = common + (*old - first_old) * (m + 1) + (*new - first_new);

		if (is_same(a->v[*old], b->v[*new]))
			add(s, ' ', old, new);
		else
			add(s, here[m + 1] >= here[1] ? '-' : '+', old, new);
	}
	free(common);
	while (*old < old_end)
		add(s, '-', old, new);
	while (*new < new_end)
		add(s, '+', old, new);
}

static int make_script(struct script *s, const struct lines *a, const struct lines *b)
{
	size_t head = 0, tail = 0, old = 0, new = 0;
	const size_t least = a->n < b->n ? a->n : b->n;

	*s = (struct script){ .v = calloc(a->n + b->n + 1, sizeof(*s->v)) };
	if (!s->v)
		return -ENOMEM;
	while (head < least && is_same(a->v[head], b->v[head]))
		head++;
	while (tail < least - head && is_same(a->v[a->n - 1 - tail], b->v[b->n - 1 - tail]))
		tail++;
	while (old < head)
		add(s, ' ', &old, &new);
	script_middle(s, a, b, &old, &new, a->n - head - tail, b->n - head - tail);
	while (old < a->n)
		add(s, ' ', &old, &new);
	return 0;
}

/* -------------------------------------------------------------------------------- the output */

/* The first step at or behind `at` that changes something. */
static size_t next_change(const struct script *s, size_t at)
{
	while (at < s->n && s->v[at].op == ' ')
		at++;
	return at;
}

/* Where the hunk ends whose first change is at `change`: two stand together if they share context. */
static size_t hunk_end(const struct script *s, size_t change)
{
	size_t end;

	do {
		end = change;
		while (end < s->n && s->v[end].op != ' ')
			end++;
		change = next_change(s, end);
	} while (change < s->n && change - end <= (size_t)(2 * CONTEXT));
	return s->n - end < CONTEXT ? s->n : end + CONTEXT;
}

/* "12,3" from how many lines come before and how many these are */
static void put_range(FILE *out, char sign, size_t before, size_t n)
{
	fprintf(out, "%c%zu", sign, n ? before + 1 : before);
	if (n != 1)
		fprintf(out, ",%zu", n);
}

static void put_hunk(FILE *out, const struct script *s, size_t from, size_t to,
		     const struct lines *a, const struct lines *b, bool old_sound, bool new_sound)
{
	size_t old = 0, new = 0;

	for (size_t i = from; i < to; i++) {
		old += s->v[i].op != '+';
		new += s->v[i].op != '-';
	}
	fputs("@@ ", out);
	put_range(out, '-', s->v[from].old, old);
	putc(' ', out);
	put_range(out, '+', s->v[from].new, new);
	fputs(" @@\n", out);
	for (size_t i = from; i < to; i++) {
		const struct step *step = &s->v[i];

		if (step->op == '+')
			put_line(out, '+', b->v[step->new], new_sound);
		else
			put_line(out, step->op, a->v[step->old], old_sound);
	}
}

int fetch_diff(FILE *out, const struct fetch_text *old, const struct fetch_text *new)
{
	struct lines a = { .v = NULL }, b = { .v = NULL };
	struct script s = { .v = NULL };
	size_t change;
	int err = split(&a, old);

	if (!err)
		err = split(&b, new);
	if (!err)
		err = make_script(&s, &a, &b);
	change = err ? 0 : next_change(&s, 0);
	if (!err && change < s.n)
		fprintf(out, "--- %s\n+++ %s\n", old->name, new->name);
	while (!err && change < s.n) {
		const size_t end = hunk_end(&s, change);

		put_hunk(out, &s, change < CONTEXT ? 0 : change - CONTEXT, end, &a, &b,
			 old->is_sound, new->is_sound);
		change = next_change(&s, end);
	}
	free(a.v);
	free(b.v);
	free(s.v);
	return err;
}

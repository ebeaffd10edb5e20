// SPDX-License-Identifier: MIT
#include "finding.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------------- did you mean */

#define WORD_MOST 24

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Letters to put in, leave out, change or swap with the next until one is the other (optimal string
 * alignment); case counts for nothing. */
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	size_t row[3][WORD_MOST + 1];

	for (size_t i = 0; i <= a_len; i++) {
		size_t *now = row[i % 3], *up = row[(i + 2) % 3], *above = row[(i + 1) % 3];

		now[0] = i;
		for (size_t k = 1; k <= b_len; k++) {
			bool same = i && tolower(a[i - 1]) == tolower(b[k - 1]);

			if (i == 0) {
				now[k] = k;
				continue;
			}
			now[k] = least(least(up[k], now[k - 1]) + 1, up[k - 1] + !same);
			if (i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1])
				now[k] = least(now[k], above[k - 2] + 1);
		}
	}
	return row[a_len % 3][b_len];
}

static size_t word_len(const char *s)
{
	return strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_");
}

/* What was written in the place of one of several words: in quotes, behind [ or behind =. */
static const char *written(const char *what, int len)
{
	static const char *const before[] = { "unknown key \"", "rule: \"", "unknown section [",
					      " = " };

	for (size_t i = 0; i < sizeof(before) / sizeof(before[0]); i++) {
		const char *at = strstr(what, before[i]);

		if (at && at - what < len)
			return at + strlen(before[i]);
	}
	return NULL;
}

/* Does it stand in a list, as "auto, on or off" and "[converter NAME], [policy]", and not in prose? */
static bool is_offered(const char *from, const char *word, const char *behind)
{
	bool first = word == from || word[-1] == '[' || strncmp(word - 2, ", ", 2) == 0 ||
		     (word - from > 3 && strncmp(word - 4, " or ", 4) == 0);

	return first && isalpha((unsigned char)*word) &&
	       (!*behind || strchr(",]", *behind) || strncmp(behind, " or ", 4) == 0 ||
		strncmp(behind, " NAME]", 6) == 0);
}

const char *mistake_nearest(const char *wrong, const char *offered, size_t *nearest_len)
{
	size_t wrong_len = word_len(wrong), best = 3, len;
	const char *found = NULL;

	for (const char *s = offered; *s; s += len + (s[len] != '\0')) {
		size_t far;

		len = word_len(s);
		if (len < 2 || len > WORD_MOST || wrong_len < 2 || wrong_len > WORD_MOST ||
		    !is_offered(offered, s, s + len))
			continue;
		far = distance(wrong, wrong_len, s, len);
		if (far < best && 2 * far <= least(len, wrong_len)) {
			best = far;
			found = s;
			*nearest_len = len;
		}
	}
	return found;
}

static void advise(struct finding *found, const char *what, int what_len, const char *mend)
{
	const char *wrong = written(what, what_len), *word = NULL;
	char text[sizeof(found->mend)];
	size_t len = 0;

	if (wrong && strncmp(mend, "expected ", 9) == 0)
		word = mistake_nearest(wrong, mend + 9, &len);
	if (word)
		snprintf(text, sizeof(text), "%s; did you mean \"%.*s\"?", mend, (int)len, word);
	else if (strncmp(what, "rule: \"", 7) == 0 && wrong &&
		 wrong[strcspn(wrong, ".:/\"")] != '"')
		snprintf(text, sizeof(text), "%s; between the items of a list stands a comma",
			 mend);
	else
		snprintf(text, sizeof(text), "%s", mend);
	finding_advise(found, text);
}

/* ---------------------------------------------------------------------------- mistakes */

/* "what: expected this" is what is wrong, and what mends it. */
static void add_mistake(struct findings *f, const struct config_error *err)
{
	static const char expected[] = ": expected ";
	const char *what = err->what, *mend = strstr(what, expected);
	int len = mend ? (int)(mend - what) : (int)strlen(what);
	struct finding *found;
	char line[16] = "";

	if (mend) {
		mend += strlen(": ");
	} else if (strstr(what, expected + 2) == what) {
		mend = what;
		what = "not understood";
		len = (int)strlen(what);
	} else {
		mend = "expected a file that can be read";
	}
	if (err->line)
		snprintf(line, sizeof(line), "%u: ", err->line);
	found = finding_add(f, "configuration", FINDING_PROBLEM, "%.*s:%s%.*s", PATH_MAX, err->file,
			    err->line ? line : " ", len, what);
	advise(found, what, len, mend);
	finding_word(found, "file", err->file);
	finding_number(found, "line", err->line);
}

static bool is_before(const struct finding *a, const struct finding *b)
{
	return strcmp(a->id, b->id) == 0 && a->n_values == 2 && b->n_values == 2 &&
	       strcmp(a->values[0].word, b->values[0].word) == 0 &&
	       a->values[1].number < b->values[1].number;
}

void mistake_found(const struct config_error *err, void *arg)
{
	struct findings *f = arg;

	if (++f->n_mistakes > MISTAKES_MOST)
		return;
	findings_about(f, "configuration");
	add_mistake(f, err);
	for (size_t i = f->n - 1; i > 0 && is_before(&f->all[i], &f->all[i - 1]); i--) {
		struct finding moved = f->all[i];

		f->all[i] = f->all[i - 1];
		f->all[i - 1] = moved;
	}
}

void mistake_rest(struct findings *f)
{
	struct finding *found;
	struct finding_value file;

	if (f->n_mistakes <= MISTAKES_MOST)
		return;
	file = f->all[f->n - 1].values[0];
	found = finding_add(f, "configuration", FINDING_PROBLEM, "%s: %zu mistakes more", file.word,
			    f->n_mistakes - MISTAKES_MOST);
	finding_advise(found, "mend these first, or name the file that was meant");
	finding_word(found, "file", file.word);
	finding_number(found, "line", 0);
}

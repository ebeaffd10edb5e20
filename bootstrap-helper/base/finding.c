// SPDX-License-Identifier: MIT

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"
#include "text.h"

#define COLUMNS	    80
#define WHAT_COLUMN 11 /* behind "  problem  " */
#define MEND_COLUMN 15

const char *const finding_verdicts
	[] = { [FINDING_OK] = "ok", [FINDING_NOTE] = "note", [FINDING_PROBLEM] = "problem" };

/* ------------------------------------------------------------------------------ adding */

void findings_about(struct findings *f, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(f->about, sizeof(f->about), format, args);
	va_end(args);
}

struct finding *finding_add(struct findings *f, const char *id, enum finding_verdict verdict,
			    const char *format, ...)
{
	struct finding *all = reallocarray(f->all, f->n + 1, sizeof(*all)), *found;
	va_list args;

	if (!all) {
		fputs("convert-bootstrap: out of memory\n", stderr);
		exit(BOOTSTRAP_FAILED);
	}
	f->all = all;
	found = &all[f->n++];
	*found = (struct finding){ .id = id, .verdict = verdict, .needs_sudo = f->needs_sudo };
	memcpy(found->about, f->about, sizeof(found->about));
	va_start(args, format);
	vsnprintf(found->what, sizeof(found->what), format, args);
	va_end(args);
	return found;
}

__attribute__((format(printf, 3, 0))) static void
add_line(struct finding *found, const char *before, const char *format, va_list args)
{
	size_t len = strlen(found->mend);

	len += (size_t)snprintf(found->mend + len, sizeof(found->mend) - len, "%s%s",
				len ? "\n" : "", before);
	if (len < sizeof(found->mend))
		vsnprintf(found->mend + len, sizeof(found->mend) - len, format, args);
}

void finding_mend(struct finding *found, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	add_line(found, "", format, args);
	va_end(args);
}

void finding_mend_as_root(struct finding *found, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	add_line(found, found->needs_sudo ? "sudo " : "", format, args);
	va_end(args);
}

/* What a terminal would obey becomes a question mark. Returns how much of the text that was. */
static size_t clean(const char *text, char *c)
{
	const size_t n = control_at(text);

	*c = *text;
	if (n)
		*c = '?';
	return n ? n : 1;
}

/* Whether a shell takes it for nothing but itself. */
static bool is_plain(const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "/._-+,:@";

	return *word && *word != '-' && word[strspn(word, plain)] == '\0';
}

const char *finding_quote(const char *path, char quoted[static FINDING_QUOTED])
{
	static const char in_it[] = "'\\'"; /* and the quote itself */
	size_t len = 0;

	if (is_plain(path) && strlen(path) < FINDING_QUOTED) {
		memcpy(quoted, path, strlen(path) + 1);
		return quoted;
	}
	quoted[len++] = '\'';
	for (; *path && len < FINDING_QUOTED - 6 && !control_at(path); path++) {
		if (*path == '\'')
			len = (size_t)((char *)mempcpy(quoted + len, in_it, sizeof(in_it) - 1) -
				       quoted);
		quoted[len++] = *path;
	}
	if (*path)
		return memcpy(quoted, "FILE", sizeof("FILE"));
	memcpy(quoted + len, "'", sizeof("'"));
	return quoted;
}

/* What sudo would take away. With a file alone none of them counts. */
static void name_kept(struct findings *f, bool is_wanted)
{
	static const char *const all[] = {
		"CONF",	     "ADDR",	   "PORT",  "COOKIE",  "LOG",
		"LOG_LEVEL", "LOG_FORMAT", "STATE", "DISABLE", "STRICT"
	};
	char *end = f->kept;

	*end = '\0';
	for (size_t i = 0; is_wanted && i < sizeof(all) / sizeof(all[0]); i++) {
		char name[32];
		const char *value;

		snprintf(name, sizeof(name), "CONVERT_%s", all[i]);
		value = getenv(name);
		if (value && *value)
			end = stpcpy(stpcpy(end, end == f->kept ? "--preserve-env=" : ","), name);
	}
	if (*f->kept)
		stpcpy(end, " ");
}

void findings_for(struct findings *f, bool is_root, const char *file)
{
	char *whole = file ? file_absolute(file) : NULL, quoted[FINDING_QUOTED];

	f->needs_sudo = !is_root;
	f->again[0] = '\0';
	name_kept(f, !is_root && !file);
	if (file)
		snprintf(f->again, sizeof(f->again), " -c %s",
			 finding_quote(whole ? whole : file, quoted));
	free(whole);
}

void finding_advise(struct finding *found, const char *words)
{
	finding_mend(found, "%s", words);
	found->in_words = true;
}

static struct finding_value *value(struct finding *found, const char *name)
{
	struct finding_value *v;

	if (found->n_values == FINDING_VALUES)
		abort(); /* the judge that adds so many is wrong */
	v = &found->values[found->n_values++];
	v->name = name;
	return v;
}

void finding_number(struct finding *found, const char *name, int64_t number)
{
	struct finding_value *v = value(found, name);

	v->kind = FINDING_NUMBER;
	v->number = number;
}

void finding_flag(struct finding *found, const char *name, bool flag)
{
	struct finding_value *v = value(found, name);

	v->kind = FINDING_FLAG;
	v->number = flag;
}

void finding_word(struct finding *found, const char *name, const char *word)
{
	struct finding_value *v = value(found, name);

	v->kind = FINDING_WORD;
	snprintf(v->word, sizeof(v->word), "%s", word);
}

size_t findings_count(const struct findings *f, enum finding_verdict verdict)
{
	size_t n = 0;

	for (size_t i = 0; i < f->n; i++)
		n += f->all[i].verdict == verdict;
	return n;
}

void findings_free(struct findings *f)
{
	free(f->all);
	*f = (struct findings){ .all = NULL };
}

/* ----------------------------------------------------------------------- for people */

static void put_clean(const char *text, size_t len)
{
	char c;

	for (size_t i = 0; i < len;) {
		i += clean(text + i, &c);
		putchar((unsigned char)c);
	}
}

/* Returns its end. to: with room for a text in which each character becomes a line's end. */
static char *add_clean(char *to, const char *text, const char *line_end)
{
	while (*text)
		if (*text == '\n') {
			to = stpcpy(to, line_end);
			text++;
		} else {
			text += clean(text, to++);
		}
	*to = '\0';
	return to;
}

/* One command does not become the arguments of the one before it. */
void finding_print_line(FILE *out, const struct finding *found)
{
	char line[2 * sizeof(*found)], *end = line;

	end = stpcpy(add_clean(end, found->about, " "), ": ");
	end = add_clean(end, found->what, " ");
	if (*found->mend)
		end = stpcpy(end, "; mend: ");
	add_clean(end, found->mend, "; ");
	fprintf(out, "%s\n", line);
}

/* Words, broken at spaces into lines that begin at that column; the first is there already. */
static void put_words(const struct findings *f, const char *text, size_t column)
{
	const size_t room = f->is_for_eyes ? COLUMNS - column : SIZE_MAX;
	size_t len = strlen(text);

	while (len > room) {
		size_t cut = room;

		while (cut > 0 && text[cut] != ' ')
			cut--;
		if (cut == 0)
			cut = room;
		put_clean(text, cut);
		text += cut + (text[cut] == ' ');
		len = strlen(text);
		printf("\n%*s", (int)column, "");
	}
	put_clean(text, len);
	putchar('\n');
}

static void put_mend(const struct findings *f, const struct finding *found)
{
	const char *mend = found->mend;

	if (found->in_words) {
		printf("%*s", MEND_COLUMN, "");
		put_words(f, mend, MEND_COLUMN);
		return;
	}
	while (*mend) {
		size_t len = strcspn(mend, "\n");

		printf("%*s", MEND_COLUMN, "");
		put_clean(mend, len);
		putchar('\n');
		mend += len + (mend[len] == '\n');
	}
}

static void put_count(size_t n, const char *what)
{
	printf("%zu %s%s", n, what, n == 1 ? "" : "s");
}

void findings_print(const struct findings *f)
{
	const char *about = "";

	for (size_t i = 0; i < f->n; i++) {
		const struct finding *found = &f->all[i];

		if (strcmp(about, found->about) != 0) {
			put_clean(found->about, strlen(found->about));
			putchar('\n');
		}
		about = found->about;
		printf("  %-9s", finding_verdicts[found->verdict]);
		put_words(f, found->what, WHAT_COLUMN);
		put_mend(f, found);
	}
	put_count(findings_count(f, FINDING_PROBLEM), "problem");
	fputs(", ", stdout);
	put_count(findings_count(f, FINDING_NOTE), "note");
	putchar('\n');
}

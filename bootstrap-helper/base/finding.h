/* SPDX-License-Identifier: MIT */
/*
 * finding.h - what the doctor has found: a list of findings, shown to people or to programs; and what is wrong with
 * a line of the configuration, as one of them.
 *
 * Each has an id that stays the same from version to version (convert-bootstrap(8) has those of check,
 * explain.schema.json those of explain), says what is, and if that is not well, the exact command or
 * configuration line that mends it.
 * Promises: adding and judging prints nothing. Never: a cookie (F-02).
 */
#ifndef CVT_FINDING_H
#define CVT_FINDING_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "config.h"

enum finding_verdict { FINDING_OK, FINDING_NOTE, FINDING_PROBLEM };
extern const char *const finding_verdicts[]; /* as words */

#define FINDING_VALUES 12
#define FINDING_QUOTED 600

struct finding {
	const char *id;
	enum finding_verdict verdict;
	char about[PATH_MAX];	   /* "host", "converter home 192.0.2.1:5124", a program's name */
	char what[PATH_MAX + 360]; /* a file's name, and what is wrong with it */
	char mend[1536];	   /* lines to be copied; "" if there is nothing to mend */
	bool needs_sudo;	   /* for what only root can do */
	bool in_words;		   /* mend is for people to read instead */
	struct finding_value {
		const char *name;
		enum { FINDING_NUMBER, FINDING_WORD, FINDING_FLAG } kind;
		int64_t number;
		char word[256];
	} values[FINDING_VALUES]; /* the same for programs */
	size_t n_values;
};

struct findings {
	struct finding *all;
	size_t n;
	size_t n_mistakes;    /* mistake.c's */
	char about[PATH_MAX]; /* of those that are added next */
	bool needs_sudo;
	bool is_for_eyes; /* else words are not broken into lines: grep shall find them */
	char again[FINDING_QUOTED +
		   8];	/* " -c FILE" for convert-bootstrap, if that was said; or "" */
	char kept[192]; /* "--preserve-env=CONVERT_ADDR " for sudo, if that holds here; or "" */
};

/* Before any is added: who will read them, and the -c that was given, or NULL: then the environment holds. If it is
 * not said, that is root. */
void findings_for(struct findings *f, bool is_root, const char *file);

void findings_about(struct findings *f, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Valid until the next one is added. No memory ends the program. */
struct finding *finding_add(struct findings *f, const char *id, enum finding_verdict verdict,
			    const char *format, ...) __attribute__((format(printf, 4, 5)));
/* One line more of what mends it: a command, or a line of the configuration. Behind a # may stand what
 * has to be said of it. */
void finding_mend(struct finding *found, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* A command that only root can run; it gets its sudo. */
void finding_mend_as_root(struct finding *found, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Somebody's word as one of a shell command, which all that is proposed is made of: a file's name, an
 * interface's, a URL. One that is too long, or could not be shown as it is, becomes FILE. */
const char *finding_quote(const char *path, char quoted[static FINDING_QUOTED]);
/* The same, if it can only be said in words. */
void finding_advise(struct finding *found, const char *words);
void finding_number(struct finding *found, const char *name, int64_t number);
void finding_flag(struct finding *found, const char *name, bool flag);
void finding_word(struct finding *found, const char *name, const char *word);

size_t findings_count(const struct findings *f, enum finding_verdict verdict);
/* For eyes no line is longer than 80 columns, but for one that is there to be copied. */
void findings_print(const struct findings *f);
/* By json.c: who calls it is linked with jansson. check.schema.json has what it prints. */
void findings_print_json(const struct findings *f);
/* "ABOUT: WHAT; mend: MEND" on one line, with nothing in it that a terminal would obey. */
void finding_print_line(FILE *out, const struct finding *found);
void findings_free(struct findings *f);

/* ---- mistake.c: what is wrong with a configuration's line, and the word that was meant. Pure functions. */

#define MISTAKES_MOST 100 /* whoever has more has another file */

/* A config_each_fn: arg is the struct findings. They are kept in the order of their lines, the first so many. */
void mistake_found(const struct config_error *err, void *arg);
/* Behind the last one: how many there are besides. */
void mistake_rest(struct findings *f);
/* Which of the words that are offered ("auto, on or off") was nearly written, and its length; NULL: none. */
const char *mistake_nearest(const char *wrong, const char *offered, size_t *len);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * run.h - what convert-run is made of: a look before the program is started, what has become of its connections, and
 * the units of systemd's.
 */
#ifndef CVT_RUN_H
#define CVT_RUN_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "finding.h"

/* ---- ask.c: what stands between a program and its connections being converted, asked before it is
 * started: the configuration, the log, the library, and the program itself.
 *
 * Promises: a few milliseconds; no connection, nothing written. */

/* The environment is the program's, but for LD_PRELOAD if it cannot be set. library: what stands there, or
 * NULL where a supervisor does without. words: the program's, its name first. wants_receipt: does the
 * configuration? What is found is in the order in which it matters. */
void ask_first(struct findings *f, const char *library, char *const *words, bool *wants_receipt);
/* What stands in the way; NULL: nothing. strict: that something cannot be looked at is enough. any: of a
 * supervisor, and not of the library. */
const struct finding *ask_worst(const struct findings *f, bool strict, bool any);
/* The library cannot be loaded into it, or does not see what it does, and a supervisor does; NULL: no. */
const struct finding *ask_past(const struct findings *f);
/* What a program loses that may not gain privileges; NULL: nothing. */
const struct finding *ask_privileges(const struct findings *f);
/* What execve() will fail by, and say, whatever else is in the way; NULL: nothing. */
const struct finding *ask_no_program(const struct findings *f);

/* Started once more by ask_first() with this word and the library's name, and nothing else preloaded. */
#define ASK_LOADED "--is-loaded"
bool ask_is_loaded(const char *library);

/* ---- receipt.c: what became of the connections of a program and of those that it has started.
 *
 * The library appends a line for each to a file that is named in the environment (log.h), and here they are
 * read and counted. A line that is not whole, as the disk was full, is counted as lost. */

struct receipt;
/* Makes the file, and puts its name into the environment. False: errno. */
bool receipt_begin(void);
/* There is none, and it was not begun. errno stays. */
void receipt_cancel(void);
/* Of the process that becomes the program, or its supervisor. */
void receipt_in_child(void);
/* Reads the file, and removes it. What is returned lives as long as the process. */
const struct receipt *receipt_end(void);
/* To standard error, for people. */
void receipt_print(const struct receipt *r);
/* status: of waitpid() */
void receipt_print_json(const struct receipt *r, const char *program, int status, FILE *to);

/* ---- unit_look.c: what is there already of a service of systemd's, and where its LD_PRELOAD is set.
 *
 * Never: a file that a link of another system (--root) leads out of it to, one that is none, as a FIFO, or a
 * change of anything. */

#define UNIT_SUFFIX  ".service"
#define UNIT_PLACE   "/etc/systemd/system"
#define UNIT_DROP_IN "convert.conf"
/* its first two lines, the second if its folder is ours, too */
#define UNIT_FIRST    "# Written by \"convert-run enable\", and taken away by \"convert-run disable\"."
#define UNIT_OWNS_DIR "# So is this folder."

struct unit {
	const char *root; /* "", or where the system's files are that it is for */
	char name[256];	  /* with its suffix */
};

struct unit_seen {
	bool exists;
	char preloads[PATH_MAX + 16]; /* "FILE:LINE" of another LD_PRELOAD; "": there is none */
	bool takes_it_away; /* that line does (UnsetEnvironment=, or an empty Environment=) */
};

/* path: from / on, in the unit's system. A descriptor, or -1 and errno. */
int unit_open(const struct unit *u, const char *path, int flags);
/* The drop-in in this folder. */
bool unit_is_ours(int folder, bool *owns_folder);
void unit_look(struct unit_seen *s, const struct unit *u);

/* ---- unit.c: convert-run enable and disable: a drop-in of ours for a service of systemd's.
 *
 * Promises: writes ROOT/etc/systemd/system/UNIT.d/convert.conf, as a whole, and the folder it is in, if
 * that is not there; takes away exactly that. Never: a file that is not ours, or anything else of
 * systemd's. */

/* Says what is wrong with the word, and returns false. */
bool unit_init(struct unit *u, const char *root, const char *word);
/* library: as the unit's programs will see it. What the environment says of the converter is written, too.
 * Both return an exit status, 0 or 1, and have said why. */
int unit_enable(const struct unit *u, const char *library);
int unit_disable(const struct unit *u);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * ask.h - what stands between a program and its connections being converted, asked before it is
 * started: the configuration, the log, the library, and the program itself.
 *
 * Promises: a few milliseconds; no connection, nothing written.
 */
#ifndef CVT_ASK_H
#define CVT_ASK_H

#include "finding.h"

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
/* Is that something execve() will fail by, and say? */
bool ask_is_for_exec(const struct findings *f, const struct finding *found);

/* Started once more by ask_first() with this word and the library's name, and nothing else preloaded. */
#define ASK_LOADED "--is-loaded"
bool ask_is_loaded(const char *library);

#endif

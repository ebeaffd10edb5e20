/* SPDX-License-Identifier: MIT */
/* option.h - what is wrong with a word of the command line. */
#ifndef CVT_OPTION_H
#define CVT_OPTION_H

#include <stdbool.h>

#define OPTION_TEXT_MAX 72

/* A word as it may be shown: not longer, and with nothing in it that a terminal would obey. */
const char *option_text(const char *word, char text[static OPTION_TEXT_MAX]);
/* "VERB: WHICH WORD: expected THIS" to standard error; which may be "". Returns false. */
bool option_is_wrong(const char *verb, const char *which, const char *word, const char *expected);

#endif

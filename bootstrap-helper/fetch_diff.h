/* SPDX-License-Identifier: MIT */
/*
 * fetch_diff.h - a unified diff of two configurations, for people.
 *
 * Never: the value of a cookie, nor what might be one: a comment that has the word, and, in a text
 * that the parser does not take, every value. Control characters are written as '?'.
 */
#ifndef CVT_FETCH_DIFF_H
#define CVT_FETCH_DIFF_H

#include <stdbool.h>
#include <stdio.h>

struct fetch_text {
	const char *name;
	const char *bytes;
	size_t len;
	bool is_sound; /* the parser takes it, so that its keys are the known ones */
};

/* Writes nothing if they are the same. Returns 0 or -ENOMEM. */
int fetch_diff(FILE *out, const struct fetch_text *old, const struct fetch_text *new);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * mistake.h - what is wrong with a configuration's line, as a finding; and the word that was meant.
 *
 * Promises: pure functions; all that they know is in their arguments.
 */
#ifndef CVT_MISTAKE_H
#define CVT_MISTAKE_H

#include "config.h"
#include "finding.h"

#define MISTAKES_MOST 100 /* whoever has more has another file */

/* A config_each_fn: arg is the struct findings. They are kept in the order of their lines, the first so many. */
void mistake_found(const struct config_error *err, void *arg);
/* Behind the last one: how many there are besides. */
void mistake_rest(struct findings *f);
/* Which of the words that are offered ("auto, on or off") was nearly written, and its length; NULL: none. */
const char *mistake_nearest(const char *wrong, const char *offered, size_t *len);

#endif

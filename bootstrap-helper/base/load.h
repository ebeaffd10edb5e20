/* SPDX-License-Identifier: MIT */
/* load.h - the configuration that a program started from here would find, or one file alone; and what it
 * means, for people. */
#ifndef CVT_LOAD_H
#define CVT_LOAD_H

#include "config.h"
#include "finding.h"

/* file: NULL for what a program would find. Returns a BOOTSTRAP_... status; what is wrong has then
 * been written to standard error. config_free() in any case. */
int load_config(struct config *config, const char *file);
/* The same, as program would find it (NULL: one without rules of its own); mistakes are added to f, and nothing is
 * written. */
int load_check(struct config *config, const char *file, const char *program, struct findings *f);
/* "/etc/convert.disable is there"; NULL: nothing has switched all of it off. */
const char *load_off(const struct config *config);
/* The same to standard error, with what is therefore not done, and how it is done all the same. False: nothing has. */
bool load_is_off(const struct config *config, const char *what, const char *instead);
/* What becomes of connections where there is no converter: "every connection is direct". */
const char *load_without_converter(const struct config *config);
/* "FILE:LINE: what: what was expected" to standard error. */
void load_complain(const struct config_error *err);
/* To standard output. A cookie is only said to be given. */
void show_config(const struct config *config);

#endif

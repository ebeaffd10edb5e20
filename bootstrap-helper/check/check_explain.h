/* SPDX-License-Identifier: MIT */
/*
 * check_explain.h - where a program's connection would go now, and why.
 *
 * Promises: the library's own decisions; no connection is made, and nothing is learned.
 */
#ifndef CVT_CHECK_EXPLAIN_H
#define CVT_CHECK_EXPLAIN_H

#include "config.h"
#include "finding.h"

/* to: HOST or HOST:PORT. After config_use_state(). */
void check_explain(struct findings *f, const struct config *config, const char *to);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * log.h - one line per event, "t=SECONDS ev=NAME key=value ..."; the keys are in --help.
 *
 * Promises: a line is written whole; a value never holds a space unless it is in quotes.
 * Never: writes cookies, keys or option values (F-14).
 */
#ifndef LAB_LOG_H
#define LAB_LOG_H

#include <stdbool.h>

/* path: a file to append to, or "stderr". */
int log_open(const char *path, bool verbose);
void log_close(void);
__attribute__((format(printf, 2, 3))) void log_event(const char *name, const char *fmt, ...);
/* Only with -v. */
__attribute__((format(printf, 2, 3))) void log_detail(const char *name, const char *fmt, ...);

#endif

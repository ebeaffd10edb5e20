/* SPDX-License-Identifier: MIT */
/*
 * log.h - one line per decision, for people; off unless asked for.
 *
 * Promises: one write(2) per line, so lines of several processes never mix; no lock, no
 * allocation, no stdio, errno untouched; no descriptor stays open (D7); no signal that a write
 * raises reaches the program, and no line a connection that got the number 2.
 * Never: a Convert cookie, a Fast Open cookie or an MPTCP key (F-02, F-14).
 */
#ifndef CVT_LOG_H
#define CVT_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_OFF, LOG_LEVEL_ERROR, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

#define LOG_LINE_MAX 512 /* longer lines are cut */

/* target: "stderr", or a file to append to (made with mode 0600 if need be). The text must
 * live as long as the process. NULL switches logging off. */
void log_setup(const char *target, enum log_level level);
bool log_is_on(enum log_level level);
/* "2026-11-21T09:30:00.123Z curl[4711] info: ..." Formats: %s %d %u %x %zu %% and no flags. */
void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif

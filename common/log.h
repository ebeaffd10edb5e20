/* SPDX-License-Identifier: MIT */
/*
 * log.h - one line per decision, for people or for programs; off unless asked for. And the receipt:
 * what became of each connection, for whoever started the program (convert-run(1)).
 *
 * Promises: one write(2) per line, so lines of several processes never mix; no lock, no
 * allocation, no stdio, errno untouched; no descriptor stays open (D7); no signal that a write
 * raises reaches the program, and no line a connection that got the number 2; nobody waits for a
 * target that takes nothing; no line of root's is appended to a file through a link, or to a file, that another user has
 * put in the place of its target. A FIFO there, or a device, may be anybody's, and then he reads the log; who can write
 * to a directory above can put another directory there.
 * Never: a Convert cookie, a Fast Open cookie or an MPTCP key (F-02, F-14).
 */
#ifndef CVT_LOG_H
#define CVT_LOG_H

#include <stdbool.h>

enum log_level {
	LOG_LEVEL_OFF,
	LOG_LEVEL_ERROR,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
	LOG_LEVEL_RECEIPT, /* for the receipt, and never for the log */
};
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/* What a line is about; common/log.schema.json says what each has. */
enum log_event {
	/* what became of a connection, for each exactly one: */
	LOG_CONVERTED,
	LOG_FAILED,
	LOG_FALLS_BACK, /* to a direct one */
	LOG_BYPASS,
	LOG_DIRECT,
	LOG_GIVEN_UP, /* by the program, before there was an answer */
	LOG_LAST_OUTCOME = LOG_GIVEN_UP,
	/* on the way there, and after */
	LOG_RETRY,
	LOG_NEXT,
	LOG_ANSWERS,  /* the server, without the converter that was silent about it */
	LOG_ACCEPTED, /* from a remote host, by a converter; or that was not done: */
	LOG_REFUSED,
	LOG_SENT,
	LOG_RECEIVED,
	LOG_CLOSED,
	LOG_NOTE,
};

#define LOG_STDERR   "stderr"
#define LOG_SYSLOG   "syslog"
#define LOG_LINE_MAX 640 /* longer lines are cut */

/* target: LOG_STDERR, LOG_SYSLOG, or a file to append to (made with mode 0600 if need be). The text must
 * live as long as the process. NULL switches logging off. */
void log_setup(const char *target, enum log_level level);
/* After it: */
void log_as(enum log_format format);
/* Which program that is, for as long as it lives: program_invocation_short_name is in memory that it may write over. */
void log_of(const char *program);
/* A file that is there, which gets the outcomes as JSON, whatever goes to the log. NULL: none. */
void log_to_receipt(const char *path);
bool log_is_on(enum log_level level);
/* "2026-11-21T09:30:00.123Z curl[4711] info: ..." Formats: %s %d %lld %u %x %zu %% and
 * %p, which is a struct addr; no flags. And
 * around one of them {KEY:BEFORE%sBEHIND}. As JSON those are the members, and there is nothing else; as
 * text the KEY is not there, nor any of it if the key begins with a !. A NULL, an address
 * without a port and a number below 0 are left out with their group. */
void log_tell(enum log_level level, enum log_event event, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Of what has no members. */
#define log_line(level, ...) log_tell(level, LOG_NOTE, __VA_ARGS__)

#endif

/* SPDX-License-Identifier: MIT */
/*
 * marks.h - a mark per descriptor number: what we believe about it.
 *
 * A mark is only a hint. Numbers are closed and made behind our back (raw system calls,
 * stdio, a vfork child), so whoever acts on a mark compares the socket cookie first (D4).
 * Promises: no lock, no system call, no allocation; a number beyond the table has no mark.
 */
#ifndef CVT_MARKS_H
#define CVT_MARKS_H

#include "real.h"

#ifdef __has_feature /* clang's way to say so */
#if __has_feature(thread_sanitizer) && !defined(__SANITIZE_THREAD__)
#define __SANITIZE_THREAD__ /* NOLINT(bugprone-reserved-identifier) */
#endif
#endif
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#endif
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum mark {
	MARK_UNKNOWN,	 /* nothing known: ask the kernel */
	MARK_TCP,	 /* made by our socket() as a TCP stream, not connected by us */
	MARK_TCP_SET,	 /* the same, and an option was set on it that connecting has to know */
	MARK_TCP_COPIED, /* the same, and there may be other numbers for it */
	MARK_FELL_BACK, /* the same: the kernel connects it directly, as a converter was silent; what
			 * comes of that tells whose fault it was */
	MARK_OTHER,	/* made by our socket() as something else */
	MARK_OPENING,	/* a connect() is just deciding what to do with it */
	MARK_BYPASS,	/* a twin (twin.h) that is connected, or connecting, to the server itself */
	MARK_PENDING,	/* a conversion is under way */
	MARK_FAILED,	/* a conversion failed and the program has not been told yet */
	MARK_FAILED_TOLD,
	MARK_UP, /* converted: getpeername() still needs us */
};

#define MARK_MAX (1 << 20)

/* The mark in the low byte; the high one counts its changes, so that whoever decides slowly about a
 * number notices that it has been closed and made anew meanwhile. */
extern _Atomic uint16_t mark_words[MARK_MAX] INTERNAL;
/* How many numbers are marked PENDING or FAILED, and one more until the library is started: while
 * 0, libc is known and no call needs a look. */
extern _Atomic int mark_unsettled INTERNAL;

static inline uint16_t mark_look(int fd)
{
	if (fd < 0 || fd >= MARK_MAX)
		return MARK_UNKNOWN;
	return atomic_load_explicit(&mark_words[fd], memory_order_acquire);
}

static inline enum mark mark_in(uint16_t word)
{
	return (enum mark)(word & 0xff);
}

static inline enum mark mark_get(int fd)
{
	return mark_in(mark_look(fd));
}

/* Made as a TCP stream by our socket(), and not a converted connection. */
static inline bool mark_is_fresh(enum mark mark)
{
	return mark >= MARK_TCP && mark <= MARK_FELL_BACK;
}

static inline bool mark_may_have_copies(enum mark mark)
{
	return mark == MARK_TCP_COPIED || mark == MARK_FELL_BACK;
}

/* Is a direct connection of it worth a look, once it is there? */
static inline bool mark_is_watched(enum mark mark)
{
	return mark == MARK_BYPASS || mark == MARK_FELL_BACK;
}

static inline bool mark_has_record(enum mark mark)
{
	return mark >= MARK_PENDING;
}

static inline bool mark_is_unsettled(enum mark mark)
{
	return mark == MARK_PENDING || mark == MARK_FAILED;
}

/* Relaxed: a thread that needs to see another's connection has synchronised with it. */
static inline bool mark_any_unsettled(void)
{
	return __builtin_expect(atomic_load_explicit(&mark_unsettled, memory_order_relaxed) > 0, 0);
}

/* The kernel orders the life of a number and the next one's, which ThreadSanitizer must be told. */
static inline void mark_closing(int fd)
{
#ifdef __SANITIZE_THREAD__
	if (fd >= 0 && fd < MARK_MAX)
		__tsan_release(&mark_words[fd]);
#endif
	(void)fd;
}

/* The next symbols are known (real.h). */
void mark_started(void);
void mark_set(int fd, enum mark mark);
/* Only if the mark still is `from`; says whether it was (never for a number beyond the table). */
bool mark_change(int fd, enum mark from, enum mark to);

/* Only if nothing has changed since mark_look() returned this word. */
bool mark_change_seen(int fd, uint16_t word, enum mark to);

#endif

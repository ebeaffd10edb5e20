/* SPDX-License-Identifier: MIT */
/*
 * marks.h - a mark per descriptor number: what we believe about it.
 *
 * A hint: numbers are closed and made unseen, so whoever acts on one compares the socket cookie first (D4).
 * Promises: no lock, no system call, no allocation; a number beyond the table has no mark.
 */
#ifndef CVT_MARKS_H
#define CVT_MARKS_H

#include "mark.h"
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

#define MARK_MAX (1 << 20)

/* The mark in the low byte; the high one counts its changes, so that whoever decides slowly about a
 * number notices that it has been closed and made anew meanwhile. */
extern _Atomic uint16_t mark_words[MARK_MAX] INTERNAL;
/* How many numbers are marked PENDING or FAILED, or are held (held.c), and one more until the library is
 * started: while 0, libc is known and no call needs a look. */
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

/* This thread's descriptors are not the others': what it does to a number is noted nowhere, as that is another's. */
extern __thread bool mark_is_apart INTERNAL __attribute__((tls_model("initial-exec")));
/* The next symbols are known (real.h). */
void mark_started(void);
void mark_set(int fd, enum mark mark);
/* Only if the mark still is `from`; says whether it was (never for a number beyond the table). */
bool mark_change(int fd, enum mark from, enum mark to);

/* Only if nothing has changed since mark_look() returned this word. */
bool mark_change_seen(int fd, uint16_t word, enum mark to);
/* It shall not be converted: only if no connect() has taken it. */
void mark_rule_out(int fd);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * fdt.h - a mark per descriptor number: what we believe about it.
 *
 * A mark is only a hint. Numbers are closed and made behind our back (raw system calls,
 * stdio, a vfork child), so whoever acts on a mark compares the socket cookie first (D4).
 * Promises: no lock, no system call, no allocation; a number beyond the table has no mark.
 */
#ifndef CVT_FDT_H
#define CVT_FDT_H

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

enum fdt_mark {
	FDT_UNKNOWN,	/* nothing known: ask the kernel */
	FDT_TCP,	/* made by our socket() as a TCP stream, not connected by us */
	FDT_TCP_SET,	/* the same, and an option was set on it that connecting has to know */
	FDT_TCP_COPIED, /* the same, and there may be other numbers for it */
	FDT_FELL_BACK, /* the same: the kernel connects it directly, as a converter was silent; what
			 * comes of that tells whose fault it was */
	FDT_OTHER,     /* made by our socket() as something else */
	FDT_OPENING,   /* a connect() is just deciding what to do with it */
	FDT_BYPASS,    /* a twin (twin.h) that is connected, or connecting, to the server itself */
	FDT_PENDING,   /* a conversion is under way */
	FDT_FAILED,    /* a conversion failed and the program has not been told yet */
	FDT_FAILED_TOLD,
	FDT_UP, /* converted: getpeername() still needs us */
};

#define FDT_MAX (1 << 20)

/* The mark in the low byte; the high one counts its changes, so that whoever decides slowly about a
 * number notices that it has been closed and made anew meanwhile. */
extern _Atomic uint16_t fdt_words[FDT_MAX] INTERNAL;
/* How many numbers are marked PENDING or FAILED, and one more until the library is started: while
 * 0, libc is known and no call needs a look. */
extern _Atomic int fdt_unsettled INTERNAL;

static inline uint16_t fdt_look(int fd)
{
	if (fd < 0 || fd >= FDT_MAX)
		return FDT_UNKNOWN;
	return atomic_load_explicit(&fdt_words[fd], memory_order_acquire);
}

static inline enum fdt_mark fdt_mark_in(uint16_t word)
{
	return (enum fdt_mark)(word & 0xff);
}

static inline enum fdt_mark fdt_get(int fd)
{
	return fdt_mark_in(fdt_look(fd));
}

/* Made as a TCP stream by our socket(), and not a converted connection. */
static inline bool fdt_is_fresh(enum fdt_mark mark)
{
	return mark >= FDT_TCP && mark <= FDT_FELL_BACK;
}

static inline bool fdt_may_have_copies(enum fdt_mark mark)
{
	return mark == FDT_TCP_COPIED || mark == FDT_FELL_BACK;
}

/* Is a direct connection of it worth a look, once it is there? */
static inline bool fdt_is_watched(enum fdt_mark mark)
{
	return mark == FDT_BYPASS || mark == FDT_FELL_BACK;
}

static inline bool fdt_has_record(enum fdt_mark mark)
{
	return mark >= FDT_PENDING;
}

static inline bool fdt_is_unsettled(enum fdt_mark mark)
{
	return mark == FDT_PENDING || mark == FDT_FAILED;
}

/* Relaxed: a thread that needs to see another's connection has synchronised with it. */
static inline bool fdt_any_unsettled(void)
{
	return __builtin_expect(atomic_load_explicit(&fdt_unsettled, memory_order_relaxed) > 0, 0);
}

/* The kernel orders the life of a number and the next one's, which ThreadSanitizer must be told. */
static inline void fdt_closing(int fd)
{
#ifdef __SANITIZE_THREAD__
	if (fd >= 0 && fd < FDT_MAX)
		__tsan_release(&fdt_words[fd]);
#endif
	(void)fd;
}

/* The next symbols are known (real.h). */
void fdt_started(void);
void fdt_set(int fd, enum fdt_mark mark);
/* Only if the mark still is `from`; says whether it was (never for a number beyond the table). */
bool fdt_change(int fd, enum fdt_mark from, enum fdt_mark to);

/* Only if nothing has changed since fdt_look() returned this word. */
bool fdt_change_seen(int fd, uint16_t word, enum fdt_mark to);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * clock.h - the time as the kernel has it, whatever a preloaded library (libfaketime) makes of
 * clock_gettime(): our limits are waited for by the kernel's clock, and the state file is shared with
 * programs that see another one.
 *
 * Promises: no system call where the kernel has a function for it (vdso_find()), which is looked for at
 * the first look; at any time, in any thread or signal handler; errno is untouched.
 */
#ifndef CVT_CLOCK_H
#define CVT_CLOCK_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* The kernel's struct, the same in 32 bits. */
struct clock_time {
	int64_t s, ns;
};

struct clock_time clock_read(clockid_t clock);
/* All of it in nanoseconds, until 2262. CLOCK_MONOTONIC does not count a suspended machine's time, and that is right here: the
 * limits of poll() and TCP's timers do not either. */
int64_t clock_ns(clockid_t clock);

/* A function of the kernel's own little library, which it maps into every process (vdso(7)): where the one of
 * that name begins; NULL: there is none, or the image is not as it should be. `size` is how much may be read:
 * nothing outside of it is, whatever is in it. The symbol's version is not looked at: a name in there has
 * never had two. No system call, no allocation. */
const void *vdso_find(const uint8_t *image, size_t size, const char *name);

#endif

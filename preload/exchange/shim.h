/* SPDX-License-Identifier: MIT */
/*
 * shim.h - the environment as it was at load, and the configuration on first use.
 */
#ifndef CVT_SHIM_H
#define CVT_SHIM_H

#include "legend.h"
#include "policy.h"
#include "real.h"

#include <stdatomic.h>

/* Reads the configuration if nobody has. A program that opens no internet socket never gets
 * here, so it opens no file. Empty (all direct) while a signal handler interrupts the reading. */
const struct config *shim_read(void);
extern _Atomic(const struct config *) shim_found INTERNAL;
static inline const struct config *shim_config(void) /* ten times in a connection */
{
	const struct config *c = atomic_load_explicit(&shim_found, memory_order_acquire);

	return __builtin_expect(!!c, 1) ? c : shim_read();
}
/* Has anybody? */
static inline bool shim_has_read(void)
{
	return atomic_load_explicit(&shim_found, memory_order_acquire);
}
/* CONVERT_STRICT: what no rule makes direct is converted, or fails. */
extern bool shim_is_strict INTERNAL;
/* At the start, or when the configuration is read before that: the variables named CONVERT_*, and where a
 * user's files are. What comes later counts for nothing. */
void shim_keep_environment(void);
/* The program's name then; "": a longer one. */
extern char shim_program[LEGEND_NAME] INTERNAL;
/* In the child of fork(). */
void shim_in_child(void);
/* Has a configuration been read with a converter in it, and rules that leave something to it? Else nothing
 * is ever converted. */
extern _Atomic bool shim_active INTERNAL;
static inline bool shim_is_active(void)
{
	return __builtin_expect(atomic_load_explicit(&shim_active, memory_order_relaxed), 0);
}
/* ... and a rule by which this program's listeners take connections from it? */
extern _Atomic bool shim_listening INTERNAL;
static inline bool shim_is_listening(void)
{
	return __builtin_expect(atomic_load_explicit(&shim_listening, memory_order_relaxed), 0);
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * vdso.h - functions of the kernel's own little library, which it maps into every process (vdso(7)).
 *
 * Promises: reads nothing outside of the image, whatever is in it. Never: a system call, an allocation.
 */
#ifndef CVT_VDSO_H
#define CVT_VDSO_H

#include <stddef.h>
#include <stdint.h>

/* Where a function of that name begins; NULL: there is none, or the image is not as it should be.
 * `size` is how much may be read. The symbol's version is not looked at: a name in there has never had
 * two. */
const void *vdso_find(const uint8_t *image, size_t size, const char *name);

#endif

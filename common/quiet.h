/* SPDX-License-Identifier: MIT */
/*
 * quiet.h - a write that nobody but its caller notices.
 */
#ifndef CVT_QUIET_H
#define CVT_QUIET_H

#include <stddef.h>

#define QUIET_AT_END (-1L) /* where write(2) writes */

/* write(2), or pwrite(2) at an offset, by a raw system call. A pipe that nobody reads and a limit
 * on the size of files answer with a signal, which would be the end of the program: it is held back
 * and taken away, except where the program had one waiting already. The bytes written, or
 * -1 and errno. */
long quiet_write(int fd, const void *bytes, size_t len, long at);

#endif

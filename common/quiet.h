/* SPDX-License-Identifier: MIT */
/*
 * quiet.h - a write that nobody but its caller notices; and an offset for a raw system call.
 */
#ifndef CVT_QUIET_H
#define CVT_QUIET_H

#include <stddef.h>

/* An offset as syscall() has to pass it to pread64 and pwrite64. Ours are small: the high half
 * is 0. Where a register holds all of it, it is one argument. Else it is two, in the order of memory, and some
 * machines let them begin in a register of an even number, which leaves one out before them. */
#if __SIZEOF_LONG__ == 8 || defined(__x86_64__) || (defined(_ABIN32) && _MIPS_SIM == _ABIN32)
#define SYS_OFFSET(at) (long)(at)
#else
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define SYS_OFFSET_HALVES(at) 0L, (long)(at)
#else
#define SYS_OFFSET_HALVES(at) (long)(at), 0L
#endif
#if defined(__arm__) || defined(__mips__) || defined(__powerpc__) || defined(__xtensa__) || \
	defined(__sh__)
#define SYS_OFFSET(at) 0L, SYS_OFFSET_HALVES(at)
#else
#define SYS_OFFSET(at) SYS_OFFSET_HALVES(at)
#endif
#endif

#define QUIET_AT_END (-1L) /* where write(2) writes */

/* write(2), or pwrite(2) at an offset, by a raw system call. A pipe that nobody reads and a limit
 * on the size of files answer with a signal, which would be the end of the program: it is held back
 * and taken away, except where the program had one waiting already. The bytes written, or
 * -1 and errno. */
long quiet_write(int fd, const void *bytes, size_t len, long at);

#endif

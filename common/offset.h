/* SPDX-License-Identifier: MIT */
/*
 * offset.h - an offset as syscall() has to pass it to pread64 and pwrite64. Ours are small: the high half
 * is 0.
 *
 * Where a register holds all of it, it is one argument. Else it is two, in the order of memory, and some
 * machines let them begin in a register of an even number, which leaves one out before them.
 */
#ifndef CVT_OFFSET_H
#define CVT_OFFSET_H

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

#endif

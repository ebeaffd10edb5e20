/* SPDX-License-Identifier: MIT */
/*
 * memory.h - pages of our own; and the program's pointers, before we follow them ourselves.
 *
 * The kernel answers EFAULT to a pointer that leads nowhere; we would die of it. POSIX leaves both
 * open, but a program under the shim should not learn of it that way.
 */
#ifndef CVT_MEMORY_H
#define CVT_MEMORY_H

#include "real.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* Of all machines of that kind; on x86 there is no other. */
#if defined(__x86_64__) || defined(__i386__)
#define MEMORY_PAGE_MOST 4096
#else
#define MEMORY_PAGE_MOST 65536
#endif

/* New pages, all zero, of which nobody's allocator knows; how: MAP_PRIVATE, or MAP_SHARED with forked processes. NULL:
 * there is no memory. */
void *memory_map(size_t size, int how);
/* What stands in *at; if nothing does, new pages that stand there from now on, by whichever thread. */
void *memory_place(_Atomic(void *) *at, size_t size, int how);

/* Is this the memory that memory_own() was called in, and not a copy in a child that was forked since? A vfork child has
 * the same. Before that call: no. Where the kernel cannot tell (before Linux 4.14) a copy is the same, too. */
struct memory_mark {
	_Alignas(MEMORY_PAGE_MOST) _Atomic bool set;
};
extern struct memory_mark memory_mark INTERNAL;
static inline bool memory_is_own(void)
{
	return atomic_load_explicit(&memory_mark.set, memory_order_acquire);
}
/* One system call. */
void memory_own(void);
/* A copy is its child's own from now on: who is first in that? */
bool memory_adopt(void);

/* NULL and what is near it, MAP_FAILED and its like. No system call: for paths that may not have
 * one. A bad pointer that looks like a good one is not found out here. */
static inline bool memory_is_absurd(const void *p)
{
	return (uintptr_t)p + 4096 < 8192;
}

/* Asks the kernel about a structure of at least 8 bytes (valgrind takes the first ones for read), one
 * system call for each page. errno is untouched. A page that was there before is believed to be there
 * still, so that who calls again and again with the same buffers makes no system call for it. */
bool memory_was_readable(const void *p, size_t n);
/* The same for n elements of this size, a part of a page, of which only the first word need have been
 * written. */
bool memory_was_array(const void *p, size_t n, size_t size);

/* Would the kernel refuse (or be done with) a call with these arguments before it looks at the
 * connection? Then it shall, and nothing is sent or received. errno is untouched. */
bool memory_settles_vector(const struct iovec *iov, int n);
bool memory_settles_message(const struct msghdr *msg);
bool memory_settles_messages(const struct mmsghdr *msgs, unsigned int n);
bool memory_settles_address(const struct sockaddr *sa, socklen_t len);

#endif

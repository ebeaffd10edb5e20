/* SPDX-License-Identifier: MIT */
/*
 * real_narrow.h - libc's functions that have two names, for two sizes of time_t and off_t. Read by real.h, which has
 * the types.
 */
#ifndef CVT_REAL_NARROW_H
#define CVT_REAL_NARROW_H

/* We are built with a 64-bit time_t and off_t. Where those are not libc's first ones (glibc on i386 and
 * 32-bit ARM) its headers give what we define the second name: our ppoll() is __ppoll64. Programs with the
 * short types call the first one, which is another function (calls/narrow.c) or the same. */
_Static_assert(sizeof(time_t) == 8 && sizeof(off_t) == 8, "-D_TIME_BITS=64 -D_FILE_OFFSET_BITS=64");
#if defined(__GLIBC__) && __TIMESIZE == 32
#define NARROW 1
#else
#define NARROW 0
#endif

#if __has_attribute(copy)
#define ALIAS(function, is) alias(is), copy(function), visibility("default")
#else
#define ALIAS(function, is) alias(is), visibility("default")
#endif
/* Another name of a function that stands above as the symbol `is`. */
#define ALSO(name, function, is)                                  \
	extern __typeof__(function) function##_also __asm__(name) \
		__attribute__((ALIAS(function, is)))
/* The two names where there is one off_t. glibc's headers take the second for what has the first. */
#ifdef __GLIBC__
#define ALSO_LARGE(function, large) ALSO(#function, function, large)
#else
#define ALSO_LARGE(function, large) ALSO(large, function, #function)
#endif

#if NARROW /* of what programs with a 32-bit time_t or off_t call: the types are in calls/narrow.c */
struct real_narrow {
	int (*ppoll)(struct pollfd *, nfds_t, const void *, const sigset_t *);
	int (*select)(int, fd_set *, fd_set *, fd_set *, void *);
	int (*pselect)(int, fd_set *, fd_set *, fd_set *, const void *, const sigset_t *);
	ssize_t (*recvmsg)(int, struct msghdr *, int);
	int (*recvmmsg)(int, struct mmsghdr *, unsigned int, int, void *);
	ssize_t (*sendfile)(int, int, void *, size_t);
	int (*fcntl)(int, int, ...);
};

extern struct real_narrow real_narrow INTERNAL;
#endif

#endif

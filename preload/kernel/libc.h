/* SPDX-License-Identifier: MIT */
/*
 * libc.h - what differs between glibc and musl. One library serves the programs of both, whichever of them it
 * was built with: what only one has is a weak name here, or an answer of ours in libc.c.
 */
#ifndef CVT_LIBC_H
#define CVT_LIBC_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

/* musl's loader looks for this name in itself, and so musl has it for ever. */
extern const char musl_only[] __asm__("__dls3") __attribute__((weak));
extern char __libc_single_threaded __attribute__((weak));

static inline bool libc_is_musl(void)
{
	return musl_only != NULL;
}

/* environ is another name of it, which some programs have a variable of their own by. */
extern char **__environ;

/* musl does not say. */
static inline bool libc_is_single_threaded(void)
{
	return &__libc_single_threaded && __libc_single_threaded;
}

void libc_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void));

/* What a fortified call with too little room ends in. */
void libc_overflow(void) __attribute__((noreturn, cold));

/* pthread_cleanup_push() as both have it, past glibc's header; glibc's struct is the longer one. */
struct libc_cleanup {
	void (*routine)(void *);
	void *arg;
	int cancel_type;
	struct libc_cleanup *next;
};

void libc_cleanup_push(struct libc_cleanup *cleanup, void (*routine)(void *),
		       void *arg) __asm__("_pthread_cleanup_push");
void libc_cleanup_pop(struct libc_cleanup *cleanup, int run) __asm__("_pthread_cleanup_pop");

/* In a program of musl's, half of a length of 64 bits is padding, in which anything may stand. */
static inline size_t libc_length(size_t length)
{
	return libc_is_musl() ? (unsigned int)length : length;
}

typedef __typeof__(((struct msghdr *)0)->msg_iovlen) libc_count;
static inline size_t libc_pieces(const struct msghdr *msg)
{
	return libc_length((size_t)msg->msg_iovlen);
}

/* Prototypes that musl writes otherwise, and what its headers lack. */
#ifdef __GLIBC__
typedef unsigned long libc_request;
typedef int libc_flags;
#else
#if __SIZEOF_POINTER__ == 4
#error "musl for 32 bits: its functions of a 64-bit time_t have other names (__select_time64 ...)"
#endif
#include <sys/types.h>
#include <sys/uio.h>
struct epoll_event;
struct timespec;
typedef int libc_request;
typedef unsigned int libc_flags;
typedef union {
	struct sockaddr *restrict __sockaddr__;
} __SOCKADDR_ARG __attribute__((transparent_union));
typedef union {
	const struct sockaddr *restrict __sockaddr__;
} __CONST_SOCKADDR_ARG __attribute__((transparent_union));
typedef off_t off64_t;
int close_range(unsigned int first, unsigned int last, int flags);
void closefrom(int first);
int execveat(int fd, const char *path, char *const argv[], char *const envp[], int flags);
int epoll_pwait2(int epfd, struct epoll_event *events, int max, const struct timespec *timeout,
		 const sigset_t *mask);
ssize_t preadv2(int fd, const struct iovec *iov, int n, off_t offset, int flags);
ssize_t pwritev2(int fd, const struct iovec *iov, int n, off_t offset, int flags);
#ifndef RWF_NOWAIT
#define RWF_NOWAIT 8
#endif
#ifndef TCPI_OPT_SYN_DATA
#define TCPI_OPT_SYN_DATA 32
#endif
#ifndef SO_SNDTIMEO_OLD
#define SO_SNDTIMEO_OLD SO_SNDTIMEO
#define SO_SNDTIMEO_NEW 67
#endif
#endif

#endif

/* SPDX-License-Identifier: MIT */
/*
 * fastopen.h - programs that use Fast Open themselves: MSG_FASTOPEN, TCP_FASTOPEN_CONNECT.
 *
 * Their first data follows the Connect TLV at once (D10). The data is theirs: once the kernel has
 * taken a byte of it towards the converter, nothing falls back and nothing is sent twice.
 */
#ifndef CVT_FASTOPEN_H
#define CVT_FASTOPEN_H

#include "record.h"

/* Is the SYN of this pending descriptor left to the program's first write? */
bool fastopen_is_deferred(int fd);

/* A send with MSG_FASTOPEN in *flags, or the first write of a deferred one. True: *r is what the call
 * returns, with errno. Else libc's call goes on with *flags, on a descriptor that has to be looked at
 * again; errno is untouched. */
bool fastopen_message(int fd, const struct msghdr *msg, int *flags, ssize_t *r);
bool fastopen_buffer(int fd, const void *p, size_t n, int *flags, const struct sockaddr *sa,
		     socklen_t len, ssize_t *r);
/* sendfile() as the first write; as above. */
bool fastopen_file(int out, int in, int64_t *offset, size_t n, ssize_t *r);
/* For a first write whose data cannot go along: the SYN without it. flags: perhaps MSG_DONTWAIT. 0:
 * there is a connection, or nothing deferred any more; -EAGAIN: pending as any other; or -errno. */
int fastopen_start(int fd, int flags);

#endif

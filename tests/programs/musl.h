/* SPDX-License-Identifier: MIT */
/* For the clients that are built with musl: what it lacks, as programs make up for it. */
#include <spawn.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* common/text.c is included before this: in each object, of which the linker takes one */
#pragma weak errno_name
#define strerrorname_np errno_name
#pragma GCC diagnostic ignored "-Wsign-conversion" /* in its FD_SET() */

static inline int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *actions,
							   int first)
{
	int r = 0;

	for (int fd = first; fd < 256 && r == 0; fd++)
		r = posix_spawn_file_actions_addclose(actions, fd);
	return r;
}

static inline int epoll_pwait2(int epfd, struct epoll_event *events, int max,
			       const struct timespec *timeout, const sigset_t *mask)
{
	return (int)syscall(SYS_epoll_pwait2, epfd, events, max, timeout, mask, 8L);
}

static inline ssize_t preadv2(int fd, const struct iovec *iov, int n, off_t offset, int flags)
{
	return syscall(SYS_preadv2, fd, iov, n, (long)offset, (long)((int64_t)offset >> 32), flags);
}

static inline ssize_t pwritev2(int fd, const struct iovec *iov, int n, off_t offset, int flags)
{
	return syscall(SYS_pwritev2, fd, iov, n, (long)offset, (long)((int64_t)offset >> 32),
		       flags);
}

static inline int close_range(unsigned int first, unsigned int last, int flags)
{
	return (int)syscall(SYS_close_range, first, last, flags);
}

static inline void closefrom(int first)
{
	syscall(SYS_close_range, first, ~0U, 0);
}

/* In the padding of these, which glibc and the kernel take for a length's upper half, may stand anything. */
#if __SIZEOF_LONG__ == 8
static inline void poison(const struct msghdr *message)
{
	struct msghdr *m = (struct msghdr *)message;

	m->__pad1 = m->__pad2 = 0x55555555;
	for (struct cmsghdr *c = m->msg_control ? CMSG_FIRSTHDR(m) : NULL; c; c = CMSG_NXTHDR(m, c))
		c->__pad1 = 0x55555555;
}

static inline ssize_t poisoned_sendmsg(int fd, const struct msghdr *m, int flags)
{
	poison(m);
	return sendmsg(fd, m, flags);
}

static inline ssize_t poisoned_recvmsg(int fd, struct msghdr *m, int flags)
{
	if (m) {
		m->__pad1 = 0x55555555;
		m->__pad2 = 0x55555555;
	}
	return recvmsg(fd, m, flags);
}

static inline int poisoned_sendmmsg(int fd, struct mmsghdr *m, unsigned int n, unsigned int flags)
{
	for (unsigned int i = 0; i < n; i++)
		poison(&m[i].msg_hdr);
	return sendmmsg(fd, m, n, flags);
}

#define sendmsg	 poisoned_sendmsg
#define recvmsg	 poisoned_recvmsg
#define sendmmsg poisoned_sendmmsg
#endif

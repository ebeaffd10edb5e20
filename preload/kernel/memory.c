// SPDX-License-Identifier: MIT
#include "memory.h"

#include "real.h"

#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>

#define PAGE 4096

void *memory_map(size_t size, int how)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, how | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void *memory_place(_Atomic(void *) *at, size_t size, int how)
{
	void *there = atomic_load_explicit(at, memory_order_acquire), *mine;

	if (there || !(mine = memory_map(size, how)))
		return there;
	if (atomic_compare_exchange_strong(at, &there, mine))
		return mine;
	munmap(mine, size);
	return there;
}

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

/* A page by itself, which the kernel empties in a forked child. In a section by itself, too, or all of .bss would
 * begin with a new page. */
__attribute__((section(".sbss"))) struct memory_mark memory_mark;

void memory_own(void)
{
	int saved_errno = errno;

	if (memory_is_own())
		return;
	syscall(SYS_madvise, &memory_mark, sizeof(memory_mark), MADV_WIPEONFORK);
	errno = saved_errno;
	atomic_store(&memory_mark.set, true);
}

bool memory_adopt(void)
{
	return !atomic_exchange(&memory_mark.set, true);
}

/* The kernel copies the set in before it looks at what is to be done with it, and there is nothing
 * that ~0 means. A call that every program makes, so no seccomp filter is surprised. */
static bool is_there(uintptr_t p)
{
	long r = sys_result(syscall(SYS_rt_sigprocmask, ~0, p & ~(uintptr_t)7, NULL, _NSIG / 8));

	return r != -EFAULT;
}

/* Of this thread's own buffers. */
#define KNOWN 8
static __thread uintptr_t known_pages[KNOWN] __attribute__((tls_model("initial-exec")));

/* The same with four bytes only. Nobody has this number there, or waits for it no time at all. */
static bool is_word_there(uintptr_t p)
{
	static const struct timespec at_once = { 0 };
	long r = sys_result(syscall(SYS_futex, p & ~(uintptr_t)3, FUTEX_WAIT | FUTEX_PRIVATE_FLAG,
				    0x5ca1ab1e, &at_once, NULL, 0));

	return r != -EFAULT;
}

static bool was_there(uintptr_t p)
{
	uintptr_t page = p / PAGE;

	if (known_pages[page % KNOWN] == page)
		return true;
	if (!is_word_there(p))
		return false;
	known_pages[page % KNOWN] = page;
	return true;
}

static bool are_there(const void *p, size_t n, bool (*ask)(uintptr_t))
{
	uintptr_t at = (uintptr_t)p, last = at + n - 1;
	int saved_errno = errno;
	bool ok = n == 0 || (!memory_is_absurd(p) && last >= at); /* the call allows NULL */

	while (ok && n && at <= last) {
		ok = ask(at);
		at = (at & ~(uintptr_t)(PAGE - 1)) + PAGE;
		if (at == 0)
			break;
	}
	errno = saved_errno;
	return ok;
}

/* memory_was_readable(), of now: no page is believed. */
static bool is_readable(const void *p, size_t n)
{
	return are_there(p, n, is_there);
}

bool memory_was_readable(const void *p, size_t n)
{
	return are_there(p, n, was_there);
}

bool memory_was_array(const void *p, size_t n, size_t size)
{
	size_t step = PAGE / size;
	bool ok = n <= SIZE_MAX / size;

	for (size_t i = 0; ok && i < n; i += step)
		ok = memory_was_readable((const char *)p + i * size, 1);
	return ok && (n == 0 || memory_was_readable((const char *)p + (n - 1) * size, 1));
}

/* With room for nothing readv() and writev() are done. */
bool memory_settles_vector(const struct iovec *iov, int n)
{
	bool empty = true;

	if (n <= 0 || n > IOV_MAX || !is_readable(iov, (size_t)n * sizeof(*iov)))
		return true;
	for (int i = 0; i < n; i++) {
		if (iov[i].iov_len > SSIZE_MAX)
			return true;
		empty &= iov[i].iov_len == 0;
	}
	return empty;
}

bool memory_settles_message(const struct msghdr *msg)
{
	if (!is_readable(msg, sizeof(*msg)))
		return true;
	if ((int)msg->msg_namelen < 0 || libc_pieces(msg) > IOV_MAX)
		return true;
	return !is_readable(msg->msg_iov, libc_pieces(msg) * sizeof(*msg->msg_iov));
}

bool memory_settles_messages(const struct mmsghdr *msgs, unsigned int n)
{
	return n == 0 || !is_readable(msgs, sizeof(*msgs)) ||
	       memory_settles_message(&msgs->msg_hdr);
}

bool memory_settles_address(const struct sockaddr *sa, socklen_t len)
{
	return sa && (len > sizeof(struct sockaddr_storage) || !is_readable(sa, len));
}

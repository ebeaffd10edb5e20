// SPDX-License-Identifier: MIT
/*
 * Loaded behind the library under qemu-user, which does not know SO_COOKIE (EINVAL), and without which the
 * library leaves every socket alone: the inode of a socket is no worse, where none is made again so soon.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

typedef long call(long number, long a, long b, long c, long d, long e, long f);

long emulated(long number, long a, long b, long c, long d, long e, long f) __asm__("syscall")
	__attribute__((visibility("default")));

long emulated(long number, long a, long b, long c, long d, long e, long f)
{
	static call *next;
	struct stat st;
	uint64_t cookie;
	void *symbol;

	if (!next) {
		symbol = dlsym(RTLD_NEXT, "syscall");
		memcpy(&next, &symbol, sizeof(symbol));
	}
	if (number != SYS_getsockopt || b != SOL_SOCKET || c != SO_COOKIE)
		return next(number, a, b, c, d, e, f);
	if (fstat((int)a, &st) < 0)
		return -1;
	if (!S_ISSOCK(st.st_mode)) {
		errno = ENOTSOCK;
		return -1;
	}
	cookie = st.st_ino;
	/* NOLINTNEXTLINE(performance-no-int-to-ptr) a system call has numbers */
	memcpy((void *)d, &cookie, sizeof(cookie));
	return 0;
}

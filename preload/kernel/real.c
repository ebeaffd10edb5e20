// SPDX-License-Identifier: MIT
#include "real.h"

#include <dlfcn.h>
#include <features.h>
#include <string.h>

struct real real;
#if NARROW
struct real_narrow real_narrow;
#endif
bool real_waits_are_libcs;

/* dlsym() returns an object pointer; POSIX makes the conversion to a function valid, and
 * memcpy() does it without a cast that compilers complain about. */
static void next(void *function, const char *name)
{
	void *symbol = dlsym(RTLD_NEXT, name);

	memcpy(function, &symbol, sizeof(symbol));
}

#ifdef DLFO_STRUCT_HAS_EH_DBASE /* of glibc 2.35 and later */
#include <gnu/libc-version.h>

#pragma weak _dl_find_object
#pragma weak gnu_get_libc_version

static struct link_map *object_of(const void *function)
{
	struct dl_find_object found = { .dlfo_link_map = NULL };
	void *address;

	memcpy(&address, function, sizeof(address));
	return _dl_find_object && _dl_find_object(address, &found) == 0 ? found.dlfo_link_map :
									  NULL;
}

static bool waits_are_libcs(void)
{
	const char *(*libcs)(void) = gnu_get_libc_version; /* nobody stands before that */
	const struct link_map *libc = object_of(&libcs);

	return libc && object_of(&real.poll) == libc && object_of(&real.ppoll) == libc &&
	       object_of(&real.epoll_wait) == libc && object_of(&real.epoll_pwait) == libc &&
	       object_of(&real.epoll_pwait2) == libc;
}
#else
static bool waits_are_libcs(void)
{
	return false;
}
#endif

static long syscall_before_start(long number, long a, long b, long c, long d, long e, long f)
{
	real_init();
	return real_syscall(number, a, b, c, d, e, f);
}

long (*real_syscall)(long number, long a, long b, long c, long d, long e,
		     long f) = syscall_before_start;

void real_init(void)
{
#define NEXT(name)		next(&real.name, #name);
#define NEXT_WIDE(name, second) next(&real.name, NARROW ? (second) : #name);
	REAL_NAMES(NEXT)
	REAL_WIDE_NAMES(NEXT_WIDE)
#if NARROW
	next(&real_narrow.ppoll, "ppoll");
	next(&real_narrow.select, "select");
	next(&real_narrow.pselect, "pselect");
	next(&real_narrow.recvmsg, "recvmsg");
	next(&real_narrow.recvmmsg, "recvmmsg");
	next(&real_narrow.sendfile, "sendfile");
	next(&real_narrow.fcntl, "fcntl");
#endif
#undef NEXT
	next(&real_syscall, "syscall");
	libc_complete(&real);
	real_waits_are_libcs = waits_are_libcs();
}

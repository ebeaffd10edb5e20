// SPDX-License-Identifier: MIT
#include "real.h"

#include <dlfcn.h>
#include <link.h>
#include <string.h>

struct real real WRITTEN;
#if NARROW
struct real_narrow real_narrow;
#endif
bool real_waits_are_libcs WRITTEN;

/* Which has the function that the pointer there leads to. NULL: the loader does not say (before glibc 2.35; musl). */
AT_START static struct link_map *object_of(const void *function)
{
#ifdef DLFO_STRUCT_HAS_EH_DBASE
#pragma weak _dl_find_object
	struct dl_find_object found = { .dlfo_link_map = NULL };
	void *address;

	memcpy(&address, function, sizeof(address));
	if (_dl_find_object && _dl_find_object(address, &found) == 0)
		return found.dlfo_link_map;
#endif
	(void)function;
	return NULL;
}

__attribute__((weak)) const char *gnu_get_libc_version(void);

AT_START static bool waits_are_libcs(void)
{
	const char *(*libcs)(void) = gnu_get_libc_version; /* nobody stands before that */
	const struct link_map *libc = object_of(&libcs);

	return libc && object_of(&real.poll) == libc && object_of(&real.ppoll) == libc &&
	       object_of(&real.epoll_wait) == libc && object_of(&real.epoll_pwait) == libc &&
	       object_of(&real.epoll_pwait2) == libc;
}

/* ------------------------------------------------------------------ what stands behind ours */

/* In the order of struct real. */
static char names[] WRITTEN =
#define NAME(name) #name "\0"
#if NARROW
#define WIDE_NAME(name, second) second "\0"
#else
#define WIDE_NAME(name, second) #name "\0"
#endif
	REAL_NAMES(NAME) REAL_WIDE_NAMES(WIDE_NAME);
#undef NAME
#undef WIDE_NAME

enum { NAMES = sizeof(real) / sizeof(void *) };

struct object {
	const struct link_map *map;
	/* clang-format off */
	const ElfW(Sym) *symbols;
	const ElfW(Half) *versions;
	/* clang-format on */
	const char *strings;
	const uint32_t *hash;
};

/* NOLINTBEGIN(performance-no-int-to-ptr) the loader has them as numbers */

/* Its tables. Some loaders leave the addresses of some objects as they are in the file. */
AT_START static bool open_object(struct object *o, const struct link_map *map)
{
	*o = (struct object){ .map = map };
	for (const ElfW(Dyn) *d = map->l_ld; d->d_tag != DT_NULL; d++) {
		uintptr_t address = d->d_un.d_ptr;

		if (address < map->l_addr)
			address += map->l_addr;
		if (d->d_tag == DT_SYMTAB)
			o->symbols = (const void *)address;
		else if (d->d_tag == DT_STRTAB)
			o->strings = (const void *)address;
		else if (d->d_tag == DT_VERSYM)
			o->versions = (const void *)address;
		else if (d->d_tag == DT_GNU_HASH)
			o->hash = (const void *)address;
	}
	return o->symbols && o->strings && o->hash && o->hash[0] && o->hash[2];
}

/* Is that the definition that somebody gets who asks for no version? */
AT_START static bool is_default(const struct object *o, uint32_t i)
{
	return o->symbols[i].st_shndx != SHN_UNDEF && (!o->versions || o->versions[i] < 0x8002);
}

AT_START static void *look_up(const struct object *o, const char *name, uint32_t hash)
{
	/* words: a power of two */
	const uint32_t n = o->hash[0], first = o->hash[1], words = o->hash[2];
	const ElfW(Addr) *filter = (const void *)(o->hash + 4);
	const uint32_t *buckets = (const void *)(filter + words), *chain = buckets + n - first;
	const uint32_t bits = 8 * sizeof(*filter);
	ElfW(Addr) word = filter[hash / bits & (words - 1)];
	uint32_t i = buckets[hash % n];

	if (!(word >> hash % bits & word >> (hash >> o->hash[3]) % bits & 1) || i < first)
		return NULL;
	for (;; i++) {
		const ElfW(Sym) *symbol = &o->symbols[i];

		if ((chain[i] | 1) == (hash | 1) && is_default(o, i) &&
		    strcmp(o->strings + symbol->st_name, name) == 0)
			return ELF64_ST_TYPE(symbol->st_info) == STT_FUNC ?
				       (void *)(o->map->l_addr + symbol->st_value) :
				       dlsym(RTLD_NEXT, name);
		if (chain[i] & 1)
			return NULL;
	}
}

/* NOLINTEND(performance-no-int-to-ptr) */

/*
 * As dlsym(RTLD_NEXT) does it, which is most of what a process that never opens a socket would pay for the
 * library: that takes locks, catches errors and reads the tables of each object anew for each name. This runs
 * before the program, in whose scope is what has been loaded by now.
 */
AT_START static void find_all(void **pointers)
{
	const struct real *ours = &real;
	const struct link_map *map = object_of(&ours);
	const char *wanted[NAMES], *name = names;
	uint32_t hashes[NAMES];
	int missing = NAMES;
	struct object o;

	for (int i = 0; i < NAMES; i++, name++) {
		wanted[i] = name;
		for (hashes[i] = 5381; *name; name++)
			hashes[i] = hashes[i] * 33 + (unsigned char)*name;
	}
	while (missing && map && (map = map->l_next) && open_object(&o, map))
		for (int i = 0; i < NAMES; i++)
			if (!pointers[i] && (pointers[i] = look_up(&o, wanted[i], hashes[i])))
				missing--;
	for (int i = 0; missing && i < NAMES; i++)
		if (!pointers[i])
			pointers[i] = dlsym(RTLD_NEXT, wanted[i]);
}

static long syscall_before_start(long number, long a, long b, long c, long d, long e, long f)
{
	real_init();
	return real_syscall(number, a, b, c, d, e, f);
}

long (*real_syscall)(long number, long a, long b, long c, long d, long e,
		     long f) = syscall_before_start;

AT_START void real_init(void)
{
	find_all((void **)&real);
#if NARROW
#define NEXT(name) (real_narrow.name = (__typeof__(real_narrow.name))dlsym(RTLD_NEXT, #name))
	NEXT(ppoll);
	NEXT(select);
	NEXT(pselect);
	NEXT(recvmsg);
	NEXT(recvmmsg);
	NEXT(sendfile);
	NEXT(fcntl);
#undef NEXT
#endif
	memcpy(&real_syscall, &real.syscall, sizeof(real_syscall));
	libc_complete(&real);
	real_waits_are_libcs = waits_are_libcs();
}

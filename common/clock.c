// SPDX-License-Identifier: MIT
#include "clock.h"

#include <elf.h>
#include <errno.h>
#include <link.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ------------------------------------------------------------------------ the kernel's library */

/* Addresses in the image, made into offsets, which every read is checked with. */
struct image {
	const uint8_t *bytes;
	size_t size;
	uint64_t first; /* the address of byte 0: not 0 in older kernels */
};

struct tables {
	uint64_t symbols, strings, strings_size, sysv_hash, gnu_hash; /* addresses; 0: none */
};

static bool get(const struct image *m, uint64_t at, void *into, size_t n)
{
	if (at > m->size || n > m->size - at)
		return false;
	memcpy(into, m->bytes + at, n);
	return true;
}

static bool get_at(const struct image *m, uint64_t address, void *into, size_t n)
{
	return get(m, address - m->first, into, n);
}

static bool is_ours(const ElfW(Ehdr) * h)
{
	return memcmp(h->e_ident, ELFMAG, SELFMAG) == 0 &&
	       h->e_ident[EI_CLASS] == (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32) &&
	       h->e_phentsize == sizeof(ElfW(Phdr));
}

/* Sets where the image begins and how much of it there is. Returns the offset of the dynamic section,
 * 0 if it has none. */
static uint64_t find_dynamic(struct image *m)
{
	bool loaded = false;
	uint64_t dynamic = 0;
	ElfW(Ehdr) h;
	ElfW(Phdr) p;

	if (!get(m, 0, &h, sizeof(h)) || !is_ours(&h))
		return 0;
	for (unsigned int i = 0; i < h.e_phnum; i++) {
		if (!get(m, h.e_phoff + (uint64_t)i * sizeof(p), &p, sizeof(p)))
			return 0;
		if (p.p_type == PT_DYNAMIC)
			dynamic = p.p_offset;
		if (p.p_type != PT_LOAD || loaded)
			continue;
		loaded = true;
		m->first = p.p_vaddr - p.p_offset;
		if (p.p_filesz < m->size - p.p_offset && p.p_offset < m->size)
			m->size = p.p_offset + p.p_filesz;
	}
	return loaded ? dynamic : 0;
}

static void find_tables(const struct image *m, uint64_t dynamic, struct tables *t)
{
	ElfW(Dyn) d;

	for (; get(m, dynamic, &d, sizeof(d)) && d.d_tag != DT_NULL; dynamic += sizeof(d)) {
		if (d.d_tag == DT_SYMTAB)
			t->symbols = d.d_un.d_ptr;
		else if (d.d_tag == DT_STRTAB)
			t->strings = d.d_un.d_ptr;
		else if (d.d_tag == DT_STRSZ)
			t->strings_size = d.d_un.d_val;
		else if (d.d_tag == DT_HASH)
			t->sysv_hash = d.d_un.d_ptr;
		else if (d.d_tag == DT_GNU_HASH)
			t->gnu_hash = d.d_un.d_ptr;
	}
}

/* GNU's table has no number of symbols; the chain that begins last ends with the last one. */
static uint64_t count_by_gnu_hash(const struct image *m, uint64_t at)
{
	uint32_t head[4], bucket, last = 0,
				  hash = 0; /* buckets, first symbol, words of the filter */
	uint64_t buckets;

	if (!get_at(m, at, head, sizeof(head)))
		return 0;
	buckets = at + sizeof(head) + (uint64_t)head[2] * sizeof(ElfW(Addr));
	for (uint32_t i = 0; i < head[0]; i++) {
		if (!get_at(m, buckets + (uint64_t)i * 4, &bucket, 4))
			return 0;
		if (bucket > last)
			last = bucket;
	}
	if (last < head[1])
		return 0;
	for (; !(hash & 1); last++)
		if (!get_at(m, buckets + ((uint64_t)head[0] + last - head[1]) * 4, &hash, 4))
			return 0;
	return last;
}

static uint64_t count_symbols(const struct image *m, const struct tables *t)
{
	uint32_t head[2]; /* buckets, symbols */

	if (t->gnu_hash) /* the other's words are wider on some machines */
		return count_by_gnu_hash(m, t->gnu_hash);
	return t->sysv_hash && get_at(m, t->sysv_hash, head, sizeof(head)) ? head[1] : 0;
}

static bool is_named(const struct image *m, const struct tables *t, uint64_t at, const char *name)
{
	size_t len = strlen(name) + 1;
	uint64_t offset = t->strings + at - m->first;

	return at < t->strings_size && offset < m->size && len <= m->size - offset &&
	       memcmp(m->bytes + offset, name, len) == 0;
}

const void *vdso_find(const uint8_t *image, size_t size, const char *name)
{
	struct image m = { .bytes = image, .size = size };
	uint64_t dynamic = find_dynamic(&m), count;
	struct tables t = { 0 };
	ElfW(Sym) s;

	if (!dynamic)
		return NULL;
	find_tables(&m, dynamic, &t);
	count = t.symbols && t.strings ? count_symbols(&m, &t) : 0;
	for (uint64_t i = 1; i < count; i++) {
		if (!get_at(&m, t.symbols + i * sizeof(s), &s, sizeof(s)))
			return NULL;
		if (s.st_shndx == SHN_UNDEF || (s.st_info & 15) != STT_FUNC ||
		    !is_named(&m, &t, s.st_name, name))
			continue;
		return s.st_value - m.first < m.size ? image + (s.st_value - m.first) : NULL;
	}
	return NULL;
}

/* ---------------------------------------------------------------------------------- the clock */

typedef int clock_fn(clockid_t clock, struct clock_time *t);

static int by_system_call(clockid_t clock, struct clock_time *t)
{
	int saved_errno = errno, r;
#ifdef SYS_clock_gettime64 /* a machine of 32 bits */
	long narrow[2] = { 0, 0 };

	r = (int)syscall(SYS_clock_gettime64, clock, t);
	if (r < 0) { /* before Linux 5.1 */
		r = (int)syscall(SYS_clock_gettime, clock, narrow);
		*t = (struct clock_time){ narrow[0], narrow[1] };
	}
#else
	r = (int)syscall(SYS_clock_gettime, clock, t);
#endif
	errno = saved_errno;
	return r;
}

/* How much there is of it, nobody says but itself; one page there is. */
static size_t size_of(const uint8_t *image)
{
	const size_t least = 4096;
	size_t size = least;
	ElfW(Ehdr) h;
	ElfW(Phdr) p;

	memcpy(&h, image, sizeof(h));
	for (size_t i = 0; i < h.e_phnum && h.e_phoff + (i + 1) * sizeof(p) <= least; i++) {
		memcpy(&p, image + h.e_phoff + i * sizeof(p), sizeof(p));
		if (p.p_type == PT_LOAD && p.p_offset + p.p_filesz > size)
			size = p.p_offset + p.p_filesz;
	}
	return size;
}

/* None: as under valgrind. PowerPC's is not to be called as a function of C. */
static const void *in_vdso(void)
{
	static const char *const names[] = {
#ifdef SYS_clock_gettime64
		"__vdso_clock_gettime64",
#elif !defined(__powerpc__)
		"__vdso_clock_gettime", "__kernel_clock_gettime", /* aarch64, s390x */
#else
		"",
#endif
	};
	int saved_errno = errno;
	uintptr_t address = getauxval(AT_SYSINFO_EHDR);
	const void *found = NULL;
	const uint8_t *image;

	memcpy(&image, &address, sizeof(image)); /* a number is what the kernel gives */
	errno = saved_errno;
	for (size_t i = 0; image && !found && i < sizeof(names) / sizeof(names[0]); i++)
		found = vdso_find(image, size_of(image), names[i]);
	return found;
}

static clock_fn look_for_it;
static clock_fn *_Atomic look_at = look_for_it;

/* Whoever comes here finds the same. */
static int look_for_it(clockid_t clock, struct clock_time *t)
{
	const void *found = in_vdso();
	clock_fn *fn = by_system_call;

	if (found) /* POSIX makes such a conversion valid, C does not */
		memcpy(&fn, &found, sizeof(found));
	/* relaxed: what it points to was there before the program */
	atomic_store_explicit(&look_at, fn, memory_order_relaxed);
	return fn(clock, t);
}

struct clock_time clock_read(clockid_t clock)
{
	struct clock_time t = { 0, 0 };

	atomic_load_explicit(&look_at, memory_order_relaxed)(clock, &t);
	return t;
}

int64_t clock_ns(clockid_t clock)
{
	struct clock_time t = clock_read(clock);

	return t.s * 1000000000 + t.ns;
}

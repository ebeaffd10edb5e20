// SPDX-License-Identifier: MIT
/* The kernel's clock, found in the kernel's own library: the right function, and nothing outside of the
 * image is ever read. */
#include "clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Two of its names where there is one at all. */
#if defined(__aarch64__) || defined(__s390x__)
#define GETTIME "__kernel_clock_gettime"
#define GETRES	"__kernel_clock_getres"
#elif __SIZEOF_POINTER__ == 4
#define GETTIME "__vdso_clock_gettime64"
#define GETRES	"__vdso_clock_gettime"
#else
#define GETTIME "__vdso_clock_gettime"
#define GETRES	"__vdso_clock_getres"
#endif

#define ROOM 65536

static const uint8_t *vdso;
static size_t vdso_size;
static uint8_t *end; /* of a room behind which nothing may be read */

static int64_t by_system_call(clockid_t clock)
{
	struct timespec t;

	assert_int_equal(syscall(SYS_clock_gettime, clock, &t), 0);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void test_agrees_with_the_system_call(void **state)
{
	const clockid_t clocks[] = { CLOCK_MONOTONIC, CLOCK_REALTIME };

	(void)state;
	errno = EDOM;
	for (size_t i = 0; i < 200; i++) {
		int64_t before = by_system_call(clocks[i % 2]), now = clock_ns(clocks[i % 2]);

		assert_in_range(now, before, by_system_call(clocks[i % 2]));
	}
	assert_int_equal(errno, EDOM);
}

static void test_is_where_the_loader_finds_it(void **state)
{
	void *handle = dlopen("linux-vdso.so.1", RTLD_LAZY | RTLD_NOLOAD);

	(void)state;
	if (!vdso || !handle) {
		skip(); /* under valgrind, or a libc that does not list it */
		return;
	}
	assert_non_null(vdso_find(vdso, vdso_size, GETTIME));
	assert_ptr_equal(vdso_find(vdso, vdso_size, GETTIME), dlsym(handle, GETTIME));
	assert_ptr_equal(vdso_find(vdso, vdso_size, GETRES), dlsym(handle, GETRES));
	assert_null(vdso_find(vdso, vdso_size, "__vdso_clock"));
	assert_null(vdso_find(vdso, vdso_size, ""));
	dlclose(handle);
}

/* The image, ending where nothing may be read. */
static uint8_t *copy(size_t size)
{
	if (!vdso) /* whoever calls this has looked */
		abort();
	return memcpy(end - size, vdso, size);
}

static bool is_inside(const void *found, const uint8_t *image, size_t size)
{
	return !found || ((const uint8_t *)found >= image && (const uint8_t *)found < image + size);
}

static void test_cut_short(void **state)
{
	(void)state;
	assert_null(vdso_find(end, 0, GETTIME));
	if (!vdso)
		skip();
	for (size_t size = 0; size < vdso_size; size += size < 1024 ? 1 : 61) {
		const uint8_t *image = copy(size);

		assert_true(is_inside(vdso_find(image, size, GETTIME), image, size));
	}
}

static void test_damaged(void **state)
{
	(void)state;
	if (!vdso)
		skip();
	srandom(1);
	for (int round = 0; round < 20000; round++) {
		uint8_t *image = copy(vdso_size);

		/* most of what matters is at the beginning */
		for (int i = 0; i < 1 + round % 8; i++)
			image[(size_t)random() % (i % 2 ? vdso_size : 2048)] = (uint8_t)random();
		assert_true(is_inside(vdso_find(image, vdso_size, GETTIME), image, vdso_size));
	}
}

/* Words of the dynamic section: each of its tables somewhere else, and where it almost is. */
static void test_damaged_tables(void **state)
{
	static const uint64_t wrong[] = { 0,	      1,	  4095,
					  4096,	      UINT64_MAX, UINT64_MAX - 7,
					  1ULL << 63, 1ULL << 31, UINT32_MAX };

	(void)state;
	if (!vdso)
		skip();
	for (size_t at = 0; at < 4096 && at + 8 <= vdso_size; at += 4)
		for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
			uint8_t *image = copy(vdso_size);

			memcpy(image + at, &wrong[i], i % 2 ? 8 : 4);
			assert_true(
				is_inside(vdso_find(image, vdso_size, GETTIME), image, vdso_size));
		}
}

/* Either table of names will do: kernels have left out the one or the other. */
static void test_one_hash_table(void **state)
{
	const int64_t tags[] = { DT_HASH, DT_GNU_HASH };
	const ElfW(Ehdr) *h = (const void *)vdso;
	bool had = false;

	(void)state;
	if (!vdso)
		skip();
	for (size_t i = 0; i < 2; i++) {
		uint8_t *image = copy(vdso_size);
		const ElfW(Phdr) *p = (const void *)(image + h->e_phoff);
		bool found = false;
		ElfW(Dyn) * d;

		while (p->p_type != PT_DYNAMIC)
			p++;
		for (d = (void *)(image + p->p_offset); d->d_tag != DT_NULL; d++)
			if (d->d_tag == tags[i])
				found = true;
			else if (d->d_tag == tags[1 - i])
				d->d_tag = DT_DEBUG;
		had |= found;
		assert_int_equal(vdso_find(image, vdso_size, GETTIME) != NULL, found);
	}
	assert_true(had);
}

static int set_up(void **state)
{
	uint8_t *room = mmap(NULL, ROOM + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			     -1, 0);

	(void)state;
	/* NOLINTNEXTLINE(performance-no-int-to-ptr) */
	vdso = (const uint8_t *)getauxval(AT_SYSINFO_EHDR);
	if (vdso) { /* whole pages, of which the last has the sections' headers */
		const ElfW(Ehdr) *h = (const void *)vdso;

		vdso_size = h->e_shoff + (size_t)h->e_shnum * h->e_shentsize;
	}
	end = room + ROOM;
	return room == MAP_FAILED || vdso_size > ROOM || mprotect(end, 4096, PROT_NONE) ? -1 : 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_agrees_with_the_system_call),
		cmocka_unit_test(test_is_where_the_loader_finds_it),
		cmocka_unit_test(test_cut_short),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_damaged_tables),
		cmocka_unit_test(test_one_hash_table),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}

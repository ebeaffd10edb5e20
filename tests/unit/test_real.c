// SPDX-License-Identifier: MIT
/* What stands behind ours is found without dlsym(), and is what dlsym() finds. */
#include "real.c" /* NOLINT(bugprone-suspicious-include) */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

void *__real_dlsym(void *restrict handle, const char *restrict name);
void *__wrap_dlsym(void *restrict handle, const char *restrict name);

static unsigned int asked;

/* A sanitizer asks, too, before there is anything that it could count in. */
#if defined(__has_attribute)
#if __has_attribute(disable_sanitizer_instrumentation)
__attribute__((disable_sanitizer_instrumentation))
#endif
#endif
void *
__wrap_dlsym(void *restrict handle, const char *restrict name)
{
	asked++;
	return __real_dlsym(handle, name);
}

static uint32_t hash_of(const char *name)
{
	uint32_t hash = 5381;

	for (; *name; name++)
		hash = hash * 33 + (unsigned char)*name;
	return hash;
}

static const struct link_map *libc_map(void)
{
	const struct link_map *map = dlopen(NULL, RTLD_NOW);

	while (!strstr(map->l_name, "/libc.so.6"))
		map = map->l_next;
	return map;
}

static void test_names(void **state)
{
	struct real found = { 0 };
	void **pointers = (void **)&found;
	const char *name = names;

	(void)state;
	asked = 0; /* a sanitizer that is linked in has asked for hundreds */
	find_all(pointers);
#ifdef DLFO_STRUCT_HAS_EH_DBASE
	assert_int_equal(asked, 0);
#endif
	real_init();
	for (int i = 0; i < NAMES; i++, name += strlen(name) + 1) {
		void *next = __real_dlsym(RTLD_NEXT, name);

		assert_ptr_equal(((void **)&real)[i], next);
#ifdef DLFO_STRUCT_HAS_EH_DBASE
		assert_ptr_equal(pointers[i], next);
#endif
	}
	assert_string_equal(name, "");
	assert_ptr_equal(*(void **)&real_syscall, __real_dlsym(RTLD_NEXT, "syscall"));
}

/* Its tables. */
static struct object opened(const struct link_map *map)
{
	struct object o;

	if (!open_object(&o, map))
		abort();
	return o;
}

/* All functions that libc has, in whatever versions. */
static void test_libc(void **state)
{
	const struct link_map *map = libc_map();
	unsigned int functions = 0, old = 0;
	void *handle = dlopen(map->l_name, RTLD_NOW | RTLD_NOLOAD);
	uint32_t i, last = 0;
	struct object o;

	(void)state;
	o = opened(map);
	for (i = 0; i < o.hash[0]; i++) {
		uint32_t begin = ((const uint32_t *)((const ElfW(Addr) *)(o.hash + 4) +
						     o.hash[2]))[i];

		last = begin > last ? begin : last;
	}
	for (i = o.hash[1]; i <= last; i++) {
		const char *name = o.strings + o.symbols[i].st_name;
		char other[256];

		if (ELF64_ST_TYPE(o.symbols[i].st_info) != STT_FUNC)
			continue;
		old += !is_default(&o, i);
		functions++;
		assert_ptr_equal(look_up(&o, name, hash_of(name)), __real_dlsym(handle, name));
		snprintf(other, sizeof(other), "%s~", name);
		assert_null(look_up(&o, other, hash_of(other)));
		assert_null(look_up(&o, other, hash_of(name))); /* the hash alone says nothing */
	}
	assert_in_range(functions, 1000, 100000);
	assert_in_range(old, 10, functions);
}

/* What is there by an indirect function is the loader's to find out. */
static void test_indirect(void **state)
{
	struct object o;

	(void)state;
	o = opened(libc_map());
	asked = 0;
	assert_ptr_equal(look_up(&o, "strlen", hash_of("strlen")),
			 __real_dlsym(RTLD_NEXT, "strlen"));
#if defined(__x86_64__) || defined(__i386__)
	assert_int_equal(asked, 1);
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_libc),
		cmocka_unit_test(test_indirect),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

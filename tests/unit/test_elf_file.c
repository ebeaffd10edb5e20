// SPDX-License-Identifier: MIT
/* The reader of ELF files: both word sizes and byte orders, and a file with any one thing wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <elf.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "elf_file.h"

#define LOADER "/lib/ld.so"

/* A program of three segments: the loader's name, the dynamic section, and all of the file. */
struct image {
	uint8_t bytes[1024];
	size_t len;
	unsigned int bits;
	bool is_big;
	size_t header, segment, word; /* sizes */
	size_t loader, dynamic, names, n_segments;
};

static struct image im;

static void put(size_t at, uint64_t value, size_t size)
{
	for (size_t i = 0; i < size; i++)
		im.bytes[at + (im.is_big ? size - 1 - i : i)] = (uint8_t)(value >> 8 * i);
	if (at + size > im.len)
		im.len = at + size;
}

static void put_segment(uint32_t type, uint64_t at, uint64_t len)
{
	const size_t h = im.header + im.n_segments++ * im.segment;

	put(h, type, 4);
	if (im.bits == 32) {
		put(h + 4, at, 4);
		put(h + 8, at, 4);
		put(h + 16, len, 4);
	} else {
		put(h + 8, at, 8);
		put(h + 16, at, 8);
		put(h + 32, len, 8);
	}
	put(im.bits == 32 ? 44 : 56, im.n_segments, 2);
}

static void put_tag(size_t n, uint64_t tag, uint64_t value)
{
	put(im.dynamic + 2 * n * im.word, tag, im.word);
	put(im.dynamic + (2 * n + 1) * im.word, value, im.word);
}

static void make(unsigned int bits, bool is_big)
{
	memset(&im, 0, sizeof(im));
	im.bits = bits;
	im.is_big = is_big;
	im.header = bits == 32 ? sizeof(Elf32_Ehdr) : sizeof(Elf64_Ehdr);
	im.segment = bits == 32 ? sizeof(Elf32_Phdr) : sizeof(Elf64_Phdr);
	im.word = bits / 8;
	im.loader = 400;
	im.dynamic = 480;
	im.names = 640;
	memcpy(im.bytes, ELFMAG, SELFMAG);
	put(EI_CLASS, bits / 32, 1);
	put(EI_DATA, is_big ? ELFDATA2MSB : ELFDATA2LSB, 1);
	put(16, ET_DYN, 2);
	put(18, EM_S390, 2);
	put(bits == 32 ? 28 : 32, im.header, im.word);
	put(bits == 32 ? 42 : 54, im.segment, 2);
	memcpy(im.bytes + im.loader, LOADER, sizeof(LOADER));
	memcpy(im.bytes + im.names, "\0liburing.so.2", 15);
	im.len = 700;
	put_segment(PT_INTERP, im.loader, sizeof(LOADER));
	put_segment(PT_DYNAMIC, im.dynamic, 8 * im.word);
	put_segment(PT_LOAD, 0, im.len);
	put_tag(0, DT_STRTAB, im.names);
	put_tag(1, DT_FLAGS_1, DF_1_PIE);
	put_tag(2, DT_NEEDED, 1);
}

/* From a buffer of exactly that size, so that a sanitizer sees a byte too far. */
static const char *read_len(struct elf_file *elf, size_t len)
{
	uint8_t *exact = malloc(len ? len : 1);
	const char *wrong;

	assert_non_null(exact);
	memcpy(exact, im.bytes, len);
	wrong = elf_read(elf, exact, len);
	free(exact);
	return wrong;
}

static const char *read_image(struct elf_file *elf)
{
	return read_len(elf, im.len);
}

static void each_kind(void (*test)(void))
{
	for (unsigned int kind = 0; kind < 4; kind++) {
		make(kind & 1 ? 32 : 64, kind & 2);
		test();
	}
}

static void check_whole(void)
{
	struct elf_file elf;

	assert_null(read_image(&elf));
	assert_int_equal(elf.bits, im.bits);
	assert_int_equal(elf.is_big_endian, im.is_big);
	assert_int_equal(elf.machine, EM_S390);
	assert_int_equal(elf.type, ET_DYN);
	assert_string_equal(elf.interpreter, LOADER);
	assert_true(elf.is_dynamic && elf.is_pie && elf.needs_uring);
	assert_false(elf.is_go || elf.has_symbols);
}

static void a_whole_one(void **state)
{
	(void)state;
	each_kind(check_whole);
}

/* Every byte counts that a segment is made of, and none before it is missed. */
static void check_cut(void)
{
	struct elf_file elf;

	for (size_t len = 0; len < im.len; len++)
		assert_non_null(read_len(&elf, len));
}

static void cut_anywhere(void **state)
{
	(void)state;
	each_kind(check_cut);
}

/* No value of any byte, and no byte as large as can be, leads outside (the sanitizers' business). */
static void check_damage(void)
{
	struct elf_file elf;

	for (size_t at = 0; at < im.len; at++) {
		const uint8_t was = im.bytes[at];

		for (unsigned int value = 0; value < 256; value += value < 4 ? 1 : 63) {
			im.bytes[at] = (uint8_t)value;
			read_image(&elf);
			assert_non_null(memchr(elf.interpreter, '\0', sizeof(elf.interpreter)));
		}
		im.bytes[at] = was;
	}
}

static void damaged_anywhere(void **state)
{
	(void)state;
	each_kind(check_damage);
}

static void check_loader(void)
{
	struct elf_file elf;

	memset(im.bytes + im.loader, 'x', sizeof(LOADER)); /* no end */
	assert_string_equal(read_image(&elf), "the name of its loader has no end");
	assert_string_equal(elf.interpreter, "");
}

static void a_loader_without_an_end(void **state)
{
	(void)state;
	each_kind(check_loader);
}

/* The kernel takes the first, and so do we. */
static void check_two_loaders(void)
{
	struct elf_file elf;

	memcpy(im.bytes + im.loader + 32, "/other", 7);
	put_segment(PT_INTERP, im.loader + 32, 7);
	assert_null(read_image(&elf));
	assert_string_equal(elf.interpreter, LOADER);
}

static void two_loaders(void **state)
{
	(void)state;
	each_kind(check_two_loaders);
}

/* Names at an address that nothing is loaded at are none. */
static void check_names(void)
{
	struct elf_file elf;

	put_tag(0, DT_STRTAB, 0x70000000);
	assert_null(read_image(&elf));
	assert_false(elf.needs_uring);
}

static void names_that_are_nowhere(void **state)
{
	(void)state;
	each_kind(check_names);
}

static void check_note(void)
{
	struct elf_file elf;

	put(700, 4, 4);
	put(704, 4, 4);
	put(708, 4, 4);
	memcpy(im.bytes + 712, "Go", 3);
	put(716, 0, 4);
	put_segment(PT_NOTE, 700, 20);
	assert_null(read_image(&elf));
	assert_true(elf.is_go);
	put(708, 3, 4); /* another type: a build id, as everybody has one */
	assert_null(read_image(&elf));
	assert_false(elf.is_go);
}

static void a_note_of_go(void **state)
{
	(void)state;
	each_kind(check_note);
}

static void what_is_no_elf_file(void **state)
{
	struct elf_file elf;

	(void)state;
	assert_non_null(elf_read(&elf, (const uint8_t *)"", 0));
	assert_non_null(elf_read(&elf, (const uint8_t *)"#!/bin/sh\n", 10));
	assert_non_null(elf_read(&elf, (const uint8_t *)ELFMAG, 4));
	make(64, false);
	im.bytes[EI_CLASS] = 3;
	assert_string_equal(read_image(&elf), "it has an unknown word size or byte order");
	make(64, false);
	im.bytes[EI_DATA] = 0;
	assert_string_equal(read_image(&elf), "it has an unknown word size or byte order");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_whole_one),	    cmocka_unit_test(cut_anywhere),
		cmocka_unit_test(damaged_anywhere), cmocka_unit_test(a_loader_without_an_end),
		cmocka_unit_test(two_loaders),	    cmocka_unit_test(names_that_are_nowhere),
		cmocka_unit_test(a_note_of_go),	    cmocka_unit_test(what_is_no_elf_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

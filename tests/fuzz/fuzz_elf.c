// SPDX-License-Identifier: MIT
/*
 * The reader of ELF files. Input: a file. Asserted: what is said of a file of this machine's kind is
 * what a second reader, written with <elf.h>'s structures, says; text ends; what stands behind the
 * file's end by chance changes nothing that a program needs to run.
 */
#include "fuzz.h"
#include "elf_file.h"

#include <elf.h>
#include <string.h>

#define MORE 64 /* bytes behind the end */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* 64 bits, little-endian: the first loader's name, if the table of segments is inside. */
static void check_second_opinion(const struct elf_file *elf, const uint8_t *data, size_t size)
{
	Elf64_Ehdr h;
	Elf64_Phdr p;

	if (size < sizeof(h) || elf->bits != 64 || elf->is_big_endian)
		return;
	memcpy(&h, data, sizeof(h));
	CHECK(elf->machine == h.e_machine && elf->type == h.e_type);
	for (uint64_t i = 0; i < h.e_phnum; i++) {
		memcpy(&p, data + h.e_phoff + i * h.e_phentsize, sizeof(p));
		if (p.p_type != PT_INTERP)
			continue;
		CHECK(p.p_offset < size && p.p_filesz <= size - p.p_offset);
		CHECK(strcmp(elf->interpreter, (const char *)data + p.p_offset) == 0);
		CHECK(strlen(elf->interpreter) < p.p_filesz);
		return;
	}
	CHECK(elf->interpreter[0] == '\0');
}

static void check_behind_the_end(const struct elf_file *elf, const uint8_t *data, size_t size)
{
	uint8_t *longer = malloc(size + MORE);
	struct elf_file again;

	CHECK(longer);
	memcpy(longer, data, size);
	memset(longer + size, 0xff, MORE);
	CHECK(!elf_read(&again, longer, size + MORE));
	CHECK(again.bits == elf->bits && again.type == elf->type);
	CHECK(again.is_dynamic == elf->is_dynamic && again.is_pie == elf->is_pie);
	CHECK(strcmp(again.interpreter, elf->interpreter) == 0);
	CHECK(again.needs_uring == elf->needs_uring);
	CHECK(again.is_go >= elf->is_go); /* sections may come to light */
	free(longer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct elf_file elf;
	const char *wrong = elf_read(&elf, data, size);

	CHECK(memchr(elf.interpreter, '\0', sizeof(elf.interpreter)));
	CHECK(elf_has_magic(data, size) || wrong);
	if (wrong) {
		CHECK(wrong[0]);
		return 0;
	}
	CHECK(elf.bits == 32 || elf.bits == 64);
	CHECK(elf.has_symbols || (!elf.imports_syscall && !elf.imports_uring));
	CHECK(elf.is_dynamic || (!elf.is_pie && !elf.needs_uring));
	check_second_opinion(&elf, data, size);
	check_behind_the_end(&elf, data, size);
	return 0;
}

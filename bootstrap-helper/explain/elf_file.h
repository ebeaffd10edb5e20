/* SPDX-License-Identifier: MIT */
/*
 * elf_file.h - what an ELF file says of the program in it, without running it.
 *
 * Promises: bytes in, a structure out; every length and offset is somebody else's and is tested
 * before use; time is linear in the file's size. Any word size and byte order.
 */
#ifndef CVT_ELF_FILE_H
#define CVT_ELF_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ELF_NAME_MAX 256

struct elf_file {
	unsigned int bits; /* 32, 64 */
	bool is_big_endian;
	unsigned int machine; /* EM_... */
	unsigned int type;    /* ET_... */
	bool is_dynamic; /* has a dynamic section; without interpreter a library or static-pie */
	bool is_pie;	 /* DF_1_PIE, which a library has not */
	char interpreter[ELF_NAME_MAX]; /* the loader; "" if there is none */
	bool is_go;
	bool needs_uring, imports_uring; /* liburing; io_uring_...() of any library */
	bool needs_asan;		 /* AddressSanitizer's library */
	bool imports_syscall;		 /* syscall() */
	bool has_symbols;		 /* the table was there, so that the imports count */
};

/* Returns NULL, or in words what is wrong with it; then elf holds what was read until there. */
const char *elf_read(struct elf_file *elf, const uint8_t *bytes, size_t len);
bool elf_has_magic(const uint8_t *bytes, size_t len);
/* "x86-64"; NULL: none that we know by name. */
const char *elf_machine_name(unsigned int machine, unsigned int bits);

#endif

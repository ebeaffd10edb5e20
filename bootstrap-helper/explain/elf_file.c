// SPDX-License-Identifier: MIT
#include "elf_file.h"

#include <elf.h>
#include <string.h>

#define NOTES_MAX 16 /* segments of notes, and notes in one, that are looked at */

struct range {
	uint64_t at, len;
};

/* A table of entries, all inside the file. */
struct table {
	uint64_t at, size, n;
};

struct reader {
	struct elf_file *elf;
	const uint8_t *p;
	size_t len;
	struct table segments, sections;
};

/* ------------------------------------------------------------------------------- the bytes */

static bool is_inside(const struct reader *r, struct range s)
{
	return s.at <= r->len && s.len <= r->len - s.at;
}

/* size bytes as a number; 0 outside the file, which no caller can take for something good. */
static uint64_t number(const struct reader *r, uint64_t at, unsigned int size)
{
	uint64_t n = 0;

	if (!is_inside(r, (struct range){ at, size }))
		return 0;
	for (unsigned int i = 0; i < size; i++)
		n = n << 8 | r->p[at + (r->elf->is_big_endian ? i : size - 1 - i)];
	return n;
}

/* The field that lies at the one offset with 32 bits and at the other with 64, and its size. */
static uint64_t field(const struct reader *r, uint64_t at, unsigned int at32, unsigned int size32,
		      unsigned int at64, unsigned int size64)
{
	return r->elf->bits == 32 ? number(r, at + at32, size32) : number(r, at + at64, size64);
}

#define FIELD(r, at, kind, name)                                                         \
	field(r, at, offsetof(Elf32_##kind, name), sizeof(((Elf32_##kind *)NULL)->name), \
	      offsetof(Elf64_##kind, name), sizeof(((Elf64_##kind *)NULL)->name))
#define SIZE(r, kind) ((r)->elf->bits == 32 ? sizeof(Elf32_##kind) : sizeof(Elf64_##kind))

static bool is_table_inside(const struct reader *r, const struct table *t, uint64_t least_size)
{
	return t->n == 0 || (t->size >= least_size && t->n <= r->len / t->size &&
			     is_inside(r, (struct range){ t->at, t->n * t->size }));
}

/* Does the text at `at` inside s begin with that one, or, if whole, is it that one? */
static bool has_text(const struct reader *r, struct range s, uint64_t at, const char *text,
		     bool whole)
{
	const size_t n = strlen(text) + whole;

	return at <= s.len && n <= s.len - at && memcmp(r->p + s.at + at, text, n) == 0;
}

/* ------------------------------------------------------------------------------ the sections */

static struct range section_range(const struct reader *r, uint64_t header)
{
	struct range s = { FIELD(r, header, Shdr, sh_offset), FIELD(r, header, Shdr, sh_size) };

	return is_inside(r, s) ? s : (struct range){ 0, 0 };
}

static uint64_t section(const struct reader *r, uint64_t index)
{
	return r->sections.at + index * r->sections.size;
}

/* What the file needs from others and has by name. */
static void read_symbols(const struct reader *r, uint64_t header)
{
	const struct range symbols = section_range(r, header);
	const uint64_t link = FIELD(r, header, Shdr, sh_link), size = SIZE(r, Sym);
	struct range names;

	if (link >= r->sections.n)
		return;
	names = section_range(r, section(r, link));
	r->elf->has_symbols = symbols.len >= size;
	for (uint64_t at = symbols.at; at + size <= symbols.at + symbols.len; at += size) {
		uint64_t name = FIELD(r, at, Sym, st_name);

		if (FIELD(r, at, Sym, st_shndx) != SHN_UNDEF)
			continue;
		r->elf->imports_syscall |= has_text(r, names, name, "syscall", true);
		r->elf->imports_uring |= has_text(r, names, name, "io_uring_", false);
	}
}

/* Sections are for linkers: a program runs without, so what is wrong with them is no mistake. */
static void read_sections(struct reader *r)
{
	uint64_t names_index = FIELD(r, 0, Ehdr, e_shstrndx), n_symbols = 0;
	struct table *t = &r->sections;
	struct range names;

	*t = (struct table){ FIELD(r, 0, Ehdr, e_shoff), FIELD(r, 0, Ehdr, e_shentsize),
			     FIELD(r, 0, Ehdr, e_shnum) };
	if (t->n == 0 && t->at > 0) /* more than fit into the header: in section 0 */
		t->n = FIELD(r, t->at, Shdr, sh_size);
	if (names_index == SHN_XINDEX)
		names_index = FIELD(r, t->at, Shdr, sh_link);
	if (t->at == 0 || t->n <= names_index || !is_table_inside(r, t, SIZE(r, Shdr)))
		return;
	names = section_range(r, section(r, names_index));
	for (uint64_t i = 0; i < t->n; i++) {
		uint64_t header = section(r, i), name = FIELD(r, header, Shdr, sh_name);

		r->elf->is_go |= has_text(r, names, name, ".go.buildinfo", true) ||
				 has_text(r, names, name, ".note.go.buildid", true);
		if (FIELD(r, header, Shdr, sh_type) == SHT_DYNSYM && n_symbols++ == 0)
			read_symbols(r, header);
	}
}

/* ------------------------------------------------------------------------------ the segments */

static uint64_t segment(const struct reader *r, uint64_t index)
{
	return r->segments.at + index * r->segments.size;
}

static struct range segment_range(const struct reader *r, uint64_t header)
{
	return (struct range){ FIELD(r, header, Phdr, p_offset), FIELD(r, header, Phdr, p_filesz) };
}

/* Where in the file lies what will be at this address? The rest of its segment; empty if nowhere. */
static struct range loaded(const struct reader *r, uint64_t address)
{
	for (uint64_t i = 0; i < r->segments.n; i++) {
		const uint64_t header = segment(r, i), start = FIELD(r, header, Phdr, p_vaddr);
		const struct range s = segment_range(r, header);

		if (FIELD(r, header, Phdr, p_type) == PT_LOAD && is_inside(r, s) &&
		    address >= start && address - start < s.len)
			return (struct range){ s.at + (address - start),
					       s.len - (address - start) };
	}
	return (struct range){ 0, 0 };
}

static const char *read_interpreter(const struct reader *r, struct range s)
{
	const uint8_t *end;

	if (!is_inside(r, s))
		return "the name of its loader lies outside the file";
	end = s.len ? memchr(r->p + s.at, '\0', (size_t)s.len) : NULL;
	if (!end || end - (r->p + s.at) >= ELF_NAME_MAX || end == r->p + s.at)
		return "the name of its loader has no end";
	memcpy(r->elf->interpreter, r->p + s.at, (size_t)(end - (r->p + s.at)) + 1);
	return NULL;
}

static void read_needed(const struct reader *r, struct range names, uint64_t name)
{
	r->elf->needs_uring |= has_text(r, names, name, "liburing.so", false);
	r->elf->needs_asan |= has_text(r, names, name, "libasan.so", false) ||
			      has_text(r, names, name, "libclang_rt.asan", false);
}

static const char *read_dynamic(const struct reader *r, struct range s)
{
	const uint64_t size = SIZE(r, Dyn);
	struct range names = { 0, 0 };
	bool has_names = false;

	if (!is_inside(r, s))
		return "its dynamic section lies outside the file";
	r->elf->is_dynamic = true;
	for (int pass = 0; pass < 2; pass++) {
		for (uint64_t at = s.at; at + size <= s.at + s.len; at += size) {
			const uint64_t tag = FIELD(r, at, Dyn, d_tag);
			const uint64_t value = FIELD(r, at, Dyn, d_un);

			if (tag == DT_NULL)
				break;
			if (pass == 0 && tag == DT_STRTAB && !has_names)
				names = loaded(r, value);
			has_names |= tag == DT_STRTAB;
			if (pass == 0 && tag == DT_FLAGS_1)
				r->elf->is_pie = (value & DF_1_PIE) != 0;
			if (pass == 1 && tag == DT_NEEDED)
				read_needed(r, names, value);
		}
	}
	return NULL;
}

/* Go's build id is a note of the owner "Go" and the type 4, which is left when sections are not. */
static void read_notes(const struct reader *r, struct range s)
{
	uint64_t at = s.at;

	if (!is_inside(r, s))
		return;
	for (int i = 0; i < NOTES_MAX && at + 12 <= s.at + s.len; i++) {
		const uint64_t name = number(r, at, 4), content = number(r, at + 4, 4);

		if (name == 4 && number(r, at + 8, 4) == 4 &&
		    has_text(r, s, at + 12 - s.at, "Go", true))
			r->elf->is_go = true;
		at += 12 + ((name + 3) & ~UINT64_C(3)) + ((content + 3) & ~UINT64_C(3));
	}
}

static const char *read_segment(const struct reader *r, uint64_t header, unsigned int *n_notes)
{
	const struct range s = segment_range(r, header);

	switch (FIELD(r, header, Phdr, p_type)) {
	case PT_INTERP: /* the kernel takes the first */
		return r->elf->interpreter[0] ? NULL : read_interpreter(r, s);
	case PT_DYNAMIC:
		return r->elf->is_dynamic ? NULL : read_dynamic(r, s);
	case PT_NOTE:
		if ((*n_notes)++ < NOTES_MAX)
			read_notes(r, s);
		return NULL;
	case PT_LOAD:
		return is_inside(r, s) ? NULL : "it is cut short: its code lies behind its end";
	default:
		return NULL;
	}
}

static const char *read_segments(struct reader *r)
{
	const char *wrong = NULL;
	unsigned int n_notes = 0;

	r->segments = (struct table){ FIELD(r, 0, Ehdr, e_phoff), FIELD(r, 0, Ehdr, e_phentsize),
				      FIELD(r, 0, Ehdr, e_phnum) };
	if (!is_table_inside(r, &r->segments, SIZE(r, Phdr)))
		return "it is cut short: its table of segments lies behind its end";
	for (uint64_t i = 0; i < r->segments.n && !wrong; i++)
		wrong = read_segment(r, segment(r, i), &n_notes);
	return wrong;
}

/* ---------------------------------------------------------------------------------- the file */

bool elf_has_magic(const uint8_t *bytes, size_t len)
{
	return len >= SELFMAG && memcmp(bytes, ELFMAG, SELFMAG) == 0;
}

const char *elf_read(struct elf_file *elf, const uint8_t *bytes, size_t len)
{
	struct reader r = { .elf = elf, .p = bytes, .len = len };
	const char *wrong;

	*elf = (struct elf_file){ .bits = 0 };
	if (!elf_has_magic(bytes, len))
		return "it is no ELF file";
	if (len < EI_NIDENT)
		return "it is cut short: its header lies behind its end";
	elf->bits = bytes[EI_CLASS] == ELFCLASS32 ? 32 : bytes[EI_CLASS] == ELFCLASS64 ? 64 : 0;
	elf->is_big_endian = bytes[EI_DATA] == ELFDATA2MSB;
	if (elf->bits == 0 || (!elf->is_big_endian && bytes[EI_DATA] != ELFDATA2LSB))
		return "it has an unknown word size or byte order";
	if (len < SIZE(&r, Ehdr))
		return "it is cut short: its header lies behind its end";
	elf->machine = (unsigned int)FIELD(&r, 0, Ehdr, e_machine);
	elf->type = (unsigned int)FIELD(&r, 0, Ehdr, e_type);
	wrong = read_segments(&r);
	if (!wrong)
		read_sections(&r);
	return wrong;
}

const char *elf_machine_name(unsigned int machine, unsigned int bits)
{
	switch (machine) {
	case EM_X86_64:
		return bits == 64 ? "x86-64" : "x32";
	case EM_386:
		return "i386";
	case EM_AARCH64:
		return "arm64";
	case EM_ARM:
		return "arm";
	case EM_RISCV:
		return bits == 64 ? "riscv64" : "riscv32";
	case EM_PPC64:
		return "ppc64";
	case EM_PPC:
		return "powerpc";
	case EM_S390:
		return bits == 64 ? "s390x" : "s390";
	case EM_MIPS:
		return bits == 64 ? "mips64" : "mips";
	case EM_SPARCV9:
		return "sparc64";
	case EM_LOONGARCH:
		return "loongarch";
	default:
		return NULL;
	}
}

// SPDX-License-Identifier: MIT
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "explain.h"

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static const char *machine_text(const struct elf_file *elf, char text[static 64])
{
	const char *name = elf_machine_name(elf->machine, elf->bits);

	if (name)
		snprintf(text, 64, "%s (%u bits%s)", name, elf->bits,
			 elf->is_big_endian ? ", big-endian" : "");
	else
		snprintf(text, 64, "machine %u (%u bits)", elf->machine, elf->bits);
	return text;
}

/* Returns false if no more can be said of it. */
static bool look_at_machine(struct explain *e, const struct elf_file *elf)
{
	const struct elf_file *own = &e->own;
	char its[64], ours[64];
	struct finding *found;

	if (elf->bits == own->bits && elf->machine == own->machine &&
	    elf->is_big_endian == own->is_big_endian)
		return true;
	found = finding_add(&e->found, "program-machine", FINDING_PROBLEM,
			    "it is for %s, and the library for %s", machine_text(elf, its),
			    machine_text(own, ours));
	finding_mend(found, "the library, built for that machine as well");
	finding_word(found, "machine", its);
	return false;
}

static bool look_at_type(struct explain *e, const struct elf_file *elf)
{
	const bool is_library = elf->type == ET_DYN && elf->is_dynamic && !elf->is_pie &&
				!elf->interpreter[0];

	if ((elf->type == ET_EXEC || elf->type == ET_DYN) && !is_library)
		return true;
	finding_add(&e->found, "program-kind", FINDING_PROBLEM,
		    is_library		 ? "a shared library, no program" :
		    elf->type == ET_REL	 ? "an object file, no program" :
		    elf->type == ET_CORE ? "a core dump, no program" :
					   "an ELF file of an unknown type");
	return false;
}

static void look_at_go(struct explain *e, const struct elf_file *elf)
{
	struct finding *found;

	if (!elf->is_go)
		return;
	found = finding_add(&e->found, "program-go", FINDING_PROBLEM,
			    "a Go program: it makes its system calls itself, past libc");
	finding_mend(found, "GODEBUG=multipathtcp=1 in its environment (Go 1.21 or later):");
	finding_mend(found, "Multipath TCP to servers that speak it, without a converter");
}

static void look_at_loader(struct explain *e, const struct elf_file *elf)
{
	const char *loader = base_name(elf->interpreter);
	struct finding *found;

	if (!elf->interpreter[0]) {
		found = finding_add(&e->found, "program-static", FINDING_PROBLEM,
				    "statically linked: it has no loader that could load the "
				    "library");
		if (!elf->is_go)
			finding_mend(found, "a dynamically linked build of it, against glibc,");
		finding_mend(found, "%sa proxy setting of its own, or a redirect in the network",
			     elf->is_go ? "" : "or ");
	} else if (strncmp(loader, "ld-musl", 7) == 0 && elf->bits == 32) {
		found = finding_add(
			&e->found, "program-libc", FINDING_PROBLEM,
			"linked against musl for 32 bits, which the library is not for");
		finding_mend(found, "a build of it against glibc");
	} else if (strncmp(loader, "ld-musl", 7) == 0) {
		found = finding_add(&e->found, "program-libc", FINDING_OK,
				    "dynamically linked against musl (%s)", elf->interpreter);
	} else if (strcmp(loader, base_name(e->own.interpreter)) != 0) {
		found = finding_add(&e->found, "program-libc", FINDING_PROBLEM,
				    "its loader is %s, and the library's %s: another libc",
				    elf->interpreter, e->own.interpreter);
		finding_mend(found, "a build of it against this system's glibc");
	} else {
		found = finding_add(&e->found, "program-libc", FINDING_OK,
				    "dynamically linked against glibc (%s)", elf->interpreter);
	}
	if (elf->interpreter[0])
		finding_word(found, "loader", elf->interpreter);
	if (elf->interpreter[0] && access(elf->interpreter, F_OK) != 0)
		finding_add(&e->found, "program-loader", FINDING_PROBLEM,
			    "its loader %s is not there: it cannot be started at all",
			    elf->interpreter);
}

static void look_at_privileges(struct explain *e, const char *privileged, bool gains)
{
	struct finding *found;

	if (!privileged)
		return;
	if (!gains) {
		finding_add(&e->found, "program-privileges", FINDING_NOTE,
			    "%s, by which this user gains nothing here: the loader obeys "
			    "LD_PRELOAD",
			    privileged);
		return;
	}
	if (e->is_in_every) {
		finding_add(&e->found, "program-privileges",
			    e->needs_variables ? FINDING_PROBLEM : FINDING_NOTE,
			    "%s: /etc/ld.so.preload loads the library, which then obeys "
			    "/etc/convert.conf and no variable",
			    privileged);
		return;
	}
	found = finding_add(&e->found, "program-privileges", FINDING_PROBLEM,
			    "%s: the loader ignores LD_PRELOAD", privileged);
	finding_mend(found, "the library in /etc/ld.so.preload, for every program;");
	finding_mend(found, "/etc/convert.conf then holds, and no variable");
}

/* Its library ends the program if any other comes first. */
static void look_at_sanitizer(struct explain *e, const struct elf_file *elf)
{
	const char *preload = getenv("LD_PRELOAD"), *options = getenv("ASAN_OPTIONS");
	struct finding *found;

	if (!elf->needs_asan || (preload && strstr(preload, "asan")) ||
	    (options && strstr(options, "verify_asan_link_order=0")))
		return;
	found = finding_add(
		&e->found, "program-sanitizer", FINDING_PROBLEM,
		"built with AddressSanitizer: it ends at once where any other library is "
		"loaded first");
	finding_mend(found, "ASAN_OPTIONS=verify_asan_link_order=0");
}

static void look_at_calls(struct explain *e, const struct elf_file *elf)
{
	struct finding *found;

	if (elf->is_go || !elf->interpreter[0])
		return;
	if (elf->needs_uring || elf->imports_uring) {
		found = finding_add(&e->found, "program-uring", FINDING_NOTE,
				    "it uses io_uring: what it connects by that is direct");
		finding_mend(found, "the program's own setting without io_uring, if it has one");
	}
	if (elf->imports_syscall)
		finding_add(&e->found, "program-syscall", FINDING_NOTE,
			    "it makes some system calls by syscall(): most such programs do not "
			    "connect that way; the log shows whether this one does");
	if (!elf->has_symbols)
		finding_add(&e->found, "program-symbols", FINDING_NOTE,
			    "it has no table of symbols: what it calls cannot be told");
}

void explain_elf(struct explain *e, const uint8_t *bytes, size_t len, const char *privileged,
		 bool gains)
{
	struct elf_file elf;
	const char *wrong = elf_read(&elf, bytes, len);

	if (wrong) {
		finding_add(&e->found, "program-damaged", FINDING_PROBLEM, "a damaged ELF file: %s",
			    wrong);
		return;
	}
	if (!look_at_type(e, &elf))
		return;
	look_at_go(e, &elf);
	if (look_at_machine(e, &elf) || !elf.interpreter[0])
		look_at_loader(e, &elf);
	look_at_privileges(e, privileged, gains);
	look_at_sanitizer(e, &elf);
	look_at_calls(e, &elf);
}

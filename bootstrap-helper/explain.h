/* SPDX-License-Identifier: MIT */
/*
 * explain.h - can the library work in a program, and if not, why? From the file alone: nothing is
 * run, and nothing is believed that the file says without a look at it.
 */
#ifndef CVT_EXPLAIN_H
#define CVT_EXPLAIN_H

#include "elf_file.h"
#include "finding.h"

struct explain {
	struct findings found;
	struct elf_file own;	/* of this helper, which is built as the library is */
	bool is_in_every;	/* /etc/ld.so.preload names the library */
	unsigned int n_scripts; /* that led here */
};

/* A name without a slash is looked for in PATH; it may be a built-in of the shell, too. */
void explain_name(struct explain *e, const char *name);
/* A file: what kind of program it is, and on to its interpreter. */
void explain_file(struct explain *e, const char *path);
void explain_script(struct explain *e, const char *bytes, size_t len);
/* privileged: set-user-ID and the like; NULL: nothing of that kind. */
void explain_elf(struct explain *e, const uint8_t *bytes, size_t len, const char *privileged);

#endif

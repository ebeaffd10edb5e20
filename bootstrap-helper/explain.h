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

/* What kind of program a file is. Returns the name of the one that runs it if it is a script, to be
 * explained next and freed; else NULL. */
char *explain_file(struct explain *e, const char *path);
char *explain_script(struct explain *e, const char *bytes, size_t len);
/* privileged: set-user-ID and the like; NULL: nothing of that kind. */
void explain_elf(struct explain *e, const uint8_t *bytes, size_t len, const char *privileged);

#endif

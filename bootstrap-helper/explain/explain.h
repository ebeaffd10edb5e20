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
	bool needs_variables;	/* what is wanted of the library is said by them */
	unsigned int n_scripts; /* that led here */
	char *const *words;	/* of the command that is looked at; its name first */
	/* What follows is about programs that another one (env ...) is to start: its exec, and not ours, fails. */
	bool is_of_another;
	size_t n_own; /* findings before that */
};

/* ---- explain_start.c: what starts another program */

/* By its name: those that drop, replace or hide what LD_PRELOAD names. */
void explain_known(struct explain *e, const char *path);
void explain_no_environment(struct explain *e, const char *mend);
/* What follows is of another program than the first. */
void explain_another(struct explain *e);
/* The words of the program that these start; NULL: none. */
char *const *explain_started(struct explain *e, char *const *words);
/* What env(1) starts with these words, which stand behind its name; NULL: nothing. mend: if it takes LD_PRELOAD away. */
char *const *explain_env(struct explain *e, char *const *words, const char *mend);

/* ---- explain_script.c, explain_elf.c: what is in the file */

/* Returns as explain_file(). */
char *explain_script(struct explain *e, const char *bytes, size_t len);
/* privileged: set-user-ID and the like; NULL: nothing of that kind. gains: whoever asks would get something by it. */
void explain_elf(struct explain *e, const uint8_t *bytes, size_t len, const char *privileged,
		 bool gains);

/* ---- explain_file.c: what kind of program a file is */

/* Returns the name of the one that runs it if it is a script, to be explained next and freed; else NULL. */
char *explain_file(struct explain *e, const char *path);

/* ---- explain_name.c: from a command line to the programs that it starts */

/* False: there is no telling, and standard error says why. */
bool explain_begin(struct explain *e);
/* A program, what it is started with, and if it starts another (env, nice, timeout ...) that one. */
void explain_command(struct explain *e, char *const *words);

#endif

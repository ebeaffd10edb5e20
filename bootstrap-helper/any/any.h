/* SPDX-License-Identifier: MIT */
/*
 * any.h - a program and all that it starts under a supervisor, for those that LD_PRELOAD does not reach:
 * their connect() is handed to us by the kernel (seccomp's user notification), and the connected socket is
 * put under their number. What is done with the connection is the library's: connection/ and what is below
 * it are linked into this program, and each connection is one of its own.
 *
 * Three processes. The one that was started stands for the program: it passes signals on, ends as the
 * program ends, and lets every call through should the second one die. The second, the supervisor, is the
 * program's parent and lives until nobody is left to supervise. The third becomes the program.
 */
#ifndef CVT_ANY_H
#define CVT_ANY_H

#include <signal.h>
#include <stdbool.h>

struct any_program {
	char *const *words; /* its name first */
	bool strict;	    /* not started without a supervisor; and CONVERT_STRICT */
	bool quiet;
	/* becomes the program, in the third process; returns the status if that has failed */
	int (*become)(const struct any_program *p);
	const void *arg;
};

/* Returns the status that the program has ended with; does not if that was a signal. SIGCHLD must not be ignored; how
 * the program has it is become()'s to say. */
int any_run(const struct any_program *p);

/* Whoever stands for a program passes on to it these signals, and of them those that are meant for it (code, value: as
 * siginfo_t has them). */
void any_passed_on(sigset_t *signals);
void any_pass_on(pid_t program, int number, int code, union sigval value);
/* Ends as the program has (status: as of waitpid()), if by a signal; else returns its status, to be ended with. */
int any_end_as(int status);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * child.h - a program that we wait for: signals that are meant for it reach it, and we end as it did.
 */
#ifndef CVT_CHILD_H
#define CVT_CHILD_H

#include <stdbool.h>

/* SIGCHLD must not be ignored. True in the child. Else it has ended: *status as waitpid() has it, -1: there was none, errno. */
bool child_start(int *status);
/* Ends as it did. */
__attribute__((noreturn)) void child_end_as(int status);

#endif

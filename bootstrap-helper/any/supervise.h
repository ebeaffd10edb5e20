/* SPDX-License-Identifier: MIT */
/*
 * supervise.h - the supervisor's work: calls, connections, children.
 */
#ifndef CVT_SUPERVISE_H
#define CVT_SUPERVISE_H

#include <stdbool.h>
#include <sys/types.h>

struct supervise {
	int listener;
	int outside; /* readable when whoever stands for the program is gone */
	pid_t program;
	void (*ended)(int outside, int status);
};

/* Before anything else: the configuration and the log are the ones of a program of that name. False: nothing
 * is ever converted by it. foreign: a program of IPv4 may be given a socket of IPv6. */
bool supervise_configure(const char *name, bool *foreign);
/* Returns when nobody is left to supervise. */
void supervise(const struct supervise *s);

#endif

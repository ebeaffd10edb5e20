/* SPDX-License-Identifier: MIT */
/*
 * program.h - a running program: has it the library, what is its configuration, what does the library know
 * of its descriptor numbers (legend.h)?
 *
 * The kernel says who may look into a program: root, and its user, if it has not forbidden that and, for
 * the last of the three, kernel.yama.ptrace_scope is 0.
 */
#ifndef CVT_PROGRAM_H
#define CVT_PROGRAM_H

#include "config.h"
#include "legend.h"

struct program {
	int pid;
	int thread;    /* of which /proc tells: the first one, but if that has ended alone */
	char name[16]; /* printable */
	enum program_library {
		PROGRAM_CLOSED, /* we may not look */
		PROGRAM_WITHOUT,
		PROGRAM_LOADED,
	} library;
	bool has_config; /* config is what it has read when it started */
	struct config config;
	bool is_open; /* legend is the library's */
	struct legend legend;
};

/* What a number of its stands for. */
enum program_number {
	PROGRAM_UNKNOWN, /* or the memory cannot be read */
	PROGRAM_NATIVE,	 /* the kernel made the connection */
	PROGRAM_BYPASS,
	PROGRAM_PENDING,
	PROGRAM_UP,
};

/* program_free() when it is not needed any more. */
void program_look(struct program *p, int pid, int thread);
/* cookie: of the socket that the number is now. has_server: it was to be converted, or is; *is_proven: by
 * the cookie. */
enum program_number program_ask(const struct program *p, int fd, uint64_t cookie,
				struct addr *server, bool *has_server, bool *is_proven);
void program_free(struct program *p);

#endif

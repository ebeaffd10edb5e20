/* SPDX-License-Identifier: MIT */
/*
 * holders.h - which program has a socket, under which number.
 *
 * /proc is gone through only if there is a socket that was not there the last time; that is what the
 * time goes into. A socket that several programs have is that of one of them.
 */
#ifndef CVT_HOLDERS_H
#define CVT_HOLDERS_H

#include "program.h"

#include <stddef.h>

struct holder {
	uint32_t inode;
	int fd;
	struct program *program; /* NULL: not found, or we may not look */
	void *note;		 /* the caller's, from one time to the next; free()d with it */
	unsigned int looked;	 /* how often it was searched for */
};

struct holders {
	struct holder *all;
	size_t n;
	bool sees_all; /* what was not found has no program, as MPTCP's subflows after its end */
	struct held_program *programs;
};

/* Of these sockets, which are in order, each once: as many in `all`, in the same order. False: no
 * memory. */
bool holders_find(struct holders *h, const uint32_t *inodes, size_t n);
void holders_free(struct holders *h);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * legend.h - how `convert-bootstrap top` finds in a running program what the library knows of its
 * descriptor numbers, and its name: a constant of the library, which says where these are. It reads
 * them from outside (process_vm_readv(2)); the program spends nothing on it.
 */
#ifndef CVT_LEGEND_H
#define CVT_LEGEND_H

#include <stdint.h>

/* What this file describes; another word size is another legend. */
#if __SIZEOF_POINTER__ == 8
#define LEGEND_MAGIC "convert 2, 64  "
#else
#define LEGEND_MAGIC "convert 2, 32  "
#endif

#define LEGEND_NAME 64

struct legend {
	char magic[16];
	const void *marks;		/* uint16_t for each number; the low byte is the mark */
	const void *pages;		/* pointers, NULL or to `page` records */
	const void *first;		/* page, whose pointer is NULL */
	uint32_t n_marks, page, record; /* numbers, records, bytes of one */
	uint32_t cookie, new_cookie, server; /* where in a record: uint64_t twice, struct addr */
	uint32_t bypass, pending, up;	     /* marks */
	/* its name when it was started, in LEGEND_NAME bytes; "": it is longer */
	const char *program;
};

#endif

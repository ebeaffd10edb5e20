/* SPDX-License-Identifier: MIT */
/*
 * counts.h - how many connections of the user's processes went which way, for people to look at.
 *
 * Counted in the process, added to the state file with the first one that is not direct, then at
 * most once in COUNTS_FLUSH_MS, and when the process ends by exit(), or is about to set a seccomp filter. What
 * a process had not added when it ended otherwise is lost, so these are numbers for people, not for decisions.
 * Promises: as servers.h; counting a direct connection never makes a system call.
 */
#ifndef CVT_COUNTS_H
#define CVT_COUNTS_H

#include <stdbool.h>
#include <stdint.h>

#define COUNTS_FLUSH_MS 10000

enum counts_what {
	COUNTS_CONVERTED, /* through a converter */
	COUNTS_BYPASSED,  /* directly, as the server speaks Multipath TCP */
	COUNTS_DIRECT,	  /* directly, as the configuration says */
	COUNTS_FAILED,	  /* a converter failed, whatever was done then */
	COUNTS_N,
};

struct counts {
	int64_t since_ms; /* when counting began, CLOCK_REALTIME */
	uint64_t n[COUNTS_N];
};

void counts_add(enum counts_what what, int64_t now_ms);
/* False, and all zero, if nothing is known. */
bool counts_read(struct counts *counts, int64_t now_ms);
/* What has been counted is added now; and from when there is a filter nothing at exit(). */
void counts_before_filter(void);
void counts_filtered(void);
/* For the child's side of fork(): what the parent has counted the parent will add. */
void counts_in_child(void);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * receipt.h - what became of the connections of a program and of those that it has started.
 *
 * The library appends a line for each to a file that is named in the environment (log.h), and here they are
 * read and counted. A line that is not whole, as the disk was full, is counted as lost.
 */
#ifndef CVT_RECEIPT_H
#define CVT_RECEIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <uthash.h>

enum receipt_outcome {
	RECEIPT_CONVERTED,
	RECEIPT_BYPASSED,
	RECEIPT_DIRECT, /* by a rule, or after a converter has failed */
	RECEIPT_FAILED,
	RECEIPT_GIVEN_UP,
	RECEIPT_OUTCOMES,
};

/* Where the message was, of those that are converted. */
enum receipt_message { RECEIPT_IN_SYN, RECEIPT_BEHIND_SYN, RECEIPT_LOST_IN_SYN, RECEIPT_MESSAGES };

struct receipt_span { /* microseconds */
	uint64_t n, sum, least, most;
};

struct receipt_counts {
	UT_hash_handle hh;
	char *server; /* NULL: the sum of all; texts are as in JSON */
	uint64_t n, outcomes[RECEIPT_OUTCOMES], messages[RECEIPT_MESSAGES], mptcp, tcp;
	struct receipt_span connect, rtt;
	struct receipt_why {
		enum receipt_outcome outcome;
		char *text;
		uint64_t n;
	} * whys; /* of all but converted ones */
	size_t n_whys;
};

struct receipt_process {
	UT_hash_handle hh;
	uint64_t pid;
};

struct receipt {
	struct receipt_counts sum, *servers; /* by name, in the order of their first connections */
	struct receipt_process *processes;
	uint64_t n_lost;
	bool is_whole; /* false: the file was taken away, and nobody has what was written then */
};

/* Makes the file, and puts its name into the environment. False: errno. */
bool receipt_begin(void);
/* There is none, and it was not begun. errno stays. */
void receipt_cancel(void);
/* Of the process that becomes the program, or its supervisor. */
void receipt_in_child(void);
/* Reads the file, and removes it. The memory lives as long as the process. */
void receipt_end(struct receipt *r);

extern const char *const receipt_outcomes[RECEIPT_OUTCOMES];
void receipt_print(const struct receipt *r);
/* status: of waitpid() */
void receipt_print_json(const struct receipt *r, const char *program, int status, FILE *to);

#endif

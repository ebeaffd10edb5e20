/* SPDX-License-Identifier: MIT */
/*
 * fault.h - what goes wrong with the reply on purpose.
 *
 * Promises: only parses; connection.c does what it says.
 */
#ifndef LAB_FAULT_H
#define LAB_FAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire.h"

enum fault_end {
	FAULT_END_NONE, /* the reply is followed by what the protocol says */
	FAULT_END_FIN,
	FAULT_END_RST,
};

struct fault {
	bool active;
	bool silence;	       /* the reply never comes */
	bool random;	       /* each connection draws one for itself */
	bool keep_syn;	       /* a held SYN is held for ever */
	bool unread;	       /* FIN as soon as it is accepted */
	bool eager;	       /* the reply is not kept until the third ACK (LINUX-FACTS 2b.3) */
	size_t split;	       /* bytes per piece; 0: all at once */
	unsigned int gap_ms;   /* between pieces */
	unsigned int delay_ms; /* before the first byte */
	unsigned int late_ms;  /* before the request is looked at, as on a long way to here */
	bool has_error;	       /* an Error TLV in place of the reply */
	uint8_t error;
	uint8_t bytes[CVT_MSG_MAX]; /* the Error's value, or the raw reply */
	size_t n_bytes;
	bool raw, raw_relay; /* `bytes` in place of the reply; raw_relay: and go on */
	bool has_cut;	     /* only the first `cut` bytes of the reply are sent */
	size_t cut;
	enum fault_end end;  /* after the bytes above, or at once if there are none */
	uint64_t drop_after; /* bytes of server data, then RST; 0: never */
};

/* Another fault for each call, often none, out of those that are always the converter's. */
void fault_draw(struct fault *f, unsigned int *seed);
/* Adds "name[=value][,name=value...]" to the fault. -EINVAL: unknown or senseless. */
int fault_parse(struct fault *f, const char *spec);

#endif

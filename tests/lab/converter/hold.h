/* SPDX-License-Identifier: MIT */
/*
 * hold.h - clients' SYNs in NFQUEUE (LINUX-FACTS 7.4), for --hold.
 *
 * Promises: installs its own rules in the namespace it runs in and takes them away again; a SYN
 * without data passes at once.
 * Never: knows what a Convert message is.
 */
#ifndef LAB_HOLD_H
#define LAB_HOLD_H

#include <stdbool.h>
#include <stdint.h>

#include "addr.h"
#include "options.h"
#include "wire.h"

struct hold_ticket { /* one waiting SYN */
	uint32_t packet_id, seq;
	uint32_t payload_len;
};

/* False: nothing in it is worth holding it. True: one of hold_accept, hold_refuse and hold_drop is
 * called for this ticket, perhaps at once. */
typedef bool hold_syn_fn(const struct hold_ticket *ticket, const struct addr *client,
			 const struct addr *local, struct cvt_span payload);

/* -errno, after a line on stderr. */
int hold_open(const struct options *o, hold_syn_fn *on_syn);
void hold_close(void);

void hold_accept(const struct hold_ticket *t);
void hold_drop(const struct hold_ticket *t);
/* Drops the SYN and answers it with a RST that carries `payload`, which may be empty. */
void hold_refuse(const struct hold_ticket *t, const struct addr *client, const struct addr *local,
		 struct cvt_span payload);

#endif

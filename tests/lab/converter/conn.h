/* SPDX-License-Identifier: MIT */
/*
 * conn.h - the clients' connections, as the rest of the program sees them.
 *
 * Promises: every connection has a bounded life and bounded memory, and one line in the log when
 * it ends; descriptors are closed in exactly one place per kind.
 * Never: blocks. What happens to a connection in between is in conn_parts.h.
 */
#ifndef LAB_CONN_H
#define LAB_CONN_H

#include "addr.h"
#include "hold.h"
#include "options.h"
#include "wire.h"

struct conn_totals {
	unsigned long accepted, replies, errors;
	size_t open;
};

void conn_init(const struct options *o);
/* Takes over the accepted socket. */
void conn_accept(int fd, const struct addr *client, const struct addr *local);
/* A SYN with data waits in the queue. False: nothing in it is worth holding it. True: one of
 * hold_accept, hold_refuse and hold_drop will be called for this ticket, perhaps at once. */
bool conn_hold(const struct hold_ticket *ticket, const struct addr *client,
	       const struct addr *local, struct cvt_span payload);
/* Is this the SYN of one that already waits, sent again? A SYN of another `seq` from the same
 * port is a new attempt: the old one is dropped. */
bool conn_hold_repeats(const struct hold_ticket *ticket, const struct addr *client,
		       const struct addr *local);
/* To be called after every batch of events: frees what died in it. */
void conn_free_dead(void);
void conn_end_all(void);

const struct conn_totals *conn_totals(void);
/* How many connections, and so timers, there can be at once. */
size_t conn_limit(const struct options *o);

#endif

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
/* A SYN waits in the queue, as hold_syn_fn says. Of one that already waits it may be the repetition; of
 * another `seq` it is a new attempt, for which the old one is dropped. */
hold_syn_fn conn_hold;
/* To be called after every batch of events: frees what died in it. */
void conn_free_dead(void);
void conn_end_all(void);

const struct conn_totals *conn_totals(void);
/* How many connections, and so timers, there can be at once. */
size_t conn_limit(const struct options *o);

#endif

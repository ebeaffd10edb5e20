/* SPDX-License-Identifier: MIT */
/*
 * incoming.h - external ports whose connections go to a client (draft-02, figure 8).
 *
 * A remote host's TCP connection to the external port is taken, and one to the client made, by
 * Multipath TCP if that is how clients connect (--mptcp), from the address of a --listen. Its SYN
 * carries the Convert message, a Connect TLV with the remote host's address and port; where it cannot,
 * the message follows. When the client's fixed header has come the bytes are relayed: none of them in
 * either direction before that. Whoever is not accepted is reset, and so is the remote host then.
 */
#ifndef LAB_INCOMING_H
#define LAB_INCOMING_H

#include "conn.h"

#define INCOMING_TIMERS (OPT_LISTEN_MAX + OPT_PCP_MAPPINGS)

struct incoming;
struct conn;

/* Opens the mapping: external, whose address may be :: for all of both families, port 0 for any, to
 * client. NULL: errno says why. A mapping is no timer's and no client's: who made it closes it. */
struct incoming *incoming_open(const struct addr *external, const struct addr *client);
/* Where it is open. */
const struct addr *incoming_external(const struct incoming *in);
/* No further ones; those that there are stay. NULL is none. */
void incoming_close(struct incoming *in);

/* After every batch of events: the memory of what was closed in it. */
void incoming_free_closed(void);
/* --incoming: as listener_open_all(). */
int incoming_open_all(const struct options *o);
void incoming_close_all(void);

/* What happens to the client's side of such a connection until it is relayed (conn.c). */
void incoming_up(struct conn *c, uint32_t events);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * pcp_server.h - a server of the Port Control Protocol (RFC 6887) beside the converter: its clients' MAP
 * requests open external ports (incoming.h).
 *
 * Promises: one mapping for each port of a client, for TCP alone; whose nonce is another's gets no say in
 * it; it ends with its lifetime or by request. Nobody who is not in an --allow, or asks for another
 * host, is served. All is forgotten with the process, which the epoch tells, and at the start a
 * multicast to all hosts (14.1).
 */
#ifndef LAB_PCP_SERVER_H
#define LAB_PCP_SERVER_H

#include "options.h"

/* How many timers it may have armed at once, for loop_init(). */
#define PCP_SERVER_TIMERS (OPT_PCP_MAPPINGS + OPT_LISTEN_MAX)

/* With --pcp, on every --listen. -errno, after a line on stderr that says which address. */
int pcp_server_open(const struct options *o);
void pcp_server_close(void);

#endif

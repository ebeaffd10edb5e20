/* SPDX-License-Identifier: MIT */
/*
 * bound.h - which way a program has given a socket: a device, an address of this host, a mark. So a converter is
 * looked for, and known, in the network where the SYN will leave (F-01, F-02). And whether it is known for itself, as
 * the program gives its packets few hops.
 *
 * Promises: system calls only for what may be bound.
 */
#ifndef CVT_BOUND_H
#define CVT_BOUND_H

#include "policy.h"

/* Of a number that connect() has claimed (conn_claim()). All zero: it goes as all the host's do. */
void bound_to(int fd, struct pol_binding *by);
/* Of one that nothing is noted of, as it was accepted. */
void bound_ask(int fd, struct pol_binding *by);

#endif

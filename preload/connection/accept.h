/* SPDX-License-Identifier: MIT */
/*
 * accept.h - listeners whose connections a converter may make for remote hosts, and those connections.
 */
#ifndef CVT_ACCEPT_H
#define CVT_ACCEPT_H

#include "record.h"

/* Before listen(): Multipath TCP, and data in SYNs, if a rule speaks of where it is bound. */
void accept_listen(int fd);
/* From `peer`, accepted on listener just now. Has it become a number with a record, perhaps settled already? */
bool accept_begin(int listener, int fd, const struct addr *peer, int family);
/* Is the peer known: its name, which getpeername() then says, too? Or is there none any more? */
enum accept_name { ACCEPT_UNKNOWN, ACCEPT_KNOWN, ACCEPT_GONE };
enum accept_name accept_name(int fd, struct addr *peer);

#endif

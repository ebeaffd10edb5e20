/* SPDX-License-Identifier: MIT */
/*
 * handover.h - descriptors that leave this process.
 */
#ifndef CVT_HANDOVER_H
#define CVT_HANDOVER_H

#include <sys/socket.h>

/* As conn_finish(), after the SYN if that is deferred. */
void handover_finish(int fd);
/* msg is about to be sent: brings every pending descriptor in it to its end. errno is kept. */
void handover_sent(const struct msghdr *msg);
void handover_all_sent(const struct mmsghdr *msgs, unsigned int n);
/* fd is about to be duplicated: a vfork child does that for the program that it becomes, and no record is kept of
 * its numbers, so it brings the connection to its end. errno is kept. */
void handover_duplicated(int fd);
/* Another program is about to take the place of this one: what it would inherit. */
void handover_inherited(void);

#endif

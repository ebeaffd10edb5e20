/* SPDX-License-Identifier: MIT */
/*
 * handover.h - descriptors that leave this process.
 */
#ifndef CVT_HANDOVER_H
#define CVT_HANDOVER_H

#include <sys/socket.h>

/* msg is about to be sent: brings every pending descriptor in it to its end. errno is kept. */
void handover_sent(const struct msghdr *msg);

#endif

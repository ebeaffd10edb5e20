/* SPDX-License-Identifier: MIT */
/*
 * capture.h - the options of servers' SYN+ACKs, as they were on the wire (S-09).
 *
 * Promises: needs CAP_NET_RAW; without it, or if a segment was missed, capture_find() says false
 * and the caller rebuilds what it can. The kernel queues a SYN+ACK here before it tells the
 * connecting socket (LINUX-FACTS 7.3).
 */
#ifndef LAB_CAPTURE_H
#define LAB_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "wire.h"

int capture_open(void);
void capture_close(void);
/* Takes the options out: a port pair may be used again. */
bool capture_find(const struct addr *own, const struct addr *server,
		  uint8_t opts[static CVT_SYN_OPTS_MAX], size_t *len);

#endif

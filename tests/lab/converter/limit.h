/* SPDX-License-Identifier: MIT */
/*
 * limit.h - how many error messages a client gets in a second (S-15).
 *
 * Promises: constant memory. Two clients whose addresses fall into one slot start each other's
 * count anew; it never refuses one that is within its limit.
 */
#ifndef LAB_LIMIT_H
#define LAB_LIMIT_H

#include <stdbool.h>

#include "addr.h"

/* True: one more may be sent to that client now; it is counted. most: per second. */
bool limit_take(const struct addr *client, unsigned int most);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * reach.h - which of the two families a program's IPv6 socket reaches, by what the program has done
 * to it: IPV6_V6ONLY, and the address that it is bound to. A twin (twin.h) under the number does not
 * count, as the program knows nothing of it.
 *
 * The kernel is asked: IPV6_V6ONLY has a value before anybody sets it (net.ipv6.bindv6only), and
 * sockets are made and set up unseen. Only for a number that connect() has claimed (conn_claim()).
 */
#ifndef CVT_REACH_H
#define CVT_REACH_H

#include "addr.h"

#include <stdbool.h>

/* Does the kernel refuse v4-mapped addresses on it? */
bool reach_is_only_v6(int fd);
/* Is it bound to an address of the family that `to` is not of? */
bool reach_is_bound_elsewhere(int fd, const struct addr *to);

#endif

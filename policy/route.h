/* SPDX-License-Identifier: MIT */
/*
 * route.h - what the kernel would do with a packet to an address, asked over rtnetlink.
 *
 * Promises: a pol_route_fn; one socket, opened and closed inside the call; never waits;
 * errno untouched. The answer holds for now and for this process's user and namespace only.
 */
#ifndef CVT_ROUTE_H
#define CVT_ROUTE_H

#include "policy.h"

bool route_lookup(const struct addr *to, const struct pol_binding *by, struct pol_route *route);
/* The name of an interface, "" if there is none; fd: any socket, asked by ioctl(). errno may change. */
void route_interface(int fd, char name[16], int index);

#endif

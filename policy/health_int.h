/* SPDX-License-Identifier: MIT */
/*
 * health_int.h - what the files health*.c share; nobody else includes it.
 */
#ifndef CVT_HEALTH_INT_H
#define CVT_HEALTH_INT_H

#include "health.h"

static inline bool health_is_same(const struct addr *a, const struct addr *b)
{
	return a->port == b->port && addr_equal_ip(a, b);
}

/* For health_clear_table() and health_in_child(). */
void health_network_forget(void);
void health_network_in_child(void);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * relay.h - the bytes of a program that has never asked whether it is connected, and so has never got the
 * connection itself: they go by here.
 */
#ifndef CVT_RELAY_H
#define CVT_RELAY_H

#include <stdbool.h>

struct relay;
/* NULL: no pipes. only_from: what comes from `b` is somebody else's. */
struct relay *relay_begin(int a, int b, bool only_from_a);
/* As far as it goes without waiting. False: it is over. */
bool relay_go_on(struct relay *r);
void relay_end(struct relay *r);

#endif

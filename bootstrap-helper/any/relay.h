/* SPDX-License-Identifier: MIT */
/*
 * relay.h - the bytes of a program that has never asked whether it is connected, and so has never got the
 * connection itself: they go by here, and so do the ends of what is said, by either side, and resets.
 */
#ifndef CVT_RELAY_H
#define CVT_RELAY_H

#include <stdbool.h>
#include <stdint.h>

struct relay;
/* a: the program's side. NULL: no memory. only_from_a: what comes from b is somebody else's, and so is its end. It
 * ends with free(). */
struct relay *relay_begin(int a, int b, bool only_from_a);
/* As far as it goes without waiting. False: it is over, and what is to be reset will be when it is closed. */
bool relay_go_on(struct relay *r);
/* What it waits for, as epoll has it, once; 0: that end is not to be looked at. */
void relay_wants(const struct relay *r, uint32_t *a, uint32_t *b);
/* May more come from a? */
bool relay_owes(const struct relay *r);
/* Once it is closed, by us as the last, it is reset. */
void relay_reset(int fd);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * wait.h - how our calls wait: through libc's ppoll(), so that they stay cancellation points,
 * and never while a lock is held.
 */
#ifndef CVT_WAIT_H
#define CVT_WAIT_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define WAIT_FOREVER INT64_MAX

/* Time left until a moment of CLOCK_MONOTONIC as ppoll() wants it: NULL means for ever. */
struct timespec *wait_left(int64_t until_ns, struct timespec *left);
/* The other way round: the moment at which a time limit (NULL: none) that starts now is over.
 * False if it is none that the kernel would take. */
bool wait_until(const struct timespec *limit, int64_t *until_ns);
/* Waits for `events` on one descriptor. 1: something happened; 0: not in time (or it is time to
 * look again, where others may have read the reply); -EINTR. */
int wait_one(int fd, short events, int64_t until_ns);
/* For slicing a wait whose descriptors others may serve too: the moment to look again. Starts
 * at 10 ms and doubles up to 640, so that waiting long stays cheap. *slice_ns starts as 0. */
int64_t wait_slice(int64_t until_ns, int64_t *slice_ns);
/* After EINTR: does every installed handler have SA_RESTART, but those for faults? (TRAPS 2.9) */
bool wait_restarts_all(void);

#endif

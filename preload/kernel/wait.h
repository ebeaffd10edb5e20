/* SPDX-License-Identifier: MIT */
/*
 * wait.h - how our calls wait: through libc's ppoll(), so that they stay cancellation points,
 * and never while a lock is held.
 */
#ifndef CVT_WAIT_H
#define CVT_WAIT_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define WAIT_FOREVER INT64_MAX

/* Time left until a moment of CLOCK_MONOTONIC as ppoll() wants it: NULL means for ever. */
struct timespec *wait_left(int64_t until_ns, struct timespec *left);
/* The same as poll() wants it, rounded up: never back too early. */
int wait_left_ms(int64_t until_ns);
/* For a wait by the next library's function that has to end at a moment of ours: no later than this, at
 * which the caller looks at the clock and waits on. What is behind us may stretch it (libfaketime with
 * "x0.2" makes five of each second), so each part is short, unless it is libc's own. 0: that is now. */
int64_t wait_part(int64_t until_ns);
/* After a wait that should have ended at `part_ns` has timed out: a program's limit moves by as much as it
 * was too long or too short, and so is counted as the one behind us counts. */
void wait_count(int64_t *until_ns, int64_t part_ns);
/* The end of a wait of so long (neither is negative) that begins now; WAIT_FOREVER if that is more
 * than nanoseconds can count: 292 years are no limit to the kernel either. */
int64_t wait_end(int64_t seconds, int64_t ns);
/* The other way round: the moment at which a time limit (NULL: none) that starts now is over.
 * False if it is none that the kernel would take. */
bool wait_until(const struct timespec *limit, int64_t *until_ns);
/* Waits for `events` on one descriptor. 1: something happened; 0: not in time; -EINTR. */
int wait_one(int fd, short events, int64_t until_ns);
/* For slicing a wait whose descriptors others may serve too: the moment to look again. Starts
 * at 10 ms and doubles up to 640, so that waiting long stays cheap. *slice_ns starts as 0. */
int64_t wait_slice(int64_t until_ns, int64_t *slice_ns);
/* Is the frame gone that has this address, and did something at since_ns (of tick_ns()) that never takes a second? A signal
 * handler may leave it by siglongjmp(). No: this is the handler. */
bool wait_is_left(uintptr_t frame, int64_t since_ns);
/* For who waits for another thread, which never takes long: gives way to it. False: it has had two seconds,
 * and that often a chance to run, that it will not come any more. */
struct patience {
	int64_t since_ns;
	uint32_t times;
};
bool wait_patiently(struct patience *patience);
/* After EINTR: does every installed handler have SA_RESTART, but those for faults? (TRAPS 2.9) */
bool wait_restarts_all(void);

#endif

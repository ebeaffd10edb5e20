/* SPDX-License-Identifier: MIT */
/*
 * loop.h - one epoll set, one heap of timers, one thread.
 *
 * Promises: level-triggered readiness; timers in milliseconds of CLOCK_MONOTONIC; a watch or
 * timer may be taken away inside any callback, but its memory must live until the batch is
 * over (loop_run calls `after_batch` then: free there).
 * Never: sleeps, allocates after loop_init, or knows what a connection is.
 */
#ifndef LAB_LOOP_H
#define LAB_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop_watch {
	int fd;
	uint32_t events;
	bool added;
	void (*ready)(struct loop_watch *w, uint32_t events);
};

struct loop_timer {
	uint64_t due_ms;
	size_t slot; /* place in the heap, from 1; 0: not armed */
	void (*fire)(struct loop_timer *t);
};

/* max_timers: how many timers can be armed at once. */
int loop_init(size_t max_timers);
void loop_end(void);
/* Runs until loop_stop(). */
int loop_run(void (*after_batch)(void));
void loop_stop(void);
uint64_t loop_now_ms(void);

/* Adds the watch or changes its mask. EPOLLERR and EPOLLHUP come in any case. */
int loop_watch(struct loop_watch *w, uint32_t events);
void loop_unwatch(struct loop_watch *w);
/* Arms the timer, or moves it if it was armed. */
void loop_arm(struct loop_timer *t, uint64_t in_ms);
void loop_disarm(struct loop_timer *t);

#define LOOP_OWNER(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#endif

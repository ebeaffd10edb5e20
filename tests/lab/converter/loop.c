// SPDX-License-Identifier: MIT
#include "converter.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define BATCH 128

static int epoll_fd = -1;
static bool stopping;
static struct loop_timer **heap; /* heap[1] is due first */
static size_t heap_len, heap_max;

int loop_init(size_t max_timers)
{
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0)
		return -errno;
	heap = calloc(max_timers + 1, sizeof(struct loop_timer *));
	heap_max = max_timers;
	return heap ? 0 : -ENOMEM;
}

void loop_end(void)
{
	free(heap);
	heap = NULL;
	if (epoll_fd >= 0)
		close(epoll_fd);
	epoll_fd = -1;
}

uint64_t loop_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* ------------------------------------------------------------------- timers */

static void put(size_t slot, struct loop_timer *t)
{
	heap[slot] = t;
	t->slot = slot;
}

static void sift_up(size_t slot)
{
	struct loop_timer *t = heap[slot];

	for (; slot > 1 && heap[slot / 2]->due_ms > t->due_ms; slot /= 2)
		put(slot, heap[slot / 2]);
	put(slot, t);
}

static void sift_down(size_t slot)
{
	struct loop_timer *t = heap[slot];

	for (size_t child; (child = slot * 2) <= heap_len; slot = child) {
		if (child < heap_len && heap[child + 1]->due_ms < heap[child]->due_ms)
			child++;
		if (heap[child]->due_ms >= t->due_ms)
			break;
		put(slot, heap[child]);
	}
	put(slot, t);
}

void loop_disarm(struct loop_timer *t)
{
	size_t slot = t->slot;
	struct loop_timer *last;

	if (!slot)
		return;
	t->slot = 0;
	last = heap[heap_len--];
	if (last == t)
		return;
	put(slot, last);
	sift_up(slot);
	sift_down(last->slot);
}

void loop_arm(struct loop_timer *t, uint64_t in_ms)
{
	loop_disarm(t);
	if (heap_len == heap_max)
		abort(); /* the caller promised less to loop_init */
	t->due_ms = loop_now_ms() + in_ms;
	put(++heap_len, t);
	sift_up(heap_len);
}

static void fire_due(void)
{
	uint64_t now = loop_now_ms();

	while (heap_len && heap[1]->due_ms <= now) {
		struct loop_timer *t = heap[1];

		loop_disarm(t);
		t->fire(t);
	}
}

static int next_timeout(void)
{
	uint64_t now = loop_now_ms();

	if (!heap_len)
		return -1;
	if (heap[1]->due_ms <= now)
		return 0;
	return heap[1]->due_ms - now > INT_MAX ? INT_MAX : (int)(heap[1]->due_ms - now);
}

/* ------------------------------------------------------------------ watches */

int loop_watch(struct loop_watch *w, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };

	if (w->added && w->events == events)
		return 0;
	if (epoll_ctl(epoll_fd, w->added ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, w->fd, &ev) < 0)
		return -errno;
	w->added = true;
	w->events = events;
	return 0;
}

void loop_unwatch(struct loop_watch *w)
{
	if (w->added)
		epoll_ctl(epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
	w->added = false;
}

void loop_stop(void)
{
	stopping = true;
}

int loop_run(void (*after_batch)(void))
{
	struct epoll_event ev[BATCH];

	while (!stopping) {
		int n = epoll_wait(epoll_fd, ev, BATCH, next_timeout());

		if (n < 0 && errno != EINTR)
			return -errno;
		for (int i = 0; i < n; i++) {
			struct loop_watch *w = ev[i].data.ptr;

			/* an earlier event of this batch may have taken it away */
			if (w->added)
				w->ready(w, ev[i].events);
		}
		fire_due();
		after_batch();
	}
	return 0;
}

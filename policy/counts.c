// SPDX-License-Identifier: MIT
#include "counts.h"

#include "state.h"

#include <stdatomic.h>
#include <string.h>

static _Atomic uint32_t pending[COUNTS_N];
static _Atomic int64_t flushed_ms;
/* So far there was nothing to count; a process that makes no connection touches no other page of ours. */
static _Atomic bool is_idle = true;
/* By a filter that may kill for any call that the program does not make itself. */
static _Atomic bool is_filtered;

/* No converter has the address 0. */
static const uint8_t key[STATE_CONVERTER_KEY];

_Static_assert(sizeof(struct counts) <= STATE_CONVERTER_VALUE, "what is kept");

struct sum {
	uint32_t n[COUNTS_N];
	int64_t now_ms;
};

static bool add(void *value, struct state_times *times, bool found, void *arg)
{
	const struct sum *more = arg;
	struct counts c;

	memcpy(&c, value, sizeof(c));
	if (!found)
		c.since_ms = more->now_ms;
	for (int i = 0; i < COUNTS_N; i++)
		c.n[i] += more->n[i];
	memcpy(value, &c, sizeof(c));
	times->until_ms = STATE_FOREVER;
	return true;
}

static void flush(int64_t now_ms)
{
	struct sum more = { .now_ms = now_ms };
	bool any = false;

	for (int i = 0; i < COUNTS_N; i++) {
		more.n[i] = atomic_exchange_explicit(&pending[i], 0, memory_order_relaxed);
		any |= more.n[i] > 0;
	}
	/* -EAGAIN: another process is just adding its own; later, then */
	if (!any || state_update(STATE_CONVERTER, key, now_ms, add, &more) == 0)
		return;
	for (int i = 0; i < COUNTS_N; i++)
		atomic_fetch_add_explicit(&pending[i], more.n[i], memory_order_relaxed);
}

void counts_add(enum counts_what what, int64_t now_ms)
{
	int64_t last;

	atomic_store_explicit(&is_idle, false, memory_order_relaxed);
	atomic_fetch_add_explicit(&pending[what], 1, memory_order_relaxed);
	if (what == COUNTS_DIRECT)
		return;
	last = atomic_load_explicit(&flushed_ms, memory_order_relaxed);
	if (last && now_ms >= last && now_ms - last < COUNTS_FLUSH_MS)
		return;
	/* of several threads one does it */
	if (atomic_compare_exchange_strong_explicit(&flushed_ms, &last, now_ms,
						    memory_order_relaxed, memory_order_relaxed))
		flush(now_ms);
}

bool counts_read(struct counts *counts, int64_t now_ms)
{
	uint8_t value[STATE_CONVERTER_VALUE];
	struct state_times times;

	*counts = (struct counts){ 0 };
	if (!state_get(STATE_CONVERTER, key, now_ms, value, &times))
		return false;
	memcpy(counts, value, sizeof(*counts));
	return true;
}

void counts_in_child(void)
{
	for (int i = 0; i < COUNTS_N; i++)
		atomic_store_explicit(&pending[i], 0, memory_order_relaxed);
	atomic_store_explicit(&flushed_ms, 0, memory_order_relaxed);
}

__attribute__((destructor)) void counts_before_filter(void)
{
	if (!atomic_load_explicit(&is_idle, memory_order_relaxed) &&
	    !atomic_load_explicit(&is_filtered, memory_order_relaxed))
		flush(state_now_ms());
}

void counts_filtered(void)
{
	atomic_store_explicit(&is_filtered, true, memory_order_relaxed);
}

// SPDX-License-Identifier: MIT
/* From which network is a converter seen? Asked of the kernel, and not again for a while. */
#include "health_int.h"

#include <stdatomic.h>
#include <string.h>

struct row {
	struct addr converter;
	uint64_t network;
	int64_t asked_ms; /* 0: the row is free */
	uint32_t used;
};

static struct row table[HEALTH_TABLE];
static uint32_t uses;
static atomic_flag busy = ATOMIC_FLAG_INIT;

static bool try_lock(void)
{
	return !atomic_flag_test_and_set_explicit(&busy, memory_order_acquire);
}

static void unlock(void)
{
	atomic_flag_clear_explicit(&busy, memory_order_release);
}

/* FNV-1a */
static uint64_t hash(uint64_t h, const void *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		h = (h ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3;
	return h;
}

uint64_t health_network(const struct pol_route *route)
{
	size_t len = addr_is_v4(&route->source) ? 16 : 8;
	uint64_t h = hash(0xcbf29ce484222325, route->source.ip, len);

	h = hash(h, route->interface, strnlen(route->interface, sizeof(route->interface)));
	return h ? h : 1;
}

/* The row for this address, or the one that goes next. */
static struct row *row_of(const struct addr *converter)
{
	struct row *oldest = table;

	for (unsigned int i = 0; i < HEALTH_TABLE; i++) {
		struct row *row = &table[i];

		if (row->asked_ms && health_is_same(&row->converter, converter))
			return row;
		if (!row->asked_ms || (oldest->asked_ms && uses - row->used > uses - oldest->used))
			oldest = row;
	}
	return oldest;
}

static bool recall(const struct addr *converter, int64_t now_ms, uint64_t *network)
{
	struct row *row;
	bool fresh;

	if (!try_lock())
		return false;
	row = row_of(converter);
	fresh = row->asked_ms && health_is_same(&row->converter, converter) &&
		now_ms >= row->asked_ms && now_ms - row->asked_ms < HEALTH_ROUTE_MS;
	if (fresh) {
		*network = row->network;
		row->used = ++uses;
	}
	unlock();
	return fresh;
}

void health_where(const struct addr *converter, pol_route_fn *route, int64_t now_ms,
		  struct health_key *key)
{
	struct pol_route r = { 0 };

	*key = (struct health_key){ .converter = *converter };
	if (recall(converter, now_ms, &key->network))
		return;
	if (route && route(converter, &r))
		key->network = health_network(&r);
	if (!try_lock())
		return;
	*row_of(converter) = (struct row){
		.converter = *converter, .network = key->network, .asked_ms = now_ms, .used = ++uses
	};
	unlock();
}

void health_network_forget(void)
{
	if (!try_lock())
		return;
	memset(table, 0, sizeof(table));
	unlock();
}

void health_network_in_child(void)
{
	if (!try_lock())
		memset(table, 0, sizeof(table));
	unlock();
}

// SPDX-License-Identifier: MIT
#include "limit.h"

#include <stddef.h>
#include <stdint.h>

#include "loop.h"

#define SLOTS	  1024
#define PERIOD_MS 1000

static struct slot {
	struct addr client;
	uint64_t since_ms;
	unsigned int taken;
} slots[SLOTS];

static size_t slot_of(const struct addr *a)
{
	uint32_t h = 2166136261u; /* FNV-1a */

	for (size_t i = 0; i < sizeof(a->ip); i++)
		h = (h ^ a->ip[i]) * 16777619u;
	return h % SLOTS;
}

bool limit_take(const struct addr *client, unsigned int most)
{
	struct slot *s = &slots[slot_of(client)];
	uint64_t now = loop_now_ms();

	if (!s->taken || !addr_equal_ip(&s->client, client) || now - s->since_ms >= PERIOD_MS)
		*s = (struct slot){ .client = *client, .since_ms = now };
	if (s->taken == most)
		return false;
	s->taken++;
	return true;
}

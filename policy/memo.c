// SPDX-License-Identifier: MIT
#include "memo.h"

#include <string.h>

void memo_key(uint8_t key[static MEMO_ADDR], const struct addr *address)
{
	memcpy(key, address->ip, 16);
	key[16] = (uint8_t)(address->port >> 8);
	key[17] = (uint8_t)address->port;
}

bool memo_try_lock(struct memo *m)
{
	return !atomic_flag_test_and_set_explicit(&m->busy, memory_order_acquire);
}

void memo_unlock(struct memo *m)
{
	atomic_flag_clear_explicit(&m->busy, memory_order_release);
}

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 32) * 0x9e3779b97f4a7c15;
	x = (x ^ x >> 29) * 0xbf58476d1ce4e5b9;
	return x ^ x >> 32;
}

/* The first row of the key's set. */
static struct memo_row *set_of(const struct memo *m, const uint8_t *key)
{
	unsigned int sets = m->n / m->ways;
	uint64_t high, low;
	uint16_t port;

	if (sets == 1)
		return m->rows;
	memcpy(&high, key, 8);
	memcpy(&low, key + 8, 8);
	memcpy(&port, key + 16, 2);
	return (struct memo_row *)((char *)m->rows +
				   mix(mix(high ^ port) ^ low) % sets * m->ways * m->row_size);
}

static struct memo_row *row_after(const struct memo *m, const struct memo_row *row, unsigned int n)
{
	return (struct memo_row *)((char *)row + n * m->row_size);
}

/* Most differ in what an IPv4 address ends with. */
static bool is_of(const struct memo_row *row, const uint8_t *key, size_t len)
{
	return row->key[15] == key[15] && row->checked_ms && memcmp(row->key, key, len) == 0;
}

void *memo_find(struct memo *m, const uint8_t *key)
{
	struct memo_row *row = m->last, *end;

	if (!row || !is_of(row, key, m->key_len)) {
		row = set_of(m, key);
		end = row_after(m, row, m->ways);
		while (!is_of(row, key, m->key_len))
			if ((row = row_after(m, row, 1)) == end)
				return NULL;
		m->last = row;
	}
	row->used = ++m->uses;
	return row;
}

void *memo_place(struct memo *m, const uint8_t *key)
{
	struct memo_row *oldest = set_of(m, key), *end = row_after(m, oldest, m->ways);
	struct memo_row *found = memo_find(m, key);

	if (found)
		return found;
	for (struct memo_row *row = row_after(m, oldest, 1); row < end;
	     row = row_after(m, row, 1)) {
		if (!row->checked_ms ||
		    (oldest->checked_ms && m->uses - row->used > m->uses - oldest->used))
			oldest = row;
	}
	memset(oldest, 0, m->row_size);
	memcpy(oldest->key, key, m->key_len);
	oldest->used = ++m->uses;
	return oldest;
}

void memo_drop(struct memo *m, const uint8_t *key)
{
	struct memo_row *row;

	if (!memo_try_lock(m))
		return;
	row = memo_find(m, key);
	if (row)
		row->checked_ms = 0;
	memo_unlock(m);
}

void memo_clear(struct memo *m)
{
	if (!memo_try_lock(m))
		return;
	memset(m->rows, 0, m->n * m->row_size);
	memo_unlock(m);
}

void memo_in_child(struct memo *m)
{
	if (!memo_try_lock(m))
		memset(m->rows, 0, m->n * m->row_size);
	memo_unlock(m);
}

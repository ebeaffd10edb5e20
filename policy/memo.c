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

/* Row i of the key's set. */
static struct memo_row *row_at(const struct memo *m, const uint8_t *key, unsigned int i)
{
	uint64_t high, low;
	uint16_t port;

	memcpy(&high, key, 8);
	memcpy(&low, key + 8, 8);
	memcpy(&port, key + 16, 2);
	i += (unsigned int)(mix(mix(high ^ port) ^ low) % (m->n / m->ways)) * m->ways;
	return (struct memo_row *)((char *)m->rows + i * m->row_size);
}

static struct memo_row *next_row(const struct memo *m, const struct memo_row *row)
{
	return (struct memo_row *)((char *)row + m->row_size);
}

void *memo_find(struct memo *m, const uint8_t *key)
{
	struct memo_row *row = row_at(m, key, 0), *end = row_at(m, key, m->ways);

	for (; row < end; row = next_row(m, row)) {
		if (row->checked_ms && memcmp(row->key, key, m->key_len) == 0) {
			row->used = ++m->uses;
			return row;
		}
	}
	return NULL;
}

void *memo_place(struct memo *m, const uint8_t *key)
{
	struct memo_row *end = row_at(m, key, m->ways), *oldest = row_at(m, key, 0);
	struct memo_row *found = memo_find(m, key);

	if (found)
		return found;
	for (struct memo_row *row = next_row(m, oldest); row < end; row = next_row(m, row)) {
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

/* SPDX-License-Identifier: MIT */
/*
 * memo.h - a table of what a process has asked, of a fixed size: nothing to allocate in somebody else's
 * process, a look-up whose cost has a bound, and pages that nobody touches cost nothing.
 *
 * Promises: never waits; the lock is held for some loads and stores, never over a system call.
 */
#ifndef CVT_MEMO_H
#define CVT_MEMO_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"

#define MEMO_ADDR    18 /* an address and a port, as the state file has them, are how a key begins */
#define MEMO_KEY_MAX 26

/* How a row begins. */
struct memo_row {
	int64_t checked_ms; /* when it was asked last; 0: the row is free */
	uint32_t used;	    /* the smaller, the longer ago */
	bool in_file;	    /* if it is not there any more, somebody has taken it out */
	uint8_t key[MEMO_KEY_MAX];
};

/* n rows, in sets: a key's row is one of its set, of which the one goes that was used longest ago. */
struct memo {
	void *rows;
	size_t row_size, key_len;
	unsigned int n, ways;
	uint32_t uses;
	atomic_flag busy;
	struct memo_row *last; /* found: one connection asks for the same several times */
};

#define MEMO_OF(table, ways, key_len)                                                            \
	{                                                                                        \
		table, sizeof((table)[0]), key_len, sizeof(table) / sizeof((table)[0]), ways, 0, \
			ATOMIC_FLAG_INIT, NULL                                                   \
	}

void memo_key(uint8_t key[static MEMO_ADDR], const struct addr *address);

bool memo_try_lock(struct memo *m);
void memo_unlock(struct memo *m);
/* Under the lock: the key's row, or NULL; or a blank one in its place. */
void *memo_find(struct memo *m, const uint8_t *key);
void *memo_place(struct memo *m, const uint8_t *key);

void memo_drop(struct memo *m, const uint8_t *key);
void memo_clear(struct memo *m);
/* After fork(): if another thread was at it, half a change may be in it. */
void memo_in_child(struct memo *m);

#endif

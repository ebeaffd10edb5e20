// SPDX-License-Identifier: MIT
/*
 * Memory for the configuration, instead of the program's malloc().
 *
 * The linker sends policy/'s malloc family here (-Wl,--wrap): the program's may open sockets, count, or be
 * interrupted by a signal right now. Only who reads the configuration allocates: mostly one thread, and another one
 * where that was waited for in vain.
 */
#include "memory.h"

#include <stdatomic.h>
#include <string.h>

#define CHUNK 65536

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);
void __wrap_free(void *p);

struct block {
	size_t size;
	_Alignas(max_align_t) unsigned char bytes[];
};

struct area {
	unsigned char *bytes;
	size_t size;
	_Atomic size_t used; /* or more, if it was asked for what it has no room for */
};

/* Most configurations need no more: touched as far as it is used. */
static _Alignas(max_align_t) unsigned char first_bytes[16384];
static struct area first = { first_bytes, sizeof(first_bytes), 0 };
static _Atomic(struct area *) area = &first;

static size_t aligned(size_t size)
{
	return (size + _Alignof(max_align_t) - 1) & ~(_Alignof(max_align_t) - 1);
}

static void *take(struct area *a, size_t whole)
{
	size_t at = atomic_fetch_add(&a->used, whole);

	return at <= a->size && whole <= a->size - at ? a->bytes + at : NULL;
}

static struct area *map_area(size_t whole)
{
	size_t head = aligned(sizeof(struct area)),
	       size = (head + whole + CHUNK - 1) / CHUNK * CHUNK;
	struct area *a = memory_map(size, MAP_PRIVATE);

	if (!a)
		return NULL;
	a->bytes = (unsigned char *)a + head;
	a->size = size - head;
	return a;
}

void *__wrap_malloc(size_t size)
{
	size_t whole = aligned(sizeof(struct block) + size);
	struct area *now = atomic_load(&area), *next;
	struct block *b;

	if (whole < size || whole > SIZE_MAX / 2)
		return NULL;
	while (!(b = take(now, whole))) {
		next = map_area(whole);
		if (!next)
			return NULL;
		/* that somebody else has mapped one at the same time is seldom, and costs that one */
		atomic_store(&area, next);
		now = next;
	}
	b->size = size;
	return b->bytes;
}

void *__wrap_calloc(size_t n, size_t size)
{
	/* fresh anonymous pages are zero and nothing is ever used twice */
	return size && n > SIZE_MAX / size ? NULL : __wrap_malloc(n * size);
}

void *__wrap_realloc(void *old, size_t size)
{
	void *new = __wrap_malloc(size);

	if (new &&old) {
		size_t was = ((struct block *)((unsigned char *)old -
					       offsetof(struct block, bytes)))
				     ->size;

		memcpy(new, old, was < size ? was : size);
	}
	return new;
}

void __wrap_free(void *p)
{
	(void)p; /* read once per process: what is not needed any more is little */
}

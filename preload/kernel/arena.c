// SPDX-License-Identifier: MIT
/*
 * Memory for the configuration, instead of the program's malloc().
 *
 * The linker sends policy/'s malloc family here (-Wl,--wrap): the program's may open sockets, count, or be
 * interrupted by a signal right now. Only the thread that reads the configuration allocates.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#define CHUNK 65536

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);
void __wrap_free(void *p);

struct block {
	size_t size;
	_Alignas(max_align_t) unsigned char bytes[];
};

/* Most configurations need no more: touched as far as it is used. */
static _Alignas(max_align_t) unsigned char first[16384];
static unsigned char *room = first;
static size_t left = sizeof(first);

void *__wrap_malloc(size_t size)
{
	size_t whole = (sizeof(struct block) + size + _Alignof(max_align_t) - 1) &
		       ~(_Alignof(max_align_t) - 1);
	struct block *b;

	if (whole < size)
		return NULL;
	if (whole > left) {
		size_t chunk = whole > CHUNK ? (whole + CHUNK - 1) / CHUNK * CHUNK : CHUNK;
		void *p = mmap(NULL, chunk, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			       0);

		if (p == MAP_FAILED)
			return NULL;
		room = p;
		left = chunk;
	}
	b = (struct block *)room;
	b->size = size;
	room += whole;
	left -= whole;
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

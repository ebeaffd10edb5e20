// SPDX-License-Identifier: MIT
#include "rules_int.h"

#include <string.h>

typedef bool less_fn(const void *, const void *);

bool rules_are_sorted(const void *array, size_t n, size_t size, less_fn *less)
{
	const uint8_t *at = array, *last = at + (n ? n - 1 : 0) * size;

	while (at < last && !less(at + size, at))
		at += size;
	return at == last;
}

/* From a up to b and from b up to end, into one. */
static void merge(uint8_t *to, const uint8_t *a, const uint8_t *b, const uint8_t *end, size_t size,
		  less_fn *less)
{
	const uint8_t *middle = b;

	for (; a < middle && b < end; to += size) {
		const uint8_t **from = less(b, a) ? &b : &a;

		memcpy(to, *from, size);
		*from += size;
	}
	memcpy(to, a, (size_t)(middle - a));
	memcpy(to + (middle - a), b, (size_t)(end - b));
}

/* Merges runs of 1, 2, 4 and so on. */
void rules_sort(void *array, void *spare, size_t n, size_t size, less_fn *less)
{
	uint8_t *from = array, *to = spare, *end = from + n * size;

	for (size_t run = size; run < n * size; run *= 2) {
		for (uint8_t *a = from; a < end; a += 2 * run) {
			size_t left = (size_t)(end - a), both = left < 2 * run ? left : 2 * run;

			merge(to + (a - from), a, a + (left < run ? left : run), a + both, size,
			      less);
		}
		memcpy(from, to, n * size);
	}
}

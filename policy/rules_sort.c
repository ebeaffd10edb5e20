// SPDX-License-Identifier: MIT
#include "rules_int.h"

#include <string.h>

static void swap(uint8_t *a, uint8_t *b, size_t size)
{
	uint8_t spare[sizeof(struct rule_entry)];

	memcpy(spare, a, size);
	memcpy(a, b, size);
	memcpy(b, spare, size);
}

static void sift_down(uint8_t *base, size_t at, size_t n, size_t size,
		      bool (*less)(const void *, const void *))
{
	for (size_t child = 2 * at + 1; child < n; child = 2 * at + 1) {
		if (child + 1 < n && less(base + child * size, base + (child + 1) * size))
			child++;
		if (!less(base + at * size, base + child * size))
			return;
		swap(base + at * size, base + child * size, size);
		at = child;
	}
}

/* Heap sort. size is at most that of struct rule_entry. */
void rules_sort(void *array, size_t n, size_t size, bool (*less)(const void *, const void *))
{
	uint8_t *base = array;

	for (size_t i = n / 2; i > 0; i--)
		sift_down(base, i - 1, n, size, less);
	for (size_t i = n; i > 1; i--) {
		swap(base, base + (i - 1) * size, size);
		sift_down(base, 0, i - 1, size, less);
	}
}

// SPDX-License-Identifier: MIT
#include "fdt.h"

_Atomic uint16_t fdt_words[FDT_MAX]; /* 2 MiB of address space, touched where numbers are used */
_Atomic int fdt_unsettled = 1;

static void count(enum fdt_mark old, enum fdt_mark new)
{
	int change = fdt_is_unsettled(new) - fdt_is_unsettled(old);

	if (change)
		atomic_fetch_add_explicit(&fdt_unsettled, change, memory_order_relaxed);
}

void fdt_started(void)
{
	atomic_fetch_sub_explicit(&fdt_unsettled, 1, memory_order_relaxed);
}

bool fdt_change_seen(int fd, uint16_t word, enum fdt_mark to)
{
	uint16_t next = (uint16_t)(((word >> 8) + 1U) << 8 | (unsigned int)to);

	if (fd < 0 || fd >= FDT_MAX ||
	    !atomic_compare_exchange_strong_explicit(&fdt_words[fd], &word, next,
						     memory_order_acq_rel, memory_order_relaxed))
		return false;
	count(fdt_mark_in(word), to);
	return true;
}

void fdt_set(int fd, enum fdt_mark mark)
{
	uint16_t word;

	if (fd < 0 || fd >= FDT_MAX)
		return;
	do
		word = fdt_look(fd);
	while (fdt_mark_in(word) != mark && !fdt_change_seen(fd, word, mark));
}

bool fdt_change(int fd, enum fdt_mark from, enum fdt_mark to)
{
	uint16_t word;

	if (fd < 0 || fd >= FDT_MAX)
		return false;
	do
		word = fdt_look(fd);
	while (fdt_mark_in(word) == from && !fdt_change_seen(fd, word, to));
	return fdt_mark_in(word) == from;
}

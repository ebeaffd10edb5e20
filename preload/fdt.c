// SPDX-License-Identifier: MIT
#include "fdt.h"

_Atomic uint8_t fdt_marks[FDT_MAX]; /* 1 MiB of address space, touched where numbers are used */
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

void fdt_set(int fd, enum fdt_mark mark)
{
	if (fd < 0 || fd >= FDT_MAX || fdt_get(fd) == mark)
		return;
	count((enum fdt_mark)atomic_exchange_explicit(&fdt_marks[fd], (uint8_t)mark,
						      memory_order_acq_rel),
	      mark);
}

bool fdt_change(int fd, enum fdt_mark from, enum fdt_mark to)
{
	uint8_t expected = (uint8_t)from;

	if (fd < 0 || fd >= FDT_MAX ||
	    !atomic_compare_exchange_strong_explicit(&fdt_marks[fd], &expected, (uint8_t)to,
						     memory_order_acq_rel, memory_order_relaxed))
		return false;
	count(from, to);
	return true;
}

// SPDX-License-Identifier: MIT
#include "marks.h"

_Atomic uint16_t mark_words[MARK_MAX]; /* 2 MiB of address space, touched where numbers are used */
_Atomic int mark_unsettled = 1;
__thread bool mark_is_apart __attribute__((tls_model("initial-exec")));

static void count(enum mark old, enum mark new)
{
	int change = mark_is_unsettled(new) - mark_is_unsettled(old);

	if (change)
		atomic_fetch_add_explicit(&mark_unsettled, change, memory_order_relaxed);
}

AT_START void mark_started(void)
{
	atomic_fetch_sub_explicit(&mark_unsettled, 1, memory_order_relaxed);
}

bool mark_change_seen(int fd, uint16_t word, enum mark to)
{
	uint16_t next = (uint16_t)(((word >> 8) + 1U) << 8 | (unsigned int)to);

	if (fd < 0 || fd >= MARK_MAX ||
	    !atomic_compare_exchange_strong_explicit(&mark_words[fd], &word, next,
						     memory_order_acq_rel, memory_order_relaxed))
		return false;
	count(mark_in(word), to);
	return true;
}

void mark_set(int fd, enum mark mark)
{
	uint16_t word;

	if (fd < 0 || fd >= MARK_MAX)
		return;
	do
		word = mark_look(fd);
	while (mark_in(word) != mark && !mark_change_seen(fd, word, mark));
}

bool mark_change(int fd, enum mark from, enum mark to)
{
	uint16_t word;

	if (fd < 0 || fd >= MARK_MAX)
		return false;
	do
		word = mark_look(fd);
	while (mark_in(word) == from && !mark_change_seen(fd, word, to));
	return mark_in(word) == from;
}

void mark_rule_out(int fd)
{
	uint16_t word;

	if (mark_is_apart)
		return;
	do
		word = mark_look(fd);
	while (mark_is_fresh(mark_in(word)) && !mark_change_seen(fd, word, MARK_OTHER));
}

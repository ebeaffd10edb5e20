// SPDX-License-Identifier: MIT
#include "due.h"

#include <stdatomic.h>

/* A tree of which each node has the soonest moment of those below it: INT64_MAX less that, so that 0 is none,
 * and in the low bits how often something was added, for soonest() to see that it was. A lowest one is of FAN
 * numbers, and of those that are ROUND further, as hardly a process has so many. */
#define FAN    16
#define ROUND  (FAN * FAN * FAN * FAN)
#define LOWEST (1 + FAN + FAN * FAN)
#define TIMES  0xffff
static _Atomic int64_t nodes[LOWEST + ROUND / FAN];

static int64_t moment(int64_t node)
{
	return INT64_MAX - (node & ~TIMES);
}

static int64_t with(int64_t node, int64_t at_ns, int added)
{
	return ((INT64_MAX - at_ns) & ~TIMES) | (((node & TIMES) + added) & TIMES);
}

/* From the numbers up, while soonest() goes down: what the one adds is seen by the other, or noticed. */
void due_at(int fd, int64_t at_ns)
{
	for (int i = LOWEST + fd % ROUND / FAN;; i = (i - 1) / FAN) {
		int64_t node = atomic_load(&nodes[i]), next;

		do
			next = with(node, at_ns < moment(node) ? at_ns : moment(node), 1);
		while (!atomic_compare_exchange_weak(&nodes[i], &node, next));
		if (!i)
			return;
	}
}

int64_t due_next(void)
{
	return moment(atomic_load(&nodes[0]));
}

struct walk {
	int64_t at_ns;
	int highest;
	int64_t (*look)(int fd);
};

static int64_t soonest(int i, const struct walk *w);

static int64_t below(int i, int child, const struct walk *w) /* NOLINT(misc-no-recursion) */
{
	int64_t least = INT64_MAX, at_ns;

	if (i < LOWEST)
		return soonest(i * FAN + 1 + child, w);
	for (int fd = (i - LOWEST) * FAN + child; fd <= w->highest; fd += ROUND)
		if ((at_ns = w->look(fd)) < least)
			least = at_ns;
	return least;
}

/* Not deeper than the tree: four. Until all below have been looked after, others see that they are due. */
static int64_t soonest(int i, const struct walk *w) /* NOLINT(misc-no-recursion) */
{
	int64_t node = atomic_load(&nodes[i]), least = INT64_MAX, at_ns;

	if (moment(node) > w->at_ns)
		return moment(node);
	for (int child = 0; child < FAN; child++)
		if ((at_ns = below(i, child, w)) < least)
			least = at_ns;
	return atomic_compare_exchange_strong(&nodes[i], &node, with(node, least, 0)) ?
		       least :
		       moment(node);
}

void due_each(int64_t at_ns, int highest, int64_t (*look)(int fd))
{
	soonest(0, &(struct walk){ at_ns, highest, look });
}

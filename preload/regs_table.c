// SPDX-License-Identifier: MIT
/* The table of registrations, and the lock around it. */
#include "regs_int.h"

#include <sched.h>

struct reg regs_table[REGS_MAX];
_Atomic uint16_t regs_heads[FDT_MAX];
uint32_t regs_touched = 1;
uint32_t regs_process;
static uint16_t free_list;
static _Atomic bool table_was_full;

/* The thread that holds the table: an address of its own. A signal handler that has interrupted
 * its own thread inside does not get it: its epoll_ctl() then goes unfollowed, and what it would have
 * exchanged or put back is left over for the frame that it has interrupted. */
static _Atomic uintptr_t holder;
static __thread char me __attribute__((tls_model("initial-exec")));
static __thread volatile bool left_over __attribute__((tls_model("initial-exec")));

bool regs_lock(void)
{
	uintptr_t nobody = 0;

	while (!atomic_compare_exchange_weak_explicit(&holder, &nobody, (uintptr_t)&me,
						      memory_order_acquire, memory_order_relaxed)) {
		if (nobody == (uintptr_t)&me) {
			left_over = true;
			return false;
		}
		nobody = 0;
		sched_yield();
	}
	return true;
}

void regs_unlock(void)
{
	do {
		while (left_over) {
			left_over = false;
			regs_catch_up();
		}
		atomic_store_explicit(&holder, 0, memory_order_release);
	} while (left_over && regs_lock());
}

void regs_in_child(void)
{
	atomic_store(&holder, 0);
	regs_process++;
}

struct reg *regs_find(int epfd, int fd)
{
	for (uint16_t i = regs_heads[fd]; i; i = regs_table[i].next)
		if (regs_table[i].epfd == epfd)
			return &regs_table[i];
	return NULL;
}

struct reg *regs_enter(int epfd, int fd, const struct epoll_event *event)
{
	uint32_t i = free_list;

	if (i)
		free_list = regs_table[i].next;
	else if (regs_touched < REGS_MAX)
		i = regs_touched++;
	else
		return NULL;
	regs_table[i] = (struct reg){ .epfd = epfd,
				      .fd = fd,
				      .wanted = *event,
				      .process = regs_process,
				      .next = regs_heads[fd],
				      .used = true };
	regs_heads[fd] = (uint16_t)i;
	return &regs_table[i];
}

void regs_drop(struct reg *r)
{
	uint16_t index = (uint16_t)(r - regs_table), before = 0;

	for (uint16_t i = regs_heads[r->fd]; i != index; i = regs_table[i].next)
		before = i;
	if (before)
		regs_table[before].next = r->next;
	else
		regs_heads[r->fd] = r->next;
	*r = (struct reg){ .next = free_list };
	free_list = index;
}

static bool follow(int epfd, int op, int fd, const struct epoll_event *event)
{
	struct reg *r = regs_find(epfd, fd);

	if (op == EPOLL_CTL_DEL) {
		if (r)
			regs_drop(r);
		return true;
	}
	if (!r)
		return regs_enter(epfd, fd, event) != NULL;
	r->wanted = *event;
	r->oneshot = ASK; /* it may fire before the connect() */
	return true;
}

bool regs_follow(int epfd, int op, int fd, const struct epoll_event *event)
{
	bool ok;

	if (fd < 0 || fd >= FDT_MAX)
		return true;
	if (op == EPOLL_CTL_DEL && !regs_heads[fd])
		return true;
	if (!regs_lock())
		return false;
	ok = follow(epfd, op, fd, event);
	regs_unlock();
	if (!ok)
		atomic_store(&table_was_full, true);
	return ok;
}

bool regs_has(int fd)
{
	return regs_heads[fd];
}

bool regs_is_lost(int fd)
{
	return atomic_load(&table_was_full) && !regs_heads[fd];
}

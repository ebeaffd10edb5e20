/* SPDX-License-Identifier: MIT */
/* epsets_int.h - the table of registrations, for epsets.c and epsets_table.c only. */
#ifndef CVT_EPSETS_INT_H
#define CVT_EPSETS_INT_H

#include "marks.h"
#include "epsets.h"

struct reg {
	int epfd, fd;
	struct epoll_event wanted; /* the program's */
	uint32_t native;  /* the mask that the kernel has from us, 0: the program's is in place */
	uint32_t process; /* generation of processes that entered it */
	struct exchange *exchange;	    /* that it was last exchanged for */
	uint32_t bit;			    /* in the exchange's put_back, 0 for none */
	enum { ASK, ARMED, FIRED } oneshot; /* an EPOLLONESHOT one that fired is silent until MOD */
	uint32_t index;
	uint32_t next; /* of the same fd, or of the free list; 0 ends */
	bool lifted;   /* taken out, to be entered again with another socket */
	bool used;
};

/* Index 0 is not used; memory is there as far as entries were ever needed, up to epset_touched. */
struct reg *epset_at(uint32_t index);
extern uint32_t epset_touched INTERNAL;
/* fd -> the index of its first registration. The last value that there is: nobody knows. */
#define EPSET_LOST UINT32_MAX
extern _Atomic uint32_t epset_heads[MARK_MAX] INTERNAL;
static inline uint32_t epset_first(int fd)
{
	uint32_t first = atomic_load_explicit(&epset_heads[fd], memory_order_relaxed);

	return first == EPSET_LOST ? 0 : first;
}
/* Generation of processes: one more after each fork, in the child. */
extern uint32_t epset_process INTERNAL;

/* False: this thread has it already, and this is a signal handler that has interrupted it. What it
 * would have exchanged or put back is then left over for epset_catch_up(). */
bool epset_lock(void);
void epset_unlock(void);
/* By epset_unlock(): what signal handlers could not do while this thread held the table. */
void epset_catch_up(void);

/* With the lock held. */
struct reg *epset_find(int epfd, int fd);
/* NULL: the table is full. */
struct reg *epset_enter(int epfd, int fd, const struct epoll_event *event);
void epset_drop(struct reg *r);

#endif

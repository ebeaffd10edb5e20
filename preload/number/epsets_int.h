/* SPDX-License-Identifier: MIT */
/* epsets_int.h - the table of registrations: epsets_table.c, epsets.c, and above both epsets_calls.c, which has
 * nothing here; each calls those before it. */
#ifndef CVT_EPSETS_INT_H
#define CVT_EPSETS_INT_H

#include "marks.h"
#include "epsets.h"

struct reg {
	int epfd, fd;
	struct epoll_event wanted; /* the program's */
	uint32_t native;  /* the mask that the kernel has from us, 0: the program's is in place */
	uint32_t process; /* generation of processes that entered it */
	uint32_t forks;	  /* that there had been by then */
	struct watch *watch;		    /* that it was last swapped for */
	uint32_t bit;			    /* in the watch's put_back, 0 for none */
	enum { ASK, ARMED, FIRED } oneshot; /* an EPOLLONESHOT one that fired is silent until MOD */
	uint32_t index;
	uint32_t next; /* of the same fd, or of the free list; 0 ends */
	bool lifted;   /* taken out, to be entered again with another socket */
	bool used;
};

/* epsets_table.c. Index 0 is not used; memory is there as far as entries were ever needed, up to epset_touched. */
struct reg *epset_at(uint32_t index);
extern uint32_t epset_touched INTERNAL;
/* fd -> the index of its first registration, in pages that are there as far as they were ever needed. The
 * last value that there is: nobody knows. */
#define EPSET_LOST UINT32_MAX
#define EPSET_PAGE 1024
extern _Atomic(_Atomic uint32_t *) epset_heads[MARK_MAX / EPSET_PAGE] INTERNAL;
extern _Atomic bool epset_out_of_pages
	INTERNAL; /* what stands in those that are not there is lost */
static inline uint32_t epset_head(int fd)
{
	_Atomic uint32_t *page = atomic_load_explicit(&epset_heads[fd / EPSET_PAGE],
						      memory_order_acquire);

	if (page)
		return atomic_load_explicit(&page[fd % EPSET_PAGE], memory_order_relaxed);
	return atomic_load_explicit(&epset_out_of_pages, memory_order_relaxed) ? EPSET_LOST : 0;
}
/* Value 0 needs no page. With the lock held, as all changes. */
bool epset_set_head(int fd, uint32_t value);
static inline uint32_t epset_first(int fd)
{
	uint32_t first = epset_head(fd);

	return first == EPSET_LOST ? 0 : first;
}
/* Generation of processes: one more after each fork, in the child. */
extern uint32_t epset_process INTERNAL;
extern _Atomic uint32_t epset_forks INTERNAL;
struct reg *epset_find(int epfd, int fd);
/* NULL: the table is full. */
struct reg *epset_enter(int epfd, int fd, const struct epoll_event *event);
void epset_drop(struct reg *r);
/* fd is in a set that we know nothing of, and is not converted. */
void epset_lose(int fd);

/* epsets.c. False: this thread has it already, and this is a signal handler that has interrupted it. What it
 * would have swapped or put back is then left over for epset_unlock(). */
bool epset_lock(void);
void epset_unlock(void);

/* With the lock held. The program's registration is to be with the kernel as this one; and ours, with what
 * w wants from now on. 0 or a negative errno. */
int epset_modify(struct reg *r, struct epoll_event *event);
struct epoll_event epset_take(struct reg *r, struct watch *w);
bool epset_is_silent(struct reg *r);
struct epoll_event epset_ours(const struct reg *r, uint32_t wants);
/* Is the word one of ours, and then the index of which registration? */
bool epset_is_word(uint64_t word, uint32_t *index);

static inline int epset_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	return (int)sys_result(syscall(SYS_epoll_ctl, epfd, op, fd, event));
}

#endif

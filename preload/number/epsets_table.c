// SPDX-License-Identifier: MIT
/* The table of registrations. */
#include "epsets_int.h"
#include "wait.h"

#include <fcntl.h>
#include <sys/mman.h>

#define CHUNK (EPSET_MAX < 1024 ? EPSET_MAX : 1024)

static struct reg first_chunk[CHUNK]; /* most processes need no other */
static _Atomic(struct reg *) chunks[EPSET_MAX / CHUNK];
_Atomic uint32_t epset_heads[MARK_MAX];
uint32_t epset_touched = 1;
uint32_t epset_process;
static uint32_t free_list;
static uint32_t hand; /* where what has gone is looked for */

struct reg *epset_at(uint32_t index)
{
	struct reg *chunk = index < epset_touched ? atomic_load(&chunks[index / CHUNK]) : NULL;

	return chunk ? &chunk[index % CHUNK] : NULL;
}

struct reg *epset_find(int epfd, int fd)
{
	for (uint32_t i = epset_first(fd); i; i = epset_at(i)->next)
		if (epset_at(i)->epfd == epfd)
			return epset_at(i);
	return NULL;
}

/* ------------------------------------------------------------------------------ room */

static bool has_chunk(uint32_t index)
{
	size_t size = CHUNK * sizeof(struct reg);
	void *p;

	if (index >= EPSET_MAX)
		return false;
	if (chunks[index / CHUNK])
		return true;
	p = index < CHUNK ?
		    first_chunk :
		    mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return false;
	chunks[index / CHUNK] = p;
	return true;
}

static bool is_gone(const struct reg *r)
{
	return r->used && (sys_fcntl(r->epfd, F_GETFD, 0) < 0 || sys_fcntl(r->fd, F_GETFD, 0) < 0);
}

/* Some entries further each time, so that nobody waits for all of them. */
#define AT_ONCE 64
static void clear_some(void)
{
	for (int i = 0; i < AT_ONCE && epset_touched > 1; i++) {
		struct reg *r;

		hand = hand + 1 < epset_touched ? hand + 1 : 1;
		r = epset_at(hand);
		if (is_gone(r))
			epset_drop(r);
	}
}

/* 0: there is none. */
static uint32_t new_index(void)
{
	uint32_t index;

	if (!free_list && !has_chunk(epset_touched))
		clear_some();
	index = free_list;
	if (index)
		free_list = epset_at(index)->next;
	else if (has_chunk(epset_touched))
		index = epset_touched++;
	return index;
}

struct reg *epset_enter(int epfd, int fd, const struct epoll_event *event)
{
	uint32_t index = epset_heads[fd] == EPSET_LOST ? 0 : new_index();
	struct reg *r;

	if (!index)
		return NULL;
	r = epset_at(index);
	*r = (struct reg){ .epfd = epfd,
			   .fd = fd,
			   .wanted = *event,
			   .process = epset_process,
			   .index = index,
			   .next = epset_heads[fd],
			   .used = true };
	epset_heads[fd] = index;
	return r;
}

void epset_drop(struct reg *r)
{
	uint32_t index = r->index, before = 0;

	for (uint32_t i = epset_first(r->fd); i != index; i = epset_at(i)->next)
		before = i;
	if (before)
		epset_at(before)->next = r->next;
	else
		epset_heads[r->fd] = r->next;
	*r = (struct reg){ .index = index, .next = free_list };
	free_list = index;
}

void epset_lose(int fd)
{
	while (epset_first(fd))
		epset_drop(epset_at(epset_first(fd)));
	epset_heads[fd] = EPSET_LOST;
}

bool epset_has(int fd)
{
	return epset_first(fd);
}

bool epset_is_lost(int fd)
{
	return atomic_load_explicit(&epset_heads[fd], memory_order_relaxed) == EPSET_LOST;
}

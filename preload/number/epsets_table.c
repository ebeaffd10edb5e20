// SPDX-License-Identifier: MIT
/* The table of registrations. */
#include "epsets_int.h"

#include "memory.h"

#define CHUNK (EPSET_MAX < 1024 ? EPSET_MAX : 1024)

static struct reg first_chunk[CHUNK]; /* most processes need no other */
static _Atomic(struct reg *) chunks[EPSET_MAX / CHUNK];
static _Atomic uint32_t first_heads[EPSET_PAGE];
_Atomic(_Atomic uint32_t *) epset_heads[MARK_MAX / EPSET_PAGE];
_Atomic bool epset_out_of_pages;
uint32_t epset_touched = 1;
uint32_t epset_process;
_Atomic uint32_t epset_forks;
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
	if (index >= EPSET_MAX)
		return false;
	if (!chunks[index / CHUNK])
		chunks[index / CHUNK] = index < CHUNK ?
						first_chunk :
						memory_map(CHUNK * sizeof(struct reg), MAP_PRIVATE);
	return chunks[index / CHUNK];
}

bool epset_set_head(int fd, uint32_t value)
{
	_Atomic uint32_t *page = epset_heads[fd / EPSET_PAGE];

	/* what was registered of its numbers while there was no room for it nobody knows */
	if (!page && (value || epset_out_of_pages)) {
		page = fd < EPSET_PAGE ? first_heads :
					 memory_map(EPSET_PAGE * sizeof(*page), MAP_PRIVATE);
		for (int i = 0; page && epset_out_of_pages && i < EPSET_PAGE; i++)
			page[i] = EPSET_LOST;
		epset_heads[fd / EPSET_PAGE] = page;
	}
	if (page)
		page[fd % EPSET_PAGE] = value;
	return page || !value;
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

static void give_back(struct reg *r)
{
	*r = (struct reg){ .index = r->index, .next = free_list };
	free_list = r->index;
}

struct reg *epset_enter(int epfd, int fd, const struct epoll_event *event)
{
	uint32_t index = epset_is_lost(fd) ? 0 : new_index();
	struct reg *r;

	if (!index)
		return NULL;
	r = epset_at(index);
	*r = (struct reg){ .epfd = epfd,
			   .fd = fd,
			   .wanted = *event,
			   .process = epset_process,
			   .forks = atomic_load(&epset_forks),
			   .index = index,
			   .next = epset_first(fd),
			   .used = true };
	if (epset_set_head(fd, index))
		return r;
	give_back(r);
	return NULL;
}

void epset_drop(struct reg *r)
{
	uint32_t before = 0;

	for (uint32_t i = epset_first(r->fd); i != r->index; i = epset_at(i)->next)
		before = i;
	if (before)
		epset_at(before)->next = r->next;
	else
		epset_set_head(r->fd, r->next);
	give_back(r);
}

void epset_lose(int fd)
{
	while (epset_first(fd))
		epset_drop(epset_at(epset_first(fd)));
	if (!epset_set_head(fd, EPSET_LOST))
		epset_out_of_pages = true;
}

bool epset_has(int fd)
{
	return epset_first(fd);
}

bool epset_is_lost(int fd)
{
	return epset_head(fd) == EPSET_LOST;
}

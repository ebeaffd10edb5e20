// SPDX-License-Identifier: MIT
/* The table of registrations, and the lock around it. */
#include "regs_int.h"
#include "wait.h"

#include <fcntl.h>
#include <sys/mman.h>

#define CHUNK (REGS_MAX < 1024 ? REGS_MAX : 1024)

static _Atomic(struct reg *) chunks[REGS_MAX / CHUNK];
_Atomic uint32_t regs_heads[FDT_MAX];
uint32_t regs_touched = 1;
uint32_t regs_process;
static uint32_t free_list;
static uint32_t hand; /* where what has gone is looked for */

/* The thread that holds the table: an address of its own. A signal handler that has interrupted
 * its own thread inside does not get it: its epoll_ctl() then goes unfollowed, and what it would have
 * exchanged or put back is left over for the frame that it has interrupted. */
static _Atomic uintptr_t holder;
static __thread char me __attribute__((tls_model("initial-exec")));
static __thread volatile bool left_over __attribute__((tls_model("initial-exec")));
/* Where it has taken it, and when: it may have left by siglongjmp(). */
static __thread uintptr_t frame __attribute__((tls_model("initial-exec")));
static __thread int64_t since_ns __attribute__((tls_model("initial-exec")));

bool regs_lock(void)
{
	uintptr_t nobody = 0;
	struct patience patience = { 0 };

	while (!atomic_compare_exchange_weak_explicit(&holder, &nobody, (uintptr_t)&me,
						      memory_order_acquire, memory_order_relaxed)) {
		if (nobody == (uintptr_t)&me && !wait_is_left(frame, since_ns)) {
			left_over = true;
			return false;
		}
		/* one that never comes back has left the lists whole, whatever it was at */
		if ((nobody == (uintptr_t)&me || !wait_patiently(&patience)) &&
		    atomic_compare_exchange_strong(&holder, &nobody, (uintptr_t)&me))
			break;
		nobody = 0;
	}
	frame = (uintptr_t)__builtin_frame_address(0);
	since_ns = now_ns();
	return true;
}

void regs_unlock(void)
{
	uintptr_t nobody;

	do {
		while (left_over) {
			left_over = false;
			regs_catch_up();
		}
		nobody = (uintptr_t)&me; /* it has not been overruled */
		atomic_compare_exchange_strong_explicit(&holder, &nobody, 0, memory_order_release,
							memory_order_relaxed);
	} while (left_over && regs_lock());
}

void regs_in_child(void)
{
	atomic_store(&holder, 0);
	regs_process++;
}

struct reg *regs_at(uint32_t index)
{
	struct reg *chunk = index < regs_touched ? atomic_load(&chunks[index / CHUNK]) : NULL;

	return chunk ? &chunk[index % CHUNK] : NULL;
}

struct reg *regs_find(int epfd, int fd)
{
	for (uint32_t i = regs_first(fd); i; i = regs_at(i)->next)
		if (regs_at(i)->epfd == epfd)
			return regs_at(i);
	return NULL;
}

/* ------------------------------------------------------------------------------ room */

static bool has_chunk(uint32_t index)
{
	size_t size = CHUNK * sizeof(struct reg);
	void *p;

	if (index >= REGS_MAX)
		return false;
	if (chunks[index / CHUNK])
		return true;
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
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
	for (int i = 0; i < AT_ONCE && regs_touched > 1; i++) {
		struct reg *r;

		hand = hand + 1 < regs_touched ? hand + 1 : 1;
		r = regs_at(hand);
		if (is_gone(r))
			regs_drop(r);
	}
}

/* 0: there is none. */
static uint32_t new_index(void)
{
	uint32_t index;

	if (!free_list && !has_chunk(regs_touched))
		clear_some();
	index = free_list;
	if (index)
		free_list = regs_at(index)->next;
	else if (has_chunk(regs_touched))
		index = regs_touched++;
	return index;
}

struct reg *regs_enter(int epfd, int fd, const struct epoll_event *event)
{
	uint32_t index = regs_heads[fd] == REGS_LOST ? 0 : new_index();
	struct reg *r;

	if (!index)
		return NULL;
	r = regs_at(index);
	*r = (struct reg){ .epfd = epfd,
			   .fd = fd,
			   .wanted = *event,
			   .process = regs_process,
			   .index = index,
			   .next = regs_heads[fd],
			   .used = true };
	regs_heads[fd] = index;
	return r;
}

void regs_drop(struct reg *r)
{
	uint32_t index = r->index, before = 0;

	for (uint32_t i = regs_first(r->fd); i != index; i = regs_at(i)->next)
		before = i;
	if (before)
		regs_at(before)->next = r->next;
	else
		regs_heads[r->fd] = r->next;
	*r = (struct reg){ .index = index, .next = free_list };
	free_list = index;
}

/* It is in a set that we know nothing of, and is not converted. */
static void lose(int fd)
{
	while (regs_first(fd))
		regs_drop(regs_at(regs_first(fd)));
	regs_heads[fd] = REGS_LOST;
}

static bool follow(int epfd, int op, int fd, const struct epoll_event *event)
{
	struct reg *r = regs_find(epfd, fd);

	if (op == EPOLL_CTL_DEL) {
		if (r)
			regs_drop(r);
		return true;
	}
	if (!r && regs_enter(epfd, fd, event))
		return true;
	if (!r) {
		if (!fdt_has_record(fdt_get(fd)))
			lose(fd);
		return false;
	}
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
	return ok;
}

bool regs_has(int fd)
{
	return regs_first(fd);
}

bool regs_is_lost(int fd)
{
	return atomic_load_explicit(&regs_heads[fd], memory_order_relaxed) == REGS_LOST;
}

// SPDX-License-Identifier: MIT
/* Where exchanges live: shared memory, and who may touch one. */
#include "memory.h"
#include "real.h"
#include "slots.h"
#include "wait.h"

#include <stddef.h>
#include <string.h>

#define SLOTS	      16384 /* exchanges at once, in this process and its forked children */
#define SLOTS_FIRST   64    /* of which so many are used until more are needed */
#define SLOTS_FORKED  4096
#define LOCK_STALE_MS 1000
#define HOUR_MS	      3600000

struct shared {
	_Atomic uint32_t next_slot, next_thread;
	_Atomic bool forked;
	struct exchange slots[SLOTS_FIRST];
};

static _Atomic(void *) shared; /* struct shared */
/* More of them, mapped when they are needed. What a process maps after a fork it has in common with its own
 * children alone; they alone have records of what is in there. */
static const uint32_t begins[] = { 0, SLOTS_FIRST, SLOTS_FORKED, SLOTS };
#define PARTS (sizeof(begins) / sizeof(begins[0]) - 1)
static _Atomic(void *) parts[PARTS]; /* of struct exchange; but the first, which is in `shared` */
static _Atomic uint32_t growth;	     /* of the window of slots, beyond SLOTS_FIRST */
static __thread uint32_t my_id __attribute__((tls_model("initial-exec")));
static __thread volatile int inside __attribute__((tls_model("initial-exec")));
/* Where the outermost of them is, and since when. */
static __thread uintptr_t frame __attribute__((tls_model("initial-exec")));
static __thread int64_t since_ns __attribute__((tls_model("initial-exec")));

/* So many as are wanted, or fewer. */
static uint32_t map_window(uint32_t wanted)
{
	for (size_t i = 1; i < PARTS && wanted > begins[i]; i++)
		if (!memory_place(&parts[i], (begins[i + 1] - begins[i]) * sizeof(struct exchange),
				  MAP_SHARED))
			return begins[i];
	return wanted;
}

static struct exchange *part(size_t i)
{
	struct shared *all;

	if (i)
		return atomic_load_explicit(&parts[i], memory_order_relaxed);
	all = atomic_load_explicit(&shared, memory_order_relaxed);
	return all ? all->slots : NULL;
}

struct exchange *exchange_at(uint32_t index)
{
	struct exchange *slots;
	size_t i = 0;

	while (i < PARTS && index >= begins[i + 1])
		i++;
	slots = i < PARTS ? part(i) : NULL;
	return slots ? &slots[index - begins[i]] : NULL;
}

/* Nowhere in the slot: a forked process that is less trusted by now could write another one there. */
uint16_t exchange_index(const struct exchange *u)
{
	for (size_t i = 0; i < PARTS; i++) {
		size_t size = (begins[i + 1] - begins[i]) * sizeof(*u);
		uintptr_t at = (uintptr_t)u - (uintptr_t)part(i);

		if (at < size)
			return (uint16_t)(begins[i] + at / sizeof(*u));
	}
	return SLOTS;
}

/* Unlike gettid() it costs no system call, unlike pthread_self() a forked child's differs. */
uint32_t exchange_thread(void)
{
	if (!my_id)
		my_id = 1 +
			atomic_fetch_add(&((struct shared *)atomic_load(&shared))->next_thread, 1);
	return my_id;
}

void exchange_in_child(void)
{
	my_id = 0;
}

/* May the slot be used again? Not before whoever has it in a record knows the outcome: its process,
 * for which `settled` speaks; an errno must have been told. A second after its limit nobody can be
 * waiting any more. */
static bool is_free(const struct exchange *u)
{
	enum exchange_phase phase = exchange_phase(u);
	bool wanted = phase == EXCHANGE_REFUSED ? atomic_load(&u->err) != 0 :
						  phase == EXCHANGE_ABANDONED;

	if (phase == EXCHANGE_FREE)
		return true;
	if (!wanted && atomic_load(&u->settled))
		return true;
	return now_ns() > u->limit_ns + 1000000000;
}

void exchange_before_fork(void)
{
	struct shared *all = atomic_load(&shared);

	if (all)
		atomic_store(&all->forked, true);
}

static struct exchange *take_slot(struct shared *all, uint32_t window)
{
	for (uint32_t tries = 0; tries < window; tries++) {
		struct exchange *u = exchange_at(atomic_fetch_add(&all->next_slot, 1) % window);
		uint32_t claims = atomic_load(&u->claims);

		/* whoever else takes it, even if it is free again since, has changed the number */
		if (!(claims & 1) && is_free(u) &&
		    atomic_compare_exchange_strong(&u->claims, &claims, claims + 1))
			return u;
	}
	return NULL;
}

/* Slots are taken in turn, so that ended ones stay readable for a while, within a window that grows
 * only as far as it must: what was never used costs no memory. */
struct exchange *exchange_new(uint64_t sock_cookie)
{
	struct shared *all = memory_place(&shared, sizeof(*all), MAP_SHARED);
	struct exchange *u;
	uint32_t window, wanted;

	if (!all)
		return NULL;
	wanted = SLOTS_FIRST + atomic_load(&growth);
	/* where a process may have a record that another one has settled, slots rest for longer */
	if (wanted < SLOTS_FORKED && atomic_load(&all->forked))
		wanted = SLOTS_FORKED;
	window = map_window(wanted);
	while (!(u = take_slot(all, window))) {
		wanted = map_window(window < SLOTS / 2 ? window * 2 : SLOTS);
		if (wanted <= window)
			return NULL;
		window = wanted;
		atomic_store(&growth, window - SLOTS_FIRST);
	}
	FILL(u->sock_cookie, sock_cookie);
	FILL(u->driver, 0);
	FILL(u->err, 0);
	FILL(u->lock, 0);
	FILL(u->settled, false);
	FILL(u->told, false);
	FILL(u->copied, false);
	FILL(u->watch.n_swapped, 0);
	FILL(u->watch.put_back, 0);
	FILL(u->deadline_ns, INT64_MAX / 2);
	FILL(u->limit_ns, INT64_MAX / 2);
	FILL(u->look_ns, INT64_MAX);
	memset(&u->started_ns, 0,
	       offsetof(struct exchange, request) - offsetof(struct exchange, started_ns));
	FILL(u->watch.state, EXCHANGE_OPENING);
	atomic_fetch_add(&u->claims, 1);
	return u;
}

bool exchange_is_interrupted(void)
{
	if (inside > 0 && wait_is_left(frame, since_ns))
		inside = 0;
	return inside > 0;
}

void exchange_enter(void)
{
	if (inside++ == 0 || wait_is_left(frame, since_ns)) {
		inside = 1;
		frame = (uintptr_t)__builtin_frame_address(0);
		since_ns = tick_ns();
	}
}

void exchange_leave(void)
{
	if (inside > 0)
		inside--;
}

/* Whoever took the lock after this moment was read (this thread was kept from running meanwhile) is not
 * stale. That is an hour at most: half of what 32 bits hold would leave a dead one's lock alone for
 * 25 days when a program looks again that was stopped for as long. */
static bool is_stale(uint64_t held, uint32_t now_ms)
{
	uint32_t age_ms = now_ms - (uint32_t)held;

	return age_ms >= LOCK_STALE_MS && age_ms < UINT32_MAX - HOUR_MS;
}

bool exchange_try_lock(struct exchange *u)
{
	uint32_t now_ms = (uint32_t)(tick_ns() / 1000000);
	uint64_t mine = (uint64_t)exchange_thread() << 32 | now_ms;
	uint64_t held = 0;
	bool is_handler = exchange_is_interrupted();

	exchange_enter();
	if (atomic_compare_exchange_strong(&u->lock, &held, mine))
		return true;
	if ((held >> 32 != mine >> 32 || !is_handler) && is_stale(held, now_ms) &&
	    atomic_compare_exchange_strong(&u->lock, &held, mine))
		return true;
	exchange_leave();
	return false;
}

void exchange_unlock(struct exchange *u)
{
	uint64_t held = atomic_load_explicit(&u->lock, memory_order_relaxed);

	if (held >> 32 == exchange_thread()) /* it has not been overruled */
		atomic_compare_exchange_strong(&u->lock, &held, 0);
	exchange_leave();
}

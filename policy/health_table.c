// SPDX-License-Identifier: MIT
/* Where health is kept: a few records in the process, the file behind them. */
#include "health_int.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

_Static_assert(sizeof(struct health) == 440 && sizeof(struct health) <= STATE_CONVERTER_VALUE,
	       "the same on all machines, and not too long");

struct row {
	struct health_key key;
	struct health health;
	int64_t checked_ms; /* when it was last compared with the file; 0: the row is free */
	uint32_t used;
	bool in_file; /* if it is not there any more, somebody has taken it out */
};

static struct row table[HEALTH_TABLE];
static uint32_t uses;
static atomic_flag busy = ATOMIC_FLAG_INIT;

/* Never waits; held for some loads and stores, never over a system call. */
static bool try_lock(void)
{
	return !atomic_flag_test_and_set_explicit(&busy, memory_order_acquire);
}

static void unlock(void)
{
	atomic_flag_clear_explicit(&busy, memory_order_release);
}

/* -------------------------------------------------------------------------- the file */

static void make_key(uint8_t bytes[STATE_CONVERTER_KEY], const struct health_key *key)
{
	memcpy(bytes, key->converter.ip, 16);
	bytes[16] = (uint8_t)(key->converter.port >> 8);
	bytes[17] = (uint8_t)key->converter.port;
	memcpy(bytes + 18, &key->network, 8);
}

static bool decode(struct health *h, const void *value)
{
	memcpy(h, value, sizeof(*h));
	if (health_is_sane(h))
		return true;
	*h = (struct health){ 0 };
	return false;
}

/* What is asked for, with room for all that the file has in its place: a second copy would be half
 * a KiB of somebody's stack. */
union room {
	struct health health;
	uint8_t value[STATE_CONVERTER_VALUE];
};

static bool read_file(const struct health_key *key, int64_t now_ms, union room *r)
{
	uint8_t bytes[STATE_CONVERTER_KEY];
	struct state_times times;

	make_key(bytes, key);
	if (!state_get(STATE_CONVERTER, bytes, now_ms, r->value, &times))
		return false;
	if (health_is_sane(&r->health))
		return true;
	r->health = (struct health){ 0 };
	return false;
}

struct change {
	const struct health_event *event;
	int64_t now_ms;
	struct health *health; /* what only we know; out: as it is afterwards */
	bool changed;
	bool is_others; /* another process is the one that tries */
};

/* Whoever tries a converter is told apart by its process, for people's eyes only. */
static bool apply(struct health *h, const struct health_event *e, int64_t now_ms)
{
	bool changed = health_apply(h, e, now_ms);

	if (changed && e->kind == HEALTH_PROBED)
		h->prober = (uint32_t)syscall(SYS_getpid);
	return changed;
}

static bool change_file(void *value, struct state_times *times, bool found, void *arg)
{
	struct change *c = arg;

	if (found)
		decode(c->health, value);
	c->changed = apply(c->health, c->event, c->now_ms);
	memcpy(value, c->health, sizeof(*c->health));
	times->until_ms = c->now_ms + HEALTH_KEEP_MS;
	return c->changed;
}

/* ------------------------------------------------------------------------- the table */

static struct row *row_of(const struct health_key *key)
{
	for (unsigned int i = 0; i < HEALTH_TABLE; i++) {
		struct row *row = &table[i];

		if (row->checked_ms && row->key.network == key->network &&
		    health_is_same(&row->key.converter, &key->converter)) {
			row->used = ++uses;
			return row;
		}
	}
	return NULL;
}

static struct row *new_row(const struct health_key *key)
{
	struct row *oldest = table;

	for (unsigned int i = 1; i < HEALTH_TABLE; i++) {
		struct row *row = &table[i];

		if (!row->checked_ms ||
		    (oldest->checked_ms && uses - row->used > uses - oldest->used))
			oldest = row;
	}
	*oldest = (struct row){ .key = *key, .used = ++uses };
	return oldest;
}

static void keep(const struct health_key *key, const struct health *h, int64_t now_ms, bool in_file)
{
	struct row *row;

	if (!try_lock())
		return;
	row = row_of(key);
	if (!row)
		row = new_row(key);
	row->health = *h;
	row->checked_ms = now_ms;
	row->in_file = in_file;
	unlock();
}

/* What was found to be in the file, or not to be there. What only this process knows is not overruled
 * by a copy of it: another thread may have changed it meanwhile. */
static void keep_found(const struct health_key *key, struct health *h, int64_t now_ms, bool in_file)
{
	struct row *row;

	if (in_file || !try_lock()) {
		keep(key, h, now_ms, in_file);
		return;
	}
	row = row_of(key);
	if (!row)
		row = new_row(key);
	if (row->in_file || !row->checked_ms)
		row->health = *h;
	*h = row->health;
	row->checked_ms = now_ms;
	row->in_file = false;
	unlock();
}

enum look { LOOK_BUSY, LOOK_FRESH, LOOK_STALE, LOOK_NONE };

static enum look look(const struct health_key *key, int64_t now_ms, struct health *h, bool *in_file)
{
	int64_t most_ms;
	const struct row *row;
	enum look found = LOOK_NONE;

	if (!try_lock())
		return LOOK_BUSY;
	row = row_of(key);
	if (row) {
		int64_t age = now_ms - row->checked_ms;

		*h = row->health;
		*in_file = row->in_file;
		most_ms = now_ms < h->alone_until_ms ? HEALTH_LEFT_MS : HEALTH_REREAD_MS;
		found = age >= 0 && age < most_ms ? LOOK_FRESH : LOOK_STALE;
	}
	unlock();
	return found;
}

/* What is known; in_file: or the file has it too. False: the table is being used. */
static bool recall(const struct health_key *key, int64_t now_ms, union room *r, bool *in_file)
{
	struct health *h = &r->health;
	enum look found;

	*h = (struct health){ 0 };
	*in_file = false;
	found = look(key, now_ms, h, in_file);
	if (found == LOOK_STALE || found == LOOK_NONE) {
		if (*in_file)
			*h = (struct health){ 0 };
		*in_file = read_file(key, now_ms, r);
		keep_found(key, h, now_ms, *in_file);
	}
	health_age(h, now_ms);
	return found != LOOK_BUSY;
}

/* In the process alone. Under the lock, so that of two threads only one changes what was. */
static bool change_row(const struct health_key *key, struct change *c)
{
	struct row *row;
	bool changed = false;

	if (!try_lock())
		return false;
	row = row_of(key);
	if (row) {
		changed = apply(&row->health, c->event, c->now_ms);
		*c->health = row->health;
	}
	unlock();
	return changed;
}

/* c->health is what is known before and after. Returns whether it has been changed by us. */
static bool tell(const struct health_key *key, struct change *c)
{
	uint8_t bytes[STATE_CONVERTER_KEY];
	int ret;

	make_key(bytes, key);
	ret = state_update(STATE_CONVERTER, bytes, c->now_ms, change_file, c);
	if (ret == 0) {
		keep(key, c->health, c->now_ms, true);
		return c->changed;
	}
	c->is_others = ret == -EAGAIN && c->event->kind == HEALTH_PROBED;
	return !c->is_others && change_row(key, c);
}

/* ----------------------------------------------------------------------------- public */

void health_find(const struct health_key *key, int64_t now_ms, struct health *h)
{
	union room room;
	bool in_file;

	recall(key, now_ms, &room, &in_file);
	*h = room.health;
}

enum health_advice health_ask(const struct health_key *key, int64_t now_ms, unsigned int probe_ms,
			      bool again)
{
	const struct health_event e = { .kind = HEALTH_PROBED,
					.probe_ms = probe_ms,
					.again = again };
	union room room;
	struct health *h = &room.health;
	struct change c = { .event = &e, .now_ms = now_ms, .health = h };
	enum health_advice advice;
	bool in_file;

	if (!recall(key, now_ms, &room, &in_file))
		return HEALTH_USE;
	advice = health_advise(h, now_ms);
	if (advice != HEALTH_PROBE && !(again && health_may_again(h, now_ms)))
		return advice;
	if (in_file) /* or nothing of it may be there any more */
		*h = (struct health){ 0 };
	if (tell(key, &c))
		return HEALTH_PROBE;
	return !c.is_others && health_advise(h, now_ms) == HEALTH_USE ? HEALTH_USE : HEALTH_LEAVE;
}

void health_report(const struct health_key *key, const struct health_event *e, int64_t now_ms)
{
	union room room;
	struct change c = { .event = e, .now_ms = now_ms, .health = &room.health };
	bool in_file;

	if (!recall(key, now_ms, &room, &in_file) || !health_apply(&room.health, e, now_ms))
		return;
	/* as it was: from the file, or else once more, as there is no second copy */
	if (!in_file && !recall(key, now_ms, &room, &in_file))
		return;
	if (in_file)
		room.health = (struct health){ 0 };
	tell(key, &c);
}

void health_forget(const struct health_key *key, int64_t now_ms)
{
	uint8_t bytes[STATE_CONVERTER_KEY];
	struct row *row;

	if (try_lock()) {
		row = row_of(key);
		if (row)
			row->checked_ms = 0;
		unlock();
	}
	make_key(bytes, key);
	state_erase(STATE_CONVERTER, bytes, now_ms);
}

struct walk {
	health_each_fn *each;
	void *arg;
};

static void show(const void *key, const void *value, const struct state_times *times, void *arg)
{
	const struct walk *w = arg;
	const uint8_t *bytes = key;
	struct health_key k = { 0 };
	struct health h;

	(void)times;
	memcpy(k.converter.ip, bytes, 16);
	k.converter.port = (uint16_t)(bytes[16] << 8 | bytes[17]);
	memcpy(&k.network, bytes + 18, 8);
	if (k.converter.port && decode(&h, value))
		w->each(&k, &h, w->arg);
}

void health_each(int64_t now_ms, health_each_fn *each, void *arg)
{
	struct walk w = { each, arg };

	state_each(STATE_CONVERTER, now_ms, show, &w);
}

void health_clear_table(void)
{
	if (!try_lock())
		return;
	memset(table, 0, sizeof(table));
	unlock();
	health_network_forget();
}

void health_in_child(void)
{
	if (!try_lock()) /* half a change may be in it */
		memset(table, 0, sizeof(table));
	unlock();
	health_network_in_child();
}

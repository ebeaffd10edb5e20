// SPDX-License-Identifier: MIT
/* Where health is kept: a few records in the process, the file behind them. And from which network is a
 * converter seen? Asked of the kernel, and not again for a while. */
#include "health.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "memo.h"

_Static_assert(sizeof(struct health) == 448 && sizeof(struct health) <= STATE_CONVERTER_VALUE,
	       "the same on all machines, and not too long");

struct row {
	struct memo_row memo;
	int64_t ahead_ms; /* when it was changed and the file could not be; 0: it was not */
	struct health health;
};

static struct row table[HEALTH_TABLE];
static struct memo memo = MEMO_OF(table, HEALTH_TABLE, STATE_CONVERTER_KEY);

struct network_row {
	struct memo_row memo;
	uint64_t network;
};

static struct network_row networks[HEALTH_TABLE];
static struct memo network_memo = MEMO_OF(networks, HEALTH_TABLE, MEMO_ADDR);

/* -------------------------------------------------------------------------- the file */

static void make_key(uint8_t bytes[STATE_CONVERTER_KEY], const struct health_key *key)
{
	memo_key(bytes, &key->converter);
	memcpy(bytes + MEMO_ADDR, &key->network, 8);
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
struct known {
	union {
		struct health health;
		uint8_t value[STATE_CONVERTER_VALUE];
	};
	bool in_file;	  /* the file has it, too */
	int64_t ahead_ms; /* as in the row */
};

/* Returns when it was written. */
static int64_t read_file(const struct health_key *key, int64_t now_ms, struct known *k)
{
	uint8_t bytes[STATE_CONVERTER_KEY];
	struct state_times times;

	make_key(bytes, key);
	k->in_file = state_get(STATE_CONVERTER, bytes, now_ms, k->value, &times);
	if (!k->in_file)
		return 0;
	if (!health_is_sane(&k->health)) {
		k->health = (struct health){ 0 };
		k->in_file = false;
	}
	return times.written_ms;
}

struct change {
	const struct health_event *event;
	int64_t now_ms;
	struct health *health; /* what only we know; out: as it is afterwards */
	int64_t ahead_ms;      /* what was written until then is older than that */
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
	bool is_older = found && times->written_ms <= c->ahead_ms;

	if (found && !is_older)
		decode(c->health, value);
	c->changed = apply(c->health, c->event, c->now_ms);
	memcpy(value, c->health, sizeof(*c->health));
	times->until_ms = c->now_ms + HEALTH_KEEP_MS;
	return c->changed || is_older;
}

/* ------------------------------------------------------------------------- the table */

/* What is in the file now. */
static void keep(const struct health_key *key, const struct health *h, int64_t now_ms)
{
	uint8_t bytes[STATE_CONVERTER_KEY];
	struct row *row;

	make_key(bytes, key);
	if (!memo_try_lock(&memo))
		return;
	row = memo_place(&memo, bytes);
	row->health = *h;
	row->ahead_ms = 0;
	row->memo.checked_ms = now_ms;
	row->memo.in_file = true;
	memo_unlock(&memo);
}

/* Is it what only this process knows? Not if others have written later, or the clock was set back. */
static bool is_ahead(const struct row *row, int64_t now_ms, bool in_file, int64_t written_ms)
{
	if (!in_file)
		return row->memo.checked_ms && !row->memo.in_file;
	return row->ahead_ms && row->ahead_ms <= now_ms && written_ms <= row->ahead_ms;
}

/* What was found to be in the file, or not to be there. What only this process knows is not overruled
 * by it: the file could not be written, or another thread has changed its copy meanwhile. */
static void keep_found(const struct health_key *key, struct known *k, int64_t now_ms,
		       int64_t written_ms)
{
	uint8_t bytes[STATE_CONVERTER_KEY];
	struct row *row;

	make_key(bytes, key);
	k->ahead_ms = 0;
	if (!memo_try_lock(&memo))
		return;
	row = memo_place(&memo, bytes);
	if (is_ahead(row, now_ms, k->in_file, written_ms)) {
		k->health = row->health;
		k->in_file = false;
		k->ahead_ms = row->ahead_ms;
	}
	row->health = k->health;
	row->ahead_ms = k->ahead_ms;
	row->memo.checked_ms = now_ms;
	row->memo.in_file = k->in_file;
	memo_unlock(&memo);
}

enum look { LOOK_BUSY, LOOK_FRESH, LOOK_STALE, LOOK_NONE };

static enum look look(const struct health_key *key, int64_t now_ms, struct known *k)
{
	uint8_t bytes[STATE_CONVERTER_KEY];
	int64_t most_ms;
	const struct row *row;
	enum look found = LOOK_NONE;

	make_key(bytes, key);
	if (!memo_try_lock(&memo))
		return LOOK_BUSY;
	row = memo_find(&memo, bytes);
	if (row) {
		int64_t age = now_ms - row->memo.checked_ms;

		k->health = row->health;
		k->in_file = row->memo.in_file;
		k->ahead_ms = row->ahead_ms;
		most_ms = now_ms < k->health.alone_until_ms ? HEALTH_LEFT_MS : HEALTH_REREAD_MS;
		found = age >= 0 && age < most_ms ? LOOK_FRESH : LOOK_STALE;
	}
	memo_unlock(&memo);
	return found;
}

/* What is known. False: the table is being used. */
static bool recall(const struct health_key *key, int64_t now_ms, struct known *k)
{
	enum look found;

	k->in_file = false;
	k->ahead_ms = 0;
	found = look(key, now_ms, k);
	if (found != LOOK_FRESH && (found != LOOK_STALE || k->in_file))
		k->health = (struct health){ 0 };
	if (found == LOOK_STALE || found == LOOK_NONE)
		keep_found(key, k, now_ms, read_file(key, now_ms, k));
	health_age(&k->health, now_ms);
	return found != LOOK_BUSY;
}

/* In the process alone. Under the lock, so that of two threads only one changes what was. */
static bool change_row(const uint8_t *key, struct change *c, bool is_ahead)
{
	struct row *row;
	bool changed = false;

	if (!memo_try_lock(&memo))
		return false;
	row = memo_find(&memo, key);
	if (row) {
		changed = apply(&row->health, c->event, c->now_ms);
		*c->health = row->health;
	}
	if (changed && is_ahead) {
		row->ahead_ms = c->now_ms;
		row->memo.in_file = false;
	}
	memo_unlock(&memo);
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
		keep(key, c->health, c->now_ms);
		return c->changed;
	}
	c->is_others = ret == -EAGAIN && c->event->kind == HEALTH_PROBED;
	/* another process is just writing: the file will say more */
	return !c->is_others && change_row(bytes, c, ret != -EAGAIN);
}

/* ----------------------------------------------------------------------- the network */

/* FNV-1a */
static uint64_t hash(uint64_t h, const void *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		h = (h ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3;
	return h;
}

uint64_t health_network(const struct pol_route *route)
{
	size_t len = addr_is_v4(&route->source) ? 16 : 8;
	uint64_t h = hash(0xcbf29ce484222325, route->source.ip, len);

	h = hash(h, route->interface, strnlen(route->interface, sizeof(route->interface)));
	return h ? h : 1;
}

static bool recall_network(const uint8_t *key, int64_t now_ms, uint64_t *network)
{
	const struct network_row *row;
	bool fresh;

	if (!memo_try_lock(&network_memo))
		return false;
	row = memo_find(&network_memo, key);
	fresh = row && now_ms >= row->memo.checked_ms &&
		now_ms - row->memo.checked_ms < HEALTH_ROUTE_MS;
	if (fresh)
		*network = row->network;
	memo_unlock(&network_memo);
	return fresh;
}

/* A moment without a route is not a network: it is asked for again. */
void health_where_now(const struct addr *converter, pol_route_fn *route, int64_t now_ms,
		      struct health_key *key)
{
	struct pol_route r = { 0 };
	struct network_row *row;
	uint8_t bytes[MEMO_ADDR];

	memo_key(bytes, converter);
	*key = (struct health_key){ .converter = *converter };
	if (!route || !route(converter, NULL, &r))
		return;
	key->network = health_network(&r);
	if (!memo_try_lock(&network_memo))
		return;
	row = memo_place(&network_memo, bytes);
	row->network = key->network;
	row->memo.checked_ms = now_ms;
	memo_unlock(&network_memo);
}

void health_where(const struct addr *converter, pol_route_fn *route, int64_t now_ms,
		  struct health_key *key)
{
	uint8_t bytes[MEMO_ADDR];

	memo_key(bytes, converter);
	*key = (struct health_key){ .converter = *converter };
	if (!recall_network(bytes, now_ms, &key->network))
		health_where_now(converter, route, now_ms, key);
}

/* ----------------------------------------------------------------------------- public */

void health_find(const struct health_key *key, int64_t now_ms, struct health *h)
{
	struct known known;

	recall(key, now_ms, &known);
	*h = known.health;
}

enum health_advice health_ask(const struct health_key *key, int64_t now_ms, unsigned int probe_ms,
			      bool again)
{
	const struct health_event e = { .kind = HEALTH_PROBED,
					.probe_ms = probe_ms,
					.again = again };
	struct known known;
	struct health *h = &known.health;
	struct change c = { .event = &e, .now_ms = now_ms, .health = h };
	enum health_advice advice;

	if (!recall(key, now_ms, &known))
		return HEALTH_USE;
	advice = health_advise(h, now_ms);
	if (advice != HEALTH_PROBE && !(again && health_may_again(h, now_ms)))
		return advice;
	if (known.in_file) /* or nothing of it may be there any more */
		*h = (struct health){ 0 };
	c.ahead_ms = known.ahead_ms;
	if (tell(key, &c))
		return HEALTH_PROBE;
	return !c.is_others && health_advise(h, now_ms) == HEALTH_USE ? HEALTH_USE : HEALTH_LEAVE;
}

void health_report(const struct health_key *key, const struct health_event *e, int64_t now_ms)
{
	struct known known;
	struct change c = { .event = e, .now_ms = now_ms, .health = &known.health };

	if (!recall(key, now_ms, &known) || !health_apply(&known.health, e, now_ms))
		return;
	/* as it was: from the file, or else once more, as there is no second copy */
	if (!known.in_file && !recall(key, now_ms, &known))
		return;
	if (known.in_file)
		known.health = (struct health){ 0 };
	c.ahead_ms = known.ahead_ms;
	tell(key, &c);
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
	memo_clear(&memo);
	memo_clear(&network_memo);
}

void health_in_child(void)
{
	memo_in_child(&memo);
	memo_in_child(&network_memo);
}

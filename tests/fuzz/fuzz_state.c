// SPDX-License-Identifier: MIT
/*
 * The state file. Input: steps of a byte each, with what they need behind them. They write, read,
 * erase, damage the file, move the clock, and put raw values under sealed slots for policy/ to read.
 * Asserted, beside a model that remembers what was last written for each key: what is found is
 * that, and is found; another's file is not touched; the file is bounded. Once the file was damaged, a
 * key may be gone, or be what it was before: what hides a slot may be put right by the next damage,
 * when the key has been erased, or written elsewhere.
 */
#include "fuzz.h"
#include "health.h"
#include "servers.h"
#include "state.h"
#include "state_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { KEYS = 16, KINDS = 2, WRITES = 64 };

struct model { /* of one key */
	bool is_written;
	bool may_be_gone; /* its time had run out, which made room, before the clock went back */
	int64_t written_ms, until_ms;
	uint8_t value[STATE_CONVERTER_VALUE];
};

static struct model models[KINDS][KEYS];
static bool damaged; /* since the file was made */
/* What was ever written since then, for any key. */
static struct {
	enum state_kind kind;
	unsigned int key;
	struct model model;
} writes[WRITES];
static size_t n_writes;
static int64_t now;
static char file[64];

struct input {
	const uint8_t *p, *end;
};

static uint8_t take(struct input *in)
{
	return in->p < in->end ? *in->p++ : 0;
}

static uint32_t take_number(struct input *in, uint32_t below)
{
	uint32_t n = take(in);

	n |= (uint32_t)take(in) << 8;
	return (n | (uint32_t)take(in) << 16) % below;
}

static size_t take_bytes(struct input *in, uint8_t *to, size_t most)
{
	size_t n = take(in), left = (size_t)(in->end - in->p);

	n = n > most ? most : n;
	n = n > left ? left : n;
	memcpy(to, in->p, n);
	in->p += n;
	return n;
}

/* Chosen so that they just fill some buckets, as neighbours in one get into each other's way. */
static uint8_t hosts[KINDS][KEYS][2];

static struct addr host(enum state_kind kind, unsigned int i)
{
	return (struct addr){ .ip = { [10] = 0xff,
				      [11] = 0xff,
				      [14] = hosts[kind][i][0],
				      [15] = hosts[kind][i][1] },
			      .port = 443 };
}

static struct health_key converter(unsigned int i)
{
	return (struct health_key){ .converter = host(STATE_CONVERTER, i), .network = 1 };
}

/* The keys as policy/ makes them, so that it reads what is written here. */
static void make_key(enum state_kind kind, unsigned int i, uint8_t key[STATE_CONVERTER_KEY])
{
	const struct health_key k = converter(i);
	const struct addr a = host(kind, i);

	memset(key, 0, STATE_CONVERTER_KEY);
	memcpy(key, a.ip, 16);
	key[16] = 443 >> 8;
	key[17] = 443 & 0xff;
	if (kind == STATE_CONVERTER)
		memcpy(key + 18, &k.network, 8);
}

static bool write_value(void *value, struct state_times *times, bool found, void *arg)
{
	const struct model *m = arg;

	(void)found;
	memcpy(value, m->value, m - models[0] < KEYS ? STATE_SERVER_VALUE : STATE_CONVERTER_VALUE);
	times->until_ms = m->until_ms;
	return true;
}

static bool is_ours(void)
{
	uint8_t header[STATE_HEADER_LEN] = { 0 }, ours[STATE_HEADER_LEN],
		none[STATE_HEADER_LEN] = { 0 };
	int fd = open(file, O_RDONLY | O_CLOEXEC);

	state_header(ours);
	if (fd < 0)
		return true;
	CHECK(read(fd, header, sizeof(header)) >= 0);
	close(fd);
	return memcmp(header, ours, sizeof(ours)) == 0 || memcmp(header, none, sizeof(none)) == 0;
}

static off_t length(void)
{
	struct stat st;

	return stat(file, &st) < 0 ? 0 : st.st_size;
}

/* Whenever the clock or a model has changed. */
static void look_at_clock(void)
{
	for (unsigned int i = 0; i < KINDS * KEYS; i++) {
		struct model *m = &models[i / KEYS][i % KEYS];

		m->may_be_gone |= m->until_ms <= now || m->written_ms > now + 60000;
	}
}

static void step_write(enum state_kind kind, unsigned int i, struct input *in)
{
	struct model *m = &models[kind][i], was = *m;
	uint8_t key[STATE_CONVERTER_KEY];
	const bool ours = is_ours();
	const off_t before = length();
	int ret;

	memset(m->value, 0, sizeof(m->value));
	take_bytes(in, m->value, state_shape(kind)->value_len);
	m->until_ms = now + (int64_t)take_number(in, 1 << 24) - 1000;
	m->written_ms = now;
	m->is_written = true;
	m->may_be_gone = false;
	make_key(kind, i, key);
	ret = state_update(kind, key, now, write_value, m);
	CHECK(ret == (ours ? 0 : -EBADF));
	if (ret) {
		CHECK(length() == before);
		*m = was;
	}
	if (ret == 0 && n_writes < WRITES) {
		writes[n_writes].kind = kind;
		writes[n_writes].key = i;
		writes[n_writes++].model = *m;
	}
	look_at_clock();
}

static bool is_that(const struct model *m, enum state_kind kind, const uint8_t *value,
		    const struct state_times *times)
{
	return times->until_ms == m->until_ms && times->written_ms == m->written_ms &&
	       memcmp(value, m->value, state_shape(kind)->value_len) == 0;
}

static bool was_written(enum state_kind kind, unsigned int key, const uint8_t *value,
			const struct state_times *times)
{
	for (size_t i = 0; i < n_writes; i++)
		if (writes[i].kind == kind && writes[i].key == key &&
		    is_that(&writes[i].model, kind, value, times))
			return true;
	return n_writes == WRITES;
}

static void step_read(enum state_kind kind, unsigned int i)
{
	const struct model *m = &models[kind][i];
	uint8_t key[STATE_CONVERTER_KEY], value[STATE_CONVERTER_VALUE];
	struct state_times times;
	bool found;

	make_key(kind, i, key);
	found = state_get(kind, key, now, value, &times);
	if (!found) {
		CHECK(damaged || !m->is_written || m->may_be_gone);
		return;
	}
	CHECK(times.until_ms > now);
	if (damaged)
		CHECK(was_written(kind, i, value, &times));
	else
		CHECK(m->is_written && is_that(m, kind, value, &times));
}

static void step_erase(enum state_kind kind, unsigned int i)
{
	uint8_t key[STATE_CONVERTER_KEY];

	make_key(kind, i, key);
	if (state_erase(kind, key, now) == 0)
		models[kind][i].is_written = false;
}

static void step_damage(unsigned int i, uint8_t how, struct input *in)
{
	uint8_t key[STATE_CONVERTER_KEY], bytes[STATE_BLOCK];
	size_t n = take_bytes(in, bytes, sizeof(bytes));
	int fd = open(file, O_RDWR | O_CLOEXEC);
	off_t at;

	if (fd < 0)
		return;
	make_key(how % 2, i, key);
	at = (off_t)state_bucket(how % 2, key) * STATE_BLOCK + (off_t)take_number(in, STATE_BLOCK);
	if (how % 8 == 0)
		at = (off_t)take_number(in, STATE_BLOCK);
	if (how % 8 == 1)
		CHECK(ftruncate(fd, at) == 0);
	else
		CHECK(pwrite(fd, bytes, n, at) == (ssize_t)n);
	damaged = true;
	close(fd);
}

/* Values of any bytes that are sealed all the same: nothing that policy/ cannot live with. */
static void step_policy(unsigned int i, uint8_t how)
{
	const struct addr s = host(STATE_SERVER, i);
	const struct health_key k = converter(i);
	const uint8_t kinds[] = { 30, how };
	const struct health_event e = { .kind = how % 8,
					.started_ms = now - how,
					.delay_s = how - 1,
					.retry_ms = 60000,
					.path = how / 8 % 2,
					.way = 1 + how / 16 % 3,
					.bytes = { kinds, sizeof(kinds) } };
	struct servers_entry entry;
	struct health h;

	servers_clear_table();
	health_clear_table();
	if (servers_find(&s, now, &entry))
		CHECK(entry.verdict <= SERVERS_TCP && entry.tfo_cookie_len <= SERVERS_COOKIE_MAX &&
		      entry.until_ms > now);
	health_find(&k, now, &h);
	CHECK(health_is_sane(&h));
	health_apply(&h, &e, now);
	CHECK(health_is_sane(&h));
	CHECK(health_advise(&h, now + HEALTH_DELAY_MAX) != HEALTH_LEAVE ||
	      h.probe_until_ms > now + HEALTH_DELAY_MAX);
	servers_clear_table();
	health_clear_table();
}

static void start_again(void)
{
	unlink(file);
	memset(models, 0, sizeof(models));
	n_writes = 0;
	damaged = false;
}

static void step(uint8_t what, struct input *in)
{
	const uint8_t which = take(in);
	const enum state_kind kind = which & 0x80 ? STATE_CONVERTER : STATE_SERVER;
	const unsigned int i = which % KEYS;

	switch (what % 8) {
	case 0:
	case 1:
		step_write(kind, i, in);
		break;
	case 2:
		step_read(kind, i);
		break;
	case 3:
		step_erase(kind, i);
		break;
	case 4:
		step_damage(i, what / 8, in);
		break;
	case 5:
		now += (int64_t)take_number(in, 1 << 24) - (which & 0x40 ? 1 << 23 : 0);
		look_at_clock();
		break;
	case 6:
		step_policy(i, take(in));
		break;
	case 7:
		if (which & 0x40)
			start_again();
		else if (state_clear() == 0)
			memset(models, 0, sizeof(models));
		break;
	}
}

/* As many keys as a bucket has slots in the first bucket that comes, then in the next. */
static void choose_hosts(enum state_kind kind)
{
	const struct state_shape *shape = state_shape(kind);
	const unsigned int room = shape->bucket_blocks * (unsigned int)STATE_BLOCK /
				  shape->slot_len;
	uint8_t key[STATE_CONVERTER_KEY];
	uint32_t bucket = 0;
	unsigned int n = 0;

	for (unsigned int h = 0; n < KEYS; h = (h + 1) % 65536) {
		hosts[kind][n][0] = (uint8_t)(h >> 8);
		hosts[kind][n][1] = (uint8_t)h;
		make_key(kind, n, key);
		if (n % room == 0)
			bucket = state_bucket(kind, key);
		n += state_bucket(kind, key) == bucket;
	}
}

static char dir[] = "/tmp/fuzz_state.XXXXXX";

static void remove_place(void)
{
	unlink(file);
	rmdir(dir);
}

static void make_place(void)
{
	if (file[0])
		return;
	CHECK(mkdtemp(dir));
	atexit(remove_place);
	snprintf(file, sizeof(file), "%s/state", dir);
	state_setup(file);
	choose_hosts(STATE_SERVER);
	choose_hosts(STATE_CONVERTER);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, data + size };

	make_place();
	start_again();
	now = 1800000000000;
	while (in.p < in.end)
		step(take(&in), &in);
	for (unsigned int i = 0; i < KEYS; i++) {
		step_read(STATE_SERVER, i);
		step_read(STATE_CONVERTER, i);
	}
	CHECK(length() <= STATE_FILE_MAX);
	unlink(file);
	return 0;
}

// SPDX-License-Identifier: MIT
/*
 * The rules. Input: a byte of settings, then lines with a rule each, or, by the settings, numbers of
 * which rules are made. Asserted: for each destination at an edge of some rule, and beside it, the
 * index says what going through the rules one by one says. For rules that were made here, what the
 * grammar has read is what was meant.
 */
#include "fuzz.h"
#include "rules_int.h"

#include <errno.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RULES_MAX = 24, ITEMS_MAX = 4, DESTINATIONS_MAX = 400, ENTRIES_MAX = 100000 };

static const char program[] = "curl";

/* One by one. */
struct line {
	bool converts, has_to, has_port, is_ours;
	unsigned int number;
	size_t n_to, n_port;
	struct addr_prefix to[ITEMS_MAX];
	uint16_t port[ITEMS_MAX][2];
};

struct input {
	const uint8_t *p, *end;
};

static uint8_t take(struct input *in)
{
	return in->p < in->end ? *in->p++ : 0;
}

/* ----------------------------------------------------------- rules that are made here */

struct text {
	char bytes[1024];
	size_t len;
};

static void put(struct text *t, const char *words)
{
	size_t n = strlen(words);

	CHECK(t->len + n < sizeof(t->bytes));
	memcpy(t->bytes + t->len, words, n + 1);
	t->len += n;
}

/* Few addresses and lengths, so that prefixes lie inside one another. */
static struct addr_prefix take_prefix(struct input *in)
{
	static const uint8_t bases[][16] = {
		{ [10] = 0xff, [11] = 0xff, [12] = 10 },
		{ [10] = 0xff, [11] = 0xff, [12] = 10, 20, 30, 40 },
		{ [10] = 0xff, [11] = 0xff, [12] = 10, 20, 255, 255 },
		{ [10] = 0xff, [11] = 0xff, [12] = 192, 0, 2, 1 },
		{ 0x20, 0x01, 0x0d, 0xb8 },
		{ 0x20, 0x01, 0x0d, 0xb8, [15] = 1 },
		{ 0x20, 0x01, 0x0d, 0xb8, 0xff, 0xff, 0xff, 0xff, 0x80 },
		{ 0 },
	};
	const uint8_t base = take(in), bits = take(in);
	struct addr_prefix p = { .len = bits % 129 };
	struct addr a = { 0 };

	memcpy(p.ip, bases[base % 8], 16);
	p.ip[12 + base / 8 % 4] ^= base >> 5;
	memcpy(a.ip, p.ip, 16);
	if (addr_is_v4(&a) && p.len < 96)
		p.len = (uint8_t)(96 + bits % 33);
	for (unsigned int bit = p.len; bit < 128; bit++)
		p.ip[bit / 8] &= (uint8_t) ~(0x80U >> bit % 8);
	return p;
}

static void put_prefix(struct text *t, const struct addr_prefix *p)
{
	char formatted[ADDR_TEXT_MAX], length[8], *start = formatted;
	struct addr a = { 0 };

	memcpy(a.ip, p->ip, 16);
	addr_format(&a, formatted);
	*strrchr(formatted, ':') = '\0';
	if (*start == '[') {
		start++;
		start[strlen(start) - 1] = '\0';
	}
	put(t, start);
	/* a mapped /96 and less is IPv6 text's business; take_prefix() makes none */
	snprintf(length, sizeof(length), "/%u", addr_is_v4(&a) ? p->len - 96U : p->len);
	put(t, length);
}

static const char *comma(struct input *in)
{
	static const char *const commas[] = { ",", ", ", " ,", "\t,  " };

	return commas[take(in) % 4];
}

static void make_to(struct input *in, struct line *l, struct text *t)
{
	l->has_to = true;
	l->n_to = 1 + take(in) % ITEMS_MAX;
	put(t, " to ");
	for (size_t i = 0; i < l->n_to; i++) {
		if (i)
			put(t, comma(in));
		l->to[i] = take_prefix(in);
		put_prefix(t, &l->to[i]);
	}
}

static void make_port(struct input *in, struct line *l, struct text *t)
{
	l->has_port = true;
	l->n_port = 1 + take(in) % ITEMS_MAX;
	put(t, " port ");
	for (size_t i = 0; i < l->n_port; i++) {
		const unsigned int a = 1 + (take(in) | (unsigned int)take(in) << 8) % 65535,
				   more = take(in) * (take(in) % 2 ? 1U : 256U);
		const unsigned int b = a + more > 65535 ? 65535 : a + more;
		char range[16];

		l->port[i][0] = (uint16_t)a;
		l->port[i][1] = (uint16_t)b;
		snprintf(range, sizeof(range), more ? "%u-%u" : "%u", a, b);
		if (i)
			put(t, comma(in));
		put(t, range);
	}
}

static void make_app(struct line *l, struct text *t, bool ours)
{
	l->is_ours = ours;
	put(t, ours ? " app wget,curl" : " app wget, curly");
}

static void make_rule(struct input *in, struct line *l, struct text *t)
{
	const uint8_t how = take(in);
	const char *action = how & 1 ? "convert" : "direct";

	*l = (struct line){ .converts = how & 1, .is_ours = true };
	if (how & 2)
		put(t, action);
	if (how & 4)
		make_to(in, l, t);
	if (how & 8)
		make_port(in, l, t);
	if ((how & 0x30) == 0x30)
		make_app(l, t, how & 0x40);
	if (!(how & 2)) {
		put(t, " ");
		put(t, action);
	}
}

static size_t make_rules(struct input *in, struct config_rules *rules, struct line *lines)
{
	struct config_error err;
	size_t n = 0;
	int ret;

	for (; in->p < in->end && n < RULES_MAX; n++) {
		struct text t = { .len = 0 };

		make_rule(in, &lines[n], &t);
		lines[n].number = (unsigned int)n + 1;
		ret = config_rules_add(rules, t.bytes, lines[n].number, program, &err);
		if (ret < 0)
			fprintf(stderr, "%s: %s\n", t.bytes, err.what);
		CHECK(ret == 0);
	}
	return n;
}

/* ------------------------------------------------------------------ rules as they come */

static void read_rules(struct input *in, struct config_rules *rules)
{
	unsigned int number = 0;

	while (in->p < in->end) {
		const uint8_t *end = memchr(in->p, '\n', (size_t)(in->end - in->p));
		size_t n = (size_t)((end ? end : in->end) - in->p);
		struct config_error err = { .line = 0 };
		size_t before = rules->n_in_file, entries = rules->n_entries;
		char *text = malloc(n + 1);

		CHECK(text);
		memcpy(text, in->p, n);
		text[n] = '\0';
		in->p += n + (end != NULL);
		number++;
		if (config_rules_add(rules, text, number, program, &err) < 0) {
			CHECK(err.line == number && err.what[0]);
			CHECK(memchr(err.what, '\0', sizeof(err.what)));
			CHECK(rules->n_in_file == before && rules->n_entries == entries);
		} else {
			CHECK(rules->n_in_file == before + 1);
		}
		free(text);
	}
}

/* ----------------------------------------------------------------------- one by one */

struct answer {
	bool found;
	size_t rule; /* place in rules->rules */
	uint32_t width;
};

/* By the list of what the grammar has read, before there was an index. */
static struct answer linear(const struct rule_entry *entries, size_t n, const struct addr *dst)
{
	struct answer a = { .found = false };

	for (size_t i = 0; i < n; i++) {
		const struct rule_entry *e = &entries[i];
		struct addr_prefix p = { .len = (uint8_t)(e->key.width ? e->key.width - 1 : 0) };

		for (unsigned int k = 0; k < 8; k++) {
			p.ip[k] = (uint8_t)(e->key.high >> (56 - 8 * k));
			p.ip[8 + k] = (uint8_t)(e->key.low >> (56 - 8 * k));
		}
		if (dst->port < e->first_port || dst->port > e->last_port)
			continue;
		if (e->key.width != WIDTH_ANY && !config_prefix_holds(&p, dst))
			continue;
		if (a.found && e->rule > a.rule)
			continue;
		if (!a.found || e->rule < a.rule)
			a.width = e->key.width;
		a.found = true;
		a.rule = e->rule;
		if (e->key.width > a.width)
			a.width = e->key.width;
	}
	return a;
}

static bool says(const struct line *l, const struct addr *dst)
{
	bool to = !l->has_to, port = !l->has_port;

	for (size_t i = 0; i < l->n_to; i++)
		to |= config_prefix_holds(&l->to[i], dst);
	for (size_t i = 0; i < l->n_port; i++)
		port |= dst->port >= l->port[i][0] && dst->port <= l->port[i][1];
	return l->is_ours && to && port;
}

static void check_made(const struct line *lines, size_t n, const struct addr *dst, bool found,
		       const struct config_rule_match *m)
{
	size_t i = 0;

	while (i < n && !says(&lines[i], dst))
		i++;
	CHECK(found == (i < n));
	if (found)
		CHECK(m->line == lines[i].number && m->index == i &&
		      m->converts == lines[i].converts && m->has_to == lines[i].has_to);
}

struct scene {
	const struct config_rules *rules;
	const struct rule_entry *entries;
	size_t n_entries;
	const struct line *lines; /* NULL: not made here */
	size_t n_lines, n_asked;
};

static void ask(struct scene *s, const struct addr *dst)
{
	struct config_rule_match m = { .line = 0 };
	const struct answer a = linear(s->entries, s->n_entries, dst);
	const bool found = config_rules_find(s->rules, dst, &m);

	s->n_asked++;
	CHECK(found == a.found);
	if (s->lines)
		check_made(s->lines, s->n_lines, dst, found, &m);
	if (!found)
		return;
	CHECK(m.index == s->rules->rules[a.rule].index && m.line == s->rules->rules[a.rule].line);
	CHECK(m.converts == s->rules->rules[a.rule].converts);
	CHECK(m.has_to == (a.width != WIDTH_ANY) && (!m.has_to || m.to.len == a.width - 1));
	CHECK(!m.has_to || config_prefix_holds(&m.to, dst));
}

static void step_address(uint8_t ip[16], int by)
{
	for (int i = 15; i >= 0; i--) {
		ip[i] = (uint8_t)(ip[i] + by);
		if (by > 0 ? ip[i] != 0 : ip[i] != 0xff)
			break;
	}
}

/* The first and the last address of the prefix and their neighbours, by the edges of the ports. */
static void ask_around(struct scene *s, const struct rule_entry *e)
{
	const uint16_t ports[] = { e->first_port, e->last_port, (uint16_t)(e->first_port - 1),
				   (uint16_t)(e->last_port + 1) };
	struct addr first = { 0 }, last;
	unsigned int bit = e->key.width ? e->key.width - 1 : 0;

	for (unsigned int k = 0; k < 8; k++) {
		first.ip[k] = (uint8_t)(e->key.high >> (56 - 8 * k));
		first.ip[8 + k] = (uint8_t)(e->key.low >> (56 - 8 * k));
	}
	for (last = first; bit < 128; bit++)
		last.ip[bit / 8] |= (uint8_t)(0x80U >> bit % 8);
	for (unsigned int i = 0; i < 16; i++) {
		struct addr dst = i / 4 % 2 ? last : first;

		dst.port = ports[i % 4];
		if (i / 8)
			step_address(dst.ip, i / 4 % 2 ? 1 : -1);
		ask(s, &dst);
	}
}

static void ask_all(struct scene *s)
{
	const uint16_t ports[] = { 1, 80, 65535 };
	struct addr dst = { .ip = { [10] = 0xff, [11] = 0xff, [12] = 192, 0, 2, 7 } };

	for (size_t i = 0; i < s->n_entries && s->n_asked < DESTINATIONS_MAX; i++)
		ask_around(s, &s->entries[i]);
	for (size_t i = 0; i < 3; i++) {
		dst.port = ports[i];
		ask(s, &dst);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct line lines[RULES_MAX];
	struct input in = { data, data + size };
	struct config_rules *rules = config_rules_new(false);
	struct scene s = { .rules = rules };
	struct rule_entry *entries;
	bool made = take(&in) & 0x80;

	CHECK(rules);
	if (made)
		s.n_lines = make_rules(&in, rules, lines);
	else
		read_rules(&in, rules);
	s.lines = made ? lines : NULL;
	s.n_entries = rules->n_entries;
	entries = malloc((s.n_entries + 1) * sizeof(*entries));
	CHECK(entries && s.n_entries <= ENTRIES_MAX);
	if (s.n_entries)
		memcpy(entries, rules->entries, s.n_entries * sizeof(*entries));
	s.entries = entries;
	CHECK(config_rules_finish(rules) == 0);
	ask_all(&s);
	config_rules_free(rules);
	free(entries);
	return 0;
}

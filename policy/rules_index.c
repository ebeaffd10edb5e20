// SPDX-License-Identifier: MIT
#include "rules_int.h"

#include <endian.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* IPv4 is v4-mapped, so an IPv4 prefix is at least this wide a number. */
#define WIDTH_V4 WIDTH_OF_LEN(96)

static uint64_t get_64(const uint8_t *p)
{
	uint64_t n;

	memcpy(&n, p, sizeof(n));
	return be64toh(n);
}

struct rule_key rule_key_of(const uint8_t ip[16], unsigned int width)
{
	return (struct rule_key){ .high = get_64(ip), .low = get_64(ip + 8), .width = width };
}

static bool key_less(const struct rule_key *a, const struct rule_key *b)
{
	if (a->high != b->high)
		return a->high < b->high;
	if (a->low != b->low)
		return a->low < b->low;
	return a->width < b->width;
}

static bool key_equal(const struct rule_key *a, const struct rule_key *b)
{
	return a->high == b->high && a->low == b->low && a->width == b->width;
}

/* Does the prefix p hold the address that a starts with? */
static bool key_holds(const struct rule_key *p, const struct rule_key *a)
{
	unsigned int len = p->width - 1;

	if (p->width <= WIDTH_OF_LEN(0))
		return true;
	if (len <= 64)
		return (p->high ^ a->high) >> (64 - len) == 0;
	return p->high == a->high && (p->low ^ a->low) >> (128 - len) == 0;
}

/* ------------------------------------------------------------------------- in order */

static bool entry_less(const void *a, const void *b)
{
	const struct rule_entry *x = a, *y = b;

	return key_equal(&x->key, &y->key) ? x->rule < y->rule : key_less(&x->key, &y->key);
}

static bool port_less(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return *x < *y;
}

typedef bool less_fn(const void *, const void *);

/* From a up to b and from b up to end, into one. Inline, so that size and less are constants. */
static inline __attribute__((always_inline)) void merge(uint8_t *to, const uint8_t *a,
							const uint8_t *b, const uint8_t *end,
							size_t size, less_fn *less)
{
	const uint8_t *middle = b;

	for (; a < middle && b < end; to += size) {
		if (less(b, a)) {
			memcpy(to, b, size);
			b += size;
		} else {
			memcpy(to, a, size);
			a += size;
		}
	}
	memcpy(to, a, (size_t)(middle - a));
	memcpy(to + (middle - a), b, (size_t)(end - b));
}

/* Merges runs of 1, 2, 4 and so on. Without recursion, and in no other memory than `spare`, which is as large:
 * qsort() may call malloc and open files. */
static inline __attribute__((always_inline)) void sort(void *array, void *spare, size_t n,
						       size_t size, less_fn *less)
{
	uint8_t *from = array, *to = spare;

	for (size_t run = size; run < n * size; run *= 2) {
		uint8_t *merged = to, *end = from + n * size;

		for (uint8_t *a = from; a < end; a += 2 * run) {
			size_t left = (size_t)(end - a), both = left < 2 * run ? left : 2 * run;

			merge(to + (a - from), a, a + (left < run ? left : run), a + both, size,
			      less);
		}
		to = from;
		from = merged;
	}
	if (from != array)
		memcpy(array, from, n * size);
}

/* The ports of one node while they are being cut. */
struct cut {
	uint32_t *starts; /* of the segments, sorted */
	uint32_t *rule;	  /* of each, or RULE_NONE */
	uint32_t *next;	  /* where to look for a segment without a rule */
	size_t n;
};

static size_t sort_starts(uint32_t *starts, uint32_t *spare, size_t n)
{
	size_t kept = 1;

	sort(starts, spare, n, sizeof(*starts), port_less);
	for (size_t i = 1; i < n; i++) {
		if (starts[i] != starts[kept - 1])
			starts[kept++] = starts[i];
	}
	return kept;
}

static size_t start_at(const struct cut *c, uint32_t port)
{
	size_t low = 0, high = c->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (c->starts[middle] < port)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The first segment from i on that no rule has yet; halves the path as it goes. */
static size_t free_from(const struct cut *c, size_t i)
{
	while (c->next[i] != i) {
		c->next[i] = c->next[c->next[i]];
		i = c->next[i];
	}
	return i;
}

/* Entries come with the first rule first, so what has a rule keeps it. */
static void cut_ports(struct cut *c, const struct rule_entry *e, size_t n)
{
	size_t points = 0;

	c->starts[points++] = 0;
	for (size_t i = 0; i < n; i++) {
		c->starts[points++] = e[i].first_port;
		c->starts[points++] = e[i].last_port + 1U;
	}
	c->n = sort_starts(c->starts, c->next, points);
	for (uint32_t i = 0; i <= c->n; i++)
		c->next[i] = i;
	for (size_t i = 0; i < c->n; i++)
		c->rule[i] = RULE_NONE;
	for (size_t i = 0; i < n; i++) {
		size_t end = start_at(c, e[i].last_port + 1U);

		for (size_t s = free_from(c, start_at(c, e[i].first_port)); s < end;
		     s = free_from(c, s)) {
			c->rule[s] = e[i].rule;
			c->next[s] = (uint32_t)s + 1;
		}
	}
}

static void add_segment(struct config_rules *rules, uint32_t rule, uint32_t first_port)
{
	rules->segments[rules->n_segments++] = (struct rule_segment){ rule, first_port };
}

/* Neighbours with the same rule become one. */
static void add_cut(struct config_rules *rules, const struct cut *c)
{
	for (size_t i = 0; i < c->n && c->starts[i] <= UINT16_MAX; i++)
		if (i == 0 || c->rule[i] != c->rule[i - 1])
			add_segment(rules, c->rule[i], c->starts[i]);
}

/* Most nodes have one entry. */
static void add_segments(struct config_rules *rules, struct cut *c, const struct rule_entry *e,
			 size_t n)
{
	if (n > 1 && (e->first_port > 0 || e->last_port < UINT16_MAX)) {
		cut_ports(c, e, n);
		add_cut(rules, c);
		return;
	}
	if (e->first_port > 0)
		add_segment(rules, RULE_NONE, 0);
	add_segment(rules, e->rule, e->first_port);
	if (e->last_port < UINT16_MAX)
		add_segment(rules, RULE_NONE, e->last_port + 1U);
}

/* The narrowest node before the last one that holds it: around it, or around those around. */
static uint32_t node_around(const struct config_rules *rules, const struct rule_key *key)
{
	uint32_t i = rules->n_nodes ? (uint32_t)rules->n_nodes - 1 : RULE_NONE;

	while (i != RULE_NONE && !key_holds(&rules->nodes[i].key, key))
		i = rules->nodes[i].around;
	return i;
}

static void add_node(struct config_rules *rules, struct cut *c, const struct rule_entry *e,
		     size_t n)
{
	struct rule_node *node = &rules->nodes[rules->n_nodes];

	node->key = e->key;
	node->best = e->rule;
	node->around = node_around(rules, &e->key);
	node->segments = (uint32_t)rules->n_segments;
	add_segments(rules, c, e, n);
	node->n_segments = (uint32_t)rules->n_segments - node->segments;
	rules->n_nodes++;
}

static size_t entries_of_node(const struct config_rules *rules, size_t from)
{
	size_t n = 1;

	while (from + n < rules->n_entries &&
	       key_equal(&rules->entries[from].key, &rules->entries[from + n].key))
		n++;
	return n;
}

static void add_nodes(struct config_rules *rules, struct cut *c)
{
	for (size_t i = 0, n; i < rules->n_entries; i += n) {
		n = entries_of_node(rules, i);
		add_node(rules, c, rules->entries + i, n);
	}
}

/* Room for all nodes and segments, and to cut the one with the most entries: two starts each, port 0, and
 * an end. */
static int alloc_room(struct config_rules *rules, struct cut *c)
{
	size_t most = 0, n_nodes = 0, room;

	for (size_t i = 0, n; i < rules->n_entries; i += n, n_nodes++) {
		n = entries_of_node(rules, i);
		most = n > most ? n : most;
	}
	room = 2 * most + 2;
	rules->nodes = malloc((n_nodes + 1) * sizeof(*rules->nodes));
	rules->segments = malloc((2 * rules->n_entries + n_nodes + 1) * sizeof(*rules->segments));
	c->starts = malloc(3 * room * sizeof(*c->starts));
	if (!rules->nodes || !rules->segments || !c->starts)
		return -ENOMEM;
	c->rule = c->starts + room;
	c->next = c->rule + room;
	return 0;
}

/* As they are, if somebody has sorted them before. */
static int sort_entries(struct config_rules *rules)
{
	size_t n = rules->n_entries, sorted = 1;
	struct rule_entry *spare;

	while (sorted < n && !entry_less(&rules->entries[sorted], &rules->entries[sorted - 1]))
		sorted++;
	if (sorted >= n)
		return 0;
	spare = malloc(n * sizeof(*spare));
	if (!spare)
		return -ENOMEM;
	sort(rules->entries, spare, n, sizeof(*spare), entry_less);
	free(spare);
	return 0;
}

int rules_index_build(struct config_rules *rules)
{
	struct cut c = { .starts = NULL };
	int err = sort_entries(rules);

	if (!err)
		err = alloc_room(rules, &c);
	if (!err)
		add_nodes(rules, &c);
	free(c.starts);
	return err;
}

uint32_t rules_at_port(const struct config_rules *rules, const struct rule_node *node,
		       uint32_t port)
{
	const struct rule_segment *s = rules->segments + node->segments;
	size_t low = 0, high = node->n_segments; /* the first one starts at port 0 */

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (s[middle].first_port <= port)
			low = middle;
		else
			high = middle;
	}
	return s[low].rule;
}

/* The last node that starts at or before the address, or RULE_NONE. */
static uint32_t last_node_before(const struct config_rules *rules, const struct rule_key *address)
{
	size_t low = 0, high = rules->n_nodes;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (key_less(address, &rules->nodes[middle].key))
			high = middle;
		else
			low = middle + 1;
	}
	return low ? (uint32_t)low - 1 : RULE_NONE;
}

static void fill_match(struct config_rule_match *match, const struct rule *rule,
		       const struct rule_key *key)
{
	*match = (struct config_rule_match){
		.index = rule->index,
		.line = rule->line,
		.converts = rule->converts,
		.has_to = rule->has_to,
	};
	if (!rule->has_to)
		return;
	match->to.len = (uint8_t)(key->width - 1);
	for (unsigned int i = 0; i < 8; i++) {
		match->to.ip[i] = (uint8_t)(key->high >> (56 - 8 * i));
		match->to.ip[8 + i] = (uint8_t)(key->low >> (56 - 8 * i));
	}
}

bool config_rules_find(const struct config_rules *rules, const struct addr *dst,
		       struct config_rule_match *match)
{
	const struct rule_key address = rule_key_of(dst->ip, WIDTH_OF_LEN(128));
	const struct rule_key *to = NULL;
	const struct rule_node *node;
	bool is_v4 = addr_is_v4(dst);
	uint32_t best = RULE_NONE;

	for (uint32_t i = last_node_before(rules, &address); i != RULE_NONE; i = node->around) {
		uint32_t rule;

		node = &rules->nodes[i];
		if (node->best >= best || !key_holds(&node->key, &address))
			continue;
		if (is_v4 && node->key.width != WIDTH_ANY && node->key.width < WIDTH_V4)
			continue; /* ::/0 is IPv6 */
		rule = rules_at_port(rules, node, dst->port);
		if (rule < best) {
			best = rule;
			to = &node->key;
		}
	}
	if (best != RULE_NONE)
		fill_match(match, &rules->rules[best], to);
	return best != RULE_NONE;
}

bool config_prefix_holds(const struct addr_prefix *p, const struct addr *a)
{
	return addr_in_prefix(a->ip, p) && (p->len >= 96 || !addr_is_v4(a));
}

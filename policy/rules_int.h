/* SPDX-License-Identifier: MIT */
/*
 * rules_int.h - between the grammar (rules.c) and the index (rules_index.c); and for who looks inside: the doctor
 * (bootstrap-helper/check/judge_config.c) and two fuzzers (fuzz_rules, fuzz_config).
 *
 * A rule with p prefixes and q port ranges becomes p * q entries. The index sorts them by
 * prefix; each distinct prefix is a node that knows the next wider node around it, and cuts
 * the ports into segments with the first rule for each. A look-up finds the last node that
 * starts at or before the destination by bisection: all nodes that hold the destination are
 * it or lie around it.
 */
#ifndef CVT_RULES_INT_H
#define CVT_RULES_INT_H

#include "rules.h"

#define RULE_NONE UINT32_MAX

struct rule {
	uint32_t index; /* in the file */
	unsigned int line;
	bool converts;
	bool has_to;
};

/* Wider prefixes have smaller numbers: WIDTH_ANY is no `to` at all, which is wider than ::/0. */
#define WIDTH_ANY	  0U
#define WIDTH_OF_LEN(len) ((unsigned int)(len) + 1)

struct rule_key { /* a prefix as two numbers; the bits behind its length are zero */
	uint64_t high, low;
	uint32_t width;
};

struct rule_entry {
	struct rule_key key;
	uint32_t rule;
	uint16_t first_port, last_port;
};

struct rule_node {
	struct rule_key key;
	uint32_t around;   /* the next wider node, or RULE_NONE */
	uint32_t segments; /* where its segments start */
	uint32_t n_segments;
	uint32_t best; /* the first rule of all its segments */
};

struct rule_segment {  /* from here to the start of the node's next one */
	uint32_t rule; /* RULE_NONE: none speaks of these ports */
	uint32_t first_port;
};

struct config_rules {
	size_t n_in_file;
	struct rule *rules; /* those of this program */
	size_t n_rules;
	struct rule_entry *entries; /* until config_rules_finish() */
	size_t n_entries, room;
	struct rule_node *nodes;
	size_t n_nodes;
	struct rule_segment *segments;
	size_t n_segments;
	bool is_direct; /* whatever is asked */
	bool is_incoming;
};

struct rule_key rule_key_of(const uint8_t ip[16], unsigned int width);
int rules_index_build(struct config_rules *rules);
/* What a node itself says of a port: the number of a rule, or RULE_NONE. */
uint32_t rules_at_port(const struct config_rules *rules, const struct rule_node *node,
		       uint32_t port);

#endif

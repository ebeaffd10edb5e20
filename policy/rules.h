/* SPDX-License-Identifier: MIT */
/*
 * rules.h - the ordered rules of the configuration: what does the first that matches say?
 *
 * `direct|convert [to PREFIX,...] [port P[-Q],...] [app NAME,...]`, words in any order; and of
 * incoming connections `accept [port P[-Q],...] [app NAME,...]`, which are looked up by the address that
 * the program listens on.
 * Promises: text in, verdict out; a look-up neither allocates nor locks, and its cost grows with
 * the logarithm of the number of rules and with how deeply prefixes nest (129 at most).
 * An IPv6 prefix never matches an IPv4 destination, not even ::/0.
 */
#ifndef CVT_RULES_H
#define CVT_RULES_H

#include "config.h"

struct config_rules;

struct config_rule_match {
	size_t index;	   /* of the rule, from 0, among those in the file */
	unsigned int line; /* in the file */
	bool converts;
	bool has_to;	       /* the rule names destinations, and ... */
	struct addr_prefix to; /* ... this is the longest of them that matches */
};

struct config_rules *config_rules_new(bool is_incoming);
/* Before the first, where many may come: from a text of this length. What is not used is not touched. -ENOMEM. */
int config_rules_expect(struct config_rules *rules, size_t len);
/* Rules for other programs are checked and then forgotten; incoming ones without a program are for those
 * who open ports for all of them, which are those with a port. err->what says what is wrong. */
int config_rules_add(struct config_rules *rules, const char *text, unsigned int line,
		     const char *program, struct config_error *err);
/* After the last rule, before the first look-up. -ENOMEM. */
int config_rules_finish(struct config_rules *rules);
bool config_rules_find(const struct config_rules *rules, const struct addr *dst,
		       struct config_rule_match *match);
/* Does the first rule say `direct` of everything? */
bool config_rules_are_direct(const struct config_rules *rules);
/* Is there one for this program? */
bool config_rules_are_any(const struct config_rules *rules);
/* How many rules the file has, those for other programs included. */
size_t config_rules_count(const struct config_rules *rules);
void config_rules_free(struct config_rules *rules);

/* addr_in_prefix() with the two address families kept apart. */
bool config_prefix_holds(const struct addr_prefix *p, const struct addr *a);

#endif

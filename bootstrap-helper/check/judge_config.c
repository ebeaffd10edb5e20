// SPDX-License-Identifier: MIT
/* What a configuration means, and what it says in vain: rules that never match, and addresses that are given twice. */
#include "check.h"

#include <stdlib.h>

#include "rules_int.h"

#define RULES_MOST 100 /* are told one by one */

/* ---------------------------------------------------------------------------- in vain */

/* An IPv6 prefix never matches an IPv4 destination, as wide as it may be. */
static bool speaks_of(const struct rule_key *around, const struct rule_key *key)
{
	bool is_v4 = key->width >= WIDTH_OF_LEN(96) && key->high == 0 && key->low >> 32 == 0xffff;

	return !is_v4 || around->width == WIDTH_ANY || around->width >= WIDTH_OF_LEN(96);
}

/* The rule that decides for a destination in this node, and in none that is narrower. */
static uint32_t first_at(const struct config_rules *r, uint32_t node, uint32_t port)
{
	const struct rule_key *key = &r->nodes[node].key;
	uint32_t first = RULE_NONE;

	for (; node != RULE_NONE; node = r->nodes[node].around) {
		uint32_t rule = rules_at_port(r, &r->nodes[node], port);

		if (rule < first && speaks_of(&r->nodes[node].key, key))
			first = rule;
	}
	return first;
}

/* The first rule changes only where a segment begins, of the node or of one around it. Where narrower nodes
 * leave nothing of this one a rule counts as reached that is not: nothing is said that is wrong. */
static void reach(const struct config_rules *r, uint32_t node, bool *is_reached)
{
	for (uint32_t n = node; n != RULE_NONE; n = r->nodes[n].around)
		for (uint32_t i = 0; i < r->nodes[n].n_segments; i++) {
			uint32_t port = r->segments[r->nodes[n].segments + i].first_port;
			uint32_t first = first_at(r, node, port);

			if (first != RULE_NONE)
				is_reached[first] = true;
		}
}

static void judge_rules(struct findings *f, const struct config *config)
{
	const struct config_rules *r = config->rules;
	size_t n = 0;
	bool *is_reached = r ? calloc(r->n_rules + 1, sizeof(*is_reached)) : NULL;

	for (uint32_t i = 0; is_reached && i < r->n_nodes; i++)
		reach(r, i, is_reached);
	for (size_t i = 0; is_reached && i < r->n_rules; i++) {
		struct finding *found;

		if (is_reached[i] || n++ >= RULES_MOST)
			continue;
		found = finding_add(
			f, "configuration", FINDING_NOTE,
			"%s:%u: this rule never matches: rules above it take all that it "
			"could",
			config->file, r->rules[i].line);
		finding_advise(found, "move it up, or take it out");
		finding_number(found, "line", r->rules[i].line);
	}
	if (n > RULES_MOST)
		finding_advise(finding_add(f, "configuration", FINDING_NOTE,
					   "%s: %zu more rules never match", config->file,
					   n - RULES_MOST),
			       "move the rules above them down, or take one of both out");
	free(is_reached);
}

/* The converter that has the same address before this one, or NULL. */
static const struct config_converter *earlier(const struct config *config, size_t converter,
					      size_t address)
{
	const struct addr *a = &config->converters[converter].addrs[address];

	for (size_t i = 0; i <= converter; i++) {
		const struct config_converter *c = &config->converters[i];
		size_t n = i == converter ? address : c->n_addrs;

		for (size_t k = 0; k < n; k++)
			if (addr_equal(&c->addrs[k], a))
				return c;
	}
	return NULL;
}

static void judge_addresses(struct findings *f, const struct config *config)
{
	for (size_t i = 0; i < config->n_converters; i++)
		for (size_t k = 0; k < config->converters[i].n_addrs; k++) {
			const struct config_converter *c = &config->converters[i];
			const struct config_converter *same = earlier(config, i, k);
			char text[ADDR_TEXT_MAX];
			struct finding *found;

			/* in two networks it may be two converters (F-01) */
			if (!same || (same != c && (same->n_from || same->n_interfaces)))
				continue;
			addr_format(&c->addrs[k], text);
			found = finding_add(f, "configuration", FINDING_NOTE,
					    "%s:%u: %s of [converter %s] is given twice, first in "
					    "[converter %s], line %u",
					    config->file, c->line, text, c->name, same->name,
					    same->line);
			finding_advise(found, "take one of them out");
			finding_number(found, "line", c->line);
		}
}

/* What is there twice, or never comes into play. */
static void judge_in_vain(struct findings *f, const struct config *config)
{
	if (!config->file)
		return;
	judge_addresses(f, config);
	judge_rules(f, config);
}

/* --------------------------------------------------------------------------- all of it */

void judge_converters(struct findings *f, const struct config *config)
{
	const char *without = load_without_converter(config);
	struct finding *found;
	size_t rules = config->rules ? config_rules_count(config->rules) : 0;

	if (config->is_disabled) {
		found = finding_add(f, "configuration", FINDING_PROBLEM,
				    "CONVERT_DISABLE is set: %s", without);
		finding_mend(found, "unset CONVERT_DISABLE");
		return;
	}
	if (config->is_switched_off) {
		found = finding_add(f, "configuration", FINDING_PROBLEM,
				    CONFIG_OFF_SWITCH " is there: %s", without);
		finding_mend_as_root(found, "rm " CONFIG_OFF_SWITCH);
		return;
	}
	if (config->n_converters > 0) {
		found = finding_add(
			f, "configuration", FINDING_OK, "%s: %zu converter%s, %zu rule%s",
			config->file ? config->file : "the environment", config->n_converters,
			config->n_converters == 1 ? "" : "s", rules, rules == 1 ? "" : "s");
	} else {
		found = finding_add(f, "configuration", FINDING_PROBLEM,
				    "%s%s: no converter is configured, and %s",
				    config->file ? config->file : CONFIG_DEFAULT_FILE,
				    config->file ? "" : " is not there", without);
		finding_mend(found, "[converter NAME]");
		finding_mend(found, "address = ADDRESS");
	}
	finding_number(found, "converters", (int64_t)config->n_converters);
	finding_number(found, "rules", (int64_t)rules);
}

void judge_config(struct findings *f, const struct config *config, const struct host_written *state,
		  const struct host_written *log)
{
	findings_about(f, "configuration");
	judge_converters(f, config);
	if (config->is_disabled || config->is_switched_off)
		return;
	judge_in_vain(f, config);
	judge_state(f, state);
	judge_log(f, log);
	if (config->log_is_shaped && !config->log_target) {
		struct finding *found = finding_add(
			f, "log", FINDING_PROBLEM,
			"[log] says how and not where: nothing is logged");

		finding_mend(found, "[log]");
		finding_mend(found, "target = stderr");
	}
}

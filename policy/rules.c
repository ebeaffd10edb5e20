// SPDX-License-Identifier: MIT
#include "rules_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config_int.h"

/* What a rule's text says; the lists point into it. */
struct clauses {
	const char *to, *port, *app;	/* NULL: not given */
	uint16_t first_port, last_port; /* the last of n_ports ranges */
	size_t n_ports;
	bool has_action, converts;
	bool is_for_us; /* in the list of programs, or there is none */
};

struct context {
	struct config_rules *rules;
	const char *program;
	struct clauses *clauses;
	struct config_error *err;
	unsigned int line;
};

#define ITEM_MAX   64
#define ROOM_FIRST 16
#define ROOM_MANY  1024 /* few are moved, now and then */
#define RULE_LEAST 12	/* bytes, "rule=direct" */

static const char *skip_space(const char *s)
{
	while (config_is_space(*s))
		s++;
	return s;
}

/* Cuts the next word off *s; a comma ends it. One that is too long to mean anything is cut. */
static void take_word(const char **s, char word[static ITEM_MAX])
{
	const char *start = skip_space(*s), *end = start;
	size_t kept;

	/* most characters lie behind all that end a word */
	while (*end > ',' || (*end && *end != ',' && !config_is_space(*end)))
		end++;
	kept = end - start < ITEM_MAX ? (size_t)(end - start) : ITEM_MAX - 1;
	memcpy(word, start, kept);
	word[kept] = '\0';
	*s = end;
}

/* Cuts the next item off a list; returns whether a comma and so another one follows. */
static bool take_item(const char **s, char item[static ITEM_MAX])
{
	const char *behind;

	take_word(s, item);
	behind = skip_space(*s);
	if (*behind != ',')
		return false;
	*s = behind + 1;
	return true;
}

/* What follows, or NULL. */
static const char *take_number(const char *s, uint16_t *port)
{
	const char *start = s;
	unsigned int n = 0;

	for (; *s >= '0' && *s <= '9' && s - start < 9; s++)
		n = n * 10 + (unsigned int)(*s - '0');
	*port = (uint16_t)n;
	return n > 0 && n <= UINT16_MAX ? s : NULL;
}

static int parse_ports(const char *item, uint16_t *first, uint16_t *last)
{
	const char *end = take_number(item, first);

	*last = *first;
	if (end && *end == '-')
		end = take_number(end + 1, last);
	return end && !*end && *first <= *last ? 0 : -EINVAL;
}

static int bad_item(const struct context *cx, const char *clause, const char *item,
		    const char *expected)
{
	return config_mistake(cx->err, cx->line, "rule: ", clause, " ", item, ": expected ",
			      expected, NULL);
}

/* Of either: no rule is without an entry. */
static int make_room(struct config_rules *rules, size_t room)
{
	void *entries = realloc(rules->entries, room * sizeof(*rules->entries)), *more = NULL;

	if (entries) {
		rules->entries = entries;
		more = realloc(rules->rules, room * sizeof(*rules->rules));
	}
	if (!more)
		return -ENOMEM;
	rules->rules = more;
	rules->room = room;
	return 0;
}

static int add_entry(struct config_rules *rules, struct rule_key key, uint16_t first, uint16_t last)
{
	if (rules->n_entries == rules->room &&
	    make_room(rules, rules->room ? 2 * rules->room : ROOM_FIRST) < 0)
		return -ENOMEM;
	rules->entries[rules->n_entries++] = (struct rule_entry){
		.key = key,
		.rule = (uint32_t)rules->n_rules,
		.first_port = first,
		.last_port = last,
	};
	return 0;
}

/* Each prefix is an entry at once, for all ports until these are known. */
static int take_to(const struct context *cx, const char *item)
{
	struct addr_prefix prefix;
	int err = addr_parse_prefix(&prefix, item);

	if (err == -EDOM)
		return bad_item(cx, "to", item, "no bits behind the prefix length");
	if (err)
		return bad_item(cx, "to", item,
				"numeric prefixes such as 10.0.0.0/8,2001:db8::/32");
	if (add_entry(cx->rules, rule_key_of(prefix.ip, WIDTH_OF_LEN(prefix.len)), 0, UINT16_MAX))
		return config_no_memory(cx->err, cx->line);
	return 0;
}

static int take_port(const struct context *cx, const char *item)
{
	struct clauses *c = cx->clauses;

	if (parse_ports(item, &c->first_port, &c->last_port) < 0)
		return bad_item(cx, "port", item, "ports from 1 to 65535, such as 80,8000-8080");
	c->n_ports++;
	return 0;
}

/* A login shell is started by a name with a hyphen before it. */
static const char *bare(const char *name)
{
	return name + (*name == '-');
}

static int take_app(const struct context *cx, const char *item)
{
	if (item[0] == '\0' || strlen(item) == ITEM_MAX - 1 || strchr(item, '/'))
		return bad_item(cx, "app", item, "program names without a path, such as curl,wget");
	cx->clauses->is_for_us |= cx->program && strcmp(bare(item), bare(cx->program)) == 0;
	return 0;
}

/* Takes each item of the list at *s and moves *s behind it. */
static int take_list(const struct context *cx, const char **s, const char **list,
		     const char *clause, int (*take)(const struct context *, const char *))
{
	char item[ITEM_MAX];
	bool more;
	int err;

	if (*list)
		return config_mistake(cx->err, cx->line, "rule: a second \"", clause,
				      "\": expected one with a list", NULL);
	*list = *s;
	do {
		more = take_item(s, item);
		err = take(cx, item);
	} while (more && !err);
	return err;
}

static int take_action(const struct context *cx, bool converts)
{
	if (cx->clauses->has_action)
		return config_mistake(cx->err, cx->line,
				      cx->rules->is_incoming ?
					      "rule: expected accept once" :
					      "rule: expected one of direct and convert, once",
				      NULL);
	cx->clauses->has_action = true;
	cx->clauses->converts = converts;
	return 0;
}

static int take_clause(const struct context *cx, const char *word, const char **s)
{
	struct clauses *c = cx->clauses;
	bool is_incoming = cx->rules->is_incoming;

	if (strcmp(word, "direct") == 0 && !is_incoming)
		return take_action(cx, false);
	if (strcmp(word, is_incoming ? "accept" : "convert") == 0)
		return take_action(cx, true);
	if (strcmp(word, "to") == 0 && !is_incoming)
		return take_list(cx, s, &c->to, "to", take_to);
	if (strcmp(word, "port") == 0)
		return take_list(cx, s, &c->port, "port", take_port);
	if (strcmp(word, "app") == 0)
		return take_list(cx, s, &c->app, "app", take_app);
	return config_mistake(cx->err, cx->line, "rule: \"", word,
			      is_incoming ? "\": expected accept, port or app" :
					    "\": expected direct, convert, to, port or app",
			      NULL);
}

static int parse_clauses(const struct context *cx, const char *text)
{
	char word[ITEM_MAX];

	while (*skip_space(text)) {
		int err;

		take_word(&text, word);
		err = take_clause(cx, word, &text);
		if (err)
			return err;
	}
	if (!cx->clauses->has_action)
		return config_mistake(
			cx->err, cx->line,
			cx->rules->is_incoming ?
				"rule: expected accept, then port or app" :
				"rule: expected direct or convert, then to, port or app",
			NULL);
	return 0;
}

/* The entries from this one on, of one rule, are for its ports alone. The list was checked. */
static int add_ports(struct config_rules *rules, size_t from, const struct clauses *c)
{
	uint16_t first = c->first_port, last = c->last_port;
	size_t to = rules->n_entries;
	const char *ports = c->port;
	char item[ITEM_MAX];

	for (size_t i = from; i < to; i++) {
		rules->entries[i].first_port = first;
		rules->entries[i].last_port = last;
	}
	for (size_t n = c->n_ports; n > 1; n--) {
		take_item(&ports, item);
		parse_ports(item, &first, &last);
		for (size_t i = from; i < to; i++)
			if (add_entry(rules, rules->entries[i].key, first, last) < 0)
				return -ENOMEM;
	}
	return 0;
}

static int add_rule(struct config_rules *rules, const struct clauses *c, size_t from,
		    unsigned int line)
{
	static const uint8_t anywhere[16];

	if ((!c->to && add_entry(rules, rule_key_of(anywhere, WIDTH_ANY), 0, UINT16_MAX) < 0) ||
	    (c->port && add_ports(rules, from, c) < 0))
		return -ENOMEM;
	rules->rules[rules->n_rules++] = (struct rule){
		.index = (uint32_t)rules->n_in_file - 1,
		.line = line,
		.converts = c->converts,
		.has_to = c->to != NULL,
	};
	return 0;
}

struct config_rules *config_rules_new(bool is_incoming)
{
	struct config_rules *rules = malloc(sizeof(*rules));

	if (rules)
		*rules = (struct config_rules){ .is_incoming = is_incoming };
	return rules;
}

int config_rules_expect(struct config_rules *rules, size_t len)
{
	return len / RULE_LEAST > ROOM_MANY ? make_room(rules, len / RULE_LEAST) : 0;
}

int config_rules_add(struct config_rules *rules, const char *text, unsigned int line,
		     const char *program, struct config_error *err)
{
	size_t from = rules->n_entries;
	struct clauses c = { 0 };
	int ret = parse_clauses(&(struct context){ rules, program, &c, err, line }, text);

	if (!ret) {
		/* without a program: whose ports are to be opened, and these have names */
		bool is_ours = !program && rules->is_incoming ? c.port != NULL :
								!c.app || c.is_for_us;

		rules->n_in_file++;
		if (!is_ours)
			rules->n_entries = from;
		else if (add_rule(rules, &c, from, line) < 0)
			ret = config_no_memory(err, line);
	}
	if (ret)
		rules->n_entries = from;
	return ret;
}

size_t config_rules_count(const struct config_rules *rules)
{
	return rules->n_in_file;
}

static bool is_everything(const struct rule_entry *e)
{
	return e->rule == 0 && e->key.width == WIDTH_ANY && e->first_port == 0 &&
	       e->last_port == UINT16_MAX;
}

int config_rules_finish(struct config_rules *rules)
{
	int err;

	for (size_t i = 0; i < rules->n_entries; i++)
		rules->is_direct |= is_everything(&rules->entries[i]) && !rules->rules[0].converts;
	err = rules_index_build(rules);
	free(rules->entries);
	rules->entries = NULL;
	rules->n_entries = 0;
	return err;
}

bool config_rules_are_any(const struct config_rules *rules)
{
	return rules->n_rules > 0;
}

bool config_rules_are_direct(const struct config_rules *rules)
{
	return rules->is_direct;
}

void config_rules_free(struct config_rules *rules)
{
	if (!rules)
		return;
	free(rules->rules);
	free(rules->entries);
	free(rules->nodes);
	free(rules->segments);
	free(rules);
}

// SPDX-License-Identifier: MIT
#include "rules_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config_int.h"

/* What a rule's text says; the lists point into it. */
struct clauses {
	const char *to, *port, *app; /* NULL: not given */
	bool has_action, converts;
};

struct context {
	struct config_error *err;
	unsigned int line;
};

#define ITEM_MAX 64

static const char *skip_space(const char *s)
{
	while (config_is_space(*s))
		s++;
	return s;
}

/* Cuts the next word off *s; a comma ends it. One that is too long to mean anything is cut. */
static void take_word(const char **s, char word[static ITEM_MAX])
{
	const char *start = skip_space(*s);
	size_t len = strcspn(start, " \t,"), kept = len < ITEM_MAX ? len : ITEM_MAX - 1;

	memcpy(word, start, kept);
	word[kept] = '\0';
	*s = start + len;
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

static int parse_ports(const char *item, uint16_t *first, uint16_t *last)
{
	size_t len = strcspn(item, "-");
	const char *second = item[len] ? item + len + 1 : item;
	unsigned int a, b;

	if (!config_number(item, len, 65535, &a) || a == 0)
		return -EINVAL;
	if (!config_number(second, strcspn(second, item[len] ? "" : "-"), 65535, &b) || b < a)
		return -EINVAL;
	*first = (uint16_t)a;
	*last = (uint16_t)b;
	return 0;
}

static int bad_item(const struct context *cx, const char *clause, const char *item,
		    const char *expected)
{
	return config_mistake(cx->err, cx->line, "rule: ", clause, " ", item, ": expected ",
			      expected, NULL);
}

static int check_to(const struct context *cx, const char *item)
{
	struct addr_prefix prefix;
	int err = addr_parse_prefix(&prefix, item);

	if (err == -EDOM)
		return bad_item(cx, "to", item, "no bits behind the prefix length");
	if (err)
		return bad_item(cx, "to", item,
				"numeric prefixes such as 10.0.0.0/8,2001:db8::/32");
	return 0;
}

static int check_port(const struct context *cx, const char *item)
{
	uint16_t first, last;

	if (parse_ports(item, &first, &last) < 0)
		return bad_item(cx, "port", item, "ports from 1 to 65535, such as 80,8000-8080");
	return 0;
}

static int check_app(const struct context *cx, const char *item)
{
	if (item[0] == '\0' || strlen(item) == ITEM_MAX - 1 || strchr(item, '/'))
		return bad_item(cx, "app", item, "program names without a path, such as curl,wget");
	return 0;
}

/* Checks each item of the list at *s and moves *s behind it. */
static int take_list(const struct context *cx, const char **s, const char **list,
		     const char *clause, int (*check)(const struct context *, const char *))
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
		err = check(cx, item);
	} while (more && !err);
	return err;
}

static int take_action(const struct context *cx, struct clauses *c, bool converts)
{
	if (c->has_action)
		return config_mistake(cx->err, cx->line,
				      "rule: expected one of direct and convert, once", NULL);
	c->has_action = true;
	c->converts = converts;
	return 0;
}

static int take_clause(const struct context *cx, struct clauses *c, const char *word,
		       const char **s)
{
	if (strcmp(word, "direct") == 0)
		return take_action(cx, c, false);
	if (strcmp(word, "convert") == 0)
		return take_action(cx, c, true);
	if (strcmp(word, "to") == 0)
		return take_list(cx, s, &c->to, "to", check_to);
	if (strcmp(word, "port") == 0)
		return take_list(cx, s, &c->port, "port", check_port);
	if (strcmp(word, "app") == 0)
		return take_list(cx, s, &c->app, "app", check_app);
	return config_mistake(cx->err, cx->line, "rule: \"", word,
			      "\": expected direct, convert, to, port or app", NULL);
}

static int parse_clauses(const struct context *cx, struct clauses *c, const char *text)
{
	char word[ITEM_MAX];

	*c = (struct clauses){ 0 };
	while (*skip_space(text)) {
		int err;

		take_word(&text, word);
		err = take_clause(cx, c, word, &text);
		if (err)
			return err;
	}
	if (!c->has_action)
		return config_mistake(cx->err, cx->line,
				      "rule: expected direct or convert, then to, port or app",
				      NULL);
	return 0;
}

static bool is_for(const char *app, const char *program)
{
	char item[ITEM_MAX];
	bool more;

	if (!app)
		return true;
	do {
		more = take_item(&app, item);
		if (program && strcmp(item, program) == 0)
			return true;
	} while (more);
	return false;
}

static int add_entry(struct config_rules *rules, struct rule_key key, uint16_t first, uint16_t last)
{
	struct rule_entry *e = config_grow(rules->entries, rules->n_entries, sizeof(*e));

	if (!e)
		return -ENOMEM;
	rules->entries = e;
	rules->entries[rules->n_entries++] = (struct rule_entry){
		.key = key,
		.rule = (uint32_t)rules->n_rules,
		.first_port = first,
		.last_port = last,
	};
	return 0;
}

/* The lists were checked, so that their items parse. */
static int add_ports(struct config_rules *rules, struct rule_key key, const char *ports)
{
	char item[ITEM_MAX];
	uint16_t first, last;
	bool more;
	int err;

	if (!ports)
		return add_entry(rules, key, 0, UINT16_MAX);
	do {
		more = take_item(&ports, item);
		err = parse_ports(item, &first, &last);
		if (!err)
			err = add_entry(rules, key, first, last);
	} while (more && !err);
	return err;
}

static int add_entries(struct config_rules *rules, const struct clauses *c)
{
	static const uint8_t anywhere[16];
	const char *to = c->to;
	struct addr_prefix prefix;
	char item[ITEM_MAX];
	bool more;
	int err;

	if (!to)
		return add_ports(rules, rule_key_of(anywhere, WIDTH_ANY), c->port);
	do {
		more = take_item(&to, item);
		addr_parse_prefix(&prefix, item);
		err = add_ports(rules, rule_key_of(prefix.ip, WIDTH_OF_LEN(prefix.len)), c->port);
	} while (more && !err);
	return err;
}

struct config_rules *config_rules_new(void)
{
	struct config_rules *rules = malloc(sizeof(*rules));

	if (rules)
		*rules = (struct config_rules){ 0 };
	return rules;
}

int config_rules_add(struct config_rules *rules, const char *text, unsigned int line,
		     const char *program, struct config_error *err)
{
	const struct context cx = { .err = err, .line = line };
	struct clauses c;
	struct rule *r;
	int ret = parse_clauses(&cx, &c, text);

	if (ret)
		return ret;
	rules->n_in_file++;
	if (!is_for(c.app, program))
		return 0;
	r = config_grow(rules->rules, rules->n_rules, sizeof(*r));
	if (!r)
		return config_no_memory(err, line);
	rules->rules = r;
	if (add_entries(rules, &c) < 0)
		return config_no_memory(err, line);
	rules->rules[rules->n_rules++] = (struct rule){
		.index = (uint32_t)rules->n_in_file - 1,
		.line = line,
		.converts = c.converts,
		.has_to = c.to != NULL,
	};
	return 0;
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

// SPDX-License-Identifier: MIT
#include "config_int.h"
#include "pcp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TIME_MAX_MS 600000

static struct config_converter *current(const struct config_parser *p)
{
	return &p->config->converters[p->config->n_converters - 1];
}

/* The place of value in the list, which ends with NULL, or -1. */
static int place(const char *const words[], const char *value)
{
	for (int i = 0; words[i]; i++) {
		if (strcmp(words[i], value) == 0)
			return i;
	}
	return -1;
}

static int set_address(struct config_parser *p, const char *value)
{
	p->has_address = true;
	return config_add_address(current(p), value, p->key, p->err, p->line);
}

static int set_port(struct config_parser *p, const char *value)
{
	unsigned int port;

	if (!config_number(value, strlen(value), 65535, &port) || port == 0)
		return config_expected(p, value, "a port from 1 to 65535");
	p->port = (uint16_t)port;
	return 0;
}

static int set_dialect(struct config_parser *p, const char *value)
{
	static const char *const words[] = { [CVT_DIALECT_RFC8803] = "rfc8803",
					     [CVT_DIALECT_DRAFT02] = "draft-02",
					     [CVT_DIALECT_HYBRID] = "hybrid",
					     NULL };
	int dialect = place(words, value);
	struct config_converter *c = current(p);

	c->dialect_is_auto = strcmp(value, "auto") == 0;
	if (c->dialect_is_auto)
		return 0;
	if (dialect < 0)
		return config_expected(p, value, "auto, rfc8803, draft-02 or hybrid");
	c->dialect = (enum cvt_dialect)dialect;
	return 0;
}

static int set_fast_open(struct config_parser *p, const char *value)
{
	static const char *const words[] = { [CONFIG_FO_AUTO] = "auto",
					     [CONFIG_FO_COOKIE] = "cookie",
					     [CONFIG_FO_NO_COOKIE] = "no-cookie",
					     NULL };
	int fast_open = place(words, value);

	if (fast_open < 0)
		return config_expected(p, value, "auto, cookie or no-cookie");
	current(p)->fast_open = (enum config_fast_open)fast_open;
	return 0;
}

static int set_cookie(struct config_parser *p, const char *value)
{
	return p->err->leaves_cookies ?
		       0 :
		       config_set_cookie(current(p), value, p->key, p->err, p->line);
}

static int set_from(struct config_parser *p, const char *value)
{
	struct config_converter *c = current(p);
	struct addr_prefix prefix, *from;
	int err = addr_parse_prefix(&prefix, value);

	if (err == -EDOM)
		return config_expected(p, value, "no bits behind the prefix length");
	if (err)
		return config_expected(p, value, "a prefix such as 10.20.0.0/16 or 2001:db8::/32");
	from = config_grow(c->from, c->n_from, sizeof(*from));
	if (!from)
		return config_no_memory(p->err, p->line);
	c->from = from;
	c->from[c->n_from++] = prefix;
	return 0;
}

/* What the kernel takes as a name (dev_valid_name), but for a comma, which is a list's. */
static int set_interface(struct config_parser *p, const char *value)
{
	struct config_converter *c = current(p);
	size_t len = strlen(value);
	void *names;

	if (len >= sizeof(c->interfaces[0]) || strpbrk(value, "/:, \t") ||
	    strcmp(value, ".") == 0 || strcmp(value, "..") == 0)
		return config_expected(
			p, value, "the name of one network interface, each in a line of its own");
	names = config_grow(c->interfaces, c->n_interfaces, sizeof(c->interfaces[0]));
	if (!names)
		return config_no_memory(p->err, p->line);
	c->interfaces = names;
	memcpy(c->interfaces[c->n_interfaces++], value, len + 1);
	return 0;
}

static int set_weight(struct config_parser *p, const char *value)
{
	if (!config_number(value, strlen(value), CONFIG_WEIGHT_MAX, &current(p)->weight) ||
	    current(p)->weight == 0)
		return config_expected(p, value, "a number from 1 to 1000");
	return 0;
}

static int set_rule(struct config_parser *p, const char *value)
{
	return config_rules_add(p->config->rules, value, p->line, p->program, p->err);
}

static int set_accept(struct config_parser *p, const char *value)
{
	if (!p->config->incoming)
		p->config->incoming = config_rules_new(true);
	if (!p->config->incoming)
		return config_no_memory(p->err, p->line);
	return config_rules_add(p->config->incoming, value, p->line, p->program, p->err);
}

static int set_pcp(struct config_parser *p, const char *value)
{
	if (addr_parse(&p->config->pcp, value) < 0)
		return config_expected(p, value, "an address, such as 192.0.2.1");
	p->config->pcp.port = PCP_PORT;
	return 0;
}

static int set_mptcp(struct config_parser *p, const char *value)
{
	static const char *const words[] = { [CONFIG_MPTCP_AUTO] = "auto",
					     [CONFIG_MPTCP_ON] = "on",
					     [CONFIG_MPTCP_OFF] = "off",
					     NULL };
	int mptcp = place(words, value);

	if (mptcp < 0)
		return config_expected(p, value, "auto, on or off");
	p->config->mptcp = (enum config_mptcp)mptcp;
	return 0;
}

static int set_bypass(struct config_parser *p, const char *value)
{
	static const char *const words[] = { "never", "auto", NULL };
	int bypass = place(words, value);

	if (bypass < 0)
		return config_expected(p, value, "auto or never");
	p->config->bypass = bypass;
	return 0;
}

static int set_yes(struct config_parser *p, bool *yes, const char *value)
{
	static const char *const words[] = { "no", "yes", NULL };
	int at = place(words, value);

	if (at < 0)
		return config_expected(p, value, "yes or no");
	*yes = at;
	return 0;
}

static int set_strict(struct config_parser *p, const char *value)
{
	return set_yes(p, &p->config->strict, value);
}

static int set_fallback(struct config_parser *p, const char *value)
{
	static const char *const words[] = {
		[CONFIG_FALLBACK_DIRECT] = "direct", [CONFIG_FALLBACK_NONE] = "none", NULL
	};
	int fallback = place(words, value);

	if (fallback < 0)
		return config_expected(p, value, "direct or none");
	p->config->fallback = (enum config_fallback)fallback;
	return 0;
}

/* expected: the range, in words. */
static int set_time(struct config_parser *p, unsigned int *ms, const char *value,
		    unsigned int least_ms, const char *expected)
{
	size_t digits = strspn(value, "0123456789");
	const char *unit = value + digits;
	unsigned int n, unit_ms = strcmp(unit, "ms") == 0 ? 1 : strcmp(unit, "s") == 0 ? 1000 : 0;

	if (unit_ms == 0)
		return config_expected(p, value, "a number with s or ms, such as 5s or 500ms");
	if (!config_number(value, digits, TIME_MAX_MS / unit_ms, &n) || n * unit_ms < least_ms)
		return config_expected(p, value, expected);
	*ms = n * unit_ms;
	return 0;
}

static int set_timeout(struct config_parser *p, const char *value)
{
	return set_time(p, &p->config->timeout_ms, value, 1, "1ms to 600s");
}

static int set_retry(struct config_parser *p, const char *value)
{
	return set_time(p, &p->config->retry_ms, value, 1000, "1s to 600s");
}

/* Files could have such names, but it is not what was meant. */
static bool is_list(const char *value)
{
	static const char *const words[] = { "stderr", LOG_SYSLOG, CONFIG_NO_STATE, NULL };
	const char *comma = strrchr(value, ',');

	return comma && (strchr("/ \t", comma[1]) || place(words, comma + 1) >= 0);
}

static int set_path(struct config_parser *p, const char **path, const char *value)
{
	if (is_list(value))
		return config_expected(p, value, "one of them");
	free((void *)*path); /* behind a mistake, where nobody counts how often it is given */
	*path = config_copy(value, strlen(value));
	return *path ? 0 : config_no_memory(p->err, p->line);
}

static int set_state_file(struct config_parser *p, const char *value)
{
	if (value[0] != '/' && strcmp(value, CONFIG_NO_STATE) != 0)
		return config_expected(p, value, "none, or a path from / on");
	return set_path(p, &p->config->state_file, value);
}

static int set_log(struct config_parser *p, const char *value, bool may_be_syslog)
{
	if (value[0] != '/' && strcmp(value, "stderr") != 0 &&
	    !(may_be_syslog && strcmp(value, LOG_SYSLOG) == 0))
		return config_expected(p, value,
				       may_be_syslog ? "stderr, syslog, or a path from / on" :
						       "stderr, or a path from / on");
	if (p->config->log_target)
		return config_mistake(p->err, p->line,
				      "target and file are the same: expected one of them", NULL);
	return set_path(p, &p->config->log_target, value);
}

static int set_log_target(struct config_parser *p, const char *value)
{
	return set_log(p, value, true);
}

static int set_log_file(struct config_parser *p, const char *value)
{
	return set_log(p, value, false);
}

const char *config_log_level(const char *value, enum log_level *level)
{
	static const char *const words[] = { "error", "info", "debug", NULL };
	int at = place(words, value);

	if (at < 0)
		return "error, info or debug";
	*level = LOG_LEVEL_ERROR + (enum log_level)at;
	return NULL;
}

const char *config_log_format(const char *value, enum log_format *format)
{
	static const char *const words[] = {
		[LOG_FORMAT_TEXT] = "text", [LOG_FORMAT_JSON] = "json", NULL
	};
	int at = place(words, value);

	if (at < 0)
		return "text or json";
	*format = (enum log_format)at;
	return NULL;
}

static int set_log_level(struct config_parser *p, const char *value)
{
	const char *expected = config_log_level(value, &p->config->log_level);

	p->config->log_is_shaped = true;
	return expected ? config_expected(p, value, expected) : 0;
}

static int set_log_format(struct config_parser *p, const char *value)
{
	const char *expected = config_log_format(value, &p->config->log_format);

	p->config->log_is_shaped = true;
	return expected ? config_expected(p, value, expected) : 0;
}

static int set_log_receipt(struct config_parser *p, const char *value)
{
	return set_yes(p, &p->config->log_receipt, value);
}

static const struct key {
	enum config_section section;
	const char *name;
	bool repeats;
	int (*set)(struct config_parser *p, const char *value);
} keys[] = {
	{ CONFIG_SEC_CONVERTER, "address", true, set_address },
	{ CONFIG_SEC_CONVERTER, "port", false, set_port },
	{ CONFIG_SEC_CONVERTER, "dialect", false, set_dialect },
	{ CONFIG_SEC_CONVERTER, "fast-open", false, set_fast_open },
	{ CONFIG_SEC_CONVERTER, "cookie", false, set_cookie },
	{ CONFIG_SEC_CONVERTER, "from", true, set_from },
	{ CONFIG_SEC_CONVERTER, "interface", true, set_interface },
	{ CONFIG_SEC_CONVERTER, "weight", false, set_weight },
	{ CONFIG_SEC_POLICY, "rule", true, set_rule },
	{ CONFIG_SEC_POLICY, "mptcp", false, set_mptcp },
	{ CONFIG_SEC_POLICY, "bypass", false, set_bypass },
	{ CONFIG_SEC_POLICY, "fallback", false, set_fallback },
	{ CONFIG_SEC_POLICY, "strict", false, set_strict },
	{ CONFIG_SEC_POLICY, "timeout", false, set_timeout },
	{ CONFIG_SEC_POLICY, "retry", false, set_retry },
	{ CONFIG_SEC_INCOMING, "rule", true, set_accept },
	{ CONFIG_SEC_INCOMING, "pcp", false, set_pcp },
	{ CONFIG_SEC_STATE, "file", false, set_state_file },
	{ CONFIG_SEC_LOG, "target", false, set_log_target },
	{ CONFIG_SEC_LOG, "file", false, set_log_file }, /* its name before there was more */
	{ CONFIG_SEC_LOG, "level", false, set_log_level },
	{ CONFIG_SEC_LOG, "format", false, set_log_format },
	{ CONFIG_SEC_LOG, "receipt", false, set_log_receipt },
};

static const char *const key_names[] = {
	[CONFIG_SEC_CONVERTER] =
		"address, port, dialect, fast-open, cookie, from, interface or weight",
	[CONFIG_SEC_POLICY] = "rule, mptcp, bypass, fallback, strict, timeout or retry",
	[CONFIG_SEC_INCOMING] = "rule or pcp",
	[CONFIG_SEC_STATE] = "file",
	[CONFIG_SEC_LOG] = "target, level, format or receipt",
};

/* A line without its = may have a : further on, and then a cookie stands before that: only a
 * word is quoted. */
static const char *quotable(const char *name)
{
	for (const char *c = name; *c; c++) {
		if (!(*c >= 'a' && *c <= 'z') && !(*c >= 'A' && *c <= 'Z') && *c != '-' &&
		    *c != '_')
			return "";
	}
	return name;
}

int config_set_key(struct config_parser *p, const char *name, const char *value)
{
	size_t i;

	if (p->section == CONFIG_SEC_UNKNOWN)
		return 0;
	if (p->section == CONFIG_SEC_NONE)
		return config_mistake(p->err, p->line, "key \"", quotable(name),
				      "\" before any section: expected a line [section] above",
				      NULL);
	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (keys[i].section == p->section && strcmp(keys[i].name, name) == 0)
			break;
	}
	if (i == sizeof(keys) / sizeof(keys[0])) {
		p->has_address = true;
		return config_mistake(p->err, p->line, "unknown key \"", quotable(name),
				      "\": expected ", key_names[p->section], NULL);
	}
	if (!value || value[0] == '\0')
		return config_mistake(p->err, p->line, name, ": expected a value", NULL);
	if (!keys[i].repeats && (p->keys_seen & (1U << i)) != 0)
		return config_mistake(p->err, p->line, name, " is given twice: expected once",
				      NULL);
	p->keys_seen |= 1U << i;
	p->key = keys[i].name;
	return keys[i].set(p, value);
}

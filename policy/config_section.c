// SPDX-License-Identifier: MIT
#include "config_int.h"

#include <errno.h>
#include <string.h>

static const char *const section_names[] = {
	[CONFIG_SEC_CONVERTER] = "converter",
	[CONFIG_SEC_POLICY] = "policy",
	[CONFIG_SEC_INCOMING] = "incoming",
	[CONFIG_SEC_STATE] = "state",
	[CONFIG_SEC_LOG] = "log",
};

static const char section_list[] = "[converter NAME], [policy], [incoming], [state] or [log]";

struct config_converter *config_converter_add(struct config *config)
{
	struct config_converter *c = config_grow(config->converters, config->n_converters,
						 sizeof(*c));

	if (!c)
		return NULL;
	config->converters = c;
	c += config->n_converters++;
	*c = (struct config_converter){ .dialect_is_auto = true };
	return c;
}

static bool is_name(const char *name)
{
	for (; *name; name++) {
		char lower = (char)(*name | 0x20);

		if (!(lower >= 'a' && lower <= 'z') && !(*name >= '0' && *name <= '9') &&
		    !strchr("-_.", *name))
			return false;
	}
	return true;
}

static int begin_converter(struct config_parser *p, const char *name)
{
	struct config_converter *c = config_converter_add(p->config);
	size_t len = strlen(name);

	if (!c) {
		p->section = CONFIG_SEC_UNKNOWN;
		return config_no_memory(p->err, p->line);
	}
	c->line = p->line;
	p->port = CONFIG_DEFAULT_PORT;
	p->has_address = false;
	if (len == 0 || len >= sizeof(c->name) || !is_name(name))
		return config_mistake(p->err, p->line, "[converter ", name,
				      "]: expected a name of up to 31 letters, digits and -_.",
				      NULL);
	for (size_t i = 0; i < p->config->n_converters - 1; i++) {
		if (strcmp(p->config->converters[i].name, name) == 0)
			return config_mistake(p->err, p->line, "a second [converter ", name,
					      "]: expected another name", NULL);
	}
	memcpy(c->name, name, len + 1);
	return 0;
}

/* Cuts "[ converter  home ]" into "converter" and "home". Returns the second. */
static char *split_header(char *header)
{
	size_t len = strlen(header);
	char *word, *rest;

	if (header[len - 1] != ']')
		return NULL;
	header[--len] = '\0';
	while (len > 1 && config_is_space(header[len - 1]))
		header[--len] = '\0';
	word = header + 1;
	while (config_is_space(*word))
		word++;
	memmove(header, word, strlen(word) + 1);
	rest = header + strcspn(header, " \t");
	while (config_is_space(*rest))
		*rest++ = '\0';
	return rest;
}

int config_section_end(struct config_parser *p)
{
	struct config_converter *c;

	if (p->section != CONFIG_SEC_CONVERTER)
		return 0;
	c = &p->config->converters[p->config->n_converters - 1];
	if (!p->has_address)
		return config_mistake(p->err, c->line, "[converter ", c->name,
				      "] has no address: expected \"address = ...\"", NULL);
	config_set_port(c, p->port);
	return 0;
}

static int begin(struct config_parser *p, char *header)
{
	const char *name = split_header(header);
	bool again;
	unsigned int s;

	if (!name)
		return config_mistake(p->err, p->line, "expected ] at the end of a section's name",
				      NULL);
	for (s = CONFIG_SEC_CONVERTER; s <= CONFIG_SEC_LOG; s++) {
		if (strcmp(section_names[s], header) == 0)
			break;
	}
	if (s > CONFIG_SEC_LOG || (s != CONFIG_SEC_CONVERTER && *name))
		return config_mistake(p->err, p->line, "unknown section [", header,
				      *name ? " " : "", name, "]: expected ", section_list, NULL);
	again = s != CONFIG_SEC_CONVERTER && (p->sections_seen & (1U << s)) != 0;
	p->section = (enum config_section)s;
	p->sections_seen |= 1U << s;
	p->keys_seen = 0;
	if (again)
		return config_mistake(p->err, p->line, "a second [", header, "]: expected one",
				      NULL);
	return s == CONFIG_SEC_CONVERTER ? begin_converter(p, name) : 0;
}

int config_section_begin(struct config_parser *p, char *header)
{
	int err = config_section_end(p), begun;

	if (config_stops(p->err, err))
		return err;
	p->section = CONFIG_SEC_UNKNOWN;
	begun = begin(p, header);
	return err ? err : begun;
}

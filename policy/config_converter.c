// SPDX-License-Identifier: MIT
/* The converters of a configuration; one that says nothing, and the end of one that does. */
#include "config_int.h"

#include <stdlib.h>
#include <string.h>

#define DEFAULT_TIMEOUT_MS 5000
#define DEFAULT_RETRY_MS   60000

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

/* Why text is no address that a converter can have, or NULL. */
static const char *bad_address(const char *text, bool is_key, struct addr *a)
{
	if (addr_parse(a, text) < 0) {
		if (strchr(text, '%'))
			return "a numeric address without a scope (%), so none of IPv6 that is "
			       "link-local";
		if (strspn(text, "0123456789abcdefABCDEF.:[]/") == strlen(text))
			return is_key ? "a numeric address alone (the port is a key of its own)" :
					"a numeric address alone (the port is CONVERT_PORT, or -p "
					"of convert-run)";
		return "a numeric address: names are not looked up inside programs";
	}
	switch (addr_classify(a)) {
	case ADDR_UNSPECIFIED:
	case ADDR_BROADCAST:
	case ADDR_MULTICAST:
		return "the address of one host";
	case ADDR_LINK_LOCAL:
		/* connect() would need a scope */
		return addr_is_v4(a) ? NULL : "an address that is not link-local";
	case ADDR_GLOBAL:
	case ADDR_LOOPBACK:
		break;
	}
	return NULL;
}

int config_add_address(struct config_converter *c, const char *text, const char *name,
		       struct config_error *err, unsigned int line)
{
	struct addr a = { .port = CONFIG_DEFAULT_PORT }, *addrs;
	const char *bad = bad_address(text, line != 0, &a);

	if (bad)
		return config_mistake(err, line, name, " = ", text, ": expected ", bad, NULL);
	addrs = config_grow(c->addrs, c->n_addrs, sizeof(*addrs));
	if (!addrs)
		return config_no_memory(err, line);
	c->addrs = addrs;
	c->addrs[c->n_addrs++] = a;
	return 0;
}

void config_set_port(struct config_converter *c, uint16_t port)
{
	for (size_t i = 0; i < c->n_addrs; i++)
		c->addrs[i].port = port;
}

/* A cookie never appears in a message, the name of its file may. */
static int use_cookie(struct config_converter *c, const char *bytes, size_t len, const char *name,
		      struct config_error *err, unsigned int line)
{
	char *copy;

	if (len == 0 || len > CONFIG_COOKIE_MAX)
		return config_mistake(err, line, name, ": expected a cookie of 1 to 992 bytes",
				      NULL);
	copy = config_copy(bytes, len);
	if (!copy)
		return config_no_memory(err, line);
	c->convert_cookie.p = (const uint8_t *)copy;
	c->convert_cookie.len = len;
	return 0;
}

int config_set_cookie(struct config_converter *c, const char *text, const char *name,
		      struct config_error *err, unsigned int line)
{
	const char *why;
	char *bytes;
	size_t len;
	int ret;

	if (text[0] != '@')
		return use_cookie(c, text, strlen(text), name, err, line);
	if (text[1] != '/')
		return config_mistake(err, line, name, ": expected a file as @/path", NULL);
	ret = config_map_file(text + 1, CONFIG_COOKIE_MAX + 1, &bytes, &len, &why);
	if (ret) {
		config_mistake(err, line, name, " = ", text, ": ", why,
			       ": expected a readable file with the cookie", NULL);
		return ret;
	}
	ret = use_cookie(c, bytes, len > 0 && bytes[len - 1] == '\n' ? len - 1 : len, name, err,
			 line);
	config_unmap_file(bytes, len);
	return ret;
}

void config_free_converters(struct config *config)
{
	for (size_t i = 0; i < config->n_converters; i++) {
		struct config_converter *c = &config->converters[i];

		free(c->addrs);
		free(c->from);
		free(c->interfaces);
		free((void *)c->convert_cookie.p);
	}
	free(config->converters);
	config->converters = NULL;
	config->n_converters = 0;
}

void config_init(struct config *config)
{
	*config = (struct config){
		.bypass = true,
		.timeout_ms = DEFAULT_TIMEOUT_MS,
		.retry_ms = DEFAULT_RETRY_MS,
		.log_level = LOG_LEVEL_INFO,
	};
}

void config_empty(struct config *config)
{
	const char *log_target = config->log_target;
	enum log_level log_level = config->log_level;
	enum log_format log_format = config->log_format;

	config->log_target = NULL;
	config_free(config);
	config->log_target = log_target;
	config->log_level = log_level;
	config->log_format = log_format;
}

void config_free(struct config *config)
{
	config_free_converters(config);
	config_rules_free(config->rules);
	config_rules_free(config->incoming);
	free((void *)config->state_file);
	free((void *)config->runtime_dir);
	free((void *)config->log_target);
	config_init(config);
}

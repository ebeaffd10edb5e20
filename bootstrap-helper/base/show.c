// SPDX-License-Identifier: MIT
/* check --config: what a program would find in the configuration. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base.h"
#include "rules.h"
#include "state.h"

static void line(const char *key, const char *value)
{
	printf("    %-10s %s\n", key, value);
}

/* addr_format() has a port instead */
static void show_prefix(const char *key, const struct addr_prefix *p)
{
	char text[INET6_ADDRSTRLEN];
	struct addr a = { 0 };
	bool v4;

	memcpy(a.ip, p->ip, sizeof(a.ip));
	v4 = p->len >= 96 && addr_is_v4(&a);
	inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? p->ip + 12 : p->ip, text, sizeof(text));
	printf("    %-10s %s/%d\n", key, text, v4 ? p->len - 96 : p->len);
}

static void show_addresses(const struct config_converter *c)
{
	char text[ADDR_TEXT_MAX];

	for (size_t i = 0; i < c->n_addrs; i++) {
		addr_format(&c->addrs[i], text);
		line("address", text);
	}
}

static void show_networks(const struct config_converter *c)
{
	for (size_t i = 0; i < c->n_from; i++)
		show_prefix("from", &c->from[i]);
	for (size_t i = 0; i < c->n_interfaces; i++)
		line("interface", c->interfaces[i]);
	if (c->n_from == 0 && c->n_interfaces == 0)
		line("networks", "all: neither \"from\" nor \"interface\" is given");
}

static void show_converter(const struct config_converter *c)
{
	static const char *const fast_open[] = { [CONFIG_FO_AUTO] = "auto",
						 [CONFIG_FO_COOKIE] = "cookie",
						 [CONFIG_FO_NO_COOKIE] = "no-cookie" };

	printf("converter %s\n", c->name);
	show_addresses(c);
	line("dialect", c->dialect_is_auto ? "auto" : cvt_dialect_name(c->dialect));
	line("fast-open", fast_open[c->fast_open]);
	line("cookie", c->convert_cookie.len ? "given" : "none");
	show_networks(c);
	if (c->weight)
		printf("    %-10s %u\n", "weight", c->weight);
}

static void show_policy(const struct config *config)
{
	static const char *const mptcp[] = {
		[CONFIG_MPTCP_AUTO] = "auto", [CONFIG_MPTCP_ON] = "on", [CONFIG_MPTCP_OFF] = "off"
	};

	puts("policy");
	printf("    %-10s %zu\n", "rules", config->rules ? config_rules_count(config->rules) : 0);
	line("mptcp", mptcp[config->mptcp]);
	line("bypass", config->bypass ? "auto" : "never");
	line("fallback", config->fallback == CONFIG_FALLBACK_NONE ? "none" : "direct");
	line("strict", config->strict ? "yes" : "no");
	printf("    %-10s %u ms\n", "timeout", config->timeout_ms);
	printf("    %-10s %u ms\n", "retry", config->retry_ms);
}

static void show_incoming(const struct config *config)
{
	char text[ADDR_TEXT_MAX] = "the converters";

	if (!config->incoming)
		return;
	puts("incoming");
	printf("    %-10s %zu\n", "rules", config_rules_count(config->incoming));
	if (config->pcp.port)
		addr_format(&config->pcp, text);
	line("pcp", text);
}

static const char *no_file(const struct config *config)
{
	return config->n_converters ? "not read: CONVERT_ADDR is set" :
				      CONFIG_DEFAULT_FILE " is not there";
}

void show_config(const struct config *config)
{
	static const char *const levels[] = { [LOG_LEVEL_OFF] = "off",
					      [LOG_LEVEL_ERROR] = "error",
					      [LOG_LEVEL_INFO] = "info",
					      [LOG_LEVEL_DEBUG] = "debug" };

	if (load_off(config))
		printf("file         not read: %s\n", load_off(config));
	else
		printf("file         %s\n", config->file ? config->file : no_file(config));
	if (config->is_strict)
		puts("CONVERT_STRICT is set: what is not converted, nor direct by a rule, fails.");
	if (config->n_converters == 0)
		printf("No converter is configured: %s.\n", load_without_converter(config));
	for (size_t i = 0; i < config->n_converters; i++)
		show_converter(&config->converters[i]);
	show_policy(config);
	show_incoming(config);
	config_use_state(config);
	printf("state        %s\n", state_is_kept() ? state_path() : CONFIG_NO_STATE);
	if (config->log_target)
		printf("log          %s, level %s%s\n", config->log_target,
		       levels[config->log_level],
		       config->log_format == LOG_FORMAT_JSON ? ", JSON" : "");
	else
		puts("log          none");
}

// SPDX-License-Identifier: MIT
/* A configuration that says nothing, and the end of one that does. */
#include "config_int.h"

#include <stdlib.h>

#define DEFAULT_TIMEOUT_MS 5000
#define DEFAULT_RETRY_MS   60000

void config_init(struct config *config)
{
	*config = (struct config){
		.bypass = true,
		.timeout_ms = DEFAULT_TIMEOUT_MS,
		.retry_ms = DEFAULT_RETRY_MS,
		.log_level = LOG_LEVEL_INFO,
	};
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

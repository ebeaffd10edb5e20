// SPDX-License-Identifier: MIT
#include "load.h"

#include <stdio.h>
#include <stdlib.h>

#include "bootstrap.h"

int load_complain(const struct config_error *err)
{
	if (err->line)
		fprintf(stderr, "%s:%u: %s\n", err->file, err->line, err->what);
	else
		fprintf(stderr, "%s: %s\n", err->file, err->what);
	return BOOTSTRAP_FAILED;
}

/* With a file it alone; without, what a program started from here would find. */
static struct config_env environment(const char *file)
{
	if (file)
		return (struct config_env){ .conf = file,
					    .runtime_dir = getenv("XDG_RUNTIME_DIR") };
	return (struct config_env){
		.conf = getenv("CONVERT_CONF"),
		.addr = getenv("CONVERT_ADDR"),
		.port = getenv("CONVERT_PORT"),
		.convert_cookie = getenv("CONVERT_COOKIE"),
		.log = getenv("CONVERT_LOG"),
		.log_level = getenv("CONVERT_LOG_LEVEL"),
		.log_format = getenv("CONVERT_LOG_FORMAT"),
		.disable = getenv("CONVERT_DISABLE"),
		.state = getenv("CONVERT_STATE"),
		.off_switch = CONFIG_OFF_SWITCH,
		.runtime_dir = getenv("XDG_RUNTIME_DIR"),
	};
}

int load_config(struct config *config, const char *file)
{
	struct config_env env = environment(file);
	struct config_error err;

	return config_load(config, &env, NULL, &err) < 0 ? load_complain(&err) : BOOTSTRAP_OK;
}

int load_check(struct config *config, const char *file, config_each_fn *each, void *arg)
{
	struct config_env env = environment(file);

	return config_check(config, &env, NULL, each, arg) < 0 ? BOOTSTRAP_FAILED : BOOTSTRAP_OK;
}

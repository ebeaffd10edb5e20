// SPDX-License-Identifier: MIT
#include "base.h"

#include <stdio.h>
#include <stdlib.h>

/* In the form that editors know. */
static void print(struct findings *f)
{
	for (size_t i = 0; i < f->n; i++)
		fprintf(stderr, "%s: %s\n", f->all[i].what, f->all[i].mend);
	findings_free(f);
}

void load_complain(const struct config_error *err)
{
	struct findings f = { .all = NULL };

	mistake_found(err, &f);
	print(&f);
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
		.strict = config_is_on(getenv("CONVERT_STRICT")),
		.off_switch = CONFIG_OFF_SWITCH,
		.runtime_dir = getenv("XDG_RUNTIME_DIR"),
	};
}

const char *load_off(const struct config *config)
{
	return config->is_disabled     ? "CONVERT_DISABLE is set" :
	       config->is_switched_off ? CONFIG_OFF_SWITCH " is there" :
					 NULL;
}

bool load_is_off(const struct config *config, const char *what, const char *instead)
{
	const char *off = load_off(config);

	if (off)
		fprintf(stderr, "switched off, %s: %s (-c FILE %s)\n", off, what, instead);
	return off;
}

const char *load_without_converter(const struct config *config)
{
	return config->is_strict ? "no connection is made (CONVERT_STRICT)" :
				   "every connection is direct";
}

int load_config(struct config *config, const char *file)
{
	struct findings f = { .all = NULL };
	int status = load_check(config, file, NULL, &f);

	print(&f);
	return status;
}

int load_check(struct config *config, const char *file, const char *program, struct findings *f)
{
	struct config_env env = environment(file);
	int err = config_check(config, &env, program, mistake_found, f);

	mistake_rest(f);
	return err < 0 ? BOOTSTRAP_FAILED : BOOTSTRAP_OK;
}

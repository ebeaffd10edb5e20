// SPDX-License-Identifier: MIT
#include "config_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "state.h"

/* An empty variable is as if it were not set. */
static bool is_set(const char *variable)
{
	return variable && variable[0] != '\0';
}

static int use_port(struct config_converter *c, const struct config_env *env,
		    struct config_error *err)
{
	unsigned int port = CONFIG_DEFAULT_PORT;

	if (is_set(env->port) &&
	    (!config_number(env->port, strlen(env->port), 65535, &port) || port == 0))
		return config_mistake(err, 0, "CONVERT_PORT = ", env->port,
				      ": expected a port from 1 to 65535", NULL);
	config_set_port(c, (uint16_t)port);
	return 0;
}

/* Fills in where the state is kept: $CONVERT_STATE, `file` in [state], else the user's own place. */
static int take(const char **to, const char *path, struct config_error *err)
{
	char *copy = config_copy(path, strlen(path));

	if (!copy)
		return config_no_memory(err, 0);
	free((void *)*to);
	*to = copy;
	return 0;
}

static int locate_state(struct config *config, const struct config_env *env,
			struct config_error *err)
{
	const char *path = env->state, *dir = env->runtime_dir;

	if (path && path[0] != '\0') {
		if (path[0] == '/' || strcmp(path, CONFIG_NO_STATE) == 0)
			return take(&config->state_file, path, err);
		err->file = "environment";
		return config_mistake(err, 0, "CONVERT_STATE = ", path,
				      ": expected none, or a path from / on", NULL);
	}
	config->state_is_own = !config->state_file;
	return config->state_is_own && dir && dir[0] == '/' ? take(&config->runtime_dir, dir, err) :
							      0;
}

/* The environment's converter in place of those of the file. */
static int use_environment(struct config *config, const struct config_env *env,
			   struct config_error *err)
{
	static const char name[] = "environment";
	struct config_converter *c;
	int ret, failed;

	config_free_converters(config);
	c = config_converter_add(config);
	if (!c)
		return config_no_memory(err, 0);
	memcpy(c->name, name, sizeof(name));
	failed = config_add_address(c, env->addr, "CONVERT_ADDR", err, 0);
	if (config_stops(err, failed))
		return failed;
	ret = use_port(c, env, err);
	failed = failed ? failed : ret;
	if (config_stops(err, failed) || !is_set(env->convert_cookie))
		return failed;
	ret = config_set_cookie(c, env->convert_cookie, "CONVERT_COOKIE", err, 0);
	return failed ? failed : ret;
}

static int load_file(struct config *config, const char *file, bool may_miss, const char *program,
		     struct config_error *err)
{
	const char *why;
	char *text;
	size_t len;
	int ret = config_map_file(file, CONFIG_FILE_MAX, &text, &len, &why);

	err->file = file;
	if (may_miss && (ret == -ENOENT || ret == -ENOTDIR))
		return 0;
	if (ret) {
		config_mistake(err, 0, why, NULL);
		return ret;
	}
	ret = config_parse_on(config, file, text, len, program, err);
	config_unmap_file(text, len);
	return ret;
}

static int load(struct config *config, const struct config_env *env, const char *program,
		struct config_error *err)
{
	int failed = 0, ret = 0;

	if (is_set(env->conf))
		failed = load_file(config, env->conf, false, program, err);
	else if (!is_set(env->addr))
		failed = load_file(config, CONFIG_DEFAULT_FILE, true, program, err);
	if (config_stops(err, failed))
		return failed;
	if (is_set(env->addr)) {
		err->file = "environment";
		ret = use_environment(config, env, err);
		failed = failed ? failed : ret;
	}
	if (config_stops(err, failed))
		return failed;
	ret = locate_state(config, env, err);
	return failed ? failed : ret;
}

static int use_log(struct config *config, const struct config_env *env, struct config_error *err)
{
	const char *expected = NULL, *name = "CONVERT_LOG_LEVEL = ", *value = env->log_level;

	if (is_set(value))
		expected = config_log_level(value, &config->log_level);
	if (!expected && is_set(env->log_format)) {
		name = "CONVERT_LOG_FORMAT = ";
		value = env->log_format;
		expected = config_log_format(value, &config->log_format);
	}
	if (!expected)
		return 0;
	err->file = "environment";
	return config_mistake(err, 0, name, value, ": expected ", expected, NULL);
}

static int load_on(struct config *config, const struct config_env *env, const char *program,
		   struct config_error *err)
{
	struct config_error second = { .line = 0 };
	int saved_errno = errno, ret = 0, failed;

	config_init(config);
	config->is_disabled = config_is_on(env->disable);
	config->is_switched_off = !config->is_disabled && env->off_switch &&
				  config_file_is_there(env->off_switch);
	if (!config->is_disabled && !config->is_switched_off)
		ret = load(config, env, program, err);
	/* of two mistakes the first is told, and the log is where and as it was asked for */
	failed = use_log(config, env, config_stops(err, ret) ? &second : err);
	ret = ret ? ret : failed;
	if (ret)
		config_empty(config);
	config->is_strict = env->strict;
	if (env->strict) {
		config->fallback = CONFIG_FALLBACK_NONE;
		config->bypass = false;
	}
	if (is_set(env->log)) {
		free((void *)config->log_target);
		config->log_target = config_copy(env->log, strlen(env->log));
	}
	errno = saved_errno;
	return ret;
}

int config_load(struct config *config, const struct config_env *env, const char *program,
		struct config_error *err)
{
	*err = (struct config_error){ .file = "environment",
				      .leaves_cookies = env->leaves_cookies };
	return load_on(config, env, program, err);
}

int config_check(struct config *config, const struct config_env *env, const char *program,
		 config_each_fn *each, void *arg)
{
	struct config_error err = { .file = "environment", .each = each, .arg = arg };

	return load_on(config, env, program, &err);
}

void config_use_state(const struct config *config)
{
	if (config->state_is_own)
		state_setup_own(config->runtime_dir);
	else
		state_setup(config->state_file);
}

// SPDX-License-Identifier: MIT
/* Where the state is kept: $CONVERT_STATE, `file` in [state], else the user's own place. */
#include "config_int.h"

#include <stdlib.h>
#include <string.h>

#include "state.h"

static int take(const char **to, const char *path, struct config_error *err)
{
	char *copy = config_copy(path, strlen(path));

	if (!copy)
		return config_no_memory(err, 0);
	free((void *)*to);
	*to = copy;
	return 0;
}

int config_locate_state(struct config *config, const struct config_env *env,
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

void config_use_state(const struct config *config)
{
	if (config->state_is_own)
		state_setup_own(config->runtime_dir);
	else
		state_setup(config->state_file);
}

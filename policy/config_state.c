// SPDX-License-Identifier: MIT
/* Where the state is kept: $CONVERT_STATE, `file` in [state], else the user's runtime directory. */
#include "config_int.h"

#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#define BELOW_RUNTIME_DIR "/convert/state"

static int take(struct config *config, char *path, struct config_error *err)
{
	if (!path)
		return config_no_memory(err, 0);
	free((void *)config->state_file);
	config->state_file = path;
	return 0;
}

static char *join(const char *dir, const char *below)
{
	const size_t len = strlen(dir), more = strlen(below);
	char *path = malloc(len + more + 1), *end = path;

	if (!path)
		return NULL;
	end = mempcpy(end, dir, len);
	end = mempcpy(end, below, more);
	*end = '\0';
	return path;
}

/* "/run/user/1000", as pam_systemd makes it; root has /run itself. */
static const char *usual_runtime_dir(char text[static 32])
{
	/* as it was when the program started; no system call that a filter could not expect */
	unsigned long uid = getauxval(AT_EUID);
	static const char users[] = "/run/user/";
	char digits[20];
	size_t n = 0, len = sizeof(users) - 1;

	if (uid == 0)
		return "/run";
	memcpy(text, users, sizeof(users));
	for (; uid > 0; uid /= 10)
		digits[n++] = (char)('0' + uid % 10);
	while (n > 0)
		text[len++] = digits[--n];
	text[len] = '\0';
	return text;
}

int config_locate_state(struct config *config, const struct config_env *env,
			struct config_error *err)
{
	const char *path = env->state, *dir = env->runtime_dir;
	char text[32];

	if (path && path[0] != '\0') {
		if (path[0] == '/' || strcmp(path, CONFIG_NO_STATE) == 0)
			return take(config, config_copy(path, strlen(path)), err);
		err->file = "environment";
		return config_mistake(err, 0, "CONVERT_STATE = ", path,
				      ": expected none, or a path from / on", NULL);
	}
	if (config->state_file)
		return 0;
	if (!dir || dir[0] != '/')
		dir = usual_runtime_dir(text);
	return take(config, join(dir, BELOW_RUNTIME_DIR), err);
}

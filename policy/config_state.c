// SPDX-License-Identifier: MIT
/* Where the state is kept: $CONVERT_STATE, `file` in [state], else the user's runtime directory. */
#include "config_int.h"

#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

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
	size_t len = strlen(dir), more = strlen(below) + 1;
	char *path = malloc(len + more);

	if (path) {
		memcpy(path, dir, len);
		memcpy(path + len, below, more);
	}
	return path;
}

/* "/run/user/1000", as pam_systemd makes it; root has /run itself. */
static const char *usual_runtime_dir(char text[static 32])
{
	unsigned long uid = (unsigned long)syscall(SYS_geteuid);
	char digits[20];
	size_t n = 0, len;

	if (uid == 0)
		return "/run";
	len = strlen(strcpy(text, "/run/user/"));
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

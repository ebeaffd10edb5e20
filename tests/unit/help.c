// SPDX-License-Identifier: MIT
#include "help.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static char dir[] = "/tmp/test_state.XXXXXX";
char state_file[64];

int state_dir_make(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	snprintf(state_file, sizeof(state_file), "%s/state", dir);
	return 0;
}

int state_dir_remove(void **state)
{
	(void)state;
	unlink(state_file);
	return rmdir(dir);
}

bool state_dir_may_write(bool may)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_FSIZE, &limit) < 0)
		return false;
	limit.rlim_cur = may ? limit.rlim_max : 0;
	return setrlimit(RLIMIT_FSIZE, &limit) == 0;
}

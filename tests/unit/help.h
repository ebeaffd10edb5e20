/* SPDX-License-Identifier: MIT */
/* help.h - what several tests stand on. */
#ifndef CVT_HELP_H
#define CVT_HELP_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static char state_dir[] = "/tmp/test_state.XXXXXX";
/* A folder of the test's own, and in it the path of a state file: set-up and clean-up of a group. */
static char state_file[64];

static inline int state_dir_make(void **state)
{
	(void)state;
	if (!mkdtemp(state_dir))
		return -1;
	snprintf(state_file, sizeof(state_file), "%s/state", state_dir);
	return 0;
}

static inline int state_dir_remove(void **state)
{
	(void)state;
	unlink(state_file);
	return rmdir(state_dir);
}

/* Of every file: with false it can be read and no byte be written. */
static inline bool state_dir_may_write(bool may)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_FSIZE, &limit) < 0)
		return false;
	limit.rlim_cur = may ? limit.rlim_max : 0;
	return setrlimit(RLIMIT_FSIZE, &limit) == 0;
}

/* Is this a build whose frames and system calls are not the library's own? */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
	__has_feature(undefined_behavior_sanitizer)
#define IS_SANITIZED 1
#endif
#endif

#ifndef IS_SANITIZED
#define IS_SANITIZED 0
#endif

#endif

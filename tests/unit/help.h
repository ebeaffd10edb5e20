/* SPDX-License-Identifier: MIT */
/* help.h - what several tests stand on. */
#ifndef CVT_HELP_H
#define CVT_HELP_H

#include <stdbool.h>

/* A folder of the test's own, and in it the path of a state file: set-up and clean-up of a group. */
extern char state_file[64];

int state_dir_make(void **state);
int state_dir_remove(void **state);
/* Of every file: with false it can be read and no byte be written. */
bool state_dir_may_write(bool may);

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

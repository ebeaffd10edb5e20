/* SPDX-License-Identifier: MIT */
/* A folder of the test's own, and in it the path of a state file: set-up and clean-up of a group. */
#ifndef CVT_STATE_DIR_H
#define CVT_STATE_DIR_H

#include <stdbool.h>

extern char state_file[64];

int state_dir_make(void **state);
int state_dir_remove(void **state);
/* Of every file: with false it can be read and no byte be written. */
bool state_dir_may_write(bool may);

#endif

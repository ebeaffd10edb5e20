/* SPDX-License-Identifier: MIT */
/* unwritten.h - why the state could not be written, for people. */
#ifndef CVT_UNWRITTEN_H
#define CVT_UNWRITTEN_H

#include <stdbool.h>

/* "PATH: cannot be written: WHY" to standard error. err: the -errno of state.h; 0: nobody knows. */
void unwritten_complain(int err);
/* Does the file that is open begin as one that is none of state.h's, of this version? */
bool unwritten_is_strange(int fd);

#endif

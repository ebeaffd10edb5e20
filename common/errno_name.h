/* SPDX-License-Identifier: MIT */
/* errno_name.h - ECONNREFUSED and its like, which musl has no function for. */
#ifndef CVT_ERRNO_NAME_H
#define CVT_ERRNO_NAME_H

/* Of one that Linux does not have: NULL. */
const char *errno_name(int err);

#endif

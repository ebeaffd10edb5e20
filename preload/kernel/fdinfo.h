/* SPDX-License-Identifier: MIT */
/*
 * fdinfo.h - what only /proc tells about a registration in an epoll set.
 */
#ifndef CVT_FDINFO_H
#define CVT_FDINFO_H

#include <stdbool.h>

/* Is fd's EPOLLONESHOT registration in epfd still armed? True if /proc does not tell. Three system
 * calls or more; no allocation. */
bool fdinfo_is_armed(int epfd, int fd);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * uring.h - does this process have an io_uring?
 *
 * Then its waits, reads and epoll_ctl() may go to the kernel without coming by here, and would find
 * a pending connection natively ready and the converter's reply in it.
 */
#ifndef CVT_URING_H
#define CVT_URING_H

#include <stdbool.h>

/* Looks into /proc/self/maps, for the 1st, 16th, 256th ... one that asks; the others get the last
 * answer. errno is kept. */
bool uring_is_there(void);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * proc.h - what only /proc tells. No allocation.
 */
#ifndef CVT_PROC_H
#define CVT_PROC_H

#include <stdbool.h>
#include <sys/epoll.h>

/* Is fd's EPOLLONESHOT registration in epfd still armed? True if /proc does not tell. Three system
 * calls or more. */
bool proc_is_armed(int epfd, int fd);
/* Calls is() for each epoll set of this process that has fd in it, with what that has of it. False: /proc does
 * not tell. Three system calls for each number that is open. */
typedef void proc_set_is(int epfd, int fd, const struct epoll_event *event);
bool proc_each_set(int fd, proc_set_is *is);

/* Has this process one thread alone? False if neither libc nor /proc tells. errno is kept. */
bool proc_is_alone(void);

/* Does this process have an io_uring? Then its waits, reads and epoll_ctl() may go to the kernel without
 * coming by here, and would find a pending connection natively ready and the converter's reply in it.
 * By syscall() one is seen made, which is proc_saw_uring(). Else, where the loader has liburing, looks into
 * /proc/thread-self/maps for the 1st, 16th, 256th ... one that asks; the others get the last answer, and all
 * other processes no system call. errno is kept. */
bool proc_has_uring(void);
void proc_saw_uring(void);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * traces.h - what our own attempts leave on a program's socket, taken away again.
 *
 * Nothing that the program has not asked the kernel for costs a system call.
 */
#ifndef CVT_TRACES_H
#define CVT_TRACES_H

/* After a disconnect, before another attempt: to the port that the kernel had chosen for bind(). */
void traces_bind_again(int fd);

#endif

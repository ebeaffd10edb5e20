/* SPDX-License-Identifier: MIT */
/*
 * traces.h - what our own attempts leave on a program's socket, taken away again.
 *
 * Nothing that the program has not asked the kernel for costs a system call.
 */
#ifndef CVT_TRACES_H
#define CVT_TRACES_H

#include "note.h"

/* Does the program want time stamps of what it sends? */
bool traces_are_wanted(const struct note *n);
/* After a disconnect, before another attempt: to the port that the kernel had chosen for bind(). */
void traces_bind_again(int fd);
/* What is in the queue of errors and time stamps is of our own packets. */
void traces_forget_errors(int fd);
/* SOF_TIMESTAMPING_OPT_ID that was set while we were connecting counts from here. */
void traces_number_anew(int fd);

#endif

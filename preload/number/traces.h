/* SPDX-License-Identifier: MIT */
/*
 * traces.h - what our own attempts leave on a program's socket, taken away again.
 *
 * Nothing that the program has not asked the kernel for costs a system call.
 */
#ifndef CVT_TRACES_H
#define CVT_TRACES_H

#include "note.h"

/* By which option has the program asked for time stamps of what is sent? 0: it has not. */
int traces_option(const struct note *n);
/* sys_send() of what is ours, on a socket that has that option: it has no time stamp. */
long traces_send(int fd, int option, const void *p, size_t n, int flags);
/* Does TCP_CORK keep back what is less than a segment, ours too? For 200 ms; the other one has it sent. */
bool traces_is_corked(const struct note *n);
void traces_push(int fd);
/* After a disconnect, before another attempt: to the port that the kernel had chosen for bind(). */
void traces_bind_again(int fd);
/* What is in the queue of errors and time stamps is of our own packets. */
void traces_forget_errors(int fd);
/* SOF_TIMESTAMPING_OPT_ID that was set while we were connecting counts from here. */
void traces_number_anew(int fd);
/* SO_PEEK_OFF, which the kernel has moved as the reply was read. */
void traces_peek_anew(int fd);

#endif

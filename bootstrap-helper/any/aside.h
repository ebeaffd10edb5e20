/* SPDX-License-Identifier: MIT */
/*
 * aside.h - descriptors of ours that stay, out of the way: to register a socket in a program's epoll set, we need the
 * number that it has there (job.c), and few programs come as far as these.
 */
#ifndef CVT_ASIDE_H
#define CVT_ASIDE_H

/* We may have as many as there may be: a program that may raise its own limit has them, too. */
void aside_begin(void);
/* The same open file under another number, FD_CLOEXEC; fd itself if there is none so high, or fd is none. */
int aside(int fd);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * listener.h - the calls that wait for an answer of ours, each known by the kernel's number for it.
 */
#ifndef CVT_LISTENER_H
#define CVT_LISTENER_H

#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdint.h>

/* Before the first fork(): who waits is known to all processes then, and can be answered by another. */
bool listener_share(void);
/* fd: what filter_install() has returned. */
void listener_begin(int fd);

/* The next call. False: it has gone away again. */
bool listener_receive(struct seccomp_notif *req);
/* Does whoever has called still wait? A signal may have taken him away. */
bool listener_waits(uint64_t id);
/* 0 or an errno (positive), which the call returns with; or the kernel carries it out after all. False: nobody waits. */
bool listener_answer(uint64_t id, int err);
bool listener_natively(uint64_t id);
/* The answer of whoever takes over, should we be killed before ours. */
void listener_otherwise(uint64_t id, int err);
/* Puts ours under his number. */
bool listener_put(uint64_t id, int ours, int number, bool cloexec);
/* Whoever was left waiting by a supervisor that is no more: natively, but for connections over the network if
 * strict. */
void listener_let_go(bool strict);
/* Then the next call likewise, and waits for it. False: nobody is left who could call. */
bool listener_let_next(bool strict);
/* All of that. */
void listener_let_through(bool strict);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * filter.h - which system calls are handed to the supervisor: connect(), getpeername(), perhaps getsockname(),
 * getsockopt(SO_ERROR) and epoll_create(), of every word size that the kernel runs beside its own.
 */
#ifndef CVT_FILTER_H
#define CVT_FILTER_H

#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdint.h>

enum call_kind { CALL_OTHER, CALL_CONNECT, CALL_PEER, CALL_NAME, CALL_ERROR, CALL_SET };

struct call {
	enum call_kind kind;
	int fd;
	uint64_t args[5]; /* the first is the number */
};

/* Whatever the process: 0, or an errno (EOPNOTSUPP: the machine, EINVAL: the kernel's age). */
int filter_obstacle(void);
/* For this process and those that come of it, for ever. names: getsockname(), too. The descriptor of the
 * listener, or a negative errno. Takes the privilege to gain privileges by exec if it cannot be had
 * otherwise (no_new_privs). */
int filter_install(bool names);
/* What was called, by whichever ABI. False: the caller's memory cannot be read. */
bool filter_decode(const struct seccomp_notif *req, struct call *call);

#endif

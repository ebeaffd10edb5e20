/* SPDX-License-Identifier: MIT */
/*
 * state_place.h - which file the state is in, and opening it. For state.c, which opens it for every
 * single thing that it reads or writes; state_place.c has those of state.h's functions that say where it is.
 *
 * If nobody has said, it is the file of the user that the process is now: a daemon that drops its
 * rights leaves root's file behind. It is the first that there is of
 *	$XDG_RUNTIME_DIR/convert/state	if that directory is the user's own,
 *	/run/convert/state		for root,
 *	/run/user/UID/convert/state	likewise,
 *	/dev/shm/convert-UID/state	for those who have no runtime directory.
 * The last stands among everybody's files, where another user may have been first. What is in a
 * directory that is this user's and that he alone may enter is his own, whoever the neighbours are:
 * a directory cannot be had by a hard link, nor be moved here by somebody who may not write to it. So
 * that is what is looked at, each time, on the open directory; no sysctl (fs.protected_*) is needed.
 *
 * Promises: a file that is opened is a regular one of this user's or of root's, and nobody else can
 * write it; no link is followed at its end, no FIFO waited for. Where that cannot be had: -errno.
 */
#ifndef CVT_STATE_PLACE_H
#define CVT_STATE_PLACE_H

#include "state.h"

#include <sys/syscall.h>

#ifdef SYS_fcntl64
#define SYS_FCNTL SYS_fcntl64
#else
#define SYS_FCNTL SYS_fcntl
#endif

#define STATE_PLACE_ROOT   "/run"
#define STATE_PLACE_USERS  "/run/user/"
#define STATE_PLACE_SHARED "/dev/shm"

/* O_RDONLY or O_RDWR. */
int state_place_open(int flags);
/* O_RDWR; makes it if it is not there: mode 0600, and its directory, that one only, with 0700. */
int state_place_make(void);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * target.h - a thread whose call we have been handed: its descriptors and its memory. Everything fails
 * where the kernel would not let us trace it, or once it is gone.
 */
#ifndef CVT_TARGET_H
#define CVT_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Of what tid has under the number fd, a descriptor of ours: negative errno, or to be closed. */
int target_fd(int tid, int fd);
/* Between two calls, or events: what is remembered of the thread that was asked last is forgotten. */
void target_done(void);
/* Its process; tid itself if nobody says. */
int target_process(int tid);
bool target_read(int tid, uint64_t from, void *to, size_t n);
bool target_write(int tid, uint64_t to, const void *from, size_t n);
/* Is that tid /proc's tid, too? Who has it from another PID namespace has another process's there, or none. theirs: as
 * below. What follows is read there, and is wrong if it is not. */
bool target_is_in_proc(int tid, int fd, int theirs);
bool target_is_cloexec(int tid, int fd);
/* Is the socket with that inode (0: none) there? */
bool target_has(int tid, int fd, ino_t ino);

/* What the epoll sets of its process hold of the socket that it has under the number fd, as we have it under
 * theirs: another that had the number before may still be in there. Which sets there are is looked up once for
 * each thread, and anew when somebody makes one (target_epoll_made()). */
struct target_epoll {
	int epfd; /* theirs */
	uint32_t events;
	uint64_t data;
};
/* Found are as many as it returns, until the next call. */
size_t target_epolls(int tid, int fd, int theirs, struct target_epoll **found);
/* While this one does not wait for it, for its next call. */
void target_look_ahead(int tid);
/* It is just about to make one. */
void target_epoll_made(int tid);

#endif

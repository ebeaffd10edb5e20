/* SPDX-License-Identifier: MIT */
/*
 * nowhere.h - what the program's own socket does while its connection is being made on another: it connects
 * to nowhere, a listener behind the loopback whose queue is full and who so answers no SYN. That is an
 * unfinished connect in every respect: not writable, SO_ERROR 0, no peer, EALREADY, its epoll registrations
 * kept, and its name the one that the connection has, as this host's addresses are on the loopback too. A simultaneous open from that same address completes it, which wakes whoever waits for it.
 */
#ifndef CVT_NOWHERE_H
#define CVT_NOWHERE_H

#include <stdbool.h>
#include <sys/socket.h>

struct nowhere {
	const struct nowhere_place *place;
	struct sockaddr_storage name; /* of the program's socket */
	socklen_t len;
};

/* Ours is what it waits for. False: it does not get there (it is bound to a device, there is no loopback),
 * and is as it was. */
bool nowhere_begin(int theirs, int ours, struct nowhere *n);
/* Does it still wait? */
bool nowhere_waits(int theirs);
/* Of two that have begun, the second has the name that the first one has given up. */
bool nowhere_is_same(const struct nowhere *a, const struct nowhere *b);
/* The other end of the completed connection, which nobody may be at any more; a negative errno: there is
 * none. */
int nowhere_complete(const struct nowhere *n);
/* It is refused, by the kernel itself: ECONNREFUSED, whatever the reason was, its name kept (the port if it
 * was bound to one). False: as nowhere_withdraw(). */
bool nowhere_refuse(int theirs, bool bound);
/* connect() tells of that: is it the first to do so? The next one is a new attempt. */
bool nowhere_told(int theirs);
/* As before its connect(). */
void nowhere_withdraw(int theirs);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * notes.h - what a program has done to its TCP sockets before connect(), so that a twin (twin.h)
 * can be made that is like them (D8).
 *
 * A bounded note per descriptor number. Whatever does not fit, or cannot be done again to another
 * socket, spoils the note: such a socket keeps its place. Promises: no lock is waited for, no system
 * call but for a page of notes now and then. A note may be of an earlier socket if the number was
 * closed and made anew unseen; what it says of a twin is proved by the socket cookie.
 */
#ifndef CVT_NOTES_H
#define CVT_NOTES_H

#include "mark.h"
#include "note.h"

/* A new TCP socket of the program's has the number fd; type: as socket() was given it. */
void note_begin(int fd, int family, int type, bool is_mptcp);
/* The number means something else: what is noted is of an earlier socket. */
void note_end(int fd);
/* Most processes need no others; or NULL. */
#define NOTE_FIRST 256
extern struct note note_first[NOTE_FIRST] INTERNAL;
struct note *note_beyond(int fd);
static inline struct note *note_at(int fd)
{
	return (unsigned int)fd < NOTE_FIRST ? &note_first[fd] : note_beyond(fd);
}
/* setsockopt() has succeeded. */
void note_option(int fd, int level, int name, const void *value, socklen_t len);
/* May the number be a twin? Not for calls that somebody makes all the time. */
bool note_has_twin(int fd);
/* fd was accepted on a twin, and may be one, too: that is asked when it matters, and noted then (twin_is()). */
void note_will_accept(void); /* so that note_accepted() has room */
void note_accepted(int fd);
/* Something else is under the number now, or it was asked and is TCP's. */
void note_not_accepted(int fd);
extern _Atomic(void *) note_accepted_bits INTERNAL; /* NULL: none was */
bool note_was_accepted(int fd);
static inline bool note_is_accepted(int fd)
{
	return __builtin_expect(atomic_load_explicit(&note_accepted_bits, memory_order_acquire) !=
					NULL,
				0) &&
	       note_was_accepted(fd);
}
/* Something was done that no other socket can be given; reason: a string that lives for ever. */
void note_spoil(int fd, const char *reason);
void note_bound(int fd, const struct sockaddr *sa, socklen_t len);
/* Does the connection have its network from the program: by a device, an address of this host, a mark? */
bool note_names_network(const struct note *n);
/* Has it been told how many hops its packets, or the answers to them, may have? */
bool note_limits_hops(const struct note *n);
void note_connected(int fd);
/* A rule leaves the connection that is to be made to the kernel: is that news, and not one more connect() to learn
 * how it goes? The next one is, once the attempt is over. */
bool note_ruled(int fd);
void note_attempt_over(int fd);
/* O_NONBLOCK was set so; something was done to FD_CLOEXEC (fd is -1: of whatever numbers). */
void note_nonblocking(int fd, bool on);
void note_cloexec(int fd);
/* O_NONBLOCK and O_ASYNC or 0, FD_CLOEXEC or 0; a negative errno. The kernel is not asked where nobody but this process can
 * have set them, by calls of libc's that we have seen. mark: of fd, before connect() took hold of it. */
int note_flags(int fd, enum mark mark);
int note_descriptor_flags(int fd, enum mark mark);
/* A twin of IPv6 has sent a SYN by IPv4, and can reach no IPv6 server by itself any more (LINUX-FACTS 3.14). */
void note_stick(int fd);
bool note_is_stuck(int fd);
/* shutdown() has succeeded. */
void note_shut(int fd, int how);
bool note_is_connected(int fd);
/* fd has, or is about to have, other numbers: no other socket takes its place. */
void note_duplicated(int fd);
/* newfd is a duplicate of fd, which may be a twin. */
void note_copy(int fd, int newfd);
/* Why a twin cannot take the place of the socket; NULL if it can. */
const char *note_obstacle(const struct note *n);
/* Walks the options; start with *at = 0. False at the end. */
bool note_next(const struct note *n, uint16_t *at, struct note_option *option);
/* What was set last. False: never. Of some options (is_special()), without a walk: to other than zeros? */
bool note_find(const struct note *n, int level, int name, struct note_option *option);
bool note_is_on(const struct note *n, int level, int name);
/* Has the program asked for keepalives by which TCP would tell it within a minute that the path is dead? MPTCP
 * would take a minute more (LINUX-FACTS 4.10). What the kernel holds counts, its defaults too. */
bool note_watches_path(int fd);
/* sock_disconnect(), but the options that the kernel forgets are set again as n (NULL: nothing) has them. */
bool note_disconnect(int fd, const struct note *n);
/* All sockets may from now on have a second owner, who would keep the old one. */
void note_shared(void);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * twin_int.h - what the files of a twin share.
 */
#ifndef CVT_TWIN_INT_H
#define CVT_TWIN_INT_H

#include "twin.h"

/* twin_options.c, the one table of the options in which MPTCP sockets differ from TCP's (LINUX-FACTS 4.2):
 * the program set it before connect(), and the twin has refused it. False: then there can be no twin, and
 * *text says which it was. */
bool twin_option_can_miss(int level, int name, const char **text);
/* Each family has options of its own for what its packets look like, and those of a twin that must be
 * are of the other one. False: o has nothing that means the same there. */
bool twin_option_across(const struct note_option *o, struct note_option *other);

/* twin_state.c, where the program asks, what an MPTCP twin says of its connection made what TCP would say; no
 * byte and no pending error is taken from the socket. FIONREAD, of which MPTCP has said n (> 0): without the
 * end of the stream, which it counts as a byte. */
int twin_unread(int fd, int n);
/* TCP_INFO, of which len bytes are there, of the first subflow: made that of the connection. */
void twin_tcp_info(int fd, uint8_t *info, socklen_t len);
/* SO_ERROR has told one. */
void twin_told(int fd);
/* Has the other side answered with MPTCP? False: it has not yet, or the kernel does not say. */
bool twin_is_answered(int fd);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * twin_state.h - what an MPTCP twin says of its connection, made what TCP would say. Only where the
 * program asks: nothing is hooked for it, and no byte and no pending error is taken from the socket.
 */
#ifndef CVT_TWIN_STATE_H
#define CVT_TWIN_STATE_H

#include "real.h"

/* FIONREAD, of which MPTCP has said n (> 0): without the end of the stream, which it counts as a byte. */
int twin_unread(int fd, int n);
/* TCP_INFO, of which len bytes are there, of the first subflow: made that of the connection. */
void twin_tcp_info(int fd, uint8_t *info, socklen_t len);
/* SO_ERROR has told one. */
void twin_told(int fd);
/* Has the other side answered with MPTCP? False: it has not yet, or the kernel does not say. */
bool twin_is_answered(int fd);

#endif

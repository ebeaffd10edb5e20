/* SPDX-License-Identifier: MIT */
/*
 * diag.h - the TCP and MPTCP sockets of this network namespace, as ss(8) has them (sock_diag(7)).
 *
 * Everybody may ask, and is told of all users' sockets.
 */
#ifndef CVT_DIAG_H
#define CVT_DIAG_H

#include "addr.h"

struct diag_socket {
	struct addr local, remote;
	uint64_t cookie;	 /* SO_COOKIE */
	uint64_t received, sent; /* bytes of the stream, once each */
	uint32_t inode; /* a subflow has its MPTCP socket's; 0: no process has it any more */
	uint32_t uid, rtt_us;
	uint8_t state;	      /* TCP_ESTABLISHED ... */
	bool is_mptcp;	      /* the whole of it, whose subflows are others of its inode */
	bool has_fallen_back; /* ... but the other side, or the path, has no MPTCP */
};

typedef void diag_each_fn(const struct diag_socket *s, void *arg);
/* All but those that are closed or have yet to be accepted. has_mptcp: could MPTCP's be asked for? Returns
 * 0 or -errno. */
int diag_each(diag_each_fn *each, void *arg, bool *has_mptcp);

#endif

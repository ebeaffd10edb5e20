/* SPDX-License-Identifier: MIT */
/*
 * down.h - the downstream connection: its socket, its connect, and why it failed.
 *
 * Promises: a socket in the target's own family; a failure's cause is the ICMP message or the
 * RST that the kernel saw, where it lets us see it.
 */
#ifndef LAB_DOWN_H
#define LAB_DOWN_H

#include "addr.h"
#include "options.h"
#include "request.h"
#include "wire.h"

enum down_fast_open { DOWN_FO_NO, DOWN_FO_ASK, DOWN_FO_DATA };

struct down_wish {
	struct addr target;
	bool mptcp;
	enum down_fast_open fast_open;
	struct cvt_span data; /* the client's first bytes, for DOWN_FO_DATA */
};

/* Is it an address of this host's? */
bool down_is_own(const struct addr *target);
/* A socket, or -errno. Without MPTCP in the kernel it is a TCP one and wish->mptcp is cleared. */
int down_open(struct down_wish *wish);
/* 0: under way, *used bytes of wish->data were taken. -errno: failed at once. */
int down_connect(int fd, struct down_wish *wish, size_t *used);
/* After EPOLLOUT, EPOLLERR or EPOLLHUP: 1 connected, 0 not yet, -errno with *f filled in. */
int down_result(int fd, uint32_t events, const struct options *o, struct failure *f);
/* What a local failure of socket() or connect() is to the client (S-13). */
void down_local_failure(int err, const struct options *o, struct failure *f);
/* The server, of that family, never answered within --connect-timeout or the kernel's retries. */
void down_mute(bool v4, struct failure *f);
/* The SYN+ACK's options as far as the kernel tells (LINUX-FACTS 7.2). Their length. */
size_t down_rebuild_opts(int fd, uint8_t out[static CVT_SYN_OPTS_MAX]);
bool down_is_mptcp(int fd);

#endif

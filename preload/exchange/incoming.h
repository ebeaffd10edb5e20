/* SPDX-License-Identifier: MIT */
/*
 * incoming.h - an exchange that a converter has begun: a connection that it has made to us for a remote
 * host, whose Connect TLV says which. Pending until that has come and our header is out; then `server` is
 * the remote host. What does not begin as such a message ends as EXCHANGE_DIRECT, untouched.
 */
#ifndef CVT_INCOMING_H
#define CVT_INCOMING_H

#include "exchange.h"

/* NULL: there is no room for it. family: of the program's socket. */
struct exchange *exchange_incoming(uint64_t sock_cookie, const struct config_converter *converter,
				   const struct addr *via, int family, bool mptcp);

#endif

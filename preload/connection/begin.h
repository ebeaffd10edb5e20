/* SPDX-License-Identifier: MIT */
/*
 * begin.h - how a connection begins: all of connect() but its system call (attempt.c), what must be known of the
 * socket, and the way to the SYN (exchange/syn.c).
 */
#ifndef CVT_BEGIN_H
#define CVT_BEGIN_H

#include "record.h"
#include "servers.h"

/* attempt.c: all of connect(), but its system call: 0, -errno, or CONN_NATIVELY. early: the program's MSG_FASTOPEN;
 * then 0 is a connection, and -EINPROGRESS may be one that has taken data. */
#define CONN_NATIVELY 1
int conn_connect(int fd, const struct sockaddr *sa, socklen_t len, struct exchange_early *early);
/* CONN_NATIVELY, or what a connect() is told that must not be direct (CONVERT_STRICT). */
int conn_natively(int fd, const struct sockaddr *sa, socklen_t len);
/* Waits for u as a blocking connect() does; this thread drives it. When the time limit is over the connection goes on
 * by itself, and on_limit is what is said. The same results. */
int conn_wait_for_outcome(int fd, struct exchange *u, int64_t limit_ns, int on_limit);

/* bound.c: which way the program has given a socket: a device, an address of this host, a mark. So a converter is looked
 * for, and known, in the network where the SYN will leave (F-01, F-02). And whether it is known for itself, as the program
 * gives its packets few hops. Of a number that connect() has claimed; all zero: it goes as all the host's do. System calls
 * only for what may be bound. */
void bound_to(int fd, struct pol_binding *by);
/* Of one that nothing is noted of, as it was accepted. */
void bound_ask(int fd, struct pol_binding *by);

/* begin.c, from here on. */
enum conn_claim {
	CONN_CLAIMED,  /* an unconnected TCP stream socket, with which nobody else does anything */
	CONN_BUSY,     /* another connect() on it has not got so far yet */
	CONN_NOT_OURS, /* no unconnected TCP stream socket: the kernel shall answer */
};

struct conn_request {
	struct exchange_early *early; /* the program's MSG_FASTOPEN, or NULL */
	const struct sockaddr *to;    /* the server, as the program gave it */
	socklen_t to_len;
	struct addr server;
	int family; /* of the server's address as the program gave it, and so of its socket */
	struct pol_binding by; /* of its socket */
	struct pol_verdict verdict;
	const struct config *config;
	enum servers_verdict known;	  /* of the server */
	struct converters_choice *choice; /* of the verdict */
	/* out */
	enum mark mark;	      /* of the socket before conn_claim() */
	uint16_t word;	      /* the number's as conn_claim() or conn_begin() has left it */
	int socket_family;    /* of what has the number now: a twin's may be another */
	bool mptcp;	      /* it is an MPTCP socket */
	const char *why;      /* it is, or is not, or NULL */
	bool nonblocking;     /* since conn_claim() */
	bool by_signal;	      /* O_ASYNC: a signal says once that something has become of it */
	uint64_t sock_cookie; /* of a twin that was just made, or 0 */
	bool at_once;	      /* a bypass that is connected, or deferred, already */
	bool interrupted;     /* a signal arrived while the SYN was sent */
	int64_t until_ns;     /* SO_SNDTIMEO of a blocking descriptor, or INT64_MAX */
	int err;
	struct exchange *exchange;
};

/* Takes hold of fd for one of the three that follow, each of which lets go of it again, but for a
 * bypass that is not taken. Only one connect() at a time may find the socket unconnected and send:
 * another thread's, or one in a signal handler, would have its Connect TLV end up in the stream of the
 * first; and what is no such socket is asked about nothing. */
enum conn_claim conn_claim(int fd, struct conn_request *request);
void conn_unclaim(int fd, const struct conn_request *request);
/* The SYN is out (or the connection up, or the SYN deferred), and the mark is MARK_PENDING. False: nothing was
 * sent; err says why. */
bool conn_begin(int fd, struct conn_request *request);
/* A message shorter than SO_RCVLOWAT would never make the socket readable. Returns what to set again when the
 * exchange is over, 0 for nothing. */
int conn_lower_rcvlowat(int fd);
/* The first write of a deferred one. As exchange_open(); -EALREADY: another one has come first. When
 * nothing could be sent the socket is as before its connect(). */
int conn_start(int fd, struct exchange *u, bool nonblocking, struct exchange_early *early);

/* The server speaks MPTCP: puts a twin in the place of fd, request->mptcp, that if it is non-blocking is
 * connecting; or, where MPTCP gains nothing, leaves fd as it is for the caller to connect. False: there is no
 * twin to be had, and fd is claimed still. */
bool conn_bypass(int fd, struct conn_request *request);
/* A watched number (mark_is_watched()) that has got its connection, or is about to be closed. A bypass:
 * was that MPTCP? If not, it is no longer believed of the server. A fallback: then the converter was at
 * fault. errno is kept. */
void conn_check_direct(int fd);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * conn.h - which descriptor numbers of this process are converted connections.
 *
 * A record is kept per number, private to the process, in pages made when first needed. It
 * holds the socket cookie that proves whose it is (D4), the server that the program believes
 * to be connected to, and the exchange (exchange.h) while that is of interest.
 */
#ifndef CVT_CONN_H
#define CVT_CONN_H

#include "marks.h"
#include "servers.h"
#include "exchange.h"

/* What is atomic other threads look at, also while the number is being made anew; the cookie and
 * the mark then tell them that it has nothing to say (conn_settle()). */
struct conn {
	_Atomic uint64_t sock_cookie;
	_Atomic uint64_t new_cookie; /* of a socket that is taking its place (twin.h), or 0 */
	struct addr server;
	uint8_t family;		   /* of the program's socket: AF_INET or AF_INET6 */
	bool no_cookie;		   /* as in struct exchange */
	_Atomic bool told;	   /* connect() has reported the outcome through this number */
	_Atomic uint32_t exchange; /* exchange_index() */
};

/* What conn_claim(), conn_begin() and conn_bypass() found. */
enum conn_begin {
	CONN_CLAIMED,  /* an unconnected TCP stream socket, with which nobody else does anything */
	CONN_BEGUN,    /* the SYN is out (or the connection up, or the SYN deferred), the mark is
			   * MARK_PENDING */
	CONN_BUSY,     /* another connect() on it has not got so far yet */
	CONN_NOT_OURS, /* no unconnected TCP stream socket: the kernel shall answer */
	CONN_UNREACHABLE, /* nothing was sent; err says why */
};

struct conn_request {
	struct exchange_early *early; /* the program's MSG_FASTOPEN, or NULL */
	const struct sockaddr *to;    /* the server, as the program gave it */
	socklen_t to_len;
	struct addr server;
	int family; /* of the server's address as the program gave it, and so of its socket */
	struct pol_verdict verdict;
	const struct config *config;
	enum servers_verdict known; /* of the server */
	bool is_probe;		    /* by a converter that health_ask() wants to be tried */
	/* out */
	enum mark mark; /* of the socket before conn_claim(), and its whole word since */
	uint16_t word;
	int socket_family;   /* of what has the number now: a twin's may be another */
	bool mptcp;	     /* it is an MPTCP socket */
	const char *no_twin; /* why there is none, or NULL */
	bool nonblocking;
	bool at_once;	  /* a bypass that is connected, or deferred, already */
	bool interrupted; /* a signal arrived while the SYN was sent */
	int64_t until_ns; /* SO_SNDTIMEO of a blocking descriptor, or INT64_MAX */
	int err;
	struct exchange *exchange;
};

/* Takes hold of fd for one of the three that follow, each of which lets go of it again, but for a
 * bypass that is not taken. Only one connect() at a time may find the socket unconnected and send:
 * another thread's, or one in a signal handler, would have its Connect TLV end up in the stream of the
 * first; and what is no such socket is asked about nothing. CONN_CLAIMED, CONN_BUSY or CONN_NOT_OURS. */
enum conn_begin conn_claim(int fd, struct conn_request *request);
void conn_unclaim(int fd, const struct conn_request *request);
enum conn_begin conn_begin(int fd, struct conn_request *request);
/* The first write of a deferred one. As exchange_open(); -EALREADY: another one has come first. When
 * nothing could be sent the socket is as before its connect(). */
int conn_start(int fd, struct exchange *u, bool nonblocking, struct exchange_early *early);
/* All of connect(), but its system call: 0, -errno, or CONN_NATIVELY. early: the program's
 * MSG_FASTOPEN; then 0 is a connection, and -EINPROGRESS may be one that has taken data. */
#define CONN_NATIVELY 1
int conn_connect(int fd, const struct sockaddr *sa, socklen_t len, struct exchange_early *early);
/* Waits for u as a blocking connect() does; this thread drives it. When the time limit is over the
 * connection goes on by itself, and on_limit is what is said. The same results. */
int conn_wait_for_outcome(int fd, struct exchange *u, int64_t limit_ns, int on_limit);
/* The server speaks MPTCP: puts a twin in the place of fd that is to be connected to sa, and if it is
 * non-blocking is connecting. CONN_BEGUN: the caller connects it if need be; CONN_CLAIMED: nothing was
 * done. */
enum conn_begin conn_bypass(int fd, struct conn_request *request);
/* A watched number (mark_is_watched()) that has got its connection, or is about to be closed. A bypass:
 * was that MPTCP? If not, it is no longer believed of the server. A fallback: then the converter was at
 * fault. */
void conn_check_direct(int fd);
/* Another thread's connect() is at it, which does not wait: returns when it is over. False: it is the
 * frame that this thread has interrupted. */
bool conn_await_opening(int fd);

/* The record of a number whose mark says that there is one, after comparing cookies; NULL (and
 * the mark is gone) if the number is something else by now. One system call. */
struct conn *conn_find(int fd);
bool conn_is_of(int fd, const struct conn *c); /* do the cookies agree? */
/* The same without proof, for the moments after a conn_find(). NULL if there is no record. */
struct conn *conn_peek(int fd);
/* The exchange, or NULL if its slot has been needed for another one. */
struct exchange *conn_exchange(const struct conn *c);

/* Does what can be done without waiting, or ends an exchange whose deadline has passed.
 * Returns the mark that the number has then: MARK_PENDING while the program has to wait. */
enum mark conn_advance(int fd, struct conn *c);
/* The same after a wait that has reported an error on fd. */
enum mark conn_advance_broken(int fd, struct conn *c);
/* Waits as a blocking connect() does: 0 when the exchange is over; -ETIMEDOUT at limit_ns
 * (CLOCK_MONOTONIC, WAIT_FOREVER for none); -EINTR after a signal that does not restart (TRAPS
 * 2.9; with a time limit the kernel never restarts); -EDEADLK if waiting could not help
 * (exchange_is_interrupted()). -EBADF if the number
 * means something else by now. A cancellation point; holds no lock.
 * A signal between the SYN and the wait is not seen, as one just before connect() is not: to see it,
 * all signals would have to be blocked around both, two system calls more for each connect(). */
int conn_wait(int fd, struct conn *c, int64_t limit_ns);
/* Waits until the exchange on fd, if there is one, is over. Bounded by its deadline; signals do not end
 * it. */
void conn_finish(int fd);
/* The errno of a failed conversion, once; 0 when it has been told. */
int conn_take_error(int fd, struct conn *c);
/* Is there an errno that nobody has been told yet, in whatever process? */
bool conn_is_untold(int fd);
/* connect() reports the outcome: has one done so before, through whichever number (through this one,
 * once the exchange is forgotten)? */
bool conn_tell(struct conn *c);
/* Is there a blocking connect() that waits for the outcome? */
bool conn_is_driven(const struct conn *c);
/* SO_RCVLOWAT as the program has set it, 0 if the kernel has it so; and a new value, to be set when
 * the exchange is over. */
int conn_rcvlowat(const struct conn *c);
void conn_keep_rcvlowat(const struct conn *c, int bytes);
/* The program itself ends the connection (or the attempt): the exchange, if any, is over. */
void conn_abandon(int fd, struct conn *c);
/* connect(AF_UNSPEC), and whatever was known of an attempt is over: the socket may connect again. */
void conn_reset(int fd);
/* newfd has become a duplicate of fd. False: not this process's, as with conn_forget(). */
bool conn_copy(int fd, int newfd);
/* When the nearest deadline of anything pending should be looked after (CLOCK_MONOTONIC);
 * INT64_MAX: nothing is pending. */
int64_t conn_next_check(void);
/* Looks after all pending connections: ends those whose deadline has passed, forgets those whose
 * number means something else. For whoever waits, as no deadline fires by itself (TRAPS 2.20). */
void conn_sweep(void);
/* This process has marks and records from now on. */
void conn_own(void);
/* The program is about to close the number, or has seen it made anew: nothing is known of it.
 * False if it is not this process's to forget: a vfork child uses our memory (TRAPS 2.5). */
bool conn_forget(int fd);
/* For a wait that something may have ended unseen: settles what is over, without a system call
 * but where nobody knows how. */
void conn_look(void);

/* Has more than one thread, or a forked process, got at our exchanges? Then a wait has to look
 * again from time to time, as somebody else may have read the reply meanwhile. */
bool conn_is_shared(void);
bool conn_is_forked(void);
void conn_init(void);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * record.h - which descriptor numbers of this process are converted connections.
 *
 * A record is kept per number, private to the process, in pages made when first needed. It
 * holds the socket cookie that proves whose it is (D4), the server that the program believes
 * to be connected to, and the exchange (exchange.h) while that is of interest.
 */
#ifndef CVT_RECORD_H
#define CVT_RECORD_H

#include "marks.h"
#include "step.h"

/* What is atomic other threads look at, also while the number is being made anew; the cookie and
 * the mark then tell them that it has nothing to say (conn_settle()). */
struct conn {
	_Atomic uint64_t sock_cookie;
	_Atomic uint64_t new_cookie;  /* of a socket that is taking its place (twin.h), or 0 */
	_Atomic uint64_t local_ip[2]; /* conn_local() */
	struct addr server;
	/* Of a failed one, as its slot may be used again before somebody asks: */
	_Atomic uint16_t local_port;
	_Atomic int err;	   /* conn_untold() */
	_Atomic uint16_t exchange; /* index of its slot */
	uint8_t family;		   /* of the program's socket: AF_INET or AF_INET6 */
	uint8_t generation;	   /* conn_is_ours() */
	bool no_cookie : 1;	   /* as in struct exchange */
	bool accepted : 1;	   /* and whose it is has come with it (accept.h) */
	_Atomic bool copied;	   /* to another number */
	_Atomic bool inherited;	   /* was pending at a fork: another process may end it */
	_Atomic bool told;	   /* connect() has reported the outcome through this number */
	int64_t began_ns;	   /* CLOCK_MONOTONIC */
};

/* The record of a number whose mark says that there is one, after comparing cookies; NULL (and
 * the mark is gone) if the number is something else by now. One system call. */
struct conn *conn_find(int fd);
bool conn_is_of(int fd, const struct conn *c); /* do the cookies agree? */
/* The same without proof, for the moments after a conn_find(). NULL if there is no record; if it is not pending. */
struct conn *conn_peek(int fd);
struct conn *conn_pending(int fd);
/* The exchange, or NULL if there was none, or its slot has been needed for another one, or c is NULL. */
struct exchange *conn_exchange(const struct conn *c);
/* The address that an attempt had which has failed; port 0: none is known. */
void conn_keep_local(struct conn *c, const struct addr *local);
struct addr conn_local(const struct conn *c);
/* Where the errno of a failed conversion stands that nobody has been told, else 0. */
_Atomic int *conn_untold(struct conn *c);

/* fd is about to be duplicated: no other socket takes its place any more. The mark that it has then. */
enum mark conn_share(int fd);
/* newfd has become a duplicate of fd. False: not this process's, as with conn_forget(). */
bool conn_copy(int fd, int newfd);
/* This process has marks and records from now on, its own ones if it is a forked child; what is to be done in one that
 * has not passed its handler of fork()'s. */
void conn_own(void);
void conn_adopt_by(void (*child)(void));
/* Another thread's connect() is at it, which does not wait: returns when it is over. False: it is the
 * frame that this thread has interrupted. */
bool conn_await_opening(int fd);
/* The program is about to close the number, or has seen it made anew: nothing is known of it, and nothing is put
 * in its place any more.
 * False if it is not this process's to forget: a vfork child uses our memory (TRAPS 2.5). */
bool conn_forget(int fd);
/* A new socket has the number. False: nothing may be written down of it. */
bool conn_begin_number(int fd, enum mark mark);
/* The record of fd (0..MARK_MAX-1), of whatever socket; make: if need be. NULL: none, or no memory. */
struct conn *conn_at(int fd, bool make);
/* Do the records belong to this process and thread, or is it a vfork child in its parent's memory? */
bool conn_is_owner(void);
/* This thread has descriptors of its own from now on, and the others keep theirs. */
void conn_stand_apart(void);
bool conn_stands_apart(void);
/* Has this process begun it, and not inherited it by fork()? */
bool conn_is_ours(const struct conn *c);
/* A new record, without an exchange yet. */
void conn_fill(struct conn *c, uint64_t sock_cookie, const struct addr *server, uint8_t family);
void conn_copy_record(int fd, int newfd, enum mark mark);
/* All numbers of a pending exchange, of which fd is one. */
void conn_each_number(int fd, struct exchange *u, void (*each)(int fd, struct exchange *u));

/* The highest number that can be pending or a copy: the end of every walk. */
void conn_raise_highest(int fd);
int conn_highest(void);

/* Has more than one thread, or a forked process, got at our exchanges? Then a wait has to look
 * again from time to time, as somebody else may have read the reply meanwhile. */
bool conn_is_shared(void);
bool conn_is_forked(void);
/* For pthread_atfork(); in the parent: from now on another process may end what is pending. */
void conn_before_fork(void);
void conn_share_pending(void);
void conn_in_child(void);

#endif

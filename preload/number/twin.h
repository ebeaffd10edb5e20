/* SPDX-License-Identifier: MIT */
/*
 * twin.h - the socket that takes the place of the program's own, under the same number, in the
 * moment before it is connected: Multipath TCP instead of TCP, or of the other address family (D8).
 */
#ifndef CVT_TWIN_H
#define CVT_TWIN_H

#include "addr.h"
#include "marks.h"
#include "notes.h"

#include <netinet/in.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

/* An obstacle that is known before a twin is made. */
#define TWIN_BOUND "its bound address"

struct twin_wish {
	int family; /* of the twin: AF_INET or AF_INET6 */
	bool mptcp; /* out: false if only TCP was to be had, for one of the next two */
	/* Only an IPv6 socket that takes IPv4 too reaches the converter, and the program's is none: then
	 * TCP would do. */
	bool must;
	/* The program's socket, once it was connected there by IPv4, could not go to its IPv6 server any more
	 * (LINUX-FACTS 3.14): TCP would do, too. */
	bool one_way;
	enum mark mark; /* of fd before connect() took hold of it */
	bool nonblocking;
	uint16_t word; /* mark_look(fd) since then */
	/* NULL, or connect a non-blocking twin to this first: nobody may see it unconnected. */
	const struct sockaddr *to;
	socklen_t to_len;
	int spare;	      /* twin_open_spare()'s and one more; 0: none */
	bool at_once;	      /* out: that connect() has returned 0 (TCP_FASTOPEN_CONNECT) */
	uint64_t cookie;      /* out: its SO_COOKIE */
	const char *obstacle; /* out: why there is no twin, or none of MPTCP */
};

/* twin.c: an MPTCP socket as the wish has it, for somebody who has to ask one: it becomes the twin, or is closed if
 * there is none (twin_take_place()) or is to be none. -errno: there is none. */
int twin_open_spare(void *wish);
void twin_close_spare(struct twin_wish *wish);
/* Puts a twin under the number fd, which is a TCP socket in state CLOSE. Returns 0, or -1 and
 * wish->obstacle; then the number is untouched. */
int twin_take_place(int fd, struct twin_wish *wish);
/* fd was accepted on a twin of MPTCP, whose note this is: if it is TCP's it has not all that was set there. */
void twin_inherit(int fd, const struct note *listener);
/* twin_table.c: it is MPTCP's, and this is its cookie. */
void twin_accepted(int fd, uint64_t cookie, int family);
/* twin.c: the twin under the number has been disconnected, or its connection has failed: puts a TCP socket in its
 * place, which looks as the program's own would after that; not disconnected: it has sent nothing, and the other one
 * is as before its connect(). False: it stays (a duplicate or another process has it too, or a privilege that it took
 * has been dropped since), which shows only in the bits that poll() reports of a failure. own: NULL, or the address of
 * this host that it had. */
struct twin_record {
	bool copied; /* other numbers may refer to it */
	_Atomic uint64_t *
		new_cookie; /* NULL, or where the cookie of the socket to come is put before it comes */
};
bool twin_give_back(int fd, struct twin_record record, bool disconnected, const struct addr *own);
/* In the child of fork(): of another thread's that was just being placed. */
void twin_in_child(void);
/* A signal handler closes the number while the frame that it has interrupted may be putting a socket there. */
void twin_was_closed(int fd);
/* False: the kernel has refused this process an MPTCP socket. */
bool twin_has_mptcp(void);
/* twin_table.c: is what has the number a twin of ours? One system call if it may be; before that, none. */
bool twin_may_be(int fd);
bool twin_is(int fd);
/* The same, and its family is not the one that the program asked for (IPv4). */
bool twin_is_foreign(int fd);
/* Which family the program's own IPv6 socket reaches, whatever has its number: does it refuse v4-mapped addresses
 * (twin_options.c); is it bound to an address of the family that `to` is not of? The kernel is asked: IPV6_V6ONLY has a
 * value before anybody sets it (net.ipv6.bindv6only), and sockets are made and set up unseen. Only for a number that
 * connect() has claimed (conn_claim()). */
bool twin_own_is_only_v6(int fd);
bool twin_own_is_bound_elsewhere(int fd, const struct addr *to);
/* twin_table.c: has the twin's connection become one of TCP? That is told once. */
bool twin_became_tcp(int fd);

/* twin_options.c: getsockopt() and setsockopt() for a number that may have a twin: what TCP would answer, as far as
 * that is possible. As libc's they set errno. */
int twin_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
int twin_setsockopt(int fd, int level, int name, const void *value, socklen_t len);
/* What ioctl() has done to a socket that may still get a twin, or may be one. As libc's: r and errno
 * are what it has answered. */
int twin_ioctl(int fd, unsigned long request, void *arg, int r);
/* twin_table.c: getsockname() or getpeername() (call: SYS_...) for a foreign twin: 0 or a negative errno. An address
 * that IPv4 cannot express is 0.0.0.0. */
int twin_name(long call, int fd, struct sockaddr *out, socklen_t *len);
/* An address that the program gives, in the shape that the socket under the number takes. Returns sa,
 * or room. */
const struct sockaddr *twin_address(int fd, const struct sockaddr *sa, socklen_t *len,
				    struct sockaddr_storage *room);

#endif

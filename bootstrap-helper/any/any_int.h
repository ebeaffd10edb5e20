/* SPDX-License-Identifier: MIT */
/*
 * any_int.h - the supervisor from within, from what the kernel hands over to what becomes of it. Only any.h is for
 * others.
 */
#ifndef CVT_ANY_INT_H
#define CVT_ANY_INT_H

#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "addr.h"

/* ---- target.c: a thread whose call we have been handed: its descriptors and its memory. Everything fails
 * where the kernel would not let us trace it, or once it is gone. */

/* Of what tid has under the number fd, a descriptor of ours: negative errno, or to be closed. */
int target_fd(int tid, int fd);
/* Between two calls, or events: what is remembered of the thread that was asked last is forgotten. */
void target_done(void);
/* Its process; tid itself if nobody says. */
int target_process(int tid);
bool target_read(int tid, uint64_t from, void *to, size_t n);
bool target_write(int tid, uint64_t to, const void *from, size_t n);
/* Is that tid /proc's tid, too? Who has it from another PID namespace has another process's there, or none. theirs: as
 * below. What follows is read there, and is wrong if it is not. */
bool target_is_in_proc(int tid, int fd, int theirs);
bool target_is_cloexec(int tid, int fd);
/* Is the socket with that inode (0: none) there? */
bool target_has(int tid, int fd, ino_t ino);

/* What the epoll sets of its process hold of the socket that it has under the number fd, as we have it under
 * theirs: another that had the number before may still be in there. Which sets there are is looked up once for
 * each thread, and anew when somebody makes one (target_epoll_made()). */
struct target_epoll {
	int epfd; /* theirs */
	uint32_t events;
	uint64_t data;
};
/* Found are as many as it returns, until the next call. */
size_t target_epolls(int tid, int fd, int theirs, struct target_epoll **found);
/* While this one does not wait for it, for its next call. */
void target_look_ahead(int tid);
/* It is just about to make one. */
void target_epoll_made(int tid);

/* Not of a target, though in target.c. Of ours, out of the way: to register a socket in a program's epoll set, we need
 * the number that it has there (job.c), and few programs come as far as these. The same open file under another number,
 * FD_CLOEXEC; fd itself if there is none so high, or fd is none. */
int aside(int fd);

/* ---- filter.c: which system calls are handed to the supervisor: connect(), getpeername(), perhaps getsockname(),
 * getsockopt(SO_ERROR) and epoll_create(), of every word size that the kernel runs beside its own */

enum call_kind { CALL_OTHER, CALL_CONNECT, CALL_PEER, CALL_NAME, CALL_ERROR, CALL_SET };

struct call {
	enum call_kind kind;
	int fd;
	uint64_t args[5]; /* the first is the number */
};

/* Whatever the process: 0, or an errno (EOPNOTSUPP: the machine, EINVAL: the kernel's age). */
int filter_obstacle(void);
/* For this process and those that come of it, for ever. names: getsockname(), too. The descriptor of the
 * listener, or a negative errno. Takes the privilege to gain privileges by exec if it cannot be had
 * otherwise (no_new_privs). */
int filter_install(bool names);
/* What was called, by whichever ABI. False: the caller's memory cannot be read. */
bool filter_decode(const struct seccomp_notif *req, struct call *call);

/* ---- listener.c: the calls that wait for an answer of ours, each known by the kernel's number for it */

/* Before the first fork(): who waits is known to all processes then, and can be answered by another. */
bool listener_share(void);
/* fd: what filter_install() has returned. */
void listener_begin(int fd);

/* The next call. False: it has gone away again. */
bool listener_receive(struct seccomp_notif *req);
/* Does whoever has called still wait? A signal may have taken him away. */
bool listener_waits(uint64_t id);
/* 0 or an errno (positive), which the call returns with; or the kernel carries it out after all. False: nobody waits. */
bool listener_answer(uint64_t id, int err);
bool listener_natively(uint64_t id);
/* The answer of whoever takes over, should we be killed before ours. */
void listener_otherwise(uint64_t id, int err);
/* Puts ours under his number. */
bool listener_put(uint64_t id, int ours, int number, bool cloexec);
/* Whoever was left waiting by a supervisor that is no more: natively, but for connections over the network if
 * strict. */
void listener_let_go(bool strict);
/* Then the next call likewise, and waits for it. False: nobody is left who could call. */
bool listener_let_next(bool strict);
/* All of that. */
void listener_let_through(bool strict);

/* ---- like.c: a socket of ours that is like the program's, whose own calls nobody has seen: what they have
 * set is what the kernel says and a new socket does not */

#define LIKE_OPTIONS 52

/* What was set, as far as it is an int: so that what is set later is seen. */
struct like {
	int values[LIKE_OPTIONS];
	int family, protocol;
	bool bound, lends; /* its port */
};

/* Without blocking, with a note (notes.h), and bound where that one is, which lends its port for that
 * until like_bound(). A negative errno: there is none. */
int like_open(int theirs, struct like *is);
void like_bound(int theirs, const struct like *is);
void like_close(int ours);
/* What has been set on theirs, of this process, since then, on ours. */
void like_again(int theirs, int process, const struct like *is, int ours);
/* From the network that we are in? */
bool like_is_here(int theirs);

/* ---- nowhere.c: what the program's own socket does while its connection is being made on another: it connects
 * to nowhere, a listener behind the loopback whose queue is full and who so answers no SYN. That is an
 * unfinished connect in every respect: not writable, SO_ERROR 0, no peer, EALREADY, its epoll registrations
 * kept, and its name the one that the connection has, as this host's addresses are on the loopback too. A
 * simultaneous open from that same address completes it, which wakes whoever waits for it. */

struct nowhere {
	const struct nowhere_place *place;
	struct sockaddr_storage name; /* of the program's socket */
	socklen_t len;
};

/* Ours is what it waits for. False: it does not get there (it is bound to a device, there is no loopback),
 * and is as it was. */
bool nowhere_begin(int theirs, int ours, struct nowhere *n);
/* Does it still wait? */
bool nowhere_waits(int theirs);
/* Of two that have begun, the second has the name that the first one has given up. */
bool nowhere_is_same(const struct nowhere *a, const struct nowhere *b);
/* The other end of the completed connection, which nobody may be at any more; a negative errno: there is
 * none. */
int nowhere_complete(const struct nowhere *n);
/* It is refused, by the kernel itself: ECONNREFUSED, whatever the reason was, its name kept (the port if it
 * was bound to one). False: as nowhere_withdraw(). */
bool nowhere_refuse(int theirs, bool bound);
/* connect() tells of that: is it the first to do so? The next one is a new attempt. */
bool nowhere_told(int theirs);
/* As before its connect(). */
void nowhere_withdraw(int theirs);

/* ---- relay.c: the bytes of a program that has never asked whether it is connected, and so has never got the
 * connection itself: they go by here, and so do the ends of what is said, by either side, and resets */

struct relay;
/* a: the program's side. NULL: no memory. only_from_a: what comes from b is somebody else's, and so is its end. It
 * ends with free(). */
struct relay *relay_begin(int a, int b, bool only_from_a);
/* As far as it goes without waiting. False: it is over, and what is to be reset will be when it is closed. */
bool relay_go_on(struct relay *r);
/* What it waits for, as epoll has it, once; 0: that end is not to be looked at. */
void relay_wants(const struct relay *r, uint32_t *a, uint32_t *b);
/* May more come from a? */
bool relay_owes(const struct relay *r);
/* Once it is closed, by us as the last, it is reset. */
void relay_reset(int fd);

/* ---- job.c: a connection that the supervisor makes for a program: on a descriptor of its own, while the
 * program's socket connects to nowhere and is known by its cookie */

enum job_state { JOB_PENDING, JOB_UP, JOB_FAILED };

struct job {
	struct job *next, *next_named;
	uint64_t cookie; /* of the program's socket */
	uint64_t placed; /* ... of the connection, once somebody has it under his number */
	int ours;	 /* the connection, -1 when it is not needed any more */
	int far;	 /* the other end of the program's socket, once that was completed */
	enum job_state state;
	int err; /* JOB_FAILED */
	int untold; /* an error that was taken from the program's socket, and has not reached anybody */
	struct addr server;
	struct like like;
	struct nowhere nowhere;
	int thread, process, number; /* who has begun it, with which number */
	uint64_t waiting;	     /* a connect() that waits for the outcome, or 0 */
	int64_t limit_ns;	     /* its time limit, and what it is told then */
	int on_limit;
	int64_t until_ns; /* nothing is due before; of one that is over: until then the program may ask */
	bool holds;	  /* the program's socket connects to nowhere */
	bool owes_begun;    /* nobody has heard so far that it is being connected */
	bool converted;	    /* so getpeername() is ours to answer */
	bool is_relayed;    /* nobody ever will, as bytes have gone by here */
	bool is_over;	    /* to be freed */
	unsigned int needs; /* descriptors */
	struct relay *relay;
};

/* Where a call has come from. */
struct caller {
	uint64_t id, cookie;
	int thread, number, theirs; /* theirs: our descriptor of what is under that number */
};

/* Who waits for events tells of them: */
void job_begin_all(int epoll);
void job_event(struct job *j, uint32_t events);
/* ... and looks after all when this moment (CLOCK_MONOTONIC) has come, some at a time. Frees those that are over. */
int64_t job_next(void);
void job_look_after_some(void);

/* Does anybody have a socket whose bytes would go by here? */
bool job_owes(void);

struct job *job_find(uint64_t cookie);
/* The first connect() of a socket; nonblocking: it does not wait. Answers it. False: there are no descriptors for it
 * until another one has ended, and nothing was done. */
bool job_start(struct caller *by, const struct sockaddr *sa, socklen_t len, bool nonblocking);
/* This connect() waits for the outcome, from now on. */
void job_wait(struct job *j, struct caller *by, int on_limit);
/* Of one that is JOB_UP: puts the connection under the caller's number. False: it is not there, or what the
 * program has written so far is on its way through here, and so is all that follows. */
bool job_place(struct job *j, struct caller *by);
void job_end(struct job *j);
/* The same, before there was an outcome; a connect() that waits for that is told err. */
void job_give_up(struct job *j, int err);
/* A connection that was converted, or is relayed: whom the program takes it to be connected to, and of which family. */
struct job_peer {
	uint64_t cookie;
	struct addr server; /* port 0: to nobody any more */
	int family;
	int process, number; /* where it was put in place, and its inode there; 0: it was not */
	ino_t ino;
};
const struct job_peer *job_peer(uint64_t cookie);
/* The program has taken it back, or connects its socket anew. */
void job_forget_peer(uint64_t cookie);

/* No descriptor of the program's socket is kept while the program may wait for it: it would keep it
 * registered in epoll sets after the program has closed it. */
void caller_let_go(struct caller *by);

/* ---- supervise.c: the supervisor's work: calls, connections, children */

struct supervise {
	int listener;
	int outside; /* readable when whoever stands for the program is gone */
	pid_t program;
	void (*ended)(int outside, int status);
};

/* Before anything else: the configuration and the log are the ones of a program of that name. False: nothing
 * is ever converted by it. foreign: a program of IPv4 may be given a socket of IPv6. */
bool supervise_configure(const char *name, bool *foreign);
/* Returns when nobody is left to supervise. */
void supervise(const struct supervise *s);

#endif

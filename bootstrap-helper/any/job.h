/* SPDX-License-Identifier: MIT */
/*
 * job.h - a connection that the supervisor makes for a program: on a descriptor of its own, while the
 * program's socket connects to nowhere (nowhere.h) and is known by its cookie.
 */
#ifndef CVT_JOB_H
#define CVT_JOB_H

#include "addr.h"
#include "like.h"
#include "nowhere.h"

#include <stddef.h>
#include <sys/types.h>

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

#endif

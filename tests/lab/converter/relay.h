/* SPDX-License-Identifier: MIT */
/*
 * relay.h - the bytes between the upstream and the downstream connection (S-17, S-20).
 *
 * Promises: at most one pipe (64 KiB) of data is held per direction, so a slow reader stops
 * the sender; FIN is passed on as FIN after the last byte; an error on one side ends the other
 * side with an error, after the bytes that could still be read.
 * Never: copies data through user space, or closes a socket.
 */
#ifndef LAB_RELAY_H
#define LAB_RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loop.h"

enum relay_side { RELAY_UP, RELAY_DOWN };
enum relay_state { RELAY_GOING, RELAY_DONE, RELAY_FAILED };

struct relay_flow {  /* one direction */
	int pipe[2]; /* taken from the pool only while it holds bytes */
	size_t in_pipe;
	bool eof;  /* the source has sent FIN */
	bool shut; /* and it was passed on */
	uint64_t bytes;
};

struct relay {
	struct loop_watch *watch[2]; /* by enum relay_side; the caller's */
	struct relay_flow flow[2];   /* by the side that the bytes come from */
	bool broken[2];		     /* that side has failed; its last bytes are still passed on */
	bool unwatched[2];	     /* nothing more can happen there but what we do ourselves */
	enum relay_side failed;	     /* valid when RELAY_FAILED */
	int error;		     /* the errno behind it */
	uint64_t limit_down;	     /* fail after so many bytes of the server's; 0: never */
};

void relay_start(struct relay *r, struct loop_watch *up, struct loop_watch *down);
/* Moves what can be moved and sets both watches' masks. events: of `side`, 0 at the start. */
enum relay_state relay_ready(struct relay *r, enum relay_side side, uint32_t events);
/* One side has failed, and the other has not yet got all of its last bytes. */
bool relay_is_broken(const struct relay *r);
/* Bytes that have left us, in both directions. */
uint64_t relay_moved(const struct relay *r);
/* Gives the pipes back; the bytes in them are lost. */
void relay_end(struct relay *r);
/* Pipes for the time when no more can be had: connections that exist shall not suffer from it. */
int relay_fill_pool(void);
/* Closes the pooled pipes. */
void relay_close_pool(void);

#endif

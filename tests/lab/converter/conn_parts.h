/* SPDX-License-Identifier: MIT */
/*
 * conn_parts.h - one connection, and the files that share it. From below: conn_life.c (birth, death),
 * conn_relay.c (the bytes after the reply, the ways to end), conn_reply.c (our message), conn_held.c
 * (a SYN that waits), conn_request.c (message, downstream connect); conn_hold.c and conn.c begin.
 *
 * Promises: a connection is only ever in one state, which says what its timer means; after
 * conn_drop() it is only memory, until the batch of events is over.
 */
#ifndef LAB_CONN_PARTS_H
#define LAB_CONN_PARTS_H

#include "conn.h"
#include "down.h"
#include "loop.h"
#include "relay.h"
#include "request.h"

enum conn_state {
	CONN_REQUEST,	 /* reading the Convert message; timer: it takes too long */
	CONN_LATE,	 /* --fault late; timer: now it may be served */
	CONN_CONNECTING, /* the server has not answered; timer: --connect-timeout */
	CONN_ADMITTED,	 /* a held SYN was let in; timer: the kernel does not accept it */
	CONN_CATCH_UP,	 /* its early data must leave the socket too; timer: as CONN_REQUEST */
	CONN_REPLY,	 /* sending our message; timer: the next step of it */
	CONN_CALLING,	 /* incoming.h: until the client's header is here; timer: as CONN_RELAY */
	CONN_SILENT,	 /* --fault silence; timer: enough of it */
	CONN_RELAY,	 /* timer: perhaps idle */
	CONN_RESETTING,	 /* one side failed; timer: has the other taken what was sent to it? */
	CONN_LINGER,	 /* our FIN is out, and no RST may overtake the reply (S-10): reading until
			  * the client's FIN; timer: it does not come */
	CONN_DEAD,
};

enum conn_after_reply { AFTER_RELAY, AFTER_FIN, AFTER_RST, AFTER_CLIENT };

struct conn {
	unsigned long id;
	enum conn_state state;
	struct addr client, local;
	struct loop_watch up, down; /* fd -1: none */
	struct loop_timer timer;
	struct request request;
	struct fault fault;
	struct down_wish wish;
	size_t early;	/* bytes of user data that went in the downstream SYN... */
	size_t discard; /* ...and of these, how many upstream still has to deliver */
	struct relay relay;
	uint8_t reply[CVT_MSG_MAX];
	size_t reply_len, reply_sent;
	enum conn_after_reply after_reply;
	bool up_mptcp, delayed, serving;
	int send_buffer;    /* upstream's, as far as it is bounded by us; 0: it is not */
	unsigned int waits; /* polls for something that has no event */
	int left;	    /* one side failed: what the other's socket still had to send */
	bool held;	    /* came as a SYN that waited */
	struct hold_ticket ticket;
	bool has_failure; /* the answer to a held SYN that was let in to be told so */
	struct failure failure;
	uint64_t started_ms, active_ms;
	const char *outcome;
	struct conn *prev, *next;
};

/* conn_life.c */
/* What happens to a connection is told to these. */
void conn_life_init(const struct options *o, void (*on_up)(struct loop_watch *w, uint32_t events),
		    void (*on_down)(struct loop_watch *w, uint32_t events),
		    void (*on_timer)(struct loop_timer *t));
const struct options *conn_options(void);
struct conn *conn_new(const struct addr *client, const struct addr *local);
struct conn *conn_first(void); /* of all living ones, by ->next */
void conn_close_down(struct conn *c);
void conn_count_reply(void);
void conn_count_error(void);
/* False: there are too many. */
bool conn_count_served(struct conn *c);
/* outcome: a word for the log, unless one was set before. reset: RST to both sides. */
void conn_drop(struct conn *c, const char *outcome, bool reset);

/* conn_relay.c */
void conn_bound_send_buffer(struct conn *c);
void conn_start_relay(struct conn *c);
void conn_relay_step(struct conn *c, enum relay_side side, uint32_t events);
void conn_idle_check(struct conn *c);
void conn_reset_after_drain(struct conn *c);
void conn_linger(struct conn *c, bool send_fin);
void conn_drain_linger(struct conn *c);

/* conn_request.c */
void conn_read_request(struct conn *c);
void conn_catch_up(struct conn *c);
void conn_down_ready(struct conn *c, uint32_t events);
void conn_down_late(struct conn *c);
/* Counts, limits, then connects. */
void conn_serve(struct conn *c, struct cvt_span early_data);

/* conn_reply.c */
/* The downstream connection stands, or the client only asked what is supported. */
void conn_reply_success(struct conn *c);
/* The request cannot be granted. */
void conn_fail(struct conn *c, const struct failure *f);
/* There is none, and there will not be. */
void conn_stay_silent(struct conn *c);
void conn_log_failure(const struct conn *c, const struct failure *f, size_t bytes);
/* Sends what can be sent; to be called again by the timer and when there is room. */
void conn_reply_step(struct conn *c);

/* conn_held.c */
/* The one between these two; admitted: whose SYN was let in. NULL: there is none. */
struct conn *conn_held_find(const struct addr *client, const struct addr *local, bool admitted);
/* The server of a held SYN has answered. */
void conn_held_admit(struct conn *c);
void conn_held_refuse(struct conn *c, const struct failure *f);

#endif

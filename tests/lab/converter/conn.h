/* SPDX-License-Identifier: MIT */
/*
 * conn.h - the life of one client's connection: request, downstream connect, reply, relay, end.
 *
 * Promises: every connection has a bounded life and bounded memory, and one line in the log when
 * it ends; descriptors are closed in exactly one place (conn.c, free_dead).
 */
#ifndef LAB_CONN_H
#define LAB_CONN_H

#include "down.h"
#include "loop.h"
#include "options.h"
#include "relay.h"
#include "request.h"

enum conn_state {
	CONN_REQUEST,	 /* reading the Convert message */
	CONN_CONNECTING, /* the server has not answered */
	CONN_REPLY,	 /* sending our message */
	CONN_SILENT,	 /* --fault silence: until the client gives up */
	CONN_RELAY,
	CONN_RESETTING,	 /* one side failed, the other may still take what was sent to it */
	CONN_LINGER,	 /* our FIN is out: reading until the client's, so that no RST overtakes
			  * the reply (S-10) */
	CONN_DEAD,	 /* freed after this batch of events */
};

enum conn_after_reply { AFTER_RELAY, AFTER_FIN, AFTER_RST, AFTER_CLIENT };

struct conn {
	unsigned long id;
	enum conn_state state;
	struct addr client, local;
	struct loop_watch up, down; /* fd -1: none */
	struct loop_timer timer;    /* the state's deadline or next step */
	struct request request;
	struct down_wish wish;
	size_t early; /* bytes of user data that went in the downstream SYN */
	struct relay relay;
	uint8_t reply[CVT_MSG_MAX];
	size_t reply_len, reply_sent;
	enum conn_after_reply after_reply;
	bool up_mptcp, delayed, serving;
	unsigned int waits;    /* polls for something that has no event */
	uint64_t started_ms, active_ms;
	const char *outcome;
	struct conn *prev, *next;
};

void conn_init(const struct options *o);
/* Takes over the accepted socket. */
void conn_accept(int fd, const struct addr *client, const struct addr *local);
/* To be called after every batch of events: frees what died in it. */
void conn_free_dead(void);
void conn_end_all(void);

struct conn_totals {
	unsigned long accepted, replies, errors;
	size_t open;
};
const struct conn_totals *conn_totals(void);
/* How many connections, and so timers, there can be at once. */
size_t conn_limit(const struct options *o);

#endif

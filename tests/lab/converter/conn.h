/* SPDX-License-Identifier: MIT */
/*
 * conn.h - the clients' connections, and the ports that connections come to, file by file.
 */
#ifndef LAB_CONN_H
#define LAB_CONN_H

#include "converter.h"

/* --------------------------------------------------------------------- relay.c */
/*
 * The bytes between the upstream and the downstream connection (S-17, S-20).
 *
 * Promises: at most one pipe (64 KiB) of data is held per direction, so a slow reader stops
 * the sender; FIN is passed on as FIN after the last byte; an error on one side ends the other
 * side with an error, after the bytes that could still be read.
 * Never: copies data through user space, or closes a socket.
 */

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

/* ---------------------------------------------------------------------- down.c */
/*
 * The downstream connection: its socket, its connect, and why it failed.
 *
 * Promises: a socket in the target's own family; a failure's cause is the ICMP message or the
 * RST that the kernel saw, where it lets us see it.
 */

enum down_fast_open { DOWN_FO_NO, DOWN_FO_ASK, DOWN_FO_DATA };

struct down_wish {
	struct addr target;
	bool mptcp;
	enum down_fast_open fast_open;
	struct cvt_span data; /* the client's first bytes, for DOWN_FO_DATA */
};

/* Is it an address of this host's? */
bool down_is_own(const struct addr *target);
/* A socket, or -errno. Without MPTCP in the kernel it is a TCP one and wish->mptcp is cleared. */
int down_open(struct down_wish *wish);
/* 0: under way, *used bytes of wish->data were taken. -errno: failed at once. */
int down_connect(int fd, struct down_wish *wish, size_t *used);
/* After EPOLLOUT, EPOLLERR or EPOLLHUP: 1 connected, 0 not yet, -errno with *f filled in. */
int down_result(int fd, uint32_t events, const struct options *o, struct failure *f);
/* What a local failure of socket() or connect() is to the client (S-13). */
void down_local_failure(int err, const struct options *o, struct failure *f);
/* The server, of that family, never answered within --connect-timeout or the kernel's retries. */
void down_mute(bool v4, struct failure *f);
/* The SYN+ACK's options as far as the kernel tells (LINUX-FACTS 7.2). Their length. */
size_t down_rebuild_opts(int fd, uint8_t out[static CVT_SYN_OPTS_MAX]);
bool down_is_mptcp(int fd);

/* ---------------------------------------------------------------------- conn.c */
/*
 * The clients' connections, as the rest of the program sees them.
 *
 * Promises: every connection has a bounded life and bounded memory, and one line in the log when
 * it ends; descriptors are closed in exactly one place per kind.
 * Never: blocks. What happens to a connection in between is further below.
 */

struct conn_totals {
	unsigned long accepted, replies, errors;
	size_t open;
};

void conn_init(const struct options *o);
/* Takes over the accepted socket. */
void conn_accept(int fd, const struct addr *client, const struct addr *local);
/* A SYN waits in the queue, as hold_syn_fn says. Of one that already waits it may be the repetition; of
 * another `seq` it is a new attempt, for which the old one is dropped. */
hold_syn_fn conn_hold;
/* To be called after every batch of events: frees what died in it. */
void conn_free_dead(void);
void conn_end_all(void);

const struct conn_totals *conn_totals(void);
/* How many connections, and so timers, there can be at once. */
size_t conn_limit(const struct options *o);

/* --------------------------------------------------------------------- conn_*.c */
/*
 * One connection, and the files that share it. From below: conn_life.c (birth, death),
 * conn_relay.c (the bytes after the reply, the ways to end), conn_reply.c (our message, also to a SYN that
 * waits), conn_request.c (message, downstream connect); conn.c begins.
 *
 * Promises: a connection is only ever in one state, which says what its timer means; after
 * conn_drop() it is only memory, until the batch of events is over.
 */

enum conn_state {
	CONN_REQUEST,	 /* reading the Convert message; timer: it takes too long */
	CONN_LATE,	 /* --fault late; timer: now it may be served */
	CONN_CONNECTING, /* the server has not answered; timer: --connect-timeout */
	CONN_ADMITTED,	 /* a held SYN was let in; timer: the kernel does not accept it */
	CONN_CATCH_UP,	 /* its early data must leave the socket too; timer: as CONN_REQUEST */
	CONN_REPLY,	 /* sending our message; timer: the next step of it */
	CONN_CALLING,	 /* incoming.c: until the client's header is here; timer: as CONN_RELAY */
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
	uint32_t send_buffer; /* bytes, upstream's, as far as it is bounded by us; 0: it is not */
	unsigned int waits;   /* polls for something that has no event */
	int left;	      /* one side failed: what the other's socket still had to send */
	bool held;	      /* came as a SYN that waited */
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
/* The SYN that waits between these two; admitted: whose SYN was let in. NULL: there is none. */
struct conn *conn_held_find(const struct addr *client, const struct addr *local, bool admitted);
/* The server of a held SYN has answered. */
void conn_held_admit(struct conn *c);
void conn_held_refuse(struct conn *c, const struct failure *f);

/* conn_request.c */
void conn_read_request(struct conn *c);
void conn_catch_up(struct conn *c);
void conn_down_ready(struct conn *c, uint32_t events);
void conn_down_late(struct conn *c);
/* Counts, limits, then connects. */
void conn_serve(struct conn *c, struct cvt_span early_data);

/* ------------------------------------------------------------------ listener.c */
/*
 * The sockets that clients connect to.
 *
 * Promises: they stay open for the whole life of the process, which MP_JOIN needs
 * (LINUX-FACTS 5.4); running out of descriptors pauses them and never spins.
 */

/* -errno, after a line on stderr that says which address. */
int listener_open_all(const struct options *o);
void listener_close_all(void);

/* ------------------------------------------------------------------ incoming.c */
/*
 * External ports whose connections go to a client (draft-02, figure 8).
 *
 * A remote host's TCP connection to the external port is taken, and one to the client made, by
 * Multipath TCP if that is how clients connect (--mptcp), from the address of a --listen. Its SYN
 * carries the Convert message, a Connect TLV with the remote host's address and port; where it cannot,
 * the message follows. When the client's fixed header has come the bytes are relayed: none of them in
 * either direction before that. Whoever is not accepted is reset, and so is the remote host then.
 */

#define INCOMING_TIMERS (OPT_LISTEN_MAX + OPT_PCP_MAPPINGS)

struct incoming;

/* Opens the mapping: external, whose address may be :: for all of both families, port 0 for any, to
 * client. NULL: errno says why. A mapping is no timer's and no client's: who made it closes it. */
struct incoming *incoming_open(const struct addr *external, const struct addr *client);
/* Where it is open. */
const struct addr *incoming_external(const struct incoming *in);
/* No further ones; those that there are stay. NULL is none. */
void incoming_close(struct incoming *in);

/* After every batch of events: the memory of what was closed in it. */
void incoming_free_closed(void);
/* --incoming: as listener_open_all(). */
int incoming_open_all(const struct options *o);
void incoming_close_all(void);

/* What happens to the client's side of such a connection until it is relayed (conn.c). */
void incoming_up(struct conn *c, uint32_t events);

/* ---------------------------------------------------------------- pcp_server.c */
/*
 * A server of the Port Control Protocol (RFC 6887) beside the converter: its clients' MAP
 * requests open external ports (incoming.c).
 *
 * Promises: one mapping for each port of a client, for TCP alone; whose nonce is another's gets no say in
 * it; it ends with its lifetime or by request. Nobody who is not in an --allow, or asks for another
 * host, is served. All is forgotten with the process, which the epoch tells, and at the start a
 * multicast to all hosts (14.1).
 */

/* How many timers it may have armed at once, for loop_init(). */
#define PCP_SERVER_TIMERS (OPT_PCP_MAPPINGS + OPT_LISTEN_MAX)

/* With --pcp, on every --listen. -errno, after a line on stderr that says which address. */
int pcp_server_open(const struct options *o);
void pcp_server_close(void);

#endif

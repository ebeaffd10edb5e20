/* SPDX-License-Identifier: MIT */
/*
 * exchange.h - the Convert exchange on one socket, from the SYN to the verdict.
 *
 * An exchange lives in anonymous shared memory, so that after a fork both processes see one
 * state and consume one reply once (D4). Nothing waits while holding its lock, and what runs
 * under the lock is raw system calls (D5a).
 *
 * Exchanges are never freed: an ended one stays readable until its slot is needed again, which
 * sock_cookie tells, and at least until its outcome is settled.
 */
#ifndef CVT_EXCHANGE_H
#define CVT_EXCHANGE_H

#include "epsets.h"
#include "handshake.h"
#include "health.h"
#include "policy.h"
#include "servers.h"

#include <poll.h>
#include <stdatomic.h>
#include <sys/socket.h>

/* The life of an exchange. FREE -> OPENING -> OWED -> REPLY -> one of the ends; a retry
 * goes back to OPENING, TCP_FASTOPEN_CONNECT to DEFERRED and OPENING again. Each is the state of a
 * watch (epsets.h): in the low half what it waits for. */
#define EXCHANGE_PHASE(number, wants) ((number) << 16 | (wants))

enum exchange_phase {
	EXCHANGE_FREE = 0,
	/* connect() has returned 0, the first write sends the SYN */
	EXCHANGE_DEFERRED = EXCHANGE_PHASE(1, 0),
	/* the SYN is just being sent: others keep away */
	EXCHANGE_OPENING = EXCHANGE_PHASE(2, POLLIN),
	/* (part of) the Convert message still has to be given to the kernel */
	EXCHANGE_OWED = EXCHANGE_PHASE(3, POLLOUT),
	/* the message is queued, the reply is being read */
	EXCHANGE_REPLY = EXCHANGE_PHASE(4, POLLIN),
	/* end: the server has accepted */
	EXCHANGE_CONNECTED = EXCHANGE_PHASE(5, 0),
	/* end: err is the program's errno, the socket shows a failure */
	EXCHANGE_REFUSED = EXCHANGE_PHASE(6, 0),
	/* end: the socket is the kernel's alone, going to the server or failed */
	EXCHANGE_DIRECT = EXCHANGE_PHASE(7, 0),
	/* end: the program took the connection back */
	EXCHANGE_ABANDONED = EXCHANGE_PHASE(8, 0),
};

/* What has been tried once on behalf of one converter, and is not tried again (F-15). */
enum exchange_try {
	EXCHANGE_TRIED_COOKIE = 1,    /* the cookie that it has asked for (P-27) */
	EXCHANGE_TRIED_NO_COOKIE = 2, /* after a cookie that was refused */
	EXCHANGE_TRIED_OPTIONS = 4,   /* without the options of an error 33 */
	EXCHANGE_TRIED_BASE =
		8, /* without any, where it may not know what an Extended Connect is */
	EXCHANGE_TRIED_SYN = 16,     /* after a SYN that was not answered */
	EXCHANGE_TRIED_NO_DATA = 32, /* without SYN data, whose reply may be held back (2b.3) */
	EXCHANGE_TRIED_INFO = 64,    /* not for the server: is it there? (blame.h) */
	EXCHANGE_TRIED_AGAIN = 128,  /* it is: for the server, in the time that is left */
};

/* Other converters that one exchange goes on to, at most. */
#define EXCHANGE_MOVES 3

struct exchange {
	/* 0: free. Else the holder's exchange_thread() (high half) and the low half of CLOCK_MONOTONIC
	 * in ms when it was taken: a holder that was killed inside is overruled after a second. */
	_Atomic uint64_t lock;
	struct watch watch;	 /* its state is the enum exchange_phase */
	_Atomic uint32_t driver; /* thread whose blocking connect() does the reading, or 0 */
	_Atomic int err;	 /* for EXCHANGE_REFUSED: the errno to be told once */
	_Atomic uint64_t sock_cookie;
	_Atomic uint32_t claims;     /* odd: somebody who has taken the slot is filling it in */
	int64_t started_ns;	     /* CLOCK_MONOTONIC */
	int64_t part_ns;	     /* ... since when its converter has been tried */
	int64_t attempt_ns;	     /* ... of the last SYN with the message */
	_Atomic int64_t limit_ns;    /* `timeout`, for all converters together */
	_Atomic int64_t deadline_ns; /* this one's part of it */
	_Atomic int64_t look_ns;     /* when to look why nothing has come yet; INT64_MAX: never */
	struct addr server;
	int family;		  /* of the socket */
	struct health_key health; /* whom its outcome is told of (report.h) */
	int64_t started_ms;	  /* CLOCK_REALTIME */
	enum cvt_dialect dialect;
	bool no_syn_data; /* the path loses it, or the converter's reply to it is held back */
	bool bare;	  /* SYN data goes without a TFO cookie (D9a) */
	enum health_path syn_path; /* what is learned of the SYN's data */
	bool is_proven;	       /* that data in the SYN gets there, and with MPTCP its answer back */
	bool takes_options;    /* it has answered a Connect TLV with options before */
	bool is_probe;	       /* health_ask() waits for what comes of this (HEALTH_PROBE) */
	uint8_t syn_data_lost; /* so often in a row, before this one */
	bool tells_over_tcp;   /* a connection that is not one of MPTCP may prove it */
	uint32_t rtt_us;       /* of the handshake with the converter, 0: unknown */
	bool syn_data;	       /* the SYN has carried the message */
	bool mptcp;	       /* the socket is an MPTCP one */
	bool asks_mptcp;       /* what the server answers to MP_CAPABLE is worth knowing */
	bool has_options; /* the Connect TLV of this attempt has some; the last such one had these: */
	uint8_t n_asked;
	uint8_t asked[2]; /* kinds */
	const char *
		no_twin; /* why the socket is the program's own; NULL: it is not, or nobody wanted */
	const struct config_converter *converter;
	struct addr via;
	bool fall_back;	      /* fallback = direct */
	bool is_in_doubt;     /* it does, as the server is silent: if it is, directly too */
	int rcvlowat;	      /* SO_RCVLOWAT to set again at the end, 0: as it is */
	uint8_t tried;	      /* enum exchange_try */
	bool sends_cookie;    /* a Cookie TLV is in the message */
	bool omits_cookie;    /* even if there is one: the converter does not know what it is */
	uint64_t sent_cookie; /* cookies_mark() of it, 0: none */
	uint8_t moves;	      /* converters that were tried before this one, and where they are */
	struct health_key left[EXCHANGE_MOVES];
	bool stays;	 /* no other converter would fare better, or there is none */
	uint8_t unclear; /* a bit for each of them that was silent, for whatever reason */
	int first_err;	 /* what came of the attempt before EXCHANGE_TRIED_BASE, or 0 */
	const char *first_why;
	bool fast_open; /* the program itself asks for Fast Open (D10); the server's cookie */
	uint8_t tfo_cookie_len, tfo_cookie[SERVERS_COOKIE_MAX];
	bool deferred;	   /* so in the kernel: the next send is the SYN */
	bool may_defer;	   /* by TCP_FASTOPEN_CONNECT, and connect() is not over */
	bool no_cookie;	   /* TCP_FASTOPEN_NO_COOKIE is from us, not from the program */
	bool early;	   /* data of the program's is behind the message: there is no way back */
	_Atomic bool told; /* connect() has reported the outcome */
	_Atomic bool settled; /* the marks of the process that began it show the outcome */
	_Atomic bool copied;  /* more than one descriptor number may refer to it */
	struct addr local;    /* for EXCHANGE_REFUSED: the address that the attempt had */
	uint16_t sent;	      /* bytes of request that the kernel has taken */
	union {
		struct cvt_writer request; /* while EXCHANGE_OWED */
		struct hs reply;	   /* while EXCHANGE_REPLY */
	};
};

/* The program's first data, to follow the message at once: it uses Fast Open itself (D10). */
struct exchange_early {
	const struct msghdr *msg; /* iov and control; NULL: no data */
	int flags;		  /* of its call */
	size_t taken;		  /* out: bytes that the kernel has queued; it has no others */
};

/* A free slot for this socket, or NULL: too many exchanges at once, or no memory. */
struct exchange *exchange_new(uint64_t sock_cookie);
uint32_t exchange_index(const struct exchange *u);
struct exchange *exchange_at(uint32_t index);

static inline enum exchange_phase exchange_phase(const struct exchange *u)
{
	return (enum exchange_phase)atomic_load_explicit(&u->watch.state, memory_order_acquire);
}

/* Is the message that is out an Info TLV, and no Connect TLV? */
static inline bool exchange_asks_info(const struct exchange *u)
{
	return (u->tried & (EXCHANGE_TRIED_INFO | EXCHANGE_TRIED_AGAIN)) == EXCHANGE_TRIED_INFO;
}

static inline bool exchange_is_pending(const struct exchange *u)
{
	enum exchange_phase phase = exchange_phase(u);

	return phase >= EXCHANGE_DEFERRED && phase <= EXCHANGE_REPLY;
}

/* Still the kernel's alone: nothing was sent, and the socket shows what the program shall see. */
static inline bool exchange_is_deferred(const struct exchange *u)
{
	return exchange_phase(u) == EXCHANGE_DEFERRED;
}

/* Who is asking: unique among the threads of all processes that share the exchanges. Only after
 * the first exchange_new(). exchange_in_child() is for the child's side of fork(). */
uint32_t exchange_thread(void);
void exchange_before_fork(void);
void exchange_in_child(void);

/* Never waits: whoever does not get the lock sees the connection as still pending. That is also what
 * keeps a signal handler from waiting for the frame that it interrupted. */
bool exchange_try_lock(struct exchange *u);
void exchange_unlock(struct exchange *u);

/* Has this thread been interrupted, by a signal whose handler is asking now, where it alone can get
 * an exchange further? Then no wait of ours may wait (D5a). enter/leave mark such places. */
bool exchange_is_interrupted(void);
void exchange_enter(void);
void exchange_leave(void);

/* Its converter has not been tried yet; until `limit_ns` all that it may go on to share the time. */
void exchange_begin_tries(struct exchange *u);
/* Sends the SYN, to the next converter if that cannot be done, and without ever waiting; with u->may_defer and no early data perhaps only prepares it.
 * early: NULL, or what the program sends. 0; -EINTR: it is out, but a signal arrived; else -errno:
 * nothing was sent, the exchange is over. */
int exchange_open(struct exchange *u, int fd, bool nonblocking, struct exchange_early *early);
/* When there is something to be done even if nothing happens: the next look, or the end of its time. */
static inline int64_t exchange_due_ns(const struct exchange *u)
{
	int64_t look_ns = atomic_load(&u->look_ns), deadline_ns = atomic_load(&u->deadline_ns);

	return look_ns < deadline_ns ? look_ns : deadline_ns;
}

/* What has come of a step. */
enum exchange_event {
	EXCHANGE_GOES_ON, /* or is over: exchange_phase() says which */
	/* the phase is OPENING, in which everybody else keeps away, until the caller has ended it: */
	EXCHANGE_IS_REFUSED, /* the program is to be told */
	EXCHANGE_FALLS_BACK, /* to a direct connection */
	EXCHANGE_ELSEWHERE,  /* (among the files of the exchange) by another converter */
};

/* A step: does what can be done without waiting; the program's descriptor is fd. What has arrived counts,
 * however late somebody looks; then the clock does. broken: a wait has reported an error on it. Between
 * exchange_enter() and exchange_leave(). */
enum exchange_event exchange_advance(struct exchange *u, int fd, bool broken, int *err);
/* The end of it, with the options as the program has set them. */
void exchange_end(struct exchange *u, int fd, enum exchange_phase phase);
/* Back to an unconnected socket (sock_disconnect()), but for what the program has set. */
void exchange_take_back(struct exchange *u, int fd);
/* POLLOUT or POLLIN (the epoll bits are the same): what advance would need. */
static inline short exchange_wants(const struct exchange *u)
{
	short wants = (short)watch_wants(&u->watch);

	return wants ? wants : POLLIN;
}
#endif

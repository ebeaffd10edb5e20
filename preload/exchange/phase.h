/* SPDX-License-Identifier: MIT */
/*
 * phase.h - the life of an exchange: its phases, what is tried on the way, what comes of a step.
 */
#ifndef CVT_PHASE_H
#define CVT_PHASE_H

#include <poll.h>
#include <stdbool.h>

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
	EXCHANGE_TRIED_INFO = 64,    /* not for the server: is it there? (health.h) */
	EXCHANGE_TRIED_AGAIN = 128,  /* it is: for the server, in the time that is left */
};

/* In its driver: that thread is to connect directly. */
#define EXCHANGE_HANDED_OVER 0x80000000
/* Other converters that one exchange goes on to, at most. */
#define EXCHANGE_MOVES 3

/* What has come of a step. */
enum exchange_event {
	EXCHANGE_GOES_ON, /* or is over: exchange_phase() says which */
	/* the phase is OPENING, in which everybody else keeps away, until the caller has ended it: */
	EXCHANGE_IS_REFUSED, /* the program is to be told */
	EXCHANGE_FALLS_BACK, /* to a direct connection */
	EXCHANGE_ELSEWHERE,  /* (among the files of the exchange) by another converter */
};

struct exchange;
/* From one pending phase to the next, or to an end. False: it had one, which stays. */
bool exchange_go_on(struct exchange *u, enum exchange_phase phase);
/* The end of it, with the options as the program has set them. */
void exchange_end(struct exchange *u, int fd, enum exchange_phase phase);
/* Back to an unconnected socket (sock_disconnect()), but for what the program has set. */
void exchange_take_back(struct exchange *u, int fd);

#endif

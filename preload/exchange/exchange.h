/* SPDX-License-Identifier: MIT */
/*
 * exchange.h - one Convert handshake on one socket, from before the SYN to the verdict, in memory that forked
 * processes share. Who holds its lock takes a step; everybody may read what is atomic.
 */
#ifndef CVT_EXCHANGE_H
#define CVT_EXCHANGE_H

#include "epsets.h"
#include "handshake.h"
#include "health.h"
#include "phase.h"
#include "servers.h"

struct exchange {
	/* 0: free. Else the holder's exchange_thread() (high half) and the low half of CLOCK_MONOTONIC
	 * in ms when it was taken: a holder that was killed inside is overruled after a second. */
	_Atomic uint64_t lock;
	struct watch watch;	 /* its state is the enum exchange_phase */
	_Atomic uint32_t driver; /* thread whose blocking connect() does the reading, or 0 */
	_Atomic int err;	 /* for EXCHANGE_REFUSED: the errno to be told once */
	_Atomic uint64_t sock_cookie;
	_Atomic uint32_t claims;     /* odd: somebody who has taken the slot is filling it in */
	_Atomic int64_t limit_ns;    /* CLOCK_MONOTONIC: `timeout`, for all converters together */
	_Atomic int64_t deadline_ns; /* this one's part of it */
	_Atomic int64_t look_ns;     /* when to look why nothing has come yet; INT64_MAX: never */
	_Atomic bool told;	     /* connect() has reported the outcome */
	_Atomic bool settled;	     /* the marks of the process that began it show the outcome */
	_Atomic bool copied;	     /* more than one descriptor number may refer to it */
	/* From here on to the message all is zero in a new one. */
	int64_t started_ns; /* CLOCK_MONOTONIC */
	int64_t part_ns;    /* ... since when its converter has been tried */
	int64_t attempt_ns; /* ... of the last SYN with the message */
	struct addr server;
	int family;		  /* of the socket */
	struct pol_binding by;	  /* the way that the program has given it */
	struct health_key health; /* whom its outcome is told of (report.h) */
	int64_t started_ms;	  /* CLOCK_REALTIME */
	enum cvt_dialect dialect;
	bool no_syn_data; /* the path loses it, or the converter's reply to it is held back */
	bool bare;	  /* SYN data goes without a TFO cookie (D9a) */
	enum health_path syn_path; /* what is learned of the SYN's data */
	bool is_proven;	       /* that data in the SYN gets there, and with MPTCP its answer back */
	bool takes_options;    /* it has answered a Connect TLV with options before */
	_Atomic bool is_probe; /* health_ask() waits for what comes of this (HEALTH_PROBE) */
	uint8_t syn_data_lost; /* so often in a row, before this one */
	uint32_t rtt_us;       /* of the handshake with the converter, 0: unknown */
	bool syn_data;	       /* the SYN has carried the message */
	bool mptcp;	       /* the socket is an MPTCP one */
	bool asks_mptcp;       /* what the server answers to MP_CAPABLE is worth knowing */
	bool has_options; /* the Connect TLV of this attempt has some; the last such one had these: */
	uint8_t n_asked, asked[2];  /* kinds */
	const char *why;	    /* it is, or is not; NULL: nothing to explain */
	_Atomic uint32_t converter; /* converters_of() */
	struct addr via;
	bool fall_back;	       /* fallback = direct */
	bool is_in_doubt;      /* it does, as the server is silent: if it is, directly too */
	int rcvlowat;	       /* SO_RCVLOWAT to set again at the end, 0: as it is */
	uint8_t tried;	       /* enum exchange_try */
	bool omits_cookie;     /* even if there is one: the converter does not know what it is */
	uint64_t sent_cookie;  /* cookies_mark() of the Cookie TLV in the message, 0: none */
	_Atomic uint8_t moves; /* converters that were tried before this one, and where they are */
	struct health_key left[EXCHANGE_MOVES];
	int64_t left_ms[EXCHANGE_MOVES]; /* started_ms of each */
	bool stays;		  /* no other converter would fare better, or there is none */
	uint8_t unclear, unheard; /* a bit for each that was silent, that sent not even a SYN+ACK */
	int first_err;		  /* what came of the attempt before EXCHANGE_TRIED_BASE, or 0 */
	const char *first_why;
	bool fast_open; /* the program itself asks for Fast Open (D10); the server's cookie */
	uint8_t tfo_cookie_len, tfo_cookie[SERVERS_COOKIE_MAX];
	bool deferred;	  /* so in the kernel: the next send is the SYN */
	bool may_defer;	  /* by TCP_FASTOPEN_CONNECT, and connect() is not over */
	bool is_complete; /* connect() has said so to us, and to nobody again */
	bool no_cookie;	  /* TCP_FASTOPEN_NO_COOKIE is from us, not from the program */
	bool incoming; /* accepted: the converter has begun it, and `server` is the remote host */
	int stamps;    /* ... traces_option() of the listener, and traces_is_corked() */
	bool corked;
	bool early;	   /* data of the program's is behind the message: there is no way back */
	struct addr local; /* for EXCHANGE_REFUSED: the address that the attempt had */
	uint16_t sent;	   /* bytes of request that the kernel has taken */
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

static inline enum exchange_phase exchange_phase(const struct exchange *u)
{
	return (enum exchange_phase)atomic_load_explicit(&u->watch.state, memory_order_acquire);
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * probe.h - asks one converter what it is: a few connections of our own, and what they showed.
 *
 * Promises: nothing is printed, nothing is written to the state file; every wait has an end, and
 * ends at once when stop_fd has something to read. What the connections mean, and which is next, is
 * decided by pure functions (probe_plan.c).
 * Never: a server. A converter is asked by Info (draft-02: Bootstrap) alone.
 *
 * A struct probe holds a Convert cookie: it is a secret (F-02).
 */
#ifndef CVT_PROBE_H
#define CVT_PROBE_H

#include "config.h"
#include "handshake.h"
#include "health.h"

struct probe_request {
	struct addr to;
	struct addr source; /* the address that it is reached from; all zero: not known */
	const struct config_converter *converter;
	const struct health *known; /* where to start; NULL: nothing */
	bool mptcp;		    /* by an MPTCP socket, if the kernel has them */
	unsigned int timeout_ms;    /* for each connection and reply */
	int stop_fd;		    /* -1: none */
};

enum probe_verdict {
	PROBE_WORKS,	   /* it has answered as a converter does, be it by an Error TLV */
	PROBE_UNREACHABLE, /* no connection: err */
	PROBE_MUTE,	   /* a connection, but no whole reply to Info, which says nothing of
			    * Connects: err, ETIMEDOUT for silence */
	PROBE_STRANGE,	   /* what it says is no Convert message: parse */
	PROBE_REFUSES,	   /* it says by an Error TLV that it does not serve us: error_code */
	PROBE_STOPPED,	   /* by stop_fd */
};

enum probe_tfo_cookie {
	PROBE_TFO_UNKNOWN, /* not asked for: fast-open = no-cookie, or no SYN+ACK came */
	PROBE_TFO_HELD,	   /* the kernel holds one, from now or from before */
	PROBE_TFO_NONE,	   /* asked for, and no TFO option came back */
	PROBE_TFO_OFF,	   /* Fast Open is switched off in this kernel */
};

enum probe_syn_data {
	PROBE_SYN_UNTRIED,
	PROBE_SYN_ACKED,     /* by the SYN+ACK: 0-RTT */
	PROBE_SYN_NOT_ACKED, /* the SYN+ACK was for the SYN alone: refused, or stripped on the way */
	PROBE_SYN_LOST,	     /* only a SYN sent again, which has no data, was answered */
};

enum probe_mptcp {
	PROBE_MPTCP_UNTRIED,
	PROBE_MPTCP_OFF,      /* the kernel has none, or it is switched off there */
	PROBE_MPTCP_WORKS,    /* the connection was one */
	PROBE_MPTCP_FALLBACK, /* MP_CAPABLE was not answered: the converter, or the path */
};

struct probe {
	enum probe_verdict verdict;
	int err;		/* errno, 0 if there is none */
	enum cvt_verdict parse; /* for PROBE_STRANGE */
	bool has_error;
	uint8_t error_code;		 /* of the last Error TLV that decided */
	int delay_s;			 /* errors 64 to 95: as health_event has it */
	uint32_t handshake_us, reply_us; /* the fastest; 0: not measured */
	enum probe_tfo_cookie tfo_cookie;
	enum probe_syn_data syn_data; /* of the last connection that sent any */
	unsigned int syn_data_lost;   /* so many times in a row not acknowledged, or lost */
	bool syn_data_bare;	      /* syn_data was sent without a TFO cookie */
	enum probe_mptcp mptcp;
	unsigned int mptcp_lost; /* connections that fell back, of those that count */
	bool holds;		 /* MPTCP, SYN data acknowledged, but no reply: LINUX-FACTS 2b.3 */
	uint32_t
		held_us; /* so much later a reply to SYN data comes by MPTCP than by TCP, the same */
	bool has_dialect;
	enum cvt_dialect dialect; /* has_dialect: what it speaks, else what was tried last */
	enum hs_sign sign;	  /* what showed it */
	unsigned int probes;	  /* connections until the dialect was settled */
	unsigned int connections; /* all of them */
	bool no_info;		  /* a converter that does not serve Info: Error 1, 2, or silence */
	bool has_offers;
	uint8_t n_offers, offers[255]; /* option kinds, padding left out */
	bool cookie_is_new;  /* convert_cookie is not what `known` or the configuration has */
	bool cookie_refused; /* the one that was sent is not right (Error 32) */
	uint16_t convert_cookie_len; /* 0: none needed, as far as was seen */
	uint8_t convert_cookie[CONFIG_COOKIE_MAX];
};

/* ---- probe_plan.c: which connection is next, and what the last one meant. Pure functions; whatever the connections
 * show, probe_next() says "enough" after PROBE_MOST of them. The dialect is settled by two (PROTOCOL 6), unless one
 * says nothing at all. */

#define PROBE_MOST	  8
#define PROBE_UNKNOWN_TLV 255 /* of private use: nobody knows it */

enum probe_syn {
	PROBE_SYN_ASKS,	 /* with data, if the kernel holds a TFO cookie; else it asks for one */
	PROBE_SYN_BARE,	 /* with data, without a TFO cookie */
	PROBE_SYN_PLAIN, /* without data or TFO option */
};

/* The next connection. */
struct probe_step {
	enum cvt_dialect dialect;
	enum probe_syn syn;
	bool with_cookie; /* the Convert cookie of the struct probe goes with it */
	bool tcp;	  /* how soon comes a reply to SYN data without MPTCP? */
	bool unknown_tlv; /* where the echo begins tells draft-02 from the hybrid (PROTOCOL 1.4) */
	unsigned int timeout_ms;
};

/* What has come of it. */
struct probe_seen {
	int err;		       /* 0: a reply, in result; ECANCELED: stopped */
	bool connected;		       /* the SYN was answered by a SYN+ACK */
	bool fast_open_off, mptcp_off; /* in this kernel */
	bool syn_data, syn_data_acked, syn_again;
	bool tfo_cookie; /* the kernel holds one now */
	bool is_mptcp;
	uint32_t handshake_us, reply_us;
	struct hs_result result;
};

struct probe_plan {
	const struct probe_request *q;
	struct probe *p;
	enum cvt_dialect dialect; /* of the next connection */
	bool over;
	bool again;	  /* the same question, now that more is known */
	bool bare;	  /* from now on */
	bool plain;	  /* the next one alone */
	bool other_tried; /* the other header word, because the first got no answer */
	bool maybe_held;  /* silence, and SYN data on MPTCP: it says nothing of the dialect */
	bool decided;	  /* an unknown TLV was sent */
	bool replied;	  /* to Info in its own dialect */
	bool answered;	  /* a reply to acknowledged SYN data has come */
	bool doubted;	  /* a late reply, so once more */
	bool compared;	  /* with TCP */
	bool timed;	  /* one of them over MPTCP */
	uint32_t late_us; /* ... and the soonest so long after the SYN+ACK */
	bool cookie_is_configured, cookie_sent, cookie_dropped, cookie_taken;
};

void probe_begin(struct probe_plan *plan, const struct probe_request *q, struct probe *p);
bool probe_next(struct probe_plan *plan, struct probe_step *step);
void probe_learn(struct probe_plan *plan, const struct probe_step *step,
		 const struct probe_seen *seen);
/* No whole reply to Info, and nothing known that makes that a fault: no Connect has failed, and Info was
 * not served before. Connects will show what it is. */
bool probe_is_open(const struct probe *p, const struct health *known);

/* ---- probe.c (probe_converter(), metrics_): the connections, and the cookies that the kernel holds */

/* Takes at most 2 timeout_ms if nobody answers the SYN, and some seconds if nobody answers Info. */
void probe_converter(const struct probe_request *q, struct probe *p);

/* Does the kernel (tcp_metrics(8)) hold a TCP Fast Open cookie of this address, for connections from source? source:
 * all zero for any. The cookie itself is not looked at. */
bool metrics_has_tfo_cookie(const struct addr *to, const struct addr *source);

/* ---- probe_text.c: in words (never: a cookie) */

#define PROBE_TEXT_MAX 200

/* "rfc8803, 12.3 ms, 0-RTT, MPTCP", or what is wrong. */
void probe_summary(const struct probe *p, char out[static PROBE_TEXT_MAX]);
/* What a connection over MPTCP costs more than one over TCP, as its reply is held back; 0: it is not. */
uint32_t probe_held_us(const struct probe *p);
/* What is wrong, alone. */
void probe_failure(const struct probe *p, char out[static PROBE_TEXT_MAX]);
/* Some lines, each with four spaces before it, to standard output. */
void probe_print_details(const struct probe *p);

/* ---- probe_record.c: told to all programs through the state file */

/* started_ms: when the probe began (CLOCK_REALTIME). Returns whether there was anything to tell.
 * It speaks against a converter only if a Connect would not even begin, or is not wanted for now:
 * nothing else that Info meets says what a Connect would. */
bool probe_record(const struct probe_request *q, const struct probe *p,
		  const struct health_key *key, unsigned int retry_ms, int64_t started_ms);
/* Due at due_ms, or at once if the clock was set back since it last was, at before_ms. */
bool probe_is_due(int64_t due_ms, int64_t before_ms, int64_t now_ms);
/* Is it left alone because it has asked for that itself? Then to ask it is no use either. known: may be NULL. */
bool probe_wants_patience(const struct health *known, int64_t now_ms);

#endif

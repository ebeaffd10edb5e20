/* SPDX-License-Identifier: MIT */
/*
 * probe_plan.h - how a probe goes: which connection is next, and what the last one meant.
 *
 * Promises: pure functions; whatever the connections show, probe_next() says "enough" after
 * PROBE_MOST of them. The dialect is settled by two (PROTOCOL 6), unless one says nothing at all.
 */
#ifndef CVT_PROBE_PLAN_H
#define CVT_PROBE_PLAN_H

#include "probe.h"

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

#endif

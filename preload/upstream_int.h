/* SPDX-License-Identifier: MIT */
/*
 * upstream_int.h - what upstream.c (going on), upstream_syn.c (the SYN), upstream_retry.c (once more),
 * upstream_silence.c (nothing comes), upstream_elsewhere.c (another converter) and upstream_end.c (the
 * ends) share among themselves.
 *
 * Whoever has the turn at an exchange holds its lock, or has put it in UPSTREAM_OPENING, in which all
 * others keep away. What there is to tell is told when the turn is over.
 */
#ifndef CVT_UPSTREAM_INT_H
#define CVT_UPSTREAM_INT_H

#include "blame.h"
#include "report.h"
#include "upstream.h"

struct upstream_turn {
	struct upstream *u;
	int fd;
	struct report report;
	/* With STEP_ELSEWHERE: what is to be made of it if there is no other converter. */
	enum upstream_phase before; /* UPSTREAM_OPENING: this attempt is over */
	struct upstream_failure {
		bool is_servers; /* report it, whatever `fallback` says */
		int err;
		const char *why;
	} failure;
};

enum upstream_step {
	STEP_DONE, /* pending or over, as the phase says */
	STEP_ELSEWHERE, /* the phase is OPENING: by another converter, which is chosen without the lock */
};

/* From one pending phase to the next, unless the program has taken the connection back. */
void upstream_go_on(struct upstream *u, enum upstream_phase phase);
/* All of the request is queued in the kernel. */
void upstream_request_taken(struct upstream *u);
/* Three round trips to the converter, as far as they are known: what an answer may take. */
int64_t upstream_patience_ns(const struct upstream *u);

/* The SYN of the exchange. 0; -EINTR: it is out, but a signal arrived; else -errno: nothing was sent. */
int upstream_send_syn(struct upstream *u, int fd, bool nonblocking, struct upstream_early *early);

/* upstream_disconnect(), but the program's own settings stay. */
void upstream_take_back(struct upstream *u, int fd);
/* TCP_FASTOPEN_NO_COOKIE as the program had it. */
void upstream_undo_no_cookie(struct upstream *u, int fd);
/* The exchange is over. */
void upstream_end(struct upstream *u, int fd, enum upstream_phase phase);
/* The converter has failed, or says that the server has: another one, a direct connection if it may be,
 * or the failure for the program to see. */
enum upstream_step upstream_give_up(struct upstream_turn *t, struct upstream_failure failure);
/* The same, where there is no other. */
void upstream_give_up_for_good(struct upstream_turn *t);

/* One attempt more, on the same socket and by the same converter: may it be; its SYN; all of it. */
bool upstream_may_try(const struct upstream *u, enum upstream_try what);
int upstream_send_syn_again(struct upstream *u, int fd);
enum upstream_step upstream_retry(struct upstream_turn *t, enum upstream_try what, const char *why);
/* Without any option the Connect TLV has the five words that every parser knows. What came of the
 * whole message is what the program is told if this fares no better. */
bool upstream_may_try_base(const struct upstream *u);
enum upstream_step upstream_retry_base(struct upstream_turn *t, int err, const char *why);

/* The reply says that something in the message was not welcome: reset, remember, once more without it
 * or with what was asked for. False: it is not that, or it was tried. */
bool upstream_retry_answered(struct upstream_turn *t, const struct hs_result *result,
			     enum upstream_step *step);
/* May a Connect TLV with options be more than the converter knows? */
bool upstream_may_be_too_long(const struct upstream *u);
/* There is no reply: was the Connect TLV's length too much for the converter? False as above. */
bool upstream_retry_unanswered(struct upstream_turn *t, struct upstream_failure failure,
			       enum upstream_step *step);
/* Nothing has come by look_ns: has the SYN, or its answer, been lost? Is the reply held back? Then once
 * more. Sets look_ns anew. */
enum upstream_step upstream_look(struct upstream_turn *t);
/* When to do that, of an attempt that begins now. */
void upstream_look_later(struct upstream *u);
/* An Info TLV has been answered, however: the converter is there, so it is the server that is not. */
enum upstream_step upstream_is_there(struct upstream_turn *t);
/* No reply by deadline_ns. */
enum upstream_step upstream_time_out(struct upstream_turn *t);

bool upstream_has_elsewhere(const struct upstream *u);
/* After STEP_ELSEWHERE, without the lock. */
void upstream_go_elsewhere(struct upstream_turn *t);
/* The first part of that. False: there is no other whose SYN could be sent; t->failure is the last. */
bool upstream_try_elsewhere(struct upstream_turn *t);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * exchange_int.h - what step.c (going on), syn.c (the SYN), retry.c (once more),
 * silence.c (nothing comes), elsewhere.c (another converter) and end.c (the
 * ends) share among themselves.
 *
 * Whoever has the turn at an exchange holds its lock, or has put it in EXCHANGE_OPENING, in which all
 * others keep away. What there is to tell is told when the turn is over.
 */
#ifndef CVT_EXCHANGE_INT_H
#define CVT_EXCHANGE_INT_H

#include "blame.h"
#include "report.h"
#include "exchange.h"

struct exchange_turn {
	struct exchange *u;
	int fd;
	struct report report;
	/* With STEP_ELSEWHERE: what is to be made of it if there is no other converter. */
	enum exchange_phase before; /* EXCHANGE_OPENING: this attempt is over */
	struct exchange_failure {
		bool is_servers; /* report it, whatever `fallback` says */
		int err;
		const char *why;
	} failure;
};

enum exchange_step {
	STEP_DONE, /* pending or over, as the phase says */
	STEP_ELSEWHERE, /* the phase is OPENING: by another converter, which is chosen without the lock */
};

/* From one pending phase to the next, unless the program has taken the connection back. */
void exchange_go_on(struct exchange *u, enum exchange_phase phase);
/* All of the request is queued in the kernel. */
void exchange_request_taken(struct exchange *u);
/* Three round trips to the converter, as far as they are known: what an answer may take. */
int64_t exchange_patience_ns(const struct exchange *u);

/* The SYN of the exchange. 0; -EINTR: it is out, but a signal arrived; else -errno: nothing was sent. */
int exchange_send_syn(struct exchange *u, int fd, bool nonblocking, struct exchange_early *early);

/* exchange_disconnect(), but the program's own settings stay. */
void exchange_take_back(struct exchange *u, int fd);
/* TCP_FASTOPEN_NO_COOKIE as the program had it. */
void exchange_undo_no_cookie(struct exchange *u, int fd);
/* The exchange is over. */
void exchange_end(struct exchange *u, int fd, enum exchange_phase phase);
/* The converter has failed, or says that the server has: another one, a direct connection if it may be,
 * or the failure for the program to see. */
enum exchange_step exchange_give_up(struct exchange_turn *t, struct exchange_failure failure);
/* The same, where there is no other. */
void exchange_give_up_for_good(struct exchange_turn *t);

/* One attempt more, on the same socket and by the same converter: may it be; its SYN; all of it. */
bool exchange_may_try(const struct exchange *u, enum exchange_try what);
int exchange_send_syn_again(struct exchange *u, int fd);
enum exchange_step exchange_retry(struct exchange_turn *t, enum exchange_try what, const char *why);
/* Without any option the Connect TLV has the five words that every parser knows. What came of the
 * whole message is what the program is told if this fares no better. */
bool exchange_may_try_base(const struct exchange *u);
enum exchange_step exchange_retry_base(struct exchange_turn *t, int err, const char *why);

/* The reply says that something in the message was not welcome: reset, remember, once more without it
 * or with what was asked for. False: it is not that, or it was tried. */
bool exchange_retry_answered(struct exchange_turn *t, const struct hs_result *result,
			     enum exchange_step *step);
/* May a Connect TLV with options be more than the converter knows? */
bool exchange_may_be_too_long(const struct exchange *u);
/* There is no reply: was the Connect TLV's length too much for the converter? False as above. */
bool exchange_retry_unanswered(struct exchange_turn *t, struct exchange_failure failure,
			       enum exchange_step *step);
/* Nothing has come by look_ns: has the SYN, or its answer, been lost? Is the reply held back? Then once
 * more. Sets look_ns anew. */
enum exchange_step exchange_look(struct exchange_turn *t);
/* When to do that, of an attempt that begins now. */
void exchange_look_later(struct exchange *u);
/* An Info TLV has been answered, however: the converter is there, so it is the server that is not. */
enum exchange_step exchange_is_there(struct exchange_turn *t);
/* No reply by deadline_ns. */
enum exchange_step exchange_time_out(struct exchange_turn *t);

bool exchange_has_elsewhere(const struct exchange *u);
/* After STEP_ELSEWHERE, without the lock. */
void exchange_go_elsewhere(struct exchange_turn *t);
/* The first part of that. False: there is no other whose SYN could be sent; t->failure is the last. */
bool exchange_try_elsewhere(struct exchange_turn *t);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * exchange_int.h - what the files of a step share, each calling those above it here only.
 *
 * Whoever takes a step holds the exchange's lock, or has put it in EXCHANGE_OPENING, in which all
 * others keep away. What there is to tell is told when the step is over.
 */
#ifndef CVT_EXCHANGE_INT_H
#define CVT_EXCHANGE_INT_H

#include "health.h"
#include "report.h"
#include "step.h"

struct exchange_turn {
	struct exchange *u;
	int fd;
	struct report report;
	/* With EXCHANGE_ELSEWHERE: what is to be made of it if there is no other converter. */
	enum exchange_phase before; /* EXCHANGE_OPENING: this attempt is over */
	struct exchange_failure {
		bool is_servers; /* report it, whatever `fallback` says */
		int err;
		const char *why;
	} failure;
};

/* phase.c: what recv() and send() say of the rest of the reply, and of the request; -EPROTO: no exchange has
 * such numbers. */
long exchange_recv(struct exchange *u, int fd);
long exchange_send(const struct exchange *u, int fd);
/* EXCHANGE_OPENING. Others take the caller for dead after the deadline, and a second from now. */
void exchange_hold(struct exchange *u);
/* TCP_FASTOPEN_NO_COOKIE as the program had it. */
void exchange_undo_no_cookie(struct exchange *u, int fd);

/* patience.c: may this be tried once more by this converter? Without any option, as the Connect TLV then
 * has the five words that every parser knows? May one with options be more than it knows? */
bool exchange_may_try(const struct exchange *u, enum exchange_try what);
bool exchange_may_try_base(const struct exchange *u);
bool exchange_may_be_too_long(const struct exchange *u);
/* May the reply be held back (LINUX-FACTS 2b.3); the SYN be lost? May the converter be asked whether it is
 * there, and by another? */
bool exchange_may_be_held(const struct exchange *u);
bool exchange_may_be_lost(const struct exchange *u);
bool exchange_may_ask(const struct exchange *u);
bool exchange_may_ask_soon(const struct exchange *u);
bool exchange_has_elsewhere(const struct exchange *u);
/* Should something have come by now, if a SYN was lost, too? */
bool exchange_is_overdue(const struct exchange *u);
/* The last part of its time, for asking. Half of this attempt's time, as a moment. */
int64_t exchange_ask_window_ns(const struct exchange *u);
int64_t exchange_ask_soon_ns(const struct exchange *u);
int64_t exchange_half_ns(const struct exchange *u);
/* When to look why nothing comes, from now on; and of an attempt that begins now. */
void exchange_look_at(struct exchange *u, int64_t now);
void exchange_look_later(struct exchange *u);

/* syn.c: 0; -EINTR: it is out, but a signal arrived; else -errno: nothing was sent. */
int exchange_send_syn(struct exchange_turn *t, bool nonblocking, struct exchange_early *early);
int exchange_send_syn_again(struct exchange_turn *t);
/* All of the request is queued in the kernel. */
void exchange_request_taken(struct exchange *u);

/* incoming.c: the step of one that was accepted; and its end by a reset. */
enum exchange_event exchange_read_incoming(struct exchange_turn *t);
enum exchange_event exchange_refuse(struct exchange_turn *t, const char *why);

/* elsewhere.c: the converter has failed, or says that the server has: another one, a direct connection if it
 * may be, or the failure for the program to see. The same, where there is no other. */
enum exchange_event exchange_give_up(struct exchange_turn *t, struct exchange_failure failure);
enum exchange_event exchange_give_up_for_good(struct exchange_turn *t);
/* After EXCHANGE_ELSEWHERE, without the lock. */
enum exchange_event exchange_go_elsewhere(struct exchange_turn *t);
/* The first part of that. False: there is no other whose SYN could be sent; t->failure is the last. */
bool exchange_try_elsewhere(struct exchange_turn *t);

/* retry.c: one attempt more, on the same socket and by the same converter. */
enum exchange_event exchange_retry(struct exchange_turn *t, enum exchange_try what,
				   const char *why);
/* ... without options. What came of the whole message is what the program is told if it fares no better. */
enum exchange_event exchange_retry_base(struct exchange_turn *t, int err, const char *why);
/* The reply says that something in the message was not welcome: reset, remember, once more without it
 * or with what was asked for. False: it is not that, or it was tried. */
bool exchange_retry_answered(struct exchange_turn *t, const struct hs_result *result,
			     enum exchange_event *event);
/* There is no reply: was the Connect TLV's length too much for the converter? False as above. */
bool exchange_retry_unanswered(struct exchange_turn *t, struct exchange_failure failure,
			       enum exchange_event *event);

/* silence.c: nothing has come by look_ns. Sets it anew. */
enum exchange_event exchange_look(struct exchange_turn *t);
/* An Info TLV has been answered, however: the converter is there, so it is the server that is not. */
enum exchange_event exchange_is_there(struct exchange_turn *t);
/* No reply by deadline_ns. */
enum exchange_event exchange_time_out(struct exchange_turn *t);

#endif

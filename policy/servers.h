/* SPDX-License-Identifier: MIT */
/*
 * servers.h - what is known of servers: do they speak Multipath TCP, and which Fast Open cookie have
 * they given us (through the converter, RFC 8803, 4.2.5)?
 *
 * In the process a table of 1,024 servers, in front of the state file that all processes of the
 * user share (state.h). The table remembers misses too, and an entry is compared with the file
 * at most once in SERVERS_REREAD_MS: a process that goes on connecting to the servers it knows
 * makes no system call here.
 *
 * Promises: never waits; what cannot be had at once, as in a signal handler that has interrupted
 * us, is SERVERS_UNKNOWN or forgotten again. No memory is allocated; errno untouched. A child
 * after fork() has what the parent knew.
 * Never: an own clock. now_ms is state_now_ms(), CLOCK_REALTIME in milliseconds.
 */
#ifndef CVT_SERVERS_H
#define CVT_SERVERS_H

#include "addr.h"
#include "state.h"
#include "wire.h"

#define SERVERS_TABLE	   1024
#define SERVERS_REREAD_MS  30000
#define SERVERS_KEEP_MS	   (24 * 3600 * 1000LL) /* how long what was learned holds */
#define SERVERS_RENEW_MS   (3600 * 1000LL)	/* the same news again is written again after */
#define SERVERS_HOLD_MS	   (600 * 1000LL) /* after a withdrawal, doubled by each further one */
#define SERVERS_COOKIE_MAX 16

enum servers_verdict {
	SERVERS_UNKNOWN,
	SERVERS_MPTCP, /* speaks Multipath TCP: may be reached directly */
	SERVERS_TCP,   /* does not, or not on the way from here */
};

struct servers_entry {
	struct addr server;
	enum servers_verdict verdict;
	bool is_pinned;		/* by a person: neither learned nor withdrawn, never expires */
	uint8_t withdrawals;	/* how often the converter said MPTCP and the server did not */
	uint8_t tfo_cookie_len; /* 0: none is known */
	uint8_t tfo_cookie[SERVERS_COOKIE_MAX];
	int64_t learned_ms, until_ms;
};

enum servers_verdict servers_lookup(const struct addr *server, int64_t now_ms);
/* What servers_lookup() says by this entry: after a withdrawal it is not what stands in it for ever. */
enum servers_verdict servers_verdict_of(const struct servers_entry *e, int64_t now_ms);
/* The same with all that is known. False if that is nothing. */
bool servers_find(const struct addr *server, int64_t now_ms, struct servers_entry *entry);

/* The converter's reply had an Extended TCP Header. mptcp: with MP_CAPABLE in it. tfo_cookie: the
 * value of its Fast Open option, len 0 if there was none (then a known one is kept). Costs system
 * calls only if it is news, or known for longer than SERVERS_RENEW_MS. */
void servers_learn(const struct addr *server, bool mptcp, struct cvt_span tfo_cookie,
		   int64_t now_ms);
/* A direct connection to it over MPTCP has fallen back to TCP, whatever a converter says: it is
 * SERVERS_TCP, and a converter that says otherwise is not believed for SERVERS_HOLD_MS, for twice
 * as long the next time, up to SERVERS_KEEP_MS; and then SERVERS_UNKNOWN, so that one is asked again. A
 * converter that agrees ends that. */
void servers_withdraw(const struct addr *server, int64_t now_ms);

/* For convert-bootstrap. Other processes see it within SERVERS_REREAD_MS. 0, or why the state file could not be
 * written, as state_update() has it: after -EAGAIN the same can be said again. */
int servers_pin(const struct addr *server, enum servers_verdict verdict, int64_t now_ms);
int servers_forget(const struct addr *server, int64_t now_ms);
typedef void servers_each_fn(const struct servers_entry *entry, void *arg);
void servers_each(int64_t now_ms, servers_each_fn *each, void *arg);
/* Empties the table of this process only; state_clear() the file. */
void servers_clear_table(void);

/* For the child's side of fork(): the thread that was changing the table is not there. */
void servers_in_child(void);

#endif

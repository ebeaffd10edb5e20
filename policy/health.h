/* SPDX-License-Identifier: MIT */
/*
 * health.h - what is known of a converter, seen from one network: does it work, what does it
 * speak, what may be sent to it?
 *
 * What happens is an event; health_apply() says what it means, as a pure function. In front of the
 * state file (state.h) there are HEALTH_TABLE records in the process, each compared with the file
 * at most once in HEALTH_REREAD_MS. Without a file, health is this process's own, and so is what a file
 * that cannot be written was not told, until others write there.
 *
 * blame() says whose fault it is that no reply has come: the converter's, the server's, or the path's.
 *
 * Promises: as servers.h. Never: the Convert cookie anywhere but in the record (F-02).
 */
#ifndef CVT_HEALTH_H
#define CVT_HEALTH_H

#include "policy.h"
#include "state.h"

#define HEALTH_TABLE	  16
#define HEALTH_REREAD_MS  10000
#define HEALTH_LEFT_MS	  500 /* the same for one that is left alone: others may know it to be well */
#define HEALTH_ROUTE_MS	  10000		       /* how long a network is taken to be the same */
#define HEALTH_KEEP_MS	  (24 * 3600 * 1000LL) /* how long what was learned holds (PROTOCOL 6) */
#define HEALTH_FIRST_MS	  1000	 /* left alone after the first failure; then doubled */
#define HEALTH_DELAY_MS	  30000	 /* errors 64 to 95 without a number (P-29) */
#define HEALTH_DELAY_MAX  600000 /* whatever the converter says (PROTOCOL 2) */
#define HEALTH_LOST_MAX	  3	 /* lost so often in a row: the path loses it */
#define HEALTH_COOKIE_MAX 320	 /* a longer Convert cookie is not remembered */

struct health_key {
	struct addr converter;
	uint64_t network; /* health_network(); 0: unknown */
};

/* What a path may lose, and what a converter may do with it. */
enum health_path {
	HEALTH_SYN_DATA,
	HEALTH_MPTCP,
	HEALTH_BARE_DATA, /* SYN data without a TCP Fast Open cookie (D9a) */
	HEALTH_N_PATHS,
};
enum health_way {
	HEALTH_UNTRIED,
	HEALTH_WORKS,  /* SYN data: with MPTCP, too */
	HEALTH_LOSES,  /* HEALTH_LOST_MAX times in a row: dropped, stripped or not acknowledged */
	HEALTH_HOLDS,  /* the reply to SYN data comes late with MPTCP (LINUX-FACTS 2b.3) */
	HEALTH_PASSES, /* SYN data works over TCP, which says nothing of that */
};

/* All numbers; what the file holds byte for byte, so the order leaves no holes. */
struct health {
	int64_t failed_ms;	/* the last failure that counted */
	int64_t alone_until_ms; /* not to be used before */
	int64_t probe_until_ms; /* somebody is trying it, until then */
	int64_t learned_ms;	/* all that follows `prober` holds for HEALTH_KEEP_MS from here */
	uint32_t failures;	/* in a row */
	uint32_t rtt_us;	/* time of the handshake within a factor of two, 0: unknown */
	uint32_t prober;	/* the process that is trying it */
	uint16_t convert_cookie_len; /* 0: none */
	uint8_t dialect;	     /* 0: not known, else 1 + enum cvt_dialect */
	uint8_t has_offers;	     /* it has said what it supports */
	uint8_t way[HEALTH_N_PATHS]; /* enum health_way */
	uint8_t lost[HEALTH_N_PATHS];
	uint8_t offers[32];  /* a bit for each TCP option kind of its Supported TLV ... */
	uint8_t refuses[32]; /* ... and of its errors 33 */
	uint8_t convert_cookie[HEALTH_COOKIE_MAX];
	uint8_t stripped; /* the last SYN data was not acknowledged by the SYN+ACK (PROTOCOL 4.5) */
	uint8_t takes_options; /* it has answered a Connect TLV with options in it as one */
	uint8_t asked;	       /* alone_until_ms is what it has asked for itself (P-29) */
	uint8_t mute; /* what has failed was a Connect TLV, of one that answers Info (D13) */
	uint8_t unused[6];
};

enum health_event_kind {
	HEALTH_ANSWERED, /* it works, whatever it said of the server; rtt_us, 0: not measured */
	HEALTH_FAILED,	 /* it does not, or asks for patience: started_ms, delay_s, retry_ms */
	HEALTH_SPEAKS,	 /* dialect: there was evidence (PROTOCOL 6) */
	HEALTH_OFFERS,	 /* bytes: the kinds of its Supported TLV; it refuses none of them now */
	HEALTH_REFUSES,	 /* bytes: the kinds of an error 33 */
	HEALTH_COOKIE,	 /* bytes: the Convert cookie that it wants, none to forget it */
	HEALTH_WAY,	 /* path, way */
	HEALTH_SEEN,	 /* all that is known was found to be so today, by the helper */
	HEALTH_TAKES,	 /* it has answered a Connect TLV with options */
	HEALTH_PROBED,	 /* for health_ask(): somebody tries it, for probe_ms */
	HEALTH_UNPROBED, /* that attempt has ended without an answer to the question: another may */
};

#define HEALTH_NO_DELAY (-1)

struct health_event {
	enum health_event_kind kind;
	int64_t started_ms; /* when the attempt began that has failed, or been answered, now */
	int delay_s;	    /* of errors 64 to 95; 0: not said; HEALTH_NO_DELAY: another failure */
	unsigned int retry_ms; /* `retry` of the configuration */
	unsigned int probe_ms;
	uint32_t rtt_us;
	enum cvt_dialect dialect;
	enum health_path path;
	enum health_way way; /* HEALTH_LOSES: this once; HEALTH_PASSES: no less is known by it */
	bool again;    /* with HEALTH_PROBED: although it is left alone (health_may_again()) */
	bool stripped; /* with HEALTH_LOSES of SYN data: a SYN+ACK has come that left it out */
	bool info; /* HEALTH_ANSWERED: to Info alone; HEALTH_FAILED: a Connect, though it answers that */
	struct cvt_span bytes;
};

/* ------------------------------------------------------------------------------ pure */

/* Returns whether h has changed so much that others should know. An attempt that began before the
 * last failure tells nothing new by failing too: a hundred connections that time out together
 * are one failure. Nor does its answer end a patience that was asked for, nor one to Info a failure that Info
 * says nothing of. */
bool health_apply(struct health *h, const struct health_event *e, int64_t now_ms);
/* Forgets what is too old, and what only a clock that was set back can explain. */
void health_age(struct health *h, int64_t now_ms);
/* False: no record has such values. */
bool health_is_sane(const struct health *h);

/* Of the time that is left for a conversion what a converter has of it if n others may follow it: as
 * much as each of them, but three round trips to it at least. rtt_us: 0 is unknown. */
int64_t health_share_ns(int64_t left_ns, unsigned int n, uint32_t rtt_us);

/* What an error asks for, in seconds, as health_event has it: those of the converter's class. One byte, or big-endian over
 * all of the value (PROTOCOL 2). */
int health_delay_s(uint8_t code, struct cvt_span value);

enum health_advice {
	HEALTH_USE,
	HEALTH_PROBE, /* it was failing; you are the one that tries */
	HEALTH_LEAVE,
};

enum health_advice health_advise(const struct health *h, int64_t now_ms);
/* Where no other is usable: has it had its first second, and has not asked for patience itself (P-29)? */
bool health_may_again(const struct health *h, int64_t now_ms);
static inline bool health_has_kind(const uint8_t kinds[static 32], uint8_t kind)
{
	return kinds[kind / 8] & 1U << kind % 8;
}

/* May this option stand in a Connect TLV? Yes, unless it was refused or something else was
 * offered. */
bool health_may_send(const struct health *h, uint8_t kind);

/* The network by which a packet leaves: interface and source address, of IPv6 its /64. Never 0. */
uint64_t health_network(const struct pol_route *route);

/* ------------------------------------------------------------------------------ blame */

/*
 * Whose fault is it that no reply has come in time?
 *
 * A converter reports the server's silence by its own, so a server that drops packets and a converter
 * that is dead look alike to whoever only waits. What is known besides decides, and what speaks against
 * somebody else is not told of the converter. What nobody can tell is: it costs it one limit.
 *
 * What cannot be told apart by looking: a converter in user space that has stopped behind a kernel that
 * still answers; and one that holds its SYN+ACK until the server has answered, as the draft has it,
 * from one that is gone. Then BLAME_UNCLEAR, and the converter is asked something that it answers
 * without a server: an Info TLV. What answers that and no Connect TLV (its own way to the servers is
 * cut) is found out by the direct connection that follows, if that finds the server well.
 *
 * Pure: facts in, verdict out.
 */

/* Of an attempt to get a reply. */
struct blame_facts {
	bool has_syn_ack; /* the connection to the converter is established */
	bool has_sent;	  /* the whole Convert message is the kernel's, if only in its SYN ... */
	bool has_ack;	  /* ... and nothing of it is unacknowledged */
	bool has_begun;	  /* some of the reply has come */
	bool is_alive;	  /* it has answered others since: has spoken of another server, say */
	bool was_asked;	  /* an Info TLV, and has not answered that either */
};

enum blame {
	BLAME_NOBODY,	 /* we have not asked; or only this connection's packets are lost */
	BLAME_SERVER,	 /* the converter is there and has the message */
	BLAME_CONVERTER, /* it has the message and does nothing about it */
	BLAME_PATH,	 /* nothing comes from there: nobody can tell from here what is broken */
	BLAME_UNCLEAR,	 /* the server's or the converter's */
};

enum blame blame(const struct blame_facts *f);
/* Does it count as a failure of the converter? */
bool blame_counts(enum blame b);
/* For the log: "no reply in time, by the server's silence". */
const char *blame_text(enum blame b);

/* --------------------------------------------------------------- the table and the file */

/* Fills in key for a converter's address, by the route to it. Asks only once in HEALTH_ROUTE_MS. */
void health_where(const struct addr *converter, pol_route_fn *route, int64_t now_ms,
		  struct health_key *key);
/* The same, and asks now. */
void health_where_now(const struct addr *converter, pol_route_fn *route, int64_t now_ms,
		      struct health_key *key);
/* What is known; all zero if that is nothing. */
void health_find(const struct health_key *key, int64_t now_ms, struct health *h);
/* May it be used? HEALTH_PROBE is the answer to one process and one connection only, until that
 * reports or probe_ms have gone by. again: also if it is left alone, as far as health_may_again(). */
enum health_advice health_ask(const struct health_key *key, int64_t now_ms, unsigned int probe_ms,
			      bool again);
/* Costs system calls only if it is news. */
void health_report(const struct health_key *key, const struct health_event *e, int64_t now_ms);

typedef void health_each_fn(const struct health_key *key, const struct health *h, void *arg);
void health_each(int64_t now_ms, health_each_fn *each, void *arg);
void health_clear_table(void);
void health_in_child(void);

#endif

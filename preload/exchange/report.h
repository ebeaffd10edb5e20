/* SPDX-License-Identifier: MIT */
/*
 * report.h - what an exchange has to tell: to health.h, servers.h, counts.h and the log.
 *
 * Collected while somebody has the turn at the exchange, and told afterwards: files are written, and a
 * log may be slow, where nobody waits for the exchange's lock. Small, as it lives on somebody's stack.
 */
#ifndef CVT_REPORT_H
#define CVT_REPORT_H

#include "servers.h"
#include "exchange.h"

#define REPORT_EVENTS 9
#define REPORT_LINES  4

/* What a message holds, without what is secret. */
struct report_tlvs {
	bool info, connect, header, supported, error;
	uint8_t code, unknown, n_options, n_kinds;
	uint8_t options[8], kinds[8]; /* of Connect or the Extended TCP Header; supported */
	uint16_t cookie_len;
};

struct report {
	/* of whom */
	uint32_t converter; /* converters_at() */
	struct health_key health;
	struct addr server;
	int64_t started_ns, started_ms;
	int fd;		      /* the socket, or -1 */
	const char *protocol; /* of the connection that it has made, or NULL */
	int rtt_us;	      /* of its handshake with the converter, -1: unknown */
	bool lost_syn_data;   /* and the message was in it */
	struct report_tlvs sent, received;
	/* struct health_event, in short */
	uint8_t n_events, n_lines;
	struct report_event {
		uint8_t kind, what, way, stripped;
		int32_t number;
	} events[REPORT_EVENTS];
	struct report_line {
		const char *why, *reason, *error;
		int us;
		uint8_t level, event;
		uint8_t dialect;
		bool in_syn;
		struct addr local; /* port 0: none */
	} lines[REPORT_LINES];
	bool converted, failed; /* counted */
	bool learned, mptcp;	/* of the server */
	uint8_t tfo_cookie_len, tfo_cookie[SERVERS_COOKIE_MAX];
	uint8_t unclear; /* a bit for each of u->left that has failed too, as it turns out */
};

void report_begin(struct report *r, const struct exchange *u, int fd);
/* Tells all of it, and begins anew. */
void report_tell(struct report *r, const struct exchange *u);

/* What a whole reply shows of the converter's dialect, to Info as well. */
void report_dialect(struct report *r, struct exchange *u, const struct hs_result *result);
/* A whole reply has come to the message, whatever it says. */
void report_replied(struct report *r, struct exchange *u, const struct hs_result *result);
/* The converter has answered an Info TLV: it is there. */
void report_alive(struct report *r, const struct exchange *u);
/* Has it answered anybody in this process since then? */
bool report_is_alive(const struct exchange *u, int64_t since_ns);
/* When somebody in this process last asked it whether it is there; INT64_MIN: never. */
int64_t report_asked_ns(const struct exchange *u);
/* Nobody has since then, and this one does: true for one only. */
bool report_may_ask(const struct exchange *u, int64_t since_ns);
/* Who did is closed before there could be an answer. */
void report_not_asked(const struct exchange *u);
/* It does not take the Convert cookie that it has given. */
void report_refused_cookie(struct report *r);
/* It has made the connection of fd. */
void report_connected(struct report *r, struct exchange *u, int fd);
/* An incoming one is the program's. */
void report_accepted(struct report *r, struct exchange *u);
/* The exchange has failed, by the converter's fault. result: its reply, or NULL and the errno. */
void report_failed(struct report *r, const struct exchange *u, const struct hs_result *result,
		   int err);
/* The attempt has told nothing of the converter: if health_ask() is waiting for it, another may try. */
void report_nothing(struct report *r, struct exchange *u);
/* The same at once, for an exchange that ends outside any turn. */
void report_abandoned(struct exchange *u);
/* At once: the server that was silent behind the converter has answered a direct connection. */
void report_well_without(struct exchange *u);
/* lines.c: a line for the log: "EVENT server via converter after n ms: WHY, ERR". why: lives for ever. */
void report_line(struct report *r, const struct exchange *u, enum log_level level,
		 enum log_event event, const char *why, int err);
/* The log's debug level: the message has been given to the kernel; a reply is there. */
void report_sent(struct report *r, const struct exchange *u);
void report_received(struct report *r, const struct exchange *u, const struct hs_result *result);
void report_tell_lines(const struct report *r);

#endif

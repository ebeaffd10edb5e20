/* SPDX-License-Identifier: MIT */
/*
 * converter.h - what the converter is made of, file by file, but for a client's connection and the ports that
 * connections come to (conn.h).
 */
#ifndef LAB_CONVERTER_H
#define LAB_CONVERTER_H

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "addr.h"
#include "wire.h"

/* ----------------------------------------------------------------------- log.c */
/*
 * One line per event, "t=SECONDS ev=NAME key=value ..."; the keys are in --help.
 *
 * Promises: a line is written whole; a value never holds a space unless it is in quotes.
 * Never: writes cookies, keys or option values (F-14).
 */

/* path: a file to append to, or "stderr". */
int log_open(const char *path, bool verbose);
void log_close(void);
__attribute__((format(printf, 2, 3))) void log_event(const char *name, const char *fmt, ...);
/* Only with -v. */
__attribute__((format(printf, 2, 3))) void log_detail(const char *name, const char *fmt, ...);

/* ---------------------------------------------------------------------- loop.c */
/*
 * One epoll set, one heap of timers, one thread.
 *
 * Promises: level-triggered readiness; timers in milliseconds of CLOCK_MONOTONIC; a watch or
 * timer may be taken away inside any callback, but its memory must live until the batch is
 * over (loop_run calls `after_batch` then: free there).
 * Never: sleeps, allocates after loop_init, or knows what a connection is.
 */

struct loop_watch {
	int fd;
	uint32_t events;
	bool added;
	void (*ready)(struct loop_watch *w, uint32_t events);
};

struct loop_timer {
	uint64_t due_ms;
	size_t slot; /* place in the heap, from 1; 0: not armed */
	void (*fire)(struct loop_timer *t);
};

/* max_timers: how many timers can be armed at once. */
int loop_init(size_t max_timers);
void loop_end(void);
/* Runs until loop_stop(). */
int loop_run(void (*after_batch)(void));
void loop_stop(void);
uint64_t loop_now_ms(void);

/* Adds the watch or changes its mask. EPOLLERR and EPOLLHUP come in any case. */
int loop_watch(struct loop_watch *w, uint32_t events);
void loop_unwatch(struct loop_watch *w);
/* Arms the timer, or moves it if it was armed. */
void loop_arm(struct loop_timer *t, uint64_t in_ms);
void loop_disarm(struct loop_timer *t);

#define LOOP_OWNER(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* --------------------------------------------------------------------- sockets */
/* What the kernel knows and the C library's headers may not. */

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif
#ifndef TCP_FASTOPEN_NO_COOKIE
#define TCP_FASTOPEN_NO_COOKIE 34
#endif
#ifndef TCP_IS_MPTCP
#define TCP_IS_MPTCP 43
#endif
#ifndef TCPI_OPT_SYN_DATA
#define TCPI_OPT_SYN_DATA 32
#endif

static inline int sockopt_set(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value));
}

/* The option's value, or -1. */
static inline int sockopt_get(int fd, int level, int name)
{
	socklen_t len = sizeof(int);
	int value = -1;

	return getsockopt(fd, level, name, &value, &len) < 0 ? -1 : value;
}

/* Closed with a RST. */
static inline void sockopt_linger_rst(int fd)
{
	struct linger l = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
}

static inline bool sockopt_had_syn_data(int fd)
{
	struct tcp_info ti = { 0 };
	socklen_t len = sizeof(ti);

	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &ti, &len) == 0 &&
	       (ti.tcpi_options & TCPI_OPT_SYN_DATA);
}

/* --------------------------------------------------------------------- fault.c */
/*
 * What goes wrong with the reply on purpose.
 *
 * Promises: only parses; conn_reply.c and others do what it says.
 */

enum fault_end {
	FAULT_END_NONE, /* the reply is followed by what the protocol says */
	FAULT_END_FIN,
	FAULT_END_RST,
};

struct fault {
	bool active;
	bool silence;	       /* the reply never comes */
	bool random;	       /* each connection draws one for itself */
	bool keep_syn;	       /* a held SYN is held for ever */
	bool unread;	       /* FIN as soon as it is accepted */
	bool eager;	       /* the reply is not kept until the third ACK (LINUX-FACTS 2b.3) */
	size_t split;	       /* bytes per piece; 0: all at once */
	unsigned int gap_ms;   /* between pieces */
	unsigned int delay_ms; /* before the first byte */
	unsigned int late_ms;  /* before the request is looked at, as on a long way to here */
	bool has_error;	       /* an Error TLV in place of the reply */
	uint8_t error;
	uint8_t bytes[CVT_MSG_MAX]; /* the Error's value, or the raw reply */
	size_t n_bytes;
	bool raw, raw_relay; /* `bytes` in place of the reply; raw_relay: and go on */
	bool has_cut;	     /* only the first `cut` bytes of the reply are sent */
	size_t cut;
	enum fault_end end;  /* after the bytes above, or at once if there are none */
	uint64_t drop_after; /* bytes of server data, then RST; 0: never */
};

/* Another fault for each call, often none, out of those that are always the converter's. */
void fault_draw(struct fault *f, unsigned int *seed);
/* Adds "name[=value][,name=value...]" to the fault. -EINVAL: unknown or senseless. */
int fault_parse(struct fault *f, const char *spec);

/* ------------------------------------------------------------------- options.c */
/*
 * The command line of lab-converter.
 *
 * Promises: after options_parse() returned 0 everything is consistent and in its units.
 * Never: opens, resolves or changes anything.
 */

#define OPT_LISTEN_MAX	 16
#define OPT_PREFIX_MAX	 64
#define OPT_KINDS_MAX	 64
#define OPT_COOKIE_MAX	 992 /* bytes: what fits beside a Connect TLV (PROTOCOL 1.4) */
#define OPT_PORT	 5124
#define OPT_PCP_MAPPINGS 64

enum opt_fast_open { FAST_OPEN_NO_COOKIE, FAST_OPEN_COOKIE, FAST_OPEN_OFF };
enum opt_wrong_word { WRONG_WORD_ERROR, WRONG_WORD_RESET, WRONG_WORD_SILENCE };
enum opt_ext_header { EXT_HEADER_REQUIRED, EXT_HEADER_ALWAYS, EXT_HEADER_NEVER };
/* What a converter says to a message that it does not serve. */
enum opt_answer { ANSWER_SERVE, ANSWER_ERROR1, ANSWER_ERROR2, ANSWER_CLOSE, ANSWER_SILENCE };
enum opt_cookie_mode {
	COOKIE_NONE,
	COOKIE_PROVISIONED, /* --cookie alone: an absent one is not handed out */
	COOKIE_REQUIRED,    /* an absent one is answered with Missing Cookie (S-12) */
};

struct options {
	struct addr listen[OPT_LISTEN_MAX];
	size_t listens;
	struct addr_prefix allow[OPT_PREFIX_MAX], deny_to[OPT_PREFIX_MAX];
	size_t allows, denies;
	struct {
		struct addr external, client;
	} incoming[OPT_LISTEN_MAX];
	size_t n_incoming;
	struct {
		bool on, quiet;
		struct addr external[2]; /* IPv4, IPv6; :: or 0.0.0.0: none */
		unsigned int port, version, epoch_s, least_s, most_s, quota, drop;
		unsigned int result, error_s; /* 0: as it comes */
	} pcp;
	bool allow_loopback, lenient, draft_rst, mptcp, mptcp_down, verbose;
	enum opt_wrong_word wrong_word;
	enum cvt_dialect dialect;
	uint8_t supported_type;
	uint8_t kinds[OPT_KINDS_MAX];
	size_t n_kinds;
	enum opt_fast_open fast_open;
	enum opt_ext_header ext_header;
	enum opt_cookie_mode cookie_mode;
	uint8_t cookie[OPT_COOKIE_MAX]; /* with --cookie */
	size_t cookie_len;		/* a multiple of 4; 0: computed per client */
	unsigned int cookie_at;		/* the only place of its TLV in a message; 0: any */
	enum opt_answer info, extended; /* to an Info TLV; to a Connect with TCP options */
	unsigned int max_connections;
	unsigned int max_pending,
		max_errors;	  /* per client address, while no answer was sent (S-15) */
	unsigned int retry_after; /* seconds, 0..255; 0: the client's default */
	unsigned int request_timeout_ms, connect_timeout_ms, idle_timeout_s;
	bool hold, hold_error_tlv, no_capture;
	unsigned int hold_queue; /* NFQUEUE number */
	int ready_fd;
	const char *ready_file, *pid_file, *log;
	struct fault fault;
};

/* 0: go on. 1: --help was printed. -EINVAL: said on stderr what, where, and what is expected. */
int options_parse(struct options *o, int argc, char **argv);

/* ------------------------------------------------------------------- segment.c */
/*
 * One TCP segment in an IPv4 or IPv6 packet.
 *
 * Promises: pure; every length is tested before it is used. Fragments and IPv6 extension headers
 * are not understood: no SYN has them.
 */

struct segment {
	struct addr from, to;
	uint32_t seq;
	uint8_t flags; /* byte 13 of the TCP header */
	struct cvt_span opts, payload;
};

#define SEGMENT_SYN 0x02
#define SEGMENT_ACK 0x10

/* False: not a TCP segment, or cut short. */
bool segment_parse(struct segment *s, struct cvt_span packet);

#define SEGMENT_RST_MAX (20 + CVT_MSG_MAX)
/* The TCP header and payload of a RST from `from` to `to` that acknowledges everything before
 * `ack`. Returns its length. */
size_t segment_build_rst(uint8_t out[static SEGMENT_RST_MAX], const struct addr *from,
			 const struct addr *to, uint32_t ack, struct cvt_span payload);

/* ------------------------------------------------------------------- capture.c */
/*
 * The options of servers' SYN+ACKs, as they were on the wire (S-09).
 *
 * Promises: needs CAP_NET_RAW; without it, or if a segment was missed, capture_find() says false
 * and the caller rebuilds what it can. The kernel queues a SYN+ACK here before it tells the
 * connecting socket (LINUX-FACTS 7.3).
 */

int capture_open(void);
void capture_close(void);
/* Takes the options out: a port pair may be used again. */
bool capture_find(const struct addr *own, const struct addr *server,
		  uint8_t opts[static CVT_SYN_OPTS_MAX], size_t *len);

/* ---------------------------------------------------------------------- hold.c */
/*
 * Clients' SYNs in NFQUEUE (LINUX-FACTS 7.4), for --hold.
 *
 * Promises: installs its own rules in the namespace it runs in and takes them away again; a SYN
 * without data passes at once.
 * Never: knows what a Convert message is.
 */

struct hold_ticket { /* one waiting SYN */
	uint32_t packet_id, seq;
	uint32_t payload_len;
};

/* False: nothing in it is worth holding it. True: one of hold_accept, hold_refuse and hold_drop is
 * called for this ticket, perhaps at once. */
typedef bool hold_syn_fn(const struct hold_ticket *ticket, const struct addr *client,
			 const struct addr *local, struct cvt_span payload);

/* -errno, after a line on stderr. */
int hold_open(const struct options *o, hold_syn_fn *on_syn);
void hold_close(void);

void hold_accept(const struct hold_ticket *t);
void hold_drop(const struct hold_ticket *t);
/* Drops the SYN and answers it with a RST that carries `payload`, which may be empty. */
void hold_refuse(const struct hold_ticket *t, const struct addr *client, const struct addr *local,
		 struct cvt_span payload);

/* -------------------------------------------------------------------- cookie.c */
/*
 * The cookie that proves that a client can receive at its address (S-12).
 *
 * Promises: the same client gets the same cookie for the life of the process, and nobody can
 * tell another one's: it is SipHash-2-4 of the address under a random key.
 * Never: keeps anything per client.
 */

#define COOKIE_LEN 8 /* bytes: two words on the wire */

/* Draws the key. -errno of getrandom. */
int cookie_init(void);
void cookie_compute(const uint8_t ip[static 16], uint8_t cookie[static COOKIE_LEN]);
/* Takes the same time wherever the difference is. */
bool cookie_equal(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len);

/* ------------------------------------------------------------------- request.c */
/*
 * From the client's first bytes to what is to be done, or to the Error that says
 * why not (PROTOCOL section 2, S-01, S-03, S-05, S-08, S-11..S-13, S-18).
 *
 * Promises: pure, but for the key of the computed cookies; says exactly how many bytes are
 * wanted next, so that user data behind the message stays in the socket (S-20).
 * Never: does I/O or allocates.
 */

struct request {
	uint8_t bytes[CVT_MSG_MAX];
	size_t have, need; /* need: 4, then the message's length */
	struct cvt_msg msg;
	struct addr target; /* of the Connect TLV */
};

/* An Error TLV to be. */
struct failure {
	enum cvt_err code;
	uint8_t value[OPT_COOKIE_MAX + 1];
	size_t n;
	bool echo;	 /* the value is the client's own message */
	int icmp_type;	 /* behind code 97, for the log; -1: none seen */
	const char *why; /* for the log */
};

enum request_verdict {
	REQUEST_MORE,	 /* need - have bytes are missing */
	REQUEST_RESET,	 /* no answer but RST: Total Length 0 (S-01), or the client's Error */
	REQUEST_IGNORED, /* no answer at all; f->why */
	REQUEST_CLOSED,	 /* no answer but FIN; f->why */
	REQUEST_FAILED,	 /* *f is the Error TLV */
	REQUEST_INFO,	 /* only asks what is supported */
	REQUEST_CONNECT,
};

void request_begin(struct request *r);
/* To be called when have == need, and with `eof` when the client's bytes ended before. */
enum request_verdict request_judge(struct request *r, const struct options *o,
				   const struct addr *client, const struct addr *local, bool eof,
				   struct failure *f);
/* Would it be the converter, if it is this host? The addresses of a wildcard --listen are not known here. */
bool request_is_own_port(const struct addr *target, const struct options *o);
/* Is it in an --allow? */
bool request_is_client(const struct addr *client, const struct options *o);
void failure_set(struct failure *f, enum cvt_err code, const char *why);
/* Does the Connect TLV hold this option kind? *value, if wanted, is its content. */
bool request_has_opt(const struct request *r, uint8_t kind, struct cvt_span *value);

#endif

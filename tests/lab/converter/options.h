/* SPDX-License-Identifier: MIT */
/*
 * options.h - the command line of lab-converter.
 *
 * Promises: after options_parse() returned 0 everything is consistent and in its units.
 * Never: opens, resolves or changes anything.
 */
#ifndef LAB_OPTIONS_H
#define LAB_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "fault.h"
#include "wire.h"

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

#endif

/* SPDX-License-Identifier: MIT */
/*
 * judge.h - what facts mean: findings, with what mends them.
 *
 * Promises: pure functions; all that they know is in their arguments.
 */
#ifndef CVT_JUDGE_H
#define CVT_JUDGE_H

#include "finding.h"
#include "handshake.h"
#include "host.h"
#include "probe.h"
#include "request.h"

/* As commands want an address: without port and brackets. */
void judge_ip(const struct addr *a, char text[static ADDR_TEXT_MAX]);

void judge_host(struct findings *f, const struct host *h, const struct config *config);
/* A configuration without mistakes. */
void judge_config(struct findings *f, const struct config *config, const struct host_written *state,
		  const struct host_written *log);
/* Of that: is it in force, and does it name a converter? */
void judge_converters(struct findings *f, const struct config *config);
/* Of that: what is there twice, or never comes into play. */
void judge_in_vain(struct findings *f, const struct config *config);
/* Its two files. */
void judge_state(struct findings *f, const struct host_written *w);
void judge_log(struct findings *f, const struct host_written *w);

/* One address of a converter. */
struct judge_converter {
	const struct config *config;
	const struct config_converter *converter;
	const struct addr *to;
	bool has_route, is_at_home; /* else it was not asked */
	struct pol_route route;
	unsigned int timeout_ms;
	struct probe probe;  /* as programs would meet it */
	enum multipath gain; /* of a socket that is not bound */
	bool has_plain, has_auto, has_again;
	struct probe plain;	/* without MPTCP, if that did not get an answer by MPTCP */
	struct probe automatic; /* with dialect = auto, if no answer came in the dialect given */
	struct probe again;	/* the same once more, if no Fast Open cookie came */
	bool converts;		/* whatever it says to Info: the request has come through it */
	bool is_open;		/* probe_is_open() */
	bool is_known_to_lose;	/* data in SYNs, and so programs send none */
	int64_t left_alone_ms;	/* for so long programs will not use it yet */
	bool asked;		/* ... as it has asked for that itself */
	bool mute;		/* ... as it has answered no Connect, though it answers Info */
};

void judge_converter(struct findings *f, const struct judge_converter *j);

/* A port of this host at a PCP server. */
struct judge_mapping {
	struct addr server, external;
	uint16_t port;
	int result, err; /* as in struct mapping, mappings_server */
	int64_t lifetime_s;
	bool is_kept; /* a process is there that renews it */
};

void judge_mapping(struct findings *f, const struct judge_mapping *j);
/* So many are not mapped. */
void judge_mapping_ports(struct findings *f, size_t n, size_t most);

/* The same request directly, and by way of the library. */
void judge_requests(struct findings *f, const struct request *direct,
		    const struct request *converted);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * mappings.h - the mappings that this host has at PCP servers: each port at each server, kept for as long as
 * the process lives.
 *
 * Promises: nothing waits; one descriptor tells when there is something to read. Answers count that come
 * from the server's own address and port, at the address that asked. A server beyond `from` and
 * `interface` is not asked (F-01). Who has been told by one answer that a server has forgotten
 * (RFC 6887, 8.5) asks for all that it had there.
 */
#ifndef CVT_MAPPINGS_H
#define CVT_MAPPINGS_H

#include "config.h"
#include "mapping.h"
#include "policy.h"

#define MAPPINGS_LIFETIME_S 3600
#define MAPPINGS_PORTS_MAX  64

struct mappings_server {
	struct addr to;
	const struct config_converter *converter; /* NULL: somebody has named it by itself */
	bool has_route, at_home;
	struct pol_route route;
	int fd; /* -1: there is no way to it */
	struct pcp_epoch epoch;
	int err; /* errno in place of the last answer: ECONNREFUSED, nobody is there */
};

struct mappings;
/* event MAPPING_NOTHING: of the server, there is no answer, or no way to it. */
typedef void mappings_tell_fn(const struct mappings_server *s, const struct mapping *m,
			      enum mapping_event event, void *arg);

struct mappings {
	struct mappings_server *servers;
	struct mapping *all; /* n_ports for each server */
	size_t n_servers, n_ports;
	struct mapping_record *left; /* by others, for whoever has their nonces next */
	size_t n_left;
	int ready;	  /* readable when an answer, or an announcement, has come */
	int announce[2];  /* IPv4, IPv6; -1: cannot be had */
	int lock;	  /* mappings_file.h; -1: none */
	int unwritten;	  /* -errno of the last time that the file was to be written; 0: it is */
	int64_t again_ms; /* ... and when that is tried again, though there is no news */
	bool ends, has_news;
	mappings_tell_fn *tell;
	void *arg;
};

#define MAPPINGS_NONE                                           \
	{                                                       \
		.ready = -1, .announce = { -1, -1 }, .lock = -1 \
	}

struct mappings_wish {
	const struct addr *server; /* NULL: what the configuration says, or the converters */
	const uint16_t *ports;
	size_t n_ports;
	uint32_t lifetime_s;
	mappings_tell_fn *tell; /* NULL: nobody is told */
	void *arg;
};

/* Asks for nothing yet. n_servers 0: there is nobody to ask. 0 or -errno. mappings_close() in any case. */
int mappings_open(struct mappings *m, const struct config *config,
		  const struct mappings_wish *wish);
/* The ports that [incoming] names, of whatever program, at most MAPPINGS_PORTS_MAX of them. Returns how many
 * there are, which a rule without `port` makes 65535. */
size_t mappings_ports(const struct config *config, uint16_t ports[static MAPPINGS_PORTS_MAX]);
/* Takes the nonces of FILE.mappings, and from then on writes it. -errno as mappings_file_lock(). */
int mappings_keep(struct mappings *m);
/* For a look: takes the nonces. What another process keeps is its own: asked for as long as it is there anyhow, so
 * that it ends when that process believes, and not ended by us. */
void mappings_borrow(struct mappings *m);
/* Which way leads to each server, now and whenever the network has changed. */
void mappings_look(struct mappings *m);
/* Reads what has come, asks what is due. Returns for how many ms there is nothing to do. */
int64_t mappings_turn(struct mappings *m);
/* Each has had an answer, or never will. */
bool mappings_are_settled(const struct mappings *m);
/* From now on they end, and are settled when the servers have said so. */
void mappings_end(struct mappings *m);
void mappings_close(struct mappings *m);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * map.h - mappings of this host's ports, by the Port Control Protocol (RFC 6887): one, all of them, what is kept of
 * them in a file, and how they are shown. The verb itself is base.h's map_main().
 */
#ifndef CVT_MAP_H
#define CVT_MAP_H

#include "base.h"
#include "pcp.h"
#include "policy.h"

/* ---- mapping.c: one port's mapping at one PCP server: when it is asked for, and what an answer means.
 *
 * Promises: pure; time and chance are arguments. Requests are repeated as RFC 6887, 8.1.1, says until
 * there is an answer, and mappings renewed as 11.2.1 does: half of the lifetime before it ends, then
 * half of what is left, and never two within four seconds. Who was refused waits as long as the
 * error lasts. A lifetime is believed up to a day, an error's up to half an hour (15). */

#define MAPPING_NO_ANSWER (-1)

/* Moments are milliseconds of a clock that goes on while the host sleeps. */
struct mapping {
	struct addr client; /* with the port that is mapped */
	uint8_t nonce[PCP_NONCE_LEN];
	uint32_t lifetime_s;	      /* that is asked for */
	bool is_anothers;	      /* who keeps it will end it */
	struct addr external;	      /* the last one; port 0: there was none */
	int64_t granted_ms, until_ms; /* until_ms 0: there is no mapping */
	int64_t due_ms;		      /* INT64_MAX: nothing is to be asked */
	int64_t sent_ms, wait_ms;     /* of the last request; 0: none */
	int64_t answered_ms;
	unsigned int renewals; /* asked for since it was granted */
	bool is_unsure;	       /* whether it is there: asked until there is an answer */
	bool ends, has_ended;
	int result;		 /* enum pcp_result of the last answer, or MAPPING_NO_ANSWER */
	unsigned int unanswered; /* requests in a row */
};

enum mapping_event {
	MAPPING_NOTHING,
	MAPPING_MADE,
	MAPPING_RENEWED,
	MAPPING_MOVED, /* renewed, with another external address or port */
	MAPPING_REFUSED,
	MAPPING_LOST, /* its time is over, and nobody has renewed it */
	MAPPING_ENDED,
};

/* From here on, of this address and port; asked for at once. Whose it is, the nonce, the lifetime and,
 * if there was one, the external address stay, which is then asked for again. */
void mapping_begin(struct mapping *m, const struct addr *client, int64_t now_ms);
/* There is no way to the server. */
void mapping_pause(struct mapping *m);
/* The server may have forgotten it; asked within delay_ms, and a second after the last time at the
 * soonest, whatever the server says how often. */
void mapping_hurry(struct mapping *m, int64_t now_ms, int64_t delay_ms);
/* It is to end (15.1). has_ended at once if there is none, or it is another's. */
void mapping_end(struct mapping *m, int64_t now_ms);

/* The request that is due, and when the next one will be. Returns its length. */
size_t mapping_ask(struct mapping *m, int64_t now_ms, uint32_t chance,
		   uint8_t out[static PCP_MAP_LEN + PCP_OPTION_LEN]);
enum mapping_event mapping_answer(struct mapping *m, const struct pcp_response *r, int64_t now_ms,
				  uint32_t chance);
/* To be asked before what is due. */
enum mapping_event mapping_expire(struct mapping *m, int64_t now_ms);
/* The moment for which the last one has to be called. */
int64_t mapping_next_ms(const struct mapping *m);

/* ---- mappings_file.c: what `map` keeps of its mappings beside the state file, in FILE.mappings: for itself,
 * when it is started anew and its mappings are still there, which only their nonces give a say in;
 * and for those who ask how it stands. FILE.map is locked while somebody keeps them.
 *
 * Promises: readers find the old file or the new one, whole; what is another user's is not read. */

struct mapping_record {
	struct addr server, client, external; /* external.port 0: none */
	uint8_t nonce[PCP_NONCE_LEN];
	int64_t until_ms; /* of mappings_now_ms(); 0: there is no mapping */
	int result;	  /* as in struct mapping */
	int err;	  /* errno of the last request, 0 if there was none */
	bool is_left;	  /* by a process that is no more; who writes it does not keep it */
};

/* Goes on while the host sleeps, as a mapping's time does, and nobody sets it. */
int64_t mappings_now_ms(void);
/* From malloc(); what cannot be read is none. Of what was there before the host was started, the time
 * is not known: until_ms is 0. */
struct mapping_record *mappings_file_read(size_t *n);
/* None takes the file away. 0 or -errno, and then the file is what it was. */
int mappings_file_write(const struct mapping_record *all, size_t n);
/* Valid until it is closed. -EBUSY: somebody has it; -ENOENT: there is no state; other -errno. */
int mappings_file_lock(void);
bool mappings_file_is_locked(void);

/* ---- mappings.c: the mappings that this host has at PCP servers: each port at each server, kept for as long as
 * the process lives.
 *
 * Promises: nothing waits; one descriptor tells when there is something to read. Answers count that come
 * from the server's own address and port, at the address that asked. A server beyond `from` and
 * `interface` is not asked (F-01). Who has been told by one answer that a server has forgotten
 * (RFC 6887, 8.5) asks for all that it had there. */

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
	int lock;	  /* mappings_file_lock(); -1: none */
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

/* ---- map_show.c: what becomes of mappings, a line each, for people or as JSON (map.schema.json) */

struct map_show {
	bool as_json;
	bool verbose; /* renewals, too */
	bool is_lost; /* there is no writing it, which has been said */
};

/* A mappings_tell_fn; arg is the struct map_show. */
void map_show(const struct mappings_server *s, const struct mapping *m, enum mapping_event event,
	      void *arg);

/* What the answers of a PCP server mean, for people. */
#define MAP_TEXT_MAX 160

/* "NOT_AUTHORIZED: it does not serve this host, or another process has mapped the port" */
void map_text_result(int result, char text[static MAP_TEXT_MAX]);
/* In place of an answer: an errno, 0 for silence. */
void map_text_no_answer(int err, char text[static MAP_TEXT_MAX]);
/* What mends it. */
const char *map_text_mend(int result);

/* ---- map.c: mappings and what is waited for, as `map` and `run --watch` need them */

/* Of the mappings that were opened; watch_open() comes first. -EBUSY: another process keeps this user's. */
int map_keep_begin(struct mappings *m, struct watch *w);
/* Takes as long as the servers need to say that the mappings have ended, or nobody is there to; some
 * seconds at most. A further signal ends that, too. */
void map_keep_end(struct mappings *m, struct watch *w);

#endif

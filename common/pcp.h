/* SPDX-License-Identifier: MIT */
/*
 * pcp.h - the Port Control Protocol on the wire: MAP and ANNOUNCE of RFC 6887.
 *
 * Promises: pure functions over bytes; every length is tested before it is used; nothing is allocated,
 * and a parsed message keeps no pointer into the caller's bytes.
 * Never: I/O, time, or a decision about what a message means for a mapping.
 *
 * Integers here are in host order. An address is 16 bytes, IPv4 as v4-mapped (RFC 6887, 5), which is
 * addr.h's own shape.
 */
#ifndef CVT_PCP_H
#define CVT_PCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"

#define PCP_VERSION	2
#define PCP_PORT	5351 /* of the server (19.1) */
#define PCP_CLIENT_PORT 5350 /* to which a server announces by multicast */
#define PCP_MESSAGE_MAX 1100 /* bytes (7) */
#define PCP_HEADER_LEN	24
#define PCP_MAP_LEN	(PCP_HEADER_LEN + 36)
#define PCP_OPTION_LEN	4 /* of one without data */
#define PCP_NONCE_LEN	12
#define PCP_TCP		6 /* IANA's protocol numbers */

enum pcp_opcode { PCP_ANNOUNCE = 0, PCP_MAP = 1, PCP_PEER = 2 };

/* 7.4 */
enum pcp_result {
	PCP_SUCCESS = 0,
	PCP_UNSUPP_VERSION = 1,
	PCP_NOT_AUTHORIZED = 2,
	PCP_MALFORMED_REQUEST = 3,
	PCP_UNSUPP_OPCODE = 4,
	PCP_UNSUPP_OPTION = 5,
	PCP_MALFORMED_OPTION = 6,
	PCP_NETWORK_FAILURE = 7,
	PCP_NO_RESOURCES = 8,
	PCP_UNSUPP_PROTOCOL = 9,
	PCP_USER_EX_QUOTA = 10,
	PCP_CANNOT_PROVIDE_EXTERNAL = 11,
	PCP_ADDRESS_MISMATCH = 12,
	PCP_EXCESSIVE_REMOTE_PEERS = 13,
};

/* What MAP says, in both directions (11.1). */
struct pcp_map {
	uint8_t nonce[PCP_NONCE_LEN];
	uint8_t protocol;
	uint16_t internal_port;
	struct addr external; /* suggested, or assigned; all zero of its family: any */
};

struct pcp_request {
	uint8_t opcode;	     /* PCP_MAP, PCP_ANNOUNCE */
	uint32_t lifetime_s; /* 0: the mapping is to end (15) */
	struct addr client;  /* its own idea of its address; no port */
	struct pcp_map map;
	bool prefer_failure; /* rather than another external port (13.2) */
};

struct pcp_response {
	uint8_t version, opcode;
	uint8_t result;	     /* enum pcp_result, or one that is not known here */
	uint32_t lifetime_s; /* of the mapping; with an error, of the error (7.2) */
	uint32_t epoch_s;    /* 8.5 */
	bool has_map;	     /* else it is too short for one, as an error may be */
	struct pcp_map map;
};

/* "Any" in the family of a: what a suggestion says that is none (11.1). */
struct addr pcp_any(const struct addr *a);

/* Returns the length. */
size_t pcp_write_request(uint8_t out[static PCP_MAP_LEN + PCP_OPTION_LEN],
			 const struct pcp_request *q);
/* False: not a response that a client may act on (8.3). One that says no more than UNSUPP_VERSION may
 * be of another version, NAT-PMP's among them (9; appendix A): then only version and result are filled in. */
bool pcp_read_response(struct pcp_response *r, const uint8_t *bytes, size_t len);

/* For servers. -1: to be dropped without an answer (8.2); else what to answer, PCP_SUCCESS if nothing is
 * wrong with it. THIRD_PARTY and FILTER are not supported. */
int pcp_read_request(struct pcp_request *q, const uint8_t *bytes, size_t len);
/* To the request of these bytes, which an error repeats (8.2); of r all but opcode and has_map count, the
 * map only in a success. prefer_failure: it was asked for, and obeyed. Returns the length. */
size_t pcp_write_response(uint8_t out[static PCP_MESSAGE_MAX], const struct pcp_response *r,
			  const uint8_t *request, size_t len, bool prefer_failure);
/* An ANNOUNCE that nobody has asked for (14.1). */
size_t pcp_write_announce(uint8_t out[static PCP_HEADER_LEN], uint32_t epoch_s);

/* "NOT_AUTHORIZED"; NULL for a code that is not known here. */
const char *pcp_result_name(uint8_t result);

/* Whether a server remembers what it said (8.5). */
struct pcp_epoch {
	bool is_known;
	uint32_t server_s;
	int64_t client_s; /* a clock of the client's that never goes back, nor stops while it sleeps */
};
/* False: it has lost its mappings. Of the last answer only what is here is remembered; remember it by
 * pcp_epoch_set(). */
bool pcp_epoch_fits(const struct pcp_epoch *last, uint32_t server_s, int64_t client_s);
void pcp_epoch_set(struct pcp_epoch *last, uint32_t server_s, int64_t client_s);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * mapping.h - one port's mapping at one PCP server: when it is asked for, and what an answer means.
 *
 * Promises: pure; time and chance are arguments. Requests are repeated as RFC 6887, 8.1.1, says until
 * there is an answer, and mappings renewed as 11.2.1 does: half of the lifetime before it ends, then
 * half of what is left, and never two within four seconds. Who was refused waits as long as the
 * error lasts. A lifetime is believed up to a day, an error's up to half an hour (15).
 */
#ifndef CVT_MAPPING_H
#define CVT_MAPPING_H

#include "pcp.h"

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

#endif

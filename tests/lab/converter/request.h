/* SPDX-License-Identifier: MIT */
/*
 * request.h - from the client's first bytes to what is to be done, or to the Error that says
 * why not (PROTOCOL section 2, S-01, S-03, S-05, S-08, S-11..S-13, S-18).
 *
 * Promises: pure, but for the key of the computed cookies; says exactly how many bytes are
 * wanted next, so that user data behind the message stays in the socket (S-20).
 * Never: does I/O or allocates.
 */
#ifndef LAB_REQUEST_H
#define LAB_REQUEST_H

#include "addr.h"
#include "options.h"
#include "wire.h"

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

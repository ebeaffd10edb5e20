/* SPDX-License-Identifier: MIT */
/*
 * handshake.h - the client's side of one Convert exchange, as a pure machine.
 *
 * It says how many bytes to read next: the four of the fixed header, then exactly what the
 * header announces, so not one byte of the server's stream is ever taken (D6). It never
 * does I/O, and any way of cutting the reply into pieces gives the same verdict. The message at the
 * head of an incoming connection is read by the same machine. Beside it stands what a reply shows of the converter's
 * dialect, what an Error TLV is acted on as, and which errno it is for the program.
 */
#ifndef CVT_HANDSHAKE_H
#define CVT_HANDSHAKE_H

#include "wire.h"

/* What the reply, or its absence, means for the connection. */
enum hs_verdict {
	HS_MORE,      /* read hs_want() bytes more */
	HS_CONNECTED, /* the server has accepted */
	HS_SERVER,    /* the server is the reason of the failure: report it */
	HS_CONVERTER, /* the converter is: fall back if the policy says so */
	HS_COOKIE,    /* Missing Cookie: try once more with the cookie in msg (P-27) */
};

struct hs {
	enum cvt_dialect dialect;
	unsigned int accept; /* header words, as cvt_parse_header() has them */
	bool is_incoming;
	uint16_t got;	/* bytes of the reply in buf */
	uint16_t whole; /* bytes that the reply has, as far as known */
	uint8_t buf[CVT_MSG_MAX];
};

struct hs_result {
	enum hs_verdict verdict;
	int err;		/* errno for the program, 0 when connected */
	enum cvt_verdict parse; /* why the reply is no Convert message, or CVT_OK */
	uint8_t error;		/* has_error: as what it is acted on, hs_error_as(msg.error.code) */
	struct cvt_msg msg;	/* its spans point into the machine's buffer */
};

/* any_word: the dialect is not certain, take either header word (dialect = auto). */
void hs_start(struct hs *hs, enum cvt_dialect dialect, bool any_word);
/* The message of an incoming connection: HS_CONNECTED, with a Connect TLV that names a remote host, or
 * HS_CONVERTER. */
void hs_start_incoming(struct hs *hs, enum cvt_dialect dialect, bool any_word);
/* Can these bytes, four at most, be the beginning of such a message? */
bool hs_may_begin(const struct hs *hs, struct cvt_span bytes);
/* How many bytes to read next, into hs_room(); 0 once the reply is whole. */
size_t hs_want(const struct hs *hs);
uint8_t *hs_room(struct hs *hs);
/* n bytes (1..hs_want()) were put into hs_room(). target_v4: the server's address is IPv4,
 * which the ICMP codes of error 97 depend on. Fills r unless the verdict is HS_MORE. */
enum hs_verdict hs_took(struct hs *hs, size_t n, bool target_v4, struct hs_result *r);

/* What in a reply shows the converter's dialect (PROTOCOL 6). */
enum hs_sign {
	HS_SIGN_NONE,	    /* no Convert message */
	HS_SIGN_MAGIC,	    /* header word 0x2263: RFC 8803 */
	HS_SIGN_TYPE_22,    /* Supported TLV as type 22: draft-02 */
	HS_SIGN_DRAFT_ECHO, /* an error's echo begins at byte 3 of the TLV: draft-02 */
	HS_SIGN_RFC_ERROR,  /* zero header word, and an error as only the RFC has them: hybrid */
	HS_SIGN_ZERO_WORD,  /* zero header word and no more: draft-02 or hybrid */
};
enum hs_sign hs_sign(const struct hs_result *r);

/* Does this reply, which is a Convert message, show which dialect the converter speaks (PROTOCOL 6)?
 * spoken: what the request was in. Without evidence a zero header word is the hybrid's, whose
 * Connect has the same bytes as the draft's, unless the draft's was spoken. */
bool hs_evidence(const struct hs_result *r, enum cvt_dialect spoken, enum cvt_dialect *dialect);

/* As what an error is acted on: itself if its code is known, else as its class: CVT_ERR_MALFORMED, CVT_ERR_NOT_AUTHORIZED,
 * CVT_ERR_NETWORK or CVT_ERR_UNREACHABLE, of whose values it has none; itself if it has no class either (PROTOCOL 2). */
uint8_t hs_error_as(uint8_t code);
/* errno for an Error TLV (PROTOCOL 2). value: from byte 3 of the TLV on. */
int hs_errno(uint8_t code, struct cvt_span value, bool target_v4);

#endif

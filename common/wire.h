/* SPDX-License-Identifier: MIT */
/*
 * wire.h - the Convert message on the wire, in all three dialects.
 *
 * Promises: pure functions over bytes; every length is tested before it is used; a parse
 * never allocates, keeps pointers only into the caller's bytes, and reports why it refused.
 * Never: I/O, logging, or a decision about what a message means for a connection (handshake.h).
 *
 * All multi-byte integers on the wire are big-endian; ports and lengths in these
 * structures are in host order, addresses are 16 bytes in network order.
 */
#ifndef CVT_WIRE_H
#define CVT_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum cvt_dialect {
	CVT_DIALECT_RFC8803, /* header word 0x2263, RFC 8803 meaning */
	CVT_DIALECT_DRAFT02, /* header word 0, draft-02 meaning */
	CVT_DIALECT_HYBRID,  /* header word 0, RFC 8803 meaning (drafts 05-16) */
};

#define CVT_VERSION	 1
#define CVT_MAGIC	 0x2263 /* RFC 8803, 4.1: 8803 in decimal */
#define CVT_HEADER_LEN	 4
#define CVT_MSG_MAX	 1020 /* 255 words of 4 bytes */
#define CVT_CONNECT_LEN	 20   /* a Connect TLV without TCP options */
#define CVT_SYN_OPTS_MAX 40

enum cvt_tlv_type {
	CVT_TLV_INFO = 1, /* draft-02: Bootstrap */
	CVT_TLV_CONNECT = 10,
	CVT_TLV_EXT_TCP_HEADER = 20,
	CVT_TLV_SUPPORTED = 21,
	CVT_TLV_COOKIE = 22, /* draft-02, from the converter: Supported, its IANA number */
	CVT_TLV_ERROR = 30,
};

/* RFC 8803, 4.2.8; draft-02, 4.2.6 */
enum cvt_err {
	CVT_ERR_VERSION = 0,
	CVT_ERR_MALFORMED = 1,
	CVT_ERR_UNSUPPORTED = 2,
	CVT_ERR_MISSING_COOKIE = 3,
	CVT_ERR_NOT_AUTHORIZED = 32,
	CVT_ERR_TCP_OPTION = 33,
	CVT_ERR_RESOURCE = 64,
	CVT_ERR_NETWORK = 65,
	CVT_ERR_RESET = 96,
	CVT_ERR_UNREACHABLE = 97,
};

/* The option kinds that this project talks about. */
enum cvt_tcp_option {
	CVT_OPT_END = 0,
	CVT_OPT_NOP = 1,
	CVT_OPT_MPTCP = 30,
	CVT_OPT_FAST_OPEN = 34,
};

struct cvt_span { /* bytes inside somebody else's buffer */
	const uint8_t *p;
	size_t len;
};

/* A message being written. Errors are sticky: after one of the put functions has refused,
 * cvt_finish() refuses too, so callers check once. */
struct cvt_writer {
	uint8_t bytes[CVT_MSG_MAX];
	size_t len;
	enum cvt_dialect dialect;
	uint32_t seen[8]; /* one bit per TLV type already written (P-09) */
	int err;	  /* the first refusal: -EMSGSIZE or -EINVAL */
};

void cvt_begin(struct cvt_writer *w, enum cvt_dialect dialect);
void cvt_put_info(struct cvt_writer *w);
/* One word, its value zero; of a type of its own, to see what a receiver says to it. */
void cvt_put_unknown(struct cvt_writer *w, uint8_t type);
/* addr: IPv6, or IPv4 as v4-mapped (P-18). opts: TCP options, padded here to a word. */
void cvt_put_connect(struct cvt_writer *w, const uint8_t addr[16], uint16_t port,
		     struct cvt_span opts);
/* The TLVs whose value is two unassigned zero bytes and then a list: CVT_TLV_EXT_TCP_HEADER, CVT_TLV_COOKIE, and
 * CVT_TLV_SUPPORTED, which for draft-02 may be CVT_TLV_COOKIE, too (its other reading, PROTOCOL 1.3). Padded with
 * zero bytes to a word, as the wire has no byte-exact length (PROTOCOL 1.4). */
void cvt_put_list(struct cvt_writer *w, uint8_t type, struct cvt_span list);
/* A cookie of len zero bytes; returns where they are, to be written over. NULL: refused. */
uint8_t *cvt_put_cookie_room(struct cvt_writer *w, size_t len);
void cvt_put_error(struct cvt_writer *w, enum cvt_err code, struct cvt_span value);
/* An Error that echoes the offending message: where it starts depends on the dialect.
 * A message too long to be echoed whole is truncated. */
void cvt_put_error_echo(struct cvt_writer *w, enum cvt_err code, struct cvt_span message);
/* Fills in the Total Length. Returns the message's length in bytes, or the first refusal:
 * -EMSGSIZE (too long) or -EINVAL (a TLV type twice). */
int cvt_finish(struct cvt_writer *w);

enum cvt_verdict {
	CVT_OK,
	CVT_TRUNCATED,		 /* fewer bytes than Total Length says */
	CVT_BAD_VERSION,	 /* not version 1 (P-02, P-13) */
	CVT_BAD_MAGIC,		 /* bytes 2-3 are not what the dialect has (P-03) */
	CVT_BAD_TOTAL_LENGTH,	 /* Total Length 0 (P-04) */
	CVT_TLV_ZERO_LENGTH,	 /* a TLV of Length 0 (PROTOCOL 1.2) */
	CVT_TLV_OVERRUN,	 /* a TLV crosses the end of the message (P-05) */
	CVT_TLV_BAD_LENGTH,	 /* a Length that this type cannot have */
	CVT_TLV_TYPE_ZERO,	 /* type 0 (P-11) */
	CVT_TLV_DUPLICATE,	 /* the same type twice (P-10) */
	CVT_TLV_WRONG_DIRECTION, /* a known type that this side never sends */
	CVT_TLV_UNKNOWN,	 /* an unknown type where it may not be skipped */
};

/* CVT_INCOMING: from the converter, at the head of a remote host's connection to a client (P-35). */
enum cvt_direction { CVT_TO_CONVERTER, CVT_TO_CLIENT, CVT_INCOMING };

enum cvt_header_word { CVT_WORD_ZERO, CVT_WORD_MAGIC };

struct cvt_header {
	enum cvt_header_word word;
	size_t len; /* of the whole message in bytes, 4..1020 */
};

/* A parsed message. A span's p is NULL when that TLV was not there. */
struct cvt_msg {
	struct cvt_header header;
	bool has_info, has_connect, has_error;
	struct {
		uint8_t addr[16];
		uint16_t port;
		struct cvt_span opts;
	} connect;
	struct cvt_span ext_tcp_header; /* TCP options of the server's SYN+ACK */
	struct cvt_span supported;	/* option kinds, zero bytes are padding */
	bool supported_as_22;		/* the Supported TLV came as type 22: surely draft-02 */
	struct cvt_span convert_cookie; /* from the Cookie TLV */
	struct {
		uint8_t code;
		struct cvt_span value; /* from byte 3 of the TLV on, padding included */
	} error;
	uint8_t unknown_type; /* the last one skipped or refused, 0 if none */
};

/* The first four bytes of either direction. accept: bit (1 << enum cvt_header_word) for each
 * header word that the caller can take. */
enum cvt_verdict cvt_parse_header(struct cvt_header *h, const uint8_t bytes[static CVT_HEADER_LEN],
				  unsigned int accept);
/* bytes..len must hold one whole message; more bytes than Total Length says are not looked at. */
enum cvt_verdict cvt_parse(struct cvt_msg *m, struct cvt_span bytes, enum cvt_dialect dialect,
			   enum cvt_direction direction);

/* Walks TCP options (kind 0 ends the list, kind 1 is one byte long). Start with *pos = 0.
 * Returns false at the end or at an option that does not fit, which ends every walk. */
struct cvt_opt {
	uint8_t kind;
	struct cvt_span value; /* without kind and length */
};
bool cvt_next_opt(struct cvt_span opts, size_t *pos, struct cvt_opt *opt);
/* Did the server's SYN+ACK carry MP_CAPABLE: kind 30, subtype 0 (RFC 8684, 3.1)? Not of version 0, as Linux does
 * not speak that. */
bool cvt_has_mp_capable(struct cvt_span opts);

const char *cvt_verdict_name(enum cvt_verdict v);
const char *cvt_err_name(uint8_t code);
/* As the configuration has it. */
const char *cvt_dialect_name(enum cvt_dialect dialect);

#endif

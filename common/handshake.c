// SPDX-License-Identifier: MIT
#include "handshake.h"

#include "addr.h"

#include <errno.h>
#include <string.h>

void hs_start(struct hs *hs, enum cvt_dialect dialect, bool any_word)
{
	hs->dialect = dialect;
	hs->accept = 1U << (dialect == CVT_DIALECT_RFC8803 ? CVT_WORD_MAGIC : CVT_WORD_ZERO);
	if (any_word)
		hs->accept = 1U << CVT_WORD_MAGIC | 1U << CVT_WORD_ZERO;
	hs->is_incoming = false;
	hs->got = 0;
	hs->whole = CVT_HEADER_LEN;
}

void hs_start_incoming(struct hs *hs, enum cvt_dialect dialect, bool any_word)
{
	hs_start(hs, dialect, any_word);
	hs->is_incoming = true;
}

/* A header is version, length, word: what has not come is as it would have to be. */
bool hs_may_begin(const struct hs *hs, struct cvt_span bytes)
{
	for (enum cvt_header_word word = CVT_WORD_ZERO; word <= CVT_WORD_MAGIC; word++) {
		uint8_t whole[CVT_HEADER_LEN] = { CVT_VERSION, 1 };
		struct cvt_header header;
		enum cvt_verdict v;

		if (word == CVT_WORD_MAGIC) {
			whole[2] = CVT_MAGIC >> 8;
			whole[3] = CVT_MAGIC & 0xff;
		}
		memcpy(whole, bytes.p, bytes.len);
		v = cvt_parse_header(&header, whole, hs->accept);
		if (v == CVT_OK || v == CVT_BAD_TOTAL_LENGTH)
			return true;
	}
	return false;
}

size_t hs_want(const struct hs *hs)
{
	return (size_t)(hs->whole - hs->got);
}

uint8_t *hs_room(struct hs *hs)
{
	return hs->buf + hs->got;
}

/* The most that fits beside a Base Connect; a longer one is the converter's fault (PROTOCOL 1.4). */
#define COOKIE_MAX (CVT_MSG_MAX - CVT_HEADER_LEN - CVT_CONNECT_LEN - 4)

uint8_t hs_error_as(uint8_t code)
{
	if (code <= CVT_ERR_MISSING_COOKIE || code == CVT_ERR_TCP_OPTION ||
	    code == CVT_ERR_RESOURCE || code == CVT_ERR_RESET || code >= 128)
		return code;
	return code < 32 ? CVT_ERR_MALFORMED :
	       code < 64 ? CVT_ERR_NOT_AUTHORIZED :
	       code < 96 ? CVT_ERR_NETWORK :
			   CVT_ERR_UNREACHABLE;
}

/* Only the server's own answer is the server's fault; 97 is, whatever its code (PROTOCOL 2). */
static enum hs_verdict error_verdict(uint8_t error, struct cvt_span value)
{
	if (error == CVT_ERR_RESET || error == CVT_ERR_UNREACHABLE)
		return HS_SERVER;
	/* the Value of Missing Cookie is one zero byte, then the cookie */
	if (error == CVT_ERR_MISSING_COOKIE && value.len > 4 && value.len <= 1 + COOKIE_MAX)
		return HS_COOKIE;
	return HS_CONVERTER;
}

/* No program would know what to do with a peer that is not one host somewhere; one that is this host
 * itself it might trust. */
static bool names_remote(const struct cvt_msg *m)
{
	struct addr remote = { .port = m->connect.port };

	memcpy(remote.ip, m->connect.addr, sizeof(remote.ip));
	return m->has_connect && remote.port && addr_classify(&remote) == ADDR_GLOBAL;
}

static bool reads_as(const struct hs *hs, enum cvt_dialect dialect, struct hs_result *r)
{
	r->parse = cvt_parse(&r->msg, (struct cvt_span){ hs->buf, hs->got }, dialect,
			     hs->is_incoming ? CVT_INCOMING : CVT_TO_CLIENT);
	return r->parse == CVT_OK;
}

/* With dialect = auto the header word that came decides how the rest is read: a zero word as the draft's,
 * but for what the draft would have to refuse and nobody has spoken; as the hybrid's, if that was
 * spoken, but for a list in type 22, which is the draft's (PROTOCOL 6). Returns how it was read. */
static enum cvt_dialect read_message(const struct hs *hs, struct hs_result *r)
{
	bool is_auto = hs->accept == (1U << CVT_WORD_MAGIC | 1U << CVT_WORD_ZERO);
	enum cvt_dialect dialect = hs->dialect;
	enum cvt_verdict why;

	if (hs->buf[2] && dialect != CVT_DIALECT_RFC8803)
		dialect = CVT_DIALECT_RFC8803;
	else if (!hs->buf[2] && dialect == CVT_DIALECT_RFC8803)
		dialect = CVT_DIALECT_DRAFT02;
	if (reads_as(hs, dialect, r))
		return dialect;
	why = r->parse;
	if (why == CVT_TLV_UNKNOWN && hs->dialect != CVT_DIALECT_DRAFT02) {
		reads_as(hs, CVT_DIALECT_HYBRID, r);
		return CVT_DIALECT_HYBRID;
	}
	if (why == CVT_TLV_WRONG_DIRECTION && dialect == CVT_DIALECT_HYBRID && is_auto &&
	    reads_as(hs, CVT_DIALECT_DRAFT02, r))
		return CVT_DIALECT_DRAFT02;
	r->parse = why;
	return dialect;
}

/* Error 3 does not exist in draft-02: its class decides. Where the dialect was not certain it is the sign of the hybrid
 * instead (PROTOCOL 6). */
static uint8_t acts_as(const struct hs *hs, enum cvt_dialect dialect, uint8_t code)
{
	if (code == CVT_ERR_MISSING_COOKIE && dialect == CVT_DIALECT_DRAFT02 &&
	    hs->dialect == CVT_DIALECT_DRAFT02)
		return CVT_ERR_MALFORMED;
	return hs_error_as(code);
}

static void judge(struct hs *hs, bool target_v4, struct hs_result *r)
{
	enum cvt_dialect dialect = read_message(hs, r);

	if (r->parse != CVT_OK || (hs->is_incoming && !names_remote(&r->msg))) {
		r->verdict = HS_CONVERTER;
		r->err = EPROTO;
		return;
	}
	if (r->msg.has_error)
		r->error = acts_as(hs, dialect, r->msg.error.code);
	/* in the draft an Error beside an Extended TCP Header is only a warning; in the
	 * RFC every Error is fatal (P-25). */
	if (r->msg.has_error && !(dialect == CVT_DIALECT_DRAFT02 && r->msg.ext_tcp_header.p)) {
		r->err = r->error == CVT_ERR_MALFORMED ?
				 EPROTO :
				 hs_errno(r->msg.error.code, r->msg.error.value, target_v4);
		r->verdict = error_verdict(r->error, r->msg.error.value);
		return;
	}
	/* header alone, or with an Extended TCP Header: both are success */
	r->verdict = HS_CONNECTED;
}

enum hs_verdict hs_took(struct hs *hs, size_t n, bool target_v4, struct hs_result *r)
{
	struct cvt_header header;
	bool had_header = hs->got >= CVT_HEADER_LEN;

	hs->got = (uint16_t)(hs->got + n);
	if (hs->got < CVT_HEADER_LEN)
		return HS_MORE;
	memset(r, 0, sizeof(*r));
	if (!had_header) {
		r->parse = cvt_parse_header(&header, hs->buf, hs->accept);
		if (r->parse != CVT_OK) {
			r->verdict = HS_CONVERTER;
			r->err = EPROTO;
			return r->verdict;
		}
		hs->whole = (uint16_t)header.len;
	}
	if (hs->got < hs->whole)
		return HS_MORE;
	judge(hs, target_v4, r);
	return r->verdict;
}

/* An echo starts at byte 3 of the TLV in the draft, at byte 4 in the RFC (PROTOCOL 1.4). */
static bool echoes_like_the_draft(const struct cvt_msg *m)
{
	return m->has_error &&
	       (m->error.code == CVT_ERR_MALFORMED || m->error.code == CVT_ERR_UNSUPPORTED) &&
	       m->error.value.len > CVT_HEADER_LEN && m->error.value.p[0] == CVT_VERSION;
}

static bool is_error_of_the_rfc(const struct cvt_msg *m)
{
	struct cvt_span v = m->error.value;

	if (!m->has_error)
		return false;
	switch (m->error.code) {
	case CVT_ERR_MISSING_COOKIE:
		return true;
	case CVT_ERR_TCP_OPTION: /* a list of kinds; the draft has one */
		return v.len > 1 && v.p[1];
	case CVT_ERR_MALFORMED:
	case CVT_ERR_UNSUPPORTED:
		return v.len > CVT_HEADER_LEN && v.p[0] == 0;
	default:
		return false;
	}
}

enum hs_sign hs_sign(const struct hs_result *r)
{
	if (r->parse != CVT_OK)
		return HS_SIGN_NONE;
	if (r->msg.header.word == CVT_WORD_MAGIC)
		return HS_SIGN_MAGIC;
	if (r->msg.supported_as_22)
		return HS_SIGN_TYPE_22;
	if (echoes_like_the_draft(&r->msg))
		return HS_SIGN_DRAFT_ECHO;
	return is_error_of_the_rfc(&r->msg) ? HS_SIGN_RFC_ERROR : HS_SIGN_ZERO_WORD;
}

bool hs_evidence(const struct hs_result *r, enum cvt_dialect spoken, enum cvt_dialect *dialect)
{
	switch (hs_sign(r)) {
	case HS_SIGN_NONE:
		return false;
	case HS_SIGN_MAGIC:
		*dialect = CVT_DIALECT_RFC8803;
		break;
	case HS_SIGN_TYPE_22:
	case HS_SIGN_DRAFT_ECHO:
		*dialect = CVT_DIALECT_DRAFT02;
		break;
	case HS_SIGN_RFC_ERROR:
		*dialect = CVT_DIALECT_HYBRID;
		break;
	case HS_SIGN_ZERO_WORD:
		*dialect = spoken == CVT_DIALECT_DRAFT02 ? spoken : CVT_DIALECT_HYBRID;
		break;
	}
	return true;
}

/* -------------------------------------------- what connect() says of a failure */

/* What a direct Linux connect() reports for each ICMP code (PROTOCOL 2, measured). */
static const int icmp_errno_v4[] = {
	ENETUNREACH,  EHOSTUNREACH, ENOPROTOOPT,  ECONNREFUSED, EHOSTUNREACH, EOPNOTSUPP,
	ENETUNREACH,  EHOSTDOWN,    ENONET,	  ENETUNREACH,	EHOSTUNREACH, ENETUNREACH,
	EHOSTUNREACH, EHOSTUNREACH, EHOSTUNREACH, EHOSTUNREACH,
};
static const int icmp_errno_v6[] = {
	ENETUNREACH, EACCES, EHOSTUNREACH, EHOSTUNREACH, ECONNREFUSED, EACCES, EACCES, EPROTO,
};

static int icmp_errno(uint8_t code, bool v4)
{
	const int *table = v4 ? icmp_errno_v4 : icmp_errno_v6;
	size_t n = v4 ? sizeof(icmp_errno_v4) / sizeof(int) : sizeof(icmp_errno_v6) / sizeof(int);

	return code < n ? table[code] : EHOSTUNREACH;
}

int hs_errno(uint8_t code, struct cvt_span value, bool target_v4)
{
	switch (hs_error_as(code)) {
	case CVT_ERR_MISSING_COOKIE:
	case CVT_ERR_NOT_AUTHORIZED:
		return EACCES;
	case CVT_ERR_RESOURCE:
		return ENOBUFS;
	case CVT_ERR_NETWORK:
		return ENETUNREACH;
	case CVT_ERR_RESET:
		return ECONNREFUSED;
	case CVT_ERR_UNREACHABLE:
		return code == CVT_ERR_UNREACHABLE && value.len ?
			       icmp_errno(value.p[0], target_v4) :
			       EHOSTUNREACH;
	default:
		return EPROTO;
	}
}

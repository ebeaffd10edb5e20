// SPDX-License-Identifier: MIT
/* The codec. RFC 8803 section 4; draft-ietf-tcpm-converters-02 section 4. */
#include "wire.h"

#include <errno.h>
#include <string.h>

#define WORD 4

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static size_t to_word(size_t n)
{
	return (n + WORD - 1) / WORD * WORD;
}

/* ------------------------------------------------------------------ writing */

void cvt_begin(struct cvt_writer *w, enum cvt_dialect dialect)
{
	w->dialect = dialect;
	w->len = CVT_HEADER_LEN;
	memset(w->seen, 0, sizeof(w->seen));
	w->err = 0;
	memset(w->bytes, 0, CVT_HEADER_LEN); /* the rest as it is used */
	w->bytes[0] = CVT_VERSION;
	if (dialect == CVT_DIALECT_RFC8803)
		put16(w->bytes + 2, CVT_MAGIC);
}

/* Opens a TLV whose value has `len` bytes and returns where the value goes, already zeroed;
 * NULL (and an error noted) if the TLV cannot be written. */
static uint8_t *put_tlv(struct cvt_writer *w, uint8_t type, size_t len)
{
	size_t whole = to_word(2 + len);
	uint32_t bit = (uint32_t)1 << (type % 32);
	uint8_t *p = w->bytes + w->len;

	if (w->err)
		return NULL;
	if (w->seen[type / 32] & bit)
		w->err = -EINVAL;
	else if (whole > CVT_MSG_MAX - w->len)
		w->err = -EMSGSIZE;
	if (w->err)
		return NULL;
	w->seen[type / 32] |= bit;
	w->len += whole;
	memset(p, 0, whole);
	p[0] = type;
	p[1] = (uint8_t)(whole / WORD);
	return p + 2;
}

static void copy(uint8_t *to, struct cvt_span from)
{
	if (from.len)
		memcpy(to, from.p, from.len);
}

void cvt_put_info(struct cvt_writer *w)
{
	put_tlv(w, CVT_TLV_INFO, 2);
}

void cvt_put_unknown(struct cvt_writer *w, uint8_t type)
{
	put_tlv(w, type, 2);
}

void cvt_put_connect(struct cvt_writer *w, const uint8_t addr[16], uint16_t port,
		     struct cvt_span opts)
{
	uint8_t *p = put_tlv(w, CVT_TLV_CONNECT, 18 + opts.len);

	if (!p)
		return;
	put16(p, port);
	memcpy(p + 2, addr, 16);
	copy(p + 18, opts);
}

void cvt_put_list(struct cvt_writer *w, uint8_t type, struct cvt_span list)
{
	uint8_t *p = put_tlv(w, type, 2 + list.len);

	if (p)
		copy(p + 2, list);
}

uint8_t *cvt_put_cookie_room(struct cvt_writer *w, size_t len)
{
	uint8_t *p = put_tlv(w, CVT_TLV_COOKIE, 2 + len);

	return p ? p + 2 : NULL;
}

void cvt_put_error(struct cvt_writer *w, enum cvt_err code, struct cvt_span value)
{
	/* Code and at least one byte of Value make the one word that figure 10 draws. */
	uint8_t *p = put_tlv(w, CVT_TLV_ERROR, 1 + (value.len ? value.len : 1));

	if (!p)
		return;
	p[0] = (uint8_t)code;
	copy(p + 1, value);
}

void cvt_put_error_echo(struct cvt_writer *w, enum cvt_err code, struct cvt_span message)
{
	/* draft-02 starts the echo at byte 3 of the TLV, RFC 8803 puts a zero there (PROTOCOL 1.4) */
	size_t gap = w->dialect == CVT_DIALECT_DRAFT02 ? 0 : 1;
	size_t room = w->len + 3 + gap < CVT_MSG_MAX ? CVT_MSG_MAX - w->len - 3 - gap : 0;
	uint8_t *p;

	if (message.len > room)
		message.len = room;
	p = put_tlv(w, CVT_TLV_ERROR, 1 + gap + message.len);
	if (!p)
		return;
	p[0] = (uint8_t)code;
	copy(p + 1 + gap, message);
}

int cvt_finish(struct cvt_writer *w)
{
	if (w->err)
		return w->err;
	w->bytes[1] = (uint8_t)(w->len / WORD);
	return (int)w->len;
}

/* ------------------------------------------------------------------ reading */

enum cvt_verdict cvt_parse_header(struct cvt_header *h, const uint8_t bytes[static CVT_HEADER_LEN],
				  unsigned int accept)
{
	uint16_t word = get16(bytes + 2);

	if (bytes[0] != CVT_VERSION)
		return CVT_BAD_VERSION;
	if (word != 0 && word != CVT_MAGIC)
		return CVT_BAD_MAGIC;
	h->word = word ? CVT_WORD_MAGIC : CVT_WORD_ZERO;
	if (!(accept & 1U << h->word))
		return CVT_BAD_MAGIC;
	if (bytes[1] == 0)
		return CVT_BAD_TOTAL_LENGTH;
	h->len = (size_t)bytes[1] * WORD;
	return CVT_OK;
}

/* One row per known type: its least and greatest Length in words and who sends it. */
static const struct tlv_rule {
	uint8_t type, min_words, max_words, sent; /* a bit for each enum cvt_direction */
} tlv_rules[] = {
	{ CVT_TLV_INFO, 1, 1, 1 << CVT_TO_CONVERTER },
	{ CVT_TLV_CONNECT, 5, 254, 1 << CVT_TO_CONVERTER | 1 << CVT_INCOMING },
	{ CVT_TLV_EXT_TCP_HEADER, 1, 254, 1 << CVT_TO_CLIENT },
	{ CVT_TLV_SUPPORTED, 1, 254, 1 << CVT_TO_CLIENT },
	{ CVT_TLV_COOKIE, 1, 254, 1 << CVT_TO_CONVERTER },
	{ CVT_TLV_ERROR, 1, 254, 1 << CVT_TO_CONVERTER | 1 << CVT_TO_CLIENT },
};

static const struct tlv_rule *tlv_rule(uint8_t type)
{
	for (size_t i = 0; i < sizeof(tlv_rules) / sizeof(tlv_rules[0]); i++)
		if (tlv_rules[i].type == type)
			return &tlv_rules[i];
	return NULL;
}

/* tlv: type, length and value of a TLV whose length was checked. */
static void take_tlv(struct cvt_msg *m, uint8_t type, struct cvt_span tlv)
{
	struct cvt_span list = { tlv.p + 4, tlv.len - 4 };

	switch (type) {
	case CVT_TLV_INFO:
		m->has_info = true;
		break;
	case CVT_TLV_CONNECT:
		m->has_connect = true;
		m->connect.port = get16(tlv.p + 2);
		memcpy(m->connect.addr, tlv.p + 4, 16);
		m->connect.opts = (struct cvt_span){ tlv.p + CVT_CONNECT_LEN,
						     tlv.len - CVT_CONNECT_LEN };
		break;
	case CVT_TLV_EXT_TCP_HEADER:
		m->ext_tcp_header = list;
		break;
	case CVT_TLV_SUPPORTED:
		m->supported = list;
		break;
	case CVT_TLV_COOKIE:
		m->convert_cookie = list;
		break;
	case CVT_TLV_ERROR:
		m->has_error = true;
		m->error.code = tlv.p[2];
		m->error.value = (struct cvt_span){ tlv.p + 3, tlv.len - 3 };
		break;
	}
}

static enum cvt_verdict check_tlv(struct cvt_msg *m, struct cvt_span tlv, enum cvt_dialect dialect,
				  enum cvt_direction direction)
{
	uint8_t type = tlv.p[0];
	const struct tlv_rule *rule;

	/* draft-02 numbers the Supported TLV both 21 and 22 (PROTOCOL 1.3) */
	if (dialect == CVT_DIALECT_DRAFT02 && type == CVT_TLV_COOKIE) {
		if (direction != CVT_TO_CLIENT)
			return CVT_TLV_WRONG_DIRECTION;
		if (m->supported.p)
			return CVT_TLV_DUPLICATE;
		type = CVT_TLV_SUPPORTED;
		m->supported_as_22 = true;
	}
	rule = tlv_rule(type);
	if (!rule) {
		m->unknown_type = type;
		/* a client of RFC 8803 may skip what it does not know; a converter must
		 * refuse it (S-11, S-13), and in draft-02 both must (P-12) */
		return direction != CVT_TO_CONVERTER && dialect != CVT_DIALECT_DRAFT02 ?
			       CVT_OK :
			       CVT_TLV_UNKNOWN;
	}
	if (!(rule->sent >> direction & 1))
		return CVT_TLV_WRONG_DIRECTION;
	if (tlv.len < (size_t)rule->min_words * WORD || tlv.len > (size_t)rule->max_words * WORD)
		return CVT_TLV_BAD_LENGTH;
	if (type == CVT_TLV_SUPPORTED && m->supported.p)
		return CVT_TLV_DUPLICATE;
	take_tlv(m, type, tlv);
	return CVT_OK;
}

enum cvt_verdict cvt_parse(struct cvt_msg *m, struct cvt_span bytes, enum cvt_dialect dialect,
			   enum cvt_direction direction)
{
	unsigned int accept = 1U << (dialect == CVT_DIALECT_RFC8803 ? CVT_WORD_MAGIC :
								      CVT_WORD_ZERO);
	uint32_t seen[8] = { 0 };
	enum cvt_verdict v;

	memset(m, 0, sizeof(*m));
	if (bytes.len < CVT_HEADER_LEN)
		return CVT_TRUNCATED;
	v = cvt_parse_header(&m->header, bytes.p, accept);
	if (v != CVT_OK)
		return v;
	if (bytes.len < m->header.len)
		return CVT_TRUNCATED;

	for (size_t at = CVT_HEADER_LEN; at < m->header.len;) {
		uint8_t type = bytes.p[at];
		size_t len = (size_t)bytes.p[at + 1] * WORD;
		uint32_t bit = (uint32_t)1 << (type % 32);

		if (len == 0)
			return CVT_TLV_ZERO_LENGTH;
		if (len > m->header.len - at)
			return CVT_TLV_OVERRUN;
		if (type == 0)
			return CVT_TLV_TYPE_ZERO;
		if (seen[type / 32] & bit)
			return CVT_TLV_DUPLICATE;
		seen[type / 32] |= bit;
		v = check_tlv(m, (struct cvt_span){ bytes.p + at, len }, dialect, direction);
		if (v != CVT_OK)
			return v;
		at += len;
	}
	return CVT_OK;
}

bool cvt_next_opt(struct cvt_span opts, size_t *pos, struct cvt_opt *opt)
{
	size_t left = opts.len - *pos;
	const uint8_t *p;

	if (left == 0)
		return false;
	p = opts.p + *pos;
	if (p[0] == CVT_OPT_END)
		return false;
	opt->kind = p[0];
	opt->value = (struct cvt_span){ NULL, 0 };
	if (p[0] == CVT_OPT_NOP) {
		*pos += 1;
		return true;
	}
	if (left < 2 || p[1] < 2 || p[1] > left)
		return false;
	opt->value = (struct cvt_span){ p + 2, (size_t)p[1] - 2 };
	*pos += p[1];
	return true;
}

bool cvt_has_mp_capable(struct cvt_span opts)
{
	struct cvt_opt opt;

	for (size_t pos = 0; cvt_next_opt(opts, &pos, &opt);)
		if (opt.kind == CVT_OPT_MPTCP && opt.value.len > 0 && opt.value.p[0] >> 4 == 0 &&
		    (opt.value.p[0] & 0x0f) >= 1)
			return true;
	return false;
}

/* -------------------------------------------------------------------- names */

const char *cvt_verdict_name(enum cvt_verdict v)
{
	static const char names[][36] = {
		[CVT_OK] = "ok",
		[CVT_TRUNCATED] = "truncated message",
		[CVT_BAD_VERSION] = "unknown version",
		[CVT_BAD_MAGIC] = "header word of another dialect",
		[CVT_BAD_TOTAL_LENGTH] = "total length 0",
		[CVT_TLV_ZERO_LENGTH] = "TLV of length 0",
		[CVT_TLV_OVERRUN] = "TLV crosses the end of the message",
		[CVT_TLV_BAD_LENGTH] = "TLV with an impossible length",
		[CVT_TLV_TYPE_ZERO] = "TLV of type 0",
		[CVT_TLV_DUPLICATE] = "TLV twice",
		[CVT_TLV_WRONG_DIRECTION] = "TLV in the wrong direction",
		[CVT_TLV_UNKNOWN] = "unknown TLV",
	};

	return (size_t)v < sizeof(names) / sizeof(names[0]) ? names[v] : "?";
}

const char *cvt_dialect_name(enum cvt_dialect dialect)
{
	static const char names[][9] = {
		[CVT_DIALECT_RFC8803] = "rfc8803",
		[CVT_DIALECT_DRAFT02] = "draft-02",
		[CVT_DIALECT_HYBRID] = "hybrid",
	};

	return (size_t)dialect < sizeof(names) / sizeof(names[0]) ? names[dialect] : "?";
}

const char *cvt_err_name(uint8_t code)
{
	switch (code) {
	case CVT_ERR_VERSION:
		return "Unsupported Version";
	case CVT_ERR_MALFORMED:
		return "Malformed Message";
	case CVT_ERR_UNSUPPORTED:
		return "Unsupported Message";
	case CVT_ERR_MISSING_COOKIE:
		return "Missing Cookie";
	case CVT_ERR_NOT_AUTHORIZED:
		return "Not Authorized";
	case CVT_ERR_TCP_OPTION:
		return "Unsupported TCP Option";
	case CVT_ERR_RESOURCE:
		return "Resource Exceeded";
	case CVT_ERR_NETWORK:
		return "Network Failure";
	case CVT_ERR_RESET:
		return "Connection Reset";
	case CVT_ERR_UNREACHABLE:
		return "Destination Unreachable";
	}
	return "unassigned error";
}

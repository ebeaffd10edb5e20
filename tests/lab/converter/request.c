// SPDX-License-Identifier: MIT
#include "converter.h"

#include <string.h>

#define OPT_SACK		 5
#define OPT_TCP_AO		 29
#define COOKIE_VALUE_AT		 4 /* bytes: type, length, two zero (PROTOCOL 1.4) */
#define SYN_OPTION_IGNORED(kind) ((kind) <= 3 || (kind) == OPT_SACK) /* S-03 */

void request_begin(struct request *r)
{
	r->have = 0;
	r->need = CVT_HEADER_LEN;
	memset(&r->msg, 0, sizeof(r->msg));
}

void failure_set(struct failure *f, enum cvt_err code, const char *why)
{
	memset(f, 0, sizeof(*f));
	f->code = code;
	f->icmp_type = -1;
	f->why = why;
}

static enum request_verdict refuse(struct failure *f, enum cvt_err code, const char *why)
{
	failure_set(f, code, why);
	f->echo = code == CVT_ERR_MALFORMED || code == CVT_ERR_UNSUPPORTED;
	return REQUEST_FAILED;
}

/* A converter need not serve everything, and each says so in its own way. */
static enum request_verdict do_not_serve(struct failure *f, enum opt_answer answer, const char *why)
{
	switch (answer) {
	case ANSWER_ERROR1:
		return refuse(f, CVT_ERR_MALFORMED, why);
	case ANSWER_ERROR2:
		return refuse(f, CVT_ERR_UNSUPPORTED, why);
	default:
		failure_set(f, CVT_ERR_UNSUPPORTED, why);
		return answer == ANSWER_CLOSE ? REQUEST_CLOSED : REQUEST_IGNORED;
	}
}

bool request_has_opt(const struct request *r, uint8_t kind, struct cvt_span *value)
{
	struct cvt_opt opt;

	for (size_t pos = 0; cvt_next_opt(r->msg.connect.opts, &pos, &opt);) {
		if (opt.kind != kind)
			continue;
		if (value)
			*value = opt.value;
		return true;
	}
	return false;
}

static enum request_verdict judge_header(struct request *r, const struct options *o,
					 struct failure *f)
{
	unsigned int accept = 1U << (o->dialect == CVT_DIALECT_RFC8803 ? CVT_WORD_MAGIC :
									 CVT_WORD_ZERO);
	struct cvt_header h;
	enum cvt_verdict v;

	if (o->lenient)
		accept = 1U << CVT_WORD_MAGIC | 1U << CVT_WORD_ZERO;
	v = cvt_parse_header(&h, r->bytes, accept);
	switch (v) {
	case CVT_OK:
		r->need = h.len;
		return r->need > r->have ? REQUEST_MORE : REQUEST_CONNECT;
	case CVT_BAD_VERSION: /* S-13: the list of versions that we speak */
		failure_set(f, CVT_ERR_VERSION, cvt_verdict_name(v));
		f->value[f->n++] = CVT_VERSION;
		return REQUEST_FAILED;
	case CVT_BAD_TOTAL_LENGTH:
		return REQUEST_RESET;
	default: /* no text says what to do; our header in the answer shows the dialect */
		if (o->wrong_word == WRONG_WORD_RESET)
			return REQUEST_RESET;
		if (o->wrong_word == WRONG_WORD_SILENCE)
			return do_not_serve(f, ANSWER_SILENCE, cvt_verdict_name(v));
		return refuse(f, CVT_ERR_MALFORMED, cvt_verdict_name(v));
	}
}

/* The codec wants the dialect's own header word; --lenient takes the other one as well. */
static enum cvt_verdict parse(struct request *r, const struct options *o)
{
	bool magic = o->dialect == CVT_DIALECT_RFC8803;
	uint8_t word[2] = { r->bytes[2], r->bytes[3] };
	enum cvt_verdict v;

	r->bytes[2] = magic ? CVT_MAGIC >> 8 : 0;
	r->bytes[3] = magic ? CVT_MAGIC & 0xff : 0;
	v = cvt_parse(&r->msg, (struct cvt_span){ r->bytes, r->have }, o->dialect,
		      CVT_TO_CONVERTER);
	memcpy(r->bytes + 2, word, 2); /* for the echo */
	return v;
}

static bool in_any(const struct addr *a, const struct addr_prefix *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (addr_in_prefix(a->ip, &list[i]))
			return true;
	return false;
}

/* S-12. The cookie that the client should have sent; its length. */
static size_t expected_cookie(const struct options *o, const struct addr *client,
			      const uint8_t **cookie, uint8_t computed[static COOKIE_LEN])
{
	if (o->cookie_len) {
		*cookie = o->cookie;
		return o->cookie_len;
	}
	cookie_compute(client->ip, computed);
	*cookie = computed;
	return COOKIE_LEN;
}

/* The cookie that counts. With --cookie-at a TLV in another place is not seen. */
static struct cvt_span sent_cookie(const struct request *r, const struct options *o)
{
	struct cvt_span cookie = r->msg.convert_cookie;

	if (cookie.p && o->cookie_at && cookie.p != r->bytes + o->cookie_at + COOKIE_VALUE_AT)
		cookie = (struct cvt_span){ NULL, 0 };
	return cookie;
}

static enum request_verdict judge_cookie(const struct request *r, const struct options *o,
					 const struct addr *client, struct failure *f)
{
	struct cvt_span sent = sent_cookie(r, o);
	uint8_t computed[COOKIE_LEN];
	const uint8_t *cookie;
	size_t len;

	if (o->cookie_mode == COOKIE_NONE)
		return REQUEST_CONNECT;
	len = expected_cookie(o, client, &cookie, computed);
	if (sent.p) {
		if (cookie_equal(sent.p, sent.len, cookie, len))
			return REQUEST_CONNECT;
		return refuse(f, CVT_ERR_NOT_AUTHORIZED, "wrong cookie");
	}
	if (o->cookie_mode == COOKIE_PROVISIONED)
		return refuse(f, CVT_ERR_NOT_AUTHORIZED, "no cookie");
	failure_set(f, CVT_ERR_MISSING_COOKIE, "no cookie");
	memcpy(f->value + 1, cookie, len); /* byte 0 stays zero (PROTOCOL 2) */
	f->n = 1 + len;
	return REQUEST_FAILED;
}

/* A target that is the converter itself would make it talk to itself for ever (S-18, hairpin). */
static bool is_ourselves(const struct addr *target, const struct addr *local,
			 const struct options *o)
{
	for (size_t i = 0; i < o->listens; i++)
		if (target->port == o->listen[i].port &&
		    (addr_equal_ip(target, local) || addr_equal_ip(target, &o->listen[i]) ||
		     addr_classify(target) == ADDR_LOOPBACK))
			return true;
	return false;
}

bool request_is_own_port(const struct addr *target, const struct options *o)
{
	for (size_t i = 0; i < o->listens; i++)
		if (target->port == o->listen[i].port &&
		    addr_classify(&o->listen[i]) == ADDR_UNSPECIFIED &&
		    addr_is_v4(target) == addr_is_v4(&o->listen[i]))
			return true;
	return false;
}

static enum request_verdict judge_target(struct request *r, const struct options *o,
					 const struct addr *local, struct failure *f)
{
	enum addr_class class;

	memcpy(r->target.ip, r->msg.connect.addr, 16);
	r->target.port = r->msg.connect.port;
	class = addr_classify(&r->target);
	if (r->target.port == 0)
		return refuse(f, CVT_ERR_MALFORMED, "target port 0");
	if (class == ADDR_MULTICAST || class == ADDR_BROADCAST || class == ADDR_UNSPECIFIED)
		return refuse(f, CVT_ERR_MALFORMED, "target is not a host");
	if (class == ADDR_LOOPBACK && !o->allow_loopback) /* S-11 */
		return refuse(f, CVT_ERR_MALFORMED, "loopback target");
	if (is_ourselves(&r->target, local, o))
		return refuse(f, CVT_ERR_NOT_AUTHORIZED, "target is the converter");
	if (in_any(&r->target, o->deny_to, o->denies))
		return refuse(f, CVT_ERR_NOT_AUTHORIZED, "target denied");
	return REQUEST_CONNECT;
}

/* S-05, S-08: the kinds that we cannot convert; draft-02 has room for one only. */
static enum request_verdict judge_opts(const struct request *r, const struct options *o,
				       struct failure *f)
{
	struct cvt_span opts = r->msg.connect.opts;
	struct cvt_opt opt;
	size_t pos = 0;

	failure_set(f, CVT_ERR_TCP_OPTION, "option kind not supported");
	while (cvt_next_opt(opts, &pos, &opt)) {
		bool known = SYN_OPTION_IGNORED(opt.kind) ||
			     (opt.kind != OPT_TCP_AO && memchr(o->kinds, opt.kind, o->n_kinds));

		if (!known && f->n < sizeof(f->value) && !memchr(f->value, opt.kind, f->n))
			f->value[f->n++] = opt.kind;
	}
	if (pos < opts.len && opts.p[pos] != CVT_OPT_END)
		return refuse(f, CVT_ERR_MALFORMED, "TCP option with an impossible length");
	if (f->n > 1 && o->dialect == CVT_DIALECT_DRAFT02)
		f->n = 1;
	return f->n ? REQUEST_FAILED : REQUEST_CONNECT;
}

bool request_is_client(const struct addr *client, const struct options *o)
{
	return in_any(client, o->allow, o->allows);
}

static enum request_verdict judge_message(struct request *r, const struct options *o,
					  const struct addr *client, const struct addr *local,
					  struct failure *f)
{
	enum cvt_verdict v = parse(r, o);
	enum request_verdict verdict;

	if (v == CVT_TLV_UNKNOWN || v == CVT_TLV_TYPE_ZERO || v == CVT_TLV_WRONG_DIRECTION)
		return refuse(f, CVT_ERR_UNSUPPORTED, cvt_verdict_name(v));
	if (v != CVT_OK)
		return refuse(f, CVT_ERR_MALFORMED, cvt_verdict_name(v));
	if (r->msg.has_info && o->info != ANSWER_SERVE)
		return do_not_serve(f, o->info, "Info is not served");
	if (r->msg.connect.opts.len && o->extended != ANSWER_SERVE)
		return do_not_serve(f, o->extended, "a Connect with options is not served");
	if (r->msg.has_error)
		return REQUEST_RESET; /* nothing answers an error */
	if (!request_is_client(client, o))
		return refuse(f, CVT_ERR_NOT_AUTHORIZED, "client not in any --allow");
	verdict = judge_cookie(r, o, client, f);
	if (verdict == REQUEST_FAILED)
		return verdict;
	if (!r->msg.has_connect && !r->msg.has_info)
		return refuse(f, CVT_ERR_MALFORMED, "nothing asked");
	if (!r->msg.has_connect)
		return REQUEST_INFO;
	verdict = judge_target(r, o, local, f);
	return verdict == REQUEST_FAILED ? verdict : judge_opts(r, o, f);
}

enum request_verdict request_judge(struct request *r, const struct options *o,
				   const struct addr *client, const struct addr *local, bool eof,
				   struct failure *f)
{
	enum request_verdict verdict;

	if (eof)
		return refuse(f, CVT_ERR_MALFORMED, cvt_verdict_name(CVT_TRUNCATED));
	if (r->need == CVT_HEADER_LEN) {
		verdict = judge_header(r, o, f);
		if (verdict != REQUEST_CONNECT)
			return verdict;
	}
	return judge_message(r, o, client, local, f);
}

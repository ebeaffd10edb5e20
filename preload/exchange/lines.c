// SPDX-License-Identifier: MIT
/* The lines of an exchange: what the log, and the receipt of whoever has asked for one, say of it. */
#include "report.h"

#include "converters.h"
#include "text.h"
#include "sock.h"

#include <limits.h>

/* ------------------------------------------------------------------------ collecting */

SLOW static void add_line(struct report *r, const struct exchange *u, struct report_line line)
{
	const int64_t us = (now_ns() - r->started_ns) / 1000;

	line.us = us < INT_MAX ? (int)us : INT_MAX; /* 36 minutes: a stopped program */
	line.dialect = (uint8_t)u->dialect;
	line.in_syn = u->syn_data;
	if (r->fd >= 0)
		sock_addr(r->fd, SYS_getsockname, &line.local); /* by it a capture is searched */
	r->lines[r->n_lines++] = line;
}

void report_line(struct report *r, const struct exchange *u, enum log_level level,
		 enum log_event event, const char *why, int err)
{
	if (r->n_lines < REPORT_LINES && log_is_on(level))
		add_line(r, u,
			 (struct report_line){ .why = why,
					       .error = err ? errno_name(err) : NULL,
					       .level = (uint8_t)level,
					       .event = (uint8_t)event });
}

static uint8_t take_kinds(uint8_t kinds[static 8], struct cvt_span options)
{
	struct cvt_opt option;
	uint8_t n = 0;
	size_t at = 0;

	while (n < 8 && options.p && cvt_next_opt(options, &at, &option))
		if (option.kind != CVT_OPT_NOP)
			kinds[n++] = option.kind;
	return n;
}

/* Which TLVs, and what of them is no secret: of a cookie, and of options with cookies and keys in them,
 * that they are there. */
static void take_tlvs(struct report_tlvs *t, const struct cvt_msg *msg)
{
	struct cvt_span options = msg->has_connect ? msg->connect.opts : msg->ext_tcp_header;

	*t = (struct report_tlvs){ .info = msg->has_info,
				   .connect = msg->has_connect,
				   .header = msg->ext_tcp_header.p,
				   .supported = msg->supported.p,
				   .error = msg->has_error,
				   .code = msg->error.code,
				   .unknown = msg->unknown_type,
				   .cookie_len = (uint16_t)msg->convert_cookie.len };
	t->n_options = take_kinds(t->options, options);
	for (size_t i = 0; t->n_kinds < 8 && i < msg->supported.len; i++)
		if (msg->supported.p[i]) /* else padding, wherever it stands (PROTOCOL 1.4) */
			t->kinds[t->n_kinds++] = msg->supported.p[i];
}

SLOW static void add_sent(struct report *r, const struct exchange *u)
{
	struct cvt_msg msg;

	if (cvt_parse(&msg, (struct cvt_span){ u->request.bytes, u->request.len }, u->dialect,
		      CVT_TO_CONVERTER) != CVT_OK ||
	    r->n_lines == REPORT_LINES)
		return;
	take_tlvs(&r->sent, &msg);
	report_line(r, u, LOG_LEVEL_DEBUG, LOG_SENT, NULL, 0);
}

void report_sent(struct report *r, const struct exchange *u)
{
	if (log_is_on(LOG_LEVEL_DEBUG))
		add_sent(r, u);
}

void report_received(struct report *r, const struct exchange *u, const struct hs_result *result)
{
	if (!log_is_on(LOG_LEVEL_DEBUG))
		return;
	take_tlvs(&r->received, &result->msg);
	report_line(r, u, LOG_LEVEL_DEBUG, LOG_RECEIVED,
		    result->parse == CVT_OK ? NULL : cvt_verdict_name(result->parse), 0);
}

/* --------------------------------------------------------------------------- telling */

/* "Connect (MPTCP, Fast Open), Cookie (16 bytes)" */
struct words {
	char text[160];
	size_t len;
};

static void put(struct words *w, const char *s)
{
	for (; *s && w->len < sizeof(w->text) - 1; s++)
		w->text[w->len++] = *s;
	w->text[w->len] = '\0';
}

static void put_number(struct words *w, unsigned int n)
{
	char digits[4] = { 0 };
	int at = 3;

	do
		digits[--at] = (char)('0' + n % 10);
	while ((n /= 10) && at > 0);
	put(w, digits + at);
}

static void put_tlv(struct words *w, const char *name)
{
	put(w, w->len ? ", " : "");
	put(w, name);
}

static void put_kinds(struct words *w, const uint8_t *kinds, unsigned int n)
{
	static const char *const names[CVT_OPT_FAST_OPEN + 1] = {
		[2] = "MSS",	    [3] = "Window Scale",      [4] = "SACK Permitted",
		[8] = "Timestamps", [CVT_OPT_MPTCP] = "MPTCP", [CVT_OPT_FAST_OPEN] = "Fast Open",
	};

	for (unsigned int i = 0; i < n; i++) {
		put(w, i ? ", " : " (");
		if (kinds[i] <= CVT_OPT_FAST_OPEN && names[kinds[i]])
			put(w, names[kinds[i]]);
		else
			put_number(w, kinds[i]);
	}
	put(w, n ? ")" : "");
}

static void put_tlvs(struct words *w, const struct report_tlvs *t)
{
	if (t->info)
		put_tlv(w, "Info");
	if (t->connect || t->header) {
		put_tlv(w, t->connect ? "Connect" : "Extended TCP Header");
		put_kinds(w, t->options, t->n_options);
	}
	if (t->supported) {
		put_tlv(w, "Supported TCP Extensions");
		put_kinds(w, t->kinds, t->n_kinds);
	}
	if (t->cookie_len) {
		put_tlv(w, "Cookie (");
		put_number(w, t->cookie_len);
		put(w, " bytes)");
	}
	if (t->error) {
		put_tlv(w, "Error ");
		put_number(w, t->code);
		put(w, " ");
		put(w, cvt_err_name(t->code));
	}
	if (t->unknown) {
		put_tlv(w, "type ");
		put_number(w, t->unknown);
	}
}

SLOW static void tell_line(const struct report *r, const struct report_line *line)
{
	static const char *const where[] = { "behind the SYN", "in the SYN", "lost in the SYN" };
	const char *name = converters_at(r->converter)->name; /* before there is much to keep */
	bool is_end = line->event == LOG_CONVERTED || line->event == LOG_ACCEPTED;
	struct words tlvs = { .len = 0 };

	if (line->event == LOG_SENT)
		put_tlvs(&tlvs, &r->sent);
	else if (line->event == LOG_RECEIVED)
		put_tlvs(&tlvs, &r->received);
	log_tell((enum log_level)line->level, (enum log_event)line->event,
		 "{server:%p} via {converter:%p} ({name:%s}){local: from %p}"
		 "{message:, message %s,} after %d ms: {tlvs:%s}{why:%s}{protocol:, %s}"
		 "{reason:: %s}{error:, %s}{!dialect:%s}{!after_us:%d}{!rtt_us:%d}",
		 &r->server, &r->health.converter, name, &line->local,
		 line->local.port ? where[is_end && r->lost_syn_data ? 2 : line->in_syn] : NULL,
		 line->us / 1000, tlvs.len ? tlvs.text : NULL, line->why,
		 is_end ? r->protocol : NULL, line->reason, line->error,
		 cvt_dialect_name((enum cvt_dialect)line->dialect), line->us,
		 is_end ? r->rtt_us : -1);
}

void report_tell_lines(const struct report *r)
{
	for (unsigned int i = 0; i < r->n_lines; i++)
		tell_line(r, &r->lines[i]);
}

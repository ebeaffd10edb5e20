// SPDX-License-Identifier: MIT
/* Our one message (S-01, S-06, S-09, S-13), its way to the client, and what --fault makes of it. */
#include "conn.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#define ESTAB_POLL_MS 2
#define ESTAB_POLLS   2500 /* 5 s: then the client's third ACK will not come any more */
#define SILENCE_MS    600000
#define ADMIT_MS      10000 /* from the verdict to accept(): only a full queue makes it long */

#define SLOTS	  1024
#define PERIOD_MS 1000

static struct slot {
	struct addr client;
	uint64_t since_ms;
	unsigned int taken;
} slots[SLOTS];

static size_t slot_of(const struct addr *a)
{
	uint32_t h = 2166136261u; /* FNV-1a */

	for (size_t i = 0; i < sizeof(a->ip); i++)
		h = (h ^ a->ip[i]) * 16777619u;
	return h % SLOTS;
}

/* How many error messages a client gets in a second (S-15). True: one more may be sent to that client now; it
 * is counted. In constant memory: two clients whose addresses fall into one slot start each other's count
 * anew; it never refuses one that is within its limit. */
static bool limit_take(const struct addr *client, unsigned int most)
{
	struct slot *s = &slots[slot_of(client)];
	uint64_t now = loop_now_ms();

	if (!s->taken || !addr_equal_ip(&s->client, client) || now - s->since_ms >= PERIOD_MS)
		*s = (struct slot){ .client = *client, .since_ms = now };
	if (s->taken == most)
		return false;
	s->taken++;
	return true;
}

static int finish(struct cvt_writer *w, uint8_t out[static CVT_MSG_MAX])
{
	int len = cvt_finish(w);

	if (len > 0)
		memcpy(out, w->bytes, (size_t)len);
	return len;
}

/* Does a success with this request carry the Extended TCP Header TLV (S-09, --ext-header)? */
static bool wants_ext_header(const struct request *r, const struct options *o)
{
	if (!r->msg.has_connect || o->ext_header == EXT_HEADER_NEVER)
		return false;
	if (o->ext_header == EXT_HEADER_ALWAYS || o->dialect == CVT_DIALECT_DRAFT02)
		return true;
	return r->msg.connect.opts.len > 0; /* RFC 8803: an Extended Connect */
}

/* Both give the message's length, or -errno if it cannot be written. ext: NULL or the server's
 * option bytes. */
static int write_success(uint8_t out[static CVT_MSG_MAX], const struct request *r,
			 const struct options *o, const struct cvt_span *ext)
{
	struct cvt_writer w;

	cvt_begin(&w, o->dialect);
	if (ext)
		cvt_put_list(&w, CVT_TLV_EXT_TCP_HEADER, *ext);
	if (r->msg.has_info)
		cvt_put_list(&w, o->supported_type, (struct cvt_span){ o->kinds, o->n_kinds });
	return finish(&w, out);
}

static int write_failure(uint8_t out[static CVT_MSG_MAX], const struct request *r,
			 const struct options *o, const struct failure *f)
{
	struct cvt_writer w;

	cvt_begin(&w, o->dialect);
	if (f->echo)
		cvt_put_error_echo(&w, f->code, (struct cvt_span){ r->bytes, r->have });
	else
		cvt_put_error(&w, f->code, (struct cvt_span){ f->value, f->n });
	return finish(&w, out);
}

static void go_on_after_reply(struct conn *c)
{
	switch (c->after_reply) {
	case AFTER_RELAY:
		conn_start_relay(c);
		break;
	case AFTER_FIN:
		conn_linger(c, true);
		break;
	case AFTER_CLIENT:
		conn_linger(c, false);
		break;
	case AFTER_RST:
		conn_drop(c, "error", true);
		break;
	}
}

/* LINUX-FACTS 2b.3: what is sent on an MPTCP socket before the third ACK stays in the kernel.
 * There is no event for that ACK. */
static bool must_wait_for_ack(struct conn *c)
{
	struct tcp_info ti = { 0 };
	socklen_t len = sizeof(ti);

	if (!c->up_mptcp || c->waits > ESTAB_POLLS || c->fault.eager)
		return false;
	getsockopt(c->up.fd, IPPROTO_TCP, TCP_INFO, &ti, &len);
	if (ti.tcpi_state != TCP_SYN_RECV) {
		c->waits = ESTAB_POLLS + 1;
		return false;
	}
	c->waits++;
	loop_arm(&c->timer, ESTAB_POLL_MS);
	return true;
}

/* The next piece. True: there may be more at once. */
static bool send_piece(struct conn *c)
{
	const struct fault *fault = &c->fault;
	size_t want = c->reply_len - c->reply_sent;
	ssize_t n;

	if (fault->split && fault->split < want)
		want = fault->split;
	n = send(c->up.fd, c->reply + c->reply_sent, want, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0 && errno == EAGAIN) {
		loop_watch(&c->up, EPOLLOUT);
		return false;
	}
	if (n < 0) {
		conn_drop(c, "client-reset", true);
		return false;
	}
	c->reply_sent += (size_t)n;
	loop_watch(&c->up, 0);
	if (fault->gap_ms && c->reply_sent < c->reply_len) {
		loop_arm(&c->timer, fault->gap_ms);
		return false;
	}
	return true;
}

void conn_reply_step(struct conn *c)
{
	const struct fault *fault = &c->fault;

	if (must_wait_for_ack(c))
		return;
	if (fault->delay_ms && !c->delayed) {
		c->delayed = true;
		loop_arm(&c->timer, fault->delay_ms);
		return;
	}
	while (c->reply_sent < c->reply_len)
		if (!send_piece(c))
			return;
	go_on_after_reply(c);
}

static void set_error_fault(struct conn *c, const struct fault *fault)
{
	struct failure f;
	int len;

	failure_set(&f, (enum cvt_err)fault->error, "fault");
	f.n = fault->n_bytes < sizeof(f.value) ? fault->n_bytes : sizeof(f.value);
	memcpy(f.value, fault->bytes, f.n);
	len = write_failure(c->reply, &c->request, conn_options(), &f);
	c->reply_len = len > 0 ? (size_t)len : 0;
	c->after_reply = AFTER_FIN;
}

/* Replaces the reply's bytes or its ending. */
static void apply_fault(struct conn *c, const struct fault *fault)
{
	if (fault->has_error && c->after_reply != AFTER_FIN)
		set_error_fault(c, fault);
	if (fault->raw) {
		memcpy(c->reply, fault->bytes, fault->n_bytes);
		c->reply_len = fault->n_bytes;
	}
	if (fault->has_cut && fault->cut < c->reply_len)
		c->reply_len = fault->cut;
	if (fault->end != FAULT_END_NONE)
		c->after_reply = fault->end == FAULT_END_FIN ? AFTER_FIN : AFTER_RST;
	if (fault->end != FAULT_END_NONE || fault->has_error)
		c->outcome = "fault";
}

void conn_stay_silent(struct conn *c)
{
	c->outcome = "silence";
	c->state = CONN_SILENT;
	loop_arm(&c->timer, SILENCE_MS);
}

/* c->reply holds the bytes that the protocol wants. */
static void reply_start(struct conn *c)
{
	const struct fault *fault = &c->fault;

	c->state = CONN_REPLY;
	c->waits = 0;
	if (fault->active)
		apply_fault(c, fault);
	if (c->after_reply != AFTER_RELAY)
		conn_close_down(c);
	if (loop_watch(&c->up, 0) < 0) {
		conn_drop(c, "local", true);
		return;
	}
	if (fault->silence) {
		conn_stay_silent(c);
		return;
	}
	conn_reply_step(c);
}

void conn_log_failure(const struct conn *c, const struct failure *f, size_t bytes)
{
	char icmp[12] = "-";

	if (f->icmp_type >= 0)
		snprintf(icmp, sizeof(icmp), "%d", f->icmp_type);
	log_event("error", "conn=%lu code=%d name=\"%s\" why=\"%s\" icmp=%s bytes=%zu", c->id,
		  (int)f->code, cvt_err_name((uint8_t)f->code), f->why, icmp, bytes);
}

void conn_fail(struct conn *c, const struct failure *f)
{
	const struct options *o = conn_options();
	int len = write_failure(c->reply, &c->request, o, f);
	bool reset;

	c->outcome = "error";
	conn_count_error();
	/* draft-02 wants the Error inside a RST (S-10), which no socket can send: it goes in-stream
	 * before the end, or there is only the RST; and so it is with too many (S-15) */
	reset = o->draft_rst || (o->max_errors && !limit_take(&c->client, o->max_errors));
	c->after_reply = reset ? AFTER_RST : AFTER_FIN;
	c->reply_len = reset || len < 0 ? 0 : (size_t)len;
	conn_log_failure(c, f, c->reply_len);
	reply_start(c);
}

/* The server's SYN+ACK options: seen on the wire, or what the kernel tells of them. */
static const char *server_opts(struct conn *c, uint8_t bytes[static CVT_SYN_OPTS_MAX],
			       struct cvt_span *ext)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct addr own;

	ext->p = bytes;
	if (getsockname(c->down.fd, (struct sockaddr *)&ss, &len) == 0 &&
	    addr_from_sockaddr(&own, (const struct sockaddr *)&ss, len) == 0 &&
	    capture_find(&own, &c->wish.target, bytes, &ext->len))
		return "captured";
	ext->len = down_rebuild_opts(c->down.fd, bytes);
	return "rebuilt";
}

void conn_reply_success(struct conn *c)
{
	const struct options *o = conn_options();
	uint8_t bytes[CVT_SYN_OPTS_MAX];
	struct cvt_span ext = { NULL, 0 };
	bool wanted = wants_ext_header(&c->request, o);
	const char *how = wanted ? server_opts(c, bytes, &ext) : "none";
	int len = write_success(c->reply, &c->request, o, wanted ? &ext : NULL);

	if (len < 0) {
		conn_drop(c, "local", true);
		return;
	}
	c->reply_len = (size_t)len;
	c->after_reply = c->request.msg.has_connect ? AFTER_RELAY : AFTER_CLIENT;
	if (c->after_reply == AFTER_CLIENT)
		c->outcome = "info";
	log_event("reply", "conn=%lu bytes=%zu header=%s supported=%s mp_capable=%s down_mptcp=%s",
		  c->id, c->reply_len, how, c->request.msg.has_info ? "yes" : "no",
		  wanted && cvt_has_mp_capable(ext) ? "yes" : "no",
		  c->down.fd >= 0 && down_is_mptcp(c->down.fd) ? "yes" : "no");
	conn_count_reply();
	reply_start(c);
}

/* ------------------------------------------------- a SYN that waits (conn_hold()) */

/* Few are held at once, so a walk over the living is enough. */
struct conn *conn_held_find(const struct addr *client, const struct addr *local, bool admitted)
{
	struct conn *c = conn_options()->hold ? conn_first() : NULL;

	for (; c; c = c->next)
		if (c->held && c->up.fd < 0 && (!admitted || c->state == CONN_ADMITTED) &&
		    addr_equal(&c->client, client) && addr_equal(&c->local, local))
			break;
	return c;
}

void conn_held_admit(struct conn *c)
{
	if (!c->fault.keep_syn)
		hold_accept(&c->ticket);
	request_begin(&c->request); /* the kernel will hand out the message once more */
	c->state = CONN_ADMITTED;
	loop_arm(&c->timer, ADMIT_MS);
}

/* The Error as a RST, and in draft-02 in the RST, as that text wants it (S-10). */
static void refuse_by_rst(struct conn *c, const struct failure *f)
{
	const struct options *o = conn_options();
	struct cvt_span message = { c->reply, 0 };
	int len;

	if (o->dialect == CVT_DIALECT_DRAFT02 && !o->draft_rst) {
		len = write_failure(c->reply, &c->request, o, f);
		message.len = len > 0 ? (size_t)len : 0;
	}
	conn_log_failure(c, f, message.len);
	conn_count_error();
	hold_refuse(&c->ticket, &c->client, &c->local, message);
	conn_drop(c, "hold-refused", true);
}

void conn_held_refuse(struct conn *c, const struct failure *f)
{
	if (!conn_options()->hold_error_tlv) {
		refuse_by_rst(c, f);
		return;
	}
	c->failure = *f;
	c->has_failure = true;
	conn_held_admit(c);
}

// SPDX-License-Identifier: MIT
/*
 * A client's SYN that waits until its server has answered (--hold). The connection is born from
 * the SYN's payload, without a socket; conn_accept() brings the socket later.
 */
#include "conn_parts.h"

#include <string.h>

#include "log.h"
#include "reply.h"

#define ADMIT_MS 10000 /* from the verdict to accept(): only a full queue makes it long */

/* Few are held at once, so a walk over the living is enough. */
static struct conn *find(const struct addr *client, const struct addr *local, bool admitted)
{
	for (struct conn *c = conn_first(); c; c = c->next)
		if (c->held && c->up.fd < 0 && (!admitted || c->state == CONN_ADMITTED) &&
		    c->client.port == client->port && addr_equal_ip(&c->client, client) &&
		    c->local.port == local->port && addr_equal_ip(&c->local, local))
			return c;
	return NULL;
}

bool conn_hold_repeats(const struct hold_ticket *ticket, const struct addr *client,
		       const struct addr *local)
{
	struct conn *c = find(client, local, false);

	if (!c || c->ticket.seq == ticket->seq)
		return c != NULL;
	if (c->state != CONN_ADMITTED)
		hold_drop(&c->ticket);
	conn_drop(c, "hold-gone", true);
	return false;
}

struct conn *conn_hold_find(const struct addr *client, const struct addr *local)
{
	return conn_options()->hold ? find(client, local, true) : NULL;
}

void conn_hold_admit(struct conn *c)
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
		len = reply_failure(c->reply, &c->request, o, f);
		message.len = len > 0 ? (size_t)len : 0;
	}
	conn_log_failure(c, f, message.len);
	conn_count_error();
	hold_refuse(&c->ticket, &c->client, &c->local, message);
	conn_drop(c, "hold-refused", true);
}

void conn_hold_refuse(struct conn *c, const struct failure *f)
{
	if (!conn_options()->hold_error_tlv) {
		refuse_by_rst(c, f);
		return;
	}
	c->failure = *f;
	c->has_failure = true;
	conn_hold_admit(c);
}

static void log_held(const struct conn *c, size_t bytes)
{
	char client[ADDR_TEXT_MAX], local[ADDR_TEXT_MAX];

	addr_format(&c->client, client);
	addr_format(&c->local, local);
	log_event("held", "conn=%lu client=%s local=%s bytes=%zu", c->id, client, local, bytes);
}

/* The message at the head of the payload; false if it is not there as a whole. */
static bool take_message(struct request *r, struct cvt_span payload)
{
	request_begin(r);
	if (payload.len < CVT_HEADER_LEN)
		return false;
	memcpy(r->bytes, payload.p, CVT_HEADER_LEN);
	r->have = CVT_HEADER_LEN;
	r->need = CVT_HEADER_LEN;
	return true;
}

bool conn_hold(const struct hold_ticket *ticket, const struct addr *client,
	       const struct addr *local, struct cvt_span payload)
{
	const struct options *o = conn_options();
	static struct request r; /* a kilobyte; judged before there is a connection */
	enum request_verdict verdict;
	struct failure f;
	struct conn *c;

	if (!take_message(&r, payload))
		return false;
	verdict = request_judge(&r, o, client, local, false, &f);
	if (verdict == REQUEST_MORE && payload.len >= r.need) {
		memcpy(r.bytes, payload.p, r.need);
		r.have = r.need;
		verdict = request_judge(&r, o, client, local, false, &f);
	}
	/* whatever else it is, the accepted connection will be told */
	if (verdict != REQUEST_CONNECT || (c = conn_new(client, local)) == NULL)
		return false;
	c->held = true;
	c->ticket = *ticket;
	memcpy(c->request.bytes, r.bytes, r.need);
	c->request.have = c->request.need = r.need;
	request_judge(&c->request, o, client, local, false, &f); /* its spans point into c now */
	log_held(c, payload.len);
	conn_serve(c, (struct cvt_span){ payload.p + r.need, payload.len - r.need });
	return true;
}

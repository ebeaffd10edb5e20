// SPDX-License-Identifier: MIT
/*
 * A client's SYN that waits until its server has answered (--hold). The connection is born from
 * the SYN's payload, without a socket; conn_accept() brings the socket later.
 */
#include "conn_parts.h"

#include <string.h>

#include "log.h"

/* Is this the SYN of one that already waits, sent again? A SYN of another `seq` from the same port is
 * a new attempt: the old one is dropped. */
static bool repeats(const struct hold_ticket *ticket, const struct addr *client,
		    const struct addr *local)
{
	struct conn *c = conn_held_find(client, local, false);

	if (!c || c->ticket.seq == ticket->seq)
		return c != NULL;
	if (c->state != CONN_ADMITTED)
		hold_drop(&c->ticket);
	conn_drop(c, "hold-gone", true);
	return false;
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

	if (repeats(ticket, client, local)) {
		hold_drop(ticket);
		return true;
	}
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

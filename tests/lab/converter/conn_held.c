// SPDX-License-Identifier: MIT
/* A connection whose SYN waits in the queue (conn_hold.c), until its socket is accepted. */
#include "conn_parts.h"

#include "reply.h"

#define ADMIT_MS 10000 /* from the verdict to accept(): only a full queue makes it long */

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
		len = reply_failure(c->reply, &c->request, o, f);
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

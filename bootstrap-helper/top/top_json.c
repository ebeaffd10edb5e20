// SPDX-License-Identifier: MIT
#include "json.h"
#include "top.h"

static json_t *address(const struct addr *a)
{
	char text[ADDR_TEXT_MAX];

	addr_format(a, text);
	return json_text(text);
}

static json_t *number(uint64_t n)
{
	return json_integer((json_int_t)n);
}

static json_t *text_or_null(const char *text)
{
	return *text ? json_text(text) : json_null();
}

static json_t *path(const struct connections *c, const struct diag_socket *s)
{
	json_t *o = json_object();

	json_put(o, "interface", text_or_null(connections_interface(c, s)));
	json_put(o, "local", address(&s->local));
	json_put(o, "remote", address(&s->remote));
	json_put(o, "rtt_us", s->rtt_us ? json_integer(s->rtt_us) : json_null());
	json_put(o, "received", number(s->received));
	json_put(o, "sent", number(s->sent));
	return o;
}

static json_t *connection(const struct connections *c, const struct connection *k)
{
	const bool goes_there = k->way == CONNECTION_CONVERTED || k->way == CONNECTION_PENDING;
	json_t *o = json_object(), *paths = json_array();

	for (size_t i = 0; i < k->n_paths; i++)
		json_add(paths, path(c, &k->paths[i]));
	json_put(o, "program", k->program ? json_text(k->program->name) : json_null());
	json_put(o, "pid", k->program ? json_integer(k->program->pid) : json_null());
	json_put(o, "uid", json_integer(k->socket->uid));
	json_put(o, "server", k->has_server ? address(&k->server) : json_null());
	json_put(o, "way", json_text(top_way(k->way)));
	json_put(o, "converter", goes_there ? address(&k->socket->remote) : json_null());
	json_put(o, "converter_name", text_or_null(k->converter));
	json_put(o, "why", json_text(k->why));
	json_put(o, "rule_line", k->line ? json_integer(k->line) : json_null());
	json_put(o, "mptcp", json_boolean(top_is_mptcp(k)));
	json_put(o, "received", number(k->received));
	json_put(o, "sent", number(k->sent));
	json_put(o, "paths", paths);
	return o;
}

void top_json(const struct connections *c)
{
	json_t *o = json_object(), *counts = json_object(), *all = json_array();
	char limits[TOP_LINE];

	for (int way = 0; way < CONNECTION_WAYS; way++)
		json_put(counts, top_way((enum connection_way)way), number(c->n_of[way]));
	for (size_t i = 0; i < c->n; i++)
		json_add(all, connection(c, &c->all[i]));
	top_limits(limits, c);
	json_put(o, "counts", counts);
	json_put(o, "limits", text_or_null(limits));
	json_put(o, "connections", all);
	json_print(o);
}

// SPDX-License-Identifier: MIT
#include "top.h"

#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "json.h"

/* The columns that are always the same, with the space before them. */
#define WAY   10
#define PROTO 6
#define BYTES 7
/* What is left of the others as long as there is room. */
#define SERVER 21
#define WHY    12

static const char *top_way(enum connection_way way)
{
	static const char *const texts[] = {
		[CONNECTION_CONVERTED] = "converted", [CONNECTION_PENDING] = "pending",
		[CONNECTION_BYPASSED] = "bypassed",   [CONNECTION_DIRECT] = "direct",
		[CONNECTION_UNKNOWN] = "unknown",
	};

	return texts[way];
}

static bool top_is_mptcp(const struct connection *k)
{
	return k->socket->is_mptcp && !k->socket->has_fallen_back;
}

size_t top_paths(const struct connection *k)
{
	return top_is_mptcp(k) ? k->n_paths : 0;
}

/* At most five characters: "9999", "12.3k", "123M". */
static void bytes(char out[static 16], uint64_t n)
{
	static const char units[] = " kMGTPE";
	double value = (double)n;
	size_t unit = 0;

	for (; value >= (unit ? 999.5 : 9999.5); unit++)
		value /= 1000;
	if (unit == 0)
		snprintf(out, 16, "%.0f", value);
	else
		snprintf(out, 16, "%.*f%c", value < 99.95, value, units[unit]);
}

static void program(char out[static 32], const struct connection *k)
{
	if (k->program)
		snprintf(out, 32, "%s/%d", k->program->name, k->program->pid);
	else
		snprintf(out, 32, "uid %u", k->socket->uid);
}

static void server(char out[static ADDR_TEXT_MAX], const struct connection *k)
{
	if (k->has_server)
		addr_format(&k->server, out);
	else
		snprintf(out, ADDR_TEXT_MAX, "?");
}

/* By which converter, or why not. */
static void why(char out[static 160], const struct connection *k)
{
	char via[ADDR_TEXT_MAX] = "";

	if (k->way == CONNECTION_CONVERTED || k->way == CONNECTION_PENDING) {
		addr_format(&k->socket->remote, via);
		snprintf(out, 160, "%s %s%s%s", k->converter, via, k->why ? "; " : "",
			 k->why ? k->why : "");
		if (!k->converter[0])
			memmove(out, out + 1, strlen(out));
	} else if (k->line) {
		snprintf(out, 160, "%s, line %u", k->why, k->line);
	} else {
		snprintf(out, 160, "%s", k->why ? k->why : "");
	}
}

static int smaller(int a, int b)
{
	int least = a < b ? a : b;

	return least > 0 ? least : 0;
}

static int longer(int width, const char *text)
{
	int len = (int)strlen(text);

	return len > width ? len : width;
}

struct top_columns top_columns(const struct connections *c, int width)
{
	struct top_columns t = { .program = 7, .server = 6, .why = 7, .rate = true };
	char text[160];
	int rest;

	for (size_t i = 0; i < c->n; i++) {
		program(text, &c->all[i]);
		t.program = longer(t.program, text);
		server(text, &c->all[i]);
		t.server = longer(t.server, text);
		why(text, &c->all[i]);
		t.why = longer(t.why, text);
	}
	if (width == 0)
		return t;
	t.rate = width >= 100;
	rest = width - WAY - PROTO - (2 + t.rate) * BYTES - 2;
	t.program = smaller(t.program, rest / 4 + 2);
	/* why is shortened first, and then the server */
	rest -= t.program;
	t.server = smaller(t.server, rest < SERVER + WHY ? smaller(rest, SERVER) : rest - WHY);
	t.why = smaller(t.why, rest - t.server);
	return t;
}

void top_heading(char out[static TOP_LINE], struct top_columns t)
{
	snprintf(out, TOP_LINE, "%-*.*s %-*.*s %-*s %-*s %-*.*s %*s %*s%*s", t.program, t.program,
		 "PROGRAM", t.server, t.server, "SERVER", WAY - 1, "WAY", PROTO - 1, "PROTO", t.why,
		 t.why, "BY, WHY", BYTES - 1, "RECV", BYTES - 1, "SENT", t.rate ? BYTES : 0,
		 t.rate ? "/ s" : "");
}

void top_summary(char out[static TOP_LINE], const struct connections *c)
{
	int at = 0;

	for (int way = 0; way < CONNECTION_WAYS; way++)
		if (c->n_of[way] || way == CONNECTION_CONVERTED || way == CONNECTION_DIRECT)
			at += snprintf(out + at, TOP_LINE - (size_t)at, "%s%zu %s", at ? ", " : "",
				       c->n_of[way], top_way((enum connection_way)way));
}

void top_limits(char out[static TOP_LINE], const struct connections *c)
{
	int at = 0;

	out[0] = '\0';
	if (c->closed)
		at = snprintf(out, TOP_LINE, "%zu of programs that may not be looked into",
			      c->closed);
	if (c->serverless)
		at += snprintf(out + at, TOP_LINE - (size_t)at, "%s%zu servers not known",
			       at ? ", " : "", c->serverless);
	if (at && geteuid() != 0)
		at += snprintf(out + at, TOP_LINE - (size_t)at, ": root sees more");
	if (!c->has_mptcp)
		snprintf(out + at, TOP_LINE - (size_t)at, "%sMPTCP's sockets cannot be asked for",
			 at ? "; " : "");
}

void top_connection(char out[static TOP_LINE], struct top_columns t, const struct connection *k)
{
	char who[32], whom[ADDR_TEXT_MAX], reason[160], in[16], sent[16], rate[16] = "";

	program(who, k);
	server(whom, k);
	why(reason, k);
	bytes(in, k->received);
	bytes(sent, k->sent);
	if (t.rate)
		bytes(rate, k->rate);
	snprintf(out, TOP_LINE, "%-*.*s %-*.*s %-*s %-*s %-*.*s %*s %*s%*s", t.program, t.program,
		 who, t.server, t.server, whom, WAY - 1, top_way(k->way), PROTO - 1,
		 top_is_mptcp(k) ? "MPTCP" : "TCP", t.why, t.why, reason, BYTES - 1, in, BYTES - 1,
		 sent, t.rate ? BYTES : 0, rate);
}

void top_path(char out[static TOP_LINE], struct top_columns t, const struct connections *c,
	      const struct diag_socket *path)
{
	int width = t.program + t.server + t.why + WAY + PROTO + 1;
	const char *name = connections_interface(c, path);
	char local[ADDR_TEXT_MAX], text[160], in[16], sent[16];

	addr_format(&path->local, local);
	bytes(in, path->received);
	bytes(sent, path->sent);
	snprintf(text, sizeof(text), "  path %s%s%s, %.1f ms%s", name, *name ? " " : "", local,
		 path->rtt_us / 1000.0,
		 path->state == TCP_ESTABLISHED ? "" :
		 path->state == TCP_SYN_SENT	? ", begins" :
						  ", ends");
	snprintf(out, TOP_LINE, "%-*.*s %*s %*s", width, width, text, BYTES - 1, in, BYTES - 1,
		 sent);
}

/* ---------------------------------------------------------------------------- as JSON */

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

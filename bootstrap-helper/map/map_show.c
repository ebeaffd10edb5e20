// SPDX-License-Identifier: MIT
#include "map.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "text.h"
#include "base.h"
#include "json.h"
#include "state.h"

/* --------------------------------------------------------------- what the answers mean */

static const struct {
	const char *means, *mend;
} results[] = {
	[PCP_SUCCESS] = { "it is mapped", "" },
	[PCP_UNSUPP_VERSION] = { "it speaks another version of PCP, or NAT-PMP alone",
				 "a PCP server of version 2 (RFC 6887)" },
	[PCP_NOT_AUTHORIZED] = { "it does not serve this host, or another process has the port",
				 "let the server's operator allow this host, or end that process" },
	[PCP_MALFORMED_REQUEST] = { "it does not understand the request",
				    "say so to who makes the server; its log has the rest" },
	[PCP_UNSUPP_OPCODE] = { "it makes no mappings (no MAP)", "another PCP server" },
	[PCP_UNSUPP_OPTION] = { "it complains of an option, and none was sent",
				"say so to who makes the server" },
	[PCP_MALFORMED_OPTION] = { "it complains of an option, and none was sent",
				   "say so to who makes the server" },
	[PCP_NETWORK_FAILURE] = { "its own network does not work: no external address, say",
				  "wait, or ask the server's operator" },
	[PCP_NO_RESOURCES] = { "it has nothing left for a mapping",
			       "wait, or ask the server's operator" },
	[PCP_UNSUPP_PROTOCOL] = { "it maps no TCP ports", "another PCP server" },
	[PCP_USER_EX_QUOTA] = { "this host has as many mappings as it may have",
				"name fewer ports, or ask the server's operator for more" },
	[PCP_CANNOT_PROVIDE_EXTERNAL] = { "it cannot give that external address and port",
					  "wait until whoever has it is gone" },
	[PCP_ADDRESS_MISMATCH] = { "something on the way changes this host's address (a NAT)",
				   "name the PCP server of the network that this host is in" },
	[PCP_EXCESSIVE_REMOTE_PEERS] = { "it complains of a filter, and none was sent",
					 "say so to who makes the server" },
};

void map_text_result(int result, char text[static MAP_TEXT_MAX])
{
	const char *name = result < 0 ? NULL : pcp_result_name((uint8_t)result);

	if (name)
		snprintf(text, MAP_TEXT_MAX, "%s: %s", name, results[result].means);
	else
		snprintf(text, MAP_TEXT_MAX, "a result that is not known here, %d", result);
}

const char *map_text_mend(int result)
{
	if (result < 0 || !pcp_result_name((uint8_t)result))
		return "ask the server's operator what that is";
	return results[result].mend;
}

void map_text_no_answer(int err, char text[static MAP_TEXT_MAX])
{
	if (err == ECONNREFUSED)
		snprintf(text, MAP_TEXT_MAX, "there is no PCP server at that port");
	else if (err)
		snprintf(text, MAP_TEXT_MAX, "cannot be reached: %s", strerror(err));
	else
		snprintf(text, MAP_TEXT_MAX, "no answer");
}

/* ------------------------------------------------------------------------ what has become */

static const char *const events[] = {
	[MAPPING_NOTHING] = "no-answer", [MAPPING_MADE] = "made",
	[MAPPING_RENEWED] = "renewed",	 [MAPPING_MOVED] = "moved",
	[MAPPING_REFUSED] = "refused",	 [MAPPING_LOST] = "lost",
	[MAPPING_ENDED] = "ended",
};

static int64_t lifetime_s(const struct mapping *m)
{
	return m->until_ms ? (m->until_ms - m->granted_ms) / 1000 : 0;
}

static bool is_away(const struct mappings_server *s)
{
	return s->fd < 0 && (!s->has_route || !s->at_home);
}

/* ---------------------------------------------------------------------------- for people */

static void print_event(const struct mappings_server *s, const struct mapping *m,
			enum mapping_event event)
{
	char external[ADDR_TEXT_MAX], why[MAP_TEXT_MAX];

	addr_format(&m->external, external);
	map_text_result(m->result, why);
	if (event == MAPPING_MADE || event == MAPPING_RENEWED || event == MAPPING_MOVED)
		printf("%s %s, for %" PRId64 " s",
		       event == MAPPING_MADE  ? "is reached at" :
		       event == MAPPING_MOVED ? "is now reached at" :
						"is still reached at",
		       external, lifetime_s(m));
	else if (event == MAPPING_REFUSED)
		printf("REFUSED: %s; asked again in %" PRId64 " s", why,
		       (m->due_ms - m->answered_ms) / 1000);
	else if (event == MAPPING_LOST)
		printf("LOST: was not renewed in time");
	else if (event == MAPPING_ENDED)
		printf("is closed");
	if (event != MAPPING_NOTHING)
		return;
	if (is_away(s)) {
		printf("%s", s->has_route ? "not asked in this network (\"from\", \"interface\")" :
					    "no route");
		return;
	}
	map_text_no_answer(s->err, why);
	printf("FAILS: %s", why);
}

static void show_text(const struct mappings_server *s, const struct mapping *m,
		      enum mapping_event event)
{
	char server[ADDR_TEXT_MAX];

	addr_format(&s->to, server);
	printf("%s%s%s: port %u ", s->converter ? s->converter->name : "", s->converter ? " " : "",
	       server, m->client.port);
	print_event(s, m, event);
	putchar('\n');
}

/* -------------------------------------------------------------------------- for programs */

static json_t *address(const struct addr *a)
{
	char text[ADDR_TEXT_MAX];

	addr_format(a, text);
	return a->port ? json_text(text) : json_null();
}

static json_t *time_text(void)
{
	int64_t ms = state_now_ms();
	time_t s = (time_t)(ms / 1000);
	struct tm tm;
	char day[32], text[48];

	gmtime_r(&s, &tm);
	strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text, sizeof(text), "%s.%03dZ", day, (int)(ms % 1000));
	return json_text(text);
}

static void show_json(const struct mappings_server *s, const struct mapping *m,
		      enum mapping_event event)
{
	json_t *o = json_object();
	bool has_result = event != MAPPING_NOTHING && m->result != MAPPING_NO_ANSWER;
	const char *name = has_result ? pcp_result_name((uint8_t)m->result) : NULL;

	json_put(o, "time", time_text());
	json_put(o, "event", json_text(is_away(s) ? "away" : events[event]));
	json_put(o, "server", address(&s->to));
	json_put(o, "converter", s->converter ? json_text(s->converter->name) : json_null());
	json_put(o, "port", json_integer(m->client.port));
	json_put(o, "external", m->until_ms ? address(&m->external) : json_null());
	json_put(o, "lifetime_s", json_integer(lifetime_s(m)));
	json_put(o, "result", has_result ? json_integer(m->result) : json_null());
	json_put(o, "result_name", json_text(name));
	json_put(o, "error", s->err ? json_text(errno_name(s->err)) : json_null());
	json_print_line(o);
}

void map_show(const struct mappings_server *s, const struct mapping *m, enum mapping_event event,
	      void *arg)
{
	struct map_show *how = arg;

	if (event == MAPPING_RENEWED && !how->verbose && !how->as_json)
		return;
	if (how->as_json)
		show_json(s, m, event);
	else
		show_text(s, m, event);
	if (how->is_lost)
		fflush(stdout);
	else
		how->is_lost = !file_flush_output();
}

// SPDX-License-Identifier: MIT
/* What has come of what was asked: one request, directly and by way of the library; and a mapping. */
#include "check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "map.h"

static double ms(int64_t us)
{
	return (double)us / 1000.0;
}

static void put_figures(struct finding *found, const struct request *r)
{
	char peer[ADDR_TEXT_MAX];

	finding_number(found, "connect_us", r->connect_us);
	finding_number(found, "first_byte_us", r->first_byte_us);
	finding_number(found, "http_status", r->status);
	finding_flag(found, "mptcp", r->is_mptcp);
	if (!r->has_peer)
		return;
	addr_format(&r->peer, peer);
	finding_word(found, "peer", peer);
}

static struct finding *succeeded(struct findings *f, const char *id, enum finding_verdict verdict,
				 const char *how, const struct request *r)
{
	char peer[ADDR_TEXT_MAX] = "?";
	struct finding *found;

	if (r->has_peer)
		addr_format(&r->peer, peer);
	found = finding_add(
		f, id, verdict,
		"%s %s: connected after %.1f ms, first byte after %.1f ms, %s, HTTP %ld%s%s", how,
		peer, ms(r->connect_us), ms(r->first_byte_us), r->is_mptcp ? "MPTCP" : "TCP",
		r->status, r->server[0] ? " of " : "", r->server);
	put_figures(found, r);
	return found;
}

static void failed(struct findings *f, const char *id, const char *how, const struct request *r)
{
	struct finding *found = finding_add(f, id, FINDING_PROBLEM, "%s: %s", how, r->error);
	char url[FINDING_QUOTED];

	finding_mend(found, "curl -v -o /dev/null %s", finding_quote(r->url, url));
}

/* "... : rule in line 7" */
static unsigned int rule_line(const char *log)
{
	static const char words[] = "rule in line ";
	const char *at = strstr(log, words);

	return at ? (unsigned int)strtoul(at + strlen(words), NULL, 10) : 0;
}

/* The library let it go directly; its log line says why. */
static void not_converted(struct findings *f, const struct request *r)
{
	unsigned int line = rule_line(r->log);
	char to[ADDR_TEXT_MAX];
	struct finding *found;

	judge_ip(&r->to, to);
	if (!r->log[0]) {
		found = finding_add(
			f, "converted", FINDING_PROBLEM,
			"the library was not loaded into the program, or had nothing to "
			"do in it: the connection is direct");
		finding_mend(found, "convert-bootstrap check%s --library FILE", f->again);
	} else if (strncmp(r->log, "falling back", strlen("falling back")) == 0) {
		found = finding_add(f, "converted", FINDING_PROBLEM, "not converted: %s", r->log);
		finding_mend(found, "convert-bootstrap check%s", f->again);
	} else {
		found = finding_add(f, "converted", FINDING_NOTE, "not converted: %s", r->log);
		if (line)
			finding_mend(found, "rule = convert to %s port %u   # above line %u", to,
				     r->to.port, line);
		else
			finding_mend(found, "convert-bootstrap status%s", f->again);
	}
	put_figures(found, r);
}

static void judge_converted(struct findings *f, const struct request *direct,
			    const struct request *r)
{
	struct finding *found;

	if (r->error[0]) {
		failed(f, "converted", "by way of the library", r);
		return;
	}
	if (r->has_peer && !addr_equal(&r->peer, &r->to)) {
		succeeded(f, "converted", FINDING_OK, "converted by", r);
	} else if (strncmp(r->log, "bypass", strlen("bypass")) == 0) {
		succeeded(f, "converted", FINDING_OK, "past the converter, over MPTCP to", r);
	} else {
		not_converted(f, r);
		return;
	}
	if (direct->error[0])
		return;
	found = finding_add(f, "compared", FINDING_OK,
			    "compared with direct: connected %+.1f ms, first byte %+.1f ms",
			    ms(r->connect_us - direct->connect_us),
			    ms(r->first_byte_us - direct->first_byte_us));
	finding_number(found, "connect_us", r->connect_us - direct->connect_us);
	finding_number(found, "first_byte_us", r->first_byte_us - direct->first_byte_us);
}

void judge_requests(struct findings *f, const struct request *direct,
		    const struct request *converted)
{
	findings_about(f, "request %s", direct->url);
	if (direct->error[0])
		failed(f, "direct", "directly", direct);
	else
		succeeded(f, "direct", FINDING_OK, "directly to", direct);
	if (converted->has_run)
		judge_converted(f, direct, converted);
}

/* ---- a port of this host at a PCP server */

static void judge_answer(struct findings *f, const struct judge_mapping *j)
{
	char external[ADDR_TEXT_MAX], why[MAP_TEXT_MAX];
	struct finding *found;

	map_text_result(j->result, why);
	addr_format(&j->external, external);
	if (j->result) {
		found = finding_add(f, "mapping-refused", FINDING_PROBLEM, "%s", why);
		finding_advise(found, map_text_mend(j->result));
		finding_number(found, "result", j->result);
		return;
	}
	found = finding_add(f, "mapping", j->is_kept ? FINDING_OK : FINDING_NOTE,
			    j->is_kept ? "it is reached at %s" :
					 "it would be reached at %s, but nothing keeps it open",
			    external);
	if (!j->is_kept)
		finding_mend(found, "convert-bootstrap map%s", f->again);
	finding_word(found, "external", external);
	finding_number(found, "lifetime_s", j->lifetime_s);
}

void judge_mapping(struct findings *f, const struct judge_mapping *j)
{
	char server[ADDR_TEXT_MAX], why[MAP_TEXT_MAX];
	struct finding *found;

	addr_format(&j->server, server);
	findings_about(f, "mapping of port %u at %s", j->port, server);
	if (j->result != MAPPING_NO_ANSWER) {
		judge_answer(f, j);
		return;
	}
	map_text_no_answer(j->err, why);
	found = finding_add(f, "mapping-server", FINDING_PROBLEM, "%s", why);
	finding_mend(found, "pcp = ADDRESS    # in [incoming]: where the PCP server is");
	finding_number(found, "errno", j->err);
}

void judge_mapping_ports(struct findings *f, size_t n, size_t most)
{
	struct finding *found;

	findings_about(f, "configuration");
	found = finding_add(f, "mapping-ports", FINDING_NOTE,
			    "[incoming] names %zu ports, and no more than %zu are mapped: none is",
			    n, most);
	finding_advise(found, "rules that name their ports, or convert-bootstrap map PORT...");
	finding_number(found, "ports", (int64_t)n);
}

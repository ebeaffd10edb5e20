// SPDX-License-Identifier: MIT
#include "check.h"

#include <string.h>

#include "map.h"

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

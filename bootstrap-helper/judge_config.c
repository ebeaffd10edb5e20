// SPDX-License-Identifier: MIT
#include "judge.h"

#include <stdio.h>
#include <string.h>

#include "rules.h"

/* "what: expected this" is what is wrong, and what mends it. */
static void add_mistake(struct findings *f, const struct config_error *err)
{
	static const char expected[] = ": expected ";
	const char *what = err->what, *mend = strstr(what, expected);
	int len = mend ? (int)(mend - what) : (int)strlen(what);
	struct finding *found;
	char line[16] = "";

	if (mend) {
		mend += strlen(": ");
	} else if (strncmp(what, expected + 2, strlen(expected + 2)) == 0) {
		mend = what;
		what = "not understood";
		len = (int)strlen(what);
	} else {
		mend = "expected a file that can be read";
	}
	if (err->line)
		snprintf(line, sizeof(line), "%u: ", err->line);
	found = finding_add(f, "configuration", FINDING_PROBLEM, "%s:%s%.*s", err->file,
			    err->line ? line : " ", len, what);
	finding_advise(found, mend);
	finding_word(found, "file", err->file);
	finding_number(found, "line", err->line);
}

static bool is_before(const struct finding *a, const struct finding *b)
{
	return strcmp(a->id, b->id) == 0 && a->n_values == 2 && b->n_values == 2 &&
	       strcmp(a->values[0].word, b->values[0].word) == 0 &&
	       a->values[1].number < b->values[1].number;
}

void judge_mistake(const struct config_error *err, void *arg)
{
	struct findings *f = arg;

	findings_about(f, "configuration");
	add_mistake(f, err);
	for (size_t i = f->n - 1; i > 0 && is_before(&f->all[i], &f->all[i - 1]); i--) {
		struct finding moved = f->all[i];

		f->all[i] = f->all[i - 1];
		f->all[i - 1] = moved;
	}
}

void judge_converters(struct findings *f, const struct config *config)
{
	struct finding *found;
	size_t rules = config->rules ? config_rules_count(config->rules) : 0;

	if (config->is_disabled) {
		found = finding_add(f, "configuration", FINDING_PROBLEM,
				    "CONVERT_DISABLE is set: every connection is direct");
		finding_mend(found, "unset CONVERT_DISABLE");
		return;
	}
	if (config->is_switched_off) {
		found = finding_add(f, "configuration", FINDING_PROBLEM,
				    CONFIG_OFF_SWITCH " is there: every connection is direct");
		finding_mend_as_root(found, "rm " CONFIG_OFF_SWITCH);
		return;
	}
	if (config->n_converters > 0) {
		found = finding_add(
			f, "configuration", FINDING_OK, "%s: %zu converter%s, %zu rule%s",
			config->file ? config->file : "the environment", config->n_converters,
			config->n_converters == 1 ? "" : "s", rules, rules == 1 ? "" : "s");
	} else {
		found = finding_add(f, "configuration", FINDING_PROBLEM,
				    "%s%s: no converter is configured, and every connection is "
				    "direct",
				    config->file ? config->file : CONFIG_DEFAULT_FILE,
				    config->file ? "" : " is not there");
		finding_mend(found, "[converter NAME]");
		finding_mend(found, "address = ADDRESS");
	}
	finding_number(found, "converters", (int64_t)config->n_converters);
	finding_number(found, "rules", (int64_t)rules);
}

void judge_config(struct findings *f, const struct config *config, const struct host_written *state,
		  const struct host_written *log)
{
	findings_about(f, "configuration");
	judge_converters(f, config);
	if (config->is_disabled || config->is_switched_off)
		return;
	judge_state(f, state);
	judge_log(f, log);
	if (config->log_is_shaped && !config->log_target) {
		struct finding *found = finding_add(
			f, "log", FINDING_PROBLEM,
			"[log] says how and not where: nothing is logged");

		finding_mend(found, "[log]");
		finding_mend(found, "target = stderr");
	}
}

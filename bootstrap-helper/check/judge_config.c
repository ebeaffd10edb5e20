// SPDX-License-Identifier: MIT
#include "judge.h"

#include "base.h"
#include "rules.h"

void judge_converters(struct findings *f, const struct config *config)
{
	const char *without = load_without_converter(config);
	struct finding *found;
	size_t rules = config->rules ? config_rules_count(config->rules) : 0;

	if (config->is_disabled) {
		found = finding_add(f, "configuration", FINDING_PROBLEM,
				    "CONVERT_DISABLE is set: %s", without);
		finding_mend(found, "unset CONVERT_DISABLE");
		return;
	}
	if (config->is_switched_off) {
		found = finding_add(f, "configuration", FINDING_PROBLEM,
				    CONFIG_OFF_SWITCH " is there: %s", without);
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
				    "%s%s: no converter is configured, and %s",
				    config->file ? config->file : CONFIG_DEFAULT_FILE,
				    config->file ? "" : " is not there", without);
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
	judge_in_vain(f, config);
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

// SPDX-License-Identifier: MIT
/* Findings for programs; a file of its own, as whoever writes no JSON needs no jansson. */
#include <string.h>

#include "finding.h"
#include "json.h"

static json_t *lines_as_json(const char *text)
{
	json_t *array = json_array();

	while (*text) {
		char line[sizeof(((struct finding *)NULL)->mend)];
		size_t len = strcspn(text, "\n");

		memcpy(line, text, len);
		line[len] = '\0';
		json_add(array, json_text(line));
		text += len + (text[len] == '\n');
	}
	return array;
}

static json_t *values_as_json(const struct finding *found)
{
	json_t *object = json_object();

	for (size_t i = 0; i < found->n_values; i++) {
		const struct finding_value *v = &found->values[i];

		json_put(object, v->name,
			 v->kind == FINDING_WORD ? json_text(v->word) :
			 v->kind == FINDING_FLAG ? json_boolean(v->number) :
						   json_integer(v->number));
	}
	return object;
}

void findings_print_json(const struct findings *f)
{
	json_t *o = json_object(), *array = json_array();

	for (size_t i = 0; i < f->n; i++) {
		const struct finding *found = &f->all[i];
		json_t *one = json_object();

		json_put(one, "id", json_text(found->id));
		json_put(one, "verdict", json_text(finding_verdicts[found->verdict]));
		json_put(one, "about", json_text(found->about));
		json_put(one, "what", json_text(found->what));
		json_put(one, "mend", lines_as_json(found->mend));
		json_put(one, "values", values_as_json(found));
		json_add(array, one);
	}
	json_put(o, "version", json_text(CONVERT_VERSION));
	json_put(o, "problems", json_integer((json_int_t)findings_count(f, FINDING_PROBLEM)));
	json_put(o, "notes", json_integer((json_int_t)findings_count(f, FINDING_NOTE)));
	json_put(o, "findings", array);
	json_print(o);
}

// SPDX-License-Identifier: MIT
#include "json.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

static void no_memory(void)
{
	fputs("convert-bootstrap: out of memory\n", stderr);
	exit(BOOTSTRAP_FAILED);
}

/* How many bytes the character has that text begins with; 0: it begins with none. Neither a longer
 * form than needed, nor half of a UTF-16 pair, nor more than U+10FFFF (RFC 3629, 4). */
static size_t character(const char *text)
{
	const uint8_t *t = (const uint8_t *)text;
	size_t len = t[0] < 0x80 ? 1 : t[0] < 0xc2 ? 0 : t[0] < 0xe0 ? 2 : t[0] < 0xf0 ? 3 : 4;

	if (t[0] > 0xf4)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((t[i] & 0xc0) != 0x80)
			return 0;
	if ((t[0] == 0xe0 && t[1] < 0xa0) || (t[0] == 0xed && t[1] > 0x9f) ||
	    (t[0] == 0xf0 && t[1] < 0x90) || (t[0] == 0xf4 && t[1] > 0x8f))
		return 0;
	return len;
}

json_t *json_text(const char *text)
{
	const size_t most = text ? strlen(text) * strlen(REPLACEMENT) : 0;
	char *clean, *end;
	json_t *string;

	if (!text)
		return json_null();
	clean = malloc(most + 1);
	if (!clean)
		no_memory();
	end = clean;
	while (*text) {
		size_t len = character(text);

		end = len ? mempcpy(end, text, len) :
			    mempcpy(end, REPLACEMENT, strlen(REPLACEMENT));
		text += len ? len : 1;
	}
	string = json_stringn_nocheck(clean, (size_t)(end - clean));
	free(clean);
	if (!string)
		no_memory();
	return string;
}

void json_put(json_t *object, const char *key, json_t *value)
{
	if (json_object_set_new(object, key, value) < 0)
		no_memory();
}

void json_add(json_t *array, json_t *value)
{
	if (json_array_append_new(array, value) < 0)
		no_memory();
}

static void print(json_t *value, size_t how)
{
	/* an error of stdout's is main()'s */
	if (json_dumpf(value, stdout, how | JSON_ENCODE_ANY) == 0)
		putchar('\n');
	else if (!ferror(stdout))
		no_memory();
	json_decref(value);
}

void json_print(json_t *value)
{
	print(value, JSON_INDENT(2));
}

void json_print_line(json_t *value)
{
	print(value, JSON_COMPACT);
}

/* ---------------------------------------------------------------------------- findings */

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

// SPDX-License-Identifier: MIT
#include "json.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bootstrap.h"

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

// SPDX-License-Identifier: MIT
#include "option.h"

#include "control.h"

#include <stdio.h>
#include <string.h>

const char *option_text(const char *word, char text[static OPTION_TEXT_MAX])
{
	bool fits = strlen(word) < OPTION_TEXT_MAX;

	snprintf(text, OPTION_TEXT_MAX, "%.*s%s", OPTION_TEXT_MAX - (fits ? 1 : 4), word,
		 fits ? "" : "...");
	control_hide(text);
	return text;
}

bool option_is_wrong(const char *verb, const char *which, const char *word, const char *expected)
{
	char text[OPTION_TEXT_MAX];

	fprintf(stderr, "%s: %s%s%s: expected %s\n", verb, which, *which ? " " : "",
		option_text(word, text), expected);
	return false;
}

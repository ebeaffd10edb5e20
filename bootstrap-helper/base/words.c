// SPDX-License-Identifier: MIT
#include "base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

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

uint16_t endpoint_port(const char *text)
{
	char *end;
	unsigned long n = text[0] >= '0' && text[0] <= '9' ? strtoul(text, &end, 10) : 0;

	return n > 0 && n < 65536 && !*end ? (uint16_t)n : 0;
}

bool endpoint_parse(struct addr *a, const char *text, uint16_t port)
{
	const char *bracket = text[0] == '[' ? strchr(text, ']') : NULL;
	const char *colon = bracket ? bracket[1] == ':' ? bracket + 1 : NULL : strchr(text, ':');
	const char *start = text + (bracket != NULL), *end;
	char ip[ADDR_TEXT_MAX];

	if (!bracket && colon && strchr(colon + 1, ':'))
		colon = NULL; /* an IPv6 address alone */
	end = bracket ? bracket : colon ? colon : text + strlen(text);
	if ((bracket && bracket[1] && !colon) || (size_t)(end - start) >= sizeof(ip))
		return false;
	memcpy(ip, start, (size_t)(end - start));
	ip[end - start] = '\0';
	a->port = colon ? endpoint_port(colon + 1) : port;
	return a->port && (!bracket || strchr(ip, ':')) && addr_parse(a, ip) == 0;
}

int kinds_format(uint8_t kind, char text[static KINDS_TEXT_MAX])
{
	static const char *const names[256] = {
		[2] = "MSS",	       [3] = "window scale", [4] = "SACK",   [8] = "timestamps",
		[28] = "user timeout", [29] = "TCP-AO",	     [30] = "MPTCP", [34] = "Fast Open",
	};

	return names[kind] ? snprintf(text, KINDS_TEXT_MAX, "%u (%s)", kind, names[kind]) :
			     snprintf(text, KINDS_TEXT_MAX, "%u", kind);
}
